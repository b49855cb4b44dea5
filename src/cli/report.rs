//! `tierbench report`.

use std::path::PathBuf;

use super::{Ui, record};
use crate::error::{Error, ExitStatus, Result};
use crate::report::{Format, csv::Csv, json::Json, markdown::Markdown, splice, table::Terminal};
use crate::store::StoreError;
use crate::store::file::write_atomically;
use crate::store::record::Record;

/// Print a stored or published record as a table or page
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(value_name = "RECORD", default_value = "latest", help = record::HELP)]
    record: String,
    /// Format
    #[arg(short, long, value_enum, default_value_t = ReportFormat::Table)]
    output: ReportFormat,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace what stands between `<!-- BEGIN tierbench -->` and `<!-- END tierbench -->` in this Markdown file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "to"])]
    splice: Option<PathBuf>,
}

/// Formats of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ReportFormat {
    /// For the terminal
    Table,
    /// Markdown
    Md,
    /// The record as JSON
    Json,
    /// Comma-separated values, one row per cell
    Csv,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let record = record::load(&args.record, ui)?;
    if let Some(path) = &args.splice {
        return splice_into(path, &record, &args.record, ui);
    }
    let text = match args.output {
        ReportFormat::Table if args.to.is_none() => ui.terminal().render(&record)?,
        ReportFormat::Table => Terminal::default().render(&record)?,
        ReportFormat::Md => Markdown.render(&record)?,
        ReportFormat::Json => Json.render(&record)?,
        ReportFormat::Csv => Csv.render(&record)?,
    };
    match &args.to {
        Some(path) => write_atomically(path, text.as_bytes())?,
        None => ui.write(text.as_bytes())?,
    }
    Ok(ExitStatus::Success)
}

fn splice_into(path: &std::path::Path, record: &Record, spec: &str, ui: &Ui) -> Result<ExitStatus> {
    let read = |source| Error::Store(StoreError::Io { action: "read", path: path.to_owned(), source });
    let text = std::fs::read_to_string(path).map_err(read)?;
    let command = format!("tierbench report {spec} --splice {}", path.display());
    let spliced = splice::splice(&text, &Markdown.render(record)?, &command, path)?;
    if spliced == text {
        ui.note(format_args!("{} is up to date", path.display()));
    } else {
        write_atomically(path, spliced.as_bytes())?;
        ui.note(format_args!("wrote the table into {}", path.display()));
    }
    Ok(ExitStatus::Success)
}
