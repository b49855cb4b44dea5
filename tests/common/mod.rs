//! What several integration tests need: the real models, fetched through tierbench itself, and the reference values.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::path::PathBuf;

use serde::Deserialize;
use tierbench::model::{self, Silent, SourceOptions};

/// The instruction-tuned model of the fixtures.
pub const SMOLLM2: &str = "smollm2-135m-instruct:q4_1";
/// The base model of the fixtures.
pub const GEMMA: &str = "gemma-3-270m:q4_k_m";

/// A catalogue model's file, fetched into the cache if it is not there. `None`, said aloud, if `TIERBENCH_OFFLINE=1`.
///
/// # Panics
/// When no source answers; the message names each source and why.
pub fn real_model(spec: &str) -> Option<PathBuf> {
    if std::env::var_os("TIERBENCH_OFFLINE").is_some_and(|v| v == "1") {
        eprintln!("skipped: TIERBENCH_OFFLINE=1 and this test needs {spec}");
        return None;
    }
    let options = SourceOptions::platform(false).expect("a cache directory");
    match model::resolve(spec, &options, &mut Silent) {
        Ok(file) => Some(file.path),
        Err(error) => panic!("{spec} cannot be had: {error}"),
    }
}

/// One prompt of `exact_logits.json` or `llama_cpp_logits.json`.
#[derive(Debug, Deserialize)]
pub struct Reference {
    pub file: String,
    pub ids: Vec<u32>,
    /// ln p(token i+1 | tokens 0..=i).
    pub next_logprob: Vec<f64>,
    pub argmax: Vec<u32>,
}

/// The ten prompts of a reference file (`exact_logits` or `llama_cpp_logits`) for a model (its key there).
///
/// # Panics
/// When the fixture is not what its README says.
pub fn reference(file: &str, model: &str) -> Vec<Reference> {
    #[derive(Deserialize)]
    struct File {
        models: std::collections::BTreeMap<String, Vec<Reference>>,
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{file}.json"));
    let text = std::fs::read_to_string(&path).expect("fixture");
    let mut file: File = serde_json::from_str(&text).expect("fixture of this shape");
    file.models.remove(model).expect("model in the fixture")
}

/// How far an engine's log-probabilities lie from a reference's.
#[derive(Debug)]
pub struct Distance {
    pub median: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
    pub argmax_agreement: f64,
    pub positions: usize,
}

impl Distance {
    /// Nearest-rank percentiles of `|Δ ln p|`, and the share of equal argmaxes.
    ///
    /// # Panics
    /// Without positions.
    pub fn of(mut deltas: Vec<f64>, same_argmax: usize, n_argmax: usize) -> Self {
        deltas.sort_by(f64::total_cmp);
        let at = |p: f64| deltas[((p * deltas.len() as f64).ceil() as usize).clamp(1, deltas.len()) - 1];
        Self {
            median: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: at(1.0),
            argmax_agreement: same_argmax as f64 / n_argmax as f64,
            positions: deltas.len(),
        }
    }
}

/// Runs every reference prompt through an engine and measures its distance.
///
/// # Panics
/// When the engine fails.
pub fn distance(engine: &mut dyn tierbench::engine::Engine, references: &[Reference]) -> Distance {
    use tierbench::engine::{Batch, argmax, logprob};
    let (mut deltas, mut same, mut n) = (Vec::new(), 0, 0);
    for reference in references {
        let seq = engine.sequence().expect("a sequence");
        let mut batch = Batch::new();
        for (pos, &id) in (0..).zip(&reference.ids) {
            batch.push(id, seq, pos, true);
        }
        let logits = engine.forward(&batch).expect("a forward pass");
        for i in 0..reference.ids.len() {
            let row = logits.row(i).expect("a row per token");
            if let (Some(&next), Some(expected)) = (reference.ids.get(i + 1), reference.next_logprob.get(i)) {
                deltas.push((logprob(row, next).expect("a number") - expected).abs());
            }
            same += usize::from(argmax(row) == Some(reference.argmax[i]));
            n += 1;
        }
        engine.free(seq).expect("a live sequence");
    }
    Distance::of(deltas, same, n)
}
