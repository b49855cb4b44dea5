//! One tier on one task: items until the verdict is decided.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::Args;
use super::cell::Cell;
use super::ledger::{ALL_ITEMS, DECIDED, INTERRUPTED, Ledger};
use super::samples::Samples;
use crate::cli::run::energy::PATIENCE;
use crate::cli::{Ui, interrupt};
use crate::energy::{Metering, Trust};
use crate::engine::Engine;
use crate::error::Result;
use crate::model::tokenizer::Tokenizer;
use crate::quality::task::Task;
use crate::quality::{EvalOptions, ItemResult, evaluate};
use crate::store::cell::TaskItems;

/// How often a cell under way is stored: what a killed process loses at most.
const CHECKPOINT: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Judge<'a> {
    pub(super) args: &'a Args,
    pub(super) ui: &'a Ui,
    pub(super) task: &'a Task,
    /// Go on when the verdict is decided.
    pub(super) full: bool,
    pub(super) ledger: &'a mut Ledger,
    pub(super) samples: &'a mut Samples,
    pub(super) metering: &'a mut Metering,
}

impl Judge<'_> {
    /// Walks the items, those of an interrupted attempt first.
    pub(super) fn run(&mut self, cell: &mut Cell, tokenizer: &Tokenizer, engine: &mut dyn Engine) -> Result<()> {
        let Self { args, ui, task, full, ledger, samples, metering } = self;
        let full = *full;
        let mut samples = samples.of_task(task)?;
        let limit = args.limit.unwrap_or(usize::MAX).min(task.items.len());
        let tier = cell.tier.clone();
        let earlier = ledger.earlier(&tier, &task.name).unwrap_or_default();
        for item in &earlier.items {
            samples.write(&tier.0, item)?;
            cell.add(item.clone())?;
        }
        cell.resumed = earlier.items.len();
        cell.prefix_ns = earlier.prefix_ns;
        let finished = |cell: &Cell| cell.items() >= limit || (cell.decided() && !full);
        if finished(cell) && cell.resumed > 0 {
            cell.resume_energy(earlier.energy);
            cell.stopped = Some(if cell.items() >= limit { ALL_ITEMS } else { DECIDED });
            return cell.break_down(task);
        }
        // Items of a process that was killed were metered by nobody: then the energy of all is unknown.
        let metered = !metering.infos().is_empty() && (earlier.items.is_empty() || !earlier.energy.is_empty());
        if metered {
            cell.resume_energy(earlier.energy);
        }
        // An item's joules are known once its window is closed.
        let held = metered && metering.infos().iter().any(|info| info.trust < Trust::Estimated);
        let bar = ui.progress(limit as u64, false);
        bar.set_message(format!("{tier} {}", task.name));
        bar.set_position(cell.items() as u64);
        if bar.is_hidden() {
            ui.note(format_args!("judging {tier} on {}", task.name));
        }
        let options = EvalOptions { seed: args.seed, limit: args.limit, done: &earlier.items, decode: None };
        let started = Instant::now();
        let mut stored = Instant::now();
        let mut failed = None;
        let mut stopped = ALL_ITEMS;
        if metered {
            metering.start();
        }
        let evaluated = evaluate(task, tokenizer, engine, &options, &mut |item: ItemResult| {
            bar.inc(1);
            let written = if held { Ok(()) } else { samples.write(&tier.0, &item) };
            let step = written.and_then(|()| cell.add(item)).and_then(|()| {
                if stored.elapsed() >= CHECKPOINT {
                    // Its window is still open.
                    ledger.checkpoint(&tier, &task.name, TaskItems { energy: Vec::new(), ..cell.kept() })?;
                    stored = Instant::now();
                }
                Ok(())
            });
            if let Err(error) = step {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            let stop =
                if interrupt::requested() { Some(INTERRUPTED) } else { (cell.decided() && !full).then_some(DECIDED) };
            stop.map_or(ControlFlow::Continue(()), |why| {
                stopped = why;
                ControlFlow::Break(())
            })
        });
        bar.finish_and_clear();
        if metered {
            let mut window = metering.stop();
            if let Err(error) = metering.align(&mut [&mut window], PATIENCE) {
                ui.warn(format_args!("the power log could not be read: {error}"));
            }
            cell.meter(window);
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if held {
            cell.graded_now().iter().try_for_each(|item| samples.write(&tier.0, item))?;
        }
        cell.finish(&evaluated?, started.elapsed(), stopped);
        cell.break_down(task)?;
        if args.agreement && stopped != INTERRUPTED {
            compare_ways(args, task, cell, tokenizer, engine)?;
        }
        Ok(())
    }
}

/// Answers the judged items again in the other ways the task knows.
fn compare_ways(
    args: &Args,
    task: &Task,
    cell: &mut Cell,
    tokenizer: &Tokenizer,
    engine: &mut dyn Engine,
) -> Result<()> {
    for decode in task.modes().into_iter().filter(|&mode| mode != task.decode) {
        let limit = Some(cell.items());
        let options = EvalOptions { seed: args.seed, limit, done: &[], decode: Some(decode) };
        let mut others = Vec::new();
        evaluate(task, tokenizer, engine, &options, &mut |item: ItemResult| {
            others.push(item);
            if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        cell.agree(decode, &others);
    }
    Ok(())
}
