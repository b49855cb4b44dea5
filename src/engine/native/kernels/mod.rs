//! Matrix products of quantized weights: `out[row][n] = Σ_k x[row][k] · w[n][k]`.
//!
//! Weights are repacked once ([`PackedMatrix`]), activations are converted once per input ([`ActRows`]), and [`matmul`]
//! computes any range of rows × outputs: no threads and no allocation inside, so a caller's threads split the outputs.
//!
//! ```text
//! let mut arena = Arena::with_capacity(PackedMatrix::bytes(ty, n, k)?)?;
//! let w = PackedMatrix::pack(&mut arena, ty, data, n, k)?;
//! let mut x = ActRows::new(isa, max_rows, max_k)?;            // once
//! let mut scratch = Scratch::new(isa, max_k)?;                // once per thread
//! x.prepare(rows, k, w.act_format(ActFormat::Q8))?;           // exclusive
//! unsafe { x.quantize_row(r, &input[r]) };                    // each row by any one thread; then a barrier
//! unsafe { matmul(&w, &x, 0..rows, my_outputs, out, &mut scratch)? };
//! ```
//!
//! **Order of summation.** Integer sums are exact; the f32 sum over the blocks of k runs in the order of k, one
//! accumulator per output, in every kernel. On one instruction set a row's result has the same bits whichever rows are
//! multiplied with it and however the outputs are split. [`Isa::Avx2`] and [`Isa::Avx512Vnni`] agree in every bit as well;
//! [`Isa::Portable`] rounds products and sums apart. [`Isa::Amx`] agrees with [`Isa::Avx512Vnni`] below [`AMX_MIN_ROWS`]
//! rows, whether it multiplies the integers in tiles or not, and is the (closer) bfloat16 product from there on, which again
//! does not depend on the number of rows.

mod activations;
#[cfg(target_arch = "x86_64")]
pub(super) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
#[cfg(target_arch = "x86_64")]
mod format;
mod isa;
mod memory;
mod packed;
mod portable;
mod product;
#[cfg(test)]
mod tests;
mod unpack;
mod weight_type;

pub use activations::{ACT_BLOCK, ActFormat, ActRows};
pub use block::dequantize_row;
pub use isa::Isa;
pub use memory::Arena;
pub(super) use memory::Memory;
#[cfg(all(test, unix))]
pub(super) use memory::guard;
pub use packed::{PackedMatrix, TILE};
pub use product::{Out, Scratch, matmul};
pub use weight_type::WeightType;

use product::Product;

/// Rows from which [`Isa::Amx`] multiplies bfloat16: a tile holds 16 rows, and weights are expanded first.
pub const AMX_MIN_ROWS: usize = 16;

/// What can go wrong before a product starts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A number of inputs the type cannot have.
    #[error("{} weights come in blocks of {}, not in rows of {k}", ty.name(), ty.block())]
    BadShape {
        /// The type.
        ty: WeightType,
        /// Inputs.
        k: usize,
    },
    /// Fewer bytes than the shape needs.
    #[error("{n} rows of {k} {} weights do not fit in {bytes} bytes", ty.name())]
    ShortData {
        /// The type.
        ty: WeightType,
        /// Outputs.
        n: usize,
        /// Inputs.
        k: usize,
        /// Bytes there are.
        bytes: usize,
    },
    /// No memory.
    #[error("cannot allocate {mib} MiB")]
    OutOfMemory {
        /// Asked for, MiB.
        mib: usize,
    },
    /// An instruction set the machine does not have.
    #[error("this machine does not run {0} kernels")]
    UnsupportedIsa(Isa),
    /// Integer activations in rows that are no whole number of blocks.
    #[error("rows of {k} activations cannot be quantized in blocks of 32: use f32")]
    BadActivations {
        /// Activations per row.
        k: usize,
    },
    /// More activations than the buffer was made for.
    #[error("{rows} rows of {k} activations do not fit in their buffer")]
    TooManyRows {
        /// Rows.
        rows: usize,
        /// Activations per row.
        k: usize,
    },
    /// Weights, activations, ranges and scratch that do not belong together.
    #[error("bad product: {0}")]
    Mismatch(&'static str),
}
