//! `tierbench eval`.

mod cell;

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use comfy_table::{Cell as Column, CellAlignment, ContentArrangement, Table, presets};
use serde_json::json;

use self::cell::{Cell, usage};
use super::engine_args::{EngineArgs, named_or_default};
use super::{OutputFormat, Ui, interrupt};
use crate::decide::Rule;
use crate::engine::Engine;
use crate::error::{Error, ExitStatus, Result};
use crate::model::gguf::Gguf;
use crate::model::tokenizer::Tokenizer;
use crate::model::{self, ModelFile};
use crate::plan::{Tier, TierKey};
use crate::quality::prompt::Prompter;
use crate::quality::task::{BarMetric, Task};
use crate::quality::{Baseline, EvalOptions, ItemResult, QualityError, best_baseline, evaluate, item_order};

/// Judge given tiers on tasks: does each clear the bar?
///
/// Every tier sees the same items in the same seeded order and stops as soon as its verdict is decided. With several
/// tiers the error bound of a wrong CLEARS holds for all of them together.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model file or catalogue name, with or without `:level`; cheapest first, repeatable [default: the catalogue's
    /// default model]
    #[arg(short, long, value_name = "MODEL")]
    model: Vec<String>,
    /// Task by name or folder; repeatable
    #[arg(long, alias = "tasks", default_value = "support_tickets", value_delimiter = ',', value_name = "TASK")]
    task: Vec<String>,
    /// Share of items a tier must solve [default: the task's own bar]
    #[arg(long, value_name = "SHARE")]
    bar: Option<f64>,
    /// Bound of the chance that any tier below the bar is called CLEARS
    #[arg(long, value_name = "P")]
    alpha: Option<f64>,
    /// Bound of the chance that a tier at or above the bar is called FAILS
    #[arg(long, value_name = "P")]
    beta: Option<f64>,
    /// CLEARS means "not below the bar minus this": fewer items near the bar
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    margin: f64,
    /// Items per task and tier at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Go through all items even when the verdict is decided
    #[arg(long)]
    full: bool,
    /// Seed of the order of items
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Print the N-th item of the order as the model sees it, and stop
    #[arg(long, value_name = "N")]
    show: Option<usize>,
    /// Write every item's result to this file, one JSON object per line
    #[arg(long, visible_alias = "log_samples", value_name = "FILE")]
    log_samples: Option<PathBuf>,
    /// Format of the result
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    /// Threads; 0 for all physical cores
    #[arg(short, long, default_value_t = 0)]
    threads: u32,
    /// Sequences the engine may hold at once: items are judged in groups
    #[arg(long, default_value_t = 32, value_name = "N")]
    max_seqs: u32,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    if !matches!(args.output, OutputFormat::Table | OutputFormat::Json | OutputFormat::Jsonl) {
        return Err(Error::Usage("eval writes table, json or jsonl: use -o json".into()));
    }
    let tasks = args.task.iter().map(|spec| Task::load(spec)).collect::<Result<Vec<_>, _>>()?;
    if let Some(place) = args.show {
        return show(&tasks, place, args.seed, ui);
    }
    let mut rules = Vec::new();
    for task in &tasks {
        rules.push(rule(args, task)?);
    }
    let options = ui.source_options()?;
    let named = if args.model.is_empty() { vec![named_or_default(None, &options)?] } else { args.model.clone() };
    let files = named.iter().map(|spec| model::resolve(spec, &options, &mut ui.bar()));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let mut log = match &args.log_samples {
        None => None,
        Some(path) => Some((path, std::io::BufWriter::new(std::fs::File::create(path).map_err(io("create", path))?))),
    };
    let mut cells = Vec::new();
    for file in &files {
        let mut loaded = load(args, file);
        for (task, (metric, rule)) in tasks.iter().zip(&rules) {
            if interrupt::requested() {
                break;
            }
            let mut cell = Cell::new(file.name.clone(), task, *metric, rule.clone())?;
            match &mut loaded {
                // One bad tier never loses the others' results.
                Err(error) => cell.error = Some(error.to_string()),
                Ok((engine, tokenizer)) => {
                    cell.tier = tier(file, engine.as_ref()).to_string();
                    let mut write = |line: serde_json::Value| match &mut log {
                        None => Ok(()),
                        Some((path, file)) => writeln!(file, "{line}").map_err(io("write", path)),
                    };
                    match judge(args, ui, &mut cell, task, tokenizer, engine.as_mut(), &mut write) {
                        Ok(()) => {}
                        Err(error @ Error::Io { .. }) => return Err(error),
                        Err(error) => cell.error = Some(error.to_string()),
                    }
                }
            }
            cells.push(cell);
        }
    }
    if let Some((path, mut file)) = log {
        file.flush().map_err(io("write", path))?;
    }
    print(args.output, &cells, ui)?;
    Ok(if interrupt::requested() { ExitStatus::Interrupted } else { cell::exit_status(&cells) })
}

fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

/// What a task's verdicts are about: flags first, then what the task says, then the defaults.
fn rule(args: &Args, task: &Task) -> Result<(BarMetric, Rule)> {
    let bar = args.bar.or(task.bar.map(|bar| bar.min)).ok_or_else(|| {
        Error::Usage(format!("task `{}` states no bar: give one with --bar, e.g. --bar 0.8", task.name))
    })?;
    let metric = task.bar.map_or(BarMetric::PassRate, |bar| bar.metric);
    let mut rule = Rule::new(bar).map_err(usage)?;
    rule.alpha = args.alpha.or(task.alpha).unwrap_or(rule.alpha);
    rule.beta = args.beta.unwrap_or(rule.beta);
    rule.margin = args.margin;
    rule.tiers = u32::try_from(args.model.len()).unwrap_or(u32::MAX).max(1);
    rule.n_max = Some(args.limit.unwrap_or(usize::MAX).min(task.items.len()) as u64);
    rule.order_seed = args.seed;
    rule.validate().map_err(usage)?;
    let reaches = |baseline: &Baseline| match metric {
        BarMetric::PassRate => baseline.pass_rate,
        BarMetric::MeanScore => baseline.mean_score,
    };
    if let Some(best) = best_baseline(task)?.filter(|best| reaches(best) >= bar - args.margin) {
        let (task, reaches) = (task.name.clone(), reaches(&best));
        return Err(
            QualityError::BarBelowBaseline { task, bar: bar - args.margin, baseline: best.name, reaches }.into()
        );
    }
    Ok((metric, rule))
}

fn load(args: &Args, file: &ModelFile) -> Result<(Box<dyn Engine>, Tokenizer)> {
    let gguf = Gguf::open(&file.path).map_err(model::ModelError::from)?;
    let tokenizer = Tokenizer::from_gguf(&gguf).map_err(model::ModelError::from)?;
    let config = args.engine.config(args.threads, 0, args.max_seqs.max(1));
    Ok((args.engine.load(&file.path, &config)?, tokenizer))
}

fn tier(file: &ModelFile, engine: &dyn Engine) -> TierKey {
    let facts = engine.facts();
    Tier {
        model: file.name.clone(),
        level: file.level.clone(),
        requantized_from: file.requantized_from.clone(),
        engine: facts.name.clone(),
        device: facts.device.clone(),
        n_threads: facts.n_threads,
    }
    .key()
}

/// Walks the items until the verdict is decided.
fn judge(
    args: &Args,
    ui: &Ui,
    cell: &mut Cell,
    task: &Task,
    tokenizer: &Tokenizer,
    engine: &mut dyn Engine,
    log: &mut dyn FnMut(serde_json::Value) -> Result<()>,
) -> Result<()> {
    let total = args.limit.unwrap_or(usize::MAX).min(task.items.len());
    let bar = ui.progress(total as u64, false);
    bar.set_message(format!("{} {}", cell.tier, task.name));
    let options = EvalOptions { seed: args.seed, limit: args.limit, done: &[] };
    let started = Instant::now();
    let mut failed = None;
    let evaluated = evaluate(task, tokenizer, engine, &options, &mut |item: ItemResult| {
        bar.inc(1);
        let mut line = json!({ "task": task.name, "tier": cell.tier });
        if let (Some(line), Ok(serde_json::Value::Object(fields))) = (line.as_object_mut(), serde_json::to_value(&item))
        {
            line.extend(fields);
        }
        if let Err(error) = log(line) {
            failed = Some(error);
            return ControlFlow::Break(());
        }
        if let Err(error) = cell.add(item) {
            failed = Some(error);
            return ControlFlow::Break(());
        }
        let decided = cell.decided() && !args.full;
        if decided || interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    if let Some(error) = failed {
        return Err(error);
    }
    cell.finish(&evaluated?, started.elapsed());
    Ok(())
}

fn show(tasks: &[Task], place: usize, seed: u64, ui: &Ui) -> Result<ExitStatus> {
    for task in tasks {
        let order = item_order(task, seed);
        let item = place.checked_sub(1).and_then(|i| order.get(i)).map(|&i| &task.items[i]);
        let item = item.ok_or_else(|| {
            Error::Usage(format!("--show {place}: task `{}` has items 1 to {}", task.name, order.len()))
        })?;
        let prompter = Prompter::new(task)?;
        ui.line(prompter.context(item)?)?;
        for choice in prompter.choices(item)? {
            ui.line(format_args!("  → {:?}", format!("{}{choice}", prompter.delimiter())))?;
        }
        ui.note(format_args!("task {}, item {}, right answer {:?}", task.name, item.id, prompter.gold(item)?));
    }
    Ok(ExitStatus::Success)
}

fn print(output: OutputFormat, cells: &[Cell], ui: &Ui) -> Result<()> {
    match output {
        OutputFormat::Json => ui.line(json!({ "cells": cells.iter().map(Cell::json).collect::<Vec<_>>() })),
        OutputFormat::Jsonl => cells.iter().try_for_each(|cell| ui.line(cell.json())),
        _ => {
            let mut table = Table::new();
            table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
            table.set_header(["tier", "task", "solved", "95 % interval", "by level", "items/s", "verdict"]);
            for cell in cells {
                let right = |text: String| Column::new(text).set_alignment(CellAlignment::Right);
                table.add_row([
                    Column::new(&cell.tier),
                    Column::new(&cell.task),
                    right(cell.solved()),
                    right(cell.interval_text()),
                    right(cell.levels_text()),
                    right(cell.items_per_s().map_or("—".into(), |rate| format!("{rate:.1}"))),
                    Column::new(cell.verdict_text()),
                ]);
            }
            ui.line(table)?;
            for cell in cells.iter().filter(|cell| cell.error.is_none()) {
                ui.line(cell.footnote())?;
            }
            Ok(())
        }
    }
}
