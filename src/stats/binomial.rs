//! Exact and approximate statements about a pass rate from `passes` of `n` independent items, n fixed in advance.
//!
//! For a number of items that depends on the results, use [`super::eprocess`].

use super::distribution::{beta_inc, beta_quantile, normal_quantile};
use crate::units::Interval;

/// Wilson's score interval, (p + z²/2n ± z√(p(1-p)/n + z²/4n²))/(1 + z²/n). `None` unless 0 < n, passes ≤ n and level
/// in (0, 1).
#[must_use]
pub fn wilson(passes: u64, n: u64, level: f64) -> Option<Interval> {
    let z = normal_quantile(0.5 * (1.0 + valid(level)?))?;
    let (lo, hi) = wilson_ends(passes, n, z)?;
    Some(Interval { value: rate(passes, n)?, lo, hi, level })
}

/// Ends of Wilson's score interval at `z` standard errors.
pub(super) fn wilson_ends(passes: u64, n: u64, z: f64) -> Option<(f64, f64)> {
    let p = rate(passes, n)?;
    let n = n as f64;
    let centre = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    // At no pass and at all passes the exact ends are 0 and 1; rounding must not leave the point value outside.
    let lo = if p == 0.0 { 0.0 } else { (centre - half) / scale };
    let hi = if p == 1.0 { 1.0 } else { (centre + half) / scale };
    Some((lo, hi))
}

/// Clopper and Pearson's exact two-sided interval: BetaInv(a/2; s, n-s+1) and BetaInv(1-a/2; s+1, n-s), a = 1 - level.
#[must_use]
pub fn clopper_pearson(passes: u64, n: u64, level: f64) -> Option<Interval> {
    let tail = 0.5 * (1.0 - valid(level)?);
    let (lo, hi) = (lower(passes, n, tail)?, upper(passes, n, tail)?);
    Some(Interval { value: rate(passes, n)?, lo, hi, level })
}

/// Exact one-sided lower confidence bound of a pass rate: BetaInv(1 - level; s, n-s+1).
#[must_use]
pub fn lower_bound(passes: u64, n: u64, level: f64) -> Option<f64> {
    lower(passes, n, 1.0 - valid(level)?)
}

/// Exact one-sided upper confidence bound of a pass rate: BetaInv(level; s+1, n-s).
#[must_use]
pub fn upper_bound(passes: u64, n: u64, level: f64) -> Option<f64> {
    upper(passes, n, 1.0 - valid(level)?)
}

/// P(Bin(n, q) ≥ passes) = I_q(s, n-s+1): the exact p value of "the pass rate is at most q". `None` unless passes ≤ n
/// and q in [0, 1].
#[must_use]
pub fn upper_tail(passes: u64, n: u64, q: f64) -> Option<f64> {
    if passes > n || !(0.0..=1.0).contains(&q) {
        return None;
    }
    if passes == 0 {
        return Some(1.0);
    }
    Some(beta_inc(passes as f64, (n - passes) as f64 + 1.0, q))
}

/// P(Bin(n, q) ≤ passes).
#[must_use]
pub fn lower_tail(passes: u64, n: u64, q: f64) -> Option<f64> {
    upper_tail(n.checked_sub(passes)?, n, 1.0 - q)
}

/// Fewest passes of `n` fixed items that reject "the pass rate is at most q" at level alpha; `None` if even n passes do
/// not.
#[must_use]
pub fn passes_needed(n: u64, q: f64, alpha: f64) -> Option<u64> {
    let rejects = |s: u64| upper_tail(s, n, q).is_some_and(|p| p <= alpha);
    if !rejects(n) {
        return None;
    }
    // The tail falls with the number of passes.
    let (mut no, mut yes) = (0, n);
    if rejects(0) {
        return Some(0);
    }
    while yes - no > 1 {
        let middle = no + (yes - no) / 2;
        if rejects(middle) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    Some(yes)
}

/// passes / n; `None` for no items or more passes than items.
#[must_use]
pub fn rate(passes: u64, n: u64) -> Option<f64> {
    (n > 0 && passes <= n).then(|| passes as f64 / n as f64)
}

fn valid(level: f64) -> Option<f64> {
    (level > 0.0 && level < 1.0).then_some(level)
}

fn lower(passes: u64, n: u64, tail: f64) -> Option<f64> {
    rate(passes, n)?;
    if passes == 0 {
        return Some(0.0);
    }
    Some(beta_quantile(tail, passes as f64, (n - passes) as f64 + 1.0))
}

fn upper(passes: u64, n: u64, tail: f64) -> Option<f64> {
    lower(n.checked_sub(passes)?, n, tail).map(|x| 1.0 - x)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_items_say_nothing() {
        assert_eq!(wilson(0, 0, 0.95), None);
        assert_eq!(clopper_pearson(3, 2, 0.95), None);
        assert_eq!(upper_tail(3, 2, 0.5), None);
        assert_eq!(wilson(1, 2, 1.0), None);
    }

    #[test]
    fn too_few_items_can_never_reject() {
        assert_eq!(passes_needed(5, 0.8, 0.05), None);
        assert_eq!(passes_needed(14, 0.8, 0.05), Some(14));
    }

    #[test]
    fn tails_by_direct_summation() {
        // P(Bin(4, 1/2) >= 3) = 5/16.
        assert!((upper_tail(3, 4, 0.5).unwrap() - 0.3125).abs() < 1e-15);
        assert!((lower_tail(1, 4, 0.5).unwrap() - 0.3125).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn intervals_hold_the_rate_and_exact_is_wider_in_tail_terms(n in 1u64..300, share in 0.0f64..=1.0) {
            let passes = (share * n as f64) as u64;
            let w = wilson(passes, n, 0.95).unwrap();
            let c = clopper_pearson(passes, n, 0.95).unwrap();
            for i in [w, c] {
                prop_assert!(0.0 <= i.lo && i.lo <= i.value && i.value <= i.hi && i.hi <= 1.0, "{:?}", i);
            }
            // The exact interval's defining property.
            if passes > 0 {
                prop_assert!((upper_tail(passes, n, c.lo).unwrap() - 0.025).abs() < 1e-9);
            }
            if passes < n {
                prop_assert!((lower_tail(passes, n, c.hi).unwrap() - 0.025).abs() < 1e-9);
            }
        }

        #[test]
        fn clearing_by_lower_bound_is_clearing_by_p_value(n in 1u64..200, share in 0.0f64..=1.0) {
            let passes = (share * n as f64) as u64;
            let by_bound = lower_bound(passes, n, 0.95).unwrap() > 0.8;
            let by_p = upper_tail(passes, n, 0.8).unwrap() <= 0.05;
            prop_assert_eq!(by_bound, by_p);
        }
    }
}
