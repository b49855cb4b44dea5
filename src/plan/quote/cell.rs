//! Time and tokens of one cell: a tier on a workload by the protocol's own rules, or on a task until it is decided.

use serde::{Deserialize, Serialize};

use super::{Guess, RateSource, Rates};
use crate::plan::Workload;

/// How many trials or items an earlier run needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Needed {
    /// So many were enough: the precision was reached, the verdict decided.
    Enough(f64),
    /// So many were not enough: time or items ended it.
    MoreThan(f64),
    /// It was stopped, or aimed at something else.
    #[default]
    Unknown,
}

impl Needed {
    /// What is to be expected where `unknown` would be without the earlier run.
    fn guess(self, unknown: Guess) -> Guess {
        match self {
            Self::Enough(n) => Guess::within(n, 1.5).at_most(unknown.hi),
            Self::MoreThan(n) => Guess { lo: n.min(unknown.hi), ..Guess::exactly(unknown.hi) },
            Self::Unknown => unknown,
        }
    }
}

/// What an earlier run of a tier on a workload took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlierTest {
    /// Time of a trial, s.
    pub trial_s: f64,
    /// Trials.
    pub trials: Needed,
}

/// A task's size as the quote sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSize {
    /// Items that may be needed.
    pub items: u64,
    /// Whether all of them are shown, decided or not.
    pub in_full: bool,
    /// Tokens processed per item once the shared prefix is cached.
    pub tokens_per_item: f64,
    /// Tokens generated per item, one by one.
    pub generated_per_item: f64,
    /// Tokens of the shared prefix.
    pub prefix_tokens: f64,
}

/// What an earlier run of a tier on a task took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Earlier {
    /// Items until it was decided.
    pub items: Needed,
    /// Time of one, s.
    pub seconds_per_item: f64,
    /// Time of the prompt all items share, s.
    pub prefix_s: f64,
}

/// How the protocol paces a speed cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Least time of metered trials, s.
    pub window_s: f64,
    /// Time after which a cell ends once it has its least trials, s; its warm-up may take as long again.
    pub cell_s: f64,
    /// Fixed number of trials; `None` stops by precision.
    pub repetitions: Option<u32>,
    /// Whether several engines take turns, so that each warms up again at the start of its own.
    pub interleaved: bool,
    /// Most prompt tokens handed to the engine in one call.
    pub n_ubatch: u32,
}

/// Trials that stop by precision: the least, what noise usually makes of it, the most.
const TRIALS: Guess = Guess { value: 20.0, lo: 5.0, hi: 100.0 };
/// Trials before them that are not timed: one whose results are checked, and the warm-up.
const UNTIMED: Guess = Guess { value: 4.0, lo: 3.0, hi: 11.0 };
/// Those among [`UNTIMED`] that the time of a warm-up does not bound.
const UNBOUNDED: f64 = 3.0;
/// Decode steps that bring a model back into the caches after another ran.
const REWARM_STEPS: f64 = 8.0;
/// Between two turns the machine is looked at, the precision computed and the cell stored, s.
const TURN_S: Guess = Guess { value: 0.04, lo: 0.01, hi: 0.1 };
/// Share of a suite that a verdict usually takes; the rest is never shown.
const SHARE_OF_ITEMS: Guess = Guess { value: 0.6, lo: 0.1, hi: 1.0 };

/// Time and tokens of a speed cell.
pub(super) fn speed_cell(rates: &Rates, earlier: Option<&EarlierTest>, workload: Workload, pace: Pace) -> (Guess, f64) {
    let trial = match earlier {
        Some(earlier) => Guess::within(earlier.trial_s, RateSource::History.spread()),
        None => trial(rates, workload),
    };
    let trials = match pace.repetitions {
        Some(n) => Guess::exactly(f64::from(n)),
        None => earlier.map_or(Needed::Unknown, |earlier| earlier.trials).guess(TRIALS),
    };
    let least = if pace.repetitions.is_some() { f64::INFINITY } else { TRIALS.lo };
    // The budget ends a cell only once it has its least trials.
    let timed = trial.with(trials, |trial, n| (trial * n).min(pace.cell_s.max(least * trial)));
    let taken = |timed: f64, trial: f64| timed / trial.max(f64::MIN_POSITIVE);
    let turns = spanning([taken(timed.lo, trial.lo), taken(timed.value, trial.value), taken(timed.hi, trial.hi)]);
    let share = if pace.interleaved { rewarm_share(workload, pace.n_ubatch) } else { 0.0 };
    // A meter's windows keep it going; what lies between them (restored prefixes, looks at the clock) adds to them.
    let windows = Guess { value: 1.2, lo: 1.0, hi: 1.7 }.times(Guess::exactly(pace.window_s));
    let (turns, rewarmed) = if windows.value > timed.value {
        let turns = trials.at_most(TRIALS.lo);
        (turns, turns.times(trial))
    } else {
        (turns, timed)
    };
    let between = rewarmed.times(Guess::exactly(share)).plus(turns.times(TURN_S));
    let timed = timed.with(windows, f64::max);
    let untimed = trial.with(UNTIMED, |trial, n| (trial * n).min(pace.cell_s.max(UNBOUNDED * trial)));
    let time = timed.plus(untimed).plus(between).plus(filling(rates, workload));
    let shown = timed.value / trial.value.max(f64::MIN_POSITIVE) + UNTIMED.value;
    (time, shown * workload.timed_tokens() as f64)
}

/// The range of three guesses of the same; the second is the likely one.
fn spanning([a, value, b]: [f64; 3]) -> Guess {
    Guess { value, lo: a.min(value).min(b), hi: a.max(value).max(b) }
}

/// Time of one trial, s. A step of several sequences reads the weights once and multiplies for each of them.
fn trial(rates: &Rates, workload: Workload) -> Guess {
    let seqs = f64::from(workload.n_batch_seqs.max(1));
    let seconds = if workload.n_gen > 0 {
        f64::from(workload.n_gen) * (1.0 / rates.decode).max(seqs / rates.prefill)
    } else {
        f64::from(workload.n_prompt) * seqs / rates.prefill
    };
    // Rates are of one sequence that begins at the first position: what depth and batch make of them is a guess.
    let is_plain = workload.n_depth == 0 && workload.n_batch_seqs <= 1;
    Guess::within(seconds, if is_plain { rates.source } else { RateSource::Roofline }.spread())
}

/// Time to fill what every sequence holds before the clock starts, s: once per cell.
fn filling(rates: &Rates, workload: Workload) -> Guess {
    let prompt = if workload.n_gen > 0 { workload.n_prompt } else { 0 };
    let held = f64::from(workload.n_depth) + f64::from(prompt);
    Guess::within(held * f64::from(workload.n_batch_seqs) / rates.prefill, rates.source.spread())
}

/// What a turn repeats of a trial after another engine's turn, as a share of it.
fn rewarm_share(workload: Workload, n_ubatch: u32) -> f64 {
    let share = if workload.n_gen > 0 {
        REWARM_STEPS / f64::from(workload.n_gen)
    } else {
        f64::from(n_ubatch) / f64::from(workload.n_prompt.max(1))
    };
    share.min(1.0)
}

/// Time and tokens of a task cell.
pub(super) fn task_cell(rates: &Rates, task: &TaskSize, earlier: Option<&Earlier>) -> (Guess, f64) {
    let all = task.items as f64;
    let usual = SHARE_OF_ITEMS.times(Guess::exactly(all));
    let items = match earlier {
        _ if task.in_full => Guess::exactly(all),
        Some(earlier) => earlier.items.guess(usual),
        None => usual,
    };
    let (each, prefix) = match earlier {
        Some(earlier) => (
            Guess::within(earlier.seconds_per_item, RateSource::History.spread()),
            Guess::within(earlier.prefix_s, RateSource::History.spread()),
        ),
        None => {
            let per_item = task.tokens_per_item / rates.prefill + task.generated_per_item / rates.decode;
            let spread = rates.source.spread();
            (Guess::within(per_item, spread), Guess::within(task.prefix_tokens / rates.prefill, spread))
        }
    };
    let tokens = task.prefix_tokens + items.value * (task.tokens_per_item + task.generated_per_item);
    (prefix.plus(items.times(each)), tokens)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATES: Rates = Rates { prefill: 1000.0, decode: 100.0, source: RateSource::History };
    const FREE: Pace = Pace { window_s: 0.0, cell_s: 1e9, repetitions: None, interleaved: false, n_ubatch: 512 };

    fn seconds(earlier: Option<EarlierTest>, workload: Workload, pace: Pace) -> Guess {
        speed_cell(&RATES, earlier.as_ref(), workload, pace).0
    }

    fn is_near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-9, "{got} for {expected}");
    }

    #[test]
    fn a_test_takes_its_trials_its_warm_up_and_the_time_between() {
        // Trials of half a second: 20 timed, 4 not, and 20 times between.
        let (time, tokens) = speed_cell(&RATES, None, Workload::prefill(500, 0), FREE);
        is_near(time.value, 12.0 + 20.0 * TURN_S.value);
        is_near(tokens, 24.0 * 500.0);
        assert!(time.lo < time.value && time.value < time.hi);
        let fixed = seconds(None, Workload::prefill(500, 0), Pace { repetitions: Some(2), cell_s: 0.1, ..FREE });
        is_near(fixed.value, 0.5 * (2.0 + UNBOUNDED) + 2.0 * TURN_S.value);
    }

    #[test]
    fn engines_that_take_turns_warm_up_in_each() {
        let pace = Pace { interleaved: true, ..FREE };
        let more = |workload| seconds(None, workload, pace).value - seconds(None, workload, FREE).value;
        is_near(more(Workload::prefill(500, 0)), 20.0 * 0.5);
        is_near(more(Workload::prefill(2048, 0)), 20.0 * 0.512);
        is_near(more(Workload::decode(128, 0)), 20.0 * 0.08);
        is_near(more(Workload::decode(4, 0)), 20.0 * 0.04);
    }

    #[test]
    fn trials_that_were_not_enough_fill_the_budget_and_those_that_were_are_met_again() {
        let workload = Workload::prefill(500, 0);
        let of = |trials| seconds(Some(EarlierTest { trial_s: 0.2, trials }), workload, Pace { cell_s: 12.0, ..FREE });
        let between = |turns: f64| 0.2 * UNTIMED.value + turns * TURN_S.value;
        is_near(of(Needed::Enough(6.0)).value, 1.2 + between(6.0));
        is_near(of(Needed::MoreThan(42.0)).value, 12.0 + between(60.0));
        is_near(of(Needed::Unknown).value, 4.0 + between(20.0));
        assert!(of(Needed::MoreThan(42.0)).lo > 42.0 * 0.15, "not fewer than were too few");
    }

    #[test]
    fn a_meters_window_and_a_cells_budget_bound_its_time() {
        let of = |window_s, cell_s| seconds(None, Workload::prefill(500, 0), Pace { window_s, cell_s, ..FREE });
        let untimed = 0.5 * UNTIMED.value;
        is_near(of(30.0, 50.0).value, 36.0 + untimed + 5.0 * TURN_S.value);
        is_near(of(0.0, 6.0).value, 6.0 + untimed + 12.0 * TURN_S.value);
        // Five trials of half a second come first.
        is_near(of(0.0, 1.0).value, 2.5 + 0.5 * UNBOUNDED + 5.0 * TURN_S.value);
    }

    #[test]
    fn a_batch_shares_the_weights_and_depth_is_filled_once() {
        let batch = Workload { n_prompt: 0, n_gen: 100, n_depth: 0, n_batch_seqs: 8 };
        is_near(trial(&RATES, batch).value, 1.0);
        is_near(trial(&RATES, Workload { n_batch_seqs: 40, ..batch }).value, 4.0);
        is_near(filling(&RATES, Workload { n_prompt: 128, n_depth: 72, ..batch }).value, 1.6);
        let width = |workload| trial(&RATES, workload).hi / trial(&RATES, workload).lo;
        assert!(width(Workload::decode(100, 4096)) > width(Workload::decode(100, 0)));
    }

    #[test]
    fn an_earlier_verdict_says_how_many_items_and_one_cut_short_does_not() {
        let task = TaskSize {
            items: 100,
            in_full: false,
            tokens_per_item: 50.0,
            generated_per_item: 0.0,
            prefix_tokens: 200.0,
        };
        let of = |items, task| {
            let earlier = Earlier { items, seconds_per_item: 0.25, prefix_s: 1.0 };
            task_cell(&RATES, &task, Some(&earlier)).0
        };
        is_near(of(Needed::Enough(40.0), task).value, 11.0);
        is_near(of(Needed::MoreThan(40.0), task).value, 26.0);
        is_near(of(Needed::MoreThan(400.0), task).lo, 0.75 + 100.0 * 0.1875);
        is_near(of(Needed::Unknown, task).value, 16.0);
        is_near(of(Needed::Enough(4.0), TaskSize { in_full: true, ..task }).value, 26.0);
        is_near(task_cell(&RATES, &task, None).0.value, 0.2 + 3.0);
    }

    proptest! {
        #[test]
        fn ends_are_in_order_whatever_is_known(
            (n_prompt, n_gen, n_depth, n_batch_seqs) in (1u32..5000, 0u32..500, 0u32..5000, 1u32..33),
            (window_s, cell_s, n) in (0f64..60.0, 0.01f64..60.0, 1f64..200.0),
            (kind, fixed, interleaved) in (0usize..4, proptest::option::of(1u32..50), proptest::bool::ANY),
        ) {
            let workload = Workload { n_prompt, n_gen, n_depth, n_batch_seqs };
            let pace = Pace { window_s, cell_s, repetitions: fixed, interleaved, n_ubatch: 512 };
            let trials = [Needed::Enough(n), Needed::MoreThan(n), Needed::Unknown];
            let earlier = trials.get(kind).map(|&trials| EarlierTest { trial_s: 0.3, trials });
            let (time, tokens) = speed_cell(&RATES, earlier.as_ref(), workload, pace);
            prop_assert!(0.0 < time.lo && time.lo <= time.value && time.value <= time.hi && time.hi.is_finite(), "{time:?}");
            prop_assert!(tokens.is_finite() && tokens > 0.0);
        }
    }
}
