//! Scorers: from an answer to a number in [0, 1] and a pass. Deterministic; each is tested on every item's `good` and
//! `bad` answers.

mod choice;
mod exact_match;
mod fields;

use super::QualityError;
use super::prompt::Gold;
use super::task::Item;
use super::task::wire::{WireMetric, WireScorer};

pub use choice::{confidence, pick};
pub use exact_match::ExactMatch;
pub use fields::{FieldType, Fields};

/// What a scorer says of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// In [0, 1].
    pub value: f64,
    /// Whether the item counts as solved.
    pub pass: bool,
}

impl Score {
    /// All or nothing.
    #[must_use]
    pub fn binary(pass: bool) -> Self {
        Self { value: f64::from(u8::from(pass)), pass }
    }
}

/// The scorer of a task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ScorerKind {
    /// The right choice was picked.
    Choice,
    /// The answer is one of the right texts.
    ExactMatch(ExactMatch),
    /// Typed fields of a JSON object.
    Fields(Fields),
}

impl ScorerKind {
    /// The scorer named under `tier: scorer: type`, else the one the first metric means.
    ///
    /// # Errors
    /// An unknown scorer or metric, or one that does not fit the output type.
    pub(crate) fn from_wire(
        scorer: Option<&WireScorer>,
        metric: Option<&WireMetric>,
        generates: bool,
    ) -> Result<Self, String> {
        let default = if generates { "exact_match" } else { "choice" };
        match (scorer.map_or(default, |s| s.kind.as_str()), generates) {
            ("choice", false) => Ok(Self::Choice),
            ("exact_match", true) => ExactMatch::from_wire(metric).map(Self::ExactMatch),
            ("fields", true) => {
                Fields::new(&scorer.and_then(|s| s.fields.clone()).unwrap_or_default()).map(Self::Fields)
            }
            (known @ ("choice" | "exact_match" | "fields"), _) => {
                Err(format!("`{known}` does not fit output_type; use {default}"))
            }
            (other, _) => Err(format!("unknown scorer `{other}`: use choice, exact_match or fields")),
        }
    }

    /// Name as in `task.yaml`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Choice => "choice",
            Self::ExactMatch(_) => "exact_match",
            Self::Fields(_) => "fields",
        }
    }

    /// Judges `answer`, the text after filters or the picked choice, against the item's right answer.
    ///
    /// # Errors
    /// A pattern of the task that explodes on this answer.
    pub fn score(&self, _item: &Item, gold: &Gold, choices: &[String], answer: &str) -> Result<Score, QualityError> {
        match (self, gold) {
            (_, Gold::Choice(index)) => {
                Ok(Score::binary(choices.get(*index).is_some_and(|right| right.trim() == answer.trim())))
            }
            (Self::Choice, Gold::Texts(texts)) => Ok(Score::binary(texts.iter().any(|text| text == answer))),
            (Self::ExactMatch(exact), Gold::Texts(texts)) => exact.score(texts, answer),
            (Self::Fields(fields), Gold::Texts(texts)) => {
                Ok(texts.first().map_or(Score::binary(false), |right| fields.score(right, answer)))
            }
        }
    }
}
