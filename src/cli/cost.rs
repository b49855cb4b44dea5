//! `tierbench cost`: what the costs of a stored run mean for a decision, under its own prices or others.

mod demand;
mod trend;

use serde_json::json;

use super::cost_args::{CostArgs, repriced};
use super::{OutputFormat, Ui, record};
use crate::cost::api::{AgainstApi, Unit};
use crate::error::{Error, ExitStatus, Result};
use crate::report::document::{Column, Document, Table};
use crate::report::number::{maybe, plain, significant, with_ends};
use crate::report::{Format as _, economics, json::Json, markdown, markdown::Markdown, one_line};
use crate::store::derived::Economics;
use crate::store::record::Record;

/// What costs mean for a decision: break-even, flip points, sensitivity, value, demand, trend
///
/// Every subcommand reads a stored run (or a record file) and prices it again under the flags given, so that "what if" needs
/// no new measurement. Hosted models were not measured: a break-even compares prices, not quality.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The tables of a run under other prices
    Show(Priced),
    /// Where a tier costs what a hosted model asks: utilization, tariff, joules
    #[command(visible_alias = "break-even")]
    Breakeven(Priced),
    /// How far an assumption or the bar must move before another tier is the answer
    Flip(Priced),
    /// Which input the cost per 1,000 solved items depends on, widest first
    Tornado(Priced),
    /// Value less cost per item of every tier; needs --value
    Value(Priced),
    /// What the bill becomes when the price falls and demand answers
    Demand(demand::Args),
    /// How fast the cheapest cost that clears a bar falls over stored runs
    Trend(trend::Args),
}

/// A record and the prices to see it under.
#[derive(Debug, clap::Args)]
struct Priced {
    #[arg(value_name = "RECORD", default_value = "latest", help = record::HELP)]
    record: String,
    /// Format
    #[arg(short, long, value_parser = OutputFormat::among(&[OutputFormat::Table, OutputFormat::Md, OutputFormat::Json]), default_value = "table")]
    output: OutputFormat,
    #[command(flatten)]
    cost: CostArgs,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    match &args.command {
        Command::Show(priced) => show(priced, ui),
        Command::Breakeven(priced) => each(priced, ui, breakeven),
        Command::Flip(priced) => each(priced, ui, flip),
        Command::Tornado(priced) => each(priced, ui, tornado),
        Command::Value(priced) => value(priced, ui),
        Command::Demand(args) => demand::run(args, ui),
        Command::Trend(args) => trend::run(args, ui),
    }
}

impl Priced {
    /// The record with every number derived again under the flags' prices.
    fn load(&self, ui: &Ui) -> Result<Record> {
        let mut raw = record::load(&self.record, ui)?.raw;
        raw.cost = repriced(&self.cost, &raw.cost)?;
        Ok(Record::from_raw(raw)?)
    }
}

/// Prints a document as the user wants it; `value` is its JSON.
fn print(document: &Document, value: &serde_json::Value, output: OutputFormat, ui: &Ui) -> Result<ExitStatus> {
    match output {
        OutputFormat::Md => ui.write(markdown::layout(document).as_bytes())?,
        OutputFormat::Json => ui.json(value)?,
        _ => ui.write(ui.terminal().layout(document).as_bytes())?,
    }
    Ok(ExitStatus::Success)
}

fn columns<const N: usize>(titles: [(&str, bool); N]) -> Vec<Column> {
    titles.map(|(title, numeric)| Column { title: title.to_owned(), numeric }).into()
}

fn show(priced: &Priced, ui: &Ui) -> Result<ExitStatus> {
    let record = priced.load(ui)?;
    let text = match priced.output {
        OutputFormat::Md => Markdown.render(&record)?,
        OutputFormat::Json => Json.render(&record)?,
        _ => ui.terminal().render(&record)?,
    };
    ui.write(text.as_bytes())?;
    Ok(ExitStatus::Success)
}

/// One table per task of the record.
fn each(priced: &Priced, ui: &Ui, table: fn(&Record, &Economics) -> Table) -> Result<ExitStatus> {
    let record = priced.load(ui)?;
    let all = decidable(&record)?;
    let tables = all.iter().map(|economics| table(&record, economics)).collect();
    let document = Document { answers: Vec::new(), tables, notes: assumed(&record) };
    print(&document, &json!({ "assumptions": record.raw.cost, "economics": all }), priced.output, ui)
}

/// The economics of a record's tasks; a record without any has nothing to decide.
fn decidable(record: &Record) -> Result<&[Economics]> {
    match record.derived.economics.as_slice() {
        [] => Err(Error::Usage(
            "no tier of this run has a cost per solved item: nothing was graded, or nothing solved".into(),
        )),
        all => Ok(all),
    }
}

/// What the numbers rest on.
fn assumed(record: &Record) -> Vec<String> {
    let mut notes = vec![format!("Assumes {}.", record.raw.cost.lines().join("; "))];
    notes.push(format!("Run {}, {}.", record.raw.run.id, record.raw.run.started_at));
    notes.iter().map(|note| one_line(note)).collect()
}

fn breakeven(_record: &Record, economics: &Economics) -> Table {
    let row = |against: &AgainstApi| {
        let busy = against
            .utilization
            .map_or("never".to_owned(), |at| format!("{} %", significant(at.utilization * 100.0, 3)));
        let daily = against.utilization.map_or("—".to_owned(), |at| significant(at.tokens_per_day, 3));
        vec![
            format!("{} ({}, {})", against.api, against.provider, against.date),
            match against.unit {
                Unit::Item => "item".to_owned(),
                Unit::OutputToken => "output token".to_owned(),
            },
            significant(against.api_usd_per_million, 4),
            maybe(against.local_usd_per_million, 4),
            busy,
            daily,
            maybe(against.tariff_usd_per_kwh, 3),
            maybe(against.energy_j, 3),
            maybe(against.local_energy_j, 3),
        ]
    };
    Table {
        title: format!(
            "{} on {}: prices only, quality of hosted models was not measured",
            economics.tier, economics.task
        ),
        columns: columns([
            ("hosted model", false),
            ("unit", false),
            ("its $/M", true),
            ("here $/M", true),
            ("cheaper here when busy above", true),
            ("units/day then", true),
            ("or tariff below $/kWh", true),
            ("electricity alone costs it at J", true),
            ("J here", true),
        ]),
        rows: economics.against_api.iter().map(row).collect(),
    }
}

fn flip(record: &Record, economics: &Economics) -> Table {
    let mut rows: Vec<Vec<String>> = economics
        .flips
        .iter()
        .map(|point| vec![point.to_string(), significant(point.now, 3), significant(point.at, 3), point.to.clone()])
        .collect();
    let asked = record.raw.tasks.iter().find(|task| task.name == economics.task).map(|task| task.rule.bar.get());
    rows.extend(economics.bars.iter().map(|bar| {
        let text = economics::bar_sentence(bar, asked.unwrap_or(f64::NAN));
        vec![text, maybe(asked, 3), significant(bar.bar, 3), bar.tier.0.clone()]
    }));
    Table {
        title: format!("what would change the answer {} on {}", economics.tier, economics.task),
        columns: columns([("what", false), ("now", true), ("at", true), ("then", false)]),
        rows,
    }
}

fn tornado(_record: &Record, economics: &Economics) -> Table {
    let rows = economics.tornado.iter().map(|swing| {
        let name = swing.input.name().to_owned();
        vec![name, significant(swing.at_low, 4), significant(swing.at_high, 4), significant(swing.width(), 3)]
    });
    Table {
        title: format!("{} on {}: $ per 1,000 solved with one input changed", economics.tier, economics.task),
        columns: columns([("input", false), ("halved", true), ("doubled", true), ("width", true)]),
        rows: rows.collect(),
    }
}

fn value(priced: &Priced, ui: &Ui) -> Result<ExitStatus> {
    let record = priced.load(ui)?;
    let Some(stated) = record.raw.cost.value.as_ref().map(|value| value.value.0) else {
        return Err(Error::Usage("say what a solved item is worth: --value 0.05, or value_usd in [cost]".into()));
    };
    let table = |economics: &Economics| {
        let rows = economics.spreads.iter().map(|spread| {
            let numbers = record.derived.task_of(&spread.tier, &economics.task);
            let cost = numbers.and_then(|n| n.cost.usd_per_item).map_or("—".into(), |cost| with_ends(&cost, 3));
            let rate =
                numbers.and_then(|n| n.pass_rate).map_or("—".into(), |rate| crate::report::number::percent(&rate));
            let verdict = numbers.map_or("—".into(), |n| n.verdict().to_string());
            vec![spread.tier.0.clone(), rate, cost, with_ends(&spread.usd_per_item, 4), verdict]
        });
        Table {
            title: format!(
                "{}: ${} per solved item, ${} per failure",
                economics.task,
                plain(stated),
                plain(record.raw.cost.failure.value.0)
            ),
            columns: columns([
                ("tier", false),
                ("pass rate", true),
                ("$/item", true),
                ("value less cost, $/item", true),
                ("verdict", false),
            ]),
            rows: rows.collect(),
        }
    };
    let all = decidable(&record)?;
    let document = Document { answers: Vec::new(), tables: all.iter().map(table).collect(), notes: assumed(&record) };
    let json = json!({ "assumptions": record.raw.cost, "economics": all });
    print(&document, &json, priced.output, ui)
}
