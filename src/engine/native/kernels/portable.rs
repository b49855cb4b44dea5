//! Products in plain Rust: correct everywhere, the oracle of the vector kernels.
#![expect(unsafe_code, reason = "reads activations and writes outputs through the pointers of a product")]

use super::activations::{Form, IntRow};
use super::packed::TILE;
use super::{Product, unpack};

/// Rows that share one unpacking.
const ROWS: usize = 8;

/// Multiplies one tile of weights with all rows of a product.
///
/// # Safety
/// As [`super::matmul`].
pub(super) unsafe fn tile(product: &Product<'_>, t: usize) {
    // SAFETY: passed on.
    unsafe {
        match product.x.form() {
            Form::Int { parts } => integer(product, t, parts),
            Form::F32 | Form::Bf16 { .. } => float(product, t),
        }
    }
}

unsafe fn integer(product: &Product<'_>, t: usize, parts: usize) {
    let layout = product.w.layout();
    let (ty, k) = (layout.ty, layout.k);
    let tile = product.w.tile(t);
    let per_32 = 32 / ty.group();
    let mut codes = [0; 512];
    let mut sums = [[0f32; TILE]; ROWS];
    let at = IntRow::new(k, parts);
    for first in product.rows.clone().step_by(ROWS) {
        let rows = ROWS.min(product.rows.end - first);
        sums[..rows].fill([0.0; TILE]);
        for s in 0..k / 32 {
            let (block, sub) = (s * 32 / ty.block(), s % (ty.block() / 32));
            let scales = &tile[block * layout.scale_bytes..][..layout.scale_bytes];
            let start = layout.codes_at + s * layout.sub_bytes();
            unpack::codes(ty, &tile[start..start + layout.sub_bytes()], &mut codes);
            for (r, sums) in sums[..rows].iter_mut().enumerate() {
                let row = product.x.row(first + r);
                // SAFETY: the row holds `k` codes and `k / 32` scales.
                let (a, d) = unsafe {
                    let bytes = |at: usize| row.add(at + 32 * s).cast::<[i8; 32]>().read_unaligned().map(i32::from);
                    let mut a = bytes(0);
                    if parts == 2 {
                        a.iter_mut().zip(bytes(at.low)).for_each(|(a, low)| *a = 256 * *a + low);
                    }
                    (a, row.add(at.scale + 4 * s).cast::<f32>().read_unaligned())
                };
                for part in 0..per_32 {
                    let columns = part * ty.group()..(part + 1) * ty.group();
                    let total: i32 = a[columns.clone()].iter().sum();
                    for (o, sum) in sums.iter_mut().enumerate() {
                        let mut dot = -ty.offset() * total;
                        for c in columns.clone() {
                            dot += i32::from(codes[c / 4 * 64 + o * 4 + c % 4]) * a[c];
                        }
                        let (scale, min) = unpack::scale(ty, scales, sub * per_32 + part, o);
                        *sum += scale * d * dot as f32 - min * (d * total as f32);
                    }
                }
            }
        }
        for (r, sums) in sums[..rows].iter().enumerate() {
            // SAFETY: passed on.
            unsafe { product.store(first + r, t, sums) };
        }
    }
}

unsafe fn float(product: &Product<'_>, t: usize) {
    let layout = product.w.layout();
    let tile = product.w.tile(t);
    let mut weights = [[0f32; TILE]; 32];
    let mut column = [0f32; 32];
    for first in product.rows.clone().step_by(ROWS) {
        let rows = ROWS.min(product.rows.end - first);
        let mut sums = [[0f32; TILE]; ROWS];
        for start in (0..layout.k).step_by(32) {
            let columns = 32.min(layout.k - start);
            for o in 0..TILE {
                unpack::dequantize(layout, tile, o, start, &mut column[..columns]);
                for (w, &x) in weights.iter_mut().zip(&column[..columns]) {
                    w[o] = x;
                }
            }
            for (r, sums) in sums[..rows].iter_mut().enumerate() {
                let row = product.x.row(first + r).cast::<f32>();
                for (c, w) in weights[..columns].iter().enumerate() {
                    // SAFETY: the row holds `k` values.
                    let a = unsafe { row.add(start + c).read_unaligned() };
                    for (sum, &w) in sums.iter_mut().zip(w) {
                        *sum += a * w;
                    }
                }
            }
        }
        for (r, sums) in sums[..rows].iter().enumerate() {
            // SAFETY: passed on.
            unsafe { product.store(first + r, t, sums) };
        }
    }
}
