//! Decoding that spends more than one pass or sample per answer: speculation and repeated sampling.

/// Expected tokens per pass of the target model with `draft_len` drafted tokens each accepted with probability
/// `acceptance`, (1 - a^(g+1))/(1 - a) (Leviathan et al. 2023; independent acceptance is an approximation). `None` unless
/// acceptance is in [0, 1].
#[must_use]
pub fn tokens_per_pass(acceptance: f64, draft_len: u32) -> Option<f64> {
    if !(0.0..=1.0).contains(&acceptance) {
        return None;
    }
    // The sum 1 + a + … + a^g, which the closed form cannot give at a = 1.
    Some((0..=draft_len).fold(0.0, |sum, _| 1.0 + acceptance * sum))
}

/// Predicted speed-up of speculation, tokens per pass over g·c + 1, with c the draft model's step time over the target's.
#[must_use]
pub fn speculative_speedup(acceptance: f64, draft_len: u32, cost_ratio: f64) -> Option<f64> {
    let tokens = tokens_per_pass(acceptance, draft_len)?;
    (cost_ratio >= 0.0 && cost_ratio.is_finite()).then(|| tokens / (f64::from(draft_len) * cost_ratio + 1.0))
}

/// Unbiased pass@k from `n` samples of which `c` pass, 1 - C(n-c, k)/C(n, k), as a running product. `None` unless
/// c ≤ n and 1 ≤ k ≤ n.
#[must_use]
pub fn pass_at_k(n: u64, c: u64, k: u64) -> Option<f64> {
    if c > n || k == 0 || k > n {
        return None;
    }
    if n - c < k {
        return Some(1.0);
    }
    let all_fail: f64 = (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product();
    Some(1.0 - all_fail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_acceptance() {
        assert_eq!(tokens_per_pass(0.0, 4), Some(1.0));
        assert_eq!(tokens_per_pass(1.0, 4), Some(5.0));
        assert_eq!(tokens_per_pass(1.1, 4), None);
        assert_eq!(speculative_speedup(0.5, 4, -1.0), None);
    }

    #[test]
    fn pass_at_k_of_impossible_counts_is_unknown() {
        assert_eq!(pass_at_k(5, 6, 1), None);
        assert_eq!(pass_at_k(5, 2, 0), None);
        assert_eq!(pass_at_k(5, 2, 6), None);
        assert_eq!(pass_at_k(5, 0, 3), Some(0.0));
    }

    proptest! {
        #[test]
        fn one_sample_passes_at_the_rate_and_more_help(n in 1u64..60, c in 0u64..60, k in 1u64..60) {
            prop_assume!(c <= n && k < n);
            prop_assert!((pass_at_k(n, c, 1).unwrap() - c as f64 / n as f64).abs() < 1e-12);
            prop_assert!(pass_at_k(n, c, k + 1).unwrap() >= pass_at_k(n, c, k).unwrap() - 1e-12);
        }
    }
}
