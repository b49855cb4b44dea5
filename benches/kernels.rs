//! Speed of the native engine's matrix products on one core, by weight type and instruction set.
//!
//! ```text
//! cargo bench --bench kernels                       everything
//! cargo bench --bench kernels -- prefill/amx        one group and instruction set
//! cargo bench --bench kernels -- decode_bytes.*Q4_K one weight type
//! ```
//!
//! `prefill` and `decode` report multiply-adds per second, `decode_bytes` the same products in weight bytes read per
//! second, to be held against the machine's memory bandwidth. Decode runs over enough copies of the matrix to leave the
//! second-level cache; prefill reuses one, as the rows of a prompt do.
#![expect(unsafe_code, reason = "calls the kernels")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tierbench::engine::native::kernels::{
    ActFormat, ActRows, Arena, Isa, Out, PackedMatrix, Scratch, WeightType, matmul,
};

/// Inputs and outputs: whole blocks of every type, the scale of a small model's layer.
const K: usize = 1536;
const N: usize = 1536;

/// Weights of the decode working set: more than a second-level cache.
const DECODE_BYTES: usize = 64 << 20;

/// Copies of one matrix and the buffers of its product.
struct Problem {
    weights: Vec<PackedMatrix>,
    x: ActRows,
    scratch: Scratch,
    out: Vec<f32>,
    rows: usize,
}

impl Problem {
    fn new(isa: Isa, ty: WeightType, rows: usize, bytes: usize, format: ActFormat) -> Self {
        let fits = "the shape is valid and memory suffices";
        // Small codes and scales: speed does not depend on them, but infinities would be unusual.
        let data = vec![0x11; N * ty.row_bytes(K).expect(fits)];
        let size = PackedMatrix::bytes(ty, N, K).expect(fits);
        let copies = (bytes / size).max(1);
        let mut arena = Arena::with_capacity(copies * size).expect(fits);
        let weights: Vec<_> =
            (0..copies).map(|_| PackedMatrix::pack(&mut arena, ty, &data, N, K).expect(fits)).collect();
        let mut x = ActRows::new(isa, rows, K).expect(fits);
        x.prepare(rows, K, weights[0].act_format(format)).expect(fits);
        let input: Vec<f32> = (0..K).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
        for row in 0..rows {
            // SAFETY: no other thread knows of `x`.
            unsafe { x.quantize_row(row, &input) };
        }
        Self { weights, x, scratch: Scratch::new(isa, K).expect(fits), out: vec![0.0; rows * N], rows }
    }

    fn run(&mut self) {
        for w in &self.weights {
            let out = Out::store(self.out.as_mut_ptr(), N);
            // SAFETY: `out` has rows × N elements and everything is this thread's own.
            unsafe { matmul(w, &self.x, 0..self.rows, 0..N, out, &mut self.scratch) }.expect("the operands fit");
        }
        black_box(&self.out);
    }

    fn macs(&self) -> u64 {
        (self.weights.len() * self.rows * N * K) as u64
    }

    fn bytes(&self) -> u64 {
        self.weights.iter().map(|w| w.len_bytes() as u64).sum()
    }
}

fn each(mut run: impl FnMut(Isa, WeightType)) {
    for isa in Isa::ALL.into_iter().filter(|&isa| isa != Isa::Portable && isa.is_available()) {
        for ty in WeightType::ALL {
            run(isa, ty);
        }
    }
}

fn kernels(c: &mut Criterion) {
    let groups = [
        ("prefill", 512, 1, ActFormat::Q8),
        ("decode", 1, DECODE_BYTES, ActFormat::Q8),
        ("batch8", 8, DECODE_BYTES, ActFormat::Q8),
        ("batch8_q16", 8, DECODE_BYTES, ActFormat::Q16),
    ];
    for (name, rows, bytes, format) in groups {
        let mut group = c.benchmark_group(name);
        each(|isa, ty| {
            let mut problem = Problem::new(isa, ty, rows, bytes, format);
            group.throughput(Throughput::Elements(problem.macs()));
            group.bench_function(BenchmarkId::new(isa.name(), ty.name()), |b| b.iter(|| problem.run()));
        });
        group.finish();
    }
}

fn decode_bytes(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode_bytes");
    each(|isa, ty| {
        let mut problem = Problem::new(isa, ty, 1, DECODE_BYTES, ActFormat::Q8);
        group.throughput(Throughput::Bytes(problem.bytes()));
        group.bench_function(BenchmarkId::new(isa.name(), ty.name()), |b| b.iter(|| problem.run()));
    });
    group.finish();
}

fn quantize(c: &mut Criterion) {
    let mut group = c.benchmark_group("quantize");
    group.throughput(Throughput::Elements(K as u64));
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        group.bench_function(isa.name(), |b| {
            let mut x = ActRows::new(isa, 1, K).expect("memory suffices");
            x.prepare(1, K, ActFormat::Q8).expect("one row fits");
            let input: Vec<f32> = (0..K).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
            // SAFETY: no other thread knows of `x`.
            b.iter(|| unsafe { x.quantize_row(0, black_box(&input)) });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = kernels, decode_bytes, quantize
}
criterion_main!(benches);
