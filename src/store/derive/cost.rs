//! What tokens and items cost, by [`crate::cost::estimate`].

use crate::cost::CostEstimate;
use crate::cost::estimate::{EnergyKind, Graded, Readings, estimate, per_1000_solved};
use crate::cost::uncertainty::{Propagation, scale};
use crate::energy::Trust;
use crate::plan::{TierKey, Workload};
use crate::quality::ItemResult;
use crate::stats::distribution::normal_quantile;
use crate::stats::quantile::{mean, variance};
use crate::store::cell::Outcome;
use crate::store::derived::{Derived, EnergyNumbers, ItemCost, SpeedNumbers, TierNumbers};
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
    estimate(&headline_readings(raw, prefill, decode), &raw.cost)
}

fn headline_readings(raw: &RawRecord, prefill: Option<&SpeedNumbers>, decode: Option<&SpeedNumbers>) -> Readings {
    let rate = |numbers: Option<&SpeedNumbers>| numbers.and_then(|n| n.interval.or_else(|| exact(raw, n.median?)));
    let energies = [prefill, decode].map(|numbers| numbers.and_then(|n| n.energy.as_ref()));
    Readings {
        energy_in: energies[0].and_then(|energy| joules(raw, energy)),
        energy_out: energies[1].and_then(|energy| joules(raw, energy)),
        energy_kind: kind(energies.into_iter().flatten()),
        tps_in: rate(prefill),
        tps_out: rate(decode),
        ..Readings::default()
    }
}

/// Readings per token of a tier at its headline workloads.
pub(super) fn token_readings(derived: &Derived, tier: &TierKey, raw: &RawRecord) -> Readings {
    let numbers = derived.tier_of(tier);
    let speed = |workload: Option<Workload>| derived.speed_of(tier, &workload?);
    headline_readings(raw, speed(numbers.and_then(|n| n.prefill)), speed(numbers.and_then(|n| n.decode)))
}

/// The item is what is priced: it takes the place of the input token, with items per second and joules per item as they
/// were measured while grading. Token prices of other prompt lengths do not enter.
pub(super) fn item_readings(raw: &RawRecord, items: &[ItemResult], energy: Option<&EnergyNumbers>) -> Readings {
    let passes = items.iter().filter(|item| item.pass).count() as u64;
    Readings {
        energy_in: energy.and_then(|energy| joules(raw, energy)),
        energy_kind: kind(energy),
        tps_in: items_per_second(raw, items),
        // A price per million, times one: $ per item comes out of the same formulas.
        n_in: Some(1.0),
        n_out: Some(0.0),
        graded: Some(Graded { passes, items: items.len() as u64 }),
        ..Readings::default()
    }
}

/// What an item costs.
pub(super) fn item_cost(raw: &RawRecord, readings: &Readings) -> ItemCost {
    let estimate = estimate(readings, &raw.cost);
    ItemCost {
        energy_included: estimate.energy_included,
        usd_per_item: estimate.usd_per_item,
        usd_per_1k_solved: estimate.usd_per_1k_solved,
        g_co2e_per_item: estimate.g_co2e_per_item,
        g_co2e_per_1k_solved: estimate.g_co2e_per_1k_solved,
    }
}

/// Joules per solved item, those of failed items included.
pub(super) fn joules_per_solved(readings: &Readings) -> Option<Interval> {
    let how = match readings.energy_kind {
        EnergyKind::Estimated => Propagation::Range,
        EnergyKind::Measured => Propagation::Independent,
    };
    per_1000_solved(readings.energy_in?, readings.graded?, how).map(|thousand| scale(thousand, 1e-3))
}

/// Joules per UTF-8 byte of generated text; `None` if none was generated.
pub(super) fn joules_per_byte(readings: &Readings, items: &[ItemResult]) -> Option<Interval> {
    let bytes: usize = items.iter().filter_map(|item| item.raw.as_ref()).map(String::len).sum();
    (bytes > 0).then(|| readings.energy_in.map(|e| scale(e, items.len() as f64 / bytes as f64)))?
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
