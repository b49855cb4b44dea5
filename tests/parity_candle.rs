//! How far the candle engine lies from exact arithmetic on the same weights, and that its known faults are stated.
//!
//! `tests/fixtures/exact_logits.json`: the same weights dequantized to F32, F32 cache, no activation quantized.
//! `tests/fixtures/llama_cpp_logits.json`: llama.cpp's own quantized path.

mod common;

use common::{GEMMA, SMOLLM2, distance, real_model, reference};
use tierbench::engine::{EngineConfig, EngineKind, load};

fn config() -> EngineConfig {
    EngineConfig { n_ctx: 512, max_seqs: 4, ..EngineConfig::default() }
}

#[test]
fn smollm2_is_as_close_to_exact_as_quantized_activations_allow() {
    let Some(path) = real_model(SMOLLM2) else { return };
    let mut engine = load(&path, EngineKind::Candle, &config()).unwrap();
    let got = distance(engine.as_mut(), &reference("exact_logits", "smollm2-135m-instruct-q4_1"));
    eprintln!("candle, SmolLM2 Q4_1, from exact: {got:?}");
    // llama.cpp's own quantized path: median 0.046, p99 0.317, argmax 94.7 %.
    assert!(got.median <= 0.06 && got.p99 <= 0.45 && got.argmax_agreement >= 0.93, "{got:?}");
    assert!(engine.facts().caveats.is_empty(), "{:?}", engine.facts().caveats);
}

#[test]
fn gemma_runs_and_says_why_it_is_wrong() {
    let Some(path) = real_model(GEMMA) else { return };
    let engine = load(&path, EngineKind::Candle, &config()).unwrap();
    let caveats = engine.facts().caveats.join("\n");
    assert!(caveats.contains("SiLU") && caveats.contains("token by token"), "{caveats}");
}

#[test]
fn prefixes_forks_and_truncation_agree_with_one_pass() {
    let Some(path) = real_model(SMOLLM2) else { return };
    let mut engine = load(&path, EngineKind::Candle, &config()).unwrap();
    let ids = &reference("exact_logits", "smollm2-135m-instruct-q4_1")[0].ids;
    let row = |engine: &mut dyn tierbench::engine::Engine, tokens: &[u32], seq, start| {
        let mut batch = tierbench::engine::Batch::new();
        batch.extend(tokens, seq, start, true);
        engine.forward(&batch).unwrap().data.to_vec()
    };
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
    let whole = engine.sequence().unwrap();
    let expected = row(engine.as_mut(), ids, whole, 0);

    let prefix = engine.sequence().unwrap();
    row(engine.as_mut(), &ids[..6], prefix, 0);
    let fork = engine.fork(prefix).unwrap();
    let behind = row(engine.as_mut(), &ids[6..], fork, 6);
    // Chunked and whole prefill take different kernels in candle: the same sums in another order.
    assert!(close(&expected, &behind) < 0.2, "{}", close(&expected, &behind));

    row(engine.as_mut(), &[1, 2, 3], prefix, 6);
    engine.truncate(prefix, 6).unwrap();
    let again = row(engine.as_mut(), &ids[6..], prefix, 6);
    assert_eq!(behind, again, "a truncated sequence continues as a fork of its prefix does");
}
