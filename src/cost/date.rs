//! Calendar dates of prices. A price without a date is not a price.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A day of the Gregorian calendar, written `2026-08-21`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date {
    year: i32,
    month: u8,
    day: u8,
}

/// Text that is not a date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a date: write it as 2026-08-21")]
pub struct InvalidDate(pub String);

impl Date {
    /// A date; `None` if the calendar has no such day or the year is outside 1–9999.
    #[must_use]
    pub fn new(year: i32, month: u8, day: u8) -> Option<Self> {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 => 28 + u8::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        ((1..=9999).contains(&year) && (1..=length).contains(&day)).then_some(Self { year, month, day })
    }

    /// Days since 1970-01-01, by Hinnant's algorithm on years that start in March.
    #[must_use]
    pub fn days(self) -> i64 {
        let year = i64::from(self.year) - i64::from(self.month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let month = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }

    /// Years of 365.25 days from `self` to `later`; negative if `later` is earlier.
    #[must_use]
    pub fn years_until(self, later: Self) -> f64 {
        (later.days() - self.days()) as f64 / 365.25
    }
}

impl std::str::FromStr for Date {
    type Err = InvalidDate;

    fn from_str(text: &str) -> Result<Self, InvalidDate> {
        let invalid = || InvalidDate(text.to_owned());
        let digits = |range: std::ops::Range<usize>| {
            let part = text.get(range)?;
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u16>().ok()).flatten()
        };
        if text.len() != 10 || text.get(4..5) != Some("-") || text.get(7..8) != Some("-") {
            return Err(invalid());
        }
        let (year, month, day) = (digits(0..4), digits(5..7), digits(8..10));
        let small = |x: Option<u16>| x.and_then(|x| u8::try_from(x).ok());
        match (year, small(month), small(day)) {
            (Some(year), Some(month), Some(day)) => Self::new(i32::from(year), month, day).ok_or_else(invalid),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl TryFrom<String> for Date {
    type Error = InvalidDate;
    fn try_from(text: String) -> Result<Self, InvalidDate> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_of_known_dates() {
        assert_eq!("1970-01-01".parse::<Date>().unwrap().days(), 0);
        assert_eq!("2000-03-01".parse::<Date>().unwrap().days(), 11_017);
        assert_eq!("2024-02-29".parse::<Date>().unwrap().days(), 19_782);
    }

    #[test]
    fn what_is_not_a_date_is_named() {
        for text in ["2026-02-29", "2026-13-01", "2026-1-1", "+026-01-01", "2026-01-0é", "", "21.08.2026", "2026-00-10"]
        {
            assert_eq!(text.parse::<Date>(), Err(InvalidDate(text.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn the_next_day_is_one_day_later(year in 1i32..9999, month in 1u8..=12, day in 1u8..=31) {
            if let Some(date) = Date::new(year, month, day) {
                let next = Date::new(year, month, day + 1)
                    .or_else(|| Date::new(year, month + 1, 1))
                    .or_else(|| Date::new(year + 1, 1, 1))
                    .unwrap();
                prop_assert_eq!(next.days(), date.days() + 1);
                prop_assert_eq!(date.to_string().parse::<Date>(), Ok(date));
            }
        }
    }
}
