//! CSV: one row per tier and workload or task, unrounded numbers, units in the column names, empty for unknown.

use super::{Format, ReportError, one_line};
use crate::store::cell::{Cell, Outcome, Subject};
use crate::store::derived::EnergyNumbers;
use crate::store::record::Record;
use crate::units::Interval;

/// Comma-separated values with a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Csv;

/// The header. Columns are only ever added at the end.
const HEADER: &[&str] = &[
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

impl Format for Csv {
    fn render(&self, record: &Record) -> Result<String, ReportError> {
        let mut writer = ::csv::Writer::from_writer(Vec::new());
        writer.write_record(HEADER)?;
        for cell in &record.raw.cells {
            writer.write_record(row(record, cell))?;
        }
        let bytes = writer.into_inner().map_err(|error| ::csv::Error::from(error.into_error()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn row(record: &Record, cell: &Cell) -> Vec<String> {
    let facts = record.tier(&cell.tier);
    let tier = facts.map(|facts| &facts.tier);
    let mut row = vec![
        record.raw.run.id.clone(),
        text(&cell.tier.0),
        tier.map(|t| text(&t.model)).unwrap_or_default(),
        tier.and_then(|t| t.level.as_deref().map(text)).unwrap_or_default(),
        facts.and_then(|f| f.model.requantized_from.as_deref().map(text)).unwrap_or_default(),
        tier.map(|t| text(&t.engine)).unwrap_or_default(),
        tier.map(|t| text(&t.device)).unwrap_or_default(),
        tier.map(|t| t.n_threads.to_string()).unwrap_or_default(),
        facts.map(|f| f.model.bytes.to_string()).unwrap_or_default(),
        record.derived.tier_of(&cell.tier).and_then(|t| t.peak_rss_bytes).map(|b| b.to_string()).unwrap_or_default(),
        text(&cell.subject.to_string()),
    ];
    row.extend(speed(record, cell));
    row.extend(task(record, cell));
    row.push(cell.error().map(text).unwrap_or_default());
    row
}

/// 18 columns from `n_prompt` to `usd_per_mtok_hi`.
fn speed(record: &Record, cell: &Cell) -> Vec<String> {
    let Subject::Workload(workload) = &cell.subject else { return vec![String::new(); 18] };
    let numbers = record.derived.speed_of(&cell.tier, workload);
    let mut row: Vec<String> =
        [workload.n_prompt, workload.n_gen, workload.n_depth, workload.n_batch_seqs].map(|n| n.to_string()).into();
    row.push(numbers.map(|n| n.n.to_string()).unwrap_or_default());
    row.push(number(numbers.and_then(|n| n.median)));
    row.extend(ends(numbers.and_then(|n| n.interval)));
    row.push(number(numbers.and_then(|n| n.mean)));
    row.push(number(numbers.and_then(|n| n.stddev)));
    row.extend(energy(numbers.and_then(|n| n.energy.as_ref())));
    row.extend(cost(record, cell, workload));
    row
}

fn energy(energy: Option<&EnergyNumbers>) -> [String; 5] {
    let Some(energy) = energy else { return Default::default() };
    let source = text(&energy.source);
    [number(energy.total), number(energy.lo), number(energy.hi), energy.trust.name().into(), source]
}

/// Price of a million tokens of this kind, on the row of the workload it rests on.
fn cost(record: &Record, cell: &Cell, workload: &crate::plan::Workload) -> [String; 3] {
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
    cost.map_or_else(Default::default, |cost| [cost.value, cost.lo, cost.hi].map(|x| number(Some(x))))
}

/// 12 columns from `items` to `verdict`.
fn task(record: &Record, cell: &Cell) -> Vec<String> {
    let (Subject::Task(name), Outcome::Task(_)) = (&cell.subject, &cell.outcome) else {
        return vec![String::new(); 12];
    };
    let Some(numbers) = record.derived.task_of(&cell.tier, name) else { return vec![String::new(); 12] };
    let mut row = vec![numbers.items.to_string(), numbers.passes.to_string()];
    row.push(number(numbers.pass_rate.map(|rate| rate.value)));
    row.extend(ends(numbers.pass_rate));
    row.push(number(numbers.seconds_per_item));
    row.push(number(numbers.energy.as_ref().and_then(|energy| energy.total)));
    row.push(number(numbers.cost.usd_per_item.map(|cost| cost.value)));
    row.push(number(numbers.cost.usd_per_1k_solved.map(|cost| cost.value)));
    row.extend(ends(numbers.cost.usd_per_1k_solved));
    row.push(numbers.verdict().name().into());
    row
}

fn ends(interval: Option<Interval>) -> [String; 2] {
    [number(interval.map(|i| i.lo)), number(interval.map(|i| i.hi))]
}

fn number(value: Option<f64>) -> String {
    value.filter(|x| x.is_finite()).map(|x| x.to_string()).unwrap_or_default()
}

/// Text that a spreadsheet does not run as a formula: names and errors come from files.
fn text(text: &str) -> String {
    let line = one_line(text);
    if line.starts_with(['=', '+', '-', '@']) { format!("'{line}") } else { line }
}
