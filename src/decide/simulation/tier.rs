//! One tier: items drawn from a workload, with and without a margin or a final look, and suites without replacement.

use serde_json::Value;

use super::{Share, beside, percent, publish};
use crate::decide::{Question, Rule, State, Verdict};
use crate::stats::bootstrap::SplitMix64;
use crate::stats::sequential::Look;

const BAR: f64 = 0.8;
const RUNS: u64 = 10_000;
const HEADER: [&str; 8] =
    ["true rate − bar", "wrong CLEARS", "exact", "wrong FAILS", "exact", "mean items", "exact", "ratio"];

/// What happened in all runs at one true rate.
#[derive(Debug, Default)]
struct Seen {
    clears: Share,
    fails: Share,
    items: u64,
}

impl Seen {
    fn count(&mut self, verdict: Verdict, items: u64) {
        self.clears.count(verdict == Verdict::Clears);
        self.fails.count(verdict == Verdict::Fails);
        self.items += items;
    }

    /// A row of the table. `exact` is the record of the vectors with this name.
    fn row(&self, rule: &Rule, distance: f64, below: bool, above: bool, exact: Option<&str>) -> Vec<String> {
        let what = format!("{distance:+} from the bar");
        let exact = exact.map(expected);
        let number = |key: &str| exact.as_ref().and_then(|e| e[key].as_f64());
        let dash = || "—".to_owned();
        let wrong = |on: bool, share: Share, bound: f64, key: &str| match on {
            true => [share.wrong(bound, &what), number(key).map_or_else(dash, percent)],
            false => [dash(), dash()],
        };
        let mean = self.items as f64 / self.clears.runs as f64;
        let items = match number("mean_items") {
            Some(exact) => beside(mean, exact, 1, &what),
            None => [format!("{mean:.1}"), dash(), dash()],
        };
        let distance = if distance == 0.0 { "0".to_owned() } else { format!("{distance:+}").replace('-', "−") };
        [distance]
            .into_iter()
            .chain(wrong(below, self.clears, rule.alpha, "p_clears"))
            .chain(wrong(above, self.fails, rule.beta, "p_fails"))
            .chain(items)
            .collect()
    }
}

/// Expected values of a vector, computed independently in Python by dynamic programming.
fn expected(id: &str) -> Value {
    let file: Value = serde_json::from_str(include_str!("../../../tests/fixtures/vectors/stats.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    vectors.iter().find(|vector| vector["id"] == id).unwrap_or_else(|| panic!("no vector {id}"))["expected"].clone()
}

/// Runs whose items pass with probability `rate`, at most `cap` of them, through the state the program itself keeps.
fn drawn(rule: &Rule, rate: f64, cap: u64) -> Seen {
    let mut random = SplitMix64::new(20_261_122);
    let mut seen = Seen::default();
    for _ in 0..RUNS {
        let mut state = State::new(rule.clone()).unwrap();
        while state.decided_at().is_none() && state.items() < cap {
            state.push_all([random.unit() < rate]).unwrap();
        }
        seen.count(state.verdict(), state.items());
    }
    seen
}

/// The same by the rule's boundaries, with which the state agrees (`a_state_agrees_with_its_boundaries_and_resumes`,
/// [`the_state_of_a_suite_follows_its_boundaries`]): `draw` says of each run which of its items pass.
fn counted(rule: &Rule, cap: u64, mut draw: impl FnMut(&mut SplitMix64, &mut [bool])) -> Seen {
    let boundaries = rule.boundaries(cap);
    let last = rule.final_look().and_then(|look| look.passes).unwrap_or(u64::MAX);
    let mut random = SplitMix64::new(20_261_122);
    let mut seen = Seen::default();
    let mut passes: Vec<bool> = (0..cap).map(|_| false).collect();
    for _ in 0..RUNS {
        draw(&mut random, &mut passes);
        let (mut passed, mut items, mut look) = (0, 0, Look::Continue);
        for &pass in &passes {
            (passed, items) = (passed + u64::from(pass), items + 1);
            look = boundaries.look(passed, items);
            if look != Look::Continue {
                break;
            }
        }
        let verdict = match look {
            Look::Clears => Verdict::Clears,
            Look::Fails => Verdict::Fails,
            Look::Continue if passed >= last => Verdict::Clears,
            Look::Continue => Verdict::Undecided { more_items: None },
        };
        seen.count(verdict, items);
    }
    seen
}

/// Items that pass with probability `rate`.
fn at(rate: f64) -> impl FnMut(&mut SplitMix64, &mut [bool]) {
    move |random, passes| passes.fill_with(|| random.unit() < rate)
}

/// The distance in points as it is meant: 0.85 - 0.8 is 0.05.
fn distance(rate: f64) -> f64 {
    ((rate - BAR) * 1000.0).round() / 1000.0
}

#[test]
fn a_workload_is_judged_as_soon_as_the_reference_says_and_as_rarely_wrongly() {
    let rule = Rule { min_items: 0, ..Rule::new(BAR).unwrap() };
    let rows = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99].map(|rate| {
        let seen = drawn(&rule, rate, 1000);
        seen.row(&rule, distance(rate), rate <= BAR, rate >= BAR, Some(&format!("oc-mixture-p{rate}")))
    });
    publish("workload", &HEADER, &rows);
}

#[test]
fn a_margin_moves_the_error_to_the_bar_minus_the_margin() {
    let rule = Rule { min_items: 0, margin: 0.05, ..Rule::new(BAR).unwrap() };
    // At and below the bar minus the margin CLEARS is wrong; at and above the bar FAILS is.
    let rows = [(0.7, false), (0.75, false), (0.8, true), (0.85, true), (0.9, true)].map(|(rate, exact)| {
        let id = format!("margin-p{rate}");
        let seen = counted(&rule, 1000, at(rate));
        seen.row(&rule, distance(rate), rate <= BAR - rule.margin, rate >= BAR, exact.then_some(id.as_str()))
    });
    publish("margin", &HEADER, &rows);
}

#[test]
fn the_final_look_spends_what_is_left_of_alpha_and_no_more() {
    let rule = Rule { min_items: 0, n_max: Some(200), ..Rule::new(BAR).unwrap() };
    let rows = [(0.75, None), (0.8, None), (0.85, Some("0.85")), (0.88, Some("0.88")), (0.9, Some("0.9"))].map(
        |(rate, exact)| {
            let id = exact.map(|p| format!("power-200-q0.8-p{p}"));
            let seen = counted(&rule, 200, at(rate));
            if let Some(id) = &id {
                let (got, exact) = (seen.clears.value(), expected(id)["p_clears"].as_f64().unwrap());
                assert!((got - exact).abs() < 0.02, "CLEARS {got} at {rate}, exactly {exact}");
            }
            seen.row(&rule, distance(rate), rate <= BAR, rate >= BAR, id.as_deref())
        },
    );
    publish("final look", &HEADER, &rows);
}

#[test]
fn a_suite_is_judged_as_soon_as_the_reference_says_and_as_rarely_wrongly() {
    const ITEMS: u64 = 200;
    let rule = Rule { question: Question::Suite { items: ITEMS }, min_items: 0, ..Rule::new(BAR).unwrap() };
    // 160 of 200 meet the bar: the last suite below it holds 159.
    let rows = [140, 150, 159, 160, 170, 180, 190].map(|passes| {
        let mut suite: Vec<bool> = (0..ITEMS).map(|i| i < passes).collect();
        let seen = counted(&rule, ITEMS, |random, passes| {
            random.shuffle(&mut suite);
            passes.copy_from_slice(&suite);
        });
        assert_eq!(seen.clears.hits + seen.fails.hits, RUNS, "the last item decides");
        let (below, id) = (passes < 160, format!("wor-oc-200-K{passes}"));
        seen.row(&rule, distance(passes as f64 / ITEMS as f64), below, !below, (passes != 160).then_some(id.as_str()))
    });
    publish("suite", &HEADER, &rows);
}

#[test]
fn the_state_of_a_suite_follows_its_boundaries() {
    let rule = Rule { question: Question::Suite { items: 60 }, ..Rule::new(BAR).unwrap() };
    let boundaries = rule.boundaries(60);
    let mut random = SplitMix64::new(3);
    for passes in [30, 47, 48, 55] {
        let mut suite: Vec<bool> = (0..60).map(|i| i < passes).collect();
        for _ in 0..10 {
            random.shuffle(&mut suite);
            let mut state = State::new(rule.clone()).unwrap();
            state.push_all(suite.iter().copied()).unwrap();
            let mut passed = 0;
            let first = suite.iter().zip(1..).find_map(|(&pass, n)| {
                passed += u64::from(pass);
                let look = boundaries.look(passed, n);
                (look != Look::Continue).then_some((n, look == Look::Clears))
            });
            assert_eq!(state.decided_at().zip(Some(state.verdict() == Verdict::Clears)), first, "{passes} of 60");
        }
    }
}
