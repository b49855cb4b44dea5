//! Products with AVX2, FMA and F16C, half a tile (8 outputs) at a time.
//!
//! Integer sums are exact and the f32 operations are those of [`super::avx512`] in the same order: results agree with it
//! in every bit.
#![expect(unsafe_code, reason = "vector intrinsics on raw pointers")]

mod float;
mod integer;
mod quantize;
mod read;

use std::arch::x86_64::*;

use super::activations::Form;
use super::packed::TILE;
use super::product::Product;

pub(super) use quantize::quantize;

/// Computes a product whose activations are in [`Form::Int`] or [`Form::F32`].
///
/// # Safety
/// As [`super::matmul`], on a machine with AVX2, FMA and F16C; `scratch` is valid for 256 bytes per column.
pub(super) unsafe fn multiply(product: &Product<'_>, scratch: *mut u8) {
    // SAFETY: passed on.
    unsafe {
        match product.x.form() {
            Form::Int { parts } => integer::multiply(product, parts),
            Form::F32 | Form::Bf16 { .. } => float::multiply(product, scratch),
        }
    }
}

/// Writes outputs 8 `half` to 8 `half` + 7 of tile `t`, or as many as exist, of one row.
///
/// # Safety
/// As [`super::matmul`], with AVX2.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn store(product: &Product<'_>, row: usize, t: usize, half: usize, sums: __m256) {
    let first = half * TILE / 2;
    // SAFETY: only the outputs that exist are touched, and the caller vouches for them.
    unsafe {
        let at = product.at(row, t).wrapping_add(first);
        if product.width(t) >= first + 8 {
            let sums = if product.out.add { _mm256_add_ps(_mm256_loadu_ps(at), sums) } else { sums };
            _mm256_storeu_ps(at, sums);
        } else {
            let mut each = [0f32; 8];
            _mm256_storeu_ps(each.as_mut_ptr(), sums);
            for (o, &sum) in each[..product.width(t).saturating_sub(first)].iter().enumerate() {
                let at = at.add(o);
                *at = if product.out.add { *at + sum } else { sum };
            }
        }
    }
}
