//! Phases that multiply: which columns a thread computes, of which matrices, and where they go.
#![expect(unsafe_code, reason = "threads write disjoint columns of shared planes between barriers")]

use super::{Inputs, Layer, Pass, SharedPlane, Stage, Team, quantize};
use crate::engine::native::{
    kernels::{ACT_BLOCK, Out, PackedMatrix, Scratch, TILE, matmul},
    workspace::{CHUNK, Gated},
};
use std::sync::atomic::Ordering::Relaxed;

/// Rows from which products are dealt out from a cursor.
const MANY_ROWS: usize = 16;
/// Columns that are multiplied with all rows before the next: products are dealt out so, not to leave a thread waiting.
const PANEL: usize = 2 * TILE;

/// Where the outputs of a product go: the first to column `at` of `plane`.
struct To<'a> {
    plane: SharedPlane<'a>,
    at: usize,
    /// Added to what is there.
    add: bool,
}

impl Pass<'_> {
    /// Gate and up projections of the same columns, then the gate, quantized, by one thread.
    ///
    /// As many columns at a time as the thread's own memory holds: it stays in the second-level cache, where planes as wide
    /// as the feed-forward would not.
    pub(super) fn feed_forward(
        &self,
        team: Team<'_>,
        memory: (&mut Scratch, &mut Gated),
        phase: usize,
        layer: &Layer,
        rows: &Stage,
        inputs: &Inputs,
    ) {
        let (scratch, gated) = memory;
        let n = rows.places.len();
        self.columns(team, n, phase, layer.gate.n(), (ACT_BLOCK, CHUNK), |columns| {
            let mut start = columns.start;
            while start < columns.end {
                let own = start..(start + gated.columns(n)).min(columns.end);
                start = own.end;
                let (gate, up) = gated.share(own.len());
                self.multiply(scratch, &layer.gate, inputs, own.clone(), To { plane: gate, at: 0, add: false });
                self.multiply(scratch, &layer.up, inputs, own.clone(), To { plane: up, at: 0, add: false });
                for row in 0..n {
                    // SAFETY: the memory and these columns are this thread's own.
                    unsafe {
                        let gate = gate.write(row, 0..own.len());
                        self.model.ops.gated(gate, up.read(row, 0..own.len()), self.model.hp.gate);
                        quantize(&rows.ff_in, row, own.start, gate);
                    }
                }
            }
        });
    }

    /// A product that is added to the residual, at once or, if it has to be normed first, by [`Pass::add_normed`].
    pub(super) fn add_product(
        &self,
        team: Team<'_>,
        scratch: &mut Scratch,
        phase: usize,
        matrix: &PackedMatrix,
        inputs: &Inputs,
        normed: bool,
    ) {
        let out = if normed { self.added } else { self.residual };
        self.products(team, scratch, phase, &[(matrix, 0)], inputs, out, !normed);
    }

    /// Products of the same inputs, whose outputs start at the given columns of `out`.
    #[expect(clippy::too_many_arguments, reason = "a phase's operands")]
    pub(super) fn products(
        &self,
        team: Team<'_>,
        scratch: &mut Scratch,
        phase: usize,
        matrices: &[(&PackedMatrix, usize)],
        inputs: &Inputs,
        out: SharedPlane<'_>,
        add: bool,
    ) {
        // The matrices' tiles, one after the other, as if they were one matrix.
        let padded = |matrix: &PackedMatrix| matrix.n().next_multiple_of(TILE);
        let total = matrices.iter().map(|(matrix, _)| padded(matrix)).sum();
        self.columns(team, inputs.rows(), phase, total, (TILE, PANEL), |columns| {
            let mut start = 0;
            for &(matrix, at) in matrices {
                let own = columns.start.saturating_sub(start).min(matrix.n())
                    ..columns.end.saturating_sub(start).min(matrix.n());
                let at = at + own.start;
                self.multiply(scratch, matrix, inputs, own, To { plane: out, at, add });
                start += padded(matrix);
            }
        });
    }

    /// Deals out `n` columns of `rows` rows: of few rows an equal share to each thread, in whole groups of `grain`, of many
    /// rows `chunk` at a time. Both are whole tiles.
    fn columns(
        &self,
        team: Team<'_>,
        rows: usize,
        phase: usize,
        n: usize,
        (grain, chunk): (usize, usize),
        mut work: impl FnMut(std::ops::Range<usize>),
    ) {
        if rows < MANY_ROWS || team.size == 1 {
            return work(team.share(n, grain));
        }
        let cursor = self.cursors.get(phase);
        loop {
            let start = cursor.fetch_add(chunk, Relaxed);
            if start >= n {
                return;
            }
            work(start..(start + chunk).min(n));
        }
    }

    /// One matrix's columns of all rows.
    fn multiply(
        &self,
        scratch: &mut Scratch,
        matrix: &PackedMatrix,
        inputs: &Inputs,
        columns: std::ops::Range<usize>,
        to: To<'_>,
    ) {
        if columns.is_empty() {
            return;
        }
        let Some(x) = inputs.of(matrix) else { return };
        assert!(to.at + columns.len() <= to.plane.width());
        // The last row is inside the plane, hence all are.
        let _ = to.plane.row_ptr(x.rows() - 1);
        // SAFETY: `at` is inside the row (asserted).
        let start = unsafe { to.plane.row_ptr(0).add(to.at) };
        let out = Out { start, first: columns.start, stride: to.plane.width(), add: to.add };
        // SAFETY: the inputs are complete since the last barrier, and these columns of the plane are this thread's own until
        // the next one: rows and columns are inside the plane (asserted).
        let done = unsafe { matmul(matrix, x, 0..x.rows(), columns, out, scratch) };
        if let Err(error) = done {
            // The first failure is the one reported.
            let _ = self.failure.set(error);
        }
    }
}
