//! How far the native engine lies from exact arithmetic on the same weights, on every instruction set of this machine.
//!
//! `tests/fixtures/exact_logits.json`: the same weights dequantized to F32, F32 cache, no activation quantized.
//! `tests/fixtures/corpus.txt` and the perplexities: `fidelity.json`, key `exact_ppl` (n_ctx 512, second half scored).

mod common;

use common::{Distance, GEMMA, SMOLLM2, distance, real_model, reference};
use std::path::Path;
use tierbench::{
    engine::{Batch, Engine, EngineConfig, EngineKind, load, logprob, native::kernels::Isa},
    model::{gguf::Gguf, tokenizer::Tokenizer},
};

const SMOLLM2_KEY: &str = "smollm2-135m-instruct-q4_1";
const GEMMA_KEY: &str = "gemma-3-270m-q4_k_m";

fn config(isa: Option<&str>, activations: Option<&str>) -> EngineConfig {
    EngineConfig {
        n_ctx: 1024,
        max_seqs: 4,
        isa: isa.map(str::to_owned),
        activations: activations.map(str::to_owned),
        ..EngineConfig::default()
    }
}

/// The instruction sets worth a model's time: all but plain Rust, which the unit tests hold to the same graph.
fn fast_isas() -> Vec<Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available() && *isa != Isa::Portable).collect()
}

fn measure(path: &Path, key: &str, isa: Isa, activations: Option<&str>) -> Distance {
    let mut engine =
        load(path, EngineKind::Native, &config(Some(isa.name()), activations)).expect("a model that loads");
    let got = distance(engine.as_mut(), &reference("exact_logits", key));
    eprintln!("{key}, {isa}, activations {}: {got:?}", engine.facts().activations);
    got
}

#[test]
fn with_f32_activations_every_probability_is_exact_to_a_hundredth() {
    for (spec, key) in [(SMOLLM2, SMOLLM2_KEY), (GEMMA, GEMMA_KEY)] {
        let Some(path) = real_model(spec) else { return };
        for isa in fast_isas() {
            let got = measure(&path, key, isa, Some("f32"));
            assert!(got.p99 <= 0.01 && got.argmax_agreement >= 0.995, "{key} {isa}: {got:?}");
        }
    }
}

#[test]
fn with_16_bit_activations_every_probability_is_exact_to_a_hundredth() {
    for (spec, key) in [(SMOLLM2, SMOLLM2_KEY), (GEMMA, GEMMA_KEY)] {
        let Some(path) = real_model(spec) else { return };
        // With AMX, prompts are bfloat16: see the test below.
        for isa in fast_isas().into_iter().filter(|isa| *isa != Isa::Amx) {
            let got = measure(&path, key, isa, Some("q16"));
            assert!(got.p99 <= 0.01 && got.argmax_agreement >= 0.995, "{key} {isa}: {got:?}");
        }
    }
}

#[test]
fn with_integer_activations_we_are_no_further_from_exact_than_llama_cpp() {
    // llama.cpp's own distance, stated in exact_logits.json: median, p95, p99, argmax.
    let theirs = [
        (SMOLLM2, SMOLLM2_KEY, [0.0457, 0.2021, 0.3173], 0.9468),
        (GEMMA, GEMMA_KEY, [0.0502, 0.2578, 0.3643], 0.9452),
    ];
    for (spec, key, limits, argmax) in theirs {
        let Some(path) = real_model(spec) else { return };
        for isa in fast_isas() {
            let got = measure(&path, key, isa, None);
            for (got, limit) in [got.median, got.p95, got.p99].into_iter().zip(limits) {
                assert!(got <= limit, "{key} {isa}: {got} against {limit}");
            }
            assert!(got.argmax_agreement >= argmax, "{key} {isa}: {got:?}");
        }
    }
}

/// Perplexity as llama-perplexity defines it: chunks of 512, the model's BOS in place of a chunk's first token if it
/// wants one, tokens after position 256 scored.
fn perplexity(engine: &mut dyn Engine, ids: &[u32], bos: Option<u32>) -> f64 {
    let (mut sum, mut n) = (0.0, 0);
    for chunk in ids.chunks_exact(512) {
        let mut chunk = chunk.to_vec();
        if let Some(bos) = bos {
            chunk[0] = bos;
        }
        let seq = engine.sequence().expect("a free sequence");
        let mut batch = Batch::new();
        for (i, &id) in chunk.iter().enumerate() {
            batch.push(id, seq, i as u32, (256..511).contains(&i));
        }
        let logits = engine.forward(&batch).expect("a forward pass");
        for (row, &next) in chunk[257..].iter().enumerate() {
            sum -= logprob(logits.row(row).expect("a row"), next).expect("a number");
            n += 1;
        }
        engine.free(seq).expect("a live sequence");
    }
    (sum / f64::from(n)).exp()
}

#[test]
fn perplexity_is_within_a_fraction_of_a_percent_of_exact() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus.txt");
    let corpus = std::fs::read_to_string(corpus).unwrap();
    for (spec, exact) in [(SMOLLM2, 18.8036), (GEMMA, 15.3381)] {
        let Some(path) = real_model(spec) else { return };
        let gguf = Gguf::open(&path).unwrap();
        let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
        let bos = gguf.bool("tokenizer.ggml.add_bos_token").unwrap_or(false).then(|| tokenizer.bos().unwrap());
        let ids = tokenizer.encode(&corpus, true, false).unwrap();
        let mut engine = load(&path, EngineKind::Native, &config(None, None)).unwrap();
        let got = perplexity(engine.as_mut(), &ids, bos);
        eprintln!("{spec}: perplexity {got:.4}, exact {exact}");
        assert!((got / exact - 1.0).abs() <= 0.006, "{spec}: {got} against {exact}");
    }
}

#[test]
fn a_real_model_gives_the_same_bits_on_one_thread_and_two_and_after_a_fork() {
    let Some(path) = real_model(SMOLLM2) else { return };
    let ids = &reference("exact_logits", SMOLLM2_KEY).into_iter().max_by_key(|r| r.ids.len()).unwrap().ids;
    let mut rows = Vec::new();
    for threads in [1, 2] {
        let mut engine =
            load(&path, EngineKind::Native, &EngineConfig { n_threads: threads, ..config(None, None) }).unwrap();
        let seq = engine.sequence().unwrap();
        let mut batch = Batch::new();
        batch.extend(ids, seq, 0, true);
        rows.push(engine.forward(&batch).unwrap().data.to_vec());
        // The last token again, in a fork that shares everything before it.
        let last = ids.len() - 1;
        engine.truncate(seq, last as u32).unwrap();
        let fork = engine.fork(seq).unwrap();
        let mut after = Vec::new();
        for seq in [fork, seq] {
            batch.clear();
            batch.push(ids[last], seq, last as u32, true);
            after.push(engine.forward(&batch).unwrap().data.to_vec());
        }
        assert!(after[0] == after[1], "a fork differs from its origin");
        rows.push(after.swap_remove(0));
    }
    assert!(rows[0] == rows[2] && rows[1] == rows[3], "threads change the result");
}
