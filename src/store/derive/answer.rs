//! The cheapest tier that clears a task's bar.

use crate::decide::Verdict;
use crate::decide::ladder::{Outcome, Rung, answer_now};
use crate::decide::pareto::{Point, front};
use crate::plan::TierKey;
use crate::store::derived::{Answer, AnswerOutcome, CostBasis, TaskNumbers};
use crate::store::record::TaskFacts;
use crate::units::Interval;

/// The answer for one task.
pub(super) fn answer(facts: &TaskFacts, tasks: &[TaskNumbers]) -> Answer {
    let results: Vec<&TaskNumbers> = tasks.iter().filter(|numbers| numbers.task == facts.name).collect();
    let priced = results.iter().any(|numbers| numbers.cost.usd_per_1k_solved.is_some());
    let basis = if priced { CostBasis::UsdPer1kSolved } else { CostBasis::SecondsPerSolved };
    let points: Vec<Option<Point>> = results
        .iter()
        .map(|numbers| Some(Point { cost: cost(numbers, basis)?.value, quality: numbers.assessment.rate? }))
        .collect();
    Answer {
        task: facts.name.clone(),
        basis,
        outcome: outcome(&results, basis),
        pareto: front(&points).into_iter().map(|i| results[i].tier.clone()).collect(),
    }
}

/// Dollars per 1,000 or seconds per solved item; `None` if nothing was solved.
fn cost(numbers: &TaskNumbers, basis: CostBasis) -> Option<Interval> {
    match basis {
        CostBasis::UsdPer1kSolved => numbers.cost.usd_per_1k_solved,
        CostBasis::SecondsPerSolved => {
            let rate = numbers.pass_rate.filter(|rate| rate.value > 0.0)?;
            let seconds = numbers.seconds_per_item?;
            let per = |rate: f64| seconds / rate;
            Some(Interval { value: per(rate.value), lo: per(rate.hi), hi: per(rate.lo), level: rate.level })
        }
    }
}

fn outcome(results: &[&TaskNumbers], basis: CostBasis) -> AnswerOutcome {
    if results.is_empty() {
        return AnswerOutcome::NoResults;
    }
    let rung =
        |numbers: &&TaskNumbers| Rung { cost: cost(numbers, basis), verdict: numbers.verdict(), exhausted: false };
    let answer = answer_now(&results.iter().map(rung).collect::<Vec<_>>());
    let keys = |indices: &[usize]| -> Vec<TierKey> { indices.iter().map(|&i| results[i].tier.clone()).collect() };
    match (answer.outcome, answer.chosen) {
        (Outcome::Clears, Some(chosen)) => AnswerOutcome::Cheapest {
            tier: results[chosen].tier.clone(),
            ties: keys(&answer.ties),
            cheaper_undecided: keys(&answer.undecided),
        },
        (Outcome::NoTierClears, _) => AnswerOutcome::NoneClears,
        _ => {
            let more = answer.undecided.iter().filter_map(|&i| match results[i].verdict() {
                Verdict::Undecided { more_items } => more_items,
                Verdict::Clears | Verdict::Fails => None,
            });
            AnswerOutcome::Undecided { items_needed: more.min(), tiers: keys(&answer.undecided) }
        }
    }
}
