//! Number formats of tensors: one table.

use crate::plan::Level;

macro_rules! ggml_types {
    ($($variant:ident $number:literal $name:literal $block:literal $bytes:literal),* $(,)?) => {
        /// Number format of a tensor, numbered as in ggml.h (ggml 0.25). Formats without an implementation here are in
        /// the table all the same, so that sizes can be checked and messages can name them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum GgmlType {
            $(#[doc = concat!("`", $name, "`: ", stringify!($block), " weights in ", stringify!($bytes), " bytes.")]
            $variant,)*
            /// A number that was not assigned, or was withdrawn, when this table was written.
            Unknown(u32),
        }

        impl GgmlType {
            /// Every format with a known layout.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),*];

            /// The format with this ggml number.
            #[must_use]
            pub const fn from_number(number: u32) -> Self {
                match number { $($number => Self::$variant,)* other => Self::Unknown(other) }
            }

            /// The ggml number, as stored in files.
            #[must_use]
            pub const fn number(self) -> u32 {
                match self { $(Self::$variant => $number,)* Self::Unknown(number) => number }
            }

            /// Weights per block and bytes per block. `None` for unknown formats.
            #[must_use]
            pub const fn layout(self) -> Option<(u64, u64)> {
                match self { $(Self::$variant => Some(($block, $bytes)),)* Self::Unknown(_) => None }
            }

            /// Name as the gguf tools write it, e.g. `Q4_K`; a number for unknown formats.
            #[must_use]
            pub const fn known_name(self) -> Option<&'static str> {
                match self { $(Self::$variant => Some($name),)* Self::Unknown(_) => None }
            }
        }
    };
}

ggml_types! {
    F32 0 "F32" 1 4,
    F16 1 "F16" 1 2,
    Q4_0 2 "Q4_0" 32 18,
    Q4_1 3 "Q4_1" 32 20,
    Q5_0 6 "Q5_0" 32 22,
    Q5_1 7 "Q5_1" 32 24,
    Q8_0 8 "Q8_0" 32 34,
    Q8_1 9 "Q8_1" 32 36,
    Q2K 10 "Q2_K" 256 84,
    Q3K 11 "Q3_K" 256 110,
    Q4K 12 "Q4_K" 256 144,
    Q5K 13 "Q5_K" 256 176,
    Q6K 14 "Q6_K" 256 210,
    Q8K 15 "Q8_K" 256 292,
    Iq2Xxs 16 "IQ2_XXS" 256 66,
    Iq2Xs 17 "IQ2_XS" 256 74,
    Iq3Xxs 18 "IQ3_XXS" 256 98,
    Iq1S 19 "IQ1_S" 256 50,
    Iq4Nl 20 "IQ4_NL" 32 18,
    Iq3S 21 "IQ3_S" 256 110,
    Iq2S 22 "IQ2_S" 256 82,
    Iq4Xs 23 "IQ4_XS" 256 136,
    I8 24 "I8" 1 1,
    I16 25 "I16" 1 2,
    I32 26 "I32" 1 4,
    I64 27 "I64" 1 8,
    F64 28 "F64" 1 8,
    Iq1M 29 "IQ1_M" 256 56,
    Bf16 30 "BF16" 1 2,
    Tq1_0 34 "TQ1_0" 256 54,
    Tq2_0 35 "TQ2_0" 256 66,
    Mxfp4 39 "MXFP4" 32 17,
    Nvfp4 40 "NVFP4" 64 36,
    Q1_0 41 "Q1_0" 128 18,
    Q2_0 42 "Q2_0" 64 18,
}

impl GgmlType {
    /// The weight formats this program computes with.
    pub const SUPPORTED: [Self; 13] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// Whether this program computes with the format.
    #[must_use]
    pub fn is_supported(self) -> bool {
        Self::SUPPORTED.contains(&self)
    }

    /// Weights per block; 1 for plain numbers. `None` for unknown formats.
    #[must_use]
    pub const fn block_size(self) -> Option<u64> {
        match self.layout() {
            Some((block, _)) => Some(block),
            None => None,
        }
    }

    /// Bytes per block. `None` for unknown formats.
    #[must_use]
    pub const fn block_bytes(self) -> Option<u64> {
        match self.layout() {
            Some((_, bytes)) => Some(bytes),
            None => None,
        }
    }

    /// Bytes `n` consecutive weights take. `None` if the format is unknown, `n` is not whole blocks, or on overflow.
    #[must_use]
    pub fn bytes_for(self, n: u64) -> Option<u64> {
        let (block, bytes) = self.layout()?;
        if n.is_multiple_of(block) { (n / block).checked_mul(bytes) } else { None }
    }

    /// Storage per weight, bits. `None` for unknown formats.
    #[must_use]
    pub fn bits_per_weight(self) -> Option<f64> {
        let (block, bytes) = self.layout()?;
        Some(bytes as f64 * 8.0 / block as f64)
    }

    /// Whether weights share a scale within blocks (everything but plain floats and integers).
    #[must_use]
    pub fn is_quantized(self) -> bool {
        self.block_size().is_some_and(|block| block > 1)
    }
}

impl std::fmt::Display for GgmlType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.known_name(), self) {
            (Some(name), _) => f.write_str(name),
            // Withdrawn formats whose files still circulate: the number alone would not help anyone.
            (None, Self::Unknown(number @ (4 | 5))) => write!(f, "Q4_2/Q4_3 (withdrawn type {number})"),
            (None, Self::Unknown(number @ (31..=33))) => write!(f, "Q4_0_4_4/4_8/8_8 (withdrawn type {number})"),
            (None, Self::Unknown(number @ (36..=38))) => write!(f, "IQ4_NL_4_4/4_8/8_8 (withdrawn type {number})"),
            (None, _) => write!(f, "type {}", self.number()),
        }
    }
}

/// Level ↔ `general.file_type`, numbered as `llama_ftype` in llama.h.
const FILE_TYPES: [(Level, u32); 17] = [
    (Level::F32, 0),
    (Level::F16, 1),
    (Level::Q4_0, 2),
    (Level::Q4_1, 3),
    (Level::Q8_0, 7),
    (Level::Q5_0, 8),
    (Level::Q5_1, 9),
    (Level::Q2K, 10),
    (Level::Q3KS, 11),
    (Level::Q3KM, 12),
    (Level::Q3KL, 13),
    (Level::Q4KS, 14),
    (Level::Q4KM, 15),
    (Level::Q5KS, 16),
    (Level::Q5KM, 17),
    (Level::Q6K, 18),
    (Level::Bf16, 32),
];

/// `general.file_type` of a file made at `level`. `None` for a level without a number.
#[must_use]
pub fn file_type_of(level: Level) -> Option<u32> {
    FILE_TYPES.iter().find(|(l, _)| *l == level).map(|(_, number)| *number)
}

/// The level a `general.file_type` names, if it is one of ours. Bit 10 only says that the number was guessed.
#[must_use]
pub fn level_of(file_type: u32) -> Option<Level> {
    let number = file_type & !1024;
    FILE_TYPES.iter().find(|(_, n)| *n == number).map(|(level, _)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back() {
        for &ty in GgmlType::KNOWN {
            assert_eq!(GgmlType::from_number(ty.number()), ty);
        }
        for number in [4, 5, 31, 38, 43, u32::MAX] {
            let ty = GgmlType::from_number(number);
            assert_eq!((ty, ty.number(), ty.layout()), (GgmlType::Unknown(number), number, None));
            assert!(ty.to_string().contains(&number.to_string()));
        }
    }

    #[test]
    fn sizes_equal_those_of_candle_where_it_has_the_format() {
        use candle_core::quantized::GgmlDType as D;
        let pairs = [
            (GgmlType::F32, D::F32),
            (GgmlType::F16, D::F16),
            (GgmlType::Bf16, D::BF16),
            (GgmlType::Q4_0, D::Q4_0),
            (GgmlType::Q4_1, D::Q4_1),
            (GgmlType::Q5_0, D::Q5_0),
            (GgmlType::Q5_1, D::Q5_1),
            (GgmlType::Q8_0, D::Q8_0),
            (GgmlType::Q2K, D::Q2K),
            (GgmlType::Q3K, D::Q3K),
            (GgmlType::Q4K, D::Q4K),
            (GgmlType::Q5K, D::Q5K),
            (GgmlType::Q6K, D::Q6K),
        ];
        for (ours, theirs) in pairs {
            assert!(ours.is_supported());
            assert_eq!(ours.layout(), Some((theirs.block_size() as u64, theirs.type_size() as u64)), "{ours}");
        }
    }

    #[test]
    fn sizes_are_refused_for_partial_blocks_and_overflow() {
        assert_eq!(GgmlType::Q4K.bytes_for(512), Some(288));
        assert_eq!(GgmlType::Q4K.bytes_for(576), None);
        assert_eq!(GgmlType::F64.bytes_for(u64::MAX), None);
    }

    #[test]
    fn every_level_has_a_file_type_and_back() {
        for &level in Level::ALL {
            let number = file_type_of(level).expect("every level is numbered");
            assert_eq!(level_of(number), Some(level));
            assert_eq!(level_of(number | 1024), Some(level));
        }
        assert_eq!(level_of(19), None);
    }
}
