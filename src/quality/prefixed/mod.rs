//! Requests on an engine, with the prefix all items share computed once.
//!
//! One base sequence holds the prefix. Items fork it, run together in one batch, and fork their choices again; an engine
//! that cannot fork, or holds one sequence only, runs one continuation after the other and truncates back. Only engine
//! calls are timed.

mod choices;
mod texts;

use std::time::{Duration, Instant};

use super::QualityError;
use super::request::Request;
use crate::engine::native::kernels::AMX_MIN_ROWS;
use crate::engine::{Batch, Engine, EngineError, SeqId};

pub use choices::ChoiceOutcome;
pub use texts::TextOutcome;

/// Tokens in one engine call when several items run together.
const BATCH_TOKENS: usize = 512;
/// Logit rows wanted from one engine call; a row is `n_vocab` f32.
const BATCH_ROWS: usize = 32;
/// Texts written together: every step reads all weights once, whoever takes part. Fewer than [`AMX_MIN_ROWS`], so that a
/// step's arithmetic, and with it the answer, is the same in any company.
const TEXTS: usize = AMX_MIN_ROWS - 1;

/// What one request cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Prompt tokens, those reused included.
    pub n_prompt: u32,
    /// Prompt tokens taken from the shared prefix.
    pub n_cached: u32,
    /// Tokens generated, or of all continuations.
    pub n_gen: u32,
    /// This request's share of the time inside engine calls, ns.
    pub elapsed_ns: u64,
}

/// What is left of one engine call: requests are admitted until it is used up.
#[derive(Clone, Debug)]
pub struct Room {
    rows: usize,
    seqs: usize,
    tokens: usize,
    empty: bool,
}

/// An engine that holds a shared prefix.
pub struct PrefixedEngine<'e> {
    engine: &'e mut dyn Engine,
    base: SeqId,
    cached: Vec<u32>,
    live: Vec<SeqId>,
    forks: bool,
    spent: Duration,
}

impl std::fmt::Debug for PrefixedEngine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrefixedEngine")
            .field("cached", &self.cached.len())
            .field("forks", &self.forks)
            .finish_non_exhaustive()
    }
}

impl Drop for PrefixedEngine<'_> {
    fn drop(&mut self) {
        for seq in self.live.drain(..).chain([self.base]) {
            // The sequence may be gone after an engine error; there is nothing left to tell.
            let _ = self.engine.free(seq);
        }
    }
}

impl<'e> PrefixedEngine<'e> {
    /// Takes a sequence of the engine for the prefix and learns whether it can fork.
    ///
    /// # Errors
    /// When the engine has no free sequence.
    pub fn new(engine: &'e mut dyn Engine) -> Result<Self, QualityError> {
        let base = engine.sequence()?;
        let forks = match engine.fork(base) {
            Ok(probe) => {
                engine.free(probe)?;
                true
            }
            Err(EngineError::Unsupported { .. } | EngineError::TooManySequences { .. }) => false,
            Err(error) => {
                let _ = engine.free(base);
                return Err(error.into());
            }
        };
        Ok(Self { engine, base, cached: Vec::new(), live: Vec::new(), forks, spent: Duration::ZERO })
    }

    /// Makes the base sequence hold exactly `prefix`, reusing what it holds already.
    ///
    /// # Errors
    /// What the engine says; a prefix longer than the context.
    pub fn hold(&mut self, prefix: &[u32]) -> Result<Effort, QualityError> {
        let start = self.spent;
        let keep = common(&self.cached, prefix);
        self.rewind(keep)?;
        if keep < prefix.len() {
            let mut batch = Batch::new();
            batch.extend(&prefix[keep..], self.base, position(keep), false);
            self.forward(&batch, |_, _| Ok(()))?;
            self.cached.extend_from_slice(&prefix[keep..]);
        }
        let n = position(prefix.len());
        Ok(Effort { n_prompt: n, n_cached: position(keep), n_gen: 0, elapsed_ns: nanos(self.spent - start) })
    }

    /// Room for the requests of one call.
    #[must_use]
    pub fn room<R: Request>(&self) -> Room {
        // Prompts of texts are read once and then written behind for many steps: what counts is how many write together.
        let (rows, tokens) = if R::WRITES { (TEXTS, TEXTS * BATCH_TOKENS) } else { (BATCH_ROWS, BATCH_TOKENS) };
        let rows = if self.forks { rows } else { 1 };
        let seqs = (self.engine.facts().max_seqs as usize).saturating_sub(1);
        Room { rows, seqs, tokens, empty: true }
    }

    /// Whether the request can run together with those admitted before; the first one always can.
    #[must_use]
    pub fn admits(&self, room: &mut Room, request: &impl Request) -> bool {
        let (seqs, tokens) = (request.n_seqs(), self.new_tokens(request.context()));
        let fits = room.rows > 0 && seqs <= room.seqs && tokens <= room.tokens;
        let admitted = fits || room.empty;
        if admitted {
            *room = Room {
                rows: room.rows.saturating_sub(1),
                seqs: room.seqs.saturating_sub(seqs),
                tokens: room.tokens.saturating_sub(tokens),
                empty: false,
            };
        }
        admitted
    }

    /// A sequence that holds what `context` shares with the prefix; the rest of the context is appended to `batch`.
    fn open(&mut self, context: &[u32], batch: &mut Batch) -> Result<SeqId, QualityError> {
        let keep = self.reusable(context);
        let seq = if self.forks {
            let seq = self.fork(self.base)?;
            if keep < self.cached.len() {
                let started = Instant::now();
                self.engine.truncate(seq, position(keep))?;
                self.spent += started.elapsed();
            }
            seq
        } else {
            self.rewind(keep)?;
            // What is generated behind the context is not remembered: the next item starts from the kept part.
            self.base
        };
        batch.extend(&context[keep..], seq, position(keep), true);
        Ok(seq)
    }

    fn fork(&mut self, seq: SeqId) -> Result<SeqId, QualityError> {
        let started = Instant::now();
        let fork = self.engine.fork(seq)?;
        self.spent += started.elapsed();
        self.live.push(fork);
        Ok(fork)
    }

    /// Frees the forks; without forks, forgets what was generated in the base sequence.
    fn close_all(&mut self) -> Result<(), QualityError> {
        let started = Instant::now();
        for seq in self.live.drain(..) {
            self.engine.free(seq)?;
        }
        self.engine.truncate(self.base, position(self.cached.len()))?;
        self.spent += started.elapsed();
        Ok(())
    }

    fn rewind(&mut self, len: usize) -> Result<(), QualityError> {
        let started = Instant::now();
        self.engine.truncate(self.base, position(len))?;
        self.spent += started.elapsed();
        self.cached.truncate(len);
        Ok(())
    }

    /// One engine call, timed; each row of logits goes to `take`, untimed.
    fn forward(
        &mut self,
        batch: &Batch,
        mut take: impl FnMut(usize, &[f32]) -> Result<(), QualityError>,
    ) -> Result<(), QualityError> {
        if batch.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let logits = self.engine.forward(batch)?;
        self.spent += started.elapsed();
        let asked: Vec<_> = batch.tokens.iter().filter(|token| token.logits).collect();
        for (row, token) in asked.iter().enumerate() {
            let not_a_number = EngineError::NotANumber { seq: token.seq.0, pos: token.pos };
            match logits.row(row) {
                Some(values) if !values.chunks(256).any(|some| some.iter().fold(false, |bad, x| bad | x.is_nan())) => {
                    take(row, values)?;
                }
                _ => return Err(not_a_number.into()),
            }
        }
        Ok(())
    }

    /// Tokens of the base sequence that `context` can use; its last token is always computed.
    fn reusable(&self, context: &[u32]) -> usize {
        common(&self.cached, context).min(context.len().saturating_sub(1))
    }

    fn new_tokens(&self, context: &[u32]) -> usize {
        context.len() - self.reusable(context)
    }
}

/// Splits the time of a group by the tokens each request computed.
fn share<'a>(spent: Duration, efforts: impl Iterator<Item = &'a mut Effort>) {
    let efforts: Vec<_> = efforts.collect();
    let work = |e: &Effort| u128::from(e.n_prompt - e.n_cached) + u128::from(e.n_gen);
    let total: u128 = efforts.iter().map(|e| work(e)).sum();
    for effort in efforts {
        let part = (spent.as_nanos() * work(effort)).checked_div(total).unwrap_or(0);
        effort.elapsed_ns = u64::try_from(part).unwrap_or(u64::MAX);
    }
}

/// ln p of `token`, given the row's log-sum-exp.
fn logprob(logits: &[f32], total: f64, token: u32) -> Result<f64, EngineError> {
    let n_vocab = position(logits.len());
    logits.get(token as usize).map(|&x| f64::from(x) - total).ok_or(EngineError::BadToken { token, n_vocab })
}

fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// Positions fit u32: `n_ctx` does, and longer requests are refused before they run.
fn position(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
