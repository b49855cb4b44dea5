//! Which input the result depends on (the tornado), and where the winner among tiers changes.

use serde::{Deserialize, Serialize};

use super::assumptions::{Hardware, Sourced};
use super::breakeven::{Flip, FlipSide, energy_with_idle, tariff_flip};
use super::estimate::{Graded, Readings, estimate};
use super::{Assumptions, formula};
use crate::units::{Interval, JoulesPerToken, TokensPerSec};

/// An input that can be varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Tariff.
    Tariff,
    /// Utilization.
    Utilization,
    /// Purchase price or rent.
    Price,
    /// Life of owned hardware.
    Life,
    /// Token rates, both directions.
    Speed,
    /// Energy per token, both directions.
    Energy,
    /// Pass rate.
    Quality,
}

impl Input {
    /// All inputs.
    pub const ALL: [Self; 7] =
        [Self::Tariff, Self::Utilization, Self::Price, Self::Life, Self::Speed, Self::Energy, Self::Quality];
}

/// One bar of the tornado: the headline cost with an input at a lower and a higher value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Swing {
    /// The input.
    pub input: Input,
    /// $ per 1,000 solved with the input divided by the factor.
    pub at_low: f64,
    /// With the input multiplied by the factor (utilization and quality stop at 1).
    pub at_high: f64,
}

impl Input {
    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tariff => "tariff",
            Self::Utilization => "utilization",
            Self::Price => "hardware price",
            Self::Life => "life",
            Self::Speed => "speed",
            Self::Energy => "energy",
            Self::Quality => "pass rate",
        }
    }
}

impl Swing {
    /// Width of the bar.
    #[must_use]
    pub fn width(&self) -> f64 {
        (self.at_high - self.at_low).abs()
    }
}

/// Varies every input by `factor` (> 1) down and up, widest swing first. An input the cost does not hold (the life of
/// rented hardware, unknown energy) is left out. Empty when the headline cost is unknown.
#[must_use]
pub fn tornado(readings: &Readings, assumptions: &Assumptions, factor: f64) -> Vec<Swing> {
    if !(factor > 1.0 && factor.is_finite()) {
        return Vec::new();
    }
    let cost = |r: &Readings, a: &Assumptions| estimate(r, a).usd_per_1k_solved.map(|i| i.value);
    let Some(base) = cost(readings, assumptions) else { return Vec::new() };
    let mut swings: Vec<Swing> = Input::ALL
        .iter()
        .filter_map(|&input| {
            let at = |factor: f64| {
                let (r, a) = vary(input, readings, assumptions, factor)?;
                cost(&r, &a)
            };
            Some(Swing { input, at_low: at(1.0 / factor)?, at_high: at(factor)? })
        })
        .filter(|swing| swing.at_low != base || swing.at_high != base)
        .collect();
    swings.sort_by(|a, b| b.width().total_cmp(&a.width()));
    swings
}

/// The inputs with one of them multiplied; `None` if it is not there to vary.
fn vary(input: Input, readings: &Readings, assumptions: &Assumptions, factor: f64) -> Option<(Readings, Assumptions)> {
    let (mut r, mut a) = (*readings, assumptions.clone());
    let times = |i: Option<Interval>| i.map(|i| super::uncertainty::scale(i, factor));
    match input {
        Input::Tariff => a.tariff.value = a.tariff.value * factor,
        Input::Utilization => a.utilization.value = (a.utilization.value * factor).min(1.0),
        Input::Price => match &mut a.hardware {
            Hardware::Owned { price, salvage, .. } => {
                price.value = price.value * factor;
                salvage.value = salvage.value * factor;
            }
            Hardware::Rented { rate } => rate.value = rate.value * factor,
            Hardware::Sunk { .. } => return None,
        },
        Input::Life => match &mut a.hardware {
            Hardware::Owned { life_years: Sourced { value, .. }, .. } => *value *= factor,
            _ => return None,
        },
        Input::Speed => (r.tps_in, r.tps_out) = (times(r.tps_in), times(r.tps_out)),
        Input::Energy => (r.energy_in, r.energy_out) = (times(r.energy_in), times(r.energy_out)),
        Input::Quality => {
            // Counts are whole; a large common denominator keeps the rate.
            const SCALE: u64 = 1_000_000;
            let Graded { passes, items } = r.graded?;
            let rate = (passes as f64 / items as f64 * factor).min(1.0);
            r.graded = Some(Graded { passes: (rate * SCALE as f64).round() as u64, items: SCALE });
        }
    }
    Some((r, a))
}

/// F14 for output tokens of two tiers on one machine: the tariff above which the more frugal one becomes the cheaper.
/// Idle power, if charged, counts as energy. `None` when a rate or an energy is unknown, or the rent holds the
/// electricity.
#[must_use]
pub fn flip_point(a: &Readings, b: &Readings, assumptions: &Assumptions) -> Option<Flip> {
    if matches!(assumptions.hardware, Hardware::Rented { .. }) {
        return None;
    }
    let hourly = assumptions.hardware_per_busy_hour()?;
    let side = |r: &Readings| {
        let rate = TokensPerSec(r.tps_out?.value);
        let energy = JoulesPerToken(r.energy_out?.value);
        let with_idle = match &assumptions.idle {
            Some(idle) => energy_with_idle(energy, idle.value, assumptions.utilization.value, rate)?,
            None => energy,
        };
        Some(FlipSide { hardware: formula::hourly_per_mtok(hourly, rate)?, energy: with_idle })
    };
    Some(tariff_flip(side(a)?, side(b)?, assumptions.pue.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::estimate::EnergyKind;
    use crate::cost::{PriceBook, UserFile};

    fn exact(value: f64) -> Option<Interval> {
        Some(Interval { value, lo: value, hi: value, level: 0.95 })
    }

    fn readings() -> Readings {
        Readings {
            energy_in: exact(0.2),
            energy_out: exact(2.3),
            energy_kind: EnergyKind::Measured,
            tps_in: exact(1000.0),
            tps_out: exact(60.0),
            n_in: Some(700.0),
            n_out: Some(120.0),
            graded: Some(Graded { passes: 160, items: 200 }),
        }
    }

    fn assumptions(text: &str) -> Assumptions {
        let user = UserFile::parse("my.toml", text).unwrap();
        Assumptions::from_file(&PriceBook::with(&user).unwrap(), &user).unwrap()
    }

    #[test]
    fn hardware_time_dominates_the_reference_machine() {
        let a = assumptions("[cost]\nhardware_usd = 1900\nsalvage_usd = 400\nidle_w = 60\n");
        let swings = tornado(&readings(), &a, 2.0);
        let place = |input| swings.iter().position(|s| s.input == input).unwrap();
        assert_eq!(swings.len(), 7);
        assert!(place(Input::Utilization) < place(Input::Tariff));
        assert!(place(Input::Speed) < place(Input::Energy));
        assert!(swings.windows(2).all(|w| w[0].width() >= w[1].width()));
    }

    #[test]
    fn inputs_the_cost_does_not_hold_are_left_out() {
        let rented = tornado(&readings(), &assumptions("[cost]\nrent_usd_per_hour = 1\n"), 2.0);
        let inputs: Vec<Input> = rented.iter().map(|s| s.input).collect();
        assert!(!inputs.contains(&Input::Life) && !inputs.contains(&Input::Tariff) && !inputs.contains(&Input::Energy));
        assert!(inputs.contains(&Input::Price));
        assert!(tornado(&Readings::default(), &assumptions(""), 2.0).is_empty());
        assert!(tornado(&readings(), &assumptions(""), 1.0).is_empty());
    }

    #[test]
    fn a_flip_point_is_where_both_tiers_cost_the_same() {
        let a = assumptions("[cost]\nidle_w = 4\npue = 1.2\n");
        let (slow, fast) = (
            Readings { energy_out: exact(1.0), tps_out: exact(30.0), ..readings() },
            Readings { energy_out: exact(2.8), tps_out: exact(80.0), ..readings() },
        );
        let Some(Flip::At { tariff, first_below }) = flip_point(&slow, &fast, &a) else { panic!("no flip") };
        let cost = |r: &Readings| {
            let mut at = a.clone();
            at.tariff.value = tariff;
            estimate(r, &at).usd_per_mtok_out.unwrap().total.value
        };
        assert!((cost(&slow) / cost(&fast) - 1.0).abs() < 1e-9 && !first_below);
        assert_eq!(flip_point(&slow, &Readings { energy_out: None, ..fast }, &a), None);
    }
}
