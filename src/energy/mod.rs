//! Energy: meters, windows, idle baselines, trust classes.
//!
//! [`open`] picks the best source of a machine and returns a [`Session`]; [`Session::start`] and [`Session::stop`] give a
//! [`Reading`]. A read that fails, sticks or jumps makes its window invalid with a reason; it never becomes 0. This room
//! knows nothing of tokens, models or money.
//!
//! | source | trust | covers |
//! | --- | --- | --- |
//! | [`estimate`] | estimated: always a range | processor, from its load |

mod account;
mod calibrate;
pub mod estimate;
mod meter;
mod open;
mod reading;
mod session;

pub use calibrate::{Watch, calibrate};
pub use meter::{Domain, DomainKind, Meter, MeterInfo, ReadError, Role, Value};
pub use open::{EnergyOptions, MeterChoice, SourceFacts, open, survey};
pub use reading::{Flag, RawRead, Reading, Scope, Trust, trapezoid};
pub use session::{IdleBaselines, Session};

/// What can go wrong in this room. Trouble while measuring is not here: it makes a [`Reading`] invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnergyError {
    /// A source asked for by name cannot be used.
    #[error("meter `{meter}` cannot be used: {source} (`--meter auto` takes the best there is)")]
    Unusable {
        /// Its name.
        meter: String,
        /// Why.
        source: ReadError,
    },
}
