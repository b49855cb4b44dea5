//! From logits to the next token: greedy, or temperature with top-k and top-p, seeded.

use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::argmax;

/// How to choose the next token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Softmax temperature; 0 is greedy.
    pub temperature: f64,
    /// Only the `k` likeliest tokens; 0 is all.
    pub top_k: usize,
    /// Only the smallest set of likeliest tokens whose probability reaches `p`; 1 is all.
    pub top_p: f64,
    /// Seed of the generator.
    pub seed: u64,
}

impl Sampling {
    /// The likeliest token, ties to the lowest id.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 };
}

/// Chooses tokens one after the other.
#[derive(Debug)]
pub struct Sampler {
    how: Sampling,
    generator: ChaCha8Rng,
}

impl Sampler {
    /// A sampler at the start of its seeded stream.
    #[must_use]
    pub fn new(how: Sampling) -> Self {
        Self { how, generator: ChaCha8Rng::seed_from_u64(how.seed) }
    }

    /// The next token; `None` if the logits are empty or hold a NaN.
    pub fn next(&mut self, logits: &[f32]) -> Option<u32> {
        let best = argmax(logits)?;
        if self.how.temperature.is_nan() || self.how.temperature <= 0.0 {
            return Some(best);
        }
        let mut order: Vec<u32> = (0..u32::try_from(logits.len()).ok()?).collect();
        let logit = |token: &u32| logits.get(*token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        order.sort_by(|a, b| logit(b).total_cmp(&logit(a)).then(a.cmp(b)));
        if self.how.top_k > 0 {
            order.truncate(self.how.top_k);
        }
        let max = f64::from(logit(&best));
        let weights: Vec<f64> =
            order.iter().map(|token| ((f64::from(logit(token)) - max) / self.how.temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut kept = 0.0;
        let mut n_kept = 0;
        for weight in &weights {
            kept += weight;
            n_kept += 1;
            if kept >= self.how.top_p * total {
                break;
            }
        }
        let mut ticket = self.generator.random::<f64>() * kept;
        for (token, weight) in order.iter().zip(&weights).take(n_kept) {
            ticket -= weight;
            if ticket < 0.0 {
                return Some(*token);
            }
        }
        // Rounding can leave a sliver: it belongs to the last token kept.
        order.get(n_kept.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(how: Sampling, logits: &[f32], n: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(how);
        (0..n).map(|_| sampler.next(logits).unwrap()).collect()
    }

    #[test]
    fn temperature_zero_takes_the_likeliest() {
        assert_eq!(drawn(Sampling::GREEDY, &[0.0, 2.0, 2.0, 1.0], 3), [1, 1, 1]);
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let how = Sampling { temperature: 1.0, seed: 7, ..Sampling::GREEDY };
        let logits = [0.0, 0.5, 1.0, 0.2];
        assert_eq!(drawn(how, &logits, 50), drawn(how, &logits, 50));
        assert_ne!(drawn(how, &logits, 50), drawn(Sampling { seed: 8, ..how }, &logits, 50));
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let how = Sampling { temperature: 1.0, seed: 1, ..Sampling::GREEDY };
        let logits = [1.0f32.ln(), 3.0f32.ln()];
        let ones = drawn(how, &logits, 4000).iter().filter(|&&t| t == 1).count();
        // p = 3/4; six standard errors.
        assert!((2836..=3164).contains(&ones), "{ones}");
    }

    #[test]
    fn top_k_and_top_p_leave_the_tail_out() {
        let logits = [0.0, 1.0, 2.0, 3.0];
        let k = Sampling { temperature: 5.0, top_k: 2, seed: 3, ..Sampling::GREEDY };
        assert!(drawn(k, &logits, 200).iter().all(|&t| t >= 2));
        let p = Sampling { temperature: 1.0, top_p: 0.5, seed: 3, ..Sampling::GREEDY };
        assert!(drawn(p, &logits, 200).iter().all(|&t| t == 3));
    }

    #[test]
    fn a_row_with_nan_gives_no_token() {
        assert_eq!(Sampler::new(Sampling::GREEDY).next(&[0.0, f32::NAN]), None);
    }
}
