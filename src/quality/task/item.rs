//! Items: the rows of a task with the columns this program gives a meaning.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::rows::Row;
use crate::quality::QualityError;

/// One item of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Unique within the task: column `id`, else its place.
    pub id: String,
    /// Level of difficulty, from 1 (column `level`).
    pub level: Option<u32>,
    /// Template it was made from: the task's `cluster_by` column, else `template`.
    pub template: Option<String>,
    /// Answers the scorer must pass (column `good`).
    pub good: Vec<String>,
    /// Answers the scorer must fail (column `bad`).
    pub bad: Vec<String>,
    /// All columns.
    pub data: Map<String, Value>,
    /// Line in its file, from 1.
    pub line: usize,
}

/// Whose data set it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Columns<'a> {
    /// A task with keys under `tier:`, or bare data: `id`, `level`, `template` (or the column named here), `good` and
    /// `bad` mean what [`Item`] says and must be right; no two rows may be the same.
    Ours {
        /// `tier: cluster_by`.
        cluster_by: Option<&'a str>,
    },
    /// A plain lm-eval task: its columns mean what their authors say. An `id` is used where it can be; repeated rows
    /// are reported by the lint, not refused.
    Theirs,
}

/// Items of a data file's rows. Bare inspect-style rows get lm-eval's names: `ideal` is an alias of `target`.
///
/// # Errors
/// The first row with a key of the wrong type, or that repeats an id or another row's content.
pub(super) fn of_rows(path: &Path, rows: Vec<Row>, columns: Columns<'_>) -> Result<Vec<Item>, QualityError> {
    let mut items = Vec::with_capacity(rows.len());
    let mut ids = HashMap::new();
    let mut contents = HashMap::new();
    for Row { line, data } in rows {
        let error = |reason: String| QualityError::Item { path: path.into(), line, reason };
        let Columns::Ours { cluster_by } = columns else {
            let id = identifier(&data).ok().flatten().filter(|id| !ids.contains_key(id));
            let id = id.unwrap_or_else(|| format!("row {line}"));
            ids.insert(id.clone(), line);
            items.push(Item { id, level: None, template: None, good: Vec::new(), bad: Vec::new(), data, line });
            continue;
        };
        let item = item(data, line, items.len(), cluster_by).map_err(error)?;
        if let Some(first) = ids.insert(item.id.clone(), line) {
            return Err(error(format!("`id` {} repeats line {first}", item.id)));
        }
        if let Some(first) = contents.insert(content(&item.data), line) {
            return Err(error(format!("duplicate item: same content as line {first}")));
        }
        items.push(item);
    }
    Ok(items)
}

fn item(mut data: Map<String, Value>, line: usize, place: usize, cluster_by: Option<&str>) -> Result<Item, String> {
    if !data.contains_key("target")
        && let Some(ideal) = data.remove("ideal")
    {
        data.insert("target".into(), ideal);
    }
    let id = identifier(&data)?.unwrap_or_else(|| place.to_string());
    let level = match data.get("level") {
        None | Some(Value::Null) => None,
        Some(value) if is_blank(value) => None,
        Some(value) => Some(
            value
                .as_u64()
                .or_else(|| value.as_str().and_then(|cell| cell.trim().parse().ok()))
                .and_then(|level| u32::try_from(level).ok())
                .filter(|level| *level > 0)
                .ok_or_else(|| format!("`level` must be a whole number from 1, got {value}"))?,
        ),
    };
    let cluster = cluster_by.unwrap_or("template");
    let template = match data.get(cluster) {
        None if cluster_by.is_some() => return Err(format!("`{cluster}` is missing (the task clusters by it)")),
        None | Some(Value::Null) => None,
        Some(value) if is_blank(value) => None,
        Some(Value::String(name)) => Some(name.clone()),
        Some(other) => Some(other.to_string()),
    };
    let good = answers(&data, "good")?;
    let bad = answers(&data, "bad")?;
    if let Some(both) = good.iter().find(|answer| bad.contains(answer)) {
        return Err(format!("`good` and `bad` both hold {both:?}"));
    }
    Ok(Item { id, level, template, good, bad, data, line })
}

fn identifier(data: &Map<String, Value>) -> Result<Option<String>, String> {
    match data.get("id") {
        None => Ok(None),
        Some(Value::String(id)) if !id.is_empty() => Ok(Some(id.clone())),
        Some(Value::Number(id)) => Ok(Some(id.to_string())),
        Some(_) => Err("`id` must be a number or a string that is not empty".into()),
    }
}

fn answers(data: &Map<String, Value>, key: &str) -> Result<Vec<String>, String> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("`{key}` must hold strings, got {other}")),
    };
    match data.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(value) if is_blank(value) => Ok(Vec::new()),
        Some(Value::Array(values)) => values.iter().map(one).collect(),
        Some(value) => Ok(vec![one(value)?]),
    }
}

/// What makes an item the same as another: every column except its id.
fn content(data: &Map<String, Value>) -> String {
    let mut pairs: Vec<_> = data.iter().filter(|(key, _)| key.as_str() != "id").collect();
    pairs.sort_by_key(|(key, _)| *key);
    pairs.iter().map(|(key, value)| format!("{key}\u{0}{value}\u{0}")).collect()
}

/// An empty cell of a CSV file: it has no way to leave a column out.
fn is_blank(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::rows;
    use super::*;

    const OURS: Columns<'_> = Columns::Ours { cluster_by: None };

    fn read(text: &str) -> Result<Vec<Item>, String> {
        let path = Path::new("items.jsonl");
        rows::read(path, text.as_bytes()).and_then(|rows| of_rows(path, rows, OURS)).map_err(|e| e.to_string())
    }

    #[test]
    fn a_bad_line_is_named_with_file_line_and_column() {
        let message = read("{\"id\":1,\"q\":\"a\"}\n{\"id\":2,\"q\":}\n").unwrap_err();
        assert!(message.starts_with("items.jsonl:2: not a JSON object") && message.contains("column"), "{message}");
    }

    #[test]
    fn empty_and_duplicate_items_are_refused() {
        assert!(read("{\"q\":\"a\"}\n\n{\"q\":\"b\"}\n").unwrap_err().contains("items.jsonl:2: empty item"));
        assert!(read("{}\n").unwrap_err().contains("empty item"));
        assert!(read("{\"id\":1,\"q\":\"a\"}\n{\"id\":1,\"q\":\"b\"}\n").unwrap_err().contains("repeats line 1"));
        assert!(
            read("{\"id\":1,\"q\":\"a\"}\n{\"q\":\"a\",\"id\":2}\n").unwrap_err().contains("same content as line 1")
        );
    }

    #[test]
    fn wrong_types_name_the_key() {
        assert!(read("{\"q\":\"a\",\"level\":\"hard\"}").unwrap_err().contains("`level`"));
        assert!(read("{\"q\":\"a\",\"level\":0}").unwrap_err().contains("`level`"));
        assert!(read("{\"q\":\"a\",\"good\":[1]}").unwrap_err().contains("`good`"));
        assert!(read("{\"q\":\"a\",\"good\":[\"x\"],\"bad\":\"x\"}").unwrap_err().contains("both"));
        assert!(read("{\"q\":\"a\",\"id\":[]}").unwrap_err().contains("`id`"));
        assert!(read("[1]").unwrap_err().contains("not a JSON object"));
    }

    #[test]
    fn ids_default_to_places_and_ideal_becomes_target() {
        let items = read("{\"input\":\"a\",\"ideal\":\"b\"}\n{\"input\":\"c\",\"target\":\"d\"}\n").unwrap();
        assert_eq!((items[0].id.as_str(), items[1].id.as_str()), ("0", "1"));
        assert_eq!(items[0].data["target"], "b");
    }

    #[test]
    fn columns_of_foreign_data_sets_mean_nothing_here() {
        let text = "{\"id\":\"a\",\"level\":\"Level 5\",\"good\":3}\n{\"id\":\"a\",\"level\":\"Level 5\",\"good\":3}\n{\"id\":[]}";
        assert!(read(text).unwrap_err().contains("`level`"));
        let path = Path::new("items.jsonl");
        let items = of_rows(path, rows::read(path, text.as_bytes()).unwrap(), Columns::Theirs).unwrap();
        let ids: Vec<_> = items.iter().map(|item| item.id.as_str()).collect();
        assert_eq!((ids, items[0].level), (vec!["a", "row 2", "row 3"], None));
    }
}
