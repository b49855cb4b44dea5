//! Products with AVX-512: `vpdpbusd` for 8-bit activations, fused multiply-add for f32.
#![expect(unsafe_code, reason = "vector intrinsics on raw pointers")]

mod float;
mod integer;
mod quantize;
mod read;

use std::arch::x86_64::*;

use super::activations::Form;
use super::product::Product;

pub(super) use float::load as load_float;
pub(super) use integer::{add_block, start};
pub(super) use quantize::quantize;
pub(super) use read::{ask_ahead, ask_far_ahead, codes, heads, scale};

/// Computes a product whose activations are in [`Form::Int`] or [`Form::F32`].
///
/// # Safety
/// As [`super::matmul`], on a machine with AVX-512; `scratch` is valid for 256 bytes per column.
pub(super) unsafe fn multiply(product: &Product<'_>, scratch: *mut u8) {
    // SAFETY: passed on.
    unsafe {
        match product.x.form() {
            Form::Int { parts } => integer::multiply(product, parts, scratch),
            Form::F32 | Form::Bf16 { .. } => float::multiply(product, scratch),
        }
    }
}

/// Writes 16 results of one row, or as many as exist.
///
/// # Safety
/// As [`super::matmul`], with AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
pub(super) unsafe fn store(product: &Product<'_>, row: usize, t: usize, sums: __m512) {
    let mask = u16::MAX >> (16 - product.width(t));
    // SAFETY: only the outputs that exist are touched, and the caller vouches for them.
    unsafe {
        let at = product.at(row, t);
        let sums = if product.out.add { _mm512_add_ps(_mm512_maskz_loadu_ps(mask, at), sums) } else { sums };
        _mm512_mask_storeu_ps(at, mask, sums);
    }
}
