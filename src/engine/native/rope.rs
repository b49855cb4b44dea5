//! Rotary position embedding: angles in f64, their sines and cosines in f32.

use crate::engine::EngineError;

/// Angular frequencies of one kind of layer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rotation {
    /// Radians per position, of each pair of dimensions.
    frequencies: Vec<f64>,
}

impl Rotation {
    /// `base^(−2i / n_rot) / (factor · factors[i])` for each pair `i`. `factors` is the tensor `rope_freqs.weight` of
    /// Llama 3.1 and later.
    ///
    /// # Errors
    /// [`EngineError::BadModel`] for a factor that is not a positive number.
    pub(super) fn new(n_rot: usize, base: f64, factor: f64, factors: Option<&[f32]>) -> Result<Self, EngineError> {
        let frequencies = (0..n_rot / 2).map(|i| {
            let own = factors.map_or(1.0, |f| f64::from(f[i]));
            base.powf(-2.0 * i as f64 / n_rot as f64) / (factor * own)
        });
        let frequencies: Vec<f64> = frequencies.collect();
        match frequencies.iter().find(|f| !(f.is_finite() && **f > 0.0)) {
            Some(bad) => Err(EngineError::BadModel(format!("rope_freqs.weight: a frequency of {bad}"))),
            None => Ok(Self { frequencies }),
        }
    }

    /// Cosines and sines of the angles at a position.
    pub(super) fn angles(&self, pos: u32, cos: &mut [f32], sin: &mut [f32]) {
        for ((c, s), f) in cos.iter_mut().zip(sin).zip(&self.frequencies) {
            let (sine, cosine) = (f64::from(pos) * f).sin_cos();
            (*c, *s) = (cosine as f32, sine as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_follow_the_formula_far_out() {
        let rotation = Rotation::new(64, 1e5, 2.0, Some(&[4.0; 32])).unwrap();
        let (mut cos, mut sin) = ([0.0; 32], [0.0; 32]);
        rotation.angles(100_000, &mut cos, &mut sin);
        for i in 0..32 {
            let angle = 100_000.0 * 1e5f64.powf(-(i as f64) / 32.0) / 8.0;
            assert!((f64::from(cos[i]) - angle.cos()).abs() < 1e-7 && (f64::from(sin[i]) - angle.sin()).abs() < 1e-7);
        }
    }

    #[test]
    fn a_zero_factor_is_refused() {
        assert!(Rotation::new(4, 1e4, 1.0, Some(&[1.0, 0.0])).is_err());
        assert!(Rotation::new(4, 1e4, 1.0, Some(&[1.0, f32::NAN])).is_err());
    }
}
