//! The forward pass: one job on the pool, phases between barriers.
//!
//! Per block: norm and quantize · Q, K, V · rotate and append to the cache · attention and quantize · output · norm and
//! quantize · gate and up, gate and quantize · down. Rows are dealt out whole in the phases that work along a row; products
//! are dealt out by columns, in fixed shares while few rows make every share equal, from a cursor when the work is long.
//! Who does a piece never changes what is computed.
#![expect(unsafe_code, reason = "threads write disjoint parts of shared planes between barriers")]

mod products;
mod rows;

use super::{
    attention::{self, Heads, Schedule},
    hparams::Hparams,
    kernels::{ACT_BLOCK, AMX_MIN_ROWS, KernelError, Scratch},
    kv::KvCache,
    memory::SharedPlane,
    pool::{Pool, Team},
    rows::RowOps,
    weights::{Layer, Weights},
    workspace::{Cursors, Gated, Inputs, PHASES, Stage, ThreadMemory, Workspace},
};
use std::sync::{OnceLock, PoisonError, atomic::Ordering::Relaxed};

/// What does not change from pass to pass.
pub(super) struct Model {
    pub(super) hp: Hparams,
    pub(super) weights: Weights,
    pub(super) ops: RowOps,
}

/// A pass over the rows of [`Workspace::all`].
struct Pass<'a> {
    model: &'a Model,
    cache: &'a KvCache,
    tokens: &'a [u32],
    all: &'a Stage,
    /// The rows the last block is finished for, moved together to the front of every plane; none if that is all rows.
    last: &'a Stage,
    /// Rows that want logits.
    wanted: &'a [usize],
    logits: SharedPlane<'a>,
    residual: SharedPlane<'a>,
    qkv: SharedPlane<'a>,
    attention: SharedPlane<'a>,
    added: SharedPlane<'a>,
    angles: SharedPlane<'a>,
    windowed_angles: SharedPlane<'a>,
    partial: SharedPlane<'a>,
    head_in: &'a Inputs,
    cursors: &'a Cursors,
    failure: &'a OnceLock<KernelError>,
}

/// Runs the rows in `work.all.places` (already appended to the cache) and writes the logits of the rows in `wanted`.
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
    work.prepare(&model.hp, wanted, pool.size())?;
    let failure = OnceLock::new();
    let pass = Pass {
        model,
        cache,
        tokens,
        all: &work.all,
        last: &work.last,
        wanted,
        logits: SharedPlane::of(logits, model.hp.n_vocab),
        residual: work.residual.share(),
        qkv: work.qkv.share(),
        attention: work.attention.share(),
        added: work.added.share(),
        angles: work.angles.share(),
        windowed_angles: work.windowed_angles.share(),
        partial: work.partial.share(),
        head_in: &work.head_in,
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
        let layers = &self.model.weights.layers;
        for row in team.share(self.all.places.len(), 1) {
            self.embed(row);
        }
        if self.norms_alike() {
            team.wait();
        }
        for (il, layer) in layers.iter().enumerate() {
            self.project(team, memory, il, layer);
            if il + 1 < layers.len() {
                self.finish(team, memory, il, layer, self.all);
                continue;
            }
            // What nobody wants logits of has done its part: its keys and values are in the cache.
            if self.wanted.is_empty() {
                return;
            }
            if self.last.places.is_empty() {
                self.finish(team, memory, il, layer, self.all);
            } else {
                if team.id == 0 {
                    self.keep_wanted();
                }
                team.wait();
                self.finish(team, memory, il, layer, self.last);
            }
        }
        self.head(team, memory);
    }

    /// The first half of a block: queries, keys and values; the latter two go to the cache.
    fn project(&self, team: Team<'_>, memory: &mut ThreadMemory, il: usize, layer: &Layer) {
        let (q, k) = (layer.q.n(), layer.k.n());
        let products = [(&layer.q, 0), (&layer.k, q), (&layer.v, q + k)];
        self.with_normed(team, memory, self.all, &layer.attn_norm, |(scratch, _), inputs| {
            self.products(team, scratch, il * PHASES, &products, inputs, self.qkv, false);
        });
        team.wait();
        if self.appends_by_unit(il) {
            return;
        }
        let heads = self.model.hp.n_head_kv;
        for unit in team.share(self.all.places.len() * heads, 1) {
            self.rotate_and_append(il, layer, unit / heads, unit % heads);
        }
        team.wait();
    }

    /// Whether every thread norms the only row for itself, which takes less time than waiting for another to do it.
    #[inline]
    fn norms_alike(&self) -> bool {
        self.all.places.len() == 1 && !self.model.hp.arch.norms_outputs()
    }

    /// Whether no row attends to another of this pass, so that whoever has a unit of attention can place its key itself.
    #[inline]
    fn appends_by_unit(&self, il: usize) -> bool {
        let last = il + 1 == self.model.hp.n_layer;
        let schedule = self.schedule(il, self.all);
        self.all.is_alone && schedule.merges.is_empty() && !(last && self.wanted.len() < self.all.places.len())
    }

    #[inline]
    fn schedule<'a>(&self, il: usize, rows: &'a Stage) -> &'a Schedule {
        if self.model.hp.is_windowed(il) { &rows.windowed_schedule } else { &rows.schedule }
    }

    /// Norms and quantizes rows of the residual, then multiplies.
    fn with_normed(
        &self,
        team: Team<'_>,
        memory: &mut ThreadMemory,
        rows: &Stage,
        weight: &[f32],
        multiply: impl FnOnce((&mut Scratch, &mut Gated), &Inputs),
    ) {
        let ThreadMemory { product, gated, row: normed, own, .. } = memory;
        if self.norms_alike() {
            self.norm_into(0, weight, own, 0, normed);
            return multiply((product, gated), own);
        }
        for row in team.share(rows.places.len(), 1) {
            self.norm_into(row, weight, &rows.embd_in, row, normed);
        }
        team.wait();
        multiply((product, gated), &rows.embd_in);
    }

    /// The second half of a block: attention and feed-forward, both added to the residual.
    fn finish(&self, team: Team<'_>, memory: &mut ThreadMemory, il: usize, layer: &Layer, rows: &Stage) {
        self.attend(team, memory, il, layer, rows);
        team.wait();
        let norms = layer.output_norms.as_ref();
        self.add_product(team, &mut memory.product, il * PHASES + 3, &layer.out, &rows.heads_in, norms.is_some());
        team.wait();
        for row in team.share(rows.places.len(), 1) {
            self.add_normed(row, norms.map(|(attention, _)| attention.as_slice()));
        }
        self.with_normed(team, memory, rows, &layer.ff_norm, |memory, inputs| {
            self.feed_forward(team, memory, il * PHASES + 4, layer, rows, inputs);
        });
        team.wait();
        self.add_product(team, &mut memory.product, il * PHASES + 5, &layer.down, &rows.ff_in, norms.is_some());
        team.wait();
        for row in team.share(rows.places.len(), 1) {
            self.add_normed(row, norms.map(|(_, ff)| ff.as_slice()));
        }
    }

    /// Logits of the rows that want them.
    fn head(&self, team: Team<'_>, memory: &mut ThreadMemory) {
        let weights = &self.model.weights;
        // The rows just completed were dealt out differently from those that want logits.
        team.wait();
        let moved = !self.last.places.is_empty();
        for i in team.share(self.wanted.len(), 1) {
            let row = if moved { i } else { self.wanted[i] };
            self.norm_into(row, &weights.output_norm, self.head_in, i, &mut memory.row);
        }
        team.wait();
        let phase = self.model.hp.n_layer * PHASES;
        self.products(team, &mut memory.product, phase, &[(&weights.head, 0)], self.head_in, self.logits, false);
    }

    /// Attention, and its output quantized: by head if the heads of a group are whole blocks, else by row.
    fn attend(&self, team: Team<'_>, memory: &mut ThreadMemory, il: usize, layer: &Layer, rows: &Stage) {
        let hp = &self.model.hp;
        let heads = hp.n_head / hp.n_head_kv * hp.value;
        let by_head = heads.is_multiple_of(ACT_BLOCK);
        let quantize_heads = |row: usize, columns: std::ops::Range<usize>| {
            // SAFETY: this thread has just completed these columns, and alone converts them.
            unsafe { quantize(&rows.heads_in, row, columns.start, self.attention.read(row, columns)) }
        };
        let windowed = hp.is_windowed(il);
        let schedule = self.schedule(il, rows);
        let appends = self.appends_by_unit(il);
        let operands = attention::Layer {
            cache: self.cache,
            layer: il,
            heads: Heads {
                group: hp.n_head / hp.n_head_kv,
                window: hp.window.filter(|_| windowed).map(|window| window.size),
            },
            rows: &rows.places,
            queries: self.qkv,
            out: self.attention,
            partial: self.partial,
            tiles: rows.places.len() >= AMX_MIN_ROWS,
        };
        let cursor = self.cursors.get(il * PHASES + 1);
        while let Some(unit) = schedule.units.get(cursor.fetch_add(1, Relaxed)) {
            if appends {
                self.rotate_and_append(il, layer, unit.first, unit.head);
            }
            // SAFETY: `RowOps` checked the level; queries and cache are complete since the barrier; the cursor gives each
            // unit to one thread.
            unsafe { attention::run(self.model.ops.level(), &operands, unit, &mut memory.attention) };
            if by_head && unit.part.is_none() {
                for row in unit.first..unit.first + unit.tokens {
                    quantize_heads(row, unit.head * heads..(unit.head + 1) * heads);
                }
            }
        }
        if !schedule.merges.is_empty() {
            team.wait();
            let cursor = self.cursors.get(il * PHASES + 2);
            while let Some(merge) = schedule.merges.get(cursor.fetch_add(1, Relaxed)) {
                // SAFETY: as above; all units are done since the barrier.
                unsafe { attention::join(self.model.ops.level(), &operands, merge) };
                if by_head {
                    quantize_heads(merge.row, merge.head * heads..(merge.head + 1) * heads);
                }
            }
        }
        if !by_head {
            team.wait();
            for row in team.share(rows.places.len(), 1) {
                quantize_heads(row, 0..self.attention.width());
            }
        }
    }
}

/// Converts part of a row of activations, from column `start`, to every format its matrices take.
///
/// # Safety
/// No other thread converts the same part or multiplies with it before the next barrier.
#[inline]
unsafe fn quantize(inputs: &Inputs, row: usize, start: usize, x: &[f32]) {
    for rows in inputs.all() {
        // SAFETY: passed on.
        unsafe { rows.quantize_part(row, start, x) };
    }
}
