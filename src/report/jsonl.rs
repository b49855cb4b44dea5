//! JSONL: one object per cell with the columns of the CSV, null for unknown.

use serde_json::{Map, Value};

use super::{Format, ReportError, cells};
use crate::store::record::Record;

/// One JSON object per line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jsonl;

impl Format for Jsonl {
    fn render(&self, record: &Record) -> Result<String, ReportError> {
        let mut out = String::new();
        for row in cells::rows(record) {
            let names = cells::HEADER.iter().map(|name| (*name).to_owned());
            let object: Map<String, Value> = names.zip(row.iter().map(cells::Field::json)).collect();
            out.push_str(&serde_json::to_string(&object)?);
            out.push('\n');
        }
        Ok(out)
    }
}
