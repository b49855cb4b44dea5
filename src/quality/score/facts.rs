//! The columns that say what a text must and must not contain: `facts`, `forbidden`, `escalate`.

use serde::Deserialize;
use serde_json::Value;

use super::claim::Patterns;
use crate::quality::QualityError;
use crate::quality::task::Item;

/// One thing the text should say.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fact {
    /// Patterns any of which says it.
    any_of: Vec<String>,
    /// What it counts for.
    #[serde(default = "one")]
    weight: f64,
    /// Whether nothing makes up for its absence.
    #[serde(default)]
    required: bool,
    /// Whether a denial in front undoes it: for claims (`is free`), not for things that need only be named (`30 days`).
    #[serde(default)]
    asserted: bool,
}

fn one() -> f64 {
    1.0
}

/// What an item demands of a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Demands {
    facts: Vec<Fact>,
    forbidden: Vec<String>,
    /// Whether the text must (`true`) or must not (`false`) hand the matter over.
    pub(super) escalate: Option<bool>,
}

/// How far a text meets an item's demands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Met {
    /// Weight of the facts it says / weight of all; 1 without facts.
    pub(super) recall: f64,
    /// Whether it says every required fact.
    pub(super) required: bool,
    /// Forbidden claims it makes.
    pub(super) forbidden: usize,
}

impl Demands {
    /// Reads the item's columns.
    ///
    /// # Errors
    /// [`QualityError::BadColumn`] for a column of the wrong form, or for an item that demands nothing.
    pub(super) fn of(item: &Item) -> Result<Self, QualityError> {
        let bad = |key: &'static str, reason: String| QualityError::BadColumn {
            item: item.id.clone(),
            line: item.line,
            key,
            reason,
        };
        let column = |key: &str| item.data.get(key).cloned().filter(|value| !value.is_null());
        let list = || Value::Array(Vec::new());
        let facts: Vec<Fact> = serde_json::from_value(column("facts").unwrap_or_else(list)).map_err(|error| {
            bad("facts", format!("must be a list of {{any_of, weight, required, asserted}}: {error}"))
        })?;
        if let Some(fact) = facts.iter().find(|f| f.any_of.is_empty() || !(f.weight > 0.0 && f.weight.is_finite())) {
            return Err(bad("facts", format!("a fact needs a pattern and a weight above 0: {fact:?}")));
        }
        let forbidden = serde_json::from_value(column("forbidden").unwrap_or_else(list))
            .map_err(|error| bad("forbidden", format!("must be a list of patterns: {error}")))?;
        let escalate = column("escalate")
            .map(|value| value.as_bool().ok_or_else(|| bad("escalate", format!("must be true or false, got {value}"))))
            .transpose()?;
        let demands = Self { facts, forbidden, escalate };
        if demands.facts.is_empty() && demands.escalate != Some(true) {
            return Err(bad("facts", "is missing: say what an answer must contain".into()));
        }
        Ok(demands)
    }

    /// Compares a text, already made [plain](super::claim::plain), with the demands.
    ///
    /// # Errors
    /// A pattern that does not compile or explodes.
    pub(super) fn met(&self, patterns: &Patterns, item: &Item, text: &str) -> Result<Met, QualityError> {
        let whose = format!("item {}", item.id);
        let (mut said, mut total, mut required) = (0.0, 0.0, true);
        for fact in &self.facts {
            let mut hit = false;
            for pattern in &fact.any_of {
                hit = hit || patterns.finds(&whose, pattern, text, fact.asserted)?;
            }
            total += fact.weight;
            said += if hit { fact.weight } else { 0.0 };
            required &= hit || !fact.required;
        }
        let mut forbidden = 0;
        for pattern in &self.forbidden {
            forbidden += usize::from(patterns.finds(&whose, pattern, text, true)?);
        }
        Ok(Met { recall: if total > 0.0 { said / total } else { 1.0 }, required, forbidden })
    }
}

/// The text of the columns an answer may draw on.
pub(super) fn source(item: &Item, columns: &[String]) -> Result<String, QualityError> {
    let mut text = String::new();
    for column in columns {
        let value = item.data.get(column).ok_or_else(|| QualityError::BadColumn {
            item: item.id.clone(),
            line: item.line,
            key: "tier.scorer.source",
            reason: format!("names column `{column}`, which the item does not have"),
        })?;
        text.push_str(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        text.push('\n');
    }
    Ok(text)
}
