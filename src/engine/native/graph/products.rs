//! Phases that multiply: which columns a thread computes, of which matrices, and where they go.
#![expect(unsafe_code, reason = "threads write disjoint columns of shared planes between barriers")]

use super::{Inputs, Layer, Pass, SharedPlane, Stage, Team, quantize};
use crate::engine::native::kernels::{ACT_BLOCK, Out, PackedMatrix, Scratch, TILE, matmul};
use std::sync::atomic::Ordering::Relaxed;

/// Rows from which products are dealt out from a cursor.
const MANY_ROWS: usize = 16;
/// Columns drawn at a time then.
const CHUNK: usize = 8 * TILE;

impl Pass<'_> {
    /// Gate and up projections of the same columns, then the gate, quantized, by one thread.
    pub(super) fn feed_forward(
        &self,
        team: Team<'_>,
        scratch: &mut Scratch,
        phase: usize,
        layer: &Layer,
        rows: &Stage,
        inputs: &Inputs,
    ) {
        let n = rows.places.len();
        self.columns(team, n, phase, layer.gate.n(), ACT_BLOCK, |columns| {
            self.multiply(scratch, &layer.gate, inputs, columns.clone(), self.gate, 0, false);
            self.multiply(scratch, &layer.up, inputs, columns.clone(), self.up, 0, false);
            for row in 0..n {
                // SAFETY: these columns are this thread's own until the next barrier.
                let (gate, up) = unsafe { (self.gate.write(row, columns.clone()), self.up.read(row, columns.clone())) };
                self.model.ops.gated(gate, up, self.model.hp.gate);
                // SAFETY: as above.
                unsafe { quantize(&rows.ff_in, row, columns.start, gate) };
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
        self.columns(team, inputs.rows(), phase, total, TILE, |columns| {
            let mut start = 0;
            for &(matrix, at) in matrices {
                let own = columns.start.saturating_sub(start).min(matrix.n())
                    ..columns.end.saturating_sub(start).min(matrix.n());
                self.multiply(scratch, matrix, inputs, own, out, at, add);
                start += padded(matrix);
            }
        });
    }

    /// Deals out `n` columns of `rows` rows in groups of `grain`, which divides [`CHUNK`] and is whole tiles.
    fn columns(
        &self,
        team: Team<'_>,
        rows: usize,
        phase: usize,
        n: usize,
        grain: usize,
        mut work: impl FnMut(std::ops::Range<usize>),
    ) {
        if rows < MANY_ROWS || team.size == 1 {
            return work(team.share(n, grain));
        }
        let cursor = self.cursors.get(phase);
        loop {
            let start = cursor.fetch_add(CHUNK, Relaxed);
            if start >= n {
                return;
            }
            work(start..(start + CHUNK).min(n));
        }
    }

    /// One matrix's columns of all rows.
    #[expect(clippy::too_many_arguments, reason = "a product's operands")]
    fn multiply(
        &self,
        scratch: &mut Scratch,
        matrix: &PackedMatrix,
        inputs: &Inputs,
        columns: std::ops::Range<usize>,
        out: SharedPlane<'_>,
        at: usize,
        add: bool,
    ) {
        if columns.is_empty() {
            return;
        }
        let Some(x) = inputs.of(matrix) else { return };
        assert!(at + matrix.n() <= out.width());
        // The last row is inside the plane, hence all are.
        let _ = out.row_ptr(x.rows() - 1);
        // SAFETY: `at` is inside the row (asserted).
        let start = unsafe { out.row_ptr(0).add(at) };
        let out = Out { start, stride: out.width(), add };
        // SAFETY: the inputs are complete since the last barrier, and these columns of `out` are this thread's own until
        // the next one: rows and columns are inside the plane (asserted).
        let done = unsafe { matmul(matrix, x, 0..x.rows(), columns, out, scratch) };
        if let Err(error) = done {
            // The first failure is the one reported.
            let _ = self.failure.set(error);
        }
    }
}
