//! Summaries: recall of an item's key facts under a cap of words.
//!
//! The cap is the task's `max_words`, or the item's own in a column of that name. Only the first `max_words` words are read for facts, so that copying the source earns nothing by its length. An item
//! passes if at least [`RECALL`] of the facts' weight is there with all required ones, nothing forbidden is claimed, no
//! number, date or address is invented, and the text keeps within the cap. ROUGE-L against the item's reference stands
//! beside it and decides nothing: overlap of words does not see an error of fact (Wang et al., arXiv 2004.04228).

use super::Score;
use super::claim::{Patterns, plain};
use super::facts::{Demands, source};
use super::grounding::unsupported;
use crate::quality::QualityError;
use crate::quality::task::Item;
use crate::stats::rouge::rouge_l;

/// Share of the facts' weight a summary needs.
const RECALL: f64 = 0.8;

/// See the module.
#[derive(Clone, Debug)]
pub struct Summary {
    source: Vec<String>,
    max_words: usize,
    patterns: Patterns,
}

impl Summary {
    /// # Errors
    /// No source column or no cap.
    pub(super) fn new(source: &[String], max_words: Option<usize>) -> Result<Self, String> {
        let max_words = max_words.filter(|n| *n > 0).ok_or("`max_words` is missing: cap the summary, e.g. 30")?;
        if source.is_empty() {
            return Err("`source` is missing: name the columns a summary may draw on".into());
        }
        Ok(Self { source: source.to_vec(), max_words, patterns: Patterns::default() })
    }

    /// # Errors
    /// A column of the wrong form, or a pattern that does not compile or explodes.
    pub(super) fn score(&self, item: &Item, references: &[String], answer: &str) -> Result<Score, QualityError> {
        let demands = Demands::of(item)?;
        let cap = self.cap(item)?;
        let answer = plain(answer.trim());
        let words: Vec<&str> = answer.split_whitespace().collect();
        let read = words.iter().take(cap).copied().collect::<Vec<_>>().join(" ");
        let met = demands.met(&self.patterns, item, &read)?;
        let invented = unsupported(&plain(&source(item, &self.source)?), &answer);
        let whole = met.recall >= RECALL - 1e-9 && met.required;
        let pass = whole && met.forbidden == 0 && invented.facts.is_empty() && words.len() <= cap;
        let rouge = references.iter().filter_map(|text| rouge_l(text, &answer)).map(|o| o.f1).fold(0.0, f64::max);
        Ok(Score { value: met.recall, pass, parts: Vec::new() }
            .with("fact_recall", met.recall)
            .with("forbidden", f64::from(u8::from(met.forbidden > 0)))
            .with("unsupported", f64::from(u8::from(!invented.facts.is_empty())))
            .with("unsupported_names", f64::from(u8::from(!invented.names.is_empty())))
            .with("over_cap", f64::from(u8::from(words.len() > cap)))
            .with("words", words.len() as f64)
            .with("rouge_l", rouge))
    }

    /// Words a summary of this item may have.
    fn cap(&self, item: &Item) -> Result<usize, QualityError> {
        let Some(value) = item.data.get("max_words") else { return Ok(self.max_words) };
        let cap = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        cap.ok_or_else(|| QualityError::BadColumn {
            item: item.id.clone(),
            line: item.line,
            key: "max_words",
            reason: format!("must be a whole number from 1, got {value}"),
        })
    }

    /// What can be said without a model: the beginning and the end of the source, cut to the cap.
    ///
    /// # Errors
    /// A source column the item does not have.
    pub(super) fn trivial(&self, item: &Item) -> Result<Vec<(String, String)>, QualityError> {
        let text = source(item, &self.source)?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let n = self.cap(item)?.min(words.len());
        Ok(vec![
            ("the first words, up to the cap".into(), words[..n].join(" ")),
            ("the last words, up to the cap".into(), words[words.len() - n..].join(" ")),
        ])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item() -> Item {
        let data = json!({
            "email": "Hi Ann, the budget meeting is on Friday at 3 pm in room 204, not on Monday. Bring the report. Ben",
            "facts": [
                {"any_of": ["budget"]}, {"any_of": ["friday"], "required": true}, {"any_of": ["3 ?pm", "15:00"]},
                {"any_of": ["204"]}, {"any_of": ["report"]},
            ],
            "forbidden": ["(?:on|to) monday"],
        });
        let serde_json::Value::Object(data) = data else { unreachable!() };
        Item { id: "x".into(), level: None, template: None, good: vec![], bad: vec![], data, line: 3 }
    }

    fn score(text: &str) -> Score {
        let summary = Summary::new(&["email".into()], Some(16)).unwrap();
        summary.score(&item(), &["Budget meeting Friday 3 pm, room 204.".into()], text).unwrap()
    }

    #[test]
    fn four_of_five_facts_pass_if_the_required_one_is_among_them() {
        assert!(score("The budget meeting is on Friday at 3 pm in room 204.").pass);
        assert!(score("Budget meeting moved, not on Monday: Friday 3pm, room 204, bring the report.").pass);
        let without = score("The budget meeting is at 3 pm in room 204, bring the report.");
        assert_eq!((without.value, without.pass), (0.8, false));
        assert!(!score("The budget meeting is on Friday.").pass);
    }

    #[test]
    fn false_invented_and_overlong_summaries_fail() {
        for (text, part) in [
            ("Budget meeting on Friday at 3 pm in room 204, moved to Monday", "forbidden"),
            ("Budget meeting on Friday at 3 pm in room 204 with 12 people", "unsupported"),
            ("Budget meeting on Friday at 3 pm in room 204 and so on and on and on and on", "over_cap"),
        ] {
            let score = score(text);
            assert!(!score.pass && score.part(part) == Some(1.0), "{text}: {score:?}");
        }
    }

    #[test]
    fn an_item_may_have_a_cap_of_its_own() {
        let mut item = item();
        item.data.insert("max_words".into(), json!(5));
        let summary = Summary::new(&["email".into()], Some(16)).unwrap();
        let score = summary.score(&item, &[], "Budget meeting Friday 3 pm, room 204").unwrap();
        assert!(!score.pass && score.part("over_cap") == Some(1.0));
        assert_eq!(summary.trivial(&item).unwrap()[0].1, "Hi Ann, the budget meeting");
    }

    #[test]
    fn facts_behind_the_cap_are_not_read() {
        let text = item().data["email"].as_str().unwrap().to_owned();
        assert!(score(&text).value < 1.0);
        assert!(score(&"word ".repeat(20).replace("word", "the")).value == 0.0);
    }

    #[test]
    fn a_column_of_the_wrong_form_is_named_with_its_line() {
        let summary = Summary::new(&["email".into()], Some(16)).unwrap();
        for (key, value, wanted) in [
            ("facts", json!([{"any": ["x"]}]), "`facts`"),
            ("facts", json!([{"any_of": []}]), "needs a pattern"),
            ("facts", json!([{"any_of": ["x"], "weight": -1}]), "weight above 0"),
            ("facts", json!([]), "is missing"),
            ("forbidden", json!("x"), "`forbidden`"),
            ("max_words", json!("ten"), "`max_words`"),
            ("facts", json!([{"any_of": ["(open"]}]), "(open"),
        ] {
            let mut item = item();
            item.data.insert(key.into(), value);
            let message = summary.score(&item, &[], "text").unwrap_err().to_string();
            assert!(message.contains(wanted) && message.contains("item x"), "{message}");
        }
        assert!(Summary::new(&["email".into()], None).unwrap_err().contains("max_words"));
        assert!(Summary::new(&[], Some(3)).unwrap_err().contains("source"));
    }
}
