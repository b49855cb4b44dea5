//! Text and data inside a page: escaped, packed, and named by hash in the content security policy.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use crate::report::{is_bidi_control, one_line};

/// Text that stays text, on one line, in elements and in quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// JSON that cannot end the script element it stands in, nor reorder the page's source: in JSON these characters occur
/// only inside strings, where an escape means the same.
pub(crate) fn json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') || is_bidi_control(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Base64 of the gzipped text: a record of ten thousand items is a fifth of its JSON.
///
/// # Errors
/// None in practice: the packer writes to memory.
pub(crate) fn packed(text: &str, effort: Compression) -> std::io::Result<String> {
    let mut packer = GzEncoder::new(Vec::new(), effort);
    packer.write_all(text.as_bytes())?;
    Ok(STANDARD.encode(packer.finish()?))
}

/// `sha256-…` as content security policies and integrity attributes want it.
pub(crate) fn digest(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_base64_of_sha256() {
        assert_eq!(digest("abc"), "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }

    #[test]
    fn embedded_json_cannot_end_its_element_and_reads_back() {
        let text = serde_json::to_string(&["</script><!--", "a & b > c", "\u{2028}\u{202e}"]).unwrap();
        let embedded = json(&text);
        assert!(!embedded.contains(['<', '>', '&', '\u{2028}', '\u{202e}']), "{embedded}");
        let read: Vec<String> = serde_json::from_str(&embedded).unwrap();
        assert_eq!(read, ["</script><!--", "a & b > c", "\u{2028}\u{202e}"]);
    }

    #[test]
    fn packed_text_reads_back() {
        let text = "{\"a\":\"ä\"}".repeat(1000);
        let packed = packed(&text, Compression::fast()).unwrap();
        assert!(packed.len() < text.len() / 10);
        let mut read = String::new();
        let bytes = STANDARD.decode(packed).unwrap();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(bytes.as_slice()), &mut read).unwrap();
        assert_eq!(read, text);
    }
}
