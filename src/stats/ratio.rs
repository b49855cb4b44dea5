//! The ratio of two quantities with its bounds: of two samples that know nothing of each other, or of two pass rates on
//! the same items. Either quantity may be 0.

use serde::Serialize;

use super::binomial::wilson_ends;
use super::distribution::normal_quantile;
use crate::units::Interval;

/// A ratio b / a with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// b / a; `None` if a is 0.
    pub value: Option<f64>,
    /// Lower bound.
    pub lo: f64,
    /// Upper bound; `None` if the data set none, because a may be 0.
    pub hi: Option<f64>,
    /// Coverage the bounds are meant to have.
    pub level: f64,
}

impl Ratio {
    /// Whether the bounds leave 1 out: the two quantities differ.
    #[must_use]
    pub fn excludes_one(&self) -> bool {
        self.lo > 1.0 || self.hi.is_some_and(|hi| hi < 1.0)
    }

    /// This ratio over an independent one; the errors add on the log scale. `None` if either is 0 or open above.
    #[must_use]
    pub fn over(&self, other: &Self) -> Option<Self> {
        let arms = |ratio: &Self| Some(((ratio.value? / ratio.lo).ln(), (ratio.hi? / ratio.value?).ln()));
        let ((down, up), (other_down, other_up)) = (arms(self)?, arms(other)?);
        let value = self.value? / other.value?;
        let (lo, hi) = (value * (-down.hypot(other_up)).exp(), value * up.hypot(other_down).exp());
        let is_known = value.is_finite() && value > 0.0 && lo > 0.0 && hi.is_finite();
        is_known.then_some(Self { value: Some(value), lo, hi: Some(hi), level: self.level })
    }
}

/// b / a of two independent quantities that cannot be negative, each with its interval.
///
/// The errors add on the log scale: ln(b/a) lies within √(δ_a² + δ_b²), δ the arms of the two intervals there. Where one
/// value is 0 it has no logarithm; the bounds are then those of MOVER for a ratio (Donner and Zou, Stat. Methods Med.
/// Res. 21 (2012) 347): b = 0 gives [0, b_hi/√(a_lo(2a - a_lo))], a = 0 gives [√(b_lo(2b - b_lo))/a_hi, ∞).
/// `None` if both are 0, or for a value or end that is negative or not finite.
#[must_use]
pub fn independent_ratio(a: &Interval, b: &Interval) -> Option<Ratio> {
    if ![a.value, a.lo, a.hi, b.value, b.lo, b.hi].iter().all(|x| x.is_finite() && *x >= 0.0) {
        return None;
    }
    let known = |hi: f64| hi.is_finite().then_some(hi);
    let root = |i: &Interval| (i.lo * (2.0 * i.value - i.lo)).sqrt();
    let (value, lo, hi) = match (a.value > 0.0, b.value > 0.0) {
        (true, true) => {
            let arm = |i: &Interval, end: f64| (end / i.value).ln().abs();
            let (down, up) = (arm(b, b.lo).hypot(arm(a, a.hi)), arm(b, b.hi).hypot(arm(a, a.lo)));
            let value = b.value / a.value;
            (known(value), value * (-down).exp(), known(value * up.exp()))
        }
        (true, false) => (Some(0.0), 0.0, known(b.hi / root(a))),
        (false, true) => (None, root(b) / a.hi, None),
        (false, false) => return None,
    };
    lo.is_finite().then_some(Ratio { value, lo, hi, level: a.level })
}

/// Ratio of the pass rates of a candidate and a reference on the same items: `both` pass by both, `only_reference` by the
/// reference alone, `only_candidate` by the candidate alone. Items that both fail say nothing of a ratio.
///
/// Bonett and Price's hybrid Wilson score interval (Stat. Med. 25 (2006) 3039; recommended by Fagerland, Lydersen and
/// Laake, Stat. Med. 33 (2014) 2850): with n = n11 + n10 + n01, a = n11 + n10 and b = n11 + n01 it divides the ends of
/// two Wilson intervals of a/n and b/n at z·A/(B + C), where A² = (n10 + n01 + 2)/((a + 1)(b + 1)),
/// B² = (1 - (a + 1)/(n + 2))/(a + 1) and C² the same of b. `None` if neither passes an item, or a level outside (0, 1).
#[must_use]
pub fn paired_ratio(both: u64, only_reference: u64, only_candidate: u64, level: f64) -> Option<Ratio> {
    let z = normal_quantile(0.5 * (1.0 + level))?;
    let (reference, candidate) = (both.checked_add(only_reference)?, both.checked_add(only_candidate)?);
    let n = reference.checked_add(only_candidate)?;
    if n == 0 {
        return None;
    }
    let smoothed = |passes: u64| passes as f64 + 1.0;
    let part = |passes: u64| ((1.0 - smoothed(passes) / (n as f64 + 2.0)) / smoothed(passes)).sqrt();
    let differ = (n - both) as f64 + 2.0;
    let joint = (differ / (smoothed(reference) * smoothed(candidate))).sqrt();
    let z = z * joint / (part(reference) + part(candidate));
    let (a, b) = (wilson_ends(reference, n, z)?, wilson_ends(candidate, n, z)?);
    Some(Ratio {
        value: (reference > 0).then(|| candidate as f64 / reference as f64),
        lo: b.0 / a.1,
        hi: (a.0 > 0.0).then(|| b.1 / a.0),
        level,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::compare::mcnemar;
    use crate::stats::distribution::ln_choose;

    fn interval(value: f64, lo: f64, hi: f64) -> Interval {
        Interval { value, lo, hi, level: 0.95 }
    }

    #[test]
    fn a_published_paired_ratio_comes_out() {
        // Cavo et al. 2012, complete response before and after; contingencytables, the R package of Fagerland, Lydersen and
        // Laake, prints 0.7579 to 0.9910.
        let r = paired_ratio(59, 16, 6, 0.95).unwrap();
        assert!((r.value.unwrap() - 65.0 / 75.0).abs() < 1e-12);
        assert!((r.lo - 0.7579).abs() < 5e-5 && (r.hi.unwrap() - 0.9910).abs() < 5e-5, "{r:?}");
    }

    #[test]
    fn twenty_losses_without_a_gain_are_no_tie() {
        let r = paired_ratio(112, 20, 0, 0.95).unwrap();
        assert!(r.excludes_one() && r.hi.unwrap() < 0.92 && mcnemar(20, 0).p_exact < 2e-6, "{r:?}");
        let rate = |passes| super::super::binomial::wilson(passes, 240, 0.95).unwrap();
        assert!(!independent_ratio(&rate(132), &rate(112)).unwrap().excludes_one(), "what pairing gains");
    }

    #[test]
    fn a_rate_of_zero_is_bounded_on_the_side_that_is_known() {
        let none = paired_ratio(0, 30, 0, 0.95).unwrap();
        assert_eq!((none.value, none.lo), (Some(0.0), 0.0));
        assert!(none.excludes_one() && none.hi.unwrap() < 0.3, "{none:?}");
        let all = paired_ratio(0, 0, 30, 0.95).unwrap();
        assert_eq!((all.value, all.hi), (None, None));
        assert!(all.lo > 3.0);
        assert_eq!(paired_ratio(0, 0, 0, 0.95), None);

        let (zero, some) = (interval(0.0, 0.0, 0.1), interval(0.5, 0.4, 0.6));
        let lower = independent_ratio(&some, &zero).unwrap();
        assert_eq!((lower.value, lower.lo), (Some(0.0), 0.0));
        assert!((lower.hi.unwrap() - 0.1 / 0.24f64.sqrt()).abs() < 1e-12);
        let higher = independent_ratio(&zero, &some).unwrap();
        assert_eq!((higher.value, higher.hi), (None, None));
        assert!((higher.lo - 0.24f64.sqrt() / 0.1).abs() < 1e-12 && higher.excludes_one());
        assert_eq!(independent_ratio(&zero, &zero), None);
        assert_eq!(independent_ratio(&some, &interval(1.0, f64::NAN, 2.0)), None);
    }

    #[test]
    fn the_independent_ratio_holds_both_errors() {
        let r = independent_ratio(&interval(100.0, 99.0, 101.0), &interval(90.0, 89.0, 91.0)).unwrap();
        let hi = r.hi.unwrap();
        assert!(r.lo < 0.89 && r.lo > 0.88 && hi > 0.91 && hi < 0.92, "{r:?}");
        let open = independent_ratio(&interval(1.0, 0.0, 2.0), &interval(1.0, 0.5, 2.0)).unwrap();
        assert_eq!(open.hi, None, "a may be 0");
    }

    #[test]
    fn a_quotient_of_ratios_holds_the_errors_of_both() {
        let ratio = |value, lo, hi| Ratio { value: Some(value), lo, hi: Some(hi), level: 0.95 };
        let exact = ratio(2.0, 2.0, 2.0).over(&ratio(0.5, 0.4, 0.8)).unwrap();
        assert!((exact.value.unwrap() - 4.0).abs() < 1e-12 && (exact.lo - 2.5).abs() < 1e-12, "{exact:?}");
        assert!((exact.hi.unwrap() - 5.0).abs() < 1e-12, "{exact:?}");
        let both = ratio(2.0, 1.5, 3.0).over(&ratio(0.5, 0.4, 0.8)).unwrap();
        assert!(both.lo < 2.5 && both.hi.unwrap() > 6.0, "{both:?}");
        assert_eq!(ratio(2.0, 1.5, 3.0).over(&paired_ratio(0, 5, 0, 0.95).unwrap()), None);
    }

    /// Chance that the interval holds the true ratio, summed over every table of `n` items.
    fn coverage(n: u64, [both, reference, candidate]: [f64; 3]) -> f64 {
        let truth = (both + candidate) / (both + reference);
        let neither = 1.0 - both - reference - candidate;
        let mut covered = 0.0;
        for i in 0..=n {
            for j in 0..=n - i {
                for k in 0..=n - i - j {
                    let rest = n - i - j - k;
                    let ways = ln_choose(n, i) + ln_choose(n - i, j) + ln_choose(n - i - j, k);
                    let powers = [(both, i), (reference, j), (candidate, k), (neither, rest)];
                    let p = (ways + powers.iter().map(|(p, count)| p.ln() * *count as f64).sum::<f64>()).exp();
                    let holds = |r: Ratio| r.lo <= truth && r.hi.is_none_or(|hi| truth <= hi);
                    covered += p * f64::from(u8::from(paired_ratio(i, j, k, 0.95).is_none_or(holds)));
                }
            }
        }
        covered
    }

    #[test]
    fn the_paired_interval_covers_as_often_as_it_says() {
        for p in [[0.6, 0.1, 0.1], [0.7, 0.1, 0.02], [0.4, 0.2, 0.1], [0.1, 0.1, 0.1], [0.85, 0.05, 0.05]] {
            let covered = coverage(40, p);
            assert!(covered > 0.94, "{p:?}: {covered}");
        }
    }

    proptest! {
        #[test]
        fn the_bounds_hold_the_ratio_and_turn_over_with_the_roles(n11 in 0u64..80, n10 in 0u64..40, n01 in 0u64..40) {
            prop_assume!(n11 + n10 + n01 > 0);
            let (r, turned) = (paired_ratio(n11, n10, n01, 0.95).unwrap(), paired_ratio(n11, n01, n10, 0.95).unwrap());
            if let Some(value) = r.value {
                prop_assert!(r.lo <= value + 1e-12 && r.hi.is_none_or(|hi| value <= hi + 1e-12), "{:?}", r);
            }
            match r.hi {
                Some(hi) => prop_assert!((turned.lo * hi - 1.0).abs() < 1e-9 || (hi == 0.0)),
                None => prop_assert_eq!(turned.lo, 0.0),
            }
        }
    }
}
