//! Doubts about a measurement, each with advice.

use std::fmt;

use super::speed::SpeedCell;
use crate::stats::quantile::Sorted;

/// A doubt. Printed with the cell; never a reason to drop a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Warning {
    /// The program was built without optimisation.
    DebugBuild,
    /// The hypervisor took CPU time; share of the machine.
    Steal(f64),
    /// Other processes were busy; share of the machine.
    ForeignLoad(f64),
    /// A governor that keeps the frequency low.
    Governor(String),
    /// Thermal throttling events.
    Throttled(u64),
    /// Frequency before and after, MHz.
    FrequencyDrop(f64, f64),
    /// Temperature before and after, °C.
    TempDrift(f64, f64),
    /// Running from battery.
    OnBattery,
    /// Warm-up trials still differed.
    NotSteady,
    /// Half the interval relative to the median, with this many trials.
    WideInterval(f64, usize),
    /// Trials far from the others.
    Outliers(usize),
    /// More than the measured bandwidth; share.
    OverRoofline(f64),
    /// The energy window is invalid.
    EnergyInvalid(String),
}

/// A median absolute deviation this many times away is an outlier: 10 standard deviations of normal data, as hyperfine's.
const OUTLIER_MADS: f64 = 14.826;

/// Fewer ticks than this say nothing about shares.
const MIN_TICKS: u64 = 100;

/// What was known besides the cell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence {
    /// Share of the measured bandwidth.
    pub roofline_share: Option<f64>,
}

/// The doubts about a cell.
#[must_use]
pub fn warnings(cell: &SpeedCell, evidence: Evidence) -> Vec<Warning> {
    let noise = &cell.noise;
    let mut found = Vec::new();
    if cfg!(debug_assertions) {
        found.push(Warning::DebugBuild);
    }
    // A tick is 10 ms: shares of a few of them are rounding.
    let ticks_suffice = noise.ticks.is_some_and(|ticks| ticks >= MIN_TICKS);
    found.extend(noise.steal_share().filter(|&s| ticks_suffice && s > 0.01).map(Warning::Steal));
    found.extend(noise.foreign_share().filter(|&s| ticks_suffice && s > 0.05).map(Warning::ForeignLoad));
    found.extend(noise.governor.clone().filter(|g| g.split('+').any(|g| g == "powersave")).map(Warning::Governor));
    found.extend(noise.throttles.filter(|&n| n > 0).map(Warning::Throttled));
    found.extend(noise.mhz.filter(|(a, b)| *b < 0.95 * a).map(|(a, b)| Warning::FrequencyDrop(a, b)));
    found.extend(noise.celsius.filter(|(a, b)| b - a > 3.0).map(|(a, b)| Warning::TempDrift(a, b)));
    found.extend((noise.on_battery == Some(true)).then_some(Warning::OnBattery));
    found.extend((!cell.steady).then_some(Warning::NotSteady));
    let n = cell.samples.len();
    found.extend(cell.relative_half_width().filter(|&w| w > 0.05).map(|w| Warning::WideInterval(w, n)));
    found.extend(Some(outliers(&cell.rates())).filter(|&n| n > 0).map(Warning::Outliers));
    found.extend(evidence.roofline_share.filter(|&s| s > 1.0).map(Warning::OverRoofline));
    let invalid = cell.energy.as_ref().and_then(|reading| reading.invalid.clone());
    found.extend(invalid.map(Warning::EnergyInvalid));
    found
}

/// Values further than [`OUTLIER_MADS`] median absolute deviations from the median. Samples that hardly differ have none.
fn outliers(values: &[f64]) -> usize {
    let Some(median) = Sorted::new(values).map(|s| s.median()) else { return 0 };
    let distances: Vec<f64> = values.iter().map(|v| (v - median).abs()).collect();
    let Some(mad) = Sorted::new(&distances).map(|s| s.median()) else { return 0 };
    // A clock's resolution can make most trials equal; half a percent is no outlier then.
    let limit = (OUTLIER_MADS * mad).max(0.005 * median.abs());
    distances.iter().filter(|&&d| d > limit).count()
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DebugBuild => f.write_str("this is a debug build: its speed means nothing; build with --release"),
            Self::Steal(share) => write!(
                f,
                "the hypervisor took {:.1} % of the CPU time: run again later, or on a machine of your own",
                share * 100.0
            ),
            Self::ForeignLoad(share) => write!(
                f,
                "other processes used {:.0} % of the CPU time: close them, or give this one fewer threads with -t",
                share * 100.0
            ),
            Self::Governor(name) => write!(
                f,
                "the frequency governor is `{name}`: try `sudo cpupower frequency-set -g performance` and state it"
            ),
            Self::Throttled(n) => {
                write!(f, "the processor was throttled {n} times for heat: improve its cooling or pause between runs")
            }
            Self::FrequencyDrop(a, b) => {
                write!(f, "the frequency fell from {a:.0} to {b:.0} MHz: the first trials are not like the last")
            }
            Self::TempDrift(a, b) => {
                write!(f, "the temperature rose from {a:.0} to {b:.0} °C: let the machine warm up longer before measuring")
            }
            Self::OnBattery => f.write_str("running from battery, which limits power: connect the charger"),
            Self::NotSteady => f.write_str(
                "the warm-up did not settle within 5 %: something else is running, or the machine changes its frequency",
            ),
            Self::WideInterval(half, n) => write!(
                f,
                "the median is known to ±{:.1} % only after {n} trials: use a larger -r or --budget, or a quieter machine",
                half * 100.0
            ),
            Self::Outliers(n) => {
                write!(f, "{n} of the trials lie far from the others: they are kept, the median does not follow them")
            }
            Self::OverRoofline(share) => write!(
                f,
                "{:.0} % of the measured bandwidth: the byte count or the bandwidth is wrong; please report this",
                share * 100.0
            ),
            Self::EnergyInvalid(reason) => write!(f, "no joules: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::speed::tests::cell;
    use crate::plan::Workload;

    #[test]
    fn a_quiet_cell_has_no_doubts() {
        let cell = cell(Workload::decode(10, 0), &[1000, 1001, 1002, 1001, 1000]);
        let found = warnings(&cell, Evidence { roofline_share: Some(0.6) });
        assert!(found.iter().all(|w| *w == Warning::DebugBuild), "{found:?}");
    }

    #[test]
    fn every_disturbance_is_named_with_advice() {
        let mut cell = cell(Workload::decode(10, 0), &[1000, 1001, 1002, 1001, 1000, 1001, 9000]);
        cell.steady = false;
        cell.noise.ticks = Some(1000);
        cell.noise.steal_ticks = Some(30);
        cell.noise.foreign_ticks = Some(200);
        cell.noise.governor = Some("performance+powersave".into());
        cell.noise.throttles = Some(2);
        cell.noise.mhz = Some((3000.0, 2000.0));
        cell.noise.celsius = Some((50.0, 70.0));
        cell.noise.on_battery = Some(true);
        let found = warnings(&cell, Evidence { roofline_share: Some(1.3) });
        for expected in [
            Warning::Steal(0.03),
            Warning::ForeignLoad(0.2),
            Warning::Throttled(2),
            Warning::OnBattery,
            Warning::NotSteady,
            Warning::Outliers(1),
            Warning::OverRoofline(1.3),
        ] {
            assert!(found.contains(&expected), "{expected:?} in {found:?}");
        }
        assert!(found.iter().any(|w| w.to_string().contains("cpupower")));
    }
}
