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
    reachable(task, &prompter, &mut findings)?;
    repeated(task, &prompter, &mut findings)?;
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

/// Right answers no model could give: cut off by a stop string, longer than an answer may be, or wrong to the scorer.
fn reachable(task: &Task, prompter: &Prompter, findings: &mut Vec<Finding>) -> Result<(), QualityError> {
    let Output::Generate { generation, .. } = &task.output else { return Ok(()) };
    for item in &task.items {
        let Gold::Texts(texts) = prompter.gold(item)? else { continue };
        let mut stopped = None;
        for text in &texts {
            let cut = generation.until.iter().filter_map(|stop| Some((text.find(stop.as_str())?, stop))).min();
            match cut {
                Some((at, stop)) if !judge_text(task, prompter, item, &text[..at])?.0.pass => stopped = Some(stop),
                _ => {
                    stopped = None;
                    break;
                }
            }
        }
        if let Some(stop) = stopped {
            let message =
                format!("item {}: the right answer holds {stop:?}, which ends an answer: nobody can give it", item.id);
            say(findings, Severity::Error, message);
            continue;
        }
        // No tokenizer has tokens longer than a word and its space often enough to matter here.
        let words = texts.iter().map(|text| text.split_whitespace().count()).min().unwrap_or(0);
        if words > generation.max_gen_toks as usize {
            let most = generation.max_gen_toks;
            let message =
                format!("item {}: the right answer has {words} words, max_gen_toks allows {most} tokens", item.id);
            say(findings, Severity::Error, message);
        }
        if task.scorer.name() == "exact_match" && !item.good.is_empty() {
            for text in &texts {
                if !judge_text(task, prompter, item, text)?.0.pass {
                    let message = format!("item {}: the scorer fails the right answer {text:?} itself", item.id);
                    say(findings, Severity::Error, message);
                }
            }
        }
    }
    Ok(())
}

/// Items that ask the same: they count twice, and with another answer one of them is wrong.
fn repeated(task: &Task, prompter: &Prompter, findings: &mut Vec<Finding>) -> Result<(), QualityError> {
    let mut seen: BTreeMap<String, (&str, String)> = BTreeMap::new();
    let (mut same, mut example) = (0, None);
    for item in &task.items {
        let words = prompter.question(item)?;
        let words: Vec<String> =
            words.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect();
        let choices = prompter.choices(item)?;
        let gold = match prompter.gold(item)? {
            Gold::Choice(index) => choices[index].clone(),
            Gold::Texts(texts) => texts.join("\u{0}"),
        };
        // The same question over other choices is another item.
        let key = format!("{}\u{0}{}", words.join(" "), choices.join("\u{0}"));
        match seen.get(&key) {
            None => {
                seen.insert(key, (&item.id, gold));
            }
            Some((first, earlier)) if *earlier == gold => {
                same += 1;
                example.get_or_insert_with(|| format!("item {} repeats item {first}", item.id));
            }
            Some((first, earlier)) => {
                let message = format!(
                    "item {} asks what item {first} asks, but has the right answer {gold:?} and not {earlier:?}",
                    item.id
                );
                say(findings, Severity::Error, message);
            }
        }
    }
    if let Some(example) = example {
        let message = format!("{same} items are repeated up to case and punctuation ({example}): they count twice");
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CHOICE: &str = "task: t\noutput_type: multiple_choice\ndoc_to_text: \"{{q}}\"\ndoc_to_choice: [\"yes\", \"no\"]\n\
                          doc_to_target: a\n";
    const TEXT: &str = "task: t\noutput_type: generate_until\ndoc_to_text: \"{{q}}\"\ndoc_to_target: a\n\
                        generation_kwargs: { until: [\"\\n\"], max_gen_toks: 4 }\n";

    /// Messages about a task of these rows, errors first.
    fn messages(yaml: &str, rows: &[(&str, &str)]) -> Vec<(Severity, String)> {
        let dir = tempfile::tempdir().unwrap();
        let items: String = rows.iter().map(|(q, a)| format!("{}\n", serde_json::json!({ "q": q, "a": a }))).collect();
        fs::write(dir.path().join("task.yaml"), yaml).unwrap();
        fs::write(dir.path().join("items.jsonl"), items).unwrap();
        let task = Task::load(dir.path().to_str().unwrap()).unwrap();
        lint(&task).unwrap().into_iter().map(|finding| (finding.severity, finding.message)).collect()
    }

    fn says(findings: &[(Severity, String)], severity: Severity, part: &str) -> bool {
        findings.iter().any(|(s, message)| *s == severity && message.contains(part))
    }

    #[test]
    fn a_repeated_question_is_a_warning_and_a_contradicted_one_an_error() {
        let fine = messages(CHOICE, &[("Is it?", "yes"), ("Is it not?", "no")]);
        assert!(
            !says(&fine, Severity::Warning, "repeated") && fine.iter().all(|(s, _)| *s < Severity::Error),
            "{fine:?}"
        );
        let repeated = messages(CHOICE, &[("Is it?", "yes"), ("is it", "yes"), ("Why", "no")]);
        assert!(says(&repeated, Severity::Warning, "1 items are repeated"), "{repeated:?}");
        let contradicted = messages(CHOICE, &[("Is it?", "yes"), ("IS IT", "no")]);
        assert!(says(&contradicted, Severity::Error, "\"no\" and not \"yes\""), "{contradicted:?}");
    }

    #[test]
    fn answers_no_model_can_give_are_errors() {
        let findings = messages(TEXT, &[("a", "one\ntwo"), ("b", "one two three four five"), ("c", "fine")]);
        assert!(says(&findings, Severity::Error, "item row 1: the right answer holds \"\\n\""), "{findings:?}");
        assert!(says(&findings, Severity::Error, "item row 2: the right answer has 5 words"), "{findings:?}");
        assert!(!says(&findings, Severity::Error, "item row 3"), "{findings:?}");
        let filtered =
            format!("{TEXT}filter_list: [{{ name: f, filter: [{{ function: regex, regex_pattern: \"#(.*)\" }}] }}]\n");
        let findings = messages(&filtered, &[("a", "seven"), ("b", "#8")]);
        assert!(says(&findings, Severity::Error, "item row 1: the scorer fails the good answer"), "{findings:?}");
    }

    #[test]
    fn labels_that_lean_one_way_are_a_warning() {
        let rows: Vec<(String, &str)> = (0..20).map(|i| (format!("q{i}"), if i < 18 { "yes" } else { "no" })).collect();
        let rows: Vec<(&str, &str)> = rows.iter().map(|(q, a)| (q.as_str(), *a)).collect();
        let findings = messages(CHOICE, &rows);
        assert!(
            says(&findings, Severity::Warning, "18 of 20 items") && says(&findings, Severity::Warning, "0.90"),
            "{findings:?}"
        );
    }
}
