//! Two records side by side: ratios with intervals, what is significant, what else changed.

use super::ReportError;
use super::document::{Column, Document, Table};
use super::number::{UNKNOWN, maybe, significant};
use crate::plan::TierKey;
use crate::store::derived::EnergyNumbers;
use crate::store::record::{Record, TierFacts};
use crate::units::Interval;

/// One quantity both records have.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Shared {
    /// The tier.
    pub tier: TierKey,
    /// `pp512`, `tg128 @ d4096`, or a task's name followed by what is compared.
    pub name: String,
    /// In the first record.
    pub a: f64,
    /// In the second.
    pub b: f64,
    /// b / a with an interval; `None` where neither side has one.
    pub ratio: Option<Interval>,
    /// b / a.
    pub point: f64,
    /// Whether the interval excludes 1: the two differ.
    pub significant: bool,
}

/// What two records say of each other.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Comparison {
    /// Shared quantities.
    pub shared: Vec<Shared>,
    /// Differences in host, build and plan that may explain the ratios.
    pub changed: Vec<String>,
    /// Tiers only the first has.
    pub only_a: Vec<TierKey>,
    /// Tiers only the second has.
    pub only_b: Vec<TierKey>,
}

impl Comparison {
    /// Compares `b` with `a`, tier by tier: those of the same name, then those of the same model, level and engine if
    /// only threads, device or machine differ.
    #[must_use]
    pub fn of(a: &Record, b: &Record) -> Self {
        let pairs = pairs(a, b);
        let mut shared = Vec::new();
        for (ours, theirs) in &pairs {
            let name = if ours.key == theirs.key {
                ours.key.clone()
            } else {
                TierKey(format!("{} → {}", ours.key, theirs.key))
            };
            speeds(a, b, (&ours.key, &theirs.key), &name, &mut shared);
            prices(a, b, (&ours.key, &theirs.key), &name, &mut shared);
            tasks(a, b, (&ours.key, &theirs.key), &name, &mut shared);
        }
        let alone = |record: &Record, is_paired: &dyn Fn(&TierKey) -> bool| -> Vec<TierKey> {
            record.raw.tiers.iter().map(|tier| tier.key.clone()).filter(|key| !is_paired(key)).collect()
        };
        Self {
            shared,
            changed: changes(a, b, &pairs),
            only_a: alone(a, &|key| pairs.iter().any(|(ours, _)| ours.key == *key)),
            only_b: alone(b, &|key| pairs.iter().any(|(_, theirs)| theirs.key == *key)),
        }
    }

    /// Laid out for reading. `names` are what the user called the two.
    #[must_use]
    pub fn document(&self, names: [&str; 2]) -> Document {
        let column = |title: &str, numeric| Column { title: title.to_owned(), numeric };
        let rows = self.shared.iter().map(|shared| {
            let verdict = match (&shared.ratio, shared.significant) {
                (None, _) => UNKNOWN.to_owned(),
                (Some(_), true) => if shared.point > 1.0 { "higher" } else { "lower" }.to_owned(),
                (Some(_), false) => "tie".to_owned(),
            };
            let ratio = shared.ratio.map_or_else(|| maybe(Some(shared.point), 4), |r| super::number::with_ends(&r, 4));
            let tier = super::one_line(&shared.tier.0);
            vec![
                tier,
                super::one_line(&shared.name),
                significant(shared.a, 4),
                significant(shared.b, 4),
                ratio,
                verdict,
            ]
        });
        let table = Table {
            title: String::new(),
            columns: vec![
                column("tier", false),
                column("test", false),
                column("a", true),
                column("b", true),
                column("b/a", true),
                column("b is", false),
            ],
            rows: rows.collect(),
        };
        let mut notes = vec![format!("a: {}; b: {}.", super::one_line(names[0]), super::one_line(names[1]))];
        notes.extend(self.changed.iter().map(|change| format!("Changed: {}.", super::one_line(change))));
        let only = |name: &str, tiers: &[TierKey]| {
            let list: Vec<_> = tiers.iter().map(|tier| super::one_line(&tier.0)).collect();
            (!list.is_empty()).then(|| format!("Only in {name}: {}.", list.join(", ")))
        };
        notes.extend(only("a", &self.only_a));
        notes.extend(only("b", &self.only_b));
        let answers = if self.shared.is_empty() {
            vec!["The two records share no tier with the same workload or task.".to_owned()]
        } else {
            Vec::new()
        };
        Document { answers, tables: vec![table], notes }
    }
}

/// Tiers of `a` with their counterparts in `b`.
fn pairs<'a>(a: &'a Record, b: &'a Record) -> Vec<(&'a TierFacts, &'a TierFacts)> {
    let mut free: Vec<&TierFacts> = b.raw.tiers.iter().filter(|tier| a.tier(&tier.key).is_none()).collect();
    let mut pairs = Vec::new();
    for ours in &a.raw.tiers {
        if let Some(theirs) = b.tier(&ours.key) {
            pairs.push((ours, theirs));
            continue;
        }
        let alike = |other: &&&TierFacts| {
            let (x, y) = (&ours.tier, &other.tier);
            (&x.model, &x.level, &x.engine) == (&y.model, &y.level, &y.engine)
        };
        // Several candidates would make the choice among them arbitrary.
        if let [only] = free.iter().filter(alike).collect::<Vec<_>>().as_slice() {
            let theirs: &TierFacts = only;
            pairs.push((ours, theirs));
            free.retain(|tier| tier.key != theirs.key);
        }
    }
    pairs
}

/// Speed of every workload both were measured on, and its energy where both readings have the same boundary.
fn speeds(a: &Record, b: &Record, keys: (&TierKey, &TierKey), name: &TierKey, shared: &mut Vec<Shared>) {
    for ours in a.derived.speed.iter().filter(|numbers| numbers.tier == *keys.0) {
        let Some(theirs) = b.derived.speed_of(keys.1, &ours.workload) else { continue };
        let ends = (ours.interval, theirs.interval);
        shared.extend(quantity(name, ours.test.clone(), ours.median, theirs.median, ends));
        let energies = ours.energy.as_ref().zip(theirs.energy.as_ref());
        if let Some((x, y)) = energies.filter(|(x, y)| same_boundary(x, y)) {
            let test = format!("{} j_per_token", ours.test);
            shared.extend(quantity(name, test, x.total, y.total, (span(x), span(y))));
        }
    }
}

fn same_boundary(x: &EnergyNumbers, y: &EnergyNumbers) -> bool {
    (x.scope, x.trust, &x.domains) == (y.scope, y.trust, &y.domains)
}

fn span(energy: &EnergyNumbers) -> Option<Interval> {
    Some(Interval { value: energy.total?, lo: energy.lo?, hi: energy.hi?, level: 0.95 })
}

/// Token prices, where both hold the same kind of electricity.
fn prices(a: &Record, b: &Record, keys: (&TierKey, &TierKey), name: &TierKey, shared: &mut Vec<Shared>) {
    let Some((ours, theirs)) = a.derived.tier_of(keys.0).zip(b.derived.tier_of(keys.1)) else { return };
    if ours.cost.energy_included != theirs.cost.energy_included {
        return;
    }
    let columns = [
        ("usd_per_mtok_in", ours.cost.usd_per_mtok_in, theirs.cost.usd_per_mtok_in),
        ("usd_per_mtok_out", ours.cost.usd_per_mtok_out, theirs.cost.usd_per_mtok_out),
    ];
    for (column, x, y) in columns {
        let ends = (x.map(|parts| parts.total), y.map(|parts| parts.total));
        shared.extend(quantity(name, column.into(), ends.0.map(|i| i.value), ends.1.map(|i| i.value), ends));
    }
}

/// Pass rate and cost of every task both were judged on, if its items and prompts are the same.
fn tasks(a: &Record, b: &Record, keys: (&TierKey, &TierKey), name: &TierKey, shared: &mut Vec<Shared>) {
    for ours in a.derived.tasks.iter().filter(|numbers| numbers.tier == *keys.0) {
        let Some(theirs) = b.derived.task_of(keys.1, &ours.task) else { continue };
        if task_hash(a, &ours.task) != task_hash(b, &ours.task) {
            continue;
        }
        let rates = (ours.pass_rate, theirs.pass_rate);
        let values = (rates.0.map(|i| i.value), rates.1.map(|i| i.value));
        shared.extend(quantity(name, format!("{} pass_rate", ours.task), values.0, values.1, rates));
        if ours.cost.energy_included == theirs.cost.energy_included {
            let costs = (ours.cost.usd_per_1k_solved, theirs.cost.usd_per_1k_solved);
            let values = (costs.0.map(|i| i.value), costs.1.map(|i| i.value));
            shared.extend(quantity(name, format!("{} usd_per_1k_solved", ours.task), values.0, values.1, costs));
        }
    }
}

/// The ratio's interval from the two intervals, as independent errors on the log scale: its half widths are the root of
/// the sum of their squares. The records come from different runs, so there are no shared blocks to pair.
fn quantity(
    tier: &TierKey,
    name: String,
    a: Option<f64>,
    b: Option<f64>,
    ends: (Option<Interval>, Option<Interval>),
) -> Option<Shared> {
    let (a, b) = (a?, b?);
    let point = b / a;
    if !point.is_finite() {
        return None;
    }
    let ratio = ends.0.zip(ends.1).and_then(|(x, y)| {
        let arm = |i: &Interval, end: f64| (end / i.value).ln().abs();
        let down = arm(&y, y.lo).hypot(arm(&x, x.hi));
        let up = arm(&y, y.hi).hypot(arm(&x, x.lo));
        let ratio = Interval { value: point, lo: point * (-down).exp(), hi: point * up.exp(), level: x.level };
        (ratio.lo.is_finite() && ratio.hi.is_finite()).then_some(ratio)
    });
    let significant = ratio.is_some_and(|ratio| ratio.lo > 1.0 || ratio.hi < 1.0);
    Some(Shared { tier: tier.clone(), name, a, b, ratio, point, significant })
}

fn task_hash<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    record.raw.tasks.iter().find(|task| task.name == name).map(|task| task.sha256.as_str())
}

/// What differs between the two environments, one phrase each.
fn changes(a: &Record, b: &Record, pairs: &[(&TierFacts, &TierFacts)]) -> Vec<String> {
    let mut changed = Vec::new();
    let mut field = |name: &str, a: String, b: String| {
        if a != b {
            changed.push(format!("{name}: {a} → {b}"));
        }
    };
    let show = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    let (x, y) = (&a.raw.host, &b.raw.host);
    field("cpu", show(&x.cpu), show(&y.cpu));
    field("kernel", show(&x.kernel), show(&y.kernel));
    field("isa", x.isa.join(" "), y.isa.join(" "));
    let bytes = |n: Option<u64>| n.map_or(UNKNOWN.to_owned(), |n| format!("{n} bytes"));
    field("memory", bytes(x.memory.total), bytes(y.memory.total));
    field("system", show(&x.os), show(&y.os));
    field("container", show(&x.container), show(&y.container));
    field("hypervisor", show(&x.hypervisor), show(&y.hypervisor));
    let (x, y) = (&a.raw.build, &b.raw.build);
    field("tierbench", x.version.clone(), y.version.clone());
    field("revision", show(&x.revision), show(&y.revision));
    field("features", x.features.join(" "), y.features.join(" "));
    field("rustc", show(&x.rustc), show(&y.rustc));
    field("profile", x.profile.clone(), y.profile.clone());
    for task in &a.raw.tasks {
        if let Some(other) = b.raw.tasks.iter().find(|other| other.name == task.name) {
            field(&format!("task {} (results not compared)", task.name), task.sha256.clone(), other.sha256.clone());
        }
    }
    field("prices", a.raw.cost.lines().join("; "), b.raw.cost.lines().join("; "));
    let energy = |record: &Record| {
        let known = record.derived.speed.iter().find_map(|numbers| numbers.energy.as_ref());
        known.map_or(UNKNOWN.to_owned(), |e| format!("{} {} ({})", e.source, e.domains.join("+"), e.trust))
    };
    field("energy", energy(a), energy(b));
    let tool = |record: &Record| record.raw.imported.as_ref().map_or("tierbench".to_owned(), |from| from.tool.clone());
    field("measured by", tool(a), tool(b));
    for (tier, other) in pairs {
        field(&format!("model file of {}", tier.key), show(&tier.model.sha256), show(&other.model.sha256));
        let engine = |facts: &TierFacts| match &facts.engine {
            Some(engine) => format!("{} {} {}", engine.name, engine.version, show(&engine.isa)),
            None => UNKNOWN.to_owned(),
        };
        field(&format!("engine of {}", tier.key), engine(tier), engine(other));
    }
    changed
}

/// A condition that fails a CI job, e.g. `tg128 < 0.95`: on the ratio b/a.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    name: String,
    below: bool,
    limit: f64,
}

impl std::str::FromStr for Threshold {
    type Err = ReportError;

    /// `NAME < RATIO` or `NAME > RATIO`. NAME is a workload (`tg128 @ d4096`), `pass_rate`, `usd_per_1k_solved`,
    /// `j_per_token`, `usd_per_mtok_in`, `usd_per_mtok_out`, or a task's or workload's name before one of those.
    fn from_str(text: &str) -> Result<Self, ReportError> {
        let bad = || ReportError::BadThreshold { got: text.to_owned() };
        let at = text.find(['<', '>']).ok_or_else(bad)?;
        let (name, rest) = text.split_at(at);
        let limit: f64 = rest[1..].trim_start_matches('=').trim().parse().ok().ok_or_else(bad)?;
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        if name.is_empty() || !limit.is_finite() || limit <= 0.0 {
            return Err(bad());
        }
        Ok(Self { name, below: rest.starts_with('<'), limit })
    }
}

impl std::fmt::Display for Threshold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.name, if self.below { '<' } else { '>' }, self.limit)
    }
}

impl Threshold {
    /// Quantities that cross the threshold.
    ///
    /// With `certain` only those whose whole interval lies beyond the limit count: noise of one run then fails no job, a
    /// real change needs more trials to be seen. A quantity without an interval counts by its value.
    ///
    /// # Errors
    /// [`ReportError::NothingShared`] if the records share nothing of that name: a guard that guards nothing is an
    /// error, not a success.
    pub fn violations<'a>(&self, comparison: &'a Comparison, certain: bool) -> Result<Vec<&'a Shared>, ReportError> {
        let named: Vec<&Shared> = comparison
            .shared
            .iter()
            .filter(|s| s.name == self.name || s.name.ends_with(&format!(" {}", self.name)))
            .collect();
        if named.is_empty() {
            let mut names: Vec<&str> = comparison.shared.iter().map(|shared| shared.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let shared = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            return Err(ReportError::NothingShared { name: self.name.clone(), shared });
        }
        let end = |shared: &Shared| match shared.ratio.filter(|_| certain) {
            Some(ratio) if self.below => ratio.hi,
            Some(ratio) => ratio.lo,
            None => shared.point,
        };
        let crosses = |shared: &&Shared| if self.below { end(shared) < self.limit } else { end(shared) > self.limit };
        Ok(named.into_iter().filter(crosses).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(name: &str, point: f64) -> Shared {
        let tier = TierKey("t".into());
        Shared { tier, name: name.into(), a: 1.0, b: point, ratio: None, point, significant: false }
    }

    #[test]
    fn thresholds_read_workloads_with_spaces_and_refuse_nonsense() {
        let t: Threshold = "tg128  @ d4096 <0.95".parse().unwrap();
        assert_eq!(t, Threshold { name: "tg128 @ d4096".into(), below: true, limit: 0.95 });
        for bad in ["", "tg128", "tg128 < ", "< 1", "tg128 < x", "tg128 < -1", "tg128 < inf"] {
            assert!(bad.parse::<Threshold>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_guard_on_something_absent_is_an_error() {
        let comparison = Comparison {
            shared: vec![shared("tg128", 0.9), shared("support_tickets pass_rate", 1.0)],
            changed: vec![],
            only_a: vec![],
            only_b: vec![],
        };
        let crossed = |text: &str| text.parse::<Threshold>().unwrap().violations(&comparison, false).map(|v| v.len());
        assert_eq!(crossed("tg128 < 0.95").unwrap(), 1);
        assert_eq!(crossed("tg128 < 0.85").unwrap(), 0);
        assert_eq!(crossed("pass_rate < 1.01").unwrap(), 1);
        assert!(crossed("pp512 < 0.95").unwrap_err().to_string().contains("tg128"));
    }

    #[test]
    fn a_guard_that_wants_certainty_ignores_what_noise_may_be() {
        let ratio = |lo, hi| Some(Interval { value: 0.9, lo, hi, level: 0.95 });
        let with = |ratio| Comparison {
            shared: vec![Shared { ratio, ..shared("tg128", 0.9) }],
            changed: vec![],
            only_a: vec![],
            only_b: vec![],
        };
        let threshold: Threshold = "tg128 < 0.95".parse().unwrap();
        let count = |ratio| threshold.violations(&with(ratio), true).unwrap().len();
        assert_eq!([count(ratio(0.8, 0.99)), count(ratio(0.88, 0.92)), count(None)], [0, 1, 1]);
        assert_eq!(threshold.violations(&with(ratio(0.8, 0.99)), false).unwrap().len(), 1);
    }

    #[test]
    fn the_ratios_interval_holds_both_errors() {
        let interval = |value: f64, lo, hi| Some(Interval { value, lo, hi, level: 0.95 });
        let ends = (interval(100.0, 99.0, 101.0), interval(90.0, 89.0, 91.0));
        let s = quantity(&TierKey("t".into()), "tg128".into(), Some(100.0), Some(90.0), ends).unwrap();
        let ratio = s.ratio.unwrap();
        assert!(s.significant && (ratio.value - 0.9).abs() < 1e-12);
        assert!(ratio.lo < 0.89 && ratio.lo > 0.88 && ratio.hi > 0.91 && ratio.hi < 0.92, "{ratio:?}");
        assert_eq!(quantity(&TierKey("t".into()), "x".into(), Some(0.0), Some(1.0), ends), None);
    }
}
