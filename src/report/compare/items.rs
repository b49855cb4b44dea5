//! The same items judged by both records.

use std::collections::HashMap;

use super::Shared;
use crate::plan::TierKey;
use crate::stats::binomial::rate;
use crate::stats::compare::mcnemar;
use crate::stats::ratio::{Ratio, independent_ratio, paired_ratio};
use crate::store::cell::{Outcome, Subject};
use crate::store::derived::TaskNumbers;
use crate::store::record::Record;

/// How two records judge the items both graded. Pairing by item takes the difficulty of the items out of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct SameItems {
    /// Items both graded.
    pub common: u64,
    /// Items the first graded: more, where it went on for longer.
    pub graded_a: u64,
    /// Items the second graded.
    pub graded_b: u64,
    /// Common items both solve.
    pub both: u64,
    /// Common items only the first solves.
    pub only_a: u64,
    /// Common items only the second solves.
    pub only_b: u64,
    /// McNemar's exact p on the items only one of them solves.
    pub mcnemar_p: f64,
}

impl SameItems {
    /// Pairs the items of `task` by id; `None` if they have none in common or an id is there twice.
    pub(super) fn of(a: (&Record, &TierKey), b: (&Record, &TierKey), task: &str) -> Option<Self> {
        let (ours, theirs) = (passes(a.0, a.1, task)?, passes(b.0, b.1, task)?);
        let (mut common, mut both, mut only_a, mut only_b) = (0, 0, 0, 0);
        for (id, pass) in &ours {
            let Some(other) = theirs.get(id) else { continue };
            common += 1;
            match (pass, other) {
                (true, true) => both += 1,
                (true, false) => only_a += 1,
                (false, true) => only_b += 1,
                (false, false) => {}
            }
        }
        let mcnemar_p = mcnemar(only_a, only_b).p_exact;
        let (graded_a, graded_b) = (ours.len() as u64, theirs.len() as u64);
        (common > 0).then_some(Self { common, graded_a, graded_b, both, only_a, only_b, mcnemar_p })
    }

    /// The two pass rates over the common items, and their ratio.
    pub(super) fn compare(self, tier: &TierKey, name: String, level: f64) -> Shared {
        let of_common = |passes| rate(passes, self.common).unwrap_or_default();
        let ratio = paired_ratio(self.both, self.only_a, self.only_b, level);
        Shared {
            tier: tier.clone(),
            name,
            a: of_common(self.both + self.only_a),
            b: of_common(self.both + self.only_b),
            point: ratio.and_then(|ratio| ratio.value),
            ratio,
            significant: ratio.is_some_and(|ratio| ratio.excludes_one()),
            items: Some(self),
        }
    }
}

/// Ratio of the costs of a solved item: that of an item's cost, over that of the pass rates, which are paired. `None`
/// unless both graded exactly the same items, or where the cost is more than those two, as with a price on failures.
pub(super) fn cost_of_solved(a: (&Record, &TierKey), b: (&Record, &TierKey), task: &str) -> Option<Ratio> {
    let items = SameItems::of(a, b, task)?;
    if items.common != items.graded_a || items.common != items.graded_b {
        return None;
    }
    let (x, y) = (a.0.derived.task_of(a.1, task)?, b.0.derived.task_of(b.1, task)?);
    let per_item = independent_ratio(&x.cost.usd_per_item?, &y.cost.usd_per_item?)?;
    let passes = paired_ratio(items.both, items.only_a, items.only_b, a.0.raw.plan.level)?;
    let ratio = per_item.over(&passes)?;
    let solved = |numbers: &TaskNumbers| numbers.cost.usd_per_1k_solved.map(|cost| cost.value);
    let expected = solved(y)? / solved(x)?;
    ((ratio.value? / expected - 1.0).abs() < 1e-6).then_some(ratio)
}

/// Whether each item passed, by id; `None` if the task has no results or an id is there twice.
fn passes<'a>(record: &'a Record, tier: &TierKey, task: &str) -> Option<HashMap<&'a str, bool>> {
    let is_task = |subject: &Subject| matches!(subject, Subject::Task(name) if name == task);
    let cell = record.raw.cells.iter().find(|cell| cell.tier == *tier && is_task(&cell.subject))?;
    let Outcome::Task(results) = &cell.outcome else { return None };
    let passes: HashMap<&str, bool> = results.items.iter().map(|item| (item.item.as_str(), item.pass)).collect();
    (passes.len() == results.items.len()).then_some(passes)
}
