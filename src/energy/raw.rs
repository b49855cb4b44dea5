//! The reads a window keeps, and the energy they give: enough for a stranger to recompute the joules.

use serde::{Deserialize, Serialize};

use crate::units::Joules;

/// What was read at the edges of a window (and, of a gauge, between them): enough to recompute the joules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", try_from = "Fields")]
pub enum RawRead {
    /// A cumulative counter.
    Counter {
        /// Domain, e.g. `package-0`.
        domain: String,
        /// Whether it is in the sum (a cross-check is not).
        counted: bool,
        /// Joules per count.
        joules_per_count: f64,
        /// Counts at which it starts over.
        range: Option<u64>,
        /// Count at the start.
        start: u64,
        /// Count at the end.
        stop: u64,
        /// Times it started over in between.
        wraps: u64,
    },
    /// A power gauge.
    Gauge {
        /// Domain, e.g. `VDD_IN`.
        domain: String,
        /// Whether it is in the sum.
        counted: bool,
        /// (s since the start of the window, W); the first is at or before 0, the last at or after its end where known.
        points: Vec<(f64, f64)>,
        /// Length of the window, s.
        window_s: f64,
    },
}

impl RawRead {
    /// Energy inside the window: `(stop - start + wraps · range) · unit`, or the trapezoid sum (F17) of the gauge.
    /// `None` if the reads do not give one.
    #[must_use]
    pub fn joules(&self) -> Option<Joules> {
        match self {
            Self::Counter { joules_per_count, range, start, stop, wraps, .. } => {
                let wrapped = i128::from(*wraps) * i128::from(range.unwrap_or(0));
                let counts = i128::from(*stop) - i128::from(*start) + wrapped;
                (counts >= 0).then(|| Joules(counts as f64 * joules_per_count))
            }
            Self::Gauge { points, window_s, .. } => trapezoid(points, 0.0, *window_s).map(Joules),
        }
    }

    /// Whether the domain is in the sum.
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        match self {
            Self::Counter { counted, .. } | Self::Gauge { counted, .. } => *counted,
        }
    }

    /// Name of the domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        match self {
            Self::Counter { domain, .. } | Self::Gauge { domain, .. } => domain,
        }
    }
}

/// The fields of either kind. A record holds hundreds of reads: these are taken as they come, where a tagged enum would
/// keep all of them until it has seen the tag.
#[derive(Deserialize)]
struct Fields {
    kind: Kind,
    domain: String,
    counted: bool,
    joules_per_count: Option<f64>,
    range: Option<u64>,
    start: Option<u64>,
    stop: Option<u64>,
    wraps: Option<u64>,
    points: Option<Vec<(f64, f64)>>,
    window_s: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Counter,
    Gauge,
}

impl TryFrom<Fields> for RawRead {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        fn need<T>(field: Option<T>, name: &str) -> Result<T, String> {
            field.ok_or_else(|| format!("missing field `{name}`"))
        }
        let Fields { kind, domain, counted, .. } = fields;
        Ok(match kind {
            Kind::Counter => Self::Counter {
                domain,
                counted,
                joules_per_count: need(fields.joules_per_count, "joules_per_count")?,
                range: fields.range,
                start: need(fields.start, "start")?,
                stop: need(fields.stop, "stop")?,
                wraps: need(fields.wraps, "wraps")?,
            },
            Kind::Gauge => Self::Gauge {
                domain,
                counted,
                points: need(fields.points, "points")?,
                window_s: need(fields.window_s, "window_s")?,
            },
        })
    }
}

/// F17: `Σ (t1 - t0)(P0 + P1)/2` over `[from, to]`, points in order of time. Power is interpolated at the edges and held
/// constant outside the first and last point. `None` without points, or if times go backwards or a value is not finite.
#[must_use]
pub fn trapezoid(points: &[(f64, f64)], from: f64, to: f64) -> Option<f64> {
    let sound = points.iter().all(|(t, w)| t.is_finite() && w.is_finite())
        && points.windows(2).all(|pair| pair[0].0 <= pair[1].0)
        && from.is_finite()
        && from <= to
        && to.is_finite();
    let (first, last) = (points.first()?, points.last()?);
    if !sound {
        return None;
    }
    let at = |t: f64| {
        if t <= first.0 {
            return first.1;
        }
        let after = points.partition_point(|p| p.0 < t);
        match (points.get(after.wrapping_sub(1)), points.get(after)) {
            (Some(a), Some(b)) if b.0 > a.0 => a.1 + (b.1 - a.1) * (t - a.0) / (b.0 - a.0),
            (_, Some(b)) => b.1,
            _ => last.1,
        }
    };
    let inner = points.iter().copied().filter(|p| p.0 > from && p.0 < to);
    let path: Vec<(f64, f64)> =
        std::iter::once((from, at(from))).chain(inner).chain(std::iter::once((to, at(to)))).collect();
    Some(path.windows(2).map(|p| (p[1].0 - p[0].0) * (p[0].1 + p[1].1) / 2.0).sum())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_trapezoid_gives_the_reference_vector() {
        let points = [(0.0, 100.0), (1.0, 300.0), (3.0, 300.0), (4.0, 100.0)];
        assert_eq!(trapezoid(&points, 0.0, 4.0), Some(1000.0));
        // Edges inside a segment are interpolated; outside, the last known power is held.
        assert_eq!(trapezoid(&points, 0.5, 1.0), Some(0.5 * 250.0));
        assert_eq!(trapezoid(&points, 4.0, 6.0), Some(200.0));
        assert_eq!(trapezoid(&[], 0.0, 1.0), None);
        assert_eq!(trapezoid(&[(1.0, 5.0), (0.0, 5.0)], 0.0, 1.0), None);
        assert_eq!(trapezoid(&[(0.0, f64::NAN)], 0.0, 1.0), None);
    }

    #[test]
    fn wrapped_counters_are_corrected_by_their_range() {
        let read = |start, stop, wraps, range| {
            RawRead::Counter {
                domain: "package-0".into(),
                counted: true,
                joules_per_count: 1e-6,
                range: Some(range),
                start,
                stop,
                wraps,
            }
            .joules()
            .unwrap()
            .0
        };
        assert!((read(124_599_532_281, 124_699_532_281, 0, 262_143_328_850) - 100.0).abs() < 1e-9);
        assert!((read(262_100_000_000, 50_000_000, 1, 262_143_328_850) - 93.328_850).abs() < 1e-9);
        assert!((read(65_500_000_000, 10_000_000, 1, 65_532_610_987) - 42.610_987).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn the_integral_does_not_depend_on_where_a_window_is_cut(
            watts in proptest::collection::vec(0.0..500.0f64, 2..20), cut in 0.0..1.0f64
        ) {
            let points: Vec<_> = watts.iter().enumerate().map(|(i, &w)| (i as f64, w)).collect();
            let end = (points.len() - 1) as f64;
            let at = end * cut;
            let whole = trapezoid(&points, 0.0, end).unwrap();
            let parts = trapezoid(&points, 0.0, at).unwrap() + trapezoid(&points, at, end).unwrap();
            prop_assert!((whole - parts).abs() <= 1e-9 * whole.max(1.0));
        }
    }
}
