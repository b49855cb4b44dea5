//! A deterministic engine that reads no weights: logits are a hash of the tokens a sequence holds.
//!
//! Drives tests and `--engine mock`. It keeps the contract of [`Engine`] to the letter (positions, context, sequences,
//! forks), so that a protocol error shows here first. What it generates is noise: its speed and answers mean nothing.

use std::collections::BTreeMap;

use super::{Batch, Engine, EngineConfig, EngineError, EngineFacts, Logits, ModelFacts, SeqId, check_batch};

/// The engine. See the module.
#[derive(Debug)]
pub struct MockEngine {
    facts: EngineFacts,
    sequences: BTreeMap<u32, Vec<u32>>,
    logits: Vec<f32>,
}

impl MockEngine {
    /// An engine that behaves as if it had loaded `model`.
    #[must_use]
    pub fn new(model: ModelFacts, config: &EngineConfig) -> Self {
        let facts = EngineFacts {
            name: "mock".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            device: config.device.to_string(),
            isa: None,
            n_threads: config.n_threads.max(1),
            activations: "none".into(),
            kv_type: "none".into(),
            n_ctx: config.effective_n_ctx(model.n_ctx_train),
            max_seqs: config.max_seqs.max(1),
            load_s: 0.0,
            repack_s: None,
            model,
            caveats: vec!["mock engine: speed and answers are made up".into()],
        };
        Self { facts, sequences: BTreeMap::new(), logits: Vec::new() }
    }

    fn insert(&mut self, tokens: Vec<u32>) -> Result<SeqId, EngineError> {
        let max = self.facts.max_seqs;
        let id = (0..max).find(|id| !self.sequences.contains_key(id)).ok_or(EngineError::TooManySequences { max })?;
        self.sequences.insert(id, tokens);
        Ok(SeqId(id))
    }
}

impl Engine for MockEngine {
    fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    fn sequence(&mut self) -> Result<SeqId, EngineError> {
        self.insert(Vec::new())
    }

    fn fork(&mut self, seq: SeqId) -> Result<SeqId, EngineError> {
        let tokens = self.sequences.get(&seq.0).ok_or(EngineError::UnknownSequence(seq.0))?.clone();
        self.insert(tokens)
    }

    fn truncate(&mut self, seq: SeqId, len: u32) -> Result<(), EngineError> {
        let tokens = self.sequences.get_mut(&seq.0).ok_or(EngineError::UnknownSequence(seq.0))?;
        tokens.truncate(len as usize);
        Ok(())
    }

    fn free(&mut self, seq: SeqId) -> Result<(), EngineError> {
        self.sequences.remove(&seq.0).map(|_| ()).ok_or(EngineError::UnknownSequence(seq.0))
    }

    fn forward(&mut self, batch: &Batch) -> Result<Logits<'_>, EngineError> {
        let n_vocab = self.facts.model.n_vocab;
        check_batch(batch, &self.facts, |seq| self.sequences.get(&seq.0).map(|t| t.len() as u32))?;
        self.logits.clear();
        for token in &batch.tokens {
            // `check_batch` has seen that the sequence lives.
            let Some(tokens) = self.sequences.get_mut(&token.seq.0) else { continue };
            tokens.push(token.token);
            if token.logits {
                let state = tokens.iter().fold(0x9e37_79b9_7f4a_7c15, |h, &t| mix(h ^ u64::from(t)));
                self.logits.extend((0..n_vocab).map(|v| noise(state, v)));
            }
        }
        Ok(Logits { data: &self.logits, n_vocab: n_vocab as usize })
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// SplitMix64's finaliser.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A logit in [-4, 4).
#[expect(clippy::cast_precision_loss, reason = "24 bits fit f32 exactly")]
fn noise(state: u64, token: u32) -> f32 {
    (mix(state ^ u64::from(token)) >> 40) as f32 / (1 << 21) as f32 - 4.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::contract;

    fn engine(max_seqs: u32) -> MockEngine {
        let model = contract::facts(64, 32);
        MockEngine::new(model, &EngineConfig { max_seqs, ..EngineConfig::default() })
    }

    #[test]
    fn keeps_the_contract_every_engine_keeps() {
        contract::check(&mut engine(4), 0.0);
    }

    #[test]
    fn the_same_tokens_give_the_same_logits() {
        let run = || {
            let mut e = engine(1);
            let seq = e.sequence().unwrap();
            let mut batch = Batch::new();
            batch.extend(&[3, 1, 4, 1, 5], seq, 0, true);
            e.forward(&batch).unwrap().data.to_vec()
        };
        assert_eq!(run(), run());
    }
}
