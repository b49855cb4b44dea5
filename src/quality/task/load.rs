//! Finds a task's files and turns them into a checked [`Task`].

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::assemble::{self, Read};
use super::files::{self, DataFile, Folder};
use super::item::{self, Columns};
use super::rows::{self, Row};
use super::wire::{self, WireTask};
use super::{Item, Origin, Task, bare, embedded};
use crate::model::dataset::Split;
use crate::quality::QualityError;

/// Levels of `include`.
const MAX_INCLUDES: usize = 8;

/// Directory of the user's own tasks: `TIERBENCH_TASKS`, else `tasks` in the platform's data directory.
#[must_use]
pub fn user_dir() -> Option<PathBuf> {
    match std::env::var_os("TIERBENCH_TASKS").filter(|dir| !dir.is_empty()) {
        Some(dir) => Some(dir.into()),
        None => directories::ProjectDirs::from("", "", "tierbench").map(|dirs| dirs.data_dir().join("tasks")),
    }
}

/// Names of all tasks, the user's and the built-in ones, sorted, without repetition.
#[must_use]
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = embedded::TASKS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let entries = user_dir().and_then(|dir| std::fs::read_dir(dir).ok());
    for entry in entries.into_iter().flatten().flatten() {
        if entry.path().join("task.yaml").is_file() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    names.sort();
    names.dedup();
    names
}

/// Where the task `spec` is, or `None` if there is none: a path, the user's folder, the binary.
#[must_use]
pub fn find(spec: &str) -> Option<Origin> {
    let path = Path::new(spec);
    let is_yaml = path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml") && path.is_file();
    let is_data = rows::is_data(path) && path.is_file();
    if is_yaml || is_data || (spec.contains(['/', '\\', '.']) && path.join("task.yaml").is_file()) {
        return Some(Origin::Folder(path.into()));
    }
    let user = user_dir().map(|dir| dir.join(spec)).filter(|dir| dir.join("task.yaml").is_file());
    match user {
        Some(dir) => Some(Origin::Folder(dir)),
        None => embedded::TASKS.iter().any(|(name, _)| *name == spec).then_some(Origin::Embedded),
    }
}

/// See [`Task::load`].
pub(super) fn task(spec: &str) -> Result<Task, QualityError> {
    let mut reader = Reader::open(spec)?;
    if rows::is_data(Path::new(&reader.file)) {
        return reader.bare();
    }
    let wire = reader.yaml(&reader.file.clone(), 0)?;
    reader.assemble(wire)
}

/// See [`Task::hub_splits`].
pub(super) fn hub_splits(spec: &str) -> Result<Vec<Split>, QualityError> {
    let mut reader = Reader::open(spec)?;
    if rows::is_data(Path::new(&reader.file)) {
        return Ok(Vec::new());
    }
    let wire = reader.yaml(&reader.file.clone(), 0)?;
    let shots = (wire.num_fewshot.unwrap_or(0) > 0).then(|| (shot_split(&wire), "shots.jsonl"));
    let mut missing = Vec::new();
    for (split, usual) in std::iter::once((test_split(&wire), "items.jsonl")).chain(shots) {
        let found = files::of_split(&reader.folder, spec, &wire, split, usual);
        if matches!(found, Err(QualityError::NoData { .. })) {
            missing.extend(files::on_hub(&wire, split));
        } else {
            found?;
        }
    }
    missing.dedup();
    Ok(missing)
}

/// The split whose items are asked.
fn test_split(wire: &WireTask) -> &str {
    wire.test_split.as_deref().or(wire.validation_split.as_deref()).unwrap_or("test")
}

/// The split worked examples come from.
fn shot_split(wire: &WireTask) -> &str {
    let config = wire.fewshot_config.as_ref().and_then(|config| config.split.as_deref());
    let named = config.or(wire.fewshot_split.as_deref()).or(wire.training_split.as_deref());
    named.or(wire.validation_split.as_deref()).unwrap_or("fewshot")
}

struct Reader<'a> {
    folder: Folder,
    /// The task file's name in its folder.
    file: String,
    origin: Origin,
    spec: &'a str,
    hash: Sha256,
}

impl<'a> Reader<'a> {
    fn open(spec: &'a str) -> Result<Self, QualityError> {
        let unknown = || QualityError::UnknownTask { got: spec.into(), known: names().join(", ") };
        let origin = find(spec).ok_or_else(unknown)?;
        let (folder, file) = match &origin {
            Origin::Embedded => {
                let files = embedded::TASKS.iter().find(|(name, _)| *name == spec).map_or(&[][..], |(_, files)| files);
                (Folder::Embedded(files), "task.yaml".to_owned())
            }
            Origin::Folder(path) if path.is_dir() => (Folder::Disk(path.clone()), "task.yaml".to_owned()),
            Origin::Folder(path) => {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                (Folder::Disk(path.parent().unwrap_or(Path::new("")).into()), name)
            }
        };
        Ok(Self { folder, file, origin, spec, hash: Sha256::new() })
    }

    fn path(&self) -> PathBuf {
        self.folder.path(self.spec, &self.file)
    }

    /// Adds a file to the task's hash.
    fn count(&mut self, content: &[u8]) {
        self.hash.update((content.len() as u64).to_le_bytes());
        self.hash.update(content);
    }

    fn yaml(&mut self, file: &str, depth: usize) -> Result<WireTask, QualityError> {
        let path = self.folder.path(self.spec, file);
        if depth > MAX_INCLUDES {
            let reason = format!("more than {MAX_INCLUDES} levels: do the files include each other?");
            return Err(QualityError::BadKey { path, key: "include".into(), reason });
        }
        let content = self.folder.read(self.spec, file)?;
        self.count(&content);
        let text = String::from_utf8(content)
            .map_err(|error| QualityError::Yaml { path: path.clone(), reason: format!("not UTF-8: {error}") })?;
        let wire = wire::parse(&path, &text)?;
        match wire.include.clone() {
            None => Ok(wire),
            Some(parent) => Ok(wire.or(self.yaml(&parent, depth + 1)?)),
        }
    }

    /// All rows of a split's files.
    fn rows(&mut self, files: &[DataFile]) -> Result<Vec<Row>, QualityError> {
        let mut rows = Vec::new();
        for file in files {
            let content = file.read(&self.folder, self.spec)?;
            self.count(&content);
            rows.extend(rows::read(&file.path(&self.folder, self.spec), &content)?);
        }
        Ok(rows)
    }

    /// A task out of a data file alone.
    fn bare(mut self) -> Result<Task, QualityError> {
        let path = self.path();
        let mut rows = self.rows(&[DataFile::Own(self.file.clone())])?;
        let has_choices =
            |row: &Row| matches!(row.data.get("choices"), Some(Value::Array(choices)) if !choices.is_empty());
        let with_choices = rows.first().is_some_and(has_choices);
        for row in &mut rows {
            let error = |reason| QualityError::Item { path: path.clone(), line: row.line, reason };
            if has_choices(row) != with_choices {
                return Err(error("some rows have `choices` and some have none: make two tasks of them".to_owned()));
            }
            let normalized = bare::normalize(row);
            normalized.map_err(|reason| QualityError::Item { path: path.clone(), line: row.line, reason })?;
        }
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let items = item::of_rows(&path, rows, Columns::Ours { cluster_by: None })?;
        if items.is_empty() {
            return Err(QualityError::NoItems { path });
        }
        self.build(&bare::wire(&name, with_choices), items, Vec::new())
    }

    fn assemble(mut self, wire: WireTask) -> Result<Task, QualityError> {
        let files = files::of_split(&self.folder, self.spec, &wire, test_split(&wire), "items.jsonl")?;
        let path = files.first().map_or_else(|| self.path(), |file| file.path(&self.folder, self.spec));
        let rows = self.rows(&files)?;
        let mut items = item::of_rows(&path, rows, columns(&wire))?;
        let shots = self.shots(&wire, &files, &mut items)?;
        if items.is_empty() {
            return Err(QualityError::NoItems { path });
        }
        self.build(&wire, items, shots)
    }

    fn build(mut self, wire: &WireTask, items: Vec<Item>, shots: Vec<Item>) -> Result<Task, QualityError> {
        let path = self.path();
        let databases = self.databases(wire)?;
        let read = Read { items, shots, databases, sha256: hex(&self.hash.finalize()), origin: self.origin };
        assemble::task(&path, self.spec, wire, read)
    }

    /// The file of the scorer's databases, if it has one.
    fn databases(&mut self, wire: &WireTask) -> Result<Option<String>, QualityError> {
        let scorer = wire.tier.as_ref().and_then(|tier| tier.scorer.as_ref());
        let Some(file) = scorer.and_then(|scorer| scorer.databases.as_deref()) else { return Ok(None) };
        let content = self.folder.read(self.spec, file)?;
        self.count(&content);
        let text = String::from_utf8(content).map_err(|error| QualityError::BadKey {
            path: self.folder.path(self.spec, file),
            key: "databases".into(),
            reason: format!("not UTF-8: {error}"),
        })?;
        Ok(Some(text))
    }

    /// Worked examples. Those taken from the split that is asked are taken out of `items`.
    fn shots(&mut self, wire: &WireTask, asked: &[DataFile], items: &mut Vec<Item>) -> Result<Vec<Item>, QualityError> {
        let wanted = wire.num_fewshot.unwrap_or(0);
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let config = wire.fewshot_config.clone().unwrap_or_default();
        let mut own = false;
        let (path, mut rows) = if let Some(samples) = config.samples {
            let rows = samples.into_iter().enumerate().map(|(i, data)| Row { line: i + 1, data }).collect();
            let path = self.folder.path(self.spec, "task.yaml (fewshot_config.samples)");
            (path.clone(), item::of_rows(&path, rows, Columns::Theirs)?)
        } else {
            let files = files::of_split(&self.folder, self.spec, wire, shot_split(wire), "shots.jsonl")?;
            let path = files.first().map_or_else(|| self.path(), |file| file.path(&self.folder, self.spec));
            own = files == asked;
            let rows = if own { items.clone() } else { item::of_rows(&path, self.rows(&files)?, shot_columns(wire))? };
            (path, rows)
        };
        if let Some(indices) = config.fewshot_indices {
            rows = indices.iter().filter_map(|&i| rows.get(i).cloned()).collect();
        }
        if rows.len() < wanted {
            let reason = format!("num_fewshot is {wanted}, but there are {} examples", rows.len());
            return Err(QualityError::BadKey { path, key: "num_fewshot".into(), reason });
        }
        rows.truncate(wanted);
        if own {
            items.retain(|item| rows.iter().all(|shot| shot.id != item.id));
        }
        Ok(rows)
    }
}

/// What the columns of the task's items mean.
fn columns(wire: &WireTask) -> Columns<'_> {
    match &wire.tier {
        Some(tier) => Columns::Ours { cluster_by: tier.cluster_by.as_deref() },
        None => Columns::Theirs,
    }
}

/// Worked examples need no template to cluster by.
fn shot_columns(wire: &WireTask) -> Columns<'_> {
    match columns(wire) {
        Columns::Ours { .. } => Columns::Ours { cluster_by: None },
        Columns::Theirs => Columns::Theirs,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
