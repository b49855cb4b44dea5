//! Buffers of a forward pass, made once for the largest number of rows a pass processes at a time.

use super::{
    attention::{self, Heads, RowPlace, Schedule},
    hparams::Hparams,
    kernels::{self, ACT_BLOCK, ActFormat, ActRows, Isa, KernelError, PackedMatrix, TILE},
    kv::{KvShape, KvType},
    memory::{Plane, SharedPlane},
    pool::Padded,
    weights::{Layer, Weights},
};
use std::sync::{Mutex, atomic::AtomicUsize};

/// Most rows processed at a time (llama.cpp's `n_ubatch`).
pub(super) const MAX_ROWS: usize = 512;
/// Most rows the last block is finished for apart from those nobody wants logits of.
const LAST_ROWS: usize = 64;
/// Columns of gate and up that a thread draws at a time where there are many rows.
pub(super) const CHUNK: usize = 8 * TILE;
/// Memory for attention spans done apart, bytes.
const PARTIAL_BYTES: usize = 4 << 20;

/// Quantized activations for one kind of input, in the formats its matrices take.
pub(super) struct Inputs {
    integers: Option<ActRows>,
    floats: Option<ActRows>,
    k: usize,
    wanted: ActFormat,
}

impl Inputs {
    fn new<'w>(
        isa: Isa,
        rows: usize,
        k: usize,
        wanted: ActFormat,
        matrices: impl Iterator<Item = &'w PackedMatrix>,
    ) -> Result<Self, KernelError> {
        let mut inputs = Self { integers: None, floats: None, k, wanted };
        for matrix in matrices {
            let slot = match matrix.act_format(wanted) {
                ActFormat::F32 => &mut inputs.floats,
                ActFormat::Q8 | ActFormat::Q16 => &mut inputs.integers,
            };
            if slot.is_none() {
                *slot = Some(ActRows::new(isa, rows, k)?);
            }
        }
        Ok(inputs)
    }

    /// Sets the number of rows of the next pass.
    pub(super) fn prepare(&mut self, rows: usize) -> Result<(), KernelError> {
        if let Some(integers) = &mut self.integers {
            integers.prepare(rows, self.k, self.wanted)?;
        }
        if let Some(floats) = &mut self.floats {
            floats.prepare(rows, self.k, ActFormat::F32)?;
        }
        Ok(())
    }

    /// Rows of the next pass.
    #[inline]
    pub(super) fn rows(&self) -> usize {
        self.all().next().map_or(0, ActRows::rows)
    }

    /// The rows in the format `matrix` takes.
    #[inline]
    pub(super) fn of(&self, matrix: &PackedMatrix) -> Option<&ActRows> {
        match matrix.act_format(self.wanted) {
            ActFormat::F32 => self.floats.as_ref(),
            ActFormat::Q8 | ActFormat::Q16 => self.integers.as_ref(),
        }
    }

    /// Every format in use.
    #[inline]
    pub(super) fn all(&self) -> impl Iterator<Item = &ActRows> {
        self.integers.iter().chain(&self.floats)
    }
}

/// Gate and up of some columns of all rows, on their way to the inputs of the down projection.
pub(super) struct Gated {
    gate: Plane,
    up: Plane,
    len: usize,
}

impl Gated {
    fn new(max_rows: usize, n_ff: usize) -> Result<Self, KernelError> {
        // A few rows get all columns at once.
        let len = (max_rows * CHUNK).max(n_ff.next_multiple_of(ACT_BLOCK));
        Ok(Self { gate: Plane::new(1, len)?, up: Plane::new(1, len)?, len })
    }

    /// Columns there is room for, whole blocks of activations.
    #[inline]
    pub(super) fn columns(&self, rows: usize) -> usize {
        self.len / rows.max(1) / ACT_BLOCK * ACT_BLOCK
    }

    /// Gate and up as planes of `width` columns.
    #[inline]
    pub(super) fn share(&mut self, width: usize) -> (SharedPlane<'_>, SharedPlane<'_>) {
        (self.gate.share_as(width), self.up.share_as(width))
    }
}

/// Memory of one thread.
pub(super) struct ThreadMemory {
    pub(super) attention: attention::Scratch,
    pub(super) product: kernels::Scratch,
    pub(super) gated: Gated,
    /// One row, as wide as the residual.
    pub(super) row: Vec<f32>,
    /// Inputs of Q, K, V, gate and up, of a single row that every thread norms for itself.
    pub(super) own: Inputs,
}

/// Counters from which threads draw work, one per phase that is dealt out dynamically.
pub(super) struct Cursors(Vec<Padded<AtomicUsize>>);

impl Cursors {
    fn new(n: usize) -> Self {
        Self((0..n).map(|_| Padded::default()).collect())
    }

    /// Sets all to zero.
    #[inline]
    pub(super) fn reset(&mut self) {
        for cursor in &mut self.0 {
            *cursor.0.get_mut() = 0;
        }
    }

    /// One of them.
    #[inline]
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
    /// Cosines, then sines, of each row's position.
    pub(super) angles: Plane,
    pub(super) windowed_angles: Plane,
    pub(super) partial: Plane,
    pub(super) max_parts: usize,
    /// Inputs of the head.
    pub(super) head_in: Inputs,
    pub(super) threads: Vec<Mutex<ThreadMemory>>,
    pub(super) cursors: Cursors,
    /// All rows of the pass.
    pub(super) all: Stage,
    /// Those the last block is finished for, where that is worth the change; else none.
    pub(super) last: Stage,
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
        let heads = hp.n_head * hp.value;
        let max_k = hp.n_embd.max(hp.n_ff).max(heads);
        let group = hp.n_head / hp.n_head_kv;
        let part_width = group * attention::state_width(shape);
        let max_parts = (PARTIAL_BYTES / 4 / part_width).max(1);
        let tiles = isa == Isa::Amx && wanted != ActFormat::F32 && shape.ty == KvType::F16;
        let memory = |_| {
            Ok(Mutex::new(ThreadMemory {
                attention: attention::Scratch::new(shape, group, tiles),
                product: kernels::Scratch::new(isa, max_k)?,
                gated: Gated::new(max_rows, hp.n_ff)?,
                row: vec![0.0; hp.n_embd],
                own: {
                    let mut own = embd_inputs(weights, hp, isa, wanted, 1)?;
                    own.prepare(1)?;
                    own
                },
            }))
        };
        Ok(Self {
            max_rows,
            residual: Plane::new(max_rows, hp.n_embd)?,
            qkv: Plane::new(max_rows, hp.n_head * hp.key + hp.n_head_kv * (hp.key + hp.value))?,
            attention: Plane::new(max_rows, heads)?,
            added: Plane::new(if hp.arch.norms_outputs() { max_rows } else { 0 }, hp.n_embd)?,
            angles: Plane::new(max_rows, hp.n_rot)?,
            windowed_angles: Plane::new(if hp.window.is_some() { max_rows } else { 0 }, hp.n_rot)?,
            partial: Plane::new(max_parts, part_width)?,
            max_parts,
            head_in: Inputs::new(isa, max_rows, hp.n_embd, finer(wanted), std::iter::once(&weights.head))?,
            threads: (0..threads).map(memory).collect::<Result<_, KernelError>>()?,
            cursors: Cursors::new(hp.n_layer * PHASES + 1),
            all: Stage::new(weights, hp, isa, wanted, max_rows)?,
            last: Stage::new(weights, hp, isa, wanted, LAST_ROWS)?,
        })
    }

    /// Readies the buffers for the rows in `all.places`, of which `wanted` want logits.
    pub(super) fn prepare(&mut self, hp: &Hparams, wanted: &[usize], threads: usize) -> Result<(), KernelError> {
        self.head_in.prepare(wanted.len())?;
        self.cursors.reset();
        self.last.places.clear();
        if wanted.len() <= LAST_ROWS.min(self.all.places.len() / 2) {
            self.last.places.extend(wanted.iter().map(|&row| self.all.places[row]));
        }
        self.all.prepare(hp, threads, self.max_parts)?;
        self.last.prepare(hp, threads, self.max_parts)
    }
}

/// Inputs of Q, K, V, gate and up.
fn embd_inputs(
    weights: &Weights,
    hp: &Hparams,
    isa: Isa,
    wanted: ActFormat,
    max_rows: usize,
) -> Result<Inputs, KernelError> {
    let matrices = weights.layers.iter().flat_map(|l| [&l.q, &l.k, &l.v, &l.gate, &l.up]);
    Inputs::new(isa, max_rows, hp.n_embd, wanted, matrices)
}

/// Some rows of a pass: what every phase between two products needs of them.
pub(super) struct Stage {
    pub(super) places: Vec<RowPlace>,
    /// Whether no two rows are of one sequence.
    pub(super) is_alone: bool,
    /// Inputs of Q, K, V, gate and up.
    pub(super) embd_in: Inputs,
    /// Inputs of the attention output.
    pub(super) heads_in: Inputs,
    /// Inputs of the down projection.
    pub(super) ff_in: Inputs,
    pub(super) schedule: Schedule,
    pub(super) windowed_schedule: Schedule,
}

impl Stage {
    fn new(weights: &Weights, hp: &Hparams, isa: Isa, wanted: ActFormat, max_rows: usize) -> Result<Self, KernelError> {
        let inputs = |k, wanted, of: for<'w> fn(&'w Layer) -> Vec<&'w PackedMatrix>| {
            Inputs::new(isa, max_rows, k, wanted, weights.layers.iter().flat_map(of))
        };
        Ok(Self {
            places: Vec::new(),
            is_alone: false,
            embd_in: embd_inputs(weights, hp, isa, wanted, max_rows)?,
            heads_in: inputs(hp.n_head * hp.value, wanted, |l| vec![&l.out])?,
            ff_in: inputs(hp.n_ff, finer(wanted), |l| vec![&l.down])?,
            schedule: Schedule::default(),
            windowed_schedule: Schedule::default(),
        })
    }

    fn prepare(&mut self, hp: &Hparams, threads: usize, max_parts: usize) -> Result<(), KernelError> {
        for inputs in [&mut self.embd_in, &mut self.heads_in, &mut self.ff_in] {
            inputs.prepare(self.places.len())?;
        }
        let mut sequences: Vec<u32> = self.places.iter().map(|place| place.seq).collect();
        sequences.sort_unstable();
        self.is_alone = sequences.windows(2).all(|pair| pair[0] != pair[1]);
        let full = Heads { group: hp.n_head / hp.n_head_kv, window: None };
        self.schedule.fill(&self.places, &full, hp.n_head_kv, threads, max_parts);
        if let Some(window) = hp.window {
            let heads = Heads { window: Some(window.size), ..full };
            self.windowed_schedule.fill(&self.places, &heads, hp.n_head_kv, threads, max_parts);
        }
        Ok(())
    }
}

/// What the inputs of the down projection and of the head are converted to: their rounding is most of what 8-bit
/// activations cost in accuracy (on SmolLM2-135M a sixth of the 95th percentile of |Δ ln p|), and they are a third of the
/// multiplications.
const fn finer(wanted: ActFormat) -> ActFormat {
    match wanted {
        ActFormat::Q8 => ActFormat::Q16,
        other => other,
    }
}
