//! The reader against `serde_json`.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::scan::tests::json;
use super::{Dialect, read};

/// One of everything a record is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Typed {
    count: Option<u64>,
    pair: (i64, f64),
    kinds: Vec<Kind>,
    tagged: Tagged,
    wrapped: Wrapped,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inner: Option<Box<Typed>>,
    any: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped(String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Plain,
    New(f64),
    Two(u8, bool),
    Named { text: String, flag: bool },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    A { x: i64 },
    B,
}

/// Both read the same, or both refuse.
fn agrees<T: for<'a> Deserialize<'a> + PartialEq + std::fmt::Debug>(text: &str) {
    let read = read::<T>(text, Dialect::Rfc8785);
    assert_eq!(read.map(|(read, _)| read), serde_json::from_str(text).ok(), "{text}");
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Plain),
        any::<f64>().prop_filter("JSON has no others", |x| x.is_finite()).prop_map(Kind::New),
        any::<(u8, bool)>().prop_map(|(x, flag)| Kind::Two(x, flag)),
        ("[ -~é\\n]{0,9}", any::<bool>()).prop_map(|(text, flag)| Kind::Named { text, flag }),
    ]
}

fn typed() -> impl Strategy<Value = Typed> {
    let tagged = prop_oneof![any::<i64>().prop_map(|x| Tagged::A { x }), Just(Tagged::B)];
    let leaf =
        (any::<Option<u64>>(), any::<i64>(), -1e9..1e9, prop::collection::vec(kind(), 0..4), tagged, ".{0,9}", json());
    let leaf = leaf.prop_map(|(count, whole, double, kinds, tagged, text, any)| Typed {
        count,
        pair: (whole, double),
        kinds,
        tagged,
        wrapped: Wrapped(text),
        inner: None,
        any,
    });
    let leaf = leaf.boxed();
    (leaf.clone(), prop::option::of(leaf)).prop_map(|(outer, inner)| Typed { inner: inner.map(Box::new), ..outer })
}

#[test]
fn types_are_read_or_refused_as_the_parser_does() {
    for text in [
        r#""plain""#,
        r#""new""#,
        r#"{"plain":null}"#,
        r#"{"plain":1}"#,
        r#"{"new":1}"#,
        r#"{"new":1,"plain":null}"#,
        r#"{"two":[1,true]}"#,
        r#"{"two":[1,true,2]}"#,
        r#"{"two":[1]}"#,
        r#"{"two":[256,true]}"#,
        r#"{"two":[1.0,true]}"#,
        r#"{"named":{"text":"a\u0062","flag":true,"more":[{}]}}"#,
        r#"{"named":["a",true]}"#,
        r#"{"named":{"text":null,"flag":true}}"#,
        r#"{"na\u006ded":{"text":"","flag":true}}"#,
        "{}",
        "{",
        "null",
    ] {
        agrees::<std::collections::BTreeMap<String, Kind>>(&format!("{{\"a\":{text}}}"));
        agrees::<std::collections::BTreeMap<String, Option<Kind>>>(&format!("{{\"a\":[],\"b\":{text}}}"));
        agrees::<std::collections::BTreeMap<String, Vec<Kind>>>(&format!("{{\"b\": [ {text} , {text} ] }}"));
    }
    for number in ["0", "-0", "-0.0", "1e3", "1.0", "18446744073709551615", "18446744073709551616", "-1", "1e999", "01"]
    {
        agrees::<Map<String, Value>>(&format!("{{\"a\":{number}}}"));
        agrees::<std::collections::BTreeMap<String, f64>>(&format!("{{\"a\":{number}}}"));
        agrees::<std::collections::BTreeMap<String, u64>>(&format!("{{\"a\":{number}}}"));
        agrees::<std::collections::BTreeMap<String, i32>>(&format!("{{\"a\":{number}}}"));
    }
}

proptest! {
    #[test]
    fn any_record_reads_as_the_parser_reads_it(value in typed()) {
        agrees::<Typed>(&serde_json::to_string(&value).unwrap());
        agrees::<Typed>(&serde_json::to_string_pretty(&value).unwrap());
        agrees::<Map<String, Value>>(&serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn a_text_with_a_byte_changed_is_read_or_refused_as_the_parser_does(
        value in typed(), place: prop::sample::Index, byte in b' '..=b'~'
    ) {
        let mut bytes = serde_json::to_vec(&value).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            agrees::<Typed>(&text);
            agrees::<Map<String, Value>>(&text);
        }
    }

    #[test]
    fn what_is_read_does_not_change_the_form(value in typed()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let (_, form) = read::<Typed>(&text, Dialect::Rfc8785).unwrap();
        prop_assert_eq!(form, super::super::members(&text, Dialect::Rfc8785).unwrap());
    }
}
