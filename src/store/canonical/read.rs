//! A value and the canonical form of its text in one pass: what `serde` asks for is taken from the [`Scanner`], which
//! makes the form of everything it passes.
//!
//! Errors say nothing: who needs to know why a text is refused reads it with a parser that keeps line and column.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::de::value::{BorrowedStrDeserializer, Error, MapAccessDeserializer, StrDeserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::scan::{Open, Scanner};
use super::token::Number;
use super::{Dialect, Members};

/// What the object in `text` holds, with the canonical form of each of its fields; `None` if it holds no such object.
pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str, dialect: Dialect) -> Option<(T, Members)> {
    let mut whole = Whole { scanner: Scanner::bounded(text, dialect), name: None, members: Members::new() };
    whole.scanner.expect(b'{')?;
    let read = T::deserialize(MapAccessDeserializer::new(&mut whole)).ok()?;
    whole.scanner.end()?;
    Some((read, whole.members))
}

/// The outermost object, whose fields are kept one by one.
struct Whole<'a> {
    scanner: Scanner<'a>,
    /// The field whose value comes next, or came last; `None` before the first.
    name: Option<String>,
    members: Members,
}

impl<'a> MapAccess<'a> for Whole<'a> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let goes_on = match self.name {
            None => self.scanner.holds_any(b'}'),
            Some(_) => self.scanner.goes_on(b'}'),
        };
        if !known(goes_on)? {
            return Ok(None);
        }
        known(self.scanner.peek())?;
        let name = known(self.scanner.name())?.says;
        self.name = Some(name.as_ref().to_owned());
        says(&name, seed).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Error> {
        self.scanner.begin_form();
        let value = seed.deserialize(Reader { scanner: &mut self.scanner, depth: 1 })?;
        let form = known(self.scanner.end_form())?;
        self.members.insert(self.name.clone().unwrap_or_default(), form);
        Ok(value)
    }
}

/// The value that comes next, inside of `depth` arrays and objects.
struct Reader<'s, 'a> {
    scanner: &'s mut Scanner<'a>,
    depth: usize,
}

impl<'a> Reader<'_, 'a> {
    fn read_number<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        match known(self.scanner.read_number())? {
            Number::Unsigned(integer) => visitor.visit_u64(integer),
            Number::Negative(integer) => visitor.visit_i64(integer),
            Number::Double(double) => visitor.visit_f64(double),
        }
    }

    fn read_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        match known(self.scanner.read_string())? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn read_object<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        let open = known(self.scanner.open_object(self.depth))?;
        let mut fields = Fields { scanner: self.scanner, open, is_done: false };
        let value = visitor.visit_map(&mut fields)?;
        if fields.is_done { Ok(value) } else { Err(refused()) }
    }

    fn read_array<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        let goes_on = known(self.scanner.open_array(self.depth))?;
        let mut elements = Elements { scanner: self.scanner, depth: self.depth + 1, goes_on };
        let value = visitor.visit_seq(&mut elements)?;
        if elements.goes_on { Err(refused()) } else { Ok(value) }
    }
}

impl<'de> Deserializer<'de> for Reader<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match known(self.scanner.peek())? {
            b'"' => self.read_string(visitor),
            b'{' => self.read_object(visitor),
            b'[' => self.read_array(visitor),
            b't' => known(self.scanner.literal("true")).and_then(|()| visitor.visit_bool(true)),
            b'f' => known(self.scanner.literal("false")).and_then(|()| visitor.visit_bool(false)),
            b'n' => known(self.scanner.literal("null")).and_then(|()| visitor.visit_unit()),
            _ => self.read_number(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match known(self.scanner.peek())? {
            b'n' => known(self.scanner.literal("null")).and_then(|()| visitor.visit_none()),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// A variant is written as its name, or as an object whose one field has its name.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if known(self.scanner.peek())? == b'"' {
            return match known(self.scanner.read_string())? {
                Cow::Borrowed(name) => visitor.visit_enum(BorrowedStrDeserializer::<Error>::new(name)),
                Cow::Owned(name) => visitor.visit_enum(StrDeserializer::<Error>::new(&name)),
            };
        }
        let mut open = known(self.scanner.open_object(self.depth))?;
        if !known(self.scanner.next_field(&mut open))? {
            return Err(refused());
        }
        let value = visitor.visit_enum(Variant { scanner: &mut *self.scanner, open: &open })?;
        if known(self.scanner.next_field(&mut open))? { Err(refused()) } else { Ok(value) }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        known(self.scanner.value(self.depth))?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier
    }
}

/// An object inside.
struct Fields<'s, 'a> {
    scanner: &'s mut Scanner<'a>,
    open: Open,
    is_done: bool,
}

impl<'a> MapAccess<'a> for Fields<'_, 'a> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if !known(self.scanner.next_field(&mut self.open))? {
            self.is_done = true;
            return Ok(None);
        }
        says(known(self.scanner.field(&self.open))?, seed).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(Reader { scanner: &mut *self.scanner, depth: self.open.depth + 1 })
    }
}

/// An array inside.
struct Elements<'s, 'a> {
    scanner: &'s mut Scanner<'a>,
    depth: usize,
    /// Whether another element comes.
    goes_on: bool,
}

impl<'a> SeqAccess<'a> for Elements<'_, 'a> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if !self.goes_on {
            return Ok(None);
        }
        let element = seed.deserialize(Reader { scanner: &mut *self.scanner, depth: self.depth })?;
        self.goes_on = known(self.scanner.goes_on(b']'))?;
        Ok(Some(element))
    }
}

/// A variant with content, of which the name was taken.
struct Variant<'s, 'a> {
    scanner: &'s mut Scanner<'a>,
    open: &'s Open,
}

impl<'s, 'a> Variant<'s, 'a> {
    fn content(self) -> Reader<'s, 'a> {
        Reader { depth: self.open.depth + 1, scanner: self.scanner }
    }
}

impl<'a> EnumAccess<'a> for Variant<'_, 'a> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name = says(known(self.scanner.field(self.open))?, seed)?;
        Ok((name, self))
    }
}

impl<'a> VariantAccess<'a> for Variant<'_, 'a> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Deserialize::deserialize(self.content())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.content())
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.content().deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'a>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.content().deserialize_any(visitor)
    }
}

/// Gives `seed` a name.
#[inline]
fn says<'a, K: DeserializeSeed<'a>>(name: &Cow<'a, str>, seed: K) -> Result<K::Value, Error> {
    match name {
        Cow::Borrowed(name) => seed.deserialize(BorrowedStrDeserializer::new(name)),
        Cow::Owned(name) => seed.deserialize(StrDeserializer::new(name)),
    }
}

#[inline(always)]
fn known<T>(step: Option<T>) -> Result<T, Error> {
    match step {
        Some(step) => Ok(step),
        None => Err(refused()),
    }
}

#[cold]
fn refused() -> Error {
    Error::custom("refused")
}
