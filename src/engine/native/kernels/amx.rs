//! Products of many rows with AMX: tiles of 16 × 32 bfloat16, sums in f32.
//!
//! Both operands are rounded to bfloat16: activations when they are converted, weights when 32 outputs of them are
//! expanded to a panel in the second-level cache, where all rows are multiplied with it. That is closer to the exact
//! product than 8-bit activations are (a bfloat16 is off by 0.1 % of itself, an 8-bit code by 0.5 % of its block), and the
//! sum over k stays in the tile: no scales to apply per block, the same speed for every weight type.
//!
//! [`super::ActFormat::F32`] splits every number into two bfloat16, 16 bits of mantissa, and adds three products; what is
//! left out is below 2⁻¹⁶ of a term.
#![expect(unsafe_code, reason = "AMX has no intrinsics in stable Rust: inline assembly on raw pointers")]

pub(super) mod integer;
mod registers;

use std::arch::x86_64::*;

use super::WeightType;
use super::avx512::{ask_ahead, codes, heads, load_float, scale, store};
use super::format::{BF16, F16, F32, Format, Source, with_quantized};
use super::packed::TILE;
use super::product::Product;
pub(super) use registers::is_available;
pub(in super::super) use registers::{Registers, TILE_BYTES};
use registers::{rows_16, rows_16_split, rows_16_split_activations, rows_32, rows_32_split, rows_32_split_activations};

/// Where row `row` of `k` activations starts in tiles of 16 rows × 32 columns, the parts of a tile one after the other.
///
/// # Safety
/// `base` is valid for all tiles of the row.
#[inline]
pub(in super::super) unsafe fn row_tiles(row: usize, k: usize, parts: usize, base: *mut u8) -> *mut u8 {
    // SAFETY: inside the row's tiles.
    unsafe { base.add(row / 16 * k.div_ceil(32) * parts * TILE_BYTES + row % 16 * 64) }
}

/// Writes a row of activations, or a part that starts with a tile, to its tiles.
///
/// # Safety
/// AVX-512 with bfloat16; `tiles` is what [`row_tiles`] says, and valid for as many tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
pub(in super::super) unsafe fn split_row(x: &[f32], parts: usize, tiles: *mut u8) {
    for (j, x) in x.chunks(32).enumerate() {
        let mask = u32::MAX >> (32 - x.len());
        // SAFETY: the masks cover the values there are; each part of a tile row is 64 bytes.
        unsafe {
            let x0 = _mm512_maskz_loadu_ps(mask as u16, x.as_ptr());
            let x1 = _mm512_maskz_loadu_ps((mask >> 16) as u16, x.as_ptr().wrapping_add(16));
            let to = tiles.add(j * parts * TILE_BYTES);
            let high = round(x0, x1);
            _mm512_storeu_si512(to.cast(), high);
            if parts == 2 {
                let r0 = _mm512_sub_ps(x0, widen(_mm512_castsi512_si256(high)));
                let r1 = _mm512_sub_ps(x1, widen(_mm512_extracti64x4_epi64::<1>(high)));
                _mm512_storeu_si512(to.add(TILE_BYTES).cast(), round(r0, r1));
            }
        }
    }
}

/// Two vectors to bfloat16, `low` first.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn round(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both are 64 bytes without invalid values.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn widen(x: __m256i) -> __m512 {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(x)))
}

/// Computes a product whose activations are bfloat16 in `parts` parts.
///
/// # Safety
/// As [`super::matmul`], on a machine with AMX; `scratch` is valid for 128 bytes per column, rounded up to 32 columns, and
/// [`super::product::RESULT_BYTES`].
pub(super) unsafe fn multiply(product: &Product<'_>, parts: usize, scratch: *mut u8) {
    let ty = product.w.weight_type();
    // SAFETY: passed on.
    unsafe {
        let _registers = Registers::configure();
        match (ty, parts) {
            (WeightType::F32, _) => floats::<F32, 2>(product, scratch),
            (WeightType::F16, _) => floats::<F16, 2>(product, scratch),
            // A bfloat16 is its own first part, and has no second.
            (WeightType::BF16, _) => floats::<BF16, 1>(product, scratch),
            (_, 1) => with_quantized!(ty, quantized_1, product, scratch),
            _ => with_quantized!(ty, quantized_2, product, scratch),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")]
unsafe fn quantized_1<F: Format>(product: &Product<'_>, scratch: *mut u8) {
    // SAFETY: passed on.
    unsafe { all_panels::<1, 1>(product, scratch, expand_quantized::<F, 1>) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")]
unsafe fn quantized_2<F: Format>(product: &Product<'_>, scratch: *mut u8) {
    // SAFETY: passed on.
    unsafe { all_panels::<2, 2>(product, scratch, expand_quantized::<F, 2>) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")]
unsafe fn floats<F: Format, const WP: usize>(product: &Product<'_>, scratch: *mut u8) {
    // SAFETY: passed on.
    unsafe { all_panels::<2, WP>(product, scratch, expand_floats::<F, WP>) }
}

/// Writes outputs of tile `t` as tile `i` (of 2) of a panel.
type Expand = unsafe fn(product: &Product<'_>, t: usize, i: usize, panel: *mut u8);

/// All panels of 32 outputs × all rows; `AP` and `WP` are the parts of activations and weights.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")]
unsafe fn all_panels<const AP: usize, const WP: usize>(product: &Product<'_>, scratch: *mut u8, expand: Expand) {
    let blocks = product.w.k().div_ceil(32);
    // SAFETY: the panel is 2 × WP tiles per block, at most 128 bytes per column; the result follows it.
    unsafe {
        let panel = scratch;
        let result = scratch.add(blocks * 2 * WP * TILE_BYTES);
        for t in product.tiles.clone().step_by(2) {
            let tiles = t..product.tiles.end.min(t + 2);
            for (i, t) in tiles.clone().enumerate() {
                expand(product, t, i, panel);
            }
            let whole = tiles.len() == 2 && product.width(t + 1) == TILE && !product.out.add;
            let mut row = product.rows.start / 16 * 16;
            while row < product.rows.end {
                let a = product.x.start().add(row / 16 * blocks * AP * TILE_BYTES);
                let rows = if product.rows.end - row > 16 { 32 } else { 16 };
                let wanted = row.max(product.rows.start)..product.rows.end.min(row + rows);
                // Whole tiles go straight to the output.
                let direct = whole && wanted.len() == rows;
                let (to, stride) = if direct {
                    (product.at(row, t).cast::<u8>(), product.out.stride * 4)
                } else {
                    (result, 2 * TILE * 4)
                };
                match (AP, WP, rows) {
                    (1, _, 32) => rows_32(a, panel, blocks, to, stride),
                    (1, _, _) => rows_16(a, panel, blocks, to, stride),
                    (_, 1, 32) => rows_32_split_activations(a, panel, blocks, to, stride),
                    (_, 1, _) => rows_16_split_activations(a, panel, blocks, to, stride),
                    (_, _, 32) => rows_32_split(a, panel, blocks, to, stride),
                    (_, _, _) => rows_16_split(a, panel, blocks, to, stride),
                }
                if !direct {
                    for r in wanted {
                        for (i, t) in tiles.clone().enumerate() {
                            let at = result.add(((r - row) * 2 + i) * TILE * 4);
                            store(product, r, t, _mm512_loadu_ps(at.cast()));
                        }
                    }
                }
                row += rows;
            }
        }
    }
}

/// Two f32 columns as one row of a weight tile: pairs of bfloat16, and the pairs of what rounding left out.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
pub(in super::super) unsafe fn put_pair<const WP: usize>(w0: __m512, w1: __m512, to: *mut u8) {
    const INTERLEAVE: [u16; 32] = {
        let mut at = [0; 32];
        let mut i = 0;
        while i < 16 {
            (at[2 * i], at[2 * i + 1]) = (i as u16, i as u16 + 16);
            i += 1;
        }
        at
    };
    // SAFETY: the caller's tile has this row, in each part.
    unsafe {
        let at = _mm512_loadu_si512(INTERLEAVE.as_ptr().cast());
        let pairs = _mm512_permutexvar_epi16(at, round(w0, w1));
        _mm512_storeu_si512(to.cast(), pairs);
        if WP == 2 {
            let r0 = _mm512_sub_ps(w0, _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)));
            let high = _mm512_and_si512(pairs, _mm512_set1_epi32(0xFFFF_0000u32.cast_signed()));
            let r1 = _mm512_sub_ps(w1, _mm512_castsi512_ps(high));
            _mm512_storeu_si512(to.add(TILE_BYTES).cast(), _mm512_permutexvar_epi16(at, round(r0, r1)));
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")]
unsafe fn expand_quantized<F: Format, const WP: usize>(product: &Product<'_>, t: usize, i: usize, panel: *mut u8) {
    let layout = product.w.layout();
    // SAFETY: the tile exists, and the panel has 2 × WP tiles per 32 columns.
    unsafe {
        let source = Source::tile(layout, product.w.tile(t).as_ptr());
        let mut ahead = source.scales;
        for b in 0..layout.k / F::TY.block() {
            let heads = heads::<F>(&source, b);
            for s in 0..F::SUBS {
                ask_ahead::<F>(&mut ahead);
                let at = b * F::SUBS + s;
                let to = panel.add((2 * at + i) * WP * TILE_BYTES);
                let codes = codes::<F>(source.codes.add(at * source.sub_bytes));
                let scales = if F::PER_16 {
                    [scale::<F>(&source, heads, b, 2 * s), scale::<F>(&source, heads, b, 2 * s + 1)]
                } else {
                    [scale::<F>(&source, heads, b, s); 2]
                };
                for (g, codes) in codes.into_iter().enumerate() {
                    let (scale, min) = scales[g / 4];
                    let w = weights::<F>(codes, scale, min);
                    put_pair::<WP>(w[0], w[1], to.add(128 * g));
                    put_pair::<WP>(w[2], w[3], to.add(128 * g + 64));
                }
            }
        }
    }
}

/// The weights of four columns: [`super::avx512`]'s, but scaled and shifted in one rounding.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")]
#[inline]
fn weights<F: Format>(codes: __m512i, scale: __m512, min: __m512) -> [__m512; 4] {
    let byte = _mm512_set1_epi32(255);
    // The offset is a power of two: its product with the scale is exact.
    let shift = if F::SHIFT > 0 { _mm512_mul_ps(scale, _mm512_set1_ps(F::TY.offset() as f32)) } else { min };
    [
        _mm512_fmsub_ps(_mm512_cvtepi32_ps(_mm512_and_si512(codes, byte)), scale, shift),
        _mm512_fmsub_ps(_mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32::<8>(codes), byte)), scale, shift),
        _mm512_fmsub_ps(_mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32::<16>(codes), byte)), scale, shift),
        _mm512_fmsub_ps(_mm512_cvtepi32_ps(_mm512_srli_epi32::<24>(codes)), scale, shift),
    ]
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")]
unsafe fn expand_floats<F: Format, const WP: usize>(product: &Product<'_>, t: usize, i: usize, panel: *mut u8) {
    let k = product.w.k();
    let tile = product.w.tile(t).as_ptr();
    let zero = _mm512_setzero_ps();
    for c in (0..k.next_multiple_of(32)).step_by(2) {
        // SAFETY: columns that do not exist are not read, and the panel has room for whole blocks.
        unsafe {
            let w0 = if c < k { load_float::<F>(tile, c) } else { zero };
            let w1 = if c + 1 < k { load_float::<F>(tile, c + 1) } else { zero };
            put_pair::<WP>(w0, w1, panel.add((c / 32 * 2 + i) * WP * TILE_BYTES + c % 32 / 2 * 64));
        }
    }
}
