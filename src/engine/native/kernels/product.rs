//! One product: what is multiplied, where it goes, and which kernel does it.
#![expect(unsafe_code, reason = "outputs are shared by threads that write disjoint columns")]

use std::ops::Range;

use super::activations::Form;
use super::memory::Memory;
use super::packed::{MAX_K, TILE};
use super::{ActFormat, ActRows, Isa, KernelError, PackedMatrix, portable};

/// Where results go: output `first + column` of a row at `start + row * stride + column`.
#[derive(Clone, Copy, Debug)]
pub struct Out {
    /// Output [`first`](Self::first) of row 0.
    pub start: *mut f32,
    /// The output of the matrix that is written to column 0: a whole tile, not after the first one asked for.
    pub first: usize,
    /// Elements from row to row.
    pub stride: usize,
    /// Add to what is there (a residual) instead of overwriting it.
    pub add: bool,
}

// SAFETY: a plain address; whoever writes through it promises exclusion to `matmul`.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

impl Out {
    /// Overwrites.
    #[must_use]
    #[inline]
    pub fn store(start: *mut f32, stride: usize) -> Self {
        Self { start, first: 0, stride, add: false }
    }

    /// Adds.
    #[must_use]
    #[inline]
    pub fn add(start: *mut f32, stride: usize) -> Self {
        Self { start, first: 0, stride, add: true }
    }
}

/// Space for unpacked weights: one per thread, reused by every product.
pub struct Scratch {
    memory: Memory,
    isa: Isa,
    max_k: usize,
}

impl Scratch {
    /// For products of up to `max_k` inputs.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn new(isa: Isa, max_k: usize) -> Result<Self, KernelError> {
        let max_k = max_k.min(MAX_K);
        // Per input: four tiles of f32, more than any other kernel needs; then room for one result.
        let per_k = match isa {
            Isa::Portable => 0,
            Isa::Avx2 | Isa::Avx512Vnni | Isa::Amx => 256,
        };
        Ok(Self { memory: Memory::zeroed(max_k.next_multiple_of(32) * per_k + RESULT_BYTES)?, isa, max_k })
    }

    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "the portable kernel unpacks on the stack"))]
    #[inline]
    pub(super) fn start(&mut self) -> *mut u8 {
        self.memory.start()
    }
}

/// Bytes of [`Scratch`] for a result of 32 × 32.
pub(super) const RESULT_BYTES: usize = 4096;

/// A checked product.
pub(super) struct Product<'a> {
    pub(super) w: &'a PackedMatrix,
    pub(super) x: &'a ActRows,
    pub(super) rows: Range<usize>,
    pub(super) tiles: Range<usize>,
    pub(super) out: Out,
}

impl Product<'_> {
    /// Outputs of tile `t` that exist.
    #[inline]
    pub(super) fn width(&self, t: usize) -> usize {
        (self.w.n() - t * TILE).min(TILE)
    }

    /// Element (row, first column of tile `t`) of the output.
    ///
    /// # Safety
    /// As [`matmul`].
    #[inline]
    pub(super) unsafe fn at(&self, row: usize, t: usize) -> *mut f32 {
        // SAFETY: the caller of `matmul` vouches for the whole range.
        unsafe { self.out.start.add(row * self.out.stride + t * TILE - self.out.first) }
    }

    /// Writes the sums of one row and tile.
    ///
    /// # Safety
    /// As [`matmul`].
    #[inline]
    pub(super) unsafe fn store(&self, row: usize, t: usize, sums: &[f32; TILE]) {
        // SAFETY: the caller of `matmul` vouches for the outputs that exist.
        unsafe {
            let at = self.at(row, t);
            for (o, &sum) in sums[..self.width(t)].iter().enumerate() {
                let at = at.add(o);
                *at = if self.out.add { *at + sum } else { sum };
            }
        }
    }
}

impl PackedMatrix {
    /// The format activations must have for these weights when `wanted` is asked for: floats take [`ActFormat::F32`].
    #[must_use]
    pub fn act_format(&self, wanted: ActFormat) -> ActFormat {
        if self.weight_type().is_float() { ActFormat::F32 } else { wanted }
    }
}

/// Computes `rows` × `outputs` of a product. `outputs` starts at a multiple of [`TILE`] and ends at one or at the last
/// output.
///
/// # Errors
/// [`KernelError::Mismatch`] if the operands do not belong together; nothing is written then.
///
/// # Safety
/// For every row and output asked for, `out` is valid for reads and writes, and no other thread accesses it, writes these
/// rows of `x`, or uses the same `scratch` meanwhile.
pub unsafe fn matmul(
    w: &PackedMatrix,
    x: &ActRows,
    rows: Range<usize>,
    outputs: Range<usize>,
    out: Out,
    scratch: &mut Scratch,
) -> Result<(), KernelError> {
    if w.k() != x.k() {
        return Err(KernelError::Mismatch("weights and activations differ in k"));
    }
    if w.weight_type().is_float() && x.format() != ActFormat::F32 {
        return Err(KernelError::Mismatch("floating-point weights take f32 activations"));
    }
    if rows.end > x.rows() || outputs.end > w.n() {
        return Err(KernelError::Mismatch("rows or outputs that do not exist"));
    }
    if !outputs.start.is_multiple_of(TILE) || !(outputs.end.is_multiple_of(TILE) || outputs.end == w.n()) {
        return Err(KernelError::Mismatch("outputs that are no whole tiles"));
    }
    if out.first > outputs.start || !out.first.is_multiple_of(TILE) {
        return Err(KernelError::Mismatch("outputs that lie before the first column"));
    }
    if scratch.isa != x.isa() || scratch.max_k < w.k() {
        return Err(KernelError::Mismatch("scratch made for another instruction set or a smaller k"));
    }
    if rows.is_empty() || outputs.is_empty() {
        return Ok(());
    }
    let tiles = outputs.start / TILE..outputs.end.div_ceil(TILE);
    let product = Product { w, x, rows, tiles, out };
    // SAFETY: the operands fit together (above), `ActRows::new` found the instruction set, and the caller vouches for the
    // rest.
    unsafe {
        match (x.isa(), x.form()) {
            #[cfg(target_arch = "x86_64")]
            (_, Form::Bf16 { parts }) => super::amx::multiply(&product, parts, scratch.start()),
            #[cfg(target_arch = "x86_64")]
            (Isa::Amx, Form::Int { parts: 2 }) if super::amx::integer::is_for(w.weight_type(), product.rows.len()) => {
                super::amx::integer::multiply(&product, scratch.start());
            }
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512Vnni | Isa::Amx, _) => super::avx512::multiply(&product, scratch.start()),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, _) => super::avx2::multiply(&product, scratch.start()),
            _ => product.tiles.clone().for_each(|t| portable::tile(&product, t)),
        }
    }
    Ok(())
}
