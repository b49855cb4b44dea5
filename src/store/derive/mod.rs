//! Raw samples to published numbers: one pure function, shared by the run pipeline and `verify`.

mod answer;
mod cost;
mod economics;
mod energy;
mod speed;
mod task;

pub(crate) use energy::per_unit as energy_per_unit;

use super::cell::{Outcome, Subject};
use super::derived::{Derived, SpeedNumbers, TaskNumbers, TierNumbers};
use super::record::RawRecord;
use crate::plan::TierKey;

/// Derives every number. Cells that failed have none.
pub(super) fn derive(raw: &RawRecord) -> Derived {
    let mut speed = Vec::new();
    for cell in &raw.cells {
        if let (Subject::Workload(_), Outcome::Speed(trials)) = (&cell.subject, &cell.outcome) {
            speed.push(speed::numbers(raw, &cell.tier, trials));
        }
    }
    let tiers: Vec<_> = raw.tiers.iter().map(|facts| cost::tier_numbers(raw, &facts.key, &speed)).collect();
    let mut tasks = Vec::new();
    for cell in &raw.cells {
        if let (Subject::Task(name), Outcome::Task(results)) = (&cell.subject, &cell.outcome)
            && let Some(facts) = raw.tasks.iter().find(|task| task.name == *name)
        {
            tasks.extend(task::numbers(raw, &cell.tier, facts, results));
        }
    }
    let answers = raw.tasks.iter().map(|facts| answer::answer(facts, &tasks)).collect();
    let ladder = ladder(raw, &speed, &tiers, &tasks);
    let mut derived = Derived { speed, tasks, tiers, answers, ladder, economics: Vec::new() };
    derived.economics = economics::economics(raw, &derived);
    derived
}

/// Tiers, cheapest first: by the cost of an item where one task is all there is, else by the blended token price, else
/// by decode speed. Tiers whose figure is unknown follow those that have one, in the order of the plan.
fn ladder(raw: &RawRecord, speed: &[SpeedNumbers], tiers: &[TierNumbers], tasks: &[TaskNumbers]) -> Vec<TierKey> {
    let item_cost = |key: &TierKey| {
        let [only] = raw.tasks.as_slice() else { return None };
        tasks
            .iter()
            .find(|numbers| numbers.tier == *key && numbers.task == only.name)?
            .cost
            .usd_per_item
            .map(|cost| cost.value)
    };
    let blended = |key: &TierKey| {
        let numbers = tiers.iter().find(|numbers| numbers.tier == *key)?;
        numbers.cost.usd_per_mtok_blended.map(|cost| cost.value)
    };
    let slowness = |key: &TierKey| {
        let decode = tiers.iter().find(|numbers| numbers.tier == *key)?.decode?;
        let numbers = speed.iter().find(|numbers| numbers.tier == *key && numbers.workload == decode)?;
        numbers.median.map(|rate| -rate)
    };
    let mut keys: Vec<TierKey> = raw.tiers.iter().map(|facts| facts.key.clone()).collect();
    let known = |figure: &dyn Fn(&TierKey) -> Option<f64>| raw.tiers.iter().any(|facts| figure(&facts.key).is_some());
    // The first figure that any tier has orders all: mixing figures would not be an order.
    let mut by = |figure: &dyn Fn(&TierKey) -> Option<f64>| {
        keys.sort_by(|a, b| match (figure(a), figure(b)) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        });
    };
    if known(&item_cost) {
        by(&item_cost);
    } else if known(&blended) {
        by(&blended);
    } else {
        by(&slowness);
    }
    keys
}
