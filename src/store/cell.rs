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
