//! What tokens and items cost, by [`crate::cost::estimate`].

use crate::cost::CostEstimate;
use crate::cost::estimate::{EnergyKind, Graded, Readings, estimate};
use crate::energy::Trust;
use crate::plan::{TierKey, Workload};
use crate::quality::ItemResult;
use crate::stats::distribution::normal_quantile;
use crate::stats::quantile::{mean, variance};
use crate::store::cell::Outcome;
use crate::store::derived::{EnergyNumbers, ItemCost, SpeedNumbers, TierNumbers};
use crate::store::record::RawRecord;
use crate::units::Interval;

/// Headline workloads, memory and token prices of a tier.
pub(super) fn tier_numbers(raw: &RawRecord, tier: &TierKey, speed: &[SpeedNumbers]) -> TierNumbers {
    let own: Vec<&SpeedNumbers> = speed.iter().filter(|numbers| numbers.tier == *tier).collect();
    let headline = |decode: bool, wanted: Workload| {
        let plain = |w: &Workload| (w.n_gen > 0) == decode && w.n_depth == 0 && w.n_batch_seqs <= 1;
        let exact = own.iter().find(|numbers| numbers.workload == wanted);
        exact.or_else(|| own.iter().find(|numbers| plain(&numbers.workload))).copied()
    };
    let (prefill, decode) = (headline(false, Workload::prefill(512, 0)), headline(true, Workload::decode(128, 0)));
    TierNumbers {
        tier: tier.clone(),
        prefill: prefill.map(|numbers| numbers.workload),
        decode: decode.map(|numbers| numbers.workload),
        peak_rss_bytes: peak_rss(raw, tier),
        cost: token_cost(raw, prefill, decode),
    }
}

/// The peak of the tier's own cells, or the one taken while it loaded: a peak that holds several engines' memory is
/// nobody's.
fn peak_rss(raw: &RawRecord, tier: &TierKey) -> Option<u64> {
    let peaks = raw.cells.iter().filter(|cell| cell.tier == *tier).filter_map(|cell| match &cell.outcome {
        Outcome::Speed(trials) if trials.engines_loaded <= 1 => trials.peak_rss.map(|peak| peak.bytes),
        _ => None,
    });
    let loading = raw.tiers.iter().find(|facts| facts.key == *tier).and_then(|facts| facts.peak_rss_bytes);
    peaks.chain(loading).max()
}

fn token_cost(raw: &RawRecord, prefill: Option<&SpeedNumbers>, decode: Option<&SpeedNumbers>) -> CostEstimate {
    let rate = |numbers: Option<&SpeedNumbers>| numbers.and_then(|n| n.interval.or_else(|| exact(raw, n.median?)));
    let energies = [prefill, decode].map(|numbers| numbers.and_then(|n| n.energy.as_ref()));
    let readings = Readings {
        energy_in: energies[0].and_then(|energy| joules(raw, energy)),
        energy_out: energies[1].and_then(|energy| joules(raw, energy)),
        energy_kind: kind(energies.into_iter().flatten()),
        tps_in: rate(prefill),
        tps_out: rate(decode),
        ..Readings::default()
    };
    estimate(&readings, &raw.cost)
}

/// The item is what is priced: it takes the place of the input token, with items per second and joules per item as they
/// were measured while grading. Token prices of other prompt lengths do not enter.
pub(super) fn item_cost(raw: &RawRecord, items: &[ItemResult], energy: Option<&EnergyNumbers>) -> ItemCost {
    let passes = items.iter().filter(|item| item.pass).count() as u64;
    let readings = Readings {
        energy_in: energy.and_then(|energy| joules(raw, energy)),
        energy_kind: kind(energy),
        tps_in: items_per_second(raw, items),
        // A price per million, times one: $ per item comes out of the same formulas.
        n_in: Some(1.0),
        n_out: Some(0.0),
        graded: Some(Graded { passes, items: items.len() as u64 }),
        ..Readings::default()
    };
    let estimate = estimate(&readings, &raw.cost);
    ItemCost {
        energy_included: estimate.energy_included,
        usd_per_item: estimate.usd_per_item,
        usd_per_1k_solved: estimate.usd_per_1k_solved,
    }
}

/// 1 / mean time of an item, with the normal interval of the mean; `None` without a positive mean.
fn items_per_second(raw: &RawRecord, items: &[ItemResult]) -> Option<Interval> {
    let seconds: Vec<f64> = items.iter().map(|item| item.elapsed_ns as f64 / 1e9).collect();
    let mean = mean(&seconds).filter(|&mean| mean > 0.0)?;
    let z = normal_quantile(0.5 + raw.plan.level / 2.0)?;
    let arm = variance(&seconds).map_or(0.0, |variance| z * (variance / seconds.len() as f64).sqrt());
    // A few items of very different length can make the arm longer than the mean; the rate stays finite.
    let shortest = (mean - arm).max(mean / 10.0);
    Some(Interval { value: 1.0 / mean, lo: 1.0 / (mean + arm), hi: 1.0 / shortest, level: raw.plan.level })
}

/// The value with its ends; of an estimate the geometric mean of its range.
fn joules(raw: &RawRecord, energy: &EnergyNumbers) -> Option<Interval> {
    let value = energy.total.or_else(|| Some((energy.lo? * energy.hi?).sqrt()))?;
    let level = raw.plan.level;
    Some(Interval { value, lo: energy.lo.unwrap_or(value), hi: energy.hi.unwrap_or(value), level })
}

fn exact(raw: &RawRecord, value: f64) -> Option<Interval> {
    Some(Interval { value, lo: value, hi: value, level: raw.plan.level })
}

fn kind<'a>(energies: impl IntoIterator<Item = &'a EnergyNumbers>) -> EnergyKind {
    let estimated = energies.into_iter().any(|energy| energy.trust >= Trust::Estimated);
    if estimated { EnergyKind::Estimated } else { EnergyKind::Measured }
}
