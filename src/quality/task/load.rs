//! Finds a task's files and turns them into a checked [`Task`].

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::wire::{self, WireTask};
use super::{
    Bar, BarMetric, ChoiceSource, Decode, Generation, Item, Kind, Normalize, Origin, Output, PromptSource,
    TargetSource, Task, embedded, item,
};
use crate::quality::QualityError;
use crate::quality::filter::Pipeline;
use crate::quality::prompt::Prompter;
use crate::quality::score::ScorerKind;

/// Bytes a task file may have.
const MAX_FILE: u64 = 256 << 20;
/// Levels of `include`.
const MAX_INCLUDES: usize = 8;

/// A task's folder, in the binary or on disk.
enum Folder {
    Embedded(embedded::Files),
    Disk(PathBuf),
}

impl Folder {
    fn path(&self, task: &str, file: &str) -> PathBuf {
        match self {
            Self::Embedded(_) => Path::new("built-in tasks").join(task).join(file),
            Self::Disk(dir) => dir.join(file),
        }
    }

    fn read(&self, task: &str, file: &str) -> Result<String, QualityError> {
        match self {
            Self::Embedded(files) => {
                files.iter().find(|(name, _)| *name == file).map(|(_, text)| (*text).to_owned()).ok_or_else(|| {
                    QualityError::Io {
                        action: "read",
                        path: self.path(task, file),
                        source: std::io::ErrorKind::NotFound.into(),
                    }
                })
            }
            Self::Disk(dir) => read(&dir.join(file)),
        }
    }
}

fn read(path: &Path) -> Result<String, QualityError> {
    let io = |source| QualityError::Io { action: "read", path: path.into(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    if bytes > MAX_FILE {
        return Err(QualityError::TooLarge { path: path.into(), bytes, limit: MAX_FILE });
    }
    let mut text = String::new();
    // The limit holds for files whose size cannot be known beforehand, too.
    file.take(MAX_FILE).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

/// Directory of the user's own tasks: `TIERBENCH_TASKS`, else `tasks` in the platform's data directory.
#[must_use]
pub fn user_dir() -> Option<PathBuf> {
    match std::env::var_os("TIERBENCH_TASKS").filter(|dir| !dir.is_empty()) {
        Some(dir) => Some(dir.into()),
        None => directories::ProjectDirs::from("", "", "tierbench").map(|dirs| dirs.data_dir().join("tasks")),
    }
}

/// Names of all tasks, the user's and the built-in ones, sorted, without repetition.
#[must_use]
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = embedded::TASKS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let entries = user_dir().and_then(|dir| std::fs::read_dir(dir).ok());
    for entry in entries.into_iter().flatten().flatten() {
        if entry.path().join("task.yaml").is_file() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    names.sort();
    names.dedup();
    names
}

/// Where the task `spec` is, or `None` if there is none: a path, the user's folder, the binary.
#[must_use]
pub fn find(spec: &str) -> Option<Origin> {
    let path = Path::new(spec);
    let is_yaml = path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml") && path.is_file();
    if is_yaml || (spec.contains(['/', '\\', '.']) && path.join("task.yaml").is_file()) {
        return Some(Origin::Folder(path.into()));
    }
    let user = user_dir().map(|dir| dir.join(spec)).filter(|dir| dir.join("task.yaml").is_file());
    match user {
        Some(dir) => Some(Origin::Folder(dir)),
        None => embedded::TASKS.iter().any(|(name, _)| *name == spec).then_some(Origin::Embedded),
    }
}

/// See [`Task::load`].
pub(super) fn task(spec: &str) -> Result<Task, QualityError> {
    let origin = find(spec).ok_or_else(|| QualityError::UnknownTask { got: spec.into(), known: names().join(", ") })?;
    let (folder, yaml) = match &origin {
        Origin::Embedded => {
            let files = embedded::TASKS.iter().find(|(name, _)| *name == spec).map_or(&[][..], |(_, files)| files);
            (Folder::Embedded(files), "task.yaml".to_owned())
        }
        Origin::Folder(path) if path.is_dir() => (Folder::Disk(path.clone()), "task.yaml".to_owned()),
        Origin::Folder(path) => {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            (Folder::Disk(path.parent().unwrap_or(Path::new("")).into()), name)
        }
    };
    let mut reader = Reader { folder, spec, hash: Sha256::new() };
    let wire = reader.yaml(&yaml, 0)?;
    let path = reader.folder.path(spec, &yaml);
    reader.assemble(wire, &path, origin)
}

struct Reader<'a> {
    folder: Folder,
    spec: &'a str,
    hash: Sha256,
}

impl Reader<'_> {
    /// Reads a file and adds it to the task's hash.
    fn text(&mut self, file: &str) -> Result<String, QualityError> {
        let text = self.folder.read(self.spec, file)?;
        self.hash.update((text.len() as u64).to_le_bytes());
        self.hash.update(text.as_bytes());
        Ok(text)
    }

    fn yaml(&mut self, file: &str, depth: usize) -> Result<WireTask, QualityError> {
        let path = self.folder.path(self.spec, file);
        if depth > MAX_INCLUDES {
            let reason = format!("more than {MAX_INCLUDES} levels: do the files include each other?");
            return Err(QualityError::BadKey { path, key: "include".into(), reason });
        }
        let wire = wire::parse(&path, &self.text(file)?)?;
        match wire.include.clone() {
            None => Ok(wire),
            Some(parent) => Ok(wire.or(self.yaml(&parent, depth + 1)?)),
        }
    }

    fn assemble(mut self, wire: WireTask, path: &Path, origin: Origin) -> Result<Task, QualityError> {
        let bad = |key: &str, reason: String| QualityError::BadKey { path: path.into(), key: key.into(), reason };
        let tier = wire.tier.clone().unwrap_or_default();
        let name = wire.task.clone().unwrap_or_else(|| self.spec.to_owned());
        check_simple_keys(&wire).map_err(|(key, reason)| bad(key, reason))?;

        let cluster_by = tier.cluster_by.as_deref();
        let test = wire.test_split.as_deref().or(wire.validation_split.as_deref()).unwrap_or("test");
        let items = self.items(&wire, test, cluster_by)?;
        let shots = self.shots(&wire)?;

        let generates = match wire.output_type.as_deref() {
            Some("multiple_choice") => false,
            None | Some("generate_until") => true,
            Some(other) => {
                return Err(bad("output_type", format!("`{other}`: use multiple_choice or generate_until")));
            }
        };
        let metric = wire.metric_list.as_ref().and_then(|list| list.first());
        let scorer = ScorerKind::from_wire(tier.scorer.as_ref(), metric, generates)
            .map_err(|reason| bad("tier.scorer", reason))?;
        let output = if generates { generate(&wire, &name)? } else { choice(&wire).map_err(|(k, r)| bad(k, r))? };
        let decode = match tier.decode.as_deref() {
            None => {
                if generates {
                    Decode::Free
                } else {
                    Decode::Loglikelihood
                }
            }
            Some("loglikelihood") if !generates => Decode::Loglikelihood,
            Some("free") if generates => Decode::Free,
            Some(other) => {
                let right = if generates { "free" } else { "loglikelihood" };
                return Err(bad("tier.decode", format!("`{other}`: with this output_type use {right}")));
            }
        };
        let kind = match tier.kind.as_deref() {
            None => Kind::Other,
            Some(kind) => serde_json::from_value(Value::String(kind.to_lowercase())).map_err(|_unknown_variant| {
                let known = "classification, extraction, summarization, code_sql, support or other";
                bad("tier.kind", format!("`{kind}`: use {known}"))
            })?,
        };
        let bar = tier.bar.as_ref().map(|bar| self::bar(&bar.metric, bar.min)).transpose();
        let alpha = tier.alpha;
        if let Some(alpha) = alpha.filter(|alpha| !(*alpha > 0.0 && *alpha < 1.0)) {
            return Err(bad("tier.alpha", format!("{alpha} must lie between 0 and 1")));
        }
        let task = Task {
            version: wire.metadata.as_ref().and_then(|m| m.get("version")).map(plain),
            kind,
            decode,
            bar: bar.map_err(|reason| bad("tier.bar", reason))?,
            alpha,
            canary: tier.canary,
            output,
            scorer,
            shots,
            items,
            sha256: hex(&self.hash.finalize()),
            origin,
            prompt: prompt(&wire).map_err(|(key, reason)| bad(key, reason))?,
            name,
        };
        // Compiles every template and renders every item once, so that a broken one is found before a model is loaded.
        Prompter::new(&task)?.check_all(&task)?;
        Ok(task)
    }

    /// The file a split is in: `data_files`, else the folder's `items.jsonl` or `<split>.jsonl`.
    fn file_of(&self, wire: &WireTask, split: &str, default: &str) -> Result<String, QualityError> {
        let files = wire.dataset_kwargs.clone().unwrap_or_default().data_files;
        let named = match files.get(split) {
            Some(Value::String(file)) => Some(file.clone()),
            Some(Value::Array(list)) if list.len() == 1 => list[0].as_str().map(str::to_owned),
            Some(other) => {
                return Err(QualityError::BadKey {
                    path: self.folder.path(self.spec, "task.yaml"),
                    key: format!("dataset_kwargs.data_files.{split}"),
                    reason: format!("{other} must be one file name"),
                });
            }
            None => None,
        };
        let by_split = format!("{split}.jsonl");
        Ok(named.unwrap_or_else(|| match &self.folder {
            Folder::Disk(dir) if !dir.join(default).exists() && dir.join(&by_split).exists() => by_split,
            _ => default.to_owned(),
        }))
    }

    fn items(&mut self, wire: &WireTask, split: &str, cluster_by: Option<&str>) -> Result<Vec<Item>, QualityError> {
        let file = self.file_of(wire, split, "items.jsonl")?;
        let path = self.folder.path(self.spec, &file);
        let items = item::parse(&path, &self.text(&file)?, cluster_by)?;
        if items.is_empty() { Err(QualityError::NoItems { path }) } else { Ok(items) }
    }

    fn shots(&mut self, wire: &WireTask) -> Result<Vec<Item>, QualityError> {
        let wanted = wire.num_fewshot.unwrap_or(0);
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let config = wire.fewshot_config.clone().unwrap_or_default();
        let (path, mut rows) = if let Some(samples) = config.samples {
            let lines: Vec<String> = samples.iter().map(|row| Value::Object(row.clone()).to_string()).collect();
            let path = self.folder.path(self.spec, "task.yaml (fewshot_config.samples)");
            (path.clone(), item::parse(&path, &lines.join("\n"), None)?)
        } else {
            let split = config.split.as_deref().or(wire.fewshot_split.as_deref()).unwrap_or("fewshot");
            let file = self.file_of(wire, split, "shots.jsonl")?;
            let path = self.folder.path(self.spec, &file);
            (path.clone(), item::parse(&path, &self.text(&file)?, None)?)
        };
        if let Some(indices) = config.fewshot_indices {
            rows = indices.iter().filter_map(|&i| rows.get(i).cloned()).collect();
        }
        if rows.len() < wanted {
            let reason = format!("num_fewshot is {wanted}, but there are {} examples", rows.len());
            return Err(QualityError::BadKey { path, key: "num_fewshot".into(), reason });
        }
        rows.truncate(wanted);
        Ok(rows)
    }
}

/// Keys of lm-eval whose other values need what this program does not have.
fn check_simple_keys(wire: &WireTask) -> Result<(), (&'static str, String)> {
    if let Some(sampler) = wire.fewshot_config.as_ref().and_then(|c| c.sampler.as_deref())
        && !matches!(sampler, "first_n" | "default")
    {
        return Err(("fewshot_config.sampler", format!("`{sampler}`: only first_n is reproducible outside Python")));
    }
    let generation = wire.generation_kwargs.clone().unwrap_or_default();
    if generation.do_sample == Some(true) || generation.temperature.is_some_and(|t| t != 0.0) {
        return Err(("generation_kwargs", "sampling is not supported: use do_sample false and temperature 0".into()));
    }
    if wire.dataset_kwargs.as_ref().is_some_and(|kwargs| kwargs.trust_remote_code == Some(true)) {
        return Err(("dataset_kwargs.trust_remote_code", "it runs Python; write the rows to items.jsonl".into()));
    }
    for metric in wire.metric_list.iter().flatten() {
        if metric.aggregation.as_deref().is_some_and(|a| a != "mean") || metric.higher_is_better == Some(false) {
            let reason = format!("`{}`: only means of scores where higher is better can be judged", metric.metric);
            return Err(("metric_list", reason));
        }
    }
    if wire.repeats.is_some_and(|repeats| repeats != 1) {
        return Err(("repeats", "greedy answers do not differ: use 1".into()));
    }
    Ok(())
}

fn prompt(wire: &WireTask) -> Result<PromptSource, (&'static str, String)> {
    let needed = |key: &'static str| (key, "is missing".to_owned());
    let doc_to_target = match wire.doc_to_target.clone().ok_or_else(|| needed("doc_to_target"))? {
        Value::String(text) => TargetSource::Text(text),
        Value::Number(n) => TargetSource::Index(
            n.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or(("doc_to_target", format!("{n} is no index")))?,
        ),
        Value::Array(list) => TargetSource::Texts(list.iter().map(plain).collect()),
        other => return Err(("doc_to_target", format!("{other} must be a template, column, index or list"))),
    };
    let doc_to_choice = match wire.doc_to_choice.clone() {
        None => None,
        Some(Value::String(text)) => Some(ChoiceSource::Expression(text)),
        Some(Value::Array(list)) if !list.is_empty() => Some(ChoiceSource::List(list.iter().map(plain).collect())),
        Some(other) => return Err(("doc_to_choice", format!("{other} must be a list, template or column"))),
    };
    Ok(PromptSource {
        description: wire.description.clone().unwrap_or_default(),
        doc_to_text: wire.doc_to_text.clone().ok_or_else(|| needed("doc_to_text"))?,
        doc_to_target,
        doc_to_choice,
        target_delimiter: wire.target_delimiter.clone().unwrap_or_else(|| " ".into()),
        fewshot_delimiter: wire.fewshot_delimiter.clone().unwrap_or_else(|| "\n\n".into()),
        gen_prefix: wire.gen_prefix.clone().unwrap_or_default(),
    })
}

/// A metric that is the share of solved items or their mean score.
///
/// # Errors
/// An unknown metric, or a minimum that every or no tier reaches.
fn bar(metric: &str, min: f64) -> Result<Bar, String> {
    let metric = match metric {
        "pass_rate" => BarMetric::PassRate,
        "mean_score" => BarMetric::MeanScore,
        other => return Err(format!("metric `{other}`: use pass_rate or mean_score")),
    };
    if !(min > 0.0 && min < 1.0) {
        return Err(format!("min {min} must lie between 0 and 1"));
    }
    Ok(Bar { metric, min })
}

fn choice(wire: &WireTask) -> Result<Output, (&'static str, String)> {
    if wire.doc_to_choice.is_none() {
        return Err(("doc_to_choice", "is missing: multiple_choice needs its choices".into()));
    }
    let metric = wire.metric_list.as_ref().and_then(|list| list.first()).map_or("acc", |m| m.metric.as_str());
    let scorer = wire.tier.as_ref().and_then(|tier| tier.scorer.as_ref());
    let by_metric = match metric {
        "acc" => "none",
        "acc_norm" => "char",
        "acc_bytes" => "byte",
        other => return Err(("metric_list", format!("`{other}`: use acc, acc_norm or acc_bytes"))),
    };
    let normalize = match scorer.and_then(|s| s.normalize.as_deref()).unwrap_or(by_metric) {
        "none" => Normalize::None,
        "char" => Normalize::Char,
        "byte" => Normalize::Byte,
        "contextual" => Normalize::Contextual,
        other => {
            return Err(("tier.scorer.normalize", format!("`{other}`: use none, char, byte or contextual")));
        }
    };
    let content_free = scorer.and_then(|s| s.content_free.clone());
    if normalize == Normalize::Contextual && content_free.is_none() {
        return Err(("tier.scorer.content_free", "is missing: contextual needs an item that says nothing".into()));
    }
    Ok(Output::Choice { normalize, content_free })
}

fn generate(wire: &WireTask, name: &str) -> Result<Output, QualityError> {
    let kwargs = wire.generation_kwargs.clone().unwrap_or_default();
    let until = match kwargs.until {
        None => vec![wire.fewshot_delimiter.clone().unwrap_or_else(|| "\n\n".into())],
        Some(Value::Array(list)) => list.iter().map(plain).collect(),
        Some(value) => vec![plain(&value)],
    };
    let generation = Generation {
        until: until.into_iter().filter(|stop| !stop.is_empty()).collect(),
        max_gen_toks: kwargs.max_gen_toks.unwrap_or(256).max(1),
    };
    let wanted = wire.tier.as_ref().and_then(|t| t.scorer.as_ref()).and_then(|s| s.filter.as_deref());
    let pipelines = wire.filter_list.as_deref().unwrap_or_default();
    let chosen = match wanted {
        None => pipelines.first(),
        Some(name) => pipelines.iter().find(|p| p.name.as_deref() == Some(name)),
    };
    let pipeline = Pipeline::from_wire(name, chosen.map_or(&[][..], |p| &p.filter))?;
    Ok(Output::Generate { generation, pipeline })
}

/// A scalar as text, without JSON's quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
