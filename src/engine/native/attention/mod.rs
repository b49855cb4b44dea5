//! Attention over the block cache: one algorithm for a single token at depth and for a whole prompt.
//!
//! Keys are taken in *spans* of 256 positions that start at multiples of 256. For each span and query row: scores, their
//! maximum, exponentials, their sum, the weighted values; then the span is merged into the row's running state (online
//! softmax). What is computed for a row depends on its own position only — not on which rows share the pass, nor on how
//! spans are dealt to threads — so decode and prefill, batched or alone, give the same bits.
//!
//! Query rows are grouped by key/value head, so that grouped-query heads and neighbouring tokens read a key once.
#![expect(unsafe_code, reason = "reads the cache and writes rows through addresses")]

mod append;
mod panels;
mod schedule;
#[cfg(target_arch = "x86_64")]
mod tiles;

use super::{
    kv::{BLOCK, KvCache, KvShape, KvType, PANEL},
    memory::SharedPlane,
    simd::{Level, Simd, vectorised},
};
pub(super) use append::put;
use panels::{Floats, Halves, Panels, expand, multiply_rows};
pub(super) use schedule::{Merge, RowPlace, Schedule, Unit};

/// Positions per span.
pub(super) const SPAN: usize = 256;
/// Most query rows whose scores are held at once.
const MAX_ROWS: usize = 8;
/// Most panels along a head: heads of up to 1024 dimensions.
const MAX_PANELS: usize = 32;
/// Largest head, dimensions.
pub(super) const MAX_HEAD: usize = MAX_PANELS * PANEL;
/// Query rows aimed at per unit of work of a prompt.
const UNIT_ROWS: usize = 48;

/// Sizes and parameters shared by all heads of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    /// Query heads per key/value head.
    pub(super) group: usize,
    /// Positions a query sees, itself included; `None` sees all.
    pub(super) window: Option<usize>,
}

impl Heads {
    /// First position the query at `pos` sees.
    #[inline]
    fn first_seen(&self, pos: usize) -> usize {
        self.window.map_or(0, |w| (pos + 1).saturating_sub(w))
    }
}

/// One thread's memory for a unit.
pub(super) struct Scratch {
    scores: Vec<f32>,
    /// Weighted values of the current span, per row.
    fresh: Vec<f32>,
    /// Running state: maximum, sum, then weighted values, per row.
    state: Vec<f32>,
    /// A panel expanded to f32, for formats that are not read directly.
    panels: Vec<f32>,
    #[cfg(target_arch = "x86_64")]
    tiles: Option<tiles::Scratch>,
}

impl Scratch {
    /// `tiles`: whether [`Layer::tiles`] may be asked for.
    pub(super) fn new(shape: &KvShape, group: usize, tiles: bool) -> Self {
        let rows = UNIT_ROWS.max(group) + MAX_ROWS;
        let expanded = if shape.ty == KvType::Q8 { shape.key_panels().max(SPAN / BLOCK) * PANEL * PANEL } else { 0 };
        Self {
            scores: vec![0.0; MAX_ROWS * SPAN],
            fresh: vec![0.0; MAX_ROWS * value_width(shape)],
            state: vec![0.0; rows * state_width(shape)],
            panels: vec![0.0; expanded],
            #[cfg(target_arch = "x86_64")]
            tiles: tiles.then(|| tiles::Scratch::new(shape, UNIT_ROWS.max(group))),
        }
    }
}

/// Elements of a value, padded to whole panels.
#[inline]
fn value_width(shape: &KvShape) -> usize {
    shape.value_panels() * PANEL
}

/// Elements of the state of a query row: maximum and sum (a vector's width, for alignment), weighted values.
#[inline]
pub(super) fn state_width(shape: &KvShape) -> usize {
    PANEL + value_width(shape)
}

/// Everything attention of one layer reads and writes.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) cache: &'a KvCache,
    pub(super) layer: usize,
    pub(super) heads: Heads,
    pub(super) rows: &'a [RowPlace],
    /// `[row][head][key]`, rotated and scaled.
    pub(super) queries: SharedPlane<'a>,
    /// `[row][head][value]`.
    pub(super) out: SharedPlane<'a>,
    /// `[part][group][state]`.
    pub(super) partial: SharedPlane<'a>,
    /// Whether units of many rows use AMX: probabilities and values are then rounded to bfloat16.
    pub(super) tiles: bool,
}

vectorised! {
    fn attend_halves(layer: &Layer<'_>, unit: &Unit, scratch: &mut Scratch) = attend::<_, Halves>
}
vectorised! {
    fn attend_floats(layer: &Layer<'_>, unit: &Unit, scratch: &mut Scratch) = attend::<_, Floats>
}

/// Does one unit of a schedule.
///
/// # Safety
/// `level` is available; the cache and queries are complete and not written until the next barrier; no other thread does
/// the same unit.
pub(super) unsafe fn run(level: Level, layer: &Layer<'_>, unit: &Unit, scratch: &mut Scratch) {
    // SAFETY: passed on; a scratch for tiles is made only where there is AMX, and holds a state per row of a unit.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if let Some(tiles) = &mut scratch.tiles
            && layer.tiles
            && unit.part.is_none()
            && unit.tokens * layer.heads.group >= tiles::MIN_ROWS
        {
            assert!(unit.tokens * layer.heads.group * state_width(layer.cache.shape()) <= scratch.state.len());
            return tiles::attend(layer, unit, tiles, scratch.state.as_mut_ptr());
        }
        match layer.cache.shape().ty {
            KvType::F16 => attend_halves(level, layer, unit, scratch),
            // Q8 panels are expanded to floats first.
            KvType::F32 | KvType::Q8 => attend_floats(level, layer, unit, scratch),
        }
    }
}

#[inline(always)]
unsafe fn attend<S: Simd, F: Panels>(layer: &Layer<'_>, unit: &Unit, scratch: &mut Scratch) {
    let shape = layer.cache.shape();
    let group = layer.heads.group;
    let width = state_width(shape);
    let rows = unit.tokens * group;
    let pos = |row: usize| layer.rows[unit.first + row / group].pos as usize;
    let state = match unit.part {
        Some((_, part)) => layer.partial.row_ptr(part),
        None => {
            assert!(rows * width <= scratch.state.len());
            scratch.state.as_mut_ptr()
        }
    };
    let spans = match unit.part {
        Some((span, _)) => span..span + 1,
        None => layer.heads.first_seen(pos(0)) / SPAN..pos(rows - 1) / SPAN + 1,
    };
    // SAFETY: `state` holds `rows` states (scratch: asserted; partial plane: a row holds one group); rows and spans are
    // this unit's own, and their queries and keys are complete (caller).
    unsafe {
        for row in 0..rows {
            *state.add(row * width) = f32::NEG_INFINITY;
            *state.add(row * width + 1) = 0.0;
            std::slice::from_raw_parts_mut(state.add(row * width + PANEL), width - PANEL).fill(0.0);
        }
        for span in spans {
            for first in (0..rows).step_by(MAX_ROWS) {
                let n = MAX_ROWS.min(rows - first);
                let seen = std::array::from_fn(|r| {
                    let p = pos(first + r.min(n - 1));
                    let (low, high) = (span * SPAN, (span + 1) * SPAN);
                    let start = layer.heads.first_seen(p).clamp(low, high);
                    start - low..(p + 1).clamp(start, high) - low
                });
                attend_span::<S, F>(layer, unit, span, first, n, &seen, state, scratch);
            }
        }
        if unit.part.is_none() {
            for row in 0..rows {
                finish::<S>(layer, unit.first + row / group, unit.head * group + row % group, state.add(row * width));
            }
        }
    }
}

/// Up to eight rows on one span. `seen[r]`: the positions row `r` sees, relative to the span.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the inner loop's own state, passed in registers")]
unsafe fn attend_span<S: Simd, F: Panels>(
    layer: &Layer<'_>,
    unit: &Unit,
    span: usize,
    first: usize,
    rows: usize,
    seen: &[std::ops::Range<usize>; MAX_ROWS],
    state: *mut f32,
    scratch: &mut Scratch,
) {
    let shape = layer.cache.shape();
    let (group, width) = (layer.heads.group, state_width(shape));
    let start = seen[..rows].iter().filter(|s| !s.is_empty()).map(|s| s.start).min();
    let end = seen[..rows].iter().filter(|s| !s.is_empty()).map(|s| s.end).max();
    let (Some(start), Some(end)) = (start, end) else { return };
    let (first_block, last_block) = (start / BLOCK, end.div_ceil(BLOCK));
    let table = layer.cache.blocks(layer.rows[unit.first].seq);
    let table = &table[span * (SPAN / BLOCK) + first_block..span * (SPAN / BLOCK) + last_block];
    let panel_bytes = shape.ty.panel_bytes();
    let direct = shape.ty != KvType::Q8;
    let scores = scratch.scores.as_mut_ptr();
    let fresh = scratch.fresh.as_mut_ptr();
    let value_width = width - PANEL;
    // SAFETY: blocks `first_block..last_block` of the span hold complete panels of every head; scores hold 8 × 256
    // elements and `fresh` 8 values; queries of rows `first..first + rows` are complete (caller).
    unsafe {
        let queries: [*const f32; MAX_ROWS] = std::array::from_fn(|r| {
            let row = first + r.min(rows - 1);
            let head = unit.head * group + row % group;
            layer.queries.row_ptr(unit.first + row / group).add(head * shape.key).cast_const()
        });
        let mut panels = [std::ptr::null::<u8>(); MAX_PANELS];
        for (i, &id) in table.iter().enumerate() {
            let block = first_block + i;
            let keys = layer.cache.head_ptr(id, layer.layer, unit.head).cast_const();
            // Blocks lie anywhere: no prefetcher but this one finds the values, and the next block's keys, in time.
            ask_for(keys.wrapping_add(shape.key_panels() * panel_bytes), shape.value_panels() * panel_bytes);
            if let Some(&id) = table.get(i + 1) {
                ask_for(layer.cache.head_ptr(id, layer.layer, unit.head), shape.key_panels() * panel_bytes);
            }
            for (p, panel) in panels.iter_mut().enumerate().take(shape.key_panels()) {
                *panel = keys.add(p * panel_bytes);
                if !direct {
                    let expanded = scratch.panels.as_mut_ptr().add(p * PANEL * PANEL);
                    expand(*panel, true, expanded);
                    *panel = expanded.cast();
                }
            }
            let out: [*mut f32; MAX_ROWS] = std::array::from_fn(|r| scores.add(r * SPAN + block * BLOCK));
            multiply_rows::<S, F>(&queries, &panels[..shape.key_panels()], shape.key, &out, rows);
        }
        let (mut maxima, mut sums) = ([f32::NEG_INFINITY; MAX_ROWS], [0.0; MAX_ROWS]);
        for r in 0..rows {
            let row = std::slice::from_raw_parts_mut(scores.add(r * SPAN), last_block * BLOCK);
            (maxima[r], sums[r]) = softmax::<S>(&mut row[first_block * BLOCK..], first_block * BLOCK, &seen[r]);
        }
        let probabilities: [*const f32; MAX_ROWS] =
            std::array::from_fn(|r| scores.add(r * SPAN + first_block * BLOCK).cast_const());
        for strip in 0..shape.value_panels() {
            for (at, &id) in table.iter().enumerate() {
                let panel = &mut panels[at];
                let keys = layer.cache.head_ptr(id, layer.layer, unit.head).cast_const();
                *panel = keys.add((shape.key_panels() + strip) * panel_bytes);
                if !direct {
                    let expanded = scratch.panels.as_mut_ptr().add(at * PANEL * PANEL);
                    expand(*panel, false, expanded);
                    *panel = expanded.cast();
                }
            }
            let out: [*mut f32; MAX_ROWS] = std::array::from_fn(|r| fresh.add(r * value_width + strip * PANEL));
            // Only up to the last position any row sees: what lies beyond may never have been written.
            let n = end - first_block * BLOCK;
            multiply_rows::<S, F>(&probabilities, &panels[..table.len()], n, &out, rows);
        }
        for r in 0..rows {
            merge::<S>(state.add((first + r) * width), maxima[r], sums[r], fresh.add(r * value_width), value_width);
        }
    }
}

/// Asks for the cache lines of `bytes` from `at`. Nothing is read: any address will do.
#[inline(always)]
fn ask_for(at: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..bytes).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (at, bytes);
}

/// Replaces scores by exponentials relative to their maximum, zero where `seen` does not reach; returns the maximum and
/// the sum. `offset` is the position of `row[0]` in the span.
#[inline(always)]
unsafe fn softmax<S: Simd>(row: &mut [f32], offset: usize, seen: &std::ops::Range<usize>) -> (f32, f32) {
    let from = seen.start.saturating_sub(offset).min(row.len());
    let to = seen.end.saturating_sub(offset).clamp(from, row.len());
    row[..from].fill(f32::NEG_INFINITY);
    row[to..].fill(f32::NEG_INFINITY);
    if from == to {
        row.fill(0.0);
        return (f32::NEG_INFINITY, 0.0);
    }
    // SAFETY: the row is a whole number of blocks, hence of vectors; the level is available (caller).
    unsafe {
        let mut max = S::splat(f32::NEG_INFINITY);
        for part in row.chunks_exact(S::LANES) {
            max = S::max(max, S::load(part.as_ptr()));
        }
        let highest = S::max_lane(max);
        let (peak, mut sum) = (S::splat(highest), S::splat(0.0));
        for part in row.chunks_exact_mut(S::LANES) {
            let p = S::exp(S::sub(S::load(part.as_ptr()), peak));
            sum = S::add(sum, p);
            S::store(part.as_mut_ptr(), p);
        }
        (highest, S::sum(sum))
    }
}

/// Adds a span (maximum, sum, weighted values) to a running state.
#[inline(always)]
unsafe fn merge<S: Simd>(state: *mut f32, max: f32, sum: f32, values: *const f32, width: usize) {
    if max == f32::NEG_INFINITY && sum == 0.0 {
        return;
    }
    // SAFETY: a state and `width` values, both whole numbers of panels (caller).
    unsafe {
        let (old_max, old_sum) = (*state, *state.add(1));
        let peak = if old_max > max { old_max } else { max };
        let (keep, take) = ((old_max - peak).exp(), (max - peak).exp());
        *state = peak;
        *state.add(1) = old_sum * keep + sum * take;
        let (k, t) = (S::splat(keep), S::splat(take));
        let total = state.add(PANEL);
        for i in (0..width).step_by(S::LANES) {
            let fresh = S::mul(S::load(values.add(i)), t);
            S::store(total.add(i), S::mul_add(S::load(total.add(i)), k, fresh));
        }
    }
}

/// Divides a state by its sum into the output of one head.
#[inline(always)]
unsafe fn finish<S: Simd>(layer: &Layer<'_>, row: usize, head: usize, state: *const f32) {
    let value = layer.cache.shape().value;
    // SAFETY: the head's part of the output row is this unit's own (caller); a state holds at least `value` values.
    unsafe {
        let sum = *state.add(1);
        let out = layer.out.write(row, head * value..(head + 1) * value);
        for (i, out) in out.iter_mut().enumerate() {
            *out = *state.add(PANEL + i) / sum;
        }
    }
}

vectorised! {
    fn merge_at(layer: &Layer<'_>, merge: &Merge) = merge_generic
}

/// Merges the spans of one token and key/value head, in order.
///
/// # Safety
/// `level` is available; all units are done; no other thread does the same merge.
pub(super) unsafe fn join(level: Level, layer: &Layer<'_>, merge: &Merge) {
    // SAFETY: passed on.
    unsafe { merge_at(level, layer, merge) }
}

#[inline(always)]
unsafe fn merge_generic<S: Simd>(layer: &Layer<'_>, job: &Merge) {
    let shape = layer.cache.shape();
    let (group, width) = (layer.heads.group, state_width(shape));
    for g in 0..group {
        // SAFETY: every part holds `group` states, complete since the last barrier; the first one is this thread's to
        // change now.
        unsafe {
            let total = layer.partial.row_ptr(job.parts.start).add(g * width);
            for part in job.parts.start + 1..job.parts.end {
                let state = layer.partial.row_ptr(part).add(g * width).cast_const();
                merge::<S>(total, *state, *state.add(1), state.add(PANEL), width - PANEL);
            }
            finish::<S>(layer, job.row, job.head * group + g, total);
        }
    }
}
