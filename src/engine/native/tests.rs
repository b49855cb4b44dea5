//! The whole engine on small made-up models, built in memory.

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

#[test]
fn threads_and_batches_do_not_change_a_bit() {
    let isas = kernels::Isa::ALL.into_iter().filter(|isa| isa.is_available() && *isa != kernels::Isa::Amx);
    for isa in isas {
        for shape in shapes() {
            let ids = tokens(300, shape.n_vocab);
            let configured = |threads| EngineConfig { isa: Some(isa.name().to_owned()), ..config(threads) };
            let expected = run(&mut shape.load(&configured(1)), &ids, &[1]);
            for (threads, sizes) in [(1, vec![300]), (2, vec![1]), (2, vec![300]), (3, vec![7, 90, 1, 33])] {
                let got = run(&mut shape.load(&configured(threads)), &ids, &sizes);
                assert!(got == expected, "{isa} {shape:?} on {threads} threads in batches of {sizes:?}");
            }
        }
    }
}

#[test]
fn amx_prompts_stay_close_to_single_tokens() {
    if !kernels::Isa::Amx.is_available() {
        return;
    }
    for shape in shapes() {
        let ids = tokens(100, shape.n_vocab);
        let expected = run(&mut shape.load(&config(1)), &ids, &[1]);
        let got = run(&mut shape.load(&config(2)), &ids, &[100]);
        let norm = expected.iter().map(|x| x * x).sum::<f32>().sqrt();
        let error = got.iter().zip(&expected).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        // What 8-bit activations themselves cost on random weights: see `the_graph_computes_what_the_papers_say`.
        assert!(error < 0.05 * norm, "{shape:?}: {}", error / norm);
    }
}

#[test]
fn cache_formats_agree_within_their_precision() {
    for shape in shapes() {
        let ids = tokens(80, shape.n_vocab);
        let with = |kv: &str| {
            let config = EngineConfig {
                kv_type: Some(kv.to_owned()),
                activations: Some("f32".to_owned()),
                isa: Some("portable".to_owned()),
                ..config(2)
            };
            run(&mut shape.load(&config), &ids, &[80])
        };
        let exact = with("f32");
        let norm = exact.iter().map(|x| x * x).sum::<f32>().sqrt();
        for (kv, limit) in [("f16", 2e-3), ("q8_0", 3e-2)] {
            let error = with(kv).iter().zip(&exact).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
            assert!(error > 0.0 && error < limit * norm, "{kv} {shape:?}: {}", error / norm);
        }
    }
}

/// The graph in its plainest form: f64, one token at a time, everything recomputed.
fn naive(shape: &Shape, ids: &[u32]) -> Vec<f64> {
    let gguf = shape.build(|_, _| ());
    let tensor = |name: &str| -> Vec<f64> {
        let info = gguf.tensor(name).unwrap_or_else(|| panic!("{name}"));
        let data = gguf.tensor_data(info);
        match info.ty {
            GgmlType::F32 => data.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect(),
            _ => data
                .chunks(34)
                .flat_map(|b| {
                    let scale = f64::from(half::f16::from_le_bytes([b[0], b[1]]).to_f32());
                    b[2..].iter().map(move |&c| scale * f64::from(c as i8))
                })
                .collect(),
        }
    };
    let product = |w: &[f64], x: &[f64]| -> Vec<f64> {
        w.chunks(x.len()).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    };
    let norm = |x: &[f64], w: &[f64]| -> Vec<f64> {
        let scale = 1.0 / (x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64 + f64::from(1e-5f32)).sqrt();
        x.iter().zip(w).map(|(v, w)| v * scale * w).collect()
    };
    let add = |x: &mut Vec<f64>, y: &[f64]| x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
    let gemma = shape.arch == "gemma3";
    let (d, hd) = (shape.n_embd, shape.head);
    let embd = tensor("token_embd.weight");
    let mut xs: Vec<Vec<f64>> = ids.iter().map(|&t| embd[t as usize * d..][..d].to_vec()).collect();
    if gemma {
        xs.iter_mut().flatten().for_each(|x| *x *= (d as f64).sqrt());
    }
    for il in 0..shape.n_layer {
        let t = |name: &str| tensor(&format!("blk.{il}.{name}"));
        let windowed = gemma && il % 6 != 5;
        let base: f64 = if windowed || !gemma { 1e4 } else { 1e6 };
        let (mut qs, mut ks, mut vs) = (Vec::new(), Vec::new(), Vec::new());
        for (pos, x) in xs.iter().enumerate() {
            let h = norm(x, &t("attn_norm.weight"));
            let mut q = product(&t("attn_q.weight"), &h);
            let mut k = product(&t("attn_k.weight"), &h);
            let mut v = product(&t("attn_v.weight"), &h);
            if shape.arch == "qwen2" {
                add(&mut q, &t("attn_q.bias"));
                add(&mut k, &t("attn_k.bias"));
                add(&mut v, &t("attn_v.bias"));
            }
            for (x, name) in [(&mut q, "attn_q_norm.weight"), (&mut k, "attn_k_norm.weight")] {
                for head in x.chunks_mut(hd) {
                    if matches!(shape.arch, "qwen3" | "gemma3") {
                        let normed = norm(head, &t(name));
                        head.copy_from_slice(&normed);
                    }
                    for i in 0..hd / 2 {
                        let (a, b) = if shape.arch == "llama" { (2 * i, 2 * i + 1) } else { (i, i + hd / 2) };
                        let (s, c) = (pos as f64 * base.powf(-2.0 * i as f64 / hd as f64)).sin_cos();
                        (head[a], head[b]) = (head[a] * c - head[b] * s, head[a] * s + head[b] * c);
                    }
                }
            }
            qs.push(q);
            ks.push(k);
            vs.push(v);
        }
        let group = shape.n_head / shape.n_head_kv;
        for (pos, x) in xs.iter_mut().enumerate() {
            let first = if windowed { (pos + 1).saturating_sub(shape.window.unwrap() as usize) } else { 0 };
            let mut heads = Vec::new();
            for (head, q) in qs[pos].chunks(hd).enumerate() {
                let at = head / group * hd;
                let scores = (first..=pos)
                    .map(|p| q.iter().zip(&ks[p][at..]).map(|(a, b)| a * b).sum::<f64>() / (hd as f64).sqrt());
                let weights: Vec<f64> = scores.map(f64::exp).collect();
                let sum: f64 = weights.iter().sum();
                heads.extend(
                    (0..hd).map(|i| weights.iter().zip(first..).map(|(w, p)| w * vs[p][at + i]).sum::<f64>() / sum),
                );
            }
            let mut o = product(&t("attn_output.weight"), &heads);
            if gemma {
                o = norm(&o, &t("post_attention_norm.weight"));
            }
            add(x, &o);
            let h = norm(x, &t("ffn_norm.weight"));
            let gate = product(&t("ffn_gate.weight"), &h);
            let up = product(&t("ffn_up.weight"), &h);
            let act = |g: f64| {
                if gemma {
                    0.5 * g * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (g + 0.044_715 * g.powi(3))).tanh())
                } else {
                    g / (1.0 + (-g).exp())
                }
            };
            let hidden: Vec<f64> = gate.iter().zip(&up).map(|(&g, u)| act(g) * u).collect();
            let mut o = product(&t("ffn_down.weight"), &hidden);
            if gemma {
                o = norm(&o, &t("post_ffw_norm.weight"));
            }
            add(x, &o);
        }
    }
    let head = if shape.untied { tensor("output.weight") } else { embd };
    xs.iter().flat_map(|x| product(&head, &norm(x, &tensor("output_norm.weight")))).collect()
}

#[test]
fn the_graph_computes_what_the_papers_say() {
    for shape in shapes() {
        let ids = tokens(70, shape.n_vocab);
        let expected = naive(&shape, &ids);
        let norm = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
        for isa in kernels::Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for (activations, limit) in [("f32", 2e-4), ("q8", 5e-2)] {
                let config = EngineConfig {
                    isa: Some(isa.name().to_owned()),
                    activations: Some(activations.to_owned()),
                    kv_type: Some("f32".to_owned()),
                    ..config(2)
                };
                let got = run(&mut shape.load(&config), &ids, &[70]);
                let error =
                    got.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>().sqrt() / norm;
                assert!(error < limit, "{isa} {activations} {shape:?}: {error}");
            }
        }
    }
}

#[test]
fn sequences_in_one_batch_do_not_see_each_other() {
    let shape = Shape::default();
    let mut engine = shape.load(&EngineConfig { isa: Some("portable".into()), ..config(2) });
    let ids = tokens(90, shape.n_vocab);
    let expected = run(&mut engine, &ids, &[90]);
    let (a, b) = (engine.sequence().unwrap(), engine.sequence().unwrap());
    let mut batch = Batch::new();
    batch.extend(&ids[..70], a, 0, false);
    engine.forward(&batch).unwrap();
    let c = engine.fork(a).unwrap();
    // Three sequences, interleaved: the rest of `a`, something else in `b`, and the rest of `c` one token late.
    batch.clear();
    for i in 70..90 {
        batch.push(ids[i], a, i as u32, true);
        batch.push(ids[i - 60], b, i as u32 - 70, false);
        batch.push(ids[i], c, i as u32, true);
    }
    let logits = engine.forward(&batch).unwrap();
    for (i, row) in expected.chunks(shape.n_vocab).skip(70).enumerate() {
        assert_eq!(logits.row(2 * i).unwrap(), row);
        assert_eq!(logits.row(2 * i + 1).unwrap(), row);
    }
}

#[test]
fn bad_weights_are_reported_as_not_a_number_and_sequences_keep_their_length() {
    for bad in ["blk.1.ffn_down.weight", "blk.0.attn_k.weight", "blk.0.attn_norm.weight", "blk.1.ffn_gate.weight"] {
        let shape = Shape::default();
        let gguf = shape.build(|name, bytes| {
            if name == bad {
                // A scale, or a weight, that is NaN in f16 and in f32.
                bytes[..4].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
            }
        });
        let mut engine = NativeEngine::from_gguf(gguf, &config(2)).unwrap();
        let seq = engine.sequence().unwrap();
        let mut batch = Batch::new();
        batch.extend(&tokens(40, shape.n_vocab), seq, 0, true);
        let error = engine.forward(&batch).unwrap_err();
        assert!(matches!(error, EngineError::NotANumber { seq: 0, pos: 39 }), "{bad}: {error}");
        assert_eq!(engine.cache.len(seq.0).unwrap(), 0);
    }
}

#[test]
fn files_that_do_not_fit_the_graph_are_refused() {
    let load = |writer: &Writer, shape: &Shape, skip: &str| {
        let data: Vec<Vec<u8>> = shape
            .tensors()
            .into_iter()
            .filter(|(name, _)| name != skip)
            .map(|(_, dims)| vec![0; dims.iter().product::<u64>() as usize * 4])
            .collect();
        let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let gguf = Gguf::from_bytes("made-up", writer.to_bytes(&slices).unwrap()).unwrap();
        NativeEngine::from_gguf(gguf, &config(1)).unwrap_err()
    };
    let shape = Shape { ty: GgmlType::F32, ..Shape::default() };

    // Every tensor in turn: missing, and with its dimensions exchanged.
    for (victim, _) in shape.tensors() {
        let mut writer = shape.writer();
        for (name, dims) in shape.tensors().iter().filter(|(name, _)| *name != victim) {
            writer.declare(name, dims, GgmlType::F32).unwrap();
        }
        let error = load(&writer, &shape, &victim);
        assert!(matches!(error, EngineError::Gguf(_)) && error.to_string().contains(&victim), "{error}");

        let mut writer = shape.writer();
        for (name, dims) in shape.tensors() {
            let wrong = match dims[..] {
                [n] => vec![n / 2, 2],
                _ => dims.iter().map(|n| n * 2).rev().map(|n| n / 2).collect(),
            };
            writer.declare(&name, if name == victim { &wrong } else { &dims }, GgmlType::F32).unwrap();
        }
        let square =
            matches!(shape.tensors().iter().find(|(n, _)| *n == victim), Some((_, d)) if d.len() == 2 && d[0] == d[1]);
        if !square {
            let error = load(&writer, &shape, "");
            assert!(matches!(error, EngineError::BadModel(_)), "{victim}: {error}");
        }
    }

    // A tensor the graph has no place for.
    let mut writer = shape.writer();
    let mut extended = shape.tensors();
    extended.push(("blk.0.ffn_gate_inp.weight".to_owned(), vec![64, 8]));
    extended.iter().for_each(|(name, dims)| {
        writer.declare(name, dims, GgmlType::F32).unwrap();
    });
    let data: Vec<Vec<u8>> = extended.iter().map(|(_, d)| vec![0; d.iter().product::<u64>() as usize * 4]).collect();
    let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let gguf = Gguf::from_bytes("made-up", writer.to_bytes(&slices).unwrap()).unwrap();
    let error = NativeEngine::from_gguf(gguf, &config(1)).unwrap_err();
    assert!(error.to_string().contains("ffn_gate_inp"), "{error}");

    // A type the kernels do not read.
    let iq = Shape { ty: GgmlType::Q8_0, ..Shape::default() };
    let mut writer = iq.writer();
    let mut data = Vec::new();
    for (name, dims) in iq.tensors() {
        let ty = if name.ends_with("attn_v.weight") { GgmlType::Q8_1 } else { GgmlType::F32 };
        writer.declare(&name, &dims, ty).unwrap();
        data.push(vec![0u8; ty.bytes_for(dims.iter().product()).unwrap() as usize]);
    }
    let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let gguf = Gguf::from_bytes("made-up", writer.to_bytes(&slices).unwrap()).unwrap();
    let error = NativeEngine::from_gguf(gguf, &config(1)).unwrap_err();
    assert!(matches!(&error, EngineError::UnsupportedTensor { dtype, .. } if dtype == "Q8_1"), "{error}");
}

#[test]
fn settings_that_cannot_be_met_are_named() {
    let shape = Shape::default();
    let refuse =
        |config: EngineConfig| NativeEngine::from_gguf(shape.build(|_, _| ()), &config).unwrap_err().to_string();
    assert!(refuse(EngineConfig { n_ctx: 5000, ..config(1) }).contains("trained for 4096"));
    assert!(refuse(EngineConfig { isa: Some("sse9".into()), ..config(1) }).contains("sse9"));
    assert!(refuse(EngineConfig { activations: Some("q3".into()), ..config(1) }).contains("q3"));
    assert!(refuse(EngineConfig { kv_type: Some("q1".into()), ..config(1) }).contains("q1"));
    assert!(refuse(EngineConfig { device: crate::engine::DeviceChoice::Metal, ..config(1) }).contains("metal"));
}
