//! The Pareto front of cost against quality.

/// A tier in the plane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Cost, any unit; lower is better.
    pub cost: f64,
    /// Pass rate or score; higher is better.
    pub quality: f64,
}

/// Indices of the points that no other beats: at most its cost and at least its quality, one of them strictly. Cheapest
/// first; equal points are all kept. A tier without a cost or a quality has no place in the plane and is left out.
#[must_use]
pub fn front(points: &[Option<Point>]) -> Vec<usize> {
    let known = |p: &Option<Point>| p.filter(|p| p.cost.is_finite() && p.quality.is_finite());
    let placed: Vec<(usize, Point)> = points.iter().enumerate().filter_map(|(i, p)| known(p).map(|p| (i, p))).collect();
    let beaten = |p: &Point| {
        placed
            .iter()
            .any(|(_, o)| o.cost <= p.cost && o.quality >= p.quality && (o.cost < p.cost || o.quality > p.quality))
    };
    let mut kept: Vec<(usize, Point)> = placed.iter().filter(|(_, p)| !beaten(p)).copied().collect();
    kept.sort_by(|a, b| a.1.cost.total_cmp(&b.1.cost).then(a.0.cmp(&b.0)));
    kept.into_iter().map(|(i, _)| i).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(cost: f64, quality: f64) -> Option<Point> {
        Some(Point { cost, quality })
    }

    #[test]
    fn beaten_and_unknown_tiers_are_left_out() {
        let points = [at(2.0, 0.9), at(1.0, 0.7), at(3.0, 0.8), None, at(f64::NAN, 0.99), at(1.0, 0.7)];
        assert_eq!(front(&points), [1, 5, 0]);
        assert!(front(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn along_the_front_quality_never_falls_and_everything_else_is_beaten(
            raw in prop::collection::vec((0u8..20, 0u8..20), 1..20),
        ) {
            let points: Vec<_> = raw.iter().map(|&(c, q)| at(f64::from(c), f64::from(q))).collect();
            let kept = front(&points);
            prop_assert!(!kept.is_empty());
            for pair in kept.windows(2) {
                prop_assert!(raw[pair[0]].0 <= raw[pair[1]].0 && raw[pair[0]].1 <= raw[pair[1]].1);
            }
            for i in (0..raw.len()).filter(|i| !kept.contains(i)) {
                prop_assert!(kept.iter().any(|&k| raw[k].0 <= raw[i].0 && raw[k].1 >= raw[i].1 && raw[k] != raw[i]));
            }
        }
    }
}
