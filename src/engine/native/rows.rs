//! What happens to one row of activations between matrix products: norms, rotation, gates, sums.
//!
//! Every function works on any length (the end is padded inside registers) and reduces in an order that depends only on
//! the length, so results do not depend on threads or batch. NaN stays NaN, and a norm over something infinite is NaN:
//! a bad weight shows in the logits, where [`RowOps::finite`] looks for it.
#![expect(unsafe_code, reason = "vector loads and stores inside checked lengths")]

use super::{
    hparams::Gate,
    simd::{Level, Simd, vectorised},
};

/// Loads the `n < LANES` elements at `p`, zeros after them.
#[inline(always)]
unsafe fn load_part<S: Simd>(p: *const f32, n: usize) -> S::V {
    let mut lanes = [0.0; 32];
    // SAFETY: `n` elements are readable (caller) and fit.
    unsafe {
        std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
        S::load(lanes.as_ptr())
    }
}

/// Stores the first `n < LANES` lanes at `p`.
#[inline(always)]
unsafe fn store_part<S: Simd>(p: *mut f32, v: S::V, n: usize) {
    let mut lanes = [0.0; 32];
    // SAFETY: `n` elements are writable (caller).
    unsafe {
        S::store(lanes.as_mut_ptr(), v);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n);
    }
}

/// `out[i] = f(i)` for whole vectors and the padded rest; `f` gets an offset and a loader for inputs of the same length.
macro_rules! for_each_vector {
    ($S:ident, $n:expr, |$at:ident, $load:ident, $store:ident| $body:block) => {{
        let n = $n;
        let whole = n - n % $S::LANES;
        let mut $at = 0;
        while $at < whole {
            macro_rules! $load {
                ($p: expr) => {
                    $S::load($p.as_ptr().add($at))
                };
            }
            macro_rules! $store {
                ($p: expr, $v: expr) => {
                    $S::store($p.as_mut_ptr().add($at), $v)
                };
            }
            $body
            $at += $S::LANES;
        }
        if $at < n {
            macro_rules! $load {
                ($p: expr) => {
                    load_part::<$S>($p.as_ptr().add($at), n - $at)
                };
            }
            macro_rules! $store {
                ($p: expr, $v: expr) => {
                    store_part::<$S>($p.as_mut_ptr().add($at), $v, n - $at)
                };
            }
            $body
        }
    }};
}

#[inline(always)]
unsafe fn norm_factor<S: Simd>(x: &[f32], eps: f32) -> f32 {
    // SAFETY: the macro stays inside the length; the level is available (caller).
    let sum = unsafe {
        let mut squares = S::splat(0.0);
        for_each_vector!(S, x.len(), |at, load, _store| {
            let v = load!(x);
            squares = S::mul_add(v, v, squares);
        });
        S::sum(squares)
    };
    // An infinite sum would give a factor of 0 and hide what caused it.
    if sum.is_finite() { 1.0 / (sum / x.len() as f32 + eps).sqrt() } else { f32::NAN }
}

#[inline(always)]
unsafe fn norm_generic<S: Simd>(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert!(x.len() == weight.len() && x.len() == out.len());
    // SAFETY: equal lengths, and the macro stays inside them; the level is available (caller).
    unsafe {
        let scale = S::splat(norm_factor::<S>(x, eps));
        for_each_vector!(S, x.len(), |at, load, store| {
            let v = S::mul(S::mul(load!(x), scale), load!(weight));
            store!(out, v);
        });
    }
}
vectorised! {
    /// Root-mean-square norm: `out = x / sqrt(mean(x²) + eps) · weight`; NaN if the
    /// squares do not sum to a number.
    fn norm_at(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) = norm_generic
}

#[inline(always)]
unsafe fn norm_in_place_generic<S: Simd>(x: &mut [f32], weight: &[f32], eps: f32) {
    assert_eq!(x.len(), weight.len());
    // SAFETY: equal lengths, and the macro stays inside them; the level is available (caller).
    unsafe {
        let scale = S::splat(norm_factor::<S>(x, eps));
        for_each_vector!(S, x.len(), |at, load, store| {
            let v = S::mul(S::mul(load!(x), scale), load!(weight));
            store!(x, v);
        });
    }
}
vectorised! {
    /// [`norm_at`] onto its input.
    fn norm_in_place_at(x: &mut [f32], weight: &[f32], eps: f32) = norm_in_place_generic
}

#[inline(always)]
unsafe fn add_generic<S: Simd>(x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len());
    // SAFETY: equal lengths, and the macro stays inside them; the level is available (caller).
    unsafe {
        for_each_vector!(S, x.len(), |at, load, store| {
            let v = S::add(load!(x), load!(y));
            store!(x, v);
        });
    }
}
vectorised! {
    /// `x += y`.
    fn add_at(x: &mut [f32], y: &[f32]) = add_generic
}

#[inline(always)]
unsafe fn gated_generic<S: Simd>(gate: &mut [f32], up: &[f32], kind: Gate) {
    assert_eq!(gate.len(), up.len());
    // SAFETY: equal lengths, and the macro stays inside them; the level is available (caller).
    unsafe {
        let one = S::splat(1.0);
        for_each_vector!(S, gate.len(), |at, load, store| {
            let x = load!(gate);
            // Both gates are x · σ(z): SiLU with z = x, tanh-GELU with z = 2·√(2/π)·(x + 0.044715·x³).
            let z = match kind {
                Gate::Silu => x,
                Gate::GeluTanh => {
                    let cubic = S::mul(S::mul(x, x), S::mul(x, S::splat(0.044_715)));
                    S::mul(S::add(x, cubic), S::splat(1.595_769))
                }
            };
            let sigma = S::div(one, S::add(one, S::exp(S::sub(S::splat(0.0), z))));
            let v = S::mul(S::mul(x, sigma), load!(up));
            store!(gate, v);
        });
    }
}
vectorised! {
    /// `gate = act(gate) · up`.
    fn gated_at(gate: &mut [f32], up: &[f32], kind: Gate) = gated_generic
}

#[inline(always)]
unsafe fn rotate_generic<S: Simd>(x: &mut [f32], cos: &[f32], sin: &[f32], scale: f32) {
    assert!(cos.len() == sin.len() && 2 * cos.len() <= x.len());
    let half = cos.len();
    let (rotated, rest) = x.split_at_mut(2 * half);
    let (a, b) = rotated.split_at_mut(half);
    // SAFETY: four slices of equal length, and the macro stays inside them; the level is available (caller).
    unsafe {
        let s = S::splat(scale);
        for_each_vector!(S, half, |at, load, store| {
            let (x, y) = (S::mul(load!(a), s), S::mul(load!(b), s));
            let (c, t) = (load!(cos), load!(sin));
            let first = S::sub(S::mul(x, c), S::mul(y, t));
            let second = S::mul_add(x, t, S::mul(y, c));
            store!(a, first);
            store!(b, second);
        });
        if scale != 1.0 {
            for_each_vector!(S, rest.len(), |at, load, store| {
                let v = S::mul(load!(rest), s);
                store!(rest, v);
            });
        }
    }
}
vectorised! {
    /// Rotates the pairs `(x[i], x[i + half])`, `half = cos.len()`, by their angles and multiplies all of `x` by `scale`.
    fn rotate_at(x: &mut [f32], cos: &[f32], sin: &[f32], scale: f32) = rotate_generic
}

#[inline(always)]
unsafe fn finite_generic<S: Simd>(x: &[f32]) -> bool {
    // SAFETY: the macro stays inside the length; the level is available (caller).
    unsafe {
        // Stays zero unless an element is infinite or NaN.
        let mut taint = S::splat(0.0);
        for_each_vector!(S, x.len(), |at, load, _store| {
            taint = S::mul_add(load!(x), S::splat(0.0), taint);
        });
        S::sum(taint) == 0.0
    }
}
vectorised! {
    /// Whether no element is infinite or NaN.
    fn finite_at(x: &[f32]) -> bool = finite_generic
}

/// The row functions of one instruction set, checked once to be available.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowOps {
    level: Level,
}

impl RowOps {
    /// `None` if this machine cannot run `level`.
    pub(super) fn new(level: Level) -> Option<Self> {
        level.available().then_some(Self { level })
    }

    /// The instruction set.
    #[inline]
    pub(super) fn level(self) -> Level {
        self.level
    }

    /// Root-mean-square norm, `out = x / sqrt(mean(x²) + eps) · weight`.
    #[inline]
    pub(super) fn norm(self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        // SAFETY: `new` checked the level.
        unsafe { norm_at(self.level, x, weight, eps, out) }
    }

    /// [`norm`](Self::norm) onto its input.
    #[inline]
    pub(super) fn norm_in_place(self, x: &mut [f32], weight: &[f32], eps: f32) {
        // SAFETY: `new` checked the level.
        unsafe { norm_in_place_at(self.level, x, weight, eps) }
    }

    /// `x += y`.
    #[inline]
    pub(super) fn add(self, x: &mut [f32], y: &[f32]) {
        // SAFETY: `new` checked the level.
        unsafe { add_at(self.level, x, y) }
    }

    /// `gate = act(gate) · up`.
    #[inline]
    pub(super) fn gated(self, gate: &mut [f32], up: &[f32], kind: Gate) {
        // SAFETY: `new` checked the level.
        unsafe { gated_at(self.level, gate, up, kind) }
    }

    /// Rotary embedding on pairs half a rotation apart, then a factor on the whole head.
    #[inline]
    pub(super) fn rotate(self, x: &mut [f32], cos: &[f32], sin: &[f32], scale: f32) {
        // SAFETY: `new` checked the level.
        unsafe { rotate_at(self.level, x, cos, sin, scale) }
    }

    /// Whether no element is infinite or NaN.
    #[inline]
    pub(super) fn finite(self, x: &[f32]) -> bool {
        // SAFETY: `new` checked the level.
        unsafe { finite_at(self.level, x) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::native::simd::levels;
    use proptest::prelude::*;

    fn close(got: &[f32], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((f64::from(*g) - w).abs() <= 1e-5 * (1.0 + w.abs()), "{g} {w}");
        }
    }

    /// Every function at every length, each operand against a page that faults.
    #[cfg(unix)]
    #[test]
    fn nothing_outside_a_row_is_touched() {
        use crate::engine::native::kernels::{
            Memory,
            guard::{self, Side},
        };
        let row = |n: usize| Memory::zeroed(4 * n.max(1)).unwrap();
        // SAFETY: memory of this length, used by this test alone and one slice at a time.
        let floats = |memory: &Memory, n: usize| unsafe {
            assert_eq!(memory.len(), 4 * n.max(1));
            std::slice::from_raw_parts_mut(memory.start().cast::<f32>(), n)
        };
        for side in [Side::Before, Side::After] {
            guard::with(side, || {
                for n in 1..100 {
                    let memory = [row(n), row(n), row(n)];
                    let [x, y, out] = memory.each_ref().map(|memory| floats(memory, n));
                    let half = [row(n / 2), row(n / 2)];
                    let [cos, sin] = half.each_ref().map(|memory| floats(memory, n / 2));
                    for ops in every_level() {
                        x.fill(1.0);
                        y.fill(0.5);
                        ops.norm(x, y, 1e-5, out);
                        ops.norm_in_place(out, y, 1e-5);
                        ops.add(out, x);
                        ops.gated(x, y, Gate::GeluTanh);
                        ops.gated(x, y, Gate::Silu);
                        ops.rotate(x, cos, sin, 0.5);
                        assert!(ops.finite(x) && ops.finite(y) && ops.finite(out));
                    }
                }
            });
        }
    }

    fn every_level() -> impl Iterator<Item = RowOps> {
        levels().into_iter().filter_map(RowOps::new)
    }

    proptest! {
        #[test]
        fn rows_match_f64_at_any_length(x in prop::collection::vec(-9f32..9.0, 1..200), seed in 0u32..1000) {
            let y: Vec<f32> = (0..x.len()).map(|i| ((i as u32 * 37 + seed) % 97) as f32 / 31.0 - 1.5).collect();
            let mean = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / x.len() as f64;
            let factor = 1.0 / (mean + f64::from(1e-5f32)).sqrt();
            let normed: Vec<f64> = x.iter().zip(&y).map(|(&x, &w)| f64::from(x) * factor * f64::from(w)).collect();
            let sums: Vec<f64> = x.iter().zip(&y).map(|(&x, &y)| f64::from(x) + f64::from(y)).collect();
            let silu: Vec<f64> =
                x.iter().zip(&y).map(|(&x, &y)| f64::from(x) / (1.0 + (-f64::from(x)).exp()) * f64::from(y)).collect();
            let gelu: Vec<f64> = x.iter().zip(&y).map(|(&x, &y)| {
                let x = f64::from(x);
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()) * f64::from(y)
            }).collect();
            for ops in every_level() {
                let mut out = vec![0.0; x.len()];
                ops.norm(&x, &y, 1e-5, &mut out);
                close(&out, &normed);
                let mut same = x.clone();
                ops.norm_in_place(&mut same, &y, 1e-5);
                prop_assert_eq!(&same, &out);
                let mut sum = x.clone();
                ops.add(&mut sum, &y);
                close(&sum, &sums);
                for (kind, want) in [(Gate::Silu, &silu), (Gate::GeluTanh, &gelu)] {
                    let mut gate = x.clone();
                    ops.gated(&mut gate, &y, kind);
                    close(&gate, want);
                }
            }
        }

        #[test]
        fn rotation_keeps_lengths_and_leaves_the_rest(half in 1usize..70, rest in 0usize..9, angle in -3f32..3.0) {
            let x: Vec<f32> = (0..2 * half + rest).map(|i| (i as f32 * 0.7).sin()).collect();
            let (cos, sin): (Vec<f32>, Vec<f32>) =
                (0..half).map(|i| { let a = angle * i as f32; (a.cos(), a.sin()) }).unzip();
            let mut want: Vec<f64> = x.iter().map(|&v| 0.5 * f64::from(v)).collect();
            for i in 0..half {
                let (a, b) = (want[i], want[i + half]);
                want[i] = a * f64::from(cos[i]) - b * f64::from(sin[i]);
                want[i + half] = a * f64::from(sin[i]) + b * f64::from(cos[i]);
            }
            for ops in every_level() {
                let mut got = x.clone();
                ops.rotate(&mut got, &cos, &sin, 0.5);
                close(&got, &want);
            }
        }

        #[test]
        fn one_bad_value_anywhere_is_seen(n in 1usize..100, at in 0usize..100, infinite: bool) {
            let at = at % n;
            let bad = if infinite { f32::INFINITY } else { f32::NAN };
            let mut x = vec![0.5; n];
            x[at] = bad;
            let ones = vec![1.0; n];
            for ops in every_level() {
                prop_assert!(!ops.finite(&x) && ops.finite(&ones));
                let (mut normed, mut gated) = (vec![0.0; n], ones.clone());
                ops.norm(&x, &ones, 1e-5, &mut normed);
                prop_assert!(normed.iter().all(|v| v.is_nan()));
                ops.gated(&mut gated, &x, Gate::Silu);
                prop_assert!(!ops.finite(&gated));
            }
        }
    }
}
