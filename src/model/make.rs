//! Levels a model is not offered at are made here, from the most precise file that can be had.

use std::path::Path;
use std::time::SystemTime;

use super::cache::{Cache, Guard, publish, with_suffix};
use super::catalogue::Manifest;
use super::error::SourceFailure;
use super::lockfile::{self, LockEntry};
use super::quantize::{self, QuantizeError};
use super::resolve::{cached, fetch};
use super::{ModelError, ModelFile, Progress, SourceOptions, hash_file};
use crate::plan::Level;

/// A manifest's model at `level`: offered and cached; else made and cached; else fetched; else made from the most
/// precise file that can be had. What is in the cache comes first, so that a tier keeps its bytes between runs.
pub(super) fn at_level(
    manifest: &Manifest,
    level: Level,
    options: &SourceOptions,
    progress: &mut dyn Progress,
) -> Result<ModelFile, ModelError> {
    let offered = manifest.file_at(level);
    if let Some(entry) = offered
        && let Some(found) = cached(manifest, entry, options, progress)?
    {
        return Ok(found);
    }
    let cache = Cache::new(&options.cache_dir);
    for entry in manifest.by_precision() {
        if let Some(source) = cached(manifest, entry, options, progress)?
            && let Some(made) = Product::new(&cache, &source, level).cached(progress)?
        {
            return Ok(made);
        }
    }
    let mut failures: Vec<SourceFailure> = Vec::new();
    let mut attempt = |outcome: Result<ModelFile, ModelError>| match outcome {
        Ok(file) => Ok(Some(file)),
        Err(ModelError::AllSources { failures: more, .. }) => {
            failures.extend(more);
            Ok(None)
        }
        Err(other) => Err(other),
    };
    if let Some(entry) = offered
        && let Some(file) = attempt(fetch(manifest, entry, options, progress))?
    {
        return Ok(file);
    }
    for entry in manifest.by_precision().into_iter().filter(|entry| entry.level != level) {
        if let Some(source) = attempt(fetch(manifest, entry, options, progress))? {
            return from_file(&source, level, options, progress);
        }
    }
    Err(ModelError::AllSources { what: format!("{}:{level}", manifest.name), failures })
}

/// `source` at another level, from the cache or made now.
pub(super) fn from_file(
    source: &ModelFile,
    level: Level,
    options: &SourceOptions,
    progress: &mut dyn Progress,
) -> Result<ModelFile, ModelError> {
    if source.level.as_deref() == Some(level.name()) {
        return Ok(source.clone());
    }
    let cache = Cache::new(&options.cache_dir);
    let product = Product::new(&cache, source, level);
    if let Some(made) = product.cached(progress)? {
        return Ok(made);
    }
    let path = cache.path(&product.file);
    cache.create_dir(path.parent().unwrap_or(cache.root()))?;
    let _guard = Guard::wait_politely(&with_suffix(&path, ".guard"), &product.what(), progress)?;
    if let Some(made) = product.cached(progress)? {
        return Ok(made);
    }
    product.make(&path, progress)
}

/// Progress under the name a user knows, instead of that of a file in the cache.
struct Named<'a> {
    name: String,
    progress: &'a mut dyn Progress,
}

impl Progress for Named<'_> {
    fn start(&mut self, _what: &str, total: Option<u64>) {
        self.progress.start(&self.name, total);
    }
    fn advance(&mut self, bytes: u64) {
        self.progress.advance(bytes);
    }
    fn finish(&mut self) {
        self.progress.finish();
    }
    fn cancelled(&self) -> bool {
        self.progress.cancelled()
    }
}

/// The place of a made file in the cache: what it is made from, at which level, by which quantizer.
struct Product<'a> {
    cache: &'a Cache,
    source: &'a ModelFile,
    level: Level,
    /// Key in the lock file.
    file: String,
}

impl<'a> Product<'a> {
    fn new(cache: &'a Cache, source: &'a ModelFile, level: Level) -> Self {
        let hash = source.sha256.get(..16).unwrap_or(&source.sha256);
        let file = format!("made/{hash}-{level}-v{}.gguf", quantize::VERSION);
        Self { cache, source, level, file }
    }

    fn what(&self) -> String {
        format!("{}:{}", self.source.name, self.level)
    }

    /// The made file, if it is there and is what was made. A damaged one is made again.
    fn cached(&self, progress: &mut dyn Progress) -> Result<Option<ModelFile>, ModelError> {
        let path = self.cache.path(&self.file);
        let Ok(meta) = std::fs::metadata(&path) else { return Ok(None) };
        let Some(known) = lockfile::find(self.cache, &self.file)? else { return Ok(None) };
        let unchanged = known.bytes == meta.len() && known.mtime_ns == meta.modified().map_or(0, lockfile::unix_ns);
        if unchanged || hash_file(&path, &format!("checking {}", self.what()), progress)?.0 == known.sha256 {
            return Ok(Some(self.found(&known)));
        }
        Ok(None)
    }

    fn make(&self, path: &Path, progress: &mut dyn Progress) -> Result<ModelFile, ModelError> {
        let part = with_suffix(path, ".part");
        let mut named = Named { name: format!("making {}", self.what()), progress };
        let made = quantize::quantize_file(&self.source.path, &part, self.level, &mut named);
        made.map_err(|error| match error {
            QuantizeError::Interrupted(_) => ModelError::Interrupted(format!("making {}", self.what())),
            QuantizeError::Io { path, source } => ModelError::Io { action: "write", path, source },
            other => other.into(),
        })?;
        let (sha256, bytes) = hash_file(&part, &format!("checking {}", self.what()), progress)?;
        let file = std::fs::File::open(&part).map_err(ModelError::io("read", &part))?;
        publish(&file, &part, path)?;
        let meta = std::fs::metadata(path).map_err(ModelError::io("read", path))?;
        let entry = LockEntry {
            model: self.source.name.clone(),
            file: self.file.clone(),
            sha256,
            bytes,
            source: self.source.source.clone(),
            date: lockfile::rfc3339(SystemTime::now()),
            mtime_ns: meta.modified().map_or(0, lockfile::unix_ns),
            made_from: Some(self.source.sha256.clone()),
        };
        lockfile::record(self.cache, entry.clone())?;
        Ok(self.found(&entry))
    }

    fn found(&self, entry: &LockEntry) -> ModelFile {
        let full_precision = [Level::F32, Level::F16, Level::Bf16].map(Level::name);
        let from = self.source.level.as_deref();
        ModelFile {
            name: self.source.name.clone(),
            path: self.cache.path(&self.file),
            sha256: entry.sha256.clone(),
            bytes: entry.bytes,
            level: Some(self.level.name().to_owned()),
            // A source that is itself requantized stays the origin of the loss.
            requantized_from: self
                .source
                .requantized_from
                .clone()
                .or_else(|| from.filter(|from| !full_precision.contains(from)).map(str::to_owned)),
            licence: self.source.licence.clone(),
            source: format!("made from {} ({})", from.unwrap_or("a file"), self.source.source),
        }
    }
}
