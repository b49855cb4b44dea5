//! Extraction: the typed fields of a JSON object.
//!
//! A field is right if its canonical form is: text without surrounding and repeated white space and case, dates as ISO,
//! money as minor units, numbers by value; an absent field is `null`. The score is the share of right fields, correct
//! nulls included; an item passes if all are right. The answer may be wrapped in other text: its first balanced JSON
//! object is read (`repaired`), but only an answer that is nothing but one object counts as `parsed`, and only one with
//! exactly the fields asked for, each null or of its type, as `schema_valid`. Per item there are true positives (right,
//! not null), false positives (not null, wrong) and false negatives (should not be null, wrong): micro-F1 is
//! 2·TP/(2·TP + FP + FN) over all items.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Score;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Any text.
    Text,
    /// A calendar date, `YYYY-MM-DD`.
    Date,
    /// An amount with at most two decimals.
    Money,
    /// Letters and digits only count: numbers of documents, telephones.
    Id,
}

/// Compares the fields of two JSON objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    types: BTreeMap<String, FieldType>,
}

impl Fields {
    /// # Errors
    /// No field, or a type that does not exist.
    pub(super) fn new(types: &BTreeMap<String, String>) -> Result<Self, String> {
        if types.is_empty() {
            return Err("`fields` is missing: name each field and its type".into());
        }
        let parsed = types.iter().map(|(name, kind)| {
            let kind = match kind.as_str() {
                "text" => FieldType::Text,
                "date" => FieldType::Date,
                "money" => FieldType::Money,
                "id" => FieldType::Id,
                other => return Err(format!("field `{name}` has type `{other}`: use text, date, money or id")),
            };
            Ok((name.clone(), kind))
        });
        Ok(Self { types: parsed.collect::<Result<_, _>>()? })
    }

    /// Judges `answer` against the right object, itself JSON.
    pub(super) fn score(&self, right: &str, answer: &str) -> Score {
        let Some(right) = object(right) else { return Score::binary(false) };
        let whole: Option<Map<String, Value>> = serde_json::from_str(answer.trim()).ok();
        let parsed = whole.is_some();
        let valid = whole.as_ref().is_some_and(|object| self.is_valid(object));
        let found = whole.or_else(|| object(answer));
        let flag = |set: bool| f64::from(u8::from(set));
        let (mut hits, mut true_positives, mut false_positives, mut false_negatives) = (0, 0, 0, 0);
        for (name, kind) in &self.types {
            // A field that is not there says the same as null.
            let value = |from: &Map<String, Value>| canonical(*kind, from.get(name).unwrap_or(&Value::Null));
            let (gold, said) = (value(&right), found.as_ref().and_then(value));
            // All null is an answer only if there is an object.
            let hit = found.is_some() && gold == said;
            hits += usize::from(hit);
            true_positives += usize::from(hit && gold.is_some());
            false_positives += usize::from(!hit && said.is_some());
            false_negatives += usize::from(!hit && gold.is_some());
        }
        let value = hits as f64 / self.types.len() as f64;
        Score { value, pass: hits == self.types.len(), parts: Vec::new() }
            .with("parsed", flag(parsed))
            .with("repaired", flag(!parsed && found.is_some()))
            .with("schema_valid", flag(valid))
            .with("true_positives", true_positives as f64)
            .with("false_positives", false_positives as f64)
            .with("false_negatives", false_negatives as f64)
    }

    /// Whether an object has exactly the fields, each null or a value of its type.
    fn is_valid(&self, object: &Map<String, Value>) -> bool {
        let fits = |(name, kind): (&String, &FieldType)| match (kind, object.get(name)) {
            (_, Some(Value::Null)) => true,
            (FieldType::Date, Some(Value::String(text))) => date(text).is_some(),
            (FieldType::Money, Some(Value::String(text))) => cents(text).is_some(),
            (FieldType::Money, Some(Value::Number(_))) | (_, Some(Value::String(_))) => true,
            _ => false,
        };
        object.len() == self.types.len() && self.types.iter().all(fits)
    }
}

/// The first balanced JSON object in a text.
fn object(text: &str) -> Option<Map<String, Value>> {
    let start = text.find('{')?;
    let mut stream = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Map<String, Value>>();
    stream.next()?.ok()
}

/// The form two equal values share; `None` for null.
fn canonical(kind: FieldType, value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.trim().to_lowercase(),
        other => other.to_string(),
    };
    if text.is_empty() || text == "null" {
        return None;
    }
    Some(match kind {
        FieldType::Text => text.split_whitespace().collect::<Vec<_>>().join(" "),
        FieldType::Id => text.chars().filter(|c| c.is_alphanumeric()).collect(),
        FieldType::Date => date(&text).unwrap_or(text),
        FieldType::Money => cents(&text).map_or(text, |cents| cents.to_string()),
    })
}

/// `2026-3-4` as `2026-03-04`.
fn date(text: &str) -> Option<String> {
    let parts: Vec<u32> = text.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    match parts[..] {
        [year, month @ 1..=12, day @ 1..=31] => Some(format!("{year:04}-{month:02}-{day:02}")),
        _ => None,
    }
}

/// Minor units of an amount: `$1,250.4` is 125040.
fn cents(text: &str) -> Option<i64> {
    let digits: String = text.chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | '-')).collect();
    let (negative, digits) = digits.strip_prefix('-').map_or((false, digits.as_str()), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !digits.contains(|c: char| c.is_ascii_digit())
        || fraction.len() > 2
        || !fraction.bytes().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let amount: i64 = format!("{whole}{fraction:0<2}").parse().ok()?;
    Some(if negative { -amount } else { amount })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = r#"{"number":"INV-7","date":"2026-03-04","total":"1250.40","due":null}"#;

    fn fields() -> Fields {
        let types = [("number", "id"), ("date", "date"), ("total", "money"), ("due", "date")];
        Fields::new(&types.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect()).unwrap()
    }

    #[test]
    fn forms_that_mean_the_same_are_the_same() {
        let answer = r#"Here: {"total": 1250.4, "number": "inv 7", "date": "2026-3-4"} and more"#;
        let score = fields().score(RIGHT, answer);
        assert_eq!((score.value, score.pass), (1.0, true));
        let part = |name| score.part(name).unwrap();
        assert_eq!((part("parsed"), part("repaired"), part("schema_valid")), (0.0, 1.0, 0.0));
        let answer = r#"{"number":"INV-7","date":"2026-03-04","total":"$1,250.40","due":""}"#;
        assert!(fields().score(RIGHT, answer).pass);
    }

    #[test]
    fn each_wrong_or_invented_field_costs_its_share() {
        let answer = r#"{"number":"INV-7","date":"2026-04-03","total":"1250.40","due":"2026-05-01"}"#;
        let score = fields().score(RIGHT, answer);
        assert_eq!((score.value, score.pass), (0.5, false));
        let part = |name| score.part(name).unwrap();
        assert_eq!((part("parsed"), part("repaired"), part("schema_valid")), (1.0, 0.0, 1.0));
        assert_eq!((part("true_positives"), part("false_positives"), part("false_negatives")), (2.0, 2.0, 1.0));
        let none = fields().score(RIGHT, "none");
        assert_eq!((none.value, none.part("false_negatives")), (0.0, Some(3.0)));
        assert_eq!(fields().score(RIGHT, r#"{"number":"INV-7","#).value, 0.0);
    }

    #[test]
    fn an_object_is_valid_only_with_exactly_its_fields_and_types() {
        let valid = |answer: &str| fields().score(RIGHT, answer).part("schema_valid") == Some(1.0);
        assert!(valid(r#" {"number":"1","date":null,"total":5,"due":"2026-01-02"}"#));
        assert!(!valid(r#"{"number":"1","date":null,"total":"5"}"#), "a field is missing");
        assert!(!valid(r#"{"number":"1","date":null,"total":"5","due":null,"more":1}"#), "one is too many");
        assert!(!valid(r#"{"number":"1","date":"tomorrow","total":"5","due":null}"#), "no date");
        assert!(!valid(r#"{"number":1,"date":null,"total":"5","due":null}"#), "an id is a string");
    }

    #[test]
    fn amounts_are_minor_units_or_nothing() {
        assert_eq!((cents("$1,250.4"), cents("-3"), cents("0.05")), (Some(125_040), Some(-300), Some(5)));
        assert_eq!((cents("1.234"), cents("ten"), cents("1.2.3")), (None, None, None));
    }

    #[test]
    fn a_type_that_does_not_exist_is_named() {
        let types = BTreeMap::from([("a".to_owned(), "colour".to_owned())]);
        assert!(Fields::new(&types).unwrap_err().contains("`colour`"));
    }
}
