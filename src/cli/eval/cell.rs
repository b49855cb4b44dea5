//! One tier on one task: its items so far and what they say.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::decide::{DecideError, Rule, State, Verdict};
use crate::error::{Error, ExitStatus, Result};
use crate::quality::task::{BarMetric, Task};
use crate::quality::{Baseline, Evaluated, FinishReason, ItemResult, best_baseline};

/// See the module.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) tier: String,
    pub(super) task: String,
    pub(super) error: Option<String>,
    metric: BarMetric,
    version: Option<String>,
    task_sha256: String,
    baseline: Option<Baseline>,
    state: State,
    items: Vec<ItemResult>,
    evaluated: Option<Evaluated>,
    wall: Duration,
}

/// A rule or item the verdict refuses: only flags can cause it.
pub(super) fn usage(error: DecideError) -> Error {
    Error::Usage(error.to_string())
}

impl Cell {
    pub(super) fn new(tier: String, task: &Task, metric: BarMetric, rule: Rule) -> Result<Self> {
        let state = match metric {
            BarMetric::PassRate => State::new(rule),
            BarMetric::MeanScore => State::of_scores(rule),
        };
        Ok(Self {
            tier,
            task: task.name.clone(),
            error: None,
            metric,
            version: task.version.clone(),
            task_sha256: task.sha256.clone(),
            baseline: best_baseline(task)?,
            state: state.map_err(usage)?,
            items: Vec::new(),
            evaluated: None,
            wall: Duration::ZERO,
        })
    }

    /// Adds the next item of the order.
    pub(super) fn add(&mut self, item: ItemResult) -> Result<()> {
        let pushed = match self.metric {
            BarMetric::PassRate => self.state.push(item.pass),
            BarMetric::MeanScore => self.state.push_score(item.score),
        };
        pushed.map_err(usage)?;
        self.items.push(item);
        Ok(())
    }

    pub(super) fn decided(&self) -> bool {
        self.state.verdict().is_decided()
    }

    pub(super) fn finish(&mut self, evaluated: &Evaluated, wall: Duration) {
        self.evaluated = Some(*evaluated);
        self.wall = wall;
    }

    fn passes(&self) -> usize {
        self.items.iter().filter(|item| item.pass).count()
    }

    fn share(&self, solved: f64) -> Option<f64> {
        (!self.items.is_empty()).then(|| solved / self.items.len() as f64)
    }

    /// Items per second of wall time, tokenizing and scoring included.
    pub(super) fn items_per_s(&self) -> Option<f64> {
        let seconds = self.wall.as_secs_f64();
        (seconds > 0.0 && !self.items.is_empty()).then(|| self.items.len() as f64 / seconds)
    }

    /// Level → (passes, items).
    fn levels(&self) -> BTreeMap<u32, (usize, usize)> {
        let mut levels: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        for item in &self.items {
            if let Some(level) = item.level {
                let (passes, n) = levels.entry(level).or_default();
                (*passes, *n) = (*passes + usize::from(item.pass), *n + 1);
            }
        }
        levels
    }

    pub(super) fn json(&self) -> Value {
        let sum = |f: fn(&ItemResult) -> u64| self.items.iter().map(f).sum::<u64>();
        let cut = self.items.iter().filter(|i| matches!(i.finish_reason, FinishReason::Length | FinishReason::Context));
        let level = |(level, (passes, n)): (u32, (usize, usize))| {
            (level.to_string(), json!({ "items": n, "passes": passes, "pass_rate": passes as f64 / n as f64 }))
        };
        let levels: serde_json::Map<String, Value> = self.levels().into_iter().map(level).collect();
        let assessment = self.state.assess();
        let rule = self.state.rule();
        json!({
            "tier": self.tier,
            "task": self.task,
            "task_version": self.version,
            "task_sha256": self.task_sha256,
            "error": self.error,
            "items": self.items.len(),
            "passes": self.passes(),
            "pass_rate": self.share(self.passes() as f64),
            "mean_score": self.share(self.items.iter().map(|i| i.score).sum()),
            "interval": assessment.interval.map(|i| [i.lo, i.hi]),
            "metric": self.metric,
            "bar": rule.bar.get(),
            "margin": rule.margin,
            "alpha": rule.alpha,
            "beta": rule.beta,
            "tiers_sharing_alpha": rule.tiers,
            "order_seed": rule.order_seed,
            "verdict": self.error.is_none().then(|| assessment.verdict.name()),
            "decided_at": assessment.decided_at,
            "items_needed": self.items_needed(),
            "ln_e_clears": assessment.ln_e_clear,
            "ln_e_fails": assessment.ln_e_fail,
            "statement": assessment.statement,
            "baseline": self.baseline,
            "levels": levels,
            "truncated": cut.count(),
            "items_per_s": self.items_per_s(),
            "engine_ns": sum(|i| i.elapsed_ns),
            "prefix_tokens": self.evaluated.map(|e| e.prefix_tokens),
            "prefix_ns": self.evaluated.map(|e| e.prefix_ns),
            "prompt_tokens": sum(|i| u64::from(i.n_prompt_tokens)),
            "cached_tokens": sum(|i| u64::from(i.n_cached_tokens)),
            "gen_tokens": sum(|i| u64::from(i.n_gen_tokens)),
        })
    }

    fn items_needed(&self) -> Option<u64> {
        match self.state.verdict() {
            Verdict::Undecided { more_items } => more_items,
            _ => None,
        }
    }

    pub(super) fn solved(&self) -> String {
        let percent = |share: f64| format!("{:.1} % ({}/{})", 100.0 * share, self.passes(), self.items.len());
        self.share(self.passes() as f64).map_or_else(|| "—".into(), percent)
    }

    pub(super) fn interval_text(&self) -> String {
        let text = |i: crate::units::Interval| format!("{:.0}–{:.0} %", 100.0 * i.lo, 100.0 * i.hi);
        self.state.assess().interval.map_or_else(|| "—".into(), text)
    }

    pub(super) fn levels_text(&self) -> String {
        let share = |(passes, n): &(usize, usize)| format!("{:.0}", 100.0 * *passes as f64 / *n as f64);
        let shares: Vec<_> = self.levels().values().map(share).collect();
        if shares.is_empty() { "—".into() } else { shares.join(" ") }
    }

    pub(super) fn verdict_text(&self) -> String {
        match (&self.error, self.items_needed()) {
            (Some(error), _) => format!("error: {error}"),
            (None, Some(more)) => format!("UNDECIDED (about {more} more items)"),
            (None, None) => self.state.verdict().name().into(),
        }
    }

    pub(super) fn footnote(&self) -> String {
        let baseline = self.baseline.as_ref().map_or_else(|| "—".into(), |b| format!("{} {:.2}", b.name, b.pass_rate));
        format!("{} on {}: {}. Without a model: {baseline}.", self.tier, self.task, self.state.assess().statement)
    }
}

/// 5 if a cell failed, 0 if a tier clears every task it was judged on, 4 if something is undecided, else 3.
pub(super) fn exit_status(cells: &[Cell]) -> ExitStatus {
    let mut tiers: BTreeMap<&str, Vec<&Cell>> = BTreeMap::new();
    for cell in cells {
        tiers.entry(&cell.tier).or_default().push(cell);
    }
    let clears = |cells: &Vec<&Cell>| cells.iter().all(|cell| cell.state.verdict() == Verdict::Clears);
    if cells.iter().any(|cell| cell.error.is_some()) {
        ExitStatus::CellsFailed
    } else if tiers.values().any(clears) {
        ExitStatus::Success
    } else if cells.iter().any(|cell| !cell.decided()) {
        ExitStatus::Undecided
    } else {
        ExitStatus::NoTierClears
    }
}
