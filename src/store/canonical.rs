//! The canonical form of a record and its content hash.
//!
//! Canonical JSON: objects with their keys sorted by UTF-8 bytes, no whitespace, strings escaped only where JSON demands
//! it, integers in decimal, other numbers in the shortest form that reads back to the same double (as `serde_json`
//! writes them). The hash is SHA-256 over the canonical form of the record without its `content_sha256`. It covers
//! every field, known to this build or not, and does not change when a file is pretty-printed or its keys reordered.

mod scan;
mod shape;
mod token;

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::Error as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The field the hash is stored in and does not cover.
pub const HASH_FIELD: &str = "content_sha256";

/// The fields of a JSON object, each in canonical JSON.
pub type Members = BTreeMap<String, String>;

/// Canonical JSON of `value`.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    let text = value.to_string();
    // The text of a value is valid JSON, and no deeper than what is in memory already: it cannot be refused.
    scan::canonical(&text).unwrap_or(text)
}

/// Canonical JSON of what `value` is written as.
///
/// # Errors
/// A value that cannot be written as JSON.
pub fn form_of(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    Ok(scan::canonical(&text).unwrap_or(text))
}

/// Numbers in a JSON text.
#[must_use]
pub fn count_numbers(json: &str) -> u64 {
    let (mut rest, mut numbers) = (json.as_bytes(), 0);
    while let Some(&byte) = rest.first() {
        let token = match byte {
            b'"' => token::string(rest).map(|(length, _)| length),
            b'-' | b'0'..=b'9' => token::number(rest).map(|(length, _)| length),
            _ => None,
        };
        numbers += u64::from(byte != b'"' && token.is_some());
        rest = &rest[token.unwrap_or(1)..];
    }
    numbers
}

/// Content hash of a record: lower-case hex.
#[must_use]
pub fn content_hash(record: &Value) -> String {
    let fields = record.as_object().into_iter().flatten();
    members_hash(&fields.map(|(key, child)| (key.clone(), canonical_json(child))).collect())
}

/// Content hash of what `record` is written as: lower-case hex.
///
/// # Errors
/// A record that cannot be written as a JSON object.
pub fn hash_of(record: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(members_hash(&members(&serde_json::to_string(record)?)?))
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
/// scanned: no [`Value`] of it is built.
///
/// # Errors
/// What makes the text no JSON object.
pub fn members(text: &str) -> Result<Members, serde_json::Error> {
    scan::members(text).map_or_else(|| Err(refuse(text)), Ok)
}

/// Why `text` is no JSON object, in the words of a parser that keeps line and column.
fn refuse(text: &str) -> serde_json::Error {
    let error = serde_json::from_str::<Value>(text).err();
    error.unwrap_or_else(|| serde_json::Error::custom("expected a JSON object"))
}

/// SHA-256 as lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
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
        assert_eq!((count_numbers(text), count_numbers("[\"1\",-2,{\"3\":4.5e6}]")), (11, 2));
        for bad in ["[1]", "{\"a\":1} x", "{\"a\":", "{\"a\":NaN}", ""] {
            assert!(super::members(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sha256_is_the_standard_one() {
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
