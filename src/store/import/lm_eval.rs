//! lm-eval's `results_*.json`, with the `samples_TASK_*.jsonl` that `--log_samples` writes beside it.
//!
//! The aggregates alone are not enough: a verdict needs the items. Items are judged in a seeded order, as our own are, so
//! that the sequential test holds whatever the order of the data set.

mod samples;

use std::path::PathBuf;

use serde_json::Value;

use self::samples::{Samples, plain};
use super::{Import, Source};
use crate::decide::Rule;
use crate::plan::{Tier, TierKey};
use crate::quality::task::{BarMetric, Decode, Kind};
use crate::stats::bootstrap::SplitMix64;
use crate::stats::eprocess::Bar;
use crate::store::StoreError;
use crate::store::cell::{Cell, Outcome, Subject, TaskItems};
use crate::store::prompts::TaskPrompts;
use crate::store::record::{ModelFileFacts, TaskFacts, TierFacts};

pub(super) use self::samples::is_sample;

/// The bar imported items are judged by: lm-eval has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Pass rate demanded; needed for lm-eval's results.
    pub bar: Option<f64>,
    /// The per-item metric that says whether an item was solved; by default the first of [`METRICS`] the items have.
    pub metric: Option<String>,
    /// Which of a task's filters extracted the answers; by default the first. A task with one filter only keeps that.
    pub filter: Option<String>,
    /// Seed of the order in which items are judged.
    pub seed: u64,
}

impl Default for Judgement {
    fn default() -> Self {
        Self { bar: None, metric: None, filter: None, seed: 42 }
    }
}

/// Per-item metrics that say solved or not, in the order they are looked for.
pub const METRICS: [&str; 4] = ["acc", "exact_match", "acc_norm", "pass@1"];

pub(super) fn import(source: &Source<'_>, value: &Value, judgement: &Judgement) -> Result<Import, StoreError> {
    let min = judgement.bar.ok_or_else(|| source.bad("lm-eval results have no bar: give one with --bar"))?;
    let bar = Bar::new(min).map_err(|error| source.bad(format!("--bar {min}: {error}")))?;
    let rule = Rule::new(min).map_err(|error| source.bad(error.to_string()))?;
    let rule = Rule { bar, tiers: 1, order_seed: judgement.seed, ..rule };
    if !source.is_file {
        return Err(source.bad("the samples lie beside lm-eval's results: give the file's name"));
    }
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    #[expect(clippy::cast_possible_truncation, reason = "a date of this century")]
    let date = value.get("date").and_then(Value::as_f64).map(|seconds| seconds as i64);
    let version = text("/lm_eval_version").or_else(|| text("/git_hash"));
    let mut raw = source.raw("lm-eval", version, [date, date])?;
    let facts = tier(value);
    let mut left_out = Vec::new();
    let mut settings = format!("bar {min} seed {}", judgement.seed);
    let mut filters = Vec::new();
    for name in tasks(value) {
        let graded = match grade(source, value, name, judgement, &rule) {
            Ok(graded) => graded,
            Err(why) => {
                left_out.push(format!("task {name}: {why}"));
                continue;
            }
        };
        settings.push_str(&graded.settings);
        filters.push(graded.filter);
        raw.warnings.extend(graded.warning);
        raw.cells.push(Cell {
            tier: facts.key.clone(),
            subject: Subject::Task(graded.facts.name.clone()),
            finished_at: raw.run.started_at.clone(),
            outcome: Outcome::Task(graded.items),
        });
        raw.tasks.push(graded.facts);
        raw.prompts.push(graded.prompts);
    }
    if raw.cells.is_empty() {
        let why = if left_out.is_empty() { "no results".to_owned() } else { left_out.join("; ") };
        return Err(source.bad(why));
    }
    if let Some(wanted) = judgement.filter.as_ref().filter(|wanted| !filters.contains(wanted)) {
        return Err(source.bad(format!("no task has a filter `{wanted}`: they have {}", filters.join(", "))));
    }
    raw.tiers.push(facts);
    raw.run.id = source.run_id(&raw.run.started_at, &settings);
    Ok(Import { record: source.seal(raw)?, left_out })
}

/// The tasks that have items. A group stands beside its tasks with their mean: it has none of its own.
fn tasks(value: &Value) -> impl Iterator<Item = &String> {
    let is_group = move |name: &String| {
        let subtasks = value.get("group_subtasks").and_then(|groups| groups.get(name)).and_then(Value::as_array);
        subtasks.is_some_and(|tasks| !tasks.is_empty()) || value.get("groups").is_some_and(|g| g.get(name).is_some())
    };
    value["results"].as_object().into_iter().flatten().map(|(name, _)| name).filter(move |name| !is_group(name))
}

/// A task, judged.
struct Graded {
    facts: TaskFacts,
    items: TaskItems,
    prompts: TaskPrompts,
    filter: String,
    warning: Option<String>,
    /// What another import may choose otherwise.
    settings: String,
}

/// # Errors
/// Why the task has no verdict.
fn grade(source: &Source<'_>, value: &Value, name: &str, judgement: &Judgement, rule: &Rule) -> Result<Graded, String> {
    let path = samples_file(source, name)
        .ok_or_else(|| format!("no samples_{name}_*.jsonl beside it (run lm-eval with --log_samples)"))?;
    let mut samples = Samples::read(&path, judgement.filter.as_deref())?;
    let n_items = samples.items.len() as u64;
    SplitMix64::new(judgement.seed).shuffle(&mut samples.items);
    let metric = samples.metric(judgement.metric.as_deref())?;
    let config = value.pointer(&format!("/configs/{name}")).cloned().unwrap_or_default();
    let is_choice = config.get("output_type").and_then(Value::as_str) == Some("multiple_choice");
    let filter = samples.filter.clone();
    // As lm-eval names its aggregates: results that are judged in another way are another task's.
    let task = match filter.as_str() {
        samples::NO_FILTER => format!("{name} ({metric})"),
        filter => format!("{name} ({metric},{filter})"),
    };
    let warning = (samples.filters.len() > 1).then(|| {
        let filters = samples.filters.join(", ");
        format!("task {name} has the filters {filters}: solved is what {metric} says of {filter} (--filter chooses)")
    });
    let items: Result<_, String> = samples.items.iter().map(|sample| sample.item(&metric, is_choice)).collect();
    Ok(Graded {
        facts: TaskFacts {
            name: task.clone(),
            version: value.pointer(&format!("/versions/{name}")).map(plain),
            kind: Kind::Other,
            sha256: task_hash(value, name, &samples),
            suite_items: n_items,
            decode: if is_choice { Decode::Loglikelihood } else { Decode::Free },
            metric: BarMetric::PassRate,
            rule: Rule { n_max: (n_items <= 5000).then_some(n_items), ..rule.clone() },
            baseline: None,
        },
        items: TaskItems { items: items?, stopped: Some("all items".into()), ..TaskItems::default() },
        prompts: TaskPrompts {
            task,
            prefix: String::new(),
            items: samples.items.iter().map(samples::WireSample::prompt).collect(),
        },
        settings: format!("\n{name} {metric},{filter} {}", samples.sha256),
        filter,
        warning,
    })
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

/// lm-eval's own hash of the task if it wrote one, else a hash of the configuration and the prompts.
fn task_hash(value: &Value, name: &str, samples: &Samples) -> String {
    if let Some(hash) = value.pointer(&format!("/task_hashes/{name}")).and_then(Value::as_str) {
        return hash.to_owned();
    }
    let mut hashes: Vec<&str> = samples.items.iter().map(|sample| sample.prompt_hash.as_str()).collect();
    hashes.sort_unstable();
    let config = value.pointer(&format!("/configs/{name}")).cloned().unwrap_or_default();
    let all = format!("{}\n{}", crate::store::canonical::canonical_json(&config), hashes.join("\n"));
    crate::store::canonical::sha256_hex(all.as_bytes())
}
