//! Tasks, prompts, requests, scorers and the evaluation loop: what a tier's answers are worth.
//!
//! A [`task::Task`] is read from a folder (`task.yaml`, `items.jsonl`, `shots.jsonl`); [`prompt::Prompter`] renders an
//! item as the model sees it; [`prefixed::PrefixedEngine`] runs the requests with the shared prefix computed once;
//! [`score`] turns an answer into a number in [0, 1] and a pass; [`evaluate()`] walks the items in a fixed seeded order
//! and hands each [`ItemResult`] to the caller, who decides when to stop.
//!
//! This room knows nothing of verdicts, costs, records or terminals.

mod baseline;
mod breakdown;
#[cfg(test)]
mod broken;
mod codec;
pub mod constrain;
mod error;
mod evaluate;
mod extent;
pub mod fidelity;
pub mod filter;
pub mod lint;
pub mod log;
pub mod prefixed;
pub mod prompt;
pub mod request;
mod result;
mod sandbox;
pub mod score;
pub mod task;

pub use baseline::{Baseline, baselines, best_baseline};
pub use breakdown::{Agreement, agreement, breakdown};
pub use codec::Codec;
pub use error::QualityError;
pub use evaluate::{EvalOptions, Evaluated, evaluate, item_order};
pub use extent::longest_item;
pub use result::{ChoiceResult, FinishReason, ItemResult};
