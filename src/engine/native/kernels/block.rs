//! Blocks as the file stores them, decoded to unsigned codes, scales and minima.
//!
//! Every quantized ggml type is `w = scale · (code − offset) − min`, with a code of at most 8 bits and one scale and one
//! minimum per group of 16 or 32 weights. Formats after `ggml-quants.c`.

use half::f16;

use super::WeightType;

/// One decoded block: at most 256 weights in groups of at least 16.
pub(super) struct Block {
    /// Unsigned codes in order of k.
    pub(super) codes: [u8; 256],
    /// Scale of each group.
    pub(super) scale: [f32; 16],
    /// Minimum of each group; 0 for the symmetric types.
    pub(super) min: [f32; 16],
}

impl Block {
    pub(super) const fn zero() -> Self {
        Self { codes: [0; 256], scale: [0.0; 16], min: [0.0; 16] }
    }

    /// Decodes one block of `ty`, which must be quantized. `bytes` holds exactly [`WeightType::block_bytes`].
    pub(super) fn decode(&mut self, ty: WeightType, bytes: &[u8]) {
        debug_assert_eq!(bytes.len(), ty.block_bytes());
        match ty {
            WeightType::F32 | WeightType::F16 | WeightType::BF16 => {}
            WeightType::Q4_0 => {
                self.nibbles(0, &bytes[2..18]);
                (self.scale[0], self.min[0]) = (half_at(bytes, 0), 0.0);
            }
            WeightType::Q4_1 => {
                self.nibbles(0, &bytes[4..20]);
                (self.scale[0], self.min[0]) = (half_at(bytes, 0), -half_at(bytes, 2));
            }
            WeightType::Q5_0 => {
                self.nibbles(0, &bytes[6..22]);
                self.fifth_bits(&bytes[2..6]);
                (self.scale[0], self.min[0]) = (half_at(bytes, 0), 0.0);
            }
            WeightType::Q5_1 => {
                self.nibbles(0, &bytes[8..24]);
                self.fifth_bits(&bytes[4..8]);
                (self.scale[0], self.min[0]) = (half_at(bytes, 0), -half_at(bytes, 2));
            }
            WeightType::Q8_0 => {
                for (code, &q) in self.codes.iter_mut().zip(&bytes[2..34]) {
                    *code = q ^ 0x80;
                }
                (self.scale[0], self.min[0]) = (half_at(bytes, 0), 0.0);
            }
            WeightType::Q2_K => {
                self.crumbs(&bytes[16..80]);
                let (d, dmin) = (half_at(bytes, 80), half_at(bytes, 82));
                for (g, &s) in bytes[..16].iter().enumerate() {
                    (self.scale[g], self.min[g]) = (d * f32::from(s & 15), dmin * f32::from(s >> 4));
                }
            }
            WeightType::Q3_K => {
                self.crumbs(&bytes[32..96]);
                self.high_bits(&bytes[..32], 2);
                let d = half_at(bytes, 108);
                for (g, s) in q3_scales(&bytes[96..108]).into_iter().enumerate() {
                    (self.scale[g], self.min[g]) = (d * f32::from(s), 0.0);
                }
            }
            WeightType::Q4_K | WeightType::Q5_K => {
                let quants = ty.block_bytes() - 128;
                for (pair, q) in bytes[quants..].chunks_exact(32).enumerate() {
                    for (l, &q) in q.iter().enumerate() {
                        self.codes[pair * 64 + l] = q & 15;
                        self.codes[pair * 64 + 32 + l] = q >> 4;
                    }
                }
                if ty == WeightType::Q5_K {
                    self.high_bits(&bytes[16..48], 4);
                }
                let (d, dmin) = (half_at(bytes, 0), half_at(bytes, 2));
                let (scales, mins) = k4_scales(&bytes[4..16]);
                for g in 0..8 {
                    (self.scale[g], self.min[g]) = (d * f32::from(scales[g]), dmin * f32::from(mins[g]));
                }
            }
            WeightType::Q6_K => {
                for half in 0..2 {
                    let (low, high) = (&bytes[half * 64..half * 64 + 64], &bytes[128 + half * 32..160 + half * 32]);
                    let codes = &mut self.codes[half * 128..half * 128 + 128];
                    for l in 0..32 {
                        codes[l] = low[l] & 15 | (high[l] & 3) << 4;
                        codes[l + 32] = low[l + 32] & 15 | (high[l] >> 2 & 3) << 4;
                        codes[l + 64] = low[l] >> 4 | (high[l] >> 4 & 3) << 4;
                        codes[l + 96] = low[l + 32] >> 4 | (high[l] >> 6) << 4;
                    }
                }
                let d = half_at(bytes, 208);
                for (g, &s) in bytes[192..208].iter().enumerate() {
                    (self.scale[g], self.min[g]) = (d * f32::from(s.cast_signed()), 0.0);
                }
            }
        }
    }

    /// 32 codes from 16 bytes: low nibbles are the first 16.
    fn nibbles(&mut self, at: usize, bytes: &[u8]) {
        for (i, &q) in bytes.iter().enumerate() {
            self.codes[at + i] = q & 15;
            self.codes[at + 16 + i] = q >> 4;
        }
    }

    /// Adds bit 4 of each of 32 codes.
    fn fifth_bits(&mut self, bytes: &[u8]) {
        for (i, code) in self.codes[..32].iter_mut().enumerate() {
            *code |= (bytes[i / 8] >> (i % 8) & 1) << 4;
        }
    }

    /// 256 two-bit codes as Q2_K and Q3_K store them.
    fn crumbs(&mut self, bytes: &[u8]) {
        for (s, codes) in self.codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (code, &byte) in codes.iter_mut().zip(&bytes[s / 4 * 32..]) {
                *code = byte >> (2 * (s % 4)) & 3;
            }
        }
    }

    /// Adds one bit to each of 256 codes: bit s of byte l is that of column 32 s + l.
    fn high_bits(&mut self, bytes: &[u8], to: u32) {
        for (s, codes) in self.codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (code, &byte) in codes.iter_mut().zip(bytes) {
                *code |= (byte >> s & 1) << to;
            }
        }
    }
}

/// The little-endian f16 at `at`.
pub(super) fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// The eight 6-bit scales and minima of Q4_K and Q5_K.
pub(super) fn k4_scales(bytes: &[u8]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut mins) = ([0; 8], [0; 8]);
    for j in 0..4 {
        (scales[j], mins[j]) = (bytes[j] & 63, bytes[j + 4] & 63);
        scales[j + 4] = bytes[j + 8] & 15 | bytes[j] >> 6 << 4;
        mins[j + 4] = bytes[j + 8] >> 4 | bytes[j + 4] >> 6 << 4;
    }
    (scales, mins)
}

/// The sixteen 6-bit scales of Q3_K, −32..=31.
pub(super) fn q3_scales(bytes: &[u8]) -> [i8; 16] {
    std::array::from_fn(|j| {
        let low = if j < 8 { bytes[j] & 15 } else { bytes[j - 8] >> 4 };
        let high = bytes[8 + j % 4] >> (2 * (j / 4)) & 3;
        (low | high << 4).cast_signed() - 32
    })
}

/// Dequantizes row `row` of a tensor as the file stores it: `out.len()` weights, equal to ggml's in every bit.
///
/// `None` if `out` is not a whole number of blocks or the row is not inside `data`.
#[must_use]
pub fn dequantize_row(ty: WeightType, data: &[u8], row: usize, out: &mut [f32]) -> Option<()> {
    let bytes = ty.row_bytes(out.len())?;
    let start = row.checked_mul(bytes)?;
    let data = data.get(start..start.checked_add(bytes)?)?;
    match ty {
        WeightType::F32 => {
            for (x, b) in out.iter_mut().zip(data.as_chunks::<4>().0) {
                *x = f32::from_le_bytes(*b);
            }
        }
        WeightType::F16 => {
            for (x, b) in out.iter_mut().zip(data.as_chunks::<2>().0) {
                *x = f16::from_le_bytes(*b).to_f32();
            }
        }
        WeightType::BF16 => {
            for (x, b) in out.iter_mut().zip(data.as_chunks::<2>().0) {
                *x = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
            }
        }
        _ => {
            let mut block = Block::zero();
            for (out, bytes) in out.chunks_exact_mut(ty.block()).zip(data.chunks_exact(ty.block_bytes())) {
                block.decode(ty, bytes);
                for (g, out) in out.chunks_exact_mut(ty.group()).enumerate() {
                    let codes = &block.codes[g * ty.group()..];
                    for (x, &code) in out.iter_mut().zip(codes) {
                        *x = block.scale[g] * (i32::from(code) - ty.offset()) as f32 - block.min[g];
                    }
                }
            }
        }
    }
    Some(())
}
