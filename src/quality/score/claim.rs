//! Whether a text says something, and does not merely deny it.
//!
//! A claim is a regular expression (case-insensitive). It is *asserted* if it matches somewhere without a negation in
//! front of it: one of [`NEGATIONS`] or a word in n't among the last [`WINDOW`] words of the same clause. "We offer
//! refunds" asserts `offer refunds`; "we do not offer refunds" and "no, we never offer refunds" do not; "we do not charge
//! for it, and we offer refunds" does. What a pattern itself contains is not looked at, so `cannot be returned` can be a
//! claim of its own.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use fancy_regex::Regex;

use crate::quality::QualityError;
use crate::quality::filter::compile;

/// Words in front of a claim that are searched for a negation.
const WINDOW: usize = 6;

const NEGATIONS: &[&str] = &[
    "not", "no", "never", "cannot", "cant", "dont", "doesnt", "wont", "isnt", "arent", "without", "neither", "nor",
    "none", "nobody", "nothing", "unable",
];

/// Beginnings of a clause: a negation before them does not reach behind them.
static CLAUSE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)[.!?;:](?:\s|$)|\n|,\s*(?:and|but|so|yet|which|we|you|i|it|they|he|she|your|our|the|this|that|please)\b|\b(?:but|however|because|although|while|since)\b|\band\s+(?:we|you|i|it|they|our|your|please)\b",
    )
    .ok()
});

/// Phrases with a negation's word that deny nothing.
static NO_DENIAL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)\b(?:not\s+(?:only|just|a\s+problem|to\s+mention)|no\s+(?:later|more|less|fewer|problem|doubt|worries|matter)|(?:do\s+not|don't)\s+(?:hesitate|worry|forget)|why\s+not)\b",
    )
    .ok()
});

/// The patterns of a task, compiled once.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    compiled: Arc<Mutex<HashMap<String, Regex>>>,
}

impl Patterns {
    /// Whether `text` holds `pattern`; with `asserted`, somewhere without a negation in front of it.
    ///
    /// # Errors
    /// A pattern that does not compile or needs too much backtracking on this text; `whose` names the item.
    pub(super) fn finds(&self, whose: &str, pattern: &str, text: &str, asserted: bool) -> Result<bool, QualityError> {
        let regex = self.regex(whose, pattern)?;
        for found in regex.find_iter(text) {
            let found = found.map_err(|error| QualityError::Pattern {
                task: whose.into(),
                pattern: pattern.into(),
                reason: error.to_string(),
            })?;
            if !asserted || !is_denied(&text[..found.start()]) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn regex(&self, whose: &str, pattern: &str) -> Result<Regex, QualityError> {
        // The map is whole after every step, so a panic elsewhere leaves nothing half-done.
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = compiled.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = compile(whose, &format!("(?i){pattern}"))?;
        compiled.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    }
}

/// Straight apostrophes and single spaces, so that patterns need not care.
pub(super) fn plain(text: &str) -> String {
    text.replace(['\u{2019}', '\u{2018}'], "'").replace(['\u{a0}', '\u{202f}'], " ")
}

/// Whether the clause that `before` breaks off in denies what comes next.
fn is_denied(before: &str) -> bool {
    let clause = last_end(CLAUSE.as_ref(), before).map_or(before, |end| &before[end..]);
    let clause = clause.to_lowercase().replace("instead of", "not").replace("rather than", "not");
    let clause = match NO_DENIAL.as_ref().map(|regex| regex.replace_all(&clause, " ")) {
        Some(kept) => kept.into_owned(),
        None => clause,
    };
    let words = clause.split(|c: char| !(c.is_alphanumeric() || c == '\'')).filter(|word| !word.is_empty());
    words.rev().take(WINDOW).any(|word| NEGATIONS.contains(&word) || word.ends_with("n't"))
}

/// Where the last match of `regex` ends.
fn last_end(regex: Option<&Regex>, text: &str) -> Option<usize> {
    regex?.find_iter(text).filter_map(Result::ok).map(|found| found.end()).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(pattern: &str, text: &str) -> bool {
        Patterns::default().finds("t", pattern, &plain(text), true).unwrap()
    }

    #[test]
    fn both_polarities_of_a_claim_are_told_apart() {
        let claim = "offer (?:full )?refunds";
        for text in [
            "We offer refunds.",
            "Yes! We always offer full refunds",
            "We do not charge for it, and we offer refunds.",
            "There is no fee. We offer refunds.",
            "We don't ship abroad but offer refunds.",
            "Not only do we offer refunds, we pay for the way back.",
            "Don't hesitate: we offer refunds.",
            "We do not offer refunds in the shop. Online we offer refunds.",
        ] {
            assert!(says(claim, text), "{text}");
        }
        for text in [
            "We do not offer refunds.",
            "We don\u{2019}t offer full refunds.",
            "We never offer refunds, sorry.",
            "No, we cannot offer refunds.",
            "Unfortunately we are unable to offer refunds.",
            "Neither shop can offer refunds.",
            "We don't, under these terms, offer refunds.",
            "Refunds are not possible.",
        ] {
            assert!(!says(claim, text), "{text}");
        }
    }

    #[test]
    fn a_claim_may_itself_be_a_denial() {
        let claim = "(?:cannot|can't|not) (?:be )?return";
        assert!(says(claim, "Opened items cannot be returned."));
        assert!(says(claim, "No, you can't return it."), "the No answers the question, it does not turn the denial");
        assert!(!says(claim, "Opened items can be returned."));
    }

    #[test]
    fn a_deadline_is_no_denial() {
        assert!(says("march 3", "Please answer no later than March 3."));
        assert!(says("30 days", "Send it back within no more than 30 days."));
        assert!(!says("march 3", "The meeting is not on March 3."));
        assert!(!says("march 3", "We meet in May instead of March 3."));
        assert!(says("march 3", "Instead we meet on March 3."));
    }

    #[test]
    fn a_pattern_that_explodes_names_its_item() {
        let error =
            |pattern, text: &str| Patterns::default().finds("item x7", pattern, text, true).unwrap_err().to_string();
        let message = error("^(?:(a|aa)(?!c))+b", &"a".repeat(60));
        assert!(message.contains("item x7"), "{message}");
        assert!(error("(open", "a").contains("(open"));
    }

    #[test]
    fn what_need_only_be_named_may_stand_behind_a_denial() {
        let text = "You cannot return it after 30 days.";
        assert!(Patterns::default().finds("t", "30 days", text, false).unwrap());
        assert!(!says("30 days", text));
    }
}
