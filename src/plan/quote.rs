//! What a plan will take, said before it runs: time, tokens and energy, each with a range.
//!
//! Rates come from a measurement of the same tier on this machine where the caller has one, else from the roofline: decode
//! reads every weight once per token, prefill multiplies every weight once per token. Pure.

mod cell;

use serde::{Deserialize, Serialize};

use super::Workload;
pub use cell::{Earlier, EarlierTest, Needed, Pace, TaskSize};

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

    /// The more doubtful of two.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self == Self::Roofline { self } else { other }
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

    /// The sum of two.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }

    /// The product of two, neither negative.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        self.with(other, |a, b| a * b)
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

/// A tier as the quote sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct TierGuess {
    /// Its rates, for what no earlier run knows.
    pub rates: Rates,
    /// Per workload, in their order, what an earlier run took.
    pub tests: Vec<Option<EarlierTest>>,
    /// Per task, in their order, what an earlier run took.
    pub tasks: Vec<Option<Earlier>>,
    /// Power while it runs, W; `None` if nothing is metered or modelled.
    pub power: Option<Guess>,
    /// Loading it, and making its file where that is still to be done, s.
    pub load_s: f64,
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
pub struct Took {
    /// Time, s.
    pub seconds: f64,
    /// Tokens processed in trials, warm-up and items.
    pub tokens: f64,
    /// Mean power of its metered windows times its time, J.
    pub joules: Option<f64>,
    /// The same priced as the prediction was, $.
    pub usd: Option<f64>,
}

/// Predicts a run: per tier its workloads and tasks, plus `fixed_s` for what no tier is the cause of. Without a budget
/// nothing ends it early.
#[must_use]
pub fn quote(
    tiers: &[TierGuess],
    workloads: &[Workload],
    tasks: &[TaskSize],
    pace: Pace,
    fixed_s: f64,
    budget_s: Option<f64>,
) -> Quote {
    let (mut seconds, mut tokens) = (Guess::exactly(fixed_s), 0.0);
    let mut joules = Some(Guess::default());
    let mut source = RateSource::History;
    for tier in tiers {
        let mut busy = Guess::exactly(tier.load_s);
        let tests = tier.tests.iter().map(Option::as_ref).chain(std::iter::repeat(None));
        for (workload, earlier) in workloads.iter().zip(tests) {
            let (time, processed) = cell::speed_cell(&tier.rates, earlier, *workload, pace);
            busy = busy.plus(time);
            tokens += processed;
            source = if earlier.is_none() { source.or(tier.rates.source) } else { source };
        }
        let earlier = tier.tasks.iter().map(Option::as_ref).chain(std::iter::repeat(None));
        for (task, earlier) in tasks.iter().zip(earlier) {
            let (time, processed) = cell::task_cell(&tier.rates, task, earlier);
            busy = busy.plus(time);
            tokens += processed;
            source = if earlier.is_none() { source.or(tier.rates.source) } else { source };
        }
        seconds = seconds.plus(busy);
        joules = joules.zip(tier.power).map(|(so_far, power)| so_far.plus(busy.times(power)));
    }
    let budget_s = budget_s.unwrap_or(f64::INFINITY);
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

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskSize =
        TaskSize { items: 100, in_full: false, tokens_per_item: 50.0, generated_per_item: 0.0, prefix_tokens: 200.0 };
    const FREE: Pace = Pace { window_s: 0.0, cell_s: 1e9, repetitions: None, interleaved: false, n_ubatch: 512 };

    fn tier(source: RateSource) -> TierGuess {
        let rates = Rates { prefill: 1000.0, decode: 100.0, source };
        TierGuess { rates, tests: Vec::new(), tasks: Vec::new(), power: None, load_s: 0.0 }
    }

    #[test]
    fn a_run_is_the_sum_of_its_cells() {
        let workloads = [Workload::prefill(500, 0), Workload::decode(100, 0)];
        let known = tier(RateSource::History);
        let of = |workloads: &[Workload], tasks: &[TaskSize], fixed_s| {
            quote(std::slice::from_ref(&known), workloads, tasks, FREE, fixed_s, None)
        };
        let whole = of(&workloads, &[TASK], 2.0);
        let parts = [of(&workloads[..1], &[], 0.0), of(&workloads[1..], &[], 0.0), of(&[], &[TASK], 0.0)];
        assert!((whole.seconds - 2.0 - parts.iter().map(|part| part.seconds).sum::<f64>()).abs() < 1e-9);
        assert!((whole.tokens - parts.iter().map(|part| part.tokens).sum::<f64>()).abs() < 1e-9);
        assert!(whole.seconds_lo < whole.seconds && whole.seconds < whole.seconds_hi && !whole.capped);
        assert_eq!(whole.joules, None, "no power, no energy");
    }

    #[test]
    fn what_an_earlier_run_took_is_expected_again_and_needs_no_rates() {
        let earlier = Earlier { items: Needed::Enough(40.0), seconds_per_item: 0.25, prefix_s: 0.2 };
        let test = EarlierTest { trial_s: 0.5, trials: Needed::Enough(10.0) };
        let known = TierGuess { tasks: vec![Some(earlier)], tests: vec![Some(test)], ..tier(RateSource::Roofline) };
        let q = quote(std::slice::from_ref(&known), &[], &[TASK], FREE, 0.0, None);
        assert!((q.seconds - (0.2 + 10.0)).abs() < 1e-9, "{}", q.seconds);
        assert_eq!(q.source, RateSource::History);
        let both = [Workload::prefill(500, 0), Workload::decode(100, 0)];
        let source = |n: usize| quote(std::slice::from_ref(&known), &both[..n], &[], FREE, 0.0, None).source;
        assert_eq!([source(1), source(2)], [RateSource::History, RateSource::Roofline]);
    }

    #[test]
    fn energy_is_power_over_time_and_ends_with_the_budget() {
        let drawing = TierGuess { power: Some(Guess::within(50.0, 2.0)), ..tier(RateSource::History) };
        let q = quote(std::slice::from_ref(&drawing), &[], &[TASK], FREE, 0.0, None);
        let joules = q.joules.unwrap();
        assert!((joules.value - 50.0 * q.seconds).abs() < 1e-9 && joules.lo < joules.value && joules.value < joules.hi);
        let cut = quote(std::slice::from_ref(&drawing), &[], &[TASK], FREE, 0.0, Some(1.0));
        assert!(cut.capped && cut.joules.unwrap().hi <= 100.0 + 1e-9);
        assert_eq!(quote(&[drawing, tier(RateSource::History)], &[], &[TASK], FREE, 0.0, None).joules, None);
    }

    #[test]
    fn doubt_widens_the_range() {
        let width = |source| {
            let q = quote(&[tier(source)], &[], &[TASK], FREE, 0.0, None);
            q.seconds_hi / q.seconds_lo
        };
        assert!(width(RateSource::Roofline) > width(RateSource::History));
    }

    #[test]
    fn the_budget_is_an_upper_end() {
        let q = quote(&[tier(RateSource::Roofline)], &[], &[TASK], FREE, 0.0, Some(1.0));
        assert!(q.capped && q.seconds_hi <= 1.0 && q.seconds <= 1.0);
    }

    #[test]
    fn the_roofline_halves_with_twice_the_bytes() {
        let (small, large) = (Rates::roofline(1e8, 1e8, 2.0), Rates::roofline(1e8, 2e8, 2.0));
        assert!((small.decode / large.decode - 2.0).abs() < 1e-12);
    }
}
