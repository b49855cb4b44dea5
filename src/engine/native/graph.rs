//! The forward pass: one job on the pool, phases between barriers.
//!
//! Per block: norm and quantize · Q, K, V · rotate and append to the cache · attention · quantize · output · norm and
//! quantize · gate and up · down. Rows are dealt out whole in the phases that work along a row; products are dealt out by
//! columns, in fixed shares while few rows make every share equal, from a cursor when the work is long. Who does a piece
//! never changes what is computed.
#![expect(unsafe_code, reason = "threads write disjoint parts of shared planes between barriers")]

use super::{
    attention::{self, Heads, RowPlace, Schedule},
    hparams::Hparams,
    kernels::{ActFormat, KernelError, Out, PackedMatrix, TILE, matmul},
    kv::KvCache,
    memory::SharedPlane,
    pool::{Pool, Team},
    rows::RowOps,
    weights::{Layer, Weights},
    workspace::{Cursors, Inputs, PHASES, ThreadMemory, Workspace},
};
use std::sync::{OnceLock, PoisonError, atomic::Ordering::Relaxed};

/// Rows from which products are dealt out from a cursor.
const MANY_ROWS: usize = 16;
/// Columns drawn at a time then.
const CHUNK: usize = 8 * TILE;

/// What does not change from pass to pass.
pub(super) struct Model {
    pub(super) hp: Hparams,
    pub(super) weights: Weights,
    pub(super) ops: RowOps,
    pub(super) wanted: ActFormat,
}

/// A pass over the rows in [`Workspace::places`].
struct Pass<'a> {
    model: &'a Model,
    cache: &'a KvCache,
    tokens: &'a [u32],
    places: &'a [RowPlace],
    /// Rows that want logits.
    wanted: &'a [usize],
    logits: SharedPlane<'a>,
    residual: SharedPlane<'a>,
    qkv: SharedPlane<'a>,
    attention: SharedPlane<'a>,
    added: SharedPlane<'a>,
    gate: SharedPlane<'a>,
    up: SharedPlane<'a>,
    angles: SharedPlane<'a>,
    windowed_angles: SharedPlane<'a>,
    partial: SharedPlane<'a>,
    embd_in: &'a Inputs,
    heads_in: &'a Inputs,
    ff_in: &'a Inputs,
    head_in: &'a Inputs,
    schedule: &'a Schedule,
    windowed_schedule: &'a Schedule,
    cursors: &'a Cursors,
    failure: &'a OnceLock<KernelError>,
}

/// Runs the rows in `work.places` (already appended to the cache) and writes the logits of the rows in `wanted`.
///
/// # Errors
/// What the kernels refuse: a fault of this program, since shapes were checked when the model was loaded.
pub(super) fn run(
    model: &Model,
    cache: &KvCache,
    work: &mut Workspace,
    pool: &mut Pool,
    tokens: &[u32],
    wanted: &[usize],
    logits: &mut [f32],
) -> Result<(), KernelError> {
    work.prepare(&model.hp, wanted.len(), pool.size())?;
    let failure = OnceLock::new();
    let pass = Pass {
        model,
        cache,
        tokens,
        places: &work.places,
        wanted,
        logits: SharedPlane::of(logits, model.hp.n_vocab),
        residual: work.residual.share(),
        qkv: work.qkv.share(),
        attention: work.attention.share(),
        added: work.added.share(),
        gate: work.gate.share(),
        up: work.up.share(),
        angles: work.angles.share(),
        windowed_angles: work.windowed_angles.share(),
        partial: work.partial.share(),
        embd_in: &work.embd_in,
        heads_in: &work.heads_in,
        ff_in: &work.ff_in,
        head_in: &work.head_in,
        schedule: &work.schedule,
        windowed_schedule: &work.windowed_schedule,
        cursors: &work.cursors,
        failure: &failure,
    };
    let threads = &work.threads;
    pool.run(&|team| {
        let mut memory = threads[team.id].lock().unwrap_or_else(PoisonError::into_inner);
        pass.thread(team, &mut memory);
    });
    failure.into_inner().map_or(Ok(()), Err)
}

impl Pass<'_> {
    /// One thread's part of the job.
    fn thread(&self, team: Team<'_>, memory: &mut ThreadMemory) {
        let weights = &self.model.weights;
        for row in team.share(self.places.len(), 1) {
            self.embed(row);
        }
        for (il, layer) in weights.layers.iter().enumerate() {
            for row in team.share(self.places.len(), 1) {
                self.norm_into(row, &layer.attn_norm, self.embd_in, row, memory);
            }
            team.wait();
            let (q, k) = (layer.q.n(), layer.k.n());
            let products = [(&layer.q, 0), (&layer.k, q), (&layer.v, q + k)];
            self.products(team, memory, il * PHASES, &products, self.embd_in, self.qkv, false);
            team.wait();
            self.rotate_and_append(team, il, layer);
            team.wait();
            self.attend(team, memory, il);
            team.wait();
            for row in team.share(self.places.len(), 1) {
                // SAFETY: rows are complete since the barrier; this thread alone converts this one.
                unsafe { quantize(self.heads_in, row, self.attention.read(row, 0..self.attention.width())) };
            }
            team.wait();
            let norms = layer.output_norms.as_ref();
            self.add_product(team, memory, il * PHASES + 3, &layer.out, self.heads_in, norms.is_some());
            team.wait();
            for row in team.share(self.places.len(), 1) {
                self.add_normed(row, norms.map(|(attention, _)| attention.as_slice()));
                self.norm_into(row, &layer.ff_norm, self.embd_in, row, memory);
            }
            team.wait();
            self.feed_forward(team, memory, il * PHASES + 4, layer);
            team.wait();
            for row in team.share(self.places.len(), 1) {
                // SAFETY: as above.
                unsafe { quantize(self.ff_in, row, self.gate.read(row, 0..self.gate.width())) };
            }
            team.wait();
            self.add_product(team, memory, il * PHASES + 5, &layer.down, self.ff_in, norms.is_some());
            team.wait();
            for row in team.share(self.places.len(), 1) {
                self.add_normed(row, norms.map(|(_, ff)| ff.as_slice()));
            }
        }
        if self.wanted.is_empty() {
            return;
        }
        // The rows just completed were dealt out differently from those that want logits.
        team.wait();
        for i in team.share(self.wanted.len(), 1) {
            self.norm_into(self.wanted[i], &weights.output_norm, self.head_in, i, memory);
        }
        team.wait();
        let phase = self.model.hp.n_layer * PHASES;
        self.products(team, memory, phase, &[(&weights.head, 0)], self.head_in, self.logits, false);
    }

    /// Looks up a row's embedding and its angles.
    fn embed(&self, row: usize) {
        let (weights, hp) = (&self.model.weights, &self.model.hp);
        // SAFETY: this thread alone works on this row until the next barrier.
        let (residual, angles) =
            unsafe { (self.residual.write(row, 0..hp.n_embd), self.angles.write(row, 0..hp.n_rot)) };
        // Tokens were checked against the vocabulary; a row of NaN is noticed if that was wrong.
        if weights.embed(self.tokens[row], residual).is_none() {
            residual.fill(f32::NAN);
        }
        if hp.embed_scale != 1.0 {
            residual.iter_mut().for_each(|x| *x *= hp.embed_scale);
        }
        let pos = self.places[row].pos;
        let (cos, sin) = angles.split_at_mut(hp.n_rot / 2);
        weights.rotation.angles(pos, cos, sin);
        if let Some(rotation) = &weights.windowed_rotation {
            // SAFETY: as above.
            let (cos, sin) = unsafe { self.windowed_angles.write(row, 0..hp.n_rot) }.split_at_mut(hp.n_rot / 2);
            rotation.angles(pos, cos, sin);
        }
    }

    /// Norms a row of the residual and quantizes it as row `to` of `inputs`.
    fn norm_into(&self, row: usize, weight: &[f32], inputs: &Inputs, to: usize, memory: &mut ThreadMemory) {
        // SAFETY: nobody writes the row before the next barrier; this thread alone converts it.
        unsafe {
            let x = self.residual.read(row, 0..self.model.hp.n_embd);
            self.model.ops.norm(x, weight, self.model.hp.norm_eps, &mut memory.row);
            quantize(inputs, to, &memory.row);
        }
    }

    /// Adds a row of `added` to the residual after norming it, in models that do.
    fn add_normed(&self, row: usize, weight: Option<&[f32]>) {
        let Some(weight) = weight else { return };
        // SAFETY: this thread alone works on this row until the next barrier.
        unsafe {
            let width = self.model.hp.n_embd;
            let added = self.added.write(row, 0..width);
            self.model.ops.norm_in_place(added, weight, self.model.hp.norm_eps);
            self.model.ops.add(self.residual.write(row, 0..width), added);
        }
    }

    /// Biases, head norms and rotation of queries and keys; keys and values go to the cache.
    fn rotate_and_append(&self, team: Team<'_>, il: usize, layer: &Layer) {
        let hp = &self.model.hp;
        let ops = self.model.ops;
        let group = hp.n_head / hp.n_head_kv;
        let angles = if hp.is_windowed(il) { self.windowed_angles } else { self.angles };
        let (keys, values) = (hp.n_head * hp.key, (hp.n_head + hp.n_head_kv) * hp.key);
        for unit in team.share(self.places.len() * hp.n_head_kv, 1) {
            let (row, head) = (unit / hp.n_head_kv, unit % hp.n_head_kv);
            // SAFETY: angles are complete since an earlier barrier; the columns of this head's queries, key and value in
            // this row, and its place in the cache, are this unit's own.
            unsafe {
                let (cos, sin) = angles.read(row, 0..hp.n_rot).split_at(hp.n_rot / 2);
                let part = |start: usize, width: usize| {
                    let x = self.qkv.write(row, start..start + width);
                    if let Some(bias) = &layer.qkv_bias {
                        ops.add(x, &bias[start..start + width]);
                    }
                    x
                };
                for q in head * group..(head + 1) * group {
                    let x = part(q * hp.key, hp.key);
                    if let Some((norm, _)) = &layer.head_norms {
                        ops.norm_in_place(x, norm, hp.norm_eps);
                    }
                    ops.rotate(x, cos, sin, hp.attn_scale);
                }
                let key = part(keys + head * hp.key, hp.key);
                if let Some((_, norm)) = &layer.head_norms {
                    ops.norm_in_place(key, norm, hp.norm_eps);
                }
                ops.rotate(key, cos, sin, 1.0);
                let value = part(values + head * hp.value, hp.value);
                attention::put(ops.level(), self.cache, il, head, self.places[row], key, value);
            }
        }
    }

    fn attend(&self, team: Team<'_>, memory: &mut ThreadMemory, il: usize) {
        let hp = &self.model.hp;
        let windowed = hp.is_windowed(il);
        let schedule = if windowed { self.windowed_schedule } else { self.schedule };
        let layer = attention::Layer {
            cache: self.cache,
            layer: il,
            heads: Heads {
                group: hp.n_head / hp.n_head_kv,
                window: hp.window.filter(|_| windowed).map(|window| window.size),
            },
            rows: self.places,
            queries: self.qkv,
            out: self.attention,
            partial: self.partial,
        };
        let cursor = self.cursors.get(il * PHASES + 1);
        while let Some(unit) = schedule.units.get(cursor.fetch_add(1, Relaxed)) {
            // SAFETY: `RowOps` checked the level; queries and cache are complete since the barrier; the cursor gives each
            // unit to one thread.
            unsafe { attention::run(self.model.ops.level(), &layer, unit, &mut memory.attention) };
        }
        if schedule.merges.is_empty() {
            return;
        }
        team.wait();
        let cursor = self.cursors.get(il * PHASES + 2);
        while let Some(merge) = schedule.merges.get(cursor.fetch_add(1, Relaxed)) {
            // SAFETY: as above; all units are done since the barrier.
            unsafe { attention::join(self.model.ops.level(), &layer, merge) };
        }
    }

    /// Gate and up projections of the same columns, then the gate, by one thread.
    fn feed_forward(&self, team: Team<'_>, memory: &mut ThreadMemory, phase: usize, layer: &Layer) {
        let rows = self.places.len();
        self.columns(team, phase, layer.gate.n(), |columns| {
            self.multiply(memory, &layer.gate, self.embd_in, columns.clone(), self.gate, 0, false);
            self.multiply(memory, &layer.up, self.embd_in, columns.clone(), self.up, 0, false);
            for row in 0..rows {
                // SAFETY: these columns are this thread's own until the next barrier.
                let (gate, up) = unsafe { (self.gate.write(row, columns.clone()), self.up.read(row, columns.clone())) };
                self.model.ops.gated(gate, up, self.model.hp.gate);
            }
        });
    }

    /// A product that is added to the residual, at once or, if it has to be normed first, by [`Pass::add_normed`].
    fn add_product(
        &self,
        team: Team<'_>,
        memory: &mut ThreadMemory,
        phase: usize,
        matrix: &PackedMatrix,
        inputs: &Inputs,
        normed: bool,
    ) {
        let out = if normed { self.added } else { self.residual };
        self.products(team, memory, phase, &[(matrix, 0)], inputs, out, !normed);
    }

    /// Products of the same inputs, whose outputs start at the given columns of `out`.
    #[expect(clippy::too_many_arguments, reason = "a phase's operands")]
    fn products(
        &self,
        team: Team<'_>,
        memory: &mut ThreadMemory,
        phase: usize,
        matrices: &[(&PackedMatrix, usize)],
        inputs: &Inputs,
        out: SharedPlane<'_>,
        add: bool,
    ) {
        // The matrices' tiles, one after the other, as if they were one matrix.
        let padded = |matrix: &PackedMatrix| matrix.n().next_multiple_of(TILE);
        let total = matrices.iter().map(|(matrix, _)| padded(matrix)).sum();
        self.columns(team, phase, total, |columns| {
            let mut start = 0;
            for &(matrix, at) in matrices {
                let own = columns.start.saturating_sub(start).min(matrix.n())
                    ..columns.end.saturating_sub(start).min(matrix.n());
                self.multiply(memory, matrix, inputs, own, out, at, add);
                start += padded(matrix);
            }
        });
    }

    /// Deals out `n` columns in whole tiles.
    fn columns(&self, team: Team<'_>, phase: usize, n: usize, mut work: impl FnMut(std::ops::Range<usize>)) {
        if self.places.len() < MANY_ROWS || team.size == 1 {
            return work(team.share(n, TILE));
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
        memory: &mut ThreadMemory,
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
        let Some(x) = inputs.of(matrix, self.model.wanted) else { return };
        assert!(at + matrix.n() <= out.width());
        // The last row is inside the plane, hence all are.
        let _ = out.row_ptr(x.rows() - 1);
        // SAFETY: `at` is inside the row (asserted).
        let start = unsafe { out.row_ptr(0).add(at) };
        let out = Out { start, stride: out.width(), add };
        // SAFETY: the inputs are complete since the last barrier, and these columns of `out` are this thread's own until
        // the next one: rows and columns are inside the plane (asserted).
        let done = unsafe { matmul(matrix, x, 0..x.rows(), columns, out, &mut memory.product) };
        if let Err(error) = done {
            // The first failure is the one reported.
            let _ = self.failure.set(error);
        }
    }
}

/// Converts a row of activations to every format its matrices take.
///
/// # Safety
/// No other thread converts the same row or multiplies with it before the next barrier.
unsafe fn quantize(inputs: &Inputs, row: usize, x: &[f32]) {
    for rows in inputs.all() {
        // SAFETY: passed on.
        unsafe { rows.quantize_row(row, x) };
    }
}
