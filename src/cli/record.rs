//! Which record a command is about: a file, `-` for stdin, a run of the history, or the latest one.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Ui;
use crate::error::{Error, Result};
use crate::report::one_line;
use crate::store::StoreError;
use crate::store::file;
use crate::store::history::History;
use crate::store::outline::outline;
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

impl Place {
    /// What messages call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Run(id) => format!("run {id}"),
        }
    }

    /// The record's bytes, and what errors call them.
    ///
    /// # Errors
    /// What reading says; a run without a record.
    pub(super) fn read(&self) -> Result<(Vec<u8>, PathBuf)> {
        match self {
            Self::File(path) => Ok((file::read_bytes(path)?, path.clone())),
            Self::Run(id) => {
                let json = History::open_default()?.record_json(id).map_err(without_record)?;
                Ok((json.into_bytes(), PathBuf::from(id)))
            }
        }
    }
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

/// A record, and its JSON with every field it has, known to this build or not.
pub(super) struct Loaded {
    pub(super) record: Record,
    pub(super) json: String,
}

impl Loaded {
    /// The JSON as record files are written.
    ///
    /// # Errors
    /// None in practice: it was read before.
    pub(super) fn outline(&self) -> Result<String> {
        let document: Value = serde_json::from_str(&self.json).map_err(StoreError::from)?;
        Ok(outline(&document).map_err(StoreError::from)?)
    }
}

/// Loads the record `spec` names. A file that does not verify is loaded with a warning: its numbers are not its samples'.
///
/// # Errors
/// What reading says; an unknown run.
pub(super) fn load(spec: &str, ui: &Ui) -> Result<Record> {
    Ok(load_whole(spec, ui)?.record)
}

/// The same with its JSON.
///
/// # Errors
/// See [`load`].
pub(super) fn load_whole(spec: &str, ui: &Ui) -> Result<Loaded> {
    let place = locate(spec)?;
    let (bytes, path) = place.read()?;
    let json = String::from_utf8_lossy(&bytes).into_owned();
    let record = match place {
        Place::Run(_) => History::open_default()?.read_record(&json)?,
        Place::File(_) => {
            let file = file::parse(&bytes, &path)?;
            if let Some(difference) = verify(&file)?.difference {
                ui.warn(format_args!("{spec} does not verify: {difference}"));
            }
            file.record
        }
    };
    Ok(Loaded { record, json })
}

/// The newest stored record of a machine.
fn newest_of(machine: &str) -> Result<Place> {
    // Every name holds the empty text: a variable that is not set must not pick a machine.
    if machine.trim().is_empty() {
        return Err(Error::Usage("`machine:` names no machine: write part of a processor's name behind it".into()));
    }
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

/// Run ids hold no dot and no slash; file names nearly always do.
pub(super) fn is_file(spec: &str) -> bool {
    // A pipe with a name is a file to read, too.
    let path = Path::new(spec);
    spec == "-" || spec.contains(['/', '\\', '.']) || (path.exists() && !path.is_dir())
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
