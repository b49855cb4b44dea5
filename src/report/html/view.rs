//! The numbers the plots of a page draw, picked from a record. Unknown is `null`, and a mark without a value is not drawn.

use serde::Serialize;

use crate::cost::sensitivity::Swing;
use crate::decide::Verdict;
use crate::energy::Trust;
use crate::plan::{TierKey, Workload};
use crate::quality::task::BarMetric;
use crate::report::answer::is_cheapest;
use crate::report::document::Names;
use crate::report::number::{percent, plus_minus, significant, with_ends};
use crate::store::derived::{Economics, EnergyNumbers};
use crate::store::record::{Record, TaskFacts, TierFacts};
use crate::units::Interval;

/// Everything the plots draw.
#[derive(Debug, Serialize)]
pub(super) struct View<'a> {
    /// Tier key and what it is called on the page, in the order of the ladder.
    labels: Vec<(String, String)>,
    tasks: Vec<TaskView>,
    speed: Vec<SpeedView>,
    energy: Vec<EnergyView>,
    cost: Vec<CostView>,
    tornado: Vec<TornadoView<'a>>,
}

/// Cost against quality of one task.
#[derive(Debug, Serialize)]
struct TaskView {
    name: String,
    metric: &'static str,
    bar: f64,
    points: Vec<Point>,
}

/// One tier on one task.
#[derive(Debug, Serialize)]
struct Point {
    tier: String,
    verdict: &'static str,
    answer: bool,
    pareto: bool,
    /// $ per 1,000 solved items: value, lower and upper end.
    cost: [f64; 3],
    rate: [f64; 3],
    tip: String,
}

/// One tier on one workload, tok/s.
#[derive(Debug, Serialize)]
struct SpeedView {
    tier: String,
    test: String,
    decode: bool,
    depth: u32,
    batch: u32,
    rate: [f64; 3],
    /// The median as tables show it.
    shown: String,
    tip: String,
}

/// Joules per token of one tier on one headline workload.
#[derive(Debug, Serialize)]
struct EnergyView {
    tier: String,
    test: String,
    /// Gross; `None` for an estimate, which is a range only.
    total: Option<f64>,
    /// Gross less idle power.
    marginal: Option<f64>,
    lo: Option<f64>,
    hi: Option<f64>,
    trust: Trust,
    tip: String,
}

/// What a million tokens cost, part by part, $.
#[derive(Debug, Serialize)]
struct CostView {
    tier: String,
    direction: &'static str,
    part: &'static str,
    usd: f64,
}

/// What a task's headline cost depends on, $ per 1,000 solved items.
#[derive(Debug, Serialize)]
struct TornadoView<'a> {
    task: String,
    tier: String,
    /// The cost as it is.
    now: f64,
    swings: &'a [Swing],
}

impl<'a> View<'a> {
    pub(super) fn of(record: &'a Record) -> Self {
        let names = Names::of(record);
        let tiers: Vec<&TierFacts> = record.derived.ladder.iter().filter_map(|key| record.tier(key)).collect();
        Self {
            labels: tiers.iter().map(|facts| (facts.key.0.clone(), names.label(facts))).collect(),
            tasks: record.raw.tasks.iter().map(|task| task_view(record, &names, &tiers, task)).collect(),
            speed: tiers.iter().flat_map(|facts| speed(record, &names, facts)).collect(),
            energy: tiers.iter().flat_map(|facts| energy(record, &names, facts)).collect(),
            cost: tiers.iter().flat_map(|facts| cost(record, &names, facts)).collect(),
            tornado: record
                .derived
                .economics
                .iter()
                .filter_map(|economics| tornado(record, &names, economics))
                .collect(),
        }
    }
}

impl View<'_> {
    /// Whether there is nothing to plot.
    pub(super) fn is_empty(&self) -> bool {
        let Self { labels: _, tasks, speed, energy, cost, tornado } = self;
        tasks.iter().all(|task| task.points.is_empty())
            && speed.is_empty()
            && energy.is_empty()
            && cost.is_empty()
            && tornado.is_empty()
    }
}

fn ends(interval: Interval) -> [f64; 3] {
    [interval.value, interval.lo, interval.hi]
}

fn task_view(record: &Record, names: &Names, tiers: &[&TierFacts], task: &TaskFacts) -> TaskView {
    let answer = record.derived.answers.iter().find(|answer| answer.task == task.name);
    let is_answer = |key: &TierKey| answer.is_some_and(|answer| is_cheapest(record, answer, key));
    let points = tiers.iter().filter_map(|facts| {
        let numbers = record.derived.task_of(&facts.key, &task.name)?;
        let (cost, rate) = (numbers.cost.usd_per_1k_solved?, numbers.pass_rate?);
        // A bar on the mean score is compared with the mean score and its own interval.
        let rate = match task.metric {
            BarMetric::PassRate => rate,
            BarMetric::MeanScore => numbers.assessment.interval.unwrap_or(rate),
        };
        Some(Point {
            tier: names.label(facts),
            verdict: numbers.verdict().name(),
            answer: is_answer(&facts.key),
            pareto: answer.is_some_and(|answer| answer.pareto.contains(&facts.key)),
            cost: ends(cost),
            rate: ends(rate),
            tip: format!(
                "{}: {}\n${} per 1,000 solved items\n{} on {} items{}",
                names.label(facts),
                numbers.verdict(),
                with_ends(&cost, 3),
                percent(&rate),
                numbers.items,
                match numbers.verdict() {
                    Verdict::Undecided { more_items: Some(items) } =>
                        format!("\nabout {items} more items would decide"),
                    _ => String::new(),
                },
            ),
        })
    });
    TaskView {
        name: crate::report::one_line(&task.name),
        metric: match task.metric {
            BarMetric::PassRate => "pass rate",
            BarMetric::MeanScore => "mean score",
        },
        bar: task.rule.bar.get(),
        points: points.collect(),
    }
}

fn speed(record: &Record, names: &Names, facts: &TierFacts) -> Vec<SpeedView> {
    let own = record.derived.speed.iter().filter(|numbers| numbers.tier == facts.key);
    own.filter_map(|numbers| {
        let value = numbers.median?;
        let rate = numbers.interval.unwrap_or(Interval { value, lo: value, hi: value, level: 0.0 });
        let cell = numbers.interval.map_or_else(|| significant(value, 4), |interval| plus_minus(&interval));
        let Workload { n_gen, n_depth, n_batch_seqs, .. } = numbers.workload;
        Some(SpeedView {
            tier: names.label(facts),
            test: numbers.test.clone(),
            decode: n_gen > 0,
            depth: n_depth,
            batch: n_batch_seqs.max(1),
            rate: ends(rate),
            shown: cell.split(" ± ").next().unwrap_or(&cell).to_owned(),
            tip: format!("{}, {}\n{cell} tok/s\n{} trials", names.label(facts), numbers.test, numbers.n),
        })
    })
    .collect()
}

fn energy(record: &Record, names: &Names, facts: &TierFacts) -> Vec<EnergyView> {
    let Some(numbers) = record.derived.tier_of(&facts.key) else { return Vec::new() };
    [numbers.prefill, numbers.decode]
        .into_iter()
        .flatten()
        .filter_map(|workload| {
            let energy: &EnergyNumbers = record.derived.speed_of(&facts.key, &workload)?.energy.as_ref()?;
            if energy.total.is_none() && energy.hi.is_none() {
                return None;
            }
            let figure = match (energy.total, energy.lo, energy.hi) {
                (Some(total), ..) => significant(total, 3),
                (None, Some(lo), Some(hi)) => format!("{} to {}", significant(lo, 2), significant(hi, 2)),
                _ => return None,
            };
            Some(EnergyView {
                tier: names.label(facts),
                test: workload.to_string(),
                total: energy.total,
                marginal: energy.marginal,
                lo: energy.lo,
                hi: energy.hi,
                trust: energy.trust,
                tip: format!("{}, {workload}\n{figure} J per token, gross ({})", names.label(facts), energy.trust),
            })
        })
        .collect()
}

fn cost(record: &Record, names: &Names, facts: &TierFacts) -> Vec<CostView> {
    let Some(numbers) = record.derived.tier_of(&facts.key) else { return Vec::new() };
    let directions = [("input", &numbers.cost.usd_per_mtok_in), ("output", &numbers.cost.usd_per_mtok_out)];
    let mut parts = Vec::new();
    for (direction, cost) in directions {
        let Some(cost) = cost else { continue };
        let shares = [("hardware", Some(cost.hardware)), ("electricity", cost.electricity), ("idle power", cost.idle)];
        for (part, usd) in shares {
            parts.extend(usd.map(|usd| CostView { tier: names.label(facts), direction, part, usd: usd.value }));
        }
    }
    parts
}

fn tornado<'a>(record: &Record, names: &Names, economics: &'a Economics) -> Option<TornadoView<'a>> {
    if economics.tornado.is_empty() {
        return None;
    }
    let cost = record.derived.task_of(&economics.tier, &economics.task)?.cost.usd_per_1k_solved?;
    Some(TornadoView {
        task: crate::report::one_line(&economics.task),
        tier: names.label(record.tier(&economics.tier)?),
        now: cost.value,
        swings: &economics.tornado,
    })
}
