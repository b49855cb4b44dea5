//! An external meter's log, `t_unix,watts`: read while it grows, or aligned with the windows after the run.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::command::{WALL, external};
use super::meter::{Meter, MeterInfo, ReadError, Value, excerpt};
use super::raw::{RawRead, trapezoid};
use super::reading::Reading;
use crate::measure::clock::Clock;
use crate::units::Joules;

/// Power over time: (s since 1970, W), in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PowerSeries {
    points: Vec<(f64, f64)>,
    /// Bytes of complete lines read so far, and how many lines they were.
    read: u64,
    lines: usize,
}

impl PowerSeries {
    /// Reads the file. A first line that is not numbers is a heading; a last line without its end may still be written
    /// and is ignored.
    ///
    /// # Errors
    /// The file cannot be read, or a row is not two numbers, or time goes backwards: file and line are named.
    pub fn load(path: &Path) -> Result<Self, ReadError> {
        let mut series = Self::default();
        series.follow(path)?;
        Ok(series)
    }

    /// Reads the rows that were added since the last look. Returns where they begin in the series.
    fn follow(&mut self, path: &Path) -> Result<usize, ReadError> {
        let name = path.display().to_string();
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => ReadError::Missing { what: name.clone() },
            _ => ReadError::Failed { what: name.clone(), why: error.to_string() },
        };
        let mut file = std::fs::File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() < self.read {
            let why = "it became shorter while it was followed".to_owned();
            return Err(ReadError::Implausible { what: name, why });
        }
        file.seek(SeekFrom::Start(self.read)).map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        let added = self.points.len();
        for line in text.lines() {
            self.lines += 1;
            self.row(line, &name)?;
        }
        self.read += text.len() as u64;
        Ok(added)
    }

    fn row(&mut self, line: &str, name: &str) -> Result<(), ReadError> {
        let bad = |expected| ReadError::Malformed {
            what: format!("{name}, line {}", self.lines),
            got: excerpt(line),
            expected,
        };
        let number = |text: &str| text.trim().parse::<f64>().ok();
        match line.split_once(',').and_then(|(t, w)| Some((number(t)?, number(w)?))) {
            _ if line.trim().is_empty() => {}
            Some((t, w)) if t.is_finite() && w.is_finite() && w >= 0.0 => {
                if self.points.last().is_some_and(|&(before, _)| before > t) {
                    return Err(bad("rows in order of time"));
                }
                self.points.push((t, w));
            }
            _ if self.lines == 1 => {}
            _ => return Err(bad("t_unix,watts")),
        }
        Ok(())
    }

    /// Time of the last row, s since 1970.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.points.last().map(|point| point.0)
    }

    /// Median time between rows, s.
    #[must_use]
    pub fn tick(&self) -> Option<f64> {
        crate::stats::quantile::median(&self.points.windows(2).map(|p| p[1].0 - p[0].0).collect::<Vec<_>>())
    }

    /// Energy between two times, s since 1970.
    ///
    /// # Errors
    /// The log does not reach over both, or pauses in between for longer than a second and three of its own steps: what
    /// was drawn then is unknown.
    pub fn joules(&self, from: f64, to: f64) -> Result<Joules, ReadError> {
        let missing = |what: String| ReadError::Missing { what };
        let ends = self.points.first().zip(self.points.last()).map(|(first, last)| (first.0, last.0));
        let Some((first, last)) = ends.filter(|(first, last)| *first <= from && to <= *last) else {
            return Err(missing(format!("the log's part from {from:.1} to {to:.1}")));
        };
        let patience = 1.0 + 3.0 * self.tick().unwrap_or(1.0);
        let inside = self.around(from.max(first), to.min(last));
        if let Some(gap) = inside.windows(2).find(|p| p[1].0 - p[0].0 > patience) {
            return Err(missing(format!("the log's part from {:.1} to {:.1}", gap[0].0, gap[1].0)));
        }
        trapezoid(inside, from, to).map(Joules).ok_or_else(|| missing("the log's part inside the window".into()))
    }

    /// The rows between two times with one beyond each edge, for the interpolation there.
    fn around(&self, from: f64, to: f64) -> &[(f64, f64)] {
        let first = self.points.partition_point(|p| p.0 <= from).saturating_sub(1);
        let last = (self.points.partition_point(|p| p.0 < to) + 1).min(self.points.len());
        self.points.get(first..last).unwrap_or_default()
    }

    /// Fills in a window from the log; one it does not reach over keeps what it had, with the reason if that was nothing.
    pub fn align(&self, reading: &mut Reading) {
        let Some(start) = reading.started_unix_s else { return };
        match self.joules(start, start + reading.window_s) {
            Ok(joules) => {
                let window_s = reading.window_s;
                let points = self.around(start, start + window_s).iter().map(|&(t, w)| (t - start, w)).collect();
                reading.raw = vec![RawRead::Gauge { domain: WALL.into(), counted: true, points, window_s }];
                // The joules a reader recomputes are those of the stored points.
                reading.joules = reading.raw[0].joules().or(Some(joules));
                reading.invalid = None;
                reading.domains = vec![WALL.into()];
            }
            Err(error) if reading.joules.is_none() => reading.invalid = Some(error.to_string()),
            Err(_) => {}
        }
    }
}

/// The log, as a meter.
#[derive(Debug)]
pub struct PowerLog {
    info: MeterInfo,
    path: PathBuf,
    series: PowerSeries,
}

impl PowerLog {
    /// Opens the log.
    ///
    /// # Errors
    /// See [`PowerSeries::load`].
    pub fn open(path: &Path, label: Option<&str>) -> Result<Self, ReadError> {
        let series = PowerSeries::load(path)?;
        let mut info = external("power-csv", label);
        info.tick_ms = Some(series.tick().map_or(1000.0, |tick| tick * 1e3));
        Ok(Self { info, path: path.to_owned(), series })
    }
}

impl Meter for PowerLog {
    fn info(&self) -> &MeterInfo {
        &self.info
    }

    fn read(&mut self, clock: &dyn Clock) -> Result<Vec<Value>, ReadError> {
        // The last row known before belongs to it: it is the power at the edge of a window.
        let added = self.series.follow(&self.path)?.saturating_sub(1);
        let (now_ns, unix_s) = (clock.now_ns() as f64, clock.unix_s());
        let on_clock = |&(t, watts): &(f64, f64)| {
            let ns = now_ns + (t - unix_s) * 1e9;
            (ns >= 0.0).then_some((ns as u64, watts))
        };
        Ok(vec![Value::Watts(self.series.points[added..].iter().filter_map(on_clock).collect())])
    }

    fn log(&self) -> Option<&Path> {
        Some(&self.path)
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
        assert_eq!(series.joules(100.0, 104.0), Ok(Joules(1000.0)));
        // The unfinished last line is not used.
        assert!(series.joules(100.0, 105.0).is_err() && series.joules(99.0, 101.0).is_err());
    }

    #[test]
    fn a_pause_of_the_logger_is_not_bridged() {
        let series = load("0,50\n1,50\n2,50\n3,50\n60,50\n61,50\n").unwrap();
        assert_eq!(series.joules(0.5, 2.5), Ok(Joules(100.0)));
        assert!(series.joules(2.0, 60.5).unwrap_err().to_string().contains("from 3.0 to 60.0"));
    }

    #[test]
    fn a_growing_log_is_followed_and_one_that_shrinks_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("power.csv");
        std::fs::write(&path, "t,w\n1,5\n2,6").unwrap();
        let mut series = PowerSeries::load(&path).unwrap();
        assert_eq!(series.last(), Some(1.0));
        std::fs::write(&path, "t,w\n1,5\n2,6.5\n3,7\n").unwrap();
        assert_eq!(series.follow(&path).unwrap(), 1);
        assert_eq!(series.points, [(1.0, 5.0), (2.0, 6.5), (3.0, 7.0)]);
        std::fs::write(&path, "t,w\n1,5\n2,6.5\n3,7\nx,y\n").unwrap();
        assert!(series.follow(&path).unwrap_err().to_string().contains("line 5"));
        std::fs::write(&path, "t,w\n").unwrap();
        assert!(series.follow(&path).unwrap_err().to_string().contains("shorter"));
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
        let series = load(&(100..=110).map(|t| format!("{t},50\n")).collect::<String>()).unwrap();
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
