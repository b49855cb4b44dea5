//! Rows of f32 to integers of one or two bytes.

use std::arch::x86_64::*;

use super::super::activations::{Part, largest_code, put_block};

/// [`super::super::activations::quantize`], with the same result.
///
/// # Safety
/// AVX2; the part is valid for writes of as many blocks.
#[target_feature(enable = "avx2,fma,f16c")]
pub(in super::super) unsafe fn quantize(x: &[f32], parts: usize, to: &Part) {
    let most = largest_code(parts);
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
            let inverse = _mm256_set1_ps(if max > 0.0 { most / max } else { 0.0 });
            let mut codes = [_mm256_setzero_si256(); 4];
            for (i, code) in codes.iter_mut().enumerate() {
                *code = _mm256_cvtps_epi32(_mm256_mul_ps(values[i], inverse));
            }
            let fours = if parts == 1 {
                let codes = bytes(codes);
                _mm256_storeu_si256(to.codes(b).cast(), codes);
                sums_of_four(codes)
            } else {
                let (mut high, mut low) = ([_mm256_setzero_si256(); 4], [_mm256_setzero_si256(); 4]);
                for (i, &code) in codes.iter().enumerate() {
                    high[i] = _mm256_srai_epi32::<8>(_mm256_add_epi32(code, _mm256_set1_epi32(128)));
                    low[i] = _mm256_sub_epi32(code, _mm256_slli_epi32::<8>(high[i]));
                }
                // −128 has no negative, which the product needs.
                let (high, low) = (bytes(high), _mm256_max_epi8(bytes(low), _mm256_set1_epi8(-127)));
                _mm256_storeu_si256(to.codes(b).cast(), high);
                _mm256_storeu_si256(to.low(b).cast(), low);
                _mm256_add_epi32(_mm256_slli_epi32::<8>(sums_of_four(high)), sums_of_four(low))
            };
            let pairs = _mm256_hadd_epi32(fours, fours);
            let sums = _mm256_hadd_epi32(pairs, pairs);
            put_block(to, b, max / most, [_mm256_extract_epi32::<0>(sums), _mm256_extract_epi32::<4>(sums)]);
        }
    }
}

/// 32 numbers as bytes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn bytes(codes: [__m256i; 4]) -> __m256i {
    let low = _mm256_packs_epi32(codes[0], codes[1]);
    let high = _mm256_packs_epi32(codes[2], codes[3]);
    // Packing works by 128-bit lanes: put the groups of four back in order.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order)
}

/// Sums of four neighbours each.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn sums_of_four(codes: __m256i) -> __m256i {
    _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), codes), _mm256_set1_epi16(1))
}
