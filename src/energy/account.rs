//! Turns the reads of one meter into windows: wraps corrected, impossible steps refused, stuck counters found.

use super::Flag;
use super::meter::{Domain, DomainKind, MeterInfo, ReadError, Role, Value};
use super::rapl::is_memory;
use super::raw::RawRead;
use super::reading::{Reading, Trust};
use crate::units::Joules;

/// Shortest window over which a counter that shows nothing is called stuck, s.
const STUCK_AFTER_S: f64 = 0.1;
/// Tick taken for granted where it was not measured, s.
const DEFAULT_TICK_S: f64 = 0.1;
/// A window of fewer ticks is flagged: its edges alone are uncertain by more than 0.4 %.
const ENOUGH_TICKS: f64 = 100.0;
/// A counter and the integral of its gauge may differ by this much.
const TWIN_TOLERANCE: f64 = 0.1;
/// Factors around a modelled load that hold the truth: two published modes of one model differ by 2.35.
const ESTIMATE_FACTORS: (f64, f64) = (0.5, 2.0);

/// The open window of one meter.
#[derive(Debug)]
pub(super) struct Account {
    info: MeterInfo,
    tracks: Vec<Track>,
    started_ns: u64,
    last_ns: u64,
    fault: Option<ReadError>,
}

#[derive(Clone, Debug)]
enum Track {
    Counter { start: u64, last: u64, wraps: u64 },
    Gauge { points: Vec<(u64, f64)> },
}

impl Account {
    /// Opens a window with the edge read. `before` are gauge points known from earlier, for interpolation at the edge.
    pub(super) fn open(info: &MeterInfo, now_ns: u64, edge: Result<Vec<Value>, ReadError>) -> Self {
        let mut account =
            Self { info: info.clone(), tracks: Vec::new(), started_ns: now_ns, last_ns: now_ns, fault: None };
        match edge {
            Ok(values) if account.fits(&values) => {
                account.tracks = values
                    .into_iter()
                    .map(|value| match value {
                        Value::Count(start) => Track::Counter { start, last: start, wraps: 0 },
                        // Of the past only the newest point matters: the power at the edge.
                        Value::Watts(points) => {
                            Track::Gauge { points: points.last().map(|&p| vec![p]).unwrap_or_default() }
                        }
                    })
                    .collect();
            }
            Ok(_) => account.fault = Some(account.misfit()),
            Err(error) => account.fault = Some(error),
        }
        account
    }

    /// Adds a read inside the window. The first fault stays: nothing read later can mend the sum.
    pub(super) fn push(&mut self, now_ns: u64, values: Result<Vec<Value>, ReadError>) {
        if self.fault.is_some() {
            return;
        }
        if let Err(error) = values.and_then(|values| self.step(now_ns, values)) {
            self.fault = Some(error);
        }
        self.last_ns = now_ns;
    }

    fn step(&mut self, now_ns: u64, values: Vec<Value>) -> Result<(), ReadError> {
        if !self.fits(&values) {
            return Err(self.misfit());
        }
        let dt_s = now_ns.saturating_sub(self.last_ns) as f64 / 1e9;
        let tick_s = self.info.tick_ms.map_or(DEFAULT_TICK_S, |ms| ms / 1e3);
        for ((domain, track), value) in self.info.domains.iter().zip(&mut self.tracks).zip(values) {
            match (track, value) {
                (Track::Counter { last, wraps, .. }, Value::Count(count)) => {
                    *wraps += check_step(domain, *last, count, dt_s + 2.0 * tick_s)?;
                    *last = count;
                }
                (Track::Gauge { points }, Value::Watts(new)) => {
                    for (t, watts) in new {
                        check_watts(domain, watts)?;
                        if points.last().is_none_or(|&(before, _)| before < t) {
                            points.push((t, watts));
                        }
                    }
                }
                _ => return Err(ReadError::Missing { what: domain.name.clone() }),
            }
        }
        Ok(())
    }

    /// Closes the window with the edge read.
    pub(super) fn close(mut self, now_ns: u64, edge: Result<Vec<Value>, ReadError>) -> Reading {
        self.push(now_ns, edge);
        let window_s = now_ns.saturating_sub(self.started_ns) as f64 / 1e9;
        let tick_s = self.info.tick_ms.map(|ms| ms / 1e3);
        let mut reading = Reading {
            source: self.info.source.clone(),
            trust: self.info.trust,
            scope: self.info.scope,
            tick_ms: self.info.tick_ms,
            sensor_bound: self.info.sensor_bound,
            flags: self.info.flags.clone(),
            ..Reading::none(window_s)
        };
        if tick_s.is_some_and(|tick| window_s < ENOUGH_TICKS * tick) {
            reading.flags.push(Flag::WindowShort);
        }
        reading.raw = self.raw(window_s);
        match self.fault.take().map_or_else(|| self.total(&mut reading, tick_s), Err) {
            Ok(joules) if reading.trust == Trust::Estimated => {
                reading.range = Some((joules * ESTIMATE_FACTORS.0, joules * ESTIMATE_FACTORS.1));
            }
            Ok(joules) => reading.joules = Some(Joules(joules)),
            Err(error) => reading.invalid = Some(error.to_string()),
        }
        reading.flags.sort_unstable();
        reading.flags.dedup();
        reading
    }

    fn raw(&self, window_s: f64) -> Vec<RawRead> {
        let seconds = |t: u64| (t as f64 - self.started_ns as f64) / 1e9;
        let reads = self.info.domains.iter().zip(&self.tracks).map(|(domain, track)| match (domain.kind, track) {
            (DomainKind::Counter { joules_per_count, range }, &Track::Counter { start, last, wraps }) => {
                RawRead::Counter {
                    domain: domain.name.clone(),
                    counted: domain.role == Role::Counted,
                    joules_per_count,
                    range,
                    start,
                    stop: last,
                    wraps,
                }
            }
            (_, track) => RawRead::Gauge {
                domain: domain.name.clone(),
                counted: domain.role == Role::Counted,
                points: match track {
                    Track::Gauge { points } => points.iter().map(|&(t, watts)| (seconds(t), watts)).collect(),
                    Track::Counter { .. } => Vec::new(),
                },
                window_s,
            },
        });
        reads.collect()
    }

    /// Sum of the counted domains, J. Fills in domains, cross-check and flags.
    fn total(&self, reading: &mut Reading, tick_s: Option<f64>) -> Result<f64, ReadError> {
        let mut total = 0.0;
        let (mut twin, mut around) = (None, None);
        for (domain, raw) in self.info.domains.iter().zip(&reading.raw) {
            if let RawRead::Gauge { points, window_s, .. } = raw {
                check_coverage(domain, points, *window_s, tick_s)?;
            }
            let joules = raw.joules().ok_or_else(|| ReadError::Missing { what: domain.name.clone() })?.0;
            match domain.role {
                Role::Counted if joules == 0.0 && is_memory(&domain.name) => reading.flags.push(Flag::DramUncovered),
                Role::Counted if joules == 0.0 && matches!(raw, RawRead::Counter { .. }) => {
                    return Err(no_movement(domain, reading.window_s, tick_s));
                }
                Role::Counted => {
                    total += joules;
                    reading.domains.push(domain.name.clone());
                }
                Role::Twin => twin = Some(twin.unwrap_or(0.0) + joules),
                Role::Around => around = Some(around.unwrap_or(0.0) + joules),
                Role::Inside => {}
            }
        }
        if reading.domains.is_empty() {
            return Err(ReadError::Missing { what: format!("every domain of {}", self.info.source) });
        }
        // Raw reads of a domain that was left out must not be counted when the sum is recomputed.
        for raw in &mut reading.raw {
            let left_out = !reading.domains.iter().any(|d| d == raw.domain());
            let (RawRead::Counter { counted, .. } | RawRead::Gauge { counted, .. }) = raw;
            *counted &= !left_out;
        }
        if let Some(twin) = twin
            && (twin - total).abs() > TWIN_TOLERANCE * twin.max(total)
        {
            reading.flags.push(Flag::CounterPowerDisagree);
            reading.trust = reading.trust.max(Trust::Sampled);
        }
        reading.cross_check = twin.or(around).map(Joules);
        Ok(total)
    }

    fn fits(&self, values: &[Value]) -> bool {
        values.len() == self.info.domains.len()
            && self.info.domains.iter().zip(values).all(|(domain, value)| {
                matches!(
                    (domain.kind, value),
                    (DomainKind::Counter { .. }, Value::Count(_)) | (DomainKind::Gauge, Value::Watts(_))
                )
            })
    }

    fn misfit(&self) -> ReadError {
        ReadError::Missing { what: format!("a domain of {}", self.info.source) }
    }
}

/// Checks one step of a counter and returns the number of wraps in it, 0 or 1. `reach_s` is the time the step may cover:
/// the time between the reads and a tick on either side.
fn check_step(domain: &Domain, last: u64, count: u64, reach_s: f64) -> Result<u64, ReadError> {
    let DomainKind::Counter { joules_per_count, range } = domain.kind else { return Ok(0) };
    let implausible = |why: String| Err(ReadError::Implausible { what: domain.name.clone(), why });
    let (delta, wraps) = match range {
        _ if count >= last => (count - last, 0),
        Some(range) if last <= range => (range - last + count, 1),
        _ => return implausible(format!("it went back from {last} to {count}")),
    };
    if let Some(max) = domain.max_watts {
        let watts = delta as f64 * joules_per_count / reach_s;
        if watts > 2.0 * max {
            return implausible(format!("{last} to {count} within {reach_s:.2} s is {watts:.0} W, limit {max:.0} W"));
        }
    }
    Ok(wraps)
}

fn check_watts(domain: &Domain, watts: f64) -> Result<(), ReadError> {
    let implausible = |why: String| Err(ReadError::Implausible { what: domain.name.clone(), why });
    match domain.max_watts {
        _ if !watts.is_finite() || watts < 0.0 => implausible(format!("{watts} W")),
        Some(max) if watts > 2.0 * max => implausible(format!("{watts:.0} W, limit {max:.0} W")),
        _ => Ok(()),
    }
}

/// A gauge must have shown something inside the window, and never been silent for longer than a second and three ticks.
fn check_coverage(domain: &Domain, points: &[(f64, f64)], window_s: f64, tick_s: Option<f64>) -> Result<(), ReadError> {
    let patience = 1.0 + 3.0 * tick_s.unwrap_or(DEFAULT_TICK_S);
    let inside = points.iter().map(|p| p.0).filter(|&t| t >= -patience && t <= window_s + patience);
    let times: Vec<f64> = std::iter::once(0.0)
        .chain(inside.clone().map(|t| t.clamp(0.0, window_s)))
        .chain(std::iter::once(window_s))
        .collect();
    let silence = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    if inside.count() == 0 || silence > patience {
        return Err(ReadError::Missing {
            what: format!("a value of {} for {silence:.1} s of a window of {window_s:.1} s", domain.name),
        });
    }
    Ok(())
}

fn no_movement(domain: &Domain, window_s: f64, tick_s: Option<f64>) -> ReadError {
    let ms = (window_s * 1e3) as u64;
    if window_s < tick_s.map_or(STUCK_AFTER_S, |tick| (10.0 * tick).max(STUCK_AFTER_S)) {
        let why = format!("no update within a window of {ms} ms: use longer windows");
        return ReadError::Implausible { what: domain.name.clone(), why };
    }
    ReadError::Stuck { what: domain.name.clone(), ms }
}

#[cfg(test)]
mod tests;
