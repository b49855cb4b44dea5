//! GGUF model files: a bounded reader over a memory map, and a writer.
//!
//! Layout (version 3, little-endian): magic, version, counts, then keys (name, type, value), tensor descriptions (name,
//! dimensions, format, offset) and, aligned, the tensor data. See gguf.h in ggml. Opening a file reads its header only;
//! whatever the header says is checked against the size of the file, so nothing later can read outside it.

mod error;
mod ggml_type;
mod read;
mod value;
mod write;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};

pub use error::{GgufError, Problem};
pub use ggml_type::{GgmlType, file_type_of, level_of};
pub use value::{Array, Value, ValueType};
pub use write::{Body, Writer};

use crate::plan::Level;

/// What a file says of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name, e.g. `blk.0.attn_q.weight`.
    pub name: String,
    /// One to four dimensions, none zero; `dims[0]` is the length of a row, the rest multiply to the number of rows.
    pub dims: Vec<u64>,
    /// Number format.
    pub ty: GgmlType,
    /// Where its data starts in the file, bytes.
    pub offset: u64,
    /// Size of its data; for a format of unknown layout all up to the next tensor.
    pub bytes: u64,
}

impl TensorInfo {
    /// Number of weights.
    #[must_use]
    pub fn n_elements(&self) -> u64 {
        self.dims.iter().product()
    }

    /// Weights per row.
    #[must_use]
    pub fn row_len(&self) -> u64 {
        self.dims.first().copied().unwrap_or(1)
    }

    /// Number of rows: the product of all dimensions but the first.
    #[must_use]
    pub fn n_rows(&self) -> u64 {
        self.dims.iter().skip(1).product()
    }
}

enum Storage {
    Map(memmap2::Mmap),
    Heap(Vec<u8>),
}

impl Storage {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Map(map) => map,
            Self::Heap(bytes) => bytes,
        }
    }
}

/// An open GGUF file.
pub struct Gguf {
    path: PathBuf,
    storage: Storage,
    header: read::Header,
    /// The tensors in the order of the header.
    pub tensors: Vec<TensorInfo>,
}

impl std::fmt::Debug for Gguf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gguf")
            .field("path", &self.path)
            .field("version", &self.header.version)
            .field("keys", &self.header.entries.len())
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}

impl Gguf {
    /// Maps the file and reads its header.
    ///
    /// # Errors
    /// [`GgufError`], which names the file: it cannot be read, is not GGUF, is truncated, corrupt, or one part of a
    /// split model.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let fail = |problem| GgufError { path: path.to_owned(), problem };
        let file = File::open(path).map_err(|e| fail(e.into()))?;
        let metadata = file.metadata().map_err(|e| fail(e.into()))?;
        if metadata.is_dir() {
            return Err(fail(std::io::Error::from(std::io::ErrorKind::IsADirectory).into()));
        }
        if metadata.len() == 0 {
            return Err(fail(Problem::Magic { got: Vec::new() }));
        }
        // SAFETY: the map is read-only and private. The bytes are plain data for which every bit pattern is valid; the
        // remaining hazard, another process truncating the file meanwhile, is the same for every program that maps
        // files and ends this one with SIGBUS. Files in our cache are replaced by rename, never truncated.
        #[expect(unsafe_code, reason = "a model is mapped, not read: see SAFETY")]
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| fail(e.into()))?;
        Self::parse(path, Storage::Map(map))
    }

    /// Reads a file that is in memory already; `name` stands for its path in messages.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, GgufError> {
        Self::parse(Path::new(name), Storage::Heap(bytes))
    }

    fn parse(path: &Path, storage: Storage) -> Result<Self, GgufError> {
        let fail = |problem| GgufError { path: path.to_owned(), problem };
        let mut header = read::header(storage.bytes()).map_err(fail)?;
        let tensors = std::mem::take(&mut header.tensors);
        let gguf = Self { path: path.to_owned(), storage, header, tensors };
        let unsigned = |key| gguf.get(key).and_then(|v| v.as_u64());
        if let Some(count) = unsigned("split.count").filter(|&n| n > 1) {
            return Err(fail(Problem::Split { part: unsigned("split.no").unwrap_or(0).saturating_add(1), count }));
        }
        Ok(gguf)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the file, bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.storage.bytes().len() as u64
    }

    /// Format version: 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// An error about this file.
    #[must_use]
    pub fn error(&self, problem: Problem) -> GgufError {
        GgufError { path: self.path.clone(), problem }
    }

    /// Keys and values in the order of the file.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.header.entries.iter().filter_map(|entry| Some((entry.key.as_str(), self.value(entry)?)))
    }

    fn value(&self, entry: &read::Entry) -> Option<Value<'_>> {
        let bytes = self.storage.bytes().get(entry.span.clone())?;
        value::decode(entry.ty, bytes).map(|(value, _)| value)
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        self.value(self.header.entries.get(*self.header.keys.get(key)?)?)
    }

    /// The value of a key if it is an integer of any width that fits `u32`.
    #[must_use]
    pub fn u32(&self, key: &str) -> Option<u32> {
        self.get(key)?.as_u64()?.try_into().ok()
    }

    /// The value of a key if it is an integer of any width that is not negative.
    #[must_use]
    pub fn u64(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    /// The value of a key if it is a float.
    #[must_use]
    pub fn f32(&self, key: &str) -> Option<f32> {
        self.get(key)?.as_f64().map(|x| x as f32)
    }

    /// The value of a key if it is a boolean.
    #[must_use]
    pub fn bool(&self, key: &str) -> Option<bool> {
        if let Value::Bool(b) = self.get(key)? { Some(b) } else { None }
    }

    /// The value of a key if it is a string.
    #[must_use]
    pub fn str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The value of a key if it is an array.
    #[must_use]
    pub fn array(&self, key: &str) -> Option<Array<'_>> {
        self.get(key)?.as_array()
    }

    /// The value of a key if it is an array of strings.
    pub fn strs(&self, key: &str) -> Option<impl Iterator<Item = &str>> {
        self.array(key)?.strs()
    }

    /// The value of a key if it is an array of floats.
    #[must_use]
    pub fn f32s(&self, key: &str) -> Option<Vec<f32>> {
        self.array(key)?.to_f32s()
    }

    /// The value of a key if it is an array of integers that fit `u32`.
    #[must_use]
    pub fn u32s(&self, key: &str) -> Option<Vec<u32>> {
        self.array(key)?.to_u32s()
    }

    /// The value of a key if it is an array of integers that fit `i32`.
    #[must_use]
    pub fn i32s(&self, key: &str) -> Option<Vec<i32>> {
        self.array(key)?.to_i32s()
    }

    /// As [`Gguf::u32`] for a key the model cannot do without.
    ///
    /// # Errors
    /// If the key is missing or no such integer.
    pub fn need_u32(&self, key: &str) -> Result<u32, GgufError> {
        self.need(key, "an integer below 2^32", |v| v.as_u64()?.try_into().ok())
    }

    /// As [`Gguf::f32`] for a key the model cannot do without.
    ///
    /// # Errors
    /// If the key is missing or no float.
    pub fn need_f32(&self, key: &str) -> Result<f32, GgufError> {
        self.need(key, "a float", |v| v.as_f64().map(|x| x as f32))
    }

    /// As [`Gguf::str`] for a key the model cannot do without.
    ///
    /// # Errors
    /// If the key is missing or no string.
    pub fn need_str(&self, key: &str) -> Result<&str, GgufError> {
        self.need(key, "a string", |v| v.as_str())
    }

    /// As [`Gguf::array`] for a key the model cannot do without.
    ///
    /// # Errors
    /// If the key is missing or no array.
    pub fn need_array(&self, key: &str) -> Result<Array<'_>, GgufError> {
        self.need(key, "an array", |v| v.as_array())
    }

    fn need<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<T, GgufError> {
        let value = self.get(key).ok_or_else(|| self.error(Problem::MissingKey(key.to_owned())))?;
        read(value)
            .ok_or_else(|| self.error(Problem::WrongType { key: key.to_owned(), got: value.describe(), expected }))
    }

    /// The architecture, `general.architecture`: the prefix of the model's own keys.
    ///
    /// # Errors
    /// If the key is missing or no string.
    pub fn arch(&self) -> Result<&str, GgufError> {
        self.need_str("general.architecture")
    }

    /// The level `general.file_type` names, if the file tells and it is one of ours.
    #[must_use]
    pub fn level(&self) -> Option<Level> {
        level_of(self.u32("general.file_type")?)
    }

    /// A tensor by name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(*self.header.names.get(name)?)
    }

    /// As [`Gguf::tensor`] for a tensor the model cannot do without.
    ///
    /// # Errors
    /// If it is missing.
    pub fn need_tensor(&self, name: &str) -> Result<&TensorInfo, GgufError> {
        self.tensor(name).ok_or_else(|| self.error(Problem::MissingTensor(name.to_owned())))
    }

    /// The data of one of this file's tensors. Empty for a description that is not from this file and does not fit it.
    #[must_use]
    pub fn tensor_data(&self, info: &TensorInfo) -> &[u8] {
        let span = || {
            let start = usize::try_from(info.offset).ok()?;
            Some(start..start.checked_add(usize::try_from(info.bytes).ok()?)?)
        };
        span().and_then(|span| self.storage.bytes().get(span)).unwrap_or(&[])
    }

    /// Number of weights in all tensors.
    #[must_use]
    pub fn n_params(&self) -> u64 {
        self.tensors.iter().fold(0, |n, t| n.saturating_add(t.n_elements()))
    }

    /// Size of all tensors' data, bytes.
    #[must_use]
    pub fn tensor_bytes(&self) -> u64 {
        // Tensors do not overlap and lie inside the file, so the sum does too.
        self.tensors.iter().map(|t| t.bytes).sum()
    }

    /// Gives the memory of a tensor's pages back to the system, after its data was copied elsewhere; reading it again
    /// reads the file again. Only advice: nothing happens where the system does not support it.
    pub fn release(&self, info: &TensorInfo) {
        #[cfg(unix)]
        if let Storage::Map(map) = &self.storage
            && let (Ok(start), Ok(len)) = (usize::try_from(info.offset), usize::try_from(info.bytes))
            && start.checked_add(len).is_some_and(|end| end <= map.len())
            && len > 0
        {
            // SAFETY: the map is a read-only private map of a file and is never written, so dropped pages come back
            // with the same contents at the next access; slices handed out by `tensor_data` stay valid.
            #[expect(unsafe_code, reason = "dropping clean file pages: see SAFETY")]
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
        }
        #[cfg(not(unix))]
        let _ = info;
    }
}
