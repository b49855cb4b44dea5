//! What can go wrong between a model's name and its bytes.

use std::path::{Path, PathBuf};

/// Errors of the model room. Every message is one line and names the file, key or flag and, where there is one, the fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Neither a file nor a name in the catalogue.
    #[error("no model or file named `{name}`{}", did_you_mean(.near))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest catalogue names, best first.
        near: Vec<String>,
    },
    /// The part of `name:level` behind the colon is not a level.
    #[error("`{spec}`: {source}")]
    Level {
        /// What was asked for.
        spec: String,
        /// Lists the known levels.
        source: crate::plan::PlanError,
    },
    /// A manifest that cannot be used.
    #[error("{path}: {message}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Key and fault.
        message: String,
    },
    /// No source gave the file.
    #[error("cannot get {what}: {}", reasons(.failures))]
    AllSources {
        /// Model and file.
        what: String,
        /// Each source in the order tried, and why it did not answer.
        failures: Vec<SourceFailure>,
    },
    /// The bytes are not the ones the manifest or the lock file names.
    #[error("{what}: sha256 is {got}, {recorded_in} says {expected}: {fix}")]
    HashMismatch {
        /// The file.
        what: String,
        /// Where the expected hash is recorded.
        recorded_in: String,
        /// Expected, lower-case hex.
        expected: String,
        /// Got, lower-case hex.
        got: String,
        /// What the user can do.
        fix: String,
    },
    /// The file is not a GGUF file.
    #[error("{path} is not a GGUF file: it begins with {begins}")]
    NotGguf {
        /// The file.
        path: PathBuf,
        /// Its first bytes, printable.
        begins: String,
    },
    /// A file of the cache cannot be read or written.
    #[error("cannot {action} {path}: {}", plain(.source))]
    Io {
        /// `read`, `write`, `create`, `rename` …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The lock file is not readable as one.
    #[error("{path} is damaged: {message}; remove it to have it rebuilt from the cached files")]
    LockFile {
        /// The lock file.
        path: PathBuf,
        /// What the parser said.
        message: String,
    },
    /// A GGUF file that cannot be used.
    #[error(transparent)]
    Gguf(#[from] super::gguf::GgufError),
    /// A vocabulary that cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] super::tokenizer::TokenizerError),
    /// A chat template that cannot be used, or does not take a chat.
    #[error(transparent)]
    Chat(#[from] super::chat::ChatError),
    /// A level that could not be made.
    #[error(transparent)]
    Quantize(#[from] super::quantize::QuantizeError),
    /// The platform names no cache directory.
    #[error("no cache directory: neither TIERBENCH_CACHE nor a home directory is set")]
    NoCacheDir,
    /// The platform names no configuration directory.
    #[error("no configuration directory: no home directory is set")]
    NoConfigDir,
    /// The user asked to stop.
    #[error("interrupted while {0}; what is on disk is kept and the next run resumes it")]
    Interrupted(String),
}

/// One source of a file that did not give it, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFailure {
    /// The source, e.g. `hf-hub Qwen/Qwen3-0.6B-GGUF`.
    pub source: String,
    /// Why not.
    pub reason: String,
}

impl ModelError {
    /// For `map_err`: what was being done to which file.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// The system's message, with the fix where the system's words do not carry it.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "the disk is full: free some space or point TIERBENCH_CACHE at another disk".to_owned()
        }
        std::io::ErrorKind::FileTooLarge => {
            "the file is larger than this process or file system allows (see `ulimit -f`)".to_owned()
        }
        _ => error.to_string(),
    }
}

fn did_you_mean(near: &[String]) -> String {
    if near.is_empty() {
        return ": `tierbench models list` shows the catalogue".to_owned();
    }
    let names: Vec<_> = near.iter().map(|name| format!("`{name}`")).collect();
    format!(": did you mean {}?", names.join(" or "))
}

fn reasons(failures: &[SourceFailure]) -> String {
    if failures.is_empty() {
        return "its manifest lists no source".to_owned();
    }
    failures.iter().map(|f| format!("{}: {}", f.source, f.reason)).collect::<Vec<_>>().join("; ")
}
