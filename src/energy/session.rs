//! A run's meters, the thread that follows their counters, and the windows measured with them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::account::Account;
use super::meter::{DomainKind, Meter, MeterInfo};
use super::reading::{Flag, Reading};
use crate::measure::clock::Clock;
use crate::measure::noise::on_battery;
use crate::measure::sysfs::SysFs;

/// Gauges are read ten times a second: more would disturb what is measured.
const GAUGE_INTERVAL: Duration = Duration::from_millis(100);
/// Counters only need to be seen before they wrap.
const COUNTER_INTERVAL: Duration = Duration::from_secs(1);
/// Power assumed where a domain has no limit, W: only decides how often a counter is looked at.
const ASSUMED_MAX_WATTS: f64 = 500.0;

/// Meters that are open, and at most one window at a time. Without meters every window reads "none".
pub struct Session {
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
}

struct Source {
    meter: Box<dyn Meter>,
    info: MeterInfo,
    window: Option<Account>,
}

impl Session {
    /// A session over calibrated meters, followed by a thread.
    #[must_use]
    pub fn new(meters: Vec<(Box<dyn Meter>, MeterInfo)>, clock: Arc<dyn Clock>, sysfs: &SysFs) -> Self {
        let mut session = Self::unattended(meters, clock, sysfs);
        if let Some(interval) = session.interval() {
            let shared = Arc::clone(&session.shared);
            let spawned = std::thread::Builder::new().name("energy".into()).spawn(move || follow(&shared, interval));
            session.sampler = spawned.ok();
        }
        session
    }

    /// A session without a thread: [`Session::poll`] stands in for it. For tests with a clock of their own.
    #[must_use]
    pub fn unattended(meters: Vec<(Box<dyn Meter>, MeterInfo)>, clock: Arc<dyn Clock>, sysfs: &SysFs) -> Self {
        let infos = meters.iter().map(|(_, info)| info.clone()).collect();
        let sources = meters.into_iter().map(|(meter, info)| Source { meter, info, window: None }).collect();
        let state = State { sources, open: false, stopping: false, started_ns: 0, started_unix_s: 0.0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), clock });
        Self { shared, sampler: None, infos, sysfs: sysfs.clone() }
    }

    /// A session without meters.
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
        state.started_unix_s = clock.unix_s();
        for source in &mut state.sources {
            let values = source.meter.read(clock);
            source.window = Some(Account::open(&source.info, clock.now_ns(), values));
        }
        state.started_ns = clock.now_ns();
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
        drop(state);
        if !self.infos.is_empty() && on_battery(&self.sysfs) == Some(true) {
            reading.flags.push(Flag::OnBattery);
        }
        reading
    }

    /// Measures while nothing happens.
    pub fn idle(&mut self, time: Duration) -> Reading {
        self.start();
        self.shared.clock.sleep(time);
        self.stop()
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

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.wake.notify_all();
        if let Some(sampler) = self.sampler.take() {
            // The thread only reads meters; if one of them panicked the run's results are still good.
            let _ = sampler.join();
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("infos", &self.infos).finish_non_exhaustive()
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

/// Power while idle: before a model is loaded, and with it ready to answer.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct IdleBaselines {
    /// No model loaded.
    pub bare: Option<Reading>,
    /// The model loaded, before the work.
    pub ready: Option<Reading>,
    /// The model loaded, after the work.
    pub after: Option<Reading>,
}

impl IdleBaselines {
    /// Relative change of idle power over the run; `None` unless it was measured twice.
    #[must_use]
    pub fn drift(&self) -> Option<f64> {
        let (before, after) = (self.ready.as_ref()?.power()?.0, self.after.as_ref()?.power()?.0);
        (before > 0.0).then(|| after / before - 1.0)
    }

    /// Whether the idle power changed by more than 5 %.
    #[must_use]
    pub fn drifted(&self) -> bool {
        self.drift().is_some_and(|drift| drift.abs() > 0.05)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::meter::{Domain, ReadError, Role, Value};
    use crate::energy::reading::{Scope, Trust};
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
        let info = MeterInfo {
            source: "powercap".into(),
            trust: Trust::Counter,
            scope: Scope::Components,
            sensor_bound: None,
            domains: vec![Domain {
                name: "package-0".into(),
                role: Role::Counted,
                kind: DomainKind::Counter { joules_per_count: 1e-6, range: Some(1 << 40) },
                max_watts: Some(200.0),
            }],
            tick_ms: Some(1.0),
            flags: Vec::new(),
            note: None,
        };
        (Box::new(Steady { info: info.clone(), watts, dies_after_ns }), info)
    }

    fn session(meters: Vec<(Box<dyn Meter>, MeterInfo)>) -> (FakeClock, Session) {
        let clock = FakeClock::new();
        let session = Session::unattended(meters, Arc::new(clock.clone()), &SysFs::new("/nonexistent"));
        (clock, session)
    }

    #[test]
    fn a_window_gives_power_times_time_and_net_subtracts_idle() {
        let (clock, mut session) = session(vec![steady(50.0, u64::MAX)]);
        let idle = session.idle(Duration::from_secs(30));
        assert_eq!(idle.power(), Some(Watts(50.0)));
        session.start();
        clock.advance(Duration::from_secs(4));
        let reading = session.stop();
        assert_eq!((reading.joules, reading.window_s), (Some(Joules(200.0)), 4.0));
        assert_eq!(reading.net(&idle), Some(Joules(0.0)));
    }

    #[test]
    fn without_a_meter_a_window_has_a_length_and_no_joules() {
        let (clock, mut session) = session(Vec::new());
        session.start();
        clock.advance(Duration::from_secs(2));
        let reading = session.stop();
        assert_eq!((reading.joules, reading.window_s, reading.trust), (None, 2.0, Trust::None));
        assert_eq!(session.advised_window(), Duration::ZERO);
    }

    #[test]
    fn a_meter_that_vanishes_mid_run_invalidates_the_window_and_names_itself() {
        let (clock, mut session) = session(vec![steady(50.0, 2_500_000_000)]);
        session.start();
        for _ in 0..4 {
            clock.advance(Duration::from_secs(1));
            session.poll();
        }
        let reading = session.stop();
        assert_eq!((reading.joules, reading.invalid.as_deref()), (None, Some("package-0 is missing")));
    }

    #[test]
    fn closing_what_was_never_opened_is_invalid() {
        let (_clock, mut session) = session(vec![steady(50.0, u64::MAX)]);
        assert!(session.stop().invalid.is_some());
    }

    #[test]
    fn drift_of_idle_power_is_seen() {
        let (_clock, mut session) = session(vec![steady(50.0, u64::MAX)]);
        let ready = session.idle(Duration::from_secs(10));
        let hotter = Reading { joules: ready.joules.map(|j| j * 1.1), ..ready.clone() };
        let idle = IdleBaselines { bare: None, ready: Some(ready), after: Some(hotter) };
        assert!(idle.drifted() && (idle.drift().unwrap() - 0.1).abs() < 1e-9);
    }

    #[test]
    fn the_thread_ends_with_the_session() {
        let session = Session::new(vec![steady(5.0, u64::MAX)], Arc::new(Monotonic::default()), &SysFs::default());
        let shared = Arc::downgrade(&session.shared);
        drop(session);
        assert!(shared.upgrade().is_none());
    }
}
