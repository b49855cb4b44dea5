//! Speed numbers from trials.

use super::energy;
use crate::measure::bandwidth::roofline_share;
use crate::measure::{SpeedCell, SpeedSample, block_ratios};
use crate::plan::TierKey;
use crate::stats::bootstrap::median_interval;
use crate::stats::quantile::{Summary, nearest_ranks};
use crate::store::cell::Outcome;
use crate::store::derived::{Percentiles, SpeedNumbers};
use crate::store::record::RawRecord;
use crate::units::Interval;

/// Numbers of one speed cell.
pub(super) fn numbers(raw: &RawRecord, tier: &TierKey, trials: &SpeedCell) -> SpeedNumbers {
    let rates: Vec<f64> = trials.samples.iter().filter_map(SpeedSample::rate).collect();
    let summary = Summary::of(&rates);
    let median = summary.map(|s| s.median);
    let ready = energy::idle(raw, tier);
    SpeedNumbers {
        tier: tier.clone(),
        workload: trials.workload,
        test: trials.workload.to_string(),
        n: trials.samples.len() as u64,
        median,
        interval: median_interval(&rates, raw.plan.level, raw.plan.bootstrap_seed),
        mean: summary.map(|s| s.mean),
        stddev: summary.and_then(|s| s.stddev),
        min: summary.map(|s| s.min),
        max: summary.map(|s| s.max),
        ttft_s: trials.ttft_s(),
        itl_ms: gap_percentiles(trials),
        relative: relative_to_first(raw, tier, trials),
        energy: energy::per_unit(trials.windows.iter().map(|w| (&w.reading, w.tokens)), &ready),
        bandwidth_share: median.and_then(|rate| bandwidth_share(raw, tier, trials, rate)),
    }
}

/// Percentiles over the gaps of all trials.
fn gap_percentiles(trials: &SpeedCell) -> Option<Percentiles> {
    let mut gaps: Vec<u64> = trials.samples.iter().flat_map(|sample| &sample.itl_ns).copied().collect();
    let [p50, p95, p99] = nearest_ranks(&mut gaps, [0.50, 0.95, 0.99])?.map(|ns| ns as f64 / 1e6);
    Some(Percentiles { p50, p95, p99 })
}

/// Rate over the plan's first tier's, block by block: what drifts between blocks cancels. `None` for the first tier
/// itself and for fewer than two shared blocks.
fn relative_to_first(raw: &RawRecord, tier: &TierKey, trials: &SpeedCell) -> Option<Interval> {
    let first = &raw.tiers.first()?.key;
    let reference = raw.cells.iter().find_map(|cell| match &cell.outcome {
        Outcome::Speed(other) if other.workload == trials.workload && cell.tier == *first => Some(other),
        _ => None,
    })?;
    let ratios = block_ratios(trials, reference);
    if first == tier { None } else { median_interval(&ratios, raw.plan.level, raw.plan.bootstrap_seed) }
}

/// Bytes a decode step reads over what the machine delivered to as many threads: from the cache if weights and cached
/// positions fit into it, else from memory.
fn bandwidth_share(raw: &RawRecord, tier: &TierKey, trials: &SpeedCell, tokens_per_s: f64) -> Option<f64> {
    let engine = raw.tiers.iter().find(|facts| facts.key == *tier)?.engine.as_ref()?;
    let bytes = trials.bytes_per_step(engine.model.decode_weight_bytes, engine.model.kv_bytes_per_pos)?;
    let roof = raw.bandwidth.iter().find(|fact| fact.threads == engine.n_threads)?.bound(bytes as u64)?;
    roofline_share(bytes, tokens_per_s / f64::from(trials.workload.n_batch_seqs.max(1)), roof)
}
