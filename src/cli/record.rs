//! Which record a command is about: a file, `-` for stdin, a run of the history, or the latest one.

use std::path::Path;

use super::Ui;
use crate::error::{Error, Result};
use crate::store::file::{self, RecordFile};
use crate::store::history::History;
use crate::store::record::Record;
use crate::store::verify::verify;

/// What the user may write.
pub(super) const HELP: &str = "a record file, - for stdin, a run id or its beginning, `latest`, or `machine:TEXT` for the newest run on a processor \
     with TEXT in its name";

/// Loads the record `spec` names. A file that does not verify is loaded with a warning: its numbers are not its samples'.
///
/// # Errors
/// What reading says; an unknown run.
pub(super) fn load(spec: &str, ui: &Ui) -> Result<Record> {
    if let Some(machine) = spec.strip_prefix("machine:") {
        return newest_of(machine);
    }
    if !is_file(spec) {
        let history = History::open_default()?;
        let id = history.resolve(spec).map_err(|error| hint(spec, error))?;
        return Ok(history.record(&id)?);
    }
    let file = load_file(spec)?;
    if let Some(difference) = verify(&file)?.difference {
        ui.warn(format_args!("{spec} does not verify: {difference}"));
    }
    Ok(file.record)
}

/// The newest stored record of a machine.
fn newest_of(machine: &str) -> Result<Record> {
    let history = History::open_default()?;
    let wanted = machine.to_lowercase();
    let mut seen: Vec<String> = Vec::new();
    for run in history.list()? {
        let record = match history.record(&run.id) {
            Ok(record) => record,
            // A run that was killed before it stored anything.
            Err(crate::store::StoreError::UnknownRun { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let cpu = record.raw.host.cpu.clone().unwrap_or_default();
        if cpu.to_lowercase().contains(&wanted) {
            return Ok(record);
        }
        if !seen.contains(&cpu) {
            seen.push(cpu);
        }
    }
    let seen = crate::report::one_line(&seen.join(", "));
    Err(Error::Usage(format!("no stored run of a machine with `{machine}` in its name: there are {seen}")))
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

/// A word that is neither a run nor a file.
fn hint(spec: &str, error: crate::store::StoreError) -> Error {
    match error {
        crate::store::StoreError::UnknownRun { .. } if spec == "latest" => {
            Error::Usage("the history has no run yet: `tierbench run` makes one".into())
        }
        other => other.into(),
    }
}
