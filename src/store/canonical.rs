//! The canonical form of a record and its content hash.
//!
//! Canonical JSON: objects with their keys sorted by UTF-8 bytes, no whitespace, strings escaped only where JSON demands
//! it, integers in decimal, other numbers in the shortest form that reads back to the same double (as `serde_json`
//! writes them). The hash is SHA-256 over the canonical form of the record without its `content_sha256`. It covers
//! every field, known to this build or not, and does not change when a file is pretty-printed or its keys reordered.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use sha2::{Digest as _, Sha256};

/// The field the hash is stored in and does not cover.
pub const HASH_FIELD: &str = "content_sha256";

/// The fields of a JSON object, each in canonical JSON.
pub type Members = BTreeMap<String, String>;

/// Canonical JSON of `value`.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    let mut out = Out::default();
    // A value is valid JSON and a string takes everything: neither reading nor writing can fail.
    let _ = Writer(&mut out).deserialize(value);
    out.text
}

/// Content hash of a record: lower-case hex.
#[must_use]
pub fn content_hash(record: &Value) -> String {
    let fields = record.as_object().into_iter().flatten();
    members_hash(&fields.map(|(key, child)| (key.clone(), canonical_json(child))).collect())
}

/// Content hash of a record from its fields: lower-case hex.
#[must_use]
pub fn members_hash(members: &Members) -> String {
    let mut hash = Sha256::new();
    let mut before = "{";
    for (key, canonical) in members.iter().filter(|(key, _)| *key != HASH_FIELD) {
        hash.update(before);
        hash.update(Value::from(key.as_str()).to_string());
        hash.update(":");
        hash.update(canonical);
        before = ",";
    }
    if before == "{" {
        hash.update(before);
    }
    hash.update("}");
    hex(&hash.finalize())
}

/// The fields of the JSON object in `text`; of two fields of one name the last. The text is made canonical as it is
/// read: no [`Value`] of it is built.
///
/// # Errors
/// What makes the text no JSON object.
pub fn members(text: &str) -> Result<Members, serde_json::Error> {
    struct Fields;
    impl<'de> Visitor<'de> for Fields {
        type Value = Members;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
            let (mut members, mut out) = (Members::new(), Out::default());
            while let Some(key) = map.next_key()? {
                map.next_value_seed(Writer(&mut out))?;
                members.insert(key, std::mem::take(&mut out.text));
            }
            Ok(members)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Fields)?;
    reader.end()?;
    Ok(members)
}

/// SHA-256 as lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Canonical JSON as it grows, and what its objects are sorted with: one allocation for all of them.
#[derive(Default)]
struct Out<'de> {
    text: String,
    /// Fields of the objects that are open, innermost last: name, and place in `text`.
    fields: Vec<(Cow<'de, str>, Range<usize>)>,
    unsorted: String,
}

/// Appends what it reads as canonical JSON. Recursion is bounded: `serde_json` refuses to nest deeper than 128.
struct Writer<'a, 'de>(&'a mut Out<'de>);

impl Writer<'_, '_> {
    fn number<E: de::Error>(self, number: impl fmt::Display) -> Result<(), E> {
        fmt::Write::write_fmt(&mut self.0.text, format_args!("{number}")).map_err(E::custom)
    }
}

/// A field's name, borrowed from the text where it stands there without escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

impl<'de> DeserializeSeed<'de> for Writer<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.0.text.push_str("null");
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.0.text.push_str(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.number(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.number(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        match Number::from_f64(value) {
            Some(number) => self.number(number),
            None => self.visit_unit(),
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        write_string(value, &mut self.0.text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.text.push('[');
        let start = self.0.text.len();
        loop {
            let before = self.0.text.len();
            if before > start {
                self.0.text.push(',');
            }
            if seq.next_element_seed(Writer(self.0))?.is_none() {
                self.0.text.truncate(before);
                self.0.text.push(']');
                return Ok(());
            }
        }
    }

    /// Fields are written in the order in which they come, each with the comma that follows it, and sorted afterwards.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let out = self.0;
        out.text.push('{');
        let (start, first) = (out.text.len(), out.fields.len());
        while let Some(name) = map.next_key_seed(Name)? {
            let field = out.text.len();
            write_string(&name, &mut out.text);
            out.text.push(':');
            map.next_value_seed(Writer(out))?;
            out.text.push(',');
            out.fields.push((name, field..out.text.len()));
        }
        let fields = &mut out.fields[first..];
        if !fields.is_sorted_by(|a, b| a.0 < b.0) {
            // A stable sort: of fields of one name the last is the last.
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            out.unsorted.clear();
            out.unsorted.push_str(&out.text[start..]);
            out.text.truncate(start);
            for (i, (name, field)) in fields.iter().enumerate() {
                if fields.get(i + 1).is_none_or(|(next, _)| next != name) {
                    out.text.push_str(&out.unsorted[field.start - start..field.end - start]);
                }
            }
        }
        out.fields.truncate(first);
        if out.text.len() > start {
            out.text.pop();
        }
        out.text.push('}');
        Ok(())
    }
}

/// A string as `serde_json` writes it; most need no escape.
fn write_string(text: &str, out: &mut String) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_and_whitespace_is_gone() {
        let value: Value =
            serde_json::from_str(" { \"b\" : [ 1 , 2.50, null ], \"a\" : { \"é\": \"x\\n\", \"z\": true } } ").unwrap();
        assert_eq!(canonical_json(&value), "{\"a\":{\"z\":true,\"é\":\"x\\n\"},\"b\":[1,2.5,null]}");
    }

    #[test]
    fn the_hash_ignores_order_and_itself_and_nothing_else() {
        let a = json!({"x": 1.5, "y": {"content_sha256": "inner"}, "content_sha256": "one"});
        let b = json!({"content_sha256": "two", "y": {"content_sha256": "inner"}, "x": 1.5});
        assert_eq!(content_hash(&a), content_hash(&b));
        let inner = json!({"x": 1.5, "y": {"content_sha256": "other"}, "content_sha256": "one"});
        assert_ne!(content_hash(&a), content_hash(&inner));
        let unknown_field = json!({"x": 1.5, "y": {"content_sha256": "inner"}, "new": 0});
        assert_ne!(content_hash(&a), content_hash(&unknown_field));
    }

    #[test]
    fn members_of_a_text_are_those_of_its_value() {
        let text = r#" {"b":[1,-2,2.50,1e300,18446744073709551615,1e20,-0.0,null,[],{}], "a": {"z\u00e9\"\n":true,"\u0001":[{}]},
            "content_sha256":"x","twice":1,"twice":{"y":1,"x":2,"y":3}} "#;
        let value: Value = serde_json::from_str(text).unwrap();
        let members = members(text).unwrap();
        for (key, child) in value.as_object().unwrap() {
            assert_eq!(members[key], canonical_json(child));
            assert_eq!(serde_json::from_str::<Value>(&members[key]).unwrap(), *child);
        }
        assert_eq!(members_hash(&members), content_hash(&value));
        assert_eq!(members["twice"], r#"{"x":2,"y":3}"#);
        let whole: Members = members.into_iter().filter(|(key, _)| key != HASH_FIELD).collect();
        let mut without = value.clone();
        without.as_object_mut().unwrap().remove(HASH_FIELD);
        assert_eq!(members_hash(&whole), sha256_hex(canonical_json(&without).as_bytes()));
        assert_eq!(members_hash(&Members::new()), sha256_hex(b"{}"));
        for bad in ["[1]", "{\"a\":1} x", "{\"a\":", "{\"a\":NaN}", ""] {
            assert!(super::members(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sha256_is_the_standard_one() {
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
