//! One self-contained page: no network. The tables and the text are in the markup, so that they can be read without a
//! script; scripts sort, filter, draw the plots and show items. Whatever comes from a record is escaped, and a content
//! security policy allows only the page's own scripts and styles, by their hashes.
//!
//! Plots are drawn by Observable Plot and D3, embedded as their packages ship them (`vendor/README.md`).

pub(crate) mod embed;
mod sections;
pub(crate) mod shell;
mod shown;
mod view;

use super::document::Document;
use super::{Format, ReportError};
use crate::store::record::Record;
use flate2::Compression;
use shell::{Script, Shell};
use shown::Shown;
use view::View;

/// The page, with everything it needs inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Html;

impl Format for Html {
    fn render(&self, record: &Record) -> Result<String, ReportError> {
        alone(record, &serde_json::to_string(record)?)
    }
}

/// The same with the record's own JSON inside: with every field of it, known to this build or not.
///
/// # Errors
/// [`ReportError::Json`] if what the page shows cannot be written as JSON.
pub fn alone(record: &Record, json: &str) -> Result<String, ReportError> {
    page(record, &[Script::Inline(shell::D3), Script::Inline(shell::PLOT)], "", Raw::Inside(json))
}

/// Media type of [`embed::packed`] data.
pub(crate) const PACKED: &str = "application/octet-stream;base64";

/// Where a page's reader gets the whole record from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Raw<'a> {
    /// This JSON of it is in the page.
    Inside(&'a str),
    /// It is a file of this name beside the page, which then holds no more than it shows.
    Beside(&'a str),
}

/// The page of a record. `libraries` come before the page's own scripts; `above` is markup put before everything else.
pub(crate) fn page(
    record: &Record,
    libraries: &[Script<'_>],
    above: &str,
    raw: Raw<'_>,
) -> Result<String, ReportError> {
    let document = Document::of(record);
    let mut scripts = libraries.to_vec();
    scripts.extend([Script::Inline(shell::TABLES), Script::Inline(shell::PLOTS), Script::Inline(shell::ITEMS)]);
    // One page is packed well; a site has a thousand to pack.
    let effort = if matches!(raw, Raw::Inside(_)) { Compression::default() } else { Compression::fast() };
    let pack = |json: &str| embed::packed(json, effort).map_err(serde_json::Error::io);
    let view = View::of(record);
    let shown = pack(&serde_json::to_string(&Shown::of(record))?)?;
    let whole = match raw {
        Raw::Inside(json) => Some(("record", PACKED, pack(json)?)),
        Raw::Beside(_) => None,
    };
    Shell {
        title: &format!("tierbench {}", record.raw.run.id),
        body: &format!("{above}{}", sections::body(record, &document, raw, !view.is_empty())),
        data: &[
            ("view", "application/json", embed::json(&serde_json::to_string(&view)?)),
            ("items-data", PACKED, shown),
        ],
        scripts: &scripts,
        last: whole,
    }
    .render()
}
