//! Ctrl-C: the first one asks the work to stop after the current cell step; the second one ends the process at once.
//! Finished cells are stored either way, because each is committed when it completes.

use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

/// Installs the handler for SIGINT and SIGTERM. Called once by `main`.
pub(super) fn install() {
    // Failing to install leaves the default behaviour (the process ends at once), which loses nothing that is stored.
    let _ = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(crate::ExitStatus::Interrupted as i32);
        }
    });
}

/// Whether the user asked to stop. Long loops poll it between engine calls.
#[must_use]
pub fn requested() -> bool {
    STOP.load(Ordering::SeqCst)
}
