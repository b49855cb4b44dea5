//! `llama-bench -o json` and `-o jsonl`.
//!
//! **Source**: llama.cpp `tools/llama-bench/llama-bench.cpp`, `struct test`: `samples_ns` are the times of the repetitions,
//! `n_prompt`, `n_gen` and `n_depth` what they processed.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Import, Source};
use crate::measure::noise::NoiseEvidence;
use crate::measure::{SpeedCell, SpeedSample};
use crate::plan::{Level, Tier, TierKey, Workload};
use crate::store::StoreError;
use crate::store::cell::{Cell, CellId, Outcome, Subject};
use crate::store::record::{ModelFileFacts, Record, TierFacts};

/// The fields an import needs; all others are ignored.
#[derive(Debug, Deserialize)]
pub(super) struct WireRow {
    #[serde(default)]
    build_commit: String,
    #[serde(default)]
    build_number: u64,
    #[serde(default)]
    cpu_info: String,
    #[serde(default)]
    gpu_info: String,
    model_filename: String,
    #[serde(default)]
    model_type: String,
    #[serde(default)]
    model_size: u64,
    #[serde(default)]
    n_threads: u32,
    #[serde(default)]
    n_ubatch: Option<u32>,
    #[serde(default)]
    type_k: Option<String>,
    #[serde(default)]
    n_gpu_layers: i64,
    /// A bool, or -1/0/1 in newer builds.
    #[serde(default)]
    flash_attn: Value,
    n_prompt: u32,
    n_gen: u32,
    #[serde(default)]
    n_depth: u32,
    #[serde(default)]
    test_time: String,
    samples_ns: Vec<u64>,
}

/// The rows, if the text is llama-bench's: an array of objects, or one object a line, that have `samples_ns`.
pub(super) fn rows(text: &str) -> Option<Result<Vec<WireRow>, String>> {
    let values: Vec<Value> = match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(values)) => values,
        Ok(value @ Value::Object(_)) => vec![value],
        _ => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .ok()?,
    };
    if values.is_empty() || !values.iter().all(|value| value.get("samples_ns").is_some()) {
        return None;
    }
    let row = |(i, value)| serde_json::from_value(value).map_err(|error| format!("row {}: {error}", i + 1));
    Some(values.into_iter().enumerate().map(row).collect())
}

pub(super) fn import(source: &Source<'_>, rows: Result<Vec<WireRow>, String>) -> Result<Import, StoreError> {
    let rows = rows.map_err(|why| source.bad(why))?;
    let first = rows.first().ok_or_else(|| source.bad("no rows"))?;
    let version = format!("build {} ({})", first.build_commit, first.build_number);
    let version = (!first.build_commit.is_empty()).then_some(version);
    let mut raw = source.raw("llama-bench", version, first.test_time.clone())?;
    raw.host.cpu = (!first.cpu_info.is_empty()).then(|| first.cpu_info.clone());
    let mut left_out = Vec::new();
    let mut places: HashMap<CellId, usize> = HashMap::new();
    for (i, row) in rows.iter().enumerate() {
        let name = format!("row {}", i + 1);
        if row.n_prompt > 0 && row.n_gen > 0 {
            left_out.push(format!("{name}: pp{}+tg{} times both together", row.n_prompt, row.n_gen));
            continue;
        }
        let workload = Workload { n_prompt: row.n_prompt, n_gen: row.n_gen, n_depth: row.n_depth, n_batch_seqs: 1 };
        let facts = tier(row);
        let subject = Subject::Workload(workload);
        if let Some(earlier) = places.insert(CellId::new(&facts.key, &subject), i + 1) {
            return Err(source.bad(format!("{name} repeats {workload} of row {earlier}: merge or rename them")));
        }
        if row.samples_ns.is_empty() {
            return Err(source.bad(format!("{name} has no samples_ns")));
        }
        raw.cells.push(Cell {
            tier: facts.key.clone(),
            subject,
            finished_at: row.test_time.clone(),
            outcome: Outcome::Speed(Box::new(cell(workload, &row.samples_ns))),
        });
        if !raw.plan.workloads.contains(&workload) {
            raw.plan.workloads.push(workload);
        }
        if !raw.tiers.iter().any(|known| known.key == facts.key) {
            raw.tiers.push(facts);
        }
    }
    if let Some(last) = rows.last() {
        raw.run.finished_at = Some(last.test_time.clone());
    }
    Ok(Import { record: Record::from_raw(raw)?, left_out })
}

fn cell(workload: Workload, spans: &[u64]) -> SpeedCell {
    let sample = |(i, &elapsed_ns): (u32, &u64)| SpeedSample {
        block: i,
        order: i,
        elapsed_ns,
        tokens: workload.timed_tokens(),
        itl_ns: Vec::new(),
    };
    SpeedCell {
        workload,
        complete: true,
        warmup: Vec::new(),
        steady: true,
        samples: (0..).zip(spans).map(sample).collect(),
        noise: NoiseEvidence::default(),
        peak_rss: None,
        engines_loaded: 1,
        energy: None,
        windows: Vec::new(),
        seed: 0,
        started_unix_s: 0.0,
    }
}

/// llama-bench's settings that make a tier another one are part of its name where they are not the usual ones.
fn tier(row: &WireRow) -> TierFacts {
    let level = level(&row.model_type);
    let stem = Path::new(&row.model_filename).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let model = model_name(&stem.unwrap_or_default(), level.as_deref());
    let on_gpu = !row.gpu_info.is_empty() && row.n_gpu_layers != 0;
    let tier = Tier {
        model: model.clone(),
        level,
        requantized_from: None,
        engine: "llama.cpp".into(),
        device: if on_gpu { "gpu" } else { "cpu" }.into(),
        n_threads: row.n_threads,
    };
    let mut key = tier.key().0;
    if row.flash_attn.as_bool().unwrap_or(false) || row.flash_attn.as_i64().is_some_and(|on| on > 0) {
        key.push_str(" fa");
    }
    if let Some(kv) = row.type_k.as_deref().filter(|kv| *kv != "f16") {
        key.push_str(&format!(" kv {kv}"));
    }
    if let Some(n) = row.n_ubatch.filter(|&n| n != 512) {
        key.push_str(&format!(" ub{n}"));
    }
    TierFacts {
        key: TierKey(key),
        tier,
        model: ModelFileFacts {
            name: model,
            bytes: Some(row.model_size),
            source: Some("llama-bench (the file does not give the model's hash)".into()),
            ..ModelFileFacts::default()
        },
        engine: None,
        idle: None,
        peak_rss_bytes: None,
    }
}

/// `llama 1B Q4_K - Medium` → `q4_k_m`. `None` if the type names no level we know.
fn level(model_type: &str) -> Option<String> {
    let text = model_type.to_ascii_lowercase().replace("all f32", "f32").replace("mostly ", "");
    let text = text.replace(" - small", "_s").replace(" - medium", "_m").replace(" - large", "_l");
    let last = text.split_whitespace().last()?;
    Level::ALL.iter().map(|level| level.name()).find(|name| *name == last).map(str::to_owned)
}

/// The file's stem without the level at its end.
fn model_name(stem: &str, level: Option<&str>) -> String {
    let lower = stem.to_ascii_lowercase();
    let without = level.and_then(|level| lower.strip_suffix(level)).map(str::len);
    // Lower case has as many bytes as the original in ASCII only, and levels are ASCII: the cut is on a boundary.
    let cut = without.and_then(|end| stem.get(..end)).unwrap_or(stem);
    cut.trim_end_matches(['-', '.', '_']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_names_are_read_from_llama_benchs_words() {
        for (text, name) in [
            ("llama 1B Q4_0", Some("q4_0")),
            ("llama 7B Q4_K - Medium", Some("q4_k_m")),
            ("gemma3 270M Q3_K - Small", Some("q3_k_s")),
            ("llama 7B mostly Q8_0", Some("q8_0")),
            ("llama 7B all F32", Some("f32")),
            ("llama 7B IQ2_XXS - 2.0625 bpw", None),
            ("", None),
        ] {
            assert_eq!(level(text).as_deref(), name, "{text}");
        }
        assert_eq!(model_name("SmolLM2-135M-Instruct.Q4_1", Some("q4_1")), "SmolLM2-135M-Instruct");
        assert_eq!(model_name("gemma-3-270m-q4_k_m", Some("q4_k_m")), "gemma-3-270m");
        assert_eq!(model_name("älteres-modell", None), "älteres-modell");
    }
}
