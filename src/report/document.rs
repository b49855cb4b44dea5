//! What every text format shows of a record: answers, tables, notes. Cells are ready to print.

use super::number::{self, UNKNOWN};
use super::{answer, energy, notes, one_line};
use crate::cost::estimate::Parts;
use crate::plan::{TierKey, Workload};
use crate::store::cell::{Outcome, Subject};
use crate::store::derived::{SpeedNumbers, TaskNumbers};
use crate::store::record::{Record, TaskFacts, TierFacts};

/// A record laid out for reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// One sentence per task.
    pub answers: Vec<String>,
    /// The ladder first, then what does not fit into it.
    pub tables: Vec<Table>,
    /// Assumptions and caveats, one line each: printed beneath the tables, always.
    pub notes: Vec<String>,
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its title: what its rows have in common; may be empty.
    pub title: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows, as many cells each as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Heading with the unit.
    pub title: String,
    /// Whether its cells are numbers and align right.
    pub numeric: bool,
}

impl Column {
    pub(super) fn text(title: impl Into<String>) -> Self {
        Self { title: title.into(), numeric: false }
    }

    pub(super) fn number(title: impl Into<String>) -> Self {
        Self { title: title.into(), numeric: true }
    }
}

impl Document {
    /// Lays out a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let mut tables = vec![ladder(record)];
        if record.raw.tasks.len() > 1 {
            tables.extend(record.raw.tasks.iter().map(|task| task_table(record, task)));
        }
        tables.extend(energy::table(record));
        tables.extend(speed_table(record));
        Self { answers: answer::sentences(record), tables, notes: notes::notes(record) }
    }
}

/// Tiers in the order of the ladder: cheapest first.
pub(super) fn tiers(record: &Record) -> Vec<&TierFacts> {
    record.derived.ladder.iter().filter_map(|key| record.tier(key)).collect()
}

/// How tiers are called in tables: what they have in common stands once above, each row says only what is its own, and
/// that its weights were requantized.
pub(super) struct Names {
    common: Option<String>,
    /// The tool the record was imported from.
    imported: Option<String>,
}

impl Names {
    pub(super) fn of(record: &Record) -> Self {
        let mut parts = record.raw.tiers.iter().map(|facts| {
            let tier = &facts.tier;
            // A key that is not made of these parts is shown as it is.
            let regular = tier.level.is_some() && tier.key() == facts.key;
            regular.then(|| format!("{}, {} {} t{}", tier.model, tier.engine, tier.device, tier.n_threads))
        });
        let first = parts.next().flatten();
        let common = first.filter(|first| parts.all(|other| other.as_ref() == Some(first)));
        Self { common, imported: record.raw.imported.as_ref().map(|imported| imported.tool.clone()) }
    }

    /// The name alone, without marks.
    pub(super) fn name<'a>(&self, facts: &'a TierFacts) -> &'a str {
        match (&self.common, &facts.tier.level) {
            (Some(_), Some(level)) => level,
            _ => &facts.key.0,
        }
    }

    pub(super) fn label(&self, facts: &TierFacts) -> String {
        let from = facts.model.requantized_from.as_ref().or(facts.tier.requantized_from.as_ref());
        let mark = from.map(|level| format!(" (requantized from {level})")).unwrap_or_default();
        let name = self.name(facts);
        let imported = self.imported.as_ref().map(|tool| format!(" (imported from {tool})")).unwrap_or_default();
        one_line(&format!("{name}{mark}{imported}"))
    }

    pub(super) fn title(&self, what: &str) -> String {
        let common = self.common.as_deref().map(one_line).unwrap_or_default();
        let separator = if common.is_empty() || what.is_empty() { "" } else { ": " };
        format!("{}{separator}{common}", one_line(what))
    }
}

fn ladder(record: &Record) -> Table {
    let names = Names::of(record);
    let (prefill, decode) = (headline(record, |t| t.prefill), headline(record, |t| t.decode));
    let only_task = if let [task] = record.raw.tasks.as_slice() { Some(task) } else { None };
    let name = |workload: Option<Workload>, none: &str| workload.map_or(none.to_owned(), |w| w.to_string());
    let mut columns = vec![
        Column::text("tier"),
        Column::number("size MiB"),
        Column::number(format!("{} tok/s", name(prefill, "pp"))),
        Column::number(format!("{} tok/s", name(decode, "tg"))),
        Column::number("peak RSS MiB"),
        Column::number("J/token"),
        Column::number("$/Mtok in"),
        Column::number("$/Mtok out"),
    ];
    columns.extend(only_task.map(|_| task_columns()).into_iter().flatten());
    let rows = tiers(record)
        .into_iter()
        .map(|facts| {
            let speed = |workload: Option<Workload>| workload.map_or(UNKNOWN.into(), |w| speed_cell(record, facts, w));
            let numbers = record.derived.tier_of(&facts.key);
            let joules = decode.and_then(|w| record.derived.speed_of(&facts.key, &w)?.energy.as_ref());
            let mut row = vec![
                names.label(facts),
                facts.model.bytes.map_or(UNKNOWN.into(), number::mib),
                speed(prefill),
                speed(decode),
                numbers.and_then(|n| n.peak_rss_bytes).map_or(UNKNOWN.into(), number::mib),
                energy::cell(joules),
                cost_cell(numbers.and_then(|n| n.cost.usd_per_mtok_in.as_ref())),
                cost_cell(numbers.and_then(|n| n.cost.usd_per_mtok_out.as_ref())),
            ];
            row.extend(only_task.into_iter().flat_map(|task| task_cells(record, &facts.key, task)));
            row
        })
        .collect();
    Table { title: names.title(""), columns, rows }
}

/// The workload most tiers report under this heading.
pub(super) fn headline(
    record: &Record,
    pick: impl Fn(&crate::store::derived::TierNumbers) -> Option<Workload>,
) -> Option<Workload> {
    record.derived.tiers.iter().find_map(pick)
}

fn task_columns() -> Vec<Column> {
    vec![Column::number("$/1k solved"), Column::number("pass rate"), Column::number("items"), Column::text("verdict")]
}

fn task_cells(record: &Record, tier: &TierKey, task: &TaskFacts) -> Vec<String> {
    match record.derived.task_of(tier, &task.name) {
        Some(numbers) => vec![
            numbers.cost.usd_per_1k_solved.map_or(UNKNOWN.into(), |cost| number::with_ends(&cost, 2)),
            pass_rate_cell(numbers),
            numbers.items.to_string(),
            answer::verdict_cell(record, numbers),
        ],
        None => {
            let subject = Subject::Task(task.name.clone());
            vec![UNKNOWN.into(), UNKNOWN.into(), UNKNOWN.into(), missing(record, tier, &subject)]
        }
    }
}

fn pass_rate_cell(numbers: &TaskNumbers) -> String {
    numbers.pass_rate.map_or(UNKNOWN.into(), |rate| number::percent(&rate))
}

fn task_table(record: &Record, task: &TaskFacts) -> Table {
    let names = Names::of(record);
    let mut columns = vec![Column::text("tier"), Column::number("s/item"), Column::number("J/item")];
    columns.extend(task_columns());
    let rows = tiers(record)
        .into_iter()
        .map(|facts| {
            let numbers = record.derived.task_of(&facts.key, &task.name);
            let mut row = vec![
                names.label(facts),
                number::maybe(numbers.and_then(|n| n.seconds_per_item), 3),
                energy::cell(numbers.and_then(|n| n.energy.as_ref())),
            ];
            row.extend(task_cells(record, &facts.key, task));
            row
        })
        .collect();
    Table { title: names.title(&task.name), columns, rows }
}

/// All workloads, if there are more than the ladder shows.
fn speed_table(record: &Record) -> Option<Table> {
    let names = Names::of(record);
    let shown = [headline(record, |t| t.prefill), headline(record, |t| t.decode)];
    let mut workloads: Vec<Workload> = Vec::new();
    for cell in &record.raw.cells {
        if let Subject::Workload(workload) = cell.subject
            && !workloads.contains(&workload)
        {
            workloads.push(workload);
        }
    }
    if workloads.iter().all(|workload| shown.contains(&Some(*workload))) {
        return None;
    }
    let mut columns = vec![Column::text("tier")];
    columns.extend(workloads.iter().map(|workload| Column::number(format!("{workload} tok/s"))));
    let rows = tiers(record)
        .into_iter()
        .map(|facts| {
            let mut row = vec![names.label(facts)];
            row.extend(workloads.iter().map(|&workload| speed_cell(record, facts, workload)));
            row
        })
        .collect();
    Some(Table { title: names.title("speed"), columns, rows })
}

fn speed_cell(record: &Record, facts: &TierFacts, workload: Workload) -> String {
    match record.derived.speed_of(&facts.key, &workload) {
        Some(SpeedNumbers { interval: Some(interval), .. }) => number::plus_minus(interval),
        Some(numbers) => number::maybe(numbers.median, 4),
        None => missing(record, &facts.key, &Subject::Workload(workload)),
    }
}

/// What stands where there is no number: a failed cell says so.
fn missing(record: &Record, tier: &TierKey, subject: &Subject) -> String {
    let failed =
        record.raw.cells.iter().any(|cell| {
            cell.tier == *tier && cell.subject == *subject && matches!(cell.outcome, Outcome::Failed { .. })
        });
    if failed { "failed".into() } else { UNKNOWN.into() }
}

fn cost_cell(cost: Option<&Parts>) -> String {
    cost.map_or(UNKNOWN.into(), |parts| number::plus_minus(&parts.total))
}
