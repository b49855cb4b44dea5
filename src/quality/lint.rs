//! What is wrong or doubtful with a task that loads: leakage, imbalance, a scorer that contradicts its own examples.

use std::collections::{BTreeMap, BTreeSet};

use super::evaluate::judge_text;
use super::prompt::{Gold, Prompter};
use super::task::{Origin, Output, Task};
use super::{QualityError, best_baseline};

/// Items a verdict needs at least to settle a tier ten points above the bar.
const FEW_ITEMS: usize = 200;
/// Share of an item's word trigrams that may also be in a worked example.
const LEAKAGE: f64 = 0.8;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Results would still mean something.
    Warning,
    /// Results would be wrong.
    Error,
}

/// One thing `tasks check` has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What, where, and what to do.
    pub message: String,
}

/// Everything that is wrong or doubtful with `task`, worst first.
///
/// # Errors
/// A template or pattern that fails on an item.
pub fn lint(task: &Task) -> Result<Vec<Finding>, QualityError> {
    let prompter = Prompter::new(task)?;
    let mut findings = Vec::new();
    self_test(task, &prompter, &mut findings)?;
    leakage(task, &prompter, &mut findings)?;
    balance(task, &prompter, &mut findings)?;
    bar(task, &mut findings)?;
    form(task, &prompter, &mut findings);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(findings)
}

fn say(findings: &mut Vec<Finding>, severity: Severity, message: String) {
    findings.push(Finding { severity, message });
}

/// The scorer on every item's own `good` and `bad` answers; without `good` ones, on the right answer.
fn self_test(task: &Task, prompter: &Prompter, findings: &mut Vec<Finding>) -> Result<(), QualityError> {
    let mut untested = 0;
    for item in &task.items {
        let right = match prompter.gold(item)? {
            Gold::Choice(index) => vec![prompter.choices(item)?.swap_remove(index)],
            Gold::Texts(texts) => texts,
        };
        let good = if item.good.is_empty() { &right } else { &item.good };
        untested += usize::from(item.good.is_empty() || item.bad.is_empty());
        for (answers, wanted) in [(good, true), (&item.bad, false)] {
            for answer in answers {
                let (score, extracted) = judge_text(task, prompter, item, answer)?;
                if score.pass != wanted {
                    let verb = if wanted { "fails the good" } else { "passes the bad" };
                    let message = format!(
                        "item {}: the scorer {verb} answer {answer:?} (extracted {extracted:?}, score {:.3})",
                        item.id, score.value
                    );
                    say(findings, Severity::Error, message);
                }
            }
        }
    }
    if untested > 0 {
        let message = format!("{untested} items lack `good` or `bad` answers: the scorer is not tested on them");
        say(findings, Severity::Warning, message);
    }
    Ok(())
}

/// Worked examples that give items away.
fn leakage(task: &Task, prompter: &Prompter, findings: &mut Vec<Finding>) -> Result<(), QualityError> {
    let grams = |text: &str| -> BTreeSet<String> {
        let words: Vec<String> =
            text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect();
        words.windows(3).map(|w| w.join(" ")).collect()
    };
    // The template's own words are in every item; only what an item adds to them counts.
    let mut shots = Vec::new();
    for shot in &task.shots {
        shots.push((shot, grams(&prompter.question(shot)?)));
    }
    for item in &task.items {
        let own = grams(&prompter.question(item)?);
        for (shot, theirs) in &shots {
            let shared = own.intersection(theirs).count();
            if own.len() >= 3 && shared as f64 > LEAKAGE * own.len() as f64 {
                let message = format!("item {} is nearly the worked example {}: change one of them", item.id, shot.id);
                say(findings, Severity::Error, message);
            }
        }
    }
    Ok(())
}

fn balance(task: &Task, prompter: &Prompter, findings: &mut Vec<Finding>) -> Result<(), QualityError> {
    if !matches!(task.output, Output::Choice { .. }) {
        return Ok(());
    }
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    let mut n_choices = 0;
    for item in &task.items {
        n_choices = n_choices.max(prompter.choices(item)?.len());
        if let Gold::Choice(index) = prompter.gold(item)? {
            *counts.entry(index).or_default() += 1;
        }
    }
    let largest = counts.values().max().copied().unwrap_or(0);
    if largest * n_choices > task.items.len() * 3 / 2 {
        let message = format!(
            "labels are not balanced: one of {n_choices} has {largest} of {} items, and always answering it scores {:.2}",
            task.items.len(),
            largest as f64 / task.items.len() as f64
        );
        say(findings, Severity::Warning, message);
    }
    Ok(())
}

fn bar(task: &Task, findings: &mut Vec<Finding>) -> Result<(), QualityError> {
    if let (Some(bar), Some(baseline)) = (task.bar, best_baseline(task)?)
        && bar.min <= baseline.pass_rate
    {
        let message =
            format!("the bar {} is not above the baseline `{}` ({:.3})", bar.min, baseline.name, baseline.pass_rate);
        say(findings, Severity::Error, message);
    }
    Ok(())
}

fn form(task: &Task, prompter: &Prompter, findings: &mut Vec<Finding>) {
    if task.items.len() < FEW_ITEMS {
        let message = format!("{} items: fewer than {FEW_ITEMS} cannot settle a tier near the bar", task.items.len());
        say(findings, Severity::Warning, message);
    }
    if prompter.prefix().contains("\\n") {
        let message = "the prompt holds a literal \\n: use double quotes in YAML for line breaks".to_owned();
        say(findings, Severity::Warning, message);
    }
    if task.canary.is_none() {
        say(findings, Severity::Warning, "no `tier: canary`: published items will be trained on".to_owned());
    }
    if task.version.is_none() {
        say(findings, Severity::Warning, "no `metadata: version`: results cannot name what they measured".to_owned());
    }
    if let Origin::Folder(path) = &task.origin
        && path.is_dir()
        && !path.join("SOURCE.md").is_file()
    {
        say(
            findings,
            Severity::Warning,
            "no SOURCE.md: say where the items come from and under which licence".to_owned(),
        );
    }
}
