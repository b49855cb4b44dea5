//! Calendar dates from seconds since 1970, in UTC. Pure; every room may use it.

const SECONDS_PER_DAY: i64 = 86_400;

/// A day of the proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// Year; 0 is 1 BC.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: i64,
    /// Day of the month, 1 to 31.
    pub day: i64,
}

/// The day that lies `days` after 1970-01-01.
///
/// **Source**: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
#[must_use]
pub const fn day(days: i64) -> Day {
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // March is month 0.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + (month <= 2) as i64;
    Day { year, month, day }
}

/// `2026-08-21T14:05:00Z` from seconds since 1970.
#[must_use]
pub fn rfc3339(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
    let Day { year, month, day } = day(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Seconds since 1970 of `2026-08-21T14:05:00Z`, the form [`rfc3339`] writes; `None` for any other text and for a moment no
/// calendar has.
///
/// **Source**: Howard Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`.
#[must_use]
pub fn seconds(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    // March is month 0.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let year_of_era = year.rem_euclid(400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * month + 2) / 5 + day - 1;
    let days = year.div_euclid(400) * 146_097 + day_of_era - 719_468;
    let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    // Signs, other separators and the 31st of April do not come back as they were.
    (rfc3339(seconds) == text).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_written_as_utc() {
        for (seconds, text) in [
            (-1, "1969-12-31T23:59:59Z"),
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
            let read = super::seconds(text);
            assert_eq!(read, Some(seconds));
        }
    }

    #[test]
    fn what_is_not_a_moment_in_that_form_is_none() {
        for text in [
            "",
            "yesterday",
            "<script>",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-08-21T24:00:00Z",
            "2026-08-21T14:05:60Z",
            "2026-08-21 14:05:00Z",
            "2026-08-21T14:05:00",
            "2026-08-21T14:05:00+02:00",
            "2026-08-21T14:05:00Z\n",
            "+026-08-21T14:05:00Z",
            "2026-08-21T14:05:00Z\u{1b}[31m",
            "ä026-08-21T14:05:00Z",
        ] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }

    #[test]
    fn no_number_of_days_overflows() {
        for days in [i64::MIN, i64::MIN / SECONDS_PER_DAY, i64::MAX / SECONDS_PER_DAY, i64::MAX] {
            let Day { month, day, .. } = day(days);
            assert!((1..=12).contains(&month) && (1..=31).contains(&day), "{days}");
        }
    }
}
