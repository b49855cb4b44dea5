//! The table of joules and grams: prefill and decode apart, the graded run, gross and above idle, each with its interval.

use super::document::{Column, Names, Table, headline, tiers};
use super::number::{self, UNKNOWN};
use crate::cost::uncertainty::scale;
use crate::energy::Trust;
use crate::store::derived::{EnergyNumbers, TaskNumbers};
use crate::store::record::Record;
use crate::units::Interval;

/// `0.520 ± 0.031 (counter)`, `0.10–0.40 (estimated)`, or a dash with the trust class if nothing valid was read.
pub(super) fn cell(energy: Option<&EnergyNumbers>) -> String {
    let Some(energy) = energy else { return UNKNOWN.into() };
    let figure = match (energy.trust, energy.lo, energy.hi, energy.total) {
        (Trust::Estimated, Some(lo), Some(hi), _) => range(lo, hi),
        (_, Some(lo), Some(hi), Some(value)) => number::plus_minus(&Interval { value, lo, hi, level: 0.95 }),
        (_, _, _, Some(total)) => number::significant(total, 3),
        _ => UNKNOWN.into(),
    };
    format!("{figure} ({})", energy.trust.name())
}

fn range(lo: f64, hi: f64) -> String {
    format!("{}–{}", number::significant(lo, 2), number::significant(hi, 2))
}

/// Energy of every tier; `None` where nothing was metered.
pub(super) fn table(record: &Record) -> Option<Table> {
    let derived = &record.derived;
    let metered = derived.speed.iter().map(|n| &n.energy).chain(derived.tasks.iter().map(|n| &n.energy));
    metered.flatten().next()?;
    let names = Names::of(record);
    let (prefill, decode) = (headline(record, |t| t.prefill), headline(record, |t| t.decode));
    let only_task = if let [task] = record.raw.tasks.as_slice() { Some(task) } else { None };
    let mut columns = vec![Column::text("tier")];
    columns.extend(prefill.map(|w| Column::number(format!("{w} J/token"))));
    columns.extend(decode.map(|w| Column::number(format!("{w} J/token"))));
    columns.extend(decode.map(|w| Column::number(format!("{w} above idle"))));
    // Bytes are there only where text was generated.
    let bytes = derived.tasks.iter().any(|numbers| numbers.joules_per_byte.is_some());
    if only_task.is_some() {
        let titles = ["J/item", "J/solved", "$/1k items", "g CO2e/1k solved"];
        columns.extend(titles.map(Column::number));
        columns.extend(bytes.then(|| Column::number("J/byte")));
    }
    let rows = tiers(record)
        .into_iter()
        .map(|facts| {
            let speed = |workload| derived.speed_of(&facts.key, &workload).and_then(|n| n.energy.as_ref());
            let mut row = vec![names.label(facts)];
            row.extend(prefill.map(|w| cell(speed(w))));
            row.extend(decode.map(|w| cell(speed(w))));
            row.extend(decode.map(|w| number::maybe(speed(w).and_then(|energy| energy.marginal), 3)));
            row.extend(only_task.into_iter().flat_map(|task| {
                let cells = task_cells(derived.task_of(&facts.key, &task.name));
                cells.into_iter().take(if bytes { 5 } else { 4 })
            }));
            row
        })
        .collect();
    Some(Table { title: names.title("energy and carbon"), columns, rows })
}

fn task_cells(numbers: Option<&TaskNumbers>) -> [String; 5] {
    let estimated = numbers.and_then(|n| n.energy.as_ref()).is_some_and(|energy| energy.trust >= Trust::Estimated);
    // An estimate has no middle worth printing.
    let show = |interval: Option<Interval>| match interval {
        Some(i) if estimated => range(i.lo, i.hi),
        Some(i) => number::with_ends(&i, 3),
        None => UNKNOWN.into(),
    };
    [
        cell(numbers.and_then(|n| n.energy.as_ref())),
        show(numbers.and_then(|n| n.joules_per_solved)),
        show(numbers.and_then(|n| n.cost.usd_per_item).map(|item| scale(item, 1000.0))),
        show(numbers.and_then(|n| n.cost.g_co2e_per_1k_solved)),
        show(numbers.and_then(|n| n.joules_per_byte)),
    ]
}
