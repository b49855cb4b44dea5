//! What both ways to RAPL share: which domains make the sum, and what its counters are worth.

use super::Flag;
use super::meter::{Domain, MeterInfo, Role};
use super::reading::{Scope, Trust};
use crate::measure::host::HostFacts;
use crate::measure::sysfs::SysFs;

/// Sensor bound of package and DRAM energy, an assumption (no vendor states one).
const SENSOR_BOUND: f64 = 0.05;

/// Whether a domain is memory, which some machines list and never count.
pub(super) fn is_memory(domain: &str) -> bool {
    domain.starts_with("dram") || domain.starts_with("energy-ram")
}

/// Facts of a RAPL source. Where there is nothing but the platform counter, it is the sum.
pub(super) fn facts(source: &str, mut domains: Vec<Domain>, platform: &str, sysfs: &SysFs) -> MeterInfo {
    let host = HostFacts::read(sysfs);
    let scope = use_lone_platform(&mut domains, platform);
    let memory = domains.iter().any(|d| d.role == Role::Counted && is_memory(&d.name));
    let flags = [
        (Flag::DramUncovered, scope == Scope::Components && !memory),
        (Flag::SgxFilter, host.sgx),
        (Flag::Hypervisor, host.hypervisor.is_some()),
    ];
    // What a hypervisor shows as a counter may be anything.
    let trust = if host.hypervisor.is_some() { Trust::Modelled } else { Trust::Counter };
    MeterInfo {
        sensor_bound: Some(SENSOR_BOUND),
        flags: flags.into_iter().filter_map(|(flag, holds)| holds.then_some(flag)).collect(),
        note: host.cpu,
        ..MeterInfo::new(source, trust, scope, domains)
    }
}

fn use_lone_platform(domains: &mut [Domain], platform: &str) -> Scope {
    if domains.iter().any(|d| d.role == Role::Counted && !is_memory(&d.name)) {
        return Scope::Components;
    }
    for domain in domains {
        domain.role = if domain.name.starts_with(platform) { Role::Counted } else { Role::Inside };
    }
    Scope::Machine
}
