//! Energy from processor load and a nominal power, for machines without any counter. Always a range, never ranked.

use super::Flag;
use super::meter::{Domain, DomainKind, Meter, MeterInfo, ReadError, Role, Value, excerpt, read_text};
use super::reading::{Scope, Trust};
use crate::measure::clock::Clock;
use crate::measure::host::HostFacts;
use crate::measure::sysfs::SysFs;

/// How load becomes power.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LoadModel {
    /// `P = TDP · (0.1 + 0.9 · load³)`. Source: `CodeCarbon`, hardware.py, load mode.
    CodeCarbon {
        /// Thermal design power, W.
        tdp_w: f64,
    },
    /// `P = n · (min + load · (max - min))` per virtual CPU. Source: Cloud Carbon Footprint, Methodology, mean of its
    /// AWS, GCP and Azure coefficients.
    CloudVcpu {
        /// Virtual CPUs.
        n: u32,
    },
}

/// `CodeCarbon`'s power for a processor it does not know, W.
pub const UNKNOWN_TDP_W: f64 = 85.0;
const VCPU_MIN_W: f64 = (0.74 + 0.71 + 0.78) / 3.0;
const VCPU_MAX_W: f64 = (3.5 + 4.26 + 3.76) / 3.0;

impl LoadModel {
    /// The user's power if given; else a share of a cloud host on a virtual machine, whose processor's power is mostly
    /// other people's; else the default for an unknown processor.
    #[must_use]
    pub fn choose(host: &HostFacts, tdp_w: Option<f64>) -> Self {
        match (tdp_w, &host.hypervisor) {
            (Some(tdp_w), _) => Self::CodeCarbon { tdp_w },
            (None, Some(_)) => Self::CloudVcpu { n: host.logical_cpus.unwrap_or(host.usable_cpus) },
            (None, None) => Self::CodeCarbon { tdp_w: UNKNOWN_TDP_W },
        }
    }

    /// Power at a load from 0 to 1, W.
    #[must_use]
    pub fn watts(self, load: f64) -> f64 {
        let load = load.clamp(0.0, 1.0);
        match self {
            Self::CodeCarbon { tdp_w } => tdp_w * (0.1 + 0.9 * load.powi(3)),
            Self::CloudVcpu { n } => f64::from(n) * (VCPU_MIN_W + load * (VCPU_MAX_W - VCPU_MIN_W)),
        }
    }
}

impl std::fmt::Display for LoadModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CodeCarbon { tdp_w } => write!(f, "CodeCarbon load model, {tdp_w} W"),
            Self::CloudVcpu { n } => write!(f, "Cloud Carbon Footprint, {n} vCPU of a shared host"),
        }
    }
}

/// The model, driven by `/proc/stat`. Acts as a counter of microjoules it adds up itself.
#[derive(Debug)]
pub struct Estimate {
    info: MeterInfo,
    model: LoadModel,
    sysfs: SysFs,
    last: Option<Look>,
    load: f64,
    microjoules: f64,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    ns: u64,
    busy: u64,
    all: u64,
}

impl Estimate {
    /// An estimate for this host.
    ///
    /// # Errors
    /// [`ReadError::Missing`] where there is no `/proc/stat`.
    pub fn open(sysfs: &SysFs, model: LoadModel) -> Result<Self, ReadError> {
        let domain = Domain {
            name: "processor".into(),
            role: Role::Counted,
            kind: DomainKind::Counter { joules_per_count: 1e-6, range: None },
            max_watts: None,
        };
        let info = MeterInfo {
            flags: vec![Flag::DramUncovered],
            note: Some(model.to_string()),
            ..MeterInfo::new("estimate", Trust::Estimated, Scope::Components, vec![domain])
        };
        let estimate = Self { info, model, sysfs: sysfs.clone(), last: None, load: 1.0, microjoules: 0.0 };
        estimate.ticks()?;
        Ok(estimate)
    }

    fn ticks(&self) -> Result<(u64, u64), ReadError> {
        let path = "/proc/stat";
        let text = read_text(&self.sysfs, path, "check how /proc is mounted")?;
        let line = text.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or("");
        let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks[..] else {
            return Err(ReadError::Malformed { what: path.into(), got: excerpt(line), expected: "eight cpu counters" });
        };
        let busy = user + nice + system + irq + softirq;
        // Stolen time is others' energy.
        Ok((busy, busy + idle + iowait + steal))
    }
}

impl Meter for Estimate {
    fn info(&self) -> &MeterInfo {
        &self.info
    }

    fn read(&mut self, clock: &dyn Clock) -> Result<Vec<Value>, ReadError> {
        let (busy, all) = self.ticks()?;
        let ns = clock.now_ns();
        if let Some(last) = self.last {
            let ticks = all.saturating_sub(last.all);
            // Ticks are 10 ms: between two reads that are closer the last known load holds.
            if ticks > 0 {
                self.load = busy.saturating_sub(last.busy) as f64 / ticks as f64;
            }
            self.microjoules += self.model.watts(self.load) * ns.saturating_sub(last.ns) as f64 / 1e3;
        }
        self.last = Some(Look { ns, busy, all });
        Ok(vec![Value::Count(self.microjoules as u64)])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::energy::Metering;
    use crate::measure::clock::FakeClock;

    #[test]
    fn the_models_give_the_reference_vectors() {
        let tdp = LoadModel::CodeCarbon { tdp_w: 100.0 };
        for (load, watts) in [(0.5, 21.25), (1.0, 100.0), (0.0, 10.0)] {
            assert!((tdp.watts(load) - watts).abs() < 1e-9);
        }
        // AWS alone is 16.96 and 28 W for 8 vCPU; the mean of three clouds is near it.
        let cloud = LoadModel::CloudVcpu { n: 8 };
        assert!((cloud.watts(0.5) - 18.333).abs() < 1e-3 && (cloud.watts(1.0) - 30.72).abs() < 1e-9);
        assert!((cloud.watts(7.0) - cloud.watts(1.0)).abs() < 1e-12);
    }

    #[test]
    fn a_virtual_machine_is_not_charged_for_the_whole_socket() {
        let vm = HostFacts { hypervisor: Some("KVM".into()), logical_cpus: Some(2), ..HostFacts::default() };
        assert_eq!(LoadModel::choose(&vm, None), LoadModel::CloudVcpu { n: 2 });
        assert_eq!(LoadModel::choose(&vm, Some(65.0)), LoadModel::CodeCarbon { tdp_w: 65.0 });
        let metal = HostFacts::default();
        assert_eq!(LoadModel::choose(&metal, None), LoadModel::CodeCarbon { tdp_w: UNKNOWN_TDP_W });
    }

    #[test]
    fn load_is_taken_from_the_window_and_the_result_is_a_range() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let stat = |busy: u64, idle: u64| {
            std::fs::write(dir.path().join("proc/stat"), format!("cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n")).unwrap();
        };
        stat(1000, 1000);
        let sysfs = SysFs::new(dir.path());
        let estimate = Estimate::open(&sysfs, LoadModel::CodeCarbon { tdp_w: 100.0 }).unwrap();
        let info = estimate.info().clone();
        let clock = FakeClock::new();
        let mut metering = Metering::unattended(vec![(Box::new(estimate), info)], Arc::new(clock.clone()), &sysfs);
        metering.start();
        clock.advance(Duration::from_secs(2));
        stat(1200, 1200);
        let reading = metering.stop();
        // Half load: 21.25 W for 2 s.
        let (lo, hi) = reading.range.unwrap();
        assert!((lo - 21.25).abs() < 1e-5 && (hi - 85.0).abs() < 1e-5, "{lo} {hi}");
        assert_eq!(reading.joules, None);
    }

    #[test]
    fn no_proc_is_missing_and_nonsense_is_malformed() {
        let model = LoadModel::CodeCarbon { tdp_w: 85.0 };
        assert!(matches!(Estimate::open(&SysFs::new("/nonexistent"), model), Err(ReadError::Missing { .. })));
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        std::fs::write(dir.path().join("proc/stat"), "cpu  many\n").unwrap();
        assert!(matches!(Estimate::open(&SysFs::new(dir.path()), model), Err(ReadError::Malformed { .. })));
    }
}
