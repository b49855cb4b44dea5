//! Ordinary least squares through (x, y), with the slope's standard error.

use super::distribution::student_quantile;
use crate::units::Interval;

/// A line y = intercept + slope·x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Points fitted.
    pub n: usize,
    /// Value at x = 0.
    pub intercept: f64,
    /// Change of y per x.
    pub slope: f64,
    /// √(RSS/(n - 2)/Sxx); `None` for two points, through which every line is exact.
    pub slope_error: Option<f64>,
}

impl Line {
    /// Least-squares line. `None` for fewer than two points, a non-finite value, or points that share one x.
    #[must_use]
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let n = points.len();
        if n < 2 || points.iter().any(|(x, y)| !x.is_finite() || !y.is_finite()) {
            return None;
        }
        let count = n as f64;
        let mean_x = points.iter().map(|p| p.0).sum::<f64>() / count;
        let mean_y = points.iter().map(|p| p.1).sum::<f64>() / count;
        let sxx: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
        let sxy: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
        if sxx == 0.0 {
            return None;
        }
        let slope = sxy / sxx;
        let intercept = mean_y - slope * mean_x;
        let rss: f64 = points.iter().map(|(x, y)| (y - intercept - slope * x).powi(2)).sum();
        let slope_error = (n > 2).then(|| (rss / (count - 2.0) / sxx).sqrt());
        Some(Self { n, intercept, slope, slope_error })
    }

    /// y at x.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }

    /// slope ± t((1 + level)/2, n - 2)·se. `None` for two points or a level outside (0, 1).
    #[must_use]
    pub fn slope_interval(&self, level: f64) -> Option<Interval> {
        let t = student_quantile(0.5 * (1.0 + level), self.n as f64 - 2.0)?;
        let half = t * self.slope_error?;
        Some(Interval { value: self.slope, lo: self.slope - half, hi: self.slope + half, level })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn degenerate_points_have_no_line() {
        assert_eq!(Line::fit(&[(1.0, 1.0)]), None);
        assert_eq!(Line::fit(&[(1.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(Line::fit(&[(1.0, 1.0), (f64::NAN, 2.0)]), None);
        let two = Line::fit(&[(0.0, 1.0), (2.0, 5.0)]).unwrap();
        assert_eq!((two.slope, two.intercept, two.slope_error, two.slope_interval(0.95)), (2.0, 1.0, None, None));
    }

    proptest! {
        #[test]
        fn an_exact_line_is_recovered(a in -10.0f64..10.0, b in -10.0f64..10.0, xs in prop::collection::vec(-5.0f64..5.0, 3..20)) {
            let points: Vec<_> = xs.iter().map(|&x| (x, a + b * x)).collect();
            prop_assume!(xs.iter().any(|x| (x - xs[0]).abs() > 0.1));
            let line = Line::fit(&points).unwrap();
            prop_assert!((line.slope - b).abs() < 1e-6 && (line.intercept - a).abs() < 1e-6);
        }
    }
}
