//! Canonical JSON straight from a text. A record is mostly names, hashes and numbers that stand in it as the canonical
//! form wants them: those are copied, not parsed and printed again.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::shape::{Name, Shape};
use super::token::{self, Form};
use super::{Dialect, Members};

/// Deepest nesting of a text from outside, as deep as `serde_json` reads.
const MAX_DEPTH: usize = 127;

/// Canonical JSON of `text`; `None` if it is no JSON. Nesting is not bounded: the text must come from a value.
pub(super) fn canonical(text: &str, dialect: Dialect) -> Option<String> {
    let mut scanner = Scanner::of(text, dialect, usize::MAX);
    scanner.value(0)?;
    scanner.end()?;
    String::from_utf8(scanner.out).ok()
}

/// The fields of the object `text` holds; `None` if it holds no object.
pub(super) fn members(text: &str, dialect: Dialect) -> Option<Members> {
    let (mut scanner, mut members) = (Scanner::of(text, dialect, MAX_DEPTH), Members::new());
    scanner.expect(b'{')?;
    if scanner.peek()? == b'}' {
        scanner.at += 1;
    } else {
        loop {
            scanner.peek()?;
            let name = scanner.name()?.says.into_owned();
            // What stands between two values belongs to neither.
            scanner.out.clear();
            scanner.run = scanner.at;
            scanner.value(1)?;
            scanner.flush();
            // One field is nearly all of a record: its form keeps the room made for all, the others' are copied.
            let is_most = scanner.out.len() > scanner.out.capacity() / 2;
            let form = if is_most { std::mem::take(&mut scanner.out) } else { scanner.out.clone() };
            members.insert(name, String::from_utf8(form).ok()?);
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
    dialect: Dialect,
    at: usize,
    /// The text from here to `at` belongs to the output and is not in it yet.
    run: usize,
    out: Vec<u8>,
    /// How many arrays and objects may be open.
    deepest: usize,
    /// By depth: the last object there.
    shapes: Vec<Shape<'a>>,
    /// Names of the open objects that are not of the last shape of their depth, innermost last.
    names: Vec<Name<'a>>,
    /// Where the fields of the open objects begin in the output, run included; innermost last.
    begins: Vec<usize>,
    /// What is being put in order, or one number.
    scratch: Vec<u8>,
}

impl<'a> Scanner<'a> {
    fn of(text: &'a str, dialect: Dialect, deepest: usize) -> Self {
        Self {
            text,
            dialect,
            at: 0,
            run: 0,
            out: Vec::with_capacity(text.len()),
            deepest,
            shapes: Vec::new(),
            names: Vec::new(),
            begins: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The bytes that are not taken yet.
    #[inline(always)]
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// The next byte that is no whitespace, not taken; `None` at the end.
    #[inline(always)]
    fn peek(&mut self) -> Option<u8> {
        match *self.rest().first()? {
            byte if byte > b' ' => Some(byte),
            _ => self.skip_whitespace(),
        }
    }

    fn skip_whitespace(&mut self) -> Option<u8> {
        self.flush();
        while matches!(self.rest().first(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        self.run = self.at;
        self.rest().first().copied()
    }

    /// Appends the run.
    fn flush(&mut self) {
        self.out.extend_from_slice(&self.text.as_bytes()[self.run..self.at]);
        self.run = self.at;
    }

    /// Appends `known` in place of the text from `start` on.
    fn replace(&mut self, start: usize, known: &[u8]) {
        self.out.extend_from_slice(&self.text.as_bytes()[self.run..start]);
        self.out.extend_from_slice(known);
        self.run = self.at;
    }

    /// How long the output is with the run.
    #[inline(always)]
    fn length(&self) -> usize {
        self.out.len() + (self.at - self.run)
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Whether another element follows; takes the comma or the closing byte.
    #[inline(always)]
    fn goes_on(&mut self, closing: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        (byte == b',' || byte == closing).then_some(byte == b',')
    }

    /// Only whitespace is left.
    fn end(&mut self) -> Option<()> {
        self.peek().is_none().then(|| self.flush())
    }

    /// One value inside of `depth` arrays and objects.
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => self.number(),
        }
    }

    fn literal(&mut self, literal: &str) -> Option<()> {
        self.rest().starts_with(literal.as_bytes()).then(|| self.at += literal.len())
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        (depth < self.deepest).then(|| self.at += 1)?;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.value(depth + 1)?;
            if !self.goes_on(b']')? {
                return Some(());
            }
        }
    }

    /// Fields are left in the order in which they come, and put in order at the end if they have to be.
    fn object(&mut self, depth: usize) -> Option<()> {
        (depth < self.deepest).then(|| self.at += 1)?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        if self.shapes.len() <= depth {
            self.shapes.resize_with(depth + 1, Shape::default);
        }
        let (first_field, first_name) = (self.begins.len(), self.names.len());
        let (mut fields, mut is_known) = (0, true);
        loop {
            self.peek()?;
            self.begins.push(self.length());
            if is_known && !self.takes_known(depth, fields) {
                is_known = false;
                self.names.extend_from_slice(&self.shapes[depth].names()[..fields]);
            }
            if !is_known {
                let name = self.name()?;
                self.names.push(name);
            }
            fields += 1;
            self.value(depth + 1)?;
            if !self.goes_on(b'}')? {
                break;
            }
        }
        if is_known && fields < self.shapes[depth].names().len() {
            is_known = false;
            self.names.extend_from_slice(&self.shapes[depth].names()[..fields]);
        }
        if !is_known {
            self.shapes[depth].learn(self.names.drain(first_name..), self.dialect);
        }
        if !self.shapes[depth].order().is_empty() {
            self.put_in_order(depth, first_field);
        }
        self.begins.truncate(first_field);
        Some(())
    }

    /// Takes a field's name and colon if they are those of the last object of this depth.
    #[inline(always)]
    fn takes_known(&mut self, depth: usize, field: usize) -> bool {
        let known = self.shapes[depth].names().get(field).and_then(|name| name.raw);
        known.filter(|raw| self.rest().starts_with(raw.as_bytes())).map(|raw| self.at += raw.len()).is_some()
    }

    /// Puts the fields of an object that was just closed in the order of its shape.
    fn put_in_order(&mut self, depth: usize, first_field: usize) {
        let (begins, order) = (&self.begins[first_field..], self.shapes[depth].order());
        let (start, end, text) = (begins[0], self.length(), self.text.as_bytes());
        // Counted from the first field. A comma or the closing brace follows each.
        let place = |field: usize| begins[field] - start..begins.get(field + 1).copied().unwrap_or(end) - 1 - start;
        if self.out.len() <= start {
            // Nothing inside was changed: the fields are taken from the text itself.
            let from = self.run + (start - self.out.len());
            self.out.extend_from_slice(&text[self.run..from]);
            for &field in order {
                self.out.extend_from_slice(&text[from..self.at][place(field)]);
                self.out.push(b',');
            }
            self.out.pop();
            self.out.push(b'}');
        } else {
            self.out.extend_from_slice(&text[self.run..self.at]);
            // The longest field is moved where it stands; copies of the others are put before and behind it.
            let longest = (0..order.len()).max_by_key(|&nth| place(order[nth]).len()).unwrap_or_default();
            let fields = &mut self.out[start..];
            self.scratch.clear();
            for &field in &order[..longest] {
                self.scratch.extend_from_slice(&fields[place(field)]);
                self.scratch.push(b',');
            }
            let before = self.scratch.len();
            for &field in &order[longest + 1..] {
                self.scratch.push(b',');
                self.scratch.extend_from_slice(&fields[place(field)]);
            }
            self.scratch.push(b'}');
            let moved = place(order[longest]);
            fields.copy_within(moved.clone(), before);
            fields[..before].copy_from_slice(&self.scratch[..before]);
            self.out.truncate(start + before + moved.len());
            self.out.extend_from_slice(&self.scratch[before..]);
        }
        self.run = self.at;
    }

    /// A field's name and the colon behind it.
    fn name(&mut self) -> Option<Name<'a>> {
        let start = self.at;
        (self.peek()? == b'"').then_some(())?;
        let (length, form) = token::string(self.rest())?;
        let quoted = &self.text[start..start + length];
        self.at += length;
        let says = match form {
            Form::Plain => Cow::Borrowed(&quoted[1..length - 1]),
            Form::Canonical | Form::Other => Cow::Owned(token::unescape(quoted)?),
        };
        if form == Form::Other {
            self.replace(start, token::quote(says.clone().into_owned()).as_bytes());
        }
        self.expect(b':')?;
        let is_recognizable = form != Form::Other && self.at == start + length + 1;
        Some(Name { raw: is_recognizable.then(|| &self.text[start..self.at]), says })
    }

    fn string(&mut self) -> Option<()> {
        let start = self.at;
        let (length, form) = token::string(self.rest())?;
        self.at += length;
        if form == Form::Other {
            let text = token::unescape(&self.text[start..self.at])?;
            self.replace(start, token::quote(text).as_bytes());
        }
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        let (length, form) = token::number(self.rest(), self.dialect)?;
        self.at += length;
        if form == Form::Other {
            let number = &self.text[start..self.at];
            let mut printed = std::mem::take(&mut self.scratch);
            printed.clear();
            token::print(number, self.dialect, &mut printed)?;
            if printed != number.as_bytes() {
                self.replace(start, &printed);
            }
            self.scratch = printed;
        }
        Some(())
    }
}
