//! A bare data file as a task: rows with `input` and `target` as inspect_ai writes them, no `task.yaml`.
//!
//! With `choices` the likeliest choice is the answer; `target` is its letter, place or text. Without, the model writes
//! one line, which is right if it equals a target up to case and punctuation. The prompt is the input followed by
//! `Answer:`. Whoever wants another prompt, worked examples or a bar writes a `task.yaml`.

use serde_json::{Map, Value};

use super::rows::Row;
use super::wire::{WireGeneration, WireMetric, WireTask};

/// The task a bare file stands for; `name` is its stem.
pub(super) fn wire(name: &str, has_choices: bool) -> WireTask {
    let metric = |name: &str| WireMetric {
        metric: name.into(),
        ignore_case: !has_choices,
        ignore_punctuation: !has_choices,
        ..WireMetric::default()
    };
    let shared = WireTask {
        task: Some(name.into()),
        doc_to_text: Some("{{input}}\nAnswer:".into()),
        doc_to_target: Some("target".into()),
        ..WireTask::default()
    };
    if has_choices {
        WireTask {
            output_type: Some("multiple_choice".into()),
            doc_to_choice: Some("choices".into()),
            metric_list: Some(vec![metric("acc")]),
            ..shared
        }
    } else {
        let generation = WireGeneration { until: Some("\n".into()), ..WireGeneration::default() };
        WireTask {
            output_type: Some("generate_until".into()),
            generation_kwargs: Some(generation),
            metric_list: Some(vec![metric("exact_match")]),
            ..shared
        }
    }
}

/// Brings a row into the form the task above reads.
///
/// # Errors
/// Which key is missing or cannot be used, and what would be right.
pub(super) fn normalize(row: &mut Row) -> Result<(), String> {
    let data = &mut row.data;
    if !data.contains_key("target")
        && let Some(ideal) = data.remove("ideal")
    {
        data.insert("target".into(), ideal);
    }
    let input = match data.get("input") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(messages)) => messages_as_text(messages)?,
        Some(other) => return Err(format!("`input` must be text or a list of messages, got {other}")),
        None => {
            let columns: Vec<_> = data.keys().map(|key| format!("`{key}`")).collect();
            let columns = columns.join(", ");
            return Err(format!("no column `input` (there are {columns}): rename one, or name them in a task.yaml"));
        }
    };
    data.insert("input".into(), Value::String(input));
    if data.get("target").is_none_or(Value::is_null) {
        return Err("no column `target`: every row needs its right answer".into());
    }
    if let Some(Value::Array(choices)) = data.get("choices") {
        let place = data.get("target").and_then(|target| place_of(target, choices));
        let place = place.ok_or_else(|| {
            let target = data.get("target").cloned().unwrap_or_default();
            format!("`target` {target} is no letter, place or text of one of the {} choices", choices.len())
        })?;
        data.insert("target".into(), place.into());
    }
    Ok(())
}

/// The texts of a conversation that has not begun yet.
fn messages_as_text(messages: &[Value]) -> Result<String, String> {
    let text = |message: &Map<String, Value>| match message.get("content") {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err("`input` has a message whose `content` is not text".to_owned()),
    };
    let mut parts = Vec::new();
    for message in messages {
        let message = message.as_object().ok_or_else(|| format!("`input` holds {message}, which is no message"))?;
        match message.get("role").and_then(Value::as_str) {
            Some("system" | "user" | "developer") => parts.push(text(message)?),
            role => {
                let role = role.unwrap_or("no");
                return Err(format!("`input` has a message of {role} role: only what comes before the answer is read"));
            }
        }
    }
    Ok(parts.join("\n\n"))
}

/// A choice's place from its letter (`B`), its place from 0 or its text; a list of one of these counts as it.
fn place_of(target: &Value, choices: &[Value]) -> Option<usize> {
    let within = |place: usize| (place < choices.len()).then_some(place);
    match target {
        Value::Array(list) => match list.as_slice() {
            [only] => place_of(only, choices),
            _ => None,
        },
        Value::Number(place) => within(usize::try_from(place.as_u64()?).ok()?),
        Value::String(text) => {
            choices.iter().position(|choice| choice.as_str() == Some(text)).or_else(|| match text.trim().as_bytes() {
                [letter @ b'A'..=b'Z'] => within(usize::from(letter - b'A')),
                _ => within(text.trim().parse().ok()?),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn normalized(data: Value) -> Result<Value, String> {
        let Value::Object(data) = data else { panic!("an object") };
        let mut row = Row { line: 1, data };
        normalize(&mut row).map(|()| Value::Object(row.data))
    }

    #[test]
    fn a_target_is_a_letter_a_place_or_a_text() {
        let choices = json!(["red", "A", "2"]);
        for (target, place) in [
            (json!("B"), 1),
            (json!("A"), 1),
            (json!("C"), 2),
            (json!(["red"]), 0),
            (json!(2), 2),
            (json!("2"), 2),
            (json!("1"), 1),
        ] {
            let row = normalized(json!({"input": "x", "choices": choices, "target": target})).unwrap();
            assert_eq!(row["target"], place, "{target}");
        }
        for target in [json!("D"), json!(3), json!("blue"), json!(["red", "A"]), json!(-1)] {
            let error = normalized(json!({"input": "x", "choices": choices, "target": target})).unwrap_err();
            assert!(error.contains("`target`"), "{error}");
        }
    }

    #[test]
    fn messages_are_joined_and_what_cannot_be_read_is_named() {
        let chat = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]);
        assert_eq!(normalized(json!({"input": chat, "ideal": "so"})).unwrap()["input"], "Be brief.\n\nWhy?");
        for (row, wanted) in [
            (json!({"question": "x", "target": "y"}), "no column `input` (there are `question`, `target`)"),
            (json!({"input": "x"}), "no column `target`"),
            (json!({"input": 5, "target": "y"}), "`input` must be text"),
            (json!({"input": [{"role": "assistant", "content": "hm"}], "target": "y"}), "assistant role"),
            (json!({"input": [{"role": "user", "content": [1]}], "target": "y"}), "not text"),
        ] {
            let error = normalized(row).unwrap_err();
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
    }
}
