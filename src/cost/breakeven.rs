//! Where a decision turns: F13 (against an API price) and F14 (between two tiers).

use serde::{Deserialize, Serialize};

use super::formula::{self, HOURS_PER_YEAR};
use crate::units::{JoulesPerToken, TokensPerSec, Usd, UsdPerHour, UsdPerKwh, UsdPerMtok, Watts};

/// An owned machine as F13 sees it, for one direction (output or input tokens).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OwnedMachine {
    /// Capital per year, F7.
    pub capital: Usd,
    /// Maintenance per year.
    pub maintenance: Usd,
    /// Power at the wall when idle.
    pub idle: Watts,
    /// Tariff.
    pub tariff: UsdPerKwh,
    /// PUE.
    pub pue: f64,
    /// Token rate while busy.
    pub rate: TokensPerSec,
    /// Electricity of a million tokens, F6 with total energy.
    pub electricity: UsdPerMtok,
    /// Switched off when idle: no idle power.
    pub off_when_idle: bool,
}

/// Utilization at which owning costs what the API charges.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakEven {
    /// Share of the hours of a year the machine must be busy.
    pub utilization: f64,
    /// Tokens per day at that utilization.
    pub tokens_per_day: f64,
}

impl OwnedMachine {
    /// Capital and maintenance of every hour, busy or not, F_h = (A + M)/8760.
    #[must_use]
    pub fn fixed_per_hour(&self) -> UsdPerHour {
        UsdPerHour((self.capital + self.maintenance).0 / HOURS_PER_YEAR)
    }

    /// Electricity of an idle hour, g; 0 when switched off.
    #[must_use]
    pub fn idle_per_hour(&self) -> UsdPerHour {
        if self.off_when_idle { UsdPerHour(0.0) } else { formula::idle_per_hour(self.idle, self.tariff, self.pue) }
    }

    /// F9 at a utilization: F6 + (F_h/u + g(1 - u)/u)·k.
    #[must_use]
    pub fn cost_at(&self, utilization: f64) -> Option<UsdPerMtok> {
        let (fixed, idle) = (self.fixed_per_hour().0, self.idle_per_hour().0);
        let hourly = UsdPerHour((fixed + idle * (1.0 - utilization)) / utilization);
        formula::hourly_per_mtok(hourly, self.rate).map(|c| c + self.electricity)
    }

    /// F13: u* = k(F_h + g)/(P_api - F6 + k·g), k = 10⁶/(3600·tps). `None` means never: the electricity alone costs as
    /// much as the API, or the machine would have to be busy for more than all hours.
    #[must_use]
    pub fn break_even(&self, api: UsdPerMtok) -> Option<BreakEven> {
        let k = formula::hourly_per_mtok(UsdPerHour(1.0), self.rate)?.0;
        let (fixed, idle) = (self.fixed_per_hour().0, self.idle_per_hour().0);
        let margin = (api - self.electricity).0;
        if margin.is_nan() || margin <= 0.0 {
            return None;
        }
        let utilization = k * (fixed + idle) / (margin + k * idle);
        (utilization <= 1.0).then_some(BreakEven { utilization, tokens_per_day: utilization * 86_400.0 * self.rate.0 })
    }
}

/// F13: energy per token at which electricity alone costs the API price, e* = 3.6·P_api/(p·PUE). `None` for a tariff
/// of 0, at which it never does.
#[must_use]
pub fn break_even_energy(api: UsdPerMtok, tariff: UsdPerKwh, pue: f64) -> Option<JoulesPerToken> {
    JoulesPerToken(3.6 * api.0 / (tariff.0 * pue)).known()
}

/// Tariff at which the full cost of a million tokens reaches the API price: (P_api - fixed)/(e'/3.6·PUE), with `fixed`
/// the part without electricity and e' = e + P_idle(1 - u)/(u·tps) the energy with its idle share. `None` when the rest
/// alone already costs more, or no energy is used.
#[must_use]
pub fn break_even_tariff(api: UsdPerMtok, fixed: UsdPerMtok, energy: JoulesPerToken, pue: f64) -> Option<UsdPerKwh> {
    let per_tariff = formula::kwh_per_mtok(energy) * pue;
    let rest = (api - fixed).0;
    if rest < 0.0 || per_tariff <= 0.0 {
        return None;
    }
    UsdPerKwh(rest / per_tariff).known()
}

/// F14: energy per token with its share of the idle hours, e' = e + P_idle·(1 - u)/(u·tps).
#[must_use]
pub fn energy_with_idle(
    e: JoulesPerToken,
    idle: Watts,
    utilization: f64,
    rate: TokensPerSec,
) -> Option<JoulesPerToken> {
    JoulesPerToken(e.0 + idle.0 * (1.0 - utilization) / (utilization * rate.0)).known()
}

/// One of two tiers in F14: its hardware cost of a million tokens (without idle power) and its energy per token (with
/// it, see [`energy_with_idle`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlipSide {
    /// K = h·10⁶/(3600·tps).
    pub hardware: UsdPerMtok,
    /// e or e'.
    pub energy: JoulesPerToken,
}

/// What a rise of the tariff does to the cheaper of two tiers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "flip", rename_all = "snake_case")]
pub enum Flip {
    /// The tier with the cheaper hardware wins below `tariff`, the frugal one above.
    At {
        /// p*, $/kWh.
        tariff: UsdPerKwh,
        /// Whether the first tier is the cheaper one below it.
        first_below: bool,
    },
    /// One tier is at least as good in both: no tariff changes the winner.
    Never {
        /// Whether the first tier wins (ties go to the first).
        first: bool,
    },
}

/// F14: p* = 3.6·(K_B - K_A)/((e_A - e_B)·PUE).
#[must_use]
pub fn tariff_flip(a: FlipSide, b: FlipSide, pue: f64) -> Flip {
    let (hardware, energy) = ((b.hardware - a.hardware).0, (a.energy - b.energy).0);
    let tariff = 3.6 * hardware / (energy * pue);
    if tariff.is_finite() && tariff > 0.0 {
        Flip::At { tariff: UsdPerKwh(tariff), first_below: hardware > 0.0 }
    } else {
        Flip::Never { first: hardware >= 0.0 && energy <= 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn machine() -> OwnedMachine {
        OwnedMachine {
            capital: Usd(375.0),
            maintenance: Usd(38.0),
            idle: Watts(60.0),
            tariff: UsdPerKwh(0.17),
            pue: 1.0,
            rate: TokensPerSec(64.0),
            electricity: UsdPerMtok(0.11),
            off_when_idle: false,
        }
    }

    #[test]
    fn no_utilization_is_enough_when_the_api_is_cheap() {
        assert_eq!(machine().break_even(UsdPerMtok(0.11)), None);
        assert_eq!(machine().break_even(UsdPerMtok(0.2)), None);
        assert_eq!(machine().break_even(UsdPerMtok(f64::NAN)), None);
    }

    #[test]
    fn a_tier_that_is_better_in_both_wins_at_any_tariff() {
        let side = |k, e| FlipSide { hardware: UsdPerMtok(k), energy: JoulesPerToken(e) };
        assert_eq!(tariff_flip(side(1.0, 1.0), side(2.0, 2.0), 1.0), Flip::Never { first: true });
        assert_eq!(tariff_flip(side(2.0, 2.0), side(1.0, 1.0), 1.0), Flip::Never { first: false });
        assert_eq!(tariff_flip(side(1.0, 1.0), side(1.0, 1.0), 1.0), Flip::Never { first: true });
    }

    proptest! {
        #[test]
        fn at_break_even_both_cost_the_same(api in 0.3f64..5.0, off: bool) {
            let m = OwnedMachine { off_when_idle: off, ..machine() };
            if let Some(at) = m.break_even(UsdPerMtok(api)) {
                prop_assert!((m.cost_at(at.utilization).unwrap().0 - api).abs() < 1e-9);
            }
        }

        #[test]
        fn at_the_flip_tariff_both_tiers_cost_the_same(
            ka in 0.0f64..2.0, kb in 0.0f64..2.0, ea in 0.1f64..5.0, eb in 0.1f64..5.0, pue in 1.0f64..2.0,
        ) {
            let side = |k, e| FlipSide { hardware: UsdPerMtok(k), energy: JoulesPerToken(e) };
            let cost = |k: f64, e: f64, p: f64| k + formula::electricity(JoulesPerToken(e), UsdPerKwh(p), pue).0;
            match tariff_flip(side(ka, ea), side(kb, eb), pue) {
                Flip::At { tariff, first_below } => {
                    let p = tariff.0;
                    prop_assert!((cost(ka, ea, p) - cost(kb, eb, p)).abs() < 1e-6 * (1.0 + cost(ka, ea, p)));
                    prop_assert_eq!(cost(ka, ea, p * 0.5) < cost(kb, eb, p * 0.5), first_below);
                }
                Flip::Never { first } => {
                    for p in [0.01, 0.3, 5.0] {
                        prop_assert_eq!(cost(ka, ea, p) <= cost(kb, eb, p), first);
                    }
                }
            }
        }
    }
}
