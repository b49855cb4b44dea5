//! Rows of f32 to integers of one or two bytes, four blocks at a time.

use std::arch::x86_64::*;

use super::super::activations::{Part, largest_code};

/// [`super::super::activations::quantize`], with the same result.
///
/// # Safety
/// AVX-512 with VNNI; the part is valid for writes of as many blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(in super::super) unsafe fn quantize(x: &[f32], parts: usize, to: &Part) {
    let most = _mm_set1_ps(largest_code(parts));
    let blocks = x.len() / 32;
    for first in (0..blocks).step_by(4) {
        let count = (blocks - first).min(4);
        let exists: u8 = 15 >> (4 - count);
        let zero = _mm512_setzero_ps();
        let mut values = [[zero; 2]; 4];
        // SAFETY: only blocks that exist are read and written.
        unsafe {
            for (i, values) in values.iter_mut().enumerate().take(count) {
                let x = x.as_ptr().add((first + i) * 32);
                *values = [_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(16))];
            }
            let max = largest(&values);
            let scale = _mm_div_ps(max, most);
            let positive = _mm_cmp_ps_mask::<_CMP_GT_OQ>(max, _mm_setzero_ps());
            let inverse = _mm512_castps128_ps512(_mm_maskz_div_ps(positive, most, max));
            let ones = _mm256_set1_epi8(1);
            let mut sums = [_mm256_setzero_si256(); 4];
            for (i, values) in values.iter().enumerate().take(count) {
                let inverse = _mm512_permutexvar_ps(_mm512_set1_epi32(i as i32), inverse);
                let first_half = _mm512_cvtps_epi32(_mm512_mul_ps(values[0], inverse));
                let second_half = _mm512_cvtps_epi32(_mm512_mul_ps(values[1], inverse));
                if parts == 1 {
                    let codes = bytes(first_half, second_half);
                    _mm256_storeu_si256(to.codes(first + i).cast(), codes);
                    sums[i] = _mm256_dpbusd_epi32(sums[i], ones, codes);
                } else {
                    let (high0, low0) = split(first_half);
                    let (high1, low1) = split(second_half);
                    let high = bytes(high0, high1);
                    // −128 has no negative, which AVX2 needs.
                    let low = _mm256_max_epi8(bytes(low0, low1), _mm256_set1_epi8(-127));
                    _mm256_storeu_si256(to.codes(first + i).cast(), high);
                    _mm256_storeu_si256(to.low(first + i).cast(), low);
                    let sum = _mm256_slli_epi32::<8>(_mm256_dpbusd_epi32(sums[i], ones, high));
                    sums[i] = _mm256_dpbusd_epi32(sum, ones, low);
                }
            }
            // Lane 0: the sums of the first halves of the four blocks; lane 1: of the second halves.
            let sums = _mm256_hadd_epi32(_mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3]));
            let (low, high) = (_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            let sum = _mm_add_epi32(low, high);
            let halves = _mm256_set_m128i(_mm_unpackhi_epi32(low, high), _mm_unpacklo_epi32(low, high));
            let scales = _mm256_set_m128(_mm_unpackhi_ps(scale, scale), _mm_unpacklo_ps(scale, scale));
            let pairs = u8::MAX >> (8 - 2 * count);
            let [to_scale, scaled_sum, neg_sum, scaled_sum16, neg_sum16] = to.fields(first);
            _mm_mask_storeu_ps(to_scale.cast(), exists, scale);
            _mm_mask_storeu_ps(scaled_sum.cast(), exists, _mm_mul_ps(scale, _mm_cvtepi32_ps(sum)));
            _mm_mask_storeu_epi32(neg_sum.cast(), exists, _mm_sub_epi32(_mm_setzero_si128(), sum));
            let scaled = _mm256_mul_ps(scales, _mm256_cvtepi32_ps(halves));
            _mm256_mask_storeu_ps(scaled_sum16.cast(), pairs, scaled);
            let negative = _mm256_sub_epi32(_mm256_setzero_si256(), halves);
            _mm256_mask_storeu_epi32(neg_sum16.cast(), pairs, negative);
        }
    }
}

/// 32 numbers as bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
fn bytes(first: __m512i, second: __m512i) -> __m256i {
    _mm256_set_m128i(_mm512_cvtsepi32_epi8(second), _mm512_cvtsepi32_epi8(first))
}

/// Codes as 256 · high + low.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
fn split(codes: __m512i) -> (__m512i, __m512i) {
    let high = _mm512_srai_epi32::<8>(_mm512_add_epi32(codes, _mm512_set1_epi32(128)));
    (high, _mm512_sub_epi32(codes, _mm512_slli_epi32::<8>(high)))
}

/// The largest absolute value of each block; NaN if there is one.
///
/// Compared as integers: the bits of positive floats are in the order of their values, and a NaN is above infinity.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
fn largest(values: &[[__m512; 2]; 4]) -> __m128 {
    // Not `map`: a closure's vectors would travel through memory.
    let mut four = [_mm_setzero_si128(); 4];
    for (i, four) in four.iter_mut().enumerate() {
        let [low, high] = values[i];
        let (low, high) = (_mm512_abs_ps(low), _mm512_abs_ps(high));
        let both = _mm512_max_epu32(_mm512_castps_si512(low), _mm512_castps_si512(high));
        let quarter = _mm256_max_epu32(_mm512_castsi512_si256(both), _mm512_extracti64x4_epi64::<1>(both));
        *four = _mm_max_epu32(_mm256_castsi256_si128(quarter), _mm256_extracti128_si256::<1>(quarter));
    }
    let [a, b, c, d] = four;
    let ab = _mm_max_epu32(_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
    let cd = _mm_max_epu32(_mm_unpacklo_epi32(c, d), _mm_unpackhi_epi32(c, d));
    _mm_castsi128_ps(_mm_max_epu32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd)))
}
