//! What a record says of a tier that can be held against another record, and why it says nothing.

use super::Lone;
use crate::cost::EnergyTerm as Term;
use crate::energy::Scope;
use crate::plan::{TierKey, Workload};
use crate::store::cell::{Cell, Subject};
use crate::store::derived::EnergyNumbers;
use crate::store::record::Record;
use crate::units::Interval;

/// What a quantity is of: the same in both records if it is the same quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Speed(Workload),
    Energy(Workload),
    /// Of prompt or generated tokens, from the speed on a headline workload.
    TokenPrice {
        column: &'static str,
    },
    PassRate(String),
    CostOfSolved(String),
}

/// One number of one tier.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Quantity {
    pub(super) source: Source,
    /// As tables and guards call it.
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) interval: Option<Interval>,
    /// What must be the same for two of them to be compared; empty if nothing.
    pub(super) kind: String,
}

impl Quantity {
    pub(super) fn alone(&self, tier: &TierKey, why: String) -> Lone {
        Lone { tier: tier.clone(), name: self.name.clone(), value: self.value, why }
    }
}

/// Everything that is known of a tier: speed and energy of every workload, token prices, pass rate and cost of every task.
pub(super) fn quantities(record: &Record, tier: &TierKey) -> Vec<Quantity> {
    let derived = &record.derived;
    let mut all = Vec::new();
    let mut add = |source, name: String, value: Option<f64>, interval: Option<Interval>, kind: String| {
        all.extend(value.map(|value| Quantity { source, name, value, interval, kind }));
    };
    for numbers in derived.speed.iter().filter(|numbers| numbers.tier == *tier) {
        let source = Source::Speed(numbers.workload);
        add(source, numbers.test.clone(), numbers.median, numbers.interval, String::new());
        if let Some(energy) = &numbers.energy {
            let name = format!("{} j_per_token", numbers.test);
            add(Source::Energy(numbers.workload), name, energy.total, span(energy), boundary(energy));
        }
    }
    if let Some(numbers) = derived.tier_of(tier) {
        let electricity = electricity(numbers.cost.energy_included);
        let columns =
            [("usd_per_mtok_in", numbers.cost.usd_per_mtok_in), ("usd_per_mtok_out", numbers.cost.usd_per_mtok_out)];
        for (column, parts) in columns {
            let total = parts.map(|parts| parts.total);
            let source = Source::TokenPrice { column };
            add(source, column.into(), total.map(|i| i.value), total, electricity.clone());
        }
    }
    for numbers in derived.tasks.iter().filter(|numbers| numbers.tier == *tier) {
        let items = record.raw.tasks.iter().find(|task| task.name == numbers.task);
        let items = items.map_or_else(String::new, |task| format!("task {}", super::changes::short(&task.sha256)));
        let (rate, cost) = (numbers.pass_rate, numbers.cost.usd_per_1k_solved);
        let name = |what: &str| format!("{} {what}", numbers.task);
        let source = Source::PassRate(numbers.task.clone());
        add(source, name("pass_rate"), rate.map(|i| i.value), rate, items.clone());
        let source = Source::CostOfSolved(numbers.task.clone());
        let kind = format!("{items} {}", electricity(numbers.cost.energy_included));
        add(source, name("usd_per_1k_solved"), cost.map(|i| i.value), cost, kind);
    }
    all
}

/// Trust and boundary of metered energy.
fn boundary(energy: &EnergyNumbers) -> String {
    let scope = match energy.scope {
        Scope::Wall => "the wall",
        Scope::Machine => "the machine",
        Scope::Components => "components",
        Scope::Nothing => "nothing",
    };
    format!("{} energy of {scope} {}", energy.trust.name(), energy.domains.join("+")).trim_end().to_owned()
}

fn span(energy: &EnergyNumbers) -> Option<Interval> {
    Some(Interval { value: energy.total?, lo: energy.lo?, hi: energy.hi?, level: 0.95 })
}

fn electricity(term: Term) -> String {
    match term {
        Term::Measured => "electricity measured",
        Term::Estimated => "electricity estimated",
        Term::Excluded => "without electricity",
        Term::InRent => "electricity in the rent",
    }
    .to_owned()
}

/// Why `record` knows nothing of `source` for a tier that it lists.
pub(super) fn why_absent(record: &Record, tier: &TierKey, source: &Source) -> String {
    let subject = |source: &Source| match source {
        Source::Speed(workload) | Source::Energy(workload) => Some(Subject::Workload(*workload)),
        Source::PassRate(task) | Source::CostOfSolved(task) => Some(Subject::Task(task.clone())),
        Source::TokenPrice { .. } => None,
    };
    if let Some(subject) = subject(source) {
        let cell = record.raw.cells.iter().find(|cell| cell.tier == *tier && cell.subject == subject);
        let Some(cell) = cell else { return not_run(record) };
        if let Some(error) = cell.error() {
            return format!("failed: {error}");
        }
    }
    match source {
        Source::Speed(_) => "no trial was timed".into(),
        Source::Energy(_) => "no energy was metered".into(),
        Source::PassRate(_) => "no item was graded".into(),
        Source::CostOfSolved(task) => match record.derived.task_of(tier, task) {
            Some(numbers) if numbers.passes == 0 => "no item was solved".into(),
            _ => "its cost is not known".into(),
        },
        Source::TokenPrice { .. } => match speed_failure(record, tier) {
            Some(error) => format!("failed: {error}"),
            None => "its cost is not known".into(),
        },
    }
}

fn not_run(record: &Record) -> String {
    if record.raw.run.interrupted { "not measured: the run was cut short" } else { "not measured" }.into()
}

/// Why a speed test of the tier failed: what token prices rest on.
fn speed_failure<'a>(record: &'a Record, tier: &TierKey) -> Option<&'a str> {
    let is_speed = |cell: &&Cell| cell.tier == *tier && matches!(cell.subject, Subject::Workload(_));
    record.raw.cells.iter().filter(is_speed).find_map(Cell::error)
}
