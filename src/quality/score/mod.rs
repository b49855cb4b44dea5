//! Scorers: from an answer to a number in [0, 1] and a pass. Deterministic; each is tested on every item's `good` and
//! `bad` answers.

mod choice;
mod claim;
mod exact_match;
mod facts;
mod fields;
mod grounding;
mod reply;
mod sql;
mod summary;

use super::QualityError;
use super::prompt::Gold;
use super::task::Item;
use super::task::wire::{WireMetric, WireScorer};

pub use choice::{confidence, mentioned, pick};
pub use exact_match::ExactMatch;
pub use fields::{FieldType, Fields};
pub use reply::Reply;
pub use sql::Sql;
pub use summary::Summary;

/// What a scorer says of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// In [0, 1].
    pub value: f64,
    /// Whether the item counts as solved.
    pub pass: bool,
    /// What else the scorer saw, by name: 1 or 0 for yes or no, counts, shares. Reported as means, decides nothing.
    pub parts: Vec<(&'static str, f64)>,
}

impl Score {
    /// All or nothing.
    #[must_use]
    pub fn binary(pass: bool) -> Self {
        Self { value: f64::from(u8::from(pass)), pass, parts: Vec::new() }
    }

    /// Adds a part.
    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: f64) -> Self {
        self.parts.push((name, value));
        self
    }

    /// A part by name.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<f64> {
        self.parts.iter().find(|part| part.0 == name).map(|part| part.1)
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
    /// Results of a query on several databases; column `db` of an item names which.
    Sql(Sql),
    /// Key facts of a summary; columns `facts` and `forbidden`.
    Summary(Summary),
    /// An answer to a customer; columns `facts`, `forbidden` and `escalate`.
    Reply(Reply),
}

impl ScorerKind {
    /// The scorer named under `tier: scorer: type`, else the one the first metric means.
    ///
    /// # Errors
    /// An unknown scorer or metric, or one that does not fit the output type.
    pub(crate) fn from_wire(
        scorer: Option<&WireScorer>,
        metric: Option<&WireMetric>,
        databases: Option<&str>,
        generates: bool,
    ) -> Result<Self, String> {
        let texts = |s: &WireScorer| (s.source.clone().unwrap_or_default(), s.max_words);
        let default = if generates { "exact_match" } else { "choice" };
        match (scorer.map_or(default, |s| s.kind.as_str()), generates) {
            ("choice", false) => Ok(Self::Choice),
            ("exact_match", true) => ExactMatch::from_wire(metric).map(Self::ExactMatch),
            ("fields", true) => {
                Fields::new(&scorer.and_then(|s| s.fields.clone()).unwrap_or_default()).map(Self::Fields)
            }
            ("sql", true) => {
                let databases = databases.ok_or("`databases` is missing: name the file with the databases' scripts")?;
                Sql::new(databases).map(Self::Sql).map_err(|reason| format!("databases: {reason}"))
            }
            ("summary", true) => {
                let (source, max_words) = scorer.map(texts).unwrap_or_default();
                Summary::new(&source, max_words).map(Self::Summary)
            }
            ("reply", true) => {
                let (source, max_words) = scorer.map(texts).unwrap_or_default();
                Reply::new(&source, max_words).map(Self::Reply)
            }
            (known @ ("choice" | "exact_match" | "fields" | "sql" | "summary" | "reply"), _) => {
                Err(format!("`{known}` does not fit output_type; use {default}"))
            }
            (other, _) => {
                Err(format!("unknown scorer `{other}`: use choice, exact_match, fields, sql, summary or reply"))
            }
        }
    }

    /// Name as in `task.yaml`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Choice => "choice",
            Self::ExactMatch(_) => "exact_match",
            Self::Fields(_) => "fields",
            Self::Sql(_) => "sql",
            Self::Summary(_) => "summary",
            Self::Reply(_) => "reply",
        }
    }

    /// Judges `answer`, the text after filters or the picked choice, against the item's right answer.
    ///
    /// # Errors
    /// A pattern of the task that explodes on this answer, or a column of the item the scorer cannot use.
    pub fn score(&self, item: &Item, gold: &Gold, choices: &[String], answer: &str) -> Result<Score, QualityError> {
        match (self, gold) {
            (_, Gold::Choice(index)) => {
                Ok(Score::binary(choices.get(*index).is_some_and(|right| right.trim() == answer.trim())))
            }
            (Self::Choice, Gold::Texts(texts)) => Ok(Score::binary(texts.iter().any(|text| text == answer))),
            (Self::ExactMatch(exact), Gold::Texts(texts)) => exact.score(texts, answer),
            (Self::Sql(sql), Gold::Texts(texts)) => {
                let database = item.data.get("db").and_then(serde_json::Value::as_str).unwrap_or_default();
                Ok(sql.score(database, texts, answer))
            }
            (Self::Summary(summary), Gold::Texts(texts)) => summary.score(item, texts, answer),
            (Self::Reply(reply), Gold::Texts(_)) => reply.score(item, answer),
            (Self::Fields(fields), Gold::Texts(texts)) => {
                Ok(texts.first().map_or(Score::binary(false), |right| fields.score(right, answer)))
            }
        }
    }

    /// Answers to this item that need no model, by name: baselines beside those every task has.
    ///
    /// # Errors
    /// A column of the item the scorer cannot use.
    pub(crate) fn trivial(&self, item: &Item) -> Result<Vec<(String, String)>, QualityError> {
        match self {
            Self::Summary(summary) => summary.trivial(item),
            Self::Reply(reply) => reply.trivial(item),
            Self::Fields(_) => Ok(vec![("empty JSON".into(), "{}".into())]),
            Self::Choice | Self::ExactMatch(_) | Self::Sql(_) => Ok(Vec::new()),
        }
    }
}
