//! A gauge behind something slow (a program, a plug on the network): followed by a thread of its own, so that it never
//! delays what is measured. Too slow for a window, it makes that window invalid.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::meter::{Meter, MeterInfo, ReadError, Value};
use crate::measure::clock::{Clock, nanoseconds};

/// How long the first value may take.
const FIRST_VALUE: Duration = Duration::from_secs(10);

/// A gauge and the thread that reads it.
pub struct Sampler {
    info: MeterInfo,
    feed: Arc<Feed>,
    thread: Option<JoinHandle<()>>,
}

/// Where the thread puts what it reads.
#[derive(Default)]
pub(super) struct Feed {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// When each value came, W.
    values: Vec<(Instant, f64)>,
    fault: Option<ReadError>,
    child: Option<Child>,
    stopping: bool,
}

impl Sampler {
    /// Starts the thread and waits for its first value. The tick is the interval, or longer if the value took longer.
    ///
    /// # Errors
    /// What the thread fails with, or `what` gave nothing for ten seconds.
    pub(super) fn start(
        info: MeterInfo,
        what: &str,
        interval: Duration,
        work: impl FnOnce(&Feed) + Send + 'static,
    ) -> Result<Self, ReadError> {
        let failed = |why: &str| ReadError::Failed { what: what.to_owned(), why: why.to_owned() };
        let feed = Arc::new(Feed::default());
        let theirs = Arc::clone(&feed);
        let thread = std::thread::Builder::new()
            .name(info.source.clone())
            .spawn(move || work(&theirs))
            .map_err(|error| failed(&error.to_string()))?;
        let mut meter = Self { info, feed, thread: Some(thread) };
        let first = meter.feed.first_value().ok_or_else(|| failed("it gave nothing for 10 s"))??;
        meter.info.tick_ms = Some(first.max(interval).as_secs_f64() * 1e3);
        Ok(meter)
    }
}

impl Meter for Sampler {
    fn info(&self) -> &MeterInfo {
        &self.info
    }

    fn read(&mut self, clock: &dyn Clock) -> Result<Vec<Value>, ReadError> {
        let (now, now_ns) = (Instant::now(), clock.now_ns());
        let mut state = self.feed.lock();
        if let Some(fault) = &state.fault {
            return Err(fault.clone());
        }
        let points = std::mem::take(&mut state.values);
        // The newest value stays: it is the power at the start of the next window.
        state.values.extend(points.last());
        let at = |then: Instant| now_ns.saturating_sub(nanoseconds(now.duration_since(then)));
        Ok(vec![Value::Watts(points.into_iter().map(|(then, watts)| (at(then), watts)).collect())])
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        let child = {
            let mut state = self.feed.lock();
            state.stopping = true;
            state.child.take()
        };
        self.feed.wake.notify_all();
        if let Some(child) = child {
            end(child);
        }
        if let Some(thread) = self.thread.take() {
            // It only reads what is closed now.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sampler").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A value read now, W.
    pub(super) fn push(&self, watts: f64) {
        self.lock().values.push((Instant::now(), watts));
        self.wake.notify_all();
    }

    /// The first fault stays.
    pub(super) fn fail(&self, error: ReadError) {
        self.lock().fault.get_or_insert(error);
        self.wake.notify_all();
    }

    /// Keeps a child that must end with the meter. `false` if the meter is gone: the child was ended.
    pub(super) fn adopt(&self, child: Child) -> bool {
        let mut state = self.lock();
        if state.stopping {
            drop(state);
            end(child);
            return false;
        }
        state.child = Some(child);
        true
    }

    /// Gives the child back; `None` if the meter ended it.
    pub(super) fn release(&self) -> Option<Child> {
        self.lock().child.take()
    }

    /// Waits until `interval` after `started`; a reading that took longer is not followed by a pause. `false` when the
    /// meter is gone.
    pub(super) fn pause(&self, started: Instant, interval: Duration) -> bool {
        let mut state = self.lock();
        while !state.stopping {
            // Never `interval - elapsed`: a slow reading would underflow it.
            let Some(left) = interval.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) else { break };
            state = match self.wake.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        !state.stopping
    }

    /// How long the first value took, or the fault that came instead; `None` if neither came in time.
    fn first_value(&self) -> Option<Result<Duration, ReadError>> {
        let started = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(fault) = &state.fault {
                return Some(Err(fault.clone()));
            }
            if !state.values.is_empty() {
                return Some(Ok(started.elapsed()));
            }
            let left = FIRST_VALUE.checked_sub(started.elapsed())?;
            state = match self.wake.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// Ends a child and whatever it started.
fn end(mut child: Child) {
    #[cfg(unix)]
    {
        let group = format!("-{}", child.id());
        let kill = Command::new("kill").args(["-TERM", "--", &group]).stderr(Stdio::null()).status();
        // The group is usually gone by itself; if it cannot be ended, the child below still can.
        let _ = kill;
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_slower_than_its_interval_is_followed_by_no_pause() {
        // EnergiBridge computes `interval - elapsed`, which underflows.
        let feed = Feed::default();
        let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        assert!(feed.pause(long_ago, Duration::from_millis(10)));
        assert!(feed.pause(Instant::now(), Duration::ZERO));
    }
}
