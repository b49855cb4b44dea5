//! The binary end to end: the main job on the real model, what it prints, what it stores, and what it says of bad input.

mod common;

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use common::{SMOLLM2, real_model, reference};
use predicates::prelude::*;
use tierbench::store::history::History;

/// The binary with a data directory of its own; the model cache is the user's, so that models are fetched once.
fn tierbench(data: &Path) -> Command {
    let mut command = Command::cargo_bin("tierbench").expect("the binary");
    command.env("TIERBENCH_DATA", data).env_remove("TIERBENCH_CATALOGUE");
    command
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).expect("JSON on stdout")
}

const SMALL: [&str; 12] =
    ["run", "-l", "q4_1,q4_0", "--limit", "24", "-p", "16", "-n", "4", "--budget", "120", "--quiet"];

#[test]
fn the_main_job_measures_judges_stores_and_verifies() {
    if real_model(SMOLLM2).is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let record = data.path().join("record.json");
    let run = tierbench(data.path()).args(SMALL).arg("--record").arg(&record).args(["-o", "json"]).assert();
    // 24 items may or may not decide: cleared, none clears, or undecided; never a failure.
    let run = run.code(predicate::in_iter([0, 3, 4]));
    let printed = json(&run.get_output().stdout);
    assert_eq!(printed, json(&std::fs::read(&record).unwrap()), "-o json is the record");
    assert!(record.with_extension("html").is_file(), "its page is beside it: docs/ci keeps both");
    assert_eq!(printed["raw"]["cells"].as_array().unwrap().len(), 2 * 3);
    for tier in printed["raw"]["tiers"].as_array().unwrap() {
        let level = tier["tier"]["level"].as_str().unwrap();
        let from = tier["model"]["requantized_from"].as_str();
        assert_eq!(from, (level != "q4_1").then_some("q4_1"), "{level}");
    }
    for numbers in printed["derived"]["tasks"].as_array().unwrap() {
        assert!(numbers["items"].as_u64().unwrap() <= 24 && numbers["pass_rate"]["lo"].is_f64(), "{numbers}");
    }

    let path = record.to_str().unwrap();
    tierbench(data.path()).args(["verify", path]).assert().success();
    let mut tampered = printed.clone();
    tampered["derived"]["speed"][0]["median"] = 1e9.into();
    std::fs::write(&record, tampered.to_string()).unwrap();
    tierbench(data.path()).args(["verify", path]).assert().code(6);

    // The table of the stored run says the same and marks what was requantized.
    let table = tierbench(data.path()).args(["report", "latest", "-o", "md"]).assert().success();
    let table = String::from_utf8_lossy(&table.get_output().stdout).into_owned();
    assert!(table.contains("requantized from q4_1") && table.contains("support_tickets"), "{table}");
}

/// Starts a run in a process of its own and waits until it has stored a cell.
fn start_and_wait_for_a_cell(data: &Path, args: &[&str]) -> Child {
    let mut child = std::process::Command::new(cargo_bin("tierbench"))
        .args(args)
        .env("TIERBENCH_DATA", data)
        .env_remove("TIERBENCH_CATALOGUE")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let cells =
        || History::open(data).and_then(|history| history.list()).is_ok_and(|runs| runs.iter().any(|r| r.cells > 0));
    for _ in 0..15_000 {
        if cells() {
            return child;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let output = child.wait_with_output().expect("its output");
    panic!("no cell was stored within five minutes: {}", String::from_utf8_lossy(&output.stderr));
}

/// Adds to the time a run is stored with, as if its killed part had gone on for so long: it had some already.
fn lengthen(data: &Path, seconds: f64) {
    let history = rusqlite::Connection::open(data.join("history.sqlite3")).expect("a history");
    let changed = history.execute("UPDATE run_time SET elapsed_s = elapsed_s + ?1 WHERE elapsed_s > 0", [seconds]);
    assert_eq!(changed.expect("a table of times"), 1, "the time of a killed part is stored with its cells");
}

const LONGER: [&str; 11] = ["run", "-l", "q4_1,q4_0", "--limit", "24", "-p", "256", "-n", "64", "--budget", "120"];

#[test]
fn a_killed_run_can_be_reported_and_goes_on_with_the_trials_it_has() {
    if real_model(SMOLLM2).is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let mut child = start_and_wait_for_a_cell(data.path(), &LONGER);
    child.kill().unwrap();
    child.wait().unwrap();
    lengthen(data.path(), 3600.0);

    let report = tierbench(data.path()).args(["report", "latest", "-o", "json"]).assert().success();
    let begun = json(&report.get_output().stdout);
    let begun = begun["raw"]["cells"][0].clone();
    let samples = begun["outcome"]["speed"]["samples"].as_array().unwrap();
    assert!(!samples.is_empty());

    let resumed = tierbench(data.path()).args(LONGER).args(["--resume", "-o", "json"]).assert();
    let resumed = resumed.code(predicate::in_iter([0, 3, 4]));
    let notes = String::from_utf8_lossy(&resumed.get_output().stderr).into_owned();
    assert!(notes.contains("resuming run"), "{notes}");
    let record = json(&resumed.get_output().stdout);
    let cells = record["raw"]["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 2 * 3);
    let same = |cell: &&serde_json::Value| cell["tier"] == begun["tier"] && cell["subject"] == begun["subject"];
    let continued = cells.iter().find(same).unwrap()["outcome"]["speed"].clone();
    assert!(continued["complete"].is_null(), "complete is what is not said otherwise");
    assert_eq!(continued["samples"].as_array().unwrap()[..samples.len()], samples[..]);
    assert!(continued["samples"].as_array().unwrap().len() >= 5);
    let took = record["raw"]["plan"]["took"]["seconds"].as_f64().unwrap();
    assert!(took > 3600.0, "{took} s is the time of the last part only");
    assert!(notes.contains("took "), "{notes}");
}

#[test]
fn ctrl_c_keeps_what_is_measured_and_says_how_to_go_on() {
    if real_model(SMOLLM2).is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let child = start_and_wait_for_a_cell(data.path(), &LONGER);
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{notes}");
    assert!(notes.contains("tierbench run --resume"), "{notes}");
    let report = tierbench(data.path()).args(["report", "latest", "-o", "md"]).assert().success();
    assert!(String::from_utf8_lossy(&report.get_output().stdout).contains("tok/s"));
}

#[test]
fn a_run_out_of_time_reports_what_it_has_and_decides_nothing() {
    if real_model(SMOLLM2).is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let record = data.path().join("record.json");
    let args = ["run", "-l", "q4_1", "-p", "16", "-n", "4", "--budget", "0.01", "--quiet", "--record"];
    tierbench(data.path()).args(args).arg(&record).assert().code(4);
    tierbench(data.path()).arg("verify").arg(&record).assert().success();
    let record = json(&std::fs::read(&record).unwrap());
    assert_eq!(record["raw"]["cells"].as_array().unwrap().len(), 2, "speed alone");
}

#[test]
fn a_tier_that_cannot_be_had_is_a_row_and_the_others_stand() {
    let Some(model) = real_model(SMOLLM2) else { return };
    let data = tempfile::tempdir().unwrap();
    let torn = data.path().join("torn.gguf");
    std::fs::write(&torn, &std::fs::read(model).unwrap()[..1 << 20]).unwrap();
    let args = ["run", "-m", "smollm2-135m-instruct:q4_1", "-m", torn.to_str().unwrap(), "-p", "16", "-n", "4"];
    let run = tierbench(data.path()).args(args).args(["--limit", "4", "-o", "md"]).assert().code(5);
    let table = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    assert!(table.contains("torn.gguf") && table.contains("q4_1"), "{table}");
    assert!(String::from_utf8_lossy(&run.get_output().stderr).contains("torn.gguf"));

    // Alone it is an error, and nothing is measured.
    let alone = tierbench(data.path()).args(["run", "-m", torn.to_str().unwrap()]).assert().code(1);
    assert!(alone.get_output().stdout.is_empty());
}

#[test]
fn the_quote_says_what_a_run_will_take_and_runs_nothing() {
    let data = tempfile::tempdir().unwrap();
    let quote = tierbench(data.path()).args(["--offline", "run", "--dry-run", "-o", "json"]).assert().success();
    let quote = json(&quote.get_output().stdout);
    assert_eq!(quote["cells"], 15);
    let seconds = |key: &str| quote[key].as_f64().unwrap();
    assert!(seconds("seconds_lo") <= seconds("seconds") && seconds("seconds") <= seconds("seconds_hi"), "{quote}");
    for predicted in ["joules", "usd"] {
        let end = |key: &str| quote[predicted][key].as_f64().unwrap();
        assert!(0.0 < end("lo") && end("lo") < end("value") && end("value") < end("hi"), "{quote}");
    }
    let dark = ["--offline", "run", "--dry-run", "--meter", "none", "-o", "json"];
    let dark = json(&tierbench(data.path()).args(dark).assert().success().get_output().stdout);
    assert_eq!((&dark["joules"], &dark["usd_includes_electricity"]), (&serde_json::Value::Null, &false.into()));
}

#[test]
fn bad_input_is_one_line_that_names_it_and_the_fix() {
    let data = tempfile::tempdir().unwrap();
    for (args, code, says) in [
        (&["run", "-m", "smollm2-135m-instrct"][..], 1, "smollm2-135m-instruct"),
        (&["run", "-l", "q9"][..], 2, "q8_0"),
        (&["run", "--task", "support_tickts"][..], 1, "support_tickets"),
        (&["run", "--bar", "1.5"][..], 2, "--bar 1.5"),
        (&["run", "--bar", "0.1"][..], 2, "without a model"),
        (&["run", "-p", "x"][..], 2, "128,512"),
        (&["run", "--budget=-3"][..], 2, "--budget"),
        (&["run", "--utilization", "0"][..], 2, "utilization"),
        (&["run", "--device", "gpu"][..], 2, "cuda:N"),
        (&["bench", "-m", "Cargo.toml"][..], 1, "Cargo.toml"),
        (&["generate", "-m", "Cargo.toml", "-p", "x"][..], 1, "Cargo.toml"),
        (&["generate"][..], 2, "-p TEXT"),
        (&["frobnicate"][..], 2, "frobnicate"),
    ] {
        let run = tierbench(data.path()).arg("--offline").args(args).assert().code(code);
        let errors = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(errors.contains(says), "{args:?} says {errors}");
        assert!(!errors.contains("panicked"), "{errors}");
        assert!(run.get_output().stdout.is_empty(), "{args:?} prints no result");
    }
}

#[test]
fn bench_prints_llama_benchs_fields() {
    let Some(path) = real_model(SMOLLM2) else { return };
    let data = tempfile::tempdir().unwrap();
    let path = path.to_str().unwrap();
    let args = ["bench", "-m", path, "-p", "8", "-n", "4", "-r", "2", "-o", "json", "--no-bandwidth", "--quiet"];
    let rows = tierbench(data.path()).args(args).assert().success();
    let rows = json(&rows.get_output().stdout);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for (row, (n_prompt, n_gen)) in rows.iter().zip([(8, 0), (0, 4)]) {
        assert_eq!((row["n_prompt"].as_u64(), row["n_gen"].as_u64()), (Some(n_prompt), Some(n_gen)));
        assert_eq!(row["samples_ts"].as_array().unwrap().len(), 2);
        for key in ["avg_ts", "stddev_ts", "avg_ns", "model_size", "model_n_params"] {
            assert!(row[key].as_f64().is_some(), "{key} in {row}");
        }
        for key in ["n_depth", "n_threads", "n_batch_seqs", "engine", "cpu_info", "model_filename", "test_time"] {
            assert!(!row[key].is_null(), "{key} in {row}");
        }
    }
}

#[test]
fn generate_gives_the_probability_of_every_prompt_token() {
    let Some(path) = real_model(SMOLLM2) else { return };
    let data = tempfile::tempdir().unwrap();
    let prompt = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/prompts/01_plain.txt");
    let path = path.to_str().unwrap();
    let args = ["generate", "-m", path, "-f", prompt, "--raw", "-n", "8", "--temp", "0", "--logprobs", "-o", "json"];
    let run = tierbench(data.path()).args(args).args(["--activations", "f32"]).assert().success();
    let out = json(&run.get_output().stdout);
    let expected = &reference("exact_logits", "smollm2-135m-instruct-q4_1")[0];
    let ids: Vec<u32> = serde_json::from_value(out["prompt_ids"].clone()).unwrap();
    assert_eq!(ids, expected.ids);
    assert!(out["prompt_logprobs"][0].is_null());
    for (got, expected) in out["prompt_logprobs"].as_array().unwrap()[1..].iter().zip(&expected.next_logprob) {
        assert!((got.as_f64().unwrap() - expected).abs() < 0.02, "{got} {expected}");
    }
    assert_eq!(out["finish_reason"], "length");
}

#[test]
fn doctor_tells_what_the_machine_has_and_never_fails() {
    let data = tempfile::tempdir().unwrap();
    let run = tierbench(data.path()).args(["--offline", "doctor", "-o", "json"]).assert().success();
    assert!(json(&run.get_output().stdout).is_object());
}
