//! Rows of f32 to 8-bit integers.

use std::arch::x86_64::*;

use super::super::activations::{Q8Row, put_block};

/// [`super::super::activations::quantize_q8`], with the same result.
///
/// # Safety
/// AVX-512; `to` is valid for writes of the row's stride.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(in super::super) unsafe fn quantize_q8(x: &[f32], to: *mut u8) {
    let at = Q8Row::new(x.len());
    for (b, x) in x.as_chunks::<32>().0.iter().enumerate() {
        // SAFETY: 32 values are read, 32 codes and the block's fields are written.
        unsafe {
            let (x0, x1) = (_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(16)));
            let max = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(x0), _mm512_abs_ps(x1)));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x0, x1) != 0;
            let scale = if nan { f32::NAN } else { max / 127.0 };
            let inverse = _mm512_set1_ps(if max > 0.0 { 127.0 / max } else { 0.0 });
            let i0 = _mm512_cvtps_epi32(_mm512_mul_ps(x0, inverse));
            let i1 = _mm512_cvtps_epi32(_mm512_mul_ps(x1, inverse));
            _mm_storeu_si128(to.add(32 * b).cast(), _mm512_cvtsepi32_epi8(i0));
            _mm_storeu_si128(to.add(32 * b + 16).cast(), _mm512_cvtsepi32_epi8(i1));
            put_block(to, &at, b, scale, [_mm512_reduce_add_epi32(i0), _mm512_reduce_add_epi32(i1)]);
        }
    }
}
