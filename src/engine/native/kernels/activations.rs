//! Rows of activations in the form the kernels multiply.
//!
//! A row is converted once and used by every matrix that reads it. Three forms:
//!
//! | form | used | error per element |
//! | --- | --- | --- |
//! | 8-bit integers, one scale per 32 | [`ActFormat::Q8`] | about 0.5 % of the block's standard deviation (llama.cpp: the same for 32-blocks, per 256 for K-quants) |
//! | f32 | [`ActFormat::F32`] | none |
//! | bfloat16, in one or two parts | either format, AMX, at least [`super::AMX_MIN_ROWS`] rows | about 0.1 %, or 2⁻¹⁷ with two parts |
#![expect(unsafe_code, reason = "threads write disjoint rows of one buffer")]

use super::memory::Memory;
use super::packed::MAX_K;
use super::{AMX_MIN_ROWS, Isa, KernelError};

/// How exactly activations enter a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActFormat {
    /// 8-bit integers with one f32 scale per 32 (on AMX, many rows: bfloat16, which is closer). Quantized weights only.
    Q8,
    /// f32; sums in f32 as well. Always used for F32, F16 and BF16 weights.
    F32,
}

/// What is in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Q8,
    F32,
    /// Tiles of 16 rows × 32 columns, `parts` of them per value: the bfloat16 nearest to it, the one nearest to the rest.
    Bf16 {
        parts: usize,
    },
}

/// Byte offsets in a [`Form::Q8`] row, which starts with `k` codes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Q8Row {
    /// f32 scale per 32.
    pub(super) scale: usize,
    /// f32 scale × sum of codes, per 32.
    pub(super) scaled_sum: usize,
    /// i32 minus the sum of codes, per 32.
    pub(super) neg_sum: usize,
    /// f32 scale × sum of codes, per 16.
    pub(super) scaled_sum16: usize,
    /// i32 minus the sum of codes, per 16.
    pub(super) neg_sum16: usize,
    /// Bytes from row to row.
    pub(super) stride: usize,
}

impl Q8Row {
    pub(super) const fn new(k: usize) -> Self {
        let groups = k / 32 * 4;
        let mut stride = (k + 7 * groups).next_multiple_of(64);
        if stride.is_multiple_of(1024) {
            // Eight rows a power of two apart would share few cache sets.
            stride += 64;
        }
        Self {
            scale: k,
            scaled_sum: k + groups,
            neg_sum: k + 2 * groups,
            scaled_sum16: k + 3 * groups,
            neg_sum16: k + 5 * groups,
            stride,
        }
    }
}

/// Activations of one product: up to a fixed number of rows, each quantized by whichever thread has it.
///
/// Call [`ActRows::prepare`] with exclusive access, then [`ActRows::quantize_row`] from any threads, then, after a
/// barrier, [`super::matmul`] from any threads.
pub struct ActRows {
    memory: Memory,
    isa: Isa,
    rows: usize,
    k: usize,
    form: Form,
    format: ActFormat,
}

impl ActRows {
    /// Room for `max_rows` rows of `max_k` activations in any form.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`], and [`KernelError::UnsupportedIsa`] if the machine does not run `isa`.
    pub fn new(isa: Isa, max_rows: usize, max_k: usize) -> Result<Self, KernelError> {
        if !isa.is_available() {
            return Err(KernelError::UnsupportedIsa(isa));
        }
        let bytes = max_k.min(MAX_K).next_multiple_of(32).checked_add(32).and_then(|k| {
            let row = Q8Row::new(k).stride.max(4 * k);
            max_rows.next_multiple_of(16).checked_mul(row)
        });
        let bytes = bytes.ok_or(KernelError::OutOfMemory { mib: usize::MAX >> 20 })?;
        let memory = Memory::zeroed(bytes)?;
        Ok(Self { memory, isa, rows: 0, k: 0, form: Form::F32, format: ActFormat::F32 })
    }

    /// Sets shape and format of what will be written next. Nothing is allocated.
    ///
    /// # Errors
    /// [`KernelError::TooManyRows`] if it does not fit; [`KernelError::BadActivations`] for [`ActFormat::Q8`] with a `k`
    /// that is not a multiple of 32.
    pub fn prepare(&mut self, rows: usize, k: usize, format: ActFormat) -> Result<(), KernelError> {
        if k > MAX_K || (format == ActFormat::Q8 && !k.is_multiple_of(32)) {
            return Err(KernelError::BadActivations { k });
        }
        let many = self.isa == Isa::Amx && rows >= AMX_MIN_ROWS;
        let form = match format {
            ActFormat::Q8 if many => Form::Bf16 { parts: 1 },
            ActFormat::F32 if many => Form::Bf16 { parts: 2 },
            ActFormat::Q8 => Form::Q8,
            ActFormat::F32 => Form::F32,
        };
        let needed = match form {
            Form::Q8 => rows.checked_mul(Q8Row::new(k).stride),
            Form::F32 => rows.checked_mul(4 * k),
            Form::Bf16 { parts } => {
                rows.checked_next_multiple_of(16).and_then(|rows| rows.checked_mul(2 * parts * k.next_multiple_of(32)))
            }
        };
        #[cfg(test)]
        if let (Some(_), Some(needed)) = (super::memory::guard::side(), needed) {
            self.memory = Memory::zeroed(needed)?;
        }
        if needed.is_none_or(|needed| needed > self.memory.len()) {
            return Err(KernelError::TooManyRows { rows, k });
        }
        (self.rows, self.k, self.form, self.format) = (rows, k, form, format);
        Ok(())
    }

    /// Rows prepared for.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Activations per row.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// The format prepared for.
    #[must_use]
    pub fn format(&self) -> ActFormat {
        self.format
    }

    /// The instruction set products of these rows use.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    pub(super) fn start(&self) -> *const u8 {
        self.memory.start()
    }

    /// First byte of a row in [`Form::Q8`] or [`Form::F32`].
    pub(super) fn row(&self, row: usize) -> *const u8 {
        debug_assert!(row < self.rows);
        let stride = match self.form {
            Form::Q8 => Q8Row::new(self.k).stride,
            Form::F32 | Form::Bf16 { .. } => 4 * self.k,
        };
        // SAFETY: `prepare` checked that `rows` rows fit.
        unsafe { self.memory.start().add(row * stride) }
    }

    /// Converts one row. NaN and infinity make the block they are in NaN or infinite; they do no other harm.
    ///
    /// # Safety
    /// Until the next barrier no other thread may write the same row or multiply with it.
    ///
    /// # Panics
    /// If `row` is not below [`ActRows::rows`] or `x` is shorter than [`ActRows::k`].
    pub unsafe fn quantize_row(&self, row: usize, x: &[f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let x = &x[..self.k];
        // SAFETY: the row lies inside the memory (`prepare`), and the caller says it is ours.
        unsafe {
            match self.form {
                Form::F32 => {
                    self.row(row).cast_mut().cast::<f32>().copy_from_nonoverlapping(x.as_ptr(), x.len());
                }
                Form::Q8 => match self.isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512Vnni | Isa::Amx => super::avx512::quantize_q8(x, self.row(row).cast_mut()),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => super::avx2::quantize_q8(x, self.row(row).cast_mut()),
                    _ => quantize_q8(x, self.row(row).cast_mut()),
                },
                #[cfg(target_arch = "x86_64")]
                Form::Bf16 { parts } => super::amx::split_row(x, row, parts, self.memory.start()),
                #[cfg(not(target_arch = "x86_64"))]
                Form::Bf16 { .. } => {}
            }
        }
    }
}

/// Quantizes a row to [`Form::Q8`]: per 32, scale = max |x| / 127, code = x · 127 / max |x| rounded to nearest even.
///
/// # Safety
/// `to` is valid for writes of [`Q8Row::stride`] bytes.
unsafe fn quantize_q8(x: &[f32], to: *mut u8) {
    let at = Q8Row::new(x.len());
    for (b, x) in x.as_chunks::<32>().0.iter().enumerate() {
        let mut max = 0f32;
        let mut nan = false;
        for &x in x {
            max = max.max(x.abs());
            nan |= x.is_nan();
        }
        let scale = if nan { f32::NAN } else { max / 127.0 };
        let inverse = if max > 0.0 { 127.0 / max } else { 0.0 };
        let mut codes = [0i8; 32];
        for (code, &x) in codes.iter_mut().zip(x) {
            *code = (x * inverse).round_ties_even() as i8;
        }
        let sums: [i32; 2] = std::array::from_fn(|h| codes[h * 16..][..16].iter().map(|&c| i32::from(c)).sum());
        // SAFETY: the caller gives room for the whole row.
        unsafe {
            to.add(32 * b).cast::<[i8; 32]>().write_unaligned(codes);
            put_block(to, &at, b, scale, sums);
        }
    }
}

/// Writes the scale of block `b` and everything derived from the sums of its halves.
///
/// # Safety
/// As [`quantize_q8`].
#[inline]
pub(super) unsafe fn put_block(to: *mut u8, at: &Q8Row, b: usize, scale: f32, sums: [i32; 2]) {
    // Sums of a block with a NaN mean nothing and may overflow.
    let sum = sums[0].wrapping_add(sums[1]);
    // SAFETY: every field lies inside the row.
    unsafe {
        to.add(at.scale + 4 * b).cast::<f32>().write_unaligned(scale);
        to.add(at.scaled_sum + 4 * b).cast::<f32>().write_unaligned(scale * sum as f32);
        to.add(at.neg_sum + 4 * b).cast::<i32>().write_unaligned(sum.wrapping_neg());
        to.add(at.scaled_sum16 + 8 * b).cast::<[f32; 2]>().write_unaligned(sums.map(|s| scale * s as f32));
        to.add(at.neg_sum16 + 8 * b).cast::<[i32; 2]>().write_unaligned(sums.map(i32::wrapping_neg));
    }
}
