//! Progress of downloads, checks and conversions: a bar on a terminal, one line per step elsewhere.

use indicatif::ProgressBar;

use super::{Ui, interrupt};
use crate::model::Progress;
use crate::units::Bytes;

/// Draws [`Progress`] on stderr; stops the work at the first Ctrl-C.
#[derive(Debug)]
pub struct Bar<'a> {
    ui: &'a Ui,
    bar: Option<ProgressBar>,
}

impl<'a> Bar<'a> {
    pub(super) fn new(ui: &'a Ui) -> Self {
        Self { ui, bar: None }
    }
}

impl Progress for Bar<'_> {
    fn start(&mut self, what: &str, total: Option<u64>) {
        self.finish();
        let bar = self.ui.progress(total.unwrap_or(0), true);
        bar.set_message(what.to_owned());
        if total.is_none() {
            bar.unset_length();
        }
        if bar.is_hidden() {
            match total {
                Some(total) => self.ui.note(format_args!("{what} ({:.1} MiB)", Bytes(total).mib())),
                None => self.ui.note(what),
            }
        }
        self.bar = Some(bar);
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}
