//! Canonical JSON straight from a text. A record is mostly names, hashes and numbers that stand in it as the canonical
//! form wants them: those are copied, not parsed and printed again.

#[cfg(test)]
pub(super) mod tests;

use std::borrow::Cow;

use super::Dialect;
use super::shape::{Name, Shape};
use super::token::{self, Form, Number};

/// Deepest nesting of a text from outside, as deep as `serde_json` reads.
const MAX_DEPTH: usize = 127;

/// Canonical JSON of `text`; `None` if it is no JSON. Nesting is not bounded: the text must come from a value.
pub(super) fn canonical(text: &str, dialect: Dialect) -> Option<String> {
    let mut scanner = Scanner::of(text, dialect, usize::MAX);
    scanner.value(0)?;
    scanner.end()?;
    String::from_utf8(scanner.out).ok()
}

/// Reads JSON from the front and appends it in canonical form. `None` from any of its steps means: this is no JSON.
///
/// Text that is canonical as it stands is not copied token by token but left as a run, until something has to be
/// skipped, rewritten or moved.
pub(super) struct Scanner<'a> {
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

/// An object that is being passed.
pub(super) struct Open {
    /// In how many arrays and objects it stands.
    pub(super) depth: usize,
    /// How many of its names were taken.
    fields: usize,
    /// Whether they are so far the names of the last object of its depth.
    is_known: bool,
    /// Its place among the begins of open objects, and among their names.
    first_field: usize,
    first_name: usize,
}

impl<'a> Scanner<'a> {
    /// A scanner of a text from outside.
    pub(super) fn bounded(text: &'a str, dialect: Dialect) -> Self {
        Self::of(text, dialect, MAX_DEPTH)
    }

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
    pub(super) fn peek(&mut self) -> Option<u8> {
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
    pub(super) fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Begins the form of a value of its own: what stands before it does not belong to it.
    pub(super) fn begin_form(&mut self) {
        self.out.clear();
        self.run = self.at;
    }

    /// The form of the value that was passed.
    pub(super) fn end_form(&mut self) -> Option<String> {
        self.flush();
        // One field is nearly all of a record: its form keeps the room made for all, the others' are copied.
        let is_most = self.out.len() > self.out.capacity() / 2;
        String::from_utf8(if is_most { std::mem::take(&mut self.out) } else { self.out.clone() }).ok()
    }

    /// Whether another element follows; takes the comma or the closing byte.
    #[inline(always)]
    pub(super) fn goes_on(&mut self, closing: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        (byte == b',' || byte == closing).then_some(byte == b',')
    }

    /// Only whitespace is left.
    pub(super) fn end(&mut self) -> Option<()> {
        self.peek().is_none().then(|| self.flush())
    }

    /// One value inside of `depth` arrays and objects.
    pub(super) fn value(&mut self, depth: usize) -> Option<()> {
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

    pub(super) fn literal(&mut self, literal: &str) -> Option<()> {
        self.rest().starts_with(literal.as_bytes()).then(|| self.at += literal.len())
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        let mut goes_on = self.open_array(depth)?;
        while goes_on {
            self.value(depth + 1)?;
            goes_on = self.goes_on(b']')?;
        }
        Some(())
    }

    /// Takes the opening bracket of an array inside of `depth` arrays and objects; `false` if it closes at once.
    #[inline]
    pub(super) fn open_array(&mut self, depth: usize) -> Option<bool> {
        (depth < self.deepest && self.peek()? == b'[').then(|| self.at += 1)?;
        self.holds_any(b']')
    }

    /// Whether what was just opened holds anything; takes the closing byte if not.
    #[inline(always)]
    pub(super) fn holds_any(&mut self, closing: u8) -> Option<bool> {
        let holds_any = self.peek()? != closing;
        self.at += usize::from(!holds_any);
        Some(holds_any)
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        let mut open = self.open_object(depth)?;
        while self.next_field(&mut open)? {
            self.value(depth + 1)?;
        }
        Some(())
    }

    /// Takes the opening brace of an object inside of `depth` arrays and objects.
    #[inline]
    pub(super) fn open_object(&mut self, depth: usize) -> Option<Open> {
        (depth < self.deepest && self.peek()? == b'{').then(|| self.at += 1)?;
        if self.shapes.len() <= depth {
            self.shapes.resize_with(depth + 1, Shape::default);
        }
        Some(Open { depth, fields: 0, is_known: true, first_field: self.begins.len(), first_name: self.names.len() })
    }

    /// Takes the name of the next field, so that its value follows; `false` if the object was closed. Fields are left in
    /// the order in which they come, and put in order at the end if they have to be.
    #[inline]
    pub(super) fn next_field(&mut self, open: &mut Open) -> Option<bool> {
        if open.fields == 0 {
            if !self.holds_any(b'}')? {
                return Some(false);
            }
        } else if !self.goes_on(b'}')? {
            self.close_object(open);
            return Some(false);
        }
        self.peek()?;
        self.begins.push(self.length());
        if open.is_known && !self.takes_known(open.depth, open.fields) {
            open.is_known = false;
            self.names.extend_from_slice(&self.shapes[open.depth].names()[..open.fields]);
        }
        if !open.is_known {
            let name = self.name()?;
            self.names.push(name);
        }
        open.fields += 1;
        Some(true)
    }

    /// What the name says that was just taken.
    #[inline]
    pub(super) fn field(&self, open: &Open) -> Option<&Cow<'a, str>> {
        let names =
            if open.is_known { self.shapes[open.depth].names().get(open.fields - 1) } else { self.names.last() };
        names.map(|name| &name.says)
    }

    fn close_object(&mut self, open: &Open) {
        let mut is_known = open.is_known;
        if is_known && open.fields < self.shapes[open.depth].names().len() {
            is_known = false;
            self.names.extend_from_slice(&self.shapes[open.depth].names()[..open.fields]);
        }
        if !is_known {
            self.shapes[open.depth].learn(self.names.drain(open.first_name..), self.dialect);
        }
        if !self.shapes[open.depth].order().is_empty() {
            self.put_in_order(open.depth, open.first_field);
        }
        self.begins.truncate(open.first_field);
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
    pub(super) fn name(&mut self) -> Option<Name<'a>> {
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
        self.passed_string().map(drop)
    }

    /// A string with its quotes, as it stands.
    #[inline]
    fn passed_string(&mut self) -> Option<(&'a str, Form)> {
        let start = self.at;
        let (length, form) = token::string(self.rest())?;
        self.at += length;
        let quoted = &self.text[start..self.at];
        if form == Form::Other {
            self.replace(start, token::quote(token::unescape(quoted)?).as_bytes());
        }
        Some((quoted, form))
    }

    /// What a string says.
    #[inline]
    pub(super) fn read_string(&mut self) -> Option<Cow<'a, str>> {
        let (quoted, form) = self.passed_string()?;
        match form {
            Form::Plain => Some(Cow::Borrowed(&quoted[1..quoted.len() - 1])),
            Form::Canonical | Form::Other => token::unescape(quoted).map(Cow::Owned),
        }
    }

    #[inline]
    fn number(&mut self) -> Option<()> {
        self.passed_number().map(drop)
    }

    /// A number as it stands, and what it says where that is known.
    #[inline]
    fn passed_number(&mut self) -> Option<(&'a str, Option<Number>)> {
        let start = self.at;
        let (length, form, mut says) = token::number(self.rest(), self.dialect)?;
        self.at += length;
        let number = &self.text[start..self.at];
        if form == Form::Other {
            says = says.or_else(|| token::read_number(number));
            let mut printed = std::mem::take(&mut self.scratch);
            printed.clear();
            token::print(says?, self.dialect, &mut printed)?;
            if printed != number.as_bytes() {
                self.replace(start, &printed);
            }
            self.scratch = printed;
        }
        Some((number, says))
    }

    /// What a number says.
    #[inline]
    pub(super) fn read_number(&mut self) -> Option<Number> {
        let (number, says) = self.passed_number()?;
        says.or_else(|| token::read_number(number))
    }
}
