//! What the item explorer shows of a record: a page beside its record holds no more than that.

use serde::Serialize;

use crate::plan::TierKey;
use crate::quality::{ChoiceResult, FinishReason, ItemResult};
use crate::store::cell::{Cell, Outcome, Subject};
use crate::store::prompts::TaskPrompts;
use crate::store::record::Record;

/// The same names in the same places as in a record, so that one script reads both.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    raw: Raw<'a>,
}

#[derive(Serialize)]
struct Raw<'a> {
    cells: Vec<Graded<'a>>,
    prompts: &'a [TaskPrompts],
}

#[derive(Serialize)]
struct Graded<'a> {
    tier: &'a TierKey,
    subject: &'a Subject,
    outcome: Task<'a>,
}

#[derive(Serialize)]
struct Task<'a> {
    task: Items<'a>,
}

#[derive(Serialize)]
struct Items<'a> {
    items: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    item: &'a str,
    level: Option<u32>,
    pass: bool,
    answer: Option<&'a str>,
    raw: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    choices: Vec<Choice<'a>>,
    confidence: Option<f64>,
    elapsed_ns: u64,
    finish_reason: FinishReason,
}

#[derive(Serialize)]
struct Choice<'a> {
    text: &'a str,
    logprob: f64,
}

impl<'a> Shown<'a> {
    pub(super) fn of(record: &'a Record) -> Self {
        let cells = record.raw.cells.iter().filter_map(graded).collect();
        Self { raw: Raw { cells, prompts: &record.raw.prompts } }
    }
}

fn graded(cell: &Cell) -> Option<Graded<'_>> {
    let Outcome::Task(results) = &cell.outcome else { return None };
    let items = results.items.iter().map(item).collect();
    Some(Graded { tier: &cell.tier, subject: &cell.subject, outcome: Task { task: Items { items } } })
}

fn item(result: &ItemResult) -> Item<'_> {
    Item {
        item: &result.item,
        level: result.level,
        pass: result.pass,
        answer: result.answer.as_deref(),
        raw: result.raw.as_deref(),
        choices: result.choices.iter().map(choice).collect(),
        confidence: result.confidence.map(four_places),
        elapsed_ns: result.elapsed_ns,
        finish_reason: result.finish_reason,
    }
}

fn choice(result: &ChoiceResult) -> Choice<'_> {
    Choice { text: &result.text, logprob: four_places(result.logprob) }
}

/// More places than the explorer shows; digits that nobody sees do not compress.
fn four_places(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}
