//! From joules and seconds to dollars. Pure: price files are embedded, the user's are handed in as text.
//!
//! | module | answers |
//! | --- | --- |
//! | [`formula`] | F2–F12: joules per token, electricity, capital, busy hours, tasks |
//! | [`breakeven`] | F13, F14: against an API price, between two tiers |
//! | [`api`] | a tier against the list price of a hosted model |
//! | [`flip`] | how far an assumption must move before another tier is the cheapest |
//! | [`uncertainty`] | F15, F16: how sure a joule and a dollar are |
//! | [`gauge`] | F1: counters that wrap; a cloud load model |
//! | [`trend`] | F18: how fast a price falls |
//! | [`mod@reference`] | published falls of prices |
//! | [`demand`] | what cheaper tokens do to the bill; value against cost |
//! | [`book`] | prices of electricity, hardware, APIs and carbon, each with source and date |
//! | [`assumptions`] | what one run assumes, each value with where it comes from |
//! | [`estimate`] | a tier's cost with intervals, from readings and assumptions |
//! | [`sensitivity`] | which input the result depends on |
//! | [`date`] | calendar dates |

pub mod api;
pub mod assumptions;
pub mod book;
pub mod breakeven;
pub mod date;
pub mod demand;
pub mod estimate;
pub mod flip;
pub mod formula;
pub mod gauge;
pub mod reference;
pub mod sensitivity;
pub mod trend;
pub mod uncertainty;
mod userfile;

pub use assumptions::{Assumptions, Hardware, Sourced};
pub use book::PriceBook;
pub use estimate::{CostEstimate, EnergyTerm};
pub use userfile::UserFile;

/// What can go wrong with price files and cost inputs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CostError {
    /// A file that is not TOML, or has a key or a value that does not belong there.
    #[error("{file}:{line}: {message}")]
    File {
        /// The file as the user named it.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong, with the key.
        message: String,
    },
    /// A number that its key cannot have.
    #[error("{key} is {got}: it must be {must}")]
    Value {
        /// The key or flag.
        key: String,
        /// What was given.
        got: f64,
        /// What it may be.
        must: &'static str,
    },
    /// A price in another currency without an exchange rate.
    #[error("{what} is in {currency}: add [exchange] {currency} = dollars per {currency} to your price file")]
    Currency {
        /// The row or key.
        what: String,
        /// Its currency.
        currency: String,
    },
    /// An id that is in no price table.
    #[error("no {kind} row `{id}` in the price book: use one of {known}")]
    UnknownRow {
        /// `electricity`, `hardware`, `api` or `carbon`.
        kind: &'static str,
        /// What was asked for.
        id: String,
        /// Ids, comma-separated.
        known: String,
    },
    /// A key that no assumption has.
    #[error("unknown cost key `{key}`: use one of {known}")]
    UnknownKey {
        /// What was given.
        key: String,
        /// Keys, comma-separated.
        known: String,
    },
    /// A row that lacks the number asked of it.
    #[error("{kind} row `{id}` has no {what}: choose another row or give the number yourself")]
    Missing {
        /// Table.
        kind: &'static str,
        /// Row.
        id: String,
        /// Number.
        what: &'static str,
    },
}
