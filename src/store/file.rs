//! Record files: bounded reading, atomic writing.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use serde_json::Value;

use super::StoreError;
use super::canonical::{self, Dialect, Members};
use super::outline::outline;
use super::place::path_at;
use super::record::{Record, SCHEMA, SCHEMA_VERSION};

/// Larger files are refused before they are read, and not written. A record of 10 tiers × 5 tasks × 200 items is about
/// 7 MB.
pub const MAX_BYTES: u64 = 128 << 20;

/// A record file as read: its JSON, and what this build understands of it.
#[derive(Clone, Debug)]
pub struct RecordFile {
    /// Everything in the file, fields this build does not know included.
    pub members: Members,
    /// The record.
    pub record: Record,
}

impl RecordFile {
    /// The record in canonical JSON: every field of the file.
    #[must_use]
    pub fn json(&self) -> String {
        let field = |(key, form): (&String, &String)| format!("{}:{form}", Value::from(key.as_str()));
        format!("{{{}}}", self.members.iter().map(field).collect::<Vec<_>>().join(","))
    }
}

/// Reads a record file.
///
/// # Errors
/// One line each for a file that is missing, too large, truncated, nested too deep, not a record, from a newer program,
/// or that contradicts itself.
pub fn read(path: &Path) -> Result<RecordFile, StoreError> {
    parse(&read_bytes(path)?, path)
}

/// Reads a text file as bounded as a record.
pub(super) fn read_text(path: &Path) -> Result<String, StoreError> {
    let invalid = |error| StoreError::Import { path: path.to_owned(), why: format!("not UTF-8: {error}") };
    String::from_utf8(read_bytes(path)?).map_err(invalid)
}

/// Reads a file that is no larger than a record may be.
///
/// # Errors
/// [`StoreError::Io`], [`StoreError::TooLarge`].
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, StoreError> {
    let file = File::open(path).map_err(StoreError::io("read", path))?;
    // A hint only: a pipe has no length, and a file may grow.
    let length = file.metadata().map_or(0, |meta| meta.len()).min(MAX_BYTES);
    let mut bytes = Vec::with_capacity(length as usize + 1);
    // One byte more than allowed tells a file that grew or a pipe that never ends from one that fits.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(StoreError::TooLarge { path: path.to_owned(), limit_mib: MAX_BYTES >> 20 });
    }
    Ok(bytes)
}

/// Reads a record from memory; `path` names it in errors.
///
/// # Errors
/// See [`read`].
pub fn parse(bytes: &[u8], path: &Path) -> Result<RecordFile, StoreError> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Err(refuse(bytes, path, None)) };
    // Editors and shells of Windows put a mark there that says UTF-8.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (record, members) = match in_one_pass(text) {
        Some(both) => both,
        None => step_by_step(text, path)?,
    };
    super::validate::validate(&record.raw).map_err(|error| match error {
        StoreError::BadRecord { at, why } => {
            StoreError::NotARecord { path: path.to_owned(), why: format!("{at}: {why}") }
        }
        other => other,
    })?;
    Ok(RecordFile { members, record })
}

/// A record and its fields; `None` for what is no record, and for one of another version than it seems to be of.
fn in_one_pass(text: &str) -> Option<(Record, Members)> {
    let dialect = Dialect::of(likely_version(text)?);
    let (record, members) = canonical::read::<Record>(text, dialect)?;
    (is_ours(&record) && Dialect::of(record.schema_version) == dialect).then_some((record, members))
}

/// The same with a parser that tells why a text is no record.
fn step_by_step(text: &str, path: &Path) -> Result<(Record, Members), StoreError> {
    let record = match serde_json::from_str::<Record>(text) {
        Ok(record) if is_ours(&record) => record,
        other => return Err(refuse(text.as_bytes(), path, other.err())),
    };
    let members = canonical::members(text, Dialect::of(record.schema_version))
        .map_err(|source| StoreError::NotJson { path: path.to_owned(), source })?;
    Ok((record, members))
}

fn is_ours(record: &Record) -> bool {
    record.schema == SCHEMA && record.schema_version <= SCHEMA_VERSION
}

/// The version of a record from the text near its ends, where the field stands in a file of ours: a guess, by which the
/// dialect is known before the record is read.
fn likely_version(text: &str) -> Option<u32> {
    const NEAR: usize = 200;
    let field = |part: &[u8]| -> Option<u32> {
        let name: &[u8] = b"\"schema_version\":";
        let start = part.windows(name.len()).position(|bytes| bytes == name)? + name.len();
        let digits = part[start..].trim_ascii_start();
        let n = digits.iter().position(|byte| !byte.is_ascii_digit())?;
        std::str::from_utf8(&digits[..n]).ok()?.parse().ok()
    };
    let bytes = text.as_bytes();
    field(&bytes[..bytes.len().min(NEAR)]).or_else(|| field(&bytes[bytes.len().saturating_sub(NEAR)..]))
}

/// Why these bytes are no record: first that they are no JSON, then that they are another thing, then the field.
fn refuse(bytes: &[u8], path: &Path, error: Option<serde_json::Error>) -> StoreError {
    let not_a_record = |why: String| StoreError::NotARecord { path: path.to_owned(), why };
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return not_a_record("packed with gzip: unpack it first".into());
    }
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(source) => return StoreError::NotJson { path: path.to_owned(), source },
    };
    if value.get("schema").and_then(Value::as_str) != Some(SCHEMA) {
        return not_a_record(format!("no field \"schema\": \"{SCHEMA}\""));
    }
    // A version that is no version of ours, however large, is a newer one if it is above all of ours.
    let version = value.get("schema_version").and_then(Value::as_f64).filter(|&version| version >= 1.0);
    match (version.map(|version| version.ceil() as u64), error) {
        (None, _) => not_a_record("field `schema_version` is missing or no number from 1 on".into()),
        (Some(found), Some(error)) if found <= u64::from(SCHEMA_VERSION) => {
            not_a_record(match path_at(bytes, error.line(), error.column()).as_str() {
                "" => error.to_string(),
                at => format!("{at}: {error}"),
            })
        }
        (Some(found), _) => StoreError::FutureRecord { path: path.to_owned(), found, known: SCHEMA_VERSION },
    }
}

/// Writes a record as JSON, a line per trial, window and item: to a temporary file beside it, synced, then renamed, so
/// that a crash or a full disk leaves either the old file or the new one.
///
/// # Errors
/// [`StoreError::Io`] naming the file, [`StoreError::TooLarge`].
pub fn write(record: &Record, path: &Path) -> Result<(), StoreError> {
    let text = outline(record)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(StoreError::TooLarge { path: path.to_owned(), limit_mib: MAX_BYTES >> 20 });
    }
    write_atomically(path, text.as_bytes())
}

/// Replaces `path` by `bytes`, atomically. What is not a regular file (a pipe, `/dev/stdout`) is written to instead.
///
/// # Errors
/// [`StoreError::Io`] naming the file.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let failed = || StoreError::io("write", path);
    // A symbolic link is followed, so that the file it names is replaced and the link survives.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let existing = std::fs::metadata(&target).ok();
    if existing.as_ref().is_some_and(|meta| !meta.is_file() && !meta.is_dir()) {
        return std::fs::write(path, bytes).map_err(failed());
    }
    let dir = match target.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut temporary = tempfile::NamedTempFile::new_in(dir).map_err(failed())?;
    temporary.write_all(bytes).map_err(failed())?;
    if let Some(permissions) = existing.map(|meta| meta.permissions()).or_else(new_file_permissions) {
        temporary.as_file().set_permissions(permissions).map_err(failed())?;
    }
    temporary.as_file().sync_all().map_err(failed())?;
    temporary.persist(&target).map_err(|error| failed()(error.error))?;
    Ok(())
}

/// Temporary files are private to the user; a result table is not.
fn new_file_permissions() -> Option<std::fs::Permissions> {
    #[cfg(unix)]
    return Some(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    #[cfg(not(unix))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_replaced_as_a_whole_and_a_link_survives() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a.json"), dir.path().join("link.json"));
        write_atomically(&file, b"old").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(&file, &link).unwrap();
        #[cfg(unix)]
        write_atomically(&link, b"new").unwrap();
        #[cfg(not(unix))]
        write_atomically(&file, b"new").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        assert!(cfg!(not(unix)) || std::fs::symlink_metadata(&link).unwrap().is_symlink());
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), if cfg!(unix) { 2 } else { 1 }, "no temporary file may stay");
    }

    fn message(bytes: &[u8]) -> String {
        let text = parse(bytes, Path::new("r.json")).unwrap_err().to_string();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    }

    #[test]
    fn hostile_files_get_one_line_each() {
        assert!(message(b"").contains("not complete JSON"));
        assert!(message(b"{\"schema\":\"tierbench.record\",\"sch").contains("not complete JSON"));
        assert!(message(b"\x1f\x8b\x08\0").contains("unpack it first"));
        assert!(message(b"\xef\xbb\xbf[1,2]").contains("no field \"schema\""));
        assert!(message(b"[1,2]").contains("no field \"schema\""));
        assert!(message(b"{\"schema\":\"tierbench.record\"}").contains("schema_version"));
        let future = message(b"{\"schema\":\"tierbench.record\",\"schema_version\":99}");
        assert!(future.contains("99") && future.contains("update tierbench"), "{future}");
        assert!(message(b"{\"schema\":\"tierbench.record\",\"schema_version\":2}").contains("raw"));
        let nested = [b"[".repeat(4 << 20), b"]".repeat(4 << 20)].concat();
        assert!(message(&nested).contains("recursion limit"));
    }

    #[test]
    fn a_file_over_the_limit_is_refused_before_it_is_parsed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge.json");
        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert!(matches!(read(&path), Err(StoreError::TooLarge { limit_mib: 128, .. })));
    }
}
