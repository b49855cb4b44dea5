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

/// Instruction sets of 8-bit activations, as llama.cpp's are, that this machine has. With AMX prompts run on bfloat16 tiles
/// instead, which are nearer to exact arithmetic.
fn eight_bit() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let vnni = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let known = [("avx512vnni", vnni), ("avx2", avx2)];
        known.into_iter().filter_map(|(isa, has)| has.then_some(isa)).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        Vec::new()
    }
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap()
}

/// Holds one level on one instruction set to llama-perplexity's figures and to those published.
fn check(level: Level, result: &Value, fixture: &Value) {
    let (got, wanted) = (&result["tiers"][0], &fixture["kld"]["levels"][level.name()]);
    let isa = got["isa"].as_str().unwrap();
    let ppl = number(got, "ppl") / number(wanted, "ppl") - 1.0;
    let ratio = number(got, "mean_kld") / number(wanted, "mean_kld");
    let top = number(got, "same_top_pct") - number(wanted, "same_top_pct");
    eprintln!(
        "{level} on {isa}: mean KLD {ratio:.3} of llama-perplexity's, same top 1 {top:+.2}, perplexity {ppl:+.5}"
    );
    // Where the weights' error dominates both engines agree; where the noise of 8-bit activations does, ours may not be
    // much above llama.cpp's.
    let noisy = matches!(level, Level::Q8_0 | Level::Q6K);
    let bounds = if noisy { 0.0..=1.25 } else { 0.95..=1.05 };
    assert!(bounds.contains(&ratio), "{level}: mean KLD is {ratio:.3} of llama-perplexity's: {got}");
    // Within a point and a half either way on like arithmetic. With AMX almost none of llama.cpp's noise is there (docs/
    // FIDELITY.md has both), and without noise the tops agree with the base's more often: no upper bound then.
    let most = if noisy && isa == "amx" { f64::INFINITY } else { 1.5 };
    assert!((-1.5..=most).contains(&top), "{level} on {isa}: same top 1 differs by {top:.2} points: {got}");
    assert!(ppl.abs() < 0.02, "{level}: perplexity differs by {ppl:.4}: {got}");
    assert_eq!(got["positions"], 8 * 255);
    // The base file is f16: its activations are not quantized, so that nothing of this is its own noise.
    assert_eq!((&result["noise"]["activations"], &got["noise_kld"]), (&"f32".into(), &0.0.into()));
    if let Some(row) = published(level, &format!("tierbench, {isa}")) {
        for (column, key, tolerance) in
            [(2, "mean_kld", 0.02), (5, "median_kld", 0.03), (6, "p99_kld", 0.05), (9, "rms_dp_pct", 0.02)]
        {
            let (here, there) = (number(got, key), row[column].parse::<f64>().unwrap());
            assert!((here / there - 1.0).abs() < tolerance, "{level} on {isa}: {key} is {here}, published {there}");
        }
        let there: f64 = row[8].parse().unwrap();
        assert!((number(got, "same_top_pct") - there).abs() < 0.3, "{level} on {isa}: {got}, published {there}");
    }
}

/// Cells of a line of the table in docs/FIDELITY.md.
fn published(level: Level, engine: &str) -> Option<Vec<&'static str>> {
    let rows = include_str!("../docs/FIDELITY.md").lines().filter(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>())
        .find(|row| row[0] == level.name() && row[1] == engine)
}

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
    for level in [Level::Q8_0, Level::Q6K, Level::Q4_0, Level::Q2K] {
        let file = make(level);
        let args = ["-m", &file, "--base", &base, "--ctx", "512", "--chunks", "8"];
        let own = fidelity(&args);
        check(level, &own, &fixture);
        // The weights' error is the same on every instruction set; the noise is not.
        if own["tiers"][0]["isa"] == "amx" && matches!(level, Level::Q8_0 | Level::Q6K) {
            for isa in eight_bit() {
                check(level, &fidelity(&[&args[..], &["--isa", isa]].concat()), &fixture);
            }
        }
    }
}

#[test]
fn the_published_figures_of_llama_cpp_are_the_fixtures() {
    let fixture: Value = serde_json::from_str(include_str!("fixtures/fidelity.json")).unwrap();
    for level in [Level::Q8_0, Level::Q6K, Level::Q4_0, Level::Q2K] {
        let (row, wanted) = (published(level, "llama.cpp").unwrap(), &fixture["kld"]["levels"][level.name()]);
        let columns = [
            (2, "mean_kld"),
            (5, "median_kld"),
            (7, "max_kld"),
            (8, "same_top_pct"),
            (9, "rms_dp_pct"),
            (10, "ln_ratio"),
        ];
        for (column, key) in columns {
            let (got, wanted) = (row[column].parse::<f64>().unwrap(), number(wanted, key));
            assert!(
                (got - wanted).abs() <= 5.1e-4 * wanted.max(0.01),
                "{level} {key}: {got}, the fixture has {wanted}"
            );
        }
        assert!(published(level, "tierbench, amx").is_some() && published(level, "tierbench, avx2").is_some());
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
