//! Numbers derived from raw samples. Every one is recomputed by `verify`; unknown is `None`.

use serde::{Deserialize, Serialize};

use crate::cost::api::AgainstApi;
use crate::cost::flip::FlipPoint;
use crate::cost::sensitivity::Swing;
use crate::cost::{CostEstimate, EnergyTerm};
use crate::decide::Verdict;
use crate::decide::verdict::Assessment;
use crate::energy::{Flag, Scope, Trust};
use crate::plan::{TierKey, Workload};
use crate::units::Interval;

/// Everything that follows from the raw half of a record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Derived {
    /// One entry per speed cell that succeeded, in the order of the cells.
    pub speed: Vec<SpeedNumbers>,
    /// One entry per task cell that succeeded, in the order of the cells.
    pub tasks: Vec<TaskNumbers>,
    /// One entry per tier, in the order of the plan.
    pub tiers: Vec<TierNumbers>,
    /// One entry per task, in the order of the plan: the cheapest tier that clears.
    pub answers: Vec<Answer>,
    /// The tiers, cheapest first: the order of every table. Tiers of unknown cost follow, fastest decode first.
    pub ladder: Vec<TierKey>,
    /// One entry per task, in the order of the plan: what the costs mean for a decision.
    #[serde(default)]
    pub economics: Vec<Economics>,
}

impl Derived {
    /// Speed numbers of a tier on a workload.
    #[must_use]
    pub fn speed_of(&self, tier: &TierKey, workload: &Workload) -> Option<&SpeedNumbers> {
        self.speed.iter().find(|numbers| numbers.tier == *tier && numbers.workload == *workload)
    }

    /// Task numbers of a tier.
    #[must_use]
    pub fn task_of(&self, tier: &TierKey, task: &str) -> Option<&TaskNumbers> {
        self.tasks.iter().find(|numbers| numbers.tier == *tier && numbers.task == task)
    }

    /// Cost and energy of a tier.
    #[must_use]
    pub fn tier_of(&self, tier: &TierKey) -> Option<&TierNumbers> {
        self.tiers.iter().find(|numbers| numbers.tier == *tier)
    }
}

/// Speed of one tier on one workload. Rates are tokens / s of the timed span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpeedNumbers {
    /// The tier.
    pub tier: TierKey,
    /// The workload.
    pub workload: Workload,
    /// Its name, e.g. `pp512`.
    pub test: String,
    /// Trials.
    pub n: u64,
    /// Median rate; the headline.
    pub median: Option<f64>,
    /// The median with its bootstrap interval; `None` for fewer than two trials.
    pub interval: Option<Interval>,
    /// Mean rate: llama-bench's `avg_ts`.
    pub mean: Option<f64>,
    /// Sample standard deviation (n - 1) of the rates: llama-bench's `stddev_ts`.
    pub stddev: Option<f64>,
    /// Slowest trial.
    pub min: Option<f64>,
    /// Fastest trial.
    pub max: Option<f64>,
    /// Time to the first token, s: the median span of a prefill; `None` for generation.
    pub ttft_s: Option<f64>,
    /// Time of a decode step, ms.
    pub itl_ms: Option<Percentiles>,
    /// Median over blocks of this tier's rate over the plan's first tier's in the same block.
    pub relative: Option<Interval>,
    /// Energy per token.
    pub energy: Option<EnergyNumbers>,
    /// Bytes decoding must read per second over the measured bandwidth; above 1 something is wrong: a finding.
    pub bandwidth_share: Option<f64>,
}

/// Nearest-rank percentiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 95th.
    pub p95: f64,
    /// 99th.
    pub p99: f64,
}

/// Energy per unit (token or item), J.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnergyNumbers {
    /// Meter.
    pub source: String,
    /// Worst trust class of the windows.
    pub trust: Trust,
    /// Boundary of what was measured.
    pub scope: Scope,
    /// Domains in the sum.
    pub domains: Vec<String>,
    /// Valid windows.
    pub windows: u64,
    /// Gross energy over units, all valid windows together; `None` if none is valid.
    pub total: Option<f64>,
    /// The same less idle power with the model loaded (F2, F3); `None` where that was not metered.
    pub marginal: Option<f64>,
    /// The same less idle power before any model was loaded: the work and keeping the model ready for it.
    #[serde(default)]
    pub above_bare: Option<f64>,
    /// Lower end: of the expanded uncertainty U = 2 u_c (F15), or of the range an estimate is stated with.
    pub lo: Option<f64>,
    /// Upper end.
    pub hi: Option<f64>,
    /// Doubts of all windows, without repetition.
    pub flags: Vec<Flag>,
}

/// Quality, time and cost of one tier on one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskNumbers {
    /// The tier.
    pub tier: TierKey,
    /// The task.
    pub task: String,
    /// Items graded.
    pub items: u64,
    /// Items passed.
    pub passes: u64,
    /// passes / items with Wilson's interval.
    pub pass_rate: Option<Interval>,
    /// Mean score.
    pub mean_score: Option<f64>,
    /// Standard error of the pass rate with items of one cluster taken as dependent.
    pub clustered_stderr: Option<f64>,
    /// The verdict with its evidence.
    pub assessment: Assessment,
    /// Answers cut off by the token limit; they count as failed.
    pub truncated: u64,
    /// Time per item, s.
    pub seconds_per_item: Option<f64>,
    /// Prompt tokens processed per item, shared prefix excluded.
    pub prefilled_per_item: Option<f64>,
    /// Tokens generated per item.
    pub generated_per_item: Option<f64>,
    /// Energy per item, metered over the graded items.
    pub energy: Option<EnergyNumbers>,
    /// Energy per solved item, failures included, J.
    #[serde(default)]
    pub joules_per_solved: Option<Interval>,
    /// Energy per UTF-8 byte of generated text, J; `None` where choices were scored and nothing was generated. Bytes are
    /// comparable across tokenizers, tokens are not.
    #[serde(default)]
    pub joules_per_byte: Option<Interval>,
    /// Cost from the time and energy of the graded items themselves.
    pub cost: ItemCost,
}

impl TaskNumbers {
    /// The verdict.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.assessment.verdict
    }
}

/// What an item of a task costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemCost {
    /// What electricity is in it.
    pub energy_included: EnergyTerm,
    /// $ per item.
    pub usd_per_item: Option<Interval>,
    /// $ per 1,000 solved items (F11, F16): the headline.
    pub usd_per_1k_solved: Option<Interval>,
    /// g CO2e per item: of the electricity while busy.
    #[serde(default)]
    pub g_co2e_per_item: Option<Interval>,
    /// g CO2e per 1,000 solved items.
    #[serde(default)]
    pub g_co2e_per_1k_solved: Option<Interval>,
}

/// What the costs of a task's tiers mean for a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Economics {
    /// The task.
    pub task: String,
    /// The tier it is about: the answer, else the cheapest that has a cost.
    pub tier: TierKey,
    /// The tier against the list prices of the assumptions, per item and per output token.
    pub against_api: Vec<AgainstApi>,
    /// Where another tier that clears becomes the cheapest.
    pub flips: Vec<FlipPoint>,
    /// Highest bars that tiers clear: the answer's, and those of cheaper tiers that do not clear the task's.
    pub bars: Vec<ClearableBar>,
    /// Cost per 1,000 solved with one input halved and doubled, widest first.
    pub tornado: Vec<Swing>,
    /// Value less cost per item, where the assumptions state a value; largest first.
    pub spreads: Vec<Spread>,
}

/// The highest bar a tier clears.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClearableBar {
    /// The tier.
    pub tier: TierKey,
    /// The bar.
    pub bar: f64,
}

/// What an attempted item is worth on a tier, less what it costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The tier.
    pub tier: TierKey,
    /// $ per item.
    pub usd_per_item: Interval,
}

/// Memory and token prices of one tier at its headline workloads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TierNumbers {
    /// The tier.
    pub tier: TierKey,
    /// Headline prefill workload: `pp512`, else the first at depth 0.
    pub prefill: Option<Workload>,
    /// Headline decode workload: `tg128`, else the first at depth 0.
    pub decode: Option<Workload>,
    /// Highest peak of resident memory over the tier's speed cells, if no other engine was loaded, bytes.
    pub peak_rss_bytes: Option<u64>,
    /// Cost of tokens at those workloads (F6, F8, F9, F10).
    pub cost: CostEstimate,
}

/// What tiers are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostBasis {
    /// $ per 1,000 solved items.
    UsdPer1kSolved,
    /// Seconds per solved item: neither prices nor energy are known.
    SecondsPerSolved,
}

/// The cheapest tier that clears a task's bar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The task.
    pub task: String,
    /// What the order below rests on.
    pub basis: CostBasis,
    /// The outcome.
    pub outcome: AnswerOutcome,
    /// Tiers no other tier beats in both cost and pass rate (point values), cheapest first.
    pub pareto: Vec<TierKey>,
}

/// Outcome of a task's ladder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerOutcome {
    /// A tier clears.
    Cheapest {
        /// The cheapest one that clears.
        tier: TierKey,
        /// Other tiers that clear and whose cost interval overlaps its own: ties.
        ties: Vec<TierKey>,
        /// Cheaper tiers that are still undecided: more items could make one of them the answer.
        cheaper_undecided: Vec<TierKey>,
    },
    /// Every tier fails.
    NoneClears,
    /// No tier clears yet, and some are undecided.
    Undecided {
        /// Those tiers, cheapest first.
        tiers: Vec<TierKey>,
        /// Fewest further items that are expected to decide one of them.
        items_needed: Option<u64>,
    },
    /// No tier has results for the task.
    NoResults,
}
