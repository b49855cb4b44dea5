//! Order statistics. [`Sorted`] is the only way to a percentile, so that an unsorted one cannot be written.

/// A sample in ascending order: not empty, every value finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Sorted(Vec<f64>);

impl Sorted {
    /// Sorts a copy of the sample; `None` if it is empty or holds a NaN or an infinity.
    #[must_use]
    pub fn new(samples: &[f64]) -> Option<Self> {
        Self::from_vec(samples.to_vec())
    }

    /// Sorts the sample in place; `None` if it is empty or holds a NaN or an infinity.
    #[must_use]
    pub fn from_vec(mut samples: Vec<f64>) -> Option<Self> {
        if samples.is_empty() || samples.iter().any(|x| !x.is_finite()) {
            return None;
        }
        samples.sort_unstable_by(f64::total_cmp);
        Some(Self(samples))
    }

    /// The values, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[f64] {
        &self.0
    }

    /// Smallest value.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.0[0]
    }

    /// Largest value.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// Quantile by linear interpolation (Hyndman and Fan type 7, the default of R and NumPy): with
    /// h = (n - 1)p, `x[floor h] + (h - floor h)(x[floor h + 1] - x[floor h])`. `p` is clamped to [0, 1].
    #[must_use]
    pub fn quantile(&self, p: f64) -> f64 {
        let last = self.0.len() - 1;
        let h = last as f64 * p.clamp(0.0, 1.0);
        // A NaN `p` saturates to index 0 here instead of panicking.
        let below = (h.floor() as usize).min(last);
        let above = (below + 1).min(last);
        let share = if h.is_finite() { h - below as f64 } else { 0.0 };
        self.0[below] + share * (self.0[above] - self.0[below])
    }

    /// Quantile by nearest rank, always a value of the sample: `x[ceil(p n) - 1]`. Used for latency percentiles and
    /// bootstrap ends. `p` is clamped to [0, 1].
    #[must_use]
    pub fn nearest_rank(&self, p: f64) -> f64 {
        self.0[nearest_rank(self.0.len(), p)]
    }

    /// Median: the middle value, or the mean of the two middle values.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

/// Zero-based nearest rank, `ceil(p n) - 1`. The small subtrahend keeps 0.025 · 10000, which is 250.00000000000003 when
/// 0.025 comes from (1 - 0.95)/2, at rank 250.
pub(super) fn nearest_rank(n: usize, p: f64) -> usize {
    let rank = (p.clamp(0.0, 1.0) * n as f64 - 1e-9).ceil();
    (rank as usize).clamp(1, n) - 1
}

/// Quantiles of whole numbers by nearest rank, as [`Sorted::nearest_rank`] takes them, without sorting all of them: `p`
/// ascends. `None` for an empty sample.
#[must_use]
pub fn nearest_ranks<const P: usize>(samples: &mut [u64], p: [f64; P]) -> Option<[u64; P]> {
    let n = samples.len();
    let (mut ranks, mut passed) = ([0; P], 0);
    for (rank, &p) in ranks.iter_mut().zip(&p) {
        // What lies before an earlier rank is smaller.
        let rest = samples.get_mut(passed..).filter(|rest| !rest.is_empty())?;
        let place = nearest_rank(n, p).max(passed);
        *rank = *rest.select_nth_unstable(place - passed).1;
        passed = place;
    }
    Some(ranks)
}

/// Median of a sample; `None` if it is empty or holds a non-finite value.
#[must_use]
pub fn median(samples: &[f64]) -> Option<f64> {
    Sorted::new(samples).map(|s| s.median())
}

/// Location and spread of a sample, as printed beside the headline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Number of values.
    pub n: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation, sqrt(Σ(x - mean)²/(n - 1)), as llama-bench prints it; `None` for one value.
    pub stddev: Option<f64>,
    /// Smallest value.
    pub min: f64,
    /// Median.
    pub median: f64,
    /// Largest value.
    pub max: f64,
}

impl Summary {
    /// Summarizes a sample; `None` if it is empty or holds a non-finite value.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let sorted = Sorted::new(samples)?;
        Some(Self {
            n: samples.len(),
            mean: mean(samples)?,
            stddev: variance(samples).map(f64::sqrt),
            min: sorted.min(),
            median: sorted.median(),
            max: sorted.max(),
        })
    }
}

/// Arithmetic mean; `None` for an empty sample.
#[must_use]
pub fn mean(samples: &[f64]) -> Option<f64> {
    (!samples.is_empty()).then(|| samples.iter().sum::<f64>() / samples.len() as f64)
}

/// Sample variance, Σ(x - mean)²/(n - 1), in two passes; `None` for fewer than two values.
#[must_use]
pub fn variance(samples: &[f64]) -> Option<f64> {
    let mean = mean(samples)?;
    let squares: f64 = samples.iter().map(|x| (x - mean).powi(2)).sum();
    (samples.len() > 1).then(|| squares / (samples.len() - 1) as f64)
}

/// Geometric mean, exp(mean(ln x)); `None` unless every value is positive and there is at least one.
#[must_use]
pub fn geometric_mean(samples: &[f64]) -> Option<f64> {
    if samples.iter().any(|&x| x.is_nan() || x <= 0.0) {
        return None;
    }
    let logs: Vec<f64> = samples.iter().map(|x| x.ln()).collect();
    mean(&logs).map(f64::exp)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_of_a_hand_computed_sample() {
        let s = Sorted::new(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((s.min(), s.median(), s.max()), (1.0, 2.5, 4.0));
        assert_eq!(s.quantile(0.25), 1.75);
        assert_eq!((s.nearest_rank(0.25), s.nearest_rank(0.26), s.nearest_rank(0.0)), (1.0, 2.0, 1.0));
    }

    #[test]
    fn the_rank_of_a_computed_tail_probability_is_exact() {
        assert_eq!(nearest_rank(10_000, (1.0 - 0.95) / 2.0), 249);
        assert_eq!(nearest_rank(10_000, 1.0 - (1.0 - 0.95) / 2.0), 9749);
    }

    #[test]
    fn undefined_is_none() {
        assert_eq!(Sorted::new(&[]), None);
        assert_eq!(Sorted::new(&[1.0, f64::NAN]), None);
        assert_eq!(variance(&[1.0]), None);
        assert_eq!(Summary::of(&[2.0]).unwrap().stddev, None);
        assert_eq!(geometric_mean(&[1.0, 0.0]), None);
        assert_eq!(geometric_mean(&[]), None);
    }

    #[test]
    fn standard_deviation_divides_by_n_minus_one() {
        let s = Summary::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!(s.mean, 5.0);
        assert!((s.stddev.unwrap() - (32.0f64 / 7.0).sqrt()).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn ranks_are_those_of_the_sorted_sample(
            mut xs in prop::collection::vec(0_u64..50, 0..60),
            mut p in prop::array::uniform4(0.0f64..=1.0),
        ) {
            p.sort_by(f64::total_cmp);
            let sorted = Sorted::from_vec(xs.iter().map(|&x| x as f64).collect());
            let ranks = nearest_ranks(&mut xs, p).map(|ranks| ranks.map(|x| x as f64));
            prop_assert_eq!(ranks, sorted.map(|sorted| p.map(|p| sorted.nearest_rank(p))));
        }

        #[test]
        fn quantiles_do_not_depend_on_order(mut xs in prop::collection::vec(-1e6f64..1e6, 1..40), p in 0.0f64..=1.0) {
            let before = Sorted::new(&xs).unwrap();
            xs.reverse();
            let after = Sorted::new(&xs).unwrap();
            prop_assert_eq!(before.quantile(p), after.quantile(p));
            prop_assert_eq!(before.nearest_rank(p), after.nearest_rank(p));
        }

        #[test]
        fn quantiles_grow_with_p_and_stay_inside_the_sample(
            xs in prop::collection::vec(-1e6f64..1e6, 1..40), p in 0.0f64..=1.0, step in 0.0f64..0.5,
        ) {
            let s = Sorted::new(&xs).unwrap();
            prop_assert!(s.min() <= s.quantile(p) && s.quantile(p) <= s.max());
            prop_assert!(s.quantile(p) <= s.quantile(p + step));
            prop_assert!(s.nearest_rank(p) <= s.nearest_rank(p + step));
        }
    }
}
