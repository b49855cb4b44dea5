//! Buffers of a forward pass, made once for the largest number of rows a pass processes at a time.

use super::{
    attention::{self, Heads, RowPlace, Schedule},
    hparams::Hparams,
    kernels::{self, ActFormat, ActRows, Isa, KernelError, PackedMatrix},
    kv::KvShape,
    memory::Plane,
    pool::Padded,
    weights::{Layer, Weights},
};
use std::sync::{Mutex, atomic::AtomicUsize};

/// Most rows processed at a time (llama.cpp's `n_ubatch`).
pub(super) const MAX_ROWS: usize = 512;
/// Memory for attention spans done apart, bytes.
const PARTIAL_BYTES: usize = 4 << 20;

/// Quantized activations for one kind of input, in the formats its matrices take.
pub(super) struct Inputs {
    q8: Option<ActRows>,
    f32: Option<ActRows>,
    k: usize,
}

impl Inputs {
    fn new<'w>(
        isa: Isa,
        rows: usize,
        k: usize,
        wanted: ActFormat,
        matrices: impl Iterator<Item = &'w PackedMatrix>,
    ) -> Result<Self, KernelError> {
        let mut inputs = Self { q8: None, f32: None, k };
        for matrix in matrices {
            let slot = match matrix.act_format(wanted) {
                ActFormat::Q8 => &mut inputs.q8,
                ActFormat::F32 => &mut inputs.f32,
            };
            if slot.is_none() {
                *slot = Some(ActRows::new(isa, rows, k)?);
            }
        }
        Ok(inputs)
    }

    /// Sets the number of rows of the next pass.
    pub(super) fn prepare(&mut self, rows: usize) -> Result<(), KernelError> {
        for (slot, format) in [(&mut self.q8, ActFormat::Q8), (&mut self.f32, ActFormat::F32)] {
            if let Some(rows_of) = slot {
                rows_of.prepare(rows, self.k, format)?;
            }
        }
        Ok(())
    }

    /// The rows in the format `matrix` takes.
    pub(super) fn of(&self, matrix: &PackedMatrix, wanted: ActFormat) -> Option<&ActRows> {
        match matrix.act_format(wanted) {
            ActFormat::Q8 => self.q8.as_ref(),
            ActFormat::F32 => self.f32.as_ref(),
        }
    }

    /// Every format in use.
    pub(super) fn all(&self) -> impl Iterator<Item = &ActRows> {
        self.q8.iter().chain(&self.f32)
    }
}

/// Memory of one thread.
pub(super) struct ThreadMemory {
    pub(super) attention: attention::Scratch,
    pub(super) product: kernels::Scratch,
    /// One row, as wide as the residual.
    pub(super) row: Vec<f32>,
}

/// Counters from which threads draw work, one per phase that is dealt out dynamically.
pub(super) struct Cursors(Vec<Padded<AtomicUsize>>);

impl Cursors {
    fn new(n: usize) -> Self {
        Self((0..n).map(|_| Padded::default()).collect())
    }

    /// Sets all to zero.
    pub(super) fn reset(&mut self) {
        for cursor in &mut self.0 {
            *cursor.0.get_mut() = 0;
        }
    }

    /// One of them.
    pub(super) fn get(&self, i: usize) -> &AtomicUsize {
        &self.0[i].0
    }
}

/// Dynamic phases per layer: QKV, attention, merges, output, gate and up, down.
pub(super) const PHASES: usize = 6;

/// All buffers.
pub(super) struct Workspace {
    pub(super) max_rows: usize,
    pub(super) residual: Plane,
    /// Queries, keys and values side by side.
    pub(super) qkv: Plane,
    pub(super) attention: Plane,
    /// Outputs that are normed before they are added.
    pub(super) added: Plane,
    pub(super) gate: Plane,
    pub(super) up: Plane,
    /// Cosines, then sines, of each row's position.
    pub(super) angles: Plane,
    pub(super) windowed_angles: Plane,
    pub(super) partial: Plane,
    pub(super) max_parts: usize,
    /// Inputs of Q, K, V, gate and up.
    pub(super) embd_in: Inputs,
    /// Inputs of the attention output.
    pub(super) heads_in: Inputs,
    /// Inputs of the down projection.
    pub(super) ff_in: Inputs,
    /// Inputs of the head.
    pub(super) head_in: Inputs,
    pub(super) threads: Vec<Mutex<ThreadMemory>>,
    pub(super) cursors: Cursors,
    pub(super) places: Vec<RowPlace>,
    pub(super) schedule: Schedule,
    pub(super) windowed_schedule: Schedule,
}

impl Workspace {
    /// Buffers for up to `max_rows` rows at a time on `threads` threads.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub(super) fn new(
        weights: &Weights,
        hp: &Hparams,
        shape: &KvShape,
        isa: Isa,
        wanted: ActFormat,
        max_rows: usize,
        threads: usize,
    ) -> Result<Self, KernelError> {
        let matrices = |of: for<'w> fn(&'w Layer) -> Vec<&'w PackedMatrix>| weights.layers.iter().flat_map(of);
        let heads = hp.n_head * hp.value;
        let max_k = hp.n_embd.max(hp.n_ff).max(heads);
        let group = hp.n_head / hp.n_head_kv;
        let part_width = group * attention::state_width(shape);
        let max_parts = (PARTIAL_BYTES / 4 / part_width).max(1);
        let memory = |_| {
            Ok(Mutex::new(ThreadMemory {
                attention: attention::Scratch::new(shape, group),
                product: kernels::Scratch::new(isa, max_k)?,
                row: vec![0.0; hp.n_embd],
            }))
        };
        Ok(Self {
            max_rows,
            residual: Plane::new(max_rows, hp.n_embd),
            qkv: Plane::new(max_rows, hp.n_head * hp.key + hp.n_head_kv * (hp.key + hp.value)),
            attention: Plane::new(max_rows, heads),
            added: Plane::new(if hp.arch.norms_outputs() { max_rows } else { 0 }, hp.n_embd),
            gate: Plane::new(max_rows, hp.n_ff),
            up: Plane::new(max_rows, hp.n_ff),
            angles: Plane::new(max_rows, hp.n_rot),
            windowed_angles: Plane::new(if hp.window.is_some() { max_rows } else { 0 }, hp.n_rot),
            partial: Plane::new(max_parts, part_width),
            max_parts,
            embd_in: Inputs::new(
                isa,
                max_rows,
                hp.n_embd,
                wanted,
                matrices(|l| vec![&l.q, &l.k, &l.v, &l.gate, &l.up]),
            )?,
            heads_in: Inputs::new(isa, max_rows, heads, wanted, matrices(|l| vec![&l.out]))?,
            ff_in: Inputs::new(isa, max_rows, hp.n_ff, wanted, matrices(|l| vec![&l.down]))?,
            head_in: Inputs::new(isa, max_rows, hp.n_embd, wanted, std::iter::once(&weights.head))?,
            threads: (0..threads).map(memory).collect::<Result<_, KernelError>>()?,
            cursors: Cursors::new(hp.n_layer * PHASES + 1),
            places: Vec::new(),
            schedule: Schedule::default(),
            windowed_schedule: Schedule::default(),
        })
    }

    /// Readies the buffers for the rows in `places`, of which `logits` want logits.
    pub(super) fn prepare(&mut self, hp: &Hparams, wanted_logits: usize, threads: usize) -> Result<(), KernelError> {
        let rows = self.places.len();
        for inputs in [&mut self.embd_in, &mut self.heads_in, &mut self.ff_in] {
            inputs.prepare(rows)?;
        }
        self.head_in.prepare(wanted_logits)?;
        self.cursors.reset();
        let full = Heads { group: hp.n_head / hp.n_head_kv, window: None };
        self.schedule.fill(&self.places, &full, hp.n_head_kv, threads, self.max_parts);
        if let Some(window) = hp.window {
            let heads = Heads { window: Some(window.size), ..full };
            self.windowed_schedule.fill(&self.places, &heads, hp.n_head_kv, threads, self.max_parts);
        }
        Ok(())
    }
}
