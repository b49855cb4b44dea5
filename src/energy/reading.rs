//! What a window of measured time gives: joules or none, with everything a reviewer asks about them.

use serde::{Deserialize, Serialize};

use crate::units::{Joules, Seconds, Watts};

/// How far a number of joules can be trusted. Ordered from best to worst: the worst wins in a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// External meter whose model and accuracy the user stated.
    Wall,
    /// Hardware energy counter; only its components are covered.
    Counter,
    /// Counter plus a wall fit of this host.
    Calibrated,
    /// A power gauge, integrated.
    Sampled,
    /// A vendor's model; compare on the same device only.
    Modelled,
    /// From processor load and a nominal power: a range, never ranked.
    Estimated,
    /// No energy at all.
    None,
}

impl Trust {
    /// Lower-case name, as in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Counter => "counter",
            Self::Calibrated => "calibrated",
            Self::Sampled => "sampled",
            Self::Modelled => "modelled",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}

impl std::fmt::Display for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Where the boundary of the measured system lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// At the socket, power supply losses included.
    Wall,
    /// The whole machine behind its power supply (battery, board input rail).
    Machine,
    /// The listed components only (processor package, memory, GPU board).
    Components,
    /// Nothing.
    Nothing,
}

/// What makes a reading worth less, or worth knowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// The machine ran from its battery.
    OnBattery,
    /// Thermal throttling during the window.
    Throttled,
    /// Other processes were busy.
    ForeignLoad,
    /// Idle power before and after differs by more than 5 %.
    IdleDrift,
    /// Shorter than 100 ticks of the source.
    WindowShort,
    /// The energy counter and the integral of the power gauge differ by more than 10 %.
    CounterPowerDisagree,
    /// SGX is on: Intel filters its energy counters then.
    SgxFilter,
    /// Counters seen through a hypervisor.
    Hypervisor,
    /// The memory's energy is not in the sum.
    DramUncovered,
    /// Temperature rose by more than 3 °C.
    TempDrift,
    /// Two zones repeated one counter and were counted once.
    MirroredZone,
}

impl Flag {
    /// Lower-case name, as in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OnBattery => "on_battery",
            Self::Throttled => "throttled",
            Self::ForeignLoad => "foreign_load",
            Self::IdleDrift => "idle_drift",
            Self::WindowShort => "window_short",
            Self::CounterPowerDisagree => "counter_power_disagree",
            Self::SgxFilter => "sgx_filter",
            Self::Hypervisor => "hypervisor",
            Self::DramUncovered => "dram_uncovered",
            Self::TempDrift => "temp_drift",
            Self::MirroredZone => "mirrored_zone",
        }
    }
}

impl std::fmt::Display for Flag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What was read at the edges of a window (and, of a gauge, between them): enough to recompute the joules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
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

/// Energy of one window, or of several added up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Energy, gross. `None` if unknown: no source, an estimate (see `range`), or an invalid window.
    pub joules: Option<Joules>,
    /// Ends of an estimate, J. The geometric mean is its centre.
    pub range: Option<(f64, f64)>,
    /// Where it comes from, e.g. `powercap`, `perf`, `nvml`, `power-cmd`, `estimate`, `none`; joined by `+`.
    pub source: String,
    /// Domains in the sum.
    pub domains: Vec<String>,
    /// Trust class; the worst of all parts.
    pub trust: Trust,
    /// Boundary of what was measured.
    pub scope: Scope,
    /// Time between updates of the source, ms, measured when it was opened.
    pub tick_ms: Option<f64>,
    /// Length of the window, s.
    pub window_s: f64,
    /// Sensor bound ±a relative to the value, an assumption by class of source (F15).
    pub sensor_bound: Option<f64>,
    /// Energy by a second, independent path (power integral beside a counter, psys beside packages), J.
    pub cross_check: Option<Joules>,
    /// What a reader must know.
    pub flags: Vec<Flag>,
    /// Why there are no joules.
    pub invalid: Option<String>,
    /// Start of the window, s since 1970, for meters that are aligned after the run.
    pub started_unix_s: Option<f64>,
    /// The reads.
    pub raw: Vec<RawRead>,
}

impl Reading {
    /// A window without any source.
    #[must_use]
    pub fn none(window_s: f64) -> Self {
        Self {
            joules: None,
            range: None,
            source: "none".into(),
            domains: Vec::new(),
            trust: Trust::None,
            scope: Scope::Nothing,
            tick_ms: None,
            window_s,
            sensor_bound: None,
            cross_check: None,
            flags: Vec::new(),
            invalid: None,
            started_unix_s: None,
            raw: Vec::new(),
        }
    }

    /// Mean power, W.
    #[must_use]
    pub fn power(&self) -> Option<Watts> {
        (self.joules? / Seconds(self.window_s)).known()
    }

    /// Mean power as a range, W: of an estimate its ends, of a measurement its value twice.
    #[must_use]
    pub fn power_range(&self) -> Option<(f64, f64)> {
        let (lo, hi) = self.range.or_else(|| self.joules.map(|j| (j.0, j.0)))?;
        (self.window_s > 0.0).then(|| (lo / self.window_s, hi / self.window_s))
    }

    /// Centre of an estimate: the geometric mean of its ends.
    #[must_use]
    pub fn estimate(&self) -> Option<Joules> {
        self.range.map(|(lo, hi)| Joules((lo * hi).sqrt()))
    }

    /// Energy above idle: `E - P_idle · t`. `None` if either is unknown or measured by another source. May be negative
    /// when the work is too small to see.
    #[must_use]
    pub fn net(&self, idle: &Self) -> Option<Joules> {
        let comparable = self.source == idle.source && self.domains == idle.domains;
        if !comparable {
            return None;
        }
        Some(self.joules? - idle.power()? * Seconds(self.window_s))
    }

    /// Sum of windows of one session. One invalid window makes the sum invalid: what it held is unknown.
    /// `None` for no windows.
    #[must_use]
    pub fn sum_windows(windows: &[Self]) -> Option<Self> {
        Self::sum(windows, windows.iter().map(|w| w.window_s).sum())
    }

    /// Sum of sources over the same window (processor plus GPU). The worst trust wins.
    #[must_use]
    pub fn sum_sources(parts: &[Self]) -> Option<Self> {
        Self::sum(parts, parts.first()?.window_s)
    }

    fn sum(parts: &[Self], window_s: f64) -> Option<Self> {
        let first = parts.first()?;
        let mut total = Self { window_s, started_unix_s: first.started_unix_s, ..first.clone() };
        for part in &parts[1..] {
            total.range = match (&total, part) {
                // A measured part beside an estimated one is a range of width 0.
                (a, b) if a.range.is_some() || b.range.is_some() => {
                    ends(a).zip(ends(b)).map(|(a, b)| (a.0 + b.0, a.1 + b.1))
                }
                _ => None,
            };
            total.joules = total.joules.zip(part.joules).map(|(a, b)| a + b);
            total.cross_check = total.cross_check.zip(part.cross_check).map(|(a, b)| a + b);
            total.invalid = total.invalid.take().or_else(|| part.invalid.clone());
            if !total.source.split('+').any(|name| name == part.source) {
                total.source = format!("{}+{}", total.source, part.source);
            }
            total.domains.extend(part.domains.iter().filter(|d| !first.domains.contains(d)).cloned());
            total.domains.dedup();
            total.trust = total.trust.max(part.trust);
            total.scope = total.scope.max(part.scope);
            total.tick_ms = larger(total.tick_ms, part.tick_ms);
            total.sensor_bound = larger(total.sensor_bound, part.sensor_bound);
            total.flags.extend(&part.flags);
            total.raw.extend(part.raw.iter().cloned());
        }
        total.flags.sort_unstable();
        total.flags.dedup();
        if total.invalid.is_some() {
            (total.joules, total.range) = (None, None);
        }
        if total.range.is_some() {
            total.joules = None;
        }
        Some(total)
    }
}

fn ends(reading: &Reading) -> Option<(f64, f64)> {
    reading.range.or_else(|| reading.joules.map(|j| (j.0, j.0)))
}

fn larger(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn measured(joules: f64, window_s: f64) -> Reading {
        Reading {
            joules: Some(Joules(joules)),
            source: "powercap".into(),
            domains: vec!["package-0".into()],
            trust: Trust::Counter,
            scope: Scope::Components,
            ..Reading::none(window_s)
        }
    }

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

    #[test]
    fn one_invalid_window_makes_the_sum_unknown_and_not_smaller() {
        let bad = Reading { joules: None, invalid: Some("denied".into()), ..measured(0.0, 1.0) };
        let sum = Reading::sum_windows(&[measured(5.0, 1.0), bad]).unwrap();
        assert_eq!((sum.joules, sum.invalid.as_deref()), (None, Some("denied")));
        assert_eq!(Reading::sum_windows(&[]), None);
    }

    #[test]
    fn the_worst_trust_wins_and_an_estimate_in_the_sum_makes_it_a_range() {
        let gpu = Reading { source: "nvml".into(), domains: vec!["gpu-0".into()], ..measured(10.0, 2.0) };
        let cpu = Reading {
            joules: None,
            range: Some((2.0, 8.0)),
            source: "estimate".into(),
            trust: Trust::Estimated,
            ..measured(0.0, 2.0)
        };
        let sum = Reading::sum_sources(&[gpu, cpu]).unwrap();
        assert_eq!((sum.trust, sum.joules, sum.range), (Trust::Estimated, None, Some((12.0, 18.0))));
        assert_eq!((sum.source.as_str(), sum.window_s), ("nvml+estimate", 2.0));
    }

    #[test]
    fn net_energy_needs_the_same_source() {
        let idle = measured(50.0, 10.0);
        assert_eq!(measured(100.0, 4.0).net(&idle), Some(Joules(80.0)));
        let other = Reading { source: "battery".into(), ..idle.clone() };
        assert_eq!(measured(100.0, 4.0).net(&other), None);
        assert_eq!(Reading::none(1.0).net(&Reading::none(1.0)), None);
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
