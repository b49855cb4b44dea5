//! RAPL through `/sys/class/powercap`: Intel, and AMD Zen by the same driver since Linux 5.8.
//!
//! Zones are told apart by their `name` and parent, never by index or count: `psys` is a top-level zone and often
//! `intel-rapl:1`. The sum is packages plus DRAM; `core` and `uncore` lie inside packages; `psys` is a cross-check.

use super::meter::{Domain, DomainKind, Meter, MeterInfo, ReadError, Role, Value, read_count};
use super::rapl;
use crate::measure::clock::Clock;
use crate::measure::sysfs::SysFs;

const CLASS: &str = "/sys/class/powercap";
/// What gives everybody read access until the next boot. Root only since CVE-2020-8694 (PLATYPUS), Linux 5.10.
pub const UNLOCK: &str = "sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj";
/// Limit assumed for a package that states none, W.
const DEFAULT_LIMIT_W: f64 = 500.0;

/// The RAPL zones of a machine.
#[derive(Debug)]
pub struct Powercap {
    info: MeterInfo,
    sysfs: SysFs,
    files: Vec<String>,
}

/// A zone as listed.
#[derive(Clone, Debug, PartialEq)]
struct Zone {
    path: String,
    /// `package-0`, `package-0-die-1`, `core`, `psys` …
    name: String,
    /// Name of the package it is in; `None` for top-level zones.
    parent: Option<String>,
}

impl Zone {
    /// Unique name in readings: `dram-0` for the DRAM of `package-0`.
    fn domain(&self) -> String {
        match &self.parent {
            Some(parent) => format!("{}-{}", self.name, parent.strip_prefix("package-").unwrap_or(parent)),
            None => self.name.clone(),
        }
    }

    fn role(&self) -> Role {
        match (self.name.as_str(), &self.parent) {
            ("psys", _) => Role::Around,
            ("dram", _) => Role::Counted,
            (name, None) if name.starts_with("package") => Role::Counted,
            _ => Role::Inside,
        }
    }
}

impl Powercap {
    /// Opens the zones.
    ///
    /// # Errors
    /// [`ReadError::Missing`] without zones, [`ReadError::Denied`] with the command that unlocks them.
    pub fn open(sysfs: &SysFs) -> Result<Self, ReadError> {
        let zones = zones(sysfs);
        if zones.is_empty() {
            return Err(ReadError::Missing { what: format!("{CLASS} (no RAPL driver, or a virtual machine)") });
        }
        let mut domains = Vec::new();
        for zone in &zones {
            let range = read_count(sysfs, &format!("{}/max_energy_range_uj", zone.path), UNLOCK)?;
            domains.push(Domain {
                name: zone.domain(),
                role: zone.role(),
                kind: DomainKind::Counter { joules_per_count: 1e-6, range: Some(range).filter(|&range| range > 0) },
                max_watts: (zone.role() == Role::Counted).then(|| limit(sysfs, &zone.path).unwrap_or(DEFAULT_LIMIT_W)),
            });
        }
        let info = rapl::facts("powercap", domains, "psys", sysfs);
        let files = zones.iter().map(|zone| format!("{}/energy_uj", zone.path)).collect();
        Ok(Self { info, sysfs: sysfs.clone(), files })
    }
}

impl Meter for Powercap {
    fn info(&self) -> &MeterInfo {
        &self.info
    }

    fn read(&mut self, _clock: &dyn Clock) -> Result<Vec<Value>, ReadError> {
        self.files.iter().map(|file| Ok(Value::Count(read_count(&self.sysfs, file, UNLOCK)?))).collect()
    }
}

/// All zones, top-level ones first, each name once: `intel-rapl-mmio` repeats `intel-rapl` on client parts.
fn zones(sysfs: &SysFs) -> Vec<Zone> {
    let mut found: Vec<Zone> = Vec::new();
    let mut keep = |zone: Zone| {
        if !found.iter().any(|known| known.name == zone.name && known.parent == zone.parent) {
            found.push(zone);
        }
    };
    let all = sysfs.list(CLASS);
    // `intel-rapl:0` sorts after `intel-rapl-mmio:0`; the plain driver goes first.
    let (mmio, plain): (Vec<&String>, Vec<&String>) = all.iter().partition(|id| id.starts_with("intel-rapl-mmio"));
    for id in plain.into_iter().chain(mmio) {
        // `driver:N` is top-level, `driver:N:M` lies in it; `driver` alone is the control type.
        if id.matches(':').count() != 1 {
            continue;
        }
        let path = format!("{CLASS}/{id}");
        let Some(name) = sysfs.text(format!("{path}/name")) else { continue };
        keep(Zone { path: path.clone(), name: name.clone(), parent: None });
        let nested = sysfs.list(&path).into_iter().map(|child| format!("{path}/{child}"));
        let beside = all.iter().filter(|other| other.starts_with(&format!("{id}:"))).map(|o| format!("{CLASS}/{o}"));
        for child in nested.chain(beside) {
            let is_zone = child.rsplit('/').next().is_some_and(|last| last.starts_with(&format!("{id}:")));
            if let (true, Some(child_name)) = (is_zone, sysfs.text(format!("{child}/name"))) {
                keep(Zone { path: child, name: child_name, parent: Some(name.clone()) });
            }
        }
    }
    found
}

/// Highest power limit a zone states, W: the long-term limit alone is often below what turbo draws.
fn limit(sysfs: &SysFs, zone: &str) -> Option<f64> {
    let stated =
        (0..4).flat_map(|i| ["power_limit_uw", "max_power_uw"].map(|file| format!("{zone}/constraint_{i}_{file}")));
    let micro = stated.filter_map(|path| sysfs.number::<f64>(path)).fold(0.0, f64::max);
    (micro > 0.0).then_some(micro / 1e6)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::energy::tree::{RANGE, Tree};
    use crate::energy::{Flag, Metering, Reading, Scope, Trust, Watch, calibrate};

    /// Opens, calibrates, and measures two seconds.
    fn measure(tree: &Tree) -> Result<Reading, ReadError> {
        let mut meter = Powercap::open(&tree.sysfs())?;
        let info = calibrate(&mut meter, &tree.clock(), Watch::PROCESSOR)?;
        let mut metering = Metering::unattended(vec![(Box::new(meter), info)], Arc::new(tree.clock()), &tree.sysfs());
        metering.start();
        for _ in 0..2 {
            tree.clock().sleep(Duration::from_secs(1));
            metering.poll();
        }
        Ok(metering.stop())
    }

    fn close(reading: &Reading, joules: f64) -> bool {
        reading.joules.is_some_and(|j| (j.0 - joules).abs() < 0.01 * joules)
    }

    #[test]
    fn a_desktop_sums_package_and_dram_and_keeps_psys_beside() {
        // zeusd counted every `intel-rapl*` directory, so psys became a processor.
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0", 60.0);
        tree.zone("intel-rapl:0/intel-rapl:0:0", "core", 45.0);
        tree.zone("intel-rapl:0/intel-rapl:0:1", "uncore", 5.0);
        tree.zone("intel-rapl:0/intel-rapl:0:2", "dram", 4.0);
        tree.zone("intel-rapl:1", "psys", 90.0);
        let reading = measure(&tree).unwrap();
        assert!(close(&reading, 128.0), "{reading:?}");
        assert_eq!(reading.domains, ["package-0", "dram-0"]);
        assert!((reading.cross_check.unwrap().0 - 180.0).abs() < 2.0);
        assert_eq!((reading.trust, reading.scope), (Trust::Counter, Scope::Components));
        assert!(!reading.flags.contains(&Flag::DramUncovered));
    }

    #[test]
    fn two_sockets_and_two_dies_are_all_counted() {
        // Alumet parses `package-0-die-1` as a number and fails.
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0-die-0", 50.0);
        tree.zone("intel-rapl:1", "package-0-die-1", 40.0);
        tree.zone("intel-rapl:2", "package-1", 30.0);
        tree.zone("intel-rapl:2:0", "dram", 6.0);
        let reading = measure(&tree).unwrap();
        assert!(close(&reading, 252.0), "{reading:?}");
        assert_eq!(reading.domains, ["package-0-die-0", "package-0-die-1", "package-1", "dram-1"]);
    }

    #[test]
    fn amd_has_a_package_with_cores_inside_and_no_memory() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0", 45.0);
        // Aberrant on some EPYC: read, never added.
        tree.zone("intel-rapl:0:0", "core", 400.0);
        let reading = measure(&tree).unwrap();
        assert!(close(&reading, 90.0), "{reading:?}");
        assert_eq!((reading.domains.len(), reading.flags.as_slice()), (1, &[Flag::DramUncovered][..]));
    }

    #[test]
    fn the_mmio_repetition_is_dropped() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0", 20.0);
        tree.zone("intel-rapl-mmio:0", "package-0", 20.0);
        let reading = measure(&tree).unwrap();
        assert!(close(&reading, 40.0), "{reading:?}");
        assert_eq!(reading.flags, [Flag::DramUncovered]);
    }

    #[test]
    fn mirrored_dies_are_counted_once() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0", 68.0);
        tree.zone("intel-rapl:1", "package-1", 68.0);
        let reading = measure(&tree).unwrap();
        assert!(close(&reading, 136.0), "{reading:?}");
        assert!(reading.flags.contains(&Flag::MirroredZone));
    }

    #[test]
    fn a_hypervisor_lowers_the_trust_and_sgx_is_flagged() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0", 20.0);
        tree.write("/proc/cpuinfo", "flags : sgx hypervisor\n");
        let reading = measure(&tree).unwrap();
        assert_eq!(reading.trust, Trust::Modelled);
        assert!(reading.flags.contains(&Flag::Hypervisor) && reading.flags.contains(&Flag::SgxFilter));
    }

    #[test]
    fn a_counter_that_wraps_inside_the_window_is_followed() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0", 65.0);
        tree.set("intel-rapl:0", RANGE - 80_000_000);
        assert!(close(&measure(&tree).unwrap(), 130.0));
    }

    #[test]
    fn a_stuck_zone_is_not_used() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0", 0.0);
        assert!(matches!(measure(&tree), Err(ReadError::Stuck { what, .. }) if what == "package-0"));
    }

    #[test]
    fn a_zone_that_vanishes_mid_run_invalidates_the_window() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0", 30.0);
        let meter = Powercap::open(&tree.sysfs()).unwrap();
        let info = meter.info().clone();
        let mut metering = Metering::unattended(vec![(Box::new(meter), info)], Arc::new(tree.clock()), &tree.sysfs());
        metering.start();
        tree.clock().sleep(Duration::from_secs(1));
        tree.remove("intel-rapl:0");
        metering.poll();
        let reading = metering.stop();
        assert_eq!(reading.joules, None);
        assert!(reading.invalid.unwrap().contains("intel-rapl:0/energy_uj is missing"));
    }

    #[test]
    fn nothing_text_and_unreadable_files_are_told_apart() {
        let tree = Tree::new();
        assert!(matches!(Powercap::open(&tree.sysfs()), Err(ReadError::Missing { .. })));
        tree.zone("intel-rapl:0", "package-0", 30.0);
        tree.write("/sys/class/powercap/intel-rapl:0/energy_uj", "a lot\n");
        let mut meter = Powercap::open(&tree.sysfs()).unwrap();
        assert!(matches!(meter.read(&tree.clock()), Err(ReadError::Malformed { .. })));
        // Root ignores mode 0400, so a directory stands in for a file that cannot be read.
        tree.remove("intel-rapl:0");
        std::fs::create_dir_all(tree.sysfs().path("/sys/class/powercap/intel-rapl:0/energy_uj")).unwrap();
        assert!(matches!(meter.read(&tree.clock()), Err(ReadError::Failed { .. })));
        let denied = ReadError::Denied { path: "energy_uj".into(), fix: UNLOCK.into() };
        assert!(denied.to_string().contains("sudo chmod a+r"));
    }

    #[test]
    fn the_highest_limit_bounds_what_is_plausible() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0", 30.0);
        let zone = "/sys/class/powercap/intel-rapl:0";
        tree.write(&format!("{zone}/constraint_0_power_limit_uw"), "15000000");
        tree.write(&format!("{zone}/constraint_1_power_limit_uw"), "51000000");
        let meter = Powercap::open(&tree.sysfs()).unwrap();
        assert_eq!(meter.info().domains[0].max_watts, Some(51.0));
        assert!(close(&measure(&tree).unwrap(), 60.0));
        // 8.2 kJ in a second is not 51 W.
        tree.zone("intel-rapl:0", "package-0", 8200.0);
        assert!(measure(&tree).unwrap().invalid.unwrap().contains("implausible"));
    }
}
