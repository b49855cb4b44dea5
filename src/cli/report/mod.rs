//! `tierbench report`.

mod site;

use std::path::PathBuf;

use super::run::published;
use super::{Ui, record};
use crate::error::{Error, ExitStatus, Result};
use crate::report::{
    Format, card::Card, csv::Csv, html, jsonl::Jsonl, latex::Latex, markdown::Markdown, parquet, splice,
    table::Terminal,
};
use crate::store::StoreError;
use crate::store::file::write_atomically;
use crate::store::record::Record;

/// Print a stored or published record as a table or page
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(value_name = "RECORD", default_value = "latest", help = record::HELP)]
    record: Vec<String>,
    /// Format
    #[arg(short, long, value_enum, default_value_t = ReportFormat::Table)]
    output: ReportFormat,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace what stands between `<!-- BEGIN tierbench -->` and `<!-- END tierbench -->` in this Markdown file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "to"])]
    splice: Option<PathBuf>,
    /// Make a static leaderboard of all RECORDs in this directory; a directory among them stands for its .json files
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "to", "splice"])]
    site: Option<PathBuf>,
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
    /// The rows of csv, one JSON object per line
    Jsonl,
    /// The rows of csv with typed columns, for data frames and SQL engines
    Parquet,
    /// Tables for a paper, with the packages booktabs and adjustbox
    Latex,
    /// A picture of the answer and the ladder for a README
    Svg,
    /// One self-contained page with plots and every item
    Html,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    if let Some(dir) = &args.site {
        return site::build(dir, &args.record, ui);
    }
    let [spec] = args.record.as_slice() else {
        return Err(Error::Usage(format!("{} records: a report shows one, --site DIR shows many", args.record.len())));
    };
    let loaded = record::load_whole(spec, ui)?;
    let record = &loaded.record;
    if let Some(path) = &args.splice {
        return splice_into(path, record, spec, ui);
    }
    let bytes = match args.output {
        ReportFormat::Table if args.to.is_none() => ui.terminal().render(record)?.into_bytes(),
        ReportFormat::Table => Terminal::default().render(record)?.into_bytes(),
        ReportFormat::Md => Markdown.render(record)?.into_bytes(),
        ReportFormat::Json => loaded.outline()?.into_bytes(),
        ReportFormat::Csv => Csv.render(record)?.into_bytes(),
        ReportFormat::Jsonl => Jsonl.render(record)?.into_bytes(),
        ReportFormat::Parquet => parquet::cells(record)?,
        ReportFormat::Latex => Latex.render(record)?.into_bytes(),
        ReportFormat::Svg => Card.render(record)?.into_bytes(),
        ReportFormat::Html => html::alone(record, &loaded.json)?.into_bytes(),
    };
    match &args.to {
        Some(path) => write_atomically(path, &bytes)?,
        None => ui.write(&bytes)?,
    }
    Ok(ExitStatus::Success)
}

fn splice_into(path: &std::path::Path, record: &Record, spec: &str, ui: &Ui) -> Result<ExitStatus> {
    let read = |source| Error::Store(StoreError::Io { action: "read", path: path.to_owned(), source });
    let text = std::fs::read_to_string(path).map_err(read)?;
    let command = format!("tierbench report {} --splice {}", published(spec), published(&path.to_string_lossy()));
    let spliced = splice::splice(&text, &Markdown.render(record)?, &command, path)?;
    if spliced == text {
        ui.note(format_args!("{} is up to date", path.display()));
    } else {
        write_atomically(path, spliced.as_bytes())?;
        ui.note(format_args!("wrote the table into {}", path.display()));
    }
    Ok(ExitStatus::Success)
}
