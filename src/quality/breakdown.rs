//! What else the scorers saw, over all items of a cell: reported beside the pass rate, decides nothing.

use std::collections::BTreeMap;

use super::prompt::{Gold, Prompter};
use super::task::Task;
use super::{ItemResult, QualityError};
use crate::stats::agreement::{cohen_kappa, macro_f1};

/// Sums over items that micro-F1 is made of; as means they say little.
const COUNTS: [&str; 3] = ["true_positives", "false_positives", "false_negatives"];

/// Means of the items' [parts](super::score::Score::parts) by name; for extraction micro-F1 = 2·TP/(2·TP + FP + FN) over
/// all items; for multiple choice macro-F1, and the share of items without an answer.
///
/// # Errors
/// A template that fails on an item.
pub fn breakdown(task: &Task, results: &[ItemResult]) -> Result<BTreeMap<String, f64>, QualityError> {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, value) in results.iter().flat_map(|result| &result.parts) {
        *sums.entry(name).or_default() += value;
    }
    let n = results.len() as f64;
    let mut all: BTreeMap<String, f64> = BTreeMap::new();
    if let [Some(tp), Some(fp), Some(fns)] = COUNTS.map(|name| sums.remove(name))
        && tp + fp + fns > 0.0
    {
        all.insert("micro_f1".into(), 2.0 * tp / (2.0 * tp + fp + fns));
    }
    all.extend(sums.into_iter().map(|(name, sum)| (name.to_owned(), sum / n)));
    let (gold, said) = labels(task, results)?;
    if let Some(f1) = macro_f1(&gold, &said) {
        all.insert("macro_f1".into(), f1);
        all.insert("unanswered".into(), said.iter().filter(|label| label.is_none()).count() as f64 / n);
    }
    Ok(all)
}

/// Right and given choice of each item; empty for tasks without choices.
#[expect(clippy::type_complexity, reason = "two columns of one table")]
fn labels(task: &Task, results: &[ItemResult]) -> Result<(Vec<Option<String>>, Vec<Option<String>>), QualityError> {
    let prompter = Prompter::new(task)?;
    let items: BTreeMap<&str, _> = task.items.iter().map(|item| (item.id.as_str(), item)).collect();
    let (mut gold, mut said) = (Vec::new(), Vec::new());
    for result in results {
        let Some(item) = items.get(result.item.as_str()) else { continue };
        if let Gold::Choice(right) = prompter.gold(item)? {
            gold.push(Some(prompter.choices(item)?.swap_remove(right)));
            said.push(result.answer.clone());
        }
    }
    Ok((gold, said))
}

/// How far two ways of getting answers from one model agree on the items both judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Items both judged.
    pub items: usize,
    /// Of these, items with the same answer, no answer counting as one of its own.
    pub same: usize,
    /// Cohen's kappa of the answers; `None` where it is not defined.
    pub kappa: Option<f64>,
}

/// Compares the answers of two walks over the same order of items.
#[must_use]
pub fn agreement(a: &[ItemResult], b: &[ItemResult]) -> Agreement {
    let pairs: Vec<_> = a.iter().zip(b).take_while(|(a, b)| a.item == b.item).collect();
    let answers: BTreeMap<_, usize> = pairs
        .iter()
        .flat_map(|(a, b)| [&a.answer, &b.answer])
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .zip(0..)
        .collect();
    let mut table = vec![vec![0u64; answers.len()]; answers.len()];
    for (a, b) in &pairs {
        table[answers[&a.answer]][answers[&b.answer]] += 1;
    }
    let same = pairs.iter().filter(|(a, b)| a.answer == b.answer).count();
    Agreement { items: pairs.len(), same, kappa: cohen_kappa(&table) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::FinishReason;

    fn result(item: &str, answer: Option<&str>, parts: &[(&str, f64)]) -> ItemResult {
        ItemResult {
            answer: answer.map(str::to_owned),
            parts: parts.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            n_prompt_tokens: 1,
            n_gen_tokens: 1,
            elapsed_ns: 1,
            finish_reason: FinishReason::Stop,
            ..ItemResult::unjudged(item)
        }
    }

    #[test]
    fn parts_are_averaged_and_counts_become_micro_f1() {
        let task = Task::load("invoice_fields").unwrap();
        let counts =
            |tp: f64, fp: f64, fns: f64| [(COUNTS[0], tp), (COUNTS[1], fp), (COUNTS[2], fns), ("parsed", tp.min(1.0))];
        let results = [result("a", None, &counts(3.0, 1.0, 2.0)), result("b", None, &counts(0.0, 0.0, 1.0))];
        let all = breakdown(&task, &results).unwrap();
        assert_eq!(all["micro_f1"], 0.6);
        assert_eq!(all["parsed"], 0.5);
        assert!(!all.contains_key("true_positives") && !all.contains_key("macro_f1"));
        assert!(breakdown(&task, &[]).unwrap().is_empty());
    }

    #[test]
    fn choices_have_a_macro_f1() {
        let task = Task::load("support_tickets").unwrap();
        let prompter = Prompter::new(&task).unwrap();
        let right = |i: usize| {
            let Gold::Choice(index) = prompter.gold(&task.items[i]).unwrap() else { panic!("a label") };
            prompter.choices(&task.items[i]).unwrap().swap_remove(index)
        };
        let mut results: Vec<_> = (0..60).map(|i| result(&task.items[i].id, Some(&right(i)), &[])).collect();
        assert_eq!(breakdown(&task, &results).unwrap()["macro_f1"], 1.0);
        results[0].answer = None;
        let all = breakdown(&task, &results).unwrap();
        assert!(all["macro_f1"] < 1.0 && (all["unanswered"] - 1.0 / 60.0).abs() < 1e-12, "{all:?}");
    }

    #[test]
    fn agreement_counts_the_items_both_judged() {
        let a: Vec<_> =
            ["x", "y", "x", "y"].iter().enumerate().map(|(i, l)| result(&i.to_string(), Some(l), &[])).collect();
        let b: Vec<_> = ["x", "y", "y"].iter().enumerate().map(|(i, l)| result(&i.to_string(), Some(l), &[])).collect();
        let found = agreement(&a, &b);
        assert_eq!((found.items, found.same), (3, 2));
        // p_o = 2/3, p_e = (2/3)(1/3) + (1/3)(2/3) = 4/9: kappa = 0.4.
        assert!((found.kappa.unwrap() - 0.4).abs() < 1e-12);
        assert_eq!(agreement(&a, &[]).kappa, None);
    }
}
