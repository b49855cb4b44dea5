//! Speed cells of all tiers, interleaved.

use std::ops::ControlFlow;
use std::time::Duration;

use super::Run;
use super::ladder::failed_cell;
use crate::cli::interrupt;
use crate::cli::measuring::Measuring;
use crate::engine::Engine;
use crate::error::Result;
use crate::measure::{self, Event, Instruments, MeasureError, Protocol, SpeedCell, measure_cells};
use crate::plan::TierKey;
use crate::store::cell::{Cell, Outcome, Subject};
use crate::store::clock;

/// Share of the budget that speed may take; the rest is for judging.
const SPEED_SHARE: f64 = 0.4;

/// Time of a cell's trials, and of its warm-up, at most.
const CELL_MOST: Duration = Duration::from_secs(20);

/// Time of a cell's trials, and of its warm-up, among so many.
pub(super) fn per_cell(budget: Duration, cells: usize) -> Duration {
    budget.mul_f64(SPEED_SHARE / cells.max(1) as f64).min(CELL_MOST)
}

impl Run<'_> {
    pub(super) fn measure_speed(&mut self) -> Result<()> {
        let mut loaded: Vec<(TierKey, Box<dyn Engine>)> = Vec::new();
        let mut places = Vec::new();
        for (place, (facts, engine)) in self.raw.tiers.iter().zip(&mut self.engines).enumerate() {
            if let Some(engine) = engine.take() {
                loaded.push((facts.key.clone(), engine));
                places.push(place);
            }
        }
        let (keys, mut engines): (Vec<TierKey>, Vec<Box<dyn Engine>>) = loaded.into_iter().unzip();
        let tried: Vec<bool> = places.iter().map(|&place| self.tried[place]).collect();
        let cells = self.cells_to_measure(&keys, &tried);
        let results = self.measure_interleaved(&mut engines, &cells);
        // Engines go back before any error leaves.
        for (place, engine) in places.into_iter().zip(engines) {
            self.engines[place] = Some(engine);
        }
        for (cell, result) in cells.iter().zip(results?) {
            let subject = Subject::Workload(cell.workload);
            match result {
                // Stored turn by turn already.
                Ok(speed) => self.raw.cells.push(speed_cell(cell, speed)),
                // Not a failure of the tier: a resumed run measures it.
                Err(MeasureError::Interrupted) => {}
                Err(error) => self.commit(failed_cell(&cell.tier, subject, &error.to_string()))?,
            }
        }
        Ok(())
    }

    /// Cells that are not stored completely yet; stored ones join the record.
    fn cells_to_measure(&mut self, keys: &[TierKey], tried: &[bool]) -> Vec<measure::Cell> {
        let mut cells = Vec::new();
        for (engine, (tier, &tried)) in keys.iter().zip(tried).enumerate() {
            for &workload in &self.workloads {
                let subject = Subject::Workload(workload);
                let stored = self.stored.iter().find(|cell| cell.tier == *tier && cell.subject == subject);
                let begun = match stored {
                    Some(Cell { outcome: Outcome::Speed(speed), .. }) if !speed.complete => Some(speed.clone()),
                    Some(stored) => {
                        self.raw.cells.push(stored.clone());
                        continue;
                    }
                    None => None,
                };
                cells.push(measure::Cell { tier: tier.clone(), engine, workload, tried, begun });
            }
        }
        cells
    }

    fn measure_interleaved(
        &mut self,
        engines: &mut [Box<dyn Engine>],
        cells: &[measure::Cell],
    ) -> Result<Vec<Result<SpeedCell, MeasureError>>> {
        if cells.is_empty() {
            return Ok(Vec::new());
        }
        let per_cell = per_cell(self.budget, cells.len());
        let protocol = Protocol {
            budget: per_cell,
            warmup_budget: per_cell,
            energy_window: self.metering.advised_window().min(per_cell),
            seed: self.args.seed,
            ..Protocol::default()
        };
        let progress = Measuring::new(self.ui, cells, &protocol);
        let (history, open) = (&mut self.history, &self.open);
        let mut stored = Ok(());
        let mut instruments = Instruments { clock: &*self.clock, sysfs: &self.sysfs, energy: &mut self.metering };
        let results = measure_cells(engines, cells, &protocol, &mut instruments, &mut |event| {
            progress.show(&event);
            // Stored at once: cells of all tiers are under way together, and a kill would lose them all.
            if let Event::Turn { cell, so_far } = event {
                stored = history.commit_cell(open, &speed_cell(&cells[cell], so_far.clone()));
            }
            if interrupt::requested() || stored.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        stored?;
        Ok(results)
    }
}

fn speed_cell(cell: &measure::Cell, speed: SpeedCell) -> Cell {
    Cell {
        tier: cell.tier.clone(),
        subject: Subject::Workload(cell.workload),
        finished_at: clock::now(),
        outcome: Outcome::Speed(Box::new(speed)),
    }
}
