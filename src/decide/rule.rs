//! A decision rule: bar, errors, margin and number of tiers, fixed before the first item, and what it asserts.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

use super::DecideError;
use super::verdict::Verdict;
use crate::stats::eprocess::Bar;
use crate::stats::sequential::{self, Boundaries, FinalLook};

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

    /// Checks every field; [`super::State::new`] does it too.
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
    pub(super) fn clear_bar(&self) -> Bar {
        // `validate` has seen that the difference is positive.
        Bar::new(self.bar.get() - self.margin).unwrap_or(self.bar)
    }

    /// α/K.
    pub(super) fn alpha_per_tier(&self) -> f64 {
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

    /// The exact final look, if the rule has one. O(N²), once for rules that follow each other and agree.
    #[must_use]
    pub fn final_look(&self) -> Option<FinalLook> {
        /// Items, bar and α of a look.
        type Terms = (u64, Bar, f64);
        thread_local! {
            /// Every tier of a task has the same look, and every record of the same suite.
            static LAST: Cell<Option<(Terms, FinalLook)>> = const { Cell::new(None) };
        }
        let n = self.n_max.filter(|_| self.question == Question::Population)?;
        let (bar, alpha) = (self.clear_bar(), self.alpha_per_tier());
        let known = LAST.get().filter(|(terms, _)| *terms == (n, bar, alpha)).map(|(_, look)| look);
        let look = known.unwrap_or_else(|| sequential::final_look(n, bar, alpha, 1.0 / alpha));
        LAST.set(Some(((n, bar, alpha), look)));
        Some(look)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(bar: f64) -> Rule {
        Rule::new(bar).unwrap()
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
    fn a_rule_that_means_nothing_is_refused_by_name() {
        let message = |r: Rule| r.validate().unwrap_err().to_string();
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
}
