//! History and published records.
//!
//! [`history::History`] is the SQLite file that outlives crashes: every cell is committed when it completes.
//! [`record::Record`] is what is published: raw samples and the numbers [`record::Record::derive`] computes from them.
//! [`verify::verify`] recomputes them and names the first one that differs.
//!
//! This room knows nothing of terminals, tables or the network.

pub mod canonical;
pub mod cell;
pub mod clock;
pub mod derive;
pub mod derived;
pub mod file;
pub(crate) mod findings;
pub mod history;
pub mod import;
mod migrations;
pub mod outline;
mod place;
pub mod prompts;
pub mod record;
pub mod signature;
pub(crate) mod validate;
pub mod verify;

use std::path::PathBuf;

/// What can go wrong with history and records.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file that cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// `read`, `write`, `create` …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A record larger than this program reads or writes.
    #[error("{path} is larger than {limit_mib} MiB, the most a record may be")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, MiB.
        limit_mib: u64,
    },
    /// Not JSON, or truncated.
    #[error("{path} is not complete JSON: {source}")]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// JSON, but not a record.
    #[error("{path} is not a tierbench record: {why}")]
    NotARecord {
        /// The file.
        path: PathBuf,
        /// What is missing or of the wrong type.
        why: String,
    },
    /// A signature that does not hold.
    #[error("signature {path} does not hold: {why}")]
    Signature {
        /// The signature's file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Another tool's results that cannot be taken over.
    #[error("cannot import {path}: {why}")]
    Import {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        why: String,
    },
    /// Written by a newer program.
    #[error("{path} has schema version {found}, this build reads up to {known}: update tierbench")]
    FutureRecord {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest this build reads.
        known: u32,
    },
    /// A record whose raw half contradicts itself or holds values no run can produce.
    #[error("bad record at {at}: {why}")]
    BadRecord {
        /// JSON path.
        at: String,
        /// What is wrong.
        why: String,
    },
    /// A value that cannot be written as JSON.
    #[error("cannot write the record as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The user's data directory is unknown.
    #[error("no data directory for this user: set TIERBENCH_DATA to a directory")]
    NoDataDir,
    /// The history was written by a newer program.
    #[error(
        "history {path} has version {found}, this build knows {known}: update tierbench or set TIERBENCH_DATA to \
         another directory"
    )]
    FutureHistory {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest this build knows.
        known: i64,
    },
    /// The file is not a database or is damaged.
    #[error("history {path} is damaged ({why}): move it away, or set TIERBENCH_DATA to another directory")]
    DamagedHistory {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        why: String,
    },
    /// No space left.
    #[error(
        "no space left for history {path}: free some, or set TIERBENCH_DATA to another disk; stored cells are intact"
    )]
    DiskFull {
        /// The database.
        path: PathBuf,
    },
    /// Another process holds the database for too long.
    #[error("history {path} is locked by another process for more than {seconds} s")]
    Locked {
        /// The database.
        path: PathBuf,
        /// How long this process waited.
        seconds: u64,
    },
    /// Any other error of SQLite.
    #[error("history {path}: {source}")]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
    /// `latest` of a history without a run that can be reported.
    #[error("the history has no run yet: `tierbench run` makes one")]
    NoRun,
    /// No such run.
    #[error("no run `{wanted}` in the history: `tierbench history` lists them")]
    UnknownRun {
        /// What the user named.
        wanted: String,
    },
    /// A prefix that several runs share.
    #[error("`{wanted}` is the beginning of {count} run ids: give more of it")]
    AmbiguousRun {
        /// What the user named.
        wanted: String,
        /// Runs that match.
        count: usize,
    },
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn bad(at: impl Into<String>, why: impl Into<String>) -> Self {
        Self::BadRecord { at: at.into(), why: why.into() }
    }
}
