//! What this machine is: processor, instruction sets, caches, memory, system, virtual machine, container.

use serde::{Deserialize, Serialize};

use super::memory::MemoryFacts;
use super::sysfs::{SysFs, cpu_list};

/// The host of a run, as published with every record. What the system does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostFacts {
    /// Processor name.
    pub cpu: Option<String>,
    /// Physical cores, all sockets.
    pub physical_cores: Option<u32>,
    /// Logical processors that are online.
    pub logical_cpus: Option<u32>,
    /// Logical processors this process may use: affinity and container quota applied.
    pub usable_cpus: u32,
    /// Sockets.
    pub sockets: Option<u32>,
    /// Instruction set, e.g. `x86_64`.
    pub arch: String,
    /// Instruction set extensions that matter to matrix products.
    pub isa: Vec<String>,
    /// Caches of the first processor.
    pub caches: Vec<Cache>,
    /// Memory.
    pub memory: MemoryFacts,
    /// Distribution or system version.
    pub os: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// The hypervisor's name, or `yes` if there is one that does not give its name; `None` on bare metal.
    pub hypervisor: Option<String>,
    /// Kind of container; `None` outside of one.
    pub container: Option<String>,
    /// Whether SGX is on: Intel then filters energy counters.
    pub sgx: bool,
}

/// One cache level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// 1, 2, 3.
    pub level: u32,
    /// `Data`, `Instruction` or `Unified`.
    pub kind: String,
    /// Size of one instance, bytes.
    pub bytes: u64,
    /// Logical processors that share it.
    pub shared_by: u32,
}

/// Extensions worth naming, in the kernel's spelling.
const EXTENSIONS: &[&str] = &[
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "asimdhp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
    "sme",
];

impl HostFacts {
    /// Looks at the machine.
    #[must_use]
    pub fn read(sysfs: &SysFs) -> Self {
        let cpuinfo = sysfs.text("/proc/cpuinfo").unwrap_or_default();
        let flags = field(&cpuinfo, &["flags", "Features"]).unwrap_or_default();
        let has = |flag: &str| flags.split_whitespace().any(|f| f == flag);
        let mut facts = Self {
            cpu: field(&cpuinfo, &["model name", "Model", "Hardware"]).map(str::to_owned),
            physical_cores: physical_cores(sysfs),
            logical_cpus: sysfs
                .text("/sys/devices/system/cpu/online")
                .and_then(|text| cpu_list(&text))
                .map(|cpus| cpus.len() as u32),
            usable_cpus: usable_cpus(),
            sockets: count_distinct(sysfs, &["physical_package_id"]),
            arch: std::env::consts::ARCH.into(),
            isa: EXTENSIONS.iter().filter(|e| has(e)).map(|&e| e.to_owned()).collect(),
            caches: caches(sysfs),
            memory: MemoryFacts::read(sysfs),
            os: sysfs.text("/etc/os-release").and_then(|text| {
                Some(text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="))?.trim_matches('"').to_owned())
            }),
            kernel: sysfs.text("/proc/sys/kernel/osrelease"),
            hypervisor: hypervisor(sysfs, has("hypervisor")),
            container: container(sysfs),
            sgx: has("sgx"),
        };
        if cpuinfo.is_empty() && sysfs.is_live() {
            facts.ask_system();
        }
        facts
    }

    /// Largest data or unified cache one processor reaches, bytes.
    #[must_use]
    pub fn last_level_cache(&self) -> Option<u64> {
        self.caches.iter().filter(|c| c.kind != "Instruction").max_by_key(|c| c.level).map(|c| c.bytes)
    }

    /// Systems without `/proc`.
    fn ask_system(&mut self) {
        self.os = sysinfo::System::long_os_version().ok();
        self.kernel = sysinfo::System::kernel_version().ok();
        self.physical_cores = sysinfo::System::physical_core_count().ok().and_then(|n| u32::try_from(n).ok());
        let Ok(mut system) = sysinfo::System::new() else { return };
        system.refresh_memory();
        system.refresh_cpu_all();
        self.cpu = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).filter(|name| !name.is_empty());
        self.logical_cpus = u32::try_from(system.cpus().len()).ok().filter(|&n| n > 0);
        self.memory.total = Some(system.total_memory()).filter(|&n| n > 0);
        self.memory.available = Some(system.available_memory()).filter(|&n| n > 0);
    }
}

/// Logical processors this process may use.
#[must_use]
pub fn usable_cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// `key : value` of the first processor that has one of the keys.
fn field<'a>(cpuinfo: &'a str, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| {
        cpuinfo.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == *key && !value.trim().is_empty()).then(|| value.trim())
        })
    })
}

fn physical_cores(sysfs: &SysFs) -> Option<u32> {
    count_distinct(sysfs, &["physical_package_id", "die_id", "core_id"])
}

/// Number of distinct combinations of topology files over all processors.
fn count_distinct(sysfs: &SysFs, files: &[&str]) -> Option<u32> {
    let mut seen = std::collections::BTreeSet::new();
    for name in sysfs.list("/sys/devices/system/cpu") {
        let is_cpu = name.strip_prefix("cpu").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        let base = format!("/sys/devices/system/cpu/{name}/topology");
        if is_cpu && sysfs.exists(&base) {
            seen.insert(files.iter().map(|file| sysfs.text(format!("{base}/{file}"))).collect::<Vec<_>>());
        }
    }
    u32::try_from(seen.len()).ok().filter(|&n| n > 0)
}

fn caches(sysfs: &SysFs) -> Vec<Cache> {
    let base = "/sys/devices/system/cpu/cpu0/cache";
    let indexes = sysfs.list(base).into_iter().filter(|name| name.starts_with("index"));
    indexes
        .filter_map(|index| {
            let read = |file: &str| sysfs.text(format!("{base}/{index}/{file}"));
            Some(Cache {
                level: read("level")?.parse().ok()?,
                kind: read("type")?,
                bytes: size(&read("size")?)?,
                shared_by: read("shared_cpu_list").and_then(|t| cpu_list(&t)).map_or(1, |cpus| cpus.len() as u32),
            })
        })
        .collect()
}

/// `48K`, `2M` → bytes.
fn size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

fn hypervisor(sysfs: &SysFs, flag: bool) -> Option<String> {
    let named = sysfs.text("/sys/hypervisor/type").or_else(|| {
        let product = sysfs.text("/sys/class/dmi/id/product_name")?;
        let vendor = sysfs.text("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
        flag.then(|| format!("{vendor} {product}").trim().to_owned())
    });
    named.or_else(|| flag.then(|| "yes".to_owned()))
}

fn container(sysfs: &SysFs) -> Option<String> {
    if sysfs.exists("/.dockerenv") {
        return Some("docker".into());
    }
    if sysfs.exists("/run/.containerenv") {
        return Some("podman".into());
    }
    let groups = sysfs.text("/proc/1/cgroup").or_else(|| sysfs.text("/proc/self/cgroup"))?;
    ["kubepods", "docker", "libpod", "lxc"].into_iter().find(|kind| groups.contains(kind)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sysfs::tree;

    #[test]
    fn hyperthreads_are_not_cores() {
        let mut files = vec![("/sys/devices/system/cpu/online", "0-3")];
        let topology: Vec<(String, &str)> = (0..4)
            .flat_map(|cpu| {
                let base = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
                let core = if cpu % 2 == 0 { "0" } else { "1" };
                [(format!("{base}/physical_package_id"), "0"), (format!("{base}/core_id"), core)]
            })
            .collect();
        files.extend(topology.iter().map(|(path, text)| (path.as_str(), *text)));
        files.push(("/proc/cpuinfo", "processor: 0\nmodel name\t: Fast CPU\nflags\t\t: fpu avx2 avx512_vnni sgx\n"));
        let (_dir, sysfs) = tree(&files);
        let host = HostFacts::read(&sysfs);
        assert_eq!((host.physical_cores, host.logical_cpus, host.sockets), (Some(2), Some(4), Some(1)));
        assert_eq!(host.cpu.as_deref(), Some("Fast CPU"));
        assert_eq!(host.isa, ["avx2", "avx512_vnni"]);
        assert!(host.sgx && host.hypervisor.is_none() && host.container.is_none());
    }

    #[test]
    fn a_virtual_machine_in_a_container_says_so() {
        let (_dir, sysfs) = tree(&[
            ("/proc/cpuinfo", "flags : hypervisor\n"),
            ("/sys/class/dmi/id/sys_vendor", "Xen"),
            ("/sys/class/dmi/id/product_name", "HVM domU"),
            ("/proc/1/cgroup", "0::/kubepods/pod1\n"),
        ]);
        let host = HostFacts::read(&sysfs);
        assert_eq!(host.hypervisor.as_deref(), Some("Xen HVM domU"));
        assert_eq!(host.container.as_deref(), Some("kubepods"));
    }

    #[test]
    fn caches_have_sizes_in_bytes_and_the_last_level_is_the_largest() {
        let base = "/sys/devices/system/cpu/cpu0/cache";
        let mut files = Vec::new();
        for (i, (level, kind, bytes, shared)) in
            [("1", "Data", "48K", "0"), ("1", "Instruction", "32K", "0"), ("3", "Unified", "300M", "0-1")]
                .iter()
                .enumerate()
        {
            for (file, text) in [("level", level), ("type", kind), ("size", bytes), ("shared_cpu_list", shared)] {
                files.push((format!("{base}/index{i}/{file}"), *text));
            }
        }
        let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (p.as_str(), *t)).collect();
        let (_dir, sysfs) = tree(&files);
        let host = HostFacts::read(&sysfs);
        assert_eq!(host.last_level_cache(), Some(300 << 20));
        assert_eq!(host.caches[2].shared_by, 2);
    }

    #[test]
    fn an_empty_tree_is_all_unknown() {
        let (_dir, sysfs) = tree(&[]);
        let host = HostFacts::read(&sysfs);
        assert_eq!((host.cpu, host.physical_cores, host.hypervisor, host.container), (None, None, None, None));
        assert!(host.caches.is_empty() && host.usable_cpus >= 1);
    }
}
