//! Quantized weights × activations of one or two bytes.

use std::arch::x86_64::*;

use super::super::WeightType;
use super::super::activations::IntRow;
use super::super::format::{Format, Source, with_quantized};
use super::super::packed::Layout;
use super::super::product::Product;
use super::read::{codes, heads, scale};
use super::store;

/// Computes the product.
///
/// # Safety
/// As [`super::multiply`].
pub(super) unsafe fn multiply(product: &Product<'_>, parts: usize) {
    let ty = product.w.weight_type();
    // SAFETY: passed on.
    unsafe {
        match parts {
            1 => with_quantized!(ty, one_byte, product),
            _ => with_quantized!(ty, two_bytes, product),
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn one_byte<F: Format>(product: &Product<'_>) {
    // SAFETY: passed on.
    unsafe { all_tiles::<F, 1>(product) }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn two_bytes<F: Format>(product: &Product<'_>) {
    // SAFETY: passed on.
    unsafe { all_tiles::<F, 2>(product) }
}

/// `P`: bytes per activation.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn all_tiles<F: Format, const P: usize>(product: &Product<'_>) {
    let layout = product.w.layout();
    for t in product.tiles.clone() {
        // SAFETY: the tile exists, and `some_rows` gets as many rows as are left at least.
        unsafe {
            let source = Source::tile(layout, product.w.tile(t).as_ptr());
            for half in 0..2 {
                let mut row = product.rows.start;
                while product.rows.end - row >= 4 {
                    some_rows::<F, P, 4>(product, layout, &source, row, t, half);
                    row += 4;
                }
                while product.rows.end > row {
                    some_rows::<F, P, 1>(product, layout, &source, row, t, half);
                    row += 1;
                }
            }
        }
    }
}

/// Half a tile × `M` rows.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn some_rows<F: Format, const P: usize, const M: usize>(
    product: &Product<'_>,
    layout: &Layout,
    source: &Source,
    row: usize,
    t: usize,
    half: usize,
) {
    let at = IntRow::new(layout.k, P);
    let rows: [*const u8; M] = std::array::from_fn(|m| product.x.row(row + m));
    let mut sums = [_mm256_setzero_ps(); M];
    // SAFETY: every block, group and activation read exists: `k` is a whole number of blocks.
    unsafe {
        for b in 0..layout.k / F::TY.block() {
            let heads = heads::<F>(source, half, b);
            for s in 0..F::SUBS {
                let sub = b * F::SUBS + s;
                let w = codes::<F>(source.codes.add(sub * source.sub_bytes), half);
                if F::PER_16 {
                    let (s0, m0) = scale::<F>(source, heads, half, b, 2 * s);
                    let (s1, m1) = scale::<F>(source, heads, half, b, 2 * s + 1);
                    for (m, sum) in sums.iter_mut().enumerate() {
                        let x = rows[m];
                        let d = _mm256_set1_ps(read(x, at.scale + 4 * sub));
                        let i0 = dot::<F, P, 4>(&w[..4], x.add(32 * sub), at.low, read(x, at.neg_sum16 + 8 * sub));
                        let neg_sum = read(x, at.neg_sum16 + 8 * sub + 4);
                        let i1 = dot::<F, P, 4>(&w[4..], x.add(32 * sub + 16), at.low, neg_sum);
                        *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(i0), _mm256_mul_ps(s0, d), *sum);
                        *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(i1), _mm256_mul_ps(s1, d), *sum);
                        if F::MIN {
                            let (a0, a1) = (at.scaled_sum16 + 8 * sub, at.scaled_sum16 + 8 * sub + 4);
                            *sum = _mm256_fnmadd_ps(m0, _mm256_set1_ps(read(x, a0)), *sum);
                            *sum = _mm256_fnmadd_ps(m1, _mm256_set1_ps(read(x, a1)), *sum);
                        }
                    }
                } else {
                    let (scale, min) = scale::<F>(source, heads, half, b, s);
                    for (m, sum) in sums.iter_mut().enumerate() {
                        let x = rows[m];
                        let d = _mm256_set1_ps(read(x, at.scale + 4 * sub));
                        let i = dot::<F, P, 8>(&w, x.add(32 * sub), at.low, read(x, at.neg_sum + 4 * sub));
                        *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(i), _mm256_mul_ps(scale, d), *sum);
                        if F::MIN {
                            let a = _mm256_set1_ps(read(x, at.scaled_sum + 4 * sub));
                            *sum = _mm256_fnmadd_ps(min, a, *sum);
                        }
                    }
                }
            }
        }
        for (m, sum) in sums.into_iter().enumerate() {
            store(product, row + m, t, half, sum);
        }
    }
}

#[inline]
unsafe fn read<T>(x: *const u8, at: usize) -> T {
    // SAFETY: the caller's field exists.
    unsafe { x.add(at).cast::<T>().read_unaligned() }
}

/// `Σ (w − offset) · x` over 4 `N` columns; `neg_sum` is `−Σ x`; of two bytes the second is at `low`.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn dot<F: Format, const P: usize, const N: usize>(
    w: &[__m256i],
    x: *const u8,
    low: usize,
    neg_sum: i32,
) -> __m256i {
    // Q8_0 is multiplied as it is in the file, with its sign.
    let start = if F::TY == WeightType::Q8_0 { 0 } else { neg_sum.wrapping_mul(F::TY.offset()) };
    // SAFETY: the caller's columns exist, in each part.
    unsafe {
        let mut sum = dot_bytes::<F, N>(w, x);
        if P == 2 {
            sum = _mm256_add_epi32(_mm256_slli_epi32::<8>(sum), dot_bytes::<F, N>(w, x.add(low)));
        }
        _mm256_add_epi32(sum, _mm256_set1_epi32(start))
    }
}

/// `Σ w · x` over 4 `N` columns of bytes.
///
/// `vpmaddubsw` saturates at 16 bits: two products of codes up to 63 are below 16129, so two of its results may be added;
/// 8-bit codes are multiplied as signed numbers, |w| ≤ 128 with |x| ≤ 127, which just fits.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn dot_bytes<F: Format, const N: usize>(w: &[__m256i], x: *const u8) -> __m256i {
    let ones = _mm256_set1_epi16(1);
    // SAFETY: the caller's columns exist.
    let four = |g: usize| unsafe { _mm256_set1_epi32(read(x, 4 * g)) };
    let mut sum = _mm256_setzero_si256();
    if F::TY == WeightType::Q8_0 {
        for g in 0..N {
            let w = _mm256_xor_si256(w[g], _mm256_set1_epi8(-128));
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(four(g), w));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
        }
        return sum;
    }
    for g in (0..N).step_by(2) {
        let pairs = _mm256_add_epi16(_mm256_maddubs_epi16(w[g], four(g)), _mm256_maddubs_epi16(w[g + 1], four(g + 1)));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
    sum
}
