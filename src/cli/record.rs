//! Which record a command is about: a file, `-` for stdin, a run of the history, or the latest one.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Ui;
use crate::error::{Error, Result};
use crate::report::one_line;
use crate::store::StoreError;
use crate::store::file::{self, RecordFile};
use crate::store::history::History;
use crate::store::record::Record;
use crate::store::verify::verify;

/// What the user may write.
pub(super) const HELP: &str = "a record file, - for stdin, a run id or its beginning, `latest`, or `machine:TEXT` for the newest run on a processor \
     with TEXT in its name";

/// Where a record is.
pub(super) enum Place {
    /// A file, `/dev/stdin` included.
    File(PathBuf),
    /// A run of the history, by its full id.
    Run(String),
}

/// Finds the record `spec` names.
///
/// # Errors
/// An unknown run; no run yet.
pub(super) fn locate(spec: &str) -> Result<Place> {
    if spec == "-" {
        return Ok(Place::File("/dev/stdin".into()));
    }
    if let Some(machine) = spec.strip_prefix("machine:") {
        return newest_of(machine);
    }
    if is_file(spec) {
        return Ok(Place::File(spec.into()));
    }
    Ok(Place::Run(History::open_default()?.resolve(spec)?))
}

/// Loads the record `spec` names. A file that does not verify is loaded with a warning: its numbers are not its samples'.
///
/// # Errors
/// What reading says; an unknown run.
pub(super) fn load(spec: &str, ui: &Ui) -> Result<Record> {
    match locate(spec)? {
        Place::Run(id) => History::open_default()?.record(&id).map_err(without_record),
        Place::File(path) => Ok(load_checked(&file::read_bytes(&path)?, &path, spec, ui)?.record),
    }
}

/// The record `spec` names as its document: with every field it has, known to this build or not.
///
/// # Errors
/// See [`load`].
pub(super) fn load_document(spec: &str, ui: &Ui) -> Result<Value> {
    let text = match locate(spec)? {
        Place::Run(id) => History::open_default()?.record_json(&id).map_err(without_record)?.into_bytes(),
        Place::File(path) => {
            let bytes = file::read_bytes(&path)?;
            load_checked(&bytes, &path, spec, ui)?;
            bytes
        }
    };
    Ok(serde_json::from_slice(&text).map_err(StoreError::from)?)
}

fn load_checked(bytes: &[u8], path: &Path, spec: &str, ui: &Ui) -> Result<RecordFile> {
    let file = file::parse(bytes, path)?;
    if let Some(difference) = verify(&file)?.difference {
        ui.warn(format_args!("{spec} does not verify: {difference}"));
    }
    Ok(file)
}

/// The newest stored record of a machine.
fn newest_of(machine: &str) -> Result<Place> {
    let history = History::open_default()?;
    let wanted = machine.to_lowercase();
    let mut seen: Vec<String> = Vec::new();
    for run in history.list()?.iter().filter(|run| run.is_reportable()) {
        let Some(cpu) = history.record(&run.id)?.raw.host.cpu.filter(|cpu| !cpu.trim().is_empty()) else { continue };
        if cpu.to_lowercase().contains(&wanted) {
            return Ok(Place::Run(run.id.clone()));
        }
        if !seen.contains(&cpu) {
            seen.push(cpu);
        }
    }
    Err(match seen.as_slice() {
        [] if history.resolve("latest").is_err() => StoreError::NoRun.into(),
        [] => Error::Usage("no stored run tells its machine: name it by its id".into()),
        seen => Error::Usage(format!(
            "no stored run of a machine with `{machine}` in its name: there are {}",
            one_line(&seen.join(", "))
        )),
    })
}

/// Reads a record file, or stdin for `-`.
///
/// # Errors
/// What reading says.
pub(super) fn load_file(spec: &str) -> Result<RecordFile> {
    Ok(file::read(Path::new(if spec == "-" { "/dev/stdin" } else { spec }))?)
}

/// Run ids hold no dot and no slash; file names nearly always do.
pub(super) fn is_file(spec: &str) -> bool {
    spec == "-" || spec.contains(['/', '\\', '.']) || Path::new(spec).is_file()
}

/// A run that is there and has no record is not unknown.
fn without_record(error: StoreError) -> Error {
    match error {
        StoreError::UnknownRun { wanted } => Error::Usage(format!(
            "run {wanted} has no record: it was stopped before it stored what it ran on; `tierbench history rm {wanted}` \
             removes it"
        )),
        other => other.into(),
    }
}
