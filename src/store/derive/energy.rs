//! Energy per token or item from metered windows.

use crate::stats::quantile::variance;
use crate::store::cell::{EnergyWindow, Trust};
use crate::store::derived::EnergyNumbers;

/// Energy over units of all valid windows together, with the worst trust class among them. `None` without windows.
///
/// The interval is U = 2 u_c (F15): u_A = s/√n over the windows' own ratios, u_B = a e/√3 for a sensor bound ±a, and
/// u_q = e τ/(T √6) for a counter that ticks every τ over T seconds. An estimate keeps the range it is stated with.
#[expect(clippy::cast_precision_loss, reason = "counts of tokens and windows are far below 2^53")]
pub(super) fn per_unit(windows: &[EnergyWindow], units: impl Fn(&EnergyWindow) -> u64) -> Option<EnergyNumbers> {
    let last = windows.last()?;
    let trust = windows.iter().map(|window| window.trust).max().unwrap_or(Trust::None);
    let mut flags: Vec<String> = Vec::new();
    for flag in windows.iter().flat_map(|window| &window.flags) {
        if !flags.contains(flag) {
            flags.push(flag.clone());
        }
    }
    let valid: Vec<&EnergyWindow> =
        windows.iter().filter(|window| units(window) > 0 && window.joules.is_some()).collect();
    let count: f64 = valid.iter().map(|window| units(window) as f64).sum();
    let joules: f64 = valid.iter().filter_map(|window| window.joules).sum();
    let total = (count > 0.0).then(|| joules / count);
    let idle: Option<f64> = valid.iter().map(|window| Some(window.idle_ready_w? * window.seconds)).sum();
    let marginal = total.and(idle).map(|idle| (joules - idle) / count);
    let ends = range(windows, &units).or_else(|| uncertainty(&valid, &units, total?));
    let (lo, hi) = ends.unzip();
    Some(EnergyNumbers {
        source: last.source.clone(),
        trust,
        windows: valid.len() as u64,
        total,
        marginal,
        lo,
        hi,
        flags,
    })
}

/// Ends of stated ranges, summed, per unit; `None` unless some window states one.
#[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^53")]
fn range(windows: &[EnergyWindow], units: &impl Fn(&EnergyWindow) -> u64) -> Option<(f64, f64)> {
    if windows.iter().all(|window| window.range_joules.is_none()) {
        return None;
    }
    let (mut lo, mut hi, mut count) = (0.0, 0.0, 0.0);
    for window in windows {
        let Some([a, b]) = window.range_joules.or_else(|| window.joules.map(|j| [j, j])) else { continue };
        lo += a;
        hi += b;
        count += units(window) as f64;
    }
    (count > 0.0).then(|| (lo / count, hi / count))
}

/// e ∓ 2 u_c; `None` if nothing is known about the sensor and there is one window.
#[expect(clippy::cast_precision_loss, reason = "counts of tokens and windows are far below 2^53")]
fn uncertainty(valid: &[&EnergyWindow], units: &impl Fn(&EnergyWindow) -> u64, e: f64) -> Option<(f64, f64)> {
    let ratios: Vec<f64> =
        valid.iter().filter_map(|window| window.joules.map(|joules| joules / units(window) as f64)).collect();
    let n = ratios.len() as f64;
    let statistical = variance(&ratios).map(|variance| variance / n);
    let bound = valid.iter().filter_map(|window| window.sensor_bound).reduce(f64::max);
    let sensor = bound.map(|a| (a * e).powi(2) / 3.0);
    let seconds: f64 = valid.iter().map(|window| window.seconds).sum();
    let tick = valid.iter().filter_map(|window| window.tick_s).reduce(f64::max);
    let quantization = tick.map(|tau| (e * tau / seconds).powi(2) / 6.0);
    if statistical.is_none() && sensor.is_none() {
        return None;
    }
    let expanded = 2.0 * [statistical, sensor, quantization].into_iter().flatten().sum::<f64>().sqrt();
    expanded.is_finite().then(|| ((e - expanded).max(0.0), e + expanded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(joules: Option<f64>, seconds: f64, tokens: u64) -> EnergyWindow {
        EnergyWindow {
            source: "powercap".into(),
            trust: Trust::Counter,
            domains: vec!["package-0".into()],
            joules,
            range_joules: None,
            seconds,
            tokens,
            idle_bare_w: None,
            idle_ready_w: Some(45.0),
            sensor_bound: None,
            tick_s: None,
            flags: vec![],
        }
    }

    #[test]
    fn per_token_energy_follows_the_reference_vectors() {
        // V2: 9000 J in 60 s over 30 requests of 128 further tokens at 45 W idle.
        let numbers = per_unit(&[window(Some(9000.0), 60.0, 30 * 128)], |w| w.tokens).unwrap();
        assert_eq!((numbers.total, numbers.marginal), (Some(2.343_75), Some(1.640_625)));
        assert_eq!(numbers.lo, None, "one window of an uncharacterized sensor has no interval");
    }

    #[test]
    fn the_interval_combines_scatter_sensor_and_tick() {
        // V8: e = 2.31 2.36 2.29 2.34 2.40, a = 5 %, tick 0.1 s, 60 s in all: U = 0.140506726.
        let windows: Vec<_> = [2.31, 2.36, 2.29, 2.34, 2.40]
            .iter()
            .map(|e| EnergyWindow { sensor_bound: Some(0.05), tick_s: Some(0.1), ..window(Some(e * 100.0), 12.0, 100) })
            .collect();
        let numbers = per_unit(&windows, |w| w.tokens).unwrap();
        let (e, lo, hi) = (numbers.total.unwrap(), numbers.lo.unwrap(), numbers.hi.unwrap());
        assert!((e - 2.34).abs() < 1e-12);
        assert!(((hi - lo) / 2.0 - 0.140_506_726).abs() < 1e-8, "{}", (hi - lo) / 2.0);
    }

    #[test]
    fn an_invalid_window_is_not_zero_joules() {
        let numbers = per_unit(&[window(None, 10.0, 100), window(Some(50.0), 10.0, 100)], |w| w.tokens).unwrap();
        assert_eq!((numbers.windows, numbers.total), (1, Some(0.5)));
        let none = per_unit(&[window(None, 10.0, 100)], |w| w.tokens).unwrap();
        assert_eq!((none.windows, none.total, none.marginal), (0, None, None));
        assert_eq!(per_unit(&[], |w| w.tokens), None);
    }

    #[test]
    fn the_worst_trust_class_and_every_flag_are_kept() {
        let mut estimate = window(Some(80.0), 10.0, 100);
        estimate.trust = Trust::Estimated;
        estimate.range_joules = Some([40.0, 160.0]);
        estimate.flags = vec!["hypervisor".into()];
        let numbers = per_unit(&[estimate.clone(), estimate], |w| w.tokens).unwrap();
        assert_eq!(numbers.trust, Trust::Estimated);
        assert_eq!((numbers.lo, numbers.hi), (Some(0.4), Some(1.6)));
        assert_eq!(numbers.flags, ["hypervisor"]);
    }
}
