//! The bounded header reader. The file is not trusted: every count, length, offset and product is checked against what
//! is left of the file before anything is allocated or skipped.

use std::collections::HashMap;
use std::ops::Range;

use super::TensorInfo;
use super::error::Problem;
use super::ggml_type::GgmlType;
use super::value::ValueType;

/// Longest key accepted, bytes (the format's own limit).
const MAX_KEY: u64 = 65_535;
/// Longest tensor name accepted, bytes (ggml itself stops at 63).
const MAX_NAME: u64 = 255;
/// Most dimensions of a tensor (ggml's limit).
const MAX_DIMS: u64 = 4;
/// Deepest nesting of arrays. No known key nests at all.
const MAX_NESTING: u32 = 4;
/// Largest alignment accepted: a huge page.
pub(super) const MAX_ALIGNMENT: u64 = 2 << 20;
/// Alignment of tensor data if the file does not say.
pub(super) const DEFAULT_ALIGNMENT: u64 = 32;
/// Key that overrides it.
pub(super) const ALIGNMENT_KEY: &str = "general.alignment";

/// One key of the header: where its value lies in the file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) ty: ValueType,
    pub(super) span: Range<usize>,
}

/// A parsed header. Every span, offset and size in it lies inside the file.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) alignment: u64,
    pub(super) entries: Vec<Entry>,
    pub(super) keys: HashMap<String, usize>,
    pub(super) tensors: Vec<TensorInfo>,
    pub(super) names: HashMap<String, usize>,
}

/// Reads the header of a whole GGUF file in `bytes`.
pub(super) fn header(bytes: &[u8]) -> Result<Header, Problem> {
    let mut cursor = Cursor { bytes, at: 0 };
    let magic = &bytes[..bytes.len().min(4)];
    if magic != b"GGUF" {
        return Err(Problem::Magic { got: magic.to_vec() });
    }
    cursor.at = 4;
    let version = cursor.u32("the version")?;
    match version {
        2 | 3 => {}
        other if matches!(other.swap_bytes(), 1..=3) => return Err(Problem::BigEndian),
        other => return Err(Problem::Version(other)),
    }
    // A tensor takes at least 8 + 1 + 4 + 4 + 8 bytes of header, a key 8 + 1 + 4 + 1.
    let n_tensors = cursor.count("the number of tensors", 25)?;
    let n_keys = cursor.count("the number of keys", 14)?;

    let mut header = Header { version, alignment: DEFAULT_ALIGNMENT, ..Header::default() };
    for i in 0..n_keys {
        let entry = cursor.entry(i)?;
        if header.keys.insert(entry.key.clone(), header.entries.len()).is_some() {
            return Err(Problem::Duplicate { kind: "key", name: entry.key });
        }
        header.entries.push(entry);
    }
    header.alignment = alignment(&header, bytes)?;
    for i in 0..n_tensors {
        let info = cursor.tensor(i)?;
        if header.names.insert(info.name.clone(), header.tensors.len()).is_some() {
            return Err(Problem::Duplicate { kind: "tensor", name: info.name });
        }
        header.tensors.push(info);
    }
    place(&mut header, cursor.at as u64, bytes.len() as u64)?;
    Ok(header)
}

fn alignment(header: &Header, bytes: &[u8]) -> Result<u64, Problem> {
    let Some(entry) = header.keys.get(ALIGNMENT_KEY).and_then(|&i| header.entries.get(i)) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let value = bytes.get(entry.span.clone()).and_then(|b| super::value::decode(entry.ty, b));
    match value.and_then(|(v, _)| v.as_u64()) {
        Some(n) if n.is_power_of_two() && n <= MAX_ALIGNMENT => Ok(n),
        _ => Err(Problem::Alignment { limit: MAX_ALIGNMENT }),
    }
}

/// Turns offsets relative to the data section into offsets in the file and checks that every tensor lies inside the
/// file and overlaps no other.
fn place(header: &mut Header, header_end: u64, size: u64) -> Result<(), Problem> {
    if header.tensors.is_empty() {
        return Ok(());
    }
    let bad = |name: &str, reason: &str| Problem::Tensor { name: name.to_owned(), reason: reason.to_owned() };
    // No overflow: the header ends inside the file and the alignment is small.
    let start = header_end.next_multiple_of(header.alignment);
    for info in &mut header.tensors {
        if info.offset % header.alignment != 0 {
            return Err(bad(&info.name, "has an offset that is not aligned"));
        }
        info.offset =
            start.checked_add(info.offset).ok_or_else(|| bad(&info.name, "has an offset outside any file"))?;
    }
    let mut order: Vec<usize> = (0..header.tensors.len()).collect();
    order.sort_by_key(|&i| header.tensors[i].offset);
    let mut end_of_previous = start;
    for (rank, &i) in order.iter().enumerate() {
        let next = order.get(rank + 1).map_or(size, |&j| header.tensors[j].offset);
        let info = &mut header.tensors[i];
        if info.ty.layout().is_none() {
            // Unknown format: all that can be said is that it ends before the next tensor starts.
            info.bytes = next.saturating_sub(info.offset);
        }
        let truncated = || Problem::Truncated {
            what: format!("tensor `{}`", info.name),
            offset: info.offset,
            needed: info.bytes,
            size,
        };
        let end = info.offset.checked_add(info.bytes).ok_or_else(truncated)?;
        if end > size {
            return Err(truncated());
        }
        if info.offset < end_of_previous {
            return Err(bad(&info.name, "overlaps another tensor"));
        }
        end_of_previous = end;
    }
    Ok(())
}

struct Cursor<'a> {
    bytes: &'a [u8],
    /// Never past the end of `bytes`.
    at: usize,
}

impl<'a> Cursor<'a> {
    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, n: usize, what: &str) -> Result<&'a [u8], Problem> {
        let slice = self.bytes[self.at..].get(..n).ok_or_else(|| Problem::Truncated {
            what: what.to_owned(),
            offset: self.at as u64,
            needed: n as u64,
            size: self.bytes.len() as u64,
        })?;
        self.at += n;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Problem> {
        let mut raw = [0; N];
        raw.copy_from_slice(self.take(N, what)?);
        Ok(raw)
    }

    fn u32(&mut self, what: &str) -> Result<u32, Problem> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64, Problem> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A count of things that take at least `min_size` bytes each in what is left of the file.
    fn count(&mut self, what: &str, min_size: usize) -> Result<usize, Problem> {
        let got = self.u64(what)?;
        let limit = (self.remaining() / min_size) as u64;
        // The limit fits `usize`, so does anything below it.
        if got > limit { Err(Problem::Limit { what: what.to_owned(), got, limit }) } else { Ok(got as usize) }
    }

    fn text(&mut self, what: &str, limit: u64) -> Result<&'a str, Problem> {
        let len = self.u64(what)?;
        if len > limit {
            return Err(Problem::Limit { what: format!("the length of {what}"), got: len, limit });
        }
        let raw = self.take(usize::try_from(len).unwrap_or(usize::MAX), what)?;
        match std::str::from_utf8(raw) {
            Ok(text) => Ok(text),
            Err(_) => Err(Problem::NotUtf8(what.to_owned())),
        }
    }

    fn entry(&mut self, index: usize) -> Result<Entry, Problem> {
        let what = format!("key {index}");
        let key = self.text(&what, MAX_KEY)?.to_owned();
        if key.is_empty() {
            return Err(Problem::Limit { what: format!("the length of {what}"), got: 0, limit: MAX_KEY });
        }
        let ty = self.value_type(&key)?;
        let start = self.at;
        self.skip_values(&key, ty, 1, 0)?;
        Ok(Entry { key, ty, span: start..self.at })
    }

    fn value_type(&mut self, key: &str) -> Result<ValueType, Problem> {
        let number = self.u32(key)?;
        ValueType::from_number(number).ok_or_else(|| Problem::ValueType { key: key.to_owned(), ty: number })
    }

    /// Walks over `len` values, checking all of them.
    fn skip_values(&mut self, key: &str, ty: ValueType, len: usize, depth: u32) -> Result<(), Problem> {
        match ty {
            ValueType::Str => {
                for _ in 0..len {
                    let n = self.u64(key)?;
                    let raw = self.take(usize::try_from(n).unwrap_or(usize::MAX), key)?;
                    if std::str::from_utf8(raw).is_err() {
                        return Err(Problem::NotUtf8(format!("the value of key `{key}`")));
                    }
                }
            }
            ValueType::Array => {
                if depth == MAX_NESTING {
                    let what = format!("the nesting of key `{key}`");
                    return Err(Problem::Limit { what, got: depth.into(), limit: (MAX_NESTING - 1).into() });
                }
                for _ in 0..len {
                    let element = self.value_type(key)?;
                    let n = self.count(&format!("the array length of key `{key}`"), element.min_size())?;
                    self.skip_values(key, element, n, depth + 1)?;
                }
            }
            fixed => {
                // `len` was checked against what is left, so this only saturates for a truncated single value.
                let raw = self.take(len.saturating_mul(fixed.min_size()), key)?;
                if fixed == ValueType::Bool && raw.iter().any(|&b| b > 1) {
                    return Err(Problem::Bool(key.to_owned()));
                }
            }
        }
        Ok(())
    }

    /// A tensor's description; its offset is still relative to the data section.
    fn tensor(&mut self, index: usize) -> Result<TensorInfo, Problem> {
        let what = format!("the name of tensor {index}");
        let name = self.text(&what, MAX_NAME)?.to_owned();
        if name.is_empty() {
            return Err(Problem::Limit { what: format!("the length of {what}"), got: 0, limit: MAX_NAME });
        }
        let n_dims = u64::from(self.u32(&name)?);
        if n_dims > MAX_DIMS {
            let what = format!("the number of dimensions of tensor `{name}`");
            return Err(Problem::Limit { what, got: n_dims, limit: MAX_DIMS });
        }
        let mut dims = Vec::with_capacity(MAX_DIMS as usize);
        for _ in 0..n_dims {
            dims.push(self.u64(&name)?);
        }
        if dims.is_empty() {
            dims.push(1);
        }
        let ty = GgmlType::from_number(self.u32(&name)?);
        let offset = self.u64(&name)?;

        let bad = |reason: String| Problem::Tensor { name: name.clone(), reason };
        let n = dims.iter().try_fold(1_u64, |n, &d| n.checked_mul(d)).filter(|&n| n > 0 && n <= i64::MAX as u64);
        let n = n.ok_or_else(|| bad(format!("has an impossible shape {dims:?}")))?;
        let bytes = match ty.layout() {
            None => 0,
            Some((block, _)) if dims[0] % block != 0 => {
                return Err(bad(format!("has rows of {} weights, not whole blocks of {block} for {ty}", dims[0])));
            }
            Some(_) => ty.bytes_for(n).ok_or_else(|| bad(format!("has an impossible shape {dims:?}")))?,
        };
        Ok(TensorInfo { name, dims, ty, offset, bytes })
    }
}
