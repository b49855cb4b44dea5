//! Seeded simulation of whole ladders against the tables of the method (quality reference, section 4.7).
//!
//! Six tiers of relative cost 1, 1.6, 2.5, 4, 7, 12; bar 0.8, N = 200, α = 0.05, β = 0.10, no FAILS before ten items, final
//! look at N. Items are correlated across tiers: tier i passes item j when √½ z_j + √½ e_ij < Φ⁻¹(p_i).

use super::ladder::{Outcome, Rung, Step, Strategy, next};
use super::verdict::{Question, Rule, State, Verdict};
use crate::stats::bootstrap::SplitMix64;
use crate::stats::distribution::normal_quantile;
use crate::stats::sequential::{Boundaries, Look};
use crate::units::Interval;

const COSTS: [f64; 6] = [1.0, 1.6, 2.5, 4.0, 7.0, 12.0];
const ITEMS: u64 = 200;
const RUNS: usize = 2000;
const BAR: f64 = 0.8;

/// What a strategy does on average.
#[derive(Debug)]
struct Outcomes {
    cost: f64,
    right: f64,
    below_bar: f64,
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
        let mut seen = [(0u64, 0u64); 6];
        let mut cost = 0.0;
        loop {
            let tier = match next(self.strategy, &rungs, false) {
                Step::Test(tier) => tier,
                Step::Answer(answer) => {
                    assert_eq!(answer.chosen.is_some(), answer.outcome == Outcome::Clears);
                    return (answer.chosen, cost);
                }
            };
            let (n, s) = &mut seen[tier];
            *s += u64::from(passes[tier][*n as usize]);
            *n += 1;
            cost += COSTS[tier];
            let last = *n == ITEMS;
            match self.boundaries.look(*s, *n) {
                Look::Clears => rungs[tier].verdict = Verdict::Clears,
                Look::Fails => rungs[tier].verdict = Verdict::Fails,
                Look::Continue if last && *s >= self.final_passes => rungs[tier].verdict = Verdict::Clears,
                Look::Continue => rungs[tier].exhausted = last,
            }
        }
    }
}

fn simulate(strategy: Strategy, rates: [f64; 6]) -> Outcomes {
    let simulation = Simulation::new(strategy, rates);
    let best = rates.iter().position(|&p| p > BAR).unwrap();
    let mut random = SplitMix64::new(20_261_121);
    let mut sum = Outcomes { cost: 0.0, right: 0.0, below_bar: 0.0 };
    for _ in 0..RUNS {
        let (chosen, cost) = simulation.run(&mut random);
        sum.cost += cost;
        sum.right += f64::from(u8::from(chosen == Some(best)));
        sum.below_bar += f64::from(u8::from(chosen.is_some_and(|i| rates[i] <= BAR)));
    }
    let runs = RUNS as f64;
    Outcomes { cost: sum.cost / runs, right: sum.right / runs, below_bar: sum.below_bar / runs }
}

const CLIMBING: [f64; 6] = [0.45, 0.60, 0.70, 0.76, 0.90, 0.94];
const EASY: [f64; 6] = [0.70, 0.90, 0.92, 0.93, 0.94, 0.95];
const WORST: [f64; 6] = [0.795, 0.795, 0.795, 0.795, 0.795, 0.95];

fn compare(strategy: Strategy, table: [([f64; 6], f64, f64); 3]) {
    for (rates, cost, right) in table {
        let got = simulate(strategy, rates);
        assert!((got.cost / cost - 1.0).abs() < 0.10, "{rates:?}: {got:?}, the table has cost {cost}");
        // Three standard errors of a share over two times 2,000 runs.
        assert!((got.right - right).abs() < 0.03, "{rates:?}: {got:?}, the table has {right} right");
        assert!(got.below_bar <= 0.05, "{rates:?}: {got:?}");
    }
}

#[test]
fn cheapest_first_costs_what_the_table_says_and_rarely_chooses_below_the_bar() {
    let strategy = Strategy::CheapestFirst { parking: false };
    compare(strategy, [(CLIMBING, 2081.0, 0.899), (EASY, 351.0, 0.913), (WORST, 3774.0, 0.973)]);
}

#[test]
fn from_the_top_costs_what_the_table_says_and_rarely_chooses_below_the_bar() {
    compare(Strategy::FromTop, [(CLIMBING, 1867.0, 0.971), (EASY, 1406.0, 0.975), (WORST, 1824.0, 0.964)]);
}

#[test]
fn a_clear_ladder_takes_a_third_of_the_full_suite() {
    // The full suite costs 200 items on every tier.
    let full = ITEMS as f64 * COSTS.iter().sum::<f64>();
    let got = simulate(Strategy::CheapestFirst { parking: false }, EASY);
    assert!(got.cost * 3.0 < full, "{got:?} against {full}");
}

/// Mean items to verdict and share of CLEARS when every item passes with probability `p`, at most `cap` items, through
/// the state the program itself uses.
fn verdicts(rule: &Rule, p: f64, cap: u64, runs: u32) -> (f64, f64) {
    let mut random = SplitMix64::new(7);
    let (mut items, mut clears) = (0.0, 0.0);
    for _ in 0..runs {
        let mut state = State::new(rule.clone()).unwrap();
        while state.items() < cap && !state.push(random.unit() < p).unwrap().is_decided() {}
        items += state.items() as f64 / f64::from(runs);
        clears += f64::from(u8::from(state.verdict() == Verdict::Clears)) / f64::from(runs);
    }
    (items, clears)
}

#[test]
fn a_tier_takes_as_many_items_as_the_tables_say() {
    // Quality reference, section 4.5: mean items to verdict, bar 0.8, cap 1000; the last with a margin of 0.05.
    let rule = Rule { min_items: 0, ..Rule::new(BAR).unwrap() };
    let margin = Rule { margin: 0.05, ..rule.clone() };
    for (rule, p, table) in
        [(&rule, 0.6, 30.0), (&rule, 0.7, 125.0), (&rule, 0.9, 94.0), (&rule, 0.95, 38.0), (&margin, 0.9, 48.0)]
    {
        let (items, _) = verdicts(rule, p, 1000, 1500);
        assert!((items / table - 1.0).abs() < 0.10, "pass rate {p}: {items:.1} items, the table has {table}");
    }
}

#[test]
fn a_tier_at_the_bar_is_rarely_called_either_way() {
    // With the final look, as `eval` and `run` judge; three standard errors of 1,500 runs are allowed for.
    let rule = Rule { n_max: Some(ITEMS), ..Rule::new(BAR).unwrap() };
    let (_, clears) = verdicts(&rule, BAR, ITEMS, 1500);
    assert!(clears <= 0.05 + 0.017, "{clears} at the bar");
    let margin = Rule { margin: 0.05, ..rule };
    let (_, clears) = verdicts(&margin, BAR - 0.05, ITEMS, 1500);
    assert!(clears <= 0.05 + 0.017, "{clears} at the bar minus the margin");
}

#[test]
fn a_suite_is_judged_in_as_many_items_as_the_table_says_and_rarely_wrongly() {
    // Section 4.6: N = 200, bar 0.8; (passes in the suite, mean items).
    let rule = Rule { question: Question::Suite { items: ITEMS }, min_items: 0, ..Rule::new(BAR).unwrap() };
    let mut random = SplitMix64::new(9);
    for (passes, table) in [(140, 62.0), (159, 175.0), (180, 58.0), (190, 31.0)] {
        let runs = 600;
        let (mut items, mut clears) = (0.0, 0.0);
        let mut suite: Vec<bool> = (0..ITEMS).map(|i| i < passes).collect();
        for _ in 0..runs {
            random.shuffle(&mut suite);
            let mut state = State::new(rule.clone()).unwrap();
            let decided = suite.iter().any(|&pass| state.push(pass).unwrap().is_decided());
            assert!(decided, "the last item decides");
            items += state.items() as f64 / f64::from(runs);
            clears += f64::from(u8::from(state.verdict() == Verdict::Clears)) / f64::from(runs);
        }
        assert!((items / table - 1.0).abs() < 0.10, "{passes} of 200: {items:.1} items, the table has {table}");
        assert!(passes >= 160 || clears <= 0.05 + 0.027, "{passes} of 200: {clears} CLEARS");
    }
}
