//! Energy per token or item from metered windows.

use crate::cost::uncertainty::coverage_factor;
use crate::energy::{Flag, IdleBaselines, Reading, Trust};
use crate::plan::TierKey;
use crate::stats::quantile::variance;
use crate::store::derived::EnergyNumbers;
use crate::store::record::RawRecord;

/// The idle power a tier's marginal energy subtracts: with this tier loaded, else the run's; and without any model.
pub(super) fn idle(raw: &RawRecord, tier: &TierKey) -> IdleBaselines {
    let own = raw.tiers.iter().find(|facts| facts.key == *tier).and_then(|facts| facts.idle.clone());
    let own = own.unwrap_or_default();
    IdleBaselines {
        bare: own.bare.or_else(|| raw.idle.bare.clone()),
        ready: own.ready.or_else(|| raw.idle.ready.clone()),
        after: own.after.or_else(|| raw.idle.after.clone()),
    }
}

/// Energy over units of all valid windows together, with the worst trust class among them. `None` without windows.
///
/// The interval is U = k u_c (F15): u_A = s/√n over the windows' own ratios, u_B = a e/√3 for a sensor bound ±a, and
/// u_q = e τ/(T √6) for a counter that ticks every τ over T seconds; k is 2, or the t quantile where the scatter of few
/// windows dominates. An estimate keeps the range it is stated with and has no total: nothing was measured.
pub(crate) fn per_unit<'a>(
    windows: impl IntoIterator<Item = (&'a Reading, u64)>,
    idle: &IdleBaselines,
) -> Option<EnergyNumbers> {
    let windows: Vec<(&Reading, u64)> = windows.into_iter().collect();
    let (last, _) = windows.last()?;
    let trust = windows.iter().map(|(reading, _)| reading.trust).max().unwrap_or(Trust::None);
    let mut flags: Vec<_> = windows.iter().flat_map(|(reading, _)| reading.flags.iter().copied()).collect();
    flags.extend(idle.drifted().then_some(Flag::IdleDrift));
    flags.sort_unstable();
    flags.dedup();
    let valid: Vec<(&Reading, f64, f64)> = windows
        .iter()
        .filter_map(|&(reading, units)| Some((reading, reading.joules.filter(|_| units > 0)?.0, units as f64)))
        .collect();
    let count: f64 = valid.iter().map(|(_, _, units)| units).sum();
    let joules: f64 = valid.iter().map(|(_, joules, _)| joules).sum();
    let total = (count > 0.0).then(|| joules / count);
    let above = |idle: &Option<Reading>| -> Option<f64> {
        let net: Option<f64> = valid.iter().map(|(reading, ..)| Some(reading.net(idle.as_ref()?)?.0)).sum();
        total.and(net).map(|net| net / count)
    };
    let (lo, hi) = range(&windows).or_else(|| uncertainty(&valid, total?)).unzip();
    Some(EnergyNumbers {
        source: last.source.clone(),
        trust,
        scope: last.scope,
        domains: last.domains.clone(),
        windows: valid.len() as u64,
        total,
        marginal: above(&idle.ready),
        above_bare: above(&idle.bare),
        lo,
        hi,
        flags,
    })
}

/// Ends of stated ranges, summed, per unit; `None` unless some window states one.
fn range(windows: &[(&Reading, u64)]) -> Option<(f64, f64)> {
    if windows.iter().all(|(reading, _)| reading.range.is_none()) {
        return None;
    }
    let (mut lo, mut hi, mut count) = (0.0, 0.0, 0.0);
    for &(reading, units) in windows {
        let Some((a, b)) = reading.range.or_else(|| reading.joules.map(|j| (j.0, j.0))) else { continue };
        lo += a;
        hi += b;
        count += units as f64;
    }
    (count > 0.0).then(|| (lo / count, hi / count))
}

/// e ∓ k u_c; `None` if nothing is known about the sensor and there is one window.
fn uncertainty(valid: &[(&Reading, f64, f64)], e: f64) -> Option<(f64, f64)> {
    let ratios: Vec<f64> = valid.iter().map(|(_, joules, units)| joules / units).collect();
    let statistical = variance(&ratios).map(|variance| variance / ratios.len() as f64);
    let bound = valid.iter().filter_map(|(reading, ..)| reading.sensor_bound).reduce(f64::max);
    let sensor = bound.map(|a| (a * e).powi(2) / 3.0);
    let seconds: f64 = valid.iter().map(|(reading, ..)| reading.window_s).sum();
    let tick = valid.iter().filter_map(|(reading, ..)| reading.tick_ms).reduce(f64::max);
    let quantization = tick.map(|tau| (e * tau / 1000.0 / seconds).powi(2) / 6.0);
    if statistical.is_none() && sensor.is_none() {
        return None;
    }
    let combined = [statistical, sensor, quantization].into_iter().flatten().sum::<f64>().sqrt();
    let expanded = combined * coverage_factor(statistical.unwrap_or(0.0).sqrt(), combined, ratios.len());
    expanded.is_finite().then(|| ((e - expanded).max(0.0), e + expanded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Joules;

    fn reading(joules: Option<f64>, window_s: f64) -> Reading {
        Reading {
            joules: joules.map(Joules),
            source: "powercap".into(),
            trust: Trust::Counter,
            ..Reading::none(window_s)
        }
    }

    #[test]
    fn per_token_energy_follows_the_reference_vectors() {
        // V2: 9000 J in 60 s over 30 requests of 128 further tokens at 45 W idle.
        let idle = IdleBaselines {
            bare: Some(reading(Some(200.0), 10.0)),
            ready: Some(reading(Some(450.0), 10.0)),
            after: Some(reading(Some(480.0), 10.0)),
        };
        let numbers = per_unit([(&reading(Some(9000.0), 60.0), 30 * 128)], &idle).unwrap();
        assert_eq!((numbers.total, numbers.marginal), (Some(2.343_75), Some(1.640_625)));
        assert_eq!(numbers.above_bare, Some(7800.0 / 3840.0));
        assert_eq!(numbers.flags, [Flag::IdleDrift], "48 W after the run, 45 W before it");
        assert_eq!(numbers.lo, None, "one window of an uncharacterized sensor has no interval");
    }

    #[test]
    fn the_interval_combines_scatter_sensor_and_tick() {
        // V8: e = 2.31 2.36 2.29 2.34 2.40, a = 5 %, tick 0.1 s, 60 s in all: U = 0.140506726.
        let windows: Vec<_> = [2.31, 2.36, 2.29, 2.34, 2.40]
            .iter()
            .map(|e| Reading { sensor_bound: Some(0.05), tick_ms: Some(100.0), ..reading(Some(e * 100.0), 12.0) })
            .collect();
        let numbers = per_unit(windows.iter().map(|window| (window, 100)), &IdleBaselines::default()).unwrap();
        let (e, lo, hi) = (numbers.total.unwrap(), numbers.lo.unwrap(), numbers.hi.unwrap());
        assert!((e - 2.34).abs() < 1e-12);
        assert!(((hi - lo) / 2.0 - 0.140_506_726).abs() < 1e-8, "{}", (hi - lo) / 2.0);
        assert_eq!(numbers.marginal, None, "idle power was not metered");
    }

    #[test]
    fn two_windows_that_disagree_are_worth_little() {
        // 2 and 3 J/token: u_A = 0.5 with one degree of freedom, t(0.975, 1) = tan(0.475 π).
        let windows = [reading(Some(200.0), 10.0), reading(Some(300.0), 10.0)];
        let numbers = per_unit(windows.iter().map(|window| (window, 100)), &IdleBaselines::default()).unwrap();
        let half = 0.5 * (0.475 * std::f64::consts::PI).tan();
        assert!((numbers.hi.unwrap() - 2.5 - half).abs() < 1e-9, "{numbers:?}");
        assert_eq!(numbers.lo, Some(0.0), "less than nothing was not used");
    }

    #[test]
    fn an_invalid_window_is_not_zero_joules() {
        let (bad, good) = (reading(None, 10.0), reading(Some(50.0), 10.0));
        let numbers = per_unit([(&bad, 100), (&good, 100)], &IdleBaselines::default()).unwrap();
        assert_eq!((numbers.windows, numbers.total), (1, Some(0.5)));
        let none = per_unit([(&bad, 100)], &IdleBaselines::default()).unwrap();
        assert_eq!((none.windows, none.total, none.marginal), (0, None, None));
        assert_eq!(per_unit([], &IdleBaselines::default()), None);
    }

    #[test]
    fn an_estimate_is_a_range_without_a_value() {
        let estimate = Reading {
            range: Some((40.0, 160.0)),
            trust: Trust::Estimated,
            flags: vec![Flag::Hypervisor],
            ..reading(None, 10.0)
        };
        let numbers = per_unit([(&estimate, 100), (&estimate, 100)], &IdleBaselines::default()).unwrap();
        assert_eq!((numbers.trust, numbers.total), (Trust::Estimated, None));
        assert_eq!((numbers.lo, numbers.hi), (Some(0.4), Some(1.6)));
        assert_eq!(numbers.flags, [Flag::Hypervisor]);
    }
}
