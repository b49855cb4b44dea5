//! Writing GGUF version 3: the header is declared first, tensor data is then streamed in the declared order.

use std::io::{self, Write};

use super::ggml_type::GgmlType;
use super::read::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAX_ALIGNMENT};
use super::value::{Value, ValueType};

/// A GGUF header being put together.
#[derive(Debug)]
pub struct Writer {
    /// Key, type number, payload as stored.
    entries: Vec<(String, u32, Vec<u8>)>,
    tensors: Vec<Declared>,
    alignment: u64,
}

#[derive(Debug)]
struct Declared {
    name: String,
    dims: Vec<u64>,
    ty: GgmlType,
    bytes: u64,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// An empty header.
    #[must_use]
    pub fn new() -> Self {
        Self { entries: Vec::new(), tensors: Vec::new(), alignment: DEFAULT_ALIGNMENT }
    }

    /// Sets a key; a key that is there already keeps its place and gets the new value. `general.alignment` also sets
    /// how tensor data is aligned, if it is a power of two that readers accept.
    pub fn put(&mut self, key: &str, value: Value<'_>) {
        let mut payload = Vec::new();
        encode(&value, &mut payload);
        if key == ALIGNMENT_KEY
            && let Some(n) = value.as_u64().filter(|n| n.is_power_of_two() && *n <= MAX_ALIGNMENT)
        {
            self.alignment = n;
        }
        self.put_raw(key, value.ty(), payload);
    }

    /// Sets a key to an array of strings.
    pub fn put_strs<S: AsRef<str>>(&mut self, key: &str, values: &[S]) {
        let mut payload = array_head(ValueType::Str, values.len());
        for value in values {
            put_text(value.as_ref(), &mut payload);
        }
        self.put_raw(key, ValueType::Array, payload);
    }

    /// Sets a key to an array of `f32`.
    pub fn put_f32s(&mut self, key: &str, values: &[f32]) {
        let mut payload = array_head(ValueType::F32, values.len());
        payload.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        self.put_raw(key, ValueType::Array, payload);
    }

    /// Sets a key to an array of `i32`.
    pub fn put_i32s(&mut self, key: &str, values: &[i32]) {
        let mut payload = array_head(ValueType::I32, values.len());
        payload.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        self.put_raw(key, ValueType::Array, payload);
    }

    fn put_raw(&mut self, key: &str, ty: ValueType, payload: Vec<u8>) {
        match self.entries.iter_mut().find(|(k, ..)| k == key) {
            Some(entry) => (entry.1, entry.2) = (ty as u32, payload),
            None => self.entries.push((key.to_owned(), ty as u32, payload)),
        }
    }

    /// Declares the next tensor; `dims[0]` is the row length. Returns the bytes its data must have.
    ///
    /// # Errors
    /// `InvalidInput` if the shape is not whole blocks of a known format.
    pub fn declare(&mut self, name: &str, dims: &[u64], ty: GgmlType) -> io::Result<u64> {
        let whole_rows = ty.block_size().is_some_and(|block| dims.first().is_some_and(|k| k % block == 0));
        let n = dims.iter().try_fold(1_u64, |n, &d| n.checked_mul(d)).filter(|_| whole_rows);
        let Some(bytes) = n.and_then(|n| ty.bytes_for(n)) else {
            let message = format!("tensor `{name}` of shape {dims:?} cannot be stored as {ty}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        self.tensors.push(Declared { name: name.to_owned(), dims: dims.to_vec(), ty, bytes });
        Ok(bytes)
    }

    /// Writes the header. Tensor data follows through the returned [`Body`].
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn begin<W: Write>(&self, mut out: W) -> io::Result<Body<W>> {
        let mut header = Vec::new();
        header.extend(b"GGUF");
        header.extend(3_u32.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend((self.entries.len() as u64).to_le_bytes());
        for (key, ty, payload) in &self.entries {
            put_text(key, &mut header);
            header.extend(ty.to_le_bytes());
            header.extend(payload);
        }
        let mut offset = 0_u64;
        for tensor in &self.tensors {
            put_text(&tensor.name, &mut header);
            header.extend((tensor.dims.len() as u32).to_le_bytes());
            header.extend(tensor.dims.iter().flat_map(|d| d.to_le_bytes()));
            header.extend(tensor.ty.number().to_le_bytes());
            header.extend(offset.to_le_bytes());
            offset += tensor.bytes.next_multiple_of(self.alignment);
        }
        out.write_all(&header)?;
        let mut body = Body { out, pending: Vec::new(), left: 0, pad: 0, written: header.len() as u64 };
        body.zeros(body.written.next_multiple_of(self.alignment) - body.written)?;
        body.pending = self.tensors.iter().rev().map(|t| (t.bytes, padding(t.bytes, self.alignment))).collect();
        body.next_tensor()?;
        Ok(body)
    }

    /// The whole file in memory, the tensors' data given in the declared order.
    ///
    /// # Errors
    /// If the data does not have the declared sizes.
    pub fn to_bytes(&self, data: &[&[u8]]) -> io::Result<Vec<u8>> {
        let mut file = Vec::new();
        let mut body = self.begin(&mut file)?;
        for tensor in data {
            body.write(tensor)?;
        }
        body.finish()?;
        Ok(file)
    }
}

fn padding(bytes: u64, alignment: u64) -> u64 {
    bytes.next_multiple_of(alignment) - bytes
}

/// The data section being streamed.
#[derive(Debug)]
pub struct Body<W> {
    out: W,
    /// Bytes and padding of the tensors not yet begun, last first.
    pending: Vec<(u64, u64)>,
    /// Bytes missing of the current tensor.
    left: u64,
    /// Zeros that follow it.
    pad: u64,
    written: u64,
}

impl<W: Write> Body<W> {
    /// Appends data of the current tensor; a chunk may end, but not cross, a tensor.
    ///
    /// # Errors
    /// `InvalidInput` if the chunk is longer than what the tensor still misses; otherwise what `out` says.
    pub fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        if chunk.len() as u64 > self.left {
            let message = format!("{} bytes of tensor data where {} were declared", chunk.len(), self.left);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.out.write_all(chunk)?;
        self.written += chunk.len() as u64;
        self.left -= chunk.len() as u64;
        if self.left == 0 { self.next_tensor() } else { Ok(()) }
    }

    fn next_tensor(&mut self) -> io::Result<()> {
        let pad = std::mem::take(&mut self.pad);
        self.zeros(pad)?;
        (self.left, self.pad) = self.pending.pop().unwrap_or((0, 0));
        Ok(())
    }

    fn zeros(&mut self, n: u64) -> io::Result<()> {
        let n = io::copy(&mut io::Read::take(io::repeat(0), n), &mut self.out)?;
        self.written += n;
        Ok(())
    }

    /// Flushes and returns `out` and the number of bytes written.
    ///
    /// # Errors
    /// `InvalidInput` if data is missing; otherwise what `out` says.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        if self.left > 0 || !self.pending.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "tensor data is missing"));
        }
        self.zeros(self.pad)?;
        self.out.flush()?;
        Ok((self.out, self.written))
    }
}

fn put_text(text: &str, payload: &mut Vec<u8>) {
    payload.extend((text.len() as u64).to_le_bytes());
    payload.extend(text.as_bytes());
}

fn array_head(ty: ValueType, len: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend((ty as u32).to_le_bytes());
    payload.extend((len as u64).to_le_bytes());
    payload
}

fn encode(value: &Value<'_>, payload: &mut Vec<u8>) {
    match *value {
        Value::U8(v) => payload.push(v),
        Value::I8(v) => payload.extend(v.to_le_bytes()),
        Value::U16(v) => payload.extend(v.to_le_bytes()),
        Value::I16(v) => payload.extend(v.to_le_bytes()),
        Value::U32(v) => payload.extend(v.to_le_bytes()),
        Value::I32(v) => payload.extend(v.to_le_bytes()),
        Value::F32(v) => payload.extend(v.to_le_bytes()),
        Value::Bool(v) => payload.push(v.into()),
        Value::Str(v) => put_text(v, payload),
        Value::Array(v) => {
            payload.extend(array_head(v.ty(), v.len()));
            payload.extend(v.bytes);
        }
        Value::U64(v) => payload.extend(v.to_le_bytes()),
        Value::I64(v) => payload.extend(v.to_le_bytes()),
        Value::F64(v) => payload.extend(v.to_le_bytes()),
    }
}
