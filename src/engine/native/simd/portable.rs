//! [`Simd`] in plain Rust: eight lanes the compiler may or may not put into registers.
#![expect(
    unsafe_code,
    reason = "implements an unsafe trait; the only unsafe operations are unaligned reads and writes"
)]

use super::Simd;

/// Plain Rust.
#[derive(Clone, Copy)]
pub(in crate::engine::native) struct Portable;

type V = [f32; 8];

#[inline(always)]
fn zip(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    std::array::from_fn(|i| f(a[i], b[i]))
}

// SAFETY: no instruction set beyond the target's is used; pointers are read and written for eight elements only.
unsafe impl Simd for Portable {
    type V = V;
    const LANES: usize = 8;
    const ROWS: usize = 2;

    #[inline(always)]
    unsafe fn splat(x: f32) -> V {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> V {
        // SAFETY: valid for eight elements (caller).
        unsafe { p.cast::<V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: V) {
        // SAFETY: valid for eight elements (caller).
        unsafe { p.cast::<V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> V {
        // SAFETY: valid for eight elements (caller).
        let bits = unsafe { p.cast::<[u16; 8]>().read_unaligned() };
        bits.map(|b| half::f16::from_bits(b).to_f32())
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut u16, v: V) {
        // SAFETY: valid for eight elements (caller).
        unsafe { p.cast::<[u16; 8]>().write_unaligned(v.map(|x| half::f16::from_f32(x).to_bits())) }
    }
    #[inline(always)]
    unsafe fn add(a: V, b: V) -> V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: V, b: V) -> V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: V, b: V) -> V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: V, b: V) -> V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn mul_add(a: V, b: V, c: V) -> V {
        // Not fused: without the instruction, `f32::mul_add` is a library call.
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn max(a: V, b: V) -> V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: V, b: V) -> V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn round(v: V) -> V {
        // Adding and subtracting 1.5 · 2^23 rounds to nearest even for |x| < 2^22, without a library call.
        v.map(|x| (x + 12_582_912.0) - 12_582_912.0)
    }
    #[inline(always)]
    unsafe fn scale2(v: V, n: V) -> V {
        zip(v, n, |v, n| v * f32::from_bits(((n as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn zero_where_below(v: V, x: V, limit: V) -> V {
        std::array::from_fn(|i| if x[i] < limit[i] { 0.0 } else { v[i] })
    }
    #[inline(always)]
    unsafe fn sum(v: V) -> f32 {
        ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]))
    }
    #[inline(always)]
    unsafe fn max_lane(v: V) -> f32 {
        v.into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
    }
}
