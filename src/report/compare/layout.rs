//! A comparison laid out for reading.

use super::{Comparison, Lone, Shared};
use crate::plan::TierKey;
use crate::report::document::{Column, Document, Table};
use crate::report::number::{UNKNOWN, maybe, significant};
use crate::report::one_line;
use crate::stats::ratio::Ratio;

impl Comparison {
    /// Laid out for reading. `names` are what the user called the two.
    #[must_use]
    pub fn document(&self, names: [&str; 2]) -> Document {
        let mut answers = Vec::new();
        if self.shared.is_empty() {
            answers.push("The two records share no tier with the same workload or task.".to_owned());
        } else if !self.missing.is_empty() {
            let all = self.shared.len() + self.missing.len();
            answers.push(format!("b lacks {} of the {all} numbers of a.", self.missing.len()));
        }
        Document { answers, tables: vec![self.ratios(), self.items()], notes: self.notes(names) }
    }

    /// Every quantity: of each tier first what both have, then what b lacks; at the end what only b has.
    fn ratios(&self) -> Table {
        let mut tiers: Vec<&TierKey> = Vec::new();
        for tier in self.shared.iter().map(|s| &s.tier).chain(self.missing.iter().map(|s| &s.tier)) {
            if !tiers.contains(&tier) {
                tiers.push(tier);
            }
        }
        let mut rows = Vec::new();
        for tier in tiers {
            rows.extend(self.shared.iter().filter(|shared| shared.tier == *tier).map(shared_row));
            rows.extend(self.missing.iter().filter(|lone| lone.tier == *tier).map(missing_row));
        }
        rows.extend(self.new.iter().map(new_row));
        let columns = vec![
            Column::text("tier"),
            Column::text("test"),
            Column::number("a"),
            Column::number("b"),
            Column::number("b/a"),
            Column::text("b is"),
        ];
        Table { title: String::new(), columns, rows }
    }

    /// What the pass rates rest on, where the two graded the same items.
    fn items(&self) -> Table {
        let titles = ["items", "graded in a", "graded in b", "only a solves", "only b solves", "p"];
        let columns = ["tier", "task"].map(Column::text).into_iter().chain(titles.map(Column::number)).collect();
        let row = |shared: &Shared| {
            let items = shared.items?;
            let counts = [items.common, items.graded_a, items.graded_b, items.only_a, items.only_b];
            let task = shared.name.strip_suffix(" pass_rate").unwrap_or(&shared.name);
            let mut row = vec![one_line(&shared.tier.0), one_line(task)];
            row.extend(counts.map(|count| count.to_string()));
            row.push(significant(items.mcnemar_p, 2));
            Some(row)
        };
        Table { title: "the same items".into(), columns, rows: self.shared.iter().filter_map(row).collect() }
    }

    fn notes(&self, names: [&str; 2]) -> Vec<String> {
        let mut notes = vec![format!("a: {}; b: {}.", one_line(names[0]), one_line(names[1]))];
        notes.extend(reasons(["Missing in b", ""], &self.missing, &self.only_a));
        let only = |name: &str, tiers: &[TierKey]| {
            let list: Vec<_> = tiers.iter().map(|tier| one_line(&tier.0)).collect();
            (!list.is_empty()).then(|| format!("Only in {name}: {}.", list.join(", ")))
        };
        notes.extend(only("a", &self.only_a));
        let doubts = self.doubts.iter();
        notes.extend(doubts.map(|doubt| format!("Not paired, {} of a: {doubt}.", one_line(&doubt.tier.0))));
        notes.extend(reasons(["New in b", "in a: "], &self.new, &self.only_b));
        notes.extend(only("b", &self.only_b));
        notes.extend(self.changed.iter().map(|change| format!("Changed: {}.", one_line(change))));
        let paired: Vec<&Shared> = self.shared.iter().filter(|shared| shared.items.is_some()).collect();
        if !paired.is_empty() {
            let fewer = |shared: &&&Shared| shared.items.is_some_and(|i| i.common < i.graded_a.max(i.graded_b));
            let all = if paired.iter().any(|shared| fewer(&shared)) { " over the items both graded" } else { "" };
            notes.push(format!(
                "Pass rates are of the same items, paired by id{all}: their ratio's interval is Bonett and Price's (2006), p is \
                 McNemar's exact test; the cost of a solved item rests on it where all items are the same. Speed, energy and \
                 prices are independent."
            ));
        }
        let unpaired =
            self.shared.iter().filter(|shared| shared.items.is_none() && shared.name.ends_with(" pass_rate"));
        notes.extend(unpaired.map(|shared| {
            let [tier, name] = [&shared.tier.0, &shared.name].map(|text| one_line(text));
            format!("{tier}: {name} is of different items (none in common, or repeated ids), taken as independent.")
        }));
        notes
    }
}

fn shared_row(shared: &Shared) -> Vec<String> {
    let is = match (&shared.ratio, shared.significant) {
        (None, _) if shared.a == shared.b => "the same",
        (None, _) => UNKNOWN,
        (Some(ratio), true) if ratio.lo > 1.0 => "higher",
        (Some(_), true) => "lower",
        (Some(_), false) => "tie",
    };
    let ratio = shared.ratio.map_or_else(|| maybe(shared.point, 4), |ratio| ends(&ratio));
    let [tier, name] = [&shared.tier.0, &shared.name].map(|text| one_line(text));
    vec![tier, name, significant(shared.a, 4), significant(shared.b, 4), ratio, is.to_owned()]
}

fn missing_row(lone: &Lone) -> Vec<String> {
    let [tier, name] = [&lone.tier.0, &lone.name].map(|text| one_line(text));
    vec![tier, name, significant(lone.value, 4), UNKNOWN.into(), UNKNOWN.into(), "missing".into()]
}

fn new_row(lone: &Lone) -> Vec<String> {
    let [tier, name] = [&lone.tier.0, &lone.name].map(|text| one_line(text));
    vec![tier, name, UNKNOWN.into(), significant(lone.value, 4), UNKNOWN.into(), "new".into()]
}

/// `value [lo, hi]`; without an upper bound `— [lo, ∞)`.
fn ends(ratio: &Ratio) -> String {
    match (ratio.value, ratio.hi) {
        (Some(value), Some(hi)) => {
            let interval = crate::units::Interval { value, lo: ratio.lo, hi, level: ratio.level };
            crate::report::number::with_ends(&interval, 4)
        }
        (value, hi) => {
            let hi = hi.map_or_else(|| "∞)".to_owned(), |hi| format!("{}]", significant(hi, 4)));
            format!("{} [{}, {hi}", maybe(value, 4), significant(ratio.lo, 4))
        }
    }
}

/// Why quantities are in one record only, those of one tier and reason together; whole tiers are listed elsewhere.
fn reasons([title, whose]: [&str; 2], lone: &[Lone], whole: &[TierKey]) -> Vec<String> {
    let mut grouped: Vec<(&TierKey, &str, Vec<String>)> = Vec::new();
    for lone in lone.iter().filter(|lone| !whole.contains(&lone.tier)) {
        match grouped.iter_mut().find(|(tier, why, _)| **tier == lone.tier && *why == lone.why) {
            Some((_, _, names)) => names.push(one_line(&lone.name)),
            None => grouped.push((&lone.tier, &lone.why, vec![one_line(&lone.name)])),
        }
    }
    let line = |(tier, why, names): (&TierKey, &str, Vec<String>)| {
        format!("{title}, {}: {} ({whose}{}).", one_line(&tier.0), names.join(", "), one_line(why))
    };
    grouped.into_iter().map(line).collect()
}
