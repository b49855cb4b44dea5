//! Results of other tools as records: the same tables, comparisons and pages, marked as imported.
//!
//! Only raw samples are taken over (`samples_ns` of llama-bench and of our own `bench`, the per-item results of lm-eval),
//! and every number is derived from them as from our own. What the other tool did not record stays unknown.

mod fields;
mod llama_bench;
mod lm_eval;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StoreError;
use super::canonical::sha256_hex;
use super::record::{BuildFacts, PlanFacts, RawRecord, Record, RunFacts};
use crate::civil;
use crate::cost::{Assumptions, PriceBook};
use crate::energy::IdleBaselines;
use crate::measure::host::HostFacts;

pub use llama_bench::OWN_BENCH;
pub use lm_eval::{Judgement, METRICS};

/// What errors and records call standard input.
const STDIN: &str = "standard input";

/// Where an imported record comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// `llama-bench`, `lm-eval` or [`OWN_BENCH`].
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
    /// Rows and tasks that have no place in a record, one line each.
    pub left_out: Vec<String>,
}

impl Import {
    /// Whether `stored` is what this import makes: of the same file, with the same settings. Another build of this program
    /// may have sealed it, so the hash of the record does not tell.
    #[must_use]
    pub fn is_the_same_as(&self, stored: &Record) -> bool {
        let (ours, theirs) = (&self.record.raw, &stored.raw);
        let hash = |imported: &Option<Imported>| imported.as_ref().map(|from| from.sha256.clone());
        hash(&ours.imported) == hash(&theirs.imported) && ours.cells == theirs.cells && ours.tasks == theirs.tasks
    }
}

/// Reads the results of llama-bench or `tierbench bench` (`-o json`, `-o jsonl`), or of lm-eval (`results_*.json` with its
/// samples beside it). `None` if the file is neither.
///
/// # Errors
/// [`StoreError::Import`] for a file of one of them that cannot be taken over.
pub fn read(path: &Path, judgement: &Judgement) -> Result<Option<Import>, StoreError> {
    parse(&super::file::read_text(path)?, Some(path), judgement)
}

/// [`read`] for a text that is in memory; `path` is `None` for standard input, which has nothing beside it.
///
/// # Errors
/// See [`read`].
pub fn parse(text: &str, path: Option<&Path>, judgement: &Judgement) -> Result<Option<Import>, StoreError> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let Some(Ok(first)) = values.next() else { return Ok(None) };
    let source =
        Source { path: path.unwrap_or_else(|| Path::new(STDIN)), is_file: path.is_some(), sha256: String::new() };
    let source = || Source { sha256: sha256_hex(text.as_bytes()), ..source };
    match first {
        Value::Array(rows) if rows.first().is_some_and(llama_bench::is_row) => {
            llama_bench::import(&source(), &rows).map(Some)
        }
        row if llama_bench::is_row(&row) => {
            let source = source();
            let rest: Result<Vec<Value>, _> = values.collect();
            let mut rows = rest.map_err(|error| source.bad(format!("a row is not complete JSON: {error}")))?;
            rows.insert(0, row);
            llama_bench::import(&source, &rows).map(Some)
        }
        value if value.get("results").is_some_and(Value::is_object) => {
            lm_eval::import(&source(), &value, judgement).map(Some)
        }
        value if lm_eval::is_sample(&value) => Err(source().bad(
            "these are the samples of one lm-eval task: give the results_*.json beside them, which names the model",
        )),
        _ => Ok(None),
    }
}

/// The file an import reads.
#[derive(Clone)]
struct Source<'a> {
    path: &'a Path,
    is_file: bool,
    sha256: String,
}

impl Source<'_> {
    fn bad(&self, why: impl Into<String>) -> StoreError {
        StoreError::Import { path: self.path.to_owned(), why: why.into() }
    }

    /// An id that is the same whenever the same file is imported with the same `settings`: its date and a hash.
    fn run_id(&self, started_at: &str, settings: &str) -> String {
        let hash = match settings {
            "" => self.sha256.clone(),
            settings => sha256_hex(format!("{}\n{settings}", self.sha256).as_bytes()),
        };
        let digits: String = started_at.chars().filter(char::is_ascii_digit).collect();
        match digits.split_at_checked(8) {
            Some((date, clock)) => format!("{date}-{clock}-{}", &hash[..6]),
            None => format!("imported-{}", &hash[..12]),
        }
    }

    /// A record without tiers: the machine as far as the file tells, prices as assumed by default. `started` and `finished`
    /// are seconds since 1970; a moment the file does not tell is empty.
    fn raw(
        &self,
        tool: &str,
        version: Option<String>,
        [started, finished]: [Option<i64>; 2],
    ) -> Result<RawRecord, StoreError> {
        let book = PriceBook::embedded().map_err(|error| self.bad(error.to_string()))?;
        let cost = Assumptions::defaults(&book).map_err(|error| self.bad(error.to_string()))?;
        let file = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let started_at = moment(started);
        Ok(RawRecord {
            run: RunFacts {
                id: self.run_id(&started_at, ""),
                finished_at: Some(moment(finished)),
                started_at,
                command: format!("tierbench history import {}", if self.is_file { &file } else { "-" }),
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

    /// Seals the record. A path inside it would mean nothing to who has only the file.
    fn seal(&self, raw: RawRecord) -> Result<Record, StoreError> {
        Record::from_raw(raw).map_err(|error| match error {
            StoreError::BadRecord { why, .. } => self.bad(why),
            other => other,
        })
    }
}

/// RFC 3339 of the years a person would call a date, empty if unknown: what sorts as text sorts as time.
fn moment(seconds: Option<i64>) -> String {
    seconds.map(civil::rfc3339).filter(|text| civil::seconds(text).is_some()).unwrap_or_default()
}
