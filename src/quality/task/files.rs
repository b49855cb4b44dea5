//! Where a task's files are: its folder, on disk or in the binary, and the data of its splits.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::wire::WireTask;
use super::{embedded, rows};
use crate::model::dataset::{self, Split};
use crate::quality::QualityError;

/// Bytes a task file may have.
const MAX_FILE: u64 = 256 << 20;

/// `dataset_path` values that name a format of local files, not a data set.
const LOCAL_FORMATS: [&str; 4] = ["json", "csv", "parquet", "text"];

/// A task's folder, in the binary or on disk.
pub(super) enum Folder {
    Embedded(embedded::Files),
    Disk(PathBuf),
}

impl Folder {
    /// A file's path as messages name it.
    pub(super) fn path(&self, task: &str, file: &str) -> PathBuf {
        match self {
            Self::Embedded(_) => Path::new("built-in tasks").join(task).join(file),
            Self::Disk(dir) => dir.join(file),
        }
    }

    pub(super) fn read(&self, task: &str, file: &str) -> Result<Vec<u8>, QualityError> {
        match self {
            Self::Embedded(files) => {
                let text = files.iter().find(|(name, _)| *name == file).map(|(_, text)| text.as_bytes().to_vec());
                text.ok_or_else(|| QualityError::Io {
                    action: "read",
                    path: self.path(task, file),
                    source: std::io::ErrorKind::NotFound.into(),
                })
            }
            Self::Disk(dir) => read(&dir.join(file)),
        }
    }

    fn has(&self, file: &str) -> bool {
        match self {
            Self::Embedded(files) => files.iter().any(|(name, _)| *name == file),
            Self::Disk(dir) => dir.join(file).is_file(),
        }
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, QualityError> {
    let io = |source| QualityError::Io { action: "read", path: path.into(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    if bytes > MAX_FILE {
        return Err(QualityError::TooLarge { path: path.into(), bytes, limit: MAX_FILE });
    }
    let mut content = Vec::new();
    // The limit holds for files whose size cannot be known beforehand, too.
    file.take(MAX_FILE).read_to_end(&mut content).map_err(io)?;
    Ok(content)
}

/// A file with rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DataFile {
    /// Relative to the task's folder.
    Own(String),
    /// Of a data set in the cache.
    Cached(PathBuf),
}

impl DataFile {
    pub(super) fn path(&self, folder: &Folder, task: &str) -> PathBuf {
        match self {
            Self::Own(file) => folder.path(task, file),
            Self::Cached(path) => path.clone(),
        }
    }

    pub(super) fn read(&self, folder: &Folder, task: &str) -> Result<Vec<u8>, QualityError> {
        match self {
            Self::Own(file) => folder.read(task, file),
            Self::Cached(path) => read(path),
        }
    }
}

/// The files a split is in: those `data_files` names, else `usual` (`items.jsonl`, `shots.jsonl`) or `<split>.jsonl`,
/// `.json`, `.csv`, `.tsv`, `.parquet` in the folder, else the hub's, if they were fetched.
///
/// # Errors
/// A value of `data_files` that names no file, or a split that is nowhere; says where it was looked for.
pub(super) fn of_split(
    folder: &Folder,
    task: &str,
    wire: &WireTask,
    split: &str,
    usual: &str,
) -> Result<Vec<DataFile>, QualityError> {
    let own = |file: String| vec![DataFile::Own(file)];
    if let Some(named) = named(wire, split).map_err(|reason| QualityError::BadKey {
        path: folder.path(task, "task.yaml"),
        key: format!("dataset_kwargs.data_files.{split}"),
        reason,
    })? {
        return Ok(named.into_iter().map(DataFile::Own).collect());
    }
    let by_split = rows::EXTENSIONS.iter().map(|extension| format!("{split}.{extension}"));
    if let Some(file) = std::iter::once(usual.to_owned()).chain(by_split).find(|file| folder.has(file)) {
        return Ok(own(file));
    }
    let wanted = on_hub(wire, split);
    if let Some(wanted) = &wanted
        && let Ok(options) = crate::model::SourceOptions::platform(true)
        && let Some(files) = dataset::cached(wanted, &options.cache_dir)
    {
        return Ok(files.into_iter().map(DataFile::Cached).collect());
    }
    match wanted {
        Some(wanted) => Err(QualityError::NoData {
            path: folder.path(task, ""),
            split: split.to_owned(),
            fix: format!(", or get data set {} with `tierbench tasks fetch {task}`", wanted.repo),
        }),
        None => Err(QualityError::NoData {
            path: folder.path(task, ""),
            split: split.to_owned(),
            fix: ", or name it under `dataset_kwargs: data_files:`".to_owned(),
        }),
    }
}

/// The hub's data set a task names, if it names one.
pub(super) fn on_hub(wire: &WireTask, split: &str) -> Option<Split> {
    let repo = wire.dataset_path.clone().filter(|path| !LOCAL_FORMATS.contains(&path.as_str()))?;
    Some(Split { repo, config: wire.dataset_name.clone(), split: split.to_owned() })
}

/// Files `data_files` gives for a split: one for all, or per split, a name or a list of names.
fn named(wire: &WireTask, split: &str) -> Result<Option<Vec<String>>, String> {
    let Some(data_files) = wire.dataset_kwargs.as_ref().and_then(|kwargs| kwargs.data_files.as_ref()) else {
        return Ok(None);
    };
    let value = match data_files {
        Value::Object(splits) => match splits.get(split) {
            Some(value) => value,
            None => return Ok(None),
        },
        value => value,
    };
    let one = |value: &Value| match value.as_str() {
        Some(file) if file.contains(['*', '?', '[']) => {
            Err(format!("`{file}`: patterns are not read; name the files in a list"))
        }
        Some(file) if file.contains("://") => Err(format!("`{file}`: download it and name the local file")),
        Some(file) => Ok(file.to_owned()),
        None => Err(format!("{value} is no file name")),
    };
    match value {
        Value::Array(list) if !list.is_empty() => list.iter().map(one).collect::<Result<_, _>>().map(Some),
        value => one(value).map(|file| Some(vec![file])),
    }
}
