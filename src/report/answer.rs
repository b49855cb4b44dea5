//! The answer in one sentence, with its bound.

use super::document::Names;
use super::number::{percent, plain, significant, with_ends};
use super::one_line;
use crate::decide::Verdict;
use crate::plan::TierKey;
use crate::quality::task::BarMetric;
use crate::store::derived::{Answer, AnswerOutcome, CostBasis, TaskNumbers};
use crate::store::record::Record;

/// One sentence per task.
#[must_use]
pub fn sentences(record: &Record) -> Vec<String> {
    record.derived.answers.iter().map(|answer| one_line(&sentence(record, answer))).collect()
}

fn sentence(record: &Record, answer: &Answer) -> String {
    let Some(task) = record.raw.tasks.iter().find(|task| task.name == answer.task) else { return String::new() };
    let metric = match task.metric {
        BarMetric::PassRate => "pass rate",
        BarMetric::MeanScore => "mean score",
    };
    let bar = format!("{} at {metric} ≥ {}", answer.task, plain(task.rule.bar.get()));
    let confidence = plain((1.0 - task.rule.alpha) * 100.0);
    match &answer.outcome {
        AnswerOutcome::Cheapest { tier, ties, cheaper_undecided } => {
            let numbers = record.derived.task_of(tier, &answer.task);
            let figures = numbers.map(|numbers| figures(numbers, answer.basis)).unwrap_or_default();
            if !is_cheapest(record, answer, tier) {
                return uncosted(record, answer, &format!("{bar} with {confidence} % confidence"), &figures);
            }
            let mut text =
                format!("The cheapest tier that clears {bar} with {confidence} % confidence is {tier}{figures}.");
            if !ties.is_empty() {
                text.push_str(&format!(" Its cost is a tie with {}.", beside(record, ties)));
            }
            if !cheaper_undecided.is_empty() {
                text.push_str(&format!(
                    " Cheaper but undecided within the budget: {}.",
                    beside(record, cheaper_undecided)
                ));
            }
            text
        }
        AnswerOutcome::NoneClears => {
            let mut text = format!("No tier clears {bar}.");
            let best = record
                .derived
                .tasks
                .iter()
                .filter(|numbers| numbers.task == answer.task)
                .filter_map(|numbers| Some((numbers, numbers.pass_rate?)))
                .max_by(|a, b| a.1.value.total_cmp(&b.1.value));
            if let Some((numbers, rate)) = best {
                let (tier, items) = (&numbers.tier, numbers.items);
                text.push_str(&format!(" The best, {tier}, passes {} of {items} items.", percent(&rate)));
            }
            text
        }
        AnswerOutcome::Undecided { tiers, items_needed } => {
            let mut text = format!("Undecided within the budget: no tier clears {bar} yet; {} may", list(tiers));
            match items_needed {
                Some(items) => text.push_str(&format!(" (about {items} more items would decide one).")),
                None => text.push_str(" (a pass rate at the bar itself: no number of items is expected to decide)."),
            }
            text
        }
        AnswerOutcome::NoResults => format!("No tier has results for {bar}."),
    }
}

/// The answer where the tiers that clear have no cost: which they are, and which may yet.
fn uncosted(record: &Record, answer: &Answer, what: &str, figures: &str) -> String {
    let own = || record.derived.tasks.iter().filter(|numbers| numbers.task == answer.task);
    let keys = |is: fn(Verdict) -> bool| -> Vec<TierKey> {
        own().filter(|numbers| is(numbers.verdict())).map(|numbers| numbers.tier.clone()).collect()
    };
    let clearing = keys(|verdict| verdict == Verdict::Clears);
    let mut text = match clearing.as_slice() {
        [only] => format!("{only} clears {what}{figures}."),
        several => format!("These tiers clear {what}: {}.", beside(record, several)),
    };
    let known = own().any(|numbers| is_costed(numbers, answer.basis));
    text.push_str(match (known, clearing.len()) {
        (false, _) => " No cost of a solved item is known, so no tier is the cheapest.",
        (true, 1) => " Its cost is not known, so no tier is the cheapest.",
        (true, _) => " Their costs are not known, so no tier is the cheapest.",
    });
    let undecided = keys(|verdict| !verdict.is_decided());
    if !undecided.is_empty() {
        text.push_str(&format!(" Undecided within the budget: {}.", beside(record, &undecided)));
    }
    text
}

/// Whether `tier` is the cheapest that clears the answer's task: none is where its cost is not known.
pub(super) fn is_cheapest(record: &Record, answer: &Answer, tier: &TierKey) -> bool {
    matches!(&answer.outcome, AnswerOutcome::Cheapest { tier: first, .. } if first == tier)
        && record.derived.task_of(tier, &answer.task).is_some_and(|numbers| is_costed(numbers, answer.basis))
}

/// Whether there is the figure tiers are ordered by.
const fn is_costed(numbers: &TaskNumbers, basis: CostBasis) -> bool {
    match basis {
        CostBasis::UsdPer1kSolved => numbers.cost.usd_per_1k_solved.is_some(),
        CostBasis::SecondsPerSolved => numbers.seconds_per_item.is_some(),
    }
}

/// `: $0.213 [0.193, 0.236] per 1,000 solved items, pass rate 82.0 % [76.1, 86.7] on 200 items`.
fn figures(numbers: &TaskNumbers, basis: CostBasis) -> String {
    let mut parts = Vec::new();
    match (basis, numbers.cost.usd_per_1k_solved) {
        (CostBasis::UsdPer1kSolved, Some(cost)) => {
            let note = numbers.cost.energy_included.note();
            let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
            parts.push(format!("${} per 1,000 solved items{note}", with_ends(&cost, 3)));
        }
        _ => parts.extend(numbers.seconds_per_item.map(|s| format!("{} s per item", significant(s, 3)))),
    }
    parts.extend(numbers.pass_rate.map(|rate| format!("pass rate {} on {} items", percent(&rate), numbers.items)));
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) }
}

fn list(tiers: &[TierKey]) -> String {
    tiers.iter().map(|tier| tier.0.as_str()).collect::<Vec<_>>().join(", ")
}

/// Tiers by the names they have in the tables.
fn beside(record: &Record, tiers: &[TierKey]) -> String {
    let names = Names::of(record);
    let name = |key: &TierKey| record.tier(key).map_or_else(|| key.0.clone(), |facts| names.name(facts).to_owned());
    tiers.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// The verdict as shown in a row: the answer is pointed at, ties are called ties.
#[must_use]
pub fn verdict_cell(record: &Record, numbers: &TaskNumbers) -> String {
    let answer = record.derived.answers.iter().find(|answer| answer.task == numbers.task);
    let mark = answer.and_then(|answer| match &answer.outcome {
        AnswerOutcome::Cheapest { ties, .. } if is_cheapest(record, answer, &numbers.tier) => {
            Some(if ties.is_empty() { " ← cheapest" } else { " ← cheapest (tie)" })
        }
        AnswerOutcome::Cheapest { ties, .. } if ties.contains(&numbers.tier) => Some(" (tie)"),
        _ => None,
    });
    let more = match numbers.verdict() {
        Verdict::Undecided { more_items: Some(items) } => format!(" (≈ {items} more items)"),
        _ => String::new(),
    };
    format!("{}{}{more}", numbers.verdict(), mark.unwrap_or_default())
}
