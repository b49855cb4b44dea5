//! A ladder from the default model: what is not offered, or cannot be had here, is made from what can, and says so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::process::Command;

use serde_json::Value;

/// Runs in the user's own cache: the model is fetched once per machine, not once per test.
fn fetch(spec: &str) -> Value {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tierbench"));
    let output = program.args(["models", "fetch", spec, "-o", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files: Value = serde_json::from_slice(&output.stdout).unwrap();
    files[0].clone()
}

#[test]
fn a_level_is_made_once_and_names_its_origin() {
    if std::env::var_os("TIERBENCH_OFFLINE").is_some_and(|value| value == "1") {
        eprintln!("skipped: offline");
        return;
    }
    let made = fetch("smollm2-135m-instruct:q8_0");
    assert_eq!(made["level"], "q8_0");
    assert_eq!(made["name"], "smollm2-135m-instruct");
    assert_eq!(made["licence"], "Apache-2.0");
    let source = made["source"].as_str().unwrap();
    match made["requantized_from"].as_str() {
        Some(from) => assert_eq!((from, source.starts_with("made from q4_1 (")), ("q4_1", true), "{source}"),
        // A machine with a hub makes it from the full-precision file.
        None => assert!(source.starts_with("made from f16 ("), "{source}"),
    }
    assert_eq!(fetch("SmolLM2-135M-Instruct:Q8_0"), made, "the second time it is found");
    let path = made["path"].as_str().unwrap();
    let again = fetch(path);
    assert_eq!((&again["sha256"], &again["level"]), (&made["sha256"], &made["level"]));
    assert_eq!(again["requantized_from"], made["requantized_from"], "the file itself carries its origin");
}
