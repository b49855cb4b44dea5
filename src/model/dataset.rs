//! Data sets of the hub: the files of one split, in this program's cache.
//!
//! Which files hold a split follows the hub's own conventions for repositories without a script, in the main branch and
//! then in the branch the hub converts to Parquet. What was fetched is written down next to the files, so that a split
//! is there whole or not at all and nothing is asked of the network again.

use std::path::{Path, PathBuf};

use hf_hub::RepoType;

use super::cache::{Cache, Guard, with_suffix};
use super::source::{Failure, Request, hub};
use super::{ModelError, Progress, SourceFailure, SourceOptions};

/// Branches that are looked at, in order.
const REVISIONS: [&str; 2] = ["main", "refs/convert/parquet"];

/// Formats that can be read.
const EXTENSIONS: [&str; 5] = ["parquet", "jsonl", "json", "csv", "tsv"];

/// One split of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// `owner/name`, or a bare old name.
    pub repo: String,
    /// Configuration (lm-eval's `dataset_name`).
    pub config: Option<String>,
    /// `test`, `train`, …
    pub split: String,
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let config = self.config.as_deref().map_or_else(String::new, |config| format!(" {config}"));
        write!(f, "{}{config} {}", self.repo, self.split)
    }
}

impl Split {
    fn folder(&self, cache: &Path) -> PathBuf {
        cache.join("datasets").join(self.repo.replace('/', "--"))
    }

    /// Lists the split's files, relative to the folder; written when all of them are there.
    fn index(&self, cache: &Path) -> PathBuf {
        let config = self.config.as_deref().unwrap_or("default");
        self.folder(cache).join(format!("{config}.{}.files", self.split))
    }

    /// Names become paths: nothing in them may leave the folder.
    fn check(&self) -> Result<(), ModelError> {
        let plain = |name: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            !name.is_empty() && name.chars().all(allowed) && !name.starts_with('.')
        };
        let names = self.repo.split('/').chain(self.config.as_deref()).chain([self.split.as_str()]);
        if self.repo.matches('/').count() > 1 || !names.into_iter().all(plain) {
            let reason = "a data set is named owner/name; configuration and split are single words".to_owned();
            return Err(self.failed(vec![SourceFailure { source: "hf-hub".to_owned(), reason }]));
        }
        Ok(())
    }

    fn failed(&self, failures: Vec<SourceFailure>) -> ModelError {
        ModelError::AllSources { what: format!("data set {self}"), failures }
    }
}

/// The split's files, if they were fetched before. Opens no connection.
#[must_use]
pub fn cached(split: &Split, cache_dir: &Path) -> Option<Vec<PathBuf>> {
    split.check().ok()?;
    let index = std::fs::read_to_string(split.index(cache_dir)).ok()?;
    let folder = split.folder(cache_dir);
    let files: Vec<PathBuf> = index.lines().map(|file| folder.join(file)).collect();
    (!files.is_empty() && files.iter().all(|file| file.is_file())).then_some(files)
}

/// The split's files, fetched if they are not in the cache.
///
/// # Errors
/// A name that is none, a hub that cannot be reached or does not have it, a full disk.
pub fn fetch(split: &Split, options: &SourceOptions, progress: &mut dyn Progress) -> Result<Vec<PathBuf>, ModelError> {
    split.check()?;
    if let Some(files) = cached(split, &options.cache_dir) {
        return Ok(files);
    }
    let (cache, folder, index) =
        (Cache::new(&options.cache_dir), split.folder(&options.cache_dir), split.index(&options.cache_dir));
    cache.create_dir(&folder)?;
    let what = format!("data set {split}");
    let _guard = Guard::wait_politely(&with_suffix(&index, ".guard"), &what, progress)?;
    let mut failures = Vec::new();
    for revision in REVISIONS {
        match from_revision(split, revision, &cache, &folder, options, progress) {
            Ok(files) => {
                cache.replace(&index, files.join("\n").as_bytes())?;
                return Ok(files.iter().map(|file| folder.join(file)).collect());
            }
            Err(Failure::Source(reason)) => {
                failures.push(SourceFailure { source: format!("hf-hub {}@{revision}", split.repo), reason });
            }
            Err(Failure::Fatal(error)) => return Err(error),
        }
    }
    Err(split.failed(failures))
}

/// Fetches the split's files of one branch; their paths relative to `folder`.
fn from_revision(
    split: &Split,
    revision: &str,
    cache: &Cache,
    folder: &Path,
    options: &SourceOptions,
    progress: &mut dyn Progress,
) -> Result<Vec<String>, Failure> {
    if options.offline {
        return Err(Failure::Source("offline".to_owned()));
    }
    let all = hub::list((RepoType::Dataset, &split.repo, revision))?;
    let chosen = select(&all, split.config.as_deref(), &split.split);
    if chosen.is_empty() {
        let data: Vec<&str> = all.iter().map(String::as_str).filter(|file| readable(file)).take(5).collect();
        let has = if data.is_empty() { "it has none that can be read".to_owned() } else { data.join(", ") };
        return Err(Failure::Source(format!("no data file of this configuration and split ({has})")));
    }
    let mut files = Vec::new();
    for file in chosen {
        let local = format!("{}/{file}", revision.replace('/', "-"));
        let destination = folder.join(&local);
        cache.create_dir(destination.parent().unwrap_or(folder))?;
        let what = format!("{split} {file}");
        let request = Request {
            what: &what,
            destination: &destination,
            manifest: folder,
            bytes: None,
            sha256: None,
            offline: options.offline,
        };
        let fetched = hub::fetch((RepoType::Dataset, &split.repo, revision), file, &request, progress)?;
        fetched.part.publish(&destination)?;
        files.push(local);
    }
    Ok(files)
}

fn readable(file: &str) -> bool {
    let plain = !file.starts_with('/') && !file.contains('\\') && file.split('/').all(|part| part != "..");
    plain && file.rsplit_once('.').is_some_and(|(_, extension)| EXTENSIONS.contains(&extension))
}

/// The files among `all` that hold a split, sorted: in a folder named like the configuration, else in `data/` or the
/// root. A file belongs to the split if its name, or its folder's, begins with the split's name as a word.
fn select<'a>(all: &'a [String], config: Option<&str>, split: &str) -> Vec<&'a str> {
    let of_split = |path: &str| {
        let words = |name: &str| {
            let rest = name.strip_prefix(split)?;
            rest.chars().next().is_none_or(|c| matches!(c, '-' | '.' | '_')).then_some(())
        };
        path.split('/').any(|part| words(part).is_some())
    };
    let within = |folder: &str| -> Vec<&'a str> {
        let mut files: Vec<&str> = all
            .iter()
            .map(String::as_str)
            .filter(|file| {
                let inner = if folder.is_empty() {
                    (!file.contains('/')).then_some(*file)
                } else {
                    file.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'))
                };
                readable(file) && inner.is_some_and(of_split)
            })
            .collect();
        files.sort_unstable();
        // One format: the same rows may be there twice.
        let best = EXTENSIONS.iter().find(|extension| files.iter().any(|file| file.ends_with(*extension)));
        files.retain(|file| best.is_some_and(|extension| file.ends_with(extension)));
        files
    };
    let config_folder = config.unwrap_or("default");
    [config_folder, "data", ""].into_iter().map(within).find(|files| !files.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str], config: Option<&str>, split: &str) -> Vec<String> {
        let all: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        select(&all, config, split).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_split_is_found_where_the_hub_puts_it() {
        let arc = [
            "README.md",
            "ARC-Challenge/test-00000-of-00001.parquet",
            "ARC-Easy/test-00000-of-00002.parquet",
            "ARC-Easy/test-00001-of-00002.parquet",
            "ARC-Easy/train-00000-of-00001.parquet",
        ];
        assert_eq!(names(&arc, Some("ARC-Easy"), "test"), &arc[2..4]);
        assert_eq!(names(&arc, Some("ARC-Easy"), "validation"), [""; 0]);
        assert_eq!(names(&["default/train/0000.parquet"], None, "train"), ["default/train/0000.parquet"]);
        assert_eq!(names(&["data/test-0.parquet", "testing.csv"], None, "test"), ["data/test-0.parquet"]);
        assert_eq!(names(&["test.jsonl", "test.csv", "testimony.csv"], None, "test"), ["test.jsonl"]);
        assert_eq!(names(&["data/../test.csv", "/test.csv"], None, "test"), [""; 0]);
    }

    #[test]
    fn a_name_cannot_leave_the_cache() {
        let split =
            |repo: &str, config: &str| Split { repo: repo.into(), config: Some(config.into()), split: "test".into() };
        for bad in [split("../x", "c"), split("a/b/c", "c"), split("a/b", "../c"), split("", "c"), split("a/b", ".")] {
            assert!(bad.check().is_err(), "{bad}");
            assert_eq!(cached(&bad, Path::new("/")), None);
        }
        assert!(split("allenai/ai2_arc", "ARC-Easy").check().is_ok());
    }
}
