//! `models.lock.toml`: what every file of the cache was when it first arrived.
//!
//! A hash the manifest does not know is known from here on: the same name later bringing other bytes is an error, not
//! a silent change of the model under test. Size and modification time make the check of a file already verified cheap.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::ModelError;
use super::cache::{Cache, Guard};

const HEADER: &str = "# Written by tierbench: what each file was when it first arrived. Remove an entry together with its \
file.\n";

/// One file of the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockEntry {
    /// Catalogue name, or the stem of the user's file it was made from.
    pub model: String,
    /// Path below the cache directory, with `/`.
    pub file: String,
    /// Of the whole file, lower-case hex.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
    /// Which source gave it.
    pub source: String,
    /// When it first arrived, RFC 3339, UTC.
    pub date: String,
    /// Modification time when the hash was last computed, ns since 1970.
    pub mtime_ns: i64,
    /// sha256 of the file it was quantized from, if it was made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockFile {
    version: u32,
    #[serde(default, rename = "file")]
    files: Vec<LockEntry>,
}

/// The entries, for listing. An absent lock file has none.
///
/// # Errors
/// A lock file that cannot be read or parsed.
pub fn entries(cache: &Cache) -> Result<Vec<LockEntry>, ModelError> {
    Ok(read(&path(cache))?.files)
}

pub(super) fn find(cache: &Cache, file: &str) -> Result<Option<LockEntry>, ModelError> {
    Ok(entries(cache)?.into_iter().find(|entry| entry.file == file))
}

/// Adds or replaces the entry of one file. Other processes' entries are kept: the file is read, changed and replaced
/// under a lock.
pub(super) fn record(cache: &Cache, entry: LockEntry) -> Result<(), ModelError> {
    let path = path(cache);
    cache.create_dir(cache.root())?;
    let _guard = Guard::wait(&path.with_extension("guard"))?;
    let mut lock = read(&path)?;
    lock.version = 1;
    lock.files.retain(|known| known.file != entry.file);
    lock.files.push(entry);
    lock.files.sort_by(|a, b| a.file.cmp(&b.file));
    let text = toml::to_string(&lock)
        .map_err(|error| ModelError::LockFile { path: path.clone(), message: error.to_string() })?;
    cache.replace(&path, format!("{HEADER}{text}").as_bytes())
}

fn path(cache: &Cache) -> PathBuf {
    cache.root().join("models.lock.toml")
}

fn read(path: &Path) -> Result<LockFile, ModelError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(LockFile::default()),
        Err(error) => return Err(ModelError::io("read", path)(error)),
    };
    let lock: LockFile = toml::from_str(&text)
        .map_err(|error| ModelError::LockFile { path: path.to_owned(), message: error.message().replace('\n', " ") })?;
    if lock.version != 1 {
        let message = format!("version {}, this build reads version 1", lock.version);
        return Err(ModelError::LockFile { path: path.to_owned(), message });
    }
    Ok(lock)
}

/// Nanoseconds since 1970, saturating; 0 before.
pub(super) fn unix_ns(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// `2026-01-31T12:00:00Z`.
pub(super) fn rfc3339(time: SystemTime) -> String {
    crate::civil::rfc3339(unix_ns(time) / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(file: &str, sha256: &str) -> LockEntry {
        LockEntry {
            model: "m".into(),
            file: file.into(),
            sha256: sha256.into(),
            bytes: 3,
            source: "pip x==1".into(),
            date: "2026-01-01T00:00:00Z".into(),
            mtime_ns: 5,
            made_from: None,
        }
    }

    #[test]
    fn dates_are_rfc_3339_across_leap_days_and_years() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn entries_are_kept_replaced_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        record(&cache, entry("models/b", "1")).unwrap();
        record(&cache, entry("models/a", "2")).unwrap();
        record(&cache, entry("models/b", "3")).unwrap();
        let all = entries(&cache).unwrap();
        assert_eq!(
            all.iter().map(|e| (e.file.as_str(), e.sha256.as_str())).collect::<Vec<_>>(),
            [("models/a", "2"), ("models/b", "3")]
        );
        assert_eq!(find(&cache, "models/a").unwrap().unwrap(), entry("models/a", "2"));
    }

    #[test]
    fn processes_that_record_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for i in 0..16 {
                let root = dir.path();
                scope.spawn(move || record(&Cache::new(root), entry(&format!("models/{i:02}"), "0")).unwrap());
            }
        });
        assert_eq!(entries(&Cache::new(dir.path())).unwrap().len(), 16);
    }

    #[test]
    fn a_damaged_or_newer_lock_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        for text in ["version = ", "version = 2\n", "version = 1\nsurprise = 1\n"] {
            std::fs::write(dir.path().join("models.lock.toml"), text).unwrap();
            let message = entries(&cache).unwrap_err().to_string();
            assert!(message.contains("models.lock.toml") && !message.contains('\n'), "{message}");
        }
    }
}
