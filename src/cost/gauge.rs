//! Joules from what a meter says (F1, F17), and the load models used where there is no meter.

use crate::units::{Joules, Seconds, Watts};

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

/// F17: energy under a sampled power gauge, Σ(t₁ - t₀)(P₀ + P₁)/2. `None` for fewer than two samples, time that runs
/// backwards, or a value that is not finite.
#[must_use]
pub fn trapezoid(samples: &[(Seconds, Watts)]) -> Option<Joules> {
    if samples.len() < 2 {
        return None;
    }
    let mut sum = 0.0;
    for pair in samples.windows(2) {
        let (dt, power) = ((pair[1].0 - pair[0].0).0, (pair[0].1 + pair[1].1).0);
        if dt.is_nan() || dt < 0.0 {
            return None;
        }
        sum += dt * power / 2.0;
    }
    Joules(sum).known()
}

/// CodeCarbon's load model, P = TDP·(0.1 + 0.9·load³), load in [0, 1].
#[must_use]
pub fn cubic_load_power(tdp: Watts, load: f64) -> Watts {
    tdp * (0.1 + 0.9 * load.powi(3))
}

/// Cloud Carbon Footprint's load model, vCPUs·(min + load·(max - min)) watts.
#[must_use]
pub fn vcpu_load_power(vcpus: u32, min: Watts, max: Watts, load: f64) -> Watts {
    (min + (max - min) * load) * f64::from(vcpus)
}
