//! Reading tasks: the shipped ones hold what they promise, and broken ones say where they are broken.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{Normalize, Origin, Output, Task};
use crate::quality::lint::{Severity, lint};
use crate::quality::prompt::{Gold, Prompter};
use crate::quality::{baselines, best_baseline};

const YAML: &str = "task: t\noutput_type: multiple_choice\ndoc_to_text: \"Q: {{q}}\\nA:\"\n\
                    doc_to_choice: [\"yes\", \"no\"]\ndoc_to_target: label\n";
const ITEMS: &str = "{\"q\":\"a\",\"label\":\"yes\"}\n{\"q\":\"b\",\"label\":\"no\"}\n";

fn load(yaml: &str, items: &str) -> Result<Task, String> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("task.yaml"), yaml).unwrap();
    fs::write(dir.path().join("items.jsonl"), items).unwrap();
    fs::write(dir.path().join("shots.jsonl"), "{\"q\":\"s\",\"label\":\"no\"}\n").unwrap();
    Task::load(dir.path().to_str().unwrap()).map_err(|error| error.to_string())
}

fn error(yaml: &str, items: &str) -> String {
    load(yaml, items).unwrap_err()
}

#[test]
fn every_shipped_task_is_large_original_in_form_and_free_of_errors() {
    for (name, files) in super::embedded::TASKS {
        let task = Task::load(name).unwrap();
        assert_eq!((&task.name, &task.origin), (&(*name).to_owned(), &Origin::Embedded));
        assert!(task.items.len() >= 200, "{name}");
        let templates: BTreeSet<_> = task.items.iter().map(|item| item.template.clone().unwrap()).collect();
        assert!(templates.len() >= 30, "{name}: {} templates", templates.len());
        assert!(task.items.iter().all(|item| item.level.is_some() && !item.good.is_empty() && !item.bad.is_empty()));
        assert!(task.canary.is_some() && task.version.is_some() && task.bar.is_some(), "{name}");
        let findings = lint(&task).unwrap();
        assert!(findings.iter().all(|finding| finding.severity < Severity::Error), "{name}: {findings:?}");
        assert!(files.iter().any(|(file, text)| *file == "SOURCE.md" && text.len() > 500), "{name}: SOURCE.md");
        assert!(best_baseline(&task).unwrap().unwrap().pass_rate < task.bar.unwrap().min, "{name}");
    }
}

#[test]
fn support_tickets_are_balanced_over_labels_and_levels() {
    let task = Task::load("support_tickets").unwrap();
    let mut counts: BTreeMap<(usize, u32), usize> = BTreeMap::new();
    let prompter = Prompter::new(&task).unwrap();
    for item in &task.items {
        let Gold::Choice(label) = prompter.gold(item).unwrap() else { panic!("a label is a choice") };
        *counts.entry((label, item.level.unwrap())).or_default() += 1;
    }
    for label in 0..5 {
        let by_level: Vec<_> = (1..=3).map(|level| counts[&(label, level)]).collect();
        assert_eq!(by_level, [19, 16, 13], "label {label}");
    }
    assert!(baselines(&task).unwrap().iter().all(|baseline| (baseline.pass_rate - 0.2).abs() < 1e-12));
}

#[test]
fn what_every_source_file_says_of_its_data_is_so() {
    /// The number in front of `after`, behind `before`: `240` of `| items | 240: 60 templates …`.
    fn number(text: &str, before: &str, after: &str) -> Option<usize> {
        text.match_indices(before).find_map(|(at, _)| {
            let rest = &text[at + before.len()..];
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            rest[end..].starts_with(after).then(|| rest[..end].parse().ok())?
        })
    }
    for (name, files) in super::embedded::TASKS {
        let task = Task::load(name).unwrap();
        let (_, source) = files.iter().find(|(file, _)| *file == "SOURCE.md").unwrap();
        let row = |key: &str| source.lines().find(|line| line.starts_with(&format!("| {key} |"))).unwrap();
        assert_eq!(source.lines().find(|line| !line.is_empty()), Some(format!("# {name}").as_str()));

        let items = row("items");
        assert_eq!(number(items, "| items | ", ":"), Some(task.items.len()), "{name}: {items}");
        assert!(source.contains(&format!("\n{} ", task.items.len())), "{name}: the first sentence counts the items");
        let (core, drawn): (Vec<_>, Vec<_>) =
            task.items.iter().partition(|item| item.template.as_deref().is_some_and(|name| name.contains("core-")));
        let hand_written = number(items, " + ", " hand-written");
        assert_eq!(hand_written, Some(core.len()), "{name}: {items}");
        let templates: BTreeSet<_> = drawn.iter().map(|item| item.template.as_deref().unwrap()).collect();
        let said = ["templates", "layouts", "question templates"]
            .iter()
            .find_map(|word| number(items, ": ", &format!(" {word} ×")));
        assert_eq!(said, Some(templates.len()), "{name}: {items}");

        let levels = row("levels");
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        task.items.iter().for_each(|item| *counts.entry(item.level.unwrap()).or_default() += 1);
        for (level, count) in counts {
            let said = [" items)", ")"].iter().find_map(|after| number(levels, &format!(" {level} ("), after));
            assert_eq!(said, Some(count), "{name}: level {level} in {levels}");
        }

        let shots = files.iter().find(|(file, _)| *file == "shots.jsonl").unwrap().1.lines().count();
        let examples = row("worked examples");
        assert_eq!(number(examples, "`shots.jsonl`: ", ","), Some(shots), "{name}: {examples}");
        let version = task.version.as_deref().unwrap();
        assert_eq!(row("version"), format!("| version | {version} |"), "{name}");
    }
}

#[test]
fn the_generator_writes_the_committed_items_byte_for_byte() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tasks");
    for (name, _) in super::embedded::TASKS {
        let out = tempfile::tempdir().unwrap();
        let script = folder.join(name).join("generate.py");
        let mut python = std::process::Command::new("python3");
        let Ok(output) = python.arg(script).arg("--out").arg(out.path().join("items.jsonl")).output() else {
            eprintln!("skipped: no python3 on this machine");
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for written in fs::read_dir(out.path()).unwrap() {
            let written = written.unwrap();
            let committed = fs::read(folder.join(name).join(written.file_name())).unwrap();
            assert!(fs::read(written.path()).unwrap() == committed, "{name}: {:?} differs", written.file_name());
        }
    }
}

#[test]
fn prompts_have_lm_evals_layout() {
    let yaml = format!("{YAML}num_fewshot: 1\ndescription: \"Say yes or no.\\n\\n\"\n");
    let task = load(&yaml, ITEMS).unwrap();
    let prompter = Prompter::new(&task).unwrap();
    assert_eq!(prompter.context(&task.items[0]).unwrap(), "Say yes or no.\n\nQ: s\nA: no\n\nQ: a\nA:");
    assert_eq!(prompter.prefix(), "Say yes or no.\n\nQ: s\nA: no\n\n");
    assert_eq!(prompter.delimiter(), " ");
    assert_eq!(prompter.gold(&task.items[1]).unwrap(), Gold::Choice(1));
}

#[test]
fn standard_lm_eval_forms_of_choices_and_targets_work() {
    let arc = "task: arc\ndataset_path: allenai/ai2_arc\ndataset_name: ARC-Easy\ntest_split: test\n\
               output_type: multiple_choice\ndoc_to_text: \"Question: {{question}}\\nAnswer:\"\n\
               doc_to_target: \"{{choices.label.index(answerKey)}}\"\ndoc_to_choice: \"{{choices.text}}\"\n\
               metric_list:\n  - metric: acc\n    aggregation: mean\n    higher_is_better: true\n  - metric: acc_norm\n\
               metadata:\n  version: 1.0\n";
    let item =
        "{\"question\":\"Why?\",\"choices\":{\"text\":[\"sun\",\"moon\"],\"label\":[\"A\",\"B\"]},\"answerKey\":\"B\"}";
    let task = load(arc, item).unwrap();
    let prompter = Prompter::new(&task).unwrap();
    assert_eq!(prompter.choices(&task.items[0]).unwrap(), ["sun", "moon"]);
    assert_eq!(prompter.gold(&task.items[0]).unwrap(), Gold::Choice(1));
    assert!(matches!(task.output, Output::Choice { normalize: Normalize::None, .. }));

    let gsm8k = "task: gsm8k\noutput_type: generate_until\ndoc_to_text: \"Question: {{question}}\\nAnswer:\"\n\
                 doc_to_target: \"{{answer}}\"\nmetric_list:\n  - metric: exact_match\n    ignore_case: true\n    \
                 regexes_to_ignore: [\",\", \"\\\\$\", \"(?s).*#### \", \"\\\\.$\"]\ngeneration_kwargs:\n  until: [\"Question:\"]\n  \
                 do_sample: false\n  temperature: 0.0\nrepeats: 1\nfilter_list:\n  - name: strict-match\n    filter:\n      \
                 - function: regex\n        regex_pattern: \"#### (\\\\-?[0-9\\\\.\\\\,]+)\"\n      - function: take_first\n";
    let task = load(gsm8k, "{\"question\":\"1+1?\",\"answer\":\"It is\\n#### 2\"}").unwrap();
    let prompter = Prompter::new(&task).unwrap();
    let judge = |text| crate::quality::evaluate::judge_text(&task, &prompter, &task.items[0], text).unwrap();
    assert!(judge("so\n#### 2").0.pass && !judge("so\n#### 3").0.pass && !judge("2").0.pass);
}

#[test]
fn wrong_keys_are_named_with_what_would_be_right() {
    for (yaml, wanted) in [
        ("output_type: perplexity\n", "`output_type`: `perplexity`: use multiple_choice"),
        ("repeats: 5\n", "`repeats`"),
        ("tier: { bar: { metric: accuracy, min: 0.5 } }\n", "use pass_rate or mean_score"),
        ("tier: { bar: { metric: pass_rate, min: 1.5 } }\n", "between 0 and 1"),
        ("tier: { scorer: { type: judge } }\n", "unknown scorer `judge`"),
        ("tier: { scorer: { type: choice, normalize: contextual } }\n", "content_free"),
        ("tier: { scorer: { type: summary } }\n", "does not fit output_type"),
        ("tier: { decode: greedy }\n", "use loglikelihood, constrained or free"),
        ("tier: { schema: { type: integer, minimum: 5, maximum: 2 } }\n", "`tier.schema`"),
        ("num_fewshot: 4\n", "num_fewshot is 4, but there are 1"),
        ("fewshot_config: { sampler: random }\n", "only first_n"),
        ("generation_kwargs: { do_sample: true }\n", "sampling is not supported"),
        ("dataset_kwargs: { data_files: { test: missing.jsonl } }\n", "missing.jsonl"),
    ] {
        let yaml = if yaml.starts_with("output_type") {
            YAML.replace("output_type: multiple_choice\n", yaml)
        } else {
            format!("{YAML}{yaml}")
        };
        let message = error(&yaml, ITEMS);
        assert!(message.contains(wanted) && !message.contains('\n'), "{wanted}: {message}");
    }
}

#[test]
fn gold_that_cannot_be_reached_and_missing_columns_are_named_with_the_item() {
    let message = error(YAML, "{\"id\":\"x7\",\"q\":\"a\",\"label\":\"maybe\"}\n");
    assert!(message.contains("x7") && message.contains("maybe") && message.contains("doc_to_target"), "{message}");
    let message = error(YAML, "{\"id\":\"x8\",\"question\":\"a\",\"label\":\"yes\"}\n");
    assert!(message.contains("x8") && message.contains("doc_to_text"), "{message}");
    assert!(error(YAML, "").contains("has no items"));
}

#[test]
fn files_that_include_each_other_end() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("task.yaml"), "include: task.yaml\n").unwrap();
    let message = Task::load(dir.path().to_str().unwrap()).unwrap_err().to_string();
    assert!(message.contains("include"), "{message}");
}

#[test]
fn an_included_file_supplies_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("base.yaml"), YAML).unwrap();
    fs::write(dir.path().join("task.yaml"), "include: base.yaml\ntask: child\n").unwrap();
    fs::write(dir.path().join("items.jsonl"), ITEMS).unwrap();
    let task = Task::load(dir.path().to_str().unwrap()).unwrap();
    assert_eq!((task.name.as_str(), task.items.len()), ("child", 2));
}

#[test]
fn an_unknown_task_names_the_known_ones() {
    let message = Task::load("support_tickts").unwrap_err().to_string();
    assert!(message.contains("support_tickts") && message.contains("support_tickets"), "{message}");
}

#[test]
fn a_shot_that_is_also_an_item_is_leakage() {
    let shot = "{\"q\":\"one two three four five\",\"label\":\"no\"}\n";
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("task.yaml"), format!("{YAML}num_fewshot: 1\n")).unwrap();
    fs::write(dir.path().join("items.jsonl"), format!("{ITEMS}{shot}")).unwrap();
    fs::write(dir.path().join("shots.jsonl"), shot).unwrap();
    let findings = lint(&Task::load(dir.path().to_str().unwrap()).unwrap()).unwrap();
    assert!(
        findings.iter().any(|f| f.severity == Severity::Error && f.message.contains("worked example")),
        "{findings:?}"
    );
}
