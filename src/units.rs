//! Units as types, so that joules are never added to watts and dollars per million tokens never to dollars.
//!
//! All are thin wrappers; arithmetic that changes the unit is a named method or an operator between the right types.

use std::ops::{Add, Div, Mul, Sub};

use serde::{Deserialize, Serialize};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $symbol:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub f64);

        impl $name {
            /// The unit as printed behind a number.
            pub const SYMBOL: &'static str = $symbol;

            /// The bare number in this unit.
            #[must_use]
            pub const fn get(self) -> f64 {
                self.0
            }

            /// The value if it is finite, else `None`: unknown never prints as NaN.
            #[must_use]
            pub fn known(self) -> Option<Self> {
                self.0.is_finite().then_some(self)
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl Mul<f64> for $name {
            type Output = Self;
            fn mul(self, factor: f64) -> Self {
                Self(self.0 * factor)
            }
        }

        impl Div<f64> for $name {
            type Output = Self;
            fn div(self, divisor: f64) -> Self {
                Self(self.0 / divisor)
            }
        }

        impl std::iter::Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.fold(Self(0.0), Add::add)
            }
        }
    };
}

quantity!(
    /// Energy, J.
    Joules, "J"
);
quantity!(
    /// Power, W.
    Watts, "W"
);
quantity!(
    /// Time, s.
    Seconds, "s"
);
quantity!(
    /// Energy per token, J/token. 1 J/token = 0.2778 kWh per million tokens.
    JoulesPerToken, "J/token"
);
quantity!(
    /// Money, US dollars of the price book's date.
    Usd, "$"
);
quantity!(
    /// Electricity tariff, $/kWh.
    UsdPerKwh, "$/kWh"
);
quantity!(
    /// Price or cost of a million tokens, $/Mtok.
    UsdPerMtok, "$/Mtok"
);
quantity!(
    /// Price of an hour of a machine, $/h.
    UsdPerHour, "$/h"
);
quantity!(
    /// Token rate, tok/s.
    TokensPerSec, "tok/s"
);

impl Mul<Seconds> for Watts {
    type Output = Joules;
    fn mul(self, time: Seconds) -> Joules {
        Joules(self.0 * time.0)
    }
}

impl Div<Seconds> for Joules {
    type Output = Watts;
    fn div(self, time: Seconds) -> Watts {
        Watts(self.0 / time.0)
    }
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// The size in MiB (2^20 bytes).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "sizes are printed with a few digits")]
    pub fn mib(self) -> f64 {
        self.0 as f64 / (1024.0 * 1024.0)
    }
}

/// An estimate with the interval it is stated with. `lo <= value <= hi`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Point estimate.
    pub value: f64,
    /// Lower end.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
    /// Coverage the ends are meant to have, e.g. 0.95.
    pub level: f64,
}

impl Interval {
    /// Whether the two intervals share a point: then the two values are called a tie.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.lo <= other.hi && other.lo <= self.hi
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_times_time_is_energy_and_back() {
        let energy = Watts(60.0) * Seconds(2.5);
        assert_eq!(energy, Joules(150.0));
        assert_eq!(energy / Seconds(2.5), Watts(60.0));
    }

    #[test]
    fn unknown_is_not_a_number_that_prints() {
        assert_eq!(Usd(f64::NAN).known(), None);
        assert_eq!(Usd(1.0).known(), Some(Usd(1.0)));
    }

    #[test]
    fn touching_intervals_are_a_tie() {
        let at = |lo, hi| Interval { value: lo, lo, hi, level: 0.95 };
        assert!(at(1.0, 2.0).overlaps(&at(2.0, 3.0)));
        assert!(!at(1.0, 2.0).overlaps(&at(2.1, 3.0)));
    }
}
