//! The items of one task, as `--log_samples` writes them.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::METRICS;
use crate::quality::{FinishReason, ItemResult};
use crate::store::canonical::sha256_hex;
use crate::store::prompts::ItemPrompt;

/// lm-eval's word for a task that takes answers as they are.
pub(super) const NO_FILTER: &str = "none";

#[derive(Debug, Deserialize)]
pub(super) struct WireSample {
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
    pub(super) prompt_hash: String,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

/// Whether this is a line of a samples file.
pub(in crate::store::import) fn is_sample(value: &Value) -> bool {
    value.get("doc_id").is_some() && ["arguments", "resps", "filtered_resps"].iter().any(|key| value.get(key).is_some())
}

/// The items of one filter.
pub(super) struct Samples {
    pub(super) items: Vec<WireSample>,
    /// The filter.
    pub(super) filter: String,
    /// All filters of the task, as they come.
    pub(super) filters: Vec<String>,
    /// Of the file.
    pub(super) sha256: String,
}

impl Samples {
    /// Reads the samples of one filter: of `wanted`, or of the first. A task with several filters lists every document once
    /// per filter.
    pub(super) fn read(path: &Path, wanted: Option<&str>) -> Result<Self, String> {
        let text = crate::store::file::read_text(path).map_err(|error| error.to_string())?;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let mut items: Vec<WireSample> = Vec::new();
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            items.push(serde_json::from_str(line).map_err(|error| format!("{file} line {}: {error}", i + 1))?);
        }
        let mut filters: Vec<String> = Vec::new();
        for item in &items {
            if !filters.iter().any(|known| known == item.filter()) {
                filters.push(item.filter().to_owned());
            }
        }
        let filter = match (filters.as_slice(), wanted) {
            ([], _) => return Err(format!("{file} has no samples")),
            ([only], _) => only.clone(),
            ([first, ..], None) => first.clone(),
            (several, Some(wanted)) => several
                .iter()
                .find(|filter| *filter == wanted)
                .ok_or_else(|| format!("no filter `{wanted}`: it has {}", several.join(", ")))?
                .clone(),
        };
        items.retain(|item| item.filter() == filter);
        let mut seen = HashSet::new();
        if let Some(twice) = items.iter().map(|item| plain(&item.doc_id)).find(|id| !seen.insert(id.clone())) {
            return Err(format!("doc_id {twice} twice in {file}"));
        }
        Ok(Self { items, filter, filters, sha256: sha256_hex(text.as_bytes()) })
    }

    /// The metric that says solved or not: `wanted`, or the first of [`METRICS`] that every item has.
    pub(super) fn metric(&self, wanted: Option<&str>) -> Result<String, String> {
        let has = |name: &str| self.items.iter().all(|sample| sample.rest.get(name).is_some_and(Value::is_number));
        let found = match wanted {
            Some(name) => has(name).then(|| name.to_owned()),
            None => METRICS.into_iter().find(|name| has(name)).map(str::to_owned),
        };
        found.ok_or_else(|| {
            let wanted = wanted.map_or_else(|| METRICS.join(", "), str::to_owned);
            format!("not every item has a number `{wanted}`: name the metric with --metric")
        })
    }
}

impl WireSample {
    fn filter(&self) -> &str {
        self.filter.as_deref().unwrap_or(NO_FILTER)
    }

    pub(super) fn prompt(&self) -> ItemPrompt {
        // `arguments` is {"gen_args_0": {"arg_0": prompt, …}} or [[prompt, …]]; a chat endpoint gets ["[{message}, …]"].
        let places = ["/gen_args_0/arg_0", "/gen_args_0/arg_0/0", "/0/0", "/0/0/0"];
        let prompt = places.iter().find_map(|place| self.arguments.pointer(place)?.as_str());
        let target = match &self.target {
            Value::Array(targets) => targets.iter().map(plain).collect(),
            Value::Null => Vec::new(),
            target => vec![plain(target)],
        };
        let prompt = prompt.unwrap_or_default();
        ItemPrompt { item: plain(&self.doc_id), prompt: messages(prompt).unwrap_or_else(|| prompt.to_owned()), target }
    }

    /// The item as graded: solved if the metric is 1.
    pub(super) fn item(&self, metric: &str, is_choice: bool) -> Result<ItemResult, String> {
        let id = plain(&self.doc_id);
        let score = self.rest.get(metric).and_then(Value::as_f64).filter(|score| (0.0..=1.0).contains(score));
        let score = score.ok_or_else(|| format!("doc_id {id}: {metric} is not a number between 0 and 1"))?;
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
            answer: if is_choice { None } else { first(&self.filtered_resps) },
            raw: if is_choice { None } else { first(&self.resps) },
            score,
            parts: BTreeMap::new(),
            pass: score >= 1.0,
            confidence: None,
            n_prompt_tokens: 0,
            n_cached_tokens: 0,
            n_gen_tokens: 0,
            elapsed_ns: 0,
            finish_reason: if is_choice { FinishReason::Scored } else { FinishReason::Stop },
            prompt_sha256: self.prompt_hash.clone(),
            joules: None,
        })
    }
}

/// The messages of a chat that was written as JSON, each after its role; `None` for any other text.
fn messages(prompt: &str) -> Option<String> {
    let messages: Vec<Value> = serde_json::from_str(prompt).ok()?;
    let message =
        |message: &Value| Some(format!("{}: {}", message.get("role")?.as_str()?, message.get("content").map(plain)?));
    let lines: Option<Vec<String>> = messages.iter().map(message).collect();
    lines.filter(|lines| !lines.is_empty()).map(|lines| lines.join("\n\n"))
}

/// Text as it is, anything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
