//! The history survives `kill -9` at any moment, several writers, old and future schemas, damage and a full disk.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod example;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tierbench::plan::TierKey;
use tierbench::quality::{FinishReason, ItemResult};
use tierbench::store::StoreError;
use tierbench::store::cell::{Cell, Outcome, Subject, TaskItems};
use tierbench::store::history::{History, OpenRun};
use tierbench::store::record::Record;

/// Set in a child process: the directory it writes to.
const CHILD_DIR: &str = "TIERBENCH_TEST_HISTORY_DIR";
/// How many cells a child writes; without it, it writes until it is killed.
const CHILD_CELLS: &str = "TIERBENCH_TEST_HISTORY_CELLS";

/// A cell of some 100 kB.
fn cell(i: u32) -> Cell {
    let items = (0..300).map(|n| ItemResult {
        item: format!("item-{n}"),
        level: None,
        template: Some(format!("template-{}", n % 30)),
        choices: vec![],
        answer: Some("billing".into()),
        raw: None,
        score: 1.0,
        pass: true,
        confidence: None,
        n_prompt_tokens: 90,
        n_cached_tokens: 60,
        n_gen_tokens: 5,
        elapsed_ns: n + u64::from(i),
        finish_reason: FinishReason::Scored,
        parts: std::collections::BTreeMap::new(),
        prompt_sha256: "5f".repeat(32),
        joules: None,
    });
    Cell {
        tier: TierKey(format!("tier-{i}")),
        subject: Subject::Task("support_tickets".into()),
        finished_at: "2026-08-21T14:05:00Z".into(),
        outcome: Outcome::Task(TaskItems { items: items.collect(), ..TaskItems::default() }),
    }
}

/// Not a test of its own: the body of the child processes below.
#[test]
fn child_process_commits_cells() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let limit = std::env::var(CHILD_CELLS).ok().and_then(|n| n.parse().ok()).unwrap_or(u32::MAX);
    let mut history = History::open(Path::new(&dir)).unwrap();
    let run = history.open_run("plan", "child", false).unwrap();
    println!("\nrun {}", run.id);
    for i in 0..limit {
        history.commit_cell(&run, &cell(i)).unwrap();
        println!("committed {i}");
    }
}

fn child(dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a running test has a path"));
    command.args(["--exact", "child_process_commits_cells", "--nocapture"]).env(CHILD_DIR, dir);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

#[test]
fn cells_committed_before_a_kill_are_intact_and_the_run_resumes() {
    for stop_after in [1, 7, 40] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = child(dir.path()).spawn().unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut run_id = String::new();
        let mut committed = 0;
        for line in lines {
            if let Some(id) = line.strip_prefix("run ") {
                run_id = id.to_owned();
            }
            committed += usize::from(line.starts_with("committed "));
            if committed == stop_after {
                break;
            }
        }
        {
            // While the writer lives its run is taken: a resume starts a new one instead.
            let mut history = History::open(dir.path()).unwrap();
            let other = history.open_run("plan", "other", true).unwrap();
            assert!(!other.resumed && other.id != run_id);
            history.remove(&run_id).expect_err("a run that goes on cannot be removed");
            let other_id = other.id.clone();
            drop(other);
            history.remove(&other_id).unwrap();
        }
        writer.kill().unwrap();
        writer.wait().unwrap();

        let mut history = History::open(dir.path()).unwrap();
        let run = history.open_run("plan", "again", true).unwrap();
        assert!(run.resumed, "the run of a killed process can be resumed");
        assert_eq!(run.id, run_id);
        let cells = history.finished_cells(&run.id).unwrap();
        assert!(cells.len() >= committed, "{} cells stored, {committed} were reported committed", cells.len());
        for (i, stored) in cells.iter().enumerate() {
            assert_eq!(*stored, cell(i as u32));
        }
    }
}

#[test]
fn three_processes_write_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..2).map(|_| child(dir.path()).env(CHILD_CELLS, "20").spawn().unwrap()).collect();
    let mut history = History::open(dir.path()).unwrap();
    let run = history.open_run("plan", "parent", false).unwrap();
    for i in 0..20 {
        history.commit_cell(&run, &cell(i)).unwrap();
    }
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let runs = history.list().unwrap();
    assert_eq!(runs.iter().map(|run| run.cells).collect::<Vec<_>>(), [20, 20, 20]);
}

#[test]
fn a_retried_cell_replaces_its_failure_and_moves_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    let run = history.open_run("plan", "retry", false).unwrap();
    let failed = Cell { outcome: Outcome::Failed { error: "out of memory".into() }, ..cell(0) };
    history.commit_cell(&run, &failed).unwrap();
    history.commit_cell(&run, &cell(1)).unwrap();
    assert_eq!(history.finished_cells(&run.id).unwrap(), [cell(1)]);
    assert_eq!(history.cells(&run.id).unwrap(), [failed, cell(1)]);
    assert_eq!((history.list().unwrap()[0].cells, history.list().unwrap()[0].failed), (2, 1));
    history.commit_cell(&run, &cell(0)).unwrap();
    assert_eq!(history.cells(&run.id).unwrap(), [cell(1), cell(0)]);
}

#[test]
fn runs_are_found_by_prefix_and_latest() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    assert!(matches!(history.resolve("latest"), Err(StoreError::NoRun)));
    let first = history.open_run("a", "first", false).unwrap();
    history.commit_cell(&first, &cell(0)).unwrap();
    assert!(matches!(history.resolve("latest"), Err(StoreError::NoRun)), "cells that nothing describes yet");
    history.save_header(&first, &example::raw()).unwrap();
    let second = history.open_run("b", "second, empty", false).unwrap();
    assert_eq!(history.resolve("latest").unwrap(), first.id, "a run without cells has nothing to report");
    assert_eq!(history.resolve(&second.id).unwrap(), second.id);
    assert!(matches!(history.resolve("20"), Err(StoreError::AmbiguousRun { count: 2, .. })));
    assert!(matches!(history.resolve("../../etc"), Err(StoreError::UnknownRun { .. })));
    assert!(matches!(history.resolve(""), Err(StoreError::UnknownRun { .. })));
}

#[test]
fn an_old_schema_is_migrated_and_keeps_its_cells() {
    let dir = tempfile::tempdir().unwrap();
    let old = rusqlite::Connection::open(dir.path().join("history.sqlite3")).unwrap();
    // The schema of version 1, as its first release wrote it.
    old.execute_batch(
        "CREATE TABLE run (id TEXT PRIMARY KEY, plan_hash TEXT NOT NULL, started_at TEXT NOT NULL, finished_at TEXT,
             title TEXT NOT NULL, header TEXT, record TEXT) STRICT;
         CREATE INDEX run_by_plan ON run (plan_hash, started_at);
         CREATE TABLE cell (run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE, cell_id TEXT NOT NULL,
             committed_at TEXT NOT NULL, failed INTEGER NOT NULL, body TEXT NOT NULL,
             PRIMARY KEY (run_id, cell_id)) STRICT;
         INSERT INTO run VALUES ('20260101-000000-abcdef', 'plan', '2026-01-01T00:00:00Z', NULL, 'old', NULL, NULL);
         PRAGMA user_version = 1;",
    )
    .unwrap();
    for i in [1, 0] {
        old.execute(
            "INSERT INTO cell VALUES ('20260101-000000-abcdef', ?1, '2026-01-01T00:00:00Z', 0, ?2)",
            rusqlite::params![cell(i).id().0, serde_json::to_string(&cell(i)).unwrap()],
        )
        .unwrap();
    }
    drop(old);
    let mut history = History::open(dir.path()).unwrap();
    let run = history.open_run("plan", "resumed", true).unwrap();
    assert!(run.resumed);
    assert_eq!(history.finished_cells(&run.id).unwrap(), [cell(1), cell(0)], "in the order they were written");
    // Nobody wrote down what its first part took: what all of it took stays unknown.
    history.commit_cell(&run, &cell(2)).unwrap();
    assert_eq!(run.elapsed(), None);
    drop(run);
    assert_eq!(history.open_run("plan", "again", true).unwrap().elapsed(), None);
}

#[test]
fn a_resumed_runs_time_is_the_sum_of_its_parts() {
    let dir = tempfile::tempdir().unwrap();
    let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
    let at_least = |seconds, run: &OpenRun| assert!(run.elapsed().unwrap() >= Duration::from_secs(seconds));
    let mut history = History::open(dir.path()).unwrap();
    // A part that was killed after it stored a cell.
    let first = history.open_run("plan", "t", false).unwrap().since(ago(1000));
    history.commit_cell(&first, &cell(0)).unwrap();
    drop(first);
    // One that was interrupted and stored what it had.
    let second = history.open_run("plan", "t", true).unwrap().since(ago(200));
    at_least(1200, &second);
    history.save_partial(&second, &example::record()).unwrap();
    drop(second);
    // One that was killed before it had anything, in another process.
    let mut history = History::open(dir.path()).unwrap();
    drop(history.open_run("plan", "t", true).unwrap().since(ago(5000)));
    let last = history.open_run("plan", "t", true).unwrap().since(ago(30));
    at_least(1230, &last);
    assert!(last.elapsed().unwrap() < Duration::from_secs(5000), "time of which nothing is left is not counted");
    // Another run has a time of its own.
    assert!(history.open_run("other", "t", true).unwrap().elapsed().unwrap() < Duration::from_secs(1000));
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.sqlite3");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    let before = std::fs::read(&path).unwrap();
    let message = History::open(dir.path()).unwrap_err().to_string();
    assert!(message.contains("version 1000") && message.contains("update tierbench"), "{message}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_gets_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("history.sqlite3"), vec![b'x'; 100_000]).unwrap();
    let message = History::open(dir.path()).unwrap_err().to_string();
    assert!(message.contains("damaged") && message.contains("TIERBENCH_DATA"), "{message}");
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn a_damaged_page_is_reported_and_does_not_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.sqlite3");
    let id = {
        let mut history = History::open(dir.path()).unwrap();
        let run = history.open_run("plan", "t", false).unwrap();
        for i in 0..40 {
            history.commit_cell(&run, &cell(i)).unwrap();
        }
        run.id.clone()
    };
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let error = History::open(dir.path()).and_then(|history| history.cells(&id).map(|_| ())).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn a_full_disk_is_one_clear_line_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    let run = history.open_run("plan", "full", false).unwrap();
    history.commit_cell(&run, &cell(0)).unwrap();
    history.limit_pages(200).unwrap();
    let error =
        (1..50).find_map(|i| history.commit_cell(&run, &cell(i)).err()).expect("200 pages do not hold 50 cells");
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    let stored = history.finished_cells(&run.id).unwrap();
    assert!(!stored.is_empty() && stored.iter().enumerate().all(|(i, stored)| *stored == cell(i as u32)));
}

/// A file of records as `export --all` writes it, of runs that differ in id and processor, and the hash of each.
fn many_records(dir: &Path, name: &str, runs: std::ops::Range<u32>) -> (PathBuf, BTreeMap<String, String>) {
    let mut raw = example::raw();
    let mut hashes = BTreeMap::new();
    let mut lines = String::new();
    for i in runs {
        raw.run.id = format!("20260821-{i:06}-3fa9c1");
        raw.host.cpu = Some(format!("Processor {i}"));
        let record = Record::from_raw(raw.clone()).unwrap();
        lines.push_str(&serde_json::to_string(&record).unwrap());
        lines.push('\n');
        hashes.insert(record.raw.run.id, record.content_sha256);
    }
    let path = dir.join(name);
    std::fs::write(&path, lines).unwrap();
    (path, hashes)
}

fn import(data: &Path, file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tierbench"));
    command.args(["history", "import"]).arg(file).env("TIERBENCH_DATA", data);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Every stored run is whole: its record is the one that was imported, and its cells are all there. Returns how many.
fn whole_runs(data: &Path, hashes: &BTreeMap<String, String>) -> usize {
    let history = History::open(data).unwrap();
    let runs = history.list().unwrap();
    for run in &runs {
        let record = history.record(&run.id).unwrap();
        assert_eq!(Some(&record.content_sha256), hashes.get(&run.id), "{}", run.id);
        assert_eq!(history.cells(&run.id).unwrap(), record.raw.cells, "{}", run.id);
    }
    runs.len()
}

#[test]
fn an_import_killed_at_any_moment_leaves_whole_records_and_can_be_repeated() {
    const RUNS: u32 = 24;
    let dir = tempfile::tempdir().unwrap();
    let (file, hashes) = many_records(dir.path(), "runs.jsonl", 0..RUNS);
    let whole = Instant::now();
    assert!(import(&dir.path().join("calm"), &file).output().unwrap().status.success());
    let whole = whole.elapsed();

    // One history is killed again and again at moments spread over the time an import takes; it only grows.
    let data = dir.path().join("killed");
    let mut random = tierbench::stats::bootstrap::SplitMix64::new(6);
    let mut stored = 0;
    for _ in 0..16 {
        let mut process = import(&data, &file).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(random.unit()).max(Duration::from_millis(1)));
        process.kill().unwrap();
        process.wait().unwrap();
        let now = whole_runs(&data, &hashes);
        assert!(now >= stored, "{stored} runs were stored, now {now}");
        stored = now;
    }
    let output = import(&data, &file).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!(" added, {stored} already there")), "{said}");
    assert_eq!(whole_runs(&data, &hashes), RUNS as usize);
}

#[test]
fn two_imports_at_once_store_every_record_once() {
    let dir = tempfile::tempdir().unwrap();
    let (first, mut hashes) = many_records(dir.path(), "first.jsonl", 0..16);
    let (second, more) = many_records(dir.path(), "second.jsonl", 8..24);
    hashes.extend(more);
    let data = dir.path().join("data");
    let processes = [&first, &second, &first].map(|file| import(&data, file).spawn().unwrap());
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(whole_runs(&data, &hashes), 24);
}

/// Imports in a shell that limits or mounts something first. Returns what was said, or `None` where the system does not
/// allow that.
#[cfg(target_os = "linux")]
fn import_in_shell(shell: &[&str], prepare: &str, data: &Path, file: &Path) -> Option<String> {
    let script = format!("{prepare} || {{ echo cannot prepare; exit 0; }}\nexec \"$BINARY\" history import \"$FILE\"");
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg(script).env("TIERBENCH_DATA", data).env("FILE", file);
    let output = command.env("BINARY", env!("CARGO_BIN_EXE_tierbench")).output().ok()?;
    let said = String::from_utf8(output.stderr).unwrap();
    if output.stdout.starts_with(b"cannot prepare") || said.starts_with("unshare:") {
        eprintln!("skipped: {prepare}: {said}");
        return None;
    }
    assert_eq!(output.status.code(), Some(1), "{said}");
    Some(said)
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_file_system_is_one_clear_line_and_keeps_what_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (file, hashes) = many_records(dir.path(), "runs.jsonl", 0..24);
    let (mount, kept) = (dir.path().join("mount"), dir.path().join("kept"));
    std::fs::create_dir(&mount).unwrap();
    // The file system ends with its name space: what is on it is copied out first.
    let prepare = format!(
        "mount -t tmpfs -o size=1m none '{0}' && \
         {{ \"$BINARY\" history import \"$FILE\"; code=$?; cp -r '{0}' '{1}'; exit $code; }}",
        mount.display(),
        kept.display(),
    );
    let Some(said) = import_in_shell(&["unshare", "-rm", "sh", "-c"], &prepare, &mount, &file) else { return };
    assert!(said.contains("no space left for history") && said.contains("TIERBENCH_DATA"), "{said}");
    assert_eq!(said.lines().filter(|line| line.contains("no space left")).count(), 1, "{said}");
    let stored = whole_runs(&kept, &hashes);
    assert!((1..24).contains(&stored), "{stored}");
    let output = import(&kept, &file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(whole_runs(&kept, &hashes), 24);
}

#[test]
#[cfg(target_os = "linux")]
fn a_limit_on_the_size_of_files_loses_nothing_that_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (file, hashes) = many_records(dir.path(), "runs.jsonl", 0..24);
    let data = dir.path().join("data");
    // Blocks of 512 bytes; with the signal ignored, a write fails instead of ending the process.
    let Some(said) = import_in_shell(&["sh", "-c"], "ulimit -f 1500 && trap '' XFSZ", &data, &file) else { return };
    assert!(said.contains(data.to_str().unwrap()), "{said}");
    let stored = whole_runs(&data, &hashes);
    assert!((1..24).contains(&stored), "{stored}");
    // With the signal the process dies at once, as it does by kill -9.
    let killed = Command::new("sh")
        .args(["-c", "ulimit -f 1500 && exec \"$BINARY\" history import \"$FILE\""])
        .env("TIERBENCH_DATA", &data)
        .env("FILE", &file)
        .env("BINARY", env!("CARGO_BIN_EXE_tierbench"))
        .output()
        .unwrap();
    assert!(!killed.status.success());
    assert!(whole_runs(&data, &hashes) >= stored);
    assert!(import(&data, &file).output().unwrap().status.success());
    assert_eq!(whole_runs(&data, &hashes), 24);
}
