//! F18: how fast the price of a given quality falls, between two dates or over stored runs (the method of Epoch AI:
//! cheapest price that meets the bar so far, log-linear fit).

use serde::{Deserialize, Serialize};

use super::date::Date;
use crate::stats::regression::Line;
use crate::units::Interval;

/// A price seen on a day: $ per 1,000 solved, $/Mtok, or joules per solved item.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// The day.
    pub date: Date,
    /// The price.
    pub price: f64,
}

/// Fall of a price between two dates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fall {
    /// Earlier price over later price.
    pub factor: f64,
    /// Days between them.
    pub days: i64,
    /// factor^(1/years), years of 365.25 days.
    pub factor_per_year: f64,
    /// Days in which the price halves, days·ln 2/ln factor; `None` for a price that did not fall.
    pub halving_days: Option<f64>,
}

/// Fall of the price from `earlier` to `later`. `None` for prices that are not positive or dates not in order.
#[must_use]
pub fn fall(earlier: Observation, later: Observation) -> Option<Fall> {
    let days = later.date.days() - earlier.date.days();
    let factor = earlier.price / later.price;
    if days <= 0 || !(earlier.price > 0.0 && later.price > 0.0 && factor.is_finite()) {
        return None;
    }
    Some(Fall {
        factor,
        days,
        factor_per_year: factor_per_year(factor, days as f64 / 365.25),
        halving_days: (factor > 1.0).then(|| days as f64 * std::f64::consts::LN_2 / factor.ln()),
    })
}

/// factor^(1/years).
#[must_use]
pub fn factor_per_year(factor: f64, years: f64) -> f64 {
    factor.powf(1.0 / years)
}

/// Why no trend is stated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoTrend {
    /// Too few points on the frontier.
    #[error("no trend: {got} price minima, at least {MIN_POINTS} are needed")]
    TooFewPoints {
        /// Points kept.
        got: usize,
    },
    /// Too short a time.
    #[error("no trend: the price minima span {got} days, at least {MIN_DAYS} are needed")]
    TooShort {
        /// Days between the first and the last point kept.
        got: i64,
    },
    /// A price that is not a positive number.
    #[error("no trend: the price of {date} is {price}, not a positive number")]
    BadPrice {
        /// Its day.
        date: Date,
        /// Its price.
        price: f64,
    },
}

/// Fewest frontier points a fit is stated for.
pub const MIN_POINTS: usize = 3;

/// Fewest days they span.
pub const MIN_DAYS: i64 = 90;

/// Log-linear fit of the running minimum.
#[derive(Clone, Debug, PartialEq)]
pub struct Trend {
    /// Points kept: each cheaper than everything before it.
    pub kept: Vec<Observation>,
    /// log10(price) on years since the first observation.
    pub line: Line,
    /// Fall per year, 10^-slope, with its 95 % interval.
    pub factor_per_year: Interval,
    /// Years in which the price halves, -log10 2/slope; `None` for a price that does not fall.
    pub halving_years: Option<f64>,
}

/// Keeps the running minimum of `observations` (sorted by date inside) and fits it. Do not mix API prices and local
/// costs, or different task hashes or bars, in one series.
///
/// # Errors
/// Refuses with fewer than [`MIN_POINTS`] minima or less than [`MIN_DAYS`] between the first and the last.
pub fn trend(observations: &[Observation]) -> Result<Trend, NoTrend> {
    if let Some(bad) = observations.iter().find(|o| !(o.price > 0.0 && o.price.is_finite())) {
        return Err(NoTrend::BadPrice { date: bad.date, price: bad.price });
    }
    let mut sorted = observations.to_vec();
    // Of one day only the cheapest can be a minimum.
    sorted.sort_by(|a, b| a.date.cmp(&b.date).then(a.price.total_cmp(&b.price)));
    let mut kept: Vec<Observation> = Vec::new();
    for o in sorted {
        if kept.last().is_none_or(|last| o.price < last.price) {
            kept.push(o);
        }
    }
    let (Some(first), Some(last)) = (kept.first(), kept.last()) else {
        return Err(NoTrend::TooFewPoints { got: 0 });
    };
    let (first, days) = (*first, last.date.days() - first.date.days());
    if kept.len() < MIN_POINTS {
        return Err(NoTrend::TooFewPoints { got: kept.len() });
    }
    if days < MIN_DAYS {
        return Err(NoTrend::TooShort { got: days });
    }
    let points: Vec<(f64, f64)> = kept.iter().map(|o| (first.date.years_until(o.date), o.price.log10())).collect();
    // With at least three distinct days the fit and its interval exist.
    let too_few = || NoTrend::TooFewPoints { got: kept.len() };
    let line = Line::fit(&points).ok_or_else(too_few)?;
    let slope = line.slope_interval(0.95).ok_or_else(too_few)?;
    let per_year = |s: f64| 10f64.powf(-s);
    Ok(Trend {
        line,
        factor_per_year: Interval {
            value: per_year(slope.value),
            lo: per_year(slope.hi),
            hi: per_year(slope.lo),
            level: slope.level,
        },
        halving_years: (line.slope < 0.0).then(|| -2f64.log10() / line.slope),
        kept,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(date: &str, price: f64) -> Observation {
        Observation { date: date.parse().unwrap(), price }
    }

    #[test]
    fn a_short_or_thin_series_is_refused_with_the_reason() {
        let two = [at("2025-01-01", 2.0), at("2025-12-01", 1.0), at("2026-01-01", 1.5)];
        assert_eq!(trend(&two), Err(NoTrend::TooFewPoints { got: 2 }));
        let quick = [at("2025-01-01", 3.0), at("2025-02-01", 2.0), at("2025-03-01", 1.0)];
        assert_eq!(
            trend(&quick).unwrap_err().to_string(),
            "no trend: the price minima span 59 days, at least 90 are needed"
        );
        assert!(matches!(trend(&[at("2025-01-01", 0.0)]), Err(NoTrend::BadPrice { .. })));
        assert_eq!(trend(&[]), Err(NoTrend::TooFewPoints { got: 0 }));
    }

    #[test]
    fn an_exact_halving_is_found_in_any_order() {
        let mut series = vec![at("2024-01-01", 8.0), at("2025-01-01", 4.0), at("2026-01-01", 2.0)];
        let forward = trend(&series).unwrap();
        series.reverse();
        assert_eq!(trend(&series).unwrap(), forward);
        assert!((forward.halving_years.unwrap() - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_price_that_rose_has_no_halving_time() {
        let f = fall(at("2025-01-01", 1.0), at("2026-01-01", 2.0)).unwrap();
        assert_eq!((f.factor, f.halving_days), (0.5, None));
        assert_eq!(fall(at("2026-01-01", 1.0), at("2025-01-01", 2.0)), None);
    }
}
