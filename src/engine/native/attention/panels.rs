//! Products of a few rows with panels of the cache: the inner loops of attention.
#![expect(unsafe_code, reason = "reads panels and rows through addresses")]

use super::{
    super::{kv::PANEL, simd::Simd},
    MAX_ROWS,
};

/// `sums[r][c] = Σ_panels Σ_i a[r][32·panel + i] · panel[i][c]` for `R` rows and the 32 columns of a panel row, in the
/// order of `i`, written to `out[r]`.
#[inline(always)]
unsafe fn multiply<S: Simd, F: Panels, const R: usize>(
    a: &[*const f32; MAX_ROWS],
    panels: &[*const u8],
    n: usize,
    out: &[*mut f32; MAX_ROWS],
) {
    // SAFETY: `a[r]` holds `n` elements, `panels` cover `n` rows, `out[r]` holds 32 elements (caller).
    unsafe {
        let vectors = PANEL / S::LANES;
        let mut sums = [[S::splat(0.0); 4]; R];
        for (p, &panel) in panels.iter().enumerate() {
            let rows = PANEL.min(n - p * PANEL);
            for i in 0..rows {
                let mut b = [S::splat(0.0); 4];
                for (v, b) in b.iter_mut().enumerate().take(vectors) {
                    *b = F::load::<S>(panel, i * PANEL + v * S::LANES);
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = S::splat(*a[r].add(p * PANEL + i));
                    for (v, sum) in sums.iter_mut().enumerate().take(vectors) {
                        *sum = S::mul_add(x, b[v], *sum);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate().take(vectors) {
                S::store(out[r].add(v * S::LANES), sum);
            }
        }
    }
}

/// [`multiply`] for 1 to 8 rows, in steps that fit the registers.
#[inline(always)]
pub(super) unsafe fn multiply_rows<S: Simd, F: Panels>(
    a: &[*const f32; MAX_ROWS],
    panels: &[*const u8],
    n: usize,
    out: &[*mut f32; MAX_ROWS],
    rows: usize,
) {
    let mut done = 0;
    while done < rows {
        let step = S::ROWS.min(rows - done);
        let (mut x, mut y) = (*a, *out);
        x.rotate_left(done);
        y.rotate_left(done);
        // SAFETY: passed on; only the first `step` pointers are used.
        unsafe {
            match step {
                8 => multiply::<S, F, 8>(&x, panels, n, &y),
                7 => multiply::<S, F, 7>(&x, panels, n, &y),
                6 => multiply::<S, F, 6>(&x, panels, n, &y),
                5 => multiply::<S, F, 5>(&x, panels, n, &y),
                4 => multiply::<S, F, 4>(&x, panels, n, &y),
                3 => multiply::<S, F, 3>(&x, panels, n, &y),
                2 => multiply::<S, F, 2>(&x, panels, n, &y),
                _ => multiply::<S, F, 1>(&x, panels, n, &y),
            }
        }
        done += step;
    }
}

/// An element format panels can be read in directly.
pub(super) trait Panels {
    /// `LANES` elements from index `at` of a panel.
    unsafe fn load<S: Simd>(panel: *const u8, at: usize) -> S::V;
}

pub(super) struct Halves;
impl Panels for Halves {
    #[inline(always)]
    unsafe fn load<S: Simd>(panel: *const u8, at: usize) -> S::V {
        // SAFETY: inside the panel (caller).
        unsafe { S::load_f16(panel.cast::<u16>().add(at)) }
    }
}

pub(super) struct Floats;
impl Panels for Floats {
    #[inline(always)]
    unsafe fn load<S: Simd>(panel: *const u8, at: usize) -> S::V {
        // SAFETY: inside the panel (caller).
        unsafe { S::load(panel.cast::<f32>().add(at)) }
    }
}

/// Expands a `Q8` panel; `by_column` says whether the 32 scales belong to columns (keys) or rows (values).
#[inline(always)]
pub(super) unsafe fn expand(panel: *const u8, by_column: bool, out: *mut f32) {
    // SAFETY: a panel of `KvType::Q8` at `panel` and 1024 elements at `out` (caller).
    unsafe {
        let scales = panel.cast::<[u16; PANEL]>().read_unaligned().map(|bits| half::f16::from_bits(bits).to_f32());
        let codes = panel.add(2 * PANEL).cast::<[i8; PANEL]>();
        for i in 0..PANEL {
            let row = codes.add(i).read_unaligned();
            let scaled: [f32; PANEL] =
                std::array::from_fn(|c| f32::from(row[c]) * if by_column { scales[c] } else { scales[i] });
            out.cast::<[f32; PANEL]>().add(i).write_unaligned(scaled);
        }
    }
}
