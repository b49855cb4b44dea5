//! Weight types known at compile time, for kernels that are generic over them.
#![expect(unsafe_code, reason = "addresses the parts of a tile")]
#![expect(non_camel_case_types, reason = "formats are named as ggml names them")]

use std::marker::PhantomData;

use super::WeightType;
use super::packed::{Layout, block_bytes};

/// A weight type known at compile time, and where its codes are read from.
pub(super) trait Format {
    /// The type of the file.
    const TY: WeightType;
    /// Whether codes and scales come from a scratch they were expanded to instead of the tile.
    const EXPANDED: bool = false;
    /// 32-column parts per block.
    const SUBS: usize = Self::TY.block() / 32;
    /// Whether scales are per 16 columns.
    const PER_16: bool = Self::TY.group() == 16;
    /// Cache lines of a tile per 32 columns, scales included, rounded up.
    const LINES: usize = {
        let (scales, codes) = block_bytes(Self::TY);
        (scales + codes).div_ceil(64 * Self::TY.block().div_ceil(32))
    };
    /// log2 of the offset of symmetric types.
    const SHIFT: u32 = if Self::TY.offset() == 0 { 0 } else { Self::TY.offset().trailing_zeros() };
    /// Whether there are minima.
    const MIN: bool = matches!(
        Self::TY,
        WeightType::Q4_1 | WeightType::Q5_1 | WeightType::Q2_K | WeightType::Q4_K | WeightType::Q5_K
    );
}

/// Codes and scales of `F`, unpacked to one byte and two f32.
pub(super) struct Expanded<F>(PhantomData<F>);

impl<F: Format> Format for Expanded<F> {
    const TY: WeightType = F::TY;
    const EXPANDED: bool = true;
}

macro_rules! formats {
    ($($name:ident)*) => { $(
        pub(super) struct $name;
        impl Format for $name {
            const TY: WeightType = WeightType::$name;
        }
    )* };
}

macro_rules! plain_formats {
    ($($name:ident)*) => { $(
        pub(super) struct $name;
        impl Format for $name {
            const TY: WeightType = WeightType::$name;
            const SUBS: usize = 1;
        }
    )* };
}

plain_formats!(F32 F16 BF16);
formats!(Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K);

/// Runs `$run::<F>($args)` for the format of a weight type, among the quantized ones.
macro_rules! with_quantized {
    ($ty:expr, $run:ident $(, $arg:expr)*) => {
        match $ty {
            WeightType::Q4_0 => $run::<$crate::engine::native::kernels::format::Q4_0>($($arg),*),
            WeightType::Q4_1 => $run::<$crate::engine::native::kernels::format::Q4_1>($($arg),*),
            WeightType::Q5_0 => $run::<$crate::engine::native::kernels::format::Q5_0>($($arg),*),
            WeightType::Q5_1 => $run::<$crate::engine::native::kernels::format::Q5_1>($($arg),*),
            WeightType::Q8_0 => $run::<$crate::engine::native::kernels::format::Q8_0>($($arg),*),
            WeightType::Q2_K => $run::<$crate::engine::native::kernels::format::Q2_K>($($arg),*),
            WeightType::Q3_K => $run::<$crate::engine::native::kernels::format::Q3_K>($($arg),*),
            WeightType::Q4_K => $run::<$crate::engine::native::kernels::format::Q4_K>($($arg),*),
            WeightType::Q5_K => $run::<$crate::engine::native::kernels::format::Q5_K>($($arg),*),
            WeightType::Q6_K => $run::<$crate::engine::native::kernels::format::Q6_K>($($arg),*),
            WeightType::F32 | WeightType::F16 | WeightType::BF16 => {}
        }
    };
}
pub(super) use with_quantized;

/// Where a tile is read from.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) scales: *const u8,
    pub(super) codes: *const u8,
    /// Expanded minima.
    pub(super) mins: *const u8,
    scale_bytes: usize,
    pub(super) sub_bytes: usize,
}

impl Source {
    /// The tile itself.
    ///
    /// # Safety
    /// `tile` is a tile of `layout`.
    #[inline]
    pub(super) unsafe fn tile(layout: &Layout, tile: *const u8) -> Self {
        // SAFETY: the codes lie inside the tile.
        let codes = unsafe { tile.add(layout.codes_at) };
        Self { scales: tile, codes, mins: tile, scale_bytes: layout.scale_bytes, sub_bytes: layout.sub_bytes() }
    }

    /// A tile's contents expanded: codes (16 bytes per column), scales and minima (at most 4 each).
    ///
    /// # Safety
    /// `scratch` is valid for 24 bytes per column of `layout`.
    #[inline]
    pub(super) unsafe fn expanded(layout: &Layout, scratch: *const u8) -> Self {
        // SAFETY: inside the scratch.
        let (scales, mins) = unsafe { (scratch.add(16 * layout.k), scratch.add(20 * layout.k)) };
        Self { scales, codes: scratch, mins, scale_bytes: 0, sub_bytes: 512 }
    }

    /// Scales of block `b` in the tile.
    ///
    /// # Safety
    /// Block `b` exists.
    #[inline]
    pub(super) unsafe fn block(&self, b: usize) -> *const u8 {
        // SAFETY: the caller's block exists.
        unsafe { self.scales.add(b * self.scale_bytes) }
    }
}
