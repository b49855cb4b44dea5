//! How numbers are printed. Unknown is an em dash, never 0 or NaN.

use crate::units::{Bytes, Interval};

/// What unknown looks like.
pub const UNKNOWN: &str = "—";

/// A number with `digits` significant digits, without exponent between 10^-6 and 10^9: `4096`, `12.35`, `0.0005213`.
#[must_use]
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if !value.is_finite() {
        return UNKNOWN.into();
    }
    let decimals = decimals_for(value, digits);
    match decimals {
        Some(decimals) => format!("{value:.decimals$}"),
        None => format!("{value:.*e}", digits.saturating_sub(1)),
    }
}

/// Decimals that show `digits` significant digits of `value`; `None` where an exponent reads better.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded to -6..=9 first")]
fn decimals_for(value: f64, digits: usize) -> Option<usize> {
    let magnitude = value.abs().log10().floor();
    if !(-6.0..9.0).contains(&magnitude) {
        return None;
    }
    let magnitude = magnitude as i32;
    Some((digits as i32 - 1 - magnitude).max(0) as usize)
}

/// A number as a person would write it: up to four significant digits, no zeros at the end.
#[must_use]
pub fn plain(value: f64) -> String {
    let text = significant(value, 4);
    if text.contains('.') && !text.contains('e') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A number, or an em dash.
#[must_use]
pub fn maybe(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| significant(value, digits))
}

/// `value ± half`, where half is the longer arm of the interval, with as many decimals as the half width needs for two
/// digits: `512.3 ± 4.1`.
#[must_use]
pub fn plus_minus(interval: &Interval) -> String {
    let half = (interval.hi - interval.value).max(interval.value - interval.lo);
    if !(half.is_finite() && interval.value.is_finite()) {
        return UNKNOWN.into();
    }
    if half == 0.0 {
        return format!("{} ± 0", significant(interval.value, 4));
    }
    let decimals = decimals_for(half, 2).zip(decimals_for(interval.value, 4)).map(|(half, value)| half.min(value));
    match decimals {
        Some(decimals) => format!("{:.decimals$} ± {half:.decimals$}", interval.value),
        None => format!("{} ± {}", significant(interval.value, 4), significant(half, 2)),
    }
}

/// `value [lo, hi]` with `digits` significant digits of the value, the ends to the same decimals.
#[must_use]
pub fn with_ends(interval: &Interval, digits: usize) -> String {
    match decimals_for(interval.value, digits) {
        Some(d) if interval.value != 0.0 => {
            format!("{:.d$} [{:.d$}, {:.d$}]", interval.value, interval.lo, interval.hi)
        }
        _ => {
            let show = |x| significant(x, digits);
            format!("{} [{}, {}]", show(interval.value), show(interval.lo), show(interval.hi))
        }
    }
}

/// A share with its interval in percent: `87.0 % [79.0, 92.2]`.
#[must_use]
pub fn percent(interval: &Interval) -> String {
    format!("{:.1} % [{:.1}, {:.1}]", interval.value * 100.0, interval.lo * 100.0, interval.hi * 100.0)
}

/// MiB with one decimal below 1000.
#[must_use]
pub fn mib(bytes: u64) -> String {
    let mib = Bytes(bytes).mib();
    if mib < 1000.0 { format!("{mib:.1}") } else { format!("{mib:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(value: f64, lo: f64, hi: f64) -> Interval {
        Interval { value, lo, hi, level: 0.95 }
    }

    #[test]
    fn numbers_keep_their_significant_digits() {
        for (value, text) in [
            (0.0, "0"),
            (4096.4, "4096"),
            (12.345, "12.35"),
            (0.000_521_34, "0.0005213"),
            (-1.5, "-1.500"),
            (1.0e-9, "1.000e-9"),
            (1.0e12, "1.000e12"),
            (f64::NAN, UNKNOWN),
            (f64::INFINITY, UNKNOWN),
        ] {
            assert_eq!(significant(value, 4), text, "{value}");
        }
    }

    #[test]
    fn half_widths_set_the_decimals() {
        assert_eq!(plus_minus(&interval(512.34, 508.2, 515.0)), "512.3 ± 4.1");
        assert_eq!(plus_minus(&interval(31.97, 25.0, 35.0)), "32.0 ± 7.0");
        assert_eq!(plus_minus(&interval(10802.35, 900.0, 20000.0)), "10802 ± 9902");
        assert_eq!(plus_minus(&interval(5.0, 5.0, 5.0)), "5.000 ± 0");
    }

    #[test]
    fn shares_and_ends() {
        assert_eq!(percent(&interval(0.87, 0.790_2, 0.922_4)), "87.0 % [79.0, 92.2]");
        assert_eq!(with_ends(&interval(0.213_26, 0.192_6, 0.236_1), 3), "0.213 [0.193, 0.236]");
        assert_eq!(with_ends(&interval(0.0, 0.0, 0.1), 3), "0 [0, 0.100]");
    }
}
