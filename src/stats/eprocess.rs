//! One-sided mixture e-processes: evidence about a pass rate that may be looked at after every item.
//!
//! For θ > q the likelihood ratio (θ/q)^x·((1-θ)/(1-q))^(1-x) has mean at most 1 under every p ≤ q; a mixture over θ
//! keeps that, so by Ville's inequality P(E⁺ ever ≥ 1/α) ≤ α. Stop whenever, resume later: still valid, provided the
//! items come in an order fixed beforehand and none is skipped. (Robbins 1970; Howard et al. 2021; Waudby-Smith and
//! Ramdas, arXiv 2010.09686.)
//!
//! Pass/fail items have a closed form ([`ln_e_plus`], [`ln_e_minus`]); scores in [0, 1] are bet on over a grid
//! ([`ScoreProcess`]); a finite suite seen without replacement is in [`super::suite`].

use serde::{Deserialize, Serialize};

use super::distribution::{bisect, ln_beta, ln_beta_inc, ln_sum_exp};
use crate::units::Interval;

/// A pass rate or mean score that is tested against: strictly between 0 and 1, where every formula here is defined.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Bar(f64);

/// A number that is not strictly between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("a bar lies strictly between 0 and 1, got {0}: at 0 every tier clears, at 1 no number of passes is enough")]
pub struct InvalidBar(pub f64);

impl Bar {
    /// Checks that `q` is strictly between 0 and 1.
    ///
    /// # Errors
    /// Otherwise, NaN included.
    pub fn new(q: f64) -> Result<Self, InvalidBar> {
        if q > 0.0 && q < 1.0 { Ok(Self(q)) } else { Err(InvalidBar(q)) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Bar {
    type Error = InvalidBar;
    fn try_from(q: f64) -> Result<Self, InvalidBar> {
        Self::new(q)
    }
}

impl From<Bar> for f64 {
    fn from(bar: Bar) -> Self {
        bar.0
    }
}

/// ln E⁺ after `passes` and `fails`: evidence against "the pass rate is at most q". CLEARS when E⁺ ≥ 1/α.
///
/// ln B(1+s, 1+f) + ln(1 - I_q(1+s, 1+f)) - ln(1-q) - s ln q - f ln(1-q), a uniform prior on (q, 1].
#[must_use]
pub fn ln_e_plus(passes: u64, fails: u64, bar: Bar) -> f64 {
    let (s, f, q) = (passes as f64, fails as f64, bar.0);
    ln_beta(1.0 + s, 1.0 + f) + ln_beta_inc(1.0 + f, 1.0 + s, 1.0 - q) - s * q.ln() - (f + 1.0) * (-q).ln_1p()
}

/// ln E⁻ after `passes` and `fails`: evidence against "the pass rate is at least q". FAILS when E⁻ ≥ 1/β.
///
/// ln B(1+s, 1+f) + ln I_q(1+s, 1+f) - ln q - s ln q - f ln(1-q), a uniform prior on [0, q).
#[must_use]
pub fn ln_e_minus(passes: u64, fails: u64, bar: Bar) -> f64 {
    let (s, f, q) = (passes as f64, fails as f64, bar.0);
    ln_beta(1.0 + s, 1.0 + f) + ln_beta_inc(1.0 + s, 1.0 + f, q) - (s + 1.0) * q.ln() - f * (-q).ln_1p()
}

/// What [`ln_e_plus`] and [`ln_e_minus`] are at most: a mixture is at most its best bet, n·KL(s/n, q) on the side of the
/// bar where the pass rate is and 0 on the other. A millionth is added for what rounding may take away.
#[must_use]
pub fn ln_best_bets(passes: u64, fails: u64, bar: Bar) -> (f64, f64) {
    let n = passes as f64 + fails as f64;
    let rate = if n > 0.0 { passes as f64 / n } else { bar.0 };
    let best = n * bernoulli_kl(rate, bar);
    let slack = 1e-6 * (1.0 + best);
    let on = |side: bool| if side { best + slack } else { slack };
    (on(rate > bar.0), on(rate < bar.0))
}

/// Interval of the pass rate that holds simultaneously at every number of items: {q: E⁺_q < 2/a and E⁻_q < 2/a},
/// a = 1 - level. `None` for no items or a level outside (0, 1).
#[must_use]
pub fn anytime_interval(passes: u64, fails: u64, level: f64) -> Option<Interval> {
    let value = super::binomial::rate(passes, passes.checked_add(fails)?)?;
    if !(level > 0.0 && level < 1.0) {
        return None;
    }
    let threshold = (2.0 / (1.0 - level)).ln();
    let plus = |q: f64| Bar::new(q).is_ok_and(|bar| ln_e_plus(passes, fails, bar) >= threshold);
    let minus = |q: f64| Bar::new(q).is_ok_and(|bar| ln_e_minus(passes, fails, bar) >= threshold);
    // E⁺ falls with q and E⁻ rises, so each end is one crossing. With no pass (fail) the end is 0 (1) itself.
    let lo = if passes == 0 { 0.0 } else { bisect(0.0, value, |q| q <= 0.0 || plus(q)) };
    let hi = if fails == 0 { 1.0 } else { bisect(value, 1.0, |q| q < 1.0 && !minus(q)) };
    Some(Interval { value, lo: lo.min(value), hi: hi.max(value), level })
}

/// Kullback–Leibler divergence of Bernoulli(p) from Bernoulli(q), p ln(p/q) + (1-p) ln((1-p)/(1-q)), in nats.
#[must_use]
pub fn bernoulli_kl(p: f64, bar: Bar) -> f64 {
    let q = bar.0;
    let part = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
    part(p, q) + part(1.0 - p, 1.0 - q)
}

/// About how many more items CLEARS needs at the pass rate seen so far, (ln(1/α) - ln E⁺)/KL(p̂, q); 0 when E⁺ is there
/// already. `None` for no items, or when p̂ ≤ q: then more items are not expected to clear.
#[must_use]
pub fn items_to_clear(passes: u64, fails: u64, bar: Bar, alpha: f64) -> Option<f64> {
    let p = super::binomial::rate(passes, passes.checked_add(fails)?)?;
    let missing = (-alpha.ln() - ln_e_plus(passes, fails, bar)).max(0.0);
    (p > bar.0).then(|| missing / bernoulli_kl(p, bar)).filter(|n| n.is_finite())
}

/// About how many more items FAILS needs at the pass rate seen so far; the mirror image of [`items_to_clear`].
#[must_use]
pub fn items_to_fail(passes: u64, fails: u64, bar: Bar, beta: f64) -> Option<f64> {
    let p = super::binomial::rate(passes, passes.checked_add(fails)?)?;
    let missing = (-beta.ln() - ln_e_minus(passes, fails, bar)).max(0.0);
    (p < bar.0).then(|| missing / bernoulli_kl(p, bar)).filter(|n| n.is_finite())
}

/// Points of the betting grid.
pub const GRID: u32 = 100;

/// E-processes for scores in [0, 1] (field accuracy, fact recall, paired differences), whatever their distribution.
///
/// The same bet on a grid of K points, k = 1..K: θ_k = q + (1-q)(k-½)/K for E⁺ and q(k-½)/K for E⁻,
/// λ_k = (θ_k - q)/(q(1-q)), E = (1/K) Σ_k Π_i (1 + λ_k (x_i - q)). For 0/1 scores it equals the closed form up to the
/// grid. The wealths are the whole state: serialize it to resume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreProcess {
    bar: Bar,
    items: u64,
    sum: f64,
    plus: Vec<f64>,
    minus: Vec<f64>,
}

impl ScoreProcess {
    /// No item seen yet; `grid` points, [`GRID`] by default (0 is taken as 1).
    #[must_use]
    pub fn new(bar: Bar, grid: u32) -> Self {
        let wealths = vec![0.0; grid.max(1) as usize];
        Self { bar, items: 0, sum: 0.0, plus: wealths.clone(), minus: wealths }
    }

    /// Adds one item's score. Scores outside [0, 1] have no meaning here: they are clamped, and NaN counts as 0, so that
    /// a broken scorer can only hurt the tier it scores.
    pub fn push(&mut self, score: f64) {
        self.push_many(score, 1);
    }

    /// Adds `count` items of equal score.
    pub fn push_many(&mut self, score: f64, count: u64) {
        let x = if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) };
        let (q, k, n) = (self.bar.0, self.plus.len() as f64, count as f64);
        for (i, (plus, minus)) in self.plus.iter_mut().zip(&mut self.minus).enumerate() {
            let share = (i as f64 + 0.5) / k;
            // λ(x - q) with the common factor cancelled: (1-q)·share/(q(1-q)) and -q(1-share)/(q(1-q)).
            *plus += n * (share / q * (x - q)).ln_1p();
            *minus += n * (-(1.0 - share) / (1.0 - q) * (x - q)).ln_1p();
        }
        self.items += count;
        self.sum += n * x;
    }

    /// The bar it tests.
    #[must_use]
    pub const fn bar(&self) -> Bar {
        self.bar
    }

    /// Items seen.
    #[must_use]
    pub const fn items(&self) -> u64 {
        self.items
    }

    /// Mean score; `None` before the first item.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.items > 0).then(|| self.sum / self.items as f64)
    }

    /// ln E⁺, evidence against "the mean score is at most q".
    #[must_use]
    pub fn ln_e_plus(&self) -> f64 {
        ln_mean_exp(&self.plus)
    }

    /// ln E⁻, evidence against "the mean score is at least q".
    #[must_use]
    pub fn ln_e_minus(&self) -> f64 {
        ln_mean_exp(&self.minus)
    }
}

fn ln_mean_exp(terms: &[f64]) -> f64 {
    ln_sum_exp(terms.iter().copied()) - (terms.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bar(q: f64) -> Bar {
        Bar::new(q).unwrap()
    }

    #[test]
    fn a_bar_at_the_ends_is_refused_with_the_reason() {
        for q in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(Bar::new(q).unwrap_err().to_string().contains("strictly between 0 and 1"));
        }
        assert!(serde_json::from_str::<Bar>("1.5").is_err());
    }

    #[test]
    fn no_item_is_no_evidence() {
        assert!(ln_e_plus(0, 0, bar(0.8)).abs() < 1e-12);
        assert!(ln_e_minus(0, 0, bar(0.8)).abs() < 1e-12);
        assert_eq!(anytime_interval(0, 0, 0.95), None);
        assert_eq!(items_to_clear(0, 0, bar(0.8), 0.05), None);
    }

    #[test]
    fn thousands_of_items_do_not_underflow() {
        let far = ln_e_plus(100, 20_000, bar(0.9));
        // A bet just above the bar loses little, so the mixture never goes far below zero.
        assert!(far.is_finite() && far < -5.0, "{far}");
        assert!(ln_e_minus(100, 20_000, bar(0.9)) > 10_000.0);
    }

    #[test]
    fn a_broken_score_counts_against_the_tier() {
        let mut broken = ScoreProcess::new(bar(0.8), GRID);
        broken.push(f64::NAN);
        let mut zero = ScoreProcess::new(bar(0.8), GRID);
        zero.push(0.0);
        assert_eq!(broken, zero);
        assert!(zero.ln_e_plus().is_finite() && zero.ln_e_minus().is_finite());
    }

    #[test]
    fn a_state_resumes_bit_by_bit() {
        let mut whole = ScoreProcess::new(bar(0.7), GRID);
        for i in 0..30 {
            whole.push(f64::from(i % 7) / 6.0);
        }
        let mut first = ScoreProcess::new(bar(0.7), GRID);
        for i in 0..13 {
            first.push(f64::from(i % 7) / 6.0);
        }
        let text = serde_json::to_string(&first).unwrap();
        let mut resumed: ScoreProcess = serde_json::from_str(&text).unwrap();
        for i in 13..30 {
            resumed.push(f64::from(i % 7) / 6.0);
        }
        assert_eq!(resumed, whole);
    }

    /// E[E⁺_{n+1} | s, f] at pass rate p, over E⁺_n.
    fn growth(s: u64, f: u64, q: f64, p: f64) -> f64 {
        let now = ln_e_plus(s, f, bar(q));
        p * (ln_e_plus(s + 1, f, bar(q)) - now).exp() + (1.0 - p) * (ln_e_plus(s, f + 1, bar(q)) - now).exp()
    }

    #[test]
    fn at_the_bar_the_process_is_a_martingale_and_below_it_loses() {
        for (s, f) in [(0, 0), (3, 1), (20, 5), (80, 20)] {
            assert!((growth(s, f, 0.8, 0.8) - 1.0).abs() < 1e-9);
            assert!(growth(s, f, 0.8, 0.7) < 1.0);
            assert!(growth(s, f, 0.8, 0.9) > 1.0);
        }
    }

    #[test]
    fn by_enumeration_of_all_sequences_the_chance_of_ever_crossing_is_at_most_alpha() {
        // Every one of the 2^14 orders, q = 1/2: the crossing probability is a count over 2^14.
        let (n, alpha) = (14u32, 0.05f64);
        let threshold = -alpha.ln();
        let crossed = (0u32..1 << n)
            .filter(|bits| {
                let (mut s, mut f) = (0, 0);
                (0..n).any(|i| {
                    if bits >> i & 1 == 1 {
                        s += 1
                    } else {
                        f += 1
                    }
                    ln_e_plus(s, f, bar(0.5)) >= threshold
                })
            })
            .count();
        let share = crossed as f64 / f64::from(1u32 << n);
        assert!(share > 0.0 && share <= alpha, "{share}");
    }

    proptest! {
        #[test]
        fn a_pass_is_evidence_for_and_a_fail_against(s in 0u64..300, f in 0u64..300, q in 0.05f64..0.95) {
            let b = bar(q);
            prop_assert!(ln_e_plus(s + 1, f, b) > ln_e_plus(s, f, b));
            prop_assert!(ln_e_plus(s, f + 1, b) < ln_e_plus(s, f, b));
            prop_assert!(ln_e_minus(s + 1, f, b) < ln_e_minus(s, f, b));
            prop_assert!(ln_e_minus(s, f + 1, b) > ln_e_minus(s, f, b));
        }

        #[test]
        fn the_best_bet_bounds_the_mixture(s in 0u64..3000, f in 0u64..3000, q in 0.01f64..0.99) {
            let (plus, minus) = ln_best_bets(s, f, bar(q));
            prop_assert!(ln_e_plus(s, f, bar(q)) <= plus && ln_e_minus(s, f, bar(q)) <= minus);
        }

        #[test]
        fn both_sides_mirror_each_other(s in 0u64..200, f in 0u64..200, q in 0.05f64..0.95) {
            let (a, b) = (ln_e_plus(s, f, bar(q)), ln_e_minus(f, s, bar(1.0 - q)));
            prop_assert!((a - b).abs() < 1e-8 * (1.0 + a.abs()), "{} {}", a, b);
        }

        #[test]
        fn a_bar_outside_the_anytime_interval_is_rejected(s in 0u64..100, f in 0u64..100) {
            prop_assume!(s + f > 0);
            let i = anytime_interval(s, f, 0.95).unwrap();
            prop_assert!(0.0 <= i.lo && i.lo <= i.value && i.value <= i.hi && i.hi <= 1.0);
            if i.lo > 1e-6 {
                prop_assert!(ln_e_plus(s, f, bar(i.lo * 0.999)) > 40f64.ln());
            }
            if i.hi < 1.0 - 1e-6 {
                prop_assert!(ln_e_minus(s, f, bar(1.0 - (1.0 - i.hi) * 0.999)) > 40f64.ln());
            }
        }
    }
}
