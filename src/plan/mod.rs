//! What is to be run: tiers, workloads, cells and the plan they form. Pure: no clock, file or environment.

pub mod axis;
pub mod quote;
mod tier;
mod workload;

pub use tier::{Level, Tier, TierKey};
pub use workload::Workload;

/// What can be wrong with a plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A quantization level that does not exist.
    #[error("unknown level `{got}`: use one of {known}")]
    UnknownLevel {
        /// What the user wrote.
        got: String,
        /// All levels, comma-separated.
        known: String,
    },
    /// A list or range that cannot be read.
    #[error("cannot read `{got}` as a list of numbers: use 512, 128,512, 0-4096+1024 or 1-16*2")]
    BadList {
        /// What the user wrote.
        got: String,
    },
    /// An axis without a value.
    #[error("nothing to run: {0}")]
    Empty(&'static str),
}
