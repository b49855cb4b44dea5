//! Extraction: the typed fields of a JSON object.
//!
//! A field is right if its canonical form is: text without surrounding and repeated white space and case, dates as ISO,
//! money as minor units, numbers by value; an absent field is `null`. The score is the share of right fields, correct
//! nulls included; an item passes if all are right. The answer may be wrapped in other text: its first balanced JSON
//! object is read.

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
        let (Some(right), Some(answer)) = (object(right), object(answer)) else { return Score::binary(false) };
        let same = |(name, kind): (&String, &FieldType)| {
            // A field that is not there says the same as null.
            let value = |from: &Map<String, Value>| canonical(*kind, from.get(name).unwrap_or(&Value::Null));
            value(&right) == value(&answer)
        };
        let hits = self.types.iter().filter(|field| same(*field)).count();
        // All null is an answer only if everything is absent.
        Score { value: hits as f64 / self.types.len() as f64, pass: hits == self.types.len() }
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
        assert_eq!(fields().score(RIGHT, answer), Score { value: 1.0, pass: true });
        let answer = r#"{"number":"INV-7","date":"2026-03-04","total":"$1,250.40","due":""}"#;
        assert!(fields().score(RIGHT, answer).pass);
    }

    #[test]
    fn each_wrong_or_invented_field_costs_its_share() {
        let answer = r#"{"number":"INV-7","date":"2026-04-03","total":"1250.40","due":"2026-05-01"}"#;
        assert_eq!(fields().score(RIGHT, answer), Score { value: 0.5, pass: false });
        assert_eq!(fields().score(RIGHT, "none").value, 0.0);
        assert_eq!(fields().score(RIGHT, r#"{"number":"INV-7","#).value, 0.0);
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
