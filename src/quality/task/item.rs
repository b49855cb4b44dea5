//! Items: one JSON object a line.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::quality::QualityError;

/// Items a task may have.
pub const MAX_ITEMS: usize = 100_000;
/// Bytes a line may have.
pub const MAX_LINE: usize = 1 << 20;

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

/// Reads JSON lines. Bare inspect-style rows get lm-eval's names: `ideal` is an alias of `target`.
///
/// # Errors
/// The first line that is not an object, repeats an id or another line's content, or is too long.
pub(super) fn parse(path: &Path, text: &str, cluster_by: Option<&str>) -> Result<Vec<Item>, QualityError> {
    let mut items = Vec::new();
    let mut ids = HashMap::new();
    let mut contents = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let line_no = index + 1;
        let error = |reason: String| QualityError::Item { path: path.into(), line: line_no, reason };
        if line.len() > MAX_LINE {
            return Err(error(format!("{} bytes, more than the {MAX_LINE} a line may have", line.len())));
        }
        if line.trim().is_empty() {
            return Err(error("empty item: remove the line".into()));
        }
        if items.len() == MAX_ITEMS {
            return Err(error(format!("more than {MAX_ITEMS} items: split the task")));
        }
        let data: Map<String, Value> =
            serde_json::from_str(line).map_err(|e| error(format!("not a JSON object: {}", short(&e))))?;
        if data.is_empty() {
            return Err(error("empty item: it has no keys".into()));
        }
        let item = item(data, line_no, items.len(), cluster_by).map_err(error)?;
        if let Some(first) = ids.insert(item.id.clone(), line_no) {
            return Err(error(format!("`id` {} repeats line {first}", item.id)));
        }
        if let Some(first) = contents.insert(content(&item.data), line_no) {
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
    let id = match data.get("id") {
        None => place.to_string(),
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        Some(_) => return Err("`id` must be a number or a string that is not empty".into()),
    };
    let level = match data.get("level") {
        None | Some(Value::Null) => None,
        Some(value) => Some(
            value
                .as_u64()
                .and_then(|level| u32::try_from(level).ok())
                .filter(|level| *level > 0)
                .ok_or_else(|| format!("`level` must be a whole number from 1, got {value}"))?,
        ),
    };
    let cluster = cluster_by.unwrap_or("template");
    let template = match data.get(cluster) {
        None if cluster_by.is_some() => return Err(format!("`{cluster}` is missing (the task clusters by it)")),
        None | Some(Value::Null) => None,
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

fn answers(data: &Map<String, Value>, key: &str) -> Result<Vec<String>, String> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("`{key}` must hold strings, got {other}")),
    };
    match data.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
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

/// serde_json's message without its own line number, which is always 1.
fn short(error: &serde_json::Error) -> String {
    error.to_string().replace("at line 1 column", "at column")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Item>, String> {
        parse(Path::new("items.jsonl"), text, None).map_err(|e| e.to_string())
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
}
