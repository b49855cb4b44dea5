//! Every kernel against an f64 product of the dequantized weights, with all operands between guard pages.
#![expect(unsafe_code, reason = "calls the kernels")]

use std::ops::Range;

use proptest::prelude::*;

use super::activations::IntRow;
use super::memory::Memory;
use super::memory::guard::{self, Side};
use super::*;

mod edges;

/// xorshift64*: reproducible bytes without a dependency.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

fn small_half(bytes: &mut [u8], random: &mut Random) {
    bytes.copy_from_slice(&half::f16::from_f32(0.05 * random.uniform()).to_le_bytes());
}

/// `rows` rows of `k` weights: any codes, scales of moderate size.
fn weights(ty: WeightType, rows: usize, k: usize, random: &mut Random) -> Vec<u8> {
    let mut data: Vec<u8> =
        (0..rows * ty.row_bytes(k).expect("k is whole blocks")).map(|_| (random.next() >> 33) as u8).collect();
    for block in data.chunks_exact_mut(ty.block_bytes()) {
        match ty {
            WeightType::F16 => small_half(block, random),
            WeightType::Q4_0 | WeightType::Q5_0 | WeightType::Q8_0 => small_half(&mut block[..2], random),
            WeightType::Q4_1 | WeightType::Q5_1 | WeightType::Q4_K | WeightType::Q5_K => {
                small_half(&mut block[..2], random);
                small_half(&mut block[2..4], random);
            }
            WeightType::Q2_K => {
                small_half(&mut block[80..82], random);
                small_half(&mut block[82..84], random);
            }
            WeightType::Q3_K => small_half(&mut block[108..], random),
            WeightType::Q6_K => small_half(&mut block[208..], random),
            WeightType::F32 => block.copy_from_slice(&random.uniform().to_le_bytes()),
            WeightType::BF16 => block.copy_from_slice(&random.uniform().to_le_bytes()[2..]),
        }
    }
    data
}

fn pack(ty: WeightType, data: &[u8], n: usize, k: usize) -> PackedMatrix {
    let mut arena = Arena::with_capacity(PackedMatrix::bytes(ty, n, k).unwrap()).unwrap();
    PackedMatrix::pack(&mut arena, ty, data, n, k).unwrap()
}

fn activations(isa: Isa, x: &[f32], k: usize, format: ActFormat) -> ActRows {
    let rows = x.len() / k;
    let mut acts = ActRows::new(isa, rows, k).unwrap();
    acts.prepare(rows, k, format).unwrap();
    let input = Memory::zeroed(4 * k).unwrap();
    let input = unsafe { std::slice::from_raw_parts_mut(input.start().cast::<f32>(), k) };
    for (r, x) in x.chunks_exact(k).enumerate() {
        input.copy_from_slice(x);
        unsafe { acts.quantize_row(r, input) };
    }
    acts
}

/// The product of some rows with some outputs; everything else stays 0.
fn part(w: &PackedMatrix, acts: &ActRows, rows: Range<usize>, outputs: Range<usize>) -> Vec<f32> {
    let mut scratch = Scratch::new(acts.isa(), w.k()).unwrap();
    let out = Memory::zeroed(4 * acts.rows() * w.n()).unwrap();
    let start = out.start().cast::<f32>();
    unsafe {
        matmul(w, acts, rows, outputs, Out::store(start, w.n()), &mut scratch).unwrap();
        std::slice::from_raw_parts(start, acts.rows() * w.n()).to_vec()
    }
}

fn product(isa: Isa, w: &PackedMatrix, x: &[f32], format: ActFormat) -> Vec<f32> {
    let acts = activations(isa, x, w.k(), format);
    part(w, &acts, 0..acts.rows(), 0..w.n())
}

/// What the product should be, in f64, and the sum of absolute terms its error is measured against.
fn oracle(ty: WeightType, data: &[u8], x: &[f32], n: usize, k: usize) -> Vec<(f64, f64)> {
    let mut row = vec![0f32; k];
    let mut out = vec![(0.0, 0.0); x.len() / k * n];
    for o in 0..n {
        dequantize_row(ty, data, o, &mut row).unwrap();
        for (r, x) in x.chunks_exact(k).enumerate() {
            let terms = row.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x));
            out[r * n + o] = terms.fold((0.0, 0.0), |(sum, abs), t| (sum + t, abs + t.abs()));
        }
    }
    out
}

/// Bytes per activation of an integer format.
fn parts(format: ActFormat) -> usize {
    if format == ActFormat::Q8 { 1 } else { 2 }
}

/// The activations as quantization leaves them.
fn rounded(x: &[f32], k: usize, format: ActFormat) -> Vec<f32> {
    let acts = activations(Isa::Portable, x, k, format);
    let at = IntRow::new(k, parts(format));
    let mut out = Vec::with_capacity(x.len());
    for r in 0..acts.rows() {
        for c in 0..k {
            let row = acts.row(r);
            let byte = |at: usize| f32::from(unsafe { *row.add(at + c).cast::<i8>() });
            let code = if format == ActFormat::Q8 { byte(0) } else { 256.0 * byte(0) + byte(at.low) };
            out.push(code * unsafe { row.add(at.scale + c / 32 * 4).cast::<f32>().read_unaligned() });
        }
    }
    out
}

const INTEGERS: [ActFormat; 2] = [ActFormat::Q8, ActFormat::Q16];

/// The formats weights of a type are multiplied with.
fn formats(w: &PackedMatrix) -> impl Iterator<Item = ActFormat> {
    let integers = INTEGERS.into_iter().filter(|_| !w.weight_type().is_float());
    std::iter::once(ActFormat::F32).chain(integers)
}

fn available() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

/// Whether products of this many rows round both operands to one bfloat16.
fn is_bf16(isa: Isa, format: ActFormat, rows: usize) -> bool {
    isa == Isa::Amx && format != ActFormat::F32 && rows >= AMX_MIN_ROWS
}

/// Compares every kernel with the oracle on one random problem.
fn check(ty: WeightType, n: usize, k: usize, m: usize, seed: u64) {
    let mut random = Random(seed);
    let data = weights(ty, n, k, &mut random);
    let w = pack(ty, &data, n, k);
    let x: Vec<f32> = (0..m * k).map(|_| random.uniform()).collect();
    let exact = oracle(ty, &data, &x, n, k);
    let mut formats = vec![(ActFormat::F32, exact.clone())];
    if !ty.is_float() {
        formats.extend(INTEGERS.map(|format| (format, oracle(ty, &data, &rounded(&x, k, format), n, k))));
    }
    for isa in available() {
        for (format, expected) in &formats {
            let out = product(isa, &w, &x, *format);
            // Two roundings to bfloat16, 2⁻⁹ each; else f32 sums, or three products of 16-bit mantissas.
            let (expected, tolerance) =
                if is_bf16(isa, *format, m) { (&exact, 1.0 / 256.0) } else { (expected, 1.6e-5) };
            for (i, (&got, &(want, abs))) in out.iter().zip(expected).enumerate() {
                let error = (f64::from(got) - want).abs();
                // Minima add terms larger than the weights they leave.
                assert!(
                    error <= tolerance * abs + 2e-5,
                    "{isa} {ty:?} {format:?} n={n} k={k} m={m} [{i}]: {got} for {want}"
                );
            }
        }
    }
}

#[test]
fn packed_rows_dequantize_to_the_files_own() {
    let mut random = Random(7);
    for ty in WeightType::ALL {
        let (n, k) = (19, 768);
        let data = weights(ty, n, k, &mut random);
        let w = pack(ty, &data, n, k);
        let (mut packed, mut file) = (vec![0f32; k], vec![0f32; k]);
        for row in 0..n {
            w.dequantize_row(row, &mut packed).unwrap();
            dequantize_row(ty, &data, row, &mut file).unwrap();
            assert_eq!(packed, file, "{ty:?}");
        }
        assert!(w.dequantize_row(n, &mut packed).is_none());
        assert!(dequantize_row(ty, &data, n, &mut file).is_none());
    }
}

#[test]
fn packed_weights_keep_the_files_size() {
    for ty in WeightType::ALL {
        let (n, k) = (4096, 2048);
        let ratio = PackedMatrix::bytes(ty, n, k).unwrap() as f64 / (n * ty.row_bytes(k).unwrap()) as f64;
        assert!((0.99..1.05).contains(&ratio), "{ty:?}: {ratio}");
    }
}

#[test]
fn nothing_outside_the_operands_is_touched() {
    for side in [Side::Before, Side::After] {
        guard::with(side, || {
            for ty in WeightType::ALL {
                let ks: &[usize] = match ty.block() {
                    256 => &[256, 768],
                    32 => &[32, 96],
                    _ => &[1, 33, 64],
                };
                for &k in ks {
                    for (n, m) in [(16, 1), (37, 3), (1, 17), (37, 33)] {
                        check(ty, n, k, m, 11);
                    }
                }
            }
        });
    }
}

#[test]
fn a_row_has_the_same_bits_in_any_company() {
    let mut random = Random(3);
    for ty in WeightType::ALL {
        let (n, k, m) = (53, 512, 40);
        let data = weights(ty, n, k, &mut random);
        let w = pack(ty, &data, n, k);
        let x: Vec<f32> = (0..m * k).map(|_| random.uniform()).collect();
        for isa in available() {
            for format in formats(&w) {
                let acts = activations(isa, &x, k, format);
                let whole = part(&w, &acts, 0..m, 0..n);
                // Fewest rows first prepared alone, then a range of many.
                let few = if isa == Isa::Amx { AMX_MIN_ROWS } else { 1 };
                let alone = product(isa, &w, &x[..few * k], format);
                assert_eq!(alone, whole[..few * n], "{isa} {ty:?} {format:?}");
                for rows in [0..1, 5..13, 17..20, 33..40] {
                    for outputs in [0..16, 16..48, 48..53, 32..53] {
                        let out = part(&w, &acts, rows.clone(), outputs.clone());
                        for r in 0..m {
                            for o in 0..n {
                                let inside = rows.contains(&r) && outputs.contains(&o);
                                let want = if inside { whole[r * n + o] } else { 0.0 };
                                assert_eq!(
                                    out[r * n + o].to_bits(),
                                    want.to_bits(),
                                    "{isa} {ty:?} {rows:?} {outputs:?}"
                                );
                            }
                        }
                    }
                }
            }
        }
        if Isa::Avx512Vnni.is_available() {
            for format in formats(&w) {
                let [a, b] = [Isa::Avx2, Isa::Avx512Vnni].map(|isa| product(isa, &w, &x, format));
                assert_eq!(a, b, "{ty:?} {format:?}");
            }
        }
        if Isa::Amx.is_available() {
            // Below AMX_MIN_ROWS tiles may multiply integers: the same ones.
            for m in 1..AMX_MIN_ROWS {
                for format in formats(&w) {
                    let [a, b] = [Isa::Amx, Isa::Avx512Vnni].map(|isa| product(isa, &w, &x[..m * k], format));
                    assert_eq!(a, b, "{ty:?} {format:?} {m} rows");
                }
            }
        }
    }
}

#[test]
fn residuals_are_added() {
    let mut random = Random(9);
    let (ty, n, k) = (WeightType::Q5_1, 21, 64);
    let data = weights(ty, n, k, &mut random);
    let w = pack(ty, &data, n, k);
    for m in [1, 20] {
        let x: Vec<f32> = (0..m * k).map(|_| random.uniform()).collect();
        for isa in available() {
            let acts = activations(isa, &x, k, ActFormat::Q8);
            let stored = part(&w, &acts, 0..m, 0..n);
            let mut out = vec![1.5f32; m * n];
            let mut scratch = Scratch::new(isa, k).unwrap();
            unsafe { matmul(&w, &acts, 0..m, 0..n, Out::add(out.as_mut_ptr(), n), &mut scratch).unwrap() };
            for (added, stored) in out.iter().zip(&stored) {
                assert_eq!(*added, 1.5 + stored, "{isa}");
            }
        }
    }
}

#[test]
fn bfloat16_tiles_are_closer_to_exact_than_8_bit_activations() {
    if !Isa::Amx.is_available() {
        eprintln!("skipped: no AMX");
        return;
    }
    let mut random = Random(21);
    for ty in WeightType::ALL.into_iter().filter(|ty| !ty.is_float()) {
        let (n, k, m) = (64, 512, 32);
        let data = weights(ty, n, k, &mut random);
        let w = pack(ty, &data, n, k);
        let x: Vec<f32> = (0..m * k).map(|_| random.uniform()).collect();
        let exact = oracle(ty, &data, &x, n, k);
        let [tiles, integers] = [Isa::Amx, Isa::Avx512Vnni].map(|isa| {
            let out = product(isa, &w, &x, ActFormat::Q8);
            out.iter().zip(&exact).map(|(&got, &(want, _))| (f64::from(got) - want).powi(2)).sum::<f64>()
        });
        assert!(tiles < integers, "{ty:?}: squared error {tiles} and {integers}");
    }
}

#[test]
fn instruction_sets_quantize_activations_alike() {
    let mut random = Random(31);
    for k in [32, 96, 128, 576, 1056] {
        let mut x: Vec<f32> = (0..k).map(|_| random.uniform() * 10f32.powi((random.next() % 9) as i32 - 4)).collect();
        x[..16].fill(0.0);
        if k > 128 {
            x[64..96].fill(0.0);
        }
        for format in INTEGERS {
            let row = IntRow::new(k, parts(format)).stride;
            let bytes = |acts: &ActRows| unsafe { std::slice::from_raw_parts(acts.row(0), row) }.to_vec();
            let expected = bytes(&activations(Isa::Portable, &x, k, format));
            for isa in available() {
                let mut acts = activations(isa, &x, k, format);
                assert!(bytes(&acts) == expected, "{isa} {format:?} k={k}");
                // Again in parts, the last first.
                acts.prepare(1, k, format).unwrap();
                for start in (0..k).step_by(ACT_BLOCK).rev() {
                    unsafe { acts.quantize_part(0, start, &x[start..start + ACT_BLOCK]) };
                }
                assert!(bytes(&acts) == expected, "{isa} {format:?} k={k} in parts");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn products_are_those_of_the_dequantized_weights(
        ty in prop::sample::select(WeightType::ALL.to_vec()),
        n in 1usize..70,
        blocks in 1usize..5,
        tail in 0usize..31,
        m in 1usize..50,
        seed in 1u64..,
    ) {
        let k = if ty.is_float() { 32 * blocks + tail } else { ty.block() * blocks };
        check(ty, n, k, m, seed);
    }
}
