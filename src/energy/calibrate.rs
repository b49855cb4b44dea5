//! Watches a meter for a moment before it is trusted: how often it updates, whether it moves at all, whether two of its
//! zones repeat one counter.

use std::time::Duration;

use super::Flag;
use super::meter::{DomainKind, Meter, MeterInfo, ReadError, Role, Value};
use super::rapl::is_memory;
use super::reading::Trust;
use crate::measure::clock::Clock;
use crate::stats::quantile::median;

/// How long and how finely counters are watched.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// In all.
    pub span: Duration,
    /// Between reads.
    pub step: Duration,
}

impl Watch {
    /// For counters inside the processor, which update every millisecond.
    pub const PROCESSOR: Self = Self { span: Duration::from_millis(240), step: Duration::from_millis(1) };
    /// For GPU counters, which update every 10 to 100 ms.
    pub const GPU: Self = Self { span: Duration::from_secs(2), step: Duration::from_millis(2) };
}

/// Parts of the span over which zones are compared.
const SEGMENTS: usize = 4;
/// Zones that agree this well in every part are one counter.
const MIRROR_TOLERANCE: f64 = 1e-3;
/// Least energy in a part for the comparison to mean something, J.
const MIRROR_MIN_J: f64 = 0.02;

/// Watches `meter` and returns its info with the tick measured, mirrored zones taken out of the sum and dead memory
/// zones as well. Estimates and pure gauges are returned as they are after one good read.
///
/// # Errors
/// [`ReadError::Stuck`] if a counted domain does not move, or what the meter says.
pub fn calibrate(meter: &mut dyn Meter, clock: &dyn Clock, watch: Watch) -> Result<MeterInfo, ReadError> {
    let mut info = meter.info().clone();
    let mut last = counts(&meter.read(clock)?);
    let is_counter = |kind| matches!(kind, DomainKind::Counter { .. });
    if info.trust == Trust::Estimated || !info.domains.iter().any(|d| is_counter(d.kind)) {
        return Ok(info);
    }
    let mut tracks: Vec<Track> = last.iter().map(|_| Track::default()).collect();
    let start_ns = clock.now_ns();
    let span_ns = crate::measure::clock::nanoseconds(watch.span);
    loop {
        let at = clock.now_ns().saturating_sub(start_ns);
        if at >= span_ns {
            break;
        }
        clock.sleep(watch.step);
        let now = counts(&meter.read(clock)?);
        let at = clock.now_ns().saturating_sub(start_ns);
        let segment = (at as usize * SEGMENTS / span_ns.max(1) as usize).min(SEGMENTS - 1);
        for ((track, now), last) in tracks.iter_mut().zip(&now).zip(&mut last) {
            if let (Some(now), Some(before)) = (now, *last)
                && *now != before
            {
                track.changes.push(at as f64 / 1e6);
                // A wrap while watching costs one segment its comparison, nothing else.
                track.segments[segment] += now.saturating_sub(before);
                *last = Some(*now);
            }
        }
    }
    for (domain, track) in info.domains.iter_mut().zip(&tracks) {
        if domain.role == Role::Counted && is_counter(domain.kind) && track.changes.is_empty() {
            if !is_memory(&domain.name) {
                let ms = u64::try_from(watch.span.as_millis()).unwrap_or(u64::MAX);
                return Err(ReadError::Stuck { what: domain.name.clone(), ms });
            }
            domain.role = Role::Inside;
            info.flags.push(Flag::DramUncovered);
        }
    }
    let counted = info.domains.iter().zip(&tracks).filter(|(domain, _)| domain.role == Role::Counted);
    info.tick_ms = counted.filter_map(|(_, track)| track.tick_ms()).max_by(f64::total_cmp).or(info.tick_ms);
    take_out_mirrors(&mut info, &tracks);
    info.flags.sort_unstable();
    info.flags.dedup();
    Ok(info)
}

#[derive(Debug, Default)]
struct Track {
    /// When it changed, ms since the start.
    changes: Vec<f64>,
    /// Counts per part of the span.
    segments: [u64; SEGMENTS],
}

impl Track {
    /// Median time between changes, ms.
    fn tick_ms(&self) -> Option<f64> {
        median(&self.changes.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>())
    }
}

fn counts(values: &[Value]) -> Vec<Option<u64>> {
    values.iter().map(|value| if let Value::Count(n) = value { Some(*n) } else { None }).collect()
}

/// Multi-die parts may list one socket's counter in two zones (a Threadripper 1950X counted as 137 W = 2 × 68 W).
fn take_out_mirrors(info: &mut MeterInfo, tracks: &[Track]) {
    let unit = |kind| match kind {
        DomainKind::Counter { joules_per_count, .. } => joules_per_count,
        DomainKind::Gauge => 0.0,
    };
    for j in 1..info.domains.len() {
        let repeats = (0..j).any(|i| {
            let (a, b) = (&info.domains[i], &info.domains[j]);
            let both = a.role == Role::Counted && b.role == Role::Counted && is_memory(&a.name) == is_memory(&b.name);
            let parts = tracks[i].segments.iter().zip(&tracks[j].segments).map(|(&x, &y)| (x as f64, y as f64));
            both && parts
                .clone()
                .all(|(x, y)| x * unit(a.kind) >= MIRROR_MIN_J && (x - y).abs() <= MIRROR_TOLERANCE * x.max(y))
        });
        if repeats {
            info.domains[j].role = Role::Inside;
            info.flags.push(Flag::MirroredZone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::meter::Domain;
    use crate::energy::reading::Scope;
    use crate::measure::clock::FakeClock;

    /// Domains that draw constant powers and update every `tick`.
    struct Bench {
        info: MeterInfo,
        watts: Vec<f64>,
        tick_ns: u64,
    }

    fn bench(domains: &[(&str, f64)], tick: Duration) -> Bench {
        let domain = |&(name, _): &(&str, f64)| Domain {
            name: name.into(),
            role: Role::Counted,
            kind: DomainKind::Counter { joules_per_count: 1e-6, range: Some(1 << 38) },
            max_watts: None,
        };
        Bench {
            info: MeterInfo {
                source: "powercap".into(),
                trust: Trust::Counter,
                scope: Scope::Components,
                sensor_bound: None,
                domains: domains.iter().map(domain).collect(),
                tick_ms: None,
                flags: Vec::new(),
                note: None,
            },
            watts: domains.iter().map(|d| d.1).collect(),
            tick_ns: crate::measure::clock::nanoseconds(tick),
        }
    }

    impl Meter for Bench {
        fn info(&self) -> &MeterInfo {
            &self.info
        }

        fn read(&mut self, clock: &dyn Clock) -> Result<Vec<Value>, ReadError> {
            let ns = clock.now_ns() / self.tick_ns * self.tick_ns;
            Ok(self.watts.iter().map(|w| Value::Count((ns as f64 * w / 1e3) as u64)).collect())
        }
    }

    fn run(mut bench: Bench, watch: Watch) -> Result<MeterInfo, ReadError> {
        calibrate(&mut bench, &FakeClock::new(), watch)
    }

    #[test]
    fn the_tick_is_measured() {
        let info = run(bench(&[("gpu-0", 70.0)], Duration::from_millis(100)), Watch::GPU).unwrap();
        assert_eq!(info.tick_ms, Some(100.0));
        let info = run(bench(&[("package-0", 70.0)], Duration::from_millis(4)), Watch::PROCESSOR).unwrap();
        assert_eq!(info.tick_ms, Some(4.0));
    }

    #[test]
    fn a_counter_that_never_moves_is_not_used() {
        let error = run(bench(&[("energy-pkg", 0.0)], Duration::from_millis(1)), Watch::PROCESSOR).unwrap_err();
        assert_eq!(error, ReadError::Stuck { what: "energy-pkg".into(), ms: 240 });
    }

    #[test]
    fn mirrored_dies_are_counted_once_and_real_sockets_are_not_mistaken_for_them() {
        let mirrored =
            run(bench(&[("package-0", 68.0), ("package-1", 68.0)], Duration::from_millis(1)), Watch::PROCESSOR);
        let info = mirrored.unwrap();
        assert_eq!(info.counted().collect::<Vec<_>>(), ["package-0"]);
        assert_eq!(info.flags, [Flag::MirroredZone]);
        let sockets =
            run(bench(&[("package-0", 68.0), ("package-1", 69.0)], Duration::from_millis(1)), Watch::PROCESSOR);
        assert_eq!(sockets.unwrap().counted().count(), 2);
    }

    #[test]
    fn memory_that_is_listed_but_dead_is_left_out() {
        let info =
            run(bench(&[("package-0", 68.0), ("dram-0", 0.0)], Duration::from_millis(1)), Watch::PROCESSOR).unwrap();
        assert_eq!(info.counted().collect::<Vec<_>>(), ["package-0"]);
        assert_eq!(info.flags, [Flag::DramUncovered]);
    }
}
