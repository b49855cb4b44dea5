//! The whole engine on small made-up models, built in memory.

mod arithmetic;
mod bits;
mod refusals;

use super::*;
use crate::{
    engine::{EngineConfig, contract},
    model::gguf::{GgmlType, Gguf, Value, Writer},
};

/// What a made-up model looks like.
#[derive(Clone, Debug)]
struct Shape {
    arch: &'static str,
    n_layer: usize,
    n_embd: usize,
    n_head: usize,
    n_head_kv: usize,
    head: usize,
    n_ff: usize,
    n_vocab: usize,
    window: Option<u32>,
    untied: bool,
    ty: GgmlType,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            arch: "llama",
            n_layer: 2,
            n_embd: 64,
            n_head: 4,
            n_head_kv: 2,
            head: 16,
            n_ff: 96,
            n_vocab: 40,
            window: None,
            untied: false,
            ty: GgmlType::Q8_0,
        }
    }
}

impl Shape {
    /// Name and dimensions of every tensor.
    fn tensors(&self) -> Vec<(String, Vec<u64>)> {
        let (d, q, kv, ff) = (self.n_embd, self.n_head * self.head, self.n_head_kv * self.head, self.n_ff);
        let mut all = vec![("token_embd.weight".to_owned(), vec![d, self.n_vocab])];
        all.push(("output_norm.weight".to_owned(), vec![d]));
        if self.untied {
            all.push(("output.weight".to_owned(), vec![d, self.n_vocab]));
        }
        for il in 0..self.n_layer {
            let mut put = |name: &str, dims: &[usize]| all.push((format!("blk.{il}.{name}"), dims.to_vec()));
            put("attn_norm.weight", &[d]);
            put("attn_q.weight", &[d, q]);
            put("attn_k.weight", &[d, kv]);
            put("attn_v.weight", &[d, kv]);
            put("attn_output.weight", &[q, d]);
            put("ffn_norm.weight", &[d]);
            put("ffn_gate.weight", &[d, ff]);
            put("ffn_up.weight", &[d, ff]);
            put("ffn_down.weight", &[ff, d]);
            if self.arch == "qwen2" {
                put("attn_q.bias", &[q]);
                put("attn_k.bias", &[kv]);
                put("attn_v.bias", &[kv]);
            }
            if matches!(self.arch, "qwen3" | "gemma3") {
                put("attn_q_norm.weight", &[self.head]);
                put("attn_k_norm.weight", &[self.head]);
            }
            if self.arch == "gemma3" {
                put("post_attention_norm.weight", &[d]);
                put("post_ffw_norm.weight", &[d]);
            }
        }
        all.into_iter().map(|(name, dims)| (name, dims.iter().map(|&n| n as u64).collect())).collect()
    }

    /// The header alone.
    fn writer(&self) -> Writer {
        let mut writer = Writer::new();
        writer.put("general.architecture", Value::Str(self.arch));
        let mut put = |key: &str, value: Value<'_>| writer.put(&format!("{}.{key}", self.arch), value);
        put("block_count", Value::U32(self.n_layer as u32));
        put("embedding_length", Value::U32(self.n_embd as u32));
        put("attention.head_count", Value::U32(self.n_head as u32));
        put("attention.head_count_kv", Value::U32(self.n_head_kv as u32));
        put("attention.key_length", Value::U32(self.head as u32));
        put("attention.value_length", Value::U32(self.head as u32));
        put("feed_forward_length", Value::U32(self.n_ff as u32));
        put("context_length", Value::U32(4096));
        put("attention.layer_norm_rms_epsilon", Value::F32(1e-5));
        if let Some(window) = self.window {
            put("attention.sliding_window", Value::U32(window));
        }
        writer
    }

    /// A file; `change` may alter the bytes of each tensor.
    fn build(&self, change: impl Fn(&str, &mut Vec<u8>)) -> Gguf {
        let mut writer = self.writer();
        let mut data = Vec::new();
        let mut state = 1u32;
        for (name, dims) in self.tensors() {
            let ty = if dims.len() == 1 { GgmlType::F32 } else { self.ty };
            writer.declare(&name, &dims, ty).unwrap();
            let mut random = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 24) as f32 - 0.5
            };
            let n: u64 = dims.iter().product();
            let mut bytes = Vec::new();
            match ty {
                GgmlType::F32 if dims.len() == 1 => {
                    (0..n).for_each(|_| bytes.extend((1.0 + random()).to_le_bytes()));
                }
                GgmlType::F32 => (0..n).for_each(|_| bytes.extend((0.4 * random()).to_le_bytes())),
                _ => {
                    for _ in 0..n / 32 {
                        bytes.extend(half::f16::from_f32(0.003).to_le_bytes());
                        (0..32).for_each(|_| bytes.push((random() * 250.0) as i8 as u8));
                    }
                }
            }
            change(&name, &mut bytes);
            data.push(bytes);
        }
        let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        Gguf::from_bytes("made-up", writer.to_bytes(&slices).unwrap()).unwrap()
    }

    fn load(&self, config: &EngineConfig) -> NativeEngine {
        NativeEngine::from_gguf(self.build(|_, _| ()), config).unwrap()
    }
}

fn shapes() -> Vec<Shape> {
    let base = Shape::default();
    vec![
        base.clone(),
        Shape { untied: true, head: 40, ..base.clone() },
        Shape { arch: "qwen2", n_head_kv: 4, ..base.clone() },
        Shape { arch: "qwen3", head: 32, ..base.clone() },
        Shape { arch: "gemma3", n_layer: 7, n_head_kv: 1, head: 48, window: Some(20), ..base.clone() },
        Shape { ty: GgmlType::F32, ..base },
    ]
}

fn config(threads: u32) -> EngineConfig {
    EngineConfig { n_threads: threads, n_ctx: 1024, max_seqs: 4, ..EngineConfig::default() }
}

fn tokens(n: usize, n_vocab: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * 31 + i * i * 7 + 3) % n_vocab) as u32).collect()
}

/// Logits after every token, in batches of the given sizes.
fn run(engine: &mut NativeEngine, tokens: &[u32], sizes: &[usize]) -> Vec<f32> {
    let seq = engine.sequence().unwrap();
    let mut all = Vec::new();
    let (mut pos, mut sizes) = (0, sizes.iter().cycle());
    while pos < tokens.len() {
        let end = (pos + sizes.next().unwrap()).min(tokens.len());
        let mut batch = Batch::new();
        (pos..end).for_each(|i| batch.push(tokens[i], seq, i as u32, true));
        all.extend_from_slice(engine.forward(&batch).unwrap().data);
        pos = end;
    }
    engine.free(seq).unwrap();
    all
}

#[test]
fn the_contract_holds_for_every_family() {
    for shape in shapes() {
        contract::check(&mut shape.load(&config(2)), 0.05);
    }
}
