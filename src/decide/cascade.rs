//! A cascade: a weak tier answers, a strong one takes over where the weak one's confidence is below a threshold τ.
//!
//! A(τ) = mean(y1·1[g ≥ τ] + y2·1[g < τ]), C(τ) = mean(c1 + c2·1[g < τ]). A cascade is worth it only if its deferral rate
//! is below 1 - c1/c2, and only above the straight line of random deferral between the two tiers.

use serde::{Deserialize, Serialize};

use crate::stats::binomial::upper_tail;
use crate::stats::eprocess::Bar;

/// One item as both tiers saw it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The weak tier's confidence, any scale; higher is surer.
    pub confidence: f64,
    /// Whether the weak tier's answer passes.
    pub weak_pass: bool,
    /// Whether the strong tier's answer passes.
    pub strong_pass: bool,
    /// Cost of the weak tier's answer, $.
    pub weak_cost: f64,
    /// Cost of the strong tier's answer, $.
    pub strong_cost: f64,
}

/// A cascade at one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Defer when the confidence is below this; `+∞` defers everything.
    pub threshold: f64,
    /// Share of items passed.
    pub accuracy: f64,
    /// Mean cost per item, $.
    pub cost: f64,
    /// Share of items deferred to the strong tier.
    pub deferral: f64,
}

/// The cascade with threshold `threshold` on logged items; `None` for no items or a NaN confidence.
#[must_use]
pub fn evaluate(items: &[Item], threshold: f64) -> Option<Point> {
    if items.is_empty() || items.iter().any(|i| i.confidence.is_nan()) {
        return None;
    }
    let n = items.len() as f64;
    let (mut passes, mut cost, mut deferred) = (0.0, 0.0, 0.0);
    for item in items {
        let defer = item.confidence < threshold;
        passes += f64::from(u8::from(if defer { item.strong_pass } else { item.weak_pass }));
        cost += item.weak_cost + if defer { item.strong_cost } else { 0.0 };
        deferred += f64::from(u8::from(defer));
    }
    Some(Point { threshold, accuracy: passes / n, cost: cost / n, deferral: deferred / n })
}
