//! What `eval` prints.

use comfy_table::{Cell as Column, CellAlignment, ContentArrangement, Table, presets};
use serde_json::json;

use super::cell::Cell;
use super::{Args, Subject};
use crate::cli::{OutputFormat, Ui};
use crate::decide::ladder::{self, Answer, Outcome, Rung, Step, Strategy};
use crate::error::Result;
use crate::model::ModelFile;
use crate::store::derived::{Derived, TaskNumbers};

/// The answer of a task's ladder, in words and as JSON.
pub(super) struct LadderAnswer {
    task: String,
    text: String,
    json: serde_json::Value,
}

/// What a strategy has found.
pub(super) fn outcome(strategy: Strategy, rungs: &[Rung]) -> Answer {
    match ladder::next(strategy, rungs, false) {
        Step::Answer(answer) => answer,
        // Interrupted: as things stand.
        Step::Test(_) => ladder::answer_now(rungs),
    }
}

pub(super) fn answer(args: &Args, subject: &Subject, files: &[ModelFile]) -> LadderAnswer {
    let answer = match args.strategy() {
        Some(strategy) => outcome(strategy, &subject.rungs),
        None => ladder::answer_now(&subject.rungs),
    };
    let name = |place: usize| {
        let file = &files[place];
        file.level.as_ref().map_or_else(|| file.name.clone(), |level| format!("{}:{level}", file.name))
    };
    let untested: Vec<String> =
        subject.rungs.iter().enumerate().filter(|(_, rung)| !rung.exhausted).map(|(place, _)| name(place)).collect();
    let task = subject.task.name.clone();
    let mut text = match (answer.outcome, answer.chosen) {
        (Outcome::Clears, Some(place)) => format!("{task}: the first tier named that clears is {}.", name(place)),
        (Outcome::NoTierClears, _) => format!("{task}: no tier clears."),
        _ => format!("{task}: undecided."),
    };
    if !untested.is_empty() {
        text.push_str(&format!(" Not tested: {}.", untested.join(", ")));
    }
    let json = json!({
        "task": task,
        "outcome": answer.outcome,
        "first_that_clears": answer.chosen.map(name),
        "undecided_before_it": answer.undecided.iter().map(|&place| name(place)).collect::<Vec<_>>(),
        "not_tested": untested,
    });
    LadderAnswer { task: subject.task.name.clone(), text, json }
}

pub(super) fn print(
    output: OutputFormat,
    cells: &[Cell],
    derived: &Derived,
    answers: &[LadderAnswer],
    ui: &Ui,
) -> Result<()> {
    let numbers = |cell: &Cell| derived.tasks.iter().find(|n| n.tier == cell.tier && n.task == cell.task);
    match output {
        OutputFormat::Json => {
            let cells: Vec<_> = cells.iter().map(|cell| cell.json(numbers(cell))).collect();
            ui.line(json!({ "cells": cells, "answers": answers.iter().map(|a| &a.json).collect::<Vec<_>>() }))
        }
        OutputFormat::Jsonl => cells.iter().try_for_each(|cell| ui.line(cell.json(numbers(cell)))),
        _ => table(cells, &numbers, answers, ui),
    }
}

fn table<'a>(
    cells: &[Cell],
    numbers: &dyn Fn(&Cell) -> Option<&'a TaskNumbers>,
    answers: &[LadderAnswer],
    ui: &Ui,
) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header([
        "tier",
        "task",
        "solved",
        "95 % interval",
        "by level",
        "s.e.",
        "items/s",
        "$/1k solved",
        "verdict",
    ]);
    for cell in cells {
        let right = |text: String| Column::new(text).set_alignment(CellAlignment::Right);
        let numbers = numbers(cell);
        let error = numbers.and_then(|n| n.clustered_stderr).map(|error| format!("{:.1}", 100.0 * error));
        let price = numbers.and_then(|n| n.cost.usd_per_1k_solved).map(|price| format!("{:.2e}", price.value));
        table.add_row([
            Column::new(&cell.tier),
            Column::new(&cell.task),
            right(cell.solved()),
            right(cell.interval_text()),
            right(cell.levels_text()),
            right(error.unwrap_or_else(|| "—".into())),
            right(cell.items_per_s().map_or("—".into(), |rate| format!("{rate:.1}"))),
            right(price.unwrap_or_else(|| "—".into())),
            Column::new(cell.verdict_text()),
        ]);
    }
    ui.line(table)?;
    for cell in cells.iter().filter(|cell| cell.error.is_none()) {
        ui.line(cell.footnote())?;
        if let Some(text) = cell.paired_text() {
            ui.line(format_args!("  {text}"))?;
        }
    }
    if cells.iter().any(|cell| numbers(cell).is_some_and(|n| n.clustered_stderr.is_some())) {
        ui.line("s.e.: standard error of the pass rate in points, items of one template taken as dependent.")?;
    }
    for answer in answers {
        let several = cells.iter().filter(|cell| cell.task == answer.task).count() > 1;
        if several || !answer.json["not_tested"].as_array().is_none_or(Vec::is_empty) {
            ui.line(&answer.text)?;
        }
    }
    Ok(())
}
