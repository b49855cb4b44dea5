//! Counters that wrap (F1), and a load model of cloud hosts. Whole windows (F17) and metering are the energy room's.

use crate::units::{Seconds, Watts};

/// F1: microjoules between two reads of a counter that wraps at `range`. `None` if a read is beyond the range.
#[must_use]
pub fn counter_delta_uj(previous: u64, current: u64, range: u64) -> Option<u64> {
    if previous > range || current > range {
        return None;
    }
    Some(if current >= previous { current - previous } else { range - previous + current })
}

/// Seconds until a counter of `range` microjoules wraps at constant power. `None` for no power.
#[must_use]
pub fn wrap_period(range_uj: u64, power: Watts) -> Option<Seconds> {
    (power.0 > 0.0).then(|| Seconds(range_uj as f64 * 1e-6 / power.0))
}

/// Cloud Carbon Footprint's load model, vCPUs·(min + load·(max - min)) watts.
#[must_use]
pub fn vcpu_load_power(vcpus: u32, min: Watts, max: Watts, load: f64) -> Watts {
    (min + (max - min) * load) * f64::from(vcpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_beyond_the_range_are_no_delta() {
        assert_eq!(counter_delta_uj(5, 11, 10), None);
        assert_eq!(counter_delta_uj(11, 5, 10), None);
        assert_eq!(counter_delta_uj(9, 2, 10), Some(3));
        assert_eq!(wrap_period(10, Watts(0.0)), None);
    }
}
