//! From stored rows to `f32` and back, for every supported format.

use super::{blocks, k_blocks};
use crate::model::gguf::GgmlType;

/// Decodes whole blocks: `bytes` holds `out.len()` weights of `ty`. `None` for a format without an implementation or
/// lengths that do not fit.
pub(crate) fn decode(ty: GgmlType, bytes: &[u8], out: &mut [f32]) -> Option<()> {
    match ty {
        GgmlType::F32 => decode_blocks(bytes, out, blocks::decode_f32),
        GgmlType::F16 => decode_blocks(bytes, out, blocks::decode_f16),
        GgmlType::Bf16 => decode_blocks(bytes, out, blocks::decode_bf16),
        GgmlType::Q4_0 => decode_blocks(bytes, out, blocks::decode_q4_0),
        GgmlType::Q4_1 => decode_blocks(bytes, out, blocks::decode_q4_1),
        GgmlType::Q5_0 => decode_blocks(bytes, out, blocks::decode_q5_0),
        GgmlType::Q5_1 => decode_blocks(bytes, out, blocks::decode_q5_1),
        GgmlType::Q8_0 => decode_blocks(bytes, out, blocks::decode_q8_0),
        GgmlType::Q2K => decode_blocks(bytes, out, k_blocks::decode_q2_k),
        GgmlType::Q3K => decode_blocks(bytes, out, k_blocks::decode_q3_k),
        GgmlType::Q4K => decode_blocks(bytes, out, k_blocks::decode_q4_k),
        GgmlType::Q5K => decode_blocks(bytes, out, k_blocks::decode_q5_k),
        GgmlType::Q6K => decode_blocks(bytes, out, k_blocks::decode_q6_k),
        _ => None,
    }
}

/// Encodes whole blocks of finite weights. `None` for a format without an implementation or lengths that do not fit.
pub(crate) fn encode(ty: GgmlType, x: &[f32], bytes: &mut [u8]) -> Option<()> {
    match ty {
        GgmlType::F32 => encode_blocks(x, bytes, blocks::encode_f32),
        GgmlType::F16 => encode_blocks(x, bytes, blocks::encode_f16),
        GgmlType::Bf16 => encode_blocks(x, bytes, blocks::encode_bf16),
        GgmlType::Q4_0 => encode_blocks(x, bytes, blocks::encode_q4_0),
        GgmlType::Q4_1 => encode_blocks(x, bytes, blocks::encode_q4_1),
        GgmlType::Q5_0 => encode_blocks(x, bytes, blocks::encode_q5_0),
        GgmlType::Q5_1 => encode_blocks(x, bytes, blocks::encode_q5_1),
        GgmlType::Q8_0 => encode_blocks(x, bytes, blocks::encode_q8_0),
        GgmlType::Q2K => encode_blocks(x, bytes, k_blocks::encode_q2_k),
        GgmlType::Q3K => encode_blocks(x, bytes, k_blocks::encode_q3_k),
        GgmlType::Q4K => encode_blocks(x, bytes, k_blocks::encode_q4_k),
        GgmlType::Q5K => encode_blocks(x, bytes, k_blocks::encode_q5_k),
        GgmlType::Q6K => encode_blocks(x, bytes, k_blocks::encode_q6_k),
        _ => None,
    }
}

fn decode_blocks<const B: usize, const W: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; B], &mut [f32; W]),
) -> Option<()> {
    let ((blocks, []), (groups, [])) = (bytes.as_chunks::<B>(), out.as_chunks_mut::<W>()) else { return None };
    if blocks.len() != groups.len() {
        return None;
    }
    blocks.iter().zip(groups).for_each(|(block, group)| decode(block, group));
    Some(())
}

fn encode_blocks<const B: usize, const W: usize>(
    x: &[f32],
    bytes: &mut [u8],
    encode: impl Fn(&[f32; W], &mut [u8; B]),
) -> Option<()> {
    let ((groups, []), (blocks, [])) = (x.as_chunks::<W>(), bytes.as_chunks_mut::<B>()) else { return None };
    if blocks.len() != groups.len() {
        return None;
    }
    groups.iter().zip(blocks).for_each(|(group, block)| encode(group, block));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::quantized::{GgmlDType, QStorage, QTensor};
    use candle_core::{Device, Tensor};
    use std::borrow::Cow;

    const PAIRS: [(GgmlType, GgmlDType); 13] = [
        (GgmlType::F32, GgmlDType::F32),
        (GgmlType::F16, GgmlDType::F16),
        (GgmlType::Bf16, GgmlDType::BF16),
        (GgmlType::Q4_0, GgmlDType::Q4_0),
        (GgmlType::Q4_1, GgmlDType::Q4_1),
        (GgmlType::Q5_0, GgmlDType::Q5_0),
        (GgmlType::Q5_1, GgmlDType::Q5_1),
        (GgmlType::Q8_0, GgmlDType::Q8_0),
        (GgmlType::Q2K, GgmlDType::Q2K),
        (GgmlType::Q3K, GgmlDType::Q3K),
        (GgmlType::Q4K, GgmlDType::Q4K),
        (GgmlType::Q5K, GgmlDType::Q5K),
        (GgmlType::Q6K, GgmlDType::Q6K),
    ];

    /// Weights as models have them: bell-shaped, a few outliers, a stretch of zeros.
    fn weights(n: usize) -> Vec<f32> {
        let mut state = 42_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        let bell = |i: usize, x: f32| {
            if i.is_multiple_of(97) {
                x * 9.0
            } else if (512..600).contains(&i) {
                0.0
            } else {
                x
            }
        };
        (0..n).map(|i| bell(i, (uniform() + uniform() + uniform() + uniform()) * 0.05)).collect()
    }

    fn encoded(ty: GgmlType, x: &[f32]) -> Vec<u8> {
        let mut bytes = vec![0; ty.bytes_for(x.len() as u64).unwrap() as usize];
        encode(ty, x, &mut bytes).unwrap();
        bytes
    }

    fn error(ty: GgmlType, x: &[f32], bytes: &[u8]) -> f64 {
        let mut back = vec![0.0; x.len()];
        decode(ty, bytes, &mut back).unwrap();
        let squares = |v: &mut dyn Iterator<Item = f32>| v.map(|d| f64::from(d) * f64::from(d)).sum::<f64>();
        let errors = squares(&mut x.iter().zip(&back).map(|(a, b)| a - b));
        (errors / squares(&mut x.iter().copied())).sqrt()
    }

    #[test]
    fn decoding_equals_candle_bit_for_bit() {
        for (ty, theirs) in PAIRS {
            let x = weights(2048);
            let bytes = encoded(ty, &x);
            let mut ours = vec![0.0; x.len()];
            decode(ty, &bytes, &mut ours).unwrap();
            let storage = QStorage::from_data(Cow::Owned(bytes), &Device::Cpu, theirs).unwrap();
            let tensor = QTensor::new(storage, x.len()).unwrap().dequantize(&Device::Cpu).unwrap();
            assert_eq!(ours, tensor.to_vec1::<f32>().unwrap(), "{ty}");
        }
    }

    #[test]
    fn the_error_falls_with_the_bits_and_is_no_larger_than_candles() {
        let x = weights(1 << 15);
        // Relative root-mean-square error each format stays under on such weights.
        let bounds = [0.0, 3e-4, 3e-3, 0.16, 0.16, 0.09, 0.09, 0.012, 0.60, 0.36, 0.16, 0.09, 0.05];
        let tensor = Tensor::from_slice(&x, x.len(), &Device::Cpu).unwrap();
        for ((ty, theirs), bound) in PAIRS.into_iter().zip(bounds) {
            let ours = error(ty, &x, &encoded(ty, &x));
            assert!(ours <= bound, "{ty}: {ours}");
            let candle = QTensor::quantize(&tensor, theirs).unwrap();
            let candle = error(ty, &x, &candle.data().unwrap());
            assert!(ours <= candle * 1.1 + 1e-9, "{ty}: ours {ours}, candle's {candle}");
        }
    }

    #[test]
    fn extremes_do_not_panic_and_zeros_stay_zero() {
        for (ty, _) in PAIRS {
            assert!(error(ty, &[1.0; 256], &encoded(ty, &[1.0; 256])) < 0.05, "{ty}");
            let mut back = [1.0; 256];
            decode(ty, &encoded(ty, &[0.0; 256]), &mut back).unwrap();
            assert!(back.iter().all(|&v| v == 0.0), "{ty}");
            for x in [f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::NAN, f32::INFINITY] {
                encoded(ty, &[x; 256]);
                encoded(ty, &std::array::from_fn::<_, 256, _>(|i| if i % 2 == 0 { x } else { 1.0 }));
            }
        }
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        assert_eq!(decode(GgmlType::Q4K, &[0; 144], &mut [0.0; 255]), None);
        assert_eq!(decode(GgmlType::Q4K, &[0; 288], &mut [0.0; 256]), None);
        assert_eq!(encode(GgmlType::Q8_0, &[0.0; 32], &mut [0; 33]), None);
        assert_eq!(decode(GgmlType::Mxfp4, &[0; 17], &mut [0.0; 32]), None);
    }
}
