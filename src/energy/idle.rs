//! Power while nothing is asked of the machine: the two baselines that marginal joules subtract, and whether they held.

use serde::{Deserialize, Serialize};

use super::Reading;

/// Relative change of idle power over a run beyond which marginal joules are doubtful.
const DRIFT: f64 = 0.05;

/// Power while idle: before a model is loaded, and with it ready to answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IdleBaselines {
    /// No model loaded.
    pub bare: Option<Reading>,
    /// The model loaded, before the work.
    pub ready: Option<Reading>,
    /// The model loaded, after the work.
    pub after: Option<Reading>,
}

impl IdleBaselines {
    /// Relative change of idle power over the run; `None` unless it was measured twice.
    #[must_use]
    pub fn drift(&self) -> Option<f64> {
        let (before, after) = (self.ready.as_ref()?.power()?.0, self.after.as_ref()?.power()?.0);
        (before > 0.0).then(|| after / before - 1.0)
    }

    /// Whether the idle power changed by more than 5 %.
    #[must_use]
    pub fn drifted(&self) -> bool {
        self.drift().is_some_and(|drift| drift.abs() > DRIFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Joules;

    fn idle(joules: f64) -> Option<Reading> {
        Some(Reading { joules: Some(Joules(joules)), ..Reading::none(10.0) })
    }

    #[test]
    fn drift_is_seen_beyond_five_percent_and_unknown_without_both_ends() {
        let hotter = IdleBaselines { bare: None, ready: idle(500.0), after: idle(550.0) };
        assert!(hotter.drifted() && (hotter.drift().unwrap() - 0.1).abs() < 1e-9);
        let steady = IdleBaselines { after: idle(520.0), ..hotter.clone() };
        assert!(!steady.drifted());
        assert_eq!(IdleBaselines { after: None, ..hotter }.drift(), None);
    }
}
