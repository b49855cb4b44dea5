//! F15 and F16: how sure a joule and a dollar are, and how intervals travel through sums and quotients.

use crate::stats::binomial;
use crate::stats::distribution::{normal_quantile, student_quantile};
use crate::stats::quantile::{mean, variance};
use crate::units::{Interval, Seconds, Usd};

use super::formula::cost_per_1000_solved;

/// F15: uncertainty of a mean of readings, in the readings' unit (GUM).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Combined {
    /// Mean of the readings.
    pub mean: f64,
    /// Standard deviation with n - 1.
    pub stddev: f64,
    /// Type A, s/√n.
    pub u_a: f64,
    /// Half width of the t interval of the mean alone, t(0.975, n - 1)·u_A.
    pub t95_half_width: f64,
    /// Sensor bound ±a taken as uniform, a/√3.
    pub u_b: f64,
    /// Quantization of the window by the counter's tick, τ/(T√6).
    pub u_q: f64,
    /// √(u_A² + u_B² + u_q²).
    pub u_c: f64,
    /// U/u_c, see [`coverage_factor`].
    pub k: f64,
}

impl Combined {
    /// Combines readings of windows of length `window` from a source with relative bound `sensor_bound` and counter tick
    /// `tick` (0 for an external meter without one). `None` for fewer than two readings or an empty window.
    #[must_use]
    pub fn of(readings: &[f64], sensor_bound: f64, tick: Seconds, window: Seconds) -> Option<Self> {
        let (mean, variance) = (mean(readings)?, variance(readings)?);
        let n = readings.len() as f64;
        let u_a = (variance / n).sqrt();
        let u_b = sensor_bound * mean.abs() / 3.0f64.sqrt();
        let u_q = tick_uncertainty(tick, window)? * mean.abs();
        let t95_half_width = student_quantile(0.975, n - 1.0)? * u_a;
        let u_c = (u_a * u_a + u_b * u_b + u_q * u_q).sqrt();
        let k = coverage_factor(u_a, u_c, readings.len());
        u_c.is_finite().then_some(Self { mean, stddev: variance.sqrt(), u_a, t95_half_width, u_b, u_q, u_c, k })
    }

    /// Expanded uncertainty U = k·u_c, about 95 %.
    #[must_use]
    pub fn expanded(&self) -> f64 {
        self.k * self.u_c
    }

    /// mean ± U.
    #[must_use]
    pub fn interval(&self) -> Interval {
        let half = self.expanded();
        Interval { value: self.mean, lo: self.mean - half, hi: self.mean + half, level: 0.95 }
    }
}

/// Factor k of the expanded uncertainty U = k·u_c: the usual 2, or more where scatter of few readings dominates. Then it is
/// t(0.975, ν), with the effective degrees of freedom ν = (n - 1)·u_c⁴/u_A⁴ of Welch and Satterthwaite (GUM G.4.1; the bounds
/// of sensor and tick are taken as exact, with infinitely many).
#[must_use]
pub fn coverage_factor(u_a: f64, u_c: f64, n: usize) -> f64 {
    let freedom = (n as f64 - 1.0) * (u_c / u_a).powi(4);
    // From 61 degrees of freedom the quantile is below 2; without scatter there are none to count.
    if freedom < 61.0 { student_quantile(0.975, freedom).map_or(2.0, |t| t.max(2.0)) } else { 2.0 }
}

/// Relative uncertainty from a counter's tick at both edges of a window, τ/(T√6). `None` for an empty window.
#[must_use]
pub fn tick_uncertainty(tick: Seconds, window: Seconds) -> Option<f64> {
    (window.0 > 0.0).then(|| tick.0 / (window.0 * 6.0f64.sqrt()))
}

/// Shortest window that keeps the tick's relative uncertainty at `target`: τ/(target·√6). `None` for a target of 0.
#[must_use]
pub fn shortest_window(tick: Seconds, target: f64) -> Option<Seconds> {
    (target > 0.0).then(|| Seconds(tick.0 / (target * 6.0f64.sqrt())))
}

/// Shortest window that keeps the worst case, one whole tick, at `target`: τ/target.
#[must_use]
pub fn shortest_window_worst_case(tick: Seconds, target: f64) -> Option<Seconds> {
    (target > 0.0).then(|| Seconds(tick.0 / target))
}

/// How the ends of two intervals combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Independent errors: half widths add in quadrature.
    Independent,
    /// A range that is no probability statement (an estimate from TDP): ends add as they are.
    Range,
}

/// Sum of two quantities.
#[must_use]
pub fn add(a: Interval, b: Interval, how: Propagation) -> Interval {
    let value = a.value + b.value;
    let (below, above) = match how {
        Propagation::Independent => ((a.value - a.lo).hypot(b.value - b.lo), (a.hi - a.value).hypot(b.hi - b.value)),
        Propagation::Range => (a.value - a.lo + b.value - b.lo, a.hi - a.value + b.hi - b.value),
    };
    Interval { value, lo: value - below, hi: value + above, level: a.level.min(b.level) }
}

/// `factor`·x for a factor ≥ 0 without error.
#[must_use]
pub fn scale(x: Interval, factor: f64) -> Interval {
    Interval { value: x.value * factor, lo: x.lo * factor, hi: x.hi * factor, level: x.level }
}

/// `numerator`/x for a positive x: the ends change places. `None` if x may be 0 or negative.
#[must_use]
pub fn divide(numerator: f64, x: Interval) -> Option<Interval> {
    (x.lo > 0.0).then(|| Interval {
        value: numerator / x.value,
        lo: numerator / x.hi,
        hi: numerator / x.lo,
        level: x.level,
    })
}

/// F16: the interval of cost per 1,000 solved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerSolved {
    /// √((1 - acc)/(acc·n)).
    pub u_rel_accuracy: f64,
    /// √(rel_c² + u_rel_accuracy²).
    pub u_rel: f64,
    /// v·exp(∓z·u_rel), $ per 1,000 solved.
    pub interval: Interval,
}

/// F16: relative variances of cost and accuracy add on the log scale. `u_rel_cost` is the relative standard uncertainty
/// of the task's cost. `None` when nothing is solved.
///
/// When every item passes, the formula's accuracy term vanishes, which would claim certainty; the upper end then goes to
/// the cost at Wilson's lower bound.
#[must_use]
pub fn per_solved(task: Usd, u_rel_cost: f64, passes: u64, n: u64, level: f64) -> Option<PerSolved> {
    let accuracy = binomial::rate(passes, n)?;
    let value = cost_per_1000_solved(task, accuracy, Usd(0.0))?.0;
    let z = normal_quantile(0.5 * (1.0 + level))?;
    let u_rel_accuracy = ((1.0 - accuracy) / (accuracy * n as f64)).sqrt();
    let u_rel = u_rel_cost.hypot(u_rel_accuracy);
    let mut hi = value * (z * u_rel).exp();
    if passes == n {
        hi = hi.max(value / binomial::wilson(passes, n, level)?.lo);
    }
    let interval = Interval { value, lo: value * (-z * u_rel).exp(), hi, level };
    hi.is_finite().then_some(PerSolved { u_rel_accuracy, u_rel, interval })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval(value: f64, below: f64, above: f64) -> Interval {
        Interval { value, lo: value - below, hi: value + above, level: 0.95 }
    }

    #[test]
    fn one_reading_has_no_uncertainty_to_state() {
        assert_eq!(Combined::of(&[1.0], 0.05, Seconds(0.1), Seconds(60.0)), None);
        assert_eq!(Combined::of(&[1.0, 1.1], 0.05, Seconds(0.1), Seconds(0.0)), None);
    }

    #[test]
    fn few_readings_widen_what_their_scatter_dominates_and_nothing_else() {
        // Scatter alone, n = 3: t(0.975, 2) has a closed form.
        let scatter = Combined::of(&[1.0, 1.1, 1.3], 0.0, Seconds(0.0), Seconds(60.0)).unwrap();
        let t = 0.95 * (2.0f64 / 0.0975).sqrt();
        assert!((scatter.expanded() - t * scatter.u_a).abs() < 1e-12);
        assert!((scatter.expanded() - scatter.t95_half_width).abs() < 1e-12);
        // A sensor bound that doubles u_c⁴ doubles the degrees of freedom: t(0.975, 4).
        let bound = (3.0 * (2.0f64.sqrt() - 1.0)).sqrt() * scatter.u_a / scatter.mean;
        let both = Combined::of(&[1.0, 1.1, 1.3], bound, Seconds(0.0), Seconds(60.0)).unwrap();
        assert!((both.k - 2.776_445_105_197_799).abs() < 1e-9, "{}", both.k);
        // A sensor bound far above the scatter leaves GUM's 2, and so does no scatter at all.
        assert_eq!(Combined::of(&[1.0, 1.001], 0.05, Seconds(0.1), Seconds(60.0)).unwrap().k, 2.0);
        assert_eq!(Combined::of(&[1.0, 1.0], 0.05, Seconds(0.1), Seconds(60.0)).unwrap().k, 2.0);
        assert_eq!(coverage_factor(0.0, 0.0, 2), 2.0);
    }

    #[test]
    fn all_solved_is_not_certain() {
        let p = per_solved(Usd(0.001), 0.0, 20, 20, 0.95).unwrap().interval;
        assert_eq!((p.value, p.lo), (1.0, 1.0));
        assert!(p.hi > 1.1);
        assert_eq!(per_solved(Usd(0.001), 0.0, 0, 20, 0.95), None);
    }

    #[test]
    fn a_quotient_by_what_may_be_zero_is_unknown() {
        assert_eq!(divide(1.0, interval(1.0, 1.0, 1.0)), None);
        let d = divide(6.0, interval(2.0, 1.0, 1.0)).unwrap();
        assert_eq!((d.lo, d.value, d.hi), (2.0, 3.0, 6.0));
    }

    proptest! {
        #[test]
        fn ranges_are_never_narrower_than_independent_errors(
            a in 0.0f64..10.0, b in 0.0f64..10.0, w in prop::array::uniform4(0.0f64..5.0),
        ) {
            let (x, y) = (interval(a, w[0], w[1]), interval(b, w[2], w[3]));
            let (independent, range) = (add(x, y, Propagation::Independent), add(x, y, Propagation::Range));
            prop_assert!(range.lo <= independent.lo + 1e-12 && independent.hi <= range.hi + 1e-12);
            prop_assert!(independent.lo <= independent.value && independent.value <= independent.hi);
        }
    }
}
