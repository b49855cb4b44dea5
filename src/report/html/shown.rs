//! What the item explorer shows of a record, task by task in columns: a fifth of the record's own text, so that the
//! explorer is there at once and a page beside its record holds no more than it shows.

use std::collections::HashMap;
use std::hash::Hash;

use serde::Serialize;

use crate::plan::TierKey;
use crate::quality::{FinishReason, ItemResult};
use crate::store::cell::{Outcome, Subject};
use crate::store::prompts::ItemPrompt;
use crate::store::record::Record;

/// Everything the explorer shows.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    tasks: Vec<Task<'a>>,
}

/// One task: what its tiers share, then a set of columns per tier.
#[derive(Serialize)]
struct Task<'a> {
    name: &'a str,
    /// In the order in which they were first shown.
    items: Vec<Item<'a>>,
    /// Answers, by place.
    texts: Distinct<&'a str>,
    /// Choices of an item, by place.
    labels: Distinct<Vec<&'a str>>,
    /// Why answers ended, by place.
    ends: Distinct<FinishReason>,
    tiers: Vec<Tier<'a>>,
    #[serde(skip)]
    places: HashMap<&'a str, usize>,
}

#[derive(Serialize)]
struct Item<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<u32>,
    #[serde(flatten)]
    asked: Option<Asked<'a>>,
}

#[derive(Clone, Copy, Serialize)]
struct Asked<'a> {
    prompt: &'a str,
    target: &'a [String],
}

/// One tier's answers: equal places of all columns are one answer. A column that is unknown throughout is left out.
#[derive(Serialize)]
struct Tier<'a> {
    key: &'a TierKey,
    /// Places of the items.
    items: Vec<usize>,
    /// `1` for solved, `0` for failed.
    passes: String,
    #[serde(skip_serializing_if = "is_unknown")]
    answers: Vec<Option<usize>>,
    #[serde(skip_serializing_if = "is_unknown")]
    raw: Vec<Option<&'a str>>,
    #[serde(skip_serializing_if = "is_unknown")]
    labels: Vec<Option<usize>>,
    /// ln p of the choices, nats, in the order of the labels.
    #[serde(skip_serializing_if = "is_empty_throughout")]
    ln_p: Vec<Vec<f64>>,
    #[serde(skip_serializing_if = "is_unknown")]
    confidence: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "is_unknown")]
    ms: Vec<Option<f64>>,
    ends: Vec<usize>,
}

fn is_unknown<T>(column: &[Option<T>]) -> bool {
    column.iter().all(Option::is_none)
}

fn is_empty_throughout(column: &[Vec<f64>]) -> bool {
    column.iter().all(Vec::is_empty)
}

impl<'a> Shown<'a> {
    pub(super) fn of(record: &'a Record) -> Self {
        let mut tasks: Vec<Task<'a>> = Vec::new();
        for cell in &record.raw.cells {
            let (Subject::Task(name), Outcome::Task(results)) = (&cell.subject, &cell.outcome) else { continue };
            let place = tasks.iter().position(|task| task.name == name).unwrap_or_else(|| {
                tasks.push(Task::named(name));
                tasks.len() - 1
            });
            tasks[place].add(&cell.tier, &results.items);
        }
        for prompts in &record.raw.prompts {
            if let Some(task) = tasks.iter_mut().find(|task| task.name == prompts.task) {
                task.ask(&prompts.items);
            }
        }
        Self { tasks }
    }
}

impl<'a> Task<'a> {
    fn named(name: &'a str) -> Self {
        Self {
            name,
            items: Vec::new(),
            texts: Distinct::default(),
            labels: Distinct::default(),
            ends: Distinct::default(),
            tiers: Vec::new(),
            places: HashMap::new(),
        }
    }

    fn add(&mut self, key: &'a TierKey, results: &'a [ItemResult]) {
        let mut tier = Tier::of(key, results.len());
        for (nth, result) in results.iter().enumerate() {
            tier.items.push(self.place(nth, result));
            tier.passes.push(if result.pass { '1' } else { '0' });
            tier.answers.push(result.answer.as_deref().map(|answer| self.texts.place(answer)));
            tier.raw.push(result.raw.as_deref());
            let labels = || result.choices.iter().map(|choice| choice.text.as_str()).collect();
            tier.labels.push((!result.choices.is_empty()).then(|| self.labels.place(labels())));
            tier.ln_p.push(result.choices.iter().map(|choice| rounded(choice.logprob, 1e2)).collect());
            tier.confidence.push(result.confidence.map(|confidence| rounded(confidence, 1e3)));
            tier.ms.push(result.ms().map(|ms| rounded(ms, 1e1)));
            tier.ends.push(self.ends.place(result.finish_reason));
        }
        self.tiers.push(tier);
    }

    /// The place of an item. Most tiers are shown the same items in the same order: the `nth` is looked at first.
    fn place(&mut self, nth: usize, result: &'a ItemResult) -> usize {
        if self.items.get(nth).is_some_and(|item| item.id == result.item) {
            return nth;
        }
        *self.places.entry(&result.item).or_insert_with(|| {
            self.items.push(Item { id: &result.item, level: result.level, asked: None });
            self.items.len() - 1
        })
    }

    fn ask(&mut self, prompts: &'a [ItemPrompt]) {
        for ItemPrompt { item, prompt, target } in prompts {
            if let Some(&place) = self.places.get(item.as_str()) {
                self.items[place].asked = Some(Asked { prompt, target });
            }
        }
    }
}

impl<'a> Tier<'a> {
    fn of(key: &'a TierKey, n: usize) -> Self {
        Self {
            key,
            items: Vec::with_capacity(n),
            passes: String::with_capacity(n),
            answers: Vec::with_capacity(n),
            raw: Vec::with_capacity(n),
            labels: Vec::with_capacity(n),
            ln_p: Vec::with_capacity(n),
            confidence: Vec::with_capacity(n),
            ms: Vec::with_capacity(n),
            ends: Vec::with_capacity(n),
        }
    }
}

/// Values in the order in which they first came, each once.
#[derive(Serialize)]
#[serde(transparent)]
struct Distinct<T> {
    values: Vec<T>,
    #[serde(skip)]
    places: HashMap<T, usize>,
    #[serde(skip)]
    last: usize,
}

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Self { values: Vec::new(), places: HashMap::new(), last: 0 }
    }
}

impl<T: Clone + Eq + Hash> Distinct<T> {
    fn place(&mut self, value: T) -> usize {
        // The choices of most tasks are the same for every item.
        if self.values.get(self.last) != Some(&value) {
            self.last = *self.places.entry(value).or_insert_with_key(|value| {
                self.values.push(value.clone());
                self.values.len() - 1
            });
        }
        self.last
    }
}

/// No more places than the explorer shows: digits that nobody sees do not compress.
fn rounded(x: f64, scale: f64) -> f64 {
    (x * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::ChoiceResult;

    #[test]
    fn columns_hold_every_answer_at_the_place_of_its_item() {
        let choice = |text: &str, logprob| ChoiceResult { text: text.into(), logprob, n_tokens: 1 };
        let chosen = |item: &str, answer: &str| ItemResult {
            choices: vec![choice("yes", -0.1234), choice("no", -2.0)],
            answer: Some(answer.into()),
            pass: answer == "yes",
            elapsed_ns: 5_260_000,
            ..ItemResult::unjudged(item)
        };
        let written = ItemResult { raw: Some("well, no".into()), ..ItemResult::unjudged("b") };
        let first = [chosen("a", "yes"), written];
        let second = [chosen("a", "no"), chosen("c", "yes"), chosen("b", "yes")];
        let (one, two) = (TierKey("one".into()), TierKey("two".into()));
        let mut task = Task::named("t");
        task.add(&one, &first);
        task.add(&two, &second);
        let asked = ["c", "never shown"].map(|item| ItemPrompt {
            item: item.into(),
            prompt: "?".into(),
            target: vec!["yes".into()],
        });
        task.ask(&asked);
        assert_eq!(
            serde_json::to_value(&task).unwrap(),
            serde_json::json!({
                "name": "t",
                "items": [{"id": "a"}, {"id": "b"}, {"id": "c", "prompt": "?", "target": ["yes"]}],
                "texts": ["yes", "no"],
                "labels": [["yes", "no"]],
                "ends": ["scored"],
                "tiers": [
                    {"key": "one", "items": [0, 1], "passes": "10", "answers": [0, null], "raw": [null, "well, no"],
                     "labels": [0, null], "ln_p": [[-0.12, -2.0], []], "ms": [5.3, null], "ends": [0, 0]},
                    {"key": "two", "items": [0, 2, 1], "passes": "011", "answers": [1, 0, 0], "labels": [0, 0, 0],
                     "ln_p": [[-0.12, -2.0], [-0.12, -2.0], [-0.12, -2.0]], "ms": [5.3, 5.3, 5.3], "ends": [0, 0, 0]},
                ],
            })
        );
    }
}
