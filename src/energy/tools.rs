//! Meters of systems that have one only behind a program: Raspberry Pi 5, macOS, Windows 11.
//!
//! The programs of macOS and Windows were never run by us: their output is parsed by [`super::dialect`], which is tested on
//! recorded output.

use std::time::Duration;

use super::Flag;
use super::command::start;
use super::dialect::Dialect;
use super::meter::{Domain, MeterInfo, ReadError};
use super::reading::{Scope, Trust};
use super::sampler::Sampler;
use crate::measure::sysfs::SysFs;

/// Between readings.
const INTERVAL: Duration = Duration::from_millis(500);
/// Sensor bound of the Pi's power chip with its fit, an assumption.
const PMIC_BOUND: f64 = 0.10;
/// Of Apple's model, an assumption.
const APPLE_BOUND: f64 = 0.15;
/// Of counters inside the processor, an assumption.
const RAPL_BOUND: f64 = 0.05;

/// The rails of a Raspberry Pi 5's power chip.
///
/// # Errors
/// Another machine, or `vcgencmd` is not there or not allowed.
pub fn raspberry_pi(sysfs: &SysFs) -> Result<Sampler, ReadError> {
    let model = sysfs.text("/proc/device-tree/model").unwrap_or_default();
    // Only the 5 has a power chip that can be asked; a tree of files has no firmware to ask.
    if !model.contains("Raspberry Pi 5") || !sysfs.is_live() {
        return Err(ReadError::Missing { what: "the power chip of a Raspberry Pi 5".into() });
    }
    let info = MeterInfo {
        sensor_bound: Some(PMIC_BOUND),
        note: Some("vcgencmd pmic_read_adc, 1.1451 Σ V·I + 0.5879 W".into()),
        ..MeterInfo::new("pmic", Trust::Sampled, Scope::Machine, vec![Domain::gauge("pmic", Some(60.0))])
    };
    start(info, "vcgencmd (add yourself to the group `video`)", "vcgencmd pmic_read_adc", INTERVAL, Dialect::Pmic)
}

/// Apple silicon, by Apple's model of it.
///
/// # Errors
/// Another system, or `powermetrics` may not run: it wants root.
pub fn powermetrics() -> Result<Sampler, ReadError> {
    if !cfg!(target_os = "macos") {
        return Err(ReadError::Missing { what: "powermetrics (macOS)".into() });
    }
    let info = MeterInfo {
        sensor_bound: Some(APPLE_BOUND),
        flags: vec![Flag::DramUncovered],
        note: Some("a vendor's model: not comparable between devices; never tested by us".into()),
        ..MeterInfo::new("powermetrics", Trust::Modelled, Scope::Components, vec![Domain::gauge("soc", Some(500.0))])
    };
    let command = "powermetrics --samplers cpu_power,gpu_power -i 500";
    start(info, "powermetrics (run tierbench with sudo)", command, INTERVAL, Dialect::Powermetrics)
}

/// Windows 11's Energy Meter counters.
///
/// # Errors
/// Another system, or one that lists no package.
pub fn windows() -> Result<Sampler, ReadError> {
    if !cfg!(target_os = "windows") {
        return Err(ReadError::Missing { what: "Energy Meter counters (Windows 11)".into() });
    }
    let info = MeterInfo {
        sensor_bound: Some(RAPL_BOUND),
        note: Some("typeperf, Energy Meter; never tested by us".into()),
        ..MeterInfo::new(
            "energy-meter",
            Trust::Sampled,
            Scope::Components,
            vec![Domain::gauge("package", Some(1000.0))],
        )
    };
    let command = r#"typeperf "\Energy Meter(*)\Power" -si 1"#;
    start(info, "typeperf", command, Duration::from_secs(1), Dialect::Typeperf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::tree::Tree;

    #[test]
    fn other_machines_are_told_what_is_missing() {
        let tree = Tree::new();
        for model in ["", "Raspberry Pi 4 Model B Rev 1.4", "Raspberry Pi 5 Model B Rev 1.0"] {
            tree.write("/proc/device-tree/model", model);
            let error = raspberry_pi(&tree.sysfs()).unwrap_err();
            assert!(error.to_string().contains("Raspberry Pi 5"), "{error}");
        }
        if cfg!(target_os = "linux") {
            assert!(matches!(powermetrics(), Err(ReadError::Missing { .. })));
            assert!(matches!(windows(), Err(ReadError::Missing { .. })));
        }
    }
}
