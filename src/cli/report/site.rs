//! `report --site`: reads many records side by side, writes a page and a copy of each, then the index.
//!
//! What a file gave is kept in the site: a site that is built again recomputes only files that are not, byte by byte, the
//! copies it has of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::cli::Ui;
use crate::cli::record::{self, Place};
use crate::error::{Error, ExitStatus, Result};
use crate::report::site::{Index, LeftOut, Summary, assets, index_page, record_page};
use crate::report::{counted, one_line};
use crate::store::file::{self, write_atomically};
use crate::store::record::BuildFacts;
use crate::store::validate::is_run_id;
use crate::store::verify::verify;

const INDEX: &str = "index.json";
const CACHE: &str = "cache.json";

/// Largest signature that is copied, bytes; minisign's have about 300.
const MAX_SIGNATURE: usize = 4096;

/// Builds the site; files that are no records are named and left out, and the exit code says so. Without any record the
/// site stays as it was.
pub(super) fn build(dir: &Path, specs: &[String], ui: &Ui) -> Result<ExitStatus> {
    let sources = sources(specs, dir)?;
    if sources.is_empty() {
        return Err(Error::Usage("no record: name record files or a directory of them".into()));
    }
    for folder in ["records", "assets"] {
        let path = dir.join(folder);
        std::fs::create_dir_all(&path).map_err(|source| Error::Io { action: "create", path, source })?;
    }
    let before = Cache::read(dir);
    let (published, left_out) = add_all(&sources, dir, &before, ui)?;
    for left in &left_out {
        ui.warn(format_args!("left out {}: {}", left.file, left.why));
    }
    if published.is_empty() {
        let why = format!("none of the records can be read: the site in {} is as it was", dir.display());
        return Err(Error::Usage(why));
    }
    before.remove_all_but(&published, dir);
    Cache::write(dir, &published)?;
    for (path, text) in assets() {
        write_atomically(&dir.join(path), text.as_bytes())?;
    }
    let summaries: Vec<Summary> = published.into_iter().map(|(_, summary)| summary).collect();
    for summary in &summaries {
        if let Some(why) = &summary.unranked {
            ui.warn(format_args!("run {} is listed but not ranked: {why}", summary.run));
        }
    }
    let status = if left_out.is_empty() { ExitStatus::Success } else { ExitStatus::CellsFailed };
    let index = Index::of(summaries, left_out);
    let json = serde_json::to_string(&index).map_err(crate::report::ReportError::from)?;
    write_atomically(&dir.join(INDEX), json.as_bytes())?;
    write_atomically(&dir.join("index.html"), index_page(&index)?.as_bytes())?;
    let records = counted(index.records.len() as u64, "record");
    ui.note(format_args!("{records} in {}", dir.join("index.html").display()));
    Ok(status)
}

/// Files and runs in the order given, the files of a directory by name. What a site writes into its own directory is no
/// record.
fn sources(specs: &[String], site: &Path) -> Result<Vec<Place>> {
    let mut sources = Vec::new();
    for spec in specs {
        let path = Path::new(spec);
        if !path.is_dir() {
            sources.push(record::locate(spec)?);
            continue;
        }
        let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
        let entries: std::io::Result<Vec<PathBuf>> =
            std::fs::read_dir(path).map_err(failed)?.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut files = entries.map_err(failed)?;
        let is_site = matches!((path.canonicalize(), site.canonicalize()), (Ok(path), Ok(site)) if path == site);
        let own = |file: &Path| is_site && [INDEX, CACHE].iter().any(|own| file.ends_with(own));
        files.retain(|file| file.extension().is_some_and(|extension| extension == "json") && !own(file));
        files.sort();
        sources.extend(files.into_iter().map(Place::File));
    }
    Ok(sources)
}

/// What is on the site, each with the name of its source.
type Published = Vec<(String, Summary)>;

/// What earlier builds of the site found, by the name of the source. Another build of this program starts anew: it may
/// derive other numbers.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cache {
    build: String,
    files: BTreeMap<String, Summary>,
}

impl Cache {
    fn build() -> String {
        let build = BuildFacts::current();
        format!("{} {}", build.version, build.revision.unwrap_or_default())
    }

    /// A cache that is absent or damaged is empty.
    fn read(dir: &Path) -> Self {
        let text = std::fs::read(dir.join(CACHE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Removes the pages and copies that earlier builds made of records that are not on the site any more.
    fn remove_all_but(&self, published: &Published, dir: &Path) {
        let kept: BTreeSet<&str> = published.iter().map(|(_, summary)| summary.run.as_str()).collect();
        for old in self.files.values().filter(|old| is_run_id(&old.run) && !kept.contains(old.run.as_str())) {
            for extension in ["html", "json", "json.minisig"] {
                // What cannot be removed stays where nothing links it.
                let _ = std::fs::remove_file(page_of(dir, &old.run, extension));
            }
        }
    }

    fn write(dir: &Path, published: &Published) -> Result<()> {
        let cache = Self { build: Self::build(), files: published.iter().cloned().collect() };
        let text = serde_json::to_vec(&cache).map_err(crate::report::ReportError::from)?;
        Ok(write_atomically(&dir.join(CACHE), &text)?)
    }

    /// What these bytes gave this build of the program, if their page and their copy are still there.
    fn find(&self, name: &str, bytes: &[u8], dir: &Path) -> Option<Summary> {
        let summary = self.files.get(name).filter(|_| self.build == Self::build())?;
        let is_known = is_run_id(&summary.run)
            && page_of(dir, &summary.run, "html").is_file()
            && file::read_bytes(&page_of(dir, &summary.run, "json")).is_ok_and(|copy| copy == bytes);
        is_known.then(|| summary.clone())
    }
}

/// What became of one source.
enum Added {
    /// Its files are written and wait for their names.
    New(Box<Summary>),
    /// Its files were there.
    Known(Box<Summary>),
    LeftOut(String),
}

/// Adds every source with one thread a core. The outcome does not depend on which thread is first. Returns
/// what is on the site, and what is not.
fn add_all(sources: &[Place], dir: &Path, cache: &Cache, ui: &Ui) -> Result<(Published, Vec<LeftOut>)> {
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

/// A record that can be on the site.
struct Submission {
    place: usize,
    summary: Summary,
    is_new: bool,
}

/// Of the submissions of one run the first that verifies stays, else the first; its files get their names and those of
/// the others are dropped.
fn settle(sources: &[Place], added: BTreeMap<usize, Added>, dir: &Path) -> Result<(Published, Vec<LeftOut>)> {
    let mut by_run: BTreeMap<String, Vec<Submission>> = BTreeMap::new();
    let mut left_out: BTreeMap<usize, String> = BTreeMap::new();
    for (place, added) in added {
        let (summary, is_new) = match added {
            Added::New(summary) => (*summary, true),
            Added::Known(summary) => (*summary, false),
            Added::LeftOut(why) => {
                left_out.insert(place, why);
                continue;
            }
        };
        by_run.entry(summary.run.clone()).or_default().push(Submission { place, summary, is_new });
    }
    let mut kept = Vec::new();
    for (run, mut submissions) in by_run {
        let best = submissions.iter().position(|submission| submission.summary.verified).unwrap_or_default();
        let mut best = submissions.remove(best);
        for other in submissions {
            if other.is_new {
                discard(dir, other.place);
            }
            let why = match (&other.summary.unranked, best.summary.content_sha256 == other.summary.content_sha256) {
                (Some(why), _) if !other.summary.verified => why.clone(),
                (_, true) => "submitted twice".to_owned(),
                (_, false) => "another record of this run id came first".to_owned(),
            };
            left_out.insert(other.place, format!("run {run}: {why}"));
        }
        if best.is_new {
            publish(dir, best.place, &run)?;
        }
        best.summary.signature = publish_signature(&sources[best.place], dir, &run)?;
        kept.push((sources[best.place].name(), best.summary));
    }
    let left_out = left_out.into_iter();
    let named = left_out.map(|(place, why)| LeftOut { file: one_line(&sources[place].name()), why });
    Ok((kept, named.collect()))
}

/// Copies the signature that lies beside a record's file, whoever made it; returns its name on the site.
fn publish_signature(source: &Place, dir: &Path, run: &str) -> Result<Option<String>> {
    let Place::File(path) = source else { return Ok(None) };
    let mut beside = path.clone().into_os_string();
    beside.push(".minisig");
    let to = page_of(dir, run, "json.minisig");
    match std::fs::read(&beside) {
        Ok(signature) if signature.len() <= MAX_SIGNATURE => {
            write_atomically(&to, &signature)?;
            Ok(Some(format!("{run}.json.minisig")))
        }
        _ => {
            // One of an earlier build would sign another file.
            let _ = std::fs::remove_file(to);
            Ok(None)
        }
    }
}

fn claim<'a>(next: &AtomicUsize, sources: &'a [Place]) -> Option<(usize, &'a Place)> {
    let place = next.fetch_add(1, Ordering::Relaxed);
    sources.get(place).map(|source| (place, source))
}

/// A thread that panicked leaves its data as it was: nothing here is half written.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Reads, verifies and writes one record under its place; [`publish`] gives the files their names.
fn add(source: &Place, place: usize, dir: &Path, cache: &Cache) -> Result<Added> {
    let left_out = |error: Error| Ok(Added::LeftOut(one_line(&error.to_string())));
    let (bytes, path) = match source.read() {
        Ok(read) => read,
        Err(error) => return left_out(error),
    };
    if let Some(summary) = cache.find(&source.name(), &bytes, dir) {
        return Ok(Added::Known(Box::new(summary)));
    }
    let file = match file::parse(&bytes, &path) {
        Ok(file) => file,
        Err(error) => return left_out(error.into()),
    };
    let difference = verify(&file)?.difference.map(|difference| one_line(&format!("does not verify: {difference}")));
    let summary = Summary::of(&file.record, difference);
    let page = record_page(&file.record, summary.unranked.as_deref())?;
    // The copy holds the very bytes that were submitted, so that a signature of them stays valid.
    for (extension, content) in [("html", page.into_bytes()), ("json", bytes)] {
        let path = staged(dir, place, extension);
        std::fs::write(&path, content).map_err(|source| Error::Io { action: "write", path, source })?;
    }
    Ok(Added::New(Box::new(summary)))
}

fn page_of(dir: &Path, run: &str, extension: &str) -> PathBuf {
    dir.join("records").join(format!("{run}.{extension}"))
}

fn staged(dir: &Path, place: usize, extension: &str) -> PathBuf {
    dir.join("records").join(format!(".{place}.{extension}.part"))
}

/// Renames a record's files to the name of its run.
fn publish(dir: &Path, place: usize, run: &str) -> Result<()> {
    for extension in ["html", "json"] {
        let path = page_of(dir, run, extension);
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
