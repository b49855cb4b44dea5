//! Tables and pages from records, one format per file behind [`Format`].
//!
//! [`document::Document`] holds what every text format shows: the answers, the tables, the notes. Formats only lay it
//! out. This room reads records and knows nothing of terminals, files or how a number came about.

pub mod answer;
pub mod card;
mod cells;
pub mod compare;
pub mod csv;
pub mod document;
pub mod economics;
mod energy;
pub mod html;
pub mod json;
pub mod jsonl;
pub mod latex;
pub mod markdown;
pub mod notes;
pub mod number;
#[cfg_attr(not(feature = "parquet"), path = "parquet_absent.rs")]
pub mod parquet;
pub mod rows;
pub mod site;
mod spans;
pub mod splice;
pub mod table;

use crate::store::record::Record;

/// A way to write a record down.
pub trait Format {
    /// The record in this format, with a final newline.
    ///
    /// # Errors
    /// [`ReportError`] if it cannot be written this way.
    fn render(&self, record: &Record) -> Result<String, ReportError>;
}

/// What can go wrong while rendering.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The record cannot be written as JSON.
    #[error("cannot write the record as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The record cannot be written as CSV.
    #[error("cannot write the table as CSV: {0}")]
    Csv(#[from] ::csv::Error),
    /// The rows cannot be written as Parquet.
    #[cfg(feature = "parquet")]
    #[error("cannot write the rows as Parquet: {0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
    /// This build leaves the format out.
    #[error("this build does not write {format}: build with `--features {feature}`, or use -o jsonl")]
    NotBuilt {
        /// The format.
        format: &'static str,
        /// The cargo feature that brings it.
        feature: &'static str,
    },
    /// The file to splice into has no markers, or not one pair in order.
    #[error("{path}: {why}; put `{begin}` and `{end}` on lines of their own where the table belongs", begin = splice::BEGIN, end = splice::END)]
    Markers {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with its markers.
        why: &'static str,
    },
    /// A threshold that cannot be read.
    #[error(
        "cannot read `{got}` as a threshold: write a name, one of <, <=, > or >=, and a ratio, e.g. 'tg128 < 0.95'"
    )]
    BadThreshold {
        /// What the user wrote.
        got: String,
    },
    /// A pair of tiers that cannot be read.
    #[error("cannot read `{got}` as a pair of tiers: write words of both names, e.g. 't2 = t8'")]
    BadPair {
        /// What the user wrote.
        got: String,
    },
    /// A pair of tiers that is not there.
    #[error("--pair '{pick}': {why}")]
    NoSuchPair {
        /// What the user wrote.
        pick: String,
        /// What stands against it.
        why: String,
    },
    /// A threshold on something the two records do not share.
    #[error("nothing named `{name}` is in both records: they share {shared}")]
    NothingShared {
        /// What the user named.
        name: String,
        /// What there is.
        shared: String,
    },
}

/// Text from a record made safe for one line of a terminal or table: no control characters, so that no name can move the
/// cursor, change colours or break the layout.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_bidi_control(c) { '\u{fffd}' } else { c }).collect()
}

/// `1 cell`, `2 cells`.
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Characters that reorder what is around them.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
