//! Reading packed tiles with 512-bit vectors.
//!
//! One generic reader: everything that depends on the weight type is a `match` on a constant, so each kernel is compiled
//! for its type alone.

use std::arch::x86_64::*;

use super::super::WeightType;
use super::super::format::{Format, Source};
use super::super::packed::{Layout, TILE};

/// How far ahead in a tile, and into the next, cache lines are asked for, bytes: far ahead to the second-level cache, which
/// can wait for more lines at once than the first, then near to the first.
const FAR: usize = 8192;
const NEAR: usize = 1024;

/// Asks for the lines that many bytes beyond 32 columns, and moves on by those. Nothing is read: any address will do.
#[inline(always)]
pub(in super::super) fn ask_ahead<F: Format>(at: &mut *const u8) {
    ask_far_ahead::<F>(at, FAR);
}

/// [`ask_ahead`] with another distance for the second-level cache.
#[inline(always)]
pub(in super::super) fn ask_far_ahead<F: Format>(at: &mut *const u8, far: usize) {
    if F::EXPANDED {
        return;
    }
    for line in 0..F::LINES {
        // SAFETY: prefetching never faults.
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(at.wrapping_add(far + line * 64).cast());
            _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(NEAR + line * 64).cast());
        }
    }
    *at = at.wrapping_add(F::LINES * 64);
}

/// `d` and `m` or `dmin` of 16 outputs.
#[derive(Clone, Copy)]
pub(in super::super) struct Heads {
    d: __m512,
    m: __m512,
}

/// The f16 fields of block `b`.
///
/// # Safety
/// AVX-512; block `b` exists in the source.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
pub(in super::super) unsafe fn heads<F: Format>(source: &Source, b: usize) -> Heads {
    let zero = _mm512_setzero_ps();
    if F::EXPANDED {
        return Heads { d: zero, m: zero };
    }
    // SAFETY: a block's scales start with one f16 vector, two where there are minima.
    unsafe {
        let at = source.block(b);
        let d = _mm512_cvtph_ps(_mm256_loadu_si256(at.cast()));
        let m = if F::MIN { _mm512_cvtph_ps(_mm256_loadu_si256(at.add(32).cast())) } else { zero };
        Heads { d, m }
    }
}

/// Scale and minimum of group `g` of block `b` (group of 16 or 32 columns, counted in the block).
///
/// # Safety
/// AVX-512; the group exists in the source; `heads` is that block's.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
pub(in super::super) unsafe fn scale<F: Format>(source: &Source, heads: Heads, b: usize, g: usize) -> (__m512, __m512) {
    let zero = _mm512_setzero_ps();
    // SAFETY: the group's bytes lie inside the block's scales (see `packed`), or inside the expanded arrays.
    unsafe {
        if F::EXPANDED {
            let at = (b * F::TY.block() / F::TY.group() + g) * 64;
            let min = if F::MIN { _mm512_loadu_ps(source.mins.add(at).cast()) } else { zero };
            return (_mm512_loadu_ps(source.scales.add(at).cast()), min);
        }
        let bytes = |at: usize| _mm_loadu_si128(source.block(b).add(at + g * TILE).cast());
        match F::TY {
            WeightType::Q4_1 | WeightType::Q5_1 => (heads.d, _mm512_sub_ps(zero, heads.m)),
            WeightType::Q4_K | WeightType::Q5_K => {
                let scale = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes(64)));
                let min = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes(192)));
                (_mm512_mul_ps(heads.d, scale), _mm512_mul_ps(heads.m, min))
            }
            WeightType::Q2_K => {
                let both = _mm512_cvtepu8_epi32(bytes(64));
                let scale = _mm512_cvtepi32_ps(_mm512_and_si512(both, _mm512_set1_epi32(15)));
                let min = _mm512_cvtepi32_ps(_mm512_srli_epi32::<4>(both));
                (_mm512_mul_ps(heads.d, scale), _mm512_mul_ps(heads.m, min))
            }
            WeightType::Q3_K | WeightType::Q6_K => {
                let scale = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes(32)));
                (_mm512_mul_ps(heads.d, scale), zero)
            }
            _ => (heads.d, zero),
        }
    }
}

/// The codes of 32 columns: vector g holds columns 4g to 4g + 3 of 16 outputs.
///
/// # Safety
/// AVX-512; `p` is valid for the type's bytes per 32 columns.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
pub(in super::super) unsafe fn codes<F: Format>(p: *const u8) -> [__m512i; 8] {
    // SAFETY: each type reads exactly its planes (see `packed`).
    unsafe {
        if F::EXPANDED {
            return vectors(p);
        }
        match F::TY {
            WeightType::Q4_0 | WeightType::Q4_1 | WeightType::Q4_K => nibbles(p),
            WeightType::Q5_0 | WeightType::Q5_1 | WeightType::Q5_K => {
                let (low, high) = (nibbles(p), load(p, 4));
                let bit = _mm512_set1_epi8(16);
                [
                    or_and(low[0], _mm512_slli_epi16::<4>(high), bit),
                    or_and(low[1], _mm512_slli_epi16::<3>(high), bit),
                    or_and(low[2], _mm512_slli_epi16::<2>(high), bit),
                    or_and(low[3], _mm512_slli_epi16::<1>(high), bit),
                    or_and(low[4], high, bit),
                    or_and(low[5], _mm512_srli_epi16::<1>(high), bit),
                    or_and(low[6], _mm512_srli_epi16::<2>(high), bit),
                    or_and(low[7], _mm512_srli_epi16::<3>(high), bit),
                ]
            }
            WeightType::Q6_K => {
                let (low, h0, h1) = (nibbles(p), load(p, 4), load(p, 5));
                let bits = _mm512_set1_epi8(48);
                [
                    or_and(low[0], _mm512_slli_epi16::<4>(h0), bits),
                    or_and(low[1], _mm512_slli_epi16::<2>(h0), bits),
                    or_and(low[2], h0, bits),
                    or_and(low[3], _mm512_srli_epi16::<2>(h0), bits),
                    or_and(low[4], _mm512_slli_epi16::<4>(h1), bits),
                    or_and(low[5], _mm512_slli_epi16::<2>(h1), bits),
                    or_and(low[6], h1, bits),
                    or_and(low[7], _mm512_srli_epi16::<2>(h1), bits),
                ]
            }
            WeightType::Q2_K => crumbs(p),
            WeightType::Q3_K => {
                let (low, high) = (crumbs(p), load(p, 2));
                let bit = _mm512_set1_epi8(4);
                [
                    or_and(low[0], _mm512_slli_epi16::<2>(high), bit),
                    or_and(low[1], _mm512_slli_epi16::<1>(high), bit),
                    or_and(low[2], high, bit),
                    or_and(low[3], _mm512_srli_epi16::<1>(high), bit),
                    or_and(low[4], _mm512_srli_epi16::<2>(high), bit),
                    or_and(low[5], _mm512_srli_epi16::<3>(high), bit),
                    or_and(low[6], _mm512_srli_epi16::<4>(high), bit),
                    or_and(low[7], _mm512_srli_epi16::<5>(high), bit),
                ]
            }
            _ => vectors(p),
        }
    }
}

/// `a | (b & mask)` in one instruction.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
fn or_and(a: __m512i, b: __m512i, mask: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0b1111_1000>(a, b, mask)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn load(p: *const u8, vector: usize) -> __m512i {
    // SAFETY: the caller's plane has this vector.
    unsafe { _mm512_loadu_si512(p.add(64 * vector).cast()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn vectors(p: *const u8) -> [__m512i; 8] {
    // SAFETY: the caller's plane has eight vectors.
    unsafe { [load(p, 0), load(p, 1), load(p, 2), load(p, 3), load(p, 4), load(p, 5), load(p, 6), load(p, 7)] }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn nibbles(p: *const u8) -> [__m512i; 8] {
    let mask = _mm512_set1_epi8(15);
    // SAFETY: the caller's plane has four vectors.
    let v = unsafe { [load(p, 0), load(p, 1), load(p, 2), load(p, 3)] };
    [
        _mm512_and_si512(v[0], mask),
        _mm512_and_si512(_mm512_srli_epi16::<4>(v[0]), mask),
        _mm512_and_si512(v[1], mask),
        _mm512_and_si512(_mm512_srli_epi16::<4>(v[1]), mask),
        _mm512_and_si512(v[2], mask),
        _mm512_and_si512(_mm512_srli_epi16::<4>(v[2]), mask),
        _mm512_and_si512(v[3], mask),
        _mm512_and_si512(_mm512_srli_epi16::<4>(v[3]), mask),
    ]
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn crumbs(p: *const u8) -> [__m512i; 8] {
    let mask = _mm512_set1_epi8(3);
    // SAFETY: the caller's plane has two vectors.
    let v = unsafe { [load(p, 0), load(p, 1)] };
    [
        _mm512_and_si512(v[0], mask),
        _mm512_and_si512(_mm512_srli_epi16::<2>(v[0]), mask),
        _mm512_and_si512(_mm512_srli_epi16::<4>(v[0]), mask),
        _mm512_and_si512(_mm512_srli_epi16::<6>(v[0]), mask),
        _mm512_and_si512(v[1], mask),
        _mm512_and_si512(_mm512_srli_epi16::<2>(v[1]), mask),
        _mm512_and_si512(_mm512_srli_epi16::<4>(v[1]), mask),
        _mm512_and_si512(_mm512_srli_epi16::<6>(v[1]), mask),
    ]
}

/// Unpacks a tile to `scratch`, for [`Source::expanded`].
///
/// # Safety
/// AVX-512; `source` is a tile of `layout`; `scratch` is valid for writes of 24 bytes per column.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(in super::super) unsafe fn expand<F: Format>(layout: &Layout, source: &Source, scratch: *mut u8) {
    // SAFETY: 512 bytes of codes per 32 columns and 64 of scales and minima per group lie inside the scratch.
    unsafe {
        let (scales, mins) = (scratch.add(16 * layout.k), scratch.add(20 * layout.k));
        let mut group = 0;
        for b in 0..layout.k / F::TY.block() {
            let heads = heads::<F>(source, b);
            for s in 0..F::SUBS {
                let at = b * F::SUBS + s;
                for (g, codes) in codes::<F>(source.codes.add(at * source.sub_bytes)).into_iter().enumerate() {
                    _mm512_storeu_si512(scratch.add(at * 512 + g * 64).cast(), codes);
                }
                for g in 0..32 / F::TY.group() {
                    let (scale, min) = scale::<F>(source, heads, b, s * (32 / F::TY.group()) + g);
                    _mm512_storeu_ps(scales.add(group * 64).cast(), scale);
                    if F::MIN {
                        _mm512_storeu_ps(mins.add(group * 64).cast(), min);
                    }
                    group += 1;
                }
            }
        }
    }
}
