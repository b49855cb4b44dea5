//! What disturbed a measurement: stolen time, other processes, frequency, temperature, throttling, context switches.
//!
//! Evidence is sampled before and after every turn of a cell and added up; it is attached to the cell, never used to drop
//! a sample. What a machine does not tell is `None`.

use serde::{Deserialize, Serialize};

use super::sysfs::SysFs;

/// One look at the kernel's counters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NoiseSnapshot {
    /// Ticks of all CPUs: everything, idle, stolen by the hypervisor.
    machine: Option<(u64, u64, u64)>,
    /// Ticks of this process.
    own: Option<u64>,
    involuntary_switches: Option<u64>,
    throttles: Option<u64>,
    mhz: Option<f64>,
    celsius: Option<f64>,
}

impl NoiseSnapshot {
    /// Reads the counters.
    #[must_use]
    pub fn read(sysfs: &SysFs) -> Self {
        Self {
            machine: sysfs.text("/proc/stat").and_then(|text| machine_ticks(&text)),
            own: sysfs.text("/proc/self/stat").and_then(|text| process_ticks(&text)),
            involuntary_switches: sysfs.text("/proc/self/status").and_then(|text| {
                text.lines().find_map(|l| l.strip_prefix("nonvoluntary_ctxt_switches:"))?.trim().parse().ok()
            }),
            throttles: throttle_count(sysfs),
            mhz: mean_mhz(sysfs),
            celsius: hottest_celsius(sysfs),
        }
    }
}

/// `cpu  user nice system idle iowait irq softirq steal guest guest_nice` → (all, idle, steal). Guest time is part of user.
fn machine_ticks(stat: &str) -> Option<(u64, u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let all = ticks.iter().take(8).sum();
    Some((all, ticks.get(3)? + ticks.get(4).copied().unwrap_or(0), ticks.get(7).copied().unwrap_or(0)))
}

/// User plus system ticks of `/proc/self/stat`. The command name may hold spaces and parentheses.
fn process_ticks(stat: &str) -> Option<u64> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn cpus(sysfs: &SysFs) -> impl Iterator<Item = String> {
    sysfs
        .list("/sys/devices/system/cpu")
        .into_iter()
        .filter(|name| name.strip_prefix("cpu").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())))
        .map(|name| format!("/sys/devices/system/cpu/{name}"))
}

fn throttle_count(sysfs: &SysFs) -> Option<u64> {
    let mut total = None;
    for cpu in cpus(sysfs) {
        for file in ["core_throttle_count", "package_throttle_count"] {
            if let Some(n) = sysfs.number::<u64>(format!("{cpu}/thermal_throttle/{file}")) {
                total = Some(total.unwrap_or(0) + n);
            }
        }
    }
    total
}

fn mean_mhz(sysfs: &SysFs) -> Option<f64> {
    let khz: Vec<f64> = cpus(sysfs).filter_map(|cpu| sysfs.number(format!("{cpu}/cpufreq/scaling_cur_freq"))).collect();
    (!khz.is_empty()).then(|| khz.iter().sum::<f64>() / khz.len() as f64 / 1000.0)
}

/// The hottest thermal zone, °C; `None` without a sensor that shows something a machine can have.
#[must_use]
pub fn hottest_celsius(sysfs: &SysFs) -> Option<f64> {
    let zones = sysfs.list("/sys/class/thermal").into_iter().filter(|name| name.starts_with("thermal_zone"));
    let milli = zones.filter_map(|zone| sysfs.number::<f64>(format!("/sys/class/thermal/{zone}/temp")));
    // Absent sensors read as 0 or below; nothing that computes is at 150 °C.
    milli.map(|t| t / 1000.0).filter(|&t| t > 0.0 && t < 150.0).max_by(f64::total_cmp)
}

/// The frequency governor, if all CPUs have the same; several are joined by `+`.
#[must_use]
pub fn governor(sysfs: &SysFs) -> Option<String> {
    let mut names: Vec<String> =
        cpus(sysfs).filter_map(|cpu| sysfs.text(format!("{cpu}/cpufreq/scaling_governor"))).collect();
    names.sort();
    names.dedup();
    (!names.is_empty()).then(|| names.join("+"))
}

/// What was seen around a cell, summed over its turns. Tick counts are the kernel's (usually 10 ms).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NoiseEvidence {
    /// Ticks of all CPUs while the cell ran; `None` where there is no `/proc/stat`.
    pub ticks: Option<u64>,
    /// Of those, taken by the hypervisor for others.
    pub steal_ticks: Option<u64>,
    /// Of those, busy with processes other than this one.
    pub foreign_ticks: Option<u64>,
    /// Times the kernel took a CPU away from this process's main thread.
    pub involuntary_switches: Option<u64>,
    /// Thermal throttling events.
    pub throttles: Option<u64>,
    /// Mean frequency of all CPUs at the start of the first and the end of the last turn, MHz.
    pub mhz: Option<(f64, f64)>,
    /// Hottest sensor then, °C.
    pub celsius: Option<(f64, f64)>,
    /// Frequency governor.
    pub governor: Option<String>,
    /// Running from battery.
    pub on_battery: Option<bool>,
}

impl NoiseEvidence {
    /// Adds what happened between two looks.
    pub fn add(&mut self, before: &NoiseSnapshot, after: &NoiseSnapshot) {
        if let (Some((all0, idle0, steal0)), Some((all1, idle1, steal1))) = (before.machine, after.machine) {
            let all = all1.saturating_sub(all0);
            let steal = steal1.saturating_sub(steal0);
            add(&mut self.ticks, Some(all));
            add(&mut self.steal_ticks, Some(steal));
            if let (Some(own0), Some(own1)) = (before.own, after.own) {
                let busy = all.saturating_sub(idle1.saturating_sub(idle0)).saturating_sub(steal);
                add(&mut self.foreign_ticks, Some(busy.saturating_sub(own1.saturating_sub(own0))));
            }
        }
        let delta = |a: Option<u64>, b: Option<u64>| Some(b?.saturating_sub(a?));
        add(&mut self.involuntary_switches, delta(before.involuntary_switches, after.involuntary_switches));
        add(&mut self.throttles, delta(before.throttles, after.throttles));
        extend(&mut self.mhz, before.mhz, after.mhz);
        extend(&mut self.celsius, before.celsius, after.celsius);
    }

    /// Facts that do not change within a run.
    pub fn note_machine(&mut self, sysfs: &SysFs) {
        self.governor = governor(sysfs);
        self.on_battery = on_battery(sysfs);
    }

    /// Share of the machine's CPU time that the hypervisor gave to others, 0 to 1.
    #[must_use]
    pub fn steal_share(&self) -> Option<f64> {
        share(self.steal_ticks, self.ticks)
    }

    /// Share of the machine's CPU time that other processes used, 0 to 1.
    #[must_use]
    pub fn foreign_share(&self) -> Option<f64> {
        share(self.foreign_ticks, self.ticks)
    }
}

/// Whether a battery is being discharged; `None` without a battery.
#[must_use]
pub fn on_battery(sysfs: &SysFs) -> Option<bool> {
    let base = "/sys/class/power_supply";
    let states: Vec<String> = sysfs
        .list(base)
        .into_iter()
        .filter(|name| sysfs.text(format!("{base}/{name}/type")).as_deref() == Some("Battery"))
        // Mice and keyboards have batteries too; they say so.
        .filter(|name| sysfs.text(format!("{base}/{name}/scope")).as_deref() != Some("Device"))
        .filter_map(|name| sysfs.text(format!("{base}/{name}/status")))
        .collect();
    (!states.is_empty()).then(|| states.iter().any(|state| state == "Discharging"))
}

fn add(total: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        *total = Some(total.unwrap_or(0) + more);
    }
}

fn extend(span: &mut Option<(f64, f64)>, before: Option<f64>, after: Option<f64>) {
    if let (Some(before), Some(after)) = (before, after) {
        *span = Some((span.map_or(before, |(first, _)| first), after));
    }
}

fn share(part: Option<u64>, whole: Option<u64>) -> Option<f64> {
    let whole = whole.filter(|&n| n > 0)?;
    Some(part? as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(sysfs: &SysFs, path: &str, text: &str) {
        let path = sysfs.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn proc(sysfs: &SysFs, cpu: &str, own: (u64, u64), switches: u64) {
        write(sysfs, "/proc/stat", &format!("cpu  {cpu} 0 0\ncpu0 1 2 3\n"));
        let (user, system) = own;
        write(sysfs, "/proc/self/stat", &format!("7 (a ) b) R 1 1 1 0 -1 0 0 0 0 0 {user} {system} 0 0"));
        write(sysfs, "/proc/self/status", &format!("Name: x\nnonvoluntary_ctxt_switches:\t{switches}\n"));
    }

    #[test]
    fn steal_and_foreign_load_are_shares_of_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let sysfs = SysFs::new(dir.path());
        proc(&sysfs, "1000 0 100 500 0 0 0 50", (10, 5), 3);
        let before = NoiseSnapshot::read(&sysfs);
        // 200 ticks pass: 10 stolen, 40 idle, 150 busy of which 120 are ours.
        proc(&sysfs, "1140 0 110 530 10 0 0 60", (120, 15), 9);
        let mut evidence = NoiseEvidence::default();
        evidence.add(&before, &NoiseSnapshot::read(&sysfs));
        assert_eq!((evidence.ticks, evidence.steal_ticks, evidence.foreign_ticks), (Some(200), Some(10), Some(30)));
        assert_eq!((evidence.steal_share(), evidence.foreign_share()), (Some(0.05), Some(0.15)));
        assert_eq!(evidence.involuntary_switches, Some(6));
        assert_eq!((evidence.mhz, evidence.celsius, evidence.throttles), (None, None, None));
    }

    #[test]
    fn turns_add_up_and_frequency_spans_the_first_and_last() {
        let dir = tempfile::tempdir().unwrap();
        let sysfs = SysFs::new(dir.path());
        let cpu = "/sys/devices/system/cpu/cpu0";
        let look = |khz: u64, throttled: u64| {
            write(&sysfs, &format!("{cpu}/cpufreq/scaling_cur_freq"), &khz.to_string());
            write(&sysfs, &format!("{cpu}/thermal_throttle/core_throttle_count"), &throttled.to_string());
            write(&sysfs, "/sys/class/thermal/thermal_zone0/temp", "61000");
            NoiseSnapshot::read(&sysfs)
        };
        write(&sysfs, "/sys/devices/system/cpu/cpufreq/x", "not a cpu");
        let mut evidence = NoiseEvidence::default();
        evidence.add(&look(3_000_000, 4), &look(2_900_000, 5));
        evidence.add(&look(2_950_000, 5), &look(2_500_000, 8));
        assert_eq!(evidence.mhz, Some((3000.0, 2500.0)));
        assert_eq!((evidence.throttles, evidence.celsius), (Some(4), Some((61.0, 61.0))));
        assert_eq!(evidence.ticks, None);
    }

    #[test]
    fn a_mouse_battery_is_not_the_machines() {
        let dir = tempfile::tempdir().unwrap();
        let sysfs = SysFs::new(dir.path());
        assert_eq!(on_battery(&sysfs), None);
        for (name, scope, status) in [("hid-1", "Device", "Discharging"), ("BAT0", "System", "Charging")] {
            for (file, text) in [("type", "Battery"), ("scope", scope), ("status", status)] {
                write(&sysfs, &format!("/sys/class/power_supply/{name}/{file}"), text);
            }
        }
        assert_eq!(on_battery(&sysfs), Some(false));
    }

    #[test]
    fn a_counter_that_goes_backwards_gives_no_negative_noise() {
        let dir = tempfile::tempdir().unwrap();
        let sysfs = SysFs::new(dir.path());
        proc(&sysfs, "1000 0 100 500 0 0 0 50", (10, 5), 3);
        let before = NoiseSnapshot::read(&sysfs);
        proc(&sysfs, "1000 0 100 490 0 0 0 40", (0, 0), 0);
        let mut evidence = NoiseEvidence::default();
        evidence.add(&before, &NoiseSnapshot::read(&sysfs));
        assert_eq!((evidence.steal_ticks, evidence.steal_share()), (Some(0), None));
    }
}
