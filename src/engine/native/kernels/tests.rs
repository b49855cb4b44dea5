//! Every kernel against an f64 product of the dequantized weights, with all operands between guard pages.
#![expect(unsafe_code, reason = "calls the kernels")]

use std::ops::Range;

use super::*;

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

/// The product of some rows with some outputs; everything else stays NaN.
fn product(
    isa: Isa,
    w: &PackedMatrix,
    x: &[f32],
    format: ActFormat,
    rows: Range<usize>,
    outputs: Range<usize>,
) -> Vec<f32> {
    let (n, k) = (w.n(), w.k());
    let m = x.len() / k;
    let mut acts = ActRows::new(isa, m, k).unwrap();
    acts.prepare(m, k, format).unwrap();
    for (r, x) in x.chunks_exact(k).enumerate() {
        unsafe { acts.quantize_row(r, x) };
    }
    let mut scratch = Scratch::new(isa, k).unwrap();
    let mut out = vec![f32::NAN; m * n];
    unsafe { matmul(w, &acts, rows, outputs, Out::store(out.as_mut_ptr(), n), &mut scratch).unwrap() };
    out
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

fn available() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

#[test]
fn products_are_those_of_the_dequantized_weights() {
    let mut random = Random(0x9E37_79B9);
    for ty in WeightType::ALL {
        let (n, k) = (37, if ty.block() == 256 { 512 } else { 96 });
        let data = weights(ty, n, k, &mut random);
        let w = pack(ty, &data, n, k);
        for m in [1, 2, 3, 7, 16, 19, 40] {
            let x: Vec<f32> = (0..m * k).map(|_| random.uniform()).collect();
            let expected = oracle(ty, &data, &x, n, k);
            for isa in available() {
                for format in [ActFormat::F32, w.act_format(ActFormat::Q8)] {
                    let out = product(isa, &w, &x, format, 0..m, 0..n);
                    // Q8: half a step of 1/127 per element; F32: rounding of sums, or of two bfloat16 parts.
                    let tolerance = if format == ActFormat::Q8 { 0.5 / 127.0 * 2.0 } else { 3e-5 };
                    for (i, (&got, &(want, abs))) in out.iter().zip(&expected).enumerate() {
                        let error = (f64::from(got) - want).abs();
                        assert!(
                            error <= tolerance * abs + 1e-6,
                            "{isa} {ty:?} {format:?} m={m} [{i}]: {got} for {want}"
                        );
                    }
                }
            }
        }
    }
}
