//! How far a tier's probabilities lie from those of a more precise one, by llama-perplexity's definitions.
//!
//! The corpus is cut into chunks of `n_ctx` tokens, the first token of each replaced by BOS where the model wants one;
//! the second half of a chunk is scored. Base and candidates run in lock-step, so that no logits are stored. A report
//! and a screening aid, never a verdict: it stops predicting task scores near the base.
//!
//! Source: llama.cpp `tools/perplexity/perplexity.cpp`.

use std::ops::ControlFlow;

use super::QualityError;
use crate::engine::{Batch, Engine, EngineError, SeqId, logprob};
use crate::stats::fidelity::{Position, compare_logits};

/// Logits of one engine kept at a time, values: bounds the memory a large vocabulary takes.
const ROW_VALUES: usize = 1 << 22;

/// A corpus as chunks of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    chunks: Vec<Vec<u32>>,
    n_ctx: usize,
}

impl Corpus {
    /// Cuts `tokens` (tokenized with special tokens) into chunks of `n_ctx`; `bos` replaces each chunk's first token; a
    /// rest shorter than a chunk is dropped, as llama-perplexity drops it.
    ///
    /// # Errors
    /// [`QualityError::CorpusTooShort`] if there is not one chunk, or `n_ctx` leaves nothing to score.
    pub fn new(tokens: &[u32], n_ctx: usize, bos: Option<u32>, limit: Option<usize>) -> Result<Self, QualityError> {
        if n_ctx < 4 || tokens.len() < n_ctx {
            return Err(QualityError::CorpusTooShort { tokens: tokens.len(), needed: n_ctx.max(4), ctx: n_ctx });
        }
        let mut chunks: Vec<Vec<u32>> =
            tokens.chunks_exact(n_ctx).take(limit.unwrap_or(usize::MAX).max(1)).map(<[u32]>::to_vec).collect();
        if let Some(bos) = bos {
            chunks.iter_mut().for_each(|chunk| chunk[0] = bos);
        }
        Ok(Self { chunks, n_ctx })
    }

    /// Number of chunks.
    #[must_use]
    pub fn n_chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Scored positions of a chunk: the tokens from `n_ctx/2 + 1` on, each predicted from all before it.
    #[must_use]
    pub fn n_scored(&self) -> usize {
        self.n_ctx - 1 - self.n_ctx / 2
    }
}

/// Runs base and candidates over the corpus; one list of positions per candidate. `on_chunk` is told after each chunk and
/// may stop: what was compared until then is returned.
///
/// # Errors
/// [`QualityError::TokenizerMismatch`] if the vocabularies differ in size, whatever an engine says, NaN logits.
pub fn compare(
    corpus: &Corpus,
    base: &mut dyn Engine,
    candidates: &mut [Box<dyn Engine>],
    on_chunk: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Vec<Vec<Position>>, QualityError> {
    let n_vocab = base.facts().model.n_vocab;
    if let Some(other) = candidates.iter().find(|engine| engine.facts().model.n_vocab != n_vocab) {
        let name = |engine: &dyn Engine| engine.facts().model.label.clone();
        return Err(QualityError::TokenizerMismatch { got: name(other.as_ref()), base: name(base) });
    }
    let mut positions = vec![Vec::new(); candidates.len()];
    let mut rows = Vec::new();
    for (done, chunk) in corpus.chunks.iter().enumerate() {
        let first = corpus.n_ctx / 2;
        let mut readers = vec![Reader::open(base, chunk, first)?];
        for engine in candidates.iter_mut() {
            readers.push(Reader::open(engine.as_mut(), chunk, first)?);
        }
        let step = (ROW_VALUES / n_vocab.max(1) as usize).clamp(1, 256);
        for from in (first..corpus.n_ctx - 1).step_by(step) {
            let range = from..(from + step).min(corpus.n_ctx - 1);
            let (base, candidates) = readers.split_at_mut(1);
            rows.clear();
            base[0].read(chunk, range.clone(), |_, row| {
                rows.extend_from_slice(row);
                Some(())
            })?;
            for (reader, positions) in candidates.iter_mut().zip(&mut positions) {
                reader.read(chunk, range.clone(), |i, row| {
                    let base = &rows[i * row.len()..(i + 1) * row.len()];
                    positions.push(compare_logits(base, row, chunk[range.start + i + 1] as usize)?);
                    Some(())
                })?;
            }
        }
        for reader in readers {
            reader.close()?;
        }
        if on_chunk(done + 1).is_break() {
            break;
        }
    }
    Ok(positions)
}

/// Negative log-likelihoods of the scored tokens of every chunk, nats.
///
/// # Errors
/// Whatever the engine says, NaN logits.
pub fn nll(
    corpus: &Corpus,
    engine: &mut dyn Engine,
    on_chunk: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Vec<f64>, QualityError> {
    let mut nll = Vec::new();
    let step = (ROW_VALUES / engine.facts().model.n_vocab.max(1) as usize).clamp(1, 256);
    for (done, chunk) in corpus.chunks.iter().enumerate() {
        let first = corpus.n_ctx / 2;
        let mut reader = Reader::open(engine, chunk, first)?;
        for from in (first..corpus.n_ctx - 1).step_by(step) {
            reader.read(chunk, from..(from + step).min(corpus.n_ctx - 1), |i, row| {
                nll.push(-logprob(row, chunk[from + i + 1])?);
                Some(())
            })?;
        }
        reader.close()?;
        if on_chunk(done + 1).is_break() {
            break;
        }
    }
    Ok(nll)
}

/// One chunk in one engine.
struct Reader<'e> {
    engine: &'e mut dyn Engine,
    seq: SeqId,
}

impl<'e> Reader<'e> {
    /// Feeds the unscored part.
    fn open(engine: &'e mut dyn Engine, chunk: &[u32], first: usize) -> Result<Self, QualityError> {
        let n_ctx = engine.facts().n_ctx;
        let needed = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        if needed > n_ctx {
            return Err(EngineError::ContextFull { needed, n_ctx }.into());
        }
        let seq = engine.sequence()?;
        let mut batch = Batch::new();
        batch.extend(&chunk[..first], seq, 0, false);
        let fed = engine.forward(&batch).map(|_| ());
        match fed {
            Ok(()) => Ok(Self { engine, seq }),
            Err(error) => {
                // The first error is the one to report.
                let _ = engine.free(seq);
                Err(error.into())
            }
        }
    }

    /// Feeds `range` and hands each row of logits to `take`, which says `None` for a row that is no distribution.
    fn read(
        &mut self,
        chunk: &[u32],
        range: std::ops::Range<usize>,
        mut take: impl FnMut(usize, &[f32]) -> Option<()>,
    ) -> Result<(), QualityError> {
        let mut batch = Batch::new();
        for pos in range.clone() {
            batch.push(chunk[pos], self.seq, u32::try_from(pos).unwrap_or(u32::MAX), true);
        }
        let logits = self.engine.forward(&batch)?;
        for (i, pos) in range.enumerate() {
            let pos = u32::try_from(pos).unwrap_or(u32::MAX);
            let row = logits.row(i).and_then(|row| take(i, row));
            row.ok_or(EngineError::NotANumber { seq: self.seq.0, pos })?;
        }
        Ok(())
    }

    fn close(self) -> Result<(), QualityError> {
        Ok(self.engine.free(self.seq)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::mock::MockEngine;
    use crate::engine::{EngineConfig, contract};
    use crate::stats::fidelity::summarize;

    fn engine(n_vocab: u32) -> Box<dyn Engine> {
        Box::new(MockEngine::new(contract::facts(n_vocab, 64), &EngineConfig::default()))
    }

    fn go_on(_: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn chunks_begin_with_bos_and_a_short_rest_is_dropped() {
        let tokens: Vec<u32> = (0..37).collect();
        let corpus = Corpus::new(&tokens, 16, Some(63), None).unwrap();
        assert_eq!((corpus.n_chunks(), corpus.n_scored()), (2, 7));
        assert_eq!((corpus.chunks[1][0], corpus.chunks[1][1]), (63, 17));
        assert_eq!(Corpus::new(&tokens, 16, None, Some(1)).unwrap().n_chunks(), 1);
        assert!(matches!(Corpus::new(&tokens, 64, None, None), Err(QualityError::CorpusTooShort { needed: 64, .. })));
    }

    #[test]
    fn a_tier_is_at_no_distance_from_itself_and_its_perplexity_is_that_of_its_own_logits() {
        let tokens: Vec<u32> = (0..40).map(|i| (i * 7) % 50).collect();
        let corpus = Corpus::new(&tokens, 16, None, None).unwrap();
        let positions = compare(&corpus, engine(50).as_mut(), &mut [engine(50)], &mut go_on).unwrap().remove(0);
        let summary = summarize(&positions).unwrap();
        assert_eq!(summary.n, 14);
        assert!(summary.max_kld.abs() < 1e-12 && (summary.same_top.value - 1.0).abs() < 1e-12);
        let alone = nll(&corpus, engine(50).as_mut(), &mut go_on).unwrap();
        for (position, nll) in positions.iter().zip(&alone) {
            assert!((position.nll_candidate - nll).abs() < 1e-9);
        }
    }

    #[test]
    fn different_vocabularies_are_refused_and_a_stop_keeps_what_is_done() {
        let tokens: Vec<u32> = (0..48).collect();
        let corpus = Corpus::new(&tokens, 16, None, None).unwrap();
        let error = compare(&corpus, engine(50).as_mut(), &mut [engine(51)], &mut go_on).unwrap_err();
        assert!(matches!(error, QualityError::TokenizerMismatch { .. }));
        let stopped =
            compare(&corpus, engine(50).as_mut(), &mut [engine(50)], &mut |_| ControlFlow::Break(())).unwrap();
        assert_eq!(stopped[0].len(), corpus.n_scored());
    }
}
