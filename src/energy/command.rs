//! An external meter behind a shell command that prints watts.
//!
//! The command may print one number and end, or keep printing a number per line.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::dialect::{Dialect, Listener};
use super::meter::{Domain, MeterInfo, ReadError, excerpt};
use super::reading::{Scope, Trust};
use super::sampler::{Feed, Sampler};

/// Longest line that can be a number.
const MAX_LINE: u64 = 4096;
/// The domain of an external meter.
pub(super) const WALL: &str = "wall";
/// Sensor bound of a plug nobody has checked, an assumption.
const UNCALIBRATED: f64 = 0.05;

/// Starts the command and waits for its first value. `label` is the meter's model and accuracy.
///
/// # Errors
/// The command fails, prints text, or prints nothing for ten seconds.
pub fn open(command: &str, interval: Duration, label: Option<&str>) -> Result<Sampler, ReadError> {
    let name = format!("--power-cmd `{}`", excerpt(command));
    start(external("power-cmd", label), &name, command, interval, Dialect::Watts)
}

/// Starts a program whose output is power in its own words. `name` is what errors call it.
pub(super) fn start(
    info: MeterInfo,
    name: &str,
    command: &str,
    interval: Duration,
    dialect: Dialect,
) -> Result<Sampler, ReadError> {
    let program = Program { name: name.to_owned(), command: command.to_owned(), dialect };
    Sampler::start(info, name, interval, move |feed| program.run(feed, interval))
}

/// Facts of an external meter. Without a stated model and accuracy it is a gauge like any other.
pub(super) fn external(source: &str, label: Option<&str>) -> MeterInfo {
    let trust = if label.is_some() { Trust::Wall } else { Trust::Sampled };
    MeterInfo {
        sensor_bound: Some(stated_accuracy(label).unwrap_or(UNCALIBRATED)),
        note: label.map(str::to_owned),
        ..MeterInfo::new(source, trust, Scope::Wall, vec![Domain::gauge(WALL, None)])
    }
}

/// Accuracy in a label such as `Shelly Plug S, 2 %`, as a share; `None` if it states none between 0 and 50 %.
fn stated_accuracy(label: Option<&str>) -> Option<f64> {
    let before = label?.rsplit_once('%')?.0.trim_end();
    let number = before.rsplit(|c: char| !(c.is_ascii_digit() || c == '.')).next()?;
    number.parse().ok().filter(|percent| (0.0..50.0).contains(percent)).map(|percent: f64| percent / 100.0)
}

/// A program that prints power.
struct Program {
    name: String,
    command: String,
    dialect: Dialect,
}

impl Program {
    /// Runs it again and again until the meter is dropped or it fails.
    fn run(&self, feed: &Feed, interval: Duration) {
        loop {
            let started = Instant::now();
            if let Err(error) = self.once(feed) {
                return feed.fail(error);
            }
            if !feed.pause(started, interval) {
                return;
            }
        }
    }

    /// One run: every line is handed to the dialect.
    fn once(&self, feed: &Feed) -> Result<(), ReadError> {
        let mut shell = shell(&self.command);
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = shell.spawn().map_err(|error| self.failed(&error.to_string()))?;
        let pipe = child.stdout.take();
        if !feed.adopt(child) {
            return Ok(());
        }
        let mut listener = Listener::new(self.dialect);
        let mut printed = false;
        let mut push = |watts: Option<f64>| {
            if let Some(watts) = watts {
                printed = true;
                feed.push(watts);
            }
        };
        if let Some(pipe) = pipe {
            let mut lines = BufReader::new(pipe);
            let mut line = Vec::new();
            loop {
                line.clear();
                let read = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
                if read.map_err(|error| self.failed(&error.to_string()))? == 0 {
                    break;
                }
                let text = String::from_utf8_lossy(&line);
                push(listener.line(&text).map_err(|expected| ReadError::Malformed {
                    what: self.name.clone(),
                    got: excerpt(&text),
                    expected,
                })?);
            }
            push(listener.end());
        }
        let Some(mut child) = feed.release() else { return Ok(()) };
        let status = child.wait().map_err(|error| self.failed(&error.to_string()))?;
        match () {
            () if !status.success() => Err(self.failed(&format!("it ended with {status}"))),
            () if !printed => Err(self.failed("it printed no power")),
            () => Ok(()),
        }
    }

    fn failed(&self, why: &str) -> ReadError {
        ReadError::Failed { what: self.name.clone(), why: excerpt(why) }
    }
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

#[cfg(all(test, unix))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::energy::Metering;
    use crate::energy::meter::Meter as _;
    use crate::measure::clock::Monotonic;
    use crate::measure::sysfs::SysFs;

    fn metering(command: &str, interval_ms: u64) -> Result<Metering, ReadError> {
        let meter = open(command, Duration::from_millis(interval_ms), None)?;
        let info = meter.info().clone();
        Ok(Metering::new(vec![(Box::new(meter), info)], Arc::new(Monotonic::default()), &SysFs::new("/nonexistent")))
    }

    #[test]
    fn a_constant_power_gives_its_joules_whether_printed_once_or_line_by_line() {
        for command in ["echo 40", "echo '40 W'", "while true; do echo 40; sleep 0.02; done"] {
            let mut metering = metering(command, 20).unwrap();
            metering.start();
            std::thread::sleep(Duration::from_millis(120));
            let reading = metering.stop();
            let power = reading.power().unwrap_or_else(|| panic!("{command}: {:?}", reading.invalid));
            assert!((power.0 - 40.0).abs() < 1e-6, "{command}: {power:?}");
            assert_eq!((reading.trust, reading.scope), (Trust::Sampled, Scope::Wall));
        }
    }

    #[test]
    fn a_stated_accuracy_is_the_sensor_bound() {
        for (label, bound) in [
            (Some("Shelly Plug S, 2 %"), 0.02),
            (Some("LMG 671 (0.015%)"), 0.000_15),
            (Some("my plug"), UNCALIBRATED),
            (Some("100 %"), UNCALIBRATED),
            (Some("some %"), UNCALIBRATED),
            (None, UNCALIBRATED),
        ] {
            let stated = external("power-cmd", label).sensor_bound.unwrap();
            assert!((stated - bound).abs() < 1e-12, "{label:?}: {stated}");
        }
    }

    #[test]
    fn text_failure_and_silence_are_errors_that_quote_what_came() {
        let error = metering("echo lots", 20).unwrap_err().to_string();
        assert!(error.contains("`lots`") && error.contains("--power-cmd"), "{error}");
        for command in ["exit 3", "true", "echo -5", "echo NaN", "echo inf"] {
            assert!(metering(command, 20).is_err(), "{command}");
        }
    }

    #[test]
    fn a_command_that_fails_later_invalidates_the_window() {
        let dir = tempfile::tempdir().unwrap();
        let flag = dir.path().join("dead");
        let mut metering = metering(&format!("test ! -e {} && echo 40", flag.display()), 10).unwrap();
        metering.start();
        std::fs::write(&flag, "").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let reading = metering.stop();
        assert_eq!(reading.joules, None);
        assert!(reading.invalid.unwrap().contains("ended with"));
    }

    #[test]
    fn dropping_the_meter_ends_what_the_command_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let command = format!("sh -c 'echo $$ > {}; echo 1; while true; do sleep 0.05; done'; true", file.display());
        let meter = open(&command, Duration::from_millis(10), Some("test, 1 %")).unwrap();
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
