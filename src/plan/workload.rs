//! Speed workloads in llama-bench's words: `pp512`, `tg128`, `tg128 @ d4096`, `tg64 b8`.

use serde::{Deserialize, Serialize};

/// A speed test: prefill of `n_prompt` tokens (`n_gen == 0`) or generation of `n_gen` tokens, at a context depth, for a
/// number of sequences decoded together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Workload {
    /// Prompt tokens; with `n_gen > 0` and more than one sequence, the prompt each sequence holds before the clock starts.
    pub n_prompt: u32,
    /// Tokens generated per sequence inside the timed span.
    pub n_gen: u32,
    /// Positions already in the cache.
    pub n_depth: u32,
    /// Sequences decoded together.
    pub n_batch_seqs: u32,
}

impl Workload {
    /// `pp{n}` at depth `n_depth`.
    #[must_use]
    pub const fn prefill(n_prompt: u32, n_depth: u32) -> Self {
        Self { n_prompt, n_gen: 0, n_depth, n_batch_seqs: 1 }
    }

    /// `tg{n}` at depth `n_depth`.
    #[must_use]
    pub const fn decode(n_gen: u32, n_depth: u32) -> Self {
        Self { n_prompt: 0, n_gen, n_depth, n_batch_seqs: 1 }
    }

    /// Tokens the timed span processes; the numerator of tok/s.
    #[must_use]
    pub const fn timed_tokens(&self) -> u64 {
        let per_seq = if self.n_gen > 0 { self.n_gen } else { self.n_prompt };
        per_seq as u64 * self.n_batch_seqs as u64
    }
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.n_gen > 0 {
            write!(f, "tg{}", self.n_gen)?
        } else {
            write!(f, "pp{}", self.n_prompt)?
        }
        if self.n_depth > 0 {
            write!(f, " @ d{}", self.n_depth)?;
        }
        if self.n_batch_seqs > 1 {
            write!(f, " b{}", self.n_batch_seqs)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_llama_benchs() {
        assert_eq!(Workload::prefill(512, 0).to_string(), "pp512");
        assert_eq!(Workload::decode(128, 4096).to_string(), "tg128 @ d4096");
        let batch = Workload { n_prompt: 128, n_gen: 64, n_depth: 0, n_batch_seqs: 8 };
        assert_eq!((batch.to_string().as_str(), batch.timed_tokens()), ("tg64 b8", 512));
    }
}
