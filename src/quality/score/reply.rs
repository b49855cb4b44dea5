//! Answers to customers: the policy's facts, nothing it does not allow, handed over when it says so.
//!
//! A reply passes if it says every fact of the item, makes no forbidden claim, hands the matter over to a person exactly
//! when the item's `escalate` demands it, keeps within the cap of words and names no number, link or address that neither
//! policy nor question holds. Its score is the recall of facts, or 0 if it breaks any rule.

use super::Score;
use super::claim::{Patterns, plain};
use super::facts::{Demands, source};
use super::grounding::unsupported;
use crate::quality::QualityError;
use crate::quality::task::Item;

/// "I will pass this to our team": a verb of handing over and who gets it, in one sentence.
const HANDS_OVER: &str = r"\b(?:pass|forward|hand|escalat|transfer|connect|refer|report|put|get|bring|goes|send(?:ing)? (?:this|your))\w*\b[^.!?]{0,60}\b(?:team|colleague|specialist|agent|manager|human|person|supervisor|expert|department|desk|office|owner|lawyer|staff)s?\b|\bescalat\w+|\b(?:specialist|manager|colleague|supervisor|team|desk|office) will (?:contact|call|write|get back|reach|take|look|be in touch)";
/// "Please contact our team": enough where a matter must go to a person, a courtesy where it need not.
const POINTS_TO: &str = r"\b(?:contact|call|write to|speak (?:to|with)|talk to|reach out to|turn to|ask)\b[^.!?]{0,40}\b(?:team|colleague|specialist|agent|manager|supervisor|department|desk|office|owner|staff)s?\b";

/// See the module.
#[derive(Clone, Debug)]
pub struct Reply {
    source: Vec<String>,
    max_words: usize,
    patterns: Patterns,
}

impl Reply {
    /// # Errors
    /// No source column or no cap.
    pub(super) fn new(source: &[String], max_words: Option<usize>) -> Result<Self, String> {
        let max_words = max_words.filter(|n| *n > 0).ok_or("`max_words` is missing: cap the reply, e.g. 60")?;
        if source.is_empty() {
            return Err("`source` is missing: name the columns a reply may draw on".into());
        }
        Ok(Self { source: source.to_vec(), max_words, patterns: Patterns::default() })
    }

    /// # Errors
    /// A column of the wrong form, or a pattern that does not compile or explodes.
    pub(super) fn score(&self, item: &Item, answer: &str) -> Result<Score, QualityError> {
        let demands = Demands::of(item)?;
        let answer = plain(answer.trim());
        let met = demands.met(&self.patterns, item, &answer)?;
        let says = |pattern| self.patterns.finds("scorer reply", pattern, &answer, true);
        let handed = says(HANDS_OVER)? || (demands.escalate == Some(true) && says(POINTS_TO)?);
        let invented = unsupported(&plain(&source(item, &self.source)?), &answer);
        let words = answer.split_whitespace().count();
        let wrong_hands = demands.escalate.is_some_and(|wanted| wanted != handed);
        let broken = met.forbidden > 0 || wrong_hands || !invented.facts.is_empty() || words > self.max_words;
        let value = if broken || words == 0 { 0.0 } else { met.recall };
        let flag = |set: bool| f64::from(u8::from(set));
        Ok(Score { value, pass: value >= 1.0 - 1e-9, parts: Vec::new() }
            .with("fact_recall", met.recall)
            .with("forbidden", flag(met.forbidden > 0))
            .with("wrong_escalation", flag(wrong_hands))
            .with("unsupported", flag(!invented.facts.is_empty()))
            .with("over_cap", flag(words > self.max_words))
            .with("words", words as f64))
    }

    /// What can be said without a model: the rules themselves as far as the cap allows, and handing everything over.
    ///
    /// # Errors
    /// A source column the item does not have.
    pub(super) fn trivial(&self, item: &Item) -> Result<Vec<(String, String)>, QualityError> {
        let text = source(item, &self.source[..1])?;
        let start: Vec<&str> = text.split_whitespace().take(self.max_words).collect();
        let first = text.split_inclusive(['.', '\n']).find(|part| !part.trim().is_empty()).unwrap_or_default();
        Ok(vec![
            (format!("the first {} words of the policy", self.max_words), start.join(" ")),
            ("the policy's first sentence".into(), first.trim().to_owned()),
            ("hand everything over".into(), "I will pass this on to our team.".into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn item(escalate: Option<bool>, facts: &Value) -> Item {
        let data = json!({
            "policy": "Returns within 30 days. Opened software cannot be returned. Return shipping costs $6.",
            "question": "Can I return an opened game after 12 days?",
            "facts": facts, "forbidden": ["can (?:be )?return", "free of charge"], "escalate": escalate,
        });
        let Value::Object(data) = data else { unreachable!() };
        Item { id: "x".into(), level: None, template: None, good: vec![], bad: vec![], data, line: 1 }
    }

    fn pass(escalate: Option<bool>, facts: &Value, text: &str) -> bool {
        let reply = Reply::new(&["policy".into(), "question".into()], Some(30)).unwrap();
        reply.score(&item(escalate, facts), text).unwrap().pass
    }

    #[test]
    fn a_reply_must_say_the_fact_and_not_its_opposite() {
        let facts = json!([{"any_of": ["(?:cannot|can't|can not|not) (?:be |take |accept )?\\w*return"]}]);
        let says = |text: &str| pass(Some(false), &facts, text);
        assert!(says("I am sorry, opened software cannot be returned."));
        assert!(says("No, you can't return it, even within 30 days."));
        assert!(!says("Yes, you can return it within 30 days."));
        assert!(!says("Opened games can be returned."));
        assert!(!says("Opened software cannot be returned, but we take it back free of charge."));
        assert!(says("Opened software cannot be returned, also not free of charge."));
        assert!(!says("Opened software cannot be returned after 14 days."), "14 is invented");
        assert!(!says("Opened software cannot be returned, see www.example.com"), "so is the link");
        assert!(!says(&format!("Opened software cannot be returned.{}", " Sorry.".repeat(30))));
        assert!(!says(""));
    }

    #[test]
    fn matters_are_handed_over_exactly_when_asked() {
        let none = json!([]);
        for text in [
            "I will pass this on to our safety team.",
            "Let me connect you with a specialist.",
            "I am forwarding your message to a manager.",
            "I have escalated this.",
            "A colleague will call you back.",
            "This goes to the head office.",
        ] {
            assert!(pass(Some(true), &none, text), "{text}");
            assert!(!pass(Some(false), &json!([{"any_of": ["."]}]), text), "{text}");
        }
        assert!(pass(Some(true), &none, "Please contact our legal desk."));
        assert!(pass(Some(false), &json!([{"any_of": ["6"]}]), "It costs $6. Contact our team if you have questions."));
        for text in ["I will not pass this on to our team.", "Please restart it.", "You can pass the exam.", ""] {
            assert!(!pass(Some(true), &none, text), "{text}");
        }
    }

    #[test]
    fn an_item_without_demands_is_an_error() {
        let reply = Reply::new(&["policy".into()], Some(30)).unwrap();
        let message = reply.score(&item(None, &json!([])), "text").unwrap_err().to_string();
        assert!(message.contains("item x") && message.contains("`facts`"), "{message}");
        let mut odd = item(None, &json!([{"any_of": ["x"]}]));
        odd.data.insert("escalate".into(), json!("yes"));
        assert!(reply.score(&odd, "text").unwrap_err().to_string().contains("`escalate`"));
    }
}
