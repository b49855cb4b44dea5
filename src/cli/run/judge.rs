//! Task cells: tiers from the cheapest up, each until its verdict is decided, its items are used up, or time is.

use std::ops::ControlFlow;

use super::Run;
use super::ladder::failed_cell;
use crate::cli::interrupt;
use crate::decide::State;
use crate::error::{Error, Result};
use crate::quality::task::{BarMetric, Task};
use crate::quality::{EvalOptions, ItemResult, evaluate};
use crate::store::cell::{Cell, Outcome, Subject, TaskItems, share_energy};
use crate::store::clock;
use crate::store::record::{Record, TaskFacts};

/// Why a tier was shown no more items.
const DECIDED: &str = "decided";
const ALL_ITEMS: &str = "all items";
const BUDGET: &str = "budget";
const INTERRUPTED: &str = "interrupted";

impl Run<'_> {
    pub(super) fn judge(&mut self) -> Result<()> {
        let tasks = std::mem::take(&mut self.tasks);
        for (task, facts) in &tasks {
            // Cheapest first by what speed and prices say so far.
            let order = Record::derive(&self.raw).ladder;
            for key in order {
                let Some(place) = self.raw.tiers.iter().position(|tier| tier.key == key) else { continue };
                if self.engines[place].is_some() && !interrupt::requested() {
                    self.judge_tier(place, task, facts)?;
                }
            }
        }
        self.tasks = tasks;
        Ok(())
    }

    fn judge_tier(&mut self, place: usize, task: &Task, facts: &TaskFacts) -> Result<()> {
        let tier = self.raw.tiers[place].key.clone();
        let subject = Subject::Task(task.name.clone());
        let stored = self.stored.iter().find(|cell| cell.tier == tier && cell.subject == subject).cloned();
        let mut done = TaskItems::default();
        if let Some(cell) = stored {
            match cell.outcome {
                // Stopped by the user or the clock: goes on where it was, in the same order.
                Outcome::Task(items) if matches!(items.stopped.as_deref(), Some(INTERRUPTED | BUDGET)) => done = items,
                _ => {
                    self.raw.cells.push(cell);
                    return Ok(());
                }
            }
        }
        let outcome = match self.walk(place, task, facts, done) {
            // Nothing was graded before the user or the clock stopped it: there is no cell, and a resumed run makes it.
            Ok(items) if items.items.is_empty() => return Ok(()),
            Ok(items) => Outcome::Task(items),
            Err(error) => return self.commit(failed_cell(&tier, subject, &error.to_string())),
        };
        self.commit(Cell { tier, subject, finished_at: clock::now(), outcome })
    }

    /// Shows the tier items until something ends it.
    fn walk(&mut self, place: usize, task: &Task, facts: &TaskFacts, mut kept: TaskItems) -> Result<TaskItems> {
        let mut state = match facts.metric {
            BarMetric::PassRate => State::new(facts.rule.clone()),
            BarMetric::MeanScore => State::of_scores(facts.rule.clone()),
        }
        .map_err(|error| Error::Usage(error.to_string()))?;
        for item in &kept.items {
            push(&mut state, item)?;
        }
        if state.verdict().is_decided() {
            kept.stopped = Some(DECIDED.into());
            return Ok(kept);
        }
        let (started, budget) = (self.started, self.budget);
        if started.elapsed() >= budget {
            kept.stopped = Some(BUDGET.into());
            return Ok(kept);
        }
        self.cool_down();
        let (Ok(ready), Some(engine)) = (&self.rungs[place].model, self.engines[place].as_mut()) else {
            return Err(Error::Usage("this tier has no engine".into()));
        };
        let limit = facts.rule.n_max.and_then(|n| usize::try_from(n).ok()).or(self.args.limit);
        let total = limit.unwrap_or(task.items.len()) as u64;
        let bar = self.ui.progress(total, false);
        bar.set_message(format!("{} {}", self.raw.tiers[place].key, task.name));
        bar.set_position(kept.items.len() as u64);
        if bar.is_hidden() {
            self.ui.note(format_args!("judging {} on {}", self.raw.tiers[place].key, task.name));
        }
        let metered = !self.metering.infos().is_empty();
        if metered {
            self.metering.start();
        }
        let earlier = kept.items.clone();
        let options = EvalOptions { seed: facts.rule.order_seed, limit, done: &earlier, decode: None };
        let mut stopped = ALL_ITEMS;
        let mut refused = None;
        let walked = evaluate(task, &*ready.tokenizer, engine.as_mut(), &options, &mut |item| {
            let pushed = push(&mut state, &item);
            kept.items.push(item);
            bar.inc(1);
            let stop = match pushed {
                Err(error) => {
                    refused = Some(error);
                    Some(DECIDED)
                }
                Ok(()) if state.verdict().is_decided() => Some(DECIDED),
                Ok(()) if interrupt::requested() => Some(INTERRUPTED),
                Ok(()) if started.elapsed() >= budget => Some(BUDGET),
                Ok(()) => None,
            };
            stop.map_or(ControlFlow::Continue(()), |why| {
                stopped = why;
                ControlFlow::Break(())
            })
        });
        bar.finish_and_clear();
        if metered {
            let window = self.metering.stop();
            share_energy(&window, &mut kept.items[earlier.len()..]);
            kept.energy.push(window);
        }
        if let Some(error) = refused {
            return Err(error);
        }
        kept.prefix_ns = walked?.prefix_ns;
        kept.stopped = Some(stopped.into());
        Ok(kept)
    }
}

fn push(state: &mut State, item: &ItemResult) -> Result<()> {
    let pushed = match state.rule().n_max {
        Some(_) => state.push(item.pass),
        None => state.push_score(item.score),
    };
    pushed.map(|_| ()).map_err(|error| Error::Usage(error.to_string()))
}
