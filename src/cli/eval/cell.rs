//! One tier on one task: its items so far and what they say.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

use super::ledger::INTERRUPTED;
use crate::decide::paired::{Paired, PairedRule, PairedVerdict};
use crate::decide::{DecideError, State, Verdict};
use crate::energy::Reading;
use crate::error::{Error, ExitStatus, Result};
use crate::plan::TierKey;
use crate::quality::task::{BarMetric, Decode, Task};
use crate::quality::{Agreement, Baseline, Evaluated, FinishReason, ItemResult, agreement, breakdown};
use crate::store::cell::{TaskItems, share_energy};
use crate::store::derived::TaskNumbers;
use crate::store::record::TaskFacts;

/// See the module.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) tier: TierKey,
    pub(super) task: String,
    pub(super) error: Option<String>,
    /// Items an earlier attempt had judged.
    pub(super) resumed: usize,
    /// Why no more items were shown.
    pub(super) stopped: Option<&'static str>,
    /// Time to compute the prompt all items share, ns.
    pub(super) prefix_ns: u64,
    metric: BarMetric,
    version: Option<String>,
    task_sha256: String,
    baseline: Option<Baseline>,
    state: State,
    beside: Option<Beside>,
    items: Vec<ItemResult>,
    /// Metered windows that together hold all items; empty if some items were not metered.
    energy: Vec<Reading>,
    /// What else the scorer saw, over all items.
    parts: BTreeMap<String, f64>,
    /// The same items in other ways: how many passed, and how far the answers agree.
    other_ways: Vec<(Decode, usize, Agreement)>,
    decode: Decode,
    evaluated: Option<Evaluated>,
    wall: Duration,
}

/// The comparison with a reference tier.
#[derive(Debug)]
struct Beside {
    reference: TierKey,
    tolerance: f64,
    passes: HashMap<String, bool>,
    paired: Paired,
}

/// A rule or item the verdict refuses: only flags can cause it.
pub(super) fn usage(error: DecideError) -> Error {
    Error::Usage(error.to_string())
}

impl Cell {
    pub(super) fn new(tier: TierKey, task: &Task, facts: &TaskFacts) -> Result<Self> {
        let state = match facts.metric {
            BarMetric::PassRate => State::new(facts.rule.clone()),
            BarMetric::MeanScore => State::of_scores(facts.rule.clone()),
        };
        Ok(Self {
            tier,
            task: task.name.clone(),
            error: None,
            resumed: 0,
            stopped: None,
            prefix_ns: 0,
            metric: facts.metric,
            version: task.version.clone(),
            task_sha256: task.sha256.clone(),
            baseline: facts.baseline.clone(),
            state: state.map_err(usage)?,
            beside: None,
            items: Vec::new(),
            energy: Vec::new(),
            parts: BTreeMap::new(),
            other_ways: Vec::new(),
            decode: task.decode,
            evaluated: None,
            wall: Duration::ZERO,
        })
    }

    /// Compares this tier with `reference` on the items both see; `tiers` share α.
    pub(super) fn compare(&mut self, reference: &Self, tolerance: f64, tiers: u32) -> Result<()> {
        let rule = self.state.rule();
        let rule = PairedRule { tolerance, alpha: rule.alpha, beta: rule.beta, tiers };
        self.beside = Some(Beside {
            reference: reference.tier.clone(),
            tolerance,
            passes: reference.items.iter().map(|item| (item.item.clone(), item.pass)).collect(),
            paired: Paired::new(rule).map_err(usage)?,
        });
        Ok(())
    }

    /// Adds the next item of the order.
    pub(super) fn add(&mut self, item: ItemResult) -> Result<()> {
        let pushed = match self.metric {
            BarMetric::PassRate => self.state.push(item.pass),
            BarMetric::MeanScore => self.state.push_score(item.score),
        };
        pushed.map_err(usage)?;
        if let Some(beside) = &mut self.beside
            && let Some(&reference) = beside.passes.get(&item.item)
        {
            beside.paired.push(item.pass, reference);
        }
        self.items.push(item);
        Ok(())
    }

    /// Whether nothing more is to be learnt: the bar's verdict and the reference's.
    pub(super) fn decided(&self) -> bool {
        let compared = self.beside.as_ref().is_none_or(|b| b.paired.verdict() != PairedVerdict::Undecided);
        self.state.verdict().is_decided() && compared
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.state.verdict()
    }

    pub(super) fn items(&self) -> usize {
        self.items.len()
    }

    /// What is stored of it.
    pub(super) fn kept(&self) -> TaskItems {
        TaskItems {
            items: self.items.clone(),
            energy: self.energy.clone(),
            prefix_ns: self.prefix_ns,
            stopped: Some(self.stopped.unwrap_or(INTERRUPTED).to_owned()),
        }
    }

    /// The windows an earlier attempt metered.
    pub(super) fn resume_energy(&mut self, windows: Vec<Reading>) {
        self.energy = windows;
    }

    /// Takes up the window in which the items of this attempt were graded.
    pub(super) fn meter(&mut self, window: Reading) {
        if self.items.len() > self.resumed {
            share_energy(&window, &mut self.items[self.resumed..]);
            self.energy.push(window);
        }
    }

    /// Items of this attempt.
    pub(super) fn graded_now(&self) -> &[ItemResult] {
        &self.items[self.resumed..]
    }

    pub(super) fn finish(&mut self, evaluated: &Evaluated, wall: Duration, stopped: &'static str) {
        self.evaluated = Some(*evaluated);
        self.prefix_ns = evaluated.prefix_ns;
        self.wall = wall;
        self.stopped = Some(stopped);
    }

    /// Sums up what the scorer saw beside the score.
    pub(super) fn break_down(&mut self, task: &Task) -> Result<()> {
        self.parts = breakdown(task, &self.items)?;
        Ok(())
    }

    /// Compares with the same items answered in another way.
    pub(super) fn agree(&mut self, decode: Decode, others: &[ItemResult]) {
        let passes = others.iter().filter(|item| item.pass).count();
        self.other_ways.push((decode, passes, agreement(&self.items, others)));
    }

    fn passes(&self) -> usize {
        self.items.iter().filter(|item| item.pass).count()
    }

    fn share(&self, solved: f64) -> Option<f64> {
        (!self.items.is_empty()).then(|| solved / self.items.len() as f64)
    }

    /// Items per second of wall time, tokenizing and scoring included; items of an earlier attempt are not counted.
    pub(super) fn items_per_s(&self) -> Option<f64> {
        let seconds = self.wall.as_secs_f64();
        let judged = self.items.len() - self.resumed;
        (seconds > 0.0 && judged > 0).then(|| judged as f64 / seconds)
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

    pub(super) fn json(&self, numbers: Option<&TaskNumbers>) -> Value {
        let sum = |f: fn(&ItemResult) -> u64| self.items.iter().map(f).sum::<u64>();
        let cut = self.items.iter().filter(|i| matches!(i.finish_reason, FinishReason::Length | FinishReason::Context));
        let level = |(level, (passes, n)): (u32, (usize, usize))| {
            (level.to_string(), json!({ "items": n, "passes": passes, "pass_rate": passes as f64 / n as f64 }))
        };
        let levels: serde_json::Map<String, Value> = self.levels().into_iter().map(level).collect();
        let assessment = self.state.assess();
        let rule = self.state.rule();
        let mut value = json!({
            "tier": self.tier.0,
            "task": self.task,
            "task_version": self.version,
            "task_sha256": self.task_sha256,
            "error": self.error,
            "items": self.items.len(),
            "passes": self.passes(),
            "pass_rate": self.share(self.passes() as f64),
            "mean_score": self.share(self.items.iter().map(|i| i.score).sum()),
            "clustered_stderr": numbers.and_then(|n| n.clustered_stderr),
            "usd_per_item": numbers.and_then(|n| n.cost.usd_per_item).map(|usd| [usd.lo, usd.value, usd.hi]),
            "usd_per_1k_solved": numbers.and_then(|n| n.cost.usd_per_1k_solved).map(|usd| [usd.lo, usd.value, usd.hi]),
            "paired": self.paired_json(),
            "stopped": self.stopped,
            "resumed_items": self.resumed,
            "interval": assessment.interval.map(|i| [i.lo, i.hi]),
            "metric": self.metric,
            "bar": rule.bar.get(),
            "margin": rule.margin,
            "question": rule.question,
            "alpha": rule.alpha,
            "beta": rule.beta,
            "tiers_sharing_alpha": rule.tiers,
            "order_seed": rule.order_seed,
            "verdict": self.error.is_none().then(|| assessment.verdict.name()),
            "decided_at": assessment.decided_at,
            "items_needed": self.items_needed(),
            "ln_e_clears": assessment.ln_e_clear,
            "ln_e_fails": assessment.ln_e_fail,
            "statement": rule.statement(&assessment.verdict),
            "baseline": self.baseline,
            "levels": levels,
            "seen": self.seen_json(),
            "truncated": cut.count(),
            "items_per_s": self.items_per_s(),
            "engine_ns": sum(|i| i.elapsed_ns),
            "prefix_tokens": self.evaluated.map(|e| e.prefix_tokens),
            "prefix_ns": self.evaluated.map(|_| self.prefix_ns),
            "prompt_tokens": sum(|i| u64::from(i.n_prompt_tokens)),
            "cached_tokens": sum(|i| u64::from(i.n_cached_tokens)),
            "gen_tokens": sum(|i| u64::from(i.n_gen_tokens)),
        });
        value["energy"] = json!({
            "per_item": numbers.and_then(|n| n.energy.as_ref()),
            "in_cost": numbers.map(|n| n.cost.energy_included),
        });
        value
    }

    /// What was seen beside the verdict.
    fn seen_json(&self) -> Value {
        let agreement: Vec<_> = self.other_ways.iter().map(agreement_json).collect();
        json!({ "decode": self.decode, "parts": self.parts, "agreement": agreement })
    }

    fn paired_json(&self) -> Option<Value> {
        let beside = self.beside.as_ref()?;
        let a = beside.paired.assess();
        Some(json!({
            "reference": beside.reference.0,
            "tolerance": beside.tolerance,
            "verdict": a.verdict.name(),
            "items": a.items,
            "only_reference": a.only_reference,
            "only_tier": a.only_candidate,
            "flips": a.flips,
            "difference": a.difference.map(|d| d.value),
            "difference_interval": a.difference.map(|d| [d.lo, d.hi]),
            "mcnemar_p": a.mcnemar_p,
            "ln_e_not_worse": a.ln_e_not_worse,
            "ln_e_worse": a.ln_e_worse,
        }))
    }

    /// The comparison with the reference in one line.
    pub(super) fn paired_text(&self) -> Option<String> {
        let beside = self.beside.as_ref()?;
        let a = beside.paired.assess();
        let points = |x: f64| format!("{:+.1}", 100.0 * x);
        let difference = a.difference.map_or_else(
            || "—".to_owned(),
            |d| format!("{} [{}, {}] points", points(d.value), points(d.lo), points(d.hi)),
        );
        Some(format!(
            "beside {}: {} (tolerance {:.0} points); {difference} on {} items, {} only the reference solves, {} only this \
             tier ({:.1} % flip)",
            beside.reference,
            a.verdict.name(),
            100.0 * beside.tolerance,
            a.items,
            a.only_reference,
            a.only_candidate,
            100.0 * a.flips.unwrap_or(0.0),
        ))
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
        let parts: String =
            self.parts.iter().map(|(name, value)| format!(" {} {value:.2},", name.replace('_', " "))).collect();
        let beside = parts.strip_suffix(',').map_or_else(String::new, |parts| format!(" Beside it:{parts}."));
        let ways: String = self.other_ways.iter().map(|way| agreement_text(self.decode, way)).collect();
        let statement = self.state.rule().statement(&self.state.verdict());
        format!("{} on {}: {statement}. Without a model: {baseline}.{beside}{ways}", self.tier, self.task)
    }
}

fn agreement_json((decode, passes, found): &(Decode, usize, Agreement)) -> Value {
    json!({ "decode": decode, "items": found.items, "passes": passes, "same": found.same, "kappa": found.kappa })
}

fn agreement_text(own: Decode, (decode, passes, found): &(Decode, usize, Agreement)) -> String {
    let kappa = found.kappa.map_or_else(|| "—".into(), |kappa| format!("{kappa:.2}"));
    format!(
        " Answers {} instead of {}: {passes} of {} solved, the same answer to {}, kappa {kappa}.",
        decode.name(),
        own.name(),
        found.items,
        found.same,
    )
}

/// 0 if a tier clears every task it was judged on, 4 if something is undecided, else 3.
pub(super) fn exit_status(cells: &[Cell]) -> ExitStatus {
    let mut tiers: BTreeMap<&str, Vec<&Cell>> = BTreeMap::new();
    for cell in cells {
        tiers.entry(&cell.tier.0).or_default().push(cell);
    }
    let clears = |cells: &Vec<&Cell>| cells.iter().all(|cell| cell.state.verdict() == Verdict::Clears);
    if tiers.values().any(clears) {
        ExitStatus::Success
    } else if cells.iter().any(|cell| !cell.decided()) {
        ExitStatus::Undecided
    } else {
        ExitStatus::NoTierClears
    }
}
