//! What can be reached without a model: printed beside every result, and a bar below it is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::QualityError;
use super::prompt::{Gold, Prompter};
use super::task::{Output, Task};

/// A way to answer without a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// `always billing`, `one of 5 at random`, `empty answer`, …
    pub name: String,
    /// Share of items it solves.
    pub pass_rate: f64,
    /// Mean score.
    pub mean_score: f64,
}

/// The task's trivial baselines.
///
/// # Errors
/// A template or scorer that fails on an item.
pub fn baselines(task: &Task) -> Result<Vec<Baseline>, QualityError> {
    let prompter = Prompter::new(task)?;
    match task.output {
        Output::Choice { .. } => choices(task, &prompter),
        Output::Generate { .. } => texts(task, &prompter),
    }
}

/// The best of [`baselines`] by pass rate; `None` only for a task without any.
///
/// # Errors
/// See [`baselines`].
pub fn best_baseline(task: &Task) -> Result<Option<Baseline>, QualityError> {
    Ok(baselines(task)?.into_iter().max_by(|a, b| a.pass_rate.total_cmp(&b.pass_rate)))
}

fn choices(task: &Task, prompter: &Prompter) -> Result<Vec<Baseline>, QualityError> {
    let n = task.items.len() as f64;
    let mut by_label: BTreeMap<String, f64> = BTreeMap::new();
    let mut chance = 0.0;
    for item in &task.items {
        let mut choices = prompter.choices(item)?;
        chance += 1.0 / choices.len() as f64;
        if let Gold::Choice(right) = prompter.gold(item)? {
            *by_label.entry(choices.swap_remove(right)).or_default() += 1.0;
        }
    }
    let rate = |name: String, solved: f64| Baseline { name, pass_rate: solved / n, mean_score: solved / n };
    let mut all = vec![rate("random choice".into(), chance)];
    let majority = by_label.into_iter().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    all.extend(majority.map(|(label, solved)| rate(format!("always `{label}`"), solved)));
    Ok(all)
}

fn texts(task: &Task, prompter: &Prompter) -> Result<Vec<Baseline>, QualityError> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for item in &task.items {
        if let Gold::Texts(texts) = prompter.gold(item)? {
            for text in texts {
                *counts.entry(text).or_default() += 1;
            }
        }
    }
    let constant = counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
    let mut all = vec![constant_answer(task, prompter, "empty answer", "")?];
    if let Some((text, n)) = constant
        && n > 1
    {
        all.push(constant_answer(task, prompter, "the commonest answer", &text)?);
    }
    Ok(all)
}

fn constant_answer(task: &Task, prompter: &Prompter, name: &str, text: &str) -> Result<Baseline, QualityError> {
    let n = task.items.len() as f64;
    let (mut passes, mut total) = (0.0, 0.0);
    for item in &task.items {
        let score = task.scorer.score(item, &prompter.gold(item)?, &[], text)?;
        passes += f64::from(u8::from(score.pass));
        total += score.value;
    }
    Ok(Baseline { name: name.into(), pass_rate: passes / n, mean_score: total / n })
}
