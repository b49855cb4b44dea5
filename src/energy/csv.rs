//! An external meter's log, `t_unix,watts`: read while it grows, or aligned with the windows after the run.

use std::path::{Path, PathBuf};

use super::command::external;
use super::meter::{Meter, MeterInfo, ReadError, Value, excerpt};
use super::reading::{RawRead, Reading, trapezoid};
use crate::measure::clock::Clock;
use crate::units::Joules;

/// Power over time: (s since 1970, W), in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PowerSeries {
    points: Vec<(f64, f64)>,
}

impl PowerSeries {
    /// Reads the file. A first line that is not numbers is a heading; a last line without its end may still be written
    /// and is ignored.
    ///
    /// # Errors
    /// The file cannot be read, or a row is not two numbers, or time goes backwards: file and line are named.
    pub fn load(path: &Path) -> Result<Self, ReadError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ReadError::Missing { what: name.clone() },
            _ => ReadError::Failed { what: name.clone(), why: error.to_string() },
        })?;
        let complete = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut points: Vec<(f64, f64)> = Vec::new();
        for (i, line) in complete.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let bad = |expected| ReadError::Malformed {
                what: format!("{name}, line {}", i + 1),
                got: excerpt(line),
                expected,
            };
            let parsed = line.split_once(',').and_then(|(t, w)| Some((t.trim().parse().ok()?, w.trim().parse().ok()?)));
            match parsed {
                Some((t, w)) if f64::is_finite(t) && f64::is_finite(w) && w >= 0.0 => {
                    if points.last().is_some_and(|&(before, _)| before > t) {
                        return Err(bad("rows in order of time"));
                    }
                    points.push((t, w));
                }
                _ if i == 0 => {}
                _ => return Err(bad("t_unix,watts")),
            }
        }
        Ok(Self { points })
    }

    /// Energy between two times, s since 1970. `None` where the log does not reach over both.
    #[must_use]
    pub fn joules(&self, from: f64, to: f64) -> Option<Joules> {
        let (first, last) = (self.points.first()?.0, self.points.last()?.0);
        (first <= from && to <= last).then(|| trapezoid(&self.points, from, to).map(Joules))?
    }

    /// Fills in a reading whose window the log did not yet reach over when it closed.
    pub fn align(&self, reading: &mut Reading) {
        let Some(start) = reading.started_unix_s else { return };
        let end = start + reading.window_s;
        if let Some(joules) = self.joules(start, end) {
            // One row beyond each edge, for the interpolation there.
            let first = self.points.partition_point(|p| p.0 <= start).saturating_sub(1);
            let last = (self.points.partition_point(|p| p.0 < end) + 1).min(self.points.len());
            let points = self.points[first..last].iter().map(|&(t, w)| (t - start, w)).collect();
            let window_s = reading.window_s;
            reading.raw = vec![RawRead::Gauge { domain: "wall".into(), counted: true, points, window_s }];
            (reading.joules, reading.invalid) = (Some(joules), None);
            reading.domains = vec!["wall".into()];
        }
    }
}

/// The log, as a meter.
#[derive(Debug)]
pub struct PowerLog {
    info: MeterInfo,
    path: PathBuf,
}

impl PowerLog {
    /// Opens the log.
    ///
    /// # Errors
    /// See [`PowerSeries::load`].
    pub fn open(path: &Path, label: Option<&str>) -> Result<Self, ReadError> {
        let series = PowerSeries::load(path)?;
        let gaps: Vec<f64> = series.points.windows(2).map(|p| (p[1].0 - p[0].0) * 1e3).collect();
        let mut info = external("power-csv", label);
        info.tick_ms = Some(crate::stats::quantile::median(&gaps).unwrap_or(1000.0));
        Ok(Self { info, path: path.to_owned() })
    }
}

impl Meter for PowerLog {
    fn info(&self) -> &MeterInfo {
        &self.info
    }

    fn read(&mut self, clock: &dyn Clock) -> Result<Vec<Value>, ReadError> {
        let series = PowerSeries::load(&self.path)?;
        let (now_ns, unix_s) = (clock.now_ns() as f64, clock.unix_s());
        let on_clock = |&(t, watts): &(f64, f64)| {
            let ns = now_ns + (t - unix_s) * 1e9;
            (ns >= 0.0).then_some((ns as u64, watts))
        };
        Ok(vec![Value::Watts(series.points.iter().filter_map(on_clock).collect())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::reading::{Scope, Trust};

    fn load(text: &str) -> Result<PowerSeries, ReadError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("power.csv");
        std::fs::write(&path, text).unwrap();
        PowerSeries::load(&path)
    }

    #[test]
    fn a_log_gives_the_energy_between_two_times_and_nothing_beyond_its_ends() {
        let series = load("t_unix,watts\n100,100\n101,300\n\n103,300\n104,100\n105,9").unwrap();
        assert_eq!(series.joules(100.0, 104.0), Some(Joules(1000.0)));
        // The unfinished last line is not used.
        assert_eq!(series.joules(100.0, 105.0), None);
        assert_eq!(series.joules(99.0, 101.0), None);
    }

    #[test]
    fn bad_rows_are_named_by_file_and_line() {
        for (text, expected) in [
            ("1,2\nfoo,3\n", "line 2"),
            ("1,2\n3\n", "line 2"),
            ("t,w\n5,1\n4,1\n", "line 3"),
            ("1,2\n2,-5\n", "line 2"),
            ("1,2\n2,NaN\n", "line 2"),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("power.csv"), "{text}: {error}");
        }
        assert!(matches!(PowerSeries::load(Path::new("/nonexistent/p.csv")), Err(ReadError::Missing { .. })));
    }

    #[test]
    fn a_window_is_aligned_after_the_run() {
        let series = load("100,50\n110,50\n").unwrap();
        let mut reading = Reading {
            invalid: Some("wall is missing".into()),
            started_unix_s: Some(103.0),
            trust: Trust::Wall,
            scope: Scope::Wall,
            ..Reading::none(4.0)
        };
        series.align(&mut reading);
        assert_eq!((reading.joules, reading.invalid.as_deref()), (Some(Joules(200.0)), None));
        let from_raw = reading.raw[0].joules().unwrap();
        assert!((from_raw.0 - 200.0).abs() < 1e-9);
        // A window outside the log stays unknown.
        let mut outside = Reading { started_unix_s: Some(109.0), ..Reading::none(4.0) };
        series.align(&mut outside);
        assert_eq!(outside.joules, None);
    }
}
