//! Energy of a run once all its windows are closed: an external meter's log may reach over them only now.

use std::time::Duration;

use super::{Args, Run};
use crate::cli::interrupt;
use crate::energy::{IdleBaselines, LONGEST_COOL_DOWN, Reading, cool_down};
use crate::error::{Error, Result};
use crate::store::cell::{Cell, Outcome, TaskItems, share_energy};

/// How long the rows of the last window are waited for.
pub(in crate::cli) const PATIENCE: Duration = Duration::from_secs(10);

/// Time of each idle window.
pub(super) fn idle_time(args: &Args) -> Result<Duration> {
    Duration::try_from_secs_f64(args.idle)
        .map_err(|error| Error::Usage(format!("--idle {} is not a number of seconds: {error}", args.idle)))
}

impl Run<'_> {
    /// Lets the machine cool between tiers that are metered one after the other, for a tenth of the time that is left at
    /// most: time for measuring is worth more than the last degree.
    pub(super) fn cool_down(&self) {
        if self.is_metered() {
            let most = (self.budget.saturating_sub(self.started.elapsed()) / 10).min(LONGEST_COOL_DOWN);
            let waited = cool_down(&self.sysfs, &*self.clock, self.cold, most, &interrupt::requested);
            if !waited.is_zero() {
                self.ui.note(format_args!("let the machine cool for {:.1} s", waited.as_secs_f64()));
            }
        }
    }

    /// Aligns every window with the log of `--power-csv` and stores the cells again that it completed.
    pub(super) fn align(&mut self) -> Result<()> {
        let before: Vec<Cell> = self.raw.cells.clone();
        let mut readings: Vec<&mut Reading> = baselines(&mut self.raw.idle).collect();
        readings.extend(self.raw.cells.iter_mut().flat_map(windows));
        if let Err(error) = self.metering.align(&mut readings, PATIENCE) {
            let warning = format!("the power log could not be read after the run: {error}");
            self.ui.warn(&warning);
            self.raw.warnings.push(warning);
            return Ok(());
        }
        for (cell, before) in self.raw.cells.iter_mut().zip(&before).filter(|(cell, before)| *cell != *before) {
            match &mut cell.outcome {
                Outcome::Speed(speed) => speed.sum_energy(),
                // Which items a window of several holds is not known any more.
                Outcome::Task(TaskItems { items, energy, .. }) => {
                    if let [only] = energy.as_slice() {
                        share_energy(only, items);
                    }
                }
                Outcome::Failed { .. } => {}
            }
            debug_assert_eq!(cell.id(), before.id(), "aligning changes no cell's identity");
            self.history.commit_cell(&self.open, cell)?;
        }
        Ok(())
    }
}

/// The idle windows that were measured.
pub(in crate::cli) fn baselines(idle: &mut IdleBaselines) -> impl Iterator<Item = &mut Reading> {
    [&mut idle.bare, &mut idle.ready, &mut idle.after].into_iter().flatten()
}

/// The metered windows of a cell.
fn windows(cell: &mut Cell) -> Vec<&mut Reading> {
    match &mut cell.outcome {
        Outcome::Speed(speed) => speed.windows.iter_mut().map(|window| &mut window.reading).collect(),
        Outcome::Task(task) => task.energy.iter_mut().collect(),
        Outcome::Failed { .. } => Vec::new(),
    }
}
