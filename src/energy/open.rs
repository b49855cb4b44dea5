//! Which source is used, and why the better ones are not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::battery::Battery;
use super::calibrate::{Watch, calibrate};
use super::command;
use super::csv::PowerLog;
use super::estimate::{Estimate, LoadModel};
use super::hwmon::Hwmon;
use super::meter::{Meter, MeterInfo, ReadError};
use super::nvml::NvmlMeter;
use super::perf::Perf;
use super::powercap::Powercap;
use super::tools;
use super::{EnergyError, Metering};
use crate::engine::DeviceChoice;
use crate::measure::clock::Clock;
use crate::measure::host::HostFacts;
use crate::measure::sysfs::SysFs;

/// Which source the user wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MeterChoice {
    /// The best there is.
    #[default]
    Auto,
    /// No energy.
    None,
    /// The load model.
    Estimate,
    /// RAPL through powercap.
    Rapl,
    /// RAPL through perf events.
    Perf,
    /// An NVIDIA GPU, alone.
    Nvml,
    /// Board input rail or GPU sensors.
    Hwmon,
    /// A discharging battery.
    Battery,
    /// The power chip of a Raspberry Pi 5.
    Pmic,
    /// What the operating system offers: `powermetrics` on macOS, Energy Meter counters on Windows. Untested.
    System,
}

impl MeterChoice {
    /// All choices, by name.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("none", Self::None),
        ("estimate", Self::Estimate),
        ("rapl", Self::Rapl),
        ("perf", Self::Perf),
        ("nvml", Self::Nvml),
        ("hwmon", Self::Hwmon),
        ("battery", Self::Battery),
        ("pmic", Self::Pmic),
        ("system", Self::System),
    ];
}

impl std::str::FromStr for MeterChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
            format!("unknown meter `{text}`: use {}", names.join(", "))
        })
    }
}

/// How energy is to be measured.
#[derive(Clone, Debug)]
pub struct EnergyOptions {
    /// The source.
    pub choice: MeterChoice,
    /// Where the kernel's files are.
    pub sysfs: SysFs,
    /// Prints watts.
    pub power_cmd: Option<String>,
    /// How often it is run.
    pub power_interval: Duration,
    /// `t_unix,watts` rows of a logger.
    pub power_csv: Option<PathBuf>,
    /// Address of a wall plug; needs the feature `http-meter`.
    pub power_url: Option<String>,
    /// Model and accuracy of the external meter; without it its trust is not `wall`.
    pub power_label: Option<String>,
    /// Power of the processor for the estimate, W.
    pub tdp_w: Option<f64>,
    /// Device the model runs on.
    pub device: DeviceChoice,
}

impl Default for EnergyOptions {
    fn default() -> Self {
        Self {
            choice: MeterChoice::Auto,
            sysfs: SysFs::default(),
            power_cmd: None,
            power_interval: Duration::from_millis(500),
            power_csv: None,
            power_url: None,
            power_label: None,
            tdp_w: None,
            device: DeviceChoice::Cpu,
        }
    }
}

/// A source that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct SourceFacts {
    /// Its name.
    pub source: String,
    /// What it is; `None` if it cannot be used.
    pub info: Option<MeterInfo>,
    /// Why it cannot be used, with the command that changes that where there is one.
    pub reason: Option<String>,
}

/// A source not yet opened.
struct Candidate {
    source: &'static str,
    watch: Watch,
    open: Opener,
}

type Opener = Box<dyn Fn() -> Result<Box<dyn Meter>, ReadError>>;
type Ready = (Box<dyn Meter>, MeterInfo);

impl Candidate {
    fn ready(&self, clock: &dyn Clock) -> Result<Ready, ReadError> {
        let mut meter = (self.open)()?;
        let info = calibrate(&mut *meter, clock, self.watch)?;
        Ok((meter, info))
    }
}

/// Opens the best source the options allow: an external meter if one is given; for a GPU its own counter plus the
/// processor's; else the best of the processor. `Auto` always succeeds, in the worst case without a source.
///
/// # Errors
/// [`EnergyError`] if a source that was asked for cannot be used.
pub fn open(options: &EnergyOptions, clock: Arc<dyn Clock>) -> Result<Metering, EnergyError> {
    let ready = |candidate: &Candidate| {
        candidate.ready(&*clock).map_err(|source| EnergyError::Unusable { meter: candidate.source.into(), source })
    };
    let meters = match (options.choice, external(options)) {
        (MeterChoice::None, _) => Vec::new(),
        (MeterChoice::Auto, Some(external)) => vec![ready(&external)?],
        (_, Some(_)) => return Err(EnergyError::TwoMeters),
        (MeterChoice::Auto, None) => automatic(options, &*clock),
        (MeterChoice::Estimate, None) => vec![ready(&estimate(options))?],
        (MeterChoice::Rapl, None) => vec![ready(&powercap(options))?],
        (MeterChoice::Perf, None) => vec![ready(&perf(options))?],
        (MeterChoice::Nvml, None) => vec![ready(&nvml(options))?],
        (MeterChoice::Hwmon, None) => vec![ready(&board(options)).or_else(|_| ready(&gpus(options)))?],
        (MeterChoice::Battery, None) => vec![ready(&battery(options))?],
        (MeterChoice::Pmic, None) => vec![ready(&pmic(options))?],
        (MeterChoice::System, None) => vec![ready(&system())?],
    };
    Ok(Metering::new(meters, clock, &options.sysfs))
}

/// The best there is. A GPU's energy without a GPU meter is unknown: the processor's alone would look like the whole.
fn automatic(options: &EnergyOptions, clock: &dyn Clock) -> Vec<Ready> {
    let first = |candidates: Vec<Candidate>| candidates.iter().find_map(|candidate| candidate.ready(clock).ok());
    match options.device {
        DeviceChoice::Cpu => first(processor(options)).into_iter().collect(),
        DeviceChoice::Cuda(_) => match nvml(options).ready(clock) {
            Ok(gpu) => std::iter::once(gpu).chain(first(vec![powercap(options), perf(options)])).collect(),
            Err(_) => first(vec![board(options), battery(options)]).into_iter().collect(),
        },
        DeviceChoice::Metal => first(vec![board(options), battery(options)]).into_iter().collect(),
    }
}

/// Every source with its state, best first.
#[must_use]
pub fn survey(options: &EnergyOptions, clock: &dyn Clock) -> Vec<SourceFacts> {
    let look = |candidate: Candidate| {
        let (info, reason) = match candidate.ready(clock) {
            Ok((_, info)) => (Some(info), None),
            Err(error) => (None, Some(error.to_string())),
        };
        SourceFacts { source: candidate.source.into(), info, reason }
    };
    let rest = processor(options);
    external(options).into_iter().chain([nvml(options), gpus(options)]).chain(rest).map(look).collect()
}

/// Sources of the processor's energy, best first.
fn processor(options: &EnergyOptions) -> Vec<Candidate> {
    let mut candidates = vec![powercap(options), perf(options), board(options), pmic(options)];
    if cfg!(any(target_os = "macos", target_os = "windows")) {
        candidates.push(system());
    }
    candidates.extend([battery(options), estimate(options)]);
    candidates
}

fn external(options: &EnergyOptions) -> Option<Candidate> {
    let label = options.power_label.clone();
    if let Some(command) = options.power_cmd.clone() {
        let interval = options.power_interval;
        return Some(candidate("power-cmd", Watch::PROCESSOR, move || {
            command::open(&command, interval, label.as_deref())
        }));
    }
    #[cfg(feature = "http-meter")]
    if let Some(url) = options.power_url.clone() {
        let interval = options.power_interval;
        return Some(candidate("power-url", Watch::PROCESSOR, move || {
            super::plug::open(&url, interval, label.as_deref())
        }));
    }
    let path = options.power_csv.clone()?;
    Some(candidate("power-csv", Watch::PROCESSOR, move || PowerLog::open(&path, label.as_deref())))
}

fn nvml(options: &EnergyOptions) -> Candidate {
    let ordinal = if let DeviceChoice::Cuda(ordinal) = options.device { ordinal } else { 0 };
    let live = options.sysfs.is_live();
    candidate("nvml", Watch::GPU, move || {
        // A tree of files has no driver; the machine that holds it may.
        if !live {
            return Err(ReadError::Missing { what: "an NVIDIA driver below --sysfs-root".into() });
        }
        NvmlMeter::open(u32::try_from(ordinal).unwrap_or(u32::MAX))
    })
}

fn powercap(options: &EnergyOptions) -> Candidate {
    let sysfs = options.sysfs.clone();
    candidate("powercap", Watch::PROCESSOR, move || Powercap::open(&sysfs))
}

fn perf(options: &EnergyOptions) -> Candidate {
    let sysfs = options.sysfs.clone();
    candidate("perf", Watch::PROCESSOR, move || {
        // The system call reaches the real counters whatever the tree says.
        if !sysfs.is_live() {
            return Err(ReadError::Missing { what: "perf events below --sysfs-root".into() });
        }
        Perf::open(&sysfs)
    })
}

fn board(options: &EnergyOptions) -> Candidate {
    let sysfs = options.sysfs.clone();
    candidate("hwmon", Watch::PROCESSOR, move || Hwmon::board(&sysfs))
}

fn gpus(options: &EnergyOptions) -> Candidate {
    let sysfs = options.sysfs.clone();
    candidate("hwmon-gpu", Watch::GPU, move || Hwmon::gpus(&sysfs))
}

fn battery(options: &EnergyOptions) -> Candidate {
    let sysfs = options.sysfs.clone();
    candidate("battery", Watch::PROCESSOR, move || Battery::open(&sysfs))
}

fn pmic(options: &EnergyOptions) -> Candidate {
    let sysfs = options.sysfs.clone();
    candidate("pmic", Watch::PROCESSOR, move || tools::raspberry_pi(&sysfs))
}

fn system() -> Candidate {
    if cfg!(target_os = "windows") {
        return candidate("energy-meter", Watch::PROCESSOR, tools::windows);
    }
    candidate("powermetrics", Watch::PROCESSOR, tools::powermetrics)
}

fn estimate(options: &EnergyOptions) -> Candidate {
    let (sysfs, tdp_w) = (options.sysfs.clone(), options.tdp_w);
    candidate("estimate", Watch::PROCESSOR, move || {
        Estimate::open(&sysfs, LoadModel::choose(&HostFacts::read(&sysfs), tdp_w))
    })
}

fn candidate<M: Meter + 'static>(
    source: &'static str,
    watch: Watch,
    open: impl Fn() -> Result<M, ReadError> + 'static,
) -> Candidate {
    Candidate { source, watch, open: Box::new(move || Ok(Box::new(open()?) as Box<dyn Meter>)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::tree::Tree;

    fn options(tree: &Tree) -> EnergyOptions {
        EnergyOptions { sysfs: tree.sysfs(), ..EnergyOptions::default() }
    }

    fn source(options: &EnergyOptions, tree: &Tree) -> Option<String> {
        let metering = open(options, Arc::new(tree.clock())).unwrap();
        metering.infos().first().map(|info| info.source.clone())
    }

    #[test]
    fn the_best_source_wins_and_an_empty_machine_has_none() {
        let tree = Tree::new();
        assert_eq!(source(&options(&tree), &tree), None);
        tree.write("/proc/stat", "cpu  1 0 0 1 0 0 0 0 0 0\n");
        assert_eq!(source(&options(&tree), &tree).as_deref(), Some("estimate"));
        tree.zone("intel-rapl:0", "package-0", 0.0);
        assert_eq!(source(&options(&tree), &tree).as_deref(), Some("estimate"), "a stuck counter is not used");
        tree.zone("intel-rapl:0", "package-0", 30.0);
        assert_eq!(source(&options(&tree), &tree).as_deref(), Some("powercap"));
    }

    #[test]
    fn a_gpu_without_a_meter_is_not_measured_by_the_processor_alone() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0", 30.0);
        let gpu = EnergyOptions { device: DeviceChoice::Cuda(0), ..options(&tree) };
        assert_eq!(source(&gpu, &tree), None);
    }

    #[test]
    fn a_source_asked_for_by_name_must_work() {
        let tree = Tree::new();
        for (name, choice) in MeterChoice::NAMES {
            assert_eq!(name.parse::<MeterChoice>().unwrap(), *choice);
            if !matches!(choice, MeterChoice::Auto | MeterChoice::None) {
                let error = open(&EnergyOptions { choice: *choice, ..options(&tree) }, Arc::new(tree.clock()));
                assert!(error.unwrap_err().to_string().contains("--meter auto"), "{name}");
            }
        }
        assert!("watts".parse::<MeterChoice>().unwrap_err().contains("battery"));
        let both = EnergyOptions { choice: MeterChoice::Rapl, power_cmd: Some("echo 1".into()), ..options(&tree) };
        assert!(matches!(open(&both, Arc::new(tree.clock())), Err(EnergyError::TwoMeters)));
    }

    #[test]
    fn the_survey_says_why_each_source_is_not_used() {
        let tree = Tree::new();
        tree.write("/proc/stat", "cpu  1 0 0 1 0 0 0 0 0 0\n");
        let found = survey(&options(&tree), &tree.clock());
        assert_eq!(found.last().map(|s| (s.source.as_str(), s.info.is_some())), Some(("estimate", true)));
        assert!(found[..found.len() - 1].iter().all(|s| s.info.is_none() && s.reason.is_some()), "{found:?}");
    }
}
