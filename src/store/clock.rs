//! Time stamps of records: UTC, RFC 3339, whole seconds.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, e.g. `2026-08-21T14:05:00Z`.
#[must_use]
pub fn now() -> String {
    rfc3339(seconds_since_epoch())
}

/// A run id that sorts by time and that two processes never share: `20260821-140500-3fa9c1`.
#[must_use]
pub fn new_run_id() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let stamp: String = rfc3339(time.as_secs()).chars().filter(char::is_ascii_digit).collect();
    let (date, clock) = stamp.split_at(8);
    let mut seed = time.as_nanos().to_le_bytes().to_vec();
    seed.extend(std::process::id().to_le_bytes());
    let hash = super::canonical::sha256_hex(&seed);
    format!("{date}-{clock}-{}", &hash[..6])
}

fn seconds_since_epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Seconds since 1970 as UTC. Days to civil date after Howard Hinnant, "chrono-compatible low-level date algorithms".
#[must_use]
pub fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_written_as_utc() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }

    #[test]
    fn run_ids_sort_by_time_and_differ() {
        let (a, b) = (new_run_id(), new_run_id());
        assert_eq!(a.len(), "20260821-140500-3fa9c1".len());
        assert!(a[..15] <= b[..15] && a != b, "{a} {b}");
    }
}
