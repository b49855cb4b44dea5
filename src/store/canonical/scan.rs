//! Canonical JSON straight from a text. A record is mostly names, hashes and numbers that stand in it as the canonical
//! form wants them: those are copied, not parsed and printed again.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use serde_json::{Number, Value};

use super::Members;

/// Deepest nesting of a text from outside, as deep as `serde_json` reads.
const MAX_DEPTH: usize = 127;

/// Canonical JSON of `text`; `None` if it is no JSON. Nesting is not bounded: the text must come from a value.
pub(super) fn canonical(text: &str) -> Option<String> {
    let mut scanner = Scanner::of(text);
    scanner.value(usize::MAX)?;
    scanner.end()?;
    Some(scanner.out)
}

/// The fields of the object `text` holds; `None` if it holds no object.
pub(super) fn members(text: &str) -> Option<Members> {
    let (mut scanner, mut members) = (Scanner::of(text), Members::new());
    scanner.expect(b'{')?;
    if scanner.peek()? == b'}' {
        scanner.at += 1;
    } else {
        loop {
            let name = scanner.name()?.into_owned();
            scanner.expect(b':')?;
            scanner.value(MAX_DEPTH - 1)?;
            members.insert(name, std::mem::take(&mut scanner.out));
            if !scanner.goes_on(b'}')? {
                break;
            }
        }
    }
    scanner.end()?;
    Some(members)
}

/// Reads JSON from the front and appends it in canonical form. `None` from any of its steps means: this is no JSON.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    out: String,
    /// Fields of the objects that are open, innermost last: name, and place in `out`. One allocation serves all objects.
    fields: Vec<(Cow<'a, str>, Range<usize>)>,
    unsorted: String,
}

impl<'a> Scanner<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, at: 0, out: String::new(), fields: Vec::new(), unsorted: String::new() }
    }

    /// The next byte as it stands; `None` at the end.
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no whitespace, not taken.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Whether another element follows; takes the comma or the closing byte.
    fn goes_on(&mut self, closing: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        (byte == b',' || byte == closing).then_some(byte == b',')
    }

    /// Only whitespace is left.
    fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// One value; `depth` is how many arrays and objects may still be opened.
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' => self.object(depth.checked_sub(1)?),
            b'[' => self.array(depth.checked_sub(1)?),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => self.number(),
        }
    }

    fn literal(&mut self, literal: &str) -> Option<()> {
        self.text.as_bytes()[self.at..].starts_with(literal.as_bytes()).then(|| {
            self.at += literal.len();
            self.out.push_str(literal);
        })
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        self.out.push('[');
        if self.peek()? == b']' {
            self.at += 1;
        } else {
            loop {
                self.value(depth)?;
                if !self.goes_on(b']')? {
                    break;
                }
                self.out.push(',');
            }
        }
        self.out.push(']');
        Some(())
    }

    /// Fields are written in the order in which they come, each with the comma that follows it, and sorted afterwards.
    fn object(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        self.out.push('{');
        let (start, first) = (self.out.len(), self.fields.len());
        if self.peek()? == b'}' {
            self.at += 1;
        } else {
            loop {
                let name = self.name()?;
                let field = self.out.len();
                match &name {
                    Cow::Borrowed(plain) => self.out.extend(["\"", plain, "\""]),
                    Cow::Owned(escaped) => write_string(escaped, &mut self.out),
                }
                self.expect(b':')?;
                self.out.push(':');
                self.value(depth)?;
                self.out.push(',');
                self.fields.push((name, field..self.out.len()));
                if !self.goes_on(b'}')? {
                    break;
                }
            }
        }
        self.sort(start, first);
        if self.out.len() > start {
            self.out.pop();
        }
        self.out.push('}');
        Some(())
    }

    /// Sorts the fields from the `first` on, which stand in the output from `start` on, and forgets them.
    fn sort(&mut self, start: usize, first: usize) {
        let fields = &mut self.fields[first..];
        if !fields.is_sorted_by(|a, b| a.0 < b.0) {
            // A stable sort: of fields of one name the last is the last.
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            self.unsorted.clear();
            self.unsorted.push_str(&self.out[start..]);
            self.out.truncate(start);
            for (i, (name, field)) in fields.iter().enumerate() {
                if fields.get(i + 1).is_none_or(|(next, _)| next != name) {
                    self.out.push_str(&self.unsorted[field.start - start..field.end - start]);
                }
            }
        }
        self.fields.truncate(first);
    }

    /// A field's name, borrowed from the text where it stands there without escapes.
    fn name(&mut self) -> Option<Cow<'a, str>> {
        (self.peek()? == b'"').then_some(())?;
        let (quoted, escapes) = self.quoted()?;
        match escapes {
            Escapes::None => Some(Cow::Borrowed(&quoted[1..quoted.len() - 1])),
            Escapes::Canonical | Escapes::Other => serde_json::from_str(quoted).ok().map(Cow::Owned),
        }
    }

    fn string(&mut self) -> Option<()> {
        match self.quoted()? {
            (quoted, Escapes::None | Escapes::Canonical) => self.out.push_str(quoted),
            (quoted, Escapes::Other) => write_string(&serde_json::from_str::<String>(quoted).ok()?, &mut self.out),
        }
        Some(())
    }

    /// A string as it stands, with its quotes.
    fn quoted(&mut self) -> Option<(&'a str, Escapes)> {
        let (start, mut escapes) = (self.at, Escapes::None);
        self.at += 1;
        loop {
            match self.byte()? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    let canonical = matches!(self.byte()?, b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't');
                    escapes = escapes.max(if canonical { Escapes::Canonical } else { Escapes::Other });
                }
                0..0x20 => return None,
                _ => {}
            }
            self.at += 1;
        }
        self.at += 1;
        Some((&self.text[start..self.at], escapes))
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        let negative = self.byte() == Some(b'-');
        self.at += usize::from(negative);
        let whole = self.digits()?;
        (whole.len() == 1 || !whole.starts_with('0')).then_some(())?;
        let mut fraction = None;
        if self.byte() == Some(b'.') {
            self.at += 1;
            fraction = Some(self.digits()?);
        }
        let mut is_plain = true;
        if matches!(self.byte(), Some(b'e' | b'E')) {
            is_plain = false;
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let number = &self.text[start..self.at];
        let is_canonical = is_plain
            && match fraction {
                // Eighteen digits fit any integer; -0 is a double.
                None => whole.len() <= 18 && !(negative && whole == "0"),
                Some(fraction) => is_shortest(whole, fraction),
            };
        if is_canonical {
            self.out.push_str(number);
            return Some(());
        }
        let known = match (number.parse::<u64>(), number.parse::<i64>()) {
            (Ok(integer), _) => Number::from(integer),
            (_, Ok(integer)) if integer != 0 => Number::from(integer),
            _ => Number::from_f64(number.parse().ok()?)?,
        };
        write!(self.out, "{known}").ok()
    }

    fn digits(&mut self) -> Option<&'a str> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then(|| &self.text[start..self.at])
    }
}

/// How a string in a text is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Escapes {
    /// Not at all.
    None,
    /// As the canonical form does it: by one letter or sign.
    Canonical,
    /// In a way that may have a shorter one.
    Other,
}

/// Whether `whole.fraction` is how `serde_json` prints the double it stands for. Two decimals of up to 15 digits never
/// stand for one double, so such a one without a final zero is the shortest of its double; below 10^-5 it would be
/// printed with an exponent.
fn is_shortest(whole: &str, fraction: &str) -> bool {
    let is_small = whole == "0" && fraction.bytes().take(4).all(|digit| digit == b'0');
    whole.len() + fraction.len() <= 15 && (fraction == "0" || !(fraction.ends_with('0') || is_small))
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
    use proptest::prelude::*;

    use super::*;

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
            assert_eq!(members(&text).is_some(), serde_json::from_str::<Value>(&text).is_ok(), "{depth}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
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
                prop::collection::vec((text, inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
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
    }
}
