//! Schema of the history database. `user_version` counts the migrations applied; each runs in its own transaction.

use rusqlite::Connection;

/// Every migration, oldest first. Never edited once released: a change is a new entry.
pub(super) const MIGRATIONS: &[&str] = &[
    // 1: runs and their cells. `header` is the raw record without cells; `record` the sealed record once it is made.
    "CREATE TABLE run (
         id          TEXT PRIMARY KEY,
         plan_hash   TEXT NOT NULL,
         started_at  TEXT NOT NULL,
         finished_at TEXT,
         title       TEXT NOT NULL,
         header      TEXT,
         record      TEXT
     ) STRICT;
     CREATE INDEX run_by_plan ON run (plan_hash, started_at);
     CREATE TABLE cell (
         run_id       TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
         cell_id      TEXT NOT NULL,
         committed_at TEXT NOT NULL,
         failed       INTEGER NOT NULL,
         body         TEXT NOT NULL,
         PRIMARY KEY (run_id, cell_id)
     ) STRICT;",
    // 2: the order in which cells finished survives a retry that replaces a row.
    "ALTER TABLE cell ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
     UPDATE cell SET position = rowid;",
    // 3: time all parts of a run took so far, beside the run because its row is long. Runs that are older have none.
    "CREATE TABLE run_time (
         run_id    TEXT PRIMARY KEY REFERENCES run (id) ON DELETE CASCADE,
         elapsed_s REAL NOT NULL
     ) STRICT;",
];

/// Newest version this build knows.
pub(super) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// Brings the database from its version to [`NEWEST`]. Two processes may start at once: the version is read again
/// inside the write lock.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    loop {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let version = version(&transaction)?;
        let Some(sql) = usize::try_from(version).ok().and_then(|v| MIGRATIONS.get(v)) else { return Ok(()) };
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version + 1)?;
        transaction.commit()?;
    }
}

/// Number of migrations applied.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
