//! Turns the reads of one meter into windows: wraps corrected, impossible steps refused, stuck counters found.

use super::meter::{Domain, DomainKind, MeterInfo, ReadError, Role, Value};
use super::reading::{Flag, RawRead, Reading, Trust};
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

/// Whether a domain is memory, which some machines list and never count.
pub(super) fn is_memory(domain: &str) -> bool {
    domain.starts_with("dram") || domain.starts_with("energy-ram")
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::energy::reading::Scope;

    const RANGE: u64 = 262_143_328_850;
    const SECOND: u64 = 1_000_000_000;

    fn counter(name: &str, role: Role, max_watts: Option<f64>) -> Domain {
        let kind = DomainKind::Counter { joules_per_count: 1e-6, range: Some(RANGE) };
        Domain { name: name.into(), role, kind, max_watts }
    }

    fn info(domains: Vec<Domain>) -> MeterInfo {
        MeterInfo {
            source: "powercap".into(),
            trust: Trust::Counter,
            scope: Scope::Components,
            sensor_bound: Some(0.05),
            domains,
            tick_ms: Some(1.0),
            flags: Vec::new(),
            note: None,
        }
    }

    fn counts(values: &[u64]) -> Result<Vec<Value>, ReadError> {
        Ok(values.iter().map(|&v| Value::Count(v)).collect())
    }

    /// One read per second.
    fn window(info: &MeterInfo, reads: &[&[u64]]) -> Reading {
        let mut account = Account::open(info, 0, counts(reads[0]));
        for (i, read) in reads.iter().enumerate().take(reads.len() - 1).skip(1) {
            account.push(i as u64 * SECOND, counts(read));
        }
        account.close((reads.len() - 1) as u64 * SECOND, counts(reads[reads.len() - 1]))
    }

    fn joules(reading: &Reading) -> f64 {
        reading.joules.unwrap_or_else(|| panic!("{:?}", reading.invalid)).0
    }

    #[test]
    fn a_counter_that_wraps_twice_between_the_edges_is_followed() {
        let info = info(vec![counter("package-0", Role::Counted, None)]);
        let quarter = RANGE / 4;
        let reads: Vec<Vec<u64>> = (0..9).map(|i| vec![(i * quarter + 7) % RANGE]).collect();
        let reads: Vec<&[u64]> = reads.iter().map(Vec::as_slice).collect();
        let expected = (8 * quarter) as f64 * 1e-6;
        // The ring has RANGE counts, so the modulus above loses nothing.
        assert!((joules(&window(&info, &reads)) - expected).abs() < 1e-5);
    }

    #[test]
    fn energy_on_a_wrap_is_never_negative() {
        // codecarbon #309.
        let info = info(vec![counter("package-0", Role::Counted, Some(300.0))]);
        let reading = window(&info, &[&[262_100_000_000], &[50_000_000]]);
        assert!((joules(&reading) - 93.328_850).abs() < 1e-9);
    }

    #[test]
    fn a_failed_read_is_not_zero_and_the_next_is_not_a_wrap() {
        // codecarbon rapl.py: read error → 0 → "wrap" → + full range.
        let info = info(vec![counter("package-0", Role::Counted, Some(300.0))]);
        let mut account = Account::open(&info, 0, counts(&[100_000_000]));
        account.push(SECOND, Err(ReadError::Missing { what: "energy_uj".into() }));
        let reading = account.close(2 * SECOND, counts(&[160_000_000]));
        assert_eq!(reading.joules, None);
        assert_eq!(reading.invalid.as_deref(), Some("energy_uj is missing"));
    }

    #[test]
    fn a_hypervisor_that_flips_between_two_hosts_is_refused() {
        // scaphandre #134: naive wrap logic would add 262 kJ per flip.
        let info = info(vec![counter("package-0", Role::Counted, Some(150.0))]);
        let reading = window(&info, &[&[200_000_000_000], &[90_000_000_000], &[200_050_000_000]]);
        assert_eq!(reading.joules, None);
        assert!(reading.invalid.unwrap().contains("implausible"));
    }

    #[test]
    fn a_counter_without_a_range_must_not_go_back() {
        let kind = DomainKind::Counter { joules_per_count: 1e-3, range: None };
        let info = info(vec![Domain { kind, ..counter("gpu-0", Role::Counted, None) }]);
        let reading = window(&info, &[&[5000], &[4000]]);
        assert!(reading.invalid.unwrap().contains("went back"));
    }

    #[test]
    fn a_stuck_counter_is_unknown_and_not_zero() {
        let info = info(vec![counter("energy-pkg", Role::Counted, None)]);
        let reading = window(&info, &[&[0], &[0]]);
        assert_eq!((reading.joules, reading.trust), (None, Trust::Counter));
        assert!(reading.invalid.unwrap().contains("stuck"));
    }

    #[test]
    fn one_dead_socket_of_two_invalidates_the_sum() {
        let info = info(vec![counter("package-0", Role::Counted, None), counter("package-1", Role::Counted, None)]);
        assert_eq!(window(&info, &[&[0, 5], &[90_000_000, 5]]).joules, None);
    }

    #[test]
    fn dead_memory_is_left_out_and_flagged() {
        let info = info(vec![counter("package-0", Role::Counted, None), counter("dram-0", Role::Counted, None)]);
        let reading = window(&info, &[&[0, 5], &[90_000_000, 5]]);
        assert_eq!((joules(&reading), reading.domains.as_slice()), (90.0, &["package-0".to_owned()][..]));
        assert!(reading.flags.contains(&Flag::DramUncovered));
        let recomputed: f64 = reading.raw.iter().filter(|r| r.is_counted()).map(|r| r.joules().unwrap().0).sum();
        assert!((recomputed - 90.0).abs() < 1e-9);
    }

    #[test]
    fn domains_inside_and_around_the_package_are_not_added() {
        let info = info(vec![
            counter("package-0", Role::Counted, None),
            counter("core", Role::Inside, None),
            counter("psys", Role::Around, None),
        ]);
        let reading = window(&info, &[&[0, 0, 0], &[50_000_000, 30_000_000, 80_000_000]]);
        assert_eq!((joules(&reading), reading.cross_check), (50.0, Some(Joules(80.0))));
    }

    #[test]
    fn a_counter_and_its_gauge_that_disagree_lower_the_trust_and_show_both() {
        // Zeus #181: 187 J against 327 J over the same 5 s.
        let gauge = Domain { kind: DomainKind::Gauge, ..counter("gpu-0 power", Role::Twin, None) };
        let info = info(vec![counter("gpu-0", Role::Counted, None), gauge]);
        let at = |t: u64, uj: u64| Ok(vec![Value::Count(uj), Value::Watts(vec![(t, 65.4)])]);
        let mut account = Account::open(&info, 0, at(0, 0));
        for t in 1..5 {
            account.push(t * SECOND, at(t * SECOND, t * 37_400_000));
        }
        let reading = account.close(5 * SECOND, at(5 * SECOND, 187_000_000));
        assert!((joules(&reading) - 187.0).abs() < 1e-9);
        assert!((reading.cross_check.unwrap().0 - 327.0).abs() < 1e-9);
        assert!(reading.flags.contains(&Flag::CounterPowerDisagree) && reading.trust == Trust::Sampled);
    }

    #[test]
    fn a_sample_is_not_stretched_over_time_it_was_not_taken_for() {
        // codecarbon #117: a 10 ms sample stretched over 15 s.
        let gauge = Domain { kind: DomainKind::Gauge, ..counter("VDD_IN", Role::Counted, None) };
        let info = info(vec![gauge]);
        let account = Account::open(&info, 0, Ok(vec![Value::Watts(vec![(0, 20.0)])]));
        let reading = account.close(15 * SECOND, Ok(vec![Value::Watts(vec![])]));
        assert_eq!(reading.joules, None);
        assert!(reading.invalid.unwrap().contains("VDD_IN"));
    }

    #[test]
    fn a_gauge_that_shows_nonsense_invalidates_the_window() {
        let gauge = Domain { kind: DomainKind::Gauge, ..counter("wall", Role::Counted, Some(1000.0)) };
        let info = info(vec![gauge]);
        // codecarbon #286: W read as kW.
        for watts in [f64::NAN, -3.0, 60_000.0] {
            let account = Account::open(&info, 0, Ok(vec![Value::Watts(vec![(0, 20.0)])]));
            let reading = account.close(SECOND, Ok(vec![Value::Watts(vec![(SECOND / 2, watts)])]));
            assert_eq!(reading.joules, None, "{watts}");
        }
    }

    #[test]
    fn an_estimate_is_a_range_and_never_a_point() {
        let info = MeterInfo { trust: Trust::Estimated, ..info(vec![counter("cpu", Role::Counted, None)]) };
        let reading = window(&info, &[&[0], &[40_000_000]]);
        assert_eq!((reading.joules, reading.range), (None, Some((20.0, 80.0))));
        assert_eq!(reading.estimate(), Some(Joules(40.0)));
    }

    #[test]
    fn short_windows_are_flagged() {
        let slow = MeterInfo { tick_ms: Some(100.0), ..info(vec![counter("package-0", Role::Counted, None)]) };
        assert!(window(&slow, &[&[0], &[9_000_000]]).flags.contains(&Flag::WindowShort));
    }

    proptest! {
        #[test]
        fn the_sum_does_not_depend_on_when_the_counter_is_read(
            steps in proptest::collection::vec(0u64..RANGE / 2, 1..30), keep in proptest::collection::vec(any::<bool>(), 30)
        ) {
            // Dropping an inner read keeps the sum as long as no two wraps fall between reads.
            let info = info(vec![counter("package-0", Role::Counted, None)]);
            let mut total = 0u64;
            let mut reads = vec![vec![3u64]];
            let mut kept_at = 0u64;
            for (i, step) in steps.iter().enumerate() {
                total += step;
                let last = i + 1 == steps.len();
                let next = steps.get(i + 1).copied().unwrap_or(0);
                if last || keep[i] || total + next - kept_at >= RANGE {
                    reads.push(vec![(total + 3) % RANGE]);
                    kept_at = total;
                }
            }
            prop_assume!(total > 0);
            let reads: Vec<&[u64]> = reads.iter().map(Vec::as_slice).collect();
            let got = joules(&window(&info, &reads));
            prop_assert!((got - total as f64 * 1e-6).abs() < 1e-3);
        }
    }
}
