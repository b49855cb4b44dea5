//! Cells: one tier on one workload or task, with its raw samples. The unit that is run, committed, resumed, retried.

use serde::{Deserialize, Serialize};

use crate::energy::Reading;
use crate::measure::SpeedCell;
use crate::plan::{TierKey, Workload};
use crate::quality::ItemResult;

/// One tier on one workload or task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The tier.
    pub tier: TierKey,
    /// What it was run on.
    pub subject: Subject,
    /// When the cell finished; UTC, RFC 3339.
    pub finished_at: String,
    /// Raw results, or why there are none.
    pub outcome: Outcome,
}

impl Cell {
    /// The cell's identity within its run: a second commit of the same cell replaces the first.
    #[must_use]
    pub fn id(&self) -> CellId {
        CellId::new(&self.tier, &self.subject)
    }

    /// Why the cell has no results.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Failed { error } => Some(error),
            Outcome::Speed(_) | Outcome::Task(_) => None,
        }
    }
}

/// Identity of a cell within its run, `tier | workload` or `tier | task`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CellId(pub String);

impl CellId {
    /// The id of `tier` on `subject`.
    #[must_use]
    pub fn new(tier: &TierKey, subject: &Subject) -> Self {
        Self(format!("{tier} | {subject}"))
    }
}

impl std::fmt::Display for CellId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a tier was run on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A speed test.
    Workload(Workload),
    /// A task, by name.
    Task(String),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Workload(workload) => workload.fmt(f),
            Self::Task(name) => f.write_str(name),
        }
    }
}

/// Raw results of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Timed trials with noise, memory and energy.
    Speed(Box<SpeedCell>),
    /// Graded items.
    Task(TaskItems),
    /// The cell failed; the others' results stand.
    Failed {
        /// One line.
        error: String,
    },
}

/// Graded items of one task, in the seeded order, none skipped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskItems {
    /// The items.
    pub items: Vec<ItemResult>,
    /// Metered windows over these items, without gaps between them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub energy: Vec<Reading>,
    /// Time to compute the prompt all items share, ns: paid once, not per item.
    #[serde(default)]
    pub prefix_ns: u64,
    /// Why no more items were graded, e.g. `decided`, `budget`, `suite done`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// Shares the joules of a window among the items graded in it, E·t/Σt by the time of their engine calls; what lies between
/// the calls is shared with them. A window without joules (invalid, or an estimate) leaves the items without.
pub fn share_energy(window: &Reading, items: &mut [ItemResult]) {
    let Some(joules) = window.joules else { return };
    let total: f64 = items.iter().map(|item| item.elapsed_ns as f64).sum();
    for item in items.iter_mut().filter(|_| total > 0.0) {
        item.joules = Some(joules.0 * item.elapsed_ns as f64 / total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Joules;

    fn item(elapsed_ns: u64) -> ItemResult {
        ItemResult { n_prompt_tokens: 1, elapsed_ns, ..ItemResult::unjudged("a") }
    }

    #[test]
    fn a_windows_joules_are_shared_by_time_and_unknown_ones_are_not() {
        let mut items = [item(10), item(30)];
        share_energy(&Reading::none(1.0), &mut items);
        assert!(items.iter().all(|item| item.joules.is_none()));
        let window = Reading { joules: Some(Joules(8.0)), ..Reading::none(1.0) };
        share_energy(&window, &mut items);
        assert_eq!(items.each_ref().map(|item| item.joules), [Some(2.0), Some(6.0)]);
        let mut untimed = [item(0)];
        share_energy(&window, &mut untimed);
        assert_eq!(untimed[0].joules, None, "results of another tool have no times");
        share_energy(&window, &mut []);
    }
}
