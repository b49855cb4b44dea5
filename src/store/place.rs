//! Where in a JSON text something stands, for people: files on one line make "line 1 column 10471" useless.

use super::canonical::token;

/// JSON path, e.g. `raw.cells[3].tier`, of the value that ends at or holds this line and column (both from 1); empty for
/// the document itself. The text need not be whole.
pub(super) fn path_at(text: &[u8], line: usize, column: usize) -> String {
    let start: usize = text.split_inclusive(|&byte| byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    // The column is that of the last byte read.
    let end = (start + column.saturating_sub(1)).min(text.len());
    let mut steps: Vec<Step> = Vec::new();
    let mut at = 0;
    while at < end {
        match text[at] {
            b'{' => steps.push(Step::Field { name: String::new(), is_named: false }),
            b'[' => steps.push(Step::Element(0)),
            b'}' | b']' => {
                steps.pop();
            }
            b',' => match steps.last_mut() {
                Some(Step::Field { is_named, .. }) => *is_named = false,
                Some(Step::Element(number)) => *number += 1,
                None => {}
            },
            b'"' => {
                let Some((length, _)) = token::string(&text[at..]) else { break };
                if let Some(Step::Field { name, is_named: is_named @ false }) = steps.last_mut() {
                    let inner = &text[at + 1..at + length - 1];
                    (*name, *is_named) = (String::from_utf8_lossy(inner).into_owned(), true);
                }
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
    let mut path = String::new();
    for step in &steps {
        match step {
            Step::Element(number) => path.push_str(&format!("[{number}]")),
            Step::Field { name, .. } if name.is_empty() => {}
            Step::Field { name, .. } if path.is_empty() => path.push_str(name),
            Step::Field { name, .. } => path.push_str(&format!(".{name}")),
        }
    }
    path
}

/// An open object or array.
enum Step {
    Field { name: String, is_named: bool },
    Element(usize),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its errors are of interest")]
    struct Outer {
        list: Vec<Inner>,
        name: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its errors are of interest")]
    struct Inner {
        x: f64,
    }

    #[test]
    fn the_place_of_a_type_error_is_its_path() {
        for (text, path) in [
            (r#"{"list":[{"x":1},{"x":"NaN"}]}"#, "list[1].x"),
            ("{\"name\": \"a \\\"[{\\\\\",\n \"list\": [\n {\"x\": 1},\n {\"x\": [2]}]}", "list[1].x"),
            (r#"{"list":{},"name":"b"}"#, "list"),
            (r#"{"name":[],"list":[]}"#, "name"),
            ("[1]", "[0]"),
        ] {
            let error = serde_json::from_str::<Outer>(text).unwrap_err();
            assert_eq!(path_at(text.as_bytes(), error.line(), error.column()), path, "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_and_no_place_is_too_odd(text in "[\\[\\]{},:\"\\\\a\n]{0,40}", line in 0usize..5, column in 0usize..50) {
            path_at(text.as_bytes(), line, column);
        }
    }
}
