//! Whole ladders: how often a tier below the bar is chosen, and what the search costs.
//!
//! Six tiers of relative cost 1, 1.6, 2.5, 4, 7, 12; bar 0.8, N = 200, α = 0.05, β = 0.10, no FAILS before ten items, final
//! look at N. Items are correlated across tiers: tier i passes item j when √½ z_j + √½ e_ij < Φ⁻¹(p_i).

use super::{Share, beside, percent, publish};
use crate::decide::ladder::{Outcome, Rung, Step, Strategy, next};
use crate::decide::{Rule, Verdict};
use crate::stats::bootstrap::SplitMix64;
use crate::stats::distribution::normal_quantile;
use crate::stats::sequential::{Boundaries, Look};
use crate::units::Interval;

const COSTS: [f64; 6] = [1.0, 1.6, 2.5, 4.0, 7.0, 12.0];
const ITEMS: u64 = 200;
const RUNS: u64 = 10_000;
const BAR: f64 = 0.8;

/// What a strategy did in all runs.
#[derive(Debug, Default)]
struct Outcomes {
    cost: f64,
    right: Share,
    below_bar: Share,
}

/// A pair of standard normal numbers (Box and Muller).
fn normals(random: &mut SplitMix64) -> [f64; 2] {
    let radius = (-2.0 * (1.0 - random.unit()).ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * random.unit()).sin_cos();
    [radius * cos, radius * sin]
}

struct Simulation {
    strategy: Strategy,
    boundaries: Boundaries,
    final_passes: u64,
    limits: [f64; 6],
}

impl Simulation {
    fn new(strategy: Strategy, rates: [f64; 6]) -> Self {
        let rule = Rule { tiers: strategy.family(6), n_max: Some(ITEMS), ..Rule::new(BAR).unwrap() };
        Self {
            strategy,
            boundaries: rule.boundaries(ITEMS),
            final_passes: rule.final_look().unwrap().passes.unwrap(),
            limits: rates.map(|p| normal_quantile(p).unwrap()),
        }
    }

    /// One run: the chosen tier and what it cost.
    fn run(&self, random: &mut SplitMix64) -> (Option<usize>, f64) {
        let half = 0.5f64.sqrt();
        let shared: Vec<f64> = (0..ITEMS / 2).flat_map(|_| normals(random)).collect();
        let passes: Vec<Vec<bool>> = self
            .limits
            .iter()
            .map(|limit| {
                let own: Vec<f64> = (0..ITEMS / 2).flat_map(|_| normals(random)).collect();
                shared.iter().zip(own).map(|(z, e)| half * z + half * e < *limit).collect()
            })
            .collect();
        let mut rungs = COSTS.map(|c| Rung {
            cost: Some(Interval { value: c, lo: c, hi: c, level: 0.95 }),
            verdict: Verdict::Undecided { more_items: None },
            exhausted: false,
        });
        let mut cost = 0.0;
        loop {
            let tier = match next(self.strategy, &rungs, false) {
                Step::Test(tier) => tier,
                Step::Answer(answer) => {
                    assert_eq!(answer.chosen.is_some(), answer.outcome == Outcome::Clears);
                    return (answer.chosen, cost);
                }
            };
            // Without parking the schedule stays with a tier until it is decided or has no item left.
            let (items, verdict) = self.judge(&passes[tier]);
            cost += COSTS[tier] * items as f64;
            match verdict {
                Some(verdict) => rungs[tier].verdict = verdict,
                None => rungs[tier].exhausted = true,
            }
        }
    }

    /// One tier: the items it took and what they decided.
    fn judge(&self, passes: &[bool]) -> (u64, Option<Verdict>) {
        let mut passed = 0;
        for (&pass, n) in passes.iter().zip(1..) {
            passed += u64::from(pass);
            match self.boundaries.look(passed, n) {
                Look::Clears => return (n, Some(Verdict::Clears)),
                Look::Fails => return (n, Some(Verdict::Fails)),
                Look::Continue => {}
            }
        }
        (ITEMS, (passed >= self.final_passes).then_some(Verdict::Clears))
    }
}

fn simulate(strategy: Strategy, rates: [f64; 6]) -> Outcomes {
    let simulation = Simulation::new(strategy, rates);
    let best = rates.iter().position(|&p| p > BAR);
    let mut random = SplitMix64::new(20_261_121);
    let mut sum = Outcomes::default();
    for _ in 0..RUNS {
        let (chosen, cost) = simulation.run(&mut random);
        sum.cost += cost / RUNS as f64;
        sum.right.count(chosen == best);
        sum.below_bar.count(chosen.is_some_and(|i| rates[i] <= BAR));
    }
    sum
}

const CLIMBING: [f64; 6] = [0.45, 0.60, 0.70, 0.76, 0.90, 0.94];
const EASY: [f64; 6] = [0.70, 0.90, 0.92, 0.93, 0.94, 0.95];
const WORST: [f64; 6] = [0.795, 0.795, 0.795, 0.795, 0.795, 0.95];
const AT_BAR: [f64; 6] = [BAR; 6];

/// Rows of one strategy: pass rates and the reference's mean cost, share that chooses the right tier, share below the bar.
fn rows(strategy: Strategy, name: &str, table: [([f64; 6], Option<[f64; 3]>); 4]) -> Vec<Vec<String>> {
    let row = |(rates, reference): ([f64; 6], Option<[f64; 3]>)| {
        let got = simulate(strategy, rates);
        let what = format!("{name}, {rates:?}");
        let dash = || "—".to_owned();
        let rates = rates.map(|p| format!("{p:.3}").trim_start_matches('0').trim_end_matches('0').to_owned()).join(" ");
        let mut row = vec![format!("{name}: {rates}"), got.below_bar.wrong(0.05, &what)];
        let Some([cost, right, below]) = reference else {
            row.extend([dash(), percent(got.right.value()), dash(), format!("{:.0}", got.cost), dash(), dash()]);
            return row;
        };
        // Three standard errors of the reference's 2,000 runs and of ours.
        assert!((got.right.value() - right).abs() < 0.025, "{what}: {got:?}, the reference has {right} right");
        row.extend([percent(below), percent(got.right.value()), percent(right)]);
        row.extend(beside(got.cost, cost, 0, &what));
        row
    };
    table.into_iter().map(row).collect()
}

#[test]
fn a_ladder_costs_what_the_reference_says_and_rarely_chooses_below_the_bar() {
    let cheapest = [
        (CLIMBING, Some([2081.0, 0.899, 0.0])),
        (EASY, Some([351.0, 0.913, 0.0])),
        (WORST, Some([3774.0, 0.973, 0.027])),
        (AT_BAR, None),
    ];
    let from_top = [
        (CLIMBING, Some([1867.0, 0.971, 0.006])),
        (EASY, Some([1406.0, 0.975, 0.001])),
        (WORST, Some([1824.0, 0.964, 0.036])),
        (AT_BAR, None),
    ];
    let header = [
        "order: true pass rates",
        "chooses below the bar",
        "reference",
        "chooses right",
        "reference",
        "mean cost",
        "reference",
        "ratio",
    ];
    let mut all = rows(Strategy::CheapestFirst { parking: false }, "cheapest first", cheapest);
    all.extend(rows(Strategy::FromTop, "from the top", from_top));
    publish("ladder", &header, &all);
}

#[test]
fn a_clear_ladder_takes_a_third_of_the_full_suite() {
    // The full suite costs 200 items on every tier.
    let full = ITEMS as f64 * COSTS.iter().sum::<f64>();
    let got = simulate(Strategy::CheapestFirst { parking: false }, EASY);
    assert!(got.cost * 3.0 < full, "{got:?} against {full}");
}
