//! How one trial is run: what is prepared, what is timed, and when a cell has enough.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MeasureError;
use super::clock::Clock;
use super::speed::SpeedCell;
use crate::engine::{Batch, Engine, EngineError, SeqId};
use crate::plan::Workload;

/// The rules of a run. Recorded with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// Fixed number of trials per cell; `None` stops by precision.
    pub repetitions: Option<u32>,
    /// Least number of trials when stopping by precision.
    pub min_trials: u32,
    /// Largest number.
    pub max_trials: u32,
    /// Precision to stop at: half the 95 % interval of the median, relative to the median.
    pub target_half_width: f64,
    /// Time for the trials of one cell, after which it stops once it has `min_trials`.
    pub budget: Duration,
    /// Most warm-up trials.
    pub max_warmup: u32,
    /// Two warm-up trials that agree within this share end the warm-up.
    pub warmup_agreement: f64,
    /// Time after which a warm-up ends even if trials still differ (at least two are run).
    pub warmup_budget: Duration,
    /// Most tokens handed to the engine in one call while filling a prompt.
    pub n_ubatch: u32,
    /// Least total length of a cell's energy windows; its turns repeat the trial until their share is reached.
    pub energy_window: Duration,
    /// Seed of the block order and of every interval.
    pub seed: u64,
}

impl Default for Protocol {
    fn default() -> Self {
        Self {
            repetitions: None,
            min_trials: 5,
            max_trials: 100,
            target_half_width: 0.02,
            budget: Duration::from_secs(20),
            max_warmup: 10,
            warmup_agreement: 0.05,
            warmup_budget: Duration::from_secs(20),
            n_ubatch: 512,
            energy_window: Duration::ZERO,
            seed: 42,
        }
    }
}

impl Protocol {
    /// Whether the warm-up may end.
    #[must_use]
    pub fn is_warm(&self, trials_ns: &[u64]) -> bool {
        let [.., a, b] = trials_ns else { return false };
        let (slow, fast) = (*a.max(b) as f64, *a.min(b) as f64);
        slow - fast <= self.warmup_agreement * slow
    }

    /// Whether a cell has its trials, after `spent` on them.
    #[must_use]
    pub fn is_complete(&self, cell: &SpeedCell, spent: Duration) -> bool {
        // With energy windows a turn holds several trials, and every turn is needed for its window.
        let n = if cell.windows.is_empty() { cell.samples.len() } else { cell.windows.len() } as u64;
        if let Some(repetitions) = self.repetitions {
            return n >= u64::from(repetitions.max(1));
        }
        if n < u64::from(self.min_trials.max(2)) {
            return false;
        }
        n >= u64::from(self.max_trials)
            || spent >= self.budget
            || cell.relative_half_width().is_some_and(|half| half <= self.target_half_width)
    }

    /// Turns a cell will have at least.
    #[must_use]
    pub fn least_turns(&self) -> u32 {
        self.repetitions.unwrap_or(self.min_trials).max(1)
    }
}

/// The `i`-th synthetic token: `100 + (i · 7919) mod (n_vocab - 200)`; for vocabularies too small for that
/// `(i · 7919) mod n_vocab`. Ordinary tokens in no order a cache could guess, the same in every tool that compares with us.
#[must_use]
pub fn token_id(i: u64, n_vocab: u32) -> u32 {
    let n_vocab = u64::from(n_vocab.max(1));
    let step = i.wrapping_mul(7919);
    let id = if n_vocab > 200 { 100 + step % (n_vocab - 200) } else { step % n_vocab };
    id as u32
}

/// Positions held before the clock starts, in each of a number of sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) len: u32,
    pub(super) n_seqs: u32,
}

impl Prefix {
    pub(super) fn of(workload: Workload) -> Self {
        let prompt = if workload.n_gen > 0 { workload.n_prompt } else { 0 };
        Self { len: workload.n_depth.saturating_add(prompt), n_seqs: workload.n_batch_seqs }
    }
}

/// Sequences of one engine whose prefixes are filled and kept between trials.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    held: Vec<(Prefix, Vec<SeqId>)>,
}

impl Prepared {
    /// Sequences that hold exactly the prefix. Filled once, restored by truncation, filled again only where the engine
    /// cannot truncate or has no room for several prefixes at once.
    pub(super) fn sequences(
        &mut self,
        engine: &mut dyn Engine,
        prefix: Prefix,
        n_ubatch: u32,
    ) -> Result<Vec<SeqId>, EngineError> {
        if let Some(at) = self.held.iter().position(|(held, _)| *held == prefix) {
            let seqs = self.held[at].1.clone();
            match seqs.iter().try_for_each(|&seq| engine.truncate(seq, prefix.len)) {
                Ok(()) => {
                    // Most recently used last.
                    let kept = self.held.remove(at);
                    self.held.push(kept);
                    return Ok(seqs);
                }
                Err(EngineError::Unsupported { .. }) => self.release(engine, at),
                Err(error) => {
                    self.release(engine, at);
                    return Err(error);
                }
            }
        }
        let mut seqs = Vec::new();
        let filled = self.fill(engine, prefix, n_ubatch, &mut seqs);
        if let Err(error) = filled {
            for seq in seqs {
                // The error that stopped the filling is the one worth telling.
                let _ = engine.free(seq);
            }
            return Err(error);
        }
        self.held.push((prefix, seqs.clone()));
        Ok(seqs)
    }

    fn fill(
        &mut self,
        engine: &mut dyn Engine,
        prefix: Prefix,
        n_ubatch: u32,
        seqs: &mut Vec<SeqId>,
    ) -> Result<(), EngineError> {
        while seqs.len() < prefix.n_seqs as usize {
            match engine.sequence() {
                Ok(seq) => seqs.push(seq),
                Err(EngineError::TooManySequences { .. }) if !self.held.is_empty() => self.release(engine, 0),
                Err(error) => return Err(error),
            }
        }
        let n_vocab = engine.facts().model.n_vocab;
        for &seq in seqs.iter() {
            for batch in prompt_batches(seq, 0, prefix.len, n_ubatch, n_vocab) {
                engine.forward(&batch)?;
            }
        }
        engine.sync()
    }

    fn release(&mut self, engine: &mut dyn Engine, at: usize) {
        for seq in self.held.remove(at).1 {
            // A sequence the engine has lost already is as free as one can be.
            let _ = engine.free(seq);
        }
    }

    /// Gives every sequence back.
    pub(super) fn clear(&mut self, engine: &mut dyn Engine) {
        while !self.held.is_empty() {
            self.release(engine, 0);
        }
    }
}

/// Batches that append `n` tokens to `seq` from position `start`; the last token asks for its logits.
fn prompt_batches(seq: SeqId, start: u32, n: u32, n_ubatch: u32, n_vocab: u32) -> Vec<Batch> {
    let end = start.saturating_add(n);
    let mut batches: Vec<Batch> = Vec::new();
    for pos in start..end {
        if batches.last().is_none_or(|batch| batch.len() >= n_ubatch.max(1) as usize) {
            batches.push(Batch::new());
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(token_id(u64::from(pos), n_vocab), seq, pos, pos + 1 == end);
        }
    }
    batches
}

/// The engine calls of one trial, prepared before the clock starts.
#[derive(Debug)]
pub(super) struct Trial {
    workload: Workload,
    batches: Vec<Batch>,
}

impl Trial {
    pub(super) fn new(workload: Workload, seqs: &[SeqId], n_ubatch: u32, n_vocab: u32) -> Self {
        let start = Prefix::of(workload).len;
        let batches = if workload.n_gen > 0 {
            let step = |i: u32| {
                let mut batch = Batch::new();
                for (s, &seq) in seqs.iter().enumerate() {
                    batch.push(token_id(u64::from(i) + s as u64, n_vocab), seq, start + i, true);
                }
                batch
            };
            (0..workload.n_gen).map(step).collect()
        } else {
            let prompt = |&seq: &SeqId| prompt_batches(seq, start, workload.n_prompt, n_ubatch, n_vocab);
            seqs.iter().flat_map(prompt).collect()
        };
        Self { workload, batches }
    }

    /// Runs the trial. The span holds engine calls, syncs and looks at the clock, nothing else. Returns the time of every
    /// call, ns.
    pub(super) fn time(&self, engine: &mut dyn Engine, clock: &dyn Clock) -> Result<Vec<u64>, EngineError> {
        let mut spans = Vec::with_capacity(self.batches.len());
        engine.sync()?;
        let mut before = clock.now_ns();
        for batch in &self.batches {
            engine.forward(batch)?;
            engine.sync()?;
            let after = clock.now_ns();
            spans.push(after - before);
            before = after;
        }
        Ok(spans)
    }

    /// Runs the trial untimed and looks at what comes out: a benchmark is also a test.
    pub(super) fn check(&self, engine: &mut dyn Engine) -> Result<(), MeasureError> {
        for batch in &self.batches {
            let wanted = batch.tokens.iter().filter(|token| token.logits).count();
            let logits = engine.forward(batch)?;
            let wrong = if logits.n_rows() == wanted {
                logits.data.iter().any(|x| !x.is_finite()).then(|| "a logit is not a finite number".to_owned())
            } else {
                Some(format!("expected {wanted} rows of logits, got {}", logits.n_rows()))
            };
            if let Some(what) = wrong {
                return Err(MeasureError::Implausible { workload: self.workload.to_string(), what });
            }
        }
        Ok(engine.sync()?)
    }

    /// Runs the first calls untimed, to bring weights and code back into the caches after another engine ran.
    pub(super) fn rewarm(&self, engine: &mut dyn Engine) -> Result<(), EngineError> {
        let calls = if self.workload.n_gen > 0 { 8 } else { 1 };
        for batch in self.batches.iter().take(calls) {
            engine.forward(batch)?;
        }
        engine.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::speed::tests::cell;

    #[test]
    fn tokens_are_inside_every_vocabulary_and_equal_the_peers() {
        assert_eq!([token_id(0, 49152), token_id(1, 49152), token_id(7, 49152)], [100, 8019, 100 + 55433 % 48952]);
        for n_vocab in [0, 1, 7, 200, 201, 262_144] {
            for i in [0, 1, 1000, u64::MAX] {
                assert!(token_id(i, n_vocab) < n_vocab.max(1));
            }
        }
    }

    #[test]
    fn the_warm_up_ends_when_two_trials_in_a_row_agree() {
        let protocol = Protocol::default();
        assert!(!protocol.is_warm(&[100]));
        assert!(!protocol.is_warm(&[100, 80]));
        assert!(!protocol.is_warm(&[100, 100, 80]));
        assert!(protocol.is_warm(&[200, 100, 96]));
    }

    #[test]
    fn trials_end_by_count_precision_or_budget() {
        let w = Workload::decode(10, 0);
        let steady = cell(w, &[1000; 5]);
        let wild = cell(w, &[1000, 2000, 500, 4000, 900]);
        let protocol = Protocol::default();
        assert!(protocol.is_complete(&steady, Duration::ZERO));
        assert!(!protocol.is_complete(&cell(w, &[1000; 4]), Duration::from_secs(999)));
        assert!(!protocol.is_complete(&wild, Duration::ZERO));
        assert!(protocol.is_complete(&wild, protocol.budget));
        let fixed = Protocol { repetitions: Some(6), ..protocol };
        assert!(!fixed.is_complete(&steady, Duration::from_secs(999)));
    }

    #[test]
    fn prompts_are_cut_at_the_batch_and_only_the_last_token_wants_logits() {
        let batches = prompt_batches(SeqId(3), 10, 5, 2, 1000);
        assert_eq!(batches.iter().map(Batch::len).collect::<Vec<_>>(), [2, 2, 1]);
        let tokens: Vec<_> = batches.iter().flat_map(|b| &b.tokens).collect();
        assert_eq!(tokens.iter().map(|t| t.pos).collect::<Vec<_>>(), [10, 11, 12, 13, 14]);
        assert_eq!(tokens.iter().filter(|t| t.logits).count(), 1);
        assert!(tokens[4].logits);
    }

    #[test]
    fn a_batched_step_gives_every_sequence_one_token_after_its_prompt() {
        let workload = Workload { n_prompt: 128, n_gen: 3, n_depth: 2, n_batch_seqs: 4 };
        let seqs = [SeqId(0), SeqId(1), SeqId(2), SeqId(3)];
        let trial = Trial::new(workload, &seqs, 512, 1000);
        assert_eq!(trial.batches.len(), 3);
        assert!(trial.batches.iter().all(|b| b.len() == 4 && b.tokens.iter().all(|t| t.logits)));
        assert_eq!(trial.batches[2].tokens[0].pos, 132);
        assert_eq!(Prefix::of(workload), Prefix { len: 130, n_seqs: 4 });
        assert_eq!(Prefix::of(Workload::prefill(512, 7)), Prefix { len: 7, n_seqs: 1 });
    }
}
