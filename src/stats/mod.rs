//! Statistics. Pure: no clock, no file, and no randomness without a seed.
//!
//! Every function's documentation holds its formula, because tools disagree silently (the standard deviation here
//! divides by n - 1; quantiles say which kind they are). What is undefined for the data handed in — an empty sample, a
//! non-finite value, a level outside (0, 1) — is `None`, never NaN or 0.
//!
//! | module | answers |
//! | --- | --- |
//! | [`quantile`] | medians and percentiles of a sample, sorted inside the type |
//! | [`bootstrap`] | intervals of medians, means and ratios, with a portable generator |
//! | [`cluster`] | means of correlated items |
//! | [`binomial`] | exact and Wilson intervals, exact tails, fixed n |
//! | [`eprocess`] | evidence that may be looked at after every item |
//! | [`suite`] | the same for a finite suite without replacement |
//! | [`sequential`] | exact error rates and mean items of sequential rules; the final look |
//! | [`compare`] | two tiers on the same items; Holm |
//! | [`ratio`] | one quantity over another, paired or not, either of them 0 or not |
//! | [`regression`] | a line through points, with its slope's interval |
//! | [`agreement`] | kappa, macro-F1, AUROC |
//! | [`fidelity`] | perplexity, KL divergence, Δp, same top, flips |
//! | [`sampling`] | speculation and pass@k |
//! | [`rouge`] | ROUGE-L |
//! | [`distribution`] | quantiles of the normal and Student's t distribution |

pub mod agreement;
pub mod binomial;
pub mod bootstrap;
pub mod cluster;
pub mod compare;
pub mod distribution;
pub mod eprocess;
pub mod fidelity;
pub mod quantile;
pub mod ratio;
pub mod regression;
mod resamples;
pub mod rouge;
pub mod sampling;
pub mod sequential;
pub mod suite;
