//! From what the user typed to a verified file.

use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

use super::cache::{Cache, Guard, Part, hash_file, with_suffix};
use super::catalogue::{Catalogue, FileEntry, Manifest};
use super::error::SourceFailure;
use super::gguf::Gguf;
use super::lockfile::{self, LockEntry};
use super::make;
use super::quantize::REQUANTIZED_FROM;
use super::source::{self, Failure, Request};
use super::{ModelError, ModelFile, Progress, SourceOptions};
use crate::plan::Level;

const MAGIC: &[u8; 4] = b"GGUF";

/// Finds, fetches or makes the file that `spec` names: a path, a catalogue name, or either with `:level`.
///
/// Without a level the manifest's first file is meant. A level that is not offered, or cannot be had, is made from the
/// most precise file that can. A file in the cache is used without asking any source.
///
/// # Errors
/// See [`ModelError`]: unknown name or level, no source answers, bytes that are not the recorded ones, a file that is
/// not GGUF, a cache that cannot be written, an interrupt.
pub fn resolve(spec: &str, options: &SourceOptions, progress: &mut dyn Progress) -> Result<ModelFile, ModelError> {
    if Path::new(spec).is_file() {
        return local_file(Path::new(spec), progress);
    }
    let (name, level) = split_level(spec)?;
    let path = Path::new(name);
    if let Some(level) = level.filter(|_| path.is_file()) {
        return make::from_file(&local_file(path, progress)?, level, options, progress);
    }
    if looks_like_a_path(name) {
        return Err(ModelError::io("read", path)(std::io::ErrorKind::NotFound.into()));
    }
    let catalogue = Catalogue::load(options)?;
    let manifest = catalogue.get(name)?;
    match (level, manifest.files.first()) {
        (Some(level), _) => make::at_level(manifest, level, options, progress),
        (None, Some(entry)) => fetch(manifest, entry, options, progress),
        // A manifest without a file is refused when it is read.
        (None, None) => Err(ModelError::AllSources { what: manifest.name.clone(), failures: Vec::new() }),
    }
}

/// `name:level` → (name, level). A colon before anything that is no level is part of an unknown name, unless what
/// precedes it could be a model.
fn split_level(spec: &str) -> Result<(&str, Option<Level>), ModelError> {
    match spec.rsplit_once(':') {
        None => Ok((spec, None)),
        Some((name, level)) => match level.parse() {
            Ok(level) => Ok((name, Some(level))),
            Err(source) => Err(ModelError::Level { spec: spec.to_owned(), source }),
        },
    }
}

fn looks_like_a_path(name: &str) -> bool {
    name.contains(['/', '\\']) || name.to_ascii_lowercase().ends_with(".gguf")
}

/// A file the user named by path: it must be GGUF, and is hashed because records name models by their hash.
fn local_file(path: &Path, progress: &mut dyn Progress) -> Result<ModelFile, ModelError> {
    let mut head = Vec::with_capacity(16);
    std::fs::File::open(path)
        .and_then(|file| file.take(16).read_to_end(&mut head))
        .map_err(ModelError::io("read", path))?;
    check_magic(&head, path)?;
    let gguf = Gguf::open(path)?;
    let (level, requantized_from) = (gguf.level(), gguf.str(REQUANTIZED_FROM).map(str::to_owned));
    drop(gguf);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (sha256, bytes) = hash_file(path, &format!("checking {stem}"), progress)?;
    Ok(ModelFile {
        level: level.or_else(|| level_in_name(&stem)).map(|level| level.name().to_owned()),
        name: stem,
        path: path.to_owned(),
        sha256,
        bytes,
        requantized_from,
        licence: None,
        source: format!("file {}", path.display()),
    })
}

fn check_magic(head: &[u8], path: &Path) -> Result<(), ModelError> {
    if head.starts_with(MAGIC) {
        return Ok(());
    }
    let begins =
        if head.is_empty() { "nothing: it is empty".to_owned() } else { format!("\"{}\"", head.escape_ascii()) };
    Err(ModelError::NotGguf { path: path.to_owned(), begins })
}

/// The level a file name ends with or contains as a word, e.g. `SmolLM2-135M-Instruct.Q4_1` → q4_1.
fn level_in_name(stem: &str) -> Option<Level> {
    let words: Vec<String> = stem.split(['-', '.']).map(str::to_ascii_lowercase).collect();
    words.iter().rev().find_map(|word| word.parse().ok())
}

/// The cached file of a manifest's entry, fetched from its sources if it is not there.
///
/// # Errors
/// See [`resolve`].
pub fn fetch(
    manifest: &Manifest,
    entry: &FileEntry,
    options: &SourceOptions,
    progress: &mut dyn Progress,
) -> Result<ModelFile, ModelError> {
    let cache = Cache::new(&options.cache_dir);
    let slot = Slot::new(&cache, manifest, entry);
    if let Some(found) = slot.cached(progress)? {
        return Ok(found);
    }
    let path = slot.cache.path(&slot.file);
    let dir = path.parent().unwrap_or(cache.root());
    cache.create_dir(dir)?;
    let _guard = Guard::wait_politely(&with_suffix(&path, ".guard"), &slot.what(), progress)?;
    // Another process may have fetched it while this one waited.
    if let Some(found) = slot.cached(progress)? {
        return Ok(found);
    }
    slot.fetch(options, progress)
}

/// The cached file of a manifest's entry, if it is there.
pub(super) fn cached(
    manifest: &Manifest,
    entry: &FileEntry,
    options: &SourceOptions,
    progress: &mut dyn Progress,
) -> Result<Option<ModelFile>, ModelError> {
    Slot::new(&Cache::new(&options.cache_dir), manifest, entry).cached(progress)
}

/// The place of one file in the cache.
struct Slot<'a> {
    cache: &'a Cache,
    manifest: &'a Manifest,
    entry: &'a FileEntry,
    /// Key in the lock file.
    file: String,
}

impl<'a> Slot<'a> {
    fn new(cache: &'a Cache, manifest: &'a Manifest, entry: &'a FileEntry) -> Self {
        Self { cache, manifest, entry, file: format!("models/{}/{}", manifest.name, entry.file) }
    }

    fn what(&self) -> String {
        format!("{}:{}", self.manifest.name, self.entry.level)
    }

    /// The file, if it is in the cache and is what it should be. Unchanged size and modification time stand for the
    /// hash computed when they were recorded.
    fn cached(&self, progress: &mut dyn Progress) -> Result<Option<ModelFile>, ModelError> {
        let path = self.cache.path(&self.file);
        let Ok(meta) = std::fs::metadata(&path) else { return Ok(None) };
        let known = lockfile::find(self.cache, &self.file)?;
        let expected = self.expected(known.as_ref());
        let mtime_ns = meta.modified().map_or(0, lockfile::unix_ns);
        if let Some(known) = &known
            && known.bytes == meta.len()
            && known.mtime_ns == mtime_ns
            && expected.as_ref().is_none_or(|(hash, _)| *hash == known.sha256)
        {
            return Ok(Some(self.found(known)));
        }
        let (sha256, bytes) = hash_file(&path, &format!("checking {}", self.what()), progress)?;
        if let Some((expected, recorded_in)) = expected
            && expected != sha256
        {
            return Err(ModelError::HashMismatch {
                what: path.display().to_string(),
                recorded_in,
                expected,
                got: sha256,
                fix: "the file was changed; remove it to have it fetched again".to_owned(),
            });
        }
        let entry = LockEntry {
            model: self.manifest.name.clone(),
            file: self.file.clone(),
            sha256,
            bytes,
            source: known.as_ref().map_or_else(|| "found in the cache".to_owned(), |known| known.source.clone()),
            date: known.map_or_else(|| lockfile::rfc3339(SystemTime::now()), |known| known.date),
            mtime_ns,
            made_from: None,
        };
        lockfile::record(self.cache, entry.clone())?;
        Ok(Some(self.found(&entry)))
    }

    /// The hash the file must have and where that is written: the manifest knows best, the lock file remembers.
    fn expected(&self, known: Option<&LockEntry>) -> Option<(String, String)> {
        let manifest = self.entry.sha256.clone().map(|hash| (hash, self.manifest.origin.display().to_string()));
        manifest.or_else(|| known.map(|known| (known.sha256.clone(), "models.lock.toml".to_owned())))
    }

    fn fetch(&self, options: &SourceOptions, progress: &mut dyn Progress) -> Result<ModelFile, ModelError> {
        let path = self.cache.path(&self.file);
        let known = lockfile::find(self.cache, &self.file)?;
        let expected = self.expected(known.as_ref());
        let what = self.what();
        let request = Request {
            what: &what,
            destination: &path,
            manifest: &self.manifest.origin,
            bytes: self.entry.bytes,
            sha256: expected.as_ref().map(|(hash, _)| hash.as_str()),
            offline: options.offline,
        };
        let mut failures = Vec::new();
        for source in &self.entry.sources {
            let outcome = source::fetch(source, &request, progress)
                .and_then(|fetched| verified(fetched.part, expected.as_ref()).map(|part| (part, fetched.source)));
            match outcome {
                Ok((part, source)) => return self.keep(part, source),
                Err(Failure::Source(reason)) => failures.push(SourceFailure { source: source.to_string(), reason }),
                Err(Failure::Fatal(error)) => return Err(error),
            }
        }
        Err(ModelError::AllSources { what, failures })
    }

    /// Publishes a verified file and records it.
    fn keep(&self, part: Part, source: String) -> Result<ModelFile, ModelError> {
        let path = self.cache.path(&self.file);
        let (sha256, bytes) = (part.sha256(), part.len());
        part.publish(&path)?;
        let meta = std::fs::metadata(&path).map_err(ModelError::io("read", &path))?;
        let now = SystemTime::now();
        let entry = LockEntry {
            model: self.manifest.name.clone(),
            file: self.file.clone(),
            sha256,
            bytes,
            source,
            date: lockfile::rfc3339(now),
            mtime_ns: meta.modified().map_or(0, lockfile::unix_ns),
            made_from: None,
        };
        lockfile::record(self.cache, entry.clone())?;
        Ok(self.found(&entry))
    }

    fn found(&self, entry: &LockEntry) -> ModelFile {
        ModelFile {
            name: self.manifest.name.clone(),
            path: self.cache.path(&self.file),
            sha256: entry.sha256.clone(),
            bytes: entry.bytes,
            level: Some(self.entry.level.name().to_owned()),
            requantized_from: None,
            licence: Some(self.manifest.licence.name.clone()),
            source: entry.source.clone(),
        }
    }
}

/// Lets only the right bytes through; wrong ones are removed, so that nothing can take them for right later.
fn verified(mut part: Part, expected: Option<&(String, String)>) -> Result<Part, Failure> {
    let got = part.sha256();
    if let Some((expected, recorded_in)) = expected
        && *expected != got
    {
        part.discard();
        return Err(Failure::Source(format!("sha256 is {got}, {recorded_in} says {expected}")));
    }
    let head = part.head(16)?;
    if let Err(error) = check_magic(&head, part.path()) {
        part.discard();
        return Err(Failure::Source(match error {
            ModelError::NotGguf { begins, .. } => format!("not a GGUF file: it begins with {begins}"),
            other => other.to_string(),
        }));
    }
    Ok(part)
}

/// What a full check of a cached file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The bytes are the recorded ones.
    Good,
    /// The file is gone; the next use fetches it again.
    Missing,
    /// The bytes have another hash than recorded.
    Changed {
        /// What they hash to now.
        sha256: String,
    },
}

/// Hashes a cached file and compares it with its entry in the lock file.
///
/// # Errors
/// A file that cannot be read; an interrupt.
pub fn check(entry: &LockEntry, cache: &Cache, progress: &mut dyn Progress) -> Result<Health, ModelError> {
    let path = cache.path(&entry.file);
    if !path.exists() {
        return Ok(Health::Missing);
    }
    let (sha256, _) = hash_file(&path, &format!("checking {}", entry.file), progress)?;
    Ok(if sha256 == entry.sha256 { Health::Good } else { Health::Changed { sha256 } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Silent;
    use crate::model::gguf::Writer;

    #[test]
    fn a_level_is_split_off_only_if_it_is_one() {
        assert_eq!(split_level("a-1.5b:Q4_K_M").unwrap(), ("a-1.5b", Some(Level::Q4KM)));
        assert_eq!(split_level("a-1.5b").unwrap(), ("a-1.5b", None));
        assert!(split_level("a:q9").unwrap_err().to_string().contains("unknown level `q9`"));
    }

    #[test]
    fn the_level_is_read_from_common_file_names() {
        assert_eq!(level_in_name("SmolLM2-135M-Instruct.Q4_1"), Some(Level::Q4_1));
        assert_eq!(level_in_name("gemma-3-270m-q4_k_m"), Some(Level::Q4KM));
        assert_eq!(level_in_name("Llama-3.2-1B-Instruct-f16"), Some(Level::F16));
        assert_eq!(level_in_name("model"), None);
    }

    #[test]
    fn a_path_must_be_a_gguf_file() {
        let dir = tempfile::tempdir().unwrap();
        let options = SourceOptions { offline: true, cache_dir: dir.path().join("cache"), catalogue_dirs: Vec::new() };
        let path = dir.path().join("x.q8_0.gguf");
        let good = Writer::new().to_bytes(&[]).unwrap();
        std::fs::write(&path, &good).unwrap();
        let file = resolve(path.to_str().unwrap(), &options, &mut Silent).unwrap();
        assert_eq!((file.name.as_str(), file.level.as_deref()), ("x.q8_0", Some("q8_0")));
        assert_eq!(file.bytes, good.len() as u64);
        for (bytes, says) in [(&b"<html>"[..], "<html>"), (b"", "empty"), (&good[..good.len() - 9], "x.q8_0.gguf")] {
            std::fs::write(&path, bytes).unwrap();
            let message = resolve(path.to_str().unwrap(), &options, &mut Silent).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
        let missing = resolve("no/such.gguf", &options, &mut Silent).unwrap_err().to_string();
        assert!(missing.contains("no/such.gguf"), "{missing}");
    }

    #[test]
    fn an_unknown_name_suggests_near_ones() {
        let dir = tempfile::tempdir().unwrap();
        let options = SourceOptions { offline: true, cache_dir: dir.path().to_owned(), catalogue_dirs: Vec::new() };
        let message = |spec| resolve(spec, &options, &mut Silent).unwrap_err().to_string();
        assert!(
            message("smollm2-135m-instuct").contains("`smollm2-135m-instruct`"),
            "{}",
            message("smollm2-135m-instuct")
        );
        assert!(message("qwen3").contains("`qwen3-0.6b`"));
        assert!(message("zzzzzzzzzzzzzzzz").contains("tierbench models list"));
    }
}
