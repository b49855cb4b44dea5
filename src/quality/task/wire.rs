//! `task.yaml` as written: a strict subset of lm-evaluation-harness's task keys, plus `tier:`.
//!
//! Source of names and defaults: lm-evaluation-harness `lm_eval/config/task.py` at 4e7e0d4.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::quality::QualityError;

/// Keys of lm-eval that run Python or that this program does otherwise, with what to do instead.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("process_docs", "it runs Python; write the processed rows to items.jsonl"),
    ("process_results", "it runs Python; choose a scorer under `tier: scorer:`"),
    ("use_prompt", "prompt libraries are not read; write the prompt in doc_to_text"),
    ("unsafe_code", "code is run in a sandbox only; use `tier: scorer: { type: sql }`"),
    ("class", "it names a Python class; describe the task with output_type and doc_to_* keys"),
    ("custom_dataset", "it runs Python; write the rows to items.jsonl and use `dataset_path: json`"),
    ("aggregate_metric_list", "groups are not read; name several tasks with --task"),
    ("doc_to_image", "images are not supported"),
    ("doc_to_audio", "audio is not supported"),
    ("weight_by_size", "groups are not read; name several tasks with --task"),
];

macro_rules! wire_task {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// All keys of `task.yaml`. Everything is optional here because `include` may supply it.
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct WireTask {
            $($(#[$doc])* #[serde(default)] pub(super) $name: Option<$type>,)*
        }

        impl WireTask {
            /// Keys missing here are taken from `parent`, the included file.
            pub(super) fn or(self, parent: Self) -> Self {
                Self { $($name: self.$name.or(parent.$name),)* }
            }
        }
    };
}

wire_task! {
    /// File this one extends, relative to it.
    include: String,
    task: String,
    task_alias: String,
    tag: Value,
    /// What `tag` was called before groups had files of their own.
    group: Value,
    dataset_path: String,
    dataset_name: String,
    dataset_kwargs: WireDataset,
    training_split: String,
    validation_split: String,
    test_split: String,
    fewshot_split: String,
    description: String,
    doc_to_text: String,
    /// A template, a column, an index or a list of accepted answers.
    doc_to_target: Value,
    /// A list of templates, or one expression or column that gives a list.
    doc_to_choice: Value,
    target_delimiter: String,
    fewshot_delimiter: String,
    fewshot_config: WireFewshot,
    num_fewshot: usize,
    gen_prefix: String,
    output_type: String,
    generation_kwargs: WireGeneration,
    repeats: u32,
    filter_list: Vec<WirePipeline>,
    metric_list: Vec<WireMetric>,
    /// Accepted and unused: decontamination is a separate tool of lm-eval.
    should_decontaminate: bool,
    /// See `should_decontaminate`.
    doc_to_decontamination_query: String,
    /// A table; older files write a list of tables.
    metadata: Value,
    tier: WireTier,
}

/// `dataset_kwargs`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireDataset {
    /// A file or a list of files, or split → these; relative to the task's folder.
    #[serde(default)]
    pub(super) data_files: Option<Value>,
    /// Accepted and unused: nothing remote is run, files are only read.
    #[serde(default)]
    #[expect(dead_code, reason = "named so that files that hold it can be read")]
    pub(super) trust_remote_code: Option<bool>,
}

/// `fewshot_config`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireFewshot {
    #[serde(default)]
    pub(super) sampler: Option<String>,
    #[serde(default)]
    pub(super) split: Option<String>,
    /// Rows written out in the file.
    #[serde(default)]
    pub(super) samples: Option<Vec<serde_json::Map<String, Value>>>,
    #[serde(default)]
    pub(super) fewshot_indices: Option<Vec<usize>>,
}

/// `generation_kwargs`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireGeneration {
    /// One stop string or a list.
    #[serde(default)]
    pub(super) until: Option<Value>,
    #[serde(default)]
    pub(super) max_gen_toks: Option<u32>,
    #[serde(default)]
    pub(super) temperature: Option<f64>,
    #[serde(default)]
    pub(super) do_sample: Option<bool>,
}

/// One entry of `filter_list`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WirePipeline {
    #[serde(default)]
    pub(super) name: Option<String>,
    pub(super) filter: Vec<WireFilter>,
}

/// One filter of a pipeline.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireFilter {
    pub(crate) function: String,
    #[serde(default)]
    pub(crate) regex_pattern: Option<String>,
    #[serde(default)]
    pub(crate) group_select: Option<i64>,
    #[serde(default)]
    pub(crate) fallback: Option<String>,
    #[serde(default)]
    pub(crate) mapping_dict: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) default_value: Option<String>,
}

/// One entry of `metric_list`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireMetric {
    pub(crate) metric: String,
    #[serde(default)]
    pub(crate) aggregation: Option<String>,
    #[serde(default)]
    pub(crate) higher_is_better: Option<bool>,
    #[serde(default)]
    pub(crate) ignore_case: bool,
    #[serde(default)]
    pub(crate) ignore_punctuation: bool,
    #[serde(default)]
    pub(crate) ignore_numbers: bool,
    #[serde(default)]
    pub(crate) regexes_to_ignore: Vec<String>,
}

/// `tier:`, this program's own keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireTier {
    #[serde(default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) decode: Option<String>,
    /// JSON schema answers are held to with `decode: constrained`.
    #[serde(default)]
    pub(super) schema: Option<Value>,
    #[serde(default)]
    pub(super) scorer: Option<WireScorer>,
    #[serde(default)]
    pub(super) bar: Option<WireBar>,
    #[serde(default)]
    pub(super) alpha: Option<f64>,
    /// Column whose value groups items for clustered standard errors.
    #[serde(default)]
    pub(super) cluster_by: Option<String>,
    #[serde(default)]
    pub(super) canary: Option<String>,
}

/// `tier: scorer:`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireScorer {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// `none`, `char`, `byte` or `contextual`; choices only.
    #[serde(default)]
    pub(crate) normalize: Option<String>,
    /// Column values of an item that says nothing, for `contextual`.
    #[serde(default)]
    pub(crate) content_free: Option<serde_json::Map<String, Value>>,
    /// Field → type (`text`, `date`, `money`, `id`); scorer `fields` only.
    #[serde(default)]
    pub(crate) fields: Option<BTreeMap<String, String>>,
    /// File with the databases' scripts; scorer `sql` only.
    #[serde(default)]
    pub(crate) databases: Option<String>,
    /// Columns an answer may draw on; scorers `summary` and `reply` only.
    #[serde(default)]
    pub(crate) source: Option<Vec<String>>,
    /// Words an answer may have; scorers `summary` and `reply` only.
    #[serde(default)]
    pub(crate) max_words: Option<usize>,
    /// Name of the pipeline of `filter_list` that is judged; the first one without it.
    #[serde(default)]
    pub(crate) filter: Option<String>,
}

/// `tier: bar:`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireBar {
    pub(super) metric: String,
    pub(super) min: f64,
}

/// Reads one file's text; `include` is resolved by the caller.
///
/// # Errors
/// [`QualityError::UnsupportedKey`] for Python and other features of lm-eval that are not here, else
/// [`QualityError::Yaml`] with line and column.
pub(super) fn parse(path: &Path, text: &str) -> Result<WireTask, QualityError> {
    let unsupported = |key: String, instead| QualityError::UnsupportedKey { path: path.into(), key, instead };
    if let Some(line) = text.lines().position(|line| line.split('#').next().is_some_and(|l| l.contains("!function"))) {
        return Err(unsupported(format!("!function (line {})", line + 1), "it runs Python; use templates and scorers"));
    }
    let yaml = |error: serde_saphyr::Error| QualityError::Yaml {
        path: path.into(),
        reason: error.without_snippet().to_string().replace('\n', " "),
    };
    let keys: BTreeMap<String, Value> = serde_saphyr::from_str(text).map_err(yaml)?;
    if keys.contains_key("group") && !keys.get("task").is_some_and(Value::is_string) {
        return Err(unsupported("group".into(), "groups are not read; name several tasks with --task"));
    }
    if let Some(&(key, instead)) = UNSUPPORTED.iter().find(|(key, _)| keys.contains_key(*key)) {
        return Err(unsupported(key.into(), instead));
    }
    serde_saphyr::from_str(text).map_err(yaml)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(Path::new("task.yaml"), text).unwrap_err().to_string()
    }

    #[test]
    fn python_is_refused_with_the_alternative() {
        let message = error("task: x\ndoc_to_text: !function utils.text\n");
        assert!(message.contains("!function (line 2)") && message.contains("templates"), "{message}");
        let message = error("process_docs: utils.docs\n");
        assert!(message.contains("`process_docs`") && message.contains("items.jsonl"), "{message}");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let message = error("task: x\nbogus_key: 1\n");
        assert!(message.contains("bogus_key") && message.contains("line 2"), "{message}");
        let message = error("tier:\n  scorrer: { type: choice }\n");
        assert!(message.contains("scorrer"), "{message}");
    }

    #[test]
    fn malformed_yaml_gives_the_line() {
        let message = error("task: x\ndescription: \"open\n");
        assert!(message.contains("line") && !message.contains('\n'), "{message}");
    }

    #[test]
    fn a_comment_that_mentions_function_is_no_function() {
        assert!(parse(Path::new("t"), "task: x # no !function here\n").is_ok());
    }
}
