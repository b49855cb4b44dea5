//! Energy: meters, windows, idle baselines, trust classes.
//!
//! [`open`] picks the best source of a machine and returns a [`Metering`]; [`Metering::start`] and [`Metering::stop`] give a
//! [`Reading`]. A read that fails, sticks or jumps makes its window invalid with a reason; it never becomes 0. This room
//! knows nothing of tokens, models or money.
//!
//! | source | trust | covers |
//! | --- | --- | --- |
//! | [`command`], [`csv`], `plug` (feature `http-meter`) | wall if labelled, else sampled | whatever the external meter sees |
//! | [`nvml`] | counter, cross-checked with the power gauge | one NVIDIA GPU |
//! | [`powercap`], [`perf`] | counter; modelled under a hypervisor | processor packages and memory |
//! | [`hwmon`] | sampled or counter | board input rail, or GPUs |
//! | [`tools`] | sampled or modelled | Raspberry Pi 5; macOS and Windows (untested) |
//! | [`battery`] | sampled | the machine, while it discharges |
//! | [`estimate`] | estimated: always a range | processor, from its load |

mod account;
pub mod battery;
mod calibrate;
pub mod command;
mod cool;
pub mod csv;
pub mod dialect;
pub mod estimate;
pub mod flag;
pub mod hwmon;
mod idle;
mod meter;
mod metering;
pub mod nvml;
mod open;
pub mod perf;
mod perf_event;
#[cfg(feature = "http-meter")]
pub mod plug;
pub mod powercap;
mod rapl;
mod raw;
mod reading;
pub mod sampler;
pub mod tools;
#[cfg(test)]
mod tree;

pub use calibrate::{Watch, calibrate};
pub use cool::{LONGEST as LONGEST_COOL_DOWN, cool_down};
pub use flag::Flag;
pub use idle::IdleBaselines;
pub use meter::{Domain, DomainKind, Meter, MeterInfo, ReadError, Role, Value};
pub use metering::Metering;
pub use open::{EnergyOptions, MeterChoice, SourceFacts, open, survey};
pub use raw::{RawRead, trapezoid};
pub use reading::{Reading, Scope, Trust};

/// What can go wrong in this room. Trouble while measuring is not here: it makes a [`Reading`] invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnergyError {
    /// `--meter NAME` beside `--power-cmd` or `--power-csv`.
    #[error("an external meter and --meter exclude each other: drop one of them")]
    TwoMeters,
    /// A source asked for by name cannot be used.
    #[error("meter `{meter}` cannot be used: {source} (`--meter auto` takes the best there is)")]
    Unusable {
        /// Its name.
        meter: String,
        /// Why.
        source: ReadError,
    },
}
