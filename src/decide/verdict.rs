//! Does a tier clear its bar? Decided by one-sided mixture e-processes, looked at after every item.
//!
//! A [`Rule`] is fixed before the first item. A [`State`] takes the items in the rule's seeded order, none skipped, and
//! can be stored and resumed; once it has said CLEARS or FAILS it stays so. Then, whenever the run stops and whatever
//! other tiers did: P(CLEARS | pass rate ≤ bar) ≤ α/K and P(FAILS | pass rate ≥ bar) ≤ β.

use serde::{Deserialize, Serialize};

use super::DecideError;
use crate::stats::eprocess::{self, Bar, GRID, ScoreProcess};
use crate::stats::sequential::{self, Boundaries, FinalLook};
use crate::stats::{binomial, suite};
use crate::units::Interval;

/// What the verdict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// The items are draws from the user's workload: "this tier passes at least q of such work".
    Population,
    /// Exactly these items, in random order without replacement: "this tier passes at least q of these N".
    Suite {
        /// N.
        items: u64,
    },
}

/// A decision rule, fixed before the first item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Pass rate (or mean score) the task demands.
    pub bar: Bar,
    /// Bound on declaring CLEARS for any tier below the bar, over the whole ladder.
    pub alpha: f64,
    /// Bound on declaring FAILS for a tier at or above the bar.
    pub beta: f64,
    /// CLEARS says "above bar - margin" instead of "above the bar": fewer items near the bar.
    pub margin: f64,
    /// Tiers that share α (K); 1 for a single tier or a fixed sequence from the top.
    pub tiers: u32,
    /// No FAILS before so many items.
    pub min_items: u64,
    /// Number of items fixed in advance at which what is left of α is spent on one exact test. Not for suites that may
    /// grow later.
    pub n_max: Option<u64>,
    /// Population or suite.
    pub question: Question,
    /// Seed of the item order, so that a resumed run takes the same order.
    pub order_seed: u64,
}

impl Rule {
    /// The default rule for a bar: α = 0.05, β = 0.10, one tier, no margin, no FAILS before ten items.
    ///
    /// # Errors
    /// For a bar outside (0, 1).
    pub fn new(bar: f64) -> Result<Self, DecideError> {
        Ok(Self {
            bar: Bar::new(bar)?,
            alpha: 0.05,
            beta: 0.10,
            margin: 0.0,
            tiers: 1,
            min_items: 10,
            n_max: None,
            question: Question::Population,
            order_seed: 0,
        })
    }

    /// Checks every field; [`State::new`] does it too.
    ///
    /// # Errors
    /// Names the field and what it may be.
    pub fn validate(&self) -> Result<(), DecideError> {
        for (name, got) in [("alpha", self.alpha), ("beta", self.beta)] {
            if !(got > 0.0 && got < 1.0) {
                return Err(DecideError::Probability { name, got });
            }
        }
        if !(self.margin >= 0.0 && self.margin < self.bar.get()) {
            return Err(DecideError::Margin { margin: self.margin, bar: self.bar.get() });
        }
        let zero = match (self.tiers, self.n_max, self.question) {
            (0, ..) => Some("tiers"),
            (_, Some(0), _) => Some("n_max"),
            (.., Question::Suite { items: 0 }) => Some("suite items"),
            _ => None,
        };
        zero.map_or(Ok(()), |name| Err(DecideError::Zero { name }))
    }

    /// The bar CLEARS is tested against, bar - margin.
    fn clear_bar(&self) -> Bar {
        // `validate` has seen that the difference is positive.
        Bar::new(self.bar.get() - self.margin).unwrap_or(self.bar)
    }

    /// α/K.
    fn alpha_per_tier(&self) -> f64 {
        self.alpha / f64::from(self.tiers.max(1))
    }

    /// The rule as counts per number of items up to `cap`, for exact predictions and simulation of pass/fail items.
    #[must_use]
    pub fn boundaries(&self, cap: u64) -> Boundaries {
        let (e_clear, e_fail) = (1.0 / self.alpha_per_tier(), 1.0 / self.beta);
        let rule = match self.question {
            Question::Suite { items } => sequential::Rule::Suite { items, bar: self.clear_bar(), e_clear, e_fail },
            Question::Population => {
                sequential::Rule::Mixture { clear: self.clear_bar(), fail: self.bar, e_clear, e_fail }
            }
        };
        Boundaries::of(&rule, cap, self.min_items)
    }

    /// The exact final look, if the rule has one. O(N² log N): compute it once.
    #[must_use]
    pub fn final_look(&self) -> Option<FinalLook> {
        let n = self.n_max.filter(|_| self.question == Question::Population)?;
        Some(sequential::final_look(n, self.clear_bar(), self.alpha_per_tier(), 1.0 / self.alpha_per_tier()))
    }

    /// What the verdict asserts and how often it may be wrong, in one sentence for the table's foot.
    #[must_use]
    pub fn statement(&self, verdict: &Verdict) -> String {
        let percent = |x: f64| format!("{} %", (x * 1e4).round() / 1e2);
        let subject = match self.question {
            Question::Population => "true pass rate".to_owned(),
            Question::Suite { items } => format!("pass rate on exactly these {items} items"),
        };
        let bar = percent(self.bar.get());
        match verdict {
            Verdict::Clears => {
                let limit = if self.margin > 0.0 {
                    format!("{} (bar {bar} minus margin {})", percent(self.clear_bar().get()), percent(self.margin))
                } else {
                    bar
                };
                let below = match self.question {
                    Question::Population => "at or below",
                    Question::Suite { .. } => "below",
                };
                let family = match self.tiers {
                    0 | 1 => "that tier".to_owned(),
                    k => format!("any of the {k} tiers tested"),
                };
                format!(
                    "CLEARS: if the {subject} were {below} {limit}, this would be declared of {family} with probability \
                     at most {} (α), at whatever item the run stopped",
                    percent(self.alpha)
                )
            }
            Verdict::Fails => format!(
                "FAILS: if the {subject} were {bar} or higher, this would be declared with probability at most {} (β), at \
                 whatever item the run stopped",
                percent(self.beta)
            ),
            Verdict::Undecided { more_items } => {
                let more = more_items.map_or_else(
                    || "more items are not expected to decide it soon".to_owned(),
                    |n| format!("about {n} more items would decide at the rate seen so far"),
                );
                format!(
                    "UNDECIDED: neither CLEARS (α = {}) nor FAILS (β = {}) can be said of a bar of {bar}; {more}",
                    percent(self.alpha),
                    percent(self.beta)
                )
            }
        }
    }
}

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
        match &mut self.evidence {
            Evidence::Counts { passes, fails } => *if pass { passes } else { fails } += 1,
            Evidence::Scores { .. } => return Err(DecideError::Kind { expected: "scores", got: "passes" }),
        }
        Ok(self.decide())
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
        Ok(self.decide())
    }

    fn decide(&mut self) -> Verdict {
        if self.decided.is_none() {
            let n = self.items();
            let (clear, fail) = self.ln_evidence();
            if clear >= -self.rule.alpha_per_tier().ln() || self.clears_at_last() {
                self.decided = Some((Verdict::Clears, n));
            } else if fail >= -self.rule.beta.ln() && n >= self.rule.min_items {
                self.decided = Some((Verdict::Fails, n));
            }
        }
        self.verdict()
    }

    /// The final look, at exactly the number of items fixed in advance.
    fn clears_at_last(&self) -> bool {
        let Evidence::Counts { passes, .. } = self.evidence else { return false };
        if self.rule.n_max != Some(self.items()) {
            return false;
        }
        self.rule.final_look().and_then(|look| look.passes).is_some_and(|needed| passes >= needed)
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
            decided_at: self.decided.map(|(_, n)| n),
            statement: self.rule.statement(&verdict),
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
    /// What is asserted and how often it may be wrong.
    pub statement: String,
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
    fn exactly_at_the_bar_clears_is_declared_with_probability_at_most_alpha() {
        // Exact, over every sequence of 150 items; with the final look, shared alpha and a margin.
        for (tiers, margin, bar) in [(1, 0.0, 0.8), (6, 0.0, 0.8), (1, 0.05, 0.8), (3, 0.0, 0.95), (1, 0.0, 0.5)] {
            let rule = Rule { tiers, margin, n_max: Some(150), ..rule(bar) };
            let look = rule.final_look().unwrap();
            let null = bar - margin;
            let o = rule.boundaries(150).operate(|_, _| null, look.passes);
            assert!(o.p_clears <= 0.05 / f64::from(tiers), "{rule:?} {o:?}");
            let at_bar = rule.boundaries(150).operate(|_, _| bar, look.passes);
            assert!(at_bar.p_fails <= 0.10, "{rule:?} {at_bar:?}");
        }
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
    fn a_rule_that_means_nothing_is_refused_by_name() {
        let message = |r: Rule| State::new(r).unwrap_err().to_string();
        assert!(message(Rule { alpha: 0.0, ..rule(0.8) }).starts_with("alpha is 0"));
        assert!(message(Rule { beta: f64::NAN, ..rule(0.8) }).starts_with("beta is NaN"));
        assert!(message(Rule { margin: 0.8, ..rule(0.8) }).contains("bar of 0.8"));
        assert!(message(Rule { tiers: 0, ..rule(0.8) }).starts_with("tiers is 0"));
        assert!(message(Rule { n_max: Some(0), ..rule(0.8) }).starts_with("n_max is 0"));
    }

    #[test]
    fn the_statement_names_the_bar_the_error_and_the_family() {
        let margin = Rule { margin: 0.05, tiers: 6, ..rule(0.8) };
        assert_eq!(
            margin.statement(&Verdict::Clears),
            "CLEARS: if the true pass rate were at or below 75 % (bar 80 % minus margin 5 %), this would be declared of \
             any of the 6 tiers tested with probability at most 5 % (α), at whatever item the run stopped"
        );
        assert_eq!(
            rule(0.8).statement(&Verdict::Fails),
            "FAILS: if the true pass rate were 80 % or higher, this would be declared with probability at most 10 % (β), \
             at whatever item the run stopped"
        );
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
        fn a_state_agrees_with_its_boundaries_and_resumes(seed: u64, p in 0.2f64..1.0, cut in 0u64..80, tiers in 1u32..7) {
            let rule = Rule { tiers, ..rule(0.7) };
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
