//! From a model's name to verified bytes on disk, and from those bytes to what the engines and the quality room need:
//! catalogue, sources, cache and lock file; GGUF, tokenizer, chat template, quantization.
//!
//! The only room that opens a network connection.

mod cache;
pub mod catalogue;
pub mod chat;
pub mod dataset;
mod error;
pub mod gguf;
mod lockfile;
mod make;
pub mod quantize;
mod resolve;
mod source;
pub mod tokenizer;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use cache::{Cache, hash_file};
pub use catalogue::{Catalogue, Manifest};
pub use error::{ModelError, SourceFailure};
pub use lockfile::{LockEntry, entries};
pub use resolve::{Health, check, fetch, resolve};

/// A model file on disk whose bytes are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Catalogue name, or the file's stem for a path.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Of the whole file, lower-case hex.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
    /// Quantization level; `None` if neither manifest nor name tells.
    pub level: Option<String>,
    /// The level it was requantized from, if it was made from a file that is itself quantized.
    pub requantized_from: Option<String>,
    /// Licence of the weights; `None` for a path.
    pub licence: Option<String>,
    /// Which source gave it.
    pub source: String,
}

/// Where models may come from.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// Never open a network connection, never run pip.
    pub offline: bool,
    /// Root of the cache.
    pub cache_dir: PathBuf,
    /// Directories of further manifests; later ones override earlier ones and the embedded catalogue.
    pub catalogue_dirs: Vec<PathBuf>,
}

impl SourceOptions {
    /// The platform's directories: the cache at `TIERBENCH_CACHE` or in the user's cache directory, the user's
    /// manifests in `models/` of the user's configuration directory.
    ///
    /// # Errors
    /// [`ModelError::NoCacheDir`] when there is neither the variable nor a home directory.
    pub fn platform(offline: bool) -> Result<Self, ModelError> {
        let cache_dir = std::env::var_os("TIERBENCH_CACHE")
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from)
            .or_else(|| directories::ProjectDirs::from("", "", "tierbench").map(|dirs| dirs.cache_dir().to_owned()))
            .ok_or(ModelError::NoCacheDir)?;
        let catalogue_dirs = catalogue::user_dir().into_iter().filter(|dir| dir.is_dir()).collect();
        Ok(Self { offline, cache_dir, catalogue_dirs })
    }
}

/// Told how far a download, a check or a conversion is. The command line draws a bar; tests and scripts use [`Silent`].
pub trait Progress {
    /// Something of `total` bytes begins. A new `start` ends what was before it.
    fn start(&mut self, what: &str, total: Option<u64>);
    /// `bytes` more are done.
    fn advance(&mut self, bytes: u64);
    /// It is complete, or has failed.
    fn finish(&mut self);
    /// Whether to stop: polled a few times a second by long work.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&mut self, _what: &str, _total: Option<u64>) {}
    fn advance(&mut self, _bytes: u64) {}
    fn finish(&mut self) {}
}
