//! What a window of measured time gives: joules or none, with everything a reviewer asks about them.

use serde::{Deserialize, Serialize};

use super::flag::Flag;
use super::raw::RawRead;
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

    /// Sum of windows of one metering. One invalid window makes the sum invalid: what it held is unknown.
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
}
