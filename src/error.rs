//! Errors of the whole program, gathered from the rooms, and the exit codes scripts rely on.
//!
//! Every room has its own enum whose variants carry data (expected, got, path, key). Messages are lower-case fragments
//! without a period; where the user can act they name the file, key or flag and the fix.

use std::path::PathBuf;

/// How the process ends. Part of the public interface: scripts and CI jobs branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// The command did what was asked; for `run` and `eval`, a tier clears its bar.
    Success = 0,
    /// Something failed; one line on stderr says what and how to fix it.
    Error = 1,
    /// The command line could not be understood.
    Usage = 2,
    /// Decided: no tier clears the bar.
    NoTierClears = 3,
    /// Undecided within the budget.
    Undecided = 4,
    /// Some cells failed; the others' results are kept and printed.
    CellsFailed = 5,
    /// A record's derived number differs from what its raw samples give.
    VerifyMismatch = 6,
    /// Stopped by Ctrl-C or a termination signal; finished cells are stored (128 + SIGINT).
    Interrupted = 130,
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// Any error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Model catalogue, sources, files, tokenizer, template or quantization.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// Running a model.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
    /// The measuring protocol.
    #[error(transparent)]
    Measure(#[from] crate::measure::MeasureError),
    /// Meters and windows.
    #[error(transparent)]
    Energy(#[from] crate::energy::EnergyError),
    /// Tasks, scorers and the evaluation loop.
    #[error(transparent)]
    Quality(#[from] crate::quality::QualityError),
    /// Price book and cost inputs.
    #[error(transparent)]
    Cost(#[from] crate::cost::CostError),
    /// Plans: unknown tiers, empty axes, impossible budgets.
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    /// History and records.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// Rendering.
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
    /// A flag or argument that clap accepts but the command cannot use.
    #[error("{0}")]
    Usage(String),
    /// A file the user named cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// `read`, `write`, `create` …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Standard output or error could not be written (a closed pipe is not an error: see `cli`).
    #[error("cannot write to standard output: {0}")]
    Terminal(#[from] std::io::Error),
}

impl Error {
    /// The exit status this error ends the process with.
    #[must_use]
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Usage(_) | Self::Plan(_) | Self::Store(crate::store::StoreError::NoRun) => ExitStatus::Usage,
            Self::Model(crate::model::ModelError::Interrupted(_)) => ExitStatus::Interrupted,
            _ => ExitStatus::Error,
        }
    }
}

/// Result of any library call.
pub type Result<T, E = Error> = std::result::Result<T, E>;
