//! One row per cell (a tier on a workload or task): unrounded numbers, units in the column names. What CSV, JSONL and
//! Parquet hold.

use serde_json::Value;

use super::one_line;
use crate::store::cell::{Cell, Outcome, Subject};
use crate::store::derived::EnergyNumbers;
use crate::store::record::Record;
use crate::units::Interval;

/// Names of the columns. Columns are only ever added at the end.
pub(super) const HEADER: &[&str] = &[
    "run_id",
    "tier",
    "model",
    "level",
    "requantized_from",
    "engine",
    "device",
    "n_threads",
    "model_bytes",
    "peak_rss_bytes",
    "cell",
    "n_prompt",
    "n_gen",
    "n_depth",
    "n_batch_seqs",
    "trials",
    "tok_per_s",
    "tok_per_s_lo",
    "tok_per_s_hi",
    "tok_per_s_mean",
    "tok_per_s_stddev",
    "j_per_token",
    "j_per_token_lo",
    "j_per_token_hi",
    "energy_trust",
    "energy_source",
    "usd_per_mtok",
    "usd_per_mtok_lo",
    "usd_per_mtok_hi",
    "items",
    "passes",
    "pass_rate",
    "pass_rate_lo",
    "pass_rate_hi",
    "s_per_item",
    "j_per_item",
    "usd_per_item",
    "usd_per_1k_solved",
    "usd_per_1k_solved_lo",
    "usd_per_1k_solved_hi",
    "verdict",
    "error",
];

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Field {
    /// Nothing is known, or the column is not about this cell.
    Unknown,
    /// A name or message, on one line.
    Text(String),
    /// A count.
    Count(u64),
    /// A finite number.
    Number(f64),
}

impl Field {
    fn text(text: &str) -> Self {
        Self::Text(one_line(text))
    }

    fn number(value: Option<f64>) -> Self {
        value.filter(|x| x.is_finite()).map_or(Self::Unknown, Self::Number)
    }

    fn count(value: Option<u64>) -> Self {
        value.map_or(Self::Unknown, Self::Count)
    }

    /// As JSON; unknown is null.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Unknown => Value::Null,
            Self::Text(text) => Value::from(text.as_str()),
            Self::Count(n) => Value::from(*n),
            Self::Number(x) => Value::from(*x),
        }
    }

    /// As a cell of a spreadsheet; unknown is empty, and text is never run as a formula: names and errors come from files.
    pub(super) fn csv(&self) -> String {
        match self {
            Self::Unknown => String::new(),
            Self::Text(text) if text.starts_with(['=', '+', '-', '@']) => format!("'{text}"),
            Self::Text(text) => text.clone(),
            Self::Count(n) => n.to_string(),
            Self::Number(x) => x.to_string(),
        }
    }
}

/// The rows of a record, in the order the cells finished.
pub(super) fn rows(record: &Record) -> Vec<Vec<Field>> {
    record.raw.cells.iter().map(|cell| row(record, cell)).collect()
}

fn row(record: &Record, cell: &Cell) -> Vec<Field> {
    let facts = record.tier(&cell.tier);
    let tier = facts.map(|facts| &facts.tier);
    let text = |text: Option<&str>| text.map_or(Field::Unknown, Field::text);
    let mut row = vec![
        Field::text(&record.raw.run.id),
        Field::text(&cell.tier.0),
        text(tier.map(|t| t.model.as_str())),
        text(tier.and_then(|t| t.level.as_deref())),
        text(facts.and_then(|f| f.model.requantized_from.as_deref())),
        text(tier.map(|t| t.engine.as_str())),
        text(tier.map(|t| t.device.as_str())),
        Field::count(tier.map(|t| t.n_threads.into())),
        Field::count(facts.and_then(|f| f.model.bytes)),
        Field::count(record.derived.tier_of(&cell.tier).and_then(|t| t.peak_rss_bytes)),
        Field::text(&cell.subject.to_string()),
    ];
    row.extend(speed(record, cell));
    row.extend(task(record, cell));
    row.push(text(cell.error()));
    row
}

/// Columns from `n_prompt` to `usd_per_mtok_hi`.
fn speed(record: &Record, cell: &Cell) -> [Field; 18] {
    let Subject::Workload(workload) = &cell.subject else { return [const { Field::Unknown }; 18] };
    let numbers = record.derived.speed_of(&cell.tier, workload);
    let [n_prompt, n_gen, n_depth, n_batch_seqs] =
        [workload.n_prompt, workload.n_gen, workload.n_depth, workload.n_batch_seqs].map(|n| Field::Count(n.into()));
    let [lo, hi] = ends(numbers.and_then(|n| n.interval));
    let [joules, joules_lo, joules_hi, trust, source] = energy(numbers.and_then(|n| n.energy.as_ref()));
    let [usd, usd_lo, usd_hi] = cost(record, cell, workload);
    [
        n_prompt,
        n_gen,
        n_depth,
        n_batch_seqs,
        Field::count(numbers.map(|n| n.n)),
        Field::number(numbers.and_then(|n| n.median)),
        lo,
        hi,
        Field::number(numbers.and_then(|n| n.mean)),
        Field::number(numbers.and_then(|n| n.stddev)),
        joules,
        joules_lo,
        joules_hi,
        trust,
        source,
        usd,
        usd_lo,
        usd_hi,
    ]
}

fn energy(energy: Option<&EnergyNumbers>) -> [Field; 5] {
    let Some(energy) = energy else { return [const { Field::Unknown }; 5] };
    let (trust, source) = (Field::text(energy.trust.name()), Field::text(&energy.source));
    [Field::number(energy.total), Field::number(energy.lo), Field::number(energy.hi), trust, source]
}

/// Price of a million tokens of this kind, on the row of the workload it rests on.
fn cost(record: &Record, cell: &Cell, workload: &crate::plan::Workload) -> [Field; 3] {
    let tier = record.derived.tier_of(&cell.tier);
    let cost: Option<Interval> = tier.and_then(|tier| {
        if tier.prefill == Some(*workload) {
            tier.cost.usd_per_mtok_in.map(|parts| parts.total)
        } else if tier.decode == Some(*workload) {
            tier.cost.usd_per_mtok_out.map(|parts| parts.total)
        } else {
            None
        }
    });
    let [lo, hi] = ends(cost);
    [Field::number(cost.map(|cost| cost.value)), lo, hi]
}

/// Columns from `items` to `verdict`.
fn task(record: &Record, cell: &Cell) -> [Field; 12] {
    const NONE: [Field; 12] = [const { Field::Unknown }; 12];
    let (Subject::Task(name), Outcome::Task(_)) = (&cell.subject, &cell.outcome) else { return NONE };
    let Some(numbers) = record.derived.task_of(&cell.tier, name) else { return NONE };
    let [rate_lo, rate_hi] = ends(numbers.pass_rate);
    let [cost_lo, cost_hi] = ends(numbers.cost.usd_per_1k_solved);
    [
        Field::Count(numbers.items),
        Field::Count(numbers.passes),
        Field::number(numbers.pass_rate.map(|rate| rate.value)),
        rate_lo,
        rate_hi,
        Field::number(numbers.seconds_per_item),
        Field::number(numbers.energy.as_ref().and_then(|energy| energy.total)),
        Field::number(numbers.cost.usd_per_item.map(|cost| cost.value)),
        Field::number(numbers.cost.usd_per_1k_solved.map(|cost| cost.value)),
        cost_lo,
        cost_hi,
        Field::text(numbers.verdict().name()),
    ]
}

fn ends(interval: Option<Interval>) -> [Field; 2] {
    [Field::number(interval.map(|i| i.lo)), Field::number(interval.map(|i| i.hi))]
}
