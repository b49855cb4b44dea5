//! What makes a reading worth less, or worth knowing: printed with every number that rests on it.

use serde::{Deserialize, Serialize};

use crate::measure::noise::NoiseEvidence;

/// Ticks of all processors (usually 10 ms each) below which a share of them is rounding.
const MIN_TICKS: u64 = 20;
/// Share of the machine that other processes may use before their energy matters.
const FOREIGN_SHARE: f64 = 0.05;
/// Rise of the hottest sensor within a window that changes leakage visibly, °C.
const WARMING_C: f64 = 3.0;

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

/// Flags that what disturbed a window earns it. What a machine does not tell earns none.
#[must_use]
pub fn of_noise(noise: &NoiseEvidence) -> Vec<Flag> {
    let mut flags = Vec::new();
    flags.extend((noise.on_battery == Some(true)).then_some(Flag::OnBattery));
    flags.extend(noise.throttles.is_some_and(|n| n > 0).then_some(Flag::Throttled));
    let enough = noise.ticks.is_some_and(|ticks| ticks >= MIN_TICKS);
    let foreign = noise.foreign_share().is_some_and(|share| share > FOREIGN_SHARE);
    flags.extend((enough && foreign).then_some(Flag::ForeignLoad));
    let warmed = noise.celsius.is_some_and(|(before, after)| after - before > WARMING_C);
    flags.extend(warmed.then_some(Flag::TempDrift));
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_earns_its_flags_and_silence_none() {
        assert_eq!(of_noise(&NoiseEvidence::default()), []);
        let noisy = NoiseEvidence {
            ticks: Some(400),
            foreign_ticks: Some(40),
            throttles: Some(2),
            celsius: Some((50.0, 54.0)),
            on_battery: Some(true),
            ..NoiseEvidence::default()
        };
        assert_eq!(of_noise(&noisy), [Flag::OnBattery, Flag::Throttled, Flag::ForeignLoad, Flag::TempDrift]);
        let calm = NoiseEvidence { foreign_ticks: Some(10), throttles: Some(0), celsius: Some((50.0, 52.0)), ..noisy };
        assert_eq!(of_noise(&NoiseEvidence { on_battery: Some(false), ..calm }), []);
        // One tick of five is 20 % and says nothing.
        let brief = NoiseEvidence { ticks: Some(5), foreign_ticks: Some(1), ..NoiseEvidence::default() };
        assert_eq!(of_noise(&brief), []);
    }
}
