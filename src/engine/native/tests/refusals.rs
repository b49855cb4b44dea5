//! What is refused, and how it is said.

use super::*;

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
