//! A few rows of two-byte activations × quantized weights in byte tiles.
//!
//! The high and the low bytes of eight rows are the 16 rows of one tile register, and the packed codes of 32 columns are
//! another as they are: one instruction multiplies both, where vectors need two for each row and four columns. What it sums
//! are the integers [`super::super::avx512`] sums, and they are scaled by the same code: results agree in every bit.
//!
//! Two tiles of outputs go together, since they share what is read of the activations. Only for types with a scale per 32
//! columns: with one per 16 there are twice as many sums to scale, and vectors are as fast.
//!
//! ```text
//! ring of codes   part s + 2 is unpacked     2 outputs × 32 columns = 2 × 512 bytes
//! tile registers  part s + 1 is multiplied   sums to a second ring: 2 × 16 rows × 16 outputs
//! vectors         part s is scaled and added
//! ```

use std::arch::asm;
use std::arch::x86_64::*;

use super::super::WeightType;
use super::super::activations::IntRow;
use super::super::avx512::{self, add_block, ask_far_ahead, codes, heads, scale, start, store};
use super::super::format::{Format, Source, with_quantized};
use super::super::packed::{Layout, TILE};
use super::super::product::Product;
use super::{Registers, TILE_BYTES};

/// Rows of activations in a tile register: two bytes each.
const ROWS: usize = TILE / 2;

/// Rows from which tiles are faster than vectors.
const MIN_ROWS: usize = 5;

/// Whether a product of that many rows is computed here.
#[inline]
pub(in super::super) fn is_for(ty: WeightType, rows: usize) -> bool {
    ty.group() == 32 && rows >= MIN_ROWS
}

/// Bytes of the codes of 32 columns × 16 outputs, unpacked.
const CODES: usize = 512;
/// Parts whose codes are in the ring.
const RING: usize = 4;
/// Bytes of the ring of codes; that of sums, two parts × two outputs, follows.
const RING_BYTES: usize = RING * 2 * CODES;

/// Computes a product whose activations are two-byte integers.
///
/// # Safety
/// As [`super::super::matmul`], on a machine with AMX; `scratch` is valid for [`RING_BYTES`] and four tiles, 8 KiB.
pub(in super::super) unsafe fn multiply(product: &Product<'_>, scratch: *mut u8) {
    let ty = product.w.weight_type();
    // SAFETY: passed on.
    unsafe { with_quantized!(ty, pairs, product, scratch) }
}

/// Pairs of output tiles × groups of rows; what is left over is multiplied with vectors.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn pairs<F: Format>(product: &Product<'_>, scratch: *mut u8) {
    let rows = product.rows.clone();
    let tiles = product.tiles.start..product.tiles.start + product.tiles.len() / 2 * 2;
    let mut row = rows.start;
    // SAFETY: rows and tiles are the product's.
    unsafe {
        while rows.end - row >= MIN_ROWS {
            let some = row..rows.end.min(row + ROWS);
            let _registers = Registers::configure_integers(2 * some.len() as u8);
            for t in tiles.clone().step_by(2) {
                pair::<F>(product, some.clone(), t, scratch);
            }
            row = some.end;
        }
        if row < rows.end {
            avx512::multiply(&Product { rows: row..rows.end, tiles: tiles.clone(), ..*product }, scratch);
        }
        if tiles.end < product.tiles.end {
            avx512::multiply(&Product { rows, tiles: tiles.end..product.tiles.end, ..*product }, scratch);
        }
    }
}

/// At most [`ROWS`] rows × outputs of tiles `t` and `t + 1`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn pair<F: Format>(product: &Product<'_>, rows: std::ops::Range<usize>, t: usize, scratch: *mut u8) {
    let layout = product.w.layout();
    let parts = layout.k / 32;
    // SAFETY: the tiles and rows exist, and so does every part asked for; the rings are inside the scratch.
    unsafe {
        let mut weights =
            Weights::<F>::new(layout, [product.w.tile(t).as_ptr(), product.w.tile(t + 1).as_ptr()], scratch);
        let x = Rows::new(product, &rows);
        let ring = scratch.add(RING_BYTES);
        let sums_of = |s: usize| ring.add(s % 2 * 2 * TILE_BYTES);
        let mut sums = [[_mm512_setzero_ps(); ROWS]; 2];
        weights.unpack(0);
        if parts > 1 {
            weights.unpack(1);
        }
        sum_part::<F>(&x, &weights, 0, sums_of(0));
        for s in 0..parts {
            if s + 2 < parts {
                weights.unpack(s + 2);
            }
            if s + 1 < parts {
                sum_part::<F>(&x, &weights, s + 1, sums_of(s + 1));
            }
            add_part::<F>(&x, &weights, s, sums_of(s), &mut sums);
        }
        for (i, sums) in sums.iter().enumerate() {
            for (m, sum) in sums.iter().enumerate().take(rows.len()) {
                store(product, rows.start + m, t + i, *sum);
            }
        }
    }
}

/// The rows of activations.
struct Rows {
    at: IntRow,
    /// High bytes of the first row; what follows it is `at.low` away.
    first: *const u8,
    /// Rows beyond the last one are the last one: computed, but not stored.
    each: [*const u8; ROWS],
}

impl Rows {
    fn new(product: &Product<'_>, rows: &std::ops::Range<usize>) -> Self {
        Self {
            at: IntRow::new(product.w.k(), 2),
            first: product.x.row(rows.start),
            each: std::array::from_fn(|m| product.x.row((rows.start + m).min(rows.end - 1))),
        }
    }
}

/// Two tiles of outputs, and the ring their codes are unpacked to.
struct Weights<F> {
    sources: [Source; 2],
    ahead: [*const u8; 2],
    /// Bytes to the same place in the next pair.
    far: usize,
    ring: *mut u8,
    format: std::marker::PhantomData<F>,
}

impl<F: Format> Weights<F> {
    /// Whether the packed codes are bytes already.
    const BYTES: bool = matches!(F::TY, WeightType::Q8_0);

    #[inline]
    unsafe fn new(layout: &Layout, tiles: [*const u8; 2], ring: *mut u8) -> Self {
        // SAFETY: the caller's tiles are of that layout.
        let sources = tiles.map(|tile| unsafe { Source::tile(layout, tile) });
        Self { sources, ahead: tiles, far: 2 * layout.tile_bytes, ring, format: std::marker::PhantomData }
    }

    /// Unpacks the codes of part `s`, and asks for what comes long after it.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn unpack(&mut self, s: usize) {
        for i in 0..2 {
            ask_far_ahead::<F>(&mut self.ahead[i], self.far);
            if Self::BYTES {
                continue;
            }
            // SAFETY: the caller's part exists; the ring has room for it.
            unsafe {
                let to = self.codes(s, i).cast_mut();
                let codes = codes::<F>(self.sources[i].codes.add(s * self.sources[i].sub_bytes));
                for (g, codes) in codes.into_iter().enumerate() {
                    _mm512_storeu_si512(to.add(64 * g).cast(), codes);
                }
            }
        }
    }

    /// The codes of part `s` of output tile `i`.
    #[inline]
    unsafe fn codes(&self, s: usize, i: usize) -> *const u8 {
        // SAFETY: in the tile, or in the ring.
        unsafe {
            if Self::BYTES { self.sources[i].codes.add(s * CODES) } else { self.ring.add((s % RING * 2 + i) * CODES) }
        }
    }
}

/// The integer sums of part `s`, a tile for each output tile.
#[inline]
unsafe fn sum_part<F: Format>(x: &Rows, weights: &Weights<F>, s: usize, to: *mut u8) {
    // SAFETY: registers are configured for these shapes: activations are read where the rows have them, sums are written
    // where there is room, codes are unpacked. Tile registers are ours between `ldtilecfg` and `tilerelease`, and compiled
    // code never uses them.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tileloadd tmm4, [{x} + {stride}]",
            "tileloadd tmm6, [{w0} + {line}]",
            "tileloadd tmm7, [{w1} + {line}]",
            "tdpbsud tmm0, tmm4, tmm6",
            "tdpbsud tmm1, tmm4, tmm7",
            "tilestored [{to} + {line}], tmm0",
            "tilestored [{to} + {line} + 1024], tmm1",
            x = in(reg) x.first.add(32 * s),
            w0 = in(reg) weights.codes(s, 0),
            w1 = in(reg) weights.codes(s, 1),
            to = in(reg) to,
            stride = in(reg) x.at.low,
            line = in(reg) 64usize,
            options(nostack),
        );
    }
}

/// Scales the integer sums of part `s` and adds them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[inline]
unsafe fn add_part<F: Format>(
    x: &Rows,
    weights: &Weights<F>,
    s: usize,
    from: *const u8,
    sums: &mut [[__m512; ROWS]; 2],
) {
    // SAFETY: the part exists, and its sums were just stored.
    unsafe {
        let (b, group) = (s / F::SUBS, s % F::SUBS);
        for (i, sums) in sums.iter_mut().enumerate() {
            let source = &weights.sources[i];
            let scales = scale::<F>(source, heads::<F>(source, b), b, group);
            for (m, sum) in sums.iter_mut().enumerate() {
                let row = x.each[m];
                let at = from.add(i * TILE_BYTES + 128 * m);
                let (high, low) = (_mm512_loadu_si512(at.cast()), _mm512_loadu_si512(at.add(64).cast()));
                let low = _mm512_add_epi32(low, start::<F>(row, x.at.neg_sum + 4 * s));
                let i = _mm512_add_epi32(_mm512_slli_epi32::<8>(high), low);
                *sum = add_block::<F>(*sum, i, scales, row, &x.at, s);
            }
        }
    }
}
