//! The searches for block scales behind the quantized formats.
//!
//! Same arithmetic in the same order as ggml's reference quantizers (ggml-quants.c), in plain `f32` without fused
//! multiply-add, so that the blocks come out bit for bit as llama-quantize writes them. That equality, checked by the
//! tests, is what lets our tiers be compared with published ones.

/// Below this a group counts as all zero.
pub(super) const GROUP_EPSILON: f32 = 1e-15;

/// The nearest integer, halves to even, for |x| < 2^22.
#[inline]
pub(super) fn nearest(x: f32) -> i32 {
    // Adding 1.5 × 2^23 leaves the integer in the low mantissa bits.
    ((x + 12_582_912.0).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

/// The value of largest magnitude, the first of equals, and that magnitude.
#[inline]
pub(super) fn extreme(x: &[f32]) -> (f32, f32) {
    let (mut value, mut magnitude) = (0.0, 0.0);
    for &v in x {
        if v.abs() > magnitude {
            (value, magnitude) = (v, v.abs());
        }
    }
    (value, magnitude)
}

/// Scale for `x ≈ scale × l` with l in `−n..n`, each error weighted by x², the best of 19 candidates (Q6_K). `l`
/// receives the integers plus `n`.
#[inline]
pub(super) fn symmetric(x: &[f32; 16], n: i32, l: &mut [u8]) -> f32 {
    let (value, magnitude) = extreme(x);
    if magnitude < GROUP_EPSILON {
        l.fill(0);
        return 0.0;
    }
    let integer = |inverse: f32, v: f32| nearest(inverse * v).clamp(-n, n - 1);
    let sums = |inverse: f32| {
        let (mut xl, mut ll) = (0.0_f32, 0.0_f32);
        for &v in x {
            let l = integer(inverse, v) as f32;
            let w = v * v;
            xl += w * v * l;
            ll += w * l * l;
        }
        (xl, ll)
    };
    let mut best_inverse = -(n as f32) / value;
    let (xl, ll) = sums(best_inverse);
    let mut scale = if ll == 0.0 { 0.0 } else { xl / ll };
    let mut best = scale * xl;
    for step in (-9_i32..=9).filter(|&step| step != 0) {
        let inverse = -(n as f32 + 0.1 * step as f32) / value;
        let (xl, ll) = sums(inverse);
        if ll > 0.0 && xl * xl > best * ll {
            scale = xl / ll;
            best = scale * xl;
            best_inverse = inverse;
        }
    }
    for (l, &v) in l.iter_mut().zip(x) {
        *l = (integer(best_inverse, v) + n) as u8;
    }
    scale
}

/// Scale for `x ≈ scale × l` with l in `−n..n`, improved one l at a time (Q3_K). `l` receives the integers plus `n`.
#[inline]
pub(super) fn refined(x: &[f32; 16], n: i32, l: &mut [u8]) -> f32 {
    let (value, magnitude) = extreme(x);
    if magnitude < GROUP_EPSILON {
        l.fill(0);
        return 0.0;
    }
    let inverse = -(n as f32) / value;
    let mut q = [0_i32; 16];
    let (mut xl, mut ll) = (0.0_f32, 0.0_f32);
    for (&v, q) in x.iter().zip(&mut q) {
        *q = nearest(inverse * v).clamp(-n, n - 1);
        let w = v * v;
        xl += w * v * *q as f32;
        ll += w * *q as f32 * *q as f32;
    }
    for _ in 0..5 {
        let mut changed = false;
        for (&v, q) in x.iter().zip(&mut q) {
            let w = v * v;
            let mut new_xl = xl - w * v * *q as f32;
            if new_xl > 0.0 {
                let mut new_ll = ll - w * *q as f32 * *q as f32;
                let new_q = nearest(v * new_ll / new_xl).clamp(-n, n - 1);
                if new_q != *q {
                    new_xl += w * v * new_q as f32;
                    new_ll += w * new_q as f32 * new_q as f32;
                    if new_ll > 0.0 && new_xl * new_xl * ll > xl * xl * new_ll {
                        (*q, xl, ll, changed) = (new_q, new_xl, new_ll, true);
                    }
                }
            }
        }
        if !changed {
            break;
        }
    }
    for (l, q) in l.iter_mut().zip(q) {
        *l = (q + n) as u8;
    }
    if ll > 0.0 { xl / ll } else { 0.0 }
}

/// How [`affine`] looks for a scale.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    /// Largest integer.
    pub(super) max: u8,
    /// First offset added to `max` over the range, and by how much it grows.
    pub(super) start: f32,
    pub(super) step: f32,
    /// Number of steps after the first.
    pub(super) steps: i32,
    /// Whether the error is absolute rather than squared.
    pub(super) absolute: bool,
}

/// Scale and minimum for `x ≈ scale × l − minimum` with l in `0..=max` and `minimum ≥ 0`, the best candidate of a grid
/// (Q2_K, Q4_K, Q5_K). `l` receives the integers.
#[inline]
pub(super) fn affine<const N: usize>(x: &[f32; N], weights: &[f32; N], grid: Grid, l: &mut [u8]) -> (f32, f32) {
    let max_l = f32::from(grid.max);
    let (mut min, mut max) = (x[0], x[0]);
    let (mut sum_w, mut sum_x) = (weights[0], weights[0] * x[0]);
    for (&v, &w) in x.iter().zip(weights).skip(1) {
        min = if v < min { v } else { min };
        max = if v > max { v } else { max };
        sum_w += w;
        sum_x += w * v;
    }
    if min > 0.0 {
        min = 0.0;
    }
    if max == min {
        l.fill(0);
        return (0.0, -min);
    }
    let quantize = |inverse: f32, low: f32| x.map(|v| nearest(inverse * (v - low)).clamp(0, i32::from(grid.max)) as u8);
    let error = |l: &[u8; N], scale: f32, min: f32| {
        let mut sum = 0.0_f32;
        // Indices: where codegen units are not optimised together `zip` is a call, and this is the innermost loop.
        for i in 0..N {
            let difference = scale * f32::from(l[i]) + min - x[i];
            sum += weights[i] * if grid.absolute { difference.abs() } else { difference * difference };
        }
        sum
    };
    let inverse = max_l / (max - min);
    let mut scale = 1.0 / inverse;
    let mut best_l = quantize(inverse, min);
    let mut best = error(&best_l, scale, min);
    for step in 0..=grid.steps {
        // As in ggml the candidate's range starts at the minimum found so far.
        let candidate = quantize((grid.start + grid.step * step as f32 + max_l) / (max - min), min);
        let (mut sum_l, mut sum_ll, mut sum_xl) = (0.0_f32, 0.0_f32, 0.0_f32);
        for i in 0..N {
            let (v, w, l) = (x[i], weights[i], f32::from(candidate[i]));
            sum_l += w * l;
            sum_ll += w * l * l;
            sum_xl += w * l * v;
        }
        let determinant = sum_w * sum_ll - sum_l * sum_l;
        if determinant > 0.0 {
            let mut new_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
            let mut new_min = (sum_ll * sum_x - sum_l * sum_xl) / determinant;
            if new_min > 0.0 {
                new_min = 0.0;
                new_scale = sum_xl / sum_ll;
            }
            let new = error(&candidate, new_scale, new_min);
            if new < best {
                (best_l, best, scale, min) = (candidate, new, new_scale, new_min);
            }
        }
    }
    for (l, best) in l.iter_mut().zip(best_l) {
        *l = best;
    }
    (scale, -min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rounds_halves_to_even() {
        let pairs = [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (3.49, 3), (-7.51, -8)];
        assert!(pairs.iter().all(|&(x, n)| nearest(x) == n));
    }

    #[test]
    fn representable_groups_are_found_exactly() {
        let x: [f32; 16] = std::array::from_fn(|i| (i as f32 - 8.0) * 0.25);
        let mut l = [0; 16];
        assert_eq!(symmetric(&x, 8, &mut l).abs(), 0.25);
        let (scale, min) =
            affine(&x, &[1.0; 16], Grid { max: 15, start: -1.0, step: 0.1, steps: 20, absolute: false }, &mut l);
        assert!((scale - 0.25).abs() < 1e-6 && (min - 2.0).abs() < 1e-6, "{scale} {min}");
        assert_eq!(l, std::array::from_fn(|i| i as u8));
    }

    #[test]
    fn zeros_have_no_scale() {
        let mut l = [7; 16];
        assert_eq!(symmetric(&[0.0; 16], 32, &mut l), 0.0);
        assert_eq!(l, [0; 16]);
        l.fill(7);
        assert_eq!(refined(&[0.0; 16], 4, &mut l), 0.0);
        assert_eq!(l, [0; 16]);
    }
}
