//! Fidelity on a real model's ladder against llama-perplexity's figures for the same files and text.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

mod common;

use assert_cmd::Command;
use common::{SMOLLM2, real_model};
use serde_json::Value;
use tierbench::model::Silent;
use tierbench::model::quantize::quantize_file;
use tierbench::plan::Level;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/corpus.txt");

fn fidelity(args: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tierbench"));
    let run = command.args(["fidelity", "--quiet", "--corpus", CORPUS, "-o", "json"]).args(args).assert().success();
    serde_json::from_slice(&run.get_output().stdout).unwrap()
}

/// Mean KLD: where the weights' error dominates both engines agree; where the noise of 8-bit activations does, ours may
/// not be much above llama.cpp's.
#[test]
fn divergences_are_those_of_llama_perplexity() {
    let Some(source) = real_model(SMOLLM2) else { return };
    let fixture: Value = serde_json::from_str(include_str!("fixtures/fidelity.json")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let make = |level: Level| {
        let out = dir.path().join(format!("{level}.gguf"));
        quantize_file(&source, &out, level, &mut Silent).unwrap();
        out.to_str().unwrap().to_owned()
    };
    let base = make(Level::F16);
    for (level, least, most) in
        [(Level::Q8_0, 0.0, 1.25), (Level::Q6K, 0.0, 1.25), (Level::Q4_0, 0.95, 1.05), (Level::Q2K, 0.95, 1.05)]
    {
        let result = fidelity(&["-m", &make(level), "--base", &base, "--ctx", "512", "--chunks", "8"]);
        let (got, wanted) = (&result["tiers"][0], &fixture["kld"]["levels"][level.name()]);
        let number = |value: &Value, key: &str| value[key].as_f64().unwrap();
        let ppl = number(got, "ppl") / number(wanted, "ppl") - 1.0;
        let ratio = number(got, "mean_kld") / number(wanted, "mean_kld");
        assert!((least..=most).contains(&ratio), "{level}: mean KLD is {ratio:.3} of llama-perplexity's: {got}");
        // Where noise dominates, less of it than llama.cpp's makes the tops agree more often.
        let top = number(got, "same_top_pct") - number(wanted, "same_top_pct");
        let most_top = if least > 0.0 { 1.5 } else { 100.0 };
        assert!((-1.5..=most_top).contains(&top), "{level}: same top 1 differs by {top:.2} points: {got}");
        eprintln!(
            "{level}: mean KLD {ratio:.3} of llama-perplexity's, same top 1 {top:+.2} points, perplexity {ppl:+.5}"
        );
        assert!(ppl.abs() < 0.02, "{level}: perplexity differs by {ppl:.4}: {got}");
        assert_eq!(got["positions"], 8 * 255);
        // The base file is f16: its activations are not quantized, so that nothing of this is its own noise.
        assert_eq!((&result["noise"]["activations"], &got["noise_kld"]), (&"f32".into(), &0.0.into()));
    }
}

#[test]
fn noise_is_said_beside_every_divergence() {
    let Some(source) = real_model(SMOLLM2) else { return };
    let source = source.to_str().unwrap();
    let args = ["-m", source, "--base", source, "--ctx", "128", "--chunks", "2"];
    let result = fidelity(&[&args[..], &["--weights-alone"]].concat());
    let tier = &result["tiers"][0];
    let (noise, alone) = (tier["noise_kld"].as_f64().unwrap(), tier["weights_alone_kld"].as_f64().unwrap());
    // A tier is at no distance from itself; with f32 activations it is where the base's noise is.
    assert!(tier["mean_kld"].as_f64().unwrap().abs() < 1e-9 && noise > 1e-6 && noise < 0.05, "{result}");
    assert!((alone - noise).abs() < 1e-9, "{result}");
    let without = fidelity(&[&args[..], &["--no-noise"]].concat());
    assert_eq!((&without["noise"], &without["tiers"][0]["noise_kld"]), (&Value::Null, &Value::Null));
}

#[test]
fn what_cannot_be_compared_is_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let short = dir.path().join("short.txt");
    std::fs::write(&short, "too short").unwrap();
    let Some(source) = real_model(SMOLLM2) else { return };
    let mut command = Command::new(env!("CARGO_BIN_EXE_tierbench"));
    let run = command
        .args(["fidelity", "--quiet", "-m", source.to_str().unwrap(), "--corpus", short.to_str().unwrap()])
        .assert();
    let message = String::from_utf8_lossy(&run.failure().code(1).get_output().stderr).into_owned();
    assert!(message.lines().count() == 1 && message.contains("at least 512 are needed"), "{message}");
}
