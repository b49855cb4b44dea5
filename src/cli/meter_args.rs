//! Flags shared by every command that measures energy.

use std::path::PathBuf;
use std::time::Duration;

use super::Ui;
use crate::energy::{EnergyOptions, MeterChoice};
use crate::engine::DeviceChoice;
use crate::measure::sysfs::SysFs;

/// How to measure energy.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Energy")]
pub(super) struct MeterArgs {
    /// Source of energy readings: auto, none, estimate, rapl, perf, nvml, hwmon, battery, pmic or system
    #[arg(long, default_value = "auto", value_name = "NAME")]
    pub(super) meter: MeterChoice,
    /// Shell command that prints watts of the whole machine, once or line by line (a wall plug, a logger)
    #[arg(long, value_name = "COMMAND")]
    pub(super) power_cmd: Option<String>,
    /// Seconds between readings of --power-cmd and --power-url
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5)]
    pub(super) power_interval: f64,
    /// Log of an external meter, rows of `t_unix,watts`; may still be growing
    #[arg(long, value_name = "FILE", conflicts_with = "power_cmd")]
    pub(super) power_csv: Option<PathBuf>,
    /// Address of a Shelly or Tasmota plug, e.g. http://192.168.1.20
    #[cfg(feature = "http-meter")]
    #[arg(long, value_name = "URL", conflicts_with_all = ["power_cmd", "power_csv"])]
    pub(super) power_url: Option<String>,
    /// Model and accuracy of the external meter, e.g. "Shelly Plug S, 2 %"; without it readings are not called `wall`
    #[arg(long, value_name = "TEXT")]
    pub(super) power_label: Option<String>,
    /// Nominal power of the processor for --meter estimate
    #[arg(long, value_name = "WATTS")]
    pub(super) tdp: Option<f64>,
}

impl MeterArgs {
    /// Whether an external meter is given.
    pub(super) fn is_external(&self) -> bool {
        self.power_cmd.is_some() || self.power_csv.is_some() || self.power_url().is_some()
    }

    fn power_url(&self) -> Option<&String> {
        #[cfg(feature = "http-meter")]
        return self.power_url.as_ref();
        #[cfg(not(feature = "http-meter"))]
        None
    }

    /// Options for a model on `device`.
    pub(super) fn options(&self, ui: &Ui, device: DeviceChoice) -> EnergyOptions {
        EnergyOptions {
            choice: self.meter,
            sysfs: SysFs::new(&ui.sysfs_root),
            power_cmd: self.power_cmd.clone(),
            power_interval: Duration::try_from_secs_f64(self.power_interval).unwrap_or(Duration::from_millis(500)),
            power_csv: self.power_csv.clone(),
            power_url: self.power_url().cloned(),
            power_label: self.power_label.clone(),
            tdp_w: self.tdp.filter(|watts| watts.is_finite() && *watts > 0.0),
            device,
        }
    }
}
