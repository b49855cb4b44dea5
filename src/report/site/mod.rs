//! A static leaderboard from many records and machines.
//!
//! Rows are ranked only against rows that hold the same thing: a task's version (the hash of its items and prompts), the
//! kind and boundary of the energy in the costs, the test with its depth and batch size. What is apart says why. A record
//! that does not verify, or whose numbers cannot be, is listed and not ranked.
//!
//! | file | what |
//! | --- | --- |
//! | `index.html` | the leaderboard, with a comparison that has a permalink |
//! | `index.json` | the same as data |
//! | `records/ID.html`, `records/ID.json` | a record's page and its copy |
//! | `assets/` | the plotting library all pages share |

mod index;
mod markup;
mod summary;

use flate2::Compression;

use super::ReportError;
use super::html::Raw;
use super::html::shell::{self, Script, Shell};
use super::html::{self, embed};
use crate::store::record::Record;

pub use index::{Budget, Index, LeftOut, QualityGroup, Ranked, SpeedGroup};
pub use summary::{QualityClass, QualityRow, SpeedRow, Subject, Summary};

const SCRIPT: &str = include_str!("site.js");
const D3_PATH: &str = "assets/d3.min.js";
const PLOT_PATH: &str = "assets/plot.umd.min.js";

/// Files every site has, by their path in it.
#[must_use]
pub fn assets() -> [(&'static str, &'static str); 4] {
    [
        (D3_PATH, shell::D3),
        (PLOT_PATH, shell::PLOT),
        ("assets/LICENSE.d3", include_str!("../html/vendor/LICENSE.d3")),
        ("assets/LICENSE.plot", include_str!("../html/vendor/LICENSE.plot")),
    ]
}

/// The leaderboard.
///
/// # Errors
/// [`ReportError::Json`] if the index cannot be written as JSON.
pub fn index_page(index: &Index) -> Result<String, ReportError> {
    // Of a thousand records this is most of the page.
    let pack = |json: String| embed::packed(&json, Compression::fast()).map_err(serde_json::Error::io);
    let (body, rest) = markup::body(index);
    Shell {
        title: "tierbench leaderboard",
        body: &body,
        data: &[("index", html::PACKED, pack(serde_json::to_string(index)?)?)],
        scripts: &[
            Script::Linked(D3_PATH),
            Script::Linked(PLOT_PATH),
            Script::Inline(shell::TABLES),
            Script::Inline(SCRIPT),
        ],
        last: Some(("rows", html::PACKED, pack(serde_json::to_string(&rest)?)?)),
    }
    .render()
}

/// The page of one record of a site.
///
/// # Errors
/// [`ReportError::Json`] if the record cannot be written as JSON.
pub fn record_page(record: &Record, doubt: Option<&str>) -> Result<String, ReportError> {
    let mut above = "<p class=\"hint\"><a href=\"../index.html\">All records</a></p>\n".to_owned();
    if let Some(doubt) = doubt {
        above.push_str(&format!("<p class=\"answer fails\">Not ranked: {}</p>\n", embed::escape(doubt)));
    }
    let libraries = [format!("../{D3_PATH}"), format!("../{PLOT_PATH}")];
    let copy = format!("{}.json", record.raw.run.id);
    html::page(record, &libraries.each_ref().map(|path| Script::Linked(path)), &above, Raw::Beside(&copy))
}
