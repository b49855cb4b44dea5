//! What can go wrong in this room.

use std::path::PathBuf;

/// Errors of tasks, prompts, scorers and the evaluation loop. Each names the file, line or key and the fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QualityError {
    /// No task of that name.
    #[error("unknown task `{got}`: use one of {known}, or the path of a folder with a task.yaml")]
    UnknownTask {
        /// What the user wrote.
        got: String,
        /// Names there are, comma-separated.
        known: String,
    },
    /// A task file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// `read`, `write`, `create`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A task file larger than is sensible.
    #[error("{path} is {bytes} bytes, more than the {limit} a task file may have")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, bytes.
        bytes: u64,
        /// The limit, bytes.
        limit: u64,
    },
    /// YAML that cannot be parsed or has a key that does not exist or a value of the wrong type.
    #[error("{path}: {reason}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and column.
        reason: String,
    },
    /// An lm-eval feature this program does not have.
    #[error("{path}: `{key}` is not supported: {instead}")]
    UnsupportedKey {
        /// The file.
        path: PathBuf,
        /// The key or tag.
        key: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// A key whose value cannot be used.
    #[error("{path}: `{key}`: {reason}")]
    BadKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Why, and what would be right.
        reason: String,
    },
    /// A line of a data file that cannot be used.
    #[error("{path}:{line}: {reason}")]
    Item {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Why, naming the key.
        reason: String,
    },
    /// A task whose test split has no item.
    #[error("{path} has no items")]
    NoItems {
        /// The file.
        path: PathBuf,
    },
    /// A split whose data is nowhere.
    #[error("{path} has no data for split `{split}`: put {split}.jsonl (or .json, .csv, .parquet) there{fix}")]
    NoData {
        /// The task's folder.
        path: PathBuf,
        /// The split.
        split: String,
        /// What else would do.
        fix: String,
    },
    /// A template that does not compile or render.
    #[error("task `{task}`, `{key}`{item}: {reason}")]
    Template {
        /// Task name.
        task: String,
        /// `doc_to_text`, `doc_to_target`, `doc_to_choice`.
        key: &'static str,
        /// ` (item …)` or nothing.
        item: String,
        /// The template engine's words.
        reason: String,
    },
    /// A regular expression that does not compile or explodes on an answer.
    #[error("task `{task}`, pattern `{pattern}`: {reason}")]
    Pattern {
        /// Task name.
        task: String,
        /// The pattern.
        pattern: String,
        /// The regex engine's words.
        reason: String,
    },
    /// A column a scorer reads that it cannot use.
    #[error("item {item} (line {line}), `{key}`: {reason}")]
    BadColumn {
        /// Item id.
        item: String,
        /// Its line, from 1.
        line: usize,
        /// The column or key.
        key: &'static str,
        /// Why, and what would be right.
        reason: String,
    },
    /// An answer that cannot be held to its form.
    #[error("constrained decoding: {0}")]
    Constraint(String),
    /// A bar that anyone clears.
    #[error(
        "the bar {bar} is below what `{baseline}` reaches without a model ({reaches:.3}) on task `{task}`: \
         set --bar above it"
    )]
    BarBelowBaseline {
        /// Task name.
        task: String,
        /// The bar.
        bar: f64,
        /// Name of the trivial baseline.
        baseline: String,
        /// Its pass rate.
        reaches: f64,
    },
    /// Stored results that are not the beginning of this task's fixed order.
    #[error("stored results do not belong to this run: place {place} holds item `{got}`, expected `{expected}`")]
    ResumeMismatch {
        /// Place in the order, from 0.
        place: usize,
        /// Stored item id.
        got: String,
        /// Item id of the fixed order.
        expected: String,
    },
    /// A corpus too short for what was asked.
    #[error("corpus has {tokens} tokens; at least {needed} are needed for one chunk of --ctx {ctx}")]
    CorpusTooShort {
        /// Tokens it has.
        tokens: usize,
        /// Tokens needed.
        needed: usize,
        /// Chunk length.
        ctx: usize,
    },
    /// Two models that do not share a vocabulary cannot be compared token by token.
    #[error("{got} does not have the tokenizer of the base {base}: KL divergence needs the same vocabulary")]
    TokenizerMismatch {
        /// The file.
        got: String,
        /// The base file.
        base: String,
    },
    /// Tokenizer.
    #[error(transparent)]
    Model(Box<crate::model::ModelError>),
    /// Engine.
    #[error(transparent)]
    Engine(Box<crate::engine::EngineError>),
}

// Boxed, so that a result that is nearly always fine does not carry the largest error's size.
impl From<crate::model::ModelError> for QualityError {
    fn from(error: crate::model::ModelError) -> Self {
        Self::Model(Box::new(error))
    }
}

impl From<crate::engine::EngineError> for QualityError {
    fn from(error: crate::engine::EngineError) -> Self {
        Self::Engine(Box::new(error))
    }
}
