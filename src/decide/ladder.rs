//! Over a ladder: which tier to test next, and the cheapest that clears.
//!
//! The error to control is choosing a tier that is below the bar. Cheapest-first tests at K/α each (union bound, whatever
//! the dependence between tiers and the order of testing) and stops at the first CLEARS. From-top is a fixed sequence from
//! the dearest down, each at the full 1/α, and stops at the first tier that does not clear.

use serde::{Deserialize, Serialize};

use super::verdict::Verdict;
use crate::units::Interval;

/// Order of testing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// From the cheapest up; α is split over the tiers.
    CheapestFirst {
        /// Leave a tier whose remaining test costs more than testing the next one, and come back to it only on request.
        parking: bool,
    },
    /// From the dearest down, α unsplit. Good when a strong tier must be vetted anyway.
    FromTop,
}

impl Strategy {
    /// Tiers that share α ([`super::Rule::tiers`]) on a ladder of `tiers`.
    #[must_use]
    pub const fn family(self, tiers: u32) -> u32 {
        match self {
            Self::CheapestFirst { .. } => tiers,
            Self::FromTop => 1,
        }
    }
}

/// A tier as the schedule sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rung {
    /// Cost of one item (or of 1,000 solved items: one unit for all rungs); `None` if unknown: tested last.
    pub cost: Option<Interval>,
    /// The verdict so far.
    pub verdict: Verdict,
    /// No item left to show it, or it failed to run.
    pub exhausted: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Show this tier (index into the rungs) its next items.
    Test(usize),
    /// Done.
    Answer(Answer),
}

/// The answer over a ladder. Indices are into the rungs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What can be said.
    pub outcome: Outcome,
    /// The cheapest tier found to clear.
    pub chosen: Option<usize>,
    /// Other tiers that clear and whose cost interval overlaps the chosen one's: the same price within error.
    pub ties: Vec<usize>,
    /// Tiers cheaper than the chosen one (or all, when none is) that were neither cleared nor failed.
    pub undecided: Vec<usize>,
}

/// What can be said of a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A tier clears.
    Clears,
    /// Every tier that the strategy had to test fails.
    NoTierClears,
    /// No tier clears so far, and not all of them fail.
    Undecided,
}

/// Indices of the rungs, cheapest first; unknown costs last, equal costs in the order given.
#[must_use]
pub fn by_cost(rungs: &[Rung]) -> Vec<usize> {
    let cost = |i: usize| rungs[i].cost.map_or(f64::INFINITY, |c| c.value);
    let mut order: Vec<usize> = (0..rungs.len()).collect();
    order.sort_by(|&a, &b| cost(a).total_cmp(&cost(b)));
    order
}

/// The next step on a ladder. `resume` asks for parked tiers that are cheaper than the one found, while budget remains.
#[must_use]
pub fn next(strategy: Strategy, rungs: &[Rung], resume: bool) -> Step {
    let order = by_cost(rungs);
    match strategy {
        Strategy::FromTop => from_top(rungs, &order),
        Strategy::CheapestFirst { parking } => cheapest_first(rungs, &order, parking, resume),
    }
}

fn open(rung: &Rung) -> bool {
    !rung.verdict.is_decided() && !rung.exhausted
}

fn cheapest_first(rungs: &[Rung], order: &[usize], parking: bool, resume: bool) -> Step {
    let found = order.iter().position(|&i| rungs[i].verdict == Verdict::Clears);
    if let Some(at) = found {
        let parked = order[..at].iter().copied().find(|&i| resume && open(&rungs[i]));
        return parked.map_or_else(|| Step::Answer(answer(rungs, order)), Step::Test);
    }
    let mut waiting = order.iter().copied().filter(|&i| open(&rungs[i]));
    let Some(mut tested) = waiting.next() else { return Step::Answer(answer(rungs, order)) };
    if parking {
        for dearer in waiting {
            match (remaining(&rungs[tested]), remaining(&rungs[dearer])) {
                (Some(here), Some(there)) if here > there => tested = dearer,
                // A tier that has not been seen yet is worth a look only once this one is known to be slow.
                _ => break,
            }
        }
    }
    Step::Test(tested)
}

/// Cost of deciding a tier, as far as its items so far tell.
fn remaining(rung: &Rung) -> Option<f64> {
    match rung.verdict {
        Verdict::Undecided { more_items: Some(n) } => rung.cost.map(|c| c.value * n as f64),
        _ => None,
    }
}

fn from_top(rungs: &[Rung], order: &[usize]) -> Step {
    for &i in order.iter().rev() {
        if open(&rungs[i]) {
            return Step::Test(i);
        }
        if rungs[i].verdict != Verdict::Clears {
            break;
        }
    }
    let mut answer = answer(rungs, order);
    // The dearest tier was tested first; if it fails, the strategy ends there.
    let top_fails = order.last().is_some_and(|&i| rungs[i].verdict == Verdict::Fails);
    if answer.chosen.is_none() && top_fails {
        answer.outcome = Outcome::NoTierClears;
    }
    Step::Answer(answer)
}

/// The answer as things stand, whatever the schedule wanted next: for a budget that ended.
#[must_use]
pub fn answer_now(rungs: &[Rung]) -> Answer {
    answer(rungs, &by_cost(rungs))
}

fn answer(rungs: &[Rung], order: &[usize]) -> Answer {
    let clears = |i: &usize| rungs[*i].verdict == Verdict::Clears;
    let at = order.iter().position(clears);
    let chosen = at.map(|at| order[at]);
    let ties = match (at, chosen.and_then(|i| rungs[i].cost)) {
        (Some(at), Some(cost)) => {
            let same = |i: &usize| rungs[*i].cost.is_some_and(|other| other.overlaps(&cost));
            order[at + 1..].iter().copied().filter(|i| clears(i) && same(i)).collect()
        }
        _ => Vec::new(),
    };
    let cheaper = &order[..at.unwrap_or(order.len())];
    let undecided: Vec<usize> = cheaper.iter().copied().filter(|&i| !rungs[i].verdict.is_decided()).collect();
    let outcome = match (chosen, undecided.is_empty() && !order.is_empty()) {
        (Some(_), _) => Outcome::Clears,
        (None, true) => Outcome::NoTierClears,
        (None, false) => Outcome::Undecided,
    };
    Answer { outcome, chosen, ties, undecided }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSEEN: Verdict = Verdict::Undecided { more_items: None };

    fn rung(cost: f64, verdict: Verdict) -> Rung {
        let cost = Interval { value: cost, lo: cost * 0.9, hi: cost * 1.1, level: 0.95 };
        Rung { cost: Some(cost), verdict, exhausted: false }
    }

    const CHEAPEST: Strategy = Strategy::CheapestFirst { parking: false };

    #[test]
    fn cheapest_first_walks_up_and_stops_at_the_first_that_clears() {
        let mut rungs = [rung(3.0, UNSEEN), rung(1.0, UNSEEN), rung(2.0, UNSEEN)];
        assert_eq!(next(CHEAPEST, &rungs, false), Step::Test(1));
        rungs[1].verdict = Verdict::Fails;
        assert_eq!(next(CHEAPEST, &rungs, false), Step::Test(2));
        rungs[2].verdict = Verdict::Clears;
        let Step::Answer(answer) = next(CHEAPEST, &rungs, false) else { panic!("not answered") };
        assert_eq!((answer.outcome, answer.chosen), (Outcome::Clears, Some(2)));
        assert!(answer.ties.is_empty() && answer.undecided.is_empty());
    }

    #[test]
    fn from_top_walks_down_and_answers_the_last_that_clears() {
        let mut rungs = [rung(1.0, UNSEEN), rung(2.0, UNSEEN), rung(3.0, Verdict::Clears)];
        assert_eq!(next(Strategy::FromTop, &rungs, false), Step::Test(1));
        rungs[1].verdict = Verdict::Fails;
        let Step::Answer(answer) = next(Strategy::FromTop, &rungs, false) else { panic!("not answered") };
        assert_eq!((answer.chosen, answer.undecided.as_slice()), (Some(2), &[0][..]));
        rungs[2].verdict = Verdict::Fails;
        let Step::Answer(none) = next(Strategy::FromTop, &rungs, false) else { panic!("not answered") };
        assert_eq!(none.outcome, Outcome::NoTierClears);
    }

    #[test]
    fn a_slow_tier_is_parked_and_resumed_on_request() {
        let seen = |cost, more| rung(cost, Verdict::Undecided { more_items: Some(more) });
        let mut rungs = [seen(1.0, 500), seen(2.0, 20), rung(4.0, UNSEEN)];
        let parking = Strategy::CheapestFirst { parking: true };
        assert_eq!(next(CHEAPEST, &rungs, false), Step::Test(0));
        assert_eq!(next(parking, &rungs, false), Step::Test(1));
        rungs[1].verdict = Verdict::Clears;
        let Step::Answer(answer) = next(parking, &rungs, false) else { panic!("not answered") };
        assert_eq!((answer.chosen, answer.undecided.as_slice()), (Some(1), &[0][..]));
        assert_eq!(next(parking, &rungs, true), Step::Test(0));
    }

    #[test]
    fn overlapping_costs_are_ties() {
        let rungs = [rung(1.0, Verdict::Clears), rung(1.1, Verdict::Clears), rung(9.0, Verdict::Clears)];
        assert_eq!(answer_now(&rungs).ties, [1]);
    }

    #[test]
    fn unknown_costs_come_last_and_exhausted_tiers_leave_it_undecided() {
        let unknown = Rung { cost: None, verdict: UNSEEN, exhausted: false };
        let mut rungs = [unknown, rung(5.0, UNSEEN)];
        assert_eq!(next(CHEAPEST, &rungs, false), Step::Test(1));
        rungs[1].exhausted = true;
        assert_eq!(next(CHEAPEST, &rungs, false), Step::Test(0));
        rungs[0].verdict = Verdict::Fails;
        let Step::Answer(answer) = next(CHEAPEST, &rungs, false) else { panic!("not answered") };
        assert_eq!((answer.outcome, answer.undecided.as_slice()), (Outcome::Undecided, &[1][..]));
        assert_eq!(answer_now(&[]).outcome, Outcome::Undecided);
    }
}
