//! Rows of activations in the form the kernels multiply.
//!
//! A row is converted once and used by every matrix that reads it. The forms:
//!
//! | form | used | error per element |
//! | --- | --- | --- |
//! | 16-bit integers, one scale per 32 | [`ActFormat::Q16`] | about 0.002 % of the block's standard deviation |
//! | 8-bit integers, one scale per 32 | [`ActFormat::Q8`] | about 0.5 % of it (llama.cpp: the same for 32-blocks, per 256 for K-quants) |
//! | f32 | [`ActFormat::F32`] | none |
//! | bfloat16, in one or two parts | any format, AMX, at least [`super::AMX_MIN_ROWS`] rows | about 0.1 %, or 2⁻¹⁷ with two parts |
#![expect(unsafe_code, reason = "threads write disjoint rows of one buffer")]

use super::memory::Memory;
use super::packed::MAX_K;
use super::{AMX_MIN_ROWS, Isa, KernelError};

/// How exactly activations enter a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActFormat {
    /// 8-bit integers with one f32 scale per 32 (on AMX, many rows: bfloat16, which is closer). Quantized weights only.
    Q8,
    /// 16-bit integers with one f32 scale per 32, as a high and a low byte that are multiplied apart (on AMX, many rows:
    /// bfloat16). Quantized weights only. Costs nothing while memory is what a product waits for: one row.
    Q16,
    /// f32; sums in f32 as well. Always used for F32, F16 and BF16 weights.
    F32,
}

/// Columns that are converted together.
pub const ACT_BLOCK: usize = 32;

/// What is in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Integers of `parts` bytes.
    Int {
        parts: usize,
    },
    F32,
    /// Tiles of 16 rows × 32 columns, `parts` of them per value: the bfloat16 nearest to it, the one nearest to the rest.
    Bf16 {
        parts: usize,
    },
}

/// Byte offsets in a [`Form::Int`] row, which starts with `k` codes or their high bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct IntRow {
    /// The low bytes of two-byte codes: a code is 256 · high + low, both signed. Half a row away, so that the high and low
    /// bytes of several rows are equally far apart: the rows of one tile register.
    pub(super) low: usize,
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

impl IntRow {
    /// One byte: codes, then the fields. Two: high bytes and the fields of halves, low bytes and the fields of blocks.
    pub(super) const fn new(k: usize, parts: usize) -> Self {
        let groups = k / 32 * 4;
        if parts == 1 {
            let stride = unlike_a_page(k + 7 * groups);
            return Self {
                low: 0,
                scale: k,
                scaled_sum: k + groups,
                neg_sum: k + 2 * groups,
                scaled_sum16: k + 3 * groups,
                neg_sum16: k + 5 * groups,
                stride,
            };
        }
        let low = unlike_a_page(k + 4 * groups);
        Self {
            low,
            scale: low + k,
            scaled_sum: low + k + groups,
            neg_sum: low + k + 2 * groups,
            scaled_sum16: k,
            neg_sum16: k + 2 * groups,
            stride: 2 * low,
        }
    }
}

/// A whole number of cache lines for `bytes`, no multiple of 1024: rows a power of two apart would share few cache sets.
const fn unlike_a_page(bytes: usize) -> usize {
    let lines = bytes.next_multiple_of(64);
    if lines.is_multiple_of(1024) { lines + 64 } else { lines }
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
            let row = IntRow::new(k, 2).stride.max(4 * k);
            max_rows.next_multiple_of(16).checked_mul(row)
        });
        let bytes = bytes.ok_or(KernelError::OutOfMemory { mib: usize::MAX >> 20 })?;
        let memory = Memory::zeroed(bytes)?;
        Ok(Self { memory, isa, rows: 0, k: 0, form: Form::F32, format: ActFormat::F32 })
    }

    /// Sets shape and format of what will be written next. Nothing is allocated.
    ///
    /// # Errors
    /// [`KernelError::TooManyRows`] if it does not fit; [`KernelError::BadActivations`] for integers with a `k` that is
    /// not a multiple of 32.
    pub fn prepare(&mut self, rows: usize, k: usize, format: ActFormat) -> Result<(), KernelError> {
        if k > MAX_K || (format != ActFormat::F32 && !k.is_multiple_of(32)) {
            return Err(KernelError::BadActivations { k });
        }
        let many = self.isa == Isa::Amx && rows >= AMX_MIN_ROWS;
        let form = match format {
            ActFormat::F32 if many => Form::Bf16 { parts: 2 },
            _ if many => Form::Bf16 { parts: 1 },
            ActFormat::Q8 => Form::Int { parts: 1 },
            ActFormat::Q16 => Form::Int { parts: 2 },
            ActFormat::F32 => Form::F32,
        };
        let needed = match form {
            Form::Int { parts } => rows.checked_mul(IntRow::new(k, parts).stride),
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
    #[inline]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Activations per row.
    #[must_use]
    #[inline]
    pub fn k(&self) -> usize {
        self.k
    }

    /// The format prepared for.
    #[must_use]
    #[inline]
    pub fn format(&self) -> ActFormat {
        self.format
    }

    /// The instruction set products of these rows use.
    #[must_use]
    #[inline]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    #[inline]
    pub(super) fn form(&self) -> Form {
        self.form
    }

    #[inline]
    pub(super) fn start(&self) -> *const u8 {
        self.memory.start()
    }

    /// First byte of a row in [`Form::Int`] or [`Form::F32`].
    #[inline]
    pub(super) fn row(&self, row: usize) -> *const u8 {
        debug_assert!(row < self.rows);
        let stride = match self.form {
            Form::Int { parts } => IntRow::new(self.k, parts).stride,
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
        // SAFETY: passed on.
        unsafe { self.quantize_part(row, 0, &x[..self.k]) }
    }

    /// Converts part of a row: `x` is what starts at column `start`, a multiple of [`ACT_BLOCK`], and ends at another or
    /// with the row. Parts of a row may be converted by different threads.
    ///
    /// # Safety
    /// Until the next barrier no other thread may write the same part or multiply with it.
    ///
    /// # Panics
    /// If `row` is not below [`ActRows::rows`] or the part is none.
    pub unsafe fn quantize_part(&self, row: usize, start: usize, x: &[f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let end = start + x.len();
        assert!(end <= self.k && start.is_multiple_of(ACT_BLOCK), "columns {start}..{end} of {}", self.k);
        assert!(end == self.k || end.is_multiple_of(ACT_BLOCK), "columns {start}..{end} of {}", self.k);
        // SAFETY: the row lies inside the memory (`prepare`), its part in it (asserted), and the caller says it is ours.
        unsafe {
            match self.form {
                Form::F32 => {
                    let to = self.row(row).cast_mut().cast::<f32>().add(start);
                    to.copy_from_nonoverlapping(x.as_ptr(), x.len());
                }
                Form::Int { parts } => {
                    let to = Part { row: self.row(row).cast_mut(), at: IntRow::new(self.k, parts), start };
                    match self.isa {
                        #[cfg(target_arch = "x86_64")]
                        Isa::Avx512Vnni | Isa::Amx => super::avx512::quantize(x, parts, &to),
                        #[cfg(target_arch = "x86_64")]
                        Isa::Avx2 => super::avx2::quantize(x, parts, &to),
                        _ => quantize(x, parts, &to),
                    }
                }
                #[cfg(target_arch = "x86_64")]
                Form::Bf16 { parts } => {
                    let tiles = super::amx::row_tiles(row, self.k, parts, self.memory.start());
                    super::amx::split_row(x, parts, tiles.add(start / ACT_BLOCK * parts * super::amx::TILE_BYTES));
                }
                #[cfg(not(target_arch = "x86_64"))]
                Form::Bf16 { .. } => {}
            }
        }
    }
}

/// The largest code of `parts` bytes: 127, or 127 · 256 so that the high byte is no more.
#[inline]
pub(super) const fn largest_code(parts: usize) -> f32 {
    if parts == 1 { 127.0 } else { 127.0 * 256.0 }
}

/// Where part of a row of integers goes.
pub(super) struct Part {
    row: *mut u8,
    at: IntRow,
    /// First column.
    start: usize,
}

impl Part {
    /// The codes of block `b` of the part, or their high bytes.
    ///
    /// # Safety
    /// The block exists.
    #[inline]
    pub(super) unsafe fn codes(&self, b: usize) -> *mut u8 {
        // SAFETY: passed on.
        unsafe { self.row.add(self.start + ACT_BLOCK * b) }
    }

    /// The low bytes of block `b` of the part.
    ///
    /// # Safety
    /// The block exists, and codes have two bytes.
    #[inline]
    pub(super) unsafe fn low(&self, b: usize) -> *mut u8 {
        // SAFETY: passed on.
        unsafe { self.codes(b).add(self.at.low) }
    }

    /// Fields of block `b` of the part: scale, scaled sum, negative sum (4 bytes each), scaled and negative sums of its
    /// halves (8 bytes each). They lie beside those of the next blocks.
    ///
    /// # Safety
    /// The block exists.
    #[inline]
    pub(super) unsafe fn fields(&self, b: usize) -> [*mut u8; 5] {
        let (at, b) = (&self.at, self.start / ACT_BLOCK + b);
        // SAFETY: passed on.
        unsafe {
            [
                self.row.add(at.scale + 4 * b),
                self.row.add(at.scaled_sum + 4 * b),
                self.row.add(at.neg_sum + 4 * b),
                self.row.add(at.scaled_sum16 + 8 * b),
                self.row.add(at.neg_sum16 + 8 * b),
            ]
        }
    }
}

/// Quantizes part of a row to [`Form::Int`]: per 32, scale = max |x| / largest code, code = x / scale rounded to nearest even.
///
/// # Safety
/// The part is valid for writes of as many blocks.
unsafe fn quantize(x: &[f32], parts: usize, to: &Part) {
    let most = largest_code(parts);
    for (b, x) in x.as_chunks::<32>().0.iter().enumerate() {
        let mut max = 0f32;
        let mut nan = false;
        for &x in x {
            max = max.max(x.abs());
            nan |= x.is_nan();
        }
        let scale = if nan { f32::NAN } else { max / most };
        let inverse = if max > 0.0 { most / max } else { 0.0 };
        let (mut high, mut low) = ([0i8; 32], [0i8; 32]);
        for (i, &x) in x.iter().enumerate() {
            let code = (x * inverse).round_ties_even().clamp(-most, most) as i32;
            if parts == 1 {
                high[i] = code as i8;
            } else {
                high[i] = ((code + 128) >> 8) as i8;
                // −128 has no negative, which AVX2 needs.
                low[i] = (code - (i32::from(high[i]) << 8)).max(-127) as i8;
            }
        }
        let sum = |codes: &[i8]| codes.iter().map(|&c| i32::from(c)).sum::<i32>();
        let sums: [i32; 2] = std::array::from_fn(|h| {
            let part = 16 * h..16 * h + 16;
            if parts == 1 { sum(&high[part]) } else { 256 * sum(&high[part.clone()]) + sum(&low[part]) }
        });
        // SAFETY: the block exists (caller).
        unsafe {
            to.codes(b).cast::<[i8; 32]>().write_unaligned(high);
            if parts == 2 {
                to.low(b).cast::<[i8; 32]>().write_unaligned(low);
            }
            put_block(to, b, scale, sums);
        }
    }
}

/// Writes the scale of block `b` and everything derived from the sums of its halves.
///
/// # Safety
/// As [`quantize`].
#[inline]
pub(super) unsafe fn put_block(to: &Part, b: usize, scale: f32, sums: [i32; 2]) {
    // Sums of a block with a NaN mean nothing and may overflow.
    let sum = sums[0].wrapping_add(sums[1]);
    // SAFETY: every field lies inside the row.
    unsafe {
        let [to_scale, scaled_sum, neg_sum, scaled_sum16, neg_sum16] = to.fields(b);
        to_scale.cast::<f32>().write_unaligned(scale);
        scaled_sum.cast::<f32>().write_unaligned(scale * sum as f32);
        neg_sum.cast::<i32>().write_unaligned(sum.wrapping_neg());
        scaled_sum16.cast::<[f32; 2]>().write_unaligned(sums.map(|s| scale * s as f32));
        neg_sum16.cast::<[i32; 2]>().write_unaligned(sums.map(i32::wrapping_neg));
    }
}
