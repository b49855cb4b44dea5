//! Results of other tools as records: the same tables, comparisons and pages, marked as imported.
//!
//! Only raw samples are taken over (`samples_ns` of llama-bench, the per-item results of lm-eval), and every number is
//! derived from them as from our own. What the other tool did not record stays unknown.

mod llama_bench;
mod lm_eval;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StoreError;
use super::canonical::sha256_hex;
use super::record::{BuildFacts, PlanFacts, RawRecord, Record, RunFacts};
use crate::cost::{Assumptions, PriceBook};
use crate::energy::IdleBaselines;
use crate::measure::host::HostFacts;

pub use lm_eval::{Judgement, METRICS};

/// Where an imported record comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// `llama-bench` or `lm-eval`.
    pub tool: String,
    /// Its build or version, if the file tells.
    pub version: Option<String>,
    /// Name of the file.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// What an import made.
#[derive(Clone, Debug)]
pub struct Import {
    /// The record, sealed.
    pub record: Record,
    /// Rows that have no place in a record, one line each.
    pub left_out: Vec<String>,
}

/// Reads the results of llama-bench (`-o json`, `-o jsonl`) or lm-eval (`results_*.json` with its samples beside it).
/// `None` if the file is neither.
///
/// # Errors
/// [`StoreError::Import`] for a file of one of them that cannot be taken over.
pub fn read(path: &Path, judgement: &Judgement) -> Result<Option<Import>, StoreError> {
    // A long export of a history is read line by line elsewhere.
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() > super::file::MAX_BYTES) {
        return Ok(None);
    }
    let text = super::file::read_text(path)?;
    let source = Source { path, sha256: sha256_hex(text.as_bytes()) };
    if let Some(rows) = llama_bench::rows(&text) {
        return llama_bench::import(&source, rows).map(Some);
    }
    match serde_json::from_str::<Value>(&text) {
        Ok(value) if value.get("results").is_some_and(Value::is_object) => {
            lm_eval::import(&source, &value, judgement).map(Some)
        }
        _ => Ok(None),
    }
}

/// The file an import reads.
struct Source<'a> {
    path: &'a Path,
    sha256: String,
}

impl Source<'_> {
    fn bad(&self, why: impl Into<String>) -> StoreError {
        StoreError::Import { path: self.path.to_owned(), why: why.into() }
    }

    /// An id that is the same whenever the same file is imported: its date and hash.
    fn run_id(&self, time: &str) -> String {
        let digits: String = time.chars().filter(char::is_ascii_digit).take(14).collect();
        match digits.split_at_checked(8) {
            Some((date, clock)) if clock.len() == 6 => format!("{date}-{clock}-{}", &self.sha256[..6]),
            _ => format!("imported-{}", &self.sha256[..12]),
        }
    }

    /// A record without tiers: the machine as far as the file tells, prices as assumed by default.
    fn raw(&self, tool: &str, version: Option<String>, started_at: String) -> Result<RawRecord, StoreError> {
        let book = PriceBook::embedded().map_err(|error| self.bad(error.to_string()))?;
        let cost = Assumptions::defaults(&book).map_err(|error| self.bad(error.to_string()))?;
        let file = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(RawRecord {
            run: RunFacts {
                id: self.run_id(&started_at),
                finished_at: Some(started_at.clone()),
                started_at,
                command: format!("tierbench history import {file}"),
                interrupted: false,
            },
            host: HostFacts { arch: "unknown".into(), ..HostFacts::default() },
            bandwidth: Vec::new(),
            idle: IdleBaselines::default(),
            build: BuildFacts::current(),
            plan: PlanFacts::default(),
            tasks: Vec::new(),
            tiers: Vec::new(),
            cost,
            cells: Vec::new(),
            prompts: Vec::new(),
            imported: Some(Imported { tool: tool.into(), version, file, sha256: self.sha256.clone() }),
            warnings: Vec::new(),
        })
    }
}
