//! Weights × f32 activations: one fused multiply-add per weight, in the order of k.

use std::arch::x86_64::*;

use super::super::WeightType;
use super::super::format::{BF16, F16, F32, Format, Source, with_quantized};
use super::super::packed::{Layout, TILE};
use super::super::product::Product;
use super::read::{codes, heads, scale};
use super::store;

/// Tiles that quantized weights are expanded to at a time.
const EXPANDED_TILES: usize = 4;

/// How far ahead in each tile the next cache lines are asked for, bytes.
const AHEAD: usize = 1024;

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

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn all_tiles<F: Format>(
    product: &Product<'_>,
    tiles: std::ops::Range<usize>,
    first: *const u8,
    tile_bytes: usize,
) {
    // Many independent sums hide the latency of the multiply-add; a single row waits for memory anyway.
    // SAFETY: each call gets tiles and rows that exist.
    unsafe {
        let mut row = product.rows.start;
        while product.rows.end - row >= 8 {
            some_rows::<F, 8, 2>(product, row, tiles.clone(), first, tile_bytes);
            row += 8;
        }
        if product.rows.end - row >= 4 {
            some_rows::<F, 4, 4>(product, row, tiles.clone(), first, tile_bytes);
            row += 4;
        }
        if product.rows.end - row >= 2 {
            some_rows::<F, 2, 4>(product, row, tiles.clone(), first, tile_bytes);
            row += 2;
        }
        if product.rows.end > row {
            some_rows::<F, 1, 4>(product, row, tiles.clone(), first, tile_bytes);
        }
    }
}

/// `M` rows × all tiles, `T` at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn some_rows<F: Format, const M: usize, const T: usize>(
    product: &Product<'_>,
    row: usize,
    tiles: std::ops::Range<usize>,
    first: *const u8,
    tile_bytes: usize,
) {
    let start = tiles.start;
    let mut t = start;
    // SAFETY: tile `t` is `t - start` tiles after the first.
    unsafe {
        while tiles.end - t >= T {
            block::<F, M, T>(product, row, t, first.add((t - start) * tile_bytes), tile_bytes);
            t += T;
        }
        while tiles.end > t {
            block::<F, M, 1>(product, row, t, first.add((t - start) * tile_bytes), tile_bytes);
            t += 1;
        }
    }
}

/// `M` rows × `T` tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn block<F: Format, const M: usize, const T: usize>(
    product: &Product<'_>,
    row: usize,
    t: usize,
    tile: *const u8,
    tile_bytes: usize,
) {
    let rows: [*const f32; M] = std::array::from_fn(|m| product.x.row(row + m).cast());
    let mut sums = [[_mm512_setzero_ps(); T]; M];
    // Few rows are bound by memory: ask for each tile's next cache lines.
    let columns_per_line = 64 / (F::TY.block_bytes() * TILE).min(64);
    // SAFETY: `k` columns exist in every tile and row.
    unsafe {
        for c in 0..product.w.k() {
            if M <= 2 && c % columns_per_line == 0 {
                let at = tile.wrapping_add(c * F::TY.block_bytes() * TILE + AHEAD);
                for i in 0..T {
                    _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(i * tile_bytes).cast());
                }
            }
            let mut w = [_mm512_setzero_ps(); T];
            for (i, w) in w.iter_mut().enumerate() {
                *w = load::<F>(tile.add(i * tile_bytes), c);
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_ps(rows[m].add(c).read_unaligned());
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_fmadd_ps(w[i], x, *sum);
                }
            }
        }
        for (m, sums) in sums.into_iter().enumerate() {
            for (i, sum) in sums.into_iter().enumerate() {
                store(product, row + m, t + i, sum);
            }
        }
    }
}

/// Column `c` of a tile of floats.
///
/// # Safety
/// AVX-512; the column exists.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
pub(in super::super) unsafe fn load<F: Format>(tile: *const u8, c: usize) -> __m512 {
    // SAFETY: a column is 16 numbers.
    unsafe {
        match F::TY {
            WeightType::F16 => _mm512_cvtph_ps(_mm256_loadu_si256(tile.add(c * 32).cast())),
            WeightType::BF16 => {
                let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(tile.add(c * 32).cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
            }
            _ => _mm512_loadu_ps(tile.add(c * 64).cast()),
        }
    }
}

/// Dequantizes a tile to f32, columns in order.
///
/// # Safety
/// AVX-512; `to` is valid for 64 bytes per column.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn expand_f32<F: Format>(layout: &Layout, source: &Source, to: *mut f32) {
    // SAFETY: every column written exists.
    unsafe {
        for b in 0..layout.k / F::TY.block() {
            let heads = heads::<F>(source, b);
            for s in 0..F::SUBS {
                let at = b * F::SUBS + s;
                let codes = codes::<F>(source.codes.add(at * source.sub_bytes));
                for (g, v) in codes.into_iter().enumerate() {
                    let group = if F::PER_16 { 2 * s + g / 4 } else { s };
                    let (scale, min) = scale::<F>(source, heads, b, group);
                    for (i, w) in values::<F>(v, scale, min).into_iter().enumerate() {
                        _mm512_storeu_ps(to.add((at * 32 + 4 * g + i) * TILE), w);
                    }
                }
            }
        }
    }
}

/// The weights of four columns.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
fn values<F: Format>(codes: __m512i, scale: __m512, min: __m512) -> [__m512; 4] {
    let byte = _mm512_set1_epi32(255);
    let offset = _mm512_set1_epi32(F::TY.offset());
    let columns = [
        _mm512_and_si512(codes, byte),
        _mm512_and_si512(_mm512_srli_epi32::<8>(codes), byte),
        _mm512_and_si512(_mm512_srli_epi32::<16>(codes), byte),
        _mm512_srli_epi32::<24>(codes),
    ];
    let mut out = [_mm512_setzero_ps(); 4];
    for (i, out) in out.iter_mut().enumerate() {
        let code = if F::SHIFT > 0 { _mm512_sub_epi32(columns[i], offset) } else { columns[i] };
        let product = _mm512_mul_ps(_mm512_cvtepi32_ps(code), scale);
        *out = if F::MIN { _mm512_sub_ps(product, min) } else { product };
    }
    out
}
