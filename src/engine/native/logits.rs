//! One row of logits, reduced: a vocabulary of a quarter of a million entries costs more in a plain loop than the layers
//! that made it.
//!
//! The order of additions depends on the length alone and nothing is fused, so that every instruction set gives the same
//! bits.
#![expect(unsafe_code, reason = "vectorised for the instruction set that was found")]

use super::simd::{Level, Simd, vectorised};

/// Partial sums and maxima kept apart: two vectors of f64 with AVX-512.
const LANES: usize = 16;

/// 1/n! for n = 12 down to 2: what `e^r` needs for |r| ≤ ln 2/2, within 2⁻⁵² of it.
const TAYLOR: [f64; 11] = [
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
];

/// `e^x` for x ≤ 0 within a few ulp, without a branch; what lies below e⁻⁷⁰⁰ is that.
#[inline(always)]
fn exp(x: f64) -> f64 {
    // Adding 1.5·2⁵² rounds to an integer and leaves it in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let x = if x < -700.0 { -700.0 } else { x };
    let rounded = x * std::f64::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = TAYLOR[0];
    let mut i = 1;
    while i < TAYLOR.len() {
        p = p * r + TAYLOR[i];
        i += 1;
    }
    let mantissa = (p * r) * r + (r + 1.0);
    mantissa * f64::from_bits((rounded.to_bits() << 52).wrapping_add(1023 << 52))
}

// `S` only names the instruction set the loop is compiled for.
#[inline(always)]
unsafe fn sum_exp_generic<S: Simd>(logits: &[f32], max: f32) -> f64 {
    let mut sums = [0.0; LANES];
    let (blocks, rest) = logits.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            sums[lane] += exp(f64::from(block[lane] - max));
        }
    }
    let mut sum = 0.0;
    for lane in sums {
        sum += lane;
    }
    for &x in rest {
        sum += exp(f64::from(x - max));
    }
    sum
}
vectorised! {
    fn sum_exp_at(logits: &[f32], max: f32) -> f64 = sum_exp_generic
}

// `S` as above.
#[inline(always)]
unsafe fn max_generic<S: Simd>(logits: &[f32]) -> Option<f32> {
    let mut maxima = [f32::NEG_INFINITY; LANES];
    let mut numbers = true;
    let (blocks, rest) = logits.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            let x = block[lane];
            numbers &= !x.is_nan();
            maxima[lane] = if x > maxima[lane] { x } else { maxima[lane] };
        }
    }
    let mut max = f32::NEG_INFINITY;
    for lane in maxima {
        max = max.max(lane);
    }
    for &x in rest {
        numbers &= !x.is_nan();
        max = max.max(x);
    }
    numbers.then_some(max)
}
vectorised! {
    fn max_at(logits: &[f32]) -> Option<f32> = max_generic
}

/// The best level of this machine.
fn level() -> Level {
    #[cfg(target_arch = "x86_64")]
    for level in [Level::Avx512, Level::Avx2] {
        if level.available() {
            return level;
        }
    }
    Level::Portable
}

/// The largest logit, −∞ for an empty row; `None` if one is NaN.
pub(in crate::engine) fn max(logits: &[f32]) -> Option<f32> {
    // SAFETY: `level` returns what is available.
    unsafe { max_at(level(), logits) }
}

/// `Σ exp(logits - max)` for a finite `max` that none exceeds; NaN if a logit is.
pub(in crate::engine) fn sum_exp(logits: &[f32], max: f32) -> f64 {
    // SAFETY: `level` returns what is available.
    unsafe { sum_exp_at(level(), logits, max) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::native::simd::levels;

    #[test]
    fn exp_is_that_of_the_library_down_to_its_floor() {
        for step in 0..200_000 {
            let x = -f64::from(step) * 0.0034;
            let (got, want) = (exp(x), x.exp());
            assert!((got / want - 1.0).abs() < 1e-15, "{x}: {got} {want}");
        }
        assert_eq!((exp(0.0), exp(-1e9) < 1e-300, exp(f64::NEG_INFINITY) < 1e-300), (1.0, true, true));
        assert!(exp(f64::NAN).is_nan());
    }

    proptest! {
        #[test]
        fn every_level_reduces_to_the_same_bits(logits in prop::collection::vec(-60f32..40.0, 0..200)) {
            let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let want: f64 = logits.iter().map(|&x| f64::from(x - max).exp()).sum();
            // SAFETY: `levels` lists available ones.
            let sums: Vec<_> = levels().into_iter().map(|level| unsafe { sum_exp_at(level, &logits, max) }).collect();
            for (level, sum) in levels().into_iter().zip(&sums) {
                // SAFETY: as above.
                prop_assert_eq!(unsafe { max_at(level, &logits) }, Some(max));
                prop_assert_eq!(sum.to_bits(), sums[0].to_bits());
                prop_assert!((sum - want).abs() <= 1e-14 * want.max(1.0));
            }
        }

        #[test]
        fn a_nan_anywhere_is_seen(n in 1usize..100, at in 0usize..100) {
            let mut logits = vec![0.5; n];
            logits[at % n] = f32::NAN;
            for level in levels() {
                // SAFETY: `levels` lists available ones.
                unsafe {
                    prop_assert_eq!(max_at(level, &logits), None);
                    prop_assert!(sum_exp_at(level, &logits, 0.5).is_nan());
                }
            }
        }
    }
}
