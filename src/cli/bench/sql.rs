//! Rows as SQL statements for SQLite: llama-bench's table with its columns first, in its types, then ours.
//!
//! **Source**: llama.cpp `tools/llama-bench/llama-bench.cpp`, `struct sql_printer` and `test::get_field_type`.

use serde_json::{Map, Value};

use super::render::plain;

/// Columns that hold whole numbers and truth values; a type must not depend on what a row happens to know.
const INTEGERS: [&str; 30] = [
    "build_number",
    "model_size",
    "model_n_params",
    "n_batch",
    "n_ubatch",
    "n_threads",
    "cpu_strict",
    "poll",
    "n_gpu_layers",
    "n_cpu_moe",
    "main_gpu",
    "no_kv_offload",
    "flash_attn",
    "use_mmap",
    "use_direct_io",
    "embeddings",
    "no_op_offload",
    "no_host",
    "fit_target",
    "fit_min_ctx",
    "n_prompt",
    "n_gen",
    "n_depth",
    "avg_ns",
    "stddev_ns",
    "n_batch_seqs",
    "peak_rss",
    "peak_rss_since_start_of_cell",
    "steady",
    "seed",
];

/// Columns that hold other numbers. What is in neither list is text; lists and objects are JSON.
const REALS: [&str; 8] =
    ["avg_ts", "stddev_ts", "median_ts", "ttft_s", "load_s", "repack_s", "bytes_per_step", "roofline_share"];

fn kind(column: &str) -> &'static str {
    match column {
        column if INTEGERS.contains(&column) => "INTEGER",
        column if REALS.contains(&column) => "REAL",
        _ => "TEXT",
    }
}

pub(super) fn sql(rows: &[Map<String, Value>]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let columns: Vec<String> = first.keys().map(|name| format!("  {name} {}", kind(name))).collect();
    // Before July 2025 llama-bench's table was `test`: scripts of that time find it too.
    let mut text = format!(
        "CREATE TABLE IF NOT EXISTS llama_bench (\n{}\n);\nCREATE VIEW IF NOT EXISTS test AS SELECT * FROM llama_bench;\n\n",
        columns.join(",\n")
    );
    let names: Vec<&str> = first.keys().map(String::as_str).collect();
    for row in rows {
        let values: Vec<String> = row
            .values()
            .map(|value| match value {
                Value::Null => "NULL".to_owned(),
                Value::Number(n) => n.to_string(),
                Value::Bool(b) => u8::from(*b).to_string(),
                other => format!("'{}'", plain(other).replace('\'', "''")),
            })
            .collect();
        text.push_str(&format!("INSERT INTO llama_bench ({}) VALUES ({});\n", names.join(", "), values.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_escapes_text_and_keeps_unknown_as_null() {
        let text = r#"{"model":"it's","avg_ts":1.5,"n_gen":2,"build_number":null,"samples_ns":[1,2]}"#;
        let rows = [serde_json::from_str(text).unwrap()];
        let text = sql(&rows);
        for column in ["model TEXT", "avg_ts REAL", "n_gen INTEGER", "build_number INTEGER", "samples_ns TEXT"] {
            assert!(text.contains(column), "{column}: {text}");
        }
        assert!(text.ends_with("VALUES ('it''s', 1.5, 2, NULL, '[1,2]');\n"), "{text}");
        assert_eq!(sql(&[]), "");
    }
}
