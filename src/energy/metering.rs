//! A run's meters, the thread that follows their counters, and the windows measured with them.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::account::Account;
use super::csv::PowerSeries;
use super::flag;
use super::meter::{DomainKind, Meter, MeterInfo, ReadError};
use super::reading::Reading;
use crate::measure::clock::Clock;
use crate::measure::noise::{NoiseEvidence, NoiseSnapshot, on_battery};
use crate::measure::sysfs::SysFs;

/// Gauges are read ten times a second: more would disturb what is measured.
const GAUGE_INTERVAL: Duration = Duration::from_millis(100);
/// Counters only need to be seen before they wrap.
const COUNTER_INTERVAL: Duration = Duration::from_secs(1);
/// Power assumed where a domain has no limit, W: only decides how often a counter is looked at.
const ASSUMED_MAX_WATTS: f64 = 500.0;

/// Meters that are open, and at most one window at a time. Without meters every window reads "none".
pub struct Metering {
    shared: Arc<Shared>,
    sampler: Option<JoinHandle<()>>,
    infos: Vec<MeterInfo>,
    sysfs: SysFs,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    clock: Arc<dyn Clock>,
}

struct State {
    sources: Vec<Source>,
    open: bool,
    stopping: bool,
    started_ns: u64,
    started_unix_s: f64,
    before: NoiseSnapshot,
}

struct Source {
    meter: Box<dyn Meter>,
    info: MeterInfo,
    window: Option<Account>,
}

impl Metering {
    /// Takes calibrated meters and follows them with a thread.
    #[must_use]
    pub fn new(meters: Vec<(Box<dyn Meter>, MeterInfo)>, clock: Arc<dyn Clock>, sysfs: &SysFs) -> Self {
        let mut metering = Self::unattended(meters, clock, sysfs);
        if let Some(interval) = metering.interval() {
            let shared = Arc::clone(&metering.shared);
            let spawned = std::thread::Builder::new().name("energy".into()).spawn(move || follow(&shared, interval));
            metering.sampler = spawned.ok();
        }
        metering
    }

    /// The same without a thread: [`Metering::poll`] stands in for it. For tests with a clock of their own.
    #[must_use]
    pub fn unattended(meters: Vec<(Box<dyn Meter>, MeterInfo)>, clock: Arc<dyn Clock>, sysfs: &SysFs) -> Self {
        let infos = meters.iter().map(|(_, info)| info.clone()).collect();
        let sources = meters.into_iter().map(|(meter, info)| Source { meter, info, window: None }).collect();
        let state = State {
            sources,
            open: false,
            stopping: false,
            started_ns: 0,
            started_unix_s: 0.0,
            before: NoiseSnapshot::default(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), clock });
        Self { shared, sampler: None, infos, sysfs: sysfs.clone() }
    }

    /// Without meters.
    #[must_use]
    pub fn none(clock: Arc<dyn Clock>) -> Self {
        Self::unattended(Vec::new(), clock, &SysFs::default())
    }

    /// The meters in use.
    #[must_use]
    pub fn infos(&self) -> &[MeterInfo] {
        &self.infos
    }

    /// Shortest window worth measuring: ten seconds or a hundred ticks of the slowest source, whichever is longer, in
    /// total over at least five windows, but at most 30 s. Zero without a source and for estimates, which no length improves.
    #[must_use]
    pub fn advised_window(&self) -> Duration {
        let measured = self.infos.iter().filter(|info| info.trust < super::Trust::Estimated);
        let longest = measured.map(|info| info.tick_ms.map_or(10.0, |tick| (tick * 0.1).max(10.0))).fold(0.0, f64::max);
        Duration::from_secs_f64(longest.min(30.0))
    }

    /// Opens the window. A window that is still open is dropped.
    pub fn start(&mut self) {
        let mut state = self.shared.lock();
        let clock = &*self.shared.clock;
        if !self.infos.is_empty() {
            state.before = NoiseSnapshot::read(&self.sysfs);
        }
        for source in &mut state.sources {
            let values = source.meter.read(clock);
            source.window = Some(Account::open(&source.info, clock.now_ns(), values));
        }
        (state.started_ns, state.started_unix_s) = (clock.now_ns(), clock.unix_s());
        state.open = true;
        drop(state);
        self.shared.wake.notify_all();
    }

    /// Closes the window and says what it took. Without an open window the reading is invalid.
    pub fn stop(&mut self) -> Reading {
        let mut state = self.shared.lock();
        let clock = &*self.shared.clock;
        let window_s = clock.now_ns().saturating_sub(state.started_ns) as f64 / 1e9;
        if !std::mem::take(&mut state.open) {
            return Reading { invalid: Some("the window was never opened".into()), ..Reading::none(0.0) };
        }
        let mut parts = Vec::new();
        for source in &mut state.sources {
            let values = source.meter.read(clock);
            if let Some(window) = source.window.take() {
                parts.push(window.close(clock.now_ns(), values));
            }
        }
        let mut reading = Reading::sum_sources(&parts).unwrap_or_else(|| Reading::none(window_s));
        reading.started_unix_s = Some(state.started_unix_s);
        let before = std::mem::take(&mut state.before);
        drop(state);
        if !self.infos.is_empty() {
            let mut noise = NoiseEvidence { on_battery: on_battery(&self.sysfs), ..NoiseEvidence::default() };
            noise.add(&before, &NoiseSnapshot::read(&self.sysfs));
            reading.flags.extend(flag::of_noise(&noise));
            reading.flags.sort_unstable();
            reading.flags.dedup();
        }
        reading
    }

    /// Measures while nothing happens.
    pub fn idle(&mut self, time: Duration) -> Reading {
        self.start();
        self.shared.clock.sleep(time);
        self.stop()
    }

    /// Fills in windows of an external meter's log, once the log reaches over them: waits up to `patience` for its next
    /// rows. Does nothing where no source is a log.
    ///
    /// # Errors
    /// The log cannot be read any more; the readings stay as they were.
    pub fn align(&self, readings: &mut [&mut Reading], patience: Duration) -> Result<(), ReadError> {
        let log = self.shared.lock().sources.iter().find_map(|source| source.meter.log().map(Path::to_owned));
        let Some(log) = log else { return Ok(()) };
        let clock = &*self.shared.clock;
        let ends = readings.iter().filter_map(|reading| Some(reading.started_unix_s? + reading.window_s));
        let end = ends.fold(f64::NEG_INFINITY, f64::max);
        let mut series = PowerSeries::load(&log)?;
        let mut waited = Duration::ZERO;
        while series.last().is_some_and(|last| last < end) && waited < patience {
            clock.sleep(GAUGE_INTERVAL);
            waited += GAUGE_INTERVAL;
            series = PowerSeries::load(&log)?;
        }
        readings.iter_mut().for_each(|reading| series.align(reading));
        Ok(())
    }

    /// Reads all meters once into the open window, as the thread does.
    pub fn poll(&self) {
        poll(&mut self.shared.lock(), &*self.shared.clock);
    }

    /// How often the meters must be read while a window is open: at most ten times a second, and four times within the
    /// shortest time a counter may take to wrap. `None` without meters.
    fn interval(&self) -> Option<Duration> {
        let domains = self.infos.iter().flat_map(|info| &info.domains);
        domains
            .map(|domain| match domain.kind {
                DomainKind::Gauge => GAUGE_INTERVAL,
                DomainKind::Counter { joules_per_count, range: Some(range) } => {
                    let watts = domain.max_watts.unwrap_or(ASSUMED_MAX_WATTS).max(1.0);
                    let quarter = range as f64 * joules_per_count / (4.0 * watts);
                    COUNTER_INTERVAL.min(Duration::from_secs_f64(quarter.clamp(0.1, 1.0)))
                }
                DomainKind::Counter { range: None, .. } => COUNTER_INTERVAL,
            })
            .min()
    }
}

impl Drop for Metering {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.wake.notify_all();
        if let Some(sampler) = self.sampler.take() {
            // The thread only reads meters; if one of them panicked the run's results are still good.
            let _ = sampler.join();
        }
    }
}

impl std::fmt::Debug for Metering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metering").field("infos", &self.infos).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A meter that panicked leaves its window without an edge, which closes as invalid: the state stays usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn poll(state: &mut State, clock: &dyn Clock) {
    if !state.open {
        return;
    }
    for source in &mut state.sources {
        if let Some(window) = &mut source.window {
            let values = source.meter.read(clock);
            window.push(clock.now_ns(), values);
        }
    }
}

/// The thread: sleeps while no window is open.
fn follow(shared: &Shared, interval: Duration) {
    let mut state = shared.lock();
    while !state.stopping {
        if state.open {
            poll(&mut state, &*shared.clock);
            state = match shared.wake.wait_timeout(state, interval) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        } else {
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::Flag;
    use crate::energy::csv::PowerLog;
    use crate::energy::meter::{Domain, Role, Value};
    use crate::energy::reading::{Scope, Trust};
    use crate::energy::tree::Tree;
    use crate::measure::clock::{FakeClock, Monotonic};
    use crate::units::{Joules, Watts};

    /// Draws a constant power by the clock it is read with.
    struct Steady {
        info: MeterInfo,
        watts: f64,
        dies_after_ns: u64,
    }

    impl Meter for Steady {
        fn info(&self) -> &MeterInfo {
            &self.info
        }

        fn read(&mut self, clock: &dyn Clock) -> Result<Vec<Value>, ReadError> {
            let now = clock.now_ns();
            if now > self.dies_after_ns {
                return Err(ReadError::Missing { what: "package-0".into() });
            }
            Ok(vec![Value::Count((now as f64 / 1e9 * self.watts * 1e6) as u64)])
        }
    }

    fn steady(watts: f64, dies_after_ns: u64) -> (Box<dyn Meter>, MeterInfo) {
        let domain = Domain {
            name: "package-0".into(),
            role: Role::Counted,
            kind: DomainKind::Counter { joules_per_count: 1e-6, range: Some(1 << 40) },
            max_watts: Some(200.0),
        };
        let info = MeterInfo {
            tick_ms: Some(1.0),
            ..MeterInfo::new("powercap", Trust::Counter, Scope::Components, vec![domain])
        };
        (Box::new(Steady { info: info.clone(), watts, dies_after_ns }), info)
    }

    fn metering(meters: Vec<(Box<dyn Meter>, MeterInfo)>) -> (FakeClock, Metering) {
        let clock = FakeClock::new();
        let metering = Metering::unattended(meters, Arc::new(clock.clone()), &SysFs::new("/nonexistent"));
        (clock, metering)
    }

    #[test]
    fn a_window_gives_power_times_time_and_net_subtracts_idle() {
        let (clock, mut metering) = metering(vec![steady(50.0, u64::MAX)]);
        let idle = metering.idle(Duration::from_secs(30));
        assert_eq!(idle.power(), Some(Watts(50.0)));
        metering.start();
        clock.advance(Duration::from_secs(4));
        let reading = metering.stop();
        assert_eq!((reading.joules, reading.window_s), (Some(Joules(200.0)), 4.0));
        assert_eq!(reading.net(&idle), Some(Joules(0.0)));
    }

    #[test]
    fn without_a_meter_a_window_has_a_length_and_no_joules() {
        let (clock, mut metering) = metering(Vec::new());
        metering.start();
        clock.advance(Duration::from_secs(2));
        let reading = metering.stop();
        assert_eq!((reading.joules, reading.window_s, reading.trust), (None, 2.0, Trust::None));
        assert_eq!(metering.advised_window(), Duration::ZERO);
    }

    #[test]
    fn a_meter_that_vanishes_mid_run_invalidates_the_window_and_names_itself() {
        let (clock, mut metering) = metering(vec![steady(50.0, 2_500_000_000)]);
        metering.start();
        for _ in 0..4 {
            clock.advance(Duration::from_secs(1));
            metering.poll();
        }
        let reading = metering.stop();
        assert_eq!((reading.joules, reading.invalid.as_deref()), (None, Some("package-0 is missing")));
    }

    #[test]
    fn closing_what_was_never_opened_is_invalid() {
        let (_clock, mut metering) = metering(vec![steady(50.0, u64::MAX)]);
        assert!(metering.stop().invalid.is_some());
    }

    #[test]
    fn heat_and_other_processes_during_a_window_are_flagged_on_it_alone() {
        let tree = Tree::new();
        let look = |busy: u64, celsius: u64| {
            tree.write("/proc/stat", &format!("cpu  {busy} 0 0 1000 0 0 0 0 0 0\n"));
            tree.write("/proc/self/stat", "7 (x) R 1 1 1 0 -1 0 0 0 0 0 5 0 0 0");
            tree.write("/sys/class/thermal/thermal_zone0/temp", &celsius.to_string());
        };
        let clock = FakeClock::new();
        let mut metering = Metering::unattended(vec![steady(50.0, u64::MAX)], Arc::new(clock.clone()), &tree.sysfs());
        let mut window = |busy: (u64, u64), celsius: (u64, u64)| {
            look(busy.0, celsius.0);
            metering.start();
            clock.advance(Duration::from_secs(1));
            look(busy.1, celsius.1);
            metering.stop().flags
        };
        assert_eq!(window((0, 100), (50_000, 55_000)), [Flag::ForeignLoad, Flag::TempDrift]);
        assert_eq!(window((100, 102), (55_000, 55_500)), []);
    }

    #[test]
    fn a_log_that_lags_is_waited_for_and_aligned() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("power.csv");
        let rows = |to: u32| (0..to).map(|t| format!("{t},{}\n", 40 + t)).collect::<String>();
        std::fs::write(&path, rows(2)).unwrap();
        let log = PowerLog::open(&path, Some("test, 1 %")).unwrap();
        let info = log.info().clone();
        let (clock, mut metering) = metering(vec![(Box::new(log), info)]);
        clock.advance(Duration::from_secs(2));
        metering.start();
        clock.advance(Duration::from_secs(8));
        let mut reading = metering.stop();
        assert_eq!(reading.joules, None);
        metering.align(&mut [&mut reading], Duration::from_secs(1)).unwrap();
        assert!(reading.invalid.is_some(), "the log does not reach over the window yet");
        std::fs::write(&path, rows(20)).unwrap();
        metering.align(&mut [&mut reading], Duration::from_secs(1)).unwrap();
        // From 42 W to 50 W in 8 s.
        assert_eq!((reading.joules, reading.invalid.as_deref()), (Some(Joules(368.0)), None));
        assert_eq!((reading.trust, reading.sensor_bound), (Trust::Wall, Some(0.01)));
        std::fs::remove_file(&path).unwrap();
        assert!(metering.align(&mut [&mut reading], Duration::ZERO).is_err());
        assert_eq!(reading.joules, Some(Joules(368.0)));
    }

    #[test]
    fn the_thread_ends_with_the_metering() {
        let metering = Metering::new(vec![steady(5.0, u64::MAX)], Arc::new(Monotonic::default()), &SysFs::default());
        let shared = Arc::downgrade(&metering.shared);
        drop(metering);
        assert!(shared.upgrade().is_none());
    }
}
