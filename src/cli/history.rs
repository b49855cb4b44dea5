//! `tierbench history`.

use std::io::BufRead as _;
use std::path::PathBuf;

use super::{OutputFormat, Ui};
use crate::error::{Error, ExitStatus, Result};
use crate::report::document::{Column, Document, Table};
use crate::report::{markdown, one_line};
use crate::store::StoreError;
use crate::store::file;
use crate::store::history::{History, RunSummary};
use crate::store::import::{self, Import, Judgement};
use crate::store::record::Record;

/// List, show, remove and import stored runs
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List stored runs, newest first (the default)
    List {
        /// Format: table, md or json
        #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
        output: OutputFormat,
    },
    /// Show the cells of a run
    Show {
        /// Run id, its beginning, or `latest`
        run: String,
    },
    /// Remove runs and their cells
    Rm {
        /// Run ids or their beginnings
        #[arg(required = true)]
        runs: Vec<String>,
    },
    /// Add records: a record file, JSONL as written by `export --all`, or another tool's results: `llama-bench -o json`
    /// or jsonl, lm-eval's results_*.json with the samples that --log_samples writes beside it
    Import {
        /// The file
        file: PathBuf,
        /// Pass rate demanded of lm-eval's items; it states none itself
        #[arg(long, value_name = "Q")]
        bar: Option<f64>,
        /// lm-eval's per-item metric that says solved or not [default: acc, exact_match, acc_norm or pass@1]
        #[arg(long, value_name = "NAME")]
        metric: Option<String>,
    },
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let mut history = History::open_default()?;
    match &args.action {
        None => list(&history, OutputFormat::Table, ui),
        Some(Action::List { output }) => list(&history, *output, ui),
        Some(Action::Show { run }) => show(&history, run, ui),
        Some(Action::Rm { runs }) => {
            for wanted in runs {
                let id = history.resolve(wanted)?;
                history.remove(&id)?;
                ui.note(format_args!("removed {id}"));
            }
            Ok(ExitStatus::Success)
        }
        Some(Action::Import { file, bar, metric }) => {
            let judgement = Judgement { bar: *bar, metric: metric.clone(), ..Judgement::default() };
            match import::read(file, &judgement)? {
                Some(foreign) => import_foreign(&mut history, &foreign, ui),
                None => import(&mut history, file, ui),
            }
        }
    }
}

fn list(history: &History, output: OutputFormat, ui: &Ui) -> Result<ExitStatus> {
    let runs = history.list()?;
    if output == OutputFormat::Json {
        let text = serde_json::to_string_pretty(&runs).map_err(crate::report::ReportError::from)?;
        ui.line(text)?;
        return Ok(ExitStatus::Success);
    }
    let titles =
        [("run", false), ("started", false), ("state", false), ("cells", true), ("failed", true), ("what", false)];
    let columns = titles.map(|(title, numeric)| Column { title: title.into(), numeric }).into();
    let rows = runs.iter().map(|run| {
        let cells = [run.cells.to_string(), run.failed.to_string()];
        let [cells, failed] = cells;
        vec![run.id.clone(), run.started_at.clone(), state(run).into(), cells, failed, one_line(&run.title)]
    });
    let notes = if runs.is_empty() { vec!["No runs yet: `tierbench run` makes one.".to_owned()] } else { Vec::new() };
    let table = Table { title: String::new(), columns, rows: rows.collect() };
    let document = Document { answers: vec![], tables: vec![table], notes };
    match output {
        OutputFormat::Table => ui.write(ui.terminal().layout(&document).as_bytes())?,
        OutputFormat::Md => ui.write(markdown::layout(&document).as_bytes())?,
        other => return Err(Error::Usage(format!("history writes table, md or json, not {other:?}").to_lowercase())),
    }
    Ok(ExitStatus::Success)
}

fn state(run: &RunSummary) -> &'static str {
    match (&run.finished_at, run.has_record) {
        (Some(_), _) => "finished",
        (None, true) => "interrupted",
        (None, false) => "unfinished",
    }
}

fn show(history: &History, wanted: &str, ui: &Ui) -> Result<ExitStatus> {
    let id = history.resolve(wanted)?;
    let columns = ["cell", "finished", "result"].map(|title| Column { title: title.into(), numeric: false }).into();
    let cells = history.cells(&id)?;
    let rows = cells.iter().map(|cell| {
        let result = match &cell.outcome {
            crate::store::cell::Outcome::Speed(trials) => format!("{} trials", trials.samples.len()),
            crate::store::cell::Outcome::Task(task) => {
                let passes = task.items.iter().filter(|item| item.pass).count();
                format!("{passes} of {} items passed", task.items.len())
            }
            crate::store::cell::Outcome::Failed { error } => format!("failed: {error}"),
        };
        vec![one_line(&cell.id().0), one_line(&cell.finished_at), one_line(&result)]
    });
    let table = Table { title: String::new(), columns, rows: rows.collect() };
    let notes = vec![format!("`tierbench report {id}` prints its tables.")];
    ui.write(ui.terminal().layout(&Document { answers: vec![], tables: vec![table], notes }).as_bytes())?;
    Ok(ExitStatus::Success)
}

/// Whether the run of this id is stored with this very content.
fn is_stored(history: &History, record: &Record) -> Result<bool> {
    Ok(history.record(&record.raw.run.id)?.content_sha256 == record.content_sha256)
}

fn import_foreign(history: &mut History, foreign: &Import, ui: &Ui) -> Result<ExitStatus> {
    for line in &foreign.left_out {
        ui.warn(format_args!("left out {}", one_line(line)));
    }
    let id = &foreign.record.raw.run.id;
    let title =
        foreign.record.raw.imported.as_ref().map_or_else(String::new, |from| format!("{} {}", from.tool, from.file));
    let added = history.import(&foreign.record, &format!("imported from {title}"))?;
    let state = if added { "added" } else { "already there" };
    ui.note(format_args!(
        "run {id} {state}: {} cells; `tierbench report {id}` prints it",
        foreign.record.raw.cells.len()
    ));
    Ok(if foreign.left_out.is_empty() { ExitStatus::Success } else { ExitStatus::CellsFailed })
}

/// Each record is checked as `verify` checks it; one that fails is not stored, the others are.
fn import(history: &mut History, path: &std::path::Path, ui: &Ui) -> Result<ExitStatus> {
    let title = format!("imported from {}", path.display());
    let mut status = ExitStatus::Success;
    let (mut added, mut known) = (0, 0);
    let mut store = |parsed: Result<file::RecordFile, StoreError>, name: &str| -> Result<()> {
        let file = match parsed.and_then(|file| Ok((crate::store::verify::verify(&file)?, file))) {
            Ok((verification, file)) => match verification.difference {
                None => file,
                Some(difference) => {
                    ui.warn(one_line(&format!("{name} does not verify and was not imported: {difference}")));
                    status = ExitStatus::VerifyMismatch;
                    return Ok(());
                }
            },
            Err(error) => {
                ui.warn(one_line(&format!("{name}: {error}")));
                status = ExitStatus::Error;
                return Ok(());
            }
        };
        if history.import_file(&file, &title)? {
            added += 1;
        } else if is_stored(history, &file.record)? {
            known += 1;
        } else {
            ui.warn(format_args!(
                "{name} was not imported: run {} is stored with other content; `tierbench history rm {0}` removes that",
                file.record.raw.run.id
            ));
            status = ExitStatus::Error;
        }
        Ok(())
    };
    if path.extension().is_some_and(|extension| extension == "jsonl") {
        let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
        let reader = std::io::BufReader::new(std::fs::File::open(path).map_err(failed)?);
        for (number, line) in reader.lines().enumerate() {
            let line = line.map_err(failed)?;
            if !line.trim().is_empty() {
                let name = format!("{} line {}", path.display(), number + 1);
                store(file::parse(line.as_bytes(), path), &name)?;
            }
        }
    } else {
        store(file::read(path), &path.display().to_string())?;
    }
    ui.note(format_args!("{added} records added, {known} already there"));
    Ok(status)
}
