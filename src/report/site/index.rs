//! The index of a site: rows in groups whose members can be ranked against each other, and why groups are apart.

use std::collections::BTreeMap;

use serde::Serialize;

use super::summary::{QualityClass, QualityRow, SpeedRow, Summary, UNPRICED};
use crate::decide::Verdict;
use crate::units::Interval;

/// Everything a site shows; written as `index.json` too.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Index {
    /// `tierbench.site`.
    pub schema: &'static str,
    /// Version of this shape.
    pub schema_version: u32,
    /// Records, newest first.
    pub records: Vec<Summary>,
    /// Tasks: one group per class.
    pub quality: Vec<QualityGroup>,
    /// Speed: one group per test.
    pub speed: Vec<SpeedGroup>,
    /// Files that are not on the site, and why.
    pub left_out: Vec<LeftOut>,
}

/// A file that is not on the site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub file: String,
    /// Why, one line.
    pub why: String,
}

/// Rows of one task that are ranked against each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QualityGroup {
    /// What they share.
    #[serde(flatten)]
    pub class: QualityClass,
    /// Why they are not ranked with the other groups of the task, one sentence per group.
    pub apart: Vec<String>,
    /// Cheapest first.
    pub rows: Vec<Ranked<QualityRow>>,
    /// The best tier for a limit on the cost of 1,000 solved items.
    pub budgets: Vec<Budget>,
}

/// Rows of one speed test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpeedGroup {
    /// Test with depth and batch size.
    pub test: String,
    /// Fastest first.
    pub rows: Vec<Ranked<SpeedRow>>,
}

/// A row with its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranked<T> {
    /// 1 + the number of rows whose interval lies wholly on the better side of this one's: rows of one rank are ties.
    /// `None` for a row that is not ranked: of a record in doubt, or of a tier that does not clear the bar.
    pub rank: Option<usize>,
    /// The row.
    #[serde(flatten)]
    pub row: T,
}

/// The best tier within a budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// Highest cost of 1,000 solved items, $.
    pub usd_per_1k_solved: f64,
    /// Place in the group's rows of the row with the highest lower end of its pass rate.
    pub row: usize,
}

impl Index {
    /// Groups and ranks the rows of all records.
    #[must_use]
    pub fn of(mut records: Vec<Summary>, left_out: Vec<LeftOut>) -> Self {
        records.sort_by(|a, b| b.started_at.cmp(&a.started_at).then_with(|| b.run.cmp(&a.run)));
        let mut tasks: BTreeMap<QualityClass, Vec<(bool, QualityRow)>> = BTreeMap::new();
        let mut tests: BTreeMap<String, Vec<(bool, SpeedRow)>> = BTreeMap::new();
        for record in &mut records {
            let ranked = record.unranked.is_none();
            for (class, row) in std::mem::take(&mut record.quality) {
                // The question is which tier that clears the bar is the cheapest.
                let clears = row.verdict == Verdict::Clears.name();
                tasks.entry(class).or_default().push((ranked && clears, row));
            }
            for (test, row) in std::mem::take(&mut record.speed) {
                tests.entry(test).or_default().push((ranked, row));
            }
        }
        let classes: Vec<QualityClass> = tasks.keys().cloned().collect();
        let quality = tasks
            .into_iter()
            .map(|(class, rows)| {
                let rows = rank(rows, |row| row.usd_per_1k_solved, Better::Lower);
                QualityGroup { apart: apart(&class, &classes), budgets: budgets(&rows), class, rows }
            })
            .collect();
        let speed = tests
            .into_iter()
            .map(|(test, rows)| SpeedGroup { test, rows: rank(rows, |row| row.rate, Better::Higher) })
            .collect();
        Self { schema: "tierbench.site", schema_version: 1, records, quality, speed, left_out }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    Lower,
    Higher,
}

/// Best first; rows without a figure and rows that are not ranked follow.
fn rank<T>(rows: Vec<(bool, T)>, figure: impl Fn(&T) -> Option<Interval>, better: Better) -> Vec<Ranked<T>> {
    let sign = if better == Better::Lower { 1.0 } else { -1.0 };
    // The end that the next row must beat: of every ranked row, the worse end of its interval.
    let mut worse: Vec<f64> = rows
        .iter()
        .filter(|(ranked, _)| *ranked)
        .filter_map(|(_, row)| figure(row))
        .map(|i| if better == Better::Lower { i.hi } else { -i.lo })
        .collect();
    worse.sort_by(f64::total_cmp);
    let mut placed: Vec<Ranked<T>> = rows
        .into_iter()
        .map(|(ranked, row)| {
            let interval = figure(&row).filter(|_| ranked);
            let rank = interval.map(|i| {
                let best_end = if better == Better::Lower { i.lo } else { -i.hi };
                1 + worse.partition_point(|&end| end < best_end)
            });
            Ranked { rank, row }
        })
        .collect();
    let key = |row: &Ranked<T>| figure(&row.row).map_or(f64::INFINITY, |i| sign * i.value);
    let order = |row: &Ranked<T>| row.rank.unwrap_or(usize::MAX);
    placed.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| key(a).total_cmp(&key(b))));
    placed
}

/// The budgets at which the best tier changes: a row enters when its cost is reached and it passes more items for certain
/// than every cheaper one.
fn budgets(rows: &[Ranked<QualityRow>]) -> Vec<Budget> {
    let mut budgets = Vec::new();
    let mut best = f64::NEG_INFINITY;
    for (place, ranked) in rows.iter().enumerate().filter(|(_, row)| row.rank.is_some()) {
        if let (Some(cost), Some(rate)) = (ranked.row.usd_per_1k_solved, ranked.row.rate)
            && rate.lo > best
        {
            best = rate.lo;
            budgets.push(Budget { usd_per_1k_solved: cost.value, row: place });
        }
    }
    budgets
}

/// Why a class is not ranked with each other class of the same task.
fn apart(class: &QualityClass, all: &[QualityClass]) -> Vec<String> {
    let others = all.iter().filter(|other| *other != class && other.task == class.task);
    others
        .map(|other| {
            let mut reasons = Vec::new();
            if other.task_sha256 != class.task_sha256 {
                let (ours, theirs) = (version(class), version(other));
                reasons.push(format!("their items or prompts differ ({ours} here, {theirs} there)"));
            }
            if other.metric != class.metric {
                reasons.push(format!("quality is a {} here and a {} there", class.metric, other.metric));
            }
            if other.bar != class.bar {
                reasons.push(format!("the bar is {} here and {} there", class.bar, other.bar));
            }
            if class.prices == UNPRICED || other.prices == UNPRICED {
                let known = if class.prices == UNPRICED { "there" } else { "here" };
                reasons.push(format!("costs are known only {known}"));
            } else {
                if other.prices != class.prices {
                    let (ours, theirs) = (&class.prices, &other.prices);
                    reasons.push(format!("their costs assume other prices ({ours} here, {theirs} there)"));
                }
                if other.energy != class.energy {
                    let (ours, theirs) = (&class.energy, &other.energy);
                    reasons.push(format!("their costs hold different energy ({ours} here, {theirs} there)"));
                }
            }
            format!("Not ranked with another table of {}: {}.", class.task, reasons.join("; "))
        })
        .collect()
}

fn version(class: &QualityClass) -> String {
    format!("version {}, {}", class.version, class.task_sha256.get(..8).unwrap_or(&class.task_sha256))
}
