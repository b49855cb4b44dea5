//! RAPL through perf events: 64-bit counts of 2^-32 J, one event per socket, no wrap to follow.
//!
//! On some virtual machines `energy-psys` is the only event and always reads 0; calibration finds it stuck.

use std::io;

use super::meter::{Domain, DomainKind, Meter, MeterInfo, ReadError, Role, Value, excerpt, read_count, read_text};
use super::perf_event::PerfEvent;
use super::rapl;
use crate::measure::clock::Clock;
use crate::measure::sysfs::{SysFs, cpu_list};

const UNIT: &str = "/sys/bus/event_source/devices/power";
/// What gives everybody access until the next boot.
pub const UNLOCK: &str =
    "sudo sysctl kernel.perf_event_paranoid=0, or sudo setcap cap_perfmon=ep on the tierbench binary";
/// Limit assumed for a package, W: perf does not state one.
const LIMIT_W: f64 = 500.0;

/// Reads one event's count.
pub trait Counter: Send {
    /// The count since it was opened.
    ///
    /// # Errors
    /// What the system says.
    fn count(&mut self) -> io::Result<u64>;
}

impl Counter for PerfEvent {
    fn count(&mut self) -> io::Result<u64> {
        Self::count(self)
    }
}

/// Opens (unit type, event config, cpu).
pub type OpenCounter<'a> = dyn Fn(u32, u64, u32) -> io::Result<Box<dyn Counter>> + 'a;

/// The energy events of a machine.
pub struct Perf {
    info: MeterInfo,
    counters: Vec<Box<dyn Counter>>,
}

impl Perf {
    /// Opens the events through the system call.
    ///
    /// # Errors
    /// [`ReadError::Missing`] without such events, [`ReadError::Denied`] with the command that unlocks them.
    pub fn open(sysfs: &SysFs) -> Result<Self, ReadError> {
        Self::open_with(sysfs, &|kind, config, cpu| Ok(Box::new(PerfEvent::open(kind, config, cpu)?)))
    }

    /// Opens the events through `open`.
    ///
    /// # Errors
    /// As [`Perf::open`].
    pub fn open_with(sysfs: &SysFs, open: &OpenCounter<'_>) -> Result<Self, ReadError> {
        let events: Vec<String> = sysfs
            .list(format!("{UNIT}/events"))
            .into_iter()
            .filter(|name| name.starts_with("energy-") && !name.contains('.'))
            .collect();
        if events.is_empty() {
            return Err(ReadError::Missing { what: format!("{UNIT}/events/energy-*") });
        }
        let kind = read_count(sysfs, &format!("{UNIT}/type"), UNLOCK)?;
        let mask = read_text(sysfs, &format!("{UNIT}/cpumask"), UNLOCK)?;
        let malformed = |file: &str, got: &str, expected| ReadError::Malformed {
            what: format!("{UNIT}/{file}"),
            got: excerpt(got),
            expected,
        };
        let cpus = cpu_list(&mask).filter(|cpus| !cpus.is_empty());
        let cpus = cpus.ok_or_else(|| malformed("cpumask", &mask, "a list of processors"))?;
        let kind = u32::try_from(kind).map_err(|_error| malformed("type", &kind.to_string(), "a 32-bit number"))?;
        let (mut domains, mut counters) = (Vec::new(), Vec::new());
        for event in &events {
            let (config, joules_per_count) = describe(sysfs, event)?;
            for (socket, &cpu) in cpus.iter().enumerate() {
                // Only packages and memory exist once per socket.
                let role = role(event);
                if socket > 0 && role != Role::Counted {
                    continue;
                }
                counters.push(open(kind, config, cpu).map_err(|error| refused(event, &error))?);
                domains.push(Domain {
                    name: if role == Role::Counted { format!("{event}-{socket}") } else { event.clone() },
                    role,
                    kind: DomainKind::Counter { joules_per_count, range: None },
                    max_watts: (role == Role::Counted).then_some(LIMIT_W),
                });
            }
        }
        let info = rapl::facts("perf", domains, "energy-psys", sysfs);
        Ok(Self { info, counters })
    }
}

impl Meter for Perf {
    fn info(&self) -> &MeterInfo {
        &self.info
    }

    fn read(&mut self, _clock: &dyn Clock) -> Result<Vec<Value>, ReadError> {
        let read = |(counter, domain): (&mut Box<dyn Counter>, &Domain)| match counter.count() {
            Ok(count) => Ok(Value::Count(count)),
            Err(error) => Err(refused(&domain.name, &error)),
        };
        self.counters.iter_mut().zip(&self.info.domains).map(read).collect()
    }
}

impl std::fmt::Debug for Perf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Perf").field("info", &self.info).finish_non_exhaustive()
    }
}

fn role(event: &str) -> Role {
    match event {
        "energy-pkg" | "energy-ram" => Role::Counted,
        "energy-psys" => Role::Around,
        _ => Role::Inside,
    }
}

/// `event=0x02` and `2.3283064365386962890625e-10` → (2, J per count).
fn describe(sysfs: &SysFs, event: &str) -> Result<(u64, f64), ReadError> {
    let file = format!("{UNIT}/events/{event}");
    let text = read_text(sysfs, &file, UNLOCK)?;
    let config = text.strip_prefix("event=0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let config =
        config.ok_or(ReadError::Malformed { what: file.clone(), got: excerpt(&text), expected: "event=0x.." })?;
    let scale = read_text(sysfs, &format!("{file}.scale"), UNLOCK)?;
    let number = scale.parse().ok().filter(|s: &f64| s.is_finite() && *s > 0.0);
    let scale = number.ok_or(ReadError::Malformed {
        what: format!("{file}.scale"),
        got: excerpt(&scale),
        expected: "a positive number",
    })?;
    let unit = read_text(sysfs, &format!("{file}.unit"), UNLOCK)?;
    if unit != "Joules" {
        return Err(ReadError::Malformed { what: format!("{file}.unit"), got: excerpt(&unit), expected: "Joules" });
    }
    Ok((config, scale))
}

fn refused(event: &str, error: &io::Error) -> ReadError {
    let what = format!("perf event {event}");
    match error.kind() {
        io::ErrorKind::PermissionDenied => ReadError::Denied { path: what.into(), fix: UNLOCK.into() },
        io::ErrorKind::NotFound | io::ErrorKind::Unsupported => ReadError::Missing { what },
        _ => ReadError::Failed { what, why: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::energy::tree::{Tree, World};
    use crate::energy::{Scope, Watch, calibrate};

    const SCALE: &str = "2.3283064365386962890625e-10";

    /// A constant power by the tree's clock.
    struct Drawing(World, f64);

    impl Counter for Drawing {
        fn count(&mut self) -> io::Result<u64> {
            let joules = self.1 * self.0.now_ns() as f64 / 1e9;
            Ok((joules / SCALE.parse::<f64>().unwrap()) as u64)
        }
    }

    fn tree(events: &[&str], cpumask: &str) -> Tree {
        let tree = Tree::new();
        tree.write(&format!("{UNIT}/type"), "12\n");
        tree.write(&format!("{UNIT}/cpumask"), cpumask);
        for (i, event) in events.iter().enumerate() {
            tree.write(&format!("{UNIT}/events/{event}"), &format!("event=0x{:02x}\n", i + 1));
            tree.write(&format!("{UNIT}/events/{event}.scale"), SCALE);
            tree.write(&format!("{UNIT}/events/{event}.unit"), "Joules\n");
        }
        tree
    }

    #[test]
    fn every_socket_is_counted_and_inner_domains_are_not() {
        let tree = tree(&["energy-cores", "energy-pkg", "energy-psys", "energy-ram"], "0,18\n");
        let clock = tree.clock();
        let mut meter = Perf::open_with(&tree.sysfs(), &|_, config, cpu| {
            Ok(Box::new(Drawing(clock.clone(), config as f64 * 10.0 + f64::from(cpu))))
        })
        .unwrap();
        let info = calibrate(&mut meter, &tree.clock(), Watch::PROCESSOR).unwrap();
        let counted: Vec<&str> = info.counted().collect();
        assert_eq!(counted, ["energy-pkg-0", "energy-pkg-1", "energy-ram-0", "energy-ram-1"]);
        assert_eq!(info.flags, []);
        tree.clock().sleep(Duration::from_secs(1));
        assert_eq!(meter.read(&tree.clock()).unwrap().len(), 6);
    }

    #[test]
    fn a_psys_that_always_reads_zero_is_found_stuck() {
        let tree = tree(&["energy-psys"], "0\n");
        let clock = tree.clock();
        let mut meter = Perf::open_with(&tree.sysfs(), &|_, _, _| Ok(Box::new(Drawing(clock.clone(), 0.0)))).unwrap();
        let error = calibrate(&mut meter, &tree.clock(), Watch::PROCESSOR).unwrap_err();
        assert!(matches!(&error, ReadError::Stuck { what, .. } if what == "energy-psys"), "{error}");
    }

    #[test]
    fn a_psys_that_moves_is_the_whole_platform() {
        let tree = tree(&["energy-psys"], "0\n");
        let clock = tree.clock();
        let mut meter = Perf::open_with(&tree.sysfs(), &|_, _, _| Ok(Box::new(Drawing(clock.clone(), 30.0)))).unwrap();
        let info = calibrate(&mut meter, &tree.clock(), Watch::PROCESSOR).unwrap();
        assert_eq!((info.scope, info.counted().count()), (Scope::Machine, 1));
    }

    #[test]
    fn denied_and_malformed_are_told_with_the_fix() {
        let tree = tree(&["energy-pkg"], "0\n");
        let denied = |_, _, _| Err(io::ErrorKind::PermissionDenied.into());
        let error = Perf::open_with(&tree.sysfs(), &denied).unwrap_err();
        assert!(matches!(&error, ReadError::Denied { .. }) && error.to_string().contains("perf_event_paranoid"));
        for (file, text) in
            [("cpumask", "many"), ("events/energy-pkg.unit", "Watts"), ("events/energy-pkg.scale", "-1")]
        {
            let before = tree.sysfs().read(format!("{UNIT}/{file}")).unwrap();
            tree.write(&format!("{UNIT}/{file}"), text);
            assert!(matches!(Perf::open_with(&tree.sysfs(), &denied), Err(ReadError::Malformed { .. })), "{file}");
            tree.write(&format!("{UNIT}/{file}"), &before);
        }
        assert!(matches!(Perf::open_with(&SysFs::new("/nonexistent"), &denied), Err(ReadError::Missing { .. })));
    }
}
