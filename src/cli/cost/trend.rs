//! `tierbench cost trend`: the cheapest cost that clears a bar over stored runs, by the method of Epoch AI.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;

use super::{columns, print};
use crate::cli::cost_args::{CostArgs, repriced};
use crate::cli::{OutputFormat, Ui};
use crate::cost::Assumptions;
use crate::cost::date::Date;
use crate::cost::reference::PublishedFall;
use crate::cost::trend::{Observation, trend};
use crate::decide::Verdict;
use crate::error::{Error, ExitStatus, Result};
use crate::report::document::{Document, Table};
use crate::report::number::{significant, with_ends};
use crate::report::one_line;
use crate::store::derived::Derived;
use crate::store::history::History;
use crate::store::record::{RawRecord, Record};

/// How fast the cheapest cost that clears a bar falls over stored runs
///
/// One series per task and bar: of every run the cheapest tier that clears, then the running minimum, then a log-linear fit.
/// Two series are made: as priced in each run, and all runs on the newest run's machine under one set of prices, which leaves
/// the progress of models and software alone. Refused with fewer than 3 price minima or 90 days between them.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this task
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Format: table, md or json
    #[arg(short, long, value_parser = OutputFormat::among(&[OutputFormat::Table, OutputFormat::Md, OutputFormat::Json]), default_value = "table")]
    output: OutputFormat,
    #[command(flatten)]
    cost: CostArgs,
}

/// What is followed over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Measure {
    /// $ per 1,000 solved under each run's own prices.
    AsPriced,
    /// $ per 1,000 solved on one machine under one set of prices.
    FixedPrices,
    /// J per solved item on one machine.
    Joules,
}

impl Measure {
    const ALL: [Self; 3] = [Self::AsPriced, Self::FixedPrices, Self::Joules];

    const fn title(self) -> &'static str {
        match self {
            Self::AsPriced => "$/1k solved, as priced then",
            Self::FixedPrices => "$/1k solved, one machine and prices",
            Self::Joules => "J/solved, one machine",
        }
    }
}

/// One task at one bar.
#[derive(Debug, Serialize)]
struct Series {
    task: String,
    bar: f64,
    measure: Measure,
    observations: Vec<Observation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fit: Option<Fit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

#[derive(Debug, Serialize)]
struct Fit {
    minima: usize,
    days: i64,
    factor_per_year: crate::units::Interval,
    halving_years: Option<f64>,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let records = stored(ui)?;
    let falls = PublishedFall::all()?;
    let mut all = Vec::new();
    if let Some(newest) = records.first() {
        let prices = repriced(&args.cost, &newest.raw.cost)?;
        let keys = keys(&records, args.task.as_deref());
        if let (Some(task), []) = (&args.task, keys.as_slice()) {
            return Err(Error::Usage(format!("no stored run graded `{task}`: there are {}", graded(&records))));
        }
        for (task, bar) in keys {
            all.extend(Measure::ALL.map(|measure| series(&records, &task, bar, measure, &prices)));
        }
    }
    let rows = all.iter().map(row).collect();
    let own = Table {
        title: "stored runs".to_owned(),
        columns: columns([
            ("task at bar", false),
            ("series", false),
            ("runs", true),
            ("minima", true),
            ("days", true),
            ("cheaper per year, ×", true),
            ("halves in years", true),
        ]),
        rows,
    };
    let document = Document { answers: Vec::new(), tables: vec![own, published(&falls)], notes: notes(&records, &all) };
    let falls: Vec<_> = falls.iter().map(|f| json!({ "published": f, "recomputed": f.fall() })).collect();
    print(&document, &json!({ "series": all, "published": falls }), args.output, ui)
}

/// Records of the history, newest first. One that cannot be read is named and left out.
fn stored(ui: &Ui) -> Result<Vec<Record>> {
    let history = History::open_default()?;
    let mut records = Vec::new();
    for run in history.list()?.iter().filter(|run| run.has_record) {
        match history.record(&run.id) {
            Ok(record) => records.push(record),
            Err(error) => ui.warn(format_args!("run {}: {error}", run.id)),
        }
    }
    Ok(records)
}

/// (hash of the task, bar): what makes results comparable.
type Key = (String, u64);

fn key(task: &crate::store::record::TaskFacts) -> Key {
    (task.sha256.clone(), task.rule.bar.get().to_bits())
}

/// Every task and bar of the records, by name.
fn keys(records: &[Record], only: Option<&str>) -> Vec<(crate::store::record::TaskFacts, f64)> {
    let mut found: Vec<(Key, crate::store::record::TaskFacts)> = Vec::new();
    for task in records.iter().flat_map(|record| &record.raw.tasks) {
        if only.is_none_or(|only| only == task.name) && !found.iter().any(|(known, _)| *known == key(task)) {
            found.push((key(task), task.clone()));
        }
    }
    found
        .into_iter()
        .map(|(_, task)| {
            let bar = task.rule.bar.get();
            (task, bar)
        })
        .collect()
}

/// Names of the tasks of the records.
fn graded(records: &[Record]) -> String {
    let names: BTreeSet<&str> = records.iter().flat_map(|r| &r.raw.tasks).map(|task| task.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() { "none".to_owned() } else { one_line(&names.join(", ")) }
}

fn series(
    records: &[Record],
    task: &crate::store::record::TaskFacts,
    bar: f64,
    measure: Measure,
    prices: &Assumptions,
) -> Series {
    let machine = records.first().map(|record| &record.raw.host.cpu);
    let observations: Vec<Observation> = records
        .iter()
        .filter(|record| measure == Measure::AsPriced || Some(&record.raw.host.cpu) == machine)
        .filter_map(|record| {
            let facts = record.raw.tasks.iter().find(|facts| key(facts) == key(task))?;
            let date: Date = record.raw.run.started_at.get(..10)?.parse().ok()?;
            let price = match measure {
                Measure::FixedPrices => {
                    let raw = RawRecord { cost: prices.clone(), ..record.raw.clone() };
                    cheapest(&Record::derive(&raw), &facts.name, measure)
                }
                _ => cheapest(&record.derived, &facts.name, measure),
            };
            Some(Observation { date, price: price? })
        })
        .collect();
    let fitted = trend(&observations);
    let days = |kept: &[Observation]| match (kept.first(), kept.last()) {
        (Some(first), Some(last)) => last.date.days() - first.date.days(),
        _ => 0,
    };
    let (fit, refused) = match fitted {
        Ok(t) => {
            let (minima, days) = (t.kept.len(), days(&t.kept));
            (Some(Fit { minima, days, factor_per_year: t.factor_per_year, halving_years: t.halving_years }), None)
        }
        Err(why) => (None, Some(why.to_string())),
    };
    Series { task: task.name.clone(), bar, measure, observations, fit, refused }
}

/// The lowest figure of the tiers that clear; `None` if none does, or its figure is unknown.
fn cheapest(derived: &Derived, task: &str, measure: Measure) -> Option<f64> {
    let clearing = derived.tasks.iter().filter(|n| n.task == task && n.verdict() == Verdict::Clears);
    let figures = clearing.filter_map(|n| match measure {
        Measure::AsPriced | Measure::FixedPrices => n.cost.usd_per_1k_solved,
        // An estimate of the load is no measurement of progress.
        Measure::Joules => n.joules_per_solved.filter(|_| n.energy.as_ref().is_some_and(|e| e.total.is_some())),
    });
    figures.map(|figure| figure.value).min_by(f64::total_cmp)
}

fn row(series: &Series) -> Vec<String> {
    let fit = series.fit.as_ref();
    let known = |text: Option<String>| text.unwrap_or_else(|| "—".to_owned());
    vec![
        format!("{} ≥ {}", series.task, series.bar),
        series.measure.title().to_owned(),
        series.observations.len().to_string(),
        known(fit.map(|fit| fit.minima.to_string())),
        known(fit.map(|fit| fit.days.to_string())),
        known(fit.map(|fit| with_ends(&fit.factor_per_year, 3))),
        known(fit.and_then(|fit| fit.halving_years).map(|years| significant(years, 3))),
    ]
}

fn published(falls: &[PublishedFall]) -> Table {
    let rows = falls.iter().map(|published| {
        let fall = published.fall();
        let known = |text: Option<String>| text.unwrap_or_else(|| "—".to_owned());
        vec![
            published.what.clone(),
            format!("{} → {} {}", published.from.price, published.to.price, published.unit),
            format!("{} → {}", published.from.date, published.to.date),
            known(fall.map(|f| significant(f.factor, 3))),
            known(fall.map(|f| significant(f.factor_per_year, 3))),
            published.source.clone(),
        ]
    });
    Table {
        title: "published, for reference: prices of hosted models, never part of a fit".to_owned(),
        columns: columns([
            ("quality", false),
            ("price", false),
            ("dates", false),
            ("×", true),
            ("× per year", true),
            ("source", false),
        ]),
        rows: rows.collect(),
    }
}

fn notes(records: &[Record], all: &[Series]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    if records.is_empty() {
        notes.push("No runs yet: `tierbench run` makes one.".to_owned());
    }
    for series in all {
        if let Some(why) = &series.refused {
            notes.push(format!("{} ≥ {}, {}: {why}.", series.task, series.bar, series.measure.title()));
        }
    }
    notes.push(
        "Method of Epoch AI (12 March 2025): cheapest that meets the bar, running minimum, log-linear fit; intervals are 95 % \
         of the slope (t, n - 2). Published prices are of hosted models and are not comparable with a machine's cost."
            .to_owned(),
    );
    notes
}
