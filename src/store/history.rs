//! The history: every run and cell this user made, in one SQLite file.
//!
//! Each cell is one transaction, committed when it completes, so that Ctrl-C, `kill -9`, a full disk or a crash of the
//! machine loses at most the cell in flight. The database is in WAL mode; several runs may write at once. A run that is
//! going on holds an advisory lock on a file of its own, which the system releases however the process ends: that is how
//! a run that can be resumed is told from one that is still working.

mod open_run;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

pub use self::open_run::OpenRun;
use super::cell::Cell;
use super::file::RecordFile;
use super::record::{RawRecord, Record};
use super::{StoreError, clock, migrations};

/// How long a write waits for another process.
const BUSY_SECONDS: u64 = 10;

/// File name of the database inside the data directory.
const FILE_NAME: &str = "history.sqlite3";

/// The user's runs.
#[derive(Debug)]
pub struct History {
    connection: Connection,
    path: PathBuf,
}

/// One line of `history list`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RunSummary {
    /// Id.
    pub id: String,
    /// UTC, RFC 3339.
    pub started_at: String,
    /// UTC, RFC 3339; `None` if it was never finished.
    pub finished_at: Option<String>,
    /// What the caller called it.
    pub title: String,
    /// Cells stored.
    pub cells: u64,
    /// Cells that failed.
    pub failed: u64,
    /// Whether a sealed record is stored.
    pub has_record: bool,
    /// Whether it is stored what the cells are of: [`History::save_header`].
    pub has_header: bool,
}

impl RunSummary {
    /// Whether [`History::record`] has something to show.
    #[must_use]
    pub const fn is_reportable(&self) -> bool {
        self.has_record || (self.has_header && self.cells > 0)
    }
}

/// The user's data directory: `TIERBENCH_DATA`, else the platform's.
///
/// # Errors
/// [`StoreError::NoDataDir`] if neither is known.
pub fn data_dir() -> Result<PathBuf, StoreError> {
    if let Some(dir) = std::env::var_os("TIERBENCH_DATA").filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir));
    }
    directories::ProjectDirs::from("", "", "tierbench")
        .map(|dirs| dirs.data_dir().to_owned())
        .ok_or(StoreError::NoDataDir)
}

/// Hash that names a plan: runs with the same one may resume each other.
///
/// # Errors
/// [`StoreError::Json`] if the plan cannot be written as JSON.
pub fn plan_hash(plan: &impl serde::Serialize) -> Result<String, StoreError> {
    let canonical = super::canonical::canonical_json(&serde_json::to_value(plan)?);
    Ok(super::canonical::sha256_hex(canonical.as_bytes()))
}

impl History {
    /// Opens the history in [`data_dir`], creating both if needed.
    ///
    /// # Errors
    /// See [`History::open`].
    pub fn open_default() -> Result<Self, StoreError> {
        Self::open(&data_dir()?)
    }

    /// Opens the history in `dir`, creating both if needed and migrating an older one.
    ///
    /// # Errors
    /// The directory cannot be created; the file is damaged, not a database, or written by a newer program; the disk is
    /// full; another process holds it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir.join("locks")).map_err(StoreError::io("create", dir))?;
        let path = dir.join(FILE_NAME);
        let explain = |source| explain(&path, source);
        let mut connection = Connection::open(&path).map_err(explain)?;
        connection.busy_timeout(Duration::from_secs(BUSY_SECONDS)).map_err(explain)?;
        let found = migrations::version(&connection).map_err(explain)?;
        if found > migrations::NEWEST {
            return Err(StoreError::FutureHistory { path, found, known: migrations::NEWEST });
        }
        use_wal(&connection).map_err(explain)?;
        // FULL: a committed cell survives loss of power, not only of the process. It costs milliseconds per cell.
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;").map_err(explain)?;
        migrations::migrate(&mut connection).map_err(explain)?;
        Ok(Self { connection, path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the database grow to `pages` of 4 KiB and no further: what a full disk looks like. For tests and quotas.
    ///
    /// # Errors
    /// What the database says.
    pub fn limit_pages(&self, pages: u32) -> Result<(), StoreError> {
        self.connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .map_err(|source| explain(&self.path, source))
    }

    /// Starts a run of the plan with this hash, or with `resume` continues the newest unfinished one that no living
    /// process is working on. `title` is what lists show.
    ///
    /// # Errors
    /// What the database says.
    pub fn open_run(&mut self, plan_hash: &str, title: &str, resume: bool) -> Result<OpenRun, StoreError> {
        let begun = Instant::now();
        if resume {
            for (id, started_at) in self.unfinished(plan_hash)? {
                if let Some(lock) = self.try_lock(&id)? {
                    // Read under the lock: the part before may have ended only now.
                    let before =
                        open_run::time_kept(&self.connection, &id).map_err(|source| explain(&self.path, source))?;
                    return Ok(OpenRun { id, started_at, resumed: true, begun, before, _lock: lock });
                }
            }
        }
        let (id, started_at) = (clock::new_run_id(), clock::now());
        // Locked before the row exists: no other process can see the run and take it for abandoned.
        let lock = self.try_lock(&id)?.ok_or_else(|| StoreError::Locked { path: self.lock_path(&id), seconds: 0 })?;
        let run = OpenRun { id, started_at, resumed: false, begun, before: Some(Duration::ZERO), _lock: lock };
        let mut store = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            transaction.execute(
                "INSERT INTO run (id, plan_hash, started_at, title) VALUES (?1, ?2, ?3, ?4)",
                params![run.id, plan_hash, run.started_at, title],
            )?;
            open_run::keep_time(&transaction, &run)?;
            transaction.commit()
        };
        store().map_err(|source| explain(&self.path, source))?;
        Ok(run)
    }

    /// Stores one cell, replacing an earlier attempt at it, with the time the run took so far. Durable when this returns.
    ///
    /// # Errors
    /// The disk is full or the database damaged; cells committed before are not affected.
    pub fn commit_cell(&mut self, run: &OpenRun, cell: &Cell) -> Result<(), StoreError> {
        let body = serde_json::to_string(cell)?;
        let mut store = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            transaction
                .prepare_cached(
                    "INSERT INTO cell (run_id, cell_id, committed_at, failed, body, position)
                     VALUES (?1, ?2, ?3, ?4, ?5, (SELECT coalesce(max(position), 0) + 1 FROM cell WHERE run_id = ?1))
                     ON CONFLICT (run_id, cell_id) DO UPDATE SET committed_at = excluded.committed_at,
                         failed = excluded.failed, body = excluded.body, position = excluded.position",
                )?
                .execute(params![run.id, cell.id().0, clock::now(), cell.error().is_some(), body])?;
            open_run::keep_time(&transaction, run)?;
            transaction.commit()
        };
        store().map_err(|source| explain(&self.path, source))
    }

    /// The cells of a run that succeeded, in the order they finished: what a resumed run need not repeat.
    ///
    /// # Errors
    /// What the database says.
    pub fn finished_cells(&self, run_id: &str) -> Result<Vec<Cell>, StoreError> {
        Ok(self.cells(run_id)?.into_iter().filter(|cell| cell.error().is_none()).collect())
    }

    /// All cells of a run, failed ones included, in the order they finished.
    ///
    /// # Errors
    /// What the database says; [`StoreError::DamagedHistory`] for a cell that cannot be read.
    pub fn cells(&self, run_id: &str) -> Result<Vec<Cell>, StoreError> {
        let bodies = || -> rusqlite::Result<Vec<String>> {
            self.connection
                .prepare_cached("SELECT body FROM cell WHERE run_id = ?1 ORDER BY position")?
                .query_map([run_id], |row| row.get(0))?
                .collect()
        };
        let bodies = bodies().map_err(|source| explain(&self.path, source))?;
        bodies.iter().map(|body| self.decode(body, "cell")).collect()
    }

    /// Stores the raw record without its cells, so that an interrupted run can still be reported. May be called again.
    ///
    /// # Errors
    /// What the database says.
    pub fn save_header(&mut self, run: &OpenRun, header: &RawRecord) -> Result<(), StoreError> {
        let mut header = header.clone();
        header.cells.clear();
        self.set(&run.id, "UPDATE run SET header = ?2 WHERE id = ?1", &serde_json::to_string(&header)?)
    }

    /// Stores the sealed record and marks the run finished, in one transaction.
    ///
    /// # Errors
    /// What the database says.
    pub fn finish_run(&mut self, run: &OpenRun, record: &Record) -> Result<(), StoreError> {
        let sql = format!("UPDATE run SET record = ?2, finished_at = '{}' WHERE id = ?1", clock::now());
        self.set(&run.id, &sql, &serde_json::to_string(record)?)
    }

    /// Stores the sealed record of a run that was interrupted: it can be reported now and resumed later.
    ///
    /// # Errors
    /// What the database says.
    pub fn save_partial(&mut self, run: &OpenRun, record: &Record) -> Result<(), StoreError> {
        self.set(&run.id, "UPDATE run SET record = ?2 WHERE id = ?1", &serde_json::to_string(record)?)?;
        open_run::keep_time(&self.connection, run).map_err(|source| explain(&self.path, source))
    }

    /// Stores a record that was just made of another tool's results; see [`History::import_file`].
    ///
    /// # Errors
    /// What the database says.
    pub fn import(&mut self, record: &Record, title: &str) -> Result<bool, StoreError> {
        self.insert(record, &serde_json::to_string(record)?, title)
    }

    /// Stores a record made elsewhere with its cells, as a finished run with the record's own id, in one transaction.
    /// Every field is kept, known to this build or not. Returns `false` if that id is stored already.
    ///
    /// # Errors
    /// What the database says.
    pub fn import_file(&mut self, file: &RecordFile, title: &str) -> Result<bool, StoreError> {
        self.insert(&file.record, &file.json(), title)
    }

    fn insert(&mut self, record: &Record, sealed: &str, title: &str) -> Result<bool, StoreError> {
        let bodies: Vec<String> = record.raw.cells.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        let run = &record.raw.run;
        let mut store = || -> rusqlite::Result<bool> {
            let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let added = transaction.execute(
                "INSERT OR IGNORE INTO run (id, plan_hash, started_at, finished_at, title, record)
                 VALUES (?1, 'imported', ?2, ?3, ?4, ?5)",
                params![run.id, run.started_at, run.finished_at.as_ref().unwrap_or(&run.started_at), title, sealed],
            )?;
            if added == 1 {
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO cell (run_id, cell_id, committed_at, failed, body, position)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?;
                for ((position, cell), body) in (1_i64..).zip(&record.raw.cells).zip(&bodies) {
                    let failed = cell.error().is_some();
                    insert.execute(params![run.id, cell.id().0, cell.finished_at, failed, body, position])?;
                }
            }
            transaction.commit()?;
            Ok(added == 1)
        };
        store().map_err(|source| explain(&self.path, source))
    }

    /// All runs, newest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn list(&self) -> Result<Vec<RunSummary>, StoreError> {
        let read = || -> rusqlite::Result<Vec<RunSummary>> {
            self.connection
                .prepare_cached(
                    "SELECT id, started_at, finished_at, title, record IS NOT NULL, count(cell_id), coalesce(sum(failed), 0),
                         header IS NOT NULL
                     FROM run LEFT JOIN cell ON run_id = id GROUP BY id ORDER BY started_at DESC, id DESC",
                )?
                .query_map([], |row| {
                    Ok(RunSummary {
                        id: row.get(0)?,
                        started_at: row.get(1)?,
                        finished_at: row.get(2)?,
                        title: row.get(3)?,
                        has_record: row.get(4)?,
                        cells: row.get::<_, i64>(5)?.unsigned_abs(),
                        failed: row.get::<_, i64>(6)?.unsigned_abs(),
                        has_header: row.get(7)?,
                    })
                })?
                .collect()
        };
        read().map_err(|source| explain(&self.path, source))
    }

    /// The full id of the run `wanted` names: an id, the unambiguous beginning of one, or `latest`.
    ///
    /// # Errors
    /// [`StoreError::NoRun`], [`StoreError::UnknownRun`], [`StoreError::AmbiguousRun`].
    pub fn resolve(&self, wanted: &str) -> Result<String, StoreError> {
        let runs = self.list()?;
        let unknown = || StoreError::UnknownRun { wanted: wanted.to_owned() };
        if wanted == "latest" {
            return runs.into_iter().find(RunSummary::is_reportable).map(|run| run.id).ok_or(StoreError::NoRun);
        }
        let mut matches: Vec<String> =
            runs.into_iter().map(|run| run.id).filter(|id| !wanted.is_empty() && id.starts_with(wanted)).collect();
        if let Some(exact) = matches.iter().position(|id| id == wanted) {
            return Ok(matches.swap_remove(exact));
        }
        match matches.len() {
            0 => Err(unknown()),
            1 => Ok(matches.swap_remove(0)),
            count => Err(StoreError::AmbiguousRun { wanted: wanted.to_owned(), count }),
        }
    }

    /// The record of a run. A run that was killed gets one from its header and the cells it committed.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`] also for a run that stored nothing yet.
    pub fn record(&self, run_id: &str) -> Result<Record, StoreError> {
        self.read_record(&self.record_json(run_id)?)
    }

    /// Reads what [`History::record_json`] gave.
    ///
    /// # Errors
    /// [`StoreError::DamagedHistory`].
    pub fn read_record(&self, json: &str) -> Result<Record, StoreError> {
        self.decode(json, "record")
    }

    /// The same as JSON: the very text that was sealed or imported, fields that this build does not know included.
    ///
    /// # Errors
    /// See [`History::record`].
    pub fn record_json(&self, run_id: &str) -> Result<String, StoreError> {
        let read = self
            .connection
            .query_row("SELECT header, record, finished_at IS NOT NULL FROM run WHERE id = ?1", [run_id], |row| {
                Ok((row.get::<_, Option<String>>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, bool>(2)?))
            })
            .optional()
            .map_err(|source| explain(&self.path, source))?;
        match read {
            Some((_, Some(sealed), true) | (None, Some(sealed), false)) => Ok(sealed),
            Some((Some(header), sealed, _)) => {
                let mut raw: RawRecord = self.decode(&header, "header")?;
                raw.cells = self.cells(run_id)?;
                if let Some(sealed) = sealed
                    && self.decode::<Record>(&sealed, "record")?.raw.cells.len() >= raw.cells.len()
                {
                    return Ok(sealed);
                }
                raw.run.interrupted = true;
                Ok(serde_json::to_string(&Record::from_raw(raw)?)?)
            }
            Some((None, None, _)) | None => Err(StoreError::UnknownRun { wanted: run_id.to_owned() }),
        }
    }

    /// Forgets a run and its cells.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`]; [`StoreError::Locked`] while a process is working on it.
    pub fn remove(&mut self, run_id: &str) -> Result<(), StoreError> {
        let Some(lock) = self.try_lock(run_id)? else {
            return Err(StoreError::Locked { path: self.lock_path(run_id), seconds: 0 });
        };
        let removed = self
            .connection
            .execute("DELETE FROM run WHERE id = ?1", [run_id])
            .map_err(|source| explain(&self.path, source))?;
        drop(lock);
        let _ = std::fs::remove_file(self.lock_path(run_id));
        if removed == 0 { Err(StoreError::UnknownRun { wanted: run_id.to_owned() }) } else { Ok(()) }
    }

    fn set(&mut self, run_id: &str, sql: &str, text: &str) -> Result<(), StoreError> {
        let changed =
            self.connection.execute(sql, params![run_id, text]).map_err(|source| explain(&self.path, source))?;
        if changed == 1 { Ok(()) } else { Err(StoreError::UnknownRun { wanted: run_id.to_owned() }) }
    }

    fn unfinished(&self, plan_hash: &str) -> Result<Vec<(String, String)>, StoreError> {
        let read = || -> rusqlite::Result<Vec<(String, String)>> {
            self.connection
                .prepare_cached(
                    "SELECT id, started_at FROM run WHERE plan_hash = ?1 AND finished_at IS NULL
                     ORDER BY started_at DESC, id DESC",
                )?
                .query_map([plan_hash], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        read().map_err(|source| explain(&self.path, source))
    }

    fn lock_path(&self, run_id: &str) -> PathBuf {
        self.path.with_file_name("locks").join(run_id)
    }

    /// The run's lock, or `None` if another process has it.
    fn try_lock(&self, run_id: &str) -> Result<Option<File>, StoreError> {
        let path = self.lock_path(run_id);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(StoreError::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(StoreError::Io { action: "lock", path, source }),
        }
    }

    fn decode<T: serde::de::DeserializeOwned>(&self, text: &str, what: &str) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|error| StoreError::DamagedHistory {
            path: self.path.clone(),
            why: format!("a stored {what} cannot be read: {error}"),
        })
    }
}

/// Turns write-ahead logging on. Of processes that open a new database at once, all but one are told that it is busy,
/// without the wait that every other statement gets: they try again as long.
fn use_wal(connection: &Connection) -> rusqlite::Result<()> {
    let begun = Instant::now();
    loop {
        match connection.execute_batch("PRAGMA journal_mode = WAL;") {
            Err(error)
                if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
                    && begun.elapsed() < Duration::from_secs(BUSY_SECONDS) =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

/// Names the condition the user can act on.
fn explain(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::DiskFull { path },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::DamagedHistory { path, why: source.to_string() }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked { path, seconds: BUSY_SECONDS },
        _ => StoreError::Sqlite { path, source },
    }
}
