//! Two records side by side: ratios with intervals, what is significant, what else changed.

use super::ReportError;
use super::document::{Column, Document, Table};
use super::number::{UNKNOWN, maybe, significant};
use crate::plan::TierKey;
use crate::store::record::Record;
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
    /// Compares `b` with `a`, tier by tier of the same name.
    #[must_use]
    pub fn of(a: &Record, b: &Record) -> Self {
        let missing = |from: &Record, other: &Record| -> Vec<TierKey> {
            let tiers = from.raw.tiers.iter().filter(|tier| other.tier(&tier.key).is_none());
            tiers.map(|tier| tier.key.clone()).collect()
        };
        let mut shared = Vec::new();
        for ours in &a.derived.speed {
            if let Some(theirs) = b.derived.speed_of(&ours.tier, &ours.workload) {
                let ends = (ours.interval, theirs.interval);
                shared.extend(quantity(&ours.tier, ours.test.clone(), ours.median, theirs.median, ends));
            }
        }
        for ours in &a.derived.tasks {
            let Some(theirs) = b.derived.task_of(&ours.tier, &ours.task) else { continue };
            if task_hash(a, &ours.task) != task_hash(b, &ours.task) {
                continue;
            }
            let rates = (ours.pass_rate, theirs.pass_rate);
            let values = (rates.0.map(|i| i.value), rates.1.map(|i| i.value));
            shared.extend(quantity(&ours.tier, format!("{} pass_rate", ours.task), values.0, values.1, rates));
            let costs = (ours.cost.usd_per_1k_solved, theirs.cost.usd_per_1k_solved);
            let values = (costs.0.map(|i| i.value), costs.1.map(|i| i.value));
            shared.extend(quantity(&ours.tier, format!("{} usd_per_1k_solved", ours.task), values.0, values.1, costs));
        }
        Self { shared, changed: changes(a, b), only_a: missing(a, b), only_b: missing(b, a) }
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
fn changes(a: &Record, b: &Record) -> Vec<String> {
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
    for tier in &a.raw.tiers {
        let Some(other) = b.tier(&tier.key) else { continue };
        field(&format!("model file of {}", tier.key), tier.model.sha256.clone(), other.model.sha256.clone());
        let engine = |facts: &crate::store::record::TierFacts| match &facts.engine {
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

    /// `NAME < RATIO` or `NAME > RATIO`. NAME is a workload (`tg128 @ d4096`), `pass_rate`, `usd_per_1k_solved`, or a
    /// task's name before one of those.
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
    /// # Errors
    /// [`ReportError::NothingShared`] if the records share nothing of that name: a guard that guards nothing is an
    /// error, not a success.
    pub fn violations<'a>(&self, comparison: &'a Comparison) -> Result<Vec<&'a Shared>, ReportError> {
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
        let crosses = |shared: &&Shared| if self.below { shared.point < self.limit } else { shared.point > self.limit };
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
        let crossed = |text: &str| text.parse::<Threshold>().unwrap().violations(&comparison).map(|v| v.len());
        assert_eq!(crossed("tg128 < 0.95").unwrap(), 1);
        assert_eq!(crossed("tg128 < 0.85").unwrap(), 0);
        assert_eq!(crossed("pass_rate < 1.01").unwrap(), 1);
        assert!(crossed("pp512 < 0.95").unwrap_err().to_string().contains("tg128"));
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
