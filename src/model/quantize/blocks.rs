//! Plain numbers and the formats with one scale per 32 weights, block for block as ggml stores them.

use half::{bf16, f16};

use super::search::extreme;

/// Reads the half-precision number at `at`.
#[inline]
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Writes a half-precision number at `at`; returns it as later reads will see it.
#[inline]
pub(super) fn put_half(block: &mut [u8], at: usize, x: f32) -> f32 {
    let half = f16::from_f32(x);
    block[at..at + 2].copy_from_slice(&half.to_le_bytes());
    half.to_f32()
}

/// 1/d, or 0 for a block of zeros.
fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

fn range(x: &[f32; 32]) -> (f32, f32) {
    let min = x.iter().fold(f32::MAX, |min, &v| if v < min { v } else { min });
    let max = x.iter().fold(f32::MIN, |max, &v| if v > max { v } else { max });
    (min, max)
}

/// Two weights a byte: the first sixteen in the low halves.
#[inline]
fn put_nibbles(l: &[u8; 32], out: &mut [u8]) {
    for (j, byte) in out.iter_mut().enumerate() {
        *byte = (l[j] & 15) | (l[j + 16] & 15) << 4;
    }
}

#[inline]
fn nibble(qs: &[u8], i: usize) -> u8 {
    if i < 16 { qs[i] & 15 } else { qs[i - 16] >> 4 }
}

/// The fifth bits of 32 weights as one word.
fn fifth_bits(l: &[u8; 32]) -> [u8; 4] {
    l.iter().enumerate().fold(0_u32, |word, (i, &l)| word | u32::from(l >> 4 & 1) << i).to_le_bytes()
}

fn five_bits(qh: &[u8], qs: &[u8], i: usize) -> u8 {
    nibble(qs, i) | (qh[i / 8] >> (i % 8) & 1) << 4
}

pub(super) fn decode_f32(block: &[u8; 4], out: &mut [f32; 1]) {
    out[0] = f32::from_le_bytes(*block);
}

pub(super) fn encode_f32(x: &[f32; 1], block: &mut [u8; 4]) {
    *block = x[0].to_le_bytes();
}

pub(super) fn decode_f16(block: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = f16::from_le_bytes(*block).to_f32();
}

pub(super) fn encode_f16(x: &[f32; 1], block: &mut [u8; 2]) {
    *block = f16::from_f32(x[0]).to_le_bytes();
}

pub(super) fn decode_bf16(block: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = bf16::from_le_bytes(*block).to_f32();
}

pub(super) fn encode_bf16(x: &[f32; 1], block: &mut [u8; 2]) {
    *block = bf16::from_f32(x[0]).to_le_bytes();
}

/// d, 16 bytes of nibbles: x = d (l − 8).
pub(super) fn decode_q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    *out = std::array::from_fn(|i| (f32::from(nibble(&block[2..], i)) - 8.0) * d);
}

pub(super) fn encode_q4_0(x: &[f32; 32], block: &mut [u8; 18]) {
    let d = extreme(x).0 / -8.0;
    let id = inverse(d);
    put_half(block, 0, d);
    put_nibbles(&x.map(|v| ((v * id + 8.5) as i8).min(15) as u8), &mut block[2..]);
}

/// d, m, nibbles: x = d l + m.
pub(super) fn decode_q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    *out = std::array::from_fn(|i| f32::from(nibble(&block[4..], i)) * d + m);
}

pub(super) fn encode_q4_1(x: &[f32; 32], block: &mut [u8; 20]) {
    let (min, max) = range(x);
    let d = (max - min) / 15.0;
    let id = inverse(d);
    put_half(block, 0, d);
    put_half(block, 2, min);
    put_nibbles(&x.map(|v| (((v - min) * id + 0.5) as i8).min(15) as u8), &mut block[4..]);
}

/// d, fifth bits, nibbles: x = d (l − 16).
pub(super) fn decode_q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    *out = std::array::from_fn(|i| (f32::from(five_bits(&block[2..6], &block[6..], i)) - 16.0) * d);
}

pub(super) fn encode_q5_0(x: &[f32; 32], block: &mut [u8; 22]) {
    let d = extreme(x).0 / -16.0;
    let id = inverse(d);
    put_half(block, 0, d);
    let l = x.map(|v| ((v * id + 16.5) as i8).min(31) as u8);
    block[2..6].copy_from_slice(&fifth_bits(&l));
    put_nibbles(&l, &mut block[6..]);
}

/// d, m, fifth bits, nibbles: x = d l + m.
pub(super) fn decode_q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    *out = std::array::from_fn(|i| f32::from(five_bits(&block[4..8], &block[8..], i)) * d + m);
}

pub(super) fn encode_q5_1(x: &[f32; 32], block: &mut [u8; 24]) {
    let (min, max) = range(x);
    let d = (max - min) / 31.0;
    let id = inverse(d);
    put_half(block, 0, d);
    put_half(block, 2, min);
    let l = x.map(|v| ((v - min) * id + 0.5) as u8);
    block[4..8].copy_from_slice(&fifth_bits(&l));
    put_nibbles(&l, &mut block[8..]);
}

/// d, 32 signed bytes: x = d l.
pub(super) fn decode_q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    *out = std::array::from_fn(|i| f32::from(block[2 + i] as i8) * d);
}

pub(super) fn encode_q8_0(x: &[f32; 32], block: &mut [u8; 34]) {
    let d = extreme(x).1 / 127.0;
    let id = inverse(d);
    put_half(block, 0, d);
    for (byte, v) in block[2..].iter_mut().zip(x) {
        // Halves away from zero, as C's roundf.
        *byte = (v * id).round() as i8 as u8;
    }
}
