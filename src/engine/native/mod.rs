//! Our own CPU engine: one decoder graph over repacked quantized weights.
//!
//! ```text
//! hparams   what the header says, checked        kernels    matrix products per instruction set
//! weights   tensors, checked and repacked        simd rows  everything between products, vectorised
//! kv        blocks of keys and values, shared    attention  one algorithm for prompts and single tokens
//! graph     the forward pass, one job            pool memory workspace   threads and buffers
//! logits    a row's maximum and sum
//! ```
//!
//! Results have the same bits on any number of threads, however a prompt is cut into batches and whichever rows want
//! logits, with one exception: on machines with AMX, passes of [`kernels::AMX_MIN_ROWS`] rows and more use bfloat16 in
//! products and attention, where fewer rows use integers and f32.

mod attention;
mod graph;
mod hparams;
pub mod kernels;
mod kv;
mod load;
pub(super) mod logits;
mod memory;
mod pool;
mod rope;
mod rows;
mod simd;
#[cfg(test)]
mod tests;
mod weights;
mod workspace;

use super::{Batch, Engine, EngineError, EngineFacts, Logits, SeqId, check_batch, memory::available_bytes};
use attention::RowPlace;
use graph::Model;
use kv::KvCache;
use pool::Pool;
use workspace::Workspace;

/// The engine's name in facts and messages.
pub(crate) const NAME: &str = "native";

/// The engine. See the module.
pub struct NativeEngine {
    facts: EngineFacts,
    model: Model,
    cache: KvCache,
    work: Workspace,
    pool: Pool,
    logits: Vec<f32>,
}

impl std::fmt::Debug for NativeEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NativeEngine").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl NativeEngine {
    /// Appends the batch to its sequences, at most [`Workspace::max_rows`] tokens at a time, and runs it.
    fn process(&mut self, batch: &Batch) -> Result<(), EngineError> {
        let n_vocab = self.model.hp.n_vocab;
        let mut done = 0;
        for tokens in batch.tokens.chunks(self.work.max_rows) {
            self.work.all.places.clear();
            for token in tokens {
                let pos = self.cache.append(token.seq.0)?;
                self.work.all.places.push(RowPlace { seq: token.seq.0, pos });
            }
            let wanted: Vec<usize> = (0..tokens.len()).filter(|&i| tokens[i].logits).collect();
            let ids: Vec<u32> = tokens.iter().map(|t| t.token).collect();
            let logits = &mut self.logits[done * n_vocab..(done + wanted.len()) * n_vocab];
            graph::run(&self.model, &self.cache, &mut self.work, &mut self.pool, &ids, &wanted, logits)
                .map_err(|e| weights::kernel_error(&e))?;
            for (row, &i) in logits.chunks_exact(n_vocab).zip(&wanted) {
                if !self.model.ops.finite(row) {
                    return Err(EngineError::NotANumber { seq: tokens[i].seq.0, pos: tokens[i].pos });
                }
            }
            done += wanted.len();
        }
        Ok(())
    }

    /// Makes `logits` hold `rows` rows.
    fn reserve_logits(&mut self, rows: usize) -> Result<(), EngineError> {
        let n = rows.saturating_mul(self.model.hp.n_vocab);
        if n > self.logits.len() {
            self.logits.try_reserve_exact(n - self.logits.len()).map_err(|_refused| EngineError::OutOfMemory {
                what: "the logits of a batch",
                needed_mib: (n as u64 * 4) >> 20,
                available_mib: available_bytes().unwrap_or(0) >> 20,
                fix: "ask for logits of fewer tokens at a time",
            })?;
            self.logits.resize(n, 0.0);
        }
        Ok(())
    }
}

impl Engine for NativeEngine {
    fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    fn sequence(&mut self) -> Result<SeqId, EngineError> {
        self.cache.create().map(SeqId)
    }

    fn fork(&mut self, seq: SeqId) -> Result<SeqId, EngineError> {
        self.cache.fork(seq.0).map(SeqId)
    }

    fn truncate(&mut self, seq: SeqId, len: u32) -> Result<(), EngineError> {
        self.cache.truncate(seq.0, len)
    }

    fn free(&mut self, seq: SeqId) -> Result<(), EngineError> {
        self.cache.free(seq.0)
    }

    fn forward(&mut self, batch: &Batch) -> Result<Logits<'_>, EngineError> {
        check_batch(batch, &self.facts, |seq| self.cache.len(seq.0).ok())?;
        let rows = batch.tokens.iter().filter(|t| t.logits).count();
        self.reserve_logits(rows)?;
        if let Err(error) = self.process(batch) {
            // Each sequence as it was: its first token of the batch stands at its old length.
            for token in batch.tokens.iter().rev() {
                self.cache.truncate(token.seq.0, token.pos)?;
            }
            return Err(error);
        }
        let n_vocab = self.model.hp.n_vocab;
        Ok(Logits { data: &self.logits[..rows * n_vocab], n_vocab })
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}
