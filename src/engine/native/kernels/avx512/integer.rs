//! Quantized weights × activations of one or two bytes.

use std::arch::x86_64::*;

use super::super::WeightType;
use super::super::activations::IntRow;
use super::super::format::{Expanded, Format, Source, with_quantized};
use super::super::packed::Layout;
use super::super::product::Product;
use super::read::{ask_ahead, codes, expand, heads, scale};
use super::store;

/// Rows from which a tile is unpacked to memory first: below, unpacking it again for each eight rows is cheaper.
const EXPAND_MIN_ROWS: usize = 24;

/// Computes the product.
///
/// # Safety
/// As [`super::multiply`].
pub(super) unsafe fn multiply(product: &Product<'_>, parts: usize, scratch: *mut u8) {
    let ty = product.w.weight_type();
    // SAFETY: passed on.
    unsafe {
        match parts {
            1 => with_quantized!(ty, one_byte, product, scratch),
            _ => with_quantized!(ty, two_bytes, product, scratch),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn one_byte<F: Format>(product: &Product<'_>, scratch: *mut u8) {
    // SAFETY: passed on.
    unsafe { all_tiles::<F, 1>(product, scratch) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn two_bytes<F: Format>(product: &Product<'_>, scratch: *mut u8) {
    // SAFETY: passed on.
    unsafe { all_tiles::<F, 2>(product, scratch) }
}

/// `P`: bytes per activation.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn all_tiles<F: Format, const P: usize>(product: &Product<'_>, scratch: *mut u8) {
    let layout = product.w.layout();
    for t in product.tiles.clone() {
        // SAFETY: the tile exists; the scratch has room for it unpacked.
        unsafe {
            let source = Source::tile(layout, product.w.tile(t).as_ptr());
            if product.rows.len() >= EXPAND_MIN_ROWS {
                expand::<F>(layout, &source, scratch);
                all_rows::<Expanded<F>, P>(product, layout, &Source::expanded(layout, scratch), t);
            } else {
                all_rows::<F, P>(product, layout, &source, t);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn all_rows<F: Format, const P: usize>(product: &Product<'_>, layout: &Layout, source: &Source, t: usize) {
    let mut row = product.rows.start;
    // SAFETY: `some_rows` gets as many rows as are left at least.
    unsafe {
        while product.rows.end - row >= 8 {
            some_rows::<F, P, 8>(product, layout, source, row, t);
            row += 8;
        }
        if product.rows.end - row >= 4 {
            some_rows::<F, P, 4>(product, layout, source, row, t);
            row += 4;
        }
        if product.rows.end - row >= 2 {
            some_rows::<F, P, 2>(product, layout, source, row, t);
            row += 2;
        }
        if product.rows.end > row {
            some_rows::<F, P, 1>(product, layout, source, row, t);
        }
    }
}

/// One tile × `M` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn some_rows<F: Format, const P: usize, const M: usize>(
    product: &Product<'_>,
    layout: &Layout,
    source: &Source,
    row: usize,
    t: usize,
) {
    let at = IntRow::new(layout.k, P);
    let rows: [*const u8; M] = std::array::from_fn(|m| product.x.row(row + m));
    let mut sums = [_mm512_setzero_ps(); M];
    let mut p = source.codes;
    let mut ahead = source.scales;
    // SAFETY: every block, group and activation read exists: `k` is a whole number of blocks.
    unsafe {
        for b in 0..layout.k / F::TY.block() {
            let heads = heads::<F>(source, b);
            for s in 0..F::SUBS {
                let sub = b * F::SUBS + s;
                ask_ahead::<F>(&mut ahead);
                let w = codes::<F>(p);
                p = p.add(source.sub_bytes);
                if F::PER_16 {
                    let scales = [scale::<F>(source, heads, b, 2 * s), scale::<F>(source, heads, b, 2 * s + 1)];
                    for (m, sum) in sums.iter_mut().enumerate() {
                        let x = rows[m];
                        let start = |half: usize| start::<F>(x, at.neg_sum16 + 8 * sub + 4 * half);
                        let i0 = dot::<P, 4>([w[0], w[1], w[2], w[3]], x.add(32 * sub), at.low, start(0));
                        let i1 = dot::<P, 4>([w[4], w[5], w[6], w[7]], x.add(32 * sub + 16), at.low, start(1));
                        *sum = add_halves::<F>(*sum, [i0, i1], &scales, x, &at, sub);
                    }
                } else {
                    let scale = scale::<F>(source, heads, b, s);
                    for (m, sum) in sums.iter_mut().enumerate() {
                        let x = rows[m];
                        let start = start::<F>(x, at.neg_sum + 4 * sub);
                        let i = dot::<P, 8>(w, x.add(32 * sub), at.low, start);
                        *sum = add_block::<F>(*sum, i, scale, x, &at, sub);
                    }
                }
            }
        }
        for (m, sum) in sums.into_iter().enumerate() {
            store(product, row + m, t, sum);
        }
    }
}

/// Adds what the integer sum of 32 columns, part `sub` of row `x`, stands for: `scale` is the weights' scale and minimum.
///
/// # Safety
/// AVX-512; the row has that part.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
pub(in super::super) unsafe fn add_block<F: Format>(
    sum: __m512,
    i: __m512i,
    (scale, min): (__m512, __m512),
    x: *const u8,
    at: &IntRow,
    sub: usize,
) -> __m512 {
    // SAFETY: the fields of the caller's part.
    unsafe {
        let d = _mm512_set1_ps(read(x, at.scale + 4 * sub));
        let sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(i), _mm512_mul_ps(scale, d), sum);
        if !F::MIN {
            return sum;
        }
        _mm512_fnmadd_ps(min, _mm512_set1_ps(read(x, at.scaled_sum + 4 * sub)), sum)
    }
}

/// As [`add_block`], where each 16 columns have a scale and a minimum.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn add_halves<F: Format>(
    sum: __m512,
    [i0, i1]: [__m512i; 2],
    [(s0, m0), (s1, m1)]: &[(__m512, __m512); 2],
    x: *const u8,
    at: &IntRow,
    sub: usize,
) -> __m512 {
    // SAFETY: the fields of the caller's part.
    unsafe {
        let d = _mm512_set1_ps(read(x, at.scale + 4 * sub));
        let sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(i0), _mm512_mul_ps(*s0, d), sum);
        let sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(i1), _mm512_mul_ps(*s1, d), sum);
        if !F::MIN {
            return sum;
        }
        let (a0, a1) = (at.scaled_sum16 + 8 * sub, at.scaled_sum16 + 8 * sub + 4);
        let sum = _mm512_fnmadd_ps(*m0, _mm512_set1_ps(read(x, a0)), sum);
        _mm512_fnmadd_ps(*m1, _mm512_set1_ps(read(x, a1)), sum)
    }
}

#[inline]
unsafe fn read<T>(x: *const u8, at: usize) -> T {
    // SAFETY: the caller's field exists.
    unsafe { x.add(at).cast::<T>().read_unaligned() }
}

/// What an integer sum starts from: minus the offset of the codes times the sum of the activations, whose negative is at
/// `neg_sum`.
///
/// # Safety
/// AVX-512; the row has that field.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
pub(in super::super) unsafe fn start<F: Format>(x: *const u8, neg_sum: usize) -> __m512i {
    if F::SHIFT == 0 {
        return _mm512_setzero_si512();
    }
    // SAFETY: the caller's field exists.
    let sum: i32 = unsafe { read(x, neg_sum) };
    // A vector shift by a constant: shifting first would take a detour through a general register.
    let sum = _mm512_set1_epi32(sum);
    match F::SHIFT {
        2 => _mm512_slli_epi32::<2>(sum),
        3 => _mm512_slli_epi32::<3>(sum),
        4 => _mm512_slli_epi32::<4>(sum),
        5 => _mm512_slli_epi32::<5>(sum),
        _ => _mm512_slli_epi32::<7>(sum),
    }
}

/// `start + Σ w · x` over 4 `N` columns; of two bytes the second is at `low`.
///
/// In chains of a few products: what waits for the one before it fills the scheduler, and nothing else gets in.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn dot<const P: usize, const N: usize>(w: [__m512i; N], x: *const u8, low: usize, start: __m512i) -> __m512i {
    // SAFETY: the caller's columns exist.
    let four = |at: usize| unsafe { _mm512_set1_epi32(read(x, at)) };
    let chains = |start: __m512i, at: usize| {
        let (mut even, mut odd) = (start, _mm512_setzero_si512());
        for g in (0..N).step_by(2) {
            even = _mm512_dpbusd_epi32(even, w[g], four(at + 4 * g));
            odd = _mm512_dpbusd_epi32(odd, w[g + 1], four(at + 4 * g + 4));
        }
        _mm512_add_epi32(even, odd)
    };
    match P {
        1 => chains(start, 0),
        _ => _mm512_add_epi32(_mm512_slli_epi32::<8>(chains(_mm512_setzero_si512(), 0)), chains(start, low)),
    }
}
