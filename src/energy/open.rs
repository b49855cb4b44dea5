//! Which source is used, and why the better ones are not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calibrate::{Watch, calibrate};
use super::estimate::{Estimate, LoadModel};
use super::meter::{Meter, MeterInfo, ReadError};
use super::{EnergyError, Session};
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
}

impl MeterChoice {
    /// All choices, by name.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("none", Self::None), ("estimate", Self::Estimate)];
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

/// Opens the best source the options allow. `Auto` always succeeds, in the worst case without a source.
///
/// # Errors
/// [`EnergyError`] if a source that was asked for by name cannot be used.
pub fn open(options: &EnergyOptions, clock: Arc<dyn Clock>) -> Result<Session, EnergyError> {
    let meters = match options.choice {
        MeterChoice::None => Vec::new(),
        MeterChoice::Auto => processor(options).iter().find_map(|c| c.ready(&*clock).ok()).into_iter().collect(),
        MeterChoice::Estimate => vec![named(&estimate(options), &*clock)?],
    };
    Ok(Session::new(meters, clock, &options.sysfs))
}

fn named(candidate: &Candidate, clock: &dyn Clock) -> Result<Ready, EnergyError> {
    candidate.ready(clock).map_err(|source| EnergyError::Unusable { meter: candidate.source.into(), source })
}

/// Every source with its state, best first.
#[must_use]
pub fn survey(options: &EnergyOptions, clock: &dyn Clock) -> Vec<SourceFacts> {
    let look = |candidate: &Candidate| {
        let (info, reason) = match candidate.ready(clock) {
            Ok((_, info)) => (Some(info), None),
            Err(error) => (None, Some(error.to_string())),
        };
        SourceFacts { source: candidate.source.into(), info, reason }
    };
    processor(options).iter().map(look).collect()
}

/// Sources of the processor's energy, best first.
fn processor(options: &EnergyOptions) -> Vec<Candidate> {
    vec![estimate(options)]
}

fn estimate(options: &EnergyOptions) -> Candidate {
    let (sysfs, tdp_w) = (options.sysfs.clone(), options.tdp_w);
    let open: Opener = Box::new(move || {
        let model = LoadModel::choose(&HostFacts::read(&sysfs), tdp_w);
        Ok(Box::new(Estimate::open(&sysfs, model)?) as Box<dyn Meter>)
    });
    Candidate { source: "estimate", watch: Watch::PROCESSOR, open }
}
