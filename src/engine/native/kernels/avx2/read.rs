//! Reading half tiles with 256-bit vectors.

use std::arch::x86_64::*;

use super::super::WeightType;
use super::super::format::{Format, Source};
use super::super::packed::TILE;

/// `d` and `m` or `dmin` of 8 outputs.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    d: __m256,
    m: __m256,
}

/// The f16 fields of block `b`, outputs of `half`.
///
/// # Safety
/// AVX2 and F16C; block `b` exists in the source.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) unsafe fn heads<F: Format>(source: &Source, half: usize, b: usize) -> Heads {
    // SAFETY: a block's scales start with 16 f16, 32 where there are minima.
    unsafe {
        let at = source.block(b).add(16 * half);
        let d = _mm256_cvtph_ps(_mm_loadu_si128(at.cast()));
        let m = if F::MIN { _mm256_cvtph_ps(_mm_loadu_si128(at.add(32).cast())) } else { _mm256_setzero_ps() };
        Heads { d, m }
    }
}

/// Scale and minimum of group `g` of block `b`.
///
/// # Safety
/// AVX2; the group exists; `heads` is that block's and `half`'s.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) unsafe fn scale<F: Format>(
    source: &Source,
    heads: Heads,
    half: usize,
    b: usize,
    g: usize,
) -> (__m256, __m256) {
    let zero = _mm256_setzero_ps();
    // SAFETY: the group's bytes lie inside the block's scales (see `packed`).
    unsafe {
        let bytes = |at: usize| _mm_loadl_epi64(source.block(b).add(at + g * TILE + 8 * half).cast());
        match F::TY {
            WeightType::Q4_1 | WeightType::Q5_1 => (heads.d, _mm256_sub_ps(zero, heads.m)),
            WeightType::Q4_K | WeightType::Q5_K => {
                let scale = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes(64)));
                let min = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes(192)));
                (_mm256_mul_ps(heads.d, scale), _mm256_mul_ps(heads.m, min))
            }
            WeightType::Q2_K => {
                let both = _mm256_cvtepu8_epi32(bytes(64));
                let scale = _mm256_cvtepi32_ps(_mm256_and_si256(both, _mm256_set1_epi32(15)));
                let min = _mm256_cvtepi32_ps(_mm256_srli_epi32::<4>(both));
                (_mm256_mul_ps(heads.d, scale), _mm256_mul_ps(heads.m, min))
            }
            WeightType::Q3_K | WeightType::Q6_K => {
                (_mm256_mul_ps(heads.d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes(32)))), zero)
            }
            _ => (heads.d, zero),
        }
    }
}

/// The codes of 32 columns: vector g holds columns 4g to 4g + 3 of 8 outputs.
///
/// # Safety
/// AVX2; `p` is valid for the type's bytes per 32 columns.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) unsafe fn codes<F: Format>(p: *const u8, half: usize) -> [__m256i; 8] {
    let mut out = [_mm256_setzero_si256(); 8];
    // SAFETY: each type reads exactly its planes (see `packed`).
    let load = |vector: usize| unsafe { _mm256_loadu_si256(p.add(64 * vector + 32 * half).cast()) };
    match F::TY {
        WeightType::Q2_K | WeightType::Q3_K => {
            let mask = _mm256_set1_epi8(3);
            for (g, out) in out.iter_mut().enumerate() {
                *out = _mm256_and_si256(right(load(g / 4), 2 * (g % 4)), mask);
            }
        }
        WeightType::Q8_0 => {
            for (g, out) in out.iter_mut().enumerate() {
                *out = load(g);
            }
        }
        _ => {
            let mask = _mm256_set1_epi8(15);
            for (g, out) in out.iter_mut().enumerate() {
                *out = _mm256_and_si256(right(load(g / 2), 4 * (g % 2)), mask);
            }
        }
    }
    match F::TY {
        WeightType::Q5_0 | WeightType::Q5_1 | WeightType::Q5_K => {
            let (high, bit) = (load(4), _mm256_set1_epi8(1));
            for (g, out) in out.iter_mut().enumerate() {
                let high = _mm256_slli_epi16::<4>(_mm256_and_si256(right(high, g), bit));
                *out = _mm256_or_si256(*out, high);
            }
        }
        WeightType::Q3_K => {
            let (high, bit) = (load(2), _mm256_set1_epi8(1));
            for (g, out) in out.iter_mut().enumerate() {
                let high = _mm256_slli_epi16::<2>(_mm256_and_si256(right(high, g), bit));
                *out = _mm256_or_si256(*out, high);
            }
        }
        WeightType::Q6_K => {
            let bits = _mm256_set1_epi8(3);
            for (g, out) in out.iter_mut().enumerate() {
                let high = _mm256_and_si256(right(load(4 + g / 4), 2 * (g % 4)), bits);
                *out = _mm256_or_si256(*out, _mm256_slli_epi16::<4>(high));
            }
        }
        _ => {}
    }
    out
}

/// Shifts 16-bit lanes; the bits that cross a byte are masked off by the caller.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn right(x: __m256i, bits: usize) -> __m256i {
    _mm256_srl_epi16(x, _mm_cvtsi32_si128(bits as i32))
}
