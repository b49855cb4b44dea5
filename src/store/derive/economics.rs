//! What the costs of a task's tiers mean for a decision: against a hosted model, under other assumptions, for its value.

use super::cost::{item_readings, token_readings};
use crate::cost::api::{against_api, items_against_api};
use crate::cost::demand::spread_interval;
use crate::cost::estimate::Readings;
use crate::cost::flip::flip_points;
use crate::cost::sensitivity::tornado;
use crate::decide::Verdict;
use crate::decide::verdict::clearable_bar;
use crate::plan::TierKey;
use crate::quality::task::BarMetric;
use crate::quality::{FinishReason, ItemResult};
use crate::store::cell::{Outcome, Subject};
use crate::store::derived::{AnswerOutcome, ClearableBar, Derived, Economics, Spread, TaskNumbers};
use crate::store::record::{RawRecord, TaskFacts};

/// Factor by which the tornado varies every input, down and up.
const TORNADO_FACTOR: f64 = 2.0;

/// A tier's numbers on the task with its readings per item.
struct Contender<'a> {
    numbers: &'a TaskNumbers,
    readings: Readings,
    items: &'a [ItemResult],
}

impl Contender<'_> {
    fn cost(&self) -> Option<f64> {
        self.numbers.cost.usd_per_1k_solved.map(|cost| cost.value)
    }
}

/// Economics of every task whose tiers have a cost. `derived` holds everything else already.
pub(super) fn economics(raw: &RawRecord, derived: &Derived) -> Vec<Economics> {
    raw.tasks.iter().filter_map(|task| of_task(raw, derived, task)).collect()
}

fn of_task(raw: &RawRecord, derived: &Derived, task: &TaskFacts) -> Option<Economics> {
    let contenders = contenders(raw, derived, task);
    let answer = derived.answers.iter().find(|answer| answer.task == task.name).map(|answer| &answer.outcome);
    let chosen = match answer {
        Some(AnswerOutcome::Cheapest { tier, .. }) => contenders.iter().find(|c| c.numbers.tier == *tier),
        _ => None,
    };
    let cheapest = || {
        let priced = contenders.iter().filter(|c| c.cost().is_some());
        priced.min_by(|a, b| a.cost().unwrap_or(f64::MAX).total_cmp(&b.cost().unwrap_or(f64::MAX)))
    };
    let subject = chosen.or_else(cheapest)?;
    let tokens = api_tokens(subject.items);
    let own_tokens = token_readings(derived, &subject.numbers.tier, raw);
    let against = raw.cost.against.iter().flat_map(|api| {
        let item = tokens.and_then(|tokens| items_against_api(&subject.readings, &raw.cost, api, tokens));
        item.into_iter().chain(against_api(&own_tokens, &raw.cost, api))
    });
    Some(Economics {
        task: task.name.clone(),
        tier: subject.numbers.tier.clone(),
        against_api: against.collect(),
        flips: chosen.map_or_else(Vec::new, |chosen| flips(raw, &contenders, &chosen.numbers.tier)),
        bars: bars(task, &contenders, chosen.map(|chosen| chosen.numbers)),
        tornado: tornado(&subject.readings, &raw.cost, TORNADO_FACTOR),
        spreads: spreads(raw, &contenders),
    })
}

fn contenders<'a>(raw: &'a RawRecord, derived: &'a Derived, task: &TaskFacts) -> Vec<Contender<'a>> {
    let of_cell = |cell: &'a crate::store::cell::Cell| match (&cell.subject, &cell.outcome) {
        (Subject::Task(name), Outcome::Task(results)) if *name == task.name => {
            let numbers = derived.task_of(&cell.tier, name)?;
            let readings = item_readings(raw, &results.items, numbers.energy.as_ref());
            Some(Contender { numbers, readings, items: &results.items })
        }
        _ => None,
    };
    raw.cells.iter().filter_map(of_cell).collect()
}

/// Mean tokens an API would charge for: the whole prompt, and the answer alone where choices were scored. `None` where
/// items of another tool came without token counts.
fn api_tokens(items: &[ItemResult]) -> Option<(f64, f64)> {
    let answer = |item: &ItemResult| match item.finish_reason {
        FinishReason::Scored => {
            let picked = item.choices.iter().find(|choice| Some(&choice.text) == item.answer.as_ref());
            picked.map_or(1.0, |choice| f64::from(choice.n_tokens))
        }
        _ => f64::from(item.n_gen_tokens),
    };
    let n = items.len() as f64;
    let prompts: f64 = items.iter().map(|item| f64::from(item.n_prompt_tokens)).sum();
    (prompts > 0.0).then(|| (prompts / n, items.iter().map(answer).sum::<f64>() / n))
}

/// Only tiers that clear compete: a cheaper one that fails is no alternative at this bar.
fn flips(raw: &RawRecord, contenders: &[Contender<'_>], chosen: &TierKey) -> Vec<crate::cost::flip::FlipPoint> {
    let clearing: Vec<&Contender<'_>> = contenders.iter().filter(|c| c.numbers.verdict() == Verdict::Clears).collect();
    let named: Vec<(&str, &Readings)> = clearing.iter().map(|c| (c.numbers.tier.0.as_str(), &c.readings)).collect();
    let winner = clearing.iter().position(|c| c.numbers.tier == *chosen);
    winner.map_or_else(Vec::new, |winner| flip_points(&named, winner, &raw.cost))
}

/// The bar up to which the answer would hold, and the bars at which cheaper tiers would take its place; without an answer
/// those of all tiers.
fn bars(task: &TaskFacts, contenders: &[Contender<'_>], chosen: Option<&TaskNumbers>) -> Vec<ClearableBar> {
    if task.metric != BarMetric::PassRate {
        return Vec::new();
    }
    let limit = chosen.and_then(|chosen| chosen.cost.usd_per_1k_solved).map(|cost| cost.value);
    let matters = |c: &&Contender<'_>| {
        let is_answer = chosen.is_some_and(|chosen| chosen.tier == c.numbers.tier);
        let cheaper = limit.is_none_or(|limit| c.cost().is_some_and(|cost| cost < limit));
        is_answer || (cheaper && c.numbers.verdict() != Verdict::Clears)
    };
    let rule = &task.rule;
    let bar = |c: &Contender<'_>| {
        let (passes, items) = (c.numbers.passes, c.numbers.items);
        let bar = clearable_bar(passes, items.saturating_sub(passes), rule.alpha, rule.tiers)?;
        Some(ClearableBar { tier: c.numbers.tier.clone(), bar })
    };
    contenders.iter().filter(matters).filter_map(bar).collect()
}

fn spreads(raw: &RawRecord, contenders: &[Contender<'_>]) -> Vec<Spread> {
    let Some(value) = &raw.cost.value else { return Vec::new() };
    let spread = |c: &Contender<'_>| {
        let (cost, accuracy) = (c.numbers.cost.usd_per_item?, c.numbers.pass_rate?);
        let usd_per_item = spread_interval(cost, accuracy, value.value, raw.cost.failure.value);
        Some(Spread { tier: c.numbers.tier.clone(), usd_per_item })
    };
    let mut spreads: Vec<Spread> = contenders.iter().filter_map(spread).collect();
    spreads.sort_by(|a, b| b.usd_per_item.value.total_cmp(&a.usd_per_item.value));
    spreads
}
