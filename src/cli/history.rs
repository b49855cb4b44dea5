//! `tierbench history`.

mod import;

use super::{OutputFormat, Ui};
use crate::error::{ExitStatus, Result};
use crate::report::document::{Column, Document, Table};
use crate::report::{counted, markdown, one_line};
use crate::store::cell::Outcome;
use crate::store::history::{History, RunSummary};

/// List, show, remove and import stored runs
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    listed: Printed,
}

/// How a table is printed.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Printed {
    /// Format
    #[arg(short, long, value_parser = OutputFormat::among(&[OutputFormat::Table, OutputFormat::Md, OutputFormat::Json]), default_value = "table")]
    output: OutputFormat,
}

impl Printed {
    /// Prints `document`, or `data` as JSON.
    fn print(self, document: &Document, data: &impl serde::Serialize, ui: &Ui) -> Result<ExitStatus> {
        match self.output {
            OutputFormat::Md => ui.write(markdown::layout(document).as_bytes())?,
            OutputFormat::Json => ui.json(data)?,
            _ => ui.write(ui.terminal().layout(document).as_bytes())?,
        }
        Ok(ExitStatus::Success)
    }
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List stored runs, newest first (the default)
    List(Printed),
    /// Show the cells of a run
    Show {
        /// Run id, its beginning, or `latest`
        run: String,
        #[command(flatten)]
        printed: Printed,
    },
    /// Remove runs and their cells
    Rm {
        /// Run ids or their beginnings
        #[arg(required = true)]
        runs: Vec<String>,
    },
    /// Add records: a record file, JSONL as written by `export --all`, or results: of `bench` and `llama-bench` (`-o json`
    /// or jsonl), lm-eval's results_*.json with the samples that --log_samples writes beside it
    Import(import::Args),
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let mut history = History::open_default()?;
    match &args.action {
        None => list(&history, args.listed, ui),
        Some(Action::List(printed)) => list(&history, *printed, ui),
        Some(Action::Show { run, printed }) => show(&history, run, *printed, ui),
        Some(Action::Rm { runs }) => {
            for wanted in runs {
                let id = history.resolve(wanted)?;
                history.remove(&id)?;
                ui.note(format_args!("removed {id}"));
            }
            Ok(ExitStatus::Success)
        }
        Some(Action::Import(args)) => import::run(args, &mut history, ui),
    }
}

fn list(history: &History, printed: Printed, ui: &Ui) -> Result<ExitStatus> {
    let runs = history.list()?;
    let titles =
        [("run", false), ("started", false), ("state", false), ("cells", true), ("failed", true), ("what", false)];
    let columns = titles.map(|(title, numeric)| Column { title: title.into(), numeric }).into();
    let rows = runs.iter().map(|run| {
        let started = if run.started_at.is_empty() { "—".to_owned() } else { one_line(&run.started_at) };
        let (cells, failed) = (run.cells.to_string(), run.failed.to_string());
        vec![one_line(&run.id), started, state(run).into(), cells, failed, one_line(&run.title)]
    });
    let notes = if runs.is_empty() { vec!["No runs yet: `tierbench run` makes one.".to_owned()] } else { Vec::new() };
    let table = Table { title: String::new(), columns, rows: rows.collect() };
    let document = Document { answers: vec![], tables: vec![table], notes };
    printed.print(&document, &runs, ui)
}

fn state(run: &RunSummary) -> &'static str {
    match (&run.finished_at, run.has_record) {
        (Some(_), _) => "finished",
        (None, true) => "interrupted",
        // Its cells are of tiers that nothing describes.
        (None, false) if run.cells > 0 && !run.has_header => "broken",
        (None, false) => "unfinished",
    }
}

fn show(history: &History, wanted: &str, printed: Printed, ui: &Ui) -> Result<ExitStatus> {
    let id = history.resolve(wanted)?;
    let columns = ["cell", "finished", "result"].map(|title| Column { title: title.into(), numeric: false }).into();
    let cells = history.cells(&id)?;
    let rows = cells.iter().map(|cell| {
        let result = match &cell.outcome {
            Outcome::Speed(trials) => counted(trials.samples.len() as u64, "trial"),
            Outcome::Task(task) => {
                let passes = task.items.iter().filter(|item| item.pass).count();
                format!("{passes} of {} items passed", task.items.len())
            }
            Outcome::Failed { error } => format!("failed: {error}"),
        };
        vec![one_line(&cell.id().0), one_line(&cell.finished_at), one_line(&result)]
    });
    let table = Table { title: String::new(), columns, rows: rows.collect() };
    let is_reportable = history.list()?.iter().any(|run| run.id == id && run.is_reportable());
    let notes = vec![if is_reportable {
        format!("`tierbench report {id}` prints its tables.")
    } else {
        format!("No record: it was stopped before it stored what it ran on. `tierbench history rm {id}` removes it.")
    }];
    printed.print(&Document { answers: vec![], tables: vec![table], notes }, &cells, ui)
}
