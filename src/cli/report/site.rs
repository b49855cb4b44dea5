//! `report --site`: reads many records side by side, writes a page and a copy of each, then the index.
//!
//! What a file gave is kept in the site, by the file's hash: a site that is built again recomputes only what is new.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::cli::{Ui, record};
use crate::error::{Error, ExitStatus, Result};
use crate::report::one_line;
use crate::report::site::{Index, LeftOut, Summary, assets, index_page, record_page};
use crate::store::StoreError;
use crate::store::canonical::sha256_hex;
use crate::store::file::{self, write_atomically};
use crate::store::history::History;
use crate::store::record::BuildFacts;
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
    let cache = Cache::read(dir);
    let (published, left_out) = add_all(&sources, dir, &cache, ui)?;
    Cache::write(dir, &published)?;
    let summaries: Vec<Summary> = published.into_values().collect();
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

    /// The record's bytes, and what errors call them.
    fn read(&self) -> Result<(Vec<u8>, PathBuf)> {
        match self {
            Self::File(path) => Ok((file::read_bytes(path)?, path.clone())),
            Self::Run(id) => {
                let record = History::open_default()?.record(id)?;
                Ok((serde_json::to_vec(&record).map_err(StoreError::from)?, PathBuf::from(id)))
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

/// What earlier builds of the site found, by the hash of the file. Another build of this program starts anew: it may
/// derive other numbers.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cache {
    build: String,
    files: BTreeMap<String, Summary>,
}

impl Cache {
    fn path(dir: &Path) -> PathBuf {
        dir.join("cache.json")
    }

    fn build() -> String {
        let build = BuildFacts::current();
        format!("{} {}", build.version, build.revision.unwrap_or_default())
    }

    /// A cache that is absent, damaged or another build's is empty.
    fn read(dir: &Path) -> Self {
        let text = std::fs::read(Self::path(dir)).unwrap_or_default();
        let cache: Self = serde_json::from_slice(&text).unwrap_or_default();
        if cache.build == Self::build() { cache } else { Self::default() }
    }

    fn write(dir: &Path, files: &BTreeMap<String, Summary>) -> Result<()> {
        let cache = Self { build: Self::build(), files: files.clone() };
        let text = serde_json::to_vec(&cache).map_err(crate::report::ReportError::from)?;
        Ok(write_atomically(&Self::path(dir), &text)?)
    }

    /// What the file of this hash gave, if its page and copy are still there.
    fn find(&self, sha256: &str, dir: &Path) -> Option<Summary> {
        let summary = self.files.get(sha256)?;
        let is_there = |extension| published(dir, &summary.run, extension).is_file();
        (is_there("html") && is_there("json")).then(|| summary.clone())
    }
}

/// What became of one source.
enum Added {
    /// Its files are written and wait for their names.
    New {
        sha256: String,
        summary: Box<Summary>,
    },
    /// Its files were there.
    Known {
        sha256: String,
        summary: Box<Summary>,
    },
    LeftOut(String),
}

/// Adds every source with one thread a core. The outcome does not depend on which thread is first: of two submissions
/// with one run id the first in order stays. Returns what is on the site by the hash of its file, and what is not.
fn add_all(
    sources: &[Source],
    dir: &Path,
    cache: &Cache,
    ui: &Ui,
) -> Result<(BTreeMap<String, Summary>, Vec<LeftOut>)> {
    let bar = ui.progress(sources.len() as u64, false);
    let next = AtomicUsize::new(0);
    let added: Mutex<BTreeMap<usize, Added>> = Mutex::new(BTreeMap::new());
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(sources.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((place, source)) = claim(&next, sources) {
                    match add(source, place, dir, cache) {
                        Ok(one) => lock(&added).insert(place, one),
                        Err(error) => {
                            next.store(sources.len(), Ordering::Relaxed);
                            lock(&failed).get_or_insert(error);
                            return;
                        }
                    };
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    if let Some(error) = lock(&failed).take() {
        return Err(error);
    }
    let added = std::mem::take(&mut *lock(&added));
    settle(sources, added, dir)
}

/// Gives the files of every first submission their names and drops the others.
fn settle(
    sources: &[Source],
    added: BTreeMap<usize, Added>,
    dir: &Path,
) -> Result<(BTreeMap<String, Summary>, Vec<LeftOut>)> {
    let mut contents: BTreeMap<String, String> = BTreeMap::new();
    let (mut kept, mut left_out) = (BTreeMap::new(), Vec::new());
    for (place, added) in added {
        let (sha256, summary, is_new) = match added {
            Added::New { sha256, summary } => (sha256, summary, true),
            Added::Known { sha256, summary } => (sha256, summary, false),
            Added::LeftOut(why) => {
                left_out.push(LeftOut { file: one_line(&sources[place].name()), why });
                continue;
            }
        };
        if let Some(first) = contents.get(&summary.run) {
            if is_new {
                discard(dir, place);
            }
            let same = *first == summary.content_sha256;
            let why = if same { "submitted twice" } else { "another record of this run id came first" };
            let file = one_line(&sources[place].name());
            left_out.push(LeftOut { file, why: format!("run {}: {why}", summary.run) });
            continue;
        }
        if is_new {
            publish(dir, place, &summary.run)?;
        }
        contents.insert(summary.run.clone(), summary.content_sha256.clone());
        kept.insert(sha256, *summary);
    }
    Ok((kept, left_out))
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
fn add(source: &Source, place: usize, dir: &Path, cache: &Cache) -> Result<Added> {
    let left_out = |error: Error| Ok(Added::LeftOut(one_line(&error.to_string())));
    let (bytes, path) = match source.read() {
        Ok(read) => read,
        Err(error) => return left_out(error),
    };
    let sha256 = sha256_hex(&bytes);
    if let Some(summary) = cache.find(&sha256, dir) {
        return Ok(Added::Known { sha256, summary: Box::new(summary) });
    }
    let file = match file::parse(&bytes, &path) {
        Ok(file) => file,
        Err(error) => return left_out(error.into()),
    };
    let doubt = verify(&file)?.difference.map(|difference| one_line(&format!("does not verify: {difference}")));
    let summary = Summary::of(&file.record, doubt);
    let page = record_page(&file.record, summary.unranked.as_deref())?;
    // The copy holds the very bytes that were submitted, so that a signature of them stays valid.
    for (extension, content) in [("html", page.into_bytes()), ("json", bytes)] {
        let path = staged(dir, place, extension);
        std::fs::write(&path, content).map_err(|source| Error::Io { action: "write", path, source })?;
    }
    Ok(Added::New { sha256, summary: Box::new(summary) })
}

fn published(dir: &Path, run: &str, extension: &str) -> PathBuf {
    dir.join("records").join(format!("{run}.{extension}"))
}

fn staged(dir: &Path, place: usize, extension: &str) -> PathBuf {
    dir.join("records").join(format!(".{place}.{extension}.part"))
}

/// Renames a record's files to the name of its run.
fn publish(dir: &Path, place: usize, run: &str) -> Result<()> {
    for extension in ["html", "json"] {
        let path = published(dir, run, extension);
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
