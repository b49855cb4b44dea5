//! Time stamps of records: UTC, RFC 3339, whole seconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::civil;

/// Now, e.g. `2026-08-21T14:05:00Z`.
#[must_use]
pub fn now() -> String {
    rfc3339(since_epoch().as_secs())
}

/// A run id that sorts by time and that two processes never share: `20260821-140500-3fa9c1`.
#[must_use]
pub fn new_run_id() -> String {
    let time = since_epoch();
    let stamp: String = rfc3339(time.as_secs()).chars().filter(char::is_ascii_digit).collect();
    let (date, clock) = stamp.split_at(8);
    let mut seed = time.as_nanos().to_le_bytes().to_vec();
    seed.extend(std::process::id().to_le_bytes());
    let hash = super::canonical::sha256_hex(&seed);
    format!("{date}-{clock}-{}", &hash[..6])
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn rfc3339(seconds: u64) -> String {
    civil::rfc3339(i64::try_from(seconds).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_sort_by_time_and_differ() {
        let (a, b) = (new_run_id(), new_run_id());
        assert_eq!(a.len(), "20260821-140500-3fa9c1".len());
        assert!(a[..15] <= b[..15] && a != b, "{a} {b}");
    }
}
