//! Progress of speed cells under way, for every command that measures.

use indicatif::ProgressBar;

use super::Ui;
use crate::measure::{Cell, Event, Protocol};

/// A bar that counts turns.
pub(super) struct Measuring<'a> {
    bar: ProgressBar,
    cells: &'a [Cell],
    turns: u64,
}

impl<'a> Measuring<'a> {
    pub(super) fn new(ui: &Ui, cells: &'a [Cell], protocol: &Protocol) -> Self {
        let turns = cells.len() as u64 * u64::from(protocol.least_turns());
        let bar = ui.progress(turns, false);
        if bar.is_hidden() {
            ui.note(format_args!("measuring speed: {} cells, interleaved", cells.len()));
        }
        Self { bar, cells, turns }
    }

    pub(super) fn show(&self, event: &Event<'_>) {
        match *event {
            Event::Warmup { cell, .. } => {
                self.bar.set_message(format!("{} {}: warm-up", self.cells[cell].tier, self.cells[cell].workload));
            }
            Event::Trial { cell, .. } => {
                self.bar.set_message(format!("{} {}", self.cells[cell].tier, self.cells[cell].workload));
                self.bar.inc(1);
                // Stopping by precision can take more trials than the least.
                self.bar.set_length(self.turns.max(self.bar.position()));
            }
            Event::Turn { .. } | Event::Failed { .. } => {}
        }
    }
}

impl Drop for Measuring<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
