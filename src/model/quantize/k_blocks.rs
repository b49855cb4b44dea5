//! The K formats: 256 weights a block, in groups of 16 or 32 with scales that are quantized themselves.

use super::blocks::{half_at, put_half};
use super::search::{GROUP_EPSILON, Grid, affine, nearest, refined, symmetric};

/// Two bits a weight, four weights a byte: within each half of the block, byte l holds weights l, l+32, l+64, l+96.
#[inline]
fn put_pairs(l: &[u8; 256], out: &mut [u8]) {
    for (i, byte) in out.iter_mut().enumerate() {
        let at = i / 32 * 128 + i % 32;
        *byte = (0..4).fold(0, |byte, k| byte | (l[at + 32 * k] & 3) << (2 * k));
    }
}

#[inline]
fn pair(qs: &[u8], i: usize) -> u8 {
    qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3
}

/// Four bits a weight: within each quarter of the block, byte l holds weights l and l+32.
#[inline]
fn put_nibbles(l: &[u8; 256], out: &mut [u8]) {
    for (i, byte) in out.iter_mut().enumerate() {
        let at = i / 32 * 64 + i % 32;
        *byte = (l[at] & 15) | (l[at + 32] & 15) << 4;
    }
}

#[inline]
fn nibble(qs: &[u8], i: usize) -> u8 {
    qs[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15
}

/// The 6-bit scale and minimum of group `j` of 8 in 12 bytes.
#[inline]
fn scale_and_min(scales: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (scales[j] & 63, scales[j + 4] & 63)
    } else {
        let high = |byte: u8| byte >> 6 << 4;
        (scales[j + 4] & 15 | high(scales[j - 4]), scales[j + 4] >> 4 | high(scales[j]))
    }
}

#[inline]
fn put_scale_and_min(scales: &mut [u8], j: usize, scale: u8, min: u8) {
    if j < 4 {
        scales[j] = scale;
        scales[j + 4] = min;
    } else {
        scales[j + 4] = scale & 15 | (min & 15) << 4;
        scales[j - 4] |= scale >> 4 << 6;
        scales[j] |= min >> 4 << 6;
    }
}

/// The largest of values and 0.
#[inline]
fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |max, &v| if v > max { v } else { max })
}

/// Re-quantizes the weights of one group with its final scale; a scale of zero keeps what the search found.
#[inline]
fn requantize(x: &[f32], offset: f32, d: f32, low: i32, high: i32, l: &mut [u8]) {
    if d != 0.0 {
        for (l, &v) in l.iter_mut().zip(x) {
            *l = (nearest((v + offset) / d).clamp(low, high) - low) as u8;
        }
    }
}

/// Sixteen bytes of scale and minimum (4 bits each), 64 of pairs, d, dmin: x = d s l − dmin m.
pub(super) fn decode_q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (d, dmin) = (half_at(block, 80), half_at(block, 82));
    *out = std::array::from_fn(|i| {
        let s = block[i / 16];
        d * f32::from(s & 15) * f32::from(pair(&block[16..80], i)) - dmin * f32::from(s >> 4)
    });
}

pub(super) fn encode_q2_k(x: &[f32; 256], block: &mut [u8; 84]) {
    const GRID: Grid = Grid { max: 3, start: -0.5, step: 0.1, steps: 15, absolute: true };
    let mut l = [0; 256];
    let (mut scales, mut mins) = ([0.0; 16], [0.0; 16]);
    for (j, (x, l)) in x.as_chunks::<16>().0.iter().zip(l.chunks_exact_mut(16)).enumerate() {
        (scales[j], mins[j]) = affine(x, &x.map(f32::abs), GRID, l);
    }
    *block = [0; 84];
    let (max_scale, max_min) = (largest(&scales), largest(&mins));
    let part = |value: f32, max: f32| if max > 0.0 { nearest(15.0 / max * value) as u8 } else { 0 };
    for j in 0..16 {
        block[j] = part(scales[j], max_scale) | part(mins[j], max_min) << 4;
    }
    let d = put_half(block, 80, max_scale / 15.0);
    let dmin = put_half(block, 82, max_min / 15.0);
    for (j, (x, l)) in x.chunks_exact(16).zip(l.chunks_exact_mut(16)).enumerate() {
        requantize(x, dmin * f32::from(block[j] >> 4), d * f32::from(block[j] & 15), 0, 3, l);
    }
    put_pairs(&l, &mut block[16..80]);
}

/// The signed 6-bit scale of group `j` of 16 in 12 bytes.
#[inline]
fn q3_scale(scales: &[u8], j: usize) -> i8 {
    let low = if j < 8 { scales[j] & 15 } else { scales[j - 8] >> 4 };
    (low | (scales[8 + j % 4] >> (j / 4 * 2) & 3) << 4) as i8 - 32
}

/// 32 bytes of high bits, 64 of pairs, 12 of scales, d: x = d s (l − 4).
pub(super) fn decode_q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let d = half_at(block, 108);
    *out = std::array::from_fn(|i| {
        let high = block[i % 32] >> (i / 32) & 1;
        let l = pair(&block[32..96], i) | high << 2;
        d * f32::from(q3_scale(&block[96..108], i / 16)) * (f32::from(l) - 4.0)
    });
}

pub(super) fn encode_q3_k(x: &[f32; 256], block: &mut [u8; 110]) {
    let mut l = [0; 256];
    let mut scales = [0.0; 16];
    for (j, (x, l)) in x.as_chunks::<16>().0.iter().zip(l.chunks_exact_mut(16)).enumerate() {
        scales[j] = refined(x, 4, l);
    }
    *block = [0; 110];
    let max_scale = super::search::extreme(&scales).0;
    let mut d = 0.0;
    if max_scale != 0.0 {
        let inverse = -32.0 / max_scale;
        for (j, scale) in scales.iter().enumerate() {
            let s = (nearest(inverse * scale).clamp(-32, 31) + 32) as u8;
            block[96 + j % 8] |= (s & 15) << (j / 8 * 4);
            block[104 + j % 4] |= s >> 4 << (j / 4 * 2);
        }
        d = put_half(block, 108, 1.0 / inverse);
    }
    for (j, (x, l)) in x.chunks_exact(16).zip(l.chunks_exact_mut(16)).enumerate() {
        requantize(x, 0.0, d * f32::from(q3_scale(&block[96..108], j)), -4, 3, l);
    }
    for (i, l) in l.iter().enumerate() {
        block[i % 32] |= (l >> 2 & 1) << (i / 32);
    }
    put_pairs(&l, &mut block[32..96]);
}

/// Scales, minimums and integers of the two formats with eight groups of 32; returns the integers.
fn encode_eight_groups(x: &[f32; 256], head: &mut [u8], grid: Grid) -> [u8; 256] {
    let mut l = [0; 256];
    let (mut scales, mut mins) = ([0.0; 8], [0.0; 8]);
    for (j, (x, l)) in x.as_chunks::<32>().0.iter().zip(l.chunks_exact_mut(32)).enumerate() {
        let squares = x.iter().fold(0.0_f32, |sum, v| sum + v * v);
        let average = (squares / 32.0).sqrt();
        (scales[j], mins[j]) = affine(x, &x.map(|v| average + v.abs()), grid, l);
    }
    let (max_scale, max_min) = (largest(&scales), largest(&mins));
    let inverse = |max: f32| if max > 0.0 { 63.0 / max } else { 0.0 };
    let (inverse_scale, inverse_min) = (inverse(max_scale), inverse(max_min));
    for j in 0..8 {
        let scale = (nearest(inverse_scale * scales[j]) as u8).min(63);
        let min = (nearest(inverse_min * mins[j]) as u8).min(63);
        put_scale_and_min(&mut head[4..], j, scale, min);
    }
    let d = put_half(head, 0, max_scale / 63.0);
    let dmin = put_half(head, 2, max_min / 63.0);
    for (j, (x, l)) in x.chunks_exact(32).zip(l.chunks_exact_mut(32)).enumerate() {
        let (scale, min) = scale_and_min(&head[4..], j);
        requantize(x, dmin * f32::from(min), d * f32::from(scale), 0, grid.max.into(), l);
    }
    l
}

fn decode_eight_groups(head: &[u8], l: impl Fn(usize) -> u8, out: &mut [f32; 256]) {
    let (d, dmin) = (half_at(head, 0), half_at(head, 2));
    *out = std::array::from_fn(|i| {
        let (scale, min) = scale_and_min(&head[4..], i / 32);
        d * f32::from(scale) * f32::from(l(i)) - dmin * f32::from(min)
    });
}

/// d, dmin, 12 bytes of scales and minimums, 128 of nibbles: x = d s l − dmin m.
pub(super) fn decode_q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    decode_eight_groups(&block[..16], |i| nibble(&block[16..], i), out);
}

pub(super) fn encode_q4_k(x: &[f32; 256], block: &mut [u8; 144]) {
    const GRID: Grid = Grid { max: 15, start: -1.0, step: 0.1, steps: 20, absolute: false };
    *block = [0; 144];
    let l = encode_eight_groups(x, &mut block[..16], GRID);
    put_nibbles(&l, &mut block[16..]);
}

/// As Q4_K with 32 bytes of fifth bits before the nibbles.
pub(super) fn decode_q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let l = |i: usize| nibble(&block[48..], i) | (block[16 + i % 32] >> (i / 32) & 1) << 4;
    decode_eight_groups(&block[..16], l, out);
}

pub(super) fn encode_q5_k(x: &[f32; 256], block: &mut [u8; 176]) {
    const GRID: Grid = Grid { max: 31, start: -0.5, step: 0.1, steps: 15, absolute: false };
    *block = [0; 176];
    let l = encode_eight_groups(x, &mut block[..16], GRID);
    for (i, l) in l.iter().enumerate() {
        block[16 + i % 32] |= (l >> 4) << (i / 32);
    }
    put_nibbles(&l, &mut block[48..]);
}

/// Where the low nibble and the two high bits of weight `i` of a Q6_K block are: byte and shift of each.
#[inline]
fn q6_places(i: usize) -> ((usize, usize), (usize, usize)) {
    let (half, l, quarter) = (i / 128, i % 32, i % 128 / 32);
    ((half * 64 + quarter % 2 * 32 + l, quarter / 2 * 4), (128 + half * 32 + l, quarter * 2))
}

/// 128 bytes of low nibbles, 64 of high pairs, 16 signed scales, d: x = d s (l − 32).
pub(super) fn decode_q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = half_at(block, 208);
    *out = std::array::from_fn(|i| {
        let (low, high) = q6_places(i);
        let l = block[low.0] >> low.1 & 15 | (block[high.0] >> high.1 & 3) << 4;
        d * f32::from(block[192 + i / 16] as i8) * (f32::from(l) - 32.0)
    });
}

pub(super) fn encode_q6_k(x: &[f32; 256], block: &mut [u8; 210]) {
    *block = [0; 210];
    let mut integers = [0; 256];
    let mut scales = [0.0; 16];
    for (j, (x, l)) in x.as_chunks::<16>().0.iter().zip(integers.chunks_exact_mut(16)).enumerate() {
        scales[j] = symmetric(x, 32, l);
    }
    let (max_scale, magnitude) = super::search::extreme(&scales);
    if magnitude < GROUP_EPSILON {
        return;
    }
    let inverse = -128.0 / max_scale;
    let d = put_half(block, 208, 1.0 / inverse);
    for (j, (x, l)) in x.chunks_exact(16).zip(integers.chunks_exact_mut(16)).enumerate() {
        let s = nearest(inverse * scales[j]).min(127) as i8;
        block[192 + j] = s as u8;
        requantize(x, 0.0, d * f32::from(s), -32, 31, l);
    }
    for (i, l) in integers.iter().enumerate() {
        let (low, high) = q6_places(i);
        block[low.0] |= (l & 15) << low.1;
        block[high.0] |= (l >> 4) << high.1;
    }
}
