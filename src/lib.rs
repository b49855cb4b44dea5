//! tierbench: find the cheapest local model tier that clears the quality bar of your task.
//!
//! # The house
//!
//! One room per concern. Data flows from left to right, and a room never imports one to its right:
//!
//! ```text
//! plan → model → engine → measure(+energy) → quality → cost → decide → store → report
//!                                                          cli sees all; civil, units, stats, error see none
//! ```
//!
//! | room | what it knows |
//! | --- | --- |
//! | [`plan`] | tiers, workloads, cells, budgets; axes → cells; the quote. Pure |
//! | [`model`] | catalogue, sources, verified downloads, GGUF, tokenizer, chat template, quantization |
//! | [`engine`] | the [`engine::Engine`] trait and everything that runs a model |
//! | [`measure`] | warm-up, trials, interleaving, stopping, noise, memory, roofline |
//! | [`energy`] | meters, windows, idle baselines, trust classes |
//! | [`stats`] | bootstrap, quantiles, exact tests, e-processes, regression. Pure |
//! | [`quality`] | task format, prompts, requests, scorers, the adaptive evaluation loop |
//! | [`cost`] | price book and formulas F1–F18. Pure |
//! | [`decide`] | verdicts over a ladder. Pure |
//! | [`store`] | history and published records; resume; verify |
//! | [`report`] | tables and pages from records, one format per file |
//! | [`cli`] | clap, terminals, stdout |
//!
//! # Invariants
//!
//! 1. Only [`engine`] and [`model`] import candle; only [`model`] opens a network connection (and,
//!    with the feature `http-meter`, [`energy`] the plug the user names); only [`cli`] prints.
//! 2. [`plan`], [`stats`], [`cost`] and [`decide`] are pure: no clock, file, environment, or randomness without a seed.
//! 3. A timed span holds engine calls and device sync only.
//! 4. Every published number is a function of raw samples in the record; `verify` recomputes all of them.
//! 5. Unknown is `None` and prints as `—`. Never 0, NaN, or a default that looks measured.
//! 6. A failed cell is a row with its error. One bad tier never loses the others' results.
//! 7. `unsafe` only in `engine::native`'s kernels and memory, file mapping and the perf-event call, each with a safety
//!    comment.

pub mod civil;
pub mod cli;
pub mod cost;
pub mod decide;
pub mod energy;
pub mod engine;
pub mod error;
pub mod measure;
pub mod model;
pub mod plan;
pub mod quality;
pub mod report;
pub mod stats;
pub mod store;
pub mod units;

pub use error::{Error, ExitStatus, Result};
