//! Rows of data files: JSON lines, JSON arrays, CSV and Parquet, told apart by the file's extension.
//!
//! Every format gives the same thing, one JSON object a row, so that prompts and scorers need not know where it came
//! from. CSV has no types: cells are text, except those that hold a JSON list or object (`["a", "b"]`).

use std::path::Path;

use serde_json::{Map, Value};

use super::columnar;
use crate::quality::QualityError;

/// Items a task may have.
pub const MAX_ITEMS: usize = 100_000;
/// Bytes a line may have.
pub const MAX_LINE: usize = 1 << 20;

/// Extensions of data files, the preferred first.
pub(super) const EXTENSIONS: [&str; 6] = ["jsonl", "ndjson", "json", "csv", "tsv", "parquet"];

/// One row of a data file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Line in its file, or number of the row where the format has no lines; from 1.
    pub(super) line: usize,
    /// Column → value.
    pub(super) data: Map<String, Value>,
}

/// Whether the path names a data file by its extension.
pub(super) fn is_data(path: &Path) -> bool {
    extension(path).is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

fn extension(path: &Path) -> Option<String> {
    path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase())
}

/// Reads a data file's bytes; a file of another extension is taken for JSON lines.
///
/// # Errors
/// The first row that cannot be read, by its line.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Vec<Row>, QualityError> {
    let extension = extension(path);
    if extension.as_deref() == Some("parquet") {
        return columnar::read(path, bytes);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        QualityError::Item { path: path.into(), line, reason: format!("not UTF-8: {error}; convert the file") }
    })?;
    // A byte order mark is no part of the first key.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match extension.as_deref() {
        Some("csv") => csv(path, text, b','),
        Some("tsv") => csv(path, text, b'\t'),
        Some("json") if text.trim_start().starts_with('[') => array(path, text),
        _ => lines(path, text),
    }
}

fn lines(path: &Path, text: &str) -> Result<Vec<Row>, QualityError> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let error = |reason: String| QualityError::Item { path: path.into(), line: index + 1, reason };
        if line.len() > MAX_LINE {
            return Err(error(format!("{} bytes, more than the {MAX_LINE} a line may have", line.len())));
        }
        if line.trim().is_empty() {
            return Err(error("empty item: remove the line".into()));
        }
        let data: Map<String, Value> =
            serde_json::from_str(line).map_err(|e| error(format!("not a JSON object: {}", short(&e))))?;
        push(&mut rows, path, index + 1, data)?;
    }
    Ok(rows)
}

fn array(path: &Path, text: &str) -> Result<Vec<Row>, QualityError> {
    let error = |line, reason: String| QualityError::Item { path: path.into(), line, reason };
    let values: Vec<Value> =
        serde_json::from_str(text).map_err(|e| error(e.line().max(1), format!("not a JSON array: {e}")))?;
    let mut rows = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        match value {
            Value::Object(data) => push(&mut rows, path, index + 1, data)?,
            other => return Err(error(index + 1, format!("entry {} of the array is no object: {other}", index + 1))),
        }
    }
    Ok(rows)
}

fn csv(path: &Path, text: &str, delimiter: u8) -> Result<Vec<Row>, QualityError> {
    let error = |line, reason: String| QualityError::Item { path: path.into(), line, reason };
    let mut reader = ::csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|e| error(1, e.to_string()))?.clone();
    for (place, name) in header.iter().enumerate() {
        if name.trim().is_empty() {
            return Err(error(1, format!("column {} has no name", place + 1)));
        }
        if header.iter().take(place).any(|earlier| earlier == name) {
            return Err(error(1, format!("column `{name}` appears twice")));
        }
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| {
            let line = e.position().map_or(1, |position| usize::try_from(position.line()).unwrap_or(usize::MAX));
            match e.kind() {
                ::csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                    error(line, format!("{len} cells, but the header has {expected_len}: quote cells that hold commas"))
                }
                _ => error(line, e.to_string()),
            }
        })?;
        let line = record.position().map_or(1, |p| usize::try_from(p.line()).unwrap_or(usize::MAX));
        let data = header.iter().zip(&record).map(|(name, text)| (name.to_owned(), cell(text))).collect();
        push(&mut rows, path, line, data)?;
    }
    Ok(rows)
}

/// A cell's text, or the list or object it spells.
fn cell(text: &str) -> Value {
    let spelled = matches!(text.trim_start().as_bytes().first(), Some(b'[' | b'{'));
    let parsed = spelled.then(|| serde_json::from_str(text).ok()).flatten();
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Adds a row that is not empty, up to [`MAX_ITEMS`].
pub(super) fn push(
    rows: &mut Vec<Row>,
    path: &Path,
    line: usize,
    data: Map<String, Value>,
) -> Result<(), QualityError> {
    let error = |reason: String| QualityError::Item { path: path.into(), line, reason };
    if rows.len() == MAX_ITEMS {
        return Err(error(format!("more than {MAX_ITEMS} items: split the task")));
    }
    if data.is_empty() {
        return Err(error("empty item: it has no keys".into()));
    }
    rows.push(Row { line, data });
    Ok(())
}

/// serde_json's message without its own line number, which is always 1.
fn short(error: &serde_json::Error) -> String {
    error.to_string().replace("at line 1 column", "at column")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(name: &str, text: &str) -> Result<Vec<Row>, String> {
        read(Path::new(name), text.as_bytes()).map_err(|error| error.to_string())
    }

    fn data(name: &str, text: &str) -> Value {
        json!(rows(name, text).unwrap().into_iter().map(|row| row.data).collect::<Vec<_>>())
    }

    #[test]
    fn every_text_format_gives_the_same_rows() {
        let wanted = json!([{"q": "a, b", "n": "1"}, {"q": "c", "n": "2"}]);
        assert_eq!(data("t.jsonl", "{\"q\":\"a, b\",\"n\":\"1\"}\n{\"q\":\"c\",\"n\":\"2\"}\n"), wanted);
        assert_eq!(data("t.json", "[{\"q\":\"a, b\",\"n\":\"1\"},\n {\"q\":\"c\",\"n\":\"2\"}]"), wanted);
        assert_eq!(data("t.JSON", "{\"q\":\"a, b\",\"n\":\"1\"}\n{\"q\":\"c\",\"n\":\"2\"}"), wanted);
        assert_eq!(data("t.csv", "\u{feff}q,n\r\n\"a, b\",1\r\nc,2\r\n"), wanted);
        assert_eq!(data("t.tsv", "q\tn\na, b\t1\nc\t2\n"), wanted);
    }

    #[test]
    fn a_csv_cell_may_spell_a_list() {
        let csv = "q,choices\nwhy,\"[\"\"sun\"\", \"\"moon\"\"]\"\nhow,[sic] it goes\n";
        assert_eq!(
            data("t.csv", csv),
            json!([{"q": "why", "choices": ["sun", "moon"]}, {"q": "how", "choices": "[sic] it goes"}])
        );
    }

    #[test]
    fn broken_rows_are_named_by_their_line() {
        for (name, text, wanted) in [
            ("t.jsonl", "{\"q\":1}\n{\"q\":}\n", "t.jsonl:2: not a JSON object"),
            ("t.jsonl", "{\"q\":1}\n\n", "t.jsonl:2: empty item"),
            ("t.json", "[{\"q\":1},\n{\"q\":]", "t.json:2: not a JSON array"),
            ("t.json", "[{\"q\":1}, 5]", "entry 2 of the array is no object: 5"),
            ("t.csv", "q,n\na,1\n\"b\nb\",2\nc\n", "t.csv:5: 1 cells, but the header has 2"),
            ("t.csv", "q,q\na,1\n", "t.csv:1: column `q` appears twice"),
            ("t.csv", "q,\na,1\n", "t.csv:1: column 2 has no name"),
        ] {
            let message = rows(name, text).unwrap_err();
            assert!(message.contains(wanted) && !message.contains('\n'), "{wanted}: {message}");
        }
        let message = read(Path::new("t.csv"), b"q\nfine\n\xff\n").unwrap_err().to_string();
        assert!(message.starts_with("t.csv:3: not UTF-8"), "{message}");
    }
}
