//! Weights: read from the mapped file, checked against the header, repacked once.
//!
//! Every tensor of the file must have a place in the graph: one that is left over means that the model computes something
//! this graph does not.

use super::{
    NAME,
    hparams::{Arch, Hparams},
    kernels::{Arena, Isa, KernelError, PackedMatrix, WeightType, dequantize_row},
    memory,
    rope::Rotation,
};
use crate::{
    engine::{EngineError, memory::available_bytes},
    model::gguf::{Gguf, TensorInfo},
};
use std::collections::HashSet;

/// Weights of one block.
pub(super) struct Layer {
    pub(super) attn_norm: Vec<f32>,
    pub(super) q: PackedMatrix,
    pub(super) k: PackedMatrix,
    pub(super) v: PackedMatrix,
    /// Added to queries, keys and values, one after the other.
    pub(super) qkv_bias: Option<Vec<f32>>,
    /// Norms of a query and of a key head.
    pub(super) head_norms: Option<(Vec<f32>, Vec<f32>)>,
    pub(super) out: PackedMatrix,
    /// Norms of what attention and feed-forward add.
    pub(super) output_norms: Option<(Vec<f32>, Vec<f32>)>,
    pub(super) ff_norm: Vec<f32>,
    pub(super) gate: PackedMatrix,
    pub(super) up: PackedMatrix,
    pub(super) down: PackedMatrix,
}

/// Where embedding rows are read.
enum Embedding {
    /// The head is the embedding.
    Tied,
    /// Left in the map: one row per token is read.
    Mapped(TensorInfo, WeightType),
}

/// All weights of a model.
pub(super) struct Weights {
    pub(super) layers: Vec<Layer>,
    pub(super) output_norm: Vec<f32>,
    pub(super) head: PackedMatrix,
    pub(super) rotation: Rotation,
    /// Rotation of windowed layers.
    pub(super) windowed_rotation: Option<Rotation>,
    embedding: Embedding,
    gguf: Gguf,
}

impl Weights {
    /// Repacks all weights of the file on `threads` threads.
    ///
    /// # Errors
    /// [`EngineError::UnsupportedTensor`], [`EngineError::Unsupported`] for a tensor that has no place,
    /// [`EngineError::BadModel`] for wrong shapes, [`EngineError::OutOfMemory`].
    pub(super) fn load(gguf: Gguf, hp: &Hparams, threads: usize) -> Result<Self, EngineError> {
        let mut loader = Loader { gguf: &gguf, arena: None, used: HashSet::new() };
        loader.reserve(threads)?;
        let layers = (0..hp.n_layer).map(|il| loader.layer(il, hp)).collect::<Result<Vec<_>, _>>()?;
        let output_norm = loader.vector("output_norm.weight", hp.n_embd)?;
        let (head, embedding) = if gguf.tensor("output.weight").is_some() {
            let (info, ty) = loader.shaped("token_embd.weight", hp.n_embd, hp.n_vocab)?;
            (loader.matrix("output.weight", hp.n_embd, hp.n_vocab)?, Embedding::Mapped(info.clone(), ty))
        } else {
            (loader.matrix("token_embd.weight", hp.n_embd, hp.n_vocab)?, Embedding::Tied)
        };
        let factors = match gguf.tensor("rope_freqs.weight") {
            Some(_) => Some(loader.vector("rope_freqs.weight", hp.n_rot / 2)?),
            None => None,
        };
        loader.refuse_leftovers()?;
        let rotation = Rotation::new(hp.n_rot, hp.rope_base, hp.rope_factor, factors.as_deref())?;
        let windowed_rotation = match hp.window {
            Some(window) => Some(Rotation::new(hp.n_rot, window.rope_base, 1.0, None)?),
            None => None,
        };
        Ok(Self { layers, output_norm, head, rotation, windowed_rotation, embedding, gguf })
    }

    /// Writes the embedding of a token into `out`.
    pub(super) fn embed(&self, token: u32, out: &mut [f32]) -> Option<()> {
        match &self.embedding {
            Embedding::Tied => self.head.dequantize_row(token as usize, out),
            Embedding::Mapped(info, ty) => dequantize_row(*ty, self.gguf.tensor_data(info), token as usize, out),
        }
    }
}

struct Loader<'a> {
    gguf: &'a Gguf,
    arena: Option<Arena>,
    used: HashSet<String>,
}

impl<'a> Loader<'a> {
    /// Takes memory for every matrix that will be repacked, after asking whether there is enough.
    fn reserve(&mut self, threads: usize) -> Result<(), EngineError> {
        let untied = self.gguf.tensor("output.weight").is_some();
        let mut bytes = 0usize;
        for info in &self.gguf.tensors {
            let [k, n] = info.dims[..] else { continue };
            if (untied && info.name == "token_embd.weight") || WeightType::from_ggml(info.ty.number()).is_none() {
                continue;
            }
            let (ty, n, k) = (weight_type(info)?, size(n)?, size(k)?);
            let tile_bytes = PackedMatrix::bytes(ty, n, k).map_err(|e| bad(&info.name, &e))?;
            bytes = bytes.saturating_add(tile_bytes.next_multiple_of(64));
        }
        memory::require(bytes as u64, "the repacked weights", "use a smaller quantization level")?;
        let arena = Arena::with_capacity(bytes).map_err(|e| kernel_error(&e))?;
        self.arena = Some(arena.with_threads(threads));
        Ok(())
    }

    fn layer(&mut self, il: usize, hp: &Hparams) -> Result<Layer, EngineError> {
        let name = |part: &str| format!("blk.{il}.{part}");
        let (q, kv, v) = (hp.n_head * hp.key, hp.n_head_kv * hp.key, hp.n_head_kv * hp.value);
        let head_norms = if hp.arch.norms_heads() {
            let query = self.vector(&name("attn_q_norm.weight"), hp.key)?;
            Some((query, self.vector(&name("attn_k_norm.weight"), hp.key)?))
        } else {
            None
        };
        let output_norms = if hp.arch.norms_outputs() {
            let attention = self.vector(&name("post_attention_norm.weight"), hp.n_embd)?;
            Some((attention, self.vector(&name("post_ffw_norm.weight"), hp.n_embd)?))
        } else {
            None
        };
        Ok(Layer {
            attn_norm: self.vector(&name("attn_norm.weight"), hp.n_embd)?,
            q: self.rotated_matrix(&name("attn_q.weight"), hp.n_embd, q, hp)?,
            k: self.rotated_matrix(&name("attn_k.weight"), hp.n_embd, kv, hp)?,
            v: self.matrix(&name("attn_v.weight"), hp.n_embd, v)?,
            qkv_bias: self.qkv_bias(il, [q, kv, v], hp)?,
            head_norms,
            out: self.matrix(&name("attn_output.weight"), hp.n_head * hp.value, hp.n_embd)?,
            output_norms,
            ff_norm: self.vector(&name("ffn_norm.weight"), hp.n_embd)?,
            gate: self.matrix(&name("ffn_gate.weight"), hp.n_embd, hp.n_ff)?,
            up: self.matrix(&name("ffn_up.weight"), hp.n_embd, hp.n_ff)?,
            down: self.matrix(&name("ffn_down.weight"), hp.n_ff, hp.n_embd)?,
        })
    }

    /// Biases of queries, keys and values. Qwen2 has all three; some Llamas do.
    fn qkv_bias(&mut self, il: usize, sizes: [usize; 3], hp: &Hparams) -> Result<Option<Vec<f32>>, EngineError> {
        let names = ["attn_q", "attn_k", "attn_v"].map(|part| format!("blk.{il}.{part}.bias"));
        if hp.arch != Arch::Qwen2 && names.iter().all(|name| self.gguf.tensor(name).is_none()) {
            return Ok(None);
        }
        let mut all = Vec::with_capacity(sizes.iter().sum());
        for (i, (name, n)) in names.iter().zip(sizes).enumerate() {
            let bias = self.vector(name, n)?;
            if i < 2 && hp.arch.rotates_neighbours() {
                all.extend(neighbours_to_halves(n, hp).map(|row| bias[row]));
            } else {
                all.extend(bias);
            }
        }
        Ok(Some(all))
    }

    /// A tensor and its type, which must be `k` × `n`.
    fn shaped(&mut self, name: &str, k: usize, n: usize) -> Result<(&'a TensorInfo, WeightType), EngineError> {
        let info = self.gguf.need_tensor(name)?;
        let (got_k, got_n) = (info.row_len(), info.n_rows());
        if got_k != k as u64 || got_n != n as u64 || info.dims.len() > 2 {
            return Err(bad(name, &format!("shape {:?} where the header means [{k}, {n}]", info.dims)));
        }
        self.used.insert(name.to_owned());
        Ok((info, weight_type(info)?))
    }

    /// A vector, dequantized.
    fn vector(&mut self, name: &str, n: usize) -> Result<Vec<f32>, EngineError> {
        let (info, ty) = self.shaped(name, n, 1)?;
        let mut out = vec![0.0; n];
        dequantize_row(ty, self.gguf.tensor_data(info), 0, &mut out).ok_or_else(|| bad(name, &"data is too short"))?;
        Ok(out)
    }

    fn matrix(&mut self, name: &str, k: usize, n: usize) -> Result<PackedMatrix, EngineError> {
        let (info, ty) = self.shaped(name, k, n)?;
        let data = self.gguf.tensor_data(info);
        let gguf = self.gguf;
        // The pages of rows that were repacked go back at once: the largest tensor may be most of the file.
        let release = |rows: &[&[u8]]| {
            if let [first, .., last] = rows {
                let start = first.as_ptr() as u64 - data.as_ptr() as u64;
                let bytes = last.as_ptr() as u64 + last.len() as u64 - first.as_ptr() as u64;
                gguf.release(&TensorInfo { offset: info.offset + start, bytes, ..info.clone() });
            }
        };
        let arena = self.arena.as_mut().ok_or_else(|| bad(name, &"no memory was reserved"))?;
        let matrix = PackedMatrix::pack_and_release(arena, ty, data, n, k, &release).map_err(|e| bad(name, &e))?;
        gguf.release(info);
        Ok(matrix)
    }

    /// The matrix of queries or keys, with rows in the order that pairs dimensions half a head apart. Scores do not change
    /// when the dimensions of queries and keys change places together, so the graph knows one rotation only.
    fn rotated_matrix(&mut self, name: &str, k: usize, n: usize, hp: &Hparams) -> Result<PackedMatrix, EngineError> {
        if !hp.arch.rotates_neighbours() {
            return self.matrix(name, k, n);
        }
        let (info, ty) = self.shaped(name, k, n)?;
        let data = self.gguf.tensor_data(info);
        let row_bytes = ty.row_bytes(k).filter(|&bytes| bytes * n <= data.len());
        let row_bytes = row_bytes.ok_or_else(|| bad(name, &"rows are no whole blocks"))?;
        let mut ordered = Vec::with_capacity(row_bytes * n);
        for row in neighbours_to_halves(n, hp) {
            ordered.extend_from_slice(&data[row * row_bytes..(row + 1) * row_bytes]);
        }
        let arena = self.arena.as_mut().ok_or_else(|| bad(name, &"no memory was reserved"))?;
        let matrix = PackedMatrix::pack(arena, ty, &ordered, n, k).map_err(|e| bad(name, &e))?;
        self.gguf.release(info);
        Ok(matrix)
    }

    fn refuse_leftovers(&self) -> Result<(), EngineError> {
        // Tables of factors some converters leave in the file; llama.cpp ignores them too.
        let ignored = |name: &str| name.ends_with(".attn_rot_embd") || name.ends_with("rotary_emb.inv_freq");
        match self.gguf.tensors.iter().find(|t| !self.used.contains(&t.name) && !ignored(&t.name)) {
            Some(info) => Err(EngineError::Unsupported { engine: NAME, what: format!("use tensor `{}`", info.name) }),
            None => Ok(()),
        }
    }
}

/// For each row of a matrix of heads that is to be rotated half a head apart, the row of the file, where pairs are
/// neighbours: 0 2 4 … 1 3 5 … within the rotated dimensions of a head.
fn neighbours_to_halves(n: usize, hp: &Hparams) -> impl Iterator<Item = usize> {
    let (key, half) = (hp.key, hp.n_rot / 2);
    (0..n).map(move |row| {
        let (head, d) = (row / key * key, row % key);
        head + match d {
            d if d < half => 2 * d,
            d if d < 2 * half => 2 * (d - half) + 1,
            d => d,
        }
    })
}

fn weight_type(info: &TensorInfo) -> Result<WeightType, EngineError> {
    WeightType::from_ggml(info.ty.number()).ok_or_else(|| EngineError::UnsupportedTensor {
        engine: NAME,
        tensor: info.name.clone(),
        dtype: info.ty.to_string(),
    })
}

fn size(n: u64) -> Result<usize, EngineError> {
    usize::try_from(n).map_err(|e| EngineError::BadModel(e.to_string()))
}

fn bad(tensor: &str, why: &dyn std::fmt::Display) -> EngineError {
    EngineError::BadModel(format!("{tensor}: {why}"))
}

/// What the kernels refuse, as an error of the engine.
pub(super) fn kernel_error(error: &KernelError) -> EngineError {
    match error {
        KernelError::OutOfMemory { mib } => EngineError::OutOfMemory {
            what: "a work buffer",
            needed_mib: *mib as u64,
            available_mib: available_bytes().unwrap_or(0) >> 20,
            fix: "close other programs or use a smaller model",
        },
        other => EngineError::BadModel(other.to_string()),
    }
}

/// The instruction set asked for, or the best there is.
///
/// # Errors
/// [`EngineError::Unsupported`] for a name that is none or that this machine does not run.
pub(super) fn choose_isa(name: Option<&str>) -> Result<Isa, EngineError> {
    let Some(name) = name else { return Ok(Isa::detect()) };
    let refuse = |why: &str| EngineError::Unsupported { engine: NAME, what: format!("use --isa {name}: {why}") };
    let known = || Isa::ALL.map(Isa::name).join(", ");
    let isa = Isa::parse(name).ok_or_else(|| refuse(&format!("known are {}", known())))?;
    if isa.is_available() { Ok(isa) } else { Err(refuse("this machine does not run it")) }
}
