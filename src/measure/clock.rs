//! Time, as a trait so that protocols and meters can be tested without waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A monotonic clock that can also wait and tell the date.
pub trait Clock: Send + Sync {
    /// Nanoseconds since an arbitrary start; never goes backwards.
    fn now_ns(&self) -> u64;

    /// Waits.
    fn sleep(&self, time: Duration);

    /// Seconds since 1970-01-01 UTC, for aligning with meters that stamp by date.
    fn unix_s(&self) -> f64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct Monotonic {
    start: Instant,
}

impl Default for Monotonic {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for Monotonic {
    fn now_ns(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn unix_s(&self) -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
    }
}

/// A clock that moves only when told to, or by a fixed step at every look. Clones share the time.
#[derive(Clone, Debug, Default)]
pub struct FakeClock {
    now: Arc<AtomicU64>,
    step: u64,
}

impl FakeClock {
    /// Starts at 0 and stands still.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves by `step` at every look.
    #[must_use]
    pub fn ticking(step: Duration) -> Self {
        Self { now: Arc::default(), step: nanoseconds(step) }
    }

    /// Moves on.
    pub fn advance(&self, time: Duration) {
        self.now.fetch_add(nanoseconds(time), Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now_ns(&self) -> u64 {
        self.now.fetch_add(self.step, Ordering::SeqCst)
    }

    fn sleep(&self, time: Duration) {
        self.advance(time);
    }

    fn unix_s(&self) -> f64 {
        self.now.load(Ordering::SeqCst) as f64 / 1e9
    }
}

/// A duration in whole nanoseconds; saturates after 584 years.
#[must_use]
pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
