//! Numbers that are none, operands that do not fit, joined tensors, names.

use super::*;

#[test]
fn rows_of_several_tensors_are_one_matrix() {
    let mut random = Random(5);
    let (ty, k) = (WeightType::Q4_K, 256);
    let data = weights(ty, 48, k, &mut random);
    let bytes = ty.row_bytes(k).unwrap();
    let mut arena = Arena::with_capacity(1 << 16).unwrap();
    let parts = [(&data[..20 * bytes], 20), (&data[20 * bytes..], 28)];
    let joined = PackedMatrix::pack_rows(&mut arena, ty, &parts, k).unwrap();
    let whole = PackedMatrix::pack(&mut arena, ty, &data, 48, k).unwrap();
    let x: Vec<f32> = (0..k).map(|_| random.uniform()).collect();
    let isa = Isa::detect();
    assert_eq!(product(isa, &joined, &x, ActFormat::Q8), product(isa, &whole, &x, ActFormat::Q8));
}

#[test]
fn numbers_that_are_none_stay_in_their_row() {
    let mut random = Random(13);
    for ty in WeightType::ALL {
        let (n, k, m) = (16, 256, 20);
        let good = pack(ty, &weights(ty, n, k, &mut random), n, k);
        for bad in [f32::NAN, f32::INFINITY, f32::MIN_POSITIVE / 4.0, f32::MAX] {
            let mut x: Vec<f32> = (0..m * k).map(|_| random.uniform()).collect();
            x[3 * k + 40] = bad;
            for isa in available() {
                for format in formats(&good) {
                    let out = product(isa, &good, &x, format);
                    for (r, out) in out.chunks_exact(n).enumerate() {
                        if r == 3 && bad.is_nan() {
                            assert!(out.iter().all(|y| y.is_nan()), "{isa} {ty:?} {format:?}");
                        } else if r != 3 {
                            assert!(out.iter().all(|y| y.is_finite()), "{isa} {ty:?} {format:?}");
                        }
                    }
                }
            }
        }
        // Any bytes are weights: scales may be NaN or infinite.
        let bytes: Vec<u8> = (0..n * ty.row_bytes(k).unwrap()).map(|_| random.next() as u8 | 0x7C).collect();
        let wild = pack(ty, &bytes, n, k);
        for m in [1, 20] {
            let x = vec![1.0; m * k];
            for isa in available() {
                for format in formats(&wild) {
                    assert_eq!(product(isa, &wild, &x, format).len(), m * n);
                }
            }
        }
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let mut arena = Arena::with_capacity(4096).unwrap();
    let row = vec![0; 18 * 2];
    assert!(matches!(
        PackedMatrix::pack(&mut arena, WeightType::Q4_0, &row, 2, 33),
        Err(KernelError::BadShape { k: 33, .. })
    ));
    assert!(matches!(PackedMatrix::pack(&mut arena, WeightType::Q4_0, &row, 2, 0), Err(KernelError::BadShape { .. })));
    assert!(matches!(
        PackedMatrix::pack(&mut arena, WeightType::Q4_0, &row, 3, 32),
        Err(KernelError::ShortData { n: 3, bytes: 36, .. })
    ));
    assert!(PackedMatrix::bytes(WeightType::F32, usize::MAX, 1 << 20).is_err());
    let w = PackedMatrix::pack(&mut arena, WeightType::Q4_0, &row, 2, 32).unwrap();
    let mut x = ActRows::new(Isa::Portable, 2, 32).unwrap();
    assert!(matches!(x.prepare(1 << 20, 32, ActFormat::Q8), Err(KernelError::TooManyRows { .. })));
    assert!(matches!(x.prepare(1, 31, ActFormat::Q8), Err(KernelError::BadActivations { k: 31 })));
    x.prepare(2, 32, ActFormat::Q8).unwrap();
    let mut scratch = Scratch::new(Isa::Portable, 32).unwrap();
    let mut out = [0f32; 4];
    let mut run = |x: &ActRows, rows, outputs, scratch: &mut Scratch| {
        unsafe { matmul(&w, x, rows, outputs, Out::store(out.as_mut_ptr(), 2), scratch) }.is_err()
    };
    assert!(!run(&x, 0..2, 0..2, &mut scratch));
    assert!(run(&x, 0..3, 0..2, &mut scratch), "rows");
    assert!(run(&x, 0..2, 0..3, &mut scratch), "outputs");
    assert!(run(&x, 0..2, 1..2, &mut scratch), "not a tile");
    x.prepare(1, 64, ActFormat::Q8).unwrap();
    assert!(run(&x, 0..1, 0..2, &mut scratch), "k");
    x.prepare(1, 32, ActFormat::F32).unwrap();
    assert!(run(&x, 0..1, 0..2, &mut Scratch::new(Isa::Portable, 16).unwrap()), "scratch");
}

#[test]
fn instruction_sets_have_names() {
    for isa in Isa::ALL {
        assert_eq!(Isa::parse(isa.name()), Some(isa));
    }
    assert_eq!(Isa::parse("avx512"), Some(Isa::Avx512Vnni));
    assert_eq!(Isa::parse("sse9"), None);
    assert!(Isa::detect().is_available());
}
