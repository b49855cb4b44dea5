//! A tier's cost from its readings and the run's assumptions, every number with its interval.
//!
//! Unknown energy leaves the electricity out and says so ([`EnergyTerm::Excluded`]); it never becomes 0 joules. Energy
//! that is an estimate travels as a range.

use serde::{Deserialize, Serialize};

use super::Assumptions;
use super::assumptions::Hardware;
use super::formula;
use super::uncertainty::{Propagation, add, divide, per_solved, scale};
use crate::stats::binomial;
use crate::stats::distribution::normal_quantile;
use crate::units::{Interval, JoulesPerToken, Usd, UsdPerHour};

/// How a tier's energy is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnergyKind {
    /// From a meter: the interval is an error.
    #[default]
    Measured,
    /// From a model of the load: the interval is a range.
    Estimated,
}

/// What electricity a cost holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnergyTerm {
    /// Metered.
    Measured,
    /// Estimated: the cost is a range.
    Estimated,
    /// Energy unknown: the cost is "excl. electricity".
    Excluded,
    /// The rent holds it.
    InRent,
}

impl EnergyTerm {
    /// What a table prints beside the cost; empty when there is nothing to warn of.
    #[must_use]
    pub const fn note(self) -> &'static str {
        match self {
            Self::Measured => "",
            Self::Estimated => "electricity estimated",
            Self::Excluded => "excl. electricity",
            Self::InRent => "electricity in rent",
        }
    }
}

/// What was measured of a tier. Unknown is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Readings {
    /// Total energy of an input token, J.
    pub energy_in: Option<Interval>,
    /// Total energy of an output token, J.
    pub energy_out: Option<Interval>,
    /// How the energy is known.
    pub energy_kind: EnergyKind,
    /// Input tokens per second.
    pub tps_in: Option<Interval>,
    /// Output tokens per second.
    pub tps_out: Option<Interval>,
    /// Mean input tokens of an item.
    pub n_in: Option<f64>,
    /// Mean output tokens of an item, those of failed items included.
    pub n_out: Option<f64>,
    /// Items passed and items graded.
    pub graded: Option<Graded>,
}

/// Graded items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graded {
    /// Items passed.
    pub passes: u64,
    /// Items graded.
    pub items: u64,
}

/// Cost of a million tokens in its parts, $/Mtok.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parts {
    /// Electricity while busy (F6); `None` if excluded or in the rent.
    pub electricity: Option<Interval>,
    /// Capital and maintenance, or rent (F9).
    pub hardware: Interval,
    /// Electricity of idle hours (F8); `None` if idle power is unknown, not charged, or in the rent.
    pub idle: Option<Interval>,
    /// The sum.
    pub total: Interval,
}

/// What a tier costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostEstimate {
    /// Whether and how electricity is in every number here. An input or output price whose own energy is unknown makes
    /// the whole estimate exclude it, so that no two columns of a row differ in what they hold.
    pub energy_included: EnergyTerm,
    /// Whether capital is excluded because the hardware is sunk.
    pub excludes_capital: bool,
    /// $ per million input tokens.
    pub usd_per_mtok_in: Option<Parts>,
    /// $ per million output tokens.
    pub usd_per_mtok_out: Option<Parts>,
    /// 3:1 blend, to compare with published prices.
    pub usd_per_mtok_blended: Option<Interval>,
    /// $ per item of the task (F11).
    pub usd_per_item: Option<Interval>,
    /// $ per 1,000 solved items (F11, F16): the headline.
    pub usd_per_1k_solved: Option<Interval>,
    /// g CO2e per million output tokens (F6): of the electricity while busy, without idle hours or manufacture.
    pub g_co2e_per_mtok_out: Option<Interval>,
    /// g CO2e per item, in the same bounds.
    #[serde(default)]
    pub g_co2e_per_item: Option<Interval>,
    /// g CO2e per 1,000 solved items.
    #[serde(default)]
    pub g_co2e_per_1k_solved: Option<Interval>,
}

/// Costs a tier.
#[must_use]
pub fn estimate(readings: &Readings, assumptions: &Assumptions) -> CostEstimate {
    let energy_included = energy_term(readings, assumptions);
    let how = match energy_included {
        EnergyTerm::Estimated => Propagation::Range,
        _ => Propagation::Independent,
    };
    let direction = |energy: Option<Interval>, rate: Option<Interval>| {
        let charged = matches!(energy_included, EnergyTerm::Measured | EnergyTerm::Estimated);
        parts(if charged { energy } else { None }, rate?, assumptions, how)
    };
    let input = direction(readings.energy_in, readings.tps_in);
    let output = direction(readings.energy_out, readings.tps_out);
    let totals = input.zip(output).map(|(i, o)| (i.total, o.total));
    let sum = |(i, o): (Interval, Interval), w_in: f64, w_out: f64| add(scale(i, w_in), scale(o, w_out), how);
    let usd_per_item = item_cost(readings, input, output, how);
    let g_per_joule = assumptions.carbon_g_per_kwh.as_ref().map(|carbon| {
        // A million tokens of a microjoule each are a joule.
        formula::carbon_g_per_mtok(JoulesPerToken(1e-6), assumptions.pue.value, carbon.value)
    });
    let g_co2e_per_item = item_energy(readings, how).zip(g_per_joule).map(|(e, g)| scale(e, g));
    CostEstimate {
        energy_included,
        excludes_capital: matches!(assumptions.hardware, Hardware::Sunk { .. }),
        usd_per_mtok_in: input,
        usd_per_mtok_out: output,
        usd_per_mtok_blended: totals.map(|t| sum(t, 0.75, 0.25)),
        usd_per_item,
        usd_per_1k_solved: usd_per_item
            .zip(readings.graded)
            .and_then(|(item, graded)| solved_cost(item, graded, assumptions.failure.value, how)),
        g_co2e_per_mtok_out: readings.energy_out.zip(g_per_joule).map(|(e, g)| scale(e, 1e6 * g)),
        g_co2e_per_item,
        g_co2e_per_1k_solved: g_co2e_per_item.zip(readings.graded).and_then(|(g, n)| per_1000_solved(g, n, how)),
    }
}

fn energy_term(readings: &Readings, assumptions: &Assumptions) -> EnergyTerm {
    if matches!(assumptions.hardware, Hardware::Rented { .. }) {
        return EnergyTerm::InRent;
    }
    // A direction that was timed but not metered.
    let unmetered = |rate: Option<Interval>, energy: Option<Interval>| rate.is_some() && energy.is_none();
    let none = readings.energy_in.is_none() && readings.energy_out.is_none();
    if none || unmetered(readings.tps_in, readings.energy_in) || unmetered(readings.tps_out, readings.energy_out) {
        return EnergyTerm::Excluded;
    }
    match readings.energy_kind {
        EnergyKind::Measured => EnergyTerm::Measured,
        EnergyKind::Estimated => EnergyTerm::Estimated,
    }
}

/// F9 for one direction. Tariff, price and life are taken as exact: their doubt is the sensitivity's matter.
fn parts(energy: Option<Interval>, rate: Interval, a: &Assumptions, how: Propagation) -> Option<Parts> {
    let per_hour = |hourly: UsdPerHour| divide(hourly.0 * 1e6 / 3600.0, rate);
    let hardware_per_hour = a.hardware_per_busy_hour()?;
    let idle_per_hour = a.idle_per_busy_hour();
    let electricity =
        energy.map(|e| scale(e, formula::electricity(JoulesPerToken(1.0), a.tariff.value, a.pue.value).0));
    // Both hourly parts share the error of the rate, so they are summed before they are divided.
    let hourly = per_hour(hardware_per_hour + idle_per_hour.unwrap_or(UsdPerHour(0.0)))?;
    Some(Parts {
        electricity,
        hardware: per_hour(hardware_per_hour)?,
        idle: idle_per_hour.and_then(per_hour),
        total: electricity.map_or(hourly, |e| add(e, hourly, how)),
    })
}

/// F11. An item of no output tokens (log-likelihood scoring) needs no output price, and the other way round.
fn item_cost(readings: &Readings, input: Option<Parts>, output: Option<Parts>, how: Propagation) -> Option<Interval> {
    let share = |tokens: f64, price: Option<Parts>| {
        if tokens == 0.0 { Some(None) } else { price.map(|p| Some(scale(p.total, tokens / 1e6))) }
    };
    let (n_in, n_out) = (readings.n_in?, readings.n_out?);
    match (share(n_in, input)?, share(n_out, output)?) {
        (Some(i), Some(o)) => Some(add(i, o, how)),
        (one, other) => one.or(other),
    }
}

/// Energy of an item, J. An item of no output tokens needs no output energy, and the other way round.
fn item_energy(readings: &Readings, how: Propagation) -> Option<Interval> {
    let share = |tokens: f64, energy: Option<Interval>| {
        if tokens == 0.0 { Some(None) } else { energy.map(|e| Some(scale(e, tokens))) }
    };
    match (share(readings.n_in?, readings.energy_in)?, share(readings.n_out?, readings.energy_out)?) {
        (Some(i), Some(o)) => Some(add(i, o, how)),
        (one, other) => one.or(other),
    }
}

/// Anything an item takes (dollars, joules, grams), per 1,000 solved items, failures included in what is taken (F11,
/// F16). `None` when nothing is solved.
#[must_use]
pub fn per_1000_solved(item: Interval, graded: Graded, how: Propagation) -> Option<Interval> {
    solved_cost(item, graded, Usd(0.0), how)
}

/// F11 with F16. A range keeps its ends and widens them by the accuracy's error; an error adds on the log scale.
fn solved_cost(item: Interval, graded: Graded, failure: Usd, how: Propagation) -> Option<Interval> {
    let Graded { passes, items } = graded;
    let level = item.level;
    let z = normal_quantile(0.5 * (1.0 + level))?;
    let relative = match how {
        Propagation::Independent if item.lo > 0.0 => (item.hi / item.lo).ln() / (2.0 * z),
        _ => 0.0,
    };
    if failure.0 == 0.0 {
        let solved = per_solved(Usd(item.value), relative, passes, items, level)?.interval;
        return Some(match how {
            Propagation::Independent => solved,
            Propagation::Range => {
                Interval { lo: solved.lo * item.lo / item.value, hi: solved.hi * item.hi / item.value, ..solved }
            }
        });
    }
    // With a cost of failures accuracy enters twice, so its end points are carried through F11 themselves.
    let accuracy = binomial::wilson(passes, items, level)?;
    let at = |c: f64, acc: f64| formula::cost_per_1000_solved(Usd(c), acc, failure).map(|usd| usd.0);
    let value = at(item.value, accuracy.value)?;
    let (cost_lo, cost_hi) = (at(item.lo, accuracy.value)?, at(item.hi, accuracy.value)?);
    let (good, bad) = (at(item.value, accuracy.hi)?, at(item.value, accuracy.lo)?);
    let (by_cost, by_accuracy) = (interval(value, cost_lo, cost_hi, level), interval(value, good, bad, level));
    // `add` counts the value twice; only the distances of its ends are wanted.
    let both = add(by_cost, by_accuracy, how);
    Some(interval(value, value - (both.value - both.lo), value + (both.hi - both.value), level))
}

fn interval(value: f64, lo: f64, hi: f64, level: f64) -> Interval {
    Interval { value, lo: lo.max(0.0), hi, level }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cost::{PriceBook, Sourced, UserFile};

    fn about(value: f64, half: f64) -> Option<Interval> {
        Some(Interval { value, lo: value - half, hi: value + half, level: 0.95 })
    }

    fn readings() -> Readings {
        Readings {
            energy_in: about(0.17578125, 0.01),
            energy_out: about(2.34375, 0.14),
            energy_kind: EnergyKind::Measured,
            tps_in: about(1024.0, 20.0),
            tps_out: about(64.0, 1.0),
            n_in: Some(700.0),
            n_out: Some(120.0),
            graded: Some(Graded { passes: 164, items: 200 }),
        }
    }

    fn assumptions(text: &str) -> Assumptions {
        let user = UserFile::parse("my.toml", text).unwrap();
        Assumptions::from_file(&PriceBook::with(&user).unwrap(), &user).unwrap()
    }

    const V4: &str = "[cost]\nhardware_usd = 1900\nsalvage_usd = 400\nmaintenance_usd_per_year = 38\nidle_w = 60\n\
                      carbon_g_per_kwh = 384\n";

    #[test]
    fn the_whole_chain_gives_vectors_v4_and_v6() {
        let c = estimate(&readings(), &assumptions(V4));
        let near = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-9, "got {got}, want {want}");
        let out = c.usd_per_mtok_out.unwrap();
        near(out.total.value, 1.0619985889142567);
        near(out.hardware.value, 0.8185090055809234);
        near(out.idle.unwrap().value, 0.1328125);
        near(out.electricity.unwrap().value, 0.11067708333333333);
        near(c.usd_per_mtok_in.unwrap().total.value, 0.06775837534880771);
        near(c.usd_per_mtok_blended.unwrap().value, 0.31631842874016997);
        near(c.usd_per_item.unwrap().value, 0.00017487069341387622);
        near(c.usd_per_1k_solved.unwrap().value, 0.21325694318765392);
        near(c.g_co2e_per_mtok_out.unwrap().value, 250.0);
        let item_j = 700.0 * 0.17578125 + 120.0 * 2.34375;
        near(c.g_co2e_per_item.unwrap().value, item_j / 3.6e6 * 384.0);
        near(c.g_co2e_per_1k_solved.unwrap().value, item_j / 3.6e6 * 384.0 * 1000.0 / 0.82);
        assert_eq!((c.energy_included, c.excludes_capital), (EnergyTerm::Measured, false));
    }

    #[test]
    fn unknown_energy_is_left_out_and_named_never_zero() {
        let blind = Readings { energy_in: None, energy_out: None, ..readings() };
        let c = estimate(&blind, &assumptions(V4));
        assert_eq!((c.energy_included, c.energy_included.note()), (EnergyTerm::Excluded, "excl. electricity"));
        assert_eq!((c.usd_per_mtok_out.unwrap().electricity, c.g_co2e_per_mtok_out), (None, None));
        assert!(c.usd_per_mtok_out.unwrap().total.value < 1.0);
        // Half a meter is none: no row mixes columns with and without electricity.
        let half = estimate(&Readings { energy_in: None, ..readings() }, &assumptions(V4));
        assert_eq!(half.energy_included, EnergyTerm::Excluded);
        assert_eq!(half.usd_per_mtok_out.unwrap().electricity, None);
    }

    #[test]
    fn an_estimated_range_stays_a_range() {
        let wide = |e: f64| Some(Interval { value: e, lo: 0.5 * e, hi: 2.0 * e, level: 0.95 });
        let guess = Readings {
            energy_in: wide(0.17578125),
            energy_out: wide(2.34375),
            energy_kind: EnergyKind::Estimated,
            ..readings()
        };
        let out = estimate(&guess, &assumptions(V4)).usd_per_mtok_out.unwrap();
        let e = out.electricity.unwrap();
        assert!((out.total.hi - out.total.value) >= (e.hi - e.value));
        assert!((out.total.value - out.total.lo) >= (e.value - e.lo));
        let measured = Readings { energy_kind: EnergyKind::Measured, ..guess };
        let solved = |r: &Readings| estimate(r, &assumptions(V4)).usd_per_1k_solved.unwrap();
        assert!(solved(&guess).hi > solved(&measured).hi && solved(&guess).lo < solved(&measured).lo);
    }

    #[test]
    fn what_was_not_measured_is_not_priced() {
        let c = estimate(&Readings::default(), &assumptions(V4));
        assert_eq!((c.usd_per_mtok_in, c.usd_per_item, c.usd_per_1k_solved), (None, None, None));
        let unsolved = Readings { graded: Some(Graded { passes: 0, items: 10 }), ..readings() };
        assert_eq!(estimate(&unsolved, &assumptions(V4)).usd_per_1k_solved, None);
    }

    #[test]
    fn scoring_by_likelihood_needs_no_output_price() {
        let scoring = Readings { n_out: Some(0.0), tps_out: None, energy_out: None, ..readings() };
        let c = estimate(&scoring, &assumptions(V4));
        assert_eq!(c.energy_included, EnergyTerm::Measured);
        assert!((c.usd_per_item.unwrap().value - 700.0 * 0.06775837534880771 / 1e6).abs() < 1e-15);
    }

    #[test]
    fn rent_holds_the_electricity() {
        let c = estimate(&readings(), &assumptions("[cost]\nrent_usd_per_hour = 0.34\nutilization = 0.5\n"));
        assert_eq!(c.energy_included, EnergyTerm::InRent);
        assert!((c.usd_per_mtok_out.unwrap().total.value - 2.951388888888889).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn cost_grows_with_prices_and_energy_and_falls_with_use_speed_and_accuracy(
            tariff in 0.01f64..1.0, price in 1.0f64..1e4, u in 0.05f64..0.9, e in 0.01f64..20.0, tps in 1.0f64..500.0,
            passes in 50u64..150, more in 1.05f64..2.0, failure in 0.0f64..0.1,
        ) {
            let given = |value| Sourced { value, source: "test".into(), date: None, mark: Default::default() };
            let cost = |tariff: f64, price: f64, u: f64, e: f64, tps: f64, passes: u64| {
                let mut a = assumptions(V4);
                let changes = [
                    ("salvage_usd", 0.0), ("hardware_usd", price), ("tariff_usd_per_kwh", tariff), ("utilization", u),
                    ("failure_usd", failure),
                ];
                for (key, value) in changes {
                    a.set(key, given(value)).unwrap();
                }
                let r = Readings {
                    energy_out: about(e, 0.05 * e),
                    tps_out: about(tps, 0.02 * tps),
                    graded: Some(Graded { passes, items: 200 }),
                    ..readings()
                };
                estimate(&r, &a).usd_per_1k_solved.unwrap()
            };
            let base = cost(tariff, price, u, e, tps, passes);
            prop_assert!(base.lo <= base.value && base.value <= base.hi);
            prop_assert!(cost(tariff * more, price, u, e, tps, passes).value > base.value);
            prop_assert!(cost(tariff, price * more, u, e, tps, passes).value > base.value);
            prop_assert!(cost(tariff, price, u, e * more, tps, passes).value > base.value);
            prop_assert!(cost(tariff, price, (u * more).min(1.0), e, tps, passes).value < base.value);
            prop_assert!(cost(tariff, price, u, e, tps * more, passes).value < base.value);
            prop_assert!(cost(tariff, price, u, e, tps, passes + 10).value < base.value);
        }
    }
}
