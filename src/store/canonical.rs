//! The canonical form of a record and its content hash.
//!
//! The hash is SHA-256 over the canonical JSON of the record without its `content_sha256`. It covers every field, known
//! to this build or not, and does not change when a file is pretty-printed, its keys are reordered, or another program
//! writes its numbers in another way. See [`Dialect`] for what canonical means.

mod read;
mod scan;
mod shape;
pub(super) mod token;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The field the hash is stored in and does not cover.
pub const HASH_FIELD: &str = "content_sha256";

/// The fields of a JSON object, each in canonical JSON.
pub type Members = BTreeMap<String, String>;

/// What canonical JSON is. In both dialects keys are sorted, there is no whitespace, and strings are escaped only where
/// JSON demands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Records of versions 1 and 2: keys sorted by their UTF-8 bytes, integers of 64 bits in decimal, other numbers as
    /// `serde_json` writes them (2.0, 1e-5, 1e16).
    First,
    /// Records since version 3: RFC 8785. Keys are sorted by their UTF-16 code units, every number is a double as
    /// ECMAScript prints it (2, 0.00001, 10000000000000000), so that any JSON Canonicalization Scheme library gives it.
    Rfc8785,
}

impl Dialect {
    /// The dialect of records of this version.
    #[must_use]
    pub const fn of(schema_version: u32) -> Self {
        if schema_version < 3 { Self::First } else { Self::Rfc8785 }
    }

    /// Integers of up to so many digits are printed as they are.
    const fn integer_digits(self) -> usize {
        match self {
            Self::First => 18,
            Self::Rfc8785 => 15,
        }
    }

    fn compare(self, a: &str, b: &str) -> Ordering {
        match self {
            Self::First => a.cmp(b),
            Self::Rfc8785 => a.encode_utf16().cmp(b.encode_utf16()),
        }
    }
}

/// Canonical JSON (RFC 8785) of `value`.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    in_dialect(value, Dialect::Rfc8785)
}

fn in_dialect(value: &Value, dialect: Dialect) -> String {
    let text = value.to_string();
    // The text of a value is valid JSON, and no deeper than what is in memory already: it cannot be refused.
    scan::canonical(&text, dialect).unwrap_or(text)
}

/// Canonical JSON of what `value` is written as.
///
/// # Errors
/// A value that cannot be written as JSON.
pub fn form_of(value: &impl Serialize, dialect: Dialect) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    Ok(scan::canonical(&text, dialect).unwrap_or(text))
}

/// Numbers in a JSON text.
#[must_use]
pub fn count_numbers(json: &str) -> u64 {
    let (mut rest, mut numbers) = (json.as_bytes(), 0);
    while let Some(&byte) = rest.first() {
        let token = match byte {
            b'"' => token::string(rest).map(|(length, _)| length),
            b'-' | b'0'..=b'9' => token::number(rest, Dialect::First).map(|(length, _, _)| length),
            _ => None,
        };
        numbers += u64::from(byte != b'"' && token.is_some());
        rest = &rest[token.unwrap_or(1)..];
    }
    numbers
}

/// Content hash of a record, in the dialect of its version: lower-case hex.
#[must_use]
pub fn content_hash(record: &Value) -> String {
    let version = record.get("schema_version").and_then(Value::as_u64);
    let dialect = Dialect::of(version.and_then(|version| version.try_into().ok()).unwrap_or_default());
    let fields = record.as_object().into_iter().flatten();
    members_hash(&fields.map(|(key, child)| (key.clone(), in_dialect(child, dialect))).collect(), dialect)
}

/// Content hash of what `record` is written as: lower-case hex.
///
/// # Errors
/// A record that cannot be written as a JSON object.
pub fn hash_of(record: &impl Serialize, dialect: Dialect) -> Result<String, serde_json::Error> {
    Ok(members_hash(&members(&serde_json::to_string(record)?, dialect)?, dialect))
}

/// Content hash of a record from its fields: lower-case hex.
#[must_use]
pub fn members_hash(members: &Members, dialect: Dialect) -> String {
    let mut fields: Vec<_> = members.iter().filter(|(key, _)| *key != HASH_FIELD).collect();
    fields.sort_by(|a, b| dialect.compare(a.0, b.0));
    let mut hash = Sha256::new();
    let mut before = "{";
    for (key, canonical) in fields {
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
pub fn members(text: &str, dialect: Dialect) -> Result<Members, serde_json::Error> {
    let read = read::read::<IgnoredAny>(text, dialect);
    read.map_or_else(|| Err(refuse(text)), |(_, members)| Ok(members))
}

/// What the JSON object in `text` holds, together with its [`members`]: the text is passed once for both. `None` if it
/// holds no such object.
pub fn read<'a, T: Deserialize<'a>>(text: &'a str, dialect: Dialect) -> Option<(T, Members)> {
    read::read(text, dialect)
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
        let members = members(text, Dialect::First).unwrap();
        for (key, child) in value.as_object().unwrap() {
            assert_eq!(members[key], in_dialect(child, Dialect::First));
            assert_eq!(serde_json::from_str::<Value>(&members[key]).unwrap(), *child);
        }
        assert_eq!(members_hash(&members, Dialect::First), content_hash(&value));
        assert_eq!(members["twice"], r#"{"x":2,"y":3}"#);
        let whole: Members = members.into_iter().filter(|(key, _)| key != HASH_FIELD).collect();
        let mut without = value.clone();
        without.as_object_mut().unwrap().remove(HASH_FIELD);
        assert_eq!(members_hash(&whole, Dialect::First), sha256_hex(in_dialect(&without, Dialect::First).as_bytes()));
        assert_eq!(members_hash(&Members::new(), Dialect::First), sha256_hex(b"{}"));
        assert_eq!((count_numbers(text), count_numbers("[\"1\",-2,{\"3\":4.5e6}]")), (11, 2));
        for bad in ["[1]", "{\"a\":1} x", "{\"a\":", "{\"a\":NaN}", ""] {
            assert!(super::members(bad, Dialect::First).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_record_of_version_3_has_the_hash_any_library_for_the_standard_gives() {
        // RFC 8785, 3.2.2 and 3.2.3.
        let text = r#"{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001, -0.0, 2.0],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"#;
        let form = canonical_json(&serde_json::from_str(text).unwrap());
        let numbers = "[333333333.3333333,1e+30,4.5,0.002,1e-27,0,2]";
        let string = r#""€$\u000f\nA'B\"\\\\\"/""#;
        assert_eq!(form, format!(r#"{{"literals":[null,true,false],"numbers":{numbers},"string":{string}}}"#));
        let keys = json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        assert_eq!(
            canonical_json(&keys),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}"
        );
        let written = |number: &str| {
            content_hash(&serde_json::from_str(&format!("{{\"schema_version\":3,\"x\":{number}}}")).unwrap())
        };
        assert_eq!(written("300.0"), written("3e2"));
        assert_eq!(written("300.0"), written("300"));
        assert_ne!(written("300.0"), written("300.5"));
    }

    #[test]
    fn sha256_is_the_standard_one() {
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
