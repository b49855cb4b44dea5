//! A task: data set, prompt, scorer and bar, read from a folder and checked.
//!
//! The folder holds `task.yaml` (lm-eval's keys plus `tier:`), `items.jsonl`, `shots.jsonl` and `SOURCE.md`; rows may
//! also come as CSV or Parquet, per split, or from a data set of the hub. A data file alone is a task, too. What this
//! module returns is complete and consistent: every template compiles, every item renders, every gold answer exists.

mod assemble;
mod bare;
#[cfg_attr(not(feature = "parquet"), path = "columnar_absent.rs")]
mod columnar;
mod embedded;
mod files;
mod item;
mod load;
mod rows;
pub(crate) mod wire;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::filter::Pipeline;
use super::score::ScorerKind;

pub use item::Item;
pub use load::{find, names, user_dir};
pub use rows::{MAX_ITEMS, MAX_LINE};

/// What kind of work a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One of a few labels.
    Classification,
    /// Fields out of a document.
    Extraction,
    /// A short text that keeps the facts.
    Summarization,
    /// SQL from a question.
    CodeSql,
    /// An answer to a customer that follows a policy.
    Support,
    /// Anything else.
    Other,
}

/// How the answer is got: part of the tier, because it changes cost and quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decode {
    /// Each choice's likelihood is computed; the best one is the answer.
    Loglikelihood,
    /// Greedy text that can only become one of the choices, or JSON of the task's schema.
    Constrained,
    /// Greedy text.
    Free,
}

impl Decode {
    /// Name as in `task.yaml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loglikelihood => "loglikelihood",
            Self::Constrained => "constrained",
            Self::Free => "free",
        }
    }
}

/// How a choice's log-likelihood is made comparable with the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// As it is (lm-eval's `acc`).
    None,
    /// Per character (lm-eval's `acc_norm`).
    Char,
    /// Per UTF-8 byte (lm-eval's `acc_bytes`).
    Byte,
    /// Minus the choice's log-likelihood after an item that says nothing: removes the model's liking for a label.
    Contextual,
}

/// What a bar is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BarMetric {
    /// Share of items solved.
    PassRate,
    /// Mean score of all items.
    MeanScore,
}

/// The quality a task demands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// In what.
    pub metric: BarMetric,
    /// At least this, in (0, 1).
    pub min: f64,
}

/// Where a task's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the binary.
    Embedded,
    /// In this folder (or this one YAML file).
    Folder(PathBuf),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded => f.write_str("built in"),
            Self::Folder(path) => path.display().fmt(f),
        }
    }
}

/// `doc_to_target`: where the gold answer is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TargetSource {
    /// A column name or a template.
    Text(String),
    /// The same choice for every item.
    Index(usize),
    /// The same accepted answers for every item.
    Texts(Vec<String>),
}

/// `doc_to_choice`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ChoiceSource {
    /// One template per choice.
    List(Vec<String>),
    /// A column name or one expression that gives a list.
    Expression(String),
}

/// Prompt text around the items, in lm-eval's terms.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PromptSource {
    pub(crate) description: String,
    pub(crate) doc_to_text: String,
    pub(crate) doc_to_target: TargetSource,
    pub(crate) doc_to_choice: Option<ChoiceSource>,
    pub(crate) target_delimiter: String,
    pub(crate) fewshot_delimiter: String,
    pub(crate) gen_prefix: String,
}

/// How long an answer may be and where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Strings that end the answer; they are not part of it.
    pub until: Vec<String>,
    /// Tokens an answer may have.
    pub max_gen_toks: u32,
}

/// What is asked of the model.
#[derive(Clone, Debug)]
pub enum Output {
    /// Likelihood of each choice.
    Choice {
        /// How choices are compared.
        normalize: Normalize,
        /// Columns of an item that says nothing, for [`Normalize::Contextual`].
        content_free: Option<Map<String, Value>>,
    },
    /// Text.
    Generate {
        /// Limits.
        generation: Generation,
        /// Filters from text to answer.
        pipeline: Pipeline,
    },
}

/// A task, complete and checked.
#[derive(Clone, Debug)]
pub struct Task {
    /// Name.
    pub name: String,
    /// `metadata.version`.
    pub version: Option<String>,
    /// What kind of work.
    pub kind: Kind,
    /// How answers are got.
    pub decode: Decode,
    /// The default bar, if the task states one.
    pub bar: Option<Bar>,
    /// Error bound of a wrong CLEARS the task states.
    pub alpha: Option<f64>,
    /// String that marks the data for training filters.
    pub canary: Option<String>,
    /// JSON schema of answers, for [`Decode::Constrained`].
    pub schema: Option<Value>,
    /// What is asked.
    pub output: Output,
    /// Who judges.
    pub scorer: ScorerKind,
    /// Worked examples of the prompt, in order.
    pub shots: Vec<Item>,
    /// The items, in file order.
    pub items: Vec<Item>,
    /// SHA-256 over task.yaml, shots and items, hex: what "the same task" means.
    pub sha256: String,
    /// Where it was read from.
    pub origin: Origin,
    pub(crate) prompt: PromptSource,
}

impl Task {
    /// Loads a task by name (a user's folder first, then the built-in ones) or by the path of its folder or YAML file.
    ///
    /// # Errors
    /// Unknown name, unreadable file, an unsupported or wrong key, a bad item; each names the place.
    pub fn load(spec: &str) -> Result<Self, super::QualityError> {
        load::task(spec)
    }

    /// The rows of a data file, in any format that can be read.
    ///
    /// # Errors
    /// A file or row that cannot be read.
    pub fn rows(path: &std::path::Path) -> Result<Vec<Map<String, Value>>, super::QualityError> {
        Ok(rows::read(path, &files::read(path)?)?.into_iter().map(|row| row.data).collect())
    }

    /// Splits of a hub data set that [`Task::load`] would miss: neither in the task's folder nor in the cache.
    ///
    /// # Errors
    /// Unknown name, a task file that cannot be read.
    pub fn hub_splits(spec: &str) -> Result<Vec<crate::model::dataset::Split>, super::QualityError> {
        load::hub_splits(spec)
    }

    /// Ways this task's answers can be got.
    #[must_use]
    pub fn modes(&self) -> Vec<Decode> {
        match (&self.output, &self.schema) {
            (Output::Choice { .. }, _) => vec![Decode::Loglikelihood, Decode::Constrained, Decode::Free],
            (Output::Generate { .. }, Some(_)) => vec![Decode::Constrained, Decode::Free],
            (Output::Generate { .. }, None) => vec![Decode::Free],
        }
    }
}

#[cfg(test)]
mod tests;
