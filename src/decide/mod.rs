//! Verdicts over a ladder. Pure: counts and costs in, decisions with their error statements out.
//!
//! | module | answers |
//! | --- | --- |
//! | [`verdict`] | does this tier clear the bar? CLEARS, FAILS or UNDECIDED, with its error bound |
//! | [`ladder`] | which tier to test next, and the cheapest that clears |
//! | [`Rule`] | bar, errors, margin, tiers: fixed beforehand; the error statement |
//! | [`pareto`] | which tiers no other beats in both cost and quality |
//! | [`paired`] | is a tier as good as a reference tier on the same items? |
//! | [`cascade`] | is a weak tier with a strong one behind it cheaper? |

pub mod cascade;
pub mod ladder;
pub mod paired;
pub mod pareto;
mod rule;
pub mod verdict;

#[cfg(test)]
mod simulation;

pub use rule::{Question, Rule};
pub use verdict::{Assessment, State, Verdict};

/// What can be wrong with a rule or a ladder.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecideError {
    /// A bar (or a bar minus the margin) outside (0, 1).
    #[error(transparent)]
    Bar(#[from] crate::stats::eprocess::InvalidBar),
    /// An error probability outside (0, 1).
    #[error("{name} is {got}: an error probability lies strictly between 0 and 1, e.g. 0.05")]
    Probability {
        /// `alpha` or `beta`.
        name: &'static str,
        /// What was given.
        got: f64,
    },
    /// A margin below 0, or one that leaves no bar.
    #[error("margin is {margin}: it lies between 0 and the bar of {bar}")]
    Margin {
        /// What was given.
        margin: f64,
        /// The bar.
        bar: f64,
    },
    /// A count that must be at least 1.
    #[error("{name} is 0: it must be at least 1")]
    Zero {
        /// The field.
        name: &'static str,
    },
    /// Pass/fail items pushed into a score verdict or the other way round.
    #[error("this verdict counts {expected}, not {got}: one verdict cannot mix them")]
    Kind {
        /// What the state was made for.
        expected: &'static str,
        /// What was pushed.
        got: &'static str,
    },
    /// A score that is not in [0, 1].
    #[error("score {0} is outside [0, 1]: normalize the metric before it is judged")]
    Score(f64),
}
