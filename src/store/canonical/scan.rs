//! Canonical JSON straight from a text. A record is mostly names, hashes and numbers that stand in it as the canonical
//! form wants them: those are copied, not parsed and printed again.

use std::borrow::Cow;
use std::cmp::Ordering;
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
            // What stands between two values belongs to neither.
            scanner.out.clear();
            scanner.run = scanner.at;
            scanner.value(MAX_DEPTH - 1)?;
            scanner.flush();
            // One field is nearly all of a record: its form keeps the room made for all, the others' are copied.
            let is_most = scanner.out.len() > scanner.out.capacity() / 2;
            let form = if is_most { std::mem::take(&mut scanner.out) } else { scanner.out.as_str().to_owned() };
            members.insert(name, form);
            if !scanner.goes_on(b'}')? {
                break;
            }
        }
    }
    scanner.end()?;
    Some(members)
}

/// Reads JSON from the front and appends it in canonical form. `None` from any of its steps means: this is no JSON.
///
/// Text that is canonical as it stands is not copied token by token but left as a run, until something has to be
/// skipped, rewritten or moved.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// The text from here to `at` belongs to the output and is not in it yet.
    run: usize,
    out: String,
    /// Fields of the objects that are open, innermost last. One allocation serves all objects.
    fields: Vec<Field<'a>>,
    /// A copy of what is being sorted, or one number.
    scratch: String,
}

/// A field of an open object.
struct Field<'a> {
    /// The name's first bytes as a number, which sorts as they do: most names differ there.
    begins: u64,
    name: Cow<'a, str>,
    /// Its place in the output, run included, without the comma that follows it.
    place: Range<usize>,
}

impl<'a> Field<'a> {
    fn compare(&self, other: &Self) -> Ordering {
        self.begins.cmp(&other.begins).then_with(|| self.name.cmp(&other.name))
    }
}

impl<'a> Scanner<'a> {
    fn of(text: &'a str) -> Self {
        let out = String::with_capacity(text.len());
        Self { text, at: 0, run: 0, out, fields: Vec::new(), scratch: String::new() }
    }

    /// The next byte as it stands; `None` at the end.
    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no whitespace, not taken.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        match self.byte()? {
            byte if byte > b' ' => Some(byte),
            _ => self.skip_whitespace(),
        }
    }

    fn skip_whitespace(&mut self) -> Option<u8> {
        self.flush();
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        self.run = self.at;
        self.byte()
    }

    /// Appends the run.
    fn flush(&mut self) {
        self.out.push_str(&self.text[self.run..self.at]);
        self.run = self.at;
    }

    /// Appends `known` in place of the text from `start` on.
    fn replace(&mut self, start: usize, known: &str) {
        self.out.push_str(&self.text[self.run..start]);
        self.out.push_str(known);
        self.run = self.at;
    }

    /// How long the output is with the run.
    #[inline]
    fn length(&self) -> usize {
        self.out.len() + (self.at - self.run)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Whether another element follows; takes the comma or the closing byte.
    #[inline]
    fn goes_on(&mut self, closing: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        (byte == b',' || byte == closing).then_some(byte == b',')
    }

    /// Only whitespace is left.
    fn end(&mut self) -> Option<()> {
        self.peek().is_none().then(|| self.flush())
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
        self.text.as_bytes()[self.at..].starts_with(literal.as_bytes()).then(|| self.at += literal.len())
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.value(depth)?;
            if !self.goes_on(b']')? {
                return Some(());
            }
        }
    }

    /// Fields are left in the order in which they come, and sorted at the end if they have to be.
    fn object(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        let (start, first) = (self.length(), self.fields.len());
        let mut is_sorted = true;
        loop {
            self.peek()?;
            let from = self.length();
            let name = self.name()?;
            self.expect(b':')?;
            self.value(depth)?;
            let field = Field { begins: begins(&name), name, place: from..self.length() };
            is_sorted &= self.fields[first..].last().is_none_or(|last| last.compare(&field).is_lt());
            self.fields.push(field);
            if !self.goes_on(b'}')? {
                break;
            }
        }
        if !is_sorted {
            self.sort(start, first);
        }
        self.fields.truncate(first);
        Some(())
    }

    /// Sorts the fields from the `first` on, which stand in the output from `start` on. The object is closed.
    fn sort(&mut self, start: usize, first: usize) {
        self.flush();
        let fields = &mut self.fields[first..];
        // A stable sort: of fields of one name the last is the last.
        fields.sort_by(Field::compare);
        self.scratch.clear();
        self.scratch.push_str(&self.out[start..]);
        self.out.truncate(start);
        for (i, field) in fields.iter().enumerate() {
            if fields.get(i + 1).is_none_or(|next| next.name != field.name) {
                self.out.push_str(&self.scratch[field.place.start - start..field.place.end - start]);
                self.out.push(',');
            }
        }
        self.out.pop();
        self.out.push('}');
    }

    /// A field's name, borrowed from the text where it stands there without escapes.
    fn name(&mut self) -> Option<Cow<'a, str>> {
        (self.peek()? == b'"').then_some(())?;
        let start = self.at;
        let escapes = self.quoted()?;
        if escapes == Escapes::None {
            return Some(Cow::Borrowed(&self.text[start + 1..self.at - 1]));
        }
        let name: String = serde_json::from_str(&self.text[start..self.at]).ok()?;
        if escapes == Escapes::Other {
            self.replace(start, &Value::from(name.as_str()).to_string());
        }
        Some(Cow::Owned(name))
    }

    fn string(&mut self) -> Option<()> {
        let start = self.at;
        if self.quoted()? == Escapes::Other {
            let text: String = serde_json::from_str(&self.text[start..self.at]).ok()?;
            self.replace(start, &Value::from(text).to_string());
        }
        Some(())
    }

    /// Takes a string with its quotes.
    fn quoted(&mut self) -> Option<Escapes> {
        let mut escapes = Escapes::None;
        self.at += 1;
        loop {
            self.at += plain(&self.text.as_bytes()[self.at..]);
            match self.byte()? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    let canonical = matches!(self.byte()?, b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't');
                    escapes = escapes.max(if canonical { Escapes::Canonical } else { Escapes::Other });
                }
                _ => return None,
            }
            self.at += 1;
        }
        self.at += 1;
        Some(escapes)
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        let negative = self.byte() == Some(b'-');
        self.at += usize::from(negative);
        let whole = self.digits()?;
        (whole.len() == 1 || whole[0] != b'0').then_some(())?;
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
        let is_canonical = is_plain
            && match fraction {
                // Eighteen digits fit any integer; -0 is a double.
                None => whole.len() <= 18 && !(negative && whole == b"0"),
                Some(fraction) => is_shortest(whole, fraction),
            };
        if is_canonical {
            return Some(());
        }
        let number = &self.text[start..self.at];
        let known = match (number.parse::<u64>(), number.parse::<i64>()) {
            _ if fraction.is_some() => Number::from_f64(number.parse().ok()?)?,
            (Ok(integer), _) => Number::from(integer),
            (_, Ok(integer)) if integer != 0 => Number::from(integer),
            _ => Number::from_f64(number.parse().ok()?)?,
        };
        let mut printed = std::mem::take(&mut self.scratch);
        printed.clear();
        write!(printed, "{known}").ok()?;
        if printed != number {
            self.replace(start, &printed);
        }
        self.scratch = printed;
        Some(())
    }

    #[inline]
    fn digits(&mut self) -> Option<&'a [u8]> {
        let rest = &self.text.as_bytes()[self.at..];
        let n = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += n;
        (n > 0).then(|| &rest[..n])
    }
}

/// The first eight bytes of a name, shorter ones filled with zeros: no name holds a zero byte unescaped, and one that
/// holds it escaped is compared in full where these are equal.
#[inline]
fn begins(name: &str) -> u64 {
    let mut first = [0; 8];
    let n = name.len().min(8);
    first[..n].copy_from_slice(&name.as_bytes()[..n]);
    u64::from_be_bytes(first)
}

/// How many bytes come before the first quote, backslash or control byte: eight at a time.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let mut n = 0;
    while let Some(eight) = bytes[n..].first_chunk() {
        let word = u64::from_le_bytes(*eight);
        // The top bit of the first byte that is `byte` is set, and of no byte before it.
        let is = |byte: u8| {
            let zero = word ^ (ONES * u64::from(byte));
            zero.wrapping_sub(ONES) & !zero
        };
        let is_control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (is(b'"') | is(b'\\') | is_control) & TOPS;
        if found != 0 {
            return n + found.trailing_zeros() as usize / 8;
        }
        n += 8;
    }
    let special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    bytes[n..].iter().position(special).map_or(bytes.len(), |place| n + place)
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
fn is_shortest(whole: &[u8], fraction: &[u8]) -> bool {
    let is_small = whole == b"0" && fraction.iter().take(4).all(|&digit| digit == b'0');
    whole.len() + fraction.len() <= 15 && (fraction == b"0" || !(fraction.ends_with(b"0") || is_small))
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
