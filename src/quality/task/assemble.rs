//! From a task file's keys to a checked [`Task`].

use std::path::Path;

use serde_json::Value;

use super::wire::WireTask;
use super::{
    Bar, BarMetric, ChoiceSource, Decode, Generation, Item, Kind, Normalize, Origin, Output, PromptSource,
    TargetSource, Task,
};
use crate::quality::QualityError;
use crate::quality::constrain::check_schema;
use crate::quality::filter::Pipeline;
use crate::quality::prompt::Prompter;
use crate::quality::score::ScorerKind;

/// What was read beside the task file's keys.
pub(super) struct Read {
    pub(super) items: Vec<Item>,
    pub(super) shots: Vec<Item>,
    /// The scorer's databases, JSON lines.
    pub(super) databases: Option<String>,
    /// Over the task file and all data.
    pub(super) sha256: String,
    pub(super) origin: Origin,
}

/// A complete and checked task out of its file's keys and what was read beside it. `path` is the file, for messages;
/// `spec` names the task if it does not name itself.
///
/// # Errors
/// A key whose value cannot be used; a template that does not compile or an item that does not render.
pub(super) fn task(path: &Path, spec: &str, wire: &WireTask, read: Read) -> Result<Task, QualityError> {
    let bad = |key: &str, reason: String| QualityError::BadKey { path: path.into(), key: key.into(), reason };
    check_simple_keys(wire).map_err(|(key, reason)| bad(key, reason))?;
    let tier = wire.tier.clone().unwrap_or_default();
    let name = wire.task.clone().unwrap_or_else(|| spec.to_owned());
    let generates = match wire.output_type.as_deref() {
        Some("multiple_choice") => false,
        None | Some("generate_until") => true,
        Some(other) => {
            return Err(bad("output_type", format!("`{other}`: use multiple_choice or generate_until")));
        }
    };
    let metric = wire.metric_list.as_ref().and_then(|list| list.first());
    let scorer = ScorerKind::from_wire(tier.scorer.as_ref(), metric, read.databases.as_deref(), generates)
        .map_err(|reason| bad("tier.scorer", reason))?;
    let output = if generates { generate(wire, &name)? } else { choice(wire).map_err(|(k, r)| bad(k, r))? };
    let decode = match tier.decode.as_deref() {
        None => {
            if generates {
                Decode::Free
            } else {
                Decode::Loglikelihood
            }
        }
        Some("loglikelihood") if !generates => Decode::Loglikelihood,
        Some("constrained") if !generates || tier.schema.is_some() => Decode::Constrained,
        Some("free") => Decode::Free,
        Some("constrained") => {
            return Err(bad("tier.schema", "is missing: constrained text needs a JSON schema".into()));
        }
        Some(other) => {
            let right = if generates { "free or constrained" } else { "loglikelihood, constrained or free" };
            return Err(bad("tier.decode", format!("`{other}`: with this output_type use {right}")));
        }
    };
    if let Some(schema) = &tier.schema {
        check_schema(schema).map_err(|reason| bad("tier.schema", reason))?;
    }
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
        version: version(wire),
        kind,
        decode,
        bar: bar.map_err(|reason| bad("tier.bar", reason))?,
        alpha,
        canary: tier.canary,
        schema: tier.schema,
        output,
        scorer,
        shots: read.shots,
        items: read.items,
        sha256: read.sha256,
        origin: read.origin,
        prompt: prompt(wire).map_err(|(key, reason)| bad(key, reason))?,
        name,
    };
    // Compiles every template and renders every item once, so that a broken one is found before a model is loaded.
    Prompter::new(&task)?.check_all(&task)?;
    Ok(task)
}

fn version(wire: &WireTask) -> Option<String> {
    let of = |table: &Value| table.get("version").map(plain);
    match wire.metadata.as_ref()? {
        Value::Array(tables) => tables.iter().find_map(of),
        table => of(table),
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
