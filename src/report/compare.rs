//! Two records side by side: ratios with their bounds, what is missing from one of them, what else changed.

mod changes;
mod guard;
mod items;
mod layout;
mod pairing;
mod quantity;

pub use guard::{Threshold, Violation};
pub use items::SameItems;
pub use pairing::{Doubt, Pick};

use self::pairing::Pairing;
use self::quantity::{Quantity, Source, quantities, why_absent};
use super::ReportError;
use crate::plan::TierKey;
use crate::stats::ratio::{Ratio, independent_ratio};
use crate::store::record::Record;

/// One quantity both records have.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Shared {
    /// The tier.
    pub tier: TierKey,
    /// `pp512`, `tg128 @ d4096`, or a task's name followed by what is compared.
    pub name: String,
    /// In the first record; of a paired pass rate, over the items both graded.
    pub a: f64,
    /// In the second.
    pub b: f64,
    /// b / a; `None` if a is 0.
    pub point: Option<f64>,
    /// b / a with its bounds; `None` where a side has no interval or both are 0.
    pub ratio: Option<Ratio>,
    /// Whether the bounds exclude 1: the two differ.
    pub significant: bool,
    /// Of a pass rate whose items were paired: which items differ.
    pub items: Option<SameItems>,
}

/// One quantity that only one record has, or that is not the same quantity in both.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Lone {
    /// The tier, as the record that has the quantity calls it.
    pub tier: TierKey,
    /// The quantity, named as in [`Shared`].
    pub name: String,
    /// Its value there.
    pub value: f64,
    /// Why the other record has none, e.g. `failed: out of memory`.
    pub why: String,
}

/// What two records say of each other.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Comparison {
    /// Shared quantities.
    pub shared: Vec<Shared>,
    /// Quantities of the first record that the second has nothing to hold against.
    pub missing: Vec<Lone>,
    /// Quantities only the second has.
    pub new: Vec<Lone>,
    /// Differences in host, build and plan that may explain the ratios.
    pub changed: Vec<String>,
    /// Tiers only the first has.
    pub only_a: Vec<TierKey>,
    /// Tiers only the second has.
    pub only_b: Vec<TierKey>,
    /// Tiers of the first, among those only it has, that several of the second fit.
    pub doubts: Vec<Doubt>,
}

impl Comparison {
    /// Compares `b` with `a`, tier by tier: those of `picks`, those of the same name, then those of the same model and level
    /// if it is plain which are nearest.
    ///
    /// # Errors
    /// [`ReportError::NoSuchPair`] if a pick names no tier or several.
    pub fn of(a: &Record, b: &Record, picks: &[Pick]) -> Result<Self, ReportError> {
        let Pairing { pairs, doubts } = Pairing::of(a, b, picks)?;
        let alone = |record: &Record, is_paired: &dyn Fn(&TierKey) -> bool| -> Vec<TierKey> {
            record.raw.tiers.iter().map(|tier| tier.key.clone()).filter(|key| !is_paired(key)).collect()
        };
        let mut comparison = Self {
            shared: Vec::new(),
            missing: Vec::new(),
            new: Vec::new(),
            changed: changes::changes(a, b, &pairs),
            only_a: alone(a, &|key| pairs.iter().any(|(ours, _)| ours.key == *key)),
            only_b: alone(b, &|key| pairs.iter().any(|(_, theirs)| theirs.key == *key)),
            doubts,
        };
        for (ours, theirs) in &pairs {
            comparison.add_pair((a, &ours.key), (b, &theirs.key));
        }
        let whole = |record: &Record, tier: &TierKey, why: &str| -> Vec<Lone> {
            quantities(record, tier).into_iter().map(|quantity| quantity.alone(tier, why.to_owned())).collect()
        };
        let why = |tier: &TierKey| match comparison.doubts.iter().find(|doubt| doubt.tier == *tier) {
            Some(doubt) => format!("no tier of that name; {doubt}"),
            None => "no such tier".to_owned(),
        };
        comparison.missing.extend(comparison.only_a.iter().flat_map(|tier| whole(a, tier, &why(tier))));
        comparison.new.extend(comparison.only_b.iter().flat_map(|tier| whole(b, tier, "no such tier")));
        Ok(comparison)
    }

    /// Adds what the tier `a` of the first record and its counterpart `b` of the second share and do not share.
    fn add_pair(&mut self, a: (&Record, &TierKey), b: (&Record, &TierKey)) {
        let name = if a.1 == b.1 { a.1.clone() } else { TierKey(format!("{} → {}", a.1, b.1)) };
        let (ours, theirs) = (quantities(a.0, a.1), quantities(b.0, b.1));
        for x in &ours {
            let Some(y) = theirs.iter().find(|y| y.source == x.source) else {
                self.missing.push(x.alone(&name, why_absent(b.0, b.1, &x.source)));
                continue;
            };
            if x.kind != y.kind {
                let why = format!("not comparable: {} in a, {} in b", x.kind, y.kind);
                self.missing.push(x.alone(&name, why));
                continue;
            }
            self.shared.push(match &x.source {
                Source::PassRate(task) => match SameItems::of(a, b, task) {
                    Some(items) => items.compare(&name, x.name.clone(), a.0.raw.plan.level),
                    None => shared(&name, x, y, independent(x, y)),
                },
                Source::CostOfSolved(task) => {
                    let ratio = items::cost_of_solved(a, b, task).or_else(|| independent(x, y));
                    shared(&name, x, y, ratio)
                }
                _ => shared(&name, x, y, independent(x, y)),
            });
        }
        for y in theirs.iter().filter(|y| ours.iter().all(|x| x.source != y.source)) {
            self.new.push(y.alone(&name, why_absent(a.0, a.1, &y.source)));
        }
    }
}

/// The records come from different runs, so there are no shared blocks to pair.
fn independent(a: &Quantity, b: &Quantity) -> Option<Ratio> {
    independent_ratio(a.interval.as_ref()?, b.interval.as_ref()?)
}

fn shared(tier: &TierKey, a: &Quantity, b: &Quantity, ratio: Option<Ratio>) -> Shared {
    Shared {
        tier: tier.clone(),
        name: a.name.clone(),
        a: a.value,
        b: b.value,
        point: Some(b.value / a.value).filter(|point| point.is_finite()),
        ratio,
        significant: ratio.is_some_and(|ratio| ratio.excludes_one()),
        items: None,
    }
}
