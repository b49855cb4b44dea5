//! The tier a row is about: model, level, engine, device, threads, and every setting that makes it another one.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::row::Row;
use crate::plan::{Level, Tier, TierKey};
use crate::store::record::{ModelFileFacts, TierFacts};

/// A flag of llama-bench that changes what is measured.
struct Setting {
    field: &'static str,
    /// What llama-bench's own table calls it.
    label: &'static str,
    /// Values that need no word, the default first. Empty if versions and machines differ in it: then only a sweep names it.
    usual: &'static [&'static str],
}

const fn setting(field: &'static str, label: &'static str, usual: &'static [&'static str]) -> Setting {
    Setting { field, label, usual }
}

/// Fields that are not in the row but follow from several: see [`value`].
const CACHE: &str = "cache type";
const FOLDER: &str = "folder";

const SETTINGS: [Setting; 32] = [
    setting("flash_attn", "fa", &["0", "-1"]),
    setting(CACHE, "kv", &["f16"]),
    setting("n_ubatch", "ub", &["512"]),
    setting("n_batch", "b", &["2048"]),
    setting("n_gpu_layers", "ngl", &[]),
    setting("n_cpu_moe", "ncmoe", &["0"]),
    setting("split_mode", "sm", &[]),
    setting("main_gpu", "mg", &[]),
    setting("no_kv_offload", "nkvo", &["0"]),
    setting("devices", "dev", &[]),
    setting("tensor_split", "ts", &[]),
    setting("tensor_buft_overrides", "ot", &["none"]),
    setting("use_mmap", "mmap", &[]),
    setting("use_direct_io", "dio", &[]),
    setting("load_mode", "lm", &[]),
    setting("lazy_mode", "lazy", &[]),
    setting("embeddings", "embd", &["0"]),
    setting("no_op_offload", "nopo", &["0"]),
    setting("no_host", "noh", &["0"]),
    setting("repack", "repack", &[]),
    setting("cpu_mask", "mask", &["0x0"]),
    setting("cpu_strict", "strict", &["0"]),
    setting("poll", "poll", &[]),
    setting("fit_target", "fitt", &[]),
    setting("fit_min_ctx", "fitc", &[]),
    setting("backends", "backends", &[]),
    setting("isa", "isa", &[]),
    setting("activations", "activations", &[]),
    setting("gpu_info", "on", &[]),
    setting("cpu_info", "on", &[]),
    setting("build_commit", "build", &[]),
    setting(FOLDER, "in", &[]),
];

/// Longest value in a name.
const MAX_VALUE: usize = 60;

/// The tier of each row. Rows that would have the same name but differ in a setting have it in their names.
pub(super) fn tiers(rows: &[Row<'_>]) -> Vec<TierFacts> {
    let mut tiers: Vec<TierFacts> = rows.iter().map(tier).collect();
    let mut alike: HashMap<TierKey, Vec<usize>> = HashMap::new();
    for (i, tier) in tiers.iter().enumerate() {
        alike.entry(tier.key.clone()).or_default().push(i);
    }
    for group in alike.into_values() {
        for setting in &SETTINGS {
            let values: Vec<Option<String>> = group.iter().map(|&i| value(&rows[i], setting.field)).collect();
            let is_swept = values.iter().collect::<BTreeSet<_>>().len() > 1;
            for (&i, value) in group.iter().zip(&values) {
                // Our own rows need no word for what llama-bench finds unusual.
                let usual = if rows[i].own.is_some() { &[] } else { setting.usual };
                let Some(value) = value else { continue };
                let is_default = usual.first() == Some(&value.as_str());
                let is_unusual = !usual.is_empty() && !usual.contains(&value.as_str());
                if is_unusual || (is_swept && !is_default) {
                    tiers[i].key.0.push_str(&word(setting.label, value, usual));
                }
            }
        }
    }
    tiers
}

/// ` fa` for a switch that is on, ` ub1024` for a number, ` kv q8_0` for a word.
fn word(label: &str, value: &str, usual: &[&str]) -> String {
    let value: String = value.chars().take(MAX_VALUE).collect();
    if value == "1" && usual.first() == Some(&"0") {
        format!(" {label}")
    } else if value.bytes().all(|byte| byte.is_ascii_digit()) {
        format!(" {label}{value}")
    } else {
        format!(" {label} {value}")
    }
}

fn value(row: &Row<'_>, field: &str) -> Option<String> {
    let text = |field| row.fields().text(field);
    match field {
        CACHE => match (text("type_k"), text("type_v")) {
            (Some(keys), Some(values)) if keys != values => Some(format!("{keys}/{values}")),
            (keys, values) => keys.or(values),
        },
        FOLDER => {
            let path = text("model_filename")?;
            Path::new(&path).parent().map(|folder| folder.to_string_lossy().into_owned())
        }
        _ => text(field),
    }
}

/// Without the settings.
fn tier(row: &Row<'_>) -> TierFacts {
    let text = |field| row.fields().text(field);
    let number = |field| row.fields().get::<u64>(field).ok().flatten();
    let level = match &row.own {
        Some(_) => text("level").or_else(|| level(&text("model_type")?)),
        None => level(&text("model_type").unwrap_or_default()),
    };
    let file = text("model_filename").unwrap_or_default();
    let stem = Path::new(&file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let is_offloaded = text("gpu_info").is_some() && text("n_gpu_layers").is_some_and(|layers| layers != "0");
    let of_file = || model_name(&stem.unwrap_or_default(), level.as_deref());
    let theirs = |field| row.own.as_ref().and_then(|_| text(field));
    let model = theirs("model").unwrap_or_else(of_file);
    let tier = Tier {
        model: model.clone(),
        level,
        requantized_from: theirs("requantized_from"),
        engine: match row.own {
            Some(_) => text("engine").unwrap_or_else(|| "unknown".into()),
            None => "llama.cpp".into(),
        },
        device: theirs("device").unwrap_or_else(|| if is_offloaded { "gpu" } else { "cpu" }.into()),
        n_threads: number("n_threads").and_then(|n| n.try_into().ok()).unwrap_or_default(),
    };
    TierFacts {
        key: tier.key(),
        model: ModelFileFacts {
            name: model,
            sha256: theirs("model_sha256"),
            bytes: number("model_size"),
            source: row.own.is_none().then(|| "llama-bench (the file does not give the model's hash)".into()),
            requantized_from: tier.requantized_from.clone(),
            ..ModelFileFacts::default()
        },
        tier,
        engine: None,
        idle: row.own.as_ref().and_then(|own| own.idle.clone()),
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
    use serde_json::{Value, json};

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

    /// Names of rows that differ in `changes` from a usual one.
    fn names(changes: &[Value]) -> Vec<String> {
        let row = |change: &Value| {
            let mut row = json!({
                "build_commit": "8cf427ff", "cpu_info": "C", "gpu_info": "", "model_filename": "a/m-Q4_0.gguf",
                "model_type": "llama 1B Q4_0", "n_batch": 2048, "n_ubatch": 512, "n_threads": 8, "type_k": "f16",
                "type_v": "f16", "n_gpu_layers": 99, "flash_attn": false, "use_mmap": true, "n_prompt": 512, "n_gen": 0,
                "samples_ns": [1]
            });
            for (field, value) in change.as_object().unwrap() {
                row[field] = value.clone();
            }
            row
        };
        let values: Vec<Value> = changes.iter().map(row).collect();
        let rows: Vec<Row<'_>> =
            values.iter().map(|value| Row::read(1, value).unwrap_or_else(|why| panic!("{why}"))).collect();
        let start = "m:q4_0 llama.cpp ";
        tiers(&rows).into_iter().map(|tier| tier.key.0.strip_prefix(start).unwrap().to_owned()).collect()
    }

    #[test]
    fn what_is_usual_needs_no_word() {
        assert_eq!(names(&[json!({})]), ["cpu t8"]);
        assert_eq!(names(&[json!({"flash_attn": -1, "n_gpu_layers": -1, "use_mmap": null})]), ["cpu t8"]);
        assert_eq!(
            names(&[json!({"flash_attn": 1, "type_k": "q8_0", "n_ubatch": 64})]),
            ["cpu t8 fa kv q8_0/f16 ub64"]
        );
    }

    #[test]
    fn a_swept_setting_is_part_of_the_name() {
        for (field, values, expected) in [
            ("n_batch", [json!(512), json!(2048)], ["cpu t8 b512", "cpu t8"]),
            ("type_v", [json!("f16"), json!("q8_0")], ["cpu t8", "cpu t8 kv f16/q8_0"]),
            ("n_gpu_layers", [json!(10), json!(99)], ["cpu t8 ngl10", "cpu t8 ngl99"]),
            ("use_mmap", [json!(true), json!(false)], ["cpu t8 mmap1", "cpu t8 mmap0"]),
            ("flash_attn", [json!(-1), json!(0)], ["cpu t8 fa -1", "cpu t8"]),
            ("model_filename", [json!("a/m-Q4_0.gguf"), json!("b/m-Q4_0.gguf")], ["cpu t8 in a", "cpu t8 in b"]),
            ("cpu_info", [json!("A"), json!("B")], ["cpu t8 on A", "cpu t8 on B"]),
        ] {
            assert_eq!(names(&values.map(|value| json!({field: value}))), expected, "{field}");
        }
        // Two that differ in threads differ already.
        assert_eq!(names(&[json!({"n_threads": 1}), json!({"n_threads": 2, "poll": 0})]), ["cpu t1", "cpu t2"]);
    }
}
