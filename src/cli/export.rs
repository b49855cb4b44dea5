//! `tierbench export`.

use super::{Ui, record};
use crate::error::{ExitStatus, Result};
use crate::report::{one_line, parquet, rows};
use crate::store::StoreError;
use crate::store::history::History;
use crate::store::record::JSON_SCHEMA;

/// Write a record's raw data: the record as JSON, its samples and items as JSONL or CSV
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(value_name = "RECORD", default_value = "latest", help = record::HELP)]
    record: String,
    /// Format: json (the record), jsonl, csv or parquet (one row per trial or item)
    #[arg(short, long, value_enum, default_value_t = ExportFormat::Json)]
    output: ExportFormat,
    /// Which rows jsonl, csv and parquet hold
    #[arg(long, value_enum, default_value_t = Rows::Items)]
    rows: Rows,
    /// Every run of the history, one record per line
    #[arg(long, conflicts_with_all = ["record", "output", "rows"])]
    all: bool,
    /// The JSON schema of records
    #[arg(long, conflicts_with_all = ["record", "output", "rows", "all"])]
    schema: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ExportFormat {
    /// The record
    Json,
    /// One JSON object per line
    Jsonl,
    /// Comma-separated values
    Csv,
    /// Typed columns, for data frames and SQL engines
    Parquet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Rows {
    /// Graded items
    Items,
    /// Timed trials
    Trials,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    if args.schema {
        ui.write(JSON_SCHEMA.as_bytes())?;
        return Ok(ExitStatus::Success);
    }
    if args.all {
        return export_history(ui);
    }
    let load = || record::load(&args.record, ui);
    let bytes = match (args.output, args.rows) {
        (ExportFormat::Json, _) => record::load_whole(&args.record, ui)?.outline()?.into(),
        (ExportFormat::Jsonl, Rows::Items) => rows::jsonl(&rows::items(&load()?))?.into_bytes(),
        (ExportFormat::Jsonl, Rows::Trials) => rows::jsonl(&rows::trials(&load()?))?.into_bytes(),
        (ExportFormat::Csv, Rows::Items) => rows::csv(&rows::items(&load()?))?.into_bytes(),
        (ExportFormat::Csv, Rows::Trials) => rows::csv(&rows::trials(&load()?))?.into_bytes(),
        (ExportFormat::Parquet, Rows::Items) => parquet::rows(rows::ITEM, &rows::items(&load()?))?,
        (ExportFormat::Parquet, Rows::Trials) => parquet::rows(rows::TRIAL, &rows::trials(&load()?))?,
    };
    ui.write(&bytes)?;
    Ok(ExitStatus::Success)
}

fn export_history(ui: &Ui) -> Result<ExitStatus> {
    let history = History::open_default()?;
    let mut status = ExitStatus::Success;
    for run in history.list()? {
        // A run that was stopped before it stored anything has nothing to lose.
        if run.cells == 0 && !run.has_record && !run.has_header {
            continue;
        }
        match history.record_json(&run.id) {
            Ok(record) => ui.line(record)?,
            Err(error) => {
                let why = match error {
                    StoreError::UnknownRun { .. } => "its cells have no record that says what they are of".to_owned(),
                    other => other.to_string(),
                };
                ui.error(one_line(&format!("left out run {}: {why}", run.id)));
                status = ExitStatus::CellsFailed;
            }
        }
    }
    Ok(status)
}
