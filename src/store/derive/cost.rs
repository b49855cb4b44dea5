//! Dollars per million tokens and per solved item.

use crate::plan::{TierKey, Workload};
use crate::quality::ItemResult;
use crate::stats::distribution::normal_quantile;
use crate::stats::quantile::{mean, variance};
use crate::store::cell::Outcome;
use crate::store::derived::{CostNumbers, EnergyNumbers, SpeedNumbers, TierNumbers};
use crate::store::record::{CostFacts, HardwareCost, RawRecord};
use crate::units::Interval;

const HOURS_PER_YEAR: f64 = 8760.0;

/// Headline workloads, memory and token prices of a tier.
pub(super) fn tier_numbers(raw: &RawRecord, tier: &TierKey, speed: &[SpeedNumbers]) -> TierNumbers {
    let own: Vec<&SpeedNumbers> = speed.iter().filter(|numbers| numbers.tier == *tier).collect();
    let headline = |decode: bool, wanted: Workload| {
        let plain = |w: &Workload| (w.n_gen > 0) == decode && w.n_depth == 0 && w.n_batch_seqs <= 1;
        let exact = own.iter().find(|numbers| numbers.workload == wanted);
        exact.or_else(|| own.iter().find(|numbers| plain(&numbers.workload))).copied()
    };
    let (prefill, decode) = (headline(false, Workload::prefill(512, 0)), headline(true, Workload::decode(128, 0)));
    let price = |numbers: Option<&SpeedNumbers>| numbers.and_then(|numbers| usd_per_mtok(&raw.cost, numbers));
    let (input, output) = (price(prefill), price(decode));
    let blend = raw.plan.blend;
    TierNumbers {
        tier: tier.clone(),
        prefill: prefill.map(|numbers| numbers.workload),
        decode: decode.map(|numbers| numbers.workload),
        peak_rss_bytes: peak_rss(raw, tier),
        usd_per_mtok_in: input,
        usd_per_mtok_out: output,
        usd_per_mtok_blended: input.zip(output).map(|(input, output)| {
            (blend.input * input.total + blend.output * output.total) / (blend.input + blend.output)
        }),
        usd_per_busy_hour: usd_per_busy_hour(&raw.cost),
    }
}

/// A peak that holds several engines' memory is nobody's.
fn peak_rss(raw: &RawRecord, tier: &TierKey) -> Option<u64> {
    let peaks = raw.cells.iter().filter(|cell| cell.tier == *tier).filter_map(|cell| match &cell.outcome {
        Outcome::Speed(trials) if trials.engines_loaded <= 1 => trials.peak_rss.map(|peak| peak.bytes),
        _ => None,
    });
    peaks.max()
}

/// Electricity of one joule at the wall, $ (F6).
fn usd_per_joule(facts: &CostFacts) -> Option<f64> {
    match facts.hardware {
        // Rent includes it.
        Some(HardwareCost::Rented(_)) => None,
        _ => facts.electricity_usd_per_kwh.as_ref().map(|tariff| tariff.value * facts.pue.value / 3.6e6),
    }
}

/// Purchase, maintenance and idle electricity, or rent, per busy hour, $ (F7, F8).
fn usd_per_busy_hour(facts: &CostFacts) -> Option<f64> {
    let hour = match facts.hardware.as_ref()? {
        HardwareCost::Rented(rent) => rent.usd_per_hour.value / rent.utilization.value,
        HardwareCost::Owned(owned) => {
            let (price, salvage, life) = (owned.price_usd.value, owned.salvage_usd.value, owned.life_years.value);
            let rate = owned.discount_rate.as_ref().map_or(0.0, |rate| rate.value);
            let per_year = if rate > 0.0 {
                let discount = (1.0 + rate).powf(-life);
                (price - salvage * discount) * rate / (1.0 - discount)
            } else {
                (price - salvage) / life
            };
            let busy = owned.utilization.value;
            let idle = facts
                .idle_wall_w
                .as_ref()
                .zip(facts.electricity_usd_per_kwh.as_ref())
                .map(|(watts, tariff)| watts.value / 1000.0 * tariff.value * facts.pue.value * (1.0 - busy) / busy);
            (per_year + owned.maintenance_usd_per_year.value) / (HOURS_PER_YEAR * busy) + idle.unwrap_or(0.0)
        }
    };
    hour.is_finite().then_some(hour)
}

/// F9. Arms of the interval: those of speed and energy, as independent errors.
fn usd_per_mtok(facts: &CostFacts, speed: &SpeedNumbers) -> Option<CostNumbers> {
    let electricity = usd_per_joule(facts).zip(speed.energy.as_ref()).and_then(|(usd, energy)| {
        let joules = centre(energy)?;
        let ends = (energy.lo.unwrap_or(joules), energy.hi.unwrap_or(joules));
        Some([joules, ends.0, ends.1].map(|joules| joules * 1e6 * usd))
    });
    let hardware = usd_per_busy_hour(facts).zip(speed.median).and_then(|(hour, rate)| {
        let per_mtok = |rate: f64| hour * 1e6 / (3600.0 * rate);
        let ends = speed.interval.map_or((rate, rate), |interval| (interval.lo, interval.hi));
        let figures = [per_mtok(rate), per_mtok(ends.1), per_mtok(ends.0)];
        figures.iter().all(|x| x.is_finite()).then_some(figures)
    });
    let parts: Vec<[f64; 3]> = electricity.into_iter().chain(hardware).collect();
    if parts.is_empty() {
        return None;
    }
    let total: f64 = parts.iter().map(|part| part[0]).sum();
    let arm = |end: usize| parts.iter().map(|part| (part[end] - part[0]).powi(2)).sum::<f64>().sqrt();
    Some(CostNumbers {
        total,
        lo: (total - arm(1)).max(0.0),
        hi: total + arm(2),
        electricity: electricity.map(|part| part[0]),
        hardware: hardware.map(|part| part[0]),
    })
}

/// The value, or of an estimate the geometric mean of its ends.
fn centre(energy: &EnergyNumbers) -> Option<f64> {
    energy.total.or_else(|| Some((energy.lo? * energy.hi?).sqrt()))
}

/// Cost of an item from the time and energy of the graded run itself.
pub(super) struct ItemCost {
    /// Mean, $.
    pub(super) per_item: f64,
    /// Relative standard uncertainty of the mean: scatter of the items' times, and the energy's.
    relative: f64,
    /// Cost of an item that fails, $.
    failure: f64,
    /// Whether electricity is in it.
    pub(super) has_energy: bool,
}

/// `None` if neither hardware nor electricity can be priced.
pub(super) fn item_cost(raw: &RawRecord, items: &[ItemResult], energy: Option<&EnergyNumbers>) -> Option<ItemCost> {
    let seconds: Vec<f64> = items.iter().map(|item| item.elapsed_ns as f64 / 1e9).collect();
    let time = mean(&seconds)?;
    let hour = usd_per_busy_hour(&raw.cost);
    let rented = matches!(raw.cost.hardware, Some(HardwareCost::Rented(_)));
    let electricity = usd_per_joule(&raw.cost).zip(energy).and_then(|(usd, energy)| {
        let joules = centre(energy)?;
        let arm = energy.hi.zip(energy.lo).map_or(0.0, |(hi, lo)| (hi - lo) / 4.0);
        Some((joules * usd, arm * usd))
    });
    if hour.is_none() && electricity.is_none() {
        return None;
    }
    let scatter = variance(&seconds).map_or(0.0, |variance| (variance / seconds.len() as f64).sqrt());
    let (hardware, hardware_error) = hour.map_or((0.0, 0.0), |hour| (hour * time / 3600.0, hour * scatter / 3600.0));
    let (energy_cost, energy_error) = electricity.unwrap_or((0.0, 0.0));
    let per_item = hardware + energy_cost;
    let relative = hardware_error.hypot(energy_error) / per_item;
    Some(ItemCost {
        per_item,
        relative: if relative.is_finite() { relative } else { 0.0 },
        failure: raw.cost.failure_usd,
        has_energy: electricity.is_some() || rented,
    })
}

impl ItemCost {
    /// F11 with F16: 1000 (c + (1 - acc) F)/acc, relative variances added on the log scale. `None` if nothing passed.
    pub(super) fn per_1k_solved(&self, passes: u64, n: u64, level: f64) -> Option<Interval> {
        let (passes, n) = (passes as f64, n as f64);
        let accuracy = passes / n;
        let value = 1000.0 * (self.per_item + (1.0 - accuracy) * self.failure) / accuracy;
        let relative = self.relative.hypot(((1.0 - accuracy) / (accuracy * n)).sqrt());
        let z = normal_quantile(0.5 + level / 2.0)?;
        let interval = Interval { value, lo: value * (-z * relative).exp(), hi: value * (z * relative).exp(), level };
        (passes > 0.0 && interval.hi.is_finite()).then_some(interval)
    }
}
