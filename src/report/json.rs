//! JSON: the record itself.

use super::{Format, ReportError};
use crate::store::outline::outline;
use crate::store::record::Record;

/// The record, as its file is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

impl Format for Json {
    fn render(&self, record: &Record) -> Result<String, ReportError> {
        Ok(outline(record)?)
    }
}
