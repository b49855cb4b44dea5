//! Speed numbers from trials.

use super::energy;
use crate::plan::{TierKey, Workload};
use crate::stats::bootstrap::{block_ratio_interval, median_interval};
use crate::stats::quantile::{Sorted, Summary};
use crate::store::cell::{Outcome, SpeedSample, SpeedTrials, Subject};
use crate::store::derived::{Percentiles, SpeedNumbers};
use crate::store::record::{RawRecord, TierFacts};
use crate::units::Interval;

/// Numbers of one speed cell.
pub(super) fn numbers(raw: &RawRecord, tier: &TierKey, workload: &Workload, trials: &SpeedTrials) -> SpeedNumbers {
    let rates: Vec<f64> = trials.samples.iter().filter_map(SpeedSample::tokens_per_s).collect();
    let summary = Summary::of(&rates);
    let interval = median_interval(&rates, raw.plan.level, raw.plan.bootstrap_seed);
    let median = summary.map(|s| s.median);
    SpeedNumbers {
        tier: tier.clone(),
        workload: *workload,
        test: workload.to_string(),
        n: trials.samples.len() as u64,
        median,
        interval,
        mean: summary.map(|s| s.mean),
        stddev: summary.and_then(|s| s.stddev),
        min: summary.map(|s| s.min),
        max: summary.map(|s| s.max),
        itl_ms: gap_percentiles(trials),
        relative: relative_to_first(raw, tier, workload, trials),
        energy: energy::per_unit(&trials.energy, |window| window.tokens),
        bandwidth_share: median.and_then(|rate| bandwidth_share(raw, tier, workload, rate)),
    }
}

/// Percentiles over the gaps of all trials.
fn gap_percentiles(trials: &SpeedTrials) -> Option<Percentiles> {
    let gaps = trials.samples.iter().flat_map(|sample| &sample.itl_ns);
    let sorted = Sorted::from_vec(gaps.map(|&ns| ns as f64 / 1e6).collect())?;
    let at = |p| sorted.nearest_rank(p);
    Some(Percentiles { p50: at(0.50), p95: at(0.95), p99: at(0.99) })
}

/// Rate over the plan's first tier's, block by block: what drifts between blocks cancels. `None` for the first tier
/// itself and for fewer than two shared blocks.
fn relative_to_first(raw: &RawRecord, tier: &TierKey, workload: &Workload, trials: &SpeedTrials) -> Option<Interval> {
    let first = &raw.tiers.first()?.key;
    if first == tier {
        return None;
    }
    let reference = raw.cells.iter().find_map(|cell| match (&cell.subject, &cell.outcome) {
        (Subject::Workload(w), Outcome::Speed(trials)) if w == workload && cell.tier == *first => Some(trials),
        _ => None,
    })?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for sample in &trials.samples {
        let same_block = reference.samples.iter().find(|other| other.block == sample.block);
        if let Some((a, b)) = sample.tokens_per_s().zip(same_block.and_then(|other| other.tokens_per_s())) {
            ours.push(a);
            theirs.push(b);
        }
    }
    block_ratio_interval(&ours, &theirs, raw.plan.level, raw.plan.bootstrap_seed)
}

/// Bytes a decode step must read, over what the memory delivered to as many threads: weights once per step (shared by
/// the sequences of a batch) and each sequence's cached positions, at the mean depth of the span.
#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
fn bandwidth_share(raw: &RawRecord, tier: &TierKey, workload: &Workload, tokens_per_s: f64) -> Option<f64> {
    if workload.n_gen == 0 {
        return None;
    }
    let facts: &TierFacts = raw.tiers.iter().find(|facts| facts.key == *tier)?;
    let engine = facts.engine.as_ref()?;
    let roof = raw.host.bandwidth.iter().find(|fact| fact.n_threads == engine.n_threads)?.bytes_per_s;
    let sequences = f64::from(workload.n_batch_seqs.max(1));
    let prompt = if workload.n_batch_seqs > 1 { workload.n_prompt } else { 0 };
    let mean_depth = f64::from(workload.n_depth) + f64::from(prompt) + (f64::from(workload.n_gen) - 1.0) / 2.0;
    let weights = engine.model.decode_weight_bytes as f64;
    let cache = engine.model.kv_bytes_per_pos as f64 * mean_depth * sequences;
    let steps_per_s = tokens_per_s / sequences;
    let share = (weights + cache) * steps_per_s / roof;
    share.is_finite().then_some(share)
}
