//! CSV: one row per cell, unrounded numbers, units in the column names, empty for unknown.

use super::cells::{self, Field};
use super::{Format, ReportError};
use crate::store::record::Record;

/// Comma-separated values with a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Csv;

impl Format for Csv {
    fn render(&self, record: &Record) -> Result<String, ReportError> {
        let mut writer = ::csv::Writer::from_writer(Vec::new());
        writer.write_record(cells::HEADER)?;
        for row in cells::rows(record) {
            writer.write_record(row.iter().map(Field::csv))?;
        }
        let bytes = writer.into_inner().map_err(|error| ::csv::Error::from(error.into_error()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
