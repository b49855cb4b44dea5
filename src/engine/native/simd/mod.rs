//! One vector vocabulary, three instruction sets: algorithms are written once over [`Simd`] and compiled for each.
//!
//! Every method is `unsafe` because the instruction set must be present; [`Level`] says which is, and the functions made
//! by [`vectorised`] are the only doors into generic code. Comparisons keep NaN: a NaN that enters an operation leaves
//! it, so that a later check can see it.
#![expect(unsafe_code, reason = "vector intrinsics")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Avx512;
pub(super) use portable::Portable;

/// Vectors of `f32` and what the decoder does with them between matrix products.
///
/// # Safety
/// Every method needs the instruction set of its type; pointers must be valid for [`LANES`](Self::LANES) elements, any
/// alignment.
pub(super) unsafe trait Simd: Copy {
    /// A vector.
    type V: Copy;
    /// Elements per vector; divides 32.
    const LANES: usize;
    /// Rows of 32 columns whose sums fit in registers.
    const ROWS: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    /// Loads IEEE half floats.
    unsafe fn load_f16(p: *const u16) -> Self::V;
    /// Rounds to half floats, ties to even.
    unsafe fn store_f16(p: *mut u16, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`; fused where the instruction set fuses.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a > b ? a : b`; `b` if either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// `a < b ? a : b`; `b` if either is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// To the nearest integer.
    unsafe fn round(v: Self::V) -> Self::V;
    /// `v * 2^n` for integral `n` in `-126..=127`.
    unsafe fn scale2(v: Self::V, n: Self::V) -> Self::V;
    /// `x < limit ? 0 : v`.
    unsafe fn zero_where_below(v: Self::V, x: Self::V, limit: Self::V) -> Self::V;
    /// Sum of the lanes, in a fixed order.
    unsafe fn sum(v: Self::V) -> f32;
    /// Largest lane.
    unsafe fn max_lane(v: Self::V) -> f32;

    /// `e^x` within 2 ulp; exactly 0 below −87.3, finite (3e38) above 88.3, NaN for NaN. Cephes' `expf`.
    #[inline(always)]
    unsafe fn exp(x: Self::V) -> Self::V {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let low = Self::splat(-87.3);
            let bounded = Self::min(Self::splat(88.3), Self::max(low, x));
            let n = Self::round(Self::mul(bounded, Self::splat(std::f32::consts::LOG2_E)));
            let r = Self::mul_add(n, Self::splat(-0.693_359_4), bounded);
            let r = Self::mul_add(n, Self::splat(2.121_944_4e-4), r);
            let mut p = Self::splat(1.987_569_2e-4);
            for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
                p = Self::mul_add(p, r, Self::splat(c));
            }
            let e = Self::mul_add(Self::mul(p, r), r, Self::add(r, Self::splat(1.0)));
            Self::zero_where_below(Self::scale2(e, n), x, low)
        }
    }
}

/// Which implementation of [`Simd`] to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Plain Rust; the oracle of the others.
    Portable,
    /// AVX2, FMA and F16C: 8 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ, VL: 16 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// Whether this machine can run it.
    pub(super) fn available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        }
    }
}

/// Makes a function that takes a [`Level`] first and runs the generic function of the same signature compiled for it.
///
/// # Safety
/// The made function is `unsafe`: the level must be [`available`](Level::available), and the generic function's own
/// conditions hold.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? = $generic:ident $(:: <_ $(, $extra:ty)*>)?) => {
        $(#[$meta])*
        $vis unsafe fn $name(level: $crate::engine::native::simd::Level, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn avx2($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the features are enabled here; the rest is the caller's promise.
                unsafe { $generic::<$crate::engine::native::simd::Avx2 $($(, $extra)*)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            unsafe fn avx512($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: as above.
                unsafe { $generic::<$crate::engine::native::simd::Avx512 $($(, $extra)*)?>($($arg),*) }
            }
            // SAFETY: the caller says that the level is available.
            unsafe {
                match level {
                    $crate::engine::native::simd::Level::Portable => {
                        $generic::<$crate::engine::native::simd::Portable $($(, $extra)*)?>($($arg),*)
                    }
                    #[cfg(target_arch = "x86_64")]
                    $crate::engine::native::simd::Level::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::engine::native::simd::Level::Avx512 => avx512($($arg),*),
                }
            }
        }
    };
}
pub(super) use vectorised;

/// The levels this machine can run, for tests.
#[cfg(test)]
pub(super) fn levels() -> Vec<Level> {
    let mut levels = vec![Level::Portable];
    #[cfg(target_arch = "x86_64")]
    levels.extend([Level::Avx2, Level::Avx512]);
    levels.retain(|level| level.available());
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(always)]
    unsafe fn exp_all<S: Simd>(x: &mut [f32; 32]) {
        for chunk in x.chunks_exact_mut(S::LANES) {
            // SAFETY: a chunk holds exactly one vector; the level is available.
            unsafe { S::store(chunk.as_mut_ptr(), S::exp(S::load(chunk.as_ptr()))) };
        }
    }
    vectorised!(fn exp32(x: &mut [f32; 32]) = exp_all);

    #[inline(always)]
    unsafe fn halves<S: Simd>(x: &[f32; 32], bits: &mut [u16; 32], back: &mut [f32; 32]) {
        for i in (0..32).step_by(S::LANES) {
            // SAFETY: `i + LANES <= 32`; the level is available.
            unsafe {
                S::store_f16(bits.as_mut_ptr().add(i), S::load(x.as_ptr().add(i)));
                S::store(back.as_mut_ptr().add(i), S::load_f16(bits.as_ptr().add(i)));
            }
        }
    }
    vectorised!(fn halves32(x: &[f32; 32], bits: &mut [u16; 32], back: &mut [f32; 32]) = halves);

    #[inline(always)]
    unsafe fn reduce<S: Simd>(x: &[f32; 32]) -> (f32, f32) {
        // SAFETY: 32 is a whole number of vectors; the level is available.
        unsafe {
            let (mut sum, mut max) = (S::splat(0.0), S::splat(f32::NEG_INFINITY));
            for i in (0..32).step_by(S::LANES) {
                let v = S::load(x.as_ptr().add(i));
                sum = S::add(sum, v);
                max = S::max(max, v);
            }
            (S::sum(sum), S::max_lane(max))
        }
    }
    vectorised!(fn reduce32(x: &[f32; 32]) -> (f32, f32) = reduce);

    #[test]
    fn exp_is_within_a_few_ulp_and_exact_at_the_ends() {
        for level in levels() {
            for step in 0..6000 {
                let mut x: [f32; 32] = std::array::from_fn(|i| -87.0 + (step * 32 + i) as f32 * (175.0 / 192_000.0));
                let want = x.map(|v| f64::from(v).exp());
                // SAFETY: `levels` lists available ones.
                unsafe { exp32(level, &mut x) };
                for (got, want) in x.iter().zip(want) {
                    assert!((f64::from(*got) - want).abs() <= want * 4e-7, "{level:?}: {got} {want}");
                }
            }
            let mut ends = [0.0; 32];
            ends[..5].copy_from_slice(&[f32::NEG_INFINITY, -88.0, f32::INFINITY, f32::NAN, 0.0]);
            // SAFETY: as above.
            unsafe { exp32(level, &mut ends) };
            assert_eq!(ends[..2], [0.0, 0.0], "{level:?}");
            assert!(ends[2] > 1e38 && ends[2].is_finite() && ends[3].is_nan() && ends[4] == 1.0, "{level:?}: {ends:?}");
        }
    }

    #[test]
    fn half_floats_round_as_the_standard_says() {
        for level in levels() {
            for step in 0..2000 {
                let x: [f32; 32] = std::array::from_fn(|i| ((step * 32 + i) as f32 * 0.37 - 1e4) * 1.000_123);
                let (mut bits, mut back) = ([0; 32], [0.0; 32]);
                // SAFETY: `levels` lists available ones.
                unsafe { halves32(level, &x, &mut bits, &mut back) };
                for i in 0..32 {
                    let want = half::f16::from_f32(x[i]);
                    assert_eq!((bits[i], back[i]), (want.to_bits(), want.to_f32()), "{level:?}");
                }
            }
        }
    }

    #[test]
    fn reductions_see_every_lane() {
        for level in levels() {
            for at in 0..32 {
                let mut x = [1.0; 32];
                x[at] = 5.0;
                // SAFETY: `levels` lists available ones.
                assert_eq!(unsafe { reduce32(level, &x) }, (36.0, 5.0), "{level:?}");
            }
        }
    }
}
