//! Statistics. Pure: no clock, no file, and no randomness without a seed.
//!
//! Every function's documentation holds its formula, because tools disagree silently (the standard deviation here
//! divides by n - 1; quantiles say which kind they are). What is undefined for the data handed in — an empty sample, a
//! non-finite value, a level outside (0, 1) — is `None`, never NaN or 0.
//!
//! | module | answers |
//! | --- | --- |
//! | [`quantile`] | medians and percentiles of a sample, sorted inside the type |
//! | [`bootstrap`] | intervals of medians, means, and ratios, with a portable generator |
//! | [`cluster`] | means of correlated items |

pub mod bootstrap;
pub mod cluster;
pub mod quantile;
