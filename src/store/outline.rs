//! The text of a record file: indented down to the cells and their lists, then one line per trial, window and item. It
//! reads and compares line by line like an indented file and is less than half as long.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// Arrays and objects nested deeper than this stay on one line: `raw.cells[i].outcome.speed.samples[j]` is the eighth.
const INDENTED: usize = 7;

/// JSON of `value` with a final newline.
///
/// # Errors
/// A value that cannot be written as JSON.
pub fn outline<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, Outline::default()))?;
    out.push(b'\n');
    String::from_utf8(out).map_err(serde::ser::Error::custom)
}

/// Leaves the first levels to one formatter and what is deeper to another.
#[derive(Default)]
struct Outline {
    depth: usize,
    outer: PrettyFormatter<'static>,
    inner: CompactFormatter,
}

/// Calls the formatter of the current depth.
macro_rules! at_depth {
    ($self:ident . $method:ident ( $($argument:ident),* )) => {
        if $self.depth <= INDENTED { $self.outer.$method($($argument),*) } else { $self.inner.$method($($argument),*) }
    };
}

impl Formatter for Outline {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        at_depth!(self.begin_array(writer))
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let ended = at_depth!(self.end_array(writer));
        self.depth -= 1;
        ended
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        at_depth!(self.begin_array_value(writer, first))
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        at_depth!(self.end_array_value(writer))
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        at_depth!(self.begin_object(writer))
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let ended = at_depth!(self.end_object(writer));
        self.depth -= 1;
        ended
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        at_depth!(self.begin_object_key(writer, first))
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        at_depth!(self.begin_object_value(writer))
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        at_depth!(self.end_object_value(writer))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_lists_of_a_cell_have_a_line_per_element() {
        let sample = json!({"block": 0, "itl_ns": [1, 2]});
        let value =
            json!({"raw": {"cells": [{"outcome": {"speed": {"samples": [sample, sample], "none": [], "no": {}}}}]}});
        let text = outline(&value).unwrap();
        assert_eq!(text.matches(r#"{"block":0,"itl_ns":[1,2]}"#).count(), 2, "{text}");
        assert!(text.lines().any(|line| line.trim() == r#"{"block":0,"itl_ns":[1,2]},"#), "{text}");
        assert!(text.contains("\n  \"raw\": {\n    \"cells\": [\n      {\n") && text.ends_with("}\n"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn nothing_deep_is_written_as_by_the_indenting_formatter() {
        let value = json!({"a": [], "b": {}, "c": [1, [2, {"d": null}]], "e": "x\ny"});
        assert_eq!(outline(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap() + "\n");
    }
}
