//! What a plan will take, said before it runs: time and tokens, with a range.
//!
//! Rates come from a measurement of the same tier on this machine where the caller has one, else from the roofline: decode
//! reads every weight once per token, prefill multiplies every weight once per token. Pure.

use serde::{Deserialize, Serialize};

use super::Workload;

/// Where a tier's rates come from; the range widens with doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateSource {
    /// A stored measurement of this tier on this machine: within a third either way.
    History,
    /// Bytes and multiplications over what such machines reach: within a factor of three.
    Roofline,
}

impl RateSource {
    /// Factor by which the truth may lie on either side.
    #[must_use]
    pub const fn spread(self) -> f64 {
        match self {
            Self::History => 4.0 / 3.0,
            Self::Roofline => 3.0,
        }
    }
}

/// Rates expected of a tier, tok/s.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Prefill.
    pub prefill: f64,
    /// Decode of one sequence.
    pub decode: f64,
    /// Where they come from.
    pub source: RateSource,
}

/// Multiply-accumulates per second and core an optimised kernel is expected to reach.
const MACS_PER_CORE: f64 = 6e10;
/// Bytes per second and core a decoder is expected to stream.
const BYTES_PER_CORE: f64 = 5e9;

impl Rates {
    /// Rates by the roofline, for a model of `n_params` weights in `bytes` bytes on `cores` cores.
    #[must_use]
    pub fn roofline(n_params: f64, bytes: f64, cores: f64) -> Self {
        Self {
            prefill: MACS_PER_CORE * cores / n_params.max(1.0),
            decode: BYTES_PER_CORE * cores / bytes.max(1.0),
            source: RateSource::Roofline,
        }
    }
}

/// A task's size as the quote sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSize {
    /// Items that may be needed.
    pub items: u64,
    /// Tokens processed per item once the shared prefix is cached.
    pub tokens_per_item: f64,
    /// Tokens generated per item, one by one.
    pub generated_per_item: f64,
    /// Tokens of the shared prefix.
    pub prefix_tokens: f64,
}

/// What a run will take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    /// Expected time, s, and the range it is stated with.
    pub seconds: f64,
    /// Lower end, s.
    pub seconds_lo: f64,
    /// Upper end, s: the budget, if that is less.
    pub seconds_hi: f64,
    /// Tokens processed.
    pub tokens: f64,
    /// The widest source of any tier.
    pub source: RateSource,
    /// Whether the budget, not the plan, sets the upper end.
    pub capped: bool,
}

/// Trials of a cell, warm-up included, as the protocol usually needs them.
const TRIALS: f64 = 12.0;
/// Share of a suite that a verdict usually takes; the rest is never shown.
const SHARE_OF_ITEMS: f64 = 0.6;

/// Predicts a run: per tier its workloads and tasks, plus `fixed_s` for loading and making files.
#[must_use]
pub fn quote(tiers: &[Rates], workloads: &[Workload], tasks: &[TaskSize], fixed_s: f64, budget_s: f64) -> Quote {
    let (mut seconds, mut lo, mut hi, mut tokens) = (fixed_s, fixed_s, fixed_s, 0.0);
    let mut source = RateSource::History;
    for rates in tiers {
        let mut tier_s = 0.0;
        for workload in workloads {
            let n = workload.timed_tokens() as f64;
            tier_s += TRIALS * n / if workload.n_gen > 0 { rates.decode } else { rates.prefill };
            tokens += TRIALS * n;
        }
        for task in tasks {
            let items = task.items as f64 * SHARE_OF_ITEMS;
            let prefilled = task.prefix_tokens + items * task.tokens_per_item;
            let generated = items * task.generated_per_item;
            tier_s += prefilled / rates.prefill + generated / rates.decode;
            tokens += prefilled + generated;
        }
        seconds += tier_s;
        lo += tier_s / rates.source.spread();
        hi += tier_s * rates.source.spread();
        if rates.source == RateSource::Roofline {
            source = RateSource::Roofline;
        }
    }
    let capped = hi > budget_s;
    let cap = |s: f64| s.min(budget_s);
    Quote { seconds: cap(seconds), seconds_lo: cap(lo), seconds_hi: cap(hi), tokens, source, capped }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskSize =
        TaskSize { items: 100, tokens_per_item: 50.0, generated_per_item: 0.0, prefix_tokens: 200.0 };

    fn rates(source: RateSource) -> Rates {
        Rates { prefill: 1000.0, decode: 100.0, source }
    }

    #[test]
    fn time_is_tokens_over_rates() {
        let q = quote(
            &[rates(RateSource::History)],
            &[Workload::prefill(500, 0), Workload::decode(100, 0)],
            &[TASK],
            2.0,
            1e9,
        );
        // 12 × (0.5 s + 1 s) + (200 + 60 × 50) / 1000 s + 2 s
        assert!((q.seconds - 23.2).abs() < 1e-9, "{}", q.seconds);
        assert!((q.tokens - (12.0 * 600.0 + 3200.0)).abs() < 1e-9);
        assert!(q.seconds_lo < q.seconds && q.seconds < q.seconds_hi && !q.capped);
    }

    #[test]
    fn doubt_widens_the_range() {
        let width = |source| {
            let q = quote(&[rates(source)], &[], &[TASK], 0.0, 1e9);
            q.seconds_hi / q.seconds_lo
        };
        assert!(width(RateSource::Roofline) > width(RateSource::History));
    }

    #[test]
    fn the_budget_is_an_upper_end() {
        let q = quote(&[rates(RateSource::Roofline)], &[], &[TASK], 0.0, 1.0);
        assert!(q.capped && q.seconds_hi <= 1.0 && q.seconds <= 1.0);
    }

    #[test]
    fn the_roofline_halves_with_twice_the_bytes() {
        let (small, large) = (Rates::roofline(1e8, 1e8, 2.0), Rates::roofline(1e8, 2e8, 2.0));
        assert!((small.decode / large.decode - 2.0).abs() < 1e-12);
    }
}
