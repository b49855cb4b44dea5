//! Rows of f32 to 8-bit integers.

use std::arch::x86_64::*;

use super::super::activations::{Q8Row, put_block};

/// [`super::super::activations::quantize_q8`], with the same result.
///
/// # Safety
/// AVX2; `to` is valid for writes of the row's stride.
#[target_feature(enable = "avx2,fma,f16c")]
pub(in super::super) unsafe fn quantize_q8(x: &[f32], to: *mut u8) {
    let at = Q8Row::new(x.len());
    let magnitude = _mm256_set1_epi32(i32::MAX);
    for (b, x) in x.as_chunks::<32>().0.iter().enumerate() {
        // SAFETY: 32 values are read, 32 codes and the block's fields are written.
        unsafe {
            let mut values = [_mm256_setzero_ps(); 4];
            let mut max = _mm256_setzero_si256();
            for (i, value) in values.iter_mut().enumerate() {
                *value = _mm256_loadu_ps(x.as_ptr().add(8 * i));
                // Bits of absolute values are in the order of the values, and NaN is above infinity.
                max = _mm256_max_epi32(max, _mm256_and_si256(_mm256_castps_si256(*value), magnitude));
            }
            let max = _mm_max_epi32(_mm256_castsi256_si128(max), _mm256_extracti128_si256::<1>(max));
            let max = _mm_max_epi32(max, _mm_shuffle_epi32::<0b01_00_11_10>(max));
            let max = _mm_max_epi32(max, _mm_shuffle_epi32::<0b10_11_00_01>(max));
            let max = _mm_cvtss_f32(_mm_castsi128_ps(max));
            let inverse = _mm256_set1_ps(if max > 0.0 { 127.0 / max } else { 0.0 });
            let mut codes = [_mm256_setzero_si256(); 4];
            for (code, value) in codes.iter_mut().zip(values) {
                *code = _mm256_cvtps_epi32(_mm256_mul_ps(value, inverse));
            }
            let low = _mm256_packs_epi32(codes[0], codes[1]);
            let high = _mm256_packs_epi32(codes[2], codes[3]);
            // Packing works by 128-bit lanes: put the groups of four back in order.
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            let codes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
            _mm256_storeu_si256(to.add(32 * b).cast(), codes);
            let fours = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), codes), _mm256_set1_epi16(1));
            let pairs = _mm256_hadd_epi32(fours, fours);
            let sums = _mm256_hadd_epi32(pairs, pairs);
            put_block(to, &at, b, max / 127.0, [_mm256_extract_epi32::<0>(sums), _mm256_extract_epi32::<4>(sums)]);
        }
    }
}
