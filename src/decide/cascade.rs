//! A cascade: a weak tier answers, a strong one takes over where the weak one's confidence is below a threshold τ.
//!
//! `A(τ) = mean(y1·1[g ≥ τ] + y2·1[g < τ])`, `C(τ) = mean(c1 + c2·1[g < τ])`. A cascade is worth it only if its deferral rate
//! is below 1 - c1/c2, and only above the straight line of random deferral between the two tiers.

use serde::{Deserialize, Serialize};

use crate::stats::binomial::upper_tail;
use crate::stats::eprocess::Bar;

/// One item as both tiers saw it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The weak tier's confidence, any scale; higher is surer.
    pub confidence: f64,
    /// Whether the weak tier's answer passes.
    pub weak_pass: bool,
    /// Whether the strong tier's answer passes.
    pub strong_pass: bool,
    /// Cost of the weak tier's answer, $.
    pub weak_cost: f64,
    /// Cost of the strong tier's answer, $.
    pub strong_cost: f64,
}

/// A cascade at one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Defer when the confidence is below this; `+∞` defers everything.
    pub threshold: f64,
    /// Share of items passed.
    pub accuracy: f64,
    /// Mean cost per item, $.
    pub cost: f64,
    /// Share of items deferred to the strong tier.
    pub deferral: f64,
}

/// The cascade with threshold `threshold` on logged items; `None` for no items or a NaN confidence.
#[must_use]
pub fn evaluate(items: &[Item], threshold: f64) -> Option<Point> {
    if items.is_empty() || items.iter().any(|i| i.confidence.is_nan()) {
        return None;
    }
    let n = items.len() as f64;
    let (mut passes, mut cost, mut deferred) = (0.0, 0.0, 0.0);
    for item in items {
        let defer = item.confidence < threshold;
        passes += f64::from(u8::from(if defer { item.strong_pass } else { item.weak_pass }));
        cost += item.weak_cost + if defer { item.strong_cost } else { 0.0 };
        deferred += f64::from(u8::from(defer));
    }
    Some(Point { threshold, accuracy: passes / n, cost: cost / n, deferral: deferred / n })
}

/// Accuracy and cost along all thresholds that matter, from no deferral to all: the curve to plot.
#[must_use]
pub fn curve(items: &[Item]) -> Vec<Point> {
    let mut thresholds: Vec<f64> = items.iter().map(|i| i.confidence).collect();
    thresholds.sort_by(f64::total_cmp);
    thresholds.dedup();
    thresholds.push(f64::INFINITY);
    thresholds.into_iter().filter_map(|t| evaluate(items, t)).collect()
}

/// Accuracy of deferring a random share of the items that costs `cost`: the straight line between the two tiers, which a
/// confidence signal must beat to be worth anything. `None` when a deferral costs nothing, or `cost` is outside the line.
#[must_use]
pub fn random_deferral(items: &[Item], cost: f64) -> Option<f64> {
    let weak = evaluate(items, f64::NEG_INFINITY)?;
    let strong = evaluate(items, f64::INFINITY)?;
    let share = (cost - weak.cost) / (strong.cost - weak.cost);
    (0.0..=1.0).contains(&share).then_some(weak.accuracy + share * (strong.accuracy - weak.accuracy))
}

/// Whether a cascade costs less than the strong tier alone: deferral < 1 - c1/c2, with mean costs c1 and c2.
#[must_use]
pub fn is_worth_it(items: &[Item], point: &Point) -> bool {
    let (weak, strong) = items.iter().fold((0.0, 0.0), |(w, s), i| (w + i.weak_cost, s + i.strong_cost));
    strong > 0.0 && point.deferral < 1.0 - weak / strong
}

/// The cheapest threshold of a grid fixed beforehand whose accuracy is above the bar, at error α and without a data split:
/// from "defer everything" down, each threshold's "A(τ) ≤ bar" is tested by the exact binomial tail, and the walk stops at
/// the first that is not rejected. A fixed sequence, so P(A(τ) < bar) ≤ α for the threshold returned.
///
/// The grid must not depend on the labels; it is sorted inside, and "defer everything" is put in front. `None` when even
/// that is not rejected.
#[must_use]
pub fn choose_threshold(items: &[Item], grid: &[f64], bar: Bar, alpha: f64) -> Option<Point> {
    let mut thresholds: Vec<f64> = grid.iter().copied().filter(|t| !t.is_nan()).collect();
    thresholds.push(f64::INFINITY);
    thresholds.sort_by(|a, b| b.total_cmp(a));
    let mut last = None;
    for threshold in thresholds {
        let point = evaluate(items, threshold)?;
        if upper_tail(passes(items, threshold), items.len() as u64, bar.get())? > alpha {
            break;
        }
        last = Some(point);
    }
    last
}

/// Ten thresholds that say nothing of the answers: the deciles of the confidences, from the least sure item up.
#[must_use]
pub fn deciles(items: &[Item]) -> Vec<f64> {
    let mut sorted: Vec<f64> = items.iter().map(|item| item.confidence).filter(|c| !c.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let mut grid: Vec<f64> = (0..10).filter_map(|tenth| sorted.get(tenth * sorted.len() / 10).copied()).collect();
    grid.dedup();
    grid
}

/// A tier or a cascade on the logged items, with the exact test of its bar.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rated {
    /// Accuracy, cost and deferral; the threshold is -∞ for the weak tier alone and +∞ for the strong one alone.
    pub point: Point,
    /// Mean cost per solved item; `None` if none is solved.
    pub cost_per_solved: Option<f64>,
    /// P(as many passes or more, were the true rate the bar).
    pub p_value: f64,
    /// Whether p is at most the ladder's α over its tiers.
    pub clears: bool,
}

/// A tier alone on the same items.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alone {
    /// Items it passes, of as many as the cascade is judged on.
    pub passes: u64,
    /// Mean cost of its answer, $.
    pub cost: f64,
}

/// A ladder with a cascade of two of its tiers as one more tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ladder {
    /// The weak tier alone.
    pub weak: Rated,
    /// The cheapest cascade that clears by fixed-sequence testing; `None` if none does.
    pub cascade: Option<Rated>,
    /// The strong tier alone.
    pub strong: Rated,
    /// The ladder's other tiers, in the order given.
    pub others: Vec<Rated>,
}

/// A rung of a [`Ladder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// The weak tier alone.
    Weak,
    /// The cascade.
    Cascade,
    /// The strong tier alone.
    Strong,
    /// One of the other tiers.
    Other(usize),
}

impl Ladder {
    /// The weak tier, the strong tier, the others and a cascade of the first two, all of which share α. The cascade's
    /// threshold is found by [`choose_threshold`] on `grid`. `None` for no items or a NaN confidence.
    #[must_use]
    pub fn new(items: &[Item], others: &[Alone], grid: &[f64], bar: Bar, alpha: f64) -> Option<Self> {
        let alpha = alpha / (3 + others.len()) as f64;
        let n = items.len() as u64;
        let weak = evaluate(items, f64::NEG_INFINITY)?;
        let all = evaluate(items, f64::INFINITY)?;
        // Alone, the strong tier does not pay for the weak one's answers.
        let strong = Point { cost: mean(items, |item| item.strong_cost), ..all };
        let chosen = choose_threshold(items, grid, bar, alpha);
        let at = |point: Point| rate(point, passes(items, point.threshold), n, bar, alpha);
        let alone = |tier: &Alone| {
            let accuracy = tier.passes as f64 / n as f64;
            let point = Point { threshold: f64::NEG_INFINITY, accuracy, cost: tier.cost, deferral: 0.0 };
            rate(point, tier.passes, n, bar, alpha)
        };
        Some(Self {
            weak: at(weak)?,
            // Deferring everything is the strong tier at a higher price; deferring nothing is the weak one.
            cascade: chosen.filter(|point| point.deferral > 0.0 && point.deferral < 1.0).and_then(at),
            strong: at(strong)?,
            others: others.iter().map(alone).collect::<Option<_>>()?,
        })
    }

    /// Tiers that share α.
    #[must_use]
    pub fn family(&self) -> usize {
        3 + self.others.len()
    }

    /// The cheapest rung per solved item that clears.
    #[must_use]
    pub fn cheapest(&self) -> Option<Rung> {
        let pair = [
            (Rung::Weak, Some(&self.weak)),
            (Rung::Cascade, self.cascade.as_ref()),
            (Rung::Strong, Some(&self.strong)),
        ];
        let others = self.others.iter().enumerate().map(|(i, rated)| (Rung::Other(i), Some(rated)));
        let priced = pair.into_iter().chain(others).filter_map(|(rung, rated)| {
            rated.filter(|rated| rated.clears).and_then(|rated| Some((rung, rated.cost_per_solved?)))
        });
        priced.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(rung, _)| rung)
    }
}

fn rate(point: Point, passes: u64, n: u64, bar: Bar, alpha: f64) -> Option<Rated> {
    let p_value = upper_tail(passes, n, bar.get())?;
    let cost_per_solved = (point.accuracy > 0.0).then(|| point.cost / point.accuracy);
    Some(Rated { point, cost_per_solved, p_value, clears: p_value <= alpha })
}

/// Items passed at a threshold.
fn passes(items: &[Item], threshold: f64) -> u64 {
    items.iter().filter(|item| if item.confidence < threshold { item.strong_pass } else { item.weak_pass }).count()
        as u64
}

fn mean(items: &[Item], of: impl Fn(&Item) -> f64) -> f64 {
    items.iter().map(of).sum::<f64>() / items.len() as f64
}

/// How a cascade compares with its two tiers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// Share of the quality gap recovered, (A - A_weak)/(A_strong - A_weak) (RouteLLM's PGR); `None` without a gap.
    pub gap_recovered: Option<f64>,
    /// Accuracy gained per extra dollar per item, (A - A_weak)/(C - C_weak) (AutoMix's IBC); `None` without extra cost.
    pub accuracy_per_usd: Option<f64>,
}

/// Gain of a point on the curve over the weak tier alone; `None` for no items.
#[must_use]
pub fn gain(items: &[Item], point: &Point) -> Option<Gain> {
    let weak = evaluate(items, f64::NEG_INFINITY)?;
    let strong = evaluate(items, f64::INFINITY)?;
    let ratio = |top: f64, bottom: f64| (bottom != 0.0).then(|| top / bottom);
    Some(Gain {
        gap_recovered: ratio(point.accuracy - weak.accuracy, strong.accuracy - weak.accuracy),
        accuracy_per_usd: ratio(point.accuracy - weak.accuracy, point.cost - weak.cost),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(confidence: f64, weak_pass: bool, strong_pass: bool) -> Item {
        Item { confidence, weak_pass, strong_pass, weak_cost: 1.0, strong_cost: 6.0 }
    }

    /// `n` items of which the first `weak` pass the weak tier; all pass the strong one but every tenth.
    fn ranked(n: usize, weak: usize) -> Vec<Item> {
        (0..n).map(|i| item(1.0 - i as f64 / n as f64, i < weak, i % 10 != 9)).collect()
    }

    #[test]
    fn a_good_signal_beats_random_deferral() {
        let items = ranked(100, 60);
        let half = evaluate(&items, 0.45).unwrap();
        assert!(half.accuracy > random_deferral(&items, half.cost).unwrap() + 0.05);
        assert!(is_worth_it(&items, &half));
        assert!(!is_worth_it(&items, &evaluate(&items, f64::INFINITY).unwrap()));
    }

    #[test]
    fn the_walk_stops_at_the_first_threshold_that_is_not_rejected() {
        let items = ranked(200, 120);
        let bar = Bar::new(0.8).unwrap();
        let grid: Vec<f64> = (1..10).map(|i| f64::from(i) / 10.0).collect();
        let chosen = choose_threshold(&items, &grid, bar, 0.05).unwrap();
        assert!(chosen.accuracy > 0.8 && chosen.cost < 7.0);
        // One grid step cheaper must not be rejected, or the walk would have gone on.
        let next = grid.iter().rev().copied().find(|&t| t < chosen.threshold).unwrap();
        let point = evaluate(&items, next).unwrap();
        let passes = (point.accuracy * 200.0).round() as u64;
        assert!(upper_tail(passes, 200, 0.8).unwrap() > 0.05);
        assert_eq!(choose_threshold(&items, &grid, Bar::new(0.95).unwrap(), 0.05), None);
    }

    #[test]
    fn the_reference_walk_rejects_172_and_stops_at_169() {
        // quality.md, section 5.
        assert!((upper_tail(172, 200, 0.8).unwrap() - 0.017_929_219_62).abs() < 1e-10);
        assert!((upper_tail(169, 200, 0.8).unwrap() - 0.063_236_450_22).abs() < 1e-10);
    }

    #[test]
    fn a_cascade_is_one_more_tier_of_the_ladder() {
        let items = ranked(400, 200);
        let bar = Bar::new(0.65).unwrap();
        let ladder = Ladder::new(&items, &[], &deciles(&items), bar, 0.05).unwrap();
        assert!(!ladder.weak.clears && ladder.strong.clears);
        assert_eq!(ladder.strong.point.cost, 6.0, "alone it does not pay for the weak tier");
        let cascade = ladder.cascade.unwrap();
        assert!(cascade.clears && cascade.cost_per_solved < ladder.strong.cost_per_solved, "{cascade:?}");
        assert_eq!(ladder.cheapest(), Some(Rung::Cascade));
        // Beside it a tier that is cheaper and passes as much, and one that passes less than the bar.
        let others = [Alone { passes: 340, cost: 2.0 }, Alone { passes: 200, cost: 0.1 }];
        let longer = Ladder::new(&items, &others, &deciles(&items), bar, 0.05).unwrap();
        assert_eq!((longer.family(), longer.cheapest()), (5, Some(Rung::Other(0))));
        assert!(longer.others[0].clears && !longer.others[1].clears);
        assert_eq!(longer.weak.p_value, ladder.weak.p_value, "the others change the share of α alone");
        // A bar nobody reaches, and a weak tier that needs no help.
        let cheapest = |bar: f64| {
            let bar = Bar::new(bar).unwrap();
            Ladder::new(&items, &[], &deciles(&items), bar, 0.05).unwrap().cheapest()
        };
        assert_eq!((cheapest(0.99), cheapest(0.3)), (None, Some(Rung::Weak)));
        assert_eq!(Ladder::new(&[], &[], &[], bar, 0.05), None);
    }

    #[test]
    fn the_grid_is_blind_to_the_answers() {
        let items = ranked(200, 90);
        let flipped: Vec<Item> = items.iter().map(|i| Item { weak_pass: !i.weak_pass, ..*i }).collect();
        assert_eq!(deciles(&items), deciles(&flipped));
        assert_eq!(deciles(&items).len(), 10);
        assert_eq!(deciles(&[item(0.5, true, true), item(0.5, false, true)]), [0.5]);
        assert!(deciles(&[]).is_empty());
    }

    #[test]
    fn a_chosen_threshold_is_rarely_below_the_bar() {
        use crate::stats::bootstrap::SplitMix64;
        // Confidence says nothing, the weak tier passes 0.6, the strong one 0.8: A(τ) falls from the bar at once, so
        // every cascade is below it and choosing any is the error.
        let mut random = SplitMix64::new(3);
        let runs = 400;
        let wrong = (0..runs)
            .filter(|_| {
                let items: Vec<Item> =
                    (0..200).map(|_| item(random.unit(), random.unit() < 0.6, random.unit() < 0.8)).collect();
                choose_threshold(&items, &deciles(&items), Bar::new(0.8).unwrap(), 0.05).is_some()
            })
            .count();
        // Three standard errors of 400 runs.
        assert!(wrong as f64 <= f64::from(runs) * (0.05 + 0.033), "{wrong} of {runs}");
    }

    #[test]
    fn the_curve_runs_from_weak_to_strong() {
        let items = ranked(10, 5);
        let curve = curve(&items);
        assert_eq!((curve[0].deferral, curve[0].cost), (0.0, 1.0));
        let last = curve.last().unwrap();
        assert_eq!((last.deferral, last.cost), (1.0, 7.0));
        let gain = gain(&items, last).unwrap();
        assert_eq!(gain.gap_recovered, Some(1.0));
        assert_eq!(evaluate(&[], 0.5), None);
        assert_eq!(evaluate(&[item(f64::NAN, true, true)], 0.5), None);
    }
}
