//! Formulas F2–F14 of joules and dollars, one function each, on units types.
//!
//! Symbols: e J/token, p $/kWh, PUE ≥ 1, u = utilization = busy hours / 8760, A capital $/yr, M maintenance $/yr,
//! h $/busy hour. 1 J/token = 1/3.6 kWh per million tokens. Inputs are validated where they enter
//! ([`super::Assumptions`]); a division that is still impossible gives `None`.

use crate::units::{Joules, JoulesPerToken, Seconds, TokensPerSec, Usd, UsdPerHour, UsdPerKwh, UsdPerMtok, Watts};

/// Hours in a year of 365 days.
pub const HOURS_PER_YEAR: f64 = 8760.0;

/// Seconds in an hour.
const SECONDS_PER_HOUR: f64 = 3600.0;

/// Tokens in a Mtok.
const MTOK: f64 = 1e6;

fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

/// F2, F3: energy per token, e = E/(requests · tokens). For decode, `tokens` is n_out - 1: the first token comes out of
/// the prefill. `None` for no tokens.
#[must_use]
pub fn energy_per_token(energy: Joules, requests: u64, tokens: u64) -> Option<JoulesPerToken> {
    finite(energy.0 / (requests as f64 * tokens as f64)).map(JoulesPerToken)
}

/// F2, F3: the marginal part, E - P_idle·t, of a window's energy.
#[must_use]
pub fn marginal_energy(total: Joules, idle: Watts, window: Seconds) -> Joules {
    total - idle * window
}

/// F4: decode energy as the difference of a whole generation and its prefill, with the uncertainty of both,
/// ((E_gen - E_pre)/n, √(u_gen² + u_pre²)/n), n = requests·(n_out - 1). `None` for no tokens.
#[must_use]
pub fn decode_by_difference(
    generation: (Joules, Joules),
    prefill: (Joules, Joules),
    requests: u64,
    n_out: u64,
) -> Option<(JoulesPerToken, JoulesPerToken)> {
    let tokens = n_out.checked_sub(1)?;
    let value = energy_per_token(generation.0 - prefill.0, requests, tokens)?;
    let error = energy_per_token(Joules(generation.1.0.hypot(prefill.1.0)), requests, tokens)?;
    Some((value, error))
}

/// F5: energy at the wall from measured parts, (E_parts + P_rest·t)/η of the power supply. `None` for η = 0.
#[must_use]
pub fn wall_energy(parts: Joules, rest: Watts, window: Seconds, efficiency: f64) -> Option<Joules> {
    finite((parts + rest * window).0 / efficiency).map(Joules)
}

/// F5, fitted per host: P_wall = a + b·P_parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WallFit {
    /// Power at the wall when the parts draw nothing.
    pub a: Watts,
    /// Watts at the wall per watt of the parts.
    pub b: f64,
}

impl WallFit {
    /// Least-squares fit through (parts, wall) powers. `None` for fewer than two distinct points.
    #[must_use]
    pub fn fit(points: &[(Watts, Watts)]) -> Option<Self> {
        let points: Vec<(f64, f64)> = points.iter().map(|(parts, wall)| (parts.0, wall.0)).collect();
        let line = crate::stats::regression::Line::fit(&points)?;
        Some(Self { a: Watts(line.intercept), b: line.slope })
    }

    /// Power at the wall when the parts draw `parts`.
    #[must_use]
    pub fn wall(&self, parts: Watts) -> Watts {
        self.a + parts * self.b
    }
}

/// Energy of a million tokens in kWh, e/3.6.
#[must_use]
pub fn kwh_per_mtok(e: JoulesPerToken) -> f64 {
    e.0 / 3.6
}

/// F6: electricity of a million tokens, e/3.6 · p · PUE.
#[must_use]
pub fn electricity(e: JoulesPerToken, tariff: UsdPerKwh, pue: f64) -> UsdPerMtok {
    UsdPerMtok(kwh_per_mtok(e) * tariff.0 * pue)
}

/// F6: carbon of a million tokens in g CO2e, e/3.6 · PUE · g/kWh.
#[must_use]
pub fn carbon_g_per_mtok(e: JoulesPerToken, pue: f64, g_per_kwh: f64) -> f64 {
    kwh_per_mtok(e) * pue * g_per_kwh
}

/// F7: straight-line capital per year, A = (C - S)/L. Also the resale mode: C is today's resale value, L the remaining
/// years. `None` for a life of 0.
#[must_use]
pub fn capital_straight_line(price: Usd, salvage: Usd, life_years: f64) -> Option<Usd> {
    finite((price - salvage).0 / life_years).map(Usd)
}

/// F7: capital recovery factor r/(1 - (1 + r)^-L), which tends to 1/L as r tends to 0.
#[must_use]
pub fn capital_recovery(rate: f64, life_years: f64) -> Option<f64> {
    if rate == 0.0 {
        return finite(1.0 / life_years);
    }
    // 1 - (1 + r)^-L without cancellation at small r.
    finite(rate / -(-life_years * rate.ln_1p()).exp_m1())
}

/// F7: capital per year as an annuity, A = (C - S/(1 + r)^L) · r/(1 - (1 + r)^-L).
#[must_use]
pub fn capital_annuity(price: Usd, salvage: Usd, life_years: f64, rate: f64) -> Option<Usd> {
    let present = price.0 - salvage.0 * (-life_years * rate.ln_1p()).exp();
    finite(present * capital_recovery(rate, life_years)?).map(Usd)
}

/// F8, first term: capital and maintenance of a busy hour, (A + M)/(8760·u). `None` for u = 0.
#[must_use]
pub fn capital_per_busy_hour(capital: Usd, maintenance: Usd, utilization: f64) -> Option<UsdPerHour> {
    finite((capital + maintenance).0 / (HOURS_PER_YEAR * utilization)).map(UsdPerHour)
}

/// F8, second term: idle power charged to a busy hour, P_idle/1000 · p · PUE · (1 - u)/u, to go with total energy per
/// token. A machine that is off when idle has none. `None` for u = 0.
#[must_use]
pub fn idle_per_busy_hour(idle: Watts, tariff: UsdPerKwh, pue: f64, utilization: f64) -> Option<UsdPerHour> {
    finite(idle_per_hour(idle, tariff, pue).0 * (1.0 - utilization) / utilization).map(UsdPerHour)
}

/// Electricity of an idle hour, P_idle/1000 · p · PUE.
#[must_use]
pub fn idle_per_hour(idle: Watts, tariff: UsdPerKwh, pue: f64) -> UsdPerHour {
    UsdPerHour(idle.0 / 1000.0 * tariff.0 * pue)
}

/// F8: energy charged to a busy window that draws total energy, E + P_idle·t·(1 - u)/u. Equal to
/// [`with_idle_of_marginal`] on the marginal energy (vector V12): idle is paid once, whichever way it is booked.
#[must_use]
pub fn with_idle_of_total(total: Joules, idle: Watts, window: Seconds, utilization: f64) -> Option<Joules> {
    finite((total + idle * window * ((1.0 - utilization) / utilization)).0).map(Joules)
}

/// F8: the same from marginal energy, E_marg + P_idle·t/u.
#[must_use]
pub fn with_idle_of_marginal(marginal: Joules, idle: Watts, window: Seconds, utilization: f64) -> Option<Joules> {
    finite((marginal + idle * window / utilization).0).map(Joules)
}

/// F9: the hourly part of a million tokens, h·10⁶/(3600·tps). `None` for tps = 0.
#[must_use]
pub fn hourly_per_mtok(hourly: UsdPerHour, rate: TokensPerSec) -> Option<UsdPerMtok> {
    finite(hourly.0 * MTOK / (SECONDS_PER_HOUR * rate.0)).map(UsdPerMtok)
}

/// F9, rented: $/busy hour from the list rate, rate/u_rental. It includes power, so F6 and F7 are left out.
#[must_use]
pub fn rent_per_busy_hour(rate: UsdPerHour, utilization: f64) -> Option<UsdPerHour> {
    finite(rate.0 / utilization).map(UsdPerHour)
}

/// F10: w_in·c_in + w_out·c_out with weights that sum to 1. `None` for weights that do not, or are negative.
#[must_use]
pub fn blend(input: UsdPerMtok, output: UsdPerMtok, weight_in: f64, weight_out: f64) -> Option<UsdPerMtok> {
    let valid = weight_in >= 0.0 && weight_out >= 0.0 && (weight_in + weight_out - 1.0).abs() < 1e-9;
    valid.then(|| input * weight_in + output * weight_out)
}

/// F10 at 3:1, as Artificial Analysis and Epoch AI blend: only to compare with their numbers.
#[must_use]
pub fn blend_3_1(input: UsdPerMtok, output: UsdPerMtok) -> UsdPerMtok {
    input * 0.75 + output * 0.25
}

/// F11: cost of a task, (n_in·c_in + n_out·c_out)/10⁶; token counts may be means.
#[must_use]
pub fn cost_per_task(n_in: f64, n_out: f64, input: UsdPerMtok, output: UsdPerMtok) -> Usd {
    Usd((n_in * input.0 + n_out * output.0) / MTOK)
}

/// F11: cost of 1,000 solved tasks, 1000·(c + (1 - acc)·F)/acc, F the cost of a failure. `None` when nothing is solved.
#[must_use]
pub fn cost_per_1000_solved(task: Usd, accuracy: f64, failure: Usd) -> Option<Usd> {
    (accuracy > 0.0).then(|| (task + failure * (1.0 - accuracy)) * 1000.0 / accuracy).and_then(Usd::known)
}

/// F12: a two-tier cascade in which tier 1 keeps a share `accepted` of the tasks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cascade {
    /// Cost of tier 1 on every task.
    pub first: Usd,
    /// Cost of tier 2 on a deferred task.
    pub second: Usd,
    /// Share of tasks answered by tier 1, q.
    pub accepted: f64,
    /// Tier 1's accuracy on the share it keeps.
    pub precision: f64,
    /// Tier 2's accuracy on the deferred tasks, usually below its overall accuracy.
    pub deferred_accuracy: f64,
}

impl Cascade {
    /// c1 + (1 - q)·c2.
    #[must_use]
    pub fn cost(&self) -> Usd {
        self.first + self.second * (1.0 - self.accepted)
    }

    /// q·prec + (1 - q)·acc2.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.accepted * self.precision + (1.0 - self.accepted) * self.deferred_accuracy
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_joule_per_token_at_seventeen_cents() {
        let c = electricity(JoulesPerToken(1.0), UsdPerKwh(0.17), 1.0);
        assert!((c.0 - 0.047_222).abs() < 1e-6);
    }

    #[test]
    fn impossible_divisions_are_unknown() {
        assert_eq!(energy_per_token(Joules(1.0), 0, 5), None);
        assert_eq!(decode_by_difference((Joules(1.0), Joules(0.0)), (Joules(0.0), Joules(0.0)), 1, 0), None);
        assert_eq!(capital_straight_line(Usd(1.0), Usd(0.0), 0.0), None);
        assert_eq!(capital_per_busy_hour(Usd(1.0), Usd(0.0), 0.0), None);
        assert_eq!(hourly_per_mtok(UsdPerHour(1.0), TokensPerSec(0.0)), None);
        assert_eq!(cost_per_1000_solved(Usd(1.0), 0.0, Usd(0.0)), None);
        assert_eq!(blend(UsdPerMtok(1.0), UsdPerMtok(1.0), 0.5, 0.6), None);
    }

    #[test]
    fn an_annuity_without_interest_is_a_straight_line() {
        let zero = capital_annuity(Usd(1900.0), Usd(400.0), 4.0, 0.0).unwrap();
        let tiny = capital_annuity(Usd(1900.0), Usd(400.0), 4.0, 1e-10).unwrap();
        assert!((zero.0 - 375.0).abs() < 1e-9 && (tiny.0 - 375.0).abs() < 1e-4);
    }

    proptest! {
        #[test]
        fn idle_is_paid_once_whichever_way_it_is_booked(
            e in 0.0f64..1e5, p in 0.0f64..500.0, t in 0.0f64..1e3, u in 0.01f64..1.0,
        ) {
            let (e, p, t) = (Joules(e), Watts(p), Seconds(t));
            let total = with_idle_of_total(e, p, t, u).unwrap().0;
            let marginal = with_idle_of_marginal(marginal_energy(e, p, t), p, t, u).unwrap().0;
            prop_assert!((total - marginal).abs() <= 1e-9 * total.abs().max(marginal.abs()).max(1.0));
        }

        #[test]
        fn a_blend_lies_between_its_parts(a in 0.0f64..10.0, b in 0.0f64..10.0, w in 0.0f64..=1.0) {
            let c = blend(UsdPerMtok(a), UsdPerMtok(b), w, 1.0 - w).unwrap().0;
            prop_assert!(c >= a.min(b) - 1e-12 && c <= a.max(b) + 1e-12);
        }
    }
}
