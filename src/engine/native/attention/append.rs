//! Writing keys and values into the cache, in its format.
#![expect(unsafe_code, reason = "writes the cache through addresses")]

use super::{
    super::{
        kv::{BLOCK, KvCache, KvType, PANEL},
        simd::{Level, Simd, vectorised},
    },
    schedule::RowPlace,
};

/// Writes the key and value of one head at a position the sequence owns.
///
/// # Safety
/// `level` is available; no other thread touches this position of this head before the next barrier.
pub(in crate::engine::native) unsafe fn put(
    level: Level,
    cache: &KvCache,
    layer: usize,
    head: usize,
    place: RowPlace,
    key: &[f32],
    value: &[f32],
) {
    // SAFETY: passed on.
    unsafe { put_at(level, cache, layer, head, place, key, value) }
}
vectorised! {
    fn put_at(cache: &KvCache, layer: usize, head: usize, place: RowPlace, key: &[f32], value: &[f32]) = put_generic
}

#[inline(always)]
unsafe fn put_generic<S: Simd>(
    cache: &KvCache,
    layer: usize,
    head: usize,
    place: RowPlace,
    key: &[f32],
    value: &[f32],
) {
    let shape = cache.shape();
    assert!(key.len() == shape.key && value.len() == shape.value);
    let (block, slot) = (place.pos as usize / BLOCK, place.pos as usize % BLOCK);
    let panel_bytes = shape.ty.panel_bytes();
    let keys = cache.head_ptr(cache.blocks(place.seq)[block], layer, head);
    // SAFETY: `keys` starts `key_panels + value_panels` panels of this head; all offsets below stay inside the panel they
    // name: rows and columns are below 32. The level is available and the position is ours (caller).
    unsafe {
        let values = keys.add(shape.key_panels() * panel_bytes);
        for (p, part) in key.chunks(PANEL).enumerate() {
            let panel = keys.add(p * panel_bytes);
            match shape.ty {
                KvType::F16 => {
                    let mut halves = [0u16; PANEL];
                    to_halves::<S>(part, &mut halves);
                    for (d, &half) in halves[..part.len()].iter().enumerate() {
                        *panel.cast::<u16>().add(d * PANEL + slot) = half;
                    }
                }
                KvType::F32 => {
                    for (d, &x) in part.iter().enumerate() {
                        *panel.cast::<f32>().add(d * PANEL + slot) = x;
                    }
                }
                KvType::Q8 => {
                    let (scale, codes) = to_bytes(part);
                    *panel.cast::<u16>().add(slot) = scale;
                    for (d, &code) in codes.iter().enumerate() {
                        *panel.cast::<i8>().add(2 * PANEL + d * PANEL + slot) = code;
                    }
                }
            }
        }
        for (p, part) in value.chunks(PANEL).enumerate() {
            let panel = values.add(p * panel_bytes);
            match shape.ty {
                KvType::F16 => {
                    let mut halves = [0u16; PANEL];
                    to_halves::<S>(part, &mut halves);
                    panel.cast::<[u16; PANEL]>().add(slot).write_unaligned(halves);
                }
                KvType::F32 => {
                    let row = panel.cast::<f32>().add(slot * PANEL);
                    row.copy_from_nonoverlapping(part.as_ptr(), part.len());
                }
                KvType::Q8 => {
                    let (scale, codes) = to_bytes(part);
                    *panel.cast::<u16>().add(slot) = scale;
                    panel.cast::<i8>().add(2 * PANEL).cast::<[i8; PANEL]>().add(slot).write_unaligned(codes);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn to_halves<S: Simd>(x: &[f32], halves: &mut [u16; PANEL]) {
    let mut padded = [0.0; PANEL];
    padded[..x.len()].copy_from_slice(x);
    for i in (0..PANEL).step_by(S::LANES) {
        // SAFETY: 32 is a whole number of vectors; the level is available (caller).
        unsafe { S::store_f16(halves.as_mut_ptr().add(i), S::load(padded.as_ptr().add(i))) };
    }
}

/// ggml's Q8_0: scale = max |x| / 127 as a half float, codes = round(x / scale). NaN gives a NaN scale.
fn to_bytes(x: &[f32]) -> (u16, [i8; PANEL]) {
    let max = x.iter().fold(0.0f32, |m, v| if v.is_nan() || v.abs() > m { v.abs() } else { m });
    let inverse = if max > 0.0 { 127.0 / max } else { 0.0 };
    let mut codes = [0; PANEL];
    for (code, v) in codes.iter_mut().zip(x) {
        *code = (v * inverse).round() as i8;
    }
    (half::f16::from_f32(max / 127.0).to_bits(), codes)
}
