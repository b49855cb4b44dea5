//! The canonical form of a record and its content hash.
//!
//! Canonical JSON: objects with their keys sorted by UTF-8 bytes, no whitespace, strings escaped only where JSON demands
//! it, integers in decimal, other numbers in the shortest form that reads back to the same double (as `serde_json`
//! writes them). The hash is SHA-256 over the canonical form of the record without its `content_sha256`. It covers
//! every field, known to this build or not, and does not change when a file is pretty-printed or its keys reordered.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The field the hash is stored in and does not cover.
pub const HASH_FIELD: &str = "content_sha256";

/// Canonical JSON of `value`.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, None, &mut out);
    out
}

/// Content hash of a record: lower-case hex.
#[must_use]
pub fn content_hash(record: &Value) -> String {
    let mut out = String::new();
    write_canonical(record, Some(HASH_FIELD), &mut out);
    sha256_hex(out.as_bytes())
}

/// SHA-256 as lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Recursion is bounded: values come from `serde_json`, which refuses to nest deeper than 128.
fn write_canonical(value: &Value, skip: Option<&str>, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().filter(|(key, _)| Some(key.as_str()) != skip).collect();
            entries.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            out.push('{');
            for (i, (key, child)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(child, None, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, child) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(child, None, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
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
    fn sha256_is_the_standard_one() {
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
