//! What a raw record must satisfy before anything is derived from it.
//!
//! Files come from other people. Each rule bounds work (samples, items) or rules out a value no run can produce, so that
//! [`super::derive`] cannot divide by zero, overflow or run for hours. Plausible but surprising values are not refused
//! here: they become findings.

use std::collections::HashSet;

use super::StoreError;
use super::cell::{Cell, Outcome, Subject, TaskItems};
use super::record::{RawRecord, TaskFacts};
use crate::civil;
use crate::cost::{Assumptions, Hardware};
use crate::energy::Reading;
use crate::measure::SpeedCell;
use crate::plan::Workload;

/// Most trials over all cells: bounds the bootstrap to about a second.
const MAX_SAMPLES: usize = 20_000;
/// Most items over all cells.
const MAX_ITEMS: usize = 100_000;
/// Latest final look: it takes quadratic time.
const MAX_FINAL_LOOK: u64 = 5_000;
/// Most tiers and most cells.
const MAX_TIERS: usize = 200;
/// Longest name.
const MAX_NAME: usize = 300;

type Check = Result<(), StoreError>;

/// Checks a raw record.
///
/// # Errors
/// [`StoreError::BadRecord`] with the JSON path of the first value that cannot be.
pub(super) fn validate(raw: &RawRecord) -> Check {
    run_id(&raw.run.id)?;
    let times =
        [("raw.run.started_at", Some(&raw.run.started_at)), ("raw.run.finished_at", raw.run.finished_at.as_ref())];
    for (at, time) in times {
        // Nothing, where another tool did not say. Lists are sorted by it.
        require(
            time.is_none_or(|time| time.is_empty() || civil::seconds(time).is_some()),
            at,
            "must be a time like 2026-08-21T14:05:00Z",
        )?;
    }
    require(open_unit(raw.plan.level), "raw.plan.level", "must be between 0 and 1")?;
    cost(&raw.cost)?;
    require(raw.tiers.len() <= MAX_TIERS, "raw.tiers", "too many tiers")?;
    let mut tiers = HashSet::new();
    for (i, tier) in raw.tiers.iter().enumerate() {
        let at = format!("raw.tiers[{i}]");
        require(!tier.key.0.is_empty() && tier.key.0.len() <= MAX_NAME, &at, "key is empty or too long")?;
        require(tiers.insert(&tier.key), &at, "the same tier twice")?;
    }
    let mut tasks = HashSet::new();
    for (i, facts) in raw.tasks.iter().enumerate() {
        let at = format!("raw.tasks[{i}]");
        task(facts, &at)?;
        require(tasks.insert(facts.name.as_str()), &at, "the same task twice")?;
    }
    for (i, fact) in raw.bandwidth.iter().enumerate() {
        require(fact.memory.is_none_or(positive), &format!("raw.bandwidth[{i}]"), "must be positive")?;
    }
    let prompts: usize = raw.prompts.iter().map(|task| task.items.len()).sum();
    require(prompts <= MAX_ITEMS, "raw.prompts", &format!("more than {MAX_ITEMS} items"))?;
    let (mut ids, mut samples, mut items) = (HashSet::new(), 0, 0);
    for (i, cell) in raw.cells.iter().enumerate() {
        let at = format!("raw.cells[{i}]");
        require(tiers.contains(&cell.tier), &at, &format!("tier `{}` is not listed", cell.tier))?;
        require(ids.insert(cell.id()), &at, "the same cell twice")?;
        check_cell(cell, raw, &at)?;
        match &cell.outcome {
            Outcome::Speed(trials) => samples += trials.samples.len(),
            Outcome::Task(results) => items += results.items.len(),
            Outcome::Failed { .. } => {}
        }
    }
    require(samples <= MAX_SAMPLES, "raw.cells", &format!("more than {MAX_SAMPLES} trials"))?;
    require(items <= MAX_ITEMS, "raw.cells", &format!("more than {MAX_ITEMS} items"))
}

fn check_cell(cell: &Cell, raw: &RawRecord, at: &str) -> Check {
    match (&cell.subject, &cell.outcome) {
        (_, Outcome::Failed { .. }) => Ok(()),
        (Subject::Workload(workload), Outcome::Speed(trials)) => speed(workload, trials, at),
        (Subject::Task(name), Outcome::Task(results)) => {
            let facts = raw.tasks.iter().find(|task| task.name == *name);
            let facts = facts.ok_or_else(|| StoreError::bad(at, format!("task `{name}` is not listed")))?;
            task_items(facts, results, at)
        }
        _ => Err(StoreError::bad(at, "results of another kind than the cell's subject")),
    }
}

fn speed(workload: &Workload, trials: &SpeedCell, at: &str) -> Check {
    let tokens = workload.timed_tokens();
    require(trials.workload == *workload, at, "trials of another workload than the cell's subject")?;
    require(tokens > 0, at, "a workload without tokens")?;
    require(!trials.samples.is_empty(), at, "no trials")?;
    for (i, sample) in trials.samples.iter().enumerate() {
        let at = || format!("{at}.outcome.speed.samples[{i}]");
        if sample.elapsed_ns == 0 {
            return Err(StoreError::bad(at(), "elapsed_ns is 0"));
        }
        if sample.tokens != tokens {
            let why = format!("{} tokens, but {workload} processes {tokens}", sample.tokens);
            return Err(StoreError::bad(at(), why));
        }
        let gaps = sample.itl_ns.iter().try_fold(0u64, |sum, &gap| sum.checked_add(gap));
        if gaps.is_none_or(|sum| sum > sample.elapsed_ns) {
            return Err(StoreError::bad(at(), "gaps between tokens are longer than the trial"));
        }
    }
    let windows = trials.windows.iter().map(|window| &window.reading).chain(&trials.energy);
    readings(windows, at)
}

fn task_items(facts: &TaskFacts, results: &TaskItems, at: &str) -> Check {
    require(!results.items.is_empty(), at, "no items")?;
    require(
        results.items.len() as u64 <= facts.suite_items,
        at,
        &format!("{} items, but the suite has {}", results.items.len(), facts.suite_items),
    )?;
    let mut seen = HashSet::new();
    for (i, item) in results.items.iter().enumerate() {
        let at = || format!("{at}.outcome.task.items[{i}]");
        if !(0.0..=1.0).contains(&item.score) {
            return Err(StoreError::bad(at(), format!("score {} is outside 0..1", item.score)));
        }
        if !seen.insert(item.item.as_str()) {
            return Err(StoreError::bad(at(), format!("item `{}` twice", item.item)));
        }
    }
    readings(&results.energy, at)
}

fn readings<'a>(readings: impl IntoIterator<Item = &'a Reading>, at: &str) -> Check {
    for (i, reading) in readings.into_iter().enumerate() {
        let at = format!("{at} reading {i}");
        require(positive(reading.window_s), &at, "window_s must be positive")?;
        require(reading.joules.is_none_or(|joules| not_negative(joules.0)), &at, "joules must not be negative")?;
        require(
            reading.range.is_none_or(|(lo, hi)| not_negative(lo) && hi.is_finite() && lo <= hi),
            &at,
            "range must be two ascending numbers",
        )?;
        for value in [reading.sensor_bound, reading.tick_ms] {
            require(value.is_none_or(not_negative), &at, "bounds and ticks must not be negative")?;
        }
    }
    Ok(())
}

fn task(facts: &TaskFacts, at: &str) -> Check {
    require(!facts.name.is_empty() && facts.name.len() <= MAX_NAME, at, "name is empty or too long")?;
    facts.rule.validate().map_err(|error| StoreError::bad(format!("{at}.rule"), error.to_string()))?;
    require(
        facts.rule.n_max.is_none_or(|n| n <= MAX_FINAL_LOOK),
        &format!("{at}.rule.n_max"),
        &format!("more than {MAX_FINAL_LOOK} items"),
    )
}

fn cost(assumptions: &Assumptions) -> Check {
    let amounts = |at: &str, amounts: &[f64]| {
        require(amounts.iter().all(|&x| not_negative(x)), at, "prices and powers must not be negative")
    };
    require(assumptions.pue.value >= 1.0 && assumptions.pue.value.is_finite(), "raw.cost.pue", "must be at least 1")?;
    let busy = assumptions.utilization.value;
    require(positive(busy) && busy <= 1.0, "raw.cost.utilization", "must be above 0 and at most 1")?;
    amounts("raw.cost", &[assumptions.tariff.value.0, assumptions.failure.value.0])?;
    amounts("raw.cost.idle", &assumptions.idle.iter().map(|idle| idle.value.0).collect::<Vec<_>>())?;
    amounts("raw.cost.carbon", &assumptions.carbon_g_per_kwh.iter().map(|c| c.value).collect::<Vec<_>>())?;
    match &assumptions.hardware {
        Hardware::Owned { price, salvage, life_years, maintenance, discount_rate } => {
            require(positive(life_years.value), "raw.cost.hardware.life_years", "must be positive")?;
            let prices = [price.value.0, salvage.value.0, maintenance.value.0, discount_rate.value];
            amounts("raw.cost.hardware", &prices)
        }
        Hardware::Sunk { maintenance } => amounts("raw.cost.hardware", &[maintenance.value.0]),
        Hardware::Rented { rate } => amounts("raw.cost.hardware", &[rate.value.0]),
    }
}

fn run_id(id: &str) -> Check {
    require(is_run_id(id), "raw.run.id", "must be 1 to 64 letters, digits, `-` or `_`")
}

/// Whether a text can be a run's id. Ids name files: nothing that could leave their directory.
pub(crate) fn is_run_id(id: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !id.is_empty() && id.len() <= 64 && id.chars().all(fine)
}

fn require(holds: bool, at: &str, why: &str) -> Check {
    if holds { Ok(()) } else { Err(StoreError::bad(at, why)) }
}

fn not_negative(x: f64) -> bool {
    x.is_finite() && x >= 0.0
}

fn positive(x: f64) -> bool {
    x.is_finite() && x > 0.0
}

fn open_unit(x: f64) -> bool {
    x > 0.0 && x < 1.0
}
