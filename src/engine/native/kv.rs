//! Keys and values of all sequences, in blocks of 32 positions that sequences share until one of them writes.
//!
//! A block holds, for every layer and key/value head, two arrays of *panels* of 32 × 32 elements: keys transposed
//! (`[dimension][position]`) and values (`[dimension / 32][position][32 dimensions]`). Both products of attention, scores
//! = Q·Kᵀ and output = P·V, then read rows of 32 consecutive elements, with no horizontal sums and no transposition. Head
//! sizes that are not multiples of 32 are padded with zeros.
//!
//! The arena is reserved for every sequence at full length and touched only as blocks are used.
#![expect(unsafe_code, reason = "blocks are reached through addresses; attention reads them from several threads")]

use super::{kernels::Memory, memory};
use crate::engine::{EngineError, memory::available_bytes};

/// Positions per block.
pub(super) const BLOCK: usize = 32;
/// Elements per panel row.
pub(super) const PANEL: usize = 32;
/// How many bytes of fresh blocks are handed out between two looks at the system's free memory.
const CHECK_BYTES: u64 = 64 << 20;
const FIX: &str = "use a shorter context (--ctx), fewer sequences, or --kv q8_0";

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KvType {
    /// Half floats, llama.cpp's default.
    F16,
    /// Single floats.
    F32,
    /// 8-bit integers with a half-float scale per 32 dimensions of a position.
    Q8,
}

impl KvType {
    /// By the name users write.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "f16" => Some(Self::F16),
            "f32" => Some(Self::F32),
            "q8_0" => Some(Self::Q8),
            _ => None,
        }
    }

    /// The name users write.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::Q8 => "q8_0",
        }
    }

    /// Bytes of a panel. For `Q8` 32 scales come first, one per position.
    pub(super) fn panel_bytes(self) -> usize {
        match self {
            Self::F16 => 2 * PANEL * PANEL,
            Self::F32 => 4 * PANEL * PANEL,
            Self::Q8 => PANEL * PANEL + 2 * PANEL,
        }
    }
}

/// Sizes that fix the layout of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KvShape {
    /// Layers.
    pub(super) n_layer: usize,
    /// Key/value heads per layer.
    pub(super) n_head_kv: usize,
    /// Dimensions of a key.
    pub(super) key: usize,
    /// Dimensions of a value.
    pub(super) value: usize,
    /// Element format.
    pub(super) ty: KvType,
}

impl KvShape {
    /// Panels of one head's keys in a block.
    pub(super) fn key_panels(&self) -> usize {
        self.key.div_ceil(PANEL)
    }

    /// Panels of one head's values in a block.
    pub(super) fn value_panels(&self) -> usize {
        self.value.div_ceil(PANEL)
    }

    /// Bytes of one head in a block: keys, then values.
    fn head_bytes(&self) -> usize {
        (self.key_panels() + self.value_panels()) * self.ty.panel_bytes()
    }

    /// Bytes one position takes, without padding.
    pub(super) fn bytes_per_position(&self) -> u64 {
        let head = match self.ty {
            KvType::F16 => 2 * (self.key + self.value),
            KvType::F32 => 4 * (self.key + self.value),
            KvType::Q8 => self.key + self.value + 2 * (self.key_panels() + self.value_panels()),
        };
        (self.n_layer * self.n_head_kv * head) as u64
    }

    /// Bytes of a block.
    pub(super) fn block_bytes(&self) -> usize {
        self.n_layer * self.n_head_kv * self.head_bytes()
    }
}

/// One live sequence.
#[derive(Clone, Debug, Default)]
struct Sequence {
    blocks: Vec<u32>,
    len: u32,
}

/// All live sequences and their blocks.
pub(super) struct KvCache {
    shape: KvShape,
    n_ctx: u32,
    sequences: Vec<Option<Sequence>>,
    arena: Memory,
    /// Sequences that use each block; 0 is free.
    users: Vec<u32>,
    /// Free blocks that were used before, to be reused first.
    free: Vec<u32>,
    /// Blocks handed out at least once; those after it have never been touched.
    fresh: u32,
    unchecked_bytes: u64,
}

impl KvCache {
    /// A cache for `max_seqs` sequences of up to `n_ctx` positions.
    ///
    /// # Errors
    /// [`EngineError::OutOfMemory`] if not even one full sequence fits, or the address space is refused.
    pub(super) fn new(shape: KvShape, n_ctx: u32, max_seqs: u32) -> Result<Self, EngineError> {
        let per_sequence = (n_ctx as usize).div_ceil(BLOCK);
        let too_much = || EngineError::OutOfMemory {
            what: "the key/value cache",
            needed_mib: u64::MAX >> 20,
            available_mib: available_bytes().unwrap_or(0) >> 20,
            fix: FIX,
        };
        let one = per_sequence.checked_mul(shape.block_bytes()).ok_or_else(too_much)?;
        memory::require(one as u64, "the key/value cache of one sequence", FIX)?;
        let blocks = per_sequence.checked_mul(max_seqs as usize).ok_or_else(too_much)?;
        let bytes = blocks.checked_mul(shape.block_bytes()).ok_or_else(too_much)?;
        if u32::try_from(blocks).is_err() {
            return Err(too_much());
        }
        Ok(Self {
            shape,
            n_ctx,
            sequences: vec![None; max_seqs as usize],
            arena: memory::reserve(bytes, "the key/value cache", FIX)?,
            users: vec![0; blocks],
            free: Vec::new(),
            fresh: 0,
            unchecked_bytes: 0,
        })
    }

    /// Layout of the blocks.
    pub(super) fn shape(&self) -> &KvShape {
        &self.shape
    }

    /// Starts an empty sequence.
    pub(super) fn create(&mut self) -> Result<u32, EngineError> {
        let max = self.sequences.len() as u32;
        let id = self.sequences.iter().position(Option::is_none).ok_or(EngineError::TooManySequences { max })?;
        self.sequences[id] = Some(Sequence::default());
        Ok(id as u32)
    }

    /// Starts a sequence with the positions of `id`, sharing its blocks.
    pub(super) fn fork(&mut self, id: u32) -> Result<u32, EngineError> {
        let parent = self.get(id)?.clone();
        let child = self.create()?;
        for &block in &parent.blocks {
            self.users[block as usize] += 1;
        }
        self.sequences[child as usize] = Some(parent);
        Ok(child)
    }

    /// Shortens `id` to `len` positions.
    pub(super) fn truncate(&mut self, id: u32, len: u32) -> Result<(), EngineError> {
        let sequence = self.get_mut(id)?;
        if len >= sequence.len {
            return Ok(());
        }
        sequence.len = len;
        let dropped = sequence.blocks.split_off((len as usize).div_ceil(BLOCK));
        self.release(&dropped);
        Ok(())
    }

    /// Ends `id`.
    pub(super) fn free(&mut self, id: u32) -> Result<(), EngineError> {
        self.get(id)?;
        if let Some(sequence) = self.sequences[id as usize].take() {
            self.release(&sequence.blocks);
        }
        Ok(())
    }

    /// Positions `id` holds.
    pub(super) fn len(&self, id: u32) -> Result<u32, EngineError> {
        Ok(self.get(id)?.len)
    }

    /// Lengthens `id` by one position, which becomes writable by this sequence alone, and returns it.
    ///
    /// # Errors
    /// [`EngineError::ContextFull`], [`EngineError::OutOfMemory`].
    pub(super) fn append(&mut self, id: u32) -> Result<u32, EngineError> {
        let n_ctx = self.n_ctx;
        let sequence = self.get(id)?;
        let pos = sequence.len;
        if pos >= n_ctx {
            return Err(EngineError::ContextFull { needed: pos.saturating_add(1), n_ctx });
        }
        let index = pos as usize / BLOCK;
        match sequence.blocks.get(index).copied() {
            None => {
                let block = self.take_block()?;
                self.get_mut(id)?.blocks.push(block);
            }
            Some(shared) if self.users[shared as usize] > 1 => {
                let own = self.take_block()?;
                let bytes = self.shape.block_bytes();
                // SAFETY: two different blocks of the arena; no job runs, so nobody else touches either.
                unsafe {
                    std::ptr::copy_nonoverlapping(self.block_ptr(shared), self.block_ptr(own), bytes);
                }
                self.users[shared as usize] -= 1;
                self.get_mut(id)?.blocks[index] = own;
            }
            Some(_) => {}
        }
        self.get_mut(id)?.len = pos + 1;
        Ok(pos)
    }

    /// Blocks of `id`, in order of position.
    pub(super) fn blocks(&self, id: u32) -> &[u32] {
        match self.sequences.get(id as usize) {
            Some(Some(sequence)) => &sequence.blocks,
            _ => &[],
        }
    }

    /// First byte of the keys of one head in a block; its values follow after [`KvShape::key_panels`] panels.
    pub(super) fn head_ptr(&self, block: u32, layer: usize, head: usize) -> *mut u8 {
        assert!(layer < self.shape.n_layer && head < self.shape.n_head_kv);
        let at = (layer * self.shape.n_head_kv + head) * self.shape.head_bytes();
        // SAFETY: inside the block, which `block_ptr` checks to be inside the arena.
        unsafe { self.block_ptr(block).add(at) }
    }

    fn block_ptr(&self, block: u32) -> *mut u8 {
        assert!((block as usize) < self.users.len());
        // SAFETY: the arena holds `users.len()` blocks.
        unsafe { self.arena.start().add(block as usize * self.shape.block_bytes()) }
    }

    fn get(&self, id: u32) -> Result<&Sequence, EngineError> {
        self.sequences.get(id as usize).and_then(Option::as_ref).ok_or(EngineError::UnknownSequence(id))
    }

    fn get_mut(&mut self, id: u32) -> Result<&mut Sequence, EngineError> {
        self.sequences.get_mut(id as usize).and_then(Option::as_mut).ok_or(EngineError::UnknownSequence(id))
    }

    fn take_block(&mut self) -> Result<u32, EngineError> {
        let block = match self.free.pop() {
            Some(block) => block,
            None => {
                let bytes = self.shape.block_bytes() as u64;
                if self.unchecked_bytes < bytes {
                    memory::require(CHECK_BYTES.max(bytes), "the key/value cache", FIX)?;
                    self.unchecked_bytes = CHECK_BYTES.max(bytes);
                }
                self.unchecked_bytes -= bytes;
                self.fresh += 1;
                self.fresh - 1
            }
        };
        self.users[block as usize] = 1;
        Ok(block)
    }

    fn release(&mut self, blocks: &[u32]) {
        for &block in blocks.iter().rev() {
            let users = &mut self.users[block as usize];
            *users -= 1;
            if *users == 0 {
                self.free.push(block);
            }
        }
    }
}

#[cfg(test)]
mod tests;
