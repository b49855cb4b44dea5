//! `tierbench tasks`.

mod new;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::json;

use super::Ui;
use crate::error::{Error, ExitStatus, Result};
use crate::model::dataset;
use crate::quality::baselines;
use crate::quality::lint::{Severity, lint};
use crate::quality::prompt::Prompter;
use crate::quality::task::{self, Task};

/// List, show, check and scaffold tasks
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List all tasks: the built-in ones and yours
    List {
        /// Format
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Show one task: bar, baselines, levels, and an item as a model sees it
    Show {
        /// Name, or path of a folder with a task.yaml
        task: String,
        /// Place of the item to print, from 1
        #[arg(long, default_value_t = 1, value_name = "N")]
        item: usize,
        /// Format
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Read tasks and report what is wrong or doubtful: leakage, imbalance, a scorer that contradicts its examples
    Check {
        /// Names or paths; all tasks if none
        tasks: Vec<String>,
    },
    /// Get the hub data sets that tasks name, into the cache
    Fetch {
        /// Names or paths
        #[arg(required = true)]
        tasks: Vec<String>,
    },
    /// Write a folder with a working task: an example to start from, or your own rows
    New(new::Args),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For the terminal
    Table,
    /// JSON
    Json,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    match &args.command {
        Command::List { output } => list(*output, ui),
        Command::Show { task, item, output } => show(task, *item, *output, ui),
        Command::Check { tasks } => check(tasks, ui),
        Command::Fetch { tasks } => {
            for spec in tasks {
                let fetched = fetch(spec, ui)?;
                let (items, shots) = Task::load(spec).map(|task| (task.items.len(), task.shots.len()))?;
                ui.line(format_args!("{spec}: {items} items, {shots} worked examples, {fetched} splits fetched"))?;
            }
            Ok(ExitStatus::Success)
        }
        Command::New(args) => new::run(args, ui),
    }
}

/// Gets what a task lacks of its hub data set; the number of splits.
pub(super) fn fetch(spec: &str, ui: &Ui) -> Result<usize> {
    let missing = Task::hub_splits(spec)?;
    for split in &missing {
        dataset::fetch(split, &ui.source_options()?, &mut ui.bar())?;
    }
    Ok(missing.len())
}

fn list(output: Format, ui: &Ui) -> Result<ExitStatus> {
    let mut tasks = Vec::new();
    for name in task::names() {
        match Task::load(&name) {
            Ok(task) => tasks.push(task),
            // A broken task of the user's must not hide the others.
            Err(error) => ui.warn(format!("task `{name}`: {error}")),
        }
    }
    if output == Format::Json {
        let rows = tasks.iter().map(facts).collect::<Result<Vec<_>>>()?;
        return ui.line(json!(rows)).map(|()| ExitStatus::Success);
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["task", "kind", "items", "levels", "bar", "best baseline", "from"]);
    for task in &tasks {
        let facts = facts(task)?;
        let best = facts["baselines"].as_array().and_then(|b| b.iter().max_by(|a, b| rate(a).total_cmp(&rate(b))));
        table.add_row([
            Cell::new(&task.name),
            Cell::new(facts["kind"].as_str().unwrap_or("—")),
            Cell::new(task.items.len()).set_alignment(CellAlignment::Right),
            Cell::new(task.items.iter().filter_map(|i| i.level).max().map_or("—".into(), |n| n.to_string())),
            Cell::new(task.bar.map_or("—".into(), |bar| bar.min.to_string())),
            Cell::new(best.map_or("—".into(), |b| format!("{} {:.2}", b["name"].as_str().unwrap_or(""), rate(b)))),
            Cell::new(&task.origin),
        ]);
    }
    ui.line(table)?;
    Ok(ExitStatus::Success)
}

fn rate(baseline: &serde_json::Value) -> f64 {
    baseline["pass_rate"].as_f64().unwrap_or(0.0)
}

fn facts(task: &Task) -> Result<serde_json::Value> {
    Ok(json!({
        "task": task.name,
        "version": task.version,
        "kind": task.kind,
        "decode": task.decode,
        "scorer": task.scorer.name(),
        "items": task.items.len(),
        "shots": task.shots.len(),
        "bar": task.bar,
        "alpha": task.alpha,
        "baselines": baselines(task)?,
        "sha256": task.sha256,
        "origin": task.origin.to_string(),
    }))
}

fn show(spec: &str, place: usize, output: Format, ui: &Ui) -> Result<ExitStatus> {
    let task = Task::load(spec)?;
    let prompter = Prompter::new(&task)?;
    let item = place.checked_sub(1).and_then(|i| task.items.get(i)).ok_or_else(|| {
        Error::Usage(format!("--item {place}: task `{}` has items 1 to {}", task.name, task.items.len()))
    })?;
    let facts = facts(&task)?;
    let prompt = prompter.context(item)?;
    if output == Format::Json {
        ui.line(json!({ "facts": facts, "item": item.data, "prompt": prompt, "choices": prompter.choices(item)? }))?;
        return Ok(ExitStatus::Success);
    }
    for (key, value) in facts.as_object().into_iter().flatten() {
        ui.line(format_args!("{key:10} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))?;
    }
    ui.line(format_args!("\nitem {} as a model sees it:\n{prompt}", item.id))?;
    for choice in prompter.choices(item)? {
        ui.line(format_args!("  → {choice}"))?;
    }
    Ok(ExitStatus::Success)
}

fn check(specs: &[String], ui: &Ui) -> Result<ExitStatus> {
    let specs = if specs.is_empty() { task::names() } else { specs.to_vec() };
    let mut errors = 0;
    for spec in &specs {
        match Task::load(spec).and_then(|task| Ok((lint(&task)?, task))) {
            Ok((findings, task)) => {
                ui.line(format_args!("{spec}: {} items, {} findings", task.items.len(), findings.len()))?;
                for finding in findings {
                    let word = if finding.severity == Severity::Error { "error" } else { "warning" };
                    errors += usize::from(finding.severity == Severity::Error);
                    ui.line(format_args!("  {word}: {}", finding.message))?;
                }
            }
            Err(error) => {
                errors += 1;
                ui.line(format_args!("{spec}: error: {error}"))?;
            }
        }
    }
    Ok(if errors == 0 { ExitStatus::Success } else { ExitStatus::Error })
}
