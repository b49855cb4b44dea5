//! What an engine whose numbers are none does to this room: an error that says so, never a score.

use std::fs;
use std::ops::ControlFlow;

use super::codec::ByteCodec;
use super::fidelity::{self, Corpus};
use super::task::Task;
use super::{EvalOptions, QualityError, evaluate};
use crate::engine::mock::MockEngine;
use crate::engine::{Batch, Engine, EngineConfig, EngineError, EngineFacts, Logits, SeqId, contract};

/// The mock engine whose logits turn into NaN after so many calls.
struct Broken {
    inner: MockEngine,
    sound_calls: usize,
    logits: Vec<f32>,
}

impl Broken {
    fn after(sound_calls: usize) -> Self {
        let config = EngineConfig { max_seqs: 4, ..EngineConfig::default() };
        Self { inner: MockEngine::new(contract::facts(257, 256), &config), sound_calls, logits: Vec::new() }
    }
}

impl Engine for Broken {
    fn facts(&self) -> &EngineFacts {
        self.inner.facts()
    }

    fn sequence(&mut self) -> Result<SeqId, EngineError> {
        self.inner.sequence()
    }

    fn fork(&mut self, seq: SeqId) -> Result<SeqId, EngineError> {
        self.inner.fork(seq)
    }

    fn truncate(&mut self, seq: SeqId, len: u32) -> Result<(), EngineError> {
        self.inner.truncate(seq, len)
    }

    fn free(&mut self, seq: SeqId) -> Result<(), EngineError> {
        self.inner.free(seq)
    }

    fn forward(&mut self, batch: &Batch) -> Result<Logits<'_>, EngineError> {
        let logits = self.inner.forward(batch)?;
        let n_vocab = logits.n_vocab;
        self.logits = logits.data.to_vec();
        if self.sound_calls == 0 {
            self.logits.iter_mut().skip(7).step_by(n_vocab).for_each(|logit| *logit = f32::NAN);
        }
        self.sound_calls = self.sound_calls.saturating_sub(1);
        Ok(Logits { data: &self.logits, n_vocab })
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        self.inner.sync()
    }
}

fn is_nan<T>(result: Result<T, QualityError>) -> bool {
    matches!(result, Err(QualityError::Engine(error)) if matches!(*error, EngineError::NotANumber { .. }))
}

#[test]
fn an_evaluation_ends_with_an_error_and_gives_every_sequence_back() {
    let choice = "output_type: multiple_choice\ndoc_to_choice: [\"x\", \"yes\"]\n";
    let text = "output_type: generate_until\ngeneration_kwargs: { until: [\"\\u0003\"], max_gen_toks: 12 }\n";
    for output in [choice, text] {
        let dir = tempfile::tempdir().unwrap();
        let yaml = format!("task: t\n{output}doc_to_text: \"Q: {{{{q}}}}\\nA:\"\ndoc_to_target: a\n");
        fs::write(dir.path().join("task.yaml"), yaml).unwrap();
        let items: String = (0..12).map(|i| format!("{{\"q\":\"why {i}\",\"a\":\"yes\"}}\n")).collect();
        fs::write(dir.path().join("items.jsonl"), items).unwrap();
        let task = Task::load(dir.path().to_str().unwrap()).unwrap();
        let mut engine = Broken::after(3);
        let mut seen = 0;
        let result = evaluate(&task, &ByteCodec, &mut engine, &EvalOptions::default(), &mut |item| {
            assert!(item.score == 0.0 || item.score == 1.0);
            seen += 1;
            ControlFlow::Continue(())
        });
        assert!(is_nan(result) && seen < 12, "{seen} items");
        assert_eq!((0..4).filter(|_| engine.sequence().is_ok()).count(), 4, "sequences are given back");
    }
}

#[test]
fn a_divergence_of_no_number_is_an_error() {
    let tokens: Vec<u32> = (0..64).map(|i| (i * 7) % 200).collect();
    let corpus = Corpus::new(&tokens, 16, None, None).unwrap();
    let go_on = &mut |_: usize| ControlFlow::Continue(());
    assert!(is_nan(fidelity::nll(&corpus, &mut Broken::after(4), go_on)));
    let mut sound = Broken::after(usize::MAX);
    assert!(is_nan(fidelity::compare(&corpus, &mut sound, &mut [Box::new(Broken::after(4))], go_on)));
    assert!(is_nan(fidelity::compare(&corpus, &mut Broken::after(4), &mut [Box::new(Broken::after(99))], go_on)));
}
