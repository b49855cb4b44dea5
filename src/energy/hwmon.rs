//! Power sensors of the hwmon class: input rails of boards, and GPUs.

use super::meter::{Domain, DomainKind, Meter, MeterInfo, ReadError, Role, Value, read_count};
use super::reading::{Scope, Trust};
use crate::measure::clock::Clock;
use crate::measure::sysfs::SysFs;

const UNLOCK: &str = "run as a member of the group that owns the file";
/// Sensor bound of such sensors, an assumption.
const SENSOR_BOUND: f64 = 0.10;
/// Labels of rails that carry the whole board.
const BOARD_RAILS: [&str; 4] = ["VDD_IN", "POM_5V_IN", "VIN", "VIN_SYS_5V0"];

/// Sensors of one kind.
#[derive(Debug)]
pub struct Hwmon {
    info: MeterInfo,
    sysfs: SysFs,
    sensors: Vec<Sensor>,
}

/// Current and power monitors that boards are fitted with.
const INA_CHIPS: [&str; 6] = ["ina219", "ina220", "ina226", "ina230", "ina231", "ina238"];

#[derive(Clone, Debug)]
enum Sensor {
    /// µW.
    Power(String),
    /// µJ.
    Energy(String),
    /// mV and mA.
    Product(String, String),
}

impl Hwmon {
    /// The rail that feeds the whole board (Jetson's INA3221): its power is the machine's.
    ///
    /// # Errors
    /// [`ReadError::Missing`] where no such rail is labelled.
    pub fn board(sysfs: &SysFs) -> Result<Self, ReadError> {
        for dir in directories(sysfs) {
            for n in 1..=8 {
                let Some(label) = sysfs.text(format!("{dir}/in{n}_label")) else { continue };
                if BOARD_RAILS.contains(&label.as_str()) {
                    let sensor = Sensor::Product(format!("{dir}/in{n}_input"), format!("{dir}/curr{n}_input"));
                    return Self::new(sysfs, vec![(label, sensor)], Scope::Machine);
                }
            }
        }
        // An INA chip on its own says nothing of where it sits: with one there is no choice to make.
        let chips: Vec<(String, Sensor)> = directories(sysfs)
            .into_iter()
            .filter_map(|dir| {
                let name = sysfs.text(format!("{dir}/name")).filter(|name| INA_CHIPS.contains(&name.as_str()))?;
                let power = format!("{dir}/power1_input");
                sysfs.exists(&power).then_some((name, Sensor::Power(power)))
            })
            .collect();
        if let [_] = chips.as_slice() {
            return Self::new(sysfs, chips, Scope::Components);
        }
        Err(ReadError::Missing { what: format!("a board input rail ({})", BOARD_RAILS.join(", ")) })
    }

    /// GPUs: the energy counter where there is one (i915, xe), else the power gauge (amdgpu).
    ///
    /// # Errors
    /// [`ReadError::Missing`] without such a GPU.
    pub fn gpus(sysfs: &SysFs) -> Result<Self, ReadError> {
        let mut found: Vec<(String, Sensor)> = Vec::new();
        for dir in directories(sysfs) {
            let Some(driver) = sysfs.text(format!("{dir}/name")) else { continue };
            if !["amdgpu", "i915", "xe"].contains(&driver.as_str()) {
                continue;
            }
            let file = |name: &str| Some(format!("{dir}/{name}")).filter(|path| sysfs.exists(path));
            let sensor = file("energy1_input")
                .map(Sensor::Energy)
                .or_else(|| file("power1_average").or_else(|| file("power1_input")).map(Sensor::Power));
            found.extend(sensor.map(|sensor| (format!("{driver}-{}", found.len()), sensor)));
        }
        if found.is_empty() {
            return Err(ReadError::Missing { what: "a GPU with hwmon power sensors".into() });
        }
        Self::new(sysfs, found, Scope::Components)
    }

    fn new(sysfs: &SysFs, found: Vec<(String, Sensor)>, scope: Scope) -> Result<Self, ReadError> {
        let all_counters = found.iter().all(|(_, sensor)| matches!(sensor, Sensor::Energy(_)));
        let domains = found.iter().map(|(name, sensor)| Domain {
            name: name.clone(),
            role: Role::Counted,
            kind: match sensor {
                Sensor::Energy(_) => DomainKind::Counter { joules_per_count: 1e-6, range: None },
                _ => DomainKind::Gauge,
            },
            max_watts: Some(1500.0),
        });
        let trust = if all_counters { Trust::Counter } else { Trust::Sampled };
        let info = MeterInfo {
            sensor_bound: Some(SENSOR_BOUND),
            tick_ms: (!all_counters).then_some(100.0),
            ..MeterInfo::new("hwmon", trust, scope, domains.collect())
        };
        let meter = Self { info, sysfs: sysfs.clone(), sensors: found.into_iter().map(|(_, sensor)| sensor).collect() };
        for sensor in &meter.sensors {
            meter.value(sensor, 0)?;
        }
        Ok(meter)
    }

    fn value(&self, sensor: &Sensor, now_ns: u64) -> Result<Value, ReadError> {
        let read = |path: &str| read_count(&self.sysfs, path, UNLOCK);
        Ok(match sensor {
            Sensor::Energy(path) => Value::Count(read(path)?),
            Sensor::Power(path) => Value::Watts(vec![(now_ns, read(path)? as f64 / 1e6)]),
            Sensor::Product(volts, amperes) => {
                Value::Watts(vec![(now_ns, read(volts)? as f64 * read(amperes)? as f64 / 1e6)])
            }
        })
    }
}

impl Meter for Hwmon {
    fn info(&self) -> &MeterInfo {
        &self.info
    }

    fn read(&mut self, clock: &dyn Clock) -> Result<Vec<Value>, ReadError> {
        let now_ns = clock.now_ns();
        self.sensors.iter().map(|sensor| self.value(sensor, now_ns)).collect()
    }
}

/// Every hwmon directory, each device once: the class lists them all; containers sometimes show only the device tree.
fn directories(sysfs: &SysFs) -> Vec<String> {
    let hwmons = |base: String| {
        let names = sysfs.list(&base).into_iter().filter(|name| name.starts_with("hwmon"));
        names.map(|name| format!("{base}/{name}")).collect::<Vec<_>>()
    };
    let class = hwmons("/sys/class/hwmon".into());
    if !class.is_empty() {
        return class;
    }
    let cards = sysfs.list("/sys/class/drm").into_iter().filter(|name| {
        name.strip_prefix("card").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    });
    let mut found: Vec<String> = cards.flat_map(|card| hwmons(format!("/sys/class/drm/{card}/device/hwmon"))).collect();
    for driver in ["ina3221", "ina3221x"] {
        let base = format!("/sys/bus/i2c/drivers/{driver}");
        found.extend(sysfs.list(&base).into_iter().flat_map(|device| hwmons(format!("{base}/{device}/hwmon"))));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::energy::tree::Tree;
    use crate::energy::{Metering, Reading, Watch, calibrate};

    fn measure(tree: &Tree, mut meter: Hwmon) -> Reading {
        let info = calibrate(&mut meter, &tree.clock(), Watch::PROCESSOR).unwrap();
        let mut metering = Metering::unattended(vec![(Box::new(meter), info)], Arc::new(tree.clock()), &tree.sysfs());
        metering.start();
        for _ in 0..20 {
            tree.clock().sleep(Duration::from_millis(100));
            metering.poll();
        }
        metering.stop()
    }

    #[test]
    fn amdgpu_has_only_a_gauge() {
        let tree = Tree::new();
        let base = "/sys/class/drm/card0/device/hwmon/hwmon3";
        tree.write(&format!("{base}/name"), "amdgpu\n");
        tree.write(&format!("{base}/power1_average"), "85000000\n");
        tree.write("/sys/class/drm/card0-DP-1/device/hwmon/hwmon3/name", "amdgpu\n");
        let reading = measure(&tree, Hwmon::gpus(&tree.sysfs()).unwrap());
        assert!((reading.joules.unwrap().0 - 170.0).abs() < 1e-6);
        assert_eq!((reading.trust, reading.domains.as_slice()), (Trust::Sampled, &["amdgpu-0".to_owned()][..]));
    }

    #[test]
    fn i915_has_an_energy_counter() {
        let tree = Tree::new();
        tree.write("/sys/class/hwmon/hwmon1/name", "i915\n");
        tree.counter("/sys/class/hwmon/hwmon1/energy1_input", 25.0);
        let reading = measure(&tree, Hwmon::gpus(&tree.sysfs()).unwrap());
        assert!((reading.joules.unwrap().0 - 50.0).abs() < 0.1);
        assert_eq!(reading.trust, Trust::Counter);
    }

    #[test]
    fn a_jetsons_input_rail_is_the_whole_machine() {
        let tree = Tree::new();
        let base = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon2";
        for (n, label, volts, amperes) in [(1, "VDD_CPU_GPU_CV", "5000", "200"), (2, "VDD_IN", "19000", "500")] {
            tree.write(&format!("{base}/in{n}_label"), label);
            tree.write(&format!("{base}/in{n}_input"), volts);
            tree.write(&format!("{base}/curr{n}_input"), amperes);
        }
        let reading = measure(&tree, Hwmon::board(&tree.sysfs()).unwrap());
        assert!((reading.joules.unwrap().0 - 19.0).abs() < 1e-9);
        assert_eq!((reading.scope, reading.domains.as_slice()), (Scope::Machine, &["VDD_IN".to_owned()][..]));
    }

    #[test]
    fn one_ina_board_is_read_and_of_several_none_is_guessed() {
        let tree = Tree::new();
        for (n, chip) in [(4, "ina226"), (5, "ina219")] {
            tree.write(&format!("/sys/class/hwmon/hwmon{n}/name"), chip);
            tree.write(&format!("/sys/class/hwmon/hwmon{n}/power1_input"), "6500000");
            if n == 4 {
                let reading = measure(&tree, Hwmon::board(&tree.sysfs()).unwrap());
                assert!((reading.joules.unwrap().0 - 13.0).abs() < 1e-9);
                assert_eq!(
                    (reading.scope, reading.domains.as_slice()),
                    (Scope::Components, &["ina226".to_owned()][..])
                );
            }
        }
        assert!(matches!(Hwmon::board(&tree.sysfs()), Err(ReadError::Missing { .. })));
    }

    #[test]
    fn sensors_of_other_things_are_not_power_of_the_machine() {
        let tree = Tree::new();
        tree.write("/sys/class/hwmon/hwmon0/name", "nvme\n");
        tree.write("/sys/class/hwmon/hwmon0/power1_input", "3000000\n");
        assert!(matches!(Hwmon::gpus(&tree.sysfs()), Err(ReadError::Missing { .. })));
        assert!(matches!(Hwmon::board(&tree.sysfs()), Err(ReadError::Missing { .. })));
    }
}
