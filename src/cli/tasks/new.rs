//! `tierbench tasks new`: a folder with a task that passes `tasks check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::cli::Ui;
use crate::error::{Error, ExitStatus, Result};
use crate::quality::task::Task;
use crate::quality::{QualityError, best_baseline};

/// Distinct answers up to which rows are taken for a classification.
const MAX_LABELS: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder to create
    folder: PathBuf,
    /// Make the task of these rows (.jsonl, .json, .csv, .tsv or .parquet) instead of an example
    #[arg(long, value_name = "FILE", requires_all = ["input", "target"])]
    from: Option<PathBuf>,
    /// Column that holds what is asked
    #[arg(long, value_name = "COLUMN", requires = "from")]
    input: Option<String>,
    /// Column that holds the right answer; few different ones make a choice, many a text to be matched
    #[arg(long, value_name = "COLUMN", requires = "from")]
    target: Option<String>,
}

/// The files of a new task.
struct Scaffold {
    yaml: String,
    items: String,
    shots: String,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let folder = &args.folder;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.is_empty() || name.contains(['"', '\\', '\n']) {
        return Err(Error::Usage(format!("{} has no name a task could take", folder.display())));
    }
    let scaffold = match (&args.from, &args.input, &args.target) {
        (Some(file), Some(input), Some(target)) => of_rows(&name, file, input, target)?,
        _ => example(&name),
    };
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| QualityError::Io { action: "create", path, source }
    };
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(io(parent))?;
    }
    // Fails if it exists: nothing of the user's is overwritten.
    std::fs::create_dir(folder).map_err(io(folder))?;
    let source = format!(
        "# {name}\n\nWhere the items come from, who wrote them, under which licence, and how a fresh suite is made.\n"
    );
    let Scaffold { mut yaml, items, shots } = scaffold;
    let write = |file: &str, text: &str| {
        let path = folder.join(file);
        std::fs::write(&path, text).map_err(io(&path))
    };
    for (file, text) in [("task.yaml", &yaml), ("items.jsonl", &items), ("shots.jsonl", &shots), ("SOURCE.md", &source)]
    {
        write(file, text)?;
    }
    if args.from.is_some() {
        yaml = with_bar(yaml, &folder.to_string_lossy())?;
        write("task.yaml", &yaml)?;
    }
    let folder = folder.display();
    let next = if args.from.is_some() { "look at task.yaml" } else { "edit items.jsonl" };
    ui.line(format_args!("{folder}: {next}, then `tierbench tasks check {folder}`"))?;
    Ok(ExitStatus::Success)
}

/// A mark for training filters that no other task has.
fn canary(name: &str) -> String {
    let digest = Sha256::digest(format!("{name} {:?} {}", std::time::SystemTime::now(), std::process::id()));
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{name} {hex}: do not train on this")
}

fn example(name: &str) -> Scaffold {
    Scaffold {
        yaml: YAML.replace("NAME", name).replace("CANARY", &canary(name)),
        items: ITEMS.to_owned(),
        shots: SHOTS.to_owned(),
    }
}

const YAML: &str = r#"# Keys as in lm-evaluation-harness; `tier:` is tierbench's own.
task: "NAME"
dataset_path: json
dataset_kwargs: { data_files: { test: items.jsonl, fewshot: shots.jsonl } }
test_split: test
fewshot_split: fewshot
num_fewshot: 2
output_type: multiple_choice          # or generate_until with generation_kwargs: { until: ["\n"], max_gen_toks: 32 }
doc_to_text: "Review: {{review}}\nVerdict:"
doc_to_choice: ["good", "bad"]
doc_to_target: label
metric_list: [{ metric: acc }]
metadata: { version: 1.0 }
tier:
  kind: classification
  bar: { metric: pass_rate, min: 0.8 } # must lie above what a trivial answer reaches: see `tierbench tasks show`
  canary: "CANARY"
"#;
const ITEMS: &str = r#"{"id": "r1", "review": "Arrived early and works perfectly.", "label": "good", "level": 1, "good": ["good"], "bad": ["bad"]}
{"id": "r2", "review": "Stopped charging after two days.", "label": "bad", "level": 1, "good": ["bad"], "bad": ["good"]}
{"id": "r3", "review": "I expected little and got even less.", "label": "bad", "level": 2, "good": ["bad"], "bad": ["good"]}
{"id": "r4", "review": "My mother wants one too.", "label": "good", "level": 2, "good": ["good"], "bad": ["bad"]}
"#;
const SHOTS: &str = r#"{"review": "I love this kettle.", "label": "good"}
{"review": "Broken on arrival.", "label": "bad"}
"#;

/// The user's rows: the first of every label, or the first three, become worked examples.
fn of_rows(name: &str, file: &Path, input: &str, target: &str) -> Result<Scaffold> {
    let rows = Task::rows(file)?;
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        for (flag, column) in [("--input", input), ("--target", target)] {
            if row.get(column).is_none_or(|value| plain(value).trim().is_empty()) {
                let columns: Vec<String> = row.keys().map(|key| format!("`{key}`")).collect();
                let columns = columns.join(", ");
                let row = place + 1;
                let file = file.display();
                return Err(Error::Usage(format!(
                    "{flag}: row {row} of {file} has no `{column}` (there are {columns})"
                )));
            }
        }
        *answers.entry(plain(&row[target])).or_default() += 1;
    }
    let few = answers.len() >= 2 && answers.len() <= MAX_LABELS && rows.len() >= 3 * answers.len();
    let labels: Vec<&String> = answers.keys().collect();
    let wanted = if few { labels.len() } else { 3 };
    if rows.len() <= wanted {
        let file = file.display();
        return Err(Error::Usage(format!("{file} has {} rows: {wanted} are needed as worked examples", rows.len())));
    }
    let (mut items, mut shots, mut shown) = (String::new(), String::new(), Vec::new());
    for (place, row) in rows.iter().enumerate() {
        let answer = plain(&row[target]);
        let is_shot = if few { !shown.contains(&answer) } else { place < wanted };
        let mut line = Map::new();
        if !is_shot {
            line.insert("id".into(), format!("{name}-{}", place + 1).into());
        }
        line.insert("input".into(), plain(&row[input]).into());
        line.insert("target".into(), answer.clone().into());
        let to = if is_shot { &mut shots } else { &mut items };
        to.push_str(&format!("{}\n", Value::Object(line)));
        if is_shot {
            shown.push(answer);
        }
    }
    let (kind, output) = if few {
        let output = format!(
            "output_type: multiple_choice\ndoc_to_choice: {}\nmetric_list: [{{ metric: acc }}]\n",
            json!(labels)
        );
        ("classification", output)
    } else {
        let output = "output_type: generate_until\ngeneration_kwargs: { until: [\"\\n\"], max_gen_toks: 64 }\n\
                      metric_list: [{ metric: exact_match, ignore_case: true, ignore_punctuation: true }]\n";
        ("other", output.to_owned())
    };
    let yaml = format!(
        "# Keys as in lm-evaluation-harness; `tier:` is tierbench's own.\ntask: {}\ndataset_path: json\n\
         dataset_kwargs: {{ data_files: {{ test: items.jsonl, fewshot: shots.jsonl }} }}\ntest_split: test\n\
         fewshot_split: fewshot\nnum_fewshot: {wanted}\n{output}doc_to_text: \"{{{{input}}}}\\nAnswer:\"\n\
         doc_to_target: target\nmetadata: {{ version: 1.0 }}\ntier:\n  kind: {kind}\n  canary: {}\n",
        json!(name),
        json!(canary(name)),
    );
    Ok(Scaffold { yaml, items, shots })
}

/// Adds a bar that a trivial answer does not reach.
fn with_bar(yaml: String, folder: &str) -> Result<String> {
    let task = Task::load(folder)?;
    let trivial = best_baseline(&task)?.map_or(0.0, |baseline| baseline.pass_rate);
    // Half of what a trivial answer leaves, in whole hundredths.
    let min = ((50.0 * (1.0 + trivial)).round() / 100.0).min(0.99);
    if min <= trivial {
        return Ok(yaml);
    }
    let why = format!("a trivial answer reaches {trivial:.2}; set what your work needs");
    Ok(format!("{yaml}  bar: {{ metric: pass_rate, min: {min} }} # {why}\n"))
}

/// A scalar as text, without JSON's quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
