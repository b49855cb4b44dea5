//! Cells: one tier on one workload or task, with its raw samples. The unit that is run, committed, resumed, retried.

use serde::{Deserialize, Serialize};

use crate::plan::{TierKey, Workload};

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
    /// Timed trials.
    Speed(SpeedTrials),
    /// Graded items.
    Task(TaskItems),
    /// The cell failed; the others' results stand.
    Failed {
        /// One line.
        error: String,
    },
}

/// Timed trials of one workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpeedTrials {
    /// Elapsed time of each warm-up trial, ns; in order, not part of any statistic.
    pub warmup_ns: Vec<u64>,
    /// Every measured trial, in order. None is ever dropped.
    pub samples: Vec<SpeedSample>,
    /// What disturbed or may have disturbed the measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<NoiseFacts>,
    /// Metered windows over these trials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub energy: Vec<EnergyWindow>,
    /// Why no more trials were made, e.g. `interval within 2 %`, `budget`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// One trial.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeedSample {
    /// The interleaved block it belongs to: ratios between tiers are taken within a block.
    pub block: u32,
    /// Position in the run's sequence of trials.
    pub order: u32,
    /// Timed span, ns: engine calls and device sync only.
    pub elapsed_ns: u64,
    /// Tokens processed inside the span, all sequences together.
    pub tokens: u64,
    /// Gaps between tokens, ns; empty where tokens are not produced one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub itl_ns: Vec<u64>,
}

impl SpeedSample {
    /// tokens / s; `None` for an empty span.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "spans and counts are far below 2^53")]
    pub fn tokens_per_s(&self) -> Option<f64> {
        (self.elapsed_ns > 0).then(|| self.tokens as f64 * 1e9 / self.elapsed_ns as f64)
    }
}

/// Evidence of disturbance while a cell ran. `None` where the machine does not tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NoiseFacts {
    /// Share of processor time a hypervisor took away, `[0, 1]`.
    pub steal_share: Option<f64>,
    /// Share of processor time other processes used, `[0, 1]`.
    pub foreign_share: Option<f64>,
    /// Lowest frequency seen, MHz.
    pub min_mhz: Option<f64>,
    /// Highest frequency seen, MHz.
    pub max_mhz: Option<f64>,
    /// Highest temperature seen, °C.
    pub max_celsius: Option<f64>,
    /// Times the processor reported throttling.
    pub throttle_events: Option<u64>,
    /// Findings, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

/// How far a joule figure can be trusted; the worst wins in a sum. Ordered from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// External meter.
    Wall,
    /// Hardware energy counter: component energy.
    Counter,
    /// Counter with a per-host fit to a wall meter.
    Calibrated,
    /// Integrated power gauge.
    Sampled,
    /// Vendor model.
    Modelled,
    /// Formula on TDP and load: a range.
    Estimated,
    /// Nothing measured.
    None,
}

impl Trust {
    /// The word printed beside a figure.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Counter => "counter",
            Self::Calibrated => "calibrated",
            Self::Sampled => "sampled",
            Self::Modelled => "modelled",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}

/// Energy of one metered window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnergyWindow {
    /// Which meter, e.g. `powercap package-0+dram`.
    pub source: String,
    /// Its trust class.
    pub trust: Trust,
    /// Domains summed, e.g. `package-0`, `dram`.
    pub domains: Vec<String>,
    /// Energy of the window, J, gross; `None` if the window is invalid: never 0 for unknown.
    pub joules: Option<f64>,
    /// For estimates: the range the energy is stated with, J.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_joules: Option<[f64; 2]>,
    /// Length of the window, s.
    pub seconds: f64,
    /// Tokens processed inside the window.
    pub tokens: u64,
    /// Power before the model was loaded, W.
    pub idle_bare_w: Option<f64>,
    /// Power with the model loaded and idle, W: what the marginal figure subtracts.
    pub idle_ready_w: Option<f64>,
    /// Relative bound of the sensor, e.g. 0.05; the uniform `a` of F15.
    pub sensor_bound: Option<f64>,
    /// Update period of the counter, s.
    pub tick_s: Option<f64>,
    /// Doubts, e.g. `window_short`, `hypervisor`.
    pub flags: Vec<String>,
}

/// Graded items of one task, in the seeded order, none skipped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskItems {
    /// The items.
    pub items: Vec<ItemResult>,
    /// Metered windows over these items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub energy: Vec<EnergyWindow>,
    /// Why no more items were graded, e.g. `decided`, `budget`, `suite done`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// One graded item.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemResult {
    /// Item id.
    pub item: String,
    /// Whether it passed.
    pub pass: bool,
    /// Score in `[0, 1]`.
    pub score: f64,
    /// The answer the scorer extracted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The answer that was expected, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What the model wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// The item as shown to the model, without the shared part of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Confidence signal, for cascades.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Tokens of the whole prompt.
    pub prompt_tokens: u32,
    /// Those of them that were processed for this item; the rest came from a shared prefix.
    pub prefilled_tokens: u32,
    /// Tokens generated (or scored as continuations).
    pub gen_tokens: u32,
    /// Time of the engine calls for this item, ns.
    pub elapsed_ns: u64,
    /// `stop`, `length`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// Items of one cluster are not independent (same template, same source).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}
