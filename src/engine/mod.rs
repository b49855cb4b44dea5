//! Everything that runs a model, behind one trait.
//!
//! [`Engine::forward`] serves prefill, decode, batched decode, log-likelihood of many continuations over one shared
//! prefix, and verification of drafted tokens: a batch is a list of (token, sequence, position, wants logits), as in
//! llama.cpp. Sequences are created empty, forked (the prefix is shared), truncated and freed.
//!
//! This room knows nothing of time, energy, tasks or text.

pub mod candle;
#[cfg(test)]
pub(crate) mod contract;
mod facts;
pub mod memory;
pub mod mock;
pub mod native;
pub mod sample;

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A sequence an engine keeps keys and values for. Valid until freed; ids are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeqId(pub u32);

/// One token to be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchToken {
    /// Token id, `< n_vocab`.
    pub token: u32,
    /// The sequence it belongs to.
    pub seq: SeqId,
    /// Its position; must be the sequence's current length plus the number of its tokens before this one in the batch.
    pub pos: u32,
    /// Whether the logits after this token are wanted.
    pub logits: bool,
}

/// Tokens processed by one [`Engine::forward`], any mix of sequences, each sequence's tokens in order of position.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The tokens.
    pub tokens: Vec<BatchToken>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one token.
    pub fn push(&mut self, token: u32, seq: SeqId, pos: u32, logits: bool) {
        self.tokens.push(BatchToken { token, seq, pos, logits });
    }

    /// Appends `tokens` to `seq` from position `start`; only the last one asks for logits, and only if `last_logits`.
    pub fn extend(&mut self, tokens: &[u32], seq: SeqId, start: u32, last_logits: bool) {
        let last = tokens.len().saturating_sub(1);
        for (i, (&token, pos)) in tokens.iter().zip(start..).enumerate() {
            self.push(token, seq, pos, last_logits && i == last);
        }
    }

    /// Number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Removes all tokens, keeps the allocation.
    pub fn clear(&mut self) {
        self.tokens.clear();
    }
}

/// Logits of the rows that asked, in batch order. Borrowed from the engine until its next call.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    /// `[n_rows * n_vocab]`, row-major.
    pub data: &'a [f32],
    /// Row length.
    pub n_vocab: usize,
}

impl<'a> Logits<'a> {
    /// Number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.data.len().checked_div(self.n_vocab).unwrap_or(0)
    }

    /// Logits of the `i`-th token that asked for them: `[n_vocab]`. `None` past the end.
    #[must_use]
    pub fn row(&self, i: usize) -> Option<&'a [f32]> {
        self.data.get(i.checked_mul(self.n_vocab)?..(i + 1).checked_mul(self.n_vocab)?)
    }
}

/// What a model file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// GGUF architecture, e.g. `llama`.
    pub arch: String,
    /// llama.cpp-style type label, e.g. `llama 135M Q4_1`.
    pub label: String,
    /// Transformer blocks.
    pub n_layer: u32,
    /// Residual width.
    pub n_embd: u32,
    /// Vocabulary size.
    pub n_vocab: u32,
    /// Context length the model was trained for.
    pub n_ctx_train: u32,
    /// Number of weights.
    pub n_params: u64,
    /// Size of all tensors, bytes.
    pub tensor_bytes: u64,
    /// Weight bytes one decoded token reads: every matrix once, of the embedding one row (a tied head counts whole).
    pub decode_weight_bytes: u64,
    /// Key and value bytes one cached position takes.
    pub kv_bytes_per_pos: u64,
}

/// What runs the model, as published with every row: the engine is part of the tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngineFacts {
    /// `native`, `candle`, `mock`.
    pub name: String,
    /// Its version (crate version of tierbench or of candle).
    pub version: String,
    /// `cpu`, `cuda:0`, `metal`.
    pub device: String,
    /// Instruction set of the kernels in use, e.g. `avx512vnni`; `None` where the engine does not say.
    pub isa: Option<String>,
    /// Threads.
    pub n_threads: u32,
    /// Activation format of matrix products, e.g. `q8`, `q16`, `f32`.
    pub activations: String,
    /// Key/value cache format, e.g. `f16`.
    pub kv_type: String,
    /// Positions a sequence may hold.
    pub n_ctx: u32,
    /// Sequences that may live at once.
    pub max_seqs: u32,
    /// Time to map and parse the file, s.
    pub load_s: f64,
    /// Time to repack weights, s; `None` if the engine does not repack or cannot tell.
    pub repack_s: Option<f64>,
    /// The model.
    pub model: ModelFacts,
    /// Known limits and bugs of this engine on this model, one sentence each; printed with the results.
    pub caveats: Vec<String>,
}

/// How an engine is to be set up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngineConfig {
    /// Threads; 0 means all physical cores available to the process.
    pub n_threads: u32,
    /// Positions per sequence; 0 means what the model was trained for, at most 8192.
    pub n_ctx: u32,
    /// Sequences that may live at once.
    pub max_seqs: u32,
    /// Device.
    pub device: DeviceChoice,
    /// Force an instruction set (`portable`, `avx2`, `avx512`, …); `None` takes the best.
    pub isa: Option<String>,
    /// Activation format (`q8`, `q16`, `f32`); `None` takes the engine's default.
    pub activations: Option<String>,
    /// Key/value cache format (`f16`, `f32`, `q8_0`); `None` takes the engine's default.
    pub kv_type: Option<String>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            n_threads: 0,
            n_ctx: 0,
            max_seqs: 1,
            device: DeviceChoice::Cpu,
            isa: None,
            activations: None,
            kv_type: None,
        }
    }
}

impl EngineConfig {
    /// Positions per sequence: as asked, else what the model was trained for, at most 8192; never 0.
    #[must_use]
    pub fn effective_n_ctx(&self, n_ctx_train: u32) -> u32 {
        match self.n_ctx {
            0 => n_ctx_train.clamp(1, 8192),
            n => n,
        }
    }
}

/// Where to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU by ordinal (feature `cuda`; untested).
    Cuda(usize),
    /// The Apple GPU (feature `metal`; untested).
    Metal,
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "metal" => Ok(Self::Metal),
            "cuda" => Ok(Self::Cuda(0)),
            _ => match text.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(ordinal)) => Ok(Self::Cuda(ordinal)),
                _ => Err(format!("unknown device `{text}`: use cpu, cuda:N or metal")),
            },
        }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

/// Runs one model on one device.
pub trait Engine: Send {
    /// What this is.
    fn facts(&self) -> &EngineFacts;

    /// A new, empty sequence.
    ///
    /// # Errors
    /// [`EngineError::TooManySequences`] when `max_seqs` live already.
    fn sequence(&mut self) -> Result<SeqId, EngineError>;

    /// A new sequence with the same tokens as `seq`; the prefix is shared where the engine can.
    ///
    /// # Errors
    /// [`EngineError::TooManySequences`], [`EngineError::UnknownSequence`], or [`EngineError::Unsupported`].
    fn fork(&mut self, seq: SeqId) -> Result<SeqId, EngineError>;

    /// Shortens `seq` to its first `len` positions; a no-op if it is not longer.
    ///
    /// # Errors
    /// [`EngineError::UnknownSequence`].
    fn truncate(&mut self, seq: SeqId, len: u32) -> Result<(), EngineError>;

    /// Forgets `seq`.
    ///
    /// # Errors
    /// [`EngineError::UnknownSequence`].
    fn free(&mut self, seq: SeqId) -> Result<(), EngineError>;

    /// Processes a batch and returns the logits of the tokens that asked. On error the sequences of the batch are left
    /// as they were before the call or truncated to positions that were complete.
    ///
    /// # Errors
    /// Positions out of order, a context that is full, tokens outside the vocabulary, a batch the engine cannot run.
    fn forward(&mut self, batch: &Batch) -> Result<Logits<'_>, EngineError>;

    /// Waits until the device has finished all work. CPU engines return at once.
    ///
    /// # Errors
    /// What the device says.
    fn sync(&mut self) -> Result<(), EngineError>;
}

/// Which engine to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// The best one that supports the file on the device.
    Auto,
    /// Our own decoder on the processor.
    Native,
    /// candle-transformers.
    Candle,
    /// No model at all: see [`mock`].
    Mock,
}

impl std::str::FromStr for EngineKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "native" => Ok(Self::Native),
            "candle" => Ok(Self::Candle),
            "mock" => Ok(Self::Mock),
            _ => Err(format!("unknown engine `{text}`: use auto, native, candle or mock")),
        }
    }
}

/// Loads the model file at `path`.
///
/// # Errors
/// A file that is no model, an architecture or tensor type no engine supports, too little memory, a device that is not
/// there.
pub fn load(path: &Path, kind: EngineKind, config: &EngineConfig) -> Result<Box<dyn Engine>, EngineError> {
    match kind {
        EngineKind::Auto => match native::NativeEngine::load(path, config) {
            Ok(engine) => Ok(Box::new(engine)),
            // Another engine may run what this one does not; if neither does, our reason names what is missing.
            Err(
                unsupported @ (EngineError::UnsupportedArch { .. }
                | EngineError::UnsupportedTensor { .. }
                | EngineError::Unsupported { .. }),
            ) => match candle::CandleEngine::load(path, config) {
                Ok(engine) => Ok(Box::new(engine)),
                Err(_) if config.device == DeviceChoice::Cpu => Err(unsupported),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        },
        EngineKind::Native => Ok(Box::new(native::NativeEngine::load(path, config)?)),
        EngineKind::Candle => Ok(Box::new(candle::CandleEngine::load(path, config)?)),
        EngineKind::Mock => {
            let gguf = crate::model::gguf::Gguf::open(path)?;
            Ok(Box::new(mock::MockEngine::new(ModelFacts::from_gguf(&gguf)?, config)))
        }
    }
}

/// Natural logarithm of the softmax probability of `token`: `logits[token] - ln Σ exp(logits)`, in f64. `None` if the token is
/// outside the row or the row holds a NaN.
#[must_use]
pub fn logprob(logits: &[f32], token: u32) -> Option<f64> {
    let value = f64::from(*logits.get(token as usize)?);
    let lp = value - logsumexp(logits);
    (!lp.is_nan()).then_some(lp)
}

/// `ln Σ exp(logits)`, computed from the maximum down in f64; NaN if a logit is, −∞ for an empty row.
#[must_use]
pub fn logsumexp(logits: &[f32]) -> f64 {
    match native::logits::max(logits) {
        None => f64::NAN,
        Some(max) if max.is_finite() => f64::from(max) + native::logits::sum_exp(logits, max).ln(),
        Some(max) => f64::from(max),
    }
}

/// Index of the largest logit, ties to the lowest id; `None` for an empty row or one with a NaN.
#[must_use]
pub fn argmax(logits: &[f32]) -> Option<u32> {
    const BLOCK: usize = 256;
    let max = native::logits::max(logits)?;
    // Block by block without a way out inside, so that the search is vectorised.
    let block = logits.chunks(BLOCK).position(|block| block.iter().fold(false, |seen, &x| seen | (x == max)))?;
    let within = logits[block * BLOCK..].iter().position(|&x| x == max)?;
    u32::try_from(block * BLOCK + within).ok()
}

/// Checks a batch against the engine's limits before anything is changed: live sequences, positions in order, context,
/// vocabulary. `len_of` gives a live sequence's length.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn check_batch(
    batch: &Batch,
    facts: &EngineFacts,
    len_of: impl Fn(SeqId) -> Option<u32>,
) -> Result<(), EngineError> {
    let mut next = std::collections::HashMap::new();
    for token in &batch.tokens {
        let expected = match next.entry(token.seq) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(len_of(token.seq).ok_or(EngineError::UnknownSequence(token.seq.0))?)
            }
        };
        if token.pos != *expected {
            return Err(EngineError::BadPosition { seq: token.seq.0, expected: *expected, got: token.pos });
        }
        if token.token >= facts.model.n_vocab {
            return Err(EngineError::BadToken { token: token.token, n_vocab: facts.model.n_vocab });
        }
        *expected += 1;
    }
    match next.values().max() {
        Some(&needed) if needed > facts.n_ctx => Err(EngineError::ContextFull { needed, n_ctx: facts.n_ctx }),
        _ => Ok(()),
    }
}

/// What can go wrong in an engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The engine does not run this architecture.
    #[error("engine `{engine}` does not support architecture `{arch}`")]
    UnsupportedArch {
        /// Engine name.
        engine: &'static str,
        /// GGUF architecture.
        arch: String,
    },
    /// The engine does not read this tensor type.
    #[error("engine `{engine}` cannot read tensor `{tensor}` of type {dtype}")]
    UnsupportedTensor {
        /// Engine name.
        engine: &'static str,
        /// Tensor name.
        tensor: String,
        /// ggml type name or number.
        dtype: String,
    },
    /// Something this engine cannot do; says what and, if there is one, what to use instead.
    #[error("engine `{engine}` cannot {what}")]
    Unsupported {
        /// Engine name.
        engine: &'static str,
        /// What was asked, as an infinitive: `run on metal: build with --features metal`.
        what: String,
    },
    /// The file's contents are not a model this engine can trust.
    #[error("bad model file: {0}")]
    BadModel(String),
    /// All sequences are in use.
    #[error("all {max} sequences are in use")]
    TooManySequences {
        /// Configured maximum.
        max: u32,
    },
    /// A sequence id that is not live.
    #[error("sequence {0} does not exist")]
    UnknownSequence(u32),
    /// A sequence would grow past the context.
    #[error("context is full: {needed} positions needed, n_ctx is {n_ctx}")]
    ContextFull {
        /// Positions needed.
        needed: u32,
        /// Positions there are.
        n_ctx: u32,
    },
    /// A position that is not the next one of its sequence.
    #[error("token at position {got} of sequence {seq}, expected position {expected}")]
    BadPosition {
        /// Sequence id.
        seq: u32,
        /// Position expected.
        expected: u32,
        /// Position got.
        got: u32,
    },
    /// A token id outside the vocabulary.
    #[error("token {token} is outside the vocabulary of {n_vocab}")]
    BadToken {
        /// Token id.
        token: u32,
        /// Vocabulary size.
        n_vocab: u32,
    },
    /// Not enough memory for weights or cache.
    #[error("{what} needs {needed_mib} MiB, {available_mib} MiB available: {fix}")]
    OutOfMemory {
        /// What did not fit.
        what: &'static str,
        /// Needed, MiB.
        needed_mib: u64,
        /// Available, MiB.
        available_mib: u64,
        /// What the user can do.
        fix: &'static str,
    },
    /// Logits that are not numbers.
    #[error("the model produced NaN at position {pos} of sequence {seq}")]
    NotANumber {
        /// Sequence id.
        seq: u32,
        /// Position.
        pos: u32,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The model file's header.
    #[error(transparent)]
    Gguf(#[from] crate::model::gguf::GgufError),
    /// An error of candle.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logprobs_of_a_row_sum_to_one() {
        let row = [2.0, 1.0, 0.0, -1.0];
        let total: f64 = (0..4).map(|t| logprob(&row, t).unwrap().exp()).sum();
        assert!((total - 1.0).abs() < 1e-12);
        assert_eq!(logprob(&row, 4), None);
        assert_eq!(logprob(&[f32::NAN, 0.0], 1), None);
    }

    #[test]
    fn argmax_breaks_ties_to_the_lowest_id_and_refuses_nan() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(argmax(&[1.0, f32::NAN]), None);
        assert_eq!(argmax(&[]), None);
    }

    #[test]
    fn devices_read_back_from_their_names() {
        for text in ["cpu", "cuda:0", "cuda:3", "metal"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert!("gpu".parse::<DeviceChoice>().unwrap_err().contains("cuda:N"));
    }
}
