//! Published numbers the formulas must reproduce, one test per formula and file.
//!
//! `fixtures/vectors/*.json` were recomputed independently in Python. A formula that appears in a file without a test
//! here fails, and so does an expected value that a test does not compare.

#![expect(clippy::unwrap_used, reason = "a vector that cannot be read must fail its test")]

#[path = "vectors/cost.rs"]
mod cost;
#[path = "vectors/harness.rs"]
mod harness;
#[path = "vectors/stats.rs"]
mod stats;
