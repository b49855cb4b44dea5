//! JSON: the record itself.

use super::{Format, ReportError};
use crate::store::record::Record;

/// The record, indented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

impl Format for Json {
    fn render(&self, record: &Record) -> Result<String, ReportError> {
        let mut text = serde_json::to_string_pretty(record)?;
        text.push('\n');
        Ok(text)
    }
}
