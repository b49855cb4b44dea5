//! Mixtures and files. The mixtures are held against what llama-quantize gives the real model's tensors; real blocks
//! are held against its files in `tests/quantize.rs`.

use std::collections::BTreeMap;

use super::*;
use crate::model::Silent;
use crate::model::gguf::file_type_of;

/// From llama-quantize --allow-requantize of SmolLM2-135M-Instruct.Q4_1.gguf, llama.cpp 0c1e570.
const TYPES: &str = include_str!("../../../tests/fixtures/quantize_types.json");

/// A file with the shapes of SmolLM2-135M (30 layers, 576 wide, 9 heads on 3) and no weights to speak of.
fn skeleton(extra: &[(&str, Value<'_>)], tensors: &[(String, Vec<u64>)]) -> Gguf {
    let mut writer = Writer::new();
    writer.put("general.architecture", Value::Str("llama"));
    writer.put("llama.block_count", Value::U32(30));
    writer.put("llama.attention.head_count", Value::U32(9));
    writer.put("llama.attention.head_count_kv", Value::U32(3));
    for (key, value) in extra {
        writer.put(key, *value);
    }
    let zeros: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(name, dims)| vec![0; writer.declare(name, dims, GgmlType::F32).unwrap() as usize])
        .collect();
    let data: Vec<&[u8]> = zeros.iter().map(Vec::as_slice).collect();
    Gguf::from_bytes("skeleton.gguf", writer.to_bytes(&data).unwrap()).unwrap()
}

/// Row lengths as in the real model, but only two rows.
fn smollm_shapes() -> Vec<(String, Vec<u64>)> {
    let mut shapes = vec![("token_embd.weight".into(), vec![576, 2]), ("output_norm.weight".into(), vec![576])];
    for block in 0..30 {
        for (name, k) in [("attn_q", 576), ("attn_k", 576), ("attn_v", 576), ("attn_output", 576)] {
            shapes.push((format!("blk.{block}.{name}.weight"), vec![k, 2]));
        }
        for (name, k) in [("ffn_gate", 576), ("ffn_up", 576), ("ffn_down", 1536)] {
            shapes.push((format!("blk.{block}.{name}.weight"), vec![k, 2]));
        }
        for name in ["attn_norm", "ffn_norm"] {
            shapes.push((format!("blk.{block}.{name}.weight"), vec![576]));
        }
    }
    shapes
}

#[test]
fn mixtures_are_those_of_llama_quantize() {
    let gguf = skeleton(&[], &smollm_shapes());
    let fixture: serde_json::Value = serde_json::from_str(TYPES).unwrap();
    let levels = fixture["levels"].as_object().unwrap();
    assert!(levels.len() >= 8);
    for (level, expected) in levels {
        let expected: BTreeMap<&str, &str> = expected["tensor_types"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str().unwrap()))
            .collect();
        let ours = tensor_types(&gguf, level.parse().unwrap()).unwrap();
        let ours: BTreeMap<&str, String> = ours.iter().map(|(info, ty)| (info.name.as_str(), ty.to_string())).collect();
        assert_eq!(ours.len(), expected.len());
        for (name, ty) in &ours {
            assert_eq!(expected[name], ty, "{name} at {level}");
        }
    }
}

/// The format of one tensor at a level in a model of 32 layers whose rows are whole blocks.
fn chosen(level: Level, name: &str, extra: &[(&str, Value<'_>)]) -> GgmlType {
    let mut shapes: Vec<(String, Vec<u64>)> = vec![("output.weight".into(), vec![256, 2])];
    shapes.push(("token_embd.weight".into(), vec![256, 2]));
    for block in 0..32 {
        for part in ["attn_v", "attn_k", "attn_output", "ffn_down", "ffn_up"] {
            shapes.push((format!("blk.{block}.{part}.weight"), vec![256, 2]));
        }
    }
    let gguf = skeleton(&[&[("llama.block_count", Value::U32(32))], extra].concat(), &shapes);
    let types = tensor_types(&gguf, level).unwrap();
    types.iter().find(|(info, _)| info.name == name).unwrap().1
}

#[test]
fn rules_the_real_model_does_not_exercise() {
    use GgmlType::{Q2K, Q3K, Q4K, Q5K, Q6K, Q8_0};
    let gqa = [("llama.attention.head_count", Value::U32(32)), ("llama.attention.head_count_kv", Value::U32(8))];
    let experts = [("llama.expert_count", Value::U32(8))];
    let falcon = [("general.architecture", Value::Str("falcon")), ("falcon.block_count", Value::U32(32))];
    assert_eq!(chosen(Level::Q4KM, "output.weight", &[]), Q6K);
    assert_eq!(chosen(Level::Q8_0, "output.weight", &[]), Q8_0);
    assert_eq!(chosen(Level::Q4KM, "token_embd.weight", &[]), Q4K, "not tied");
    assert_eq!(chosen(Level::Q2K, "blk.9.attn_v.weight", &gqa), Q4K);
    assert_eq!(chosen(Level::Q2K, "blk.9.attn_v.weight", &[]), Q3K);
    assert_eq!(chosen(Level::Q2K, "blk.9.attn_k.weight", &[]), Q2K);
    assert_eq!(chosen(Level::Q3KM, "blk.1.attn_v.weight", &[]), Q5K);
    assert_eq!(chosen(Level::Q3KM, "blk.2.attn_v.weight", &[]), Q4K);
    assert_eq!(chosen(Level::Q3KM, "blk.1.ffn_down.weight", &[]), Q5K);
    assert_eq!(chosen(Level::Q3KL, "blk.20.attn_output.weight", &[]), Q5K);
    assert_eq!(chosen(Level::Q4KS, "blk.3.ffn_down.weight", &[]), Q5K);
    assert_eq!(chosen(Level::Q4KS, "blk.4.attn_v.weight", &[]), Q4K);
    // 32 layers: 0..4, 28..32 and every third from 6.
    for (block, ty) in [(3, Q6K), (4, Q4K), (6, Q6K), (7, Q4K), (27, Q6K), (28, Q6K)] {
        assert_eq!(chosen(Level::Q4KM, &format!("blk.{block}.ffn_down.weight"), &[]), ty, "{block}");
    }
    assert_eq!(chosen(Level::Q4KM, "blk.9.attn_v.weight", &experts), Q8_0);
    assert_eq!(chosen(Level::Q4KM, "blk.9.attn_k.weight", &experts), Q8_0);
    assert_eq!(chosen(Level::Q4KM, "blk.9.attn_output.weight", &experts), Q5K);
    assert_eq!(chosen(Level::Q4KM, "blk.1.ffn_down.weight", &falcon), Q6K);
    assert_eq!(chosen(Level::Q4KM, "blk.3.ffn_down.weight", &falcon), Q5K);
    assert_eq!(chosen(Level::Q4KM, "output.weight", &falcon), Q8_0);
}

#[test]
fn odd_shapes_fall_back_and_small_tensors_stay() {
    let shapes = [
        ("token_embd.weight".to_owned(), vec![96, 4]),
        ("blk.0.ffn_up.weight".to_owned(), vec![100, 4]),
        ("blk.0.ffn_gate_inp.weight".to_owned(), vec![256, 4]),
        ("blk.0.attn_q.bias".to_owned(), vec![256, 4]),
        ("blk.0.ffn_norm.weight".to_owned(), vec![256]),
        ("blk.0.column.weight".to_owned(), vec![256, 1]),
    ];
    let gguf = skeleton(&[], &shapes);
    let types = tensor_types(&gguf, Level::Q4KM).unwrap();
    let types: Vec<_> = types.iter().map(|(info, ty)| (info.name.as_str(), ty.to_string())).collect();
    let expected = [
        ("token_embd.weight", "Q8_0"),
        ("blk.0.attn_q.bias", "F32"),
        ("blk.0.column.weight", "F32"),
        ("blk.0.ffn_gate_inp.weight", "F32"),
        ("blk.0.ffn_norm.weight", "F32"),
        ("blk.0.ffn_up.weight", "F16"),
    ];
    assert_eq!(types, expected.map(|(name, ty)| (name, ty.to_owned())));
}

/// Writes a model of two tensors and returns its path.
fn model(dir: &Path, weights: &[f32], ty: GgmlType) -> PathBuf {
    let mut writer = Writer::new();
    writer.put("general.architecture", Value::Str("llama"));
    writer.put("general.name", Value::Str("tiny"));
    let bytes = writer.declare("blk.0.ffn_up.weight", &[256, weights.len() as u64 / 256], ty).unwrap();
    writer.declare("blk.0.ffn_norm.weight", &[2], GgmlType::F32).unwrap();
    let mut data = vec![0; bytes as usize];
    format::encode(ty, weights, &mut data).unwrap();
    let path = dir.join("tiny.gguf");
    std::fs::write(&path, writer.to_bytes(&[&data, &[7; 8]]).unwrap()).unwrap();
    path
}

fn wave(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 0.37).sin() * 0.1).collect()
}

#[test]
fn a_file_is_the_same_model_at_the_level() {
    let dir = tempfile::tempdir().unwrap();
    // More than one chunk, not a whole number of them.
    let weights = wave(256 * 700);
    let source = model(dir.path(), &weights, GgmlType::F32);
    for &level in Level::ALL {
        let out = dir.path().join(format!("{level}.gguf"));
        let made = quantize_file(&source, &out, level, &mut Silent).unwrap();
        let gguf = Gguf::open(&out).unwrap();
        assert_eq!((made.bytes, made.tensor_bytes), (gguf.file_bytes(), gguf.tensor_bytes()));
        assert_eq!((gguf.level(), gguf.str("general.name")), (Some(level), Some("tiny")));
        assert_eq!((made.requantized_from, gguf.str(REQUANTIZED_FROM)), (None, None));
        assert_eq!(gguf.tensor_data(gguf.tensor("blk.0.ffn_norm.weight").unwrap()), [7; 8]);
        let info = gguf.tensor("blk.0.ffn_up.weight").unwrap();
        let mut expected = vec![0; info.bytes as usize];
        format::encode(info.ty, &weights, &mut expected).unwrap();
        assert!(gguf.tensor_data(info) == expected, "{level}");
    }
}

#[test]
fn requantizing_is_written_into_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let source = model(dir.path(), &wave(512), GgmlType::Q8_0);
    let step = |from: &Path, level: Level| {
        let out = dir.path().join(format!("{level}.gguf"));
        let made = quantize_file(from, &out, level, &mut Silent).unwrap();
        assert_eq!(Gguf::open(&out).unwrap().str(REQUANTIZED_FROM), made.requantized_from.as_deref());
        (out, made.requantized_from)
    };
    // The source has no general.file_type: its format names it.
    let (q4, from) = step(&source, Level::Q4_0);
    assert_eq!(from.as_deref(), Some("q8_0"));
    assert_eq!(step(&q4, Level::F16).1.as_deref(), Some("q8_0, then q4_0"));
}

#[test]
fn bad_sources_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut weights = wave(256 * 300);
    weights[256 * 299] = f32::NAN;
    let source = model(dir.path(), &weights, GgmlType::F32);
    let out = dir.path().join("out.gguf");
    let message = |error: QuantizeError| error.to_string();
    let error = message(quantize_file(&source, &out, Level::Q4_0, &mut Silent).unwrap_err());
    assert!(error.contains("tiny.gguf: tensor `blk.0.ffn_up.weight` holds a weight that is infinite"), "{error}");
    assert!(
        message(quantize_file(&source, &source, Level::Q4_0, &mut Silent).unwrap_err()).contains("the source itself")
    );
    let nowhere = dir.path().join("no/such/dir.gguf");
    assert!(message(quantize_file(&source, &nowhere, Level::Q4_0, &mut Silent).unwrap_err()).contains("cannot write"));

    let mut writer = Writer::new();
    writer.put("general.file_type", Value::U32(file_type_of(Level::F16).unwrap()));
    writer.declare("blk.0.ffn_up.weight", &[256, 2], GgmlType::Iq4Xs).unwrap();
    let path = dir.path().join("iq.gguf");
    std::fs::write(&path, writer.to_bytes(&[&[0; 272]]).unwrap()).unwrap();
    let error = message(quantize_file(&path, &out, Level::Q4_0, &mut Silent).unwrap_err());
    assert!(error.contains("`blk.0.ffn_up.weight` is IQ4_XS, which cannot be converted"), "{error}");

    let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["iq.gguf", "tiny.gguf"]);
}

#[test]
fn a_cancelled_job_stops_and_leaves_nothing_behind() {
    struct Cancelled;
    impl Progress for Cancelled {
        fn start(&mut self, _: &str, _: Option<u64>) {}
        fn advance(&mut self, _: u64) {}
        fn finish(&mut self) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let source = model(dir.path(), &wave(512), GgmlType::F32);
    let out = dir.path().join("out.gguf");
    let error = quantize_file(&source, &out, Level::Q8_0, &mut Cancelled).unwrap_err();
    assert!(matches!(error, QuantizeError::Interrupted(_)));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
