//! lm-eval's `results_*.json`, with the `samples_TASK_*.jsonl` that `--log_samples` writes beside it.
//!
//! The aggregates alone are not enough: a verdict needs the items. Items are judged in a seeded order, as our own are, so
//! that the sequential test holds whatever the order of the data set.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::{Import, Source};
use crate::civil;
use crate::decide::Rule;
use crate::plan::{Tier, TierKey};
use crate::quality::task::{BarMetric, Decode, Kind};
use crate::quality::{FinishReason, ItemResult};
use crate::stats::bootstrap::SplitMix64;
use crate::stats::eprocess::Bar;
use crate::store::StoreError;
use crate::store::cell::{Cell, Outcome, Subject, TaskItems};
use crate::store::prompts::{ItemPrompt, TaskPrompts};
use crate::store::record::{ModelFileFacts, Record, TaskFacts, TierFacts};

/// The bar imported items are judged by: lm-eval has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Pass rate demanded; needed for lm-eval's results.
    pub bar: Option<f64>,
    /// The per-item metric that says whether an item was solved; by default the first of [`METRICS`] the items have.
    pub metric: Option<String>,
    /// Seed of the order in which items are judged.
    pub seed: u64,
}

impl Default for Judgement {
    fn default() -> Self {
        Self { bar: None, metric: None, seed: 42 }
    }
}

/// Per-item metrics that say solved or not, in the order they are looked for.
pub const METRICS: [&str; 4] = ["acc", "exact_match", "acc_norm", "pass@1"];

#[derive(Debug, Deserialize)]
struct WireSample {
    doc_id: Value,
    #[serde(default)]
    target: Value,
    #[serde(default)]
    arguments: Value,
    #[serde(default)]
    resps: Value,
    #[serde(default)]
    filtered_resps: Value,
    #[serde(default)]
    filter: Option<String>,
    #[serde(default)]
    prompt_hash: String,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

pub(super) fn import(source: &Source<'_>, value: &Value, judgement: &Judgement) -> Result<Import, StoreError> {
    let min = judgement.bar.ok_or_else(|| source.bad("lm-eval results have no bar: give one with --bar"))?;
    let bar = Bar::new(min).map_err(|error| source.bad(format!("--bar {min}: {error}")))?;
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    #[expect(clippy::cast_possible_truncation, reason = "a date of this century")]
    let started = value.get("date").and_then(Value::as_f64).map(|seconds| civil::rfc3339(seconds as i64));
    let version = text("/lm_eval_version").or_else(|| text("/git_hash"));
    let mut raw = source.raw("lm-eval", version, started.unwrap_or_default())?;
    let facts = tier(value);
    // A group stands beside its tasks with their mean: it has no items of its own.
    let is_group = |name: &String| {
        let subtasks = value.get("group_subtasks").and_then(|groups| groups.get(name)).and_then(Value::as_array);
        subtasks.is_some_and(|tasks| !tasks.is_empty()) || value.get("groups").is_some_and(|g| g.get(name).is_some())
    };
    let results = value["results"].as_object().into_iter().flatten();
    let tasks: Vec<&String> = results.map(|(name, _)| name).filter(|name| !is_group(name)).collect();
    let mut left_out = Vec::new();
    for name in tasks {
        let Some(path) = samples_file(source, name) else {
            left_out.push(format!("task {name}: no samples_{name}_*.jsonl beside it (run lm-eval with --log_samples)"));
            continue;
        };
        let mut samples = read_samples(&path)?;
        let items = samples.len() as u64;
        let order_seed = judgement.seed;
        SplitMix64::new(order_seed).shuffle(&mut samples);
        let metric = metric(&samples, judgement, &path)?;
        let config = value.pointer(&format!("/configs/{name}")).cloned().unwrap_or_default();
        let is_choice = config.get("output_type").and_then(Value::as_str) == Some("multiple_choice");
        raw.tasks.push(TaskFacts {
            name: name.clone(),
            version: value.pointer(&format!("/versions/{name}")).map(plain),
            kind: Kind::Other,
            sha256: task_hash(value, name, &samples),
            suite_items: items,
            decode: if is_choice { Decode::Loglikelihood } else { Decode::Free },
            metric: BarMetric::PassRate,
            rule: Rule {
                bar,
                tiers: 1,
                n_max: (items <= 5000).then_some(items),
                order_seed,
                ..Rule::new(min).map_err(|error| source.bad(error.to_string()))?
            },
            baseline: None,
        });
        raw.prompts.push(TaskPrompts {
            task: name.clone(),
            prefix: String::new(),
            items: samples.iter().map(prompt).collect(),
        });
        let items: Result<Vec<ItemResult>, StoreError> =
            samples.iter().map(|sample| item(sample, &metric, is_choice, &path)).collect();
        raw.cells.push(Cell {
            tier: facts.key.clone(),
            subject: Subject::Task(name.clone()),
            finished_at: raw.run.started_at.clone(),
            outcome: Outcome::Task(TaskItems {
                items: items?,
                stopped: Some("all items".into()),
                ..TaskItems::default()
            }),
        });
    }
    if raw.cells.is_empty() {
        return Err(source.bad(left_out.first().cloned().unwrap_or_else(|| "no results".into())));
    }
    raw.tiers.push(facts);
    Ok(Import { record: Record::from_raw(raw)?, left_out })
}

/// The model and its back end, as the configuration names them.
fn tier(value: &Value) -> TierFacts {
    let backend = value.pointer("/config/model").map_or_else(|| "unknown".to_owned(), plain);
    let argument = |key: &str| match value.pointer("/config/model_args") {
        Some(Value::Object(map)) => map.get(key).map(plain),
        Some(Value::String(list)) => {
            list.split(',').filter_map(|pair| pair.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| v.to_owned())
        }
        _ => None,
    };
    let named = value.get("model_name").and_then(Value::as_str).map(str::to_owned);
    let model = argument("gguf_file").or_else(|| argument("pretrained")).or_else(|| argument("model")).or(named);
    let model = model.unwrap_or_else(|| backend.clone());
    let device = value.pointer("/config/device").and_then(Value::as_str).unwrap_or("unknown").to_owned();
    let tier = Tier {
        model: model.clone(),
        level: argument("dtype").filter(|dtype| dtype != "auto"),
        requantized_from: None,
        engine: format!("lm-eval {backend}"),
        device,
        n_threads: 0,
    };
    TierFacts {
        key: TierKey(format!("{model} lm-eval {backend}")),
        tier,
        model: ModelFileFacts {
            name: model,
            source: Some("lm-eval (the file does not give the model's hash)".into()),
            template_sha256: value.get("chat_template_sha").and_then(Value::as_str).map(str::to_owned),
            ..ModelFileFacts::default()
        },
        engine: None,
        idle: None,
        peak_rss_bytes: None,
    }
}

/// The samples of a task: of the same moment as the results. Results that were renamed and name no moment get the newest;
/// those of another moment may be another model's.
fn samples_file(source: &Source<'_>, task: &str) -> Option<PathBuf> {
    let dir = source.path.parent()?;
    if let Some(moment) = source.path.file_stem()?.to_string_lossy().strip_prefix("results_") {
        return Some(dir.join(format!("samples_{task}_{moment}.jsonl"))).filter(|path| path.is_file());
    }
    let start = format!("samples_{task}_");
    // What follows the task's name is a date: another task's name may begin with this one's.
    let is_ours = |name: &str| {
        let rest = name.strip_prefix(&start);
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.ends_with(".jsonl"))
    };
    let entries = std::fs::read_dir(if dir.as_os_str().is_empty() { ".".as_ref() } else { dir }).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| is_ours(name)).max().map(|name| dir.join(name))
}

fn read_samples(path: &std::path::Path) -> Result<Vec<WireSample>, StoreError> {
    let bad = |why: String| StoreError::Import { path: path.to_owned(), why };
    let text = crate::store::file::read_text(path)?;
    let mut samples: Vec<WireSample> = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        samples.push(serde_json::from_str(line).map_err(|error| bad(format!("line {}: {error}", i + 1)))?);
    }
    // A task with several filters lists every document once per filter.
    let first = samples.first().ok_or_else(|| bad("no samples".into()))?.filter.clone();
    samples.retain(|sample| sample.filter == first);
    Ok(samples)
}

fn metric(samples: &[WireSample], judgement: &Judgement, path: &std::path::Path) -> Result<String, StoreError> {
    let has = |name: &str| samples.iter().all(|sample| sample.rest.get(name).is_some_and(Value::is_number));
    let found = match &judgement.metric {
        Some(name) => has(name).then(|| name.clone()),
        None => METRICS.into_iter().find(|name| has(name)).map(str::to_owned),
    };
    found.ok_or_else(|| {
        let wanted = judgement.metric.clone().unwrap_or_else(|| METRICS.join(", "));
        let why = format!("not every item has a number `{wanted}`: name the metric with --metric");
        StoreError::Import { path: path.to_owned(), why }
    })
}

/// lm-eval's own hash of the task if it wrote one, else a hash of the configuration and the prompts.
fn task_hash(value: &Value, name: &str, samples: &[WireSample]) -> String {
    if let Some(hash) = value.pointer(&format!("/task_hashes/{name}")).and_then(Value::as_str) {
        return hash.to_owned();
    }
    let mut hashes: Vec<&str> = samples.iter().map(|sample| sample.prompt_hash.as_str()).collect();
    hashes.sort_unstable();
    let config = value.pointer(&format!("/configs/{name}")).cloned().unwrap_or_default();
    let all = format!("{}\n{}", crate::store::canonical::canonical_json(&config), hashes.join("\n"));
    crate::store::canonical::sha256_hex(all.as_bytes())
}

fn prompt(sample: &WireSample) -> ItemPrompt {
    // `arguments` is {"gen_args_0": {"arg_0": prompt, …}} or [[prompt, …]]; a chat endpoint gets ["[{message}, …]"].
    let places = ["/gen_args_0/arg_0", "/gen_args_0/arg_0/0", "/0/0", "/0/0/0"];
    let prompt = places.iter().find_map(|place| sample.arguments.pointer(place)?.as_str());
    let target = match &sample.target {
        Value::Array(targets) => targets.iter().map(plain).collect(),
        Value::Null => Vec::new(),
        target => vec![plain(target)],
    };
    let prompt = prompt.unwrap_or_default();
    ItemPrompt { item: plain(&sample.doc_id), prompt: messages(prompt).unwrap_or_else(|| prompt.to_owned()), target }
}

/// The messages of a chat that was written as JSON, each after its role; `None` for any other text.
fn messages(prompt: &str) -> Option<String> {
    let messages: Vec<Value> = serde_json::from_str(prompt).ok()?;
    let message =
        |message: &Value| Some(format!("{}: {}", message.get("role")?.as_str()?, message.get("content").map(plain)?));
    let lines: Option<Vec<String>> = messages.iter().map(message).collect();
    lines.filter(|lines| !lines.is_empty()).map(|lines| lines.join("\n\n"))
}

fn item(sample: &WireSample, metric: &str, is_choice: bool, path: &std::path::Path) -> Result<ItemResult, StoreError> {
    let id = plain(&sample.doc_id);
    let score = sample.rest.get(metric).and_then(Value::as_f64).filter(|score| (0.0..=1.0).contains(score));
    let score = score.ok_or_else(|| StoreError::Import {
        path: path.to_owned(),
        why: format!("doc_id {id}: {metric} is not a number between 0 and 1"),
    })?;
    let first = |value: &Value| match value.get(0) {
        Some(Value::Array(inner)) => inner.first().map(plain),
        Some(value) => Some(plain(value)),
        None => None,
    };
    Ok(ItemResult {
        item: id,
        level: None,
        template: None,
        choices: Vec::new(),
        answer: if is_choice { None } else { first(&sample.filtered_resps) },
        raw: if is_choice { None } else { first(&sample.resps) },
        score,
        parts: std::collections::BTreeMap::new(),
        pass: score >= 1.0,
        confidence: None,
        n_prompt_tokens: 0,
        n_cached_tokens: 0,
        n_gen_tokens: 0,
        elapsed_ns: 0,
        finish_reason: if is_choice { FinishReason::Scored } else { FinishReason::Stop },
        prompt_sha256: sample.prompt_hash.clone(),
        joules: None,
    })
}

/// Text as it is, anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
