//! An external meter behind a shell command that prints watts.
//!
//! The command may print one number and end, or keep printing a number per line. It runs on a thread of its own, so that a
//! slow one never delays what is measured; too slow for a window, it makes that window invalid.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::meter::{Domain, DomainKind, Meter, MeterInfo, ReadError, Role, Value, excerpt};
use super::reading::{Scope, Trust};
use crate::measure::clock::Clock;

/// Longest line that can be a number.
const MAX_LINE: u64 = 4096;
/// How long the first value may take.
const FIRST_VALUE: Duration = Duration::from_secs(10);

/// The command, running.
pub struct PowerCommand {
    info: MeterInfo,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
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

impl PowerCommand {
    /// Starts the command and waits for its first value. `label` is the meter's model and accuracy.
    ///
    /// # Errors
    /// The command fails, prints text, or prints nothing for ten seconds.
    pub fn open(command: &str, interval: Duration, label: Option<&str>) -> Result<Self, ReadError> {
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new() });
        let (line, theirs) = (command.to_owned(), Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("power-cmd".into())
            .spawn(move || run(&theirs, &line, interval))
            .map_err(|error| failed(command, &error.to_string()))?;
        let mut meter = Self { info: external("power-cmd", label), shared, thread: Some(thread) };
        meter.info.tick_ms = Some(meter.first_value(command)?.max(interval).as_secs_f64() * 1e3);
        Ok(meter)
    }

    /// Waits for the first value; returns how long it took.
    fn first_value(&self, command: &str) -> Result<Duration, ReadError> {
        let started = Instant::now();
        let mut state = self.shared.lock();
        loop {
            if let Some(fault) = &state.fault {
                return Err(fault.clone());
            }
            if !state.values.is_empty() {
                return Ok(started.elapsed());
            }
            let Some(left) = FIRST_VALUE.checked_sub(started.elapsed()) else {
                return Err(failed(command, "it printed nothing for 10 s"));
            };
            state = match self.shared.wake.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

impl Meter for PowerCommand {
    fn info(&self) -> &MeterInfo {
        &self.info
    }

    fn read(&mut self, clock: &dyn Clock) -> Result<Vec<Value>, ReadError> {
        let (now, now_ns) = (Instant::now(), clock.now_ns());
        let mut state = self.shared.lock();
        if let Some(fault) = &state.fault {
            return Err(fault.clone());
        }
        let points = std::mem::take(&mut state.values);
        // The newest value stays: it is the power at the start of the next window.
        state.values.extend(points.last());
        let at = |then: Instant| now_ns.saturating_sub(crate::measure::clock::nanoseconds(now.duration_since(then)));
        Ok(vec![Value::Watts(points.into_iter().map(|(then, watts)| (at(then), watts)).collect())])
    }
}

impl Drop for PowerCommand {
    fn drop(&mut self) {
        let child = {
            let mut state = self.shared.lock();
            state.stopping = true;
            state.child.take()
        };
        self.shared.wake.notify_all();
        if let Some(child) = child {
            end(child);
        }
        if let Some(thread) = self.thread.take() {
            // It only reads a pipe that is closed now.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for PowerCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PowerCommand").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: ReadError) {
        self.lock().fault.get_or_insert(error);
        self.wake.notify_all();
    }
}

/// Facts of an external meter. Without a stated model and accuracy it is a gauge like any other.
pub(super) fn external(source: &str, label: Option<&str>) -> MeterInfo {
    MeterInfo {
        source: source.into(),
        trust: if label.is_some() { Trust::Wall } else { Trust::Sampled },
        scope: Scope::Wall,
        // An uncalibrated plug.
        sensor_bound: Some(0.05),
        domains: vec![Domain { name: "wall".into(), role: Role::Counted, kind: DomainKind::Gauge, max_watts: None }],
        tick_ms: None,
        flags: Vec::new(),
        note: label.map(str::to_owned),
    }
}

fn failed(command: &str, why: &str) -> ReadError {
    ReadError::Failed { what: format!("--power-cmd `{}`", excerpt(command)), why: excerpt(why) }
}

/// Runs the command again and again until the meter is dropped or the command fails.
fn run(shared: &Shared, command: &str, interval: Duration) {
    loop {
        let started = Instant::now();
        if let Err(error) = once(shared, command) {
            return shared.fail(error);
        }
        let mut state = shared.lock();
        // A slow command is not followed by a pause.
        while !state.stopping {
            let Some(left) = interval.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) else { break };
            state = match shared.wake.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        if state.stopping {
            return;
        }
    }
}

/// One run of the command: every line a number.
fn once(shared: &Shared, command: &str) -> Result<(), ReadError> {
    let mut shell = shell(command);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = shell.spawn().map_err(|error| failed(command, &error.to_string()))?;
    let pipe = child.stdout.take();
    {
        let mut state = shared.lock();
        if state.stopping {
            end(child);
            return Ok(());
        }
        state.child = Some(child);
    }
    let mut printed = false;
    if let Some(pipe) = pipe {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
            if read.map_err(|error| failed(command, &error.to_string()))? == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            if text.trim().is_empty() {
                continue;
            }
            let watts = watts(command, &text)?;
            printed = true;
            shared.lock().values.push((Instant::now(), watts));
            shared.wake.notify_all();
        }
    }
    let child = shared.lock().child.take();
    let Some(mut child) = child else { return Ok(()) };
    let status = child.wait().map_err(|error| failed(command, &error.to_string()))?;
    match () {
        () if !status.success() => Err(failed(command, &format!("it ended with {status}"))),
        () if !printed => Err(failed(command, "it printed nothing")),
        () => Ok(()),
    }
}

/// Power in a line: a number, optionally followed by `W`.
fn watts(command: &str, text: &str) -> Result<f64, ReadError> {
    let trimmed = text.trim();
    let number = trimmed.strip_suffix(['W', 'w']).unwrap_or(trimmed).trim_end();
    number.parse().ok().filter(|w: &f64| w.is_finite() && *w >= 0.0).ok_or_else(|| ReadError::Malformed {
        what: format!("--power-cmd `{}`", excerpt(command)),
        got: excerpt(trimmed),
        expected: "watts, such as 41.5",
    })
}

#[cfg(unix)]
fn shell(command: &str) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut shell = Command::new("sh");
    // A group of its own, so that what the shell starts can be ended with it.
    shell.arg("-c").arg(command).process_group(0);
    shell
}

#[cfg(not(unix))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.arg("/C").arg(command);
    shell
}

/// Ends the command and whatever it started.
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::energy::Session;
    use crate::measure::clock::Monotonic;
    use crate::measure::sysfs::SysFs;

    fn session(command: &str, interval_ms: u64) -> Result<Session, ReadError> {
        let meter = PowerCommand::open(command, Duration::from_millis(interval_ms), None)?;
        let info = meter.info().clone();
        Ok(Session::new(vec![(Box::new(meter), info)], Arc::new(Monotonic::default()), &SysFs::new("/nonexistent")))
    }

    #[test]
    fn a_constant_power_gives_its_joules_whether_printed_once_or_line_by_line() {
        for command in ["echo 40", "echo '40 W'", "while true; do echo 40; sleep 0.02; done"] {
            let mut session = session(command, 20).unwrap();
            session.start();
            std::thread::sleep(Duration::from_millis(120));
            let reading = session.stop();
            let power = reading.power().unwrap_or_else(|| panic!("{command}: {:?}", reading.invalid));
            assert!((power.0 - 40.0).abs() < 1e-6, "{command}: {power:?}");
            assert_eq!((reading.trust, reading.scope), (Trust::Sampled, Scope::Wall));
        }
    }

    #[test]
    fn text_failure_and_silence_are_errors_that_quote_what_came() {
        let error = session("echo lots", 20).unwrap_err().to_string();
        assert!(error.contains("`lots`") && error.contains("--power-cmd"), "{error}");
        for command in ["exit 3", "true", "echo -5", "echo NaN", "echo inf"] {
            assert!(session(command, 20).is_err(), "{command}");
        }
    }

    #[test]
    fn a_command_that_fails_later_invalidates_the_window() {
        let dir = tempfile::tempdir().unwrap();
        let flag = dir.path().join("dead");
        let mut session = session(&format!("test ! -e {} && echo 40", flag.display()), 10).unwrap();
        session.start();
        std::fs::write(&flag, "").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let reading = session.stop();
        assert_eq!(reading.joules, None);
        assert!(reading.invalid.unwrap().contains("ended with"));
    }

    #[test]
    fn dropping_the_meter_ends_what_the_command_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let command = format!("sh -c 'echo $$ > {}; echo 1; while true; do sleep 0.05; done'; true", file.display());
        let meter = PowerCommand::open(&command, Duration::from_millis(10), Some("test, 1 %")).unwrap();
        assert_eq!(meter.info().trust, Trust::Wall);
        let pid = std::fs::read_to_string(&file).unwrap();
        drop(meter);
        std::thread::sleep(Duration::from_millis(100));
        // A zombie whose new parent does not collect it is as dead.
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        let state = state.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
        assert!(matches!(state, None | Some(Some('Z' | 'X'))), "{state:?}");
    }
}
