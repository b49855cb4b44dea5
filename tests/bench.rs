//! What `bench` writes is read by what reads llama-bench's results, and by `history import`.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::path::Path;

use assert_cmd::Command;
use common::{SMOLLM2, real_model};
use serde_json::Value;

fn tierbench(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tierbench"));
    command.env("TIERBENCH_DATA", data).env_remove("TIERBENCH_CATALOGUE").env("TIERBENCH_OFFLINE", "0");
    command
}

/// A bench of the engine that computes nothing.
fn bench(data: &Path, model: &str, format: &str) -> String {
    let args = ["bench", "--engine", "mock", "-p", "16", "-n", "8", "-b", "1,2", "-t", "1,2", "-r", "5", "--idle", "0"];
    let run = tierbench(data).args(args).args(["--no-bandwidth", "-m", model, "-o", format]).assert().success();
    String::from_utf8(run.get_output().stdout.clone()).unwrap()
}

#[test]
fn a_model_file_without_its_flag_is_one_line_that_names_the_flag() {
    let dir = tempfile::tempdir().unwrap();
    let run = tierbench(dir.path()).args(["bench", "models/m.gguf", "-p", "512"]).assert().code(2);
    let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    let expected =
        "error: `models/m.gguf` has no flag: name a model with -m, as in `tierbench bench -m models/m.gguf`\n";
    assert_eq!(said, expected);
}

/// What llama-bench's `compare-llama-bench.py` refuses to do without, with the types llama-bench writes.
const TEXTS: [&str; 13] = [
    "build_commit",
    "cpu_info",
    "gpu_info",
    "backends",
    "model_filename",
    "model_type",
    "cpu_mask",
    "type_k",
    "type_v",
    "split_mode",
    "tensor_split",
    "tensor_buft_overrides",
    "test_time",
];
const INTEGERS: [&str; 17] = [
    "build_number",
    "model_size",
    "model_n_params",
    "n_batch",
    "n_ubatch",
    "n_threads",
    "poll",
    "n_gpu_layers",
    "n_cpu_moe",
    "main_gpu",
    "n_prompt",
    "n_gen",
    "n_depth",
    "avg_ns",
    "stddev_ns",
    "fit_target",
    "fit_min_ctx",
];
const BOOLS: [&str; 5] = ["cpu_strict", "no_kv_offload", "flash_attn", "use_mmap", "embeddings"];
const REALS: [&str; 2] = ["avg_ts", "stddev_ts"];

#[test]
fn rows_have_every_field_of_llama_bench_in_its_type() {
    let Some(path) = real_model(SMOLLM2) else { return };
    let data = tempfile::tempdir().unwrap();
    let rows: Vec<Value> = serde_json::from_str(&bench(data.path(), path.to_str().unwrap(), "json")).unwrap();
    assert_eq!(rows.len(), 6);
    for row in &rows {
        for name in TEXTS {
            assert!(row[name].is_string(), "{name}: {}", row[name]);
        }
        for name in INTEGERS {
            assert!(row[name].is_i64() || row[name].is_u64(), "{name}: {}", row[name]);
        }
        for name in BOOLS {
            assert!(row[name].is_boolean(), "{name}: {}", row[name]);
        }
        for name in REALS {
            assert!(row[name].is_f64(), "{name}: {}", row[name]);
        }
    }
}

#[test]
fn a_script_for_llama_benchs_sql_finds_its_table_and_types() {
    let Some(path) = real_model(SMOLLM2) else { return };
    let data = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open_in_memory().unwrap();
    // Two runs go into one database, as with llama-bench.
    for _ in 0..2 {
        database.execute_batch(&bench(data.path(), path.to_str().unwrap(), "sql")).unwrap();
    }
    for table in ["llama_bench", "test"] {
        let mut statement = database.prepare(&format!("SELECT name, type FROM pragma_table_info('{table}')")).unwrap();
        let columns = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
        let columns: Vec<(String, String)> = columns.map(Result::unwrap).collect();
        for (names, kind) in [(&TEXTS[..], "TEXT"), (&INTEGERS, "INTEGER"), (&BOOLS, "INTEGER"), (&REALS, "REAL")] {
            for name in names {
                assert!(columns.iter().any(|(known, of)| known == name && of == kind), "{name} {kind}: {columns:?}");
            }
        }
    }
    // The script joins two builds on every setting: an unknown one would match nothing.
    let settings: Vec<String> =
        TEXTS.iter().chain(&INTEGERS[..12]).chain(&BOOLS).map(|name| (*name).to_owned()).collect();
    let settings = settings.iter().filter(|name| *name != "test_time" && !name.starts_with("avg"));
    let equal: Vec<String> = settings.map(|name| format!("a.{name} = b.{name}")).collect();
    let sql = format!(
        "SELECT count(DISTINCT a.rowid), min(a.avg_ts) FROM llama_bench a JOIN llama_bench b ON a.rowid <> b.rowid AND {}",
        equal.join(" AND ")
    );
    let (matched, least): (i64, f64) = database.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert!(matched == 12 && least > 0.0, "{matched} {least}");
}

#[test]
fn history_import_takes_our_own_rows_back() {
    let Some(path) = real_model(SMOLLM2) else { return };
    let data = tempfile::tempdir().unwrap();
    for format in ["json", "jsonl"] {
        let text = bench(data.path(), path.to_str().unwrap(), format);
        let rows: Vec<Value> = match format {
            "json" => serde_json::from_str(&text).unwrap(),
            _ => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        };
        let file = data.path().join(format!("bench.{format}"));
        std::fs::write(&file, &text).unwrap();
        let run = tierbench(data.path()).args(["history", "import"]).arg(&file).assert().success();
        let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        assert!(said.contains(" added: 6 cells;"), "{said}");
        let id = said.split("run ").nth(1).unwrap().split(' ').next().unwrap();
        let run = tierbench(data.path()).args(["export", id]).assert().success();
        let record: Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
        assert_eq!(record["raw"]["imported"]["tool"], "tierbench bench");
        assert_eq!(record["raw"]["host"]["cpu"], rows[0]["cpu_info"]);
        for tier in record["raw"]["tiers"].as_array().unwrap() {
            assert_eq!((&tier["tier"]["engine"], &tier["tier"]["device"]), (&"mock".into(), &"cpu".into()));
            assert_eq!(tier["model"]["sha256"], rows[0]["model_sha256"]);
        }
        let speed = record["derived"]["speed"].as_array().unwrap();
        assert_eq!(speed.len(), rows.len());
        for (numbers, row) in speed.iter().zip(&rows) {
            assert_eq!(numbers["test"], row["test"]);
            let (ours, theirs) = (numbers["median"].as_f64().unwrap(), row["median_ts"].as_f64().unwrap());
            assert!((ours / theirs - 1.0).abs() < 1e-9, "{ours} {theirs}");
            let joules = |value: &Value| (value["total"].clone(), value["lo"].clone(), value["hi"].clone());
            let (total, lo, hi) = joules(&numbers["energy"]);
            assert_eq!(total, row["energy"]["joules_per_token"]);
            assert_eq!(Value::from(vec![lo, hi]), row["energy"]["joules_per_token_range"], "{numbers}");
        }
        let run = tierbench(data.path()).args(["report", id, "-o", "md"]).assert().success();
        let table = String::from_utf8(run.get_output().stdout.clone()).unwrap();
        assert!(table.contains("measured by tierbench bench 0.1.0") && !table.contains("not by tierbench"), "{table}");
    }
}
