//! A run under way: its lock, and the time all its parts took.

use std::fs::File;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, params};

/// A run being written. Dropping it, or the end of the process, makes it resumable by others.
#[derive(Debug)]
pub struct OpenRun {
    /// Its id.
    pub id: String,
    /// When it was first started.
    pub started_at: String,
    /// Whether it existed before and is being continued.
    pub resumed: bool,
    /// When this part of it began.
    pub(super) begun: Instant,
    /// Time of the parts before; `None` if a version began it that kept none.
    pub(super) before: Option<Duration>,
    // Held for its lifetime: the system releases the lock when the process ends, however it ends.
    pub(super) _lock: File,
}

impl OpenRun {
    /// Counts this part from `begun` on: what was done before the run was opened.
    #[must_use]
    pub fn since(self, begun: Instant) -> Self {
        Self { begun, ..self }
    }

    /// Time the run took so far: of all its parts, without the time between them. A part that was killed counts up to the
    /// last cell it stored. `None` if a version began the run that kept no time.
    #[must_use]
    pub fn elapsed(&self) -> Option<Duration> {
        Some(self.before? + self.begun.elapsed())
    }
}

/// Stores the time the run took so far, if it is known.
pub(super) fn keep_time(connection: &Connection, run: &OpenRun) -> rusqlite::Result<()> {
    let Some(elapsed) = run.elapsed() else { return Ok(()) };
    connection
        .prepare_cached(
            "INSERT INTO run_time (run_id, elapsed_s) VALUES (?1, ?2)
             ON CONFLICT (run_id) DO UPDATE SET elapsed_s = excluded.elapsed_s",
        )?
        .execute(params![run.id, elapsed.as_secs_f64()])?;
    Ok(())
}

/// Time all parts of a run took; `None` if a version began it that kept none.
pub(super) fn time_kept(connection: &Connection, run_id: &str) -> rusqlite::Result<Option<Duration>> {
    let seconds: Option<f64> = connection
        .query_row("SELECT elapsed_s FROM run_time WHERE run_id = ?1", [run_id], |row| row.get(0))
        .optional()?;
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}
