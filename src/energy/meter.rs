//! The trait every source of energy implements.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Flag;
use super::reading::{Scope, Trust};
use crate::measure::clock::Clock;
use crate::measure::sysfs::SysFs;

/// A source of energy or power readings. Knows nothing of windows: it says what its counters and gauges show now.
pub trait Meter: Send {
    /// What this is.
    fn info(&self) -> &MeterInfo;

    /// One value per domain, in the order of [`MeterInfo::domains`].
    ///
    /// # Errors
    /// What kept it from reading. A failed read is never a 0: the window it falls into becomes invalid.
    fn read(&mut self, clock: &dyn Clock) -> Result<Vec<Value>, ReadError>;

    /// The log this reads, if it is one that may reach over a window only after the window has closed.
    fn log(&self) -> Option<&Path> {
        None
    }
}

/// What a source is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeterInfo {
    /// Short name, as in records.
    pub source: String,
    /// Trust class of what it gives.
    pub trust: Trust,
    /// Boundary.
    pub scope: Scope,
    /// Sensor bound ±a relative to the value; an assumption by class (F15).
    pub sensor_bound: Option<f64>,
    /// Domains it reads.
    pub domains: Vec<Domain>,
    /// Time between updates, ms; `None` until measured.
    pub tick_ms: Option<f64>,
    /// Flags every reading of it carries.
    pub flags: Vec<Flag>,
    /// How a reader can recognise the device: GPU name, meter model, assumed power.
    pub note: Option<String>,
}

impl Domain {
    /// A gauge in the sum.
    #[must_use]
    pub fn gauge(name: impl Into<String>, max_watts: Option<f64>) -> Self {
        Self { name: name.into(), role: Role::Counted, kind: DomainKind::Gauge, max_watts }
    }
}

impl MeterInfo {
    /// A source of which nothing else is known yet: no bound, no tick, no flags.
    #[must_use]
    pub fn new(source: &str, trust: Trust, scope: Scope, domains: Vec<Domain>) -> Self {
        let source = source.to_owned();
        Self { source, trust, scope, sensor_bound: None, domains, tick_ms: None, flags: Vec::new(), note: None }
    }

    /// Names of the domains in the sum.
    pub fn counted(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().filter(|d| d.role == Role::Counted).map(|d| d.name.as_str())
    }
}

/// One thing a source reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// E.g. `package-0`, `dram-0`, `psys`, `gpu-0`, `VDD_IN`.
    pub name: String,
    /// Its place in the sum.
    pub role: Role,
    /// Counter or gauge.
    pub kind: DomainKind,
    /// More than this many watts cannot be true; readings that imply twice as much are refused.
    pub max_watts: Option<f64>,
}

/// What a domain is to the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Part of it.
    Counted,
    /// Inside a counted domain (`core`, `uncore`) or a repetition of one: read, never added.
    Inside,
    /// Around the counted domains (`psys`): reported beside the sum.
    Around,
    /// The same energy by a second path: the two are compared.
    Twin,
}

/// How a domain reads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainKind {
    /// Cumulative energy.
    Counter {
        /// Joules per count.
        joules_per_count: f64,
        /// Counts at which it starts over; `None` if it does not.
        range: Option<u64>,
    },
    /// Power.
    Gauge,
}

/// What a domain shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A counter's count.
    Count(u64),
    /// A gauge's values since the last read: (clock's ns, W), in order of time. May be empty.
    Watts(Vec<(u64, f64)>),
}

/// Why a source could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No permission.
    #[error("no permission to read {path}: {fix}")]
    Denied {
        /// The file or device.
        path: PathBuf,
        /// The command that unlocks it.
        fix: String,
    },
    /// It is gone, or was never there.
    #[error("{what} is missing")]
    Missing {
        /// The file or device.
        what: String,
    },
    /// It is not a number.
    #[error("{what} gave `{got}`, expected {expected}")]
    Malformed {
        /// The file or command.
        what: String,
        /// What it gave, shortened.
        got: String,
        /// What was expected.
        expected: &'static str,
    },
    /// It cannot be true.
    #[error("{what} is implausible: {why}")]
    Implausible {
        /// The domain.
        what: String,
        /// The reason.
        why: String,
    },
    /// It does not move.
    #[error("{what} is stuck: it has not moved for {ms} ms")]
    Stuck {
        /// The domain.
        what: String,
        /// How long it was watched.
        ms: u64,
    },
    /// A program or library that should give readings failed.
    #[error("{what} failed: {why}")]
    Failed {
        /// The program or library.
        what: String,
        /// What it said.
        why: String,
    },
}

/// Shortens foreign text for an error message.
pub(super) fn excerpt(text: &str) -> String {
    let line = text.lines().next().unwrap_or("").trim();
    let mut short: String = line.chars().filter(|c| !c.is_control()).take(40).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

/// Reads one of the kernel's files; `fix` is the command that gives the permission.
pub(super) fn read_text(sysfs: &SysFs, path: &str, fix: &str) -> Result<String, ReadError> {
    sysfs.read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => ReadError::Missing { what: path.to_owned() },
        std::io::ErrorKind::PermissionDenied => ReadError::Denied { path: path.into(), fix: fix.to_owned() },
        _ => ReadError::Failed { what: path.to_owned(), why: error.to_string() },
    })
}

/// Reads a file of one whole number.
pub(super) fn read_count(sysfs: &SysFs, path: &str, fix: &str) -> Result<u64, ReadError> {
    let text = read_text(sysfs, path, fix)?;
    text.trim().parse().map_err(|_error| ReadError::Malformed {
        what: path.to_owned(),
        got: excerpt(&text),
        expected: "a whole number",
    })
}
