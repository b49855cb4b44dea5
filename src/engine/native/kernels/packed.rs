//! Weights as the kernels read them: tiles of 16 outputs, at the file's bits per weight.
//!
//! A tile holds all `k` weights of 16 consecutive outputs (rows of the ggml tensor), so that one 512-bit vector holds the
//! same four columns of 16 outputs and a product with four broadcast activations gives 16 sums side by side. Nothing is
//! rounded: codes, scales and minima are the file's own, only their order changes.
//!
//! ```text
//! tile   = scales of all blocks, padded to 64 bytes | codes of all blocks            (quantized)
//!        = k × 16 numbers                                                            (F32, F16, BF16)
//! codes  = per 32 columns: low plane | high plane; byte (o, i) of a 64-byte vector is output o, column 4g + i
//!   nibble plane  4 vectors   vector p: bits 0–3 g = 2p, bits 4–7 g = 2p + 1          Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K
//!   crumb plane   2 vectors   vector h: bits 2j, 2j + 1 are g = 4h + j                Q2_K Q3_K, high: Q6_K
//!   bit plane     1 vector    bit g                                                   high: Q5_0 Q5_1 Q5_K Q3_K
//!   byte plane    8 vectors   vector g                                                Q8_0 (code + 128)
//! scales = per block: f16 d of 16 outputs [, f16 m or dmin of 16][, byte scales per group of 16][, byte minima]
//! ```
//!
//! Outputs beyond the last one have zero scales.
#![expect(unsafe_code, reason = "writes into memory shared by many matrices")]

use super::block::{Block, k4_scales, q3_scales};
use super::memory::{Arena, Slot};
use super::{KernelError, WeightType};

/// Outputs per tile.
pub const TILE: usize = 16;

/// Where things are in a tile of one type and `k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) ty: WeightType,
    /// Inputs: a multiple of the type's block.
    pub(super) k: usize,
    /// Bytes of scales per block of 16 outputs.
    pub(super) scale_bytes: usize,
    /// Bytes of codes per block of 16 outputs.
    pub(super) code_bytes: usize,
    /// Where the codes start in a tile.
    pub(super) codes_at: usize,
    /// Bytes per tile.
    pub(super) tile_bytes: usize,
}

impl Layout {
    pub(super) fn new(ty: WeightType, k: usize) -> Result<Self, KernelError> {
        if k == 0 || !k.is_multiple_of(ty.block()) || k > MAX_K {
            return Err(KernelError::BadShape { ty, k });
        }
        let blocks = k / ty.block();
        let (scale_bytes, code_bytes) = block_bytes(ty);
        let codes_at = (blocks * scale_bytes).next_multiple_of(64);
        let tile_bytes = (codes_at + blocks * code_bytes).next_multiple_of(64);
        Ok(Self { ty, k, scale_bytes, code_bytes, codes_at, tile_bytes })
    }

    /// Bytes of codes per 32 columns.
    #[inline]
    pub(super) const fn sub_bytes(&self) -> usize {
        match self.ty.block() {
            256 => self.code_bytes / 8,
            _ => self.code_bytes,
        }
    }
}

/// Bytes of scales and of codes per block of 16 outputs.
pub(super) const fn block_bytes(ty: WeightType) -> (usize, usize) {
    match ty {
        WeightType::F32 => (0, 4 * TILE),
        WeightType::F16 | WeightType::BF16 => (0, 2 * TILE),
        WeightType::Q4_0 => (32, 256),
        WeightType::Q4_1 => (64, 256),
        WeightType::Q5_0 => (32, 320),
        WeightType::Q5_1 => (64, 320),
        WeightType::Q8_0 => (32, 512),
        WeightType::Q2_K => (64 + 256, 8 * 128),
        WeightType::Q3_K => (32 + 256, 8 * 192),
        WeightType::Q4_K => (64 + 256, 8 * 256),
        WeightType::Q5_K => (64 + 256, 8 * 320),
        WeightType::Q6_K => (32 + 256, 8 * 384),
    }
}

/// Inputs a matrix may have: keeps every offset in a tile far from overflow.
pub(super) const MAX_K: usize = 1 << 24;

/// A weight matrix of `n` outputs × `k` inputs, repacked for the kernels. Immutable, shared by threads.
pub struct PackedMatrix {
    slot: Slot,
    layout: Layout,
    n: usize,
}

impl PackedMatrix {
    /// Bytes a matrix takes in an [`Arena`].
    ///
    /// # Errors
    /// [`KernelError::BadShape`] if `k` is not a positive multiple of the type's block.
    pub fn bytes(ty: WeightType, n: usize, k: usize) -> Result<usize, KernelError> {
        let layout = Layout::new(ty, k)?;
        n.div_ceil(TILE).checked_mul(layout.tile_bytes).ok_or(KernelError::OutOfMemory { mib: usize::MAX >> 20 })
    }

    /// Repacks a tensor: `data` holds `n` rows of `k` weights as the file stores them.
    ///
    /// # Errors
    /// [`KernelError::BadShape`], [`KernelError::ShortData`], [`KernelError::OutOfMemory`].
    pub fn pack(arena: &mut Arena, ty: WeightType, data: &[u8], n: usize, k: usize) -> Result<Self, KernelError> {
        Self::pack_rows(arena, ty, &[(data, n)], k)
    }

    /// As [`PackedMatrix::pack`], and calls `done` with some consecutive rows, each a slice of `data`, whenever they will
    /// not be read again: a mapped file need not stay in memory beside its copy.
    ///
    /// # Errors
    /// As [`PackedMatrix::pack`].
    pub fn pack_and_release(
        arena: &mut Arena,
        ty: WeightType,
        data: &[u8],
        n: usize,
        k: usize,
        done: &(dyn Fn(&[&[u8]]) + Sync),
    ) -> Result<Self, KernelError> {
        Self::pack_parts(arena, ty, &[(data, n)], k, done)
    }

    /// Repacks several tensors of one type and `k`, one below the other, as one matrix: Q, K and V, or gate and up.
    ///
    /// # Errors
    /// As [`PackedMatrix::pack`].
    pub fn pack_rows(
        arena: &mut Arena,
        ty: WeightType,
        parts: &[(&[u8], usize)],
        k: usize,
    ) -> Result<Self, KernelError> {
        Self::pack_parts(arena, ty, parts, k, &|_| ())
    }

    fn pack_parts(
        arena: &mut Arena,
        ty: WeightType,
        parts: &[(&[u8], usize)],
        k: usize,
        done: &(dyn Fn(&[&[u8]]) + Sync),
    ) -> Result<Self, KernelError> {
        let layout = Layout::new(ty, k)?;
        let row_bytes = ty.row_bytes(k).ok_or(KernelError::BadShape { ty, k })?;
        let mut n = 0usize;
        for &(data, rows) in parts {
            let needed = rows.checked_mul(row_bytes);
            if needed.is_none_or(|needed| data.len() < needed) {
                return Err(KernelError::ShortData { ty, n: rows, k, bytes: data.len() });
            }
            n += rows;
        }
        let slot = arena.take(Self::bytes(ty, n, k)?)?;
        let matrix = Self { slot, layout, n };
        // SAFETY: the slot was just taken: nobody else reads or writes it until this function returns.
        let tiles = unsafe { std::slice::from_raw_parts_mut(matrix.start().cast_mut(), matrix.slot.bytes) };
        let rows: Vec<&[u8]> =
            parts.iter().flat_map(|&(data, rows)| data[..rows * row_bytes].chunks_exact(row_bytes)).collect();
        let per_thread = n.div_ceil(TILE).div_ceil(arena.threads()).max(1);
        std::thread::scope(|scope| {
            let mut work = tiles.chunks_mut(per_thread * layout.tile_bytes).zip(rows.chunks(per_thread * TILE));
            let mine = work.next();
            for (tiles, rows) in work {
                scope.spawn(move || pack_share(&layout, rows, tiles, done));
            }
            if let Some((tiles, rows)) = mine {
                pack_share(&layout, rows, tiles, done);
            }
        });
        Ok(matrix)
    }

    /// Outputs.
    #[must_use]
    #[inline]
    pub fn n(&self) -> usize {
        self.n
    }

    /// Inputs.
    #[must_use]
    #[inline]
    pub fn k(&self) -> usize {
        self.layout.k
    }

    /// Type of the file's weights.
    #[must_use]
    #[inline]
    pub fn weight_type(&self) -> WeightType {
        self.layout.ty
    }

    /// Bytes one product reads: the matrix once.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.slot.bytes
    }

    #[inline]
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// First byte of tile 0.
    #[inline]
    pub(super) fn start(&self) -> *const u8 {
        // SAFETY: the slot lies inside its memory.
        unsafe { self.slot.memory.start().add(self.slot.offset) }
    }

    /// The bytes of tile `t`.
    #[inline]
    pub(super) fn tile(&self, t: usize) -> &[u8] {
        assert!(t < self.n.div_ceil(TILE), "tile {t} of {} outputs", self.n);
        // SAFETY: tile `t` lies inside the slot, which nobody writes after `pack`.
        unsafe { std::slice::from_raw_parts(self.start().add(t * self.layout.tile_bytes), self.layout.tile_bytes) }
    }

    /// Dequantizes the weights of output `row` into `out[..k]`, equal to the file's in every bit: embedding lookup where
    /// the embedding is also the head. `None` if there is no such row or `out` is shorter than `k`.
    #[must_use]
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) -> Option<()> {
        let out = out.get_mut(..self.layout.k)?;
        if row >= self.n {
            return None;
        }
        super::unpack::dequantize(&self.layout, self.tile(row / TILE), row % TILE, 0, out);
        Some(())
    }
}

/// One thread's tiles, a few megabytes at a time, each followed by `done`.
fn pack_share(layout: &Layout, rows: &[&[u8]], tiles: &mut [u8], done: &(dyn Fn(&[&[u8]]) + Sync)) {
    let step = ((4 << 20) / layout.tile_bytes).max(1);
    for (tiles, rows) in tiles.chunks_mut(step * layout.tile_bytes).zip(rows.chunks(step * TILE)) {
        pack_tiles(layout, rows, tiles);
        done(rows);
    }
}

/// Writes rows of the file as tiles of 16 outputs, the last one possibly with fewer.
fn pack_tiles(layout: &Layout, rows: &[&[u8]], tiles: &mut [u8]) {
    for (rows, tile) in rows.chunks(TILE).zip(tiles.chunks_exact_mut(layout.tile_bytes)) {
        match layout.ty {
            WeightType::F32 => interleave::<4>(rows, tile),
            WeightType::F16 | WeightType::BF16 => interleave::<2>(rows, tile),
            _ => pack_tile(layout, rows, tile),
        }
    }
}

/// Numbers of `S` bytes: columns of up to 16 rows.
fn interleave<const S: usize>(rows: &[&[u8]], tile: &mut [u8]) {
    for (o, row) in rows.iter().enumerate() {
        let columns = tile.as_chunks_mut::<S>().0.chunks_exact_mut(TILE);
        for (x, column) in row.as_chunks::<S>().0.iter().zip(columns) {
            column[o] = *x;
        }
    }
}

fn pack_tile(layout: &Layout, rows: &[&[u8]], tile: &mut [u8]) {
    let ty = layout.ty;
    let mut block = Block::zero();
    // By 32 columns: vector g holds columns 4g to 4g + 3 of 16 outputs.
    let mut vectors = [[[0u8; 64]; 8]; 8];
    let (scales, codes) = tile.split_at_mut(layout.codes_at);
    let scales = scales.chunks_exact_mut(layout.scale_bytes);
    let codes = codes.chunks_exact_mut(layout.code_bytes);
    for (b, (scales, codes)) in scales.zip(codes).enumerate().take(layout.k / ty.block()) {
        for (o, row) in rows.iter().enumerate() {
            let bytes = &row[b * ty.block_bytes()..][..ty.block_bytes()];
            pack_scales(ty, bytes, o, scales);
            block.decode(ty, bytes);
            let fours = block.codes.as_chunks::<4>().0;
            for (four, vector) in fours.iter().zip(vectors.as_flattened_mut()).take(ty.block() / 4) {
                vector.as_chunks_mut::<4>().0[o] = *four;
            }
        }
        for (vectors, sub) in vectors.iter().zip(codes.chunks_exact_mut(layout.sub_bytes())) {
            pack_codes(ty, vectors, sub);
        }
    }
}

/// The scale fields of one block of output `o`.
fn pack_scales(ty: WeightType, bytes: &[u8], o: usize, to: &mut [u8]) {
    let mut put_half = |slot: usize, at: usize| {
        to[slot * 32 + 2 * o..][..2].copy_from_slice(&bytes[at..at + 2]);
    };
    match ty {
        WeightType::Q4_1 | WeightType::Q5_1 | WeightType::Q4_K | WeightType::Q5_K => {
            put_half(0, 0);
            put_half(1, 2);
        }
        WeightType::Q2_K => {
            put_half(0, 80);
            put_half(1, 82);
        }
        WeightType::Q3_K => put_half(0, 108),
        WeightType::Q6_K => put_half(0, 208),
        _ => put_half(0, 0),
    }
    match ty {
        WeightType::Q4_K | WeightType::Q5_K => {
            let (scales, mins) = k4_scales(&bytes[4..16]);
            for g in 0..8 {
                (to[64 + g * TILE + o], to[192 + g * TILE + o]) = (scales[g], mins[g]);
            }
        }
        WeightType::Q2_K => (0..16).for_each(|g| to[64 + g * TILE + o] = bytes[g]),
        WeightType::Q3_K => {
            let scales = q3_scales(&bytes[96..108]);
            (0..16).for_each(|g| to[32 + g * TILE + o] = scales[g].cast_unsigned());
        }
        WeightType::Q6_K => (0..16).for_each(|g| to[32 + g * TILE + o] = bytes[192 + g]),
        _ => {}
    }
}

/// The planes of 32 columns.
fn pack_codes(ty: WeightType, vectors: &[[u8; 64]; 8], sub: &mut [u8]) {
    let planes = sub.as_chunks_mut::<64>().0;
    match ty {
        WeightType::Q8_0 => planes.copy_from_slice(vectors),
        WeightType::Q2_K => crumbs(vectors, 0, planes),
        WeightType::Q3_K => {
            let (low, high) = planes.split_at_mut(2);
            crumbs(vectors, 0, low);
            bits(vectors, 2, &mut high[0]);
        }
        _ => {
            let (low, high) = planes.split_at_mut(4);
            for (plane, pair) in low.iter_mut().zip(vectors.as_chunks::<2>().0) {
                for (lane, byte) in plane.iter_mut().enumerate() {
                    *byte = pair[0][lane] & 15 | pair[1][lane] << 4;
                }
            }
            match ty {
                WeightType::Q5_0 | WeightType::Q5_1 | WeightType::Q5_K => bits(vectors, 4, &mut high[0]),
                WeightType::Q6_K => crumbs(vectors, 4, high),
                _ => {}
            }
        }
    }
}

/// Bits `from` and `from + 1` of eight vectors, to two planes.
fn crumbs(vectors: &[[u8; 64]; 8], from: u32, planes: &mut [[u8; 64]]) {
    for (plane, v) in planes.iter_mut().zip(vectors.as_chunks::<4>().0) {
        for (lane, byte) in plane.iter_mut().enumerate() {
            let crumb = |j: usize| (v[j][lane] >> from & 3) << (2 * j);
            *byte = crumb(0) | crumb(1) | crumb(2) | crumb(3);
        }
    }
}

/// Bit `from` of eight vectors, to one plane.
fn bits(vectors: &[[u8; 64]; 8], from: u32, plane: &mut [u8; 64]) {
    plane.fill(0);
    for (g, v) in vectors.iter().enumerate() {
        for (byte, &code) in plane.iter_mut().zip(v) {
            *byte |= (code >> from & 1) << g;
        }
    }
}
