//! Flip points: how far an assumption must move before another tier is the cheapest per solved item.
//!
//! Per solved item a tier costs `(J·p·PUE/3.6e6 + s·h/3600 + (1 - acc)·F)/acc`, with J joules and s seconds per item, p
//! the tariff, h the hourly cost of a busy machine, F the cost of a failure. It is linear in p, in h and in F, so two
//! tiers cross at most once in each (F14 is the crossing in p). Point values are compared; whether today's difference is
//! a tie is said beside it.

use serde::{Deserialize, Serialize};

use super::assumptions::{Assumptions, Hardware};
use super::estimate::{Readings, estimate};
use crate::units::Interval;

/// What moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mover {
    /// Tariff, $/kWh.
    Tariff,
    /// Share of hours the machine is busy.
    Utilization,
    /// Cost of an unsolved item, $.
    FailureCost,
}

/// The nearest value of an assumption, in one direction, at which another tier becomes the cheapest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlipPoint {
    /// What moves.
    pub mover: Mover,
    /// Its value today.
    pub now: f64,
    /// Where the winner changes.
    pub at: f64,
    /// The tier that wins beyond it.
    pub to: String,
    /// Whether the two tiers' cost intervals overlap today: then it is a tie already.
    pub tie: bool,
}

impl std::fmt::Display for FlipPoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rises = self.at > self.now;
        match self.mover {
            Mover::Tariff => {
                write!(f, "electricity {} {:.3} $/kWh", if rises { "above" } else { "below" }, self.at)?;
            }
            Mover::Utilization => {
                write!(
                    f,
                    "a machine busy {} than {:.2} % of the time",
                    if rises { "more" } else { "less" },
                    self.at * 100.0
                )?;
            }
            Mover::FailureCost => {
                // Cents of a million items are told apart; a price as `1.5e-7` is not read.
                write!(
                    f,
                    "1,000 failures costing {} than ${:.6}",
                    if rises { "more" } else { "less" },
                    self.at * 1000.0
                )?;
            }
        }
        write!(f, " makes {} the cheapest", self.to)?;
        if self.tie { f.write_str(" (a tie already)") } else { Ok(()) }
    }
}

/// A tier's cost per solved item in the parts that move, and its interval.
struct Line {
    name: String,
    /// kWh per solved item with PUE, idle hours included; `None` if energy is unknown or in the rent.
    kwh: Option<f64>,
    /// Busy hours per solved item.
    hours: f64,
    /// Failures per solved item.
    failures: f64,
    total: Interval,
}

impl Line {
    fn of(name: &str, readings: &Readings, a: &Assumptions) -> Option<Self> {
        let total = estimate(readings, a).usd_per_1k_solved?;
        let graded = readings.graded.filter(|graded| graded.passes > 0)?;
        let accuracy = graded.passes as f64 / graded.items as f64;
        let seconds = 1.0 / readings.tps_in.filter(|rate| rate.value > 0.0)?.value;
        let rented = matches!(a.hardware, Hardware::Rented { .. });
        let idle_share = (1.0 - a.utilization.value) / a.utilization.value;
        let idle_j = a.idle.as_ref().map_or(0.0, |idle| idle.value.0 * idle_share * seconds);
        let joules = readings.energy_in.filter(|_| !rented).map(|e| e.value + idle_j);
        Some(Self {
            name: name.to_owned(),
            kwh: joules.map(|j| j / 3.6e6 * a.pue.value / accuracy),
            hours: seconds / 3600.0 / accuracy,
            failures: (1.0 - accuracy) / accuracy,
            total,
        })
    }

    /// $ per solved item.
    fn cost(&self) -> f64 {
        self.total.value / 1000.0
    }
}

/// Flip points of the tier at `winner` against all others, nearest first per assumption. `items` are (name, readings per
/// item as [`super::api::items_against_api`] takes them). Empty when the winner's cost is unknown.
#[must_use]
pub fn flip_points(items: &[(&str, &Readings)], winner: usize, a: &Assumptions) -> Vec<FlipPoint> {
    let lines: Vec<Option<Line>> = items.iter().map(|(name, readings)| Line::of(name, readings, a)).collect();
    let Some(Some(best)) = lines.get(winner) else { return Vec::new() };
    let others = || lines.iter().enumerate().filter(|(i, _)| *i != winner).filter_map(|(_, line)| line.as_ref());
    let mut found = Vec::new();
    // Crossing of two lines c + b·(x - now): x = now + (c_other - c_best)/(b_best - b_other).
    let crossing =
        |other: &Line, slopes: (f64, f64), now: f64| now + (other.cost() - best.cost()) / (slopes.0 - slopes.1);
    let mut nearest = |mover: Mover, now: f64, at: &dyn Fn(&Line) -> Option<f64>| {
        let points = others().filter_map(|other| Some((at(other).filter(|x| x.is_finite())?, other)));
        let points: Vec<(f64, &Line)> = points.collect();
        let above = points.iter().filter(|(x, _)| *x > now).min_by(|a, b| a.0.total_cmp(&b.0));
        let below = points.iter().filter(|(x, _)| *x < now && *x > 0.0).max_by(|a, b| a.0.total_cmp(&b.0));
        found.extend([above, below].into_iter().flatten().map(|(at, other)| FlipPoint {
            mover,
            now,
            at: *at,
            to: other.name.clone(),
            tie: best.total.overlaps(&other.total),
        }));
    };
    let tariff = a.tariff.value.0;
    nearest(Mover::Tariff, tariff, &|other| Some(crossing(other, (best.kwh?, other.kwh?), tariff)));
    let busy = a.utilization.value;
    if let Some(hours) = HourlyCost::of(a) {
        nearest(Mover::Utilization, busy, &|other| {
            let hourly = crossing(other, (best.hours, other.hours), hours.at(busy));
            hours.utilization(hourly)
        });
    }
    let failure = a.failure.value.0;
    nearest(Mover::FailureCost, failure, &|other| Some(crossing(other, (best.failures, other.failures), failure)));
    found
}

/// What a busy hour costs at a utilization, idle electricity included: h(u) = (F + g(1 - u))/u.
struct HourlyCost {
    fixed: f64,
    idle: f64,
}

impl HourlyCost {
    fn of(a: &Assumptions) -> Option<Self> {
        let busy = a.utilization.value;
        let fixed = a.hardware_per_busy_hour()?.0 * busy;
        let idle = a.idle_per_busy_hour().filter(|_| busy < 1.0).map_or(0.0, |hour| hour.0 * busy / (1.0 - busy));
        Some(Self { fixed, idle })
    }

    fn at(&self, utilization: f64) -> f64 {
        (self.fixed + self.idle * (1.0 - utilization)) / utilization
    }

    /// The utilization at which a busy hour costs this; `None` outside (0, 1].
    fn utilization(&self, hourly: f64) -> Option<f64> {
        let u = (self.fixed + self.idle) / (hourly + self.idle);
        (u > 0.0 && u <= 1.0).then_some(u)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cost::book::Mark;
    use crate::cost::estimate::{EnergyKind, Graded};
    use crate::cost::{PriceBook, Sourced, UserFile};

    fn item(rate: f64, joules: Option<f64>, passes: u64) -> Readings {
        let exact = |value: f64| Interval { value, lo: value, hi: value, level: 0.95 };
        Readings {
            energy_in: joules.map(exact),
            energy_kind: EnergyKind::Measured,
            tps_in: Some(exact(rate)),
            n_in: Some(1.0),
            n_out: Some(0.0),
            graded: Some(Graded { passes, items: 200 }),
            ..Readings::default()
        }
    }

    fn assumptions(text: &str) -> Assumptions {
        let user = UserFile::parse("my.toml", text).unwrap();
        Assumptions::from_file(&PriceBook::with(&user).unwrap(), &user).unwrap()
    }

    fn key(mover: Mover) -> &'static str {
        match mover {
            Mover::Tariff => "tariff_usd_per_kwh",
            Mover::Utilization => "utilization",
            Mover::FailureCost => "failure_usd",
        }
    }

    fn moved(a: &Assumptions, mover: Mover, value: f64) -> Assumptions {
        let mut a = a.clone();
        a.set(key(mover), Sourced { value, source: "test".into(), date: None, mark: Mark::User }).unwrap();
        a
    }

    fn cost(readings: &Readings, a: &Assumptions) -> f64 {
        estimate(readings, a).usd_per_1k_solved.unwrap().value
    }

    #[test]
    fn a_frugal_tier_wins_above_a_tariff_and_a_better_one_above_a_price_of_failure() {
        let a = assumptions("[cost]\nidle_w = 10\n");
        let (fast, frugal, better) =
            (item(20.0, Some(4.0), 160), item(15.0, Some(1.0), 160), item(12.0, Some(5.0), 190));
        let items = [("fast", &fast), ("frugal", &frugal), ("better", &better)];
        let points = flip_points(&items, 0, &a);
        let to = |mover: Mover| {
            points.iter().filter(|p| p.mover == mover && p.at > p.now).map(|p| p.to.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((to(Mover::Tariff), to(Mover::FailureCost)), (vec!["frugal"], vec!["better"]));
        let text = points.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        assert!(text.contains("electricity above") && text.contains("makes frugal the cheapest"), "{text}");
    }

    #[test]
    fn without_energy_the_tariff_flips_nothing_and_unsolved_tiers_never_win() {
        let a = assumptions("");
        let (fast, slow, useless) = (item(20.0, None, 160), item(15.0, None, 190), item(99.0, None, 0));
        let points = flip_points(&[("fast", &fast), ("slow", &slow), ("useless", &useless)], 0, &a);
        assert!(points.iter().all(|p| p.mover == Mover::FailureCost && p.to == "slow"), "{points:?}");
        assert!(flip_points(&[("useless", &useless)], 0, &a).is_empty());
        assert!(flip_points(&[], 3, &a).is_empty());
    }

    proptest! {
        #[test]
        fn at_a_flip_point_both_cost_the_same_and_beyond_it_the_other_wins(
            rates in prop::array::uniform2(1.0f64..50.0), joules in prop::array::uniform2(0.1f64..200.0),
            passes in prop::array::uniform2(20u64..200), idle in 0.0f64..60.0, pue in 1.0f64..2.0, failure in 0.0f64..1e-4,
        ) {
            let a = assumptions(&format!("[cost]\nidle_w = {idle}\npue = {pue}\nfailure_usd = {failure}\n"));
            let tiers = [item(rates[0], Some(joules[0]), passes[0]), item(rates[1], Some(joules[1]), passes[1])];
            let winner = usize::from(cost(&tiers[1], &a) < cost(&tiers[0], &a));
            for point in flip_points(&[("a", &tiers[0]), ("b", &tiers[1])], winner, &a) {
                // Electricity of idle hours moves with the hourly cost, not with the tariff's own flip.
                let there = moved(&a, point.mover, point.at);
                let (won, lost) = (cost(&tiers[winner], &there), cost(&tiers[1 - winner], &there));
                prop_assert!((won / lost - 1.0).abs() < 1e-6, "{:?}: {} against {}", point, won, lost);
                let beyond = point.at + 0.01 * (point.at - point.now);
                if beyond > 0.0 && (point.mover != Mover::Utilization || beyond <= 1.0) {
                    let beyond = moved(&a, point.mover, beyond);
                    prop_assert!(cost(&tiers[1 - winner], &beyond) <= cost(&tiers[winner], &beyond) * (1.0 + 1e-9));
                }
            }
        }
    }
}
