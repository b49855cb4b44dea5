//! Resident memory of this process and memory available to it, container limits included.

use serde::{Deserialize, Serialize};

use super::sysfs::SysFs;

/// Highest resident set of this process since it was last reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeakRss {
    /// Bytes resident at the peak, file mappings included.
    pub bytes: u64,
    /// Whether the mark was reset when the cell started; otherwise it is the peak of the whole process so far.
    pub since_start_of_cell: bool,
}

/// Watches the peak from one moment on.
#[derive(Clone, Debug)]
pub struct PeakWatch {
    sysfs: SysFs,
    reset: bool,
}

impl PeakWatch {
    /// Resets the high-water mark where the kernel allows it (`/proc/self/clear_refs`, Linux 4.0).
    #[must_use]
    pub fn start(sysfs: &SysFs) -> Self {
        let reset = std::fs::write(sysfs.path("/proc/self/clear_refs"), "5").is_ok();
        Self { sysfs: sysfs.clone(), reset }
    }

    /// The peak since [`PeakWatch::start`]; `None` where the system does not tell.
    #[must_use]
    pub fn peak(&self) -> Option<PeakRss> {
        let bytes = status_bytes(&self.sysfs, "VmHWM:")?;
        Some(PeakRss { bytes, since_start_of_cell: self.reset })
    }
}

/// Bytes resident now.
#[must_use]
pub fn resident(sysfs: &SysFs) -> Option<u64> {
    status_bytes(sysfs, "VmRSS:")
}

fn status_bytes(sysfs: &SysFs, key: &str) -> Option<u64> {
    kib_field(&sysfs.text("/proc/self/status")?, key)
}

/// Reads `Key:   123 kB` and returns bytes.
fn kib_field(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Memory of the machine and of the container around this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryFacts {
    /// Installed, bytes.
    pub total: Option<u64>,
    /// What can be allocated without swapping, bytes.
    pub available: Option<u64>,
    /// Limit of the control group, bytes; `None` if there is none.
    pub limit: Option<u64>,
    /// In use by the control group, bytes.
    pub used_in_limit: Option<u64>,
}

impl MemoryFacts {
    /// Reads `/proc/meminfo` and the control group's files (version 2, then version 1).
    #[must_use]
    pub fn read(sysfs: &SysFs) -> Self {
        let meminfo = sysfs.text("/proc/meminfo").unwrap_or_default();
        let (limit, used_in_limit) = group_memory(sysfs);
        let total = kib_field(&meminfo, "MemTotal:");
        Self {
            total,
            available: kib_field(&meminfo, "MemAvailable:"),
            // Version 1 spells "no limit" as a number near 2^63: more than the machine has is no limit.
            limit: limit.filter(|&limit| total.is_none_or(|total| limit < total)),
            used_in_limit,
        }
    }

    /// What this process may still take: the smaller of the machine's and the container's room.
    #[must_use]
    pub fn usable(&self) -> Option<u64> {
        let inside = self.limit.map(|limit| limit.saturating_sub(self.used_in_limit.unwrap_or(0)));
        match (self.available, inside) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

fn group_memory(sysfs: &SysFs) -> (Option<u64>, Option<u64>) {
    let groups = sysfs.text("/proc/self/cgroup").unwrap_or_default();
    let unified = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let version1 = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|c| c == "memory").then_some(path)
    });
    // In a container the group's own directory is often mounted at the root, so both places are tried.
    for path in [unified.unwrap_or("/"), "/"] {
        let base = format!("/sys/fs/cgroup{}", path.trim_end_matches('/'));
        let limit = sysfs.number(format!("{base}/memory.max"));
        if limit.is_some() {
            return (limit, sysfs.number(format!("{base}/memory.current")));
        }
    }
    for path in [version1.unwrap_or("/"), "/"] {
        let base = format!("/sys/fs/cgroup/memory{}", path.trim_end_matches('/'));
        let limit = sysfs.number(format!("{base}/memory.limit_in_bytes"));
        if limit.is_some() {
            return (limit, sysfs.number(format!("{base}/memory.usage_in_bytes")));
        }
    }
    (None, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sysfs::tree;

    const MEMINFO: &str = "MemTotal:       1000 kB\nMemFree: 10 kB\nMemAvailable:    600 kB\n";

    #[test]
    fn a_container_limit_bounds_what_is_usable() {
        let (_dir, sysfs) = tree(&[
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/box\n"),
            ("/sys/fs/cgroup/box/memory.max", "204800\n"),
            ("/sys/fs/cgroup/box/memory.current", "102400\n"),
        ]);
        let facts = MemoryFacts::read(&sysfs);
        assert_eq!(facts.usable(), Some(102_400));
        assert_eq!(facts.total, Some(1_024_000));
    }

    #[test]
    fn no_limit_is_spelt_max_or_as_a_huge_number() {
        for (path, text, group) in [
            ("/sys/fs/cgroup/memory.max", "max", "0::/\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712", "4:memory:/\n0::/\n"),
        ] {
            let (_dir, sysfs) = tree(&[("/proc/meminfo", MEMINFO), ("/proc/self/cgroup", group), (path, text)]);
            let facts = MemoryFacts::read(&sysfs);
            assert_eq!((facts.limit, facts.usable()), (None, Some(614_400)));
        }
    }

    #[test]
    fn the_peak_says_whether_it_could_be_reset() {
        let (_dir, sysfs) = tree(&[("/proc/self/status", "VmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\n")]);
        let peak = PeakWatch::start(&sysfs).peak().unwrap();
        // The fake file accepts the write, as a kernel that allows it does.
        assert_eq!(peak, PeakRss { bytes: 2_097_152, since_start_of_cell: true });
        assert_eq!(resident(&sysfs), Some(1_048_576));
        let (_dir, empty) = tree(&[]);
        assert_eq!(PeakWatch::start(&empty).peak(), None);
    }

    #[test]
    fn this_process_has_a_peak_on_linux() {
        if cfg!(target_os = "linux") {
            let sysfs = SysFs::default();
            let peak = PeakWatch::start(&sysfs).peak().unwrap();
            assert!(peak.bytes >= 1 << 20, "{peak:?}");
        }
    }
}
