//! The verdict on exactly these N items, seen in random order without replacement. Always decided by item N.
//!
//! With K passes among the N items, a given ordered sample with s passes in n has probability
//! L_K = C(N-n, K-s)/C(N, K). Kc = ceil(qN) passes reach the bar. E⁺ = mean_{K=Kc..N} L_K / L_{Kc-1} tests "K < Kc",
//! E⁻ = mean_{K=0..Kc-1} L_K / L_{Kc} tests "K ≥ Kc" (cf. Waudby-Smith and Ramdas, arXiv 2006.04347).

use super::distribution::{ln_choose, ln_sum_exp};
use super::eprocess::Bar;

/// Passes among `suite` items that reach the bar, ceil(qN). The small subtrahend keeps q·N computed in floating point
/// from landing just above an integer.
#[must_use]
pub fn passes_to_reach(suite: u64, bar: Bar) -> u64 {
    ((bar.get() * suite as f64 - 1e-9).ceil() as u64).clamp(1, suite.max(1))
}

/// ln E⁺ after `passes` of `seen` items of a suite of `suite`: infinite once the bar is reached, -inf once it is out of
/// reach. `None` unless passes ≤ seen ≤ suite and the suite has items.
#[must_use]
pub fn ln_e_plus(suite: u64, seen: u64, passes: u64, bar: Bar) -> Option<f64> {
    let critical = checked(suite, seen, passes, bar)?;
    if passes >= critical {
        return Some(f64::INFINITY);
    }
    Some(ln_mean_ratio(suite, seen, passes, critical..=suite, critical - 1))
}

/// ln E⁻ after `passes` of `seen` items of a suite of `suite`: infinite once the bar is out of reach, -inf once it is
/// reached.
#[must_use]
pub fn ln_e_minus(suite: u64, seen: u64, passes: u64, bar: Bar) -> Option<f64> {
    let critical = checked(suite, seen, passes, bar)?;
    if seen - passes > suite - critical {
        return Some(f64::INFINITY);
    }
    Some(ln_mean_ratio(suite, seen, passes, 0..=critical - 1, critical))
}

fn checked(suite: u64, seen: u64, passes: u64, bar: Bar) -> Option<u64> {
    (suite > 0 && passes <= seen && seen <= suite).then(|| passes_to_reach(suite, bar))
}

fn ln_mean_ratio(suite: u64, seen: u64, passes: u64, against: std::ops::RangeInclusive<u64>, null: u64) -> f64 {
    // C(N-n, K-s) is 0 where K < s, and `ln_choose` says so for K - s > N - n.
    let ln_likelihood = |k: u64| match k.checked_sub(passes) {
        Some(rest) => ln_choose(suite - seen, rest) - ln_choose(suite, k),
        None => f64::NEG_INFINITY,
    };
    let count = (against.end() + 1 - against.start()) as f64;
    let top = ln_sum_exp(against.map(ln_likelihood)) - count.ln();
    if top == f64::NEG_INFINITY { top } else { top - ln_likelihood(null) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bar(q: f64) -> Bar {
        Bar::new(q).unwrap()
    }

    #[test]
    fn the_critical_count_is_exact_where_the_product_is_not() {
        assert_eq!(passes_to_reach(100, bar(0.55)), 55); // 0.55 * 100 = 55.000000000000007
        assert_eq!(passes_to_reach(200, bar(0.8)), 160);
        assert_eq!(passes_to_reach(3, bar(0.8)), 3);
    }

    #[test]
    fn impossible_counts_are_unknown() {
        assert_eq!(ln_e_plus(10, 11, 3, bar(0.5)), None);
        assert_eq!(ln_e_plus(10, 3, 4, bar(0.5)), None);
        assert_eq!(ln_e_minus(0, 0, 0, bar(0.5)), None);
    }

    proptest! {
        #[test]
        fn the_whole_suite_decides(suite in 1u64..60, share in 0.0f64..=1.0, q in 0.05f64..0.95) {
            let passes = (share * suite as f64) as u64;
            let (plus, minus) = (
                ln_e_plus(suite, suite, passes, bar(q)).unwrap(),
                ln_e_minus(suite, suite, passes, bar(q)).unwrap(),
            );
            let reached = passes >= passes_to_reach(suite, bar(q));
            prop_assert_eq!(plus == f64::INFINITY, reached);
            prop_assert_eq!(minus == f64::INFINITY, !reached);
        }

        #[test]
        fn at_the_edge_of_the_null_it_is_a_martingale(suite in 5u64..40, q in 0.2f64..0.9, seen in 0u64..20, s in 0u64..20) {
            let b = bar(q);
            let null = passes_to_reach(suite, b) - 1;
            prop_assume!(seen < suite && s <= seen && s <= null && seen - s <= suite - null);
            let p = (null - s) as f64 / (suite - seen) as f64;
            let now = ln_e_plus(suite, seen, s, b).unwrap();
            // An E of 0 stays 0.
            prop_assume!(now.is_finite());
            let mut next = 0.0;
            if p > 0.0 {
                next += p * (ln_e_plus(suite, seen + 1, s + 1, b).unwrap() - now).exp();
            }
            if p < 1.0 {
                next += (1.0 - p) * (ln_e_plus(suite, seen + 1, s, b).unwrap() - now).exp();
            }
            // Where the null leaves only one outcome, the alternatives lose what they gave to the other.
            prop_assert!(next < 1.0 + 1e-8, "{}", next);
            prop_assert!(!(p > 0.0 && p < 1.0) || (next - 1.0).abs() < 1e-8, "{}", next);
        }
    }
}
