//! The reference engine: the quantized models of candle-transformers, their limits hidden behind the trait or stated.
//!
//! candle's models keep the cache inside, append to it, return the logits of the last position only, and cannot shorten
//! it. What the trait asks for beyond that is done here: one model value per sequence (clones share weights and cached
//! tensors), one pass per row of logits, and truncation by going back to a snapshot and feeding the difference again.
//! Every deviation from llama.cpp that is known is a caveat of [`EngineFacts`] and printed with the results.

mod architecture;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Instant;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};

use super::{
    Batch, DeviceChoice, Engine, EngineConfig, EngineError, EngineFacts, Logits, ModelFacts, SeqId, check_batch,
};
use crate::model::gguf::{GgmlType, Gguf};
use architecture::{Architecture, Decoder};

const NAME: &str = "candle";

/// Version of the candle crates this was built with; kept in step with `Cargo.toml` by a test.
const CANDLE_VERSION: &str = "0.11.1";

/// The engine. See the module.
pub struct CandleEngine {
    facts: EngineFacts,
    device: Device,
    architecture: Architecture,
    /// A model with an empty cache, cloned for every sequence; `None` while the only value is lent out.
    pristine: Option<Decoder>,
    sequences: BTreeMap<u32, Sequence>,
    logits: Vec<f32>,
}

#[derive(Default)]
struct Sequence {
    /// What the sequence holds, whether or not a model has it cached.
    tokens: Vec<u32>,
    /// A model whose cache holds the first `len` of them.
    live: Option<Cached>,
    /// The state after the last prefill, to which truncation returns.
    mark: Option<Cached>,
}

struct Cached {
    decoder: Decoder,
    len: usize,
}

impl CandleEngine {
    /// Loads a GGUF file.
    ///
    /// # Errors
    /// Architectures and tensor types candle does not have, devices this build does not have, too little memory.
    pub fn load(path: &Path, config: &EngineConfig) -> Result<Self, EngineError> {
        let start = Instant::now();
        let gguf = Gguf::open(path)?;
        let model = ModelFacts::from_gguf(&gguf)?;
        let architecture = Architecture::of(&model.arch)?;
        refuse_unreadable_tensors(&gguf)?;
        refuse_options(config)?;
        let device = open_device(config.device)?;
        check_memory(&gguf, &model)?;

        let io = |source| EngineError::Io { path: path.to_owned(), source };
        let mut file = std::io::BufReader::new(File::open(path).map_err(io)?);
        let content = Content::read(&mut file)?;
        let decoder = architecture.load(content, &mut file, &device)?;

        let n_threads = u32::try_from(candle_core::utils::get_num_threads()).unwrap_or(u32::MAX);
        let n_ctx = config.effective_n_ctx(model.n_ctx_train).min(architecture.max_ctx(model.n_ctx_train));
        let mut caveats = architecture.caveats(&gguf, n_ctx);
        if config.device != DeviceChoice::Cpu {
            caveats.push("candle on a GPU is untested by the authors".into());
        }
        let facts = EngineFacts {
            name: NAME.into(),
            version: CANDLE_VERSION.into(),
            device: config.device.to_string(),
            isa: None,
            n_threads,
            activations: "q8".into(),
            kv_type: "f32".into(),
            n_ctx,
            max_seqs: config.max_seqs.max(1),
            load_s: start.elapsed().as_secs_f64(),
            // candle repacks inside the first forward of each matrix: warm-up pays for it.
            repack_s: None,
            model,
            caveats,
        };
        Ok(Self {
            facts,
            device,
            architecture,
            pristine: Some(decoder),
            sequences: BTreeMap::new(),
            logits: Vec::new(),
        })
    }

    fn insert(&mut self, sequence: Sequence) -> Result<SeqId, EngineError> {
        let max = self.facts.max_seqs;
        let id = (0..max).find(|id| !self.sequences.contains_key(id)).ok_or(EngineError::TooManySequences { max })?;
        self.sequences.insert(id, sequence);
        Ok(SeqId(id))
    }

    /// Takes a model out of `seq` (or clones or borrows one) whose cache holds exactly the sequence's tokens.
    fn take_cached(&mut self, seq: u32) -> Result<Decoder, EngineError> {
        let sequence = self.sequences.get_mut(&seq).ok_or(EngineError::UnknownSequence(seq))?;
        let wanted = sequence.tokens.len();
        let live = sequence.live.take().filter(|cached| cached.len <= wanted);
        let mark = sequence.mark.as_ref().filter(|cached| cached.len <= wanted);
        let start = match (live, mark) {
            (Some(live), mark) if mark.is_none_or(|mark| mark.len <= live.len) => Some(live),
            (_, Some(mark)) => mark.decoder.try_clone().map(|decoder| Cached { decoder, len: mark.len }),
            (live, None) => live,
        };
        let mut cached = match start {
            Some(cached) => cached,
            None => Cached { decoder: self.fresh()?, len: 0 },
        };
        let missing = self.sequences.get(&seq).map(|s| s.tokens.get(cached.len..).unwrap_or_default().to_vec());
        for chunk in self.architecture.chunks(&missing.unwrap_or_default(), cached.len) {
            let input = Tensor::new(chunk, &self.device)?.unsqueeze(0)?;
            cached.decoder.forward(&input, cached.len)?;
            cached.len += chunk.len();
        }
        Ok(cached.decoder)
    }

    /// A model with an empty cache.
    fn fresh(&mut self) -> Result<Decoder, EngineError> {
        if let Some(clone) = self.pristine.as_ref().and_then(Decoder::try_clone) {
            return Ok(clone);
        }
        // A model that cannot be cloned exists once: whichever sequence had it will feed its tokens again.
        let lent = self.sequences.values_mut().find_map(|sequence| sequence.live.take());
        self.pristine.take().or(lent.map(|cached| cached.decoder)).ok_or_else(|| EngineError::Unsupported {
            engine: NAME,
            what: "find its model again after an earlier error: load it anew".into(),
        })
    }

    /// Feeds `tokens` (with their wish for logits) to one sequence; `rows[i]` receives row `i`'s place in the batch order.
    fn feed(&mut self, seq: u32, tokens: &[(u32, Option<usize>)]) -> Result<(), EngineError> {
        let mut decoder = self.take_cached(seq)?;
        let n_vocab = self.facts.model.n_vocab as usize;
        let mut len = self.sequences.get(&seq).map_or(0, |sequence| sequence.tokens.len());
        let mut longest = 0;
        // candle returns the last row only: cut after every row that is wanted.
        for part in tokens.split_inclusive(|(_, row)| row.is_some()) {
            let ids: Vec<u32> = part.iter().map(|&(id, _)| id).collect();
            let mut last = None;
            for chunk in self.architecture.chunks(&ids, len) {
                let input = Tensor::new(chunk, &self.device)?.unsqueeze(0)?;
                last = Some(decoder.forward(&input, len)?);
                len += chunk.len();
                longest = longest.max(chunk.len());
            }
            if let (Some(row), Some(logits)) = (part.last().and_then(|&(_, row)| row), last) {
                let values = logits.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?;
                if values.iter().any(|x| x.is_nan()) {
                    return Err(EngineError::NotANumber { seq, pos: u32::try_from(len - 1).unwrap_or(u32::MAX) });
                }
                let target = self.logits.get_mut(row * n_vocab..(row + 1) * n_vocab);
                match target.filter(|target| target.len() == values.len()) {
                    Some(target) => target.copy_from_slice(&values),
                    None => {
                        return Err(EngineError::BadModel(format!(
                            "output has {} logits, the vocabulary {n_vocab} tokens",
                            values.len()
                        )));
                    }
                }
            }
        }
        if let Some(sequence) = self.sequences.get_mut(&seq) {
            sequence.tokens.extend(tokens.iter().map(|&(id, _)| id));
            if longest > 1 || sequence.mark.is_none() {
                sequence.mark = decoder.try_clone().map(|decoder| Cached { decoder, len });
            }
            sequence.live = Some(Cached { decoder, len });
        }
        Ok(())
    }
}

impl Engine for CandleEngine {
    fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    fn sequence(&mut self) -> Result<SeqId, EngineError> {
        self.insert(Sequence::default())
    }

    fn fork(&mut self, seq: SeqId) -> Result<SeqId, EngineError> {
        let source = self.sequences.get(&seq.0).ok_or(EngineError::UnknownSequence(seq.0))?;
        let copy = |cached: &Option<Cached>| {
            cached.as_ref().and_then(|c| c.decoder.try_clone().map(|decoder| Cached { decoder, len: c.len }))
        };
        let live = copy(&source.live);
        let mark = copy(&source.live).or_else(|| copy(&source.mark));
        let tokens = source.tokens.clone();
        self.insert(Sequence { tokens, live, mark })
    }

    fn truncate(&mut self, seq: SeqId, len: u32) -> Result<(), EngineError> {
        let sequence = self.sequences.get_mut(&seq.0).ok_or(EngineError::UnknownSequence(seq.0))?;
        if (len as usize) < sequence.tokens.len() {
            sequence.tokens.truncate(len as usize);
            // Feeding the difference again is this engine's cost, not the next forward's: pay it here, outside timed spans.
            let decoder = self.take_cached(seq.0)?;
            if let Some(sequence) = self.sequences.get_mut(&seq.0) {
                sequence.live = Some(Cached { decoder, len: len as usize });
            }
        }
        Ok(())
    }

    fn free(&mut self, seq: SeqId) -> Result<(), EngineError> {
        let sequence = self.sequences.remove(&seq.0).ok_or(EngineError::UnknownSequence(seq.0))?;
        if self.pristine.is_none() {
            self.pristine = sequence.live.map(|cached| cached.decoder);
        }
        Ok(())
    }

    fn forward(&mut self, batch: &Batch) -> Result<Logits<'_>, EngineError> {
        let n_vocab = self.facts.model.n_vocab as usize;
        check_batch(batch, &self.facts, |seq| {
            self.sequences.get(&seq.0).map(|s| u32::try_from(s.tokens.len()).unwrap_or(u32::MAX))
        })?;
        let mut by_sequence: BTreeMap<u32, Vec<(u32, Option<usize>)>> = BTreeMap::new();
        let mut n_rows = 0;
        for token in &batch.tokens {
            let row = token.logits.then_some(n_rows);
            n_rows += usize::from(token.logits);
            by_sequence.entry(token.seq.0).or_default().push((token.token, row));
        }
        self.logits.clear();
        self.logits.resize(n_rows * n_vocab, 0.0);
        for (seq, tokens) in by_sequence {
            self.feed(seq, &tokens)?;
        }
        Ok(Logits { data: &self.logits, n_vocab })
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        Ok(self.device.synchronize()?)
    }
}

fn open_device(choice: DeviceChoice) -> Result<Device, EngineError> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(_) if !cfg!(feature = "cuda") => {
            Err(EngineError::Unsupported { engine: NAME, what: "run on cuda: build with --features cuda".into() })
        }
        DeviceChoice::Metal if !cfg!(feature = "metal") => {
            Err(EngineError::Unsupported { engine: NAME, what: "run on metal: build with --features metal".into() })
        }
        DeviceChoice::Cuda(ordinal) => Ok(Device::new_cuda(ordinal)?),
        DeviceChoice::Metal => Ok(Device::new_metal(0)?),
    }
}

/// candle refuses a whole file for one tensor it cannot read, without naming it.
fn refuse_unreadable_tensors(gguf: &Gguf) -> Result<(), EngineError> {
    match gguf.tensors.iter().find(|tensor| !tensor.ty.is_supported()) {
        Some(tensor) => Err(EngineError::UnsupportedTensor {
            engine: NAME,
            tensor: tensor.name.clone(),
            dtype: tensor.ty.to_string(),
        }),
        None => Ok(()),
    }
}

/// candle has one way of doing each of these.
fn refuse_options(config: &EngineConfig) -> Result<(), EngineError> {
    let unsupported = |what: String| Err(EngineError::Unsupported { engine: NAME, what });
    let threads = candle_core::utils::get_num_threads();
    if config.device == DeviceChoice::Cpu && config.n_threads != 0 && config.n_threads as usize != threads {
        let n = config.n_threads;
        return unsupported(format!(
            "change its threads once started ({threads} now): set RAYON_NUM_THREADS={n} in the environment"
        ));
    }
    if let Some(isa) = &config.isa {
        return unsupported(format!("force the instruction set {isa}: use --engine native or leave --isa out"));
    }
    match config.activations.as_deref() {
        None | Some("q8") => {}
        Some(other) => return unsupported(format!("use {other} activations: leave --activations out")),
    }
    match config.kv_type.as_deref() {
        None | Some("f32") => Ok(()),
        Some(other) => unsupported(format!("keep keys and values as {other}: leave --kv-type out")),
    }
}

/// candle holds the weights, a repacked copy of most of them, and the embedding as f32.
fn check_memory(gguf: &Gguf, model: &ModelFacts) -> Result<(), EngineError> {
    let dense: u64 = gguf
        .tensors
        .iter()
        .filter(|t| matches!(t.ty, GgmlType::F16 | GgmlType::Bf16) || t.name == "token_embd.weight")
        .map(|t| t.n_elements().saturating_mul(4))
        .fold(0, u64::saturating_add);
    super::memory::require("the candle engine", model.tensor_bytes.saturating_mul(2).saturating_add(dense))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_in_the_manifest() {
        let manifest = include_str!("../../../Cargo.toml");
        assert!(manifest.contains(&format!("candle-core = \"{CANDLE_VERSION}\"")));
        assert!(manifest.contains(&format!("candle-transformers = \"{CANDLE_VERSION}\"")));
    }

    #[test]
    fn a_device_this_build_lacks_names_the_feature() {
        if !cfg!(feature = "cuda") {
            assert!(open_device(DeviceChoice::Cuda(0)).unwrap_err().to_string().contains("--features cuda"));
        }
    }
}
