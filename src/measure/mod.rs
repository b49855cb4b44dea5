//! Measuring speed: protocol, interleaving, stopping, and the evidence that a number is what it says.
//!
//! [`measure_cells`] runs [`Cell`]s — one tier on one workload each — in randomised blocks and returns a [`SpeedCell`] of
//! raw samples for each. Energy is the room beside this one ([`crate::energy`]); the two share [`clock`] and [`sysfs`].
//! This room knows nothing of tasks, text or money, and prints nothing.

pub mod bandwidth;
pub mod clock;
pub mod host;
mod interleave;
pub mod memory;
pub mod noise;
mod protocol;
mod speed;
pub mod sysfs;
mod warning;

pub use interleave::{Cell, Event, Instruments, measure_cells, try_out};
pub use protocol::{Protocol, token_id};
pub use speed::{EnergyWindow, Percentiles, SpeedCell, SpeedSample, block_ratios};
pub use warning::{Evidence, Warning, warnings};

use crate::engine::EngineError;

/// What can go wrong in this room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// The engine failed; other cells go on.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine returned something that no model computes.
    #[error("{workload}: {what}")]
    Implausible {
        /// The workload.
        workload: String,
        /// What is wrong.
        what: String,
    },
    /// A workload without tokens.
    #[error("nothing to time: a workload needs prompt or generated tokens and at least one sequence")]
    EmptyWorkload,
    /// Stopped before the cell had its samples.
    #[error("interrupted")]
    Interrupted,
}
