//! What can be wrong with a GGUF file.

use std::path::PathBuf;

/// A GGUF file that cannot be used: which file, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct GgufError {
    /// The file, or the name given to bytes in memory.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a GGUF file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be opened or mapped.
    #[error("cannot read the file: {0}")]
    Io(#[from] std::io::Error),
    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file (starts with {got:02x?})")]
    Magic {
        /// Its first bytes, at most four.
        got: Vec<u8>,
    },
    /// A version this reader does not know.
    #[error("GGUF version {0} is not supported: convert the model again, to version 3")]
    Version(u32),
    /// The version number is byte-swapped.
    #[error("big-endian GGUF is not supported: convert the model for a little-endian machine")]
    BigEndian,
    /// The header or tensor data ends before what it announces.
    #[error("truncated: {what} needs {needed} bytes at offset {offset} but the file has {size}: download it again")]
    Truncated {
        /// What was being read.
        what: String,
        /// Where it starts.
        offset: u64,
        /// How long it is.
        needed: u64,
        /// Size of the file.
        size: u64,
    },
    /// A count, length or size outside what is sane for any model.
    #[error("corrupt: {what} is {got}, the limit is {limit}")]
    Limit {
        /// The quantity.
        what: String,
        /// Its value in the file.
        got: u64,
        /// The largest accepted value.
        limit: u64,
    },
    /// A string that is not UTF-8.
    #[error("corrupt: {0} is not UTF-8")]
    NotUtf8(String),
    /// A value type number outside 0..=12.
    #[error("corrupt: key `{key}` has unknown value type {ty}")]
    ValueType {
        /// The key.
        key: String,
        /// The number.
        ty: u32,
    },
    /// A boolean byte other than 0 and 1.
    #[error("corrupt: key `{0}` holds a boolean that is neither 0 nor 1")]
    Bool(String),
    /// A key, or a tensor name, that occurs twice.
    #[error("corrupt: {kind} `{name}` occurs twice")]
    Duplicate {
        /// `key` or `tensor`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// `general.alignment` that is not a power of two.
    #[error("corrupt: general.alignment is not a power of two between 1 and {limit}")]
    Alignment {
        /// The largest accepted alignment.
        limit: u64,
    },
    /// A tensor whose shape, offset or extent cannot be right.
    #[error("corrupt: tensor `{name}` {reason}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong, as the end of a sentence.
        reason: String,
    },
    /// One part of a model that was split over several files.
    #[error("part {part} of {count} of a split model: merge it with `llama-gguf-split --merge` first")]
    Split {
        /// Which part, from 1.
        part: u64,
        /// Number of parts.
        count: u64,
    },
    /// A key the model cannot do without.
    #[error("key `{0}` is missing")]
    MissingKey(String),
    /// A key whose value has another type than the one asked for.
    #[error("key `{key}` is {got}, expected {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// What the file has.
        got: String,
        /// What was asked for.
        expected: &'static str,
    },
    /// A tensor the model cannot do without.
    #[error("tensor `{0}` is missing")]
    MissingTensor(String),
}
