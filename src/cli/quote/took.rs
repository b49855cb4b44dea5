//! What a run took: its time, its tokens, and its energy at the mean power of its windows.

use std::time::Duration;

use super::price;
use crate::cost::Assumptions;
use crate::energy::Reading;
use crate::measure::SpeedCell;
use crate::plan::quote::{Guess, Took as Outturn};
use crate::store::cell::{Cell, Outcome, TaskItems};

/// Factor within which an earlier run's power is met again.
const STORED_POWER: f64 = 1.25;

/// Joules and seconds of windows. Estimates keep their range.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drawn {
    lo: f64,
    hi: f64,
    seconds: f64,
    is_estimated: bool,
}

impl Drawn {
    /// A window that knows its joules.
    pub(super) fn add(&mut self, window: &Reading) {
        let Some((lo, hi)) = window.range.or_else(|| window.joules.map(|j| (j.0, j.0))) else { return };
        self.lo += lo;
        self.hi += hi;
        self.seconds += window.window_s;
        self.is_estimated |= window.range.is_some();
    }

    /// The windows of a cell that are wanted.
    pub(super) fn add_cell(&mut self, cell: &Cell, is_wanted: impl Fn(&Reading) -> bool) {
        match &cell.outcome {
            Outcome::Speed(speed) => {
                speed.windows.iter().map(|window| &window.reading).filter(|r| is_wanted(r)).for_each(|r| self.add(r));
            }
            Outcome::Task(task) => task.energy.iter().filter(|r| is_wanted(r)).for_each(|r| self.add(r)),
            Outcome::Failed { .. } => {}
        }
    }

    /// Mean power, W, with the range it will be met again in.
    pub(super) fn mean_power(&self) -> Option<Guess> {
        let (lo, hi) = (self.seconds > 0.0).then(|| (self.lo / self.seconds, self.hi / self.seconds))?;
        Some(if self.is_estimated {
            Guess { value: (lo * hi).sqrt(), lo, hi }
        } else {
            Guess::within(lo, STORED_POWER)
        })
    }
}

/// Tokens and energy, added up cell by cell.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cli) struct Tally {
    tokens: u64,
    drawn: Drawn,
}

impl Tally {
    /// All cells of a record.
    pub(in crate::cli) fn of(cells: &[Cell]) -> Self {
        let mut tally = Self::default();
        for cell in cells {
            match &cell.outcome {
                Outcome::Speed(speed) => tally.add_speed(speed),
                Outcome::Task(task) => tally.add_task(task),
                Outcome::Failed { .. } => {}
            }
        }
        tally
    }

    /// A speed cell, warm-up included.
    pub(in crate::cli) fn add_speed(&mut self, cell: &SpeedCell) {
        self.tokens += cell.warmup.len() as u64 * cell.workload.timed_tokens();
        self.tokens += cell.samples.iter().map(|sample| sample.tokens).sum::<u64>();
        cell.windows.iter().for_each(|window| self.drawn.add(&window.reading));
    }

    fn add_task(&mut self, task: &TaskItems) {
        self.tokens += task
            .items
            .iter()
            .map(|item| {
                u64::from(item.n_prompt_tokens.saturating_sub(item.n_cached_tokens)) + u64::from(item.n_gen_tokens)
            })
            .sum::<u64>();
        task.energy.iter().for_each(|window| self.drawn.add(window));
    }

    /// What all of it took in `elapsed`, priced as the prediction was.
    pub(in crate::cli) fn outcome(&self, elapsed: Duration, cost: Option<&Assumptions>) -> Outturn {
        let seconds = elapsed.as_secs_f64();
        let joules = self.drawn.mean_power().map(|power| power.value * seconds);
        let usd = cost.and_then(|cost| price(cost, Guess::exactly(seconds), joules.map(Guess::exactly)));
        Outturn { seconds, tokens: self.tokens as f64, joules, usd: usd.map(|usd| usd.value) }
    }
}
