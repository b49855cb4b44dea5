//! `report --site`: reads many records side by side, writes a page and a copy of each, then the index.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cli::{Ui, record};
use crate::error::{Error, ExitStatus, Result};
use crate::report::one_line;
use crate::report::site::{Index, LeftOut, Summary, assets, index_page, record_page};
use crate::store::StoreError;
use crate::store::file::{self, RecordFile, write_atomically};
use crate::store::history::History;
use crate::store::verify::verify;

/// Builds the site; files that are no records are named and left out, and the exit code says so.
pub(super) fn build(dir: &Path, specs: &[String], ui: &Ui) -> Result<ExitStatus> {
    let sources = sources(specs)?;
    if sources.is_empty() {
        return Err(Error::Usage("no record: name record files or a directory of them".into()));
    }
    for folder in ["records", "assets"] {
        let path = dir.join(folder);
        std::fs::create_dir_all(&path).map_err(|source| Error::Io { action: "create", path, source })?;
    }
    for (path, text) in assets() {
        write_atomically(&dir.join(path), text.as_bytes())?;
    }
    let (summaries, left_out) = add_all(&sources, dir, ui)?;
    for left in &left_out {
        ui.warn(format_args!("left out {}: {}", left.file, left.why));
    }
    for summary in &summaries {
        if let Some(why) = &summary.unranked {
            ui.warn(format_args!("run {} is listed but not ranked: {why}", summary.run));
        }
    }
    let status = if left_out.is_empty() { ExitStatus::Success } else { ExitStatus::CellsFailed };
    let index = Index::of(summaries, left_out);
    let json = serde_json::to_string(&index).map_err(crate::report::ReportError::from)?;
    write_atomically(&dir.join("index.json"), json.as_bytes())?;
    write_atomically(&dir.join("index.html"), index_page(&index)?.as_bytes())?;
    ui.note(format_args!("{} records in {}", index.records.len(), dir.join("index.html").display()));
    Ok(status)
}

/// Where a record comes from.
enum Source {
    File(PathBuf),
    Run(String),
}

impl Source {
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Run(id) => format!("run {id}"),
        }
    }

    fn read(&self) -> Result<RecordFile> {
        match self {
            Self::File(path) => Ok(file::read(path)?),
            Self::Run(id) => {
                let record = History::open_default()?.record(id)?;
                let value = serde_json::to_value(&record).map_err(StoreError::from)?;
                Ok(RecordFile { value, record })
            }
        }
    }
}

/// Files and runs in the order given, the files of a directory by name.
fn sources(specs: &[String]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for spec in specs {
        let path = Path::new(spec);
        if path.is_dir() {
            let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
            let entries: std::io::Result<Vec<PathBuf>> =
                std::fs::read_dir(path).map_err(failed)?.map(|entry| entry.map(|entry| entry.path())).collect();
            let mut files = entries.map_err(failed)?;
            files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
            files.sort();
            sources.extend(files.into_iter().map(Source::File));
        } else if record::is_file(spec) {
            sources.push(Source::File(path.to_owned()));
        } else {
            sources.push(Source::Run(History::open_default()?.resolve(spec)?));
        }
    }
    Ok(sources)
}

/// What became of one source.
enum Added {
    Record(Box<Summary>),
    LeftOut(String),
}

/// Adds every source with one thread a core. The outcome does not depend on which thread is first: of two submissions
/// with one run id the first in order stays.
fn add_all(sources: &[Source], dir: &Path, ui: &Ui) -> Result<(Vec<Summary>, Vec<LeftOut>)> {
    let bar = ui.progress(sources.len() as u64, false);
    let next = AtomicUsize::new(0);
    let read: Mutex<BTreeMap<usize, Added>> = Mutex::new(BTreeMap::new());
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(sources.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((place, source)) = claim(&next, sources) {
                    let added = match add(source, place, dir) {
                        Ok(added) => added,
                        Err(error) => {
                            next.store(sources.len(), Ordering::Relaxed);
                            lock(&failed).get_or_insert(error);
                            return;
                        }
                    };
                    lock(&read).insert(place, added);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    if let Some(error) = lock(&failed).take() {
        return Err(error);
    }
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let (mut summaries, mut left_out) = (Vec::new(), Vec::new());
    let added = std::mem::take(&mut *lock(&read));
    for (place, added) in added {
        let file = one_line(&sources[place].name());
        match added {
            Added::LeftOut(why) => left_out.push(LeftOut { file, why }),
            Added::Record(summary) => match seen.get(&summary.run) {
                None => {
                    publish(dir, place, &summary.run)?;
                    seen.insert(summary.run.clone(), summary.content_sha256.clone());
                    summaries.push(*summary);
                }
                Some(sha256) => {
                    discard(dir, place);
                    let same = *sha256 == summary.content_sha256;
                    let why = if same { "submitted twice" } else { "another record of this run id came first" };
                    left_out.push(LeftOut { file, why: format!("run {}: {why}", summary.run) });
                }
            },
        }
    }
    Ok((summaries, left_out))
}

fn claim<'a>(next: &AtomicUsize, sources: &'a [Source]) -> Option<(usize, &'a Source)> {
    let place = next.fetch_add(1, Ordering::Relaxed);
    sources.get(place).map(|source| (place, source))
}

/// A thread that panicked leaves its data as it was: nothing here is half written.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Reads, verifies and writes one record under its place; [`publish`] gives the files their names.
fn add(source: &Source, place: usize, dir: &Path) -> Result<Added> {
    let read = match source.read() {
        Ok(read) => read,
        Err(error) => return Ok(Added::LeftOut(one_line(&error.to_string()))),
    };
    let doubt = verify(&read)?.difference.map(|difference| one_line(&format!("does not verify: {difference}")));
    let summary = Summary::of(&read.record, doubt);
    let page = record_page(&read.record, summary.unranked.as_deref())?;
    // The copy holds everything the file held, fields this build does not know included.
    let json = serde_json::to_string(&read.value).map_err(StoreError::from)?;
    for (extension, text) in [("html", page), ("json", json)] {
        let path = staged(dir, place, extension);
        std::fs::write(&path, text).map_err(|source| Error::Io { action: "write", path, source })?;
    }
    Ok(Added::Record(Box::new(summary)))
}

fn staged(dir: &Path, place: usize, extension: &str) -> PathBuf {
    dir.join("records").join(format!(".{place}.{extension}.part"))
}

/// Renames a record's files to the name of its run.
fn publish(dir: &Path, place: usize, run: &str) -> Result<()> {
    for extension in ["html", "json"] {
        let path = dir.join("records").join(format!("{run}.{extension}"));
        let renamed = std::fs::rename(staged(dir, place, extension), &path);
        renamed.map_err(|source| Error::Io { action: "write", path, source })?;
    }
    Ok(())
}

fn discard(dir: &Path, place: usize) {
    for extension in ["html", "json"] {
        // What cannot be removed is a hidden file that nothing refers to.
        let _ = std::fs::remove_file(staged(dir, place, extension));
    }
}
