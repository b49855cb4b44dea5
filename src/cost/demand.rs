//! What a lower price does to the bill, and what a solved item is worth against what it costs.

use serde::Serialize;

use crate::units::{Interval, Usd};

/// Change of use and bill when a price changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Demand {
    /// Use over use before.
    pub quantity_factor: f64,
    /// Bill over bill before.
    pub bill_factor: f64,
}

/// Constant-elasticity demand: at a price falling by a factor `fall` (10 = a tenth of the price), use grows by
/// `fall`^ε and the bill changes by `fall`^(ε - 1). Above ε = 1 cheaper tokens make a larger bill (Jevons). `None` for a
/// factor that is not positive or an elasticity that is negative.
#[must_use]
pub fn demand(fall: f64, elasticity: f64) -> Option<Demand> {
    if !(fall > 0.0 && fall.is_finite() && elasticity >= 0.0 && elasticity.is_finite()) {
        return None;
    }
    Some(Demand { quantity_factor: fall.powf(elasticity), bill_factor: fall.powf(elasticity - 1.0) })
}

/// Value created per task attempted, acc·V - (1 - acc)·F - c, with V the value of a solved item, F the cost of a failure
/// and c the cost of a task: the number that decides whether a dearer tier pays for its quality.
#[must_use]
pub fn spread(task: Usd, accuracy: f64, value: Usd, failure: Usd) -> Usd {
    value * accuracy - failure * (1.0 - accuracy) - task
}

/// [`spread`] with the intervals of accuracy and cost, taken as independent.
#[must_use]
pub fn spread_interval(task: Interval, accuracy: Interval, value: Usd, failure: Usd) -> Interval {
    let at = spread(Usd(task.value), accuracy.value, value, failure).0;
    let stake = (value + failure).0;
    let below = (stake * (accuracy.value - accuracy.lo)).hypot(task.hi - task.value);
    let above = (stake * (accuracy.hi - accuracy.value)).hypot(task.value - task.lo);
    Interval { value: at, lo: at - below, hi: at + above, level: task.level.min(accuracy.level) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_unit_elasticity_the_bill_stays() {
        let d = demand(10.0, 1.0).unwrap();
        assert_eq!((d.quantity_factor, d.bill_factor), (10.0, 1.0));
        assert!(demand(10.0, 1.5).unwrap().bill_factor > 3.0);
        assert!(demand(10.0, 0.5).unwrap().bill_factor < 0.4);
        assert_eq!(demand(0.0, 1.0), None);
        assert_eq!(demand(2.0, f64::NAN), None);
    }

    #[test]
    fn the_spread_is_as_sure_as_accuracy_and_cost() {
        let about = |value: f64, half: f64| Interval { value, lo: value - half, hi: value + half, level: 0.95 };
        let s = spread_interval(about(0.02, 0.004), about(0.8, 0.03), Usd(0.09), Usd(0.01));
        assert!((s.value - (0.072 - 0.002 - 0.02)).abs() < 1e-12);
        assert!((s.value - s.lo - 0.005).abs() < 1e-12 && (s.hi - s.value - 0.005).abs() < 1e-12);
    }

    #[test]
    fn a_dearer_tier_can_be_worth_more() {
        let value = Usd(0.10);
        let cheap = spread(Usd(0.0001), 0.7, value, Usd(0.05));
        let dear = spread(Usd(0.002), 0.9, value, Usd(0.05));
        assert!(dear.0 > cheap.0);
    }
}
