//! One model file → the same model at another level, as llama-quantize makes it: the same mixture of formats, and the
//! same blocks bit for bit.
//!
//! Tensors are streamed: what is held of the weights at any time is one slab of the output and a chunk per thread,
//! whatever the model's size. Levels above the source's precision can be made too (they add size, not quality), and a
//! file made from weights that were quantized before says so in `tierbench.requantized_from`.

mod blocks;
mod format;
mod k_blocks;
mod mixture;
mod search;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

pub use self::mixture::{nominal_bits_per_weight, tensor_types};
use super::Progress;
use super::gguf::{Body, GgmlType, Gguf, GgufError, TensorInfo, Value, Writer, file_type_of};
use crate::plan::Level;

/// Version of the blocks and mixtures written here: part of the key under which made files are cached.
pub const VERSION: u32 = 1;

/// Key that names the level of the file the weights were quantized in before.
pub const REQUANTIZED_FROM: &str = "tierbench.requantized_from";

/// ggml's version of the block layouts, `general.quantization_version`.
const LAYOUT_VERSION: u32 = 2;

/// Weights converted by a thread at a time; a multiple of every block.
const CHUNK: usize = 1 << 16;

/// Weights converted before they are written: at most 32 MB of output.
const SLAB: usize = 1 << 23;

/// Why a file could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The source cannot be used.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The source holds a tensor in a format that cannot be read.
    #[error("{path}: tensor `{tensor}` is {ty}, which cannot be converted: start from an F16, BF16 or Q8_0 file")]
    Source {
        /// The source.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its format.
        ty: GgmlType,
    },
    /// The source holds an infinite weight or one that is not a number.
    #[error("{path}: tensor `{tensor}` holds a weight that is infinite or not a number")]
    NotFinite {
        /// The source.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// The output would replace its own source.
    #[error("{0} is the source itself: choose another output")]
    SameFile(PathBuf),
    /// The output cannot be written.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The output.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The user asked to stop; nothing was left behind.
    #[error("interrupted while writing {0}")]
    Interrupted(PathBuf),
}

/// A file that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    /// Where it is.
    pub path: PathBuf,
    /// Size of the file.
    pub bytes: u64,
    /// Size of its tensors' data.
    pub tensor_bytes: u64,
    /// Number of weights.
    pub n_params: u64,
    /// The level its weights were quantized at before, if they were.
    pub requantized_from: Option<String>,
}

impl Quantized {
    /// Mean storage per weight, bits.
    #[must_use]
    pub fn bits_per_weight(&self) -> Option<f64> {
        (self.n_params > 0).then(|| self.tensor_bytes as f64 * 8.0 / self.n_params as f64)
    }
}

/// Makes `out` from `source` at `level`, with all processors. `out` appears whole or not at all and replaces what was
/// there.
///
/// # Errors
/// [`QuantizeError`]; nothing is left behind.
pub fn quantize_file(
    source: &Path,
    out: &Path,
    level: Level,
    progress: &mut dyn Progress,
) -> Result<Quantized, QuantizeError> {
    let gguf = Gguf::open(source)?;
    if let (Ok(a), Ok(b)) = (source.canonicalize(), out.canonicalize())
        && a == b
    {
        return Err(QuantizeError::SameFile(out.to_owned()));
    }
    let tensors = tensor_types(&gguf, level)?;
    let requantized_from = requantized_from(&gguf, &tensors);
    let writer = header(&gguf, level, &tensors, requantized_from.as_deref())
        .map_err(|source| QuantizeError::Io { path: out.to_owned(), source })?;
    let tensor_bytes = tensors.iter().filter_map(|(info, ty)| ty.bytes_for(info.n_elements())).sum();

    let name = out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    progress.start(&name, Some(tensor_bytes));
    let made = Job { gguf: &gguf, out, threads: thread::available_parallelism().map_or(1, usize::from) }
        .write(&writer, &tensors, progress);
    progress.finish();
    Ok(Quantized { path: out.to_owned(), bytes: made?, tensor_bytes, n_params: gguf.n_params(), requantized_from })
}

/// The level the source's weights are quantized at, if the target converts any that are.
fn requantized_from(gguf: &Gguf, tensors: &[(&TensorInfo, GgmlType)]) -> Option<String> {
    let before = gguf.str(REQUANTIZED_FROM);
    let largest = tensors
        .iter()
        .filter(|(info, ty)| info.ty != *ty && info.ty.is_quantized())
        .max_by_key(|(info, _)| info.n_elements());
    let Some((largest, _)) = largest else { return before.map(str::to_owned) };
    let now = gguf.level().map_or_else(|| largest.ty.to_string().to_lowercase(), |level| level.name().to_owned());
    Some(before.map_or(now.clone(), |before| format!("{before}, then {now}")))
}

fn header(
    gguf: &Gguf,
    level: Level,
    tensors: &[(&TensorInfo, GgmlType)],
    requantized_from: Option<&str>,
) -> std::io::Result<Writer> {
    let mut writer = Writer::new();
    for (key, value) in gguf.entries().filter(|(key, _)| !key.starts_with("split.")) {
        writer.put(key, value);
    }
    writer.put("general.quantization_version", Value::U32(LAYOUT_VERSION));
    if let Some(number) = file_type_of(level) {
        writer.put("general.file_type", Value::U32(number));
    }
    if let Some(from) = requantized_from {
        writer.put(REQUANTIZED_FROM, Value::Str(from));
    }
    writer.put("tierbench.quantizer_version", Value::U32(VERSION));
    for (info, ty) in tensors {
        writer.declare(&info.name, &info.dims, *ty)?;
    }
    Ok(writer)
}

struct Job<'a> {
    gguf: &'a Gguf,
    out: &'a Path,
    threads: usize,
}

impl Job<'_> {
    fn io(&self) -> impl Fn(std::io::Error) -> QuantizeError + '_ {
        |source| QuantizeError::Io { path: self.out.to_owned(), source }
    }

    fn write(
        &self,
        writer: &Writer,
        tensors: &[(&TensorInfo, GgmlType)],
        progress: &mut dyn Progress,
    ) -> Result<u64, QuantizeError> {
        let dir = self.out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.prefix(".quantizing-").tempfile_in(dir).map_err(self.io())?;
        let mut body = writer.begin(BufWriter::new(file.as_file_mut())).map_err(self.io())?;
        for (info, ty) in tensors {
            let data = self.gguf.tensor_data(info);
            if *ty == info.ty {
                self.copy(data, &mut body, progress)?;
            } else {
                self.convert(data, info, *ty, &mut body, progress)?;
            }
            self.gguf.release(info);
        }
        let (_, bytes) = body.finish().map_err(self.io())?;
        file.as_file().sync_all().map_err(self.io())?;
        file.persist(self.out).map_err(|error| self.io()(error.error))?;
        Ok(bytes)
    }

    fn check(&self, progress: &dyn Progress) -> Result<(), QuantizeError> {
        if progress.cancelled() { Err(QuantizeError::Interrupted(self.out.to_owned())) } else { Ok(()) }
    }

    fn copy(&self, data: &[u8], body: &mut Body<impl Write>, progress: &mut dyn Progress) -> Result<(), QuantizeError> {
        for chunk in data.chunks(SLAB) {
            self.check(progress)?;
            body.write(chunk).map_err(self.io())?;
            progress.advance(chunk.len() as u64);
        }
        Ok(())
    }

    /// Converts a tensor slab by slab. Its rows are whole blocks of both formats, so it is one run of blocks.
    fn convert(
        &self,
        data: &[u8],
        info: &TensorInfo,
        ty: GgmlType,
        body: &mut Body<impl Write>,
        progress: &mut dyn Progress,
    ) -> Result<(), QuantizeError> {
        let bytes_of = |format: GgmlType, n: u64| format.bytes_for(n).and_then(|bytes| usize::try_from(bytes).ok());
        let unreadable =
            || QuantizeError::Source { path: self.gguf.path().to_owned(), tensor: info.name.clone(), ty: info.ty };
        let (Some(slab_in), Some(slab_out)) = (bytes_of(info.ty, SLAB as u64), bytes_of(ty, SLAB as u64)) else {
            return Err(unreadable());
        };
        let mut out = Vec::new();
        for slab in data.chunks(slab_in) {
            self.check(progress)?;
            let len = slab.len() as u128 * slab_out as u128 / slab_in as u128;
            out.resize(usize::try_from(len).ok().ok_or_else(unreadable)?, 0);
            match self.convert_slab(slab, info.ty, &mut out, ty) {
                Ok(()) => {}
                Err(Fault::Format) => return Err(unreadable()),
                Err(Fault::NotFinite) => {
                    let (path, tensor) = (self.gguf.path().to_owned(), info.name.clone());
                    return Err(QuantizeError::NotFinite { path, tensor });
                }
            }
            body.write(&out).map_err(self.io())?;
            progress.advance(out.len() as u64);
        }
        Ok(())
    }

    /// Converts one slab on all threads, each taking the next chunk.
    fn convert_slab(&self, slab: &[u8], from: GgmlType, out: &mut [u8], to: GgmlType) -> Result<(), Fault> {
        let chunk = |ty: GgmlType| ty.bytes_for(CHUNK as u64).and_then(|n| usize::try_from(n).ok());
        let (Some(chunk_in), Some(chunk_out)) = (chunk(from), chunk(to)) else { return Err(Fault::Format) };
        let chunks = Mutex::new(slab.chunks(chunk_in).zip(out.chunks_mut(chunk_out)));
        let work = || {
            let mut weights = Vec::new();
            loop {
                // A thread that panicked took its chunk with it; the scope passes the panic on.
                let next = chunks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                let Some((input, output)) = next else { return Ok(()) };
                weights.resize(n_weights(from, input.len()).ok_or(Fault::Format)?, 0.0);
                format::decode(from, input, &mut weights).ok_or(Fault::Format)?;
                if !weights.iter().all(|w| w.is_finite()) {
                    return Err(Fault::NotFinite);
                }
                format::encode(to, &weights, output).ok_or(Fault::Format)?;
            }
        };
        let helpers = self.threads.min(slab.len().div_ceil(chunk_in)).saturating_sub(1);
        thread::scope(|scope| {
            let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
            let mut result = work();
            for helper in helpers {
                match helper.join() {
                    Ok(theirs) => result = result.and(theirs),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            result
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Format,
    NotFinite,
}

/// Weights in `bytes` of a format.
fn n_weights(ty: GgmlType, bytes: usize) -> Option<usize> {
    let (block, size) = ty.layout()?;
    usize::try_from(bytes as u64 / size * block).ok()
}

#[cfg(test)]
mod tests;
