//! The tile registers: whether there are any, their configuration, and the products that run in them.
#![expect(unsafe_code, reason = "AMX has no intrinsics in stable Rust: inline assembly on raw pointers")]

use std::arch::asm;
use std::arch::x86_64::*;
use std::sync::OnceLock;

/// Bytes of a tile register: 16 rows of 64.
pub(in crate::engine::native) const TILE_BYTES: usize = 1024;

/// Whether the processor has AMX for bfloat16 and bytes and the system lets us use it (Linux: on request, once per process).
pub(in crate::engine::native) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        const BF16_TILE_INT8: u32 = 1 << 22 | 1 << 24 | 1 << 25;
        if !is_x86_feature_detected!("avx512bf16") || __cpuid_count(0, 0).eax < 7 {
            return false;
        }
        __cpuid_count(7, 0).edx & BF16_TILE_INT8 == BF16_TILE_INT8 && request()
    })
}

/// Asks Linux for the 8 KB of tile state; granted to all threads of the process.
#[cfg(target_os = "linux")]
fn request() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: this system call takes two numbers and changes nothing but the permission.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn request() -> bool {
    false
}

/// The shapes of the tile registers.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl TileConfig {
    /// All eight as 16 rows of 64 bytes.
    const WHOLE: Self = Self {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
    };

    /// For products of `rows` rows of bytes with 32 columns: sums in 0 to 3, activations in 4 and 5, weights in 6 and 7.
    const fn integers(rows: u8) -> Self {
        Self {
            row_bytes: [64, 64, 64, 64, 32, 32, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
            rows: [rows, rows, rows, rows, rows, rows, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0],
            ..Self::WHOLE
        }
    }
}

/// The tile registers, configured for as long as this lives.
pub(in crate::engine::native) struct Registers(());

impl Registers {
    /// For products of bfloat16: every register whole.
    ///
    /// # Safety
    /// On a machine with AMX; no other `Registers` of this thread is alive.
    #[inline]
    pub(in crate::engine::native) unsafe fn configure() -> Self {
        static WHOLE: TileConfig = TileConfig::WHOLE;
        // SAFETY: passed on; the configuration is valid.
        unsafe { Self::load(&WHOLE) }
    }

    /// For [`super::integer`]: at most 16 `rows`.
    ///
    /// # Safety
    /// As [`configure`](Self::configure).
    #[inline]
    pub(super) unsafe fn configure_integers(rows: u8) -> Self {
        debug_assert!((1..=16).contains(&rows));
        // SAFETY: passed on; no register has more than 16 rows of 64 bytes.
        unsafe { Self::load(&TileConfig::integers(rows)) }
    }

    #[inline]
    unsafe fn load(config: &TileConfig) -> Self {
        // SAFETY: the caller's configuration is valid, and compiled code never uses tiles.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const *config, options(nostack, readonly)) };
        Self(())
    }

    /// Multiplies 32 rows, or 16 if no more are `wanted`, with 32 columns over `blocks` of 32: `a` as [`super::split_row`] writes
    /// them in one part, `b` two tiles per block. `to` gets as many rows of 32, `stride` elements apart.
    ///
    /// # Safety
    /// The tiles are there, and `to` is valid for those rows.
    #[inline]
    pub(in crate::engine::native) unsafe fn multiply(
        &self,
        a: *const u8,
        b: *const u8,
        blocks: usize,
        to: *mut f32,
        stride: usize,
        wanted: usize,
    ) {
        // SAFETY: passed on.
        unsafe {
            if wanted > 16 {
                rows_32(a, b, blocks, to.cast(), 4 * stride);
            } else {
                rows_16(a, b, blocks, to.cast(), 4 * stride);
            }
        }
    }

    /// [`multiply`](Self::multiply) with both operands in two parts.
    ///
    /// # Safety
    /// As [`multiply`](Self::multiply).
    #[inline]
    pub(in crate::engine::native) unsafe fn multiply_split(
        &self,
        a: *const u8,
        b: *const u8,
        blocks: usize,
        to: *mut f32,
        stride: usize,
        wanted: usize,
    ) {
        // SAFETY: passed on.
        unsafe {
            if wanted > 16 {
                rows_32_split(a, b, blocks, to.cast(), 4 * stride);
            } else {
                rows_16_split(a, b, blocks, to.cast(), 4 * stride);
            }
        }
    }
}

impl Drop for Registers {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: they were configured, so the processor has them.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Defines the product of 32 or 16 rows with 32 outputs over `blocks` of 32 columns, written to `to` with `stride` bytes
/// from row to row. `$step` is one block: `a0` and `a1`
/// point at the tiles of the first and second 16 rows, `b` at those of the weights; sums are in tmm0 to tmm3.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $a_step:expr, $b_step:expr, [$($zero:literal)*], [$($step:literal)*], [$($end:literal)*]) => {
        $(#[$doc])*
        pub(super) unsafe fn $name(a: *const u8, b: *const u8, blocks: usize, to: *mut u8, stride: usize) {
            if blocks == 0 {
                return;
            }
            // SAFETY: reads `blocks` blocks of tiles, writes 32 outputs of as many rows; tile registers are ours between `ldtilecfg` and
            // `tilerelease`, and compiled code never uses them.
            unsafe {
                asm!(
                    $($zero,)*
                    "2:",
                    $($step,)*
                    "add {a0}, {a_step}",
                    "add {a1}, {a_step}",
                    "add {b}, {b_step}",
                    "dec {n}",
                    "jnz 2b",
                    "/* {c1}: only 32 rows have a second half */",
                    $($end,)*
                    a0 = inout(reg) a => _,
                    a1 = inout(reg) a.wrapping_add(blocks * $a_step) => _,
                    b = inout(reg) b => _,
                    n = inout(reg) blocks => _,
                    c0 = in(reg) to,
                    c1 = in(reg) to.wrapping_add(16 * stride),
                    l = in(reg) stride,
                    s = in(reg) 64usize,
                    a_step = const $a_step,
                    b_step = const $b_step,
                    options(nostack),
                );
            }
        }
    };
}

kernel!(rows_32, 1024, 2048,
    ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"],
    ["tileloadd tmm6, [{b} + {s}]" "tileloadd tmm4, [{a0} + {s}]"
     "tileloadd tmm7, [{b} + {s} + 1024]" "tileloadd tmm5, [{a1} + {s}]"
     "tdpbf16ps tmm0, tmm4, tmm6" "tdpbf16ps tmm1, tmm4, tmm7"
     "tdpbf16ps tmm2, tmm5, tmm6" "tdpbf16ps tmm3, tmm5, tmm7"],
    ["tilestored [{c0} + {l}], tmm0" "tilestored [{c0} + {l} + 64], tmm1"
     "tilestored [{c1} + {l}], tmm2" "tilestored [{c1} + {l} + 64], tmm3"]);

kernel!(rows_16, 1024, 2048,
    ["tilezero tmm0" "tilezero tmm1"],
    ["tileloadd tmm6, [{b} + {s}]" "tileloadd tmm4, [{a0} + {s}]" "tileloadd tmm7, [{b} + {s} + 1024]"
     "tdpbf16ps tmm0, tmm4, tmm6" "tdpbf16ps tmm1, tmm4, tmm7"],
    ["tilestored [{c0} + {l}], tmm0" "tilestored [{c0} + {l} + 64], tmm1"]);

kernel!(rows_32_split_activations, 2048, 2048,
    ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"],
    ["tileloadd tmm6, [{b} + {s}]" "tileloadd tmm4, [{a0} + {s}]"
     "tileloadd tmm7, [{b} + {s} + 1024]" "tileloadd tmm5, [{a1} + {s}]"
     "tdpbf16ps tmm0, tmm4, tmm6" "tdpbf16ps tmm1, tmm4, tmm7"
     "tdpbf16ps tmm2, tmm5, tmm6" "tdpbf16ps tmm3, tmm5, tmm7"
     "tileloadd tmm4, [{a0} + {s} + 1024]" "tileloadd tmm5, [{a1} + {s} + 1024]"
     "tdpbf16ps tmm0, tmm4, tmm6" "tdpbf16ps tmm1, tmm4, tmm7"
     "tdpbf16ps tmm2, tmm5, tmm6" "tdpbf16ps tmm3, tmm5, tmm7"],
    ["tilestored [{c0} + {l}], tmm0" "tilestored [{c0} + {l} + 64], tmm1"
     "tilestored [{c1} + {l}], tmm2" "tilestored [{c1} + {l} + 64], tmm3"]);

kernel!(rows_16_split_activations, 2048, 2048,
    ["tilezero tmm0" "tilezero tmm1"],
    ["tileloadd tmm6, [{b} + {s}]" "tileloadd tmm4, [{a0} + {s}]" "tileloadd tmm7, [{b} + {s} + 1024]"
     "tdpbf16ps tmm0, tmm4, tmm6" "tdpbf16ps tmm1, tmm4, tmm7"
     "tileloadd tmm4, [{a0} + {s} + 1024]"
     "tdpbf16ps tmm0, tmm4, tmm6" "tdpbf16ps tmm1, tmm4, tmm7"],
    ["tilestored [{c0} + {l}], tmm0" "tilestored [{c0} + {l} + 64], tmm1"]);

kernel!(rows_32_split, 2048, 4096,
    ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"],
    ["tileloadd tmm6, [{b} + {s}]" "tileloadd tmm4, [{a0} + {s}]"
     "tileloadd tmm7, [{b} + {s} + 2048]" "tileloadd tmm5, [{a1} + {s}]"
     "tdpbf16ps tmm0, tmm4, tmm6" "tdpbf16ps tmm1, tmm4, tmm7"
     "tdpbf16ps tmm2, tmm5, tmm6" "tdpbf16ps tmm3, tmm5, tmm7"
     "tileloadd tmm6, [{b} + {s} + 1024]" "tileloadd tmm7, [{b} + {s} + 3072]"
     "tdpbf16ps tmm0, tmm4, tmm6" "tdpbf16ps tmm1, tmm4, tmm7"
     "tdpbf16ps tmm2, tmm5, tmm6" "tdpbf16ps tmm3, tmm5, tmm7"
     "tileloadd tmm6, [{b} + {s}]" "tileloadd tmm4, [{a0} + {s} + 1024]"
     "tileloadd tmm7, [{b} + {s} + 2048]" "tileloadd tmm5, [{a1} + {s} + 1024]"
     "tdpbf16ps tmm0, tmm4, tmm6" "tdpbf16ps tmm1, tmm4, tmm7"
     "tdpbf16ps tmm2, tmm5, tmm6" "tdpbf16ps tmm3, tmm5, tmm7"],
    ["tilestored [{c0} + {l}], tmm0" "tilestored [{c0} + {l} + 64], tmm1"
     "tilestored [{c1} + {l}], tmm2" "tilestored [{c1} + {l} + 64], tmm3"]);

kernel!(rows_16_split, 2048, 4096,
    ["tilezero tmm0" "tilezero tmm1"],
    ["tileloadd tmm6, [{b} + {s}]" "tileloadd tmm4, [{a0} + {s}]" "tileloadd tmm7, [{b} + {s} + 2048]"
     "tdpbf16ps tmm0, tmm4, tmm6" "tdpbf16ps tmm1, tmm4, tmm7"
     "tileloadd tmm6, [{b} + {s} + 1024]" "tileloadd tmm7, [{b} + {s} + 3072]"
     "tdpbf16ps tmm0, tmm4, tmm6" "tdpbf16ps tmm1, tmm4, tmm7"
     "tileloadd tmm6, [{b} + {s}]" "tileloadd tmm4, [{a0} + {s} + 1024]" "tileloadd tmm7, [{b} + {s} + 2048]"
     "tdpbf16ps tmm0, tmm4, tmm6" "tdpbf16ps tmm1, tmm4, tmm7"],
    ["tilestored [{c0} + {l}], tmm0" "tilestored [{c0} + {l} + 64], tmm1"]);
