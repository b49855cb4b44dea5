//! How much memory a model may take: refusing early is better than being killed late.

use super::EngineError;

const MIB: u64 = 1024 * 1024;

/// Memory this process may still take: what the system has available or, inside a container, what its limit leaves.
/// `None` where the system does not say.
#[must_use]
pub fn available_bytes() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory_specifics(sysinfo::MemoryRefreshKind::nothing().with_ram());
    let free = system.available_memory();
    let limit = system.cgroup_limits().map(|limits| limits.free_memory).filter(|&free| free > 0);
    match (free, limit) {
        (0, limit) => limit,
        (free, limit) => Some(limit.map_or(free, |limit| limit.min(free))),
    }
}

/// Refuses `needed` bytes if the system says it has fewer.
///
/// # Errors
/// [`EngineError::OutOfMemory`].
pub fn require(what: &'static str, needed: u64) -> Result<(), EngineError> {
    match available_bytes() {
        Some(available) if needed > available => Err(EngineError::OutOfMemory {
            what,
            needed_mib: needed.div_ceil(MIB),
            available_mib: available / MIB,
            fix: "take a smaller model, a lower level or a shorter context",
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_any_machine_has_is_refused_with_a_fix() {
        if available_bytes().is_some() {
            let message = require("a test", u64::MAX).unwrap_err().to_string();
            assert!(message.contains("a test needs") && message.contains("smaller model"), "{message}");
        }
        require("a test", 1).unwrap();
    }
}
