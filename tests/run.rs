//! The binary end to end: the main job on the real model, what it prints, what it stores, and what it says of bad input.

mod common;

use assert_cmd::Command;
use common::{SMOLLM2, real_model, reference};
use predicates::prelude::*;

/// The binary with a data directory of its own; the model cache is the user's, so that models are fetched once.
fn tierbench(data: &std::path::Path) -> Command {
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

#[test]
fn the_quote_says_what_a_run_will_take_and_runs_nothing() {
    let data = tempfile::tempdir().unwrap();
    let quote = tierbench(data.path()).args(["--offline", "run", "--dry-run", "-o", "json"]).assert().success();
    let quote = json(&quote.get_output().stdout);
    assert_eq!(quote["cells"], 15);
    let seconds = |key: &str| quote[key].as_f64().unwrap();
    assert!(seconds("seconds_lo") <= seconds("seconds") && seconds("seconds") <= seconds("seconds_hi"), "{quote}");
    assert!(quote["usd"].is_null(), "nothing is predicted from nothing");
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
