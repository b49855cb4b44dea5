//! What the costs mean for a decision, in sentences beneath the tables.

use super::number::{plain, significant};
use crate::cost::api::{AgainstApi, Unit};
use crate::cost::sensitivity::Swing;
use crate::store::derived::{ClearableBar, Economics};
use crate::store::record::Record;

/// Inputs of the tornado that are named; the rest moves the cost less.
const WIDEST: usize = 2;

/// One line per subject: API prices, flip points, sensitivity, value.
#[must_use]
pub fn notes(record: &Record) -> Vec<String> {
    record.derived.economics.iter().flat_map(|economics| of_task(record, economics)).collect()
}

fn of_task(record: &Record, economics: &Economics) -> Vec<String> {
    let Economics { task, against_api, .. } = economics;
    let mut notes = Vec::new();
    notes.extend(hosted(task, against_api));
    let mut flips: Vec<String> = economics.flips.iter().map(ToString::to_string).collect();
    flips.extend(bars(record, economics));
    if !flips.is_empty() {
        notes.push(format!("What would change the answer on {task}: {}.", flips.join("; ")));
    }
    notes.extend(sensitivity(task, &economics.tornado));
    notes.extend(value(record, economics));
    notes
}

/// Both prices, and how busy the machine must be to be the cheaper one; per token only where no item can be held
/// against one.
fn hosted(task: &str, against_api: &[AgainstApi]) -> Option<String> {
    let unit =
        if against_api.iter().any(|against| against.unit == Unit::Item) { Unit::Item } else { Unit::OutputToken };
    let mut comparable = against_api.iter().filter(|against| against.unit == unit).peekable();
    let here = comparable.peek()?.local_usd_per_million.map_or_else(|| "—".into(), |usd| significant(usd, 3));
    let there: Vec<String> = comparable
        .map(|against| {
            let AgainstApi { api, provider, date, api_usd_per_million, utilization, .. } = against;
            let busy = match utilization {
                Some(even) => format!(
                    "dearer than here when busy above {} % of the time",
                    significant(even.utilization * 100.0, 2)
                ),
                None => "cheaper than here, however busy".into(),
            };
            format!("{api} ({provider}, {date}) ${}, {busy}", significant(*api_usd_per_million, 3))
        })
        .collect();
    Some(format!(
        "List prices, quality not measured: a million {} of {task} cost ${here} here; {}. More: `tierbench cost breakeven`.",
        unit.plural(),
        there.join("; ")
    ))
}

fn bars(record: &Record, economics: &Economics) -> Vec<String> {
    let task = record.raw.tasks.iter().find(|task| task.name == economics.task);
    let asked = task.map_or(f64::NAN, |task| task.rule.bar.get());
    economics.bars.iter().map(|bar| bar_sentence(bar, asked)).collect()
}

/// What a tier's clearable bar means beside the bar that was asked.
#[must_use]
pub fn bar_sentence(bar: &ClearableBar, asked: f64) -> String {
    let at = significant(bar.bar, 3);
    if bar.bar >= asked {
        format!("a bar above {at}, up to which {} clears", bar.tier)
    } else {
        format!("a bar lowered to {at}, which {} clears", bar.tier)
    }
}

/// The widest bars of the tornado in words.
fn sensitivity(task: &str, tornado: &[Swing]) -> Option<String> {
    let swing = |s: &Swing| {
        format!("{} (half: ${}, double: ${})", s.input.name(), significant(s.at_low, 3), significant(s.at_high, 3))
    };
    let widest: Vec<String> = tornado.iter().take(WIDEST).map(swing).collect();
    (!widest.is_empty()).then(|| {
        format!("$/1k solved on {task} depends most on {}. All inputs: `tierbench cost tornado`.", widest.join(", "))
    })
}

fn value(record: &Record, economics: &Economics) -> Option<String> {
    let stated = record.raw.cost.value.as_ref()?;
    let best = economics.spreads.first()?;
    let ties = economics.spreads[1..].iter().filter(|other| other.usd_per_item.overlaps(&best.usd_per_item));
    let ties: Vec<&str> = ties.map(|tie| tie.tier.0.as_str()).collect();
    let tie = if ties.is_empty() { String::new() } else { format!("; a tie with {}", ties.join(", ")) };
    Some(format!(
        "At ${} per solved item {} leaves most on {}: ${} per item between value and cost{tie}.",
        plain(stated.value.0),
        best.tier,
        economics.task,
        significant(best.usd_per_item.value, 4),
    ))
}
