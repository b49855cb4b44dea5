//! Means of values that are correlated within clusters: items of one template, samples of one item, tokens of one chunk.

use super::bootstrap::{RESAMPLES, interval};
use super::quantile::{mean, variance};
use crate::units::Interval;

/// Mean of a sample with its standard error, if the values were independent and as they are clustered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanError {
    /// Mean of all values.
    pub mean: f64,
    /// s/√n with the n - 1 standard deviation s.
    pub iid: f64,
    /// (1/n)·√(Σ_g (Σ_{i∈g}(x_i - mean))²) (Miller, arXiv 2411.00640).
    pub clustered: f64,
}

/// Mean with its independent and its clustered standard error. `cluster` names each value's cluster. `None` for fewer
/// than two values, unequal lengths or a non-finite value.
#[must_use]
pub fn standard_error<C: Ord>(values: &[f64], cluster: &[C]) -> Option<MeanError> {
    let groups = sums(values, cluster)?;
    let n = values.len() as f64;
    let mean = mean(values)?;
    let iid = (variance(values)? / n).sqrt();
    let squares: f64 = groups.iter().map(|&(sum, size)| (sum - size as f64 * mean).powi(2)).sum();
    Some(MeanError { mean, iid, clustered: squares.sqrt() / n })
}

/// Bootstrap interval of the mean in which whole clusters are resampled, so that a resample's size varies and its mean
/// is weighted by size. `None` for fewer than two clusters, unequal lengths or a non-finite value.
#[must_use]
pub fn mean_interval<C: Ord>(values: &[f64], cluster: &[C], level: f64, seed: u64) -> Option<Interval> {
    let groups = sums(values, cluster)?;
    interval(groups.len(), level, RESAMPLES, seed, |indices| {
        let (mut sum, mut size) = (0.0, 0);
        for &i in indices {
            sum += groups[i].0;
            size += groups[i].1;
        }
        Some(sum / size as f64)
    })
}

/// Sum and size of every cluster in the order the clusters first appear, so that a seeded interval depends on the order
/// of the data and not on how the clusters are named.
fn sums<C: Ord>(values: &[f64], cluster: &[C]) -> Option<Vec<(f64, usize)>> {
    if values.len() != cluster.len() || values.iter().any(|x| !x.is_finite()) {
        return None;
    }
    let mut place = std::collections::BTreeMap::new();
    let mut sums: Vec<(f64, usize)> = Vec::new();
    for (value, name) in values.iter().zip(cluster) {
        let at = *place.entry(name).or_insert_with(|| {
            sums.push((0.0, 0));
            sums.len() - 1
        });
        sums[at].0 += value;
        sums[at].1 += 1;
    }
    Some(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singleton_clusters_give_the_population_form_of_the_independent_error() {
        let x = [1.0, 0.0, 1.0, 1.0, 0.0];
        let e = standard_error(&x, &[0, 1, 2, 3, 4]).unwrap();
        // The clustered form divides by n, the independent one by n - 1.
        assert!((e.clustered - e.iid * (4.0f64 / 5.0).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn identical_items_inside_a_cluster_widen_the_interval() {
        let base = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0];
        let doubled: Vec<f64> = base.iter().flat_map(|&x| [x; 4]).collect();
        let names: Vec<usize> = (0..doubled.len()).map(|i| i / 4).collect();
        let alone: Vec<usize> = (0..doubled.len()).collect();
        let width = |i: Interval| i.hi - i.lo;
        let clustered = mean_interval(&doubled, &names, 0.95, 1).unwrap();
        let naive = mean_interval(&doubled, &alone, 0.95, 1).unwrap();
        assert!(width(clustered) > 1.5 * width(naive), "{clustered:?} {naive:?}");
    }

    #[test]
    fn one_cluster_or_unequal_lengths_are_unknown() {
        assert_eq!(mean_interval(&[1.0, 0.0], &["a", "a"], 0.95, 1), None);
        assert_eq!(standard_error(&[1.0, 0.0], &["a"]), None);
    }
}
