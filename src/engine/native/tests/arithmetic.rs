//! What the graph computes: against its plainest form, and between instruction sets and cache formats.

use super::*;

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
            let tiles = if isa == kernels::Isa::Amx { 5e-2 } else { 5e-4 };
            for (activations, limit) in [("f32", 2e-4), ("q16", tiles), ("q8", 5e-2)] {
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
fn amx_prompts_stay_close_to_single_tokens() {
    if !kernels::Isa::Amx.is_available() {
        return;
    }
    for shape in shapes() {
        let ids = tokens(300, shape.n_vocab);
        let expected = run(&mut shape.load(&config(1)), &ids, &[1]);
        let got = run(&mut shape.load(&config(2)), &ids, &[300]);
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
