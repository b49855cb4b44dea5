//! Metadata values. Arrays and strings borrow from the file: a vocabulary of a quarter million strings costs nothing
//! until it is used.

/// Type of a metadata value, numbered as in gguf.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    Str = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    /// The type with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::Str,
            9 => Self::Array,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of a value of fixed size; `None` for strings and arrays.
    #[must_use]
    pub const fn size(self) -> Option<usize> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Str | Self::Array => None,
        }
    }

    /// The fewest bytes one value can take in a file: what bounds the length of an array.
    pub(super) const fn min_size(self) -> usize {
        match self {
            Self::Str => 8,
            Self::Array => 12,
            fixed => match fixed.size() {
                Some(size) => size,
                None => 1,
            },
        }
    }

    /// Name for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::Str => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }
}

/// A metadata value, borrowed from the file.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Str(&'a str),
    Array(Array<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl<'a> Value<'a> {
    /// Its type.
    #[must_use]
    pub const fn ty(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::Str(_) => ValueType::Str,
            Self::Array(_) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }

    /// For messages: `u32`, `array of string`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Array(array) => format!("array of {}", array.ty.name()),
            other => other.ty().name().to_owned(),
        }
    }

    /// The value if it is an integer of any width that is not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U8(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::U64(v) => Some(v),
            Self::I8(v) => v.try_into().ok(),
            Self::I16(v) => v.try_into().ok(),
            Self::I32(v) => v.try_into().ok(),
            Self::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }

    /// The value if it is an integer of any width that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::I8(v) => Some(v.into()),
            Self::I16(v) => Some(v.into()),
            Self::I32(v) => Some(v.into()),
            Self::I64(v) => Some(v),
            _ => self.as_u64()?.try_into().ok(),
        }
    }

    /// The value if it is a float of either width.
    #[must_use]
    pub const fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(v) => Some(v as f64),
            Self::F64(v) => Some(v),
            _ => None,
        }
    }

    /// The value if it is a string.
    #[must_use]
    pub const fn as_str(&self) -> Option<&'a str> {
        match *self {
            Self::Str(v) => Some(v),
            _ => None,
        }
    }

    /// The value if it is an array.
    #[must_use]
    pub const fn as_array(&self) -> Option<Array<'a>> {
        match *self {
            Self::Array(v) => Some(v),
            _ => None,
        }
    }
}

/// An array value, borrowed from the file. Its bytes were walked and checked when the file was opened.
#[derive(Clone, Copy, PartialEq)]
pub struct Array<'a> {
    pub(super) ty: ValueType,
    pub(super) len: usize,
    /// The elements as stored, without the array's own type and length.
    pub(super) bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Type of the elements.
    #[must_use]
    pub const fn ty(&self) -> ValueType {
        self.ty
    }

    /// Number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements as stored in the file.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.bytes
    }

    /// The elements, of any type.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (ty, mut bytes) = (self.ty, self.bytes);
        // The length was checked against the bytes; should they ever disagree, the iterator ends early.
        (0..self.len).map_while(move |_| {
            let (value, rest) = decode(ty, bytes)?;
            bytes = rest;
            Some(value)
        })
    }

    /// The elements if they are strings.
    pub fn strs(&self) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
        (self.ty == ValueType::Str).then(|| self.iter().filter_map(|v| v.as_str()))
    }

    /// The elements if all are integers that fit `u32`.
    #[must_use]
    pub fn to_u32s(&self) -> Option<Vec<u32>> {
        self.iter().map(|v| v.as_u64()?.try_into().ok()).collect()
    }

    /// The elements if all are integers that fit `i32`.
    #[must_use]
    pub fn to_i32s(&self) -> Option<Vec<i32>> {
        self.iter().map(|v| v.as_i64()?.try_into().ok()).collect()
    }

    /// The elements if all are floats, narrowed to `f32`.
    #[must_use]
    pub fn to_f32s(&self) -> Option<Vec<f32>> {
        self.iter().map(|v| v.as_f64().map(|x| x as f32)).collect()
    }

    /// The elements if all are booleans.
    #[must_use]
    pub fn to_bools(&self) -> Option<Vec<bool>> {
        self.iter().map(|v| if let Value::Bool(b) = v { Some(b) } else { None }).collect()
    }
}

impl std::fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}; {}]", self.ty.name(), self.len)
    }
}

/// Decodes one value of type `ty` from the front of checked `bytes`; returns it and what follows.
pub(super) fn decode(ty: ValueType, bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<N>()?;
        Some((*head, rest))
    }
    macro_rules! number {
        ($variant:ident, $ty:ty) => {{
            let (raw, rest) = take(bytes)?;
            Some((Value::$variant(<$ty>::from_le_bytes(raw)), rest))
        }};
    }
    match ty {
        ValueType::U8 => number!(U8, u8),
        ValueType::I8 => number!(I8, i8),
        ValueType::U16 => number!(U16, u16),
        ValueType::I16 => number!(I16, i16),
        ValueType::U32 => number!(U32, u32),
        ValueType::I32 => number!(I32, i32),
        ValueType::F32 => number!(F32, f32),
        ValueType::U64 => number!(U64, u64),
        ValueType::I64 => number!(I64, i64),
        ValueType::F64 => number!(F64, f64),
        ValueType::Bool => {
            let ([byte], rest) = take(bytes)?;
            Some((Value::Bool(byte != 0), rest))
        }
        ValueType::Str => {
            let (raw, rest) = take(bytes)?;
            let (text, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(raw)).ok()?)?;
            Some((Value::Str(std::str::from_utf8(text).ok()?), rest))
        }
        ValueType::Array => {
            let (raw, rest) = take(bytes)?;
            let element = ValueType::from_number(u32::from_le_bytes(raw))?;
            let (raw, rest) = take(rest)?;
            let len = usize::try_from(u64::from_le_bytes(raw)).ok()?;
            let size = extent(element, len, rest)?;
            let (bytes, rest) = rest.split_at_checked(size)?;
            Some((Value::Array(Array { ty: element, len, bytes }), rest))
        }
    }
}

/// Bytes that `len` values of type `ty` take at the front of `bytes`.
fn extent(ty: ValueType, len: usize, bytes: &[u8]) -> Option<usize> {
    if let Some(size) = ty.size() {
        return len.checked_mul(size);
    }
    let mut rest = bytes;
    for _ in 0..len {
        if ty == ValueType::Str {
            // Only the length matters here: the text was checked at open.
            let (raw, after) = rest.split_first_chunk::<8>()?;
            rest = after.get(usize::try_from(u64::from_le_bytes(*raw)).ok()?..)?;
        } else {
            rest = decode(ty, rest)?.1;
        }
    }
    Some(bytes.len() - rest.len())
}
