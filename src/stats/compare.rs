//! Two tiers on the same items, and many p values at once.

use super::binomial::upper_tail;
use super::distribution::{ln_choose, normal_quantile};
use super::eprocess::{Bar, GRID, InvalidBar, ScoreProcess};
use crate::units::Interval;

/// McNemar's test on the items where exactly one tier passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mcnemar {
    /// min(1, 2·P(Bin(b+c, ½) ≤ min(b, c))).
    pub p_exact: f64,
    /// min(1, 2·(P(X ≤ k) - ½P(X = k))), k = min(b, c): less conservative, slightly above its level at worst.
    pub p_mid: f64,
    /// P(Bin(b+c, ½) ≥ b): evidence that the candidate is worse.
    pub p_one_sided: f64,
}

/// McNemar's exact test; `b` items only the reference passes, `c` only the candidate.
#[must_use]
pub fn mcnemar(b: u64, c: u64) -> Mcnemar {
    let n = b + c;
    let k = b.min(c);
    // P(X ≤ k) = P(X ≥ n - k) at ½; the arguments are in range by construction.
    let tail = upper_tail(n - k, n, 0.5).unwrap_or(1.0);
    let point = (ln_choose(n, k) - n as f64 * std::f64::consts::LN_2).exp();
    Mcnemar {
        p_exact: (2.0 * tail).min(1.0),
        p_mid: (2.0 * (tail - 0.5 * point)).min(1.0),
        p_one_sided: upper_tail(b, n, 0.5).unwrap_or(1.0),
    }
}

/// Difference of two pass rates on the same items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedDifference {
    /// (c - b)/n: candidate minus reference.
    pub difference: Interval,
    /// √((b + c - (b - c)²/n)/(n(n - 1))).
    pub standard_error: f64,
}

/// Paired difference of pass rates over `n` items, `b` only passed by the reference and `c` only by the candidate, with
/// its normal interval. `None` for fewer than two items, b + c > n, or a level outside (0, 1).
#[must_use]
pub fn paired_difference(n: u64, b: u64, c: u64, level: f64) -> Option<PairedDifference> {
    if n < 2 || b.checked_add(c)? > n {
        return None;
    }
    let z = normal_quantile(0.5 * (1.0 + level))?;
    let (n, b, c) = (n as f64, b as f64, c as f64);
    let value = (c - b) / n;
    let standard_error = ((b + c - (b - c).powi(2) / n) / (n * (n - 1.0))).sqrt();
    let half = z * standard_error;
    Some(PairedDifference { difference: Interval { value, lo: value - half, hi: value + half, level }, standard_error })
}

/// Sequential non-inferiority: is the candidate worse than the reference by more than a margin? Both tiers see the same
/// items in the same order; `ln E⁺ ≥ ln 1/α` says "not worse by more than the margin", at any stopping time.
///
/// With d = candidate score - reference score in [-1, 1] it tests E[(d + 1)/2] ≤ (1 - m)/2 by [`ScoreProcess`].
#[derive(Clone, Debug, PartialEq)]
pub struct NonInferiority(ScoreProcess);

impl NonInferiority {
    /// A test with margin `m` in (-1, 1), e.g. 0.05 for five points of pass rate.
    ///
    /// # Errors
    /// When the margin leaves no null hypothesis to reject.
    pub fn new(margin: f64) -> Result<Self, InvalidBar> {
        Ok(Self(ScoreProcess::new(Bar::new(0.5 * (1.0 - margin))?, GRID)))
    }

    /// Adds one item's pair of scores in [0, 1] (1 and 0 for pass and fail).
    pub fn push(&mut self, candidate: f64, reference: f64) {
        self.push_many(candidate, reference, 1);
    }

    /// Adds `count` items with the same pair of scores.
    pub fn push_many(&mut self, candidate: f64, reference: f64, count: u64) {
        self.0.push_many(0.5 * (candidate - reference + 1.0), count);
    }

    /// ln E⁺: evidence that the candidate is not worse by more than the margin.
    #[must_use]
    pub fn ln_e_plus(&self) -> f64 {
        self.0.ln_e_plus()
    }

    /// ln E⁻: evidence that it is worse by more than the margin.
    #[must_use]
    pub fn ln_e_minus(&self) -> f64 {
        self.0.ln_e_minus()
    }
}

/// Holm's adjusted p values, in the order given: the j-th smallest becomes max over i ≤ j of min(1, (m - i + 1) p_(i)).
/// Rejecting those at most α keeps the family-wise error at most α under any dependence.
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![1.0; p.len()];
    let mut largest = 0.0f64;
    for (rank, &at) in order.iter().enumerate() {
        largest = largest.max((p[at] * (p.len() - rank) as f64).min(1.0));
        adjusted[at] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tiers_that_never_differ_are_not_told_apart() {
        let m = mcnemar(0, 0);
        assert_eq!((m.p_exact, m.p_one_sided), (1.0, 1.0));
        assert!((m.p_mid - 1.0).abs() < 1e-12);
        let d = paired_difference(50, 0, 0, 0.95).unwrap();
        assert_eq!((d.difference.lo, d.difference.hi), (0.0, 0.0));
        assert_eq!(paired_difference(10, 6, 6, 0.95), None);
    }

    #[test]
    fn equal_tiers_become_non_inferior_and_a_worse_one_inferior() {
        let mut equal = NonInferiority::new(0.05).unwrap();
        equal.push_many(1.0, 1.0, 400);
        assert!(equal.ln_e_plus() > 20f64.ln());
        let mut worse = NonInferiority::new(0.05).unwrap();
        worse.push_many(0.0, 1.0, 20);
        assert!(worse.ln_e_minus() > 10f64.ln() && worse.ln_e_plus() < 0.0);
        assert!(NonInferiority::new(1.0).is_err());
    }

    proptest! {
        #[test]
        fn the_test_is_symmetric_and_mid_p_is_smaller(b in 0u64..60, c in 0u64..60) {
            let (m, r) = (mcnemar(b, c), mcnemar(c, b));
            prop_assert_eq!(m.p_exact, r.p_exact);
            prop_assert!(m.p_mid <= m.p_exact);
        }

        #[test]
        fn adjusting_keeps_the_order_and_never_lowers(p in prop::collection::vec(0.0f64..=1.0, 1..8)) {
            let a = holm(&p);
            for i in 0..p.len() {
                prop_assert!(a[i] >= p[i]);
                for j in 0..p.len() {
                    prop_assert!(p[i] > p[j] || a[i] <= a[j]);
                }
            }
        }
    }
}
