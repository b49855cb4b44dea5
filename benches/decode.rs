//! Speed of whole forward passes of the native engine on a made-up model of SmolLM2-135M's layer shape.
//!
//! ```text
//! cargo bench --bench decode                 everything
//! cargo bench --bench decode -- step/d4096   one token behind 4096 others
//! ```
//!
//! Elements are tokens, so criterion's throughput reads as tokens per second of a model with a fifth of the layers: use it
//! to compare changes, not models. The difference between depths is attention.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tierbench::engine::{Batch, Engine, EngineConfig, SeqId, native::NativeEngine};
use tierbench::model::gguf::{GgmlType, Gguf, Value, Writer};

const LAYERS: u32 = 6;
const EMBD: u64 = 576;
const KV: u64 = 192;
const FF: u64 = 1536;
const VOCAB: u64 = 4096;
const FITS: &str = "the shape is valid and memory suffices";

/// A llama of constant small weights: speed does not depend on them.
fn model() -> Gguf {
    let mut writer = Writer::new();
    writer.put("general.architecture", Value::Str("llama"));
    for (key, value) in [
        ("block_count", LAYERS),
        ("embedding_length", EMBD as u32),
        ("attention.head_count", 9),
        ("attention.head_count_kv", 3),
        ("feed_forward_length", FF as u32),
        ("context_length", 8192),
    ] {
        writer.put(&format!("llama.{key}"), Value::U32(value));
    }
    writer.put("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    let mut tensors = vec![("token_embd.weight".to_owned(), vec![EMBD, VOCAB])];
    tensors.push(("output_norm.weight".to_owned(), vec![EMBD]));
    for il in 0..LAYERS {
        for (name, dims) in [
            ("attn_norm", vec![EMBD]),
            ("attn_q", vec![EMBD, EMBD]),
            ("attn_k", vec![EMBD, KV]),
            ("attn_v", vec![EMBD, KV]),
            ("attn_output", vec![EMBD, EMBD]),
            ("ffn_norm", vec![EMBD]),
            ("ffn_gate", vec![EMBD, FF]),
            ("ffn_up", vec![EMBD, FF]),
            ("ffn_down", vec![FF, EMBD]),
        ] {
            tensors.push((format!("blk.{il}.{name}.weight"), dims));
        }
    }
    let mut data = Vec::new();
    for (name, dims) in &tensors {
        let ty = if dims.len() == 1 { GgmlType::F32 } else { GgmlType::Q4_1 };
        writer.declare(name, dims, ty).expect(FITS);
        let bytes = ty.bytes_for(dims.iter().product()).expect(FITS);
        data.push(match ty {
            GgmlType::F32 => 1f32.to_le_bytes().repeat(bytes as usize / 4),
            _ => vec![0x11; bytes as usize],
        });
    }
    let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    Gguf::from_bytes("made-up", writer.to_bytes(&slices).expect(FITS)).expect(FITS)
}

/// Sequences that hold `depth` tokens.
fn sequences(engine: &mut NativeEngine, n: usize, depth: u32) -> Vec<SeqId> {
    let first = engine.sequence().expect(FITS);
    let mut batch = Batch::new();
    batch.extend(&vec![7; depth as usize], first, 0, false);
    engine.forward(&batch).expect(FITS);
    let mut all = vec![first];
    all.extend((1..n).map(|_| engine.fork(first).expect(FITS)));
    all
}

/// One forward of `tokens` tokens in each sequence, undone afterwards.
fn step(engine: &mut NativeEngine, sequences: &[SeqId], depth: u32, tokens: usize, batch: &mut Batch) {
    batch.clear();
    for &seq in sequences {
        batch.extend(&vec![7; tokens], seq, depth, true);
    }
    black_box(engine.forward(batch).expect(FITS));
    for &seq in sequences {
        engine.truncate(seq, depth).expect(FITS);
    }
}

fn forward(c: &mut Criterion) {
    let config = EngineConfig { max_seqs: 16, ..EngineConfig::default() };
    let mut engine = NativeEngine::from_gguf(model(), &config).expect(FITS);
    let mut batch = Batch::new();
    let mut group = c.benchmark_group("step");
    for (n, depth) in [(1, 0), (1, 1024), (1, 4096), (8, 0), (8, 1024)] {
        let seqs = sequences(&mut engine, n, depth);
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::new(format!("d{depth}"), format!("b{n}")), |b| {
            b.iter(|| step(&mut engine, &seqs, depth, 1, &mut batch));
        });
        seqs.into_iter().for_each(|seq| engine.free(seq).expect(FITS));
    }
    group.finish();
    let mut group = c.benchmark_group("prompt");
    for (tokens, depth) in [(512, 0), (512, 4096)] {
        let seqs = sequences(&mut engine, 1, depth);
        group.throughput(Throughput::Elements(tokens as u64));
        group.bench_function(BenchmarkId::new(format!("d{depth}"), tokens), |b| {
            b.iter(|| step(&mut engine, &seqs, depth, tokens, &mut batch));
        });
        seqs.into_iter().for_each(|seq| engine.free(seq).expect(FITS));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    targets = forward
}
criterion_main!(benches);
