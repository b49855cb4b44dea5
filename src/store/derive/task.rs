//! Quality, time and cost of one tier on one task.

use super::{cost, energy};
use crate::decide::{DecideError, State};
use crate::energy::Reading;
use crate::plan::TierKey;
use crate::quality::task::BarMetric;
use crate::quality::{FinishReason, ItemResult};
use crate::stats::{binomial, cluster, quantile};
use crate::store::cell::TaskItems;
use crate::store::derived::TaskNumbers;
use crate::store::record::{RawRecord, TaskFacts};

/// Numbers of one task cell. `None` only if the rule is one that [`crate::store::validate`] refuses.
pub(super) fn numbers(raw: &RawRecord, tier: &TierKey, facts: &TaskFacts, results: &TaskItems) -> Option<TaskNumbers> {
    let items = &results.items;
    let n = items.len() as u64;
    let passes = items.iter().filter(|item| item.pass).count() as u64;
    let scores: Vec<f64> = items.iter().map(|item| item.score).collect();
    // Items of another tool may come without times and token counts: nothing is known then, not 0.
    let mean_of = |of: fn(&ItemResult) -> f64, known: fn(&ItemResult) -> bool| {
        let values: Vec<f64> = items.iter().map(of).collect();
        quantile::mean(&values).filter(|_| items.iter().any(known))
    };
    let energy = energy::per_unit(shared_windows(results, n), &energy::idle(raw, tier));
    let readings = cost::item_readings(raw, items, energy.as_ref());
    Some(TaskNumbers {
        tier: tier.clone(),
        task: facts.name.clone(),
        items: n,
        passes,
        pass_rate: binomial::wilson(passes, n, raw.plan.level),
        mean_score: quantile::mean(&scores),
        clustered_stderr: clustered_stderr(items),
        assessment: state(facts, items).ok()?.assess(),
        truncated: items.iter().filter(|item| item.finish_reason == FinishReason::Length).count() as u64,
        seconds_per_item: mean_of(|item| item.elapsed_ns as f64 / 1e9, |item| item.ms().is_some()),
        prefilled_per_item: mean_of(
            |item| f64::from(item.n_prompt_tokens.saturating_sub(item.n_cached_tokens)),
            ItemResult::is_counted,
        ),
        generated_per_item: mean_of(|item| f64::from(item.n_gen_tokens), ItemResult::is_counted),
        joules_per_solved: cost::joules_per_solved(&readings),
        joules_per_byte: cost::joules_per_byte(&readings, items),
        cost: cost::item_cost(raw, &readings),
        energy,
    })
}

/// The verdict after all items, replayed in their order: once decided it stays so.
fn state(facts: &TaskFacts, items: &[ItemResult]) -> Result<State, DecideError> {
    match facts.metric {
        BarMetric::PassRate => {
            let mut state = State::new(facts.rule.clone())?;
            state.push_all(items.iter().map(|item| item.pass))?;
            Ok(state)
        }
        BarMetric::MeanScore => {
            let mut state = State::of_scores(facts.rule.clone())?;
            for item in items {
                state.push_score(item.score)?;
            }
            Ok(state)
        }
    }
}

/// Windows with the number of items each stands for. Windows are not tied to items: together they cover all.
fn shared_windows(results: &TaskItems, n: u64) -> Vec<(&Reading, u64)> {
    let seconds: f64 = results.energy.iter().map(|reading| reading.window_s).sum();
    let share = |reading: &Reading| (n as f64 * reading.window_s / seconds).round() as u64;
    match results.energy.as_slice() {
        [only] => vec![(only, n)],
        many => many.iter().map(|reading| (reading, share(reading))).collect(),
    }
}

/// Standard error of the pass rate with the items of one template taken as dependent; `None` if no item names one.
fn clustered_stderr(items: &[ItemResult]) -> Option<f64> {
    let names: Vec<&str> = items.iter().map(|item| item.template.as_deref()).collect::<Option<_>>()?;
    let passes: Vec<f64> = items.iter().map(|item| f64::from(u8::from(item.pass))).collect();
    cluster::standard_error(&passes, &names).map(|error| error.clustered)
}
