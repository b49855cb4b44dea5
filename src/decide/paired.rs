//! Is a tier as good as a reference tier on the same items? Sequential non-inferiority, valid at any stopping time.
//!
//! Both tiers see the same items in the same order. With d = candidate - reference per item, `E[(d + 1)/2]` is tested
//! against (1 - m)/2 for a tolerance m: NOT WORSE says "not worse by more than m", WORSE says "worse by more than m".
//! Pairing removes the difficulty of the items from the comparison; how many items each tier fails alone is the flips.

use serde::{Deserialize, Serialize};

use super::DecideError;
use crate::stats::compare::{NonInferiority, mcnemar, paired_difference};
use crate::units::Interval;

/// A comparison with a reference tier, fixed before the first item.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedRule {
    /// Tolerance m in (0, 1): points of pass rate a tier may lie below the reference.
    pub tolerance: f64,
    /// Bound on declaring NOT WORSE of any tier that is worse by m or more.
    pub alpha: f64,
    /// Bound on declaring WORSE of a tier that is not worse by more than m.
    pub beta: f64,
    /// Tiers compared with the reference; they share α.
    pub tiers: u32,
}

/// What is said of a tier beside its reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairedVerdict {
    /// Not worse by more than the tolerance.
    NotWorse,
    /// Worse by more than the tolerance.
    Worse,
    /// Neither can be said yet.
    Undecided,
}

impl PairedVerdict {
    /// `NOT WORSE`, `WORSE` or `UNDECIDED`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotWorse => "NOT WORSE",
            Self::Worse => "WORSE",
            Self::Undecided => "UNDECIDED",
        }
    }
}

/// No WORSE before so many items.
const MIN_ITEMS: u64 = 10;

/// A tier's comparison so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Paired {
    rule: PairedRule,
    evidence: NonInferiority,
    items: u64,
    only_reference: u64,
    only_candidate: u64,
    decided: Option<PairedVerdict>,
}

impl Paired {
    /// No item yet.
    ///
    /// # Errors
    /// A tolerance or an error probability outside (0, 1), or no tier.
    pub fn new(rule: PairedRule) -> Result<Self, DecideError> {
        for (name, got) in [("alpha", rule.alpha), ("beta", rule.beta), ("tolerance", rule.tolerance)] {
            if !(got > 0.0 && got < 1.0) {
                return Err(DecideError::Probability { name, got });
            }
        }
        if rule.tiers == 0 {
            return Err(DecideError::Zero { name: "tiers" });
        }
        let evidence = NonInferiority::new(rule.tolerance)?;
        Ok(Self { rule, evidence, items: 0, only_reference: 0, only_candidate: 0, decided: None })
    }

    /// Adds the next item of the order: whether each passes.
    pub fn push(&mut self, candidate: bool, reference: bool) -> PairedVerdict {
        let score = |pass: bool| f64::from(u8::from(pass));
        self.evidence.push(score(candidate), score(reference));
        self.items += 1;
        self.only_reference += u64::from(reference && !candidate);
        self.only_candidate += u64::from(candidate && !reference);
        if self.decided.is_none() {
            if self.evidence.ln_e_plus() >= (f64::from(self.rule.tiers) / self.rule.alpha).ln() {
                self.decided = Some(PairedVerdict::NotWorse);
            } else if self.evidence.ln_e_minus() >= -self.rule.beta.ln() && self.items >= MIN_ITEMS {
                self.decided = Some(PairedVerdict::Worse);
            }
        }
        self.verdict()
    }

    /// The verdict so far; once decided it stays so.
    #[must_use]
    pub fn verdict(&self) -> PairedVerdict {
        self.decided.unwrap_or(PairedVerdict::Undecided)
    }

    /// Everything a table says about the comparison.
    #[must_use]
    pub fn assess(&self) -> PairedAssessment {
        let (n, b, c) = (self.items, self.only_reference, self.only_candidate);
        PairedAssessment {
            verdict: self.verdict(),
            items: n,
            only_reference: b,
            only_candidate: c,
            flips: (n > 0).then(|| (b + c) as f64 / n as f64),
            difference: paired_difference(n, b, c, 0.95).map(|d| d.difference),
            mcnemar_p: mcnemar(b, c).p_exact,
            ln_e_not_worse: self.evidence.ln_e_plus(),
            ln_e_worse: self.evidence.ln_e_minus(),
        }
    }
}

/// A comparison with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedAssessment {
    /// The verdict.
    pub verdict: PairedVerdict,
    /// Items both tiers saw.
    pub items: u64,
    /// Items only the reference passed.
    pub only_reference: u64,
    /// Items only this tier passed.
    pub only_candidate: u64,
    /// Share of items on which the two differ.
    pub flips: Option<f64>,
    /// Candidate minus reference with its normal 95 % interval; for display, not for the verdict.
    pub difference: Option<Interval>,
    /// McNemar's exact p: do the two differ at all?
    pub mcnemar_p: f64,
    /// Evidence for NOT WORSE.
    pub ln_e_not_worse: f64,
    /// Evidence for WORSE.
    pub ln_e_worse: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: PairedRule = PairedRule { tolerance: 0.05, alpha: 0.05, beta: 0.10, tiers: 1 };

    #[test]
    fn an_equal_tier_is_not_worse_and_a_clearly_worse_one_is() {
        let mut equal = Paired::new(RULE).unwrap();
        let at = (1..=400).find(|i| equal.push(i % 3 != 0, i % 3 != 0) == PairedVerdict::NotWorse);
        assert!(at.is_some_and(|n| n > 50), "{at:?}");
        let mut worse = Paired::new(RULE).unwrap();
        let at = (1..=200).find(|i| worse.push(i % 2 == 0, true) == PairedVerdict::Worse);
        assert!(at.is_some_and(|n| n >= 10), "{at:?}");
        let a = worse.assess();
        assert_eq!((a.only_candidate, a.flips.map(|f| f > 0.4)), (0, Some(true)));
    }

    #[test]
    fn shared_alpha_needs_more_items_and_bad_rules_are_refused() {
        let items = |tiers| {
            let mut state = Paired::new(PairedRule { tiers, ..RULE }).unwrap();
            (1..=2000).find(|_| state.push(true, true) == PairedVerdict::NotWorse).unwrap()
        };
        assert!(items(6) > items(1));
        assert!(Paired::new(PairedRule { tolerance: 0.0, ..RULE }).is_err());
        assert!(Paired::new(PairedRule { alpha: f64::NAN, ..RULE }).is_err());
        assert!(Paired::new(PairedRule { tiers: 0, ..RULE }).is_err());
    }
}
