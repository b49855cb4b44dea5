//! In place of the Parquet reader where the cargo feature `parquet` is off.

use std::path::Path;

use super::rows::Row;
use crate::quality::QualityError;

/// Would read a file's bytes.
///
/// # Errors
/// Always: this build cannot read them.
pub(super) fn read(path: &Path, _: &[u8]) -> Result<Vec<Row>, QualityError> {
    let reason = "this build does not read Parquet: build with `--features parquet`, or convert the file to JSON lines";
    Err(QualityError::Item { path: path.into(), line: 1, reason: reason.into() })
}
