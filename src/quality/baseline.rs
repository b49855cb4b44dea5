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
    // Name → the answer to each item, in order; names come from the scorer and are the same for every item.
    let mut trivial: Vec<(String, Vec<String>)> = Vec::new();
    for item in &task.items {
        if let Gold::Texts(texts) = prompter.gold(item)? {
            for text in texts {
                *counts.entry(text).or_default() += 1;
            }
        }
        for (name, answer) in task.scorer.trivial(item)? {
            match trivial.iter_mut().find(|(known, _)| *known == name) {
                Some((_, answers)) => answers.push(answer),
                None => trivial.push((name, vec![answer])),
            }
        }
    }
    let n = task.items.len();
    trivial.insert(0, ("empty answer".into(), vec![String::new(); n]));
    let constant = counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
    if let Some((text, count)) = constant
        && count > 1
    {
        trivial.push(("the commonest answer".into(), vec![text; n]));
    }
    if let Some(shot) = task.shots.first()
        && let Gold::Texts(texts) = prompter.gold(shot)?
    {
        let text = texts.into_iter().next().unwrap_or_default();
        trivial.push(("the first worked example's answer".into(), vec![text; n]));
    }
    trivial.into_iter().map(|(name, answers)| fixed_answers(task, prompter, name, &answers)).collect()
}

fn fixed_answers(task: &Task, prompter: &Prompter, name: String, answers: &[String]) -> Result<Baseline, QualityError> {
    let n = task.items.len() as f64;
    let (mut passes, mut total) = (0.0, 0.0);
    for (item, answer) in task.items.iter().zip(answers) {
        let score = task.scorer.score(item, &prompter.gold(item)?, &[], answer)?;
        passes += f64::from(u8::from(score.pass));
        total += score.value;
    }
    Ok(Baseline { name, pass_rate: passes / n, mean_score: total / n })
}
