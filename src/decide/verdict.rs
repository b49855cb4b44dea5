//! Does a tier clear its bar? Decided by one-sided mixture e-processes, looked at after every item.
//!
//! A [`Rule`] is fixed before the first item. A [`State`] takes the items in the rule's seeded order, none skipped, and
//! can be stored and resumed; once it has said CLEARS or FAILS it stays so. Then, whenever the run stops and whatever
//! other tiers did: P(CLEARS | pass rate ≤ bar) ≤ α/K and P(FAILS | pass rate ≥ bar) ≤ β.

use serde::{Deserialize, Serialize};

use super::DecideError;
pub use super::rule::{Question, Rule};
use crate::stats::eprocess::{self, Bar, GRID, ScoreProcess};
use crate::stats::{binomial, suite};
use crate::units::Interval;

/// What is said of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Verdict {
    /// The pass rate is above the bar (minus the margin).
    Clears,
    /// The pass rate is below the bar.
    Fails,
    /// Neither can be said yet.
    Undecided {
        /// About how many more items would decide at the rate seen so far; `None` when that cannot be said (no item yet,
        /// or a rate on the bar).
        more_items: Option<u64>,
    },
}

impl Verdict {
    /// `CLEARS`, `FAILS` or `UNDECIDED`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Clears => "CLEARS",
            Self::Fails => "FAILS",
            Self::Undecided { .. } => "UNDECIDED",
        }
    }

    /// Whether no further item can change it.
    #[must_use]
    pub const fn is_decided(&self) -> bool {
        !matches!(self, Self::Undecided { .. })
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Evidence so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Evidence {
    Counts { passes: u64, fails: u64 },
    Scores { clear: ScoreProcess, fail: ScoreProcess },
}

/// A tier's progress on a task. Serialize it to resume; equal items in equal order give an equal state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    rule: Rule,
    evidence: Evidence,
    /// First decision and the item it fell at.
    decided: Option<(Verdict, u64)>,
}

impl State {
    /// No item yet, for items that pass or fail.
    ///
    /// # Errors
    /// See [`Rule::validate`].
    pub fn new(rule: Rule) -> Result<Self, DecideError> {
        rule.validate()?;
        Ok(Self { rule, evidence: Evidence::Counts { passes: 0, fails: 0 }, decided: None })
    }

    /// No item yet, for items scored in [0, 1]; the bar is on the mean score. The final look and the suite question are
    /// for pass/fail items only and are not used.
    ///
    /// # Errors
    /// See [`Rule::validate`].
    pub fn of_scores(rule: Rule) -> Result<Self, DecideError> {
        rule.validate()?;
        let (clear, fail) = (ScoreProcess::new(rule.clear_bar(), GRID), ScoreProcess::new(rule.bar, GRID));
        Ok(Self { rule, evidence: Evidence::Scores { clear, fail }, decided: None })
    }

    /// Adds the next item of the order.
    ///
    /// # Errors
    /// When the state counts scores.
    pub fn push(&mut self, pass: bool) -> Result<Verdict, DecideError> {
        self.push_all([pass])?;
        Ok(self.verdict())
    }

    /// Adds the next items of the order: as if each were pushed, without saying after each how many more would decide.
    ///
    /// # Errors
    /// When the state counts scores.
    pub fn push_all(&mut self, items: impl IntoIterator<Item = bool>) -> Result<(), DecideError> {
        for pass in items {
            match &mut self.evidence {
                Evidence::Counts { passes, fails } => *if pass { passes } else { fails } += 1,
                Evidence::Scores { .. } => return Err(DecideError::Kind { expected: "scores", got: "passes" }),
            }
            self.decide();
        }
        Ok(())
    }

    /// Adds the next item of the order.
    ///
    /// # Errors
    /// When the state counts passes, or the score is outside [0, 1].
    pub fn push_score(&mut self, score: f64) -> Result<Verdict, DecideError> {
        if !(0.0..=1.0).contains(&score) {
            return Err(DecideError::Score(score));
        }
        match &mut self.evidence {
            Evidence::Scores { clear, fail } => {
                clear.push(score);
                fail.push(score);
            }
            Evidence::Counts { .. } => return Err(DecideError::Kind { expected: "passes", got: "scores" }),
        }
        self.decide();
        Ok(self.verdict())
    }

    fn decide(&mut self) {
        if self.decided.is_some() {
            return;
        }
        let n = self.items();
        let (clear_from, fail_from) = (-self.rule.alpha_per_tier().ln(), -self.rule.beta.ln());
        let (most_clear, most_fail) = self.most_evidence();
        let (clear, fail) = if most_clear >= clear_from || most_fail >= fail_from {
            self.ln_evidence()
        } else {
            (most_clear, most_fail)
        };
        if clear >= clear_from || self.clears_at_last() {
            self.decided = Some((Verdict::Clears, n));
        } else if fail >= fail_from && n >= self.rule.min_items {
            self.decided = Some((Verdict::Fails, n));
        }
    }

    /// The final look, at exactly the number of items fixed in advance.
    fn clears_at_last(&self) -> bool {
        let Evidence::Counts { passes, .. } = self.evidence else { return false };
        let n = self.items();
        if self.rule.n_max != Some(n) {
            return false;
        }
        // Whoever passes so many is cleared earlier or by the look: where one test that had all of α would not clear, the
        // look, which has what is left, does not either. Almost always this spares its O(N²).
        let alone = binomial::upper_tail(passes, n, self.rule.clear_bar().get());
        if alone.is_none_or(|alone| alone > self.rule.alpha_per_tier() * (1.0 + 1e-9)) {
            return false;
        }
        self.rule.final_look().and_then(|look| look.passes).is_some_and(|needed| passes >= needed)
    }

    /// At least (ln E⁺, ln E⁻), for next to nothing: an item that cannot have decided needs no more.
    fn most_evidence(&self) -> (f64, f64) {
        match (&self.evidence, self.rule.question) {
            (&Evidence::Counts { passes, fails }, Question::Population) => {
                let (plus, _) = eprocess::ln_best_bets(passes, fails, self.rule.clear_bar());
                let (_, minus) = eprocess::ln_best_bets(passes, fails, self.rule.bar);
                (plus, minus)
            }
            _ => (f64::INFINITY, f64::INFINITY),
        }
    }

    /// (ln E⁺ against bar - margin, ln E⁻ against the bar).
    fn ln_evidence(&self) -> (f64, f64) {
        let (clear, fail) = (self.rule.clear_bar(), self.rule.bar);
        match (&self.evidence, self.rule.question) {
            (Evidence::Scores { clear, fail }, _) => (clear.ln_e_plus(), fail.ln_e_minus()),
            (&Evidence::Counts { passes, fails }, Question::Population) => {
                (eprocess::ln_e_plus(passes, fails, clear), eprocess::ln_e_minus(passes, fails, fail))
            }
            (&Evidence::Counts { passes, fails }, Question::Suite { items }) => {
                let n = passes + fails;
                // More items than the suite holds are no evidence.
                let plus = suite::ln_e_plus(items, n, passes, clear).unwrap_or(0.0);
                (plus, suite::ln_e_minus(items, n, passes, fail).unwrap_or(0.0))
            }
        }
    }

    /// The rule.
    #[must_use]
    pub const fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Items seen.
    #[must_use]
    pub fn items(&self) -> u64 {
        match &self.evidence {
            Evidence::Counts { passes, fails } => passes + fails,
            Evidence::Scores { clear, .. } => clear.items(),
        }
    }

    /// Pass rate or mean score so far; `None` before the first item.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        match &self.evidence {
            Evidence::Counts { passes, fails } => binomial::rate(*passes, passes + fails),
            Evidence::Scores { clear, .. } => clear.mean(),
        }
    }

    /// Item the decision fell at; `None` while undecided.
    #[must_use]
    pub fn decided_at(&self) -> Option<u64> {
        self.decided.map(|(_, n)| n)
    }

    /// The verdict so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.decided {
            Some((verdict, _)) => verdict,
            None => Verdict::Undecided { more_items: self.more_items() },
        }
    }

    /// About how many more items would decide, by (ln threshold - ln E)/KL at the rate seen so far; at most what the
    /// suite has left.
    fn more_items(&self) -> Option<u64> {
        let rate = self.rate()?;
        let (clear, fail) = self.ln_evidence();
        let needed = |missing: f64, bar: Bar| missing.max(0.0) / eprocess::bernoulli_kl(rate, bar);
        let up = needed(-self.rule.alpha_per_tier().ln() - clear, self.rule.clear_bar());
        let down = needed(-self.rule.beta.ln() - fail, self.rule.bar);
        let up = if rate > self.rule.clear_bar().get() { up } else { f64::INFINITY };
        let down = if rate < self.rule.bar.get() { down } else { f64::INFINITY };
        let estimate = up.min(down).ceil();
        // Beyond a billion items "about" has no meaning.
        let estimate = (estimate <= 1e9).then_some(estimate.max(1.0) as u64);
        match self.rule.question {
            Question::Suite { items } => {
                let left = items.saturating_sub(self.items());
                Some(estimate.map_or(left, |n| n.min(left)))
            }
            Question::Population => estimate,
        }
    }

    /// Everything a table or a record says about this verdict.
    #[must_use]
    pub fn assess(&self) -> Assessment {
        let finite = |x: f64| x.is_finite().then_some(x);
        let (clear, fail) = self.ln_evidence();
        let verdict = self.verdict();
        let (passes, interval) = match self.evidence {
            Evidence::Counts { passes, fails } => (Some(passes), eprocess::anytime_interval(passes, fails, 0.95)),
            Evidence::Scores { .. } => (None, None),
        };
        Assessment {
            verdict,
            items: self.items(),
            passes,
            rate: self.rate(),
            interval,
            ln_e_clear: finite(clear),
            ln_e_fail: finite(fail),
            decided_at: self.decided_at(),
        }
    }
}

/// A verdict with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// The verdict.
    pub verdict: Verdict,
    /// Items seen.
    pub items: u64,
    /// Items passed; `None` for scores.
    pub passes: Option<u64>,
    /// Pass rate or mean score.
    pub rate: Option<f64>,
    /// 95 % interval of the pass rate that holds at every number of items; `None` for scores.
    pub interval: Option<Interval>,
    /// ln E⁺ against the bar minus the margin; `None` before it is finite or after it is not.
    pub ln_e_clear: Option<f64>,
    /// ln E⁻ against the bar.
    pub ln_e_fail: Option<f64>,
    /// Item the decision fell at.
    pub decided_at: Option<u64>,
}

/// Highest bar these counts clear at error α/K: "lower the bar to this and the tier clears". Valid whichever bar is
/// looked at afterwards, because the e-processes of all bars hold together. `None` if no pass was seen.
#[must_use]
pub fn clearable_bar(passes: u64, fails: u64, alpha: f64, tiers: u32) -> Option<f64> {
    let rate = binomial::rate(passes, passes.checked_add(fails)?).filter(|&r| r > 0.0)?;
    let threshold = (f64::from(tiers.max(1)) / alpha).ln();
    let clears = |q: f64| Bar::new(q).is_ok_and(|bar| eprocess::ln_e_plus(passes, fails, bar) >= threshold);
    let (mut low, mut high) = (0.0, rate);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if clears(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low > 0.0).then_some(low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::bootstrap::SplitMix64;
    use crate::stats::sequential::Look;

    fn rule(bar: f64) -> Rule {
        Rule::new(bar).unwrap()
    }

    fn feed(state: &mut State, items: impl Iterator<Item = bool>) {
        for pass in items {
            state.push(pass).unwrap();
        }
    }

    fn passes(n: usize, rule: Rule) -> State {
        let mut state = State::new(rule).unwrap();
        feed(&mut state, std::iter::repeat_n(true, n));
        state
    }

    #[test]
    fn twenty_passes_clear_eighty_percent_and_stay_cleared() {
        let mut state = passes(19, rule(0.8));
        assert!(!state.verdict().is_decided());
        assert_eq!(state.push(true).unwrap(), Verdict::Clears);
        for _ in 0..30 {
            state.push(false).unwrap();
        }
        assert_eq!((state.verdict(), state.assess().decided_at), (Verdict::Clears, Some(20)));
    }

    #[test]
    fn six_tiers_share_alpha() {
        let k = Rule { tiers: 6, ..rule(0.8) };
        assert!(!passes(29, k.clone()).verdict().is_decided());
        assert_eq!(passes(30, k).verdict(), Verdict::Clears);
    }

    #[test]
    fn nothing_fails_before_ten_items() {
        let mut state = State::new(rule(0.8)).unwrap();
        for _ in 0..9 {
            assert!(!state.push(false).unwrap().is_decided());
        }
        assert_eq!(state.push(false).unwrap(), Verdict::Fails);
    }

    #[test]
    fn the_final_look_clears_what_the_process_missed() {
        let with_look = Rule { n_max: Some(100), ..rule(0.8) };
        // 88 passes in 100 with the fails first: the e-process has not crossed, the exact test has.
        let run = |rule: Rule| {
            let mut state = State::new(rule).unwrap();
            feed(&mut state, (0..100).map(|i| i >= 12));
            state.verdict()
        };
        assert_eq!(run(Rule { min_items: 50, ..with_look.clone() }), Verdict::Clears);
        assert!(!run(Rule { min_items: 50, ..rule(0.8) }).is_decided());
    }

    #[test]
    fn a_suite_is_decided_by_its_last_item() {
        let suite = Rule { question: Question::Suite { items: 20 }, ..rule(0.8) };
        let mut state = State::new(suite).unwrap();
        feed(&mut state, (0..20).map(|i| i % 5 != 0));
        assert_eq!(state.verdict(), Verdict::Clears, "16 of 20 is 80 %");
    }

    #[test]
    fn undecided_says_how_many_more_items() {
        let mut state = State::new(rule(0.8)).unwrap();
        assert_eq!(state.verdict(), Verdict::Undecided { more_items: None });
        feed(&mut state, (0..55).map(|i| i % 11 != 10));
        assert_eq!(state.verdict(), Verdict::Undecided { more_items: Some(29) });
    }

    #[test]
    fn scores_are_judged_by_their_mean() {
        let mut state = State::of_scores(rule(0.8)).unwrap();
        let mut verdict = state.verdict();
        for i in 0..400 {
            verdict = state.push_score(if i % 2 == 0 { 0.9 } else { 1.0 }).unwrap();
        }
        assert_eq!(verdict, Verdict::Clears);
        assert!(matches!(state.push(true), Err(DecideError::Kind { .. })));
        assert_eq!(state.push_score(1.5), Err(DecideError::Score(1.5)));
    }

    #[test]
    fn the_clearable_bar_is_where_the_verdict_turns() {
        let bar = clearable_bar(50, 5, 0.05, 1).unwrap();
        let at = |q: f64| eprocess::ln_e_plus(50, 5, Bar::new(q).unwrap());
        assert!(at(bar - 1e-6) >= 20f64.ln() && at(bar + 1e-6) < 20f64.ln());
        assert_eq!(clearable_bar(0, 5, 0.05, 1), None);
        assert_eq!(clearable_bar(0, 0, 0.05, 1), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_state_agrees_with_its_boundaries_and_resumes(seed: u64, p in 0.2f64..1.0, cut in 0u64..80, tiers in 1u32..7, margin in prop_oneof![Just(0.0), Just(0.05)]) {
            let rule = Rule { tiers, margin, ..rule(0.7) };
            let boundaries = rule.boundaries(80);
            let mut state = State::new(rule).unwrap();
            let mut random = SplitMix64::new(seed);
            let (mut s, mut decided) = (0, Look::Continue);
            for n in 1..=80 {
                let pass = random.unit() < p;
                s += u64::from(pass);
                let verdict = state.push(pass).unwrap();
                if decided == Look::Continue {
                    decided = boundaries.look(s, n);
                }
                match decided {
                    Look::Clears => prop_assert_eq!(verdict, Verdict::Clears),
                    Look::Fails => prop_assert_eq!(verdict, Verdict::Fails),
                    Look::Continue => prop_assert!(!verdict.is_decided()),
                }
                if n == cut {
                    state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
                }
            }
        }
    }
}
