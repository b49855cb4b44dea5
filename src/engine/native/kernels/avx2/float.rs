//! Weights × f32 activations: one fused multiply-add per weight, in the order of k.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::WeightType;
use super::super::format::{BF16, F16, F32, Format, Source, with_quantized};
use super::super::packed::{Layout, TILE};
use super::super::product::Product;
use super::read::{codes, heads, scale};
use super::store;

/// Tiles that quantized weights are expanded to at a time.
const EXPANDED_TILES: usize = 4;

/// Computes the product.
///
/// # Safety
/// As [`super::multiply`].
pub(super) unsafe fn multiply(product: &Product<'_>, scratch: *mut u8) {
    let ty = product.w.weight_type();
    let tile_bytes = product.w.layout().tile_bytes;
    // SAFETY: passed on; the tiles of a matrix follow each other.
    unsafe {
        let first = product.w.tile(product.tiles.start).as_ptr();
        match ty {
            WeightType::F32 => all_tiles::<F32>(product, product.tiles.clone(), first, tile_bytes),
            WeightType::F16 => all_tiles::<F16>(product, product.tiles.clone(), first, tile_bytes),
            WeightType::BF16 => all_tiles::<BF16>(product, product.tiles.clone(), first, tile_bytes),
            _ => with_quantized!(ty, multiply_quantized, product, scratch),
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn multiply_quantized<F: Format>(product: &Product<'_>, scratch: *mut u8) {
    let layout = product.w.layout();
    let bytes = layout.k * TILE * 4;
    for start in product.tiles.clone().step_by(EXPANDED_TILES) {
        let tiles = start..product.tiles.end.min(start + EXPANDED_TILES);
        // SAFETY: the tiles exist, and the scratch has room for `EXPANDED_TILES` of f32.
        unsafe {
            for (i, t) in tiles.clone().enumerate() {
                let source = Source::tile(layout, product.w.tile(t).as_ptr());
                expand_f32::<F>(layout, &source, scratch.add(i * bytes).cast());
            }
            all_tiles::<F32>(product, tiles, scratch, bytes);
        }
    }
}

/// `first`: the first of `tiles`, the others `tile_bytes` apart.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn all_tiles<F: Format>(product: &Product<'_>, tiles: Range<usize>, first: *const u8, tile_bytes: usize) {
    let mut row = product.rows.start;
    // SAFETY: tile `t` is `t - tiles.start` tiles after the first; rows are those left.
    unsafe {
        while product.rows.end - row >= 4 {
            for t in tiles.clone() {
                block::<F, 4, 1>(product, row, t, first.add((t - tiles.start) * tile_bytes), tile_bytes);
            }
            row += 4;
        }
        while product.rows.end > row {
            let mut t = tiles.start;
            while tiles.end - t >= 4 {
                block::<F, 1, 4>(product, row, t, first.add((t - tiles.start) * tile_bytes), tile_bytes);
                t += 4;
            }
            while tiles.end > t {
                block::<F, 1, 1>(product, row, t, first.add((t - tiles.start) * tile_bytes), tile_bytes);
                t += 1;
            }
            row += 1;
        }
    }
}

/// `M` rows × `T` tiles.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn block<F: Format, const M: usize, const T: usize>(
    product: &Product<'_>,
    row: usize,
    t: usize,
    tile: *const u8,
    tile_bytes: usize,
) {
    let rows: [*const f32; M] = std::array::from_fn(|m| product.x.row(row + m).cast());
    let mut sums = [[[_mm256_setzero_ps(); 2]; T]; M];
    // SAFETY: `k` columns exist in every tile and row.
    unsafe {
        for c in 0..product.w.k() {
            let mut w = [[_mm256_setzero_ps(); 2]; T];
            for (i, w) in w.iter_mut().enumerate() {
                let tile = tile.add(i * tile_bytes);
                *w = [load::<F>(tile, c, 0), load::<F>(tile, c, 1)];
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let x = _mm256_set1_ps(rows[m].add(c).read_unaligned());
                for (i, sum) in sums.iter_mut().enumerate() {
                    sum[0] = _mm256_fmadd_ps(w[i][0], x, sum[0]);
                    sum[1] = _mm256_fmadd_ps(w[i][1], x, sum[1]);
                }
            }
        }
        for (m, sums) in sums.into_iter().enumerate() {
            for (i, sum) in sums.into_iter().enumerate() {
                store(product, row + m, t + i, 0, sum[0]);
                store(product, row + m, t + i, 1, sum[1]);
            }
        }
    }
}

/// Half of column `c` of a tile of floats.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn load<F: Format>(tile: *const u8, c: usize, half: usize) -> __m256 {
    // SAFETY: a column is 16 numbers.
    unsafe {
        match F::TY {
            WeightType::F16 => _mm256_cvtph_ps(_mm_loadu_si128(tile.add(c * 32 + half * 16).cast())),
            WeightType::BF16 => {
                let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(tile.add(c * 32 + half * 16).cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
            }
            _ => _mm256_loadu_ps(tile.add(c * 64 + half * 32).cast()),
        }
    }
}

/// Dequantizes a tile to f32, columns in order.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn expand_f32<F: Format>(layout: &Layout, source: &Source, to: *mut f32) {
    let byte = _mm256_set1_epi32(255);
    let offset = _mm256_set1_epi32(F::TY.offset());
    for half in 0..2 {
        for at in 0..layout.k / 32 {
            let (b, s) = (at / F::SUBS, at % F::SUBS);
            // SAFETY: every column read and written exists.
            unsafe {
                let heads = heads::<F>(source, half, b);
                for (g, codes) in codes::<F>(source.codes.add(at * source.sub_bytes), half).into_iter().enumerate() {
                    let (scale, min) = scale::<F>(source, heads, half, b, if F::PER_16 { 2 * s + g / 4 } else { s });
                    let columns = [
                        _mm256_and_si256(codes, byte),
                        _mm256_and_si256(_mm256_srli_epi32::<8>(codes), byte),
                        _mm256_and_si256(_mm256_srli_epi32::<16>(codes), byte),
                        _mm256_srli_epi32::<24>(codes),
                    ];
                    for (i, column) in columns.into_iter().enumerate() {
                        let w = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(column, offset)), scale);
                        let w = if F::MIN { _mm256_sub_ps(w, min) } else { w };
                        _mm256_storeu_ps(to.add((at * 32 + 4 * g + i) * TILE + 8 * half), w);
                    }
                }
            }
        }
    }
}
