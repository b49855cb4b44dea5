//! What a plan will take, said before it runs: time, tokens and energy, each with a range.
//!
//! Rates come from a measurement of the same tier on this machine where the caller has one, else from the roofline: decode
//! reads every weight once per token, prefill multiplies every weight once per token. Pure.

use serde::{Deserialize, Serialize};

use super::Workload;

/// Where a tier's rates come from; the range widens with doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateSource {
    /// A stored measurement of this tier on this machine: within a third either way.
    History,
    /// Bytes and multiplications over what such machines reach: within a factor of three.
    Roofline,
}

impl RateSource {
    /// Factor by which the truth may lie on either side.
    #[must_use]
    pub const fn spread(self) -> f64 {
        match self {
            Self::History => 4.0 / 3.0,
            Self::Roofline => 3.0,
        }
    }
}

/// Rates expected of a tier, tok/s.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Prefill.
    pub prefill: f64,
    /// Decode of one sequence.
    pub decode: f64,
    /// Where they come from.
    pub source: RateSource,
}

/// Multiply-accumulates per second and core an optimised kernel is expected to reach.
const MACS_PER_CORE: f64 = 6e10;
/// Bytes per second and core a decoder is expected to stream.
const BYTES_PER_CORE: f64 = 5e9;

impl Rates {
    /// Rates by the roofline, for a model of `n_params` weights in `bytes` bytes on `cores` cores.
    #[must_use]
    pub fn roofline(n_params: f64, bytes: f64, cores: f64) -> Self {
        Self {
            prefill: MACS_PER_CORE * cores / n_params.max(1.0),
            decode: BYTES_PER_CORE * cores / bytes.max(1.0),
            source: RateSource::Roofline,
        }
    }
}

/// A number with the range it is stated with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Guess {
    /// Expected.
    pub value: f64,
    /// Lower end.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
}

impl Guess {
    /// A number that is known.
    #[must_use]
    pub const fn exactly(value: f64) -> Self {
        Self { value, lo: value, hi: value }
    }

    /// A number known within a factor either way.
    #[must_use]
    pub fn within(value: f64, factor: f64) -> Self {
        Self { value, lo: value / factor, hi: value * factor }
    }

    /// Both ends and the value combined with another's by a function that grows in both.
    #[must_use]
    pub fn with(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self { value: f(self.value, other.value), lo: f(self.lo, other.lo), hi: f(self.hi, other.hi) }
    }

    /// Each end no larger than `most`.
    #[must_use]
    pub fn at_most(self, most: f64) -> Self {
        Self { value: self.value.min(most), lo: self.lo.min(most), hi: self.hi.min(most) }
    }

    /// Whether the range holds `x`.
    #[must_use]
    pub fn holds(&self, x: f64) -> bool {
        self.lo <= x && x <= self.hi
    }
}

/// A task's size as the quote sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSize {
    /// Items that may be needed.
    pub items: u64,
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
    /// Items until it was decided, or all there were.
    pub items: f64,
    /// Time of one, s.
    pub seconds_per_item: f64,
}

/// A tier as the quote sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct TierGuess {
    /// Its rates.
    pub rates: Rates,
    /// Per task, in their order, what an earlier run took.
    pub earlier: Vec<Option<Earlier>>,
    /// Power while it runs, W; `None` if nothing is metered or modelled.
    pub power: Option<Guess>,
    /// Loading it, and making its file where that is still to be done, s.
    pub load_s: f64,
}

/// How the protocol paces a speed cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Least time of metered trials, s.
    pub window_s: f64,
    /// Time after which a cell ends once it has its least trials, s.
    pub cell_s: f64,
}

/// What a run will take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    /// Expected time, s: no more than the budget.
    pub seconds: f64,
    /// Lower end, s.
    pub seconds_lo: f64,
    /// Upper end, s: the budget, if that is less.
    pub seconds_hi: f64,
    /// Tokens processed.
    pub tokens: f64,
    /// Energy, J; `None` if the power of some tier is unknown.
    pub joules: Option<Guess>,
    /// The widest source of any tier.
    pub source: RateSource,
    /// Whether the budget, not the plan, sets the upper end.
    pub capped: bool,
}

/// What was said before a run: kept with its record, so that it can be held against what came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Time, s.
    pub seconds: Guess,
    /// Tokens processed.
    pub tokens: f64,
    /// Energy, J.
    pub joules: Option<Guess>,
    /// Hardware time and, if energy is known, electricity, $.
    pub usd: Option<Guess>,
    /// Where the rates came from.
    pub source: RateSource,
}

/// What a run took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Time, s.
    pub seconds: f64,
    /// Tokens processed in trials, warm-up and items.
    pub tokens: f64,
    /// Mean power of its metered windows times its time, J.
    pub joules: Option<f64>,
    /// The same priced as the prediction was, $.
    pub usd: Option<f64>,
}

/// Trials of a cell, warm-up included: the least, and what noise usually makes of it.
const LEAST_TRIALS: f64 = 7.0;
const USUAL_TRIALS: f64 = 20.0;
const MOST_TRIALS: f64 = 110.0;
/// Share of a suite that a verdict usually takes; the rest is never shown.
const SHARE_OF_ITEMS: f64 = 0.6;
/// Least share: a clear case.
const LEAST_SHARE: f64 = 0.1;

/// Predicts a run: per tier its workloads and tasks, plus `fixed_s` for what no tier is the cause of.
#[must_use]
pub fn quote(
    tiers: &[TierGuess],
    workloads: &[Workload],
    tasks: &[TaskSize],
    pace: Pace,
    fixed_s: f64,
    budget_s: f64,
) -> Quote {
    let sum = |a: Guess, b: Guess| a.with(b, |a, b| a + b);
    let (mut seconds, mut tokens) = (Guess::exactly(fixed_s), 0.0);
    let mut joules = Some(Guess::default());
    let mut source = RateSource::History;
    for tier in tiers {
        let mut busy = Guess::exactly(tier.load_s);
        for workload in workloads {
            let (time, processed) = speed_cell(&tier.rates, *workload, pace);
            busy = sum(busy, time);
            tokens += processed;
        }
        for (task, earlier) in tasks.iter().zip(tier.earlier.iter().chain(std::iter::repeat(&None))) {
            let (time, processed) = task_cell(&tier.rates, task, earlier.as_ref());
            busy = sum(busy, time);
            tokens += processed;
        }
        seconds = sum(seconds, busy);
        joules = joules.zip(tier.power).map(|(so_far, power)| sum(so_far, busy.with(power, |s, w| s * w)));
        if tier.rates.source == RateSource::Roofline {
            source = RateSource::Roofline;
        }
    }
    // What the budget cuts off draws nothing.
    let share = |s: f64| if s > budget_s { budget_s / s } else { 1.0 };
    let joules = joules.filter(|_| !tiers.is_empty()).map(|j| Guess {
        value: j.value * share(seconds.value),
        lo: j.lo * share(seconds.lo),
        hi: j.hi * share(seconds.hi),
    });
    let capped = seconds.hi > budget_s;
    let Guess { value, lo, hi } = seconds.at_most(budget_s);
    Quote { seconds: value, seconds_lo: lo, seconds_hi: hi, tokens, joules, source, capped }
}

/// Time and tokens of a speed cell.
fn speed_cell(rates: &Rates, workload: Workload, pace: Pace) -> (Guess, f64) {
    let n = workload.timed_tokens() as f64;
    let trial = Guess::within(n / if workload.n_gen > 0 { rates.decode } else { rates.prefill }, rates.source.spread());
    let trials = Guess { value: USUAL_TRIALS, lo: LEAST_TRIALS, hi: MOST_TRIALS };
    let time = trial.with(trials, |trial, trials| {
        // The budget ends a cell only once it has its least trials.
        (trial * trials).min(pace.cell_s.max(LEAST_TRIALS * trial))
    });
    // A meter's windows keep it going; what lies between them (warm-up, restored prefixes) adds to them.
    let windows = Guess { value: 1.2, lo: 1.0, hi: 1.7 }.with(Guess::exactly(pace.window_s), |a, b| a * b);
    let time = time.with(windows, f64::max);
    (time, time.value / trial.value.max(f64::MIN_POSITIVE) * n)
}

/// Time and tokens of a task cell.
fn task_cell(rates: &Rates, task: &TaskSize, earlier: Option<&Earlier>) -> (Guess, f64) {
    let per_item = task.tokens_per_item / rates.prefill + task.generated_per_item / rates.decode;
    let prefix = Guess::within(task.prefix_tokens / rates.prefill, rates.source.spread());
    let all = task.items as f64;
    let (items, each) = match earlier {
        Some(e) => {
            (Guess::within(e.items, 1.5).at_most(all), Guess::within(e.seconds_per_item, RateSource::History.spread()))
        }
        None => {
            let items = Guess { value: all * SHARE_OF_ITEMS, lo: all * LEAST_SHARE, hi: all };
            (items, Guess::within(per_item, rates.source.spread()))
        }
    };
    let time = prefix.with(items.with(each, |n, s| n * s), |a, b| a + b);
    (time, task.prefix_tokens + items.value * (task.tokens_per_item + task.generated_per_item))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskSize =
        TaskSize { items: 100, tokens_per_item: 50.0, generated_per_item: 0.0, prefix_tokens: 200.0 };
    const FREE: Pace = Pace { window_s: 0.0, cell_s: 1e9 };

    fn tier(source: RateSource) -> TierGuess {
        let rates = Rates { prefill: 1000.0, decode: 100.0, source };
        TierGuess { rates, earlier: Vec::new(), power: None, load_s: 0.0 }
    }

    #[test]
    fn time_is_tokens_over_rates() {
        let workloads = [Workload::prefill(500, 0), Workload::decode(100, 0)];
        let q = quote(&[tier(RateSource::History)], &workloads, &[TASK], FREE, 2.0, 1e9);
        // 20 × (0.5 s + 1 s) + (200 + 60 × 50) / 1000 s + 2 s
        assert!((q.seconds - 35.2).abs() < 1e-9, "{}", q.seconds);
        assert!((q.tokens - (20.0 * 600.0 + 3200.0)).abs() < 1e-9);
        assert!(q.seconds_lo < q.seconds && q.seconds < q.seconds_hi && !q.capped);
        assert_eq!(q.joules, None, "no power, no energy");
    }

    #[test]
    fn a_meters_window_and_a_cells_budget_bound_its_time() {
        let workloads = [Workload::prefill(500, 0)];
        let of = |pace| quote(&[tier(RateSource::History)], &workloads, &[], pace, 0.0, 1e9);
        let metered = of(Pace { window_s: 30.0, cell_s: 50.0 });
        assert!((metered.seconds - 36.0).abs() < 1e-9 && metered.seconds_lo == 30.0 && metered.seconds_hi == 51.0);
        assert!((of(Pace { window_s: 0.0, cell_s: 6.0 }).seconds - 6.0).abs() < 1e-9);
        // Seven trials of half a second come first.
        assert!((of(Pace { window_s: 0.0, cell_s: 1.0 }).seconds - 3.5).abs() < 1e-9);
    }

    #[test]
    fn what_an_earlier_run_took_is_expected_again() {
        let earlier = vec![Some(Earlier { items: 40.0, seconds_per_item: 0.25 })];
        let known = TierGuess { earlier, ..tier(RateSource::History) };
        let q = quote(&[known], &[], &[TASK], FREE, 0.0, 1e9);
        assert!((q.seconds - (0.2 + 10.0)).abs() < 1e-9, "{}", q.seconds);
    }

    #[test]
    fn energy_is_power_over_time_and_ends_with_the_budget() {
        let drawing = TierGuess { power: Some(Guess::within(50.0, 2.0)), ..tier(RateSource::History) };
        let q = quote(std::slice::from_ref(&drawing), &[], &[TASK], FREE, 0.0, 1e9);
        let joules = q.joules.unwrap();
        assert!((joules.value - 50.0 * q.seconds).abs() < 1e-9 && joules.lo < joules.value && joules.value < joules.hi);
        let cut = quote(std::slice::from_ref(&drawing), &[], &[TASK], FREE, 0.0, 1.0);
        assert!(cut.capped && cut.joules.unwrap().hi <= 100.0 + 1e-9);
        assert_eq!(quote(&[drawing, tier(RateSource::History)], &[], &[TASK], FREE, 0.0, 1e9).joules, None);
    }

    #[test]
    fn doubt_widens_the_range() {
        let width = |source| {
            let q = quote(&[tier(source)], &[], &[TASK], FREE, 0.0, 1e9);
            q.seconds_hi / q.seconds_lo
        };
        assert!(width(RateSource::Roofline) > width(RateSource::History));
    }

    #[test]
    fn the_budget_is_an_upper_end() {
        let q = quote(&[tier(RateSource::Roofline)], &[], &[TASK], FREE, 0.0, 1.0);
        assert!(q.capped && q.seconds_hi <= 1.0 && q.seconds <= 1.0);
    }

    #[test]
    fn the_roofline_halves_with_twice_the_bytes() {
        let (small, large) = (Rates::roofline(1e8, 1e8, 2.0), Rates::roofline(1e8, 2e8, 2.0));
        assert!((small.decode / large.decode - 2.0).abs() < 1e-12);
    }
}
