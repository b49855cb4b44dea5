//! What every engine owes the trait, as one test body run against each of them.

use super::{Batch, Engine, EngineError, ModelFacts};

/// Facts of a made-up model.
pub(crate) fn facts(n_vocab: u32, n_ctx_train: u32) -> ModelFacts {
    ModelFacts {
        arch: "llama".into(),
        label: "llama mock".into(),
        n_layer: 1,
        n_embd: 8,
        n_vocab,
        n_ctx_train,
        n_params: 1,
        tensor_bytes: 1,
        decode_weight_bytes: 1,
        kv_bytes_per_pos: 1,
    }
}

/// Runs the contract. The engine must allow at least 3 sequences and 24 positions and have at least 16 tokens. Rows computed
/// along different paths may differ by `tolerance` (absolute, logits).
///
/// # Panics
/// When the engine breaks the contract.
pub(crate) fn check(engine: &mut dyn Engine, tolerance: f32) {
    let tokens: Vec<u32> = (0..12).map(|i| (i * 7 + 3) % 16).collect();
    let n_ctx = engine.facts().n_ctx;
    let close = |a: &[f32], b: &[f32], what: &str| {
        assert_eq!(a.len(), b.len(), "{what}");
        let worst = a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(worst <= tolerance, "{what}: logits differ by {worst}");
    };

    // One batch that asks for the last row only.
    let whole = engine.sequence().unwrap();
    let mut batch = Batch::new();
    batch.extend(&tokens, whole, 0, true);
    let expected = engine.forward(&batch).unwrap().data.to_vec();
    assert_eq!(expected.len(), engine.facts().model.n_vocab as usize);

    // Token by token.
    let step = engine.sequence().unwrap();
    let mut last = Vec::new();
    for (pos, &token) in tokens.iter().enumerate() {
        batch.clear();
        batch.push(token, step, pos as u32, true);
        last = engine.forward(&batch).unwrap().data.to_vec();
    }
    close(&expected, &last, "token by token");

    // Truncate and continue.
    engine.truncate(step, 5).unwrap();
    batch.clear();
    batch.extend(&tokens[5..], step, 5, true);
    close(&expected, engine.forward(&batch).unwrap().data, "after truncation");

    // Fork shares the prefix and leaves the original alone; two sequences in one batch, rows in batch order.
    engine.truncate(step, 5).unwrap();
    let fork = engine.fork(step).unwrap();
    batch.clear();
    batch.push(1, step, 5, true);
    batch.extend(&tokens[5..], fork, 5, true);
    batch.push(2, step, 6, false);
    let logits = engine.forward(&batch).unwrap();
    assert_eq!(logits.n_rows(), 2);
    close(&expected, logits.row(1).unwrap(), "fork");

    // Refusals leave everything usable.
    batch.clear();
    batch.push(1, fork, 3, true);
    assert!(matches!(engine.forward(&batch), Err(EngineError::BadPosition { expected: 12, got: 3, .. })));
    batch.clear();
    batch.push(u32::MAX, fork, 12, true);
    assert!(matches!(engine.forward(&batch), Err(EngineError::BadToken { .. })));
    batch.clear();
    batch.extend(&vec![1; n_ctx as usize], fork, 12, true);
    assert!(matches!(engine.forward(&batch), Err(EngineError::ContextFull { .. })));
    engine.free(fork).unwrap();
    assert!(matches!(engine.free(fork), Err(EngineError::UnknownSequence(_))));
    assert!(matches!(engine.fork(fork), Err(EngineError::UnknownSequence(_))));
    batch.clear();
    batch.push(1, fork, 0, true);
    assert!(matches!(engine.forward(&batch), Err(EngineError::UnknownSequence(_))));

    // All sequences in use, then free again.
    let mut live = Vec::new();
    let refusal = loop {
        match engine.sequence() {
            Ok(seq) => live.push(seq),
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, EngineError::TooManySequences { max } if max == engine.facts().max_seqs));
    for seq in live {
        engine.free(seq).unwrap();
    }

    // The first sequence never noticed.
    engine.truncate(whole, 11).unwrap();
    batch.clear();
    batch.push(tokens[11], whole, 11, true);
    close(&expected, engine.forward(&batch).unwrap().data, "untouched sequence");
    engine.free(whole).unwrap();
    engine.free(step).unwrap();
    engine.sync().unwrap();
}
