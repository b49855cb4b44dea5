//! Percentile bootstrap with a portable generator, so that `verify` gets the same ends on every machine.
//!
//! One [`SplitMix64`] serves all resamples in order; an index into `n` values is `(u64 · n) >> 64`; the ends are
//! nearest ranks of the sorted statistics, `sorted[ceil(p B) - 1]`. Correlated values are resampled by cluster:
//! see [`super::cluster`].

use super::quantile::Sorted;
use super::resamples::Resamples;
use crate::units::Interval;

/// Resamples of every published interval.
pub const RESAMPLES: usize = 10_000;

/// SplitMix64 (Steele, Lea and Flood 2014): a 64-bit counter through a mixing function. Ten lines in any language.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

/// What the counter of [`SplitMix64`] adds: 2^64 over the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl SplitMix64 {
    /// A generator in the state `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator that has made `draws` more numbers: it counts, so that no number needs the ones before it.
    #[must_use]
    #[inline]
    pub const fn after(&self, draws: u64) -> Self {
        Self(self.0.wrapping_add(draws.wrapping_mul(STEP)))
    }

    /// Next 64 uniform bits.
    #[inline]
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform index below `n` by multiplication; the bias is below n/2^64. 0 for `n = 0`.
    #[inline]
    pub const fn index(&mut self, n: usize) -> usize {
        ((self.next_u64() as u128 * n as u128) >> 64) as usize
    }

    /// Uniform number in [0, 1) with 53 random bits.
    pub const fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Shuffles in place (Fisher and Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.index(i + 1));
        }
    }
}

/// Percentile interval of any statistic of `n` exchangeable units (items, blocks, clusters).
///
/// `statistic` gets the `n` indices of one resample, and of the data as they are (0, 1, …, n - 1) for the point value.
/// A resample on which it is undefined (`None`) is left out; `None` is returned if that happens on the data themselves
/// or on more than one resample in a hundred, if `n < 2`, or if `level` is outside (0, 1).
pub fn interval(
    n: usize,
    level: f64,
    resamples: usize,
    seed: u64,
    mut statistic: impl FnMut(&[usize]) -> Option<f64>,
) -> Option<Interval> {
    if n < 2 || resamples == 0 || !(level > 0.0 && level < 1.0) {
        return None;
    }
    let mut indices: Vec<usize> = (0..n).collect();
    let value = statistic(&indices)?;
    let mut random = SplitMix64::new(seed);
    let mut replicates = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        indices.fill_with(|| random.index(n));
        replicates.extend(statistic(&indices));
    }
    if replicates.len() * 100 < resamples * 99 {
        return None;
    }
    let sorted = Sorted::from_vec(replicates)?;
    let [lower, upper] = tails(level);
    // The percentile method can miss the point value on tiny samples; an interval that excludes its own value reads as
    // a bug, so it is widened to hold it.
    let lo = sorted.nearest_rank(lower).min(value);
    let hi = sorted.nearest_rank(upper).max(value);
    Some(Interval { value, lo, hi, level })
}

/// The ranks an interval of this level ends at.
fn tails(level: f64) -> [f64; 2] {
    let tail = (1.0 - level) / 2.0;
    [tail, 1.0 - tail]
}

/// Interval of the median, the headline of every speed cell. `None` for fewer than two samples.
#[must_use]
pub fn median_interval(samples: &[f64], level: f64, seed: u64) -> Option<Interval> {
    if samples.iter().any(|x| !x.is_finite()) {
        return None;
    }
    let n = samples.len();
    let mut ranks = Ranks::of(samples);
    match Resamples::of(n, seed) {
        Some(table) if n >= 2 && level > 0.0 && level < 1.0 => {
            let value = ranks.median(&(0..n).collect::<Vec<_>>())?;
            let [lo, hi] = table.median_ranks(&ranks.sorted, &ranks.order, tails(level))?;
            Some(Interval { value, lo: lo.min(value), hi: hi.max(value), level })
        }
        _ => interval(n, level, RESAMPLES, seed, |indices| ranks.median(indices)),
    }
}

/// Interval of the mean of independent values. `None` for fewer than two samples.
#[must_use]
pub fn mean_interval(samples: &[f64], level: f64, seed: u64) -> Option<Interval> {
    interval(samples.len(), level, RESAMPLES, seed, |indices| {
        finite(indices.iter().map(|&i| samples[i]).sum::<f64>() / indices.len() as f64)
    })
}

/// Interval of Σ numerator / Σ denominator over paired items, e.g. dollars over items passed. `None` if the lengths
/// differ, there are fewer than two items, or the denominator can vanish (more than 1 % of the resamples).
#[must_use]
pub fn ratio_interval(numerator: &[f64], denominator: &[f64], level: f64, seed: u64) -> Option<Interval> {
    if numerator.len() != denominator.len() {
        return None;
    }
    interval(numerator.len(), level, RESAMPLES, seed, |indices| {
        let (mut top, mut bottom) = (0.0, 0.0);
        for &i in indices {
            top += numerator[i];
            bottom += denominator[i];
        }
        if bottom == 0.0 { None } else { finite(top / bottom) }
    })
}

/// Interval of the median of the ratios a/b taken block by block, which cancels what drifts between blocks. `None` if
/// the lengths differ, there are fewer than two blocks, or a denominator is 0.
#[must_use]
pub fn block_ratio_interval(a: &[f64], b: &[f64], level: f64, seed: u64) -> Option<Interval> {
    if a.len() != b.len() {
        return None;
    }
    let ratios: Vec<f64> = a.iter().zip(b).map(|(a, b)| a / b).collect();
    median_interval(&ratios, level, seed)
}

fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

/// Medians of resamples by counting ranks, where [`Resamples`] has no table. The samples are sorted once; a
/// resample then is a count per rank, and its median is where the counts reach the middle. No comparison of values.
struct Ranks {
    sorted: Vec<f64>,
    /// Where each of the sorted values stands in the sample.
    order: Vec<usize>,
    rank: Vec<usize>,
    counts: Vec<u32>,
}

impl Ranks {
    /// `samples` are finite.
    fn of(samples: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..samples.len()).collect();
        order.sort_by(|&a, &b| samples[a].total_cmp(&samples[b]));
        let mut rank = vec![0; samples.len()];
        for (place, &sample) in order.iter().enumerate() {
            rank[sample] = place;
        }
        Self { sorted: order.iter().map(|&i| samples[i]).collect(), order, rank, counts: vec![0; samples.len()] }
    }

    /// Median of the samples drawn; `None` if none was.
    fn median(&mut self, drawn: &[usize]) -> Option<f64> {
        self.counts.fill(0);
        for &i in drawn {
            self.counts[self.rank[i]] += 1;
        }
        let mut counts = self.counts.iter().zip(&self.sorted);
        let mut seen = 0;
        // The value at `place` of the sorted resample; places must ascend.
        let mut current = None;
        let mut at = |place: usize| {
            while seen <= place {
                let (&count, &value) = counts.next()?;
                seen += count as usize;
                current = Some(value);
            }
            current
        };
        let middle = drawn.len() / 2;
        if drawn.len() % 2 == 1 {
            return at(middle);
        }
        let (lower, upper) = (at(middle.checked_sub(1)?)?, at(middle)?);
        // The same arithmetic as `Sorted::median`, so that both give the same bits.
        Some(lower + 0.5 * (upper - lower))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::quantile;

    #[test]
    fn a_single_sample_has_no_interval() {
        assert_eq!(median_interval(&[1.0], 0.95, 1), None);
        assert_eq!(mean_interval(&[], 0.95, 1), None);
        assert_eq!(median_interval(&[1.0, f64::NAN], 0.95, 1), None);
        assert_eq!(median_interval(&[1.0, 2.0], 1.0, 1), None);
        assert_eq!(median_interval(&[1.0, 2.0], f64::NAN, 1), None);
        assert_eq!(median_interval(&[f64::MAX, f64::MIN], 0.95, 1), None, "their mean is not finite");
    }

    #[test]
    fn constant_samples_have_a_degenerate_interval() {
        let i = median_interval(&[3.0; 7], 0.95, 1).unwrap();
        assert_eq!((i.lo, i.value, i.hi), (3.0, 3.0, 3.0));
    }

    #[test]
    fn a_ratio_whose_denominator_often_vanishes_is_unknown() {
        assert_eq!(ratio_interval(&[1.0, 1.0], &[0.0, 1.0], 0.95, 1), None);
        assert_eq!(ratio_interval(&[1.0, 1.0], &[1.0], 0.95, 1), None);
        let solved = [1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0];
        let per_solved = ratio_interval(&[2.0; 10], &solved, 0.95, 1).unwrap();
        assert_eq!(per_solved.value, 2.5);
        assert!(per_solved.lo < 2.5 && per_solved.hi > 2.5);
    }

    #[test]
    fn block_ratios_cancel_a_drift_that_both_share() {
        let drift = [1.0, 1.3, 0.8, 1.1, 0.9];
        let a: Vec<f64> = drift.iter().map(|d| 20.0 * d).collect();
        let b: Vec<f64> = drift.iter().map(|d| 10.0 * d).collect();
        let ratio = block_ratio_interval(&a, &b, 0.95, 7).unwrap();
        assert!((ratio.hi - ratio.lo).abs() < 1e-12 && (ratio.value - 2.0).abs() < 1e-12);
        assert_eq!(block_ratio_interval(&[1.0, 1.0], &[1.0, 0.0], 0.95, 7), None);
    }

    #[test]
    fn shuffling_is_a_seeded_permutation() {
        let mut order: Vec<u32> = (0..50).collect();
        SplitMix64::new(3).shuffle(&mut order);
        let mut again: Vec<u32> = (0..50).collect();
        SplitMix64::new(3).shuffle(&mut again);
        assert_eq!(order, again);
        again.sort_unstable();
        assert_eq!(again, (0..50).collect::<Vec<_>>());
        assert_ne!(order, again);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_interval_holds_its_value_and_repeats(xs in prop::collection::vec(0.1f64..100.0, 2..12), seed: u64) {
            let a = median_interval(&xs, 0.95, seed).unwrap();
            prop_assert!(a.lo <= a.value && a.value <= a.hi);
            prop_assert_eq!(Some(a), median_interval(&xs, 0.95, seed));
            prop_assert_eq!(Some(a.value), quantile::median(&xs));
        }

        #[test]
        fn a_table_of_the_draws_gives_the_same_bits_as_drawing(
            xs in prop::collection::vec(-1e3f64..1e3, 2..40),
            rounded in any::<bool>(),
            level in 0.5f64..0.999,
            seed: u64,
        ) {
            // Whole numbers make ties.
            let xs: Vec<f64> = xs.into_iter().map(|x| if rounded { (x / 200.0).round() } else { x }).collect();
            let mut ranks = Ranks::of(&xs);
            let drawn = interval(xs.len(), level, RESAMPLES, seed, |indices| ranks.median(indices));
            let bits = |i: Interval| [i.lo, i.value, i.hi].map(f64::to_bits);
            prop_assert_eq!(median_interval(&xs, level, seed).map(bits), drawn.map(bits));
        }

        #[test]
        fn counting_ranks_gives_the_median_of_the_sorted_resample(
            (xs, drawn) in prop::collection::vec(-9i8..9, 1..30)
                .prop_flat_map(|xs| (Just(xs.clone()), prop::collection::vec(0..xs.len(), 0..40))),
        ) {
            // Small whole numbers: ties occur.
            let xs: Vec<f64> = xs.into_iter().map(f64::from).collect();
            let resample: Vec<f64> = drawn.iter().map(|&i| xs[i]).collect();
            prop_assert_eq!(Ranks::of(&xs).median(&drawn), quantile::median(&resample));
        }
    }
}
