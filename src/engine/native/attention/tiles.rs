//! Attention of many query rows with AMX tiles of bfloat16.
//!
//! The algorithm of the vector path, span by span, with both products in tiles. Queries and keys enter as two bfloat16
//! each, 16 bits of mantissa, because an error of a score is an error of its exponent; probabilities and values enter as
//! one, as the output does in the product that reads it next. What is computed for a row depends on its position alone.
#![expect(unsafe_code, reason = "reads the cache and writes rows through addresses")]

use std::arch::x86_64::*;

use super::{
    super::{
        kernels::amx::{self, TILE_BYTES},
        kv::{BLOCK, KvShape, PANEL},
        simd::Avx512,
    },
    Layer, SPAN, Unit, finish, merge, softmax, state_width, value_width,
};

/// Rows from which tiles are worth their preparation.
pub(super) const MIN_ROWS: usize = 16;
/// Blocks per span.
const BLOCKS: usize = SPAN / BLOCK;

/// One thread's memory.
pub(super) struct Scratch {
    rows: usize,
    queries: Tiles,
    keys: Tiles,
    scores: Vec<f32>,
    probabilities: Tiles,
    values: Tiles,
    fresh: Vec<f32>,
}

/// Tiles of bfloat16, aligned to cache lines.
type Tiles = Vec<Tile>;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Tile([u8; TILE_BYTES]);

fn tiles(n: usize) -> Tiles {
    vec![Tile([0; TILE_BYTES]); n]
}

impl Scratch {
    /// For units of up to `rows` query rows.
    pub(super) fn new(shape: &KvShape, rows: usize) -> Self {
        let rows = rows.next_multiple_of(32);
        Self {
            rows,
            queries: tiles(rows / 16 * shape.key_panels() * 2),
            keys: tiles(shape.key_panels() * 4),
            scores: vec![0.0; rows * SPAN],
            probabilities: tiles(rows / 16 * BLOCKS),
            values: tiles(BLOCKS * 2),
            fresh: vec![0.0; rows * value_width(shape)],
        }
    }
}

/// Does a unit whose rows are all of one sequence.
///
/// # Safety
/// As [`super::run`], on a machine with AMX; the cache holds half floats; `state` holds a state per row.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
pub(super) unsafe fn attend(layer: &Layer<'_>, unit: &Unit, scratch: &mut Scratch, state: *mut f32) {
    let shape = layer.cache.shape();
    let group = layer.heads.group;
    let width = state_width(shape);
    let rows = unit.tokens * group;
    assert!(rows <= scratch.rows, "a unit larger than its memory");
    let pos = |row: usize| layer.rows[unit.first + row / group].pos as usize;
    // SAFETY: the queries of the unit's rows are complete (caller) and the scratch has room for them; rows and spans are
    // this unit's own.
    unsafe {
        for row in 0..rows {
            let head = unit.head * group + row % group;
            let query = layer.queries.row_ptr(unit.first + row / group).add(head * shape.key);
            let query = std::slice::from_raw_parts(query.cast_const(), shape.key);
            let tiles = amx::row_tiles(row, shape.key, 2, scratch.queries.as_mut_ptr().cast());
            amx::split_row(query, 2, tiles);
            *state.add(row * width) = f32::NEG_INFINITY;
            *state.add(row * width + 1) = 0.0;
            std::slice::from_raw_parts_mut(state.add(row * width + PANEL), width - PANEL).fill(0.0);
        }
        let registers = amx::Registers::configure();
        for span in layer.heads.first_seen(pos(0)) / SPAN..pos(rows - 1) / SPAN + 1 {
            attend_span(layer, unit, span, rows, state, scratch, &registers);
        }
        drop(registers);
        for row in 0..rows {
            finish::<Avx512>(layer, unit.first + row / group, unit.head * group + row % group, state.add(row * width));
        }
    }
}

/// All rows of a unit on one span.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
unsafe fn attend_span(
    layer: &Layer<'_>,
    unit: &Unit,
    span: usize,
    rows: usize,
    state: *mut f32,
    scratch: &mut Scratch,
    registers: &amx::Registers,
) {
    let shape = layer.cache.shape();
    let (group, width) = (layer.heads.group, state_width(shape));
    let (low, high) = (span * SPAN, (span + 1) * SPAN);
    // The positions a row sees, relative to the span. Both ends rise with the row.
    let seen = |row: usize| {
        let pos = layer.rows[unit.first + row / group].pos as usize;
        let start = layer.heads.first_seen(pos).clamp(low, high);
        start - low..(pos + 1).clamp(start, high) - low
    };
    let (start, end) = (seen(0).start, seen(rows - 1).end);
    if start >= end {
        return;
    }
    let (first_block, last_block) = (start / BLOCK, end.div_ceil(BLOCK));
    let table =
        &layer.cache.blocks(layer.rows[unit.first].seq)[span * BLOCKS + first_block..span * BLOCKS + last_block];
    let panel_bytes = shape.ty.panel_bytes();
    let value_width = value_width(shape);
    let key_panels = shape.key_panels();
    let scores = scratch.scores.as_mut_ptr();
    let fresh = scratch.fresh.as_mut_ptr();
    // SAFETY: the table's blocks hold complete panels of every head; the scratch was made for these rows and this shape.
    unsafe {
        for (i, &id) in table.iter().enumerate() {
            let block = first_block + i;
            let keys = layer.cache.head_ptr(id, layer.layer, unit.head).cast_const();
            for p in 0..key_panels {
                split_panel::<2>(keys.add(p * panel_bytes), PANEL, scratch.keys.as_mut_ptr().add(4 * p).cast());
            }
            for first in (0..rows).step_by(32) {
                // Rows that all end before the block, or all start after it, have nothing there.
                let last = rows.min(first + 32) - 1;
                if seen(last).end <= block * BLOCK || seen(first).start >= (block + 1) * BLOCK {
                    continue;
                }
                let queries = scratch.queries.as_ptr().add(first / 16 * key_panels * 2).cast();
                let to = scores.add(first * SPAN + block * BLOCK);
                registers.multiply_split(queries, scratch.keys.as_ptr().cast(), key_panels, to, SPAN, rows - first);
            }
        }
        let probabilities: *mut u8 = scratch.probabilities.as_mut_ptr().cast();
        for row in 0..rows {
            let scores = std::slice::from_raw_parts_mut(scores.add(row * SPAN), last_block * BLOCK);
            let scores = &mut scores[first_block * BLOCK..];
            let (max, sum) = softmax::<Avx512>(scores, first_block * BLOCK, &seen(row));
            amx::split_row(scores, 1, amx::row_tiles(row, scores.len(), 1, probabilities));
            // Beside the running state, until the values are there.
            *state.add(row * width + 2) = max;
            *state.add(row * width + 3) = sum;
        }
        for strip in 0..shape.value_panels() {
            for (i, to) in scratch.values.chunks_exact_mut(2).enumerate().take(table.len()) {
                let (id, block) = (table[i], first_block + i);
                let keys = layer.cache.head_ptr(id, layer.layer, unit.head).cast_const();
                // What lies beyond the last position any row sees may never have been written.
                let n = PANEL.min(end - block * BLOCK);
                split_panel::<1>(keys.add((key_panels + strip) * panel_bytes), n, to.as_mut_ptr().cast());
            }
            for first in (0..rows).step_by(32) {
                let rows_of = probabilities.add(first / 16 * table.len() * TILE_BYTES).cast_const();
                let to = fresh.add(first * value_width + strip * PANEL);
                registers.multiply(rows_of, scratch.values.as_ptr().cast(), table.len(), to, value_width, rows - first);
            }
        }
        for row in 0..rows {
            let state = state.add(row * width);
            merge::<Avx512>(state, *state.add(2), *state.add(3), fresh.add(row * value_width), value_width);
        }
    }
}

/// A panel of half floats as two tiles of 16 columns, each in `P` parts; rows from `n` on count as zero.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
#[inline]
unsafe fn split_panel<const P: usize>(panel: *const u8, n: usize, to: *mut u8) {
    let zero = _mm512_setzero_ps();
    for row in (0..PANEL).step_by(2) {
        for half in 0..2 {
            // SAFETY: a panel is 32 × 32 half floats; the caller gives room for its tiles.
            unsafe {
                let at = panel.add(2 * (row * PANEL + 16 * half));
                let x = if row < n { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())) } else { zero };
                let at = at.add(2 * PANEL);
                let y = if row + 1 < n { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())) } else { zero };
                amx::put_pair::<P>(x, y, to.add(half * P * TILE_BYTES + row / 2 * 64));
            }
        }
    }
}
