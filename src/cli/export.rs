//! `tierbench export`.

use super::{OutputFormat, Ui, record};
use crate::error::{Error, ExitStatus, Result};
use crate::report::{Format as _, ReportError, json::Json, rows};
use crate::store::history::History;
use crate::store::record::JSON_SCHEMA;

/// Write a record's raw data: the record as JSON, its samples and items as JSONL or CSV
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(value_name = "RECORD", default_value = "latest", help = record::HELP)]
    record: String,
    /// Format: json (the record), jsonl or csv (one row per trial or item)
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Json)]
    output: OutputFormat,
    /// Which rows jsonl and csv hold
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
    let record = record::load(&args.record, ui)?;
    let text = match (args.output, args.rows) {
        (OutputFormat::Json, _) => Json.render(&record)?,
        (OutputFormat::Jsonl, Rows::Items) => rows::jsonl(&rows::items(&record))?,
        (OutputFormat::Jsonl, Rows::Trials) => rows::jsonl(&rows::trials(&record))?,
        (OutputFormat::Csv, Rows::Items) => rows::csv(&rows::items(&record))?,
        (OutputFormat::Csv, Rows::Trials) => rows::csv(&rows::trials(&record))?,
        (other, _) => {
            return Err(Error::Usage(format!("export writes json, jsonl or csv, not {other:?}").to_lowercase()));
        }
    };
    ui.write(text.as_bytes())?;
    Ok(ExitStatus::Success)
}

fn export_history(ui: &Ui) -> Result<ExitStatus> {
    let history = History::open_default()?;
    let mut status = ExitStatus::Success;
    for run in history.list()? {
        match history.record(&run.id) {
            Ok(record) => ui.line(serde_json::to_string(&record).map_err(ReportError::from)?)?,
            // A run that was killed before it stored anything has no record; the others' are still wanted.
            Err(crate::store::StoreError::UnknownRun { .. }) => {}
            Err(error) => {
                ui.warn(format_args!("run {}: {error}", run.id));
                status = ExitStatus::CellsFailed;
            }
        }
    }
    Ok(status)
}
