//! The scanner against the parser and the long way round.

use proptest::prelude::*;

use serde_json::{Number, Value};

use super::super::members;
use super::Dialect;

fn canonical(text: &str) -> Option<String> {
    super::canonical(text, Dialect::First)
}

/// The same from a parsed value, the long way.
fn long_way(value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(long_way).collect::<Vec<_>>().join(","))
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_bytes());
            let field =
                |(name, child): (&String, &Value)| format!("{}:{}", Value::from(name.as_str()), long_way(child));
            format!("{{{}}}", fields.into_iter().map(field).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}

fn agrees(text: &str) {
    let value: Option<Value> = serde_json::from_str(text).ok();
    assert_eq!(canonical(text), value.as_ref().map(long_way), "{text}");
}

#[test]
fn numbers_read_as_the_parser_reads_them() {
    for text in [
        "0",
        "-0",
        "-0.0",
        "0.0",
        "00",
        "01",
        "-",
        "-1",
        "1.",
        ".5",
        "1e",
        "1e5",
        "1E-5",
        "1e+22",
        "0.1",
        "0.10",
        "100.0",
        "0.00001",
        "0.0001",
        "0.00012",
        "0.000001",
        "123456789.123456",
        "1234567890.123456",
        "0.1234567890123456789",
        "999999999999999999",
        "9223372036854775807",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "1e400",
        "1e-400",
        "5e-324",
        "100000000000000000000.0",
        "2.0",
        "2.50",
        "+1",
        "1.5e3",
        "1 2",
        "NaN",
        "1x",
        "9007199254740993.0",
        "0e5",
        "-00",
    ] {
        agrees(text);
    }
}

#[test]
fn strings_read_as_the_parser_reads_them() {
    for text in [
        r#""plain é \" \\ \/ \b \f \n \r \t \u00e9 \u0001 \ud83d\ude00""#,
        r#""\ud800""#,
        r#""\x""#,
        r#""\"#,
        r#"""#,
        "\"a\nb\"",
        "\"\u{7f}\u{2028}\"",
        r#"{"\u0061":1,"a":2,"é":{"b":[],"a":{}}}"#,
        r#"{"a" : [ 1 , {} ] }"#,
        r#"{"a":1,}"#,
        "[1,]",
        "[,]",
        "{,}",
        "{1:2}",
        "{\"a\"}",
        "[1 2]",
        "tru",
        "truex",
        "nul",
        "",
        " ",
        "[]]",
        "{}x",
    ] {
        agrees(text);
    }
}

#[test]
fn nesting_is_bounded_as_in_the_parser() {
    for depth in [126, 127, 128, 5000] {
        let text = format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert_eq!(members(&text, Dialect::First).is_ok(), serde_json::from_str::<Value>(&text).is_ok(), "{depth}");
    }
}

/// Any value.
pub(in crate::store::canonical) fn json() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<f64>().prop_filter_map("finite", Number::from_f64),
        (-1e6..1e6f64).prop_filter_map("finite", |x| Number::from_f64((x * 1e4).round() / 1e4)),
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
    ];
    let text = "[ -~é\"\\\\\n\u{1}]{0,6}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number.prop_map(Value::Number),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text, inner), 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_compact_or_pretty_has_the_canonical_form_of_the_long_way(value in json()) {
        prop_assert_eq!(canonical(&value.to_string()), Some(long_way(&value)));
        prop_assert_eq!(canonical(&serde_json::to_string_pretty(&value).unwrap()), Some(long_way(&value)));
    }

    #[test]
    fn any_decimal_reads_as_the_parser_reads_it(whole in 0u64..10_000_000, fraction in "[0-9]{1,18}", zero: bool) {
        agrees(&format!("{}.{fraction}", if zero { 0 } else { whole }));
    }

    #[test]
    fn a_text_with_a_byte_changed_is_read_or_refused_as_the_parser_does(
        value in json(), place: prop::sample::Index, byte in b' '..=b'~'
    ) {
        let mut bytes = value.to_string().into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            agrees(&text);
        }
    }
    #[test]
    fn the_standard_dialect_differs_in_numbers_only_and_reads_back_to_the_same_doubles(value in json()) {
        let form = super::canonical(&value.to_string(), Dialect::Rfc8785).unwrap();
        prop_assert_eq!(super::canonical(&form, Dialect::Rfc8785), Some(form.clone()));
        let read: Value = serde_json::from_str(&form).unwrap();
        prop_assert_eq!(doubles(&read), doubles(&value));
    }
}

/// The value with every number as a double, and zero without a sign.
fn doubles(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, |x| Value::from(x + 0.0)),
        Value::Array(elements) => elements.iter().map(doubles).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(name, child)| (name.clone(), doubles(child))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        other => other.clone(),
    }
}
