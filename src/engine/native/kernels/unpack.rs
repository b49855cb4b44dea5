//! Portable reading of packed tiles: the reference for the vector versions.

use half::f16;

use super::WeightType;
use super::block::half_at;
use super::packed::{Layout, TILE};

/// The codes of 32 columns × 16 outputs: `out[g * 64 + o * 4 + i]` is column 4g + i of output o.
pub(super) fn codes(ty: WeightType, sub: &[u8], out: &mut [u8; 512]) {
    for (g, out) in out.chunks_exact_mut(64).enumerate() {
        let plane = |at: usize, shift: usize, mask: u8, out: &mut [u8], to: u32| {
            for (code, &byte) in out.iter_mut().zip(&sub[at..at + 64]) {
                *code |= (byte >> shift & mask) << to;
            }
        };
        out.fill(0);
        match ty {
            WeightType::F32 | WeightType::F16 | WeightType::BF16 => {}
            WeightType::Q8_0 => plane(g * 64, 0, 255, out, 0),
            WeightType::Q2_K => plane(g / 4 * 64, 2 * (g % 4), 3, out, 0),
            WeightType::Q3_K => {
                plane(g / 4 * 64, 2 * (g % 4), 3, out, 0);
                plane(128, g, 1, out, 2);
            }
            WeightType::Q4_0 | WeightType::Q4_1 | WeightType::Q4_K => plane(g / 2 * 64, 4 * (g % 2), 15, out, 0),
            WeightType::Q5_0 | WeightType::Q5_1 | WeightType::Q5_K => {
                plane(g / 2 * 64, 4 * (g % 2), 15, out, 0);
                plane(256, g, 1, out, 4);
            }
            WeightType::Q6_K => {
                plane(g / 2 * 64, 4 * (g % 2), 15, out, 0);
                plane(256 + g / 4 * 64, 2 * (g % 4), 3, out, 4);
            }
        }
    }
}

/// Scale and minimum of group `group` of one block, output `o`.
pub(super) fn scale(ty: WeightType, scales: &[u8], group: usize, o: usize) -> (f32, f32) {
    let half = |slot: usize| half_at(scales, slot * 32 + 2 * o);
    let byte = |at: usize| scales[at + group * TILE + o];
    match ty {
        WeightType::Q4_1 | WeightType::Q5_1 => (half(0), -half(1)),
        WeightType::Q4_K | WeightType::Q5_K => (half(0) * f32::from(byte(64)), half(1) * f32::from(byte(192))),
        WeightType::Q2_K => (half(0) * f32::from(byte(64) & 15), half(1) * f32::from(byte(64) >> 4)),
        WeightType::Q3_K | WeightType::Q6_K => (half(0) * f32::from(byte(32).cast_signed()), 0.0),
        _ => (half(0), 0.0),
    }
}

/// Element `at` of a tile of floats.
pub(super) fn float(ty: WeightType, tile: &[u8], at: usize) -> f32 {
    match ty {
        WeightType::F16 => f16::from_le_bytes([tile[2 * at], tile[2 * at + 1]]).to_f32(),
        WeightType::BF16 => f32::from_bits(u32::from(u16::from_le_bytes([tile[2 * at], tile[2 * at + 1]])) << 16),
        _ => f32::from_le_bytes([tile[4 * at], tile[4 * at + 1], tile[4 * at + 2], tile[4 * at + 3]]),
    }
}

/// The weights of output `o` of a tile from column `start`, a multiple of 32.
pub(super) fn dequantize(layout: &Layout, tile: &[u8], o: usize, start: usize, out: &mut [f32]) {
    let ty = layout.ty;
    if ty.is_float() {
        for (c, x) in out.iter_mut().enumerate() {
            *x = float(ty, tile, (start + c) * TILE + o);
        }
        return;
    }
    let mut buffer = [0; 512];
    let group = ty.group();
    for (s, out) in (start / 32..).zip(out.chunks_exact_mut(32)) {
        let (block, sub) = (s * 32 / ty.block(), s % (ty.block() / 32));
        let scales = &tile[block * layout.scale_bytes..][..layout.scale_bytes];
        let at = layout.codes_at + s * layout.sub_bytes();
        codes(ty, &tile[at..at + layout.sub_bytes()], &mut buffer);
        for (c, x) in out.iter_mut().enumerate() {
            let (scale, min) = scale(ty, scales, (sub * 32 + c) / group, o);
            *x = scale * (i32::from(buffer[c / 4 * 64 + o * 4 + c % 4]) - ty.offset()) as f32 - min;
        }
    }
}
