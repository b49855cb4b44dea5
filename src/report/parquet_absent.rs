//! In place of the Parquet writer where the cargo feature `parquet` is off.

use serde::Serialize;

use super::ReportError;
use crate::store::record::Record;

const ABSENT: ReportError = ReportError::NotBuilt { format: "Parquet", feature: "parquet" };

/// Would be the table, one row per cell.
///
/// # Errors
/// Always: this build cannot write it.
pub fn cells(_: &Record) -> Result<Vec<u8>, ReportError> {
    Err(ABSENT)
}

/// Would be rows of trials or items.
///
/// # Errors
/// Always: this build cannot write them.
pub fn rows<T: Serialize>(_: &[&str], _: &[T]) -> Result<Vec<u8>, ReportError> {
    Err(ABSENT)
}
