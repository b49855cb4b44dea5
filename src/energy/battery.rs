//! A laptop's battery: the whole machine's power, while it discharges. Coarse and slow, good as a cross-check.

use super::Flag;
use super::meter::{Domain, Meter, MeterInfo, ReadError, Value, read_count, read_text};
use super::reading::{Scope, Trust};
use crate::measure::clock::Clock;
use crate::measure::sysfs::SysFs;

const CLASS: &str = "/sys/class/power_supply";
const UNLOCK: &str = "check how /sys is mounted";

/// The batteries of a machine.
#[derive(Debug)]
pub struct Battery {
    info: MeterInfo,
    sysfs: SysFs,
    bases: Vec<String>,
}

impl Battery {
    /// Opens the system's batteries.
    ///
    /// # Errors
    /// [`ReadError::Missing`] without one, [`ReadError::Implausible`] while none discharges.
    pub fn open(sysfs: &SysFs) -> Result<Self, ReadError> {
        let bases: Vec<String> = sysfs
            .list(CLASS)
            .into_iter()
            .map(|name| format!("{CLASS}/{name}"))
            .filter(|base| sysfs.text(format!("{base}/type")).as_deref() == Some("Battery"))
            .filter(|base| sysfs.text(format!("{base}/scope")).as_deref() != Some("Device"))
            .collect();
        if bases.is_empty() {
            return Err(ReadError::Missing { what: "a battery".into() });
        }
        let info = MeterInfo {
            sensor_bound: Some(0.10),
            // Fuel gauges update about once a second, some only every half minute.
            tick_ms: Some(1000.0),
            flags: vec![Flag::OnBattery],
            ..MeterInfo::new("battery", Trust::Sampled, Scope::Machine, vec![Domain::gauge("battery", Some(300.0))])
        };
        let meter = Self { info, sysfs: sysfs.clone(), bases };
        meter.watts()?;
        Ok(meter)
    }

    fn watts(&self) -> Result<f64, ReadError> {
        let mut total = 0.0;
        let mut discharging = false;
        for base in &self.bases {
            let status = read_text(&self.sysfs, &format!("{base}/status"), UNLOCK)?;
            match status.as_str() {
                "Discharging" => {
                    discharging = true;
                    total += self.power(base)?;
                }
                // The other battery of two may rest; one that charges takes power of its own.
                "Full" | "Not charging" => {}
                other => {
                    let why = format!("it is {}: disconnect the charger", other.to_lowercase());
                    return Err(ReadError::Implausible { what: base.clone(), why });
                }
            }
        }
        if !discharging {
            let why = "it does not discharge: disconnect the charger".to_owned();
            return Err(ReadError::Implausible { what: "battery".into(), why });
        }
        Ok(total)
    }

    /// `power_now` in µW, else `current_now · voltage_now` in µA and µV.
    fn power(&self, base: &str) -> Result<f64, ReadError> {
        let read = |file: &str| read_count(&self.sysfs, &format!("{base}/{file}"), UNLOCK);
        if self.sysfs.exists(format!("{base}/power_now")) {
            return Ok(read("power_now")? as f64 / 1e6);
        }
        Ok(read("current_now")? as f64 * read("voltage_now")? as f64 / 1e12)
    }
}

impl Meter for Battery {
    fn info(&self) -> &MeterInfo {
        &self.info
    }

    fn read(&mut self, clock: &dyn Clock) -> Result<Vec<Value>, ReadError> {
        Ok(vec![Value::Watts(vec![(clock.now_ns(), self.watts()?)])])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::energy::Metering;
    use crate::energy::tree::Tree;

    fn laptop(status: &str) -> Tree {
        let tree = Tree::new();
        for (file, text) in
            [("type", "Battery"), ("status", status), ("current_now", "1500000"), ("voltage_now", "12000000")]
        {
            tree.write(&format!("{CLASS}/BAT0/{file}"), text);
        }
        tree.write(&format!("{CLASS}/AC/type"), "Mains");
        tree
    }

    #[test]
    fn a_discharging_battery_is_the_whole_machine() {
        let tree = laptop("Discharging");
        let meter = Battery::open(&tree.sysfs()).unwrap();
        let info = meter.info().clone();
        let mut metering = Metering::unattended(vec![(Box::new(meter), info)], Arc::new(tree.clock()), &tree.sysfs());
        metering.start();
        tree.clock().sleep(Duration::from_secs(1));
        let reading = metering.stop();
        assert!((reading.joules.unwrap().0 - 18.0).abs() < 1e-9);
        assert!(reading.flags.contains(&Flag::OnBattery) && reading.flags.contains(&Flag::WindowShort));
        // The charger is connected during a window.
        metering.start();
        tree.write(&format!("{CLASS}/BAT0/status"), "Charging");
        tree.clock().sleep(Duration::from_secs(1));
        assert!(metering.stop().invalid.unwrap().contains("charging"));
    }

    #[test]
    fn a_charging_or_absent_battery_is_refused() {
        for status in ["Charging", "Full", "Unknown"] {
            let error = Battery::open(&laptop(status).sysfs()).unwrap_err();
            assert!(error.to_string().contains("charger"), "{error}");
        }
        assert!(matches!(Battery::open(&Tree::new().sysfs()), Err(ReadError::Missing { .. })));
    }
}
