//! Raw data as rows: one per timed trial or graded item. Every statistic of a record is a function of these.

use serde::Serialize;

use super::ReportError;
use crate::quality::FinishReason;
use crate::store::cell::{Outcome, Subject};
use crate::store::record::Record;

/// Fields of a [`TrialRow`].
pub const TRIAL: &[&str] = &["tier", "test", "block", "order", "elapsed_ns", "tokens", "tok_per_s"];

/// Fields of an [`ItemRow`].
pub const ITEM: &[&str] = &[
    "task",
    "item",
    "tier",
    "score",
    "pass",
    "answer",
    "raw",
    "confidence",
    "prompt_tokens",
    "cached_tokens",
    "gen_tokens",
    "ms",
    "joules",
    "finish_reason",
];

/// One timed trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialRow<'a> {
    /// Tier.
    pub tier: &'a str,
    /// Workload, e.g. `tg128 @ d4096`.
    pub test: String,
    /// Interleaved block.
    pub block: u32,
    /// Position in the run.
    pub order: u32,
    /// Timed span, ns.
    pub elapsed_ns: u64,
    /// Tokens in it.
    pub tokens: u64,
    /// Rate, tokens/s.
    pub tok_per_s: Option<f64>,
}

/// One graded item.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ItemRow<'a> {
    /// Task.
    pub task: &'a str,
    /// Item id.
    pub item: &'a str,
    /// Tier.
    pub tier: &'a str,
    /// Score.
    pub score: f64,
    /// Whether it passed.
    pub pass: bool,
    /// Extracted answer.
    pub answer: Option<&'a str>,
    /// What the model wrote.
    pub raw: Option<&'a str>,
    /// Confidence signal.
    pub confidence: Option<f64>,
    /// Tokens of the prompt; this and what follows is unknown where another tool graded the item and did not tell.
    pub prompt_tokens: Option<u32>,
    /// Those reused from the prefix all items share.
    pub cached_tokens: Option<u32>,
    /// Tokens generated.
    pub gen_tokens: Option<u32>,
    /// Time, ms.
    pub ms: Option<f64>,
    /// Energy, J.
    pub joules: Option<f64>,
    /// Why the answer ended.
    pub finish_reason: FinishReason,
}

/// All trials of a record.
#[must_use]
pub fn trials(record: &Record) -> Vec<TrialRow<'_>> {
    let mut rows = Vec::new();
    for cell in &record.raw.cells {
        let (Subject::Workload(workload), Outcome::Speed(trials)) = (&cell.subject, &cell.outcome) else { continue };
        rows.extend(trials.samples.iter().map(|sample| TrialRow {
            tier: &cell.tier.0,
            test: workload.to_string(),
            block: sample.block,
            order: sample.order,
            elapsed_ns: sample.elapsed_ns,
            tokens: sample.tokens,
            tok_per_s: sample.rate(),
        }));
    }
    rows
}

/// All items of a record.
#[must_use]
pub fn items(record: &Record) -> Vec<ItemRow<'_>> {
    let mut rows = Vec::new();
    for cell in &record.raw.cells {
        let (Subject::Task(task), Outcome::Task(results)) = (&cell.subject, &cell.outcome) else { continue };
        rows.extend(results.items.iter().map(|item| ItemRow {
            task,
            item: &item.item,
            tier: &cell.tier.0,
            score: item.score,
            pass: item.pass,
            answer: item.answer.as_deref(),
            raw: item.raw.as_deref(),
            confidence: item.confidence,
            prompt_tokens: item.is_counted().then_some(item.n_prompt_tokens),
            cached_tokens: item.is_counted().then_some(item.n_cached_tokens),
            gen_tokens: item.is_counted().then_some(item.n_gen_tokens),
            ms: item.ms(),
            joules: item.joules,
            finish_reason: item.finish_reason,
        }));
    }
    rows
}

/// One JSON object per line.
///
/// # Errors
/// [`ReportError::Json`].
pub fn jsonl<T: Serialize>(rows: &[T]) -> Result<String, ReportError> {
    let mut out = String::new();
    for row in rows {
        out.push_str(&serde_json::to_string(row)?);
        out.push('\n');
    }
    Ok(out)
}

/// CSV with a header; text is written as it is, for programs rather than spreadsheets.
///
/// # Errors
/// [`ReportError::Csv`].
pub fn csv<T: Serialize>(rows: &[T]) -> Result<String, ReportError> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    let bytes = writer.into_inner().map_err(|error| ::csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
