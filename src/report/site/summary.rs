//! What a site keeps of one record: its rows, each with what it may be compared with.

use serde::{Deserialize, Serialize};

use crate::cost::assumptions::Hardware;
use crate::cost::{Assumptions, EnergyTerm};
use crate::energy::Trust;
use crate::quality::task::BarMetric;
use crate::report::notes::is_costed;
use crate::report::number::{plain, significant};
use crate::report::one_line;
use crate::store::derived::{EnergyNumbers, TaskNumbers};
use crate::store::findings::is_debug;
use crate::store::record::{Record, TaskFacts, TierFacts};
use crate::units::Interval;

/// One record of a site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Run id; names its page and its copy.
    pub run: String,
    /// UTC, RFC 3339.
    pub started_at: String,
    /// Processor, cores, memory.
    pub machine: String,
    /// What costs rest on: tariff and hardware, or that there are none.
    pub prices: String,
    /// SHA-256 of the content.
    pub content_sha256: String,
    /// Program that measured.
    pub build: String,
    /// Whether every number follows from its samples and the content has the hash it states.
    pub verified: bool,
    /// Name of the signature beside the record's copy; `None` if none was submitted. Who made it is for the reader to check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Why none of its rows is ranked; `None` if they are.
    pub unranked: Option<String>,
    /// Rows of tasks, each with what must agree for two to be ranked; the index takes them into its groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quality: Vec<(QualityClass, QualityRow)>,
    /// Rows of speed tests, each with its test (depth and batch size included); the index takes them into its groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub speed: Vec<(String, SpeedRow)>,
}

/// Who a row is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// Run id.
    pub run: String,
    /// Model name.
    pub model: String,
    /// Quantization level, with its origin if it was requantized.
    pub level: String,
    /// Engine, device and threads.
    pub engine: String,
    /// Machine.
    pub machine: String,
}

/// One tier on one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityRow {
    /// Tier and machine.
    #[serde(flatten)]
    pub subject: Subject,
    /// Bar of the run.
    pub bar: f64,
    /// CLEARS, FAILS or UNDECIDED at that bar.
    pub verdict: String,
    /// Items graded.
    pub items: u64,
    /// Pass rate.
    pub rate: Option<Interval>,
    /// $ per 1,000 solved items.
    pub usd_per_1k_solved: Option<Interval>,
    /// Seconds per item.
    pub seconds_per_item: Option<f64>,
    /// Joules per item with their trust class.
    pub joules_per_item: Option<f64>,
}

/// What makes two quality rows comparable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QualityClass {
    /// Task.
    pub task: String,
    /// Its version, for readers.
    pub version: String,
    /// Hash of its definition and items: its version, for the comparison.
    pub task_sha256: String,
    /// What the bar is measured in.
    pub metric: String,
    /// The bar: verdicts are about it, and where it lies decides how many items were graded.
    pub bar: String,
    /// How the energy in the cost was known, and where its boundary lies.
    pub energy: String,
    /// What the costs assume that is not the machine's own: tariff, utilization, overhead. What the machine cost to buy is
    /// its own and may differ within a class. Rows without any cost are a class of their own.
    pub prices: String,
}

/// One tier on one speed test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpeedRow {
    /// Tier and machine.
    #[serde(flatten)]
    pub subject: Subject,
    /// tok/s.
    pub rate: Option<Interval>,
    /// Joules per token, gross, if metered.
    pub joules_per_token: Option<f64>,
    /// How the energy was known, and where its boundary lies.
    pub energy: String,
}

/// What stands for prices where no cost is known.
pub(super) const UNPRICED: &str = "no cost known";

impl Summary {
    /// Picks a record's rows. `difference` is the number that does not verify, if there is one.
    #[must_use]
    pub fn of(record: &Record, difference: Option<String>) -> Self {
        let host = &record.raw.host;
        let mut machine = vec![host.cpu.clone().unwrap_or_else(|| host.arch.clone())];
        machine.extend(host.physical_cores.map(|n| format!("{n} cores")));
        machine.extend(host.memory.total.map(|bytes| format!("{} GiB", bytes >> 30)));
        let machine = one_line(&machine.join(", "));
        let subject = |facts: &TierFacts| Subject {
            run: record.raw.run.id.clone(),
            model: one_line(&facts.tier.model),
            level: level(facts),
            engine: one_line(&format!(
                "{} {}{}{}",
                facts.tier.engine,
                facts.tier.device,
                if facts.tier.n_threads > 0 { format!(" t{}", facts.tier.n_threads) } else { String::new() },
                if record.raw.imported.is_some() { " (imported)" } else { "" },
            )),
            machine: machine.clone(),
        };
        let quality = record.derived.tasks.iter().filter_map(|numbers| {
            let facts = record.tier(&numbers.tier)?;
            let task = record.raw.tasks.iter().find(|task| task.name == numbers.task)?;
            Some(quality(subject(facts), task, numbers, &record.raw.cost))
        });
        let speed = record.derived.speed.iter().filter_map(|numbers| {
            let facts = record.tier(&numbers.tier)?;
            let row = SpeedRow {
                subject: subject(facts),
                rate: numbers.interval,
                joules_per_token: numbers.energy.as_ref().and_then(|energy| energy.total),
                energy: energy_class(numbers.energy.as_ref(), None),
            };
            Some((numbers.test.clone(), row))
        });
        Self {
            run: record.raw.run.id.clone(),
            started_at: one_line(&record.raw.run.started_at),
            prices: if is_costed(record) { one_line(&prices(&record.raw.cost)) } else { UNPRICED.into() },
            content_sha256: record.content_sha256.clone(),
            build: one_line(&match &record.raw.imported {
                Some(from) => format!("{} (imported)", from.tool),
                None => format!("tierbench {}", record.raw.build.version),
            }),
            verified: difference.is_none(),
            signature: None,
            unranked: difference.or_else(|| doubt(record)),
            quality: quality.collect(),
            speed: speed.collect(),
            machine,
        }
    }
}

/// What makes every number of a record doubtful.
fn doubt(record: &Record) -> Option<String> {
    if is_debug(&record.raw) {
        return Some("measured by a debug build".into());
    }
    record.impossible().first().map(|why| one_line(why))
}

fn level(facts: &TierFacts) -> String {
    let level = facts.tier.level.as_deref().unwrap_or("—");
    match facts.model.requantized_from.as_ref().or(facts.tier.requantized_from.as_ref()) {
        Some(from) => one_line(&format!("{level} (requantized from {from})")),
        None => one_line(level),
    }
}

fn quality(
    subject: Subject,
    task: &TaskFacts,
    numbers: &TaskNumbers,
    cost: &Assumptions,
) -> (QualityClass, QualityRow) {
    let class = QualityClass {
        task: one_line(&task.name),
        version: one_line(task.version.as_deref().unwrap_or("unversioned")),
        task_sha256: task.sha256.clone(),
        metric: match task.metric {
            BarMetric::PassRate => "pass rate".into(),
            BarMetric::MeanScore => "mean score".into(),
        },
        bar: task.rule.bar.get().to_string(),
        energy: energy_class(numbers.energy.as_ref(), Some(numbers.cost.energy_included)),
        // Nothing at all was priced: no assumption plays a part.
        prices: if numbers.cost.usd_per_item.is_some() { shared_prices(cost) } else { UNPRICED.into() },
    };
    let row = QualityRow {
        subject,
        bar: task.rule.bar.get(),
        verdict: numbers.verdict().name().to_owned(),
        items: numbers.items,
        rate: numbers.pass_rate,
        usd_per_1k_solved: numbers.cost.usd_per_1k_solved,
        seconds_per_item: numbers.seconds_per_item,
        joules_per_item: numbers.energy.as_ref().and_then(|energy| energy.total),
    };
    (class, row)
}

/// What the joules in a number stand for: figures of different classes hold different things.
fn energy_class(energy: Option<&EnergyNumbers>, term: Option<EnergyTerm>) -> String {
    match (term, energy) {
        (Some(EnergyTerm::InRent), _) => "electricity in the rent".into(),
        (Some(EnergyTerm::Excluded), _) | (None, None) => "no energy".into(),
        (_, Some(energy)) if energy.trust == Trust::Estimated => "estimated from load".into(),
        (_, Some(energy)) if energy.total.is_none() => "no energy".into(),
        (_, Some(energy)) => match energy.scope {
            crate::energy::Scope::Wall => "metered at the wall".into(),
            crate::energy::Scope::Machine => "metered behind the power supply".into(),
            crate::energy::Scope::Components => {
                // `package-0` and `package-1` are one kind of boundary.
                let kind =
                    |domain: &String| domain.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned();
                let mut kinds: Vec<String> = energy.domains.iter().map(kind).collect();
                kinds.sort_unstable();
                kinds.dedup();
                one_line(&format!("metered: {}", kinds.join(" + ")))
            }
            crate::energy::Scope::Nothing => "no energy".into(),
        },
        (Some(EnergyTerm::Estimated), None) => "estimated from load".into(),
        (Some(EnergyTerm::Measured), None) => "metered".into(),
    }
}

/// The assumptions of [`QualityClass::prices`], to the last digit: what is rounded could hide a difference.
fn shared_prices(cost: &Assumptions) -> String {
    let mut parts =
        vec![format!("{} $/kWh", cost.tariff.value.0), format!("busy {} of the time", cost.utilization.value)];
    if cost.pue.value > 1.0 {
        parts.push(format!("PUE {}", cost.pue.value));
    }
    if cost.failure.value.0 > 0.0 {
        parts.push(format!("${} per failure", cost.failure.value.0));
    }
    parts.join(", ")
}

fn prices(cost: &Assumptions) -> String {
    let hardware = match &cost.hardware {
        Hardware::Owned { price, life_years, .. } => {
            format!("${} over {} years", plain(price.value.0), plain(life_years.value))
        }
        Hardware::Sunk { .. } => "hardware paid off".into(),
        Hardware::Rented { rate } => format!("{} $/h", significant(rate.value.0, 3)),
    };
    let busy = cost.utilization.value * 100.0;
    format!("{} $/kWh, {hardware}, busy {} %", significant(cost.tariff.value.0, 2), significant(busy, 2))
}
