//! From a file to an engine.

use super::{
    NAME, NativeEngine,
    graph::Model,
    hparams::Hparams,
    kernels::{ActFormat, Isa, PackedMatrix},
    kv::{KvCache, KvShape, KvType},
    pool::Pool,
    rows::RowOps,
    simd::Level,
    weights::{self, Layer, Weights},
    workspace::{MAX_ROWS, Workspace},
};
use crate::{
    engine::{DeviceChoice, EngineConfig, EngineError, EngineFacts, ModelFacts},
    model::gguf::Gguf,
};
use std::{path::Path, time::Instant};

impl NativeEngine {
    /// Opens a GGUF file and repacks its weights.
    ///
    /// # Errors
    /// [`EngineError::UnsupportedArch`], [`EngineError::UnsupportedTensor`] and [`EngineError::Unsupported`] where another
    /// engine may do better; [`EngineError::Gguf`], [`EngineError::BadModel`] and [`EngineError::OutOfMemory`] otherwise.
    pub fn load(path: &Path, config: &EngineConfig) -> Result<Self, EngineError> {
        let start = Instant::now();
        let gguf = Gguf::open(path)?;
        Self::build(gguf, config, start)
    }

    /// As [`load`](Self::load) from an open file.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_gguf(gguf: Gguf, config: &EngineConfig) -> Result<Self, EngineError> {
        Self::build(gguf, config, Instant::now())
    }

    fn build(gguf: Gguf, config: &EngineConfig, start: Instant) -> Result<Self, EngineError> {
        let cannot = |what: String| EngineError::Unsupported { engine: NAME, what };
        if config.device != DeviceChoice::Cpu {
            return Err(cannot(format!("run on {}: it runs on the processor", config.device)));
        }
        let kv_name = config.kv_type.as_deref().unwrap_or("f16");
        let ty = KvType::parse(kv_name)
            .ok_or_else(|| cannot(format!("store keys and values as `{kv_name}`: known are f16, f32, q8_0")))?;
        let isa = weights::choose_isa(config.isa.as_deref())?;
        let wanted = match config.activations.as_deref() {
            // A second byte is not free, even for single rows: q16 decodes at three quarters of q8's speed.
            None | Some("q8") => ActFormat::Q8,
            Some("q16") => ActFormat::Q16,
            Some("f32") => ActFormat::F32,
            Some(other) => return Err(cannot(format!("use activations `{other}`: known are q8, q16, f32"))),
        };
        let ops = RowOps::new(level(isa)).ok_or_else(|| cannot(format!("use {isa}: this machine does not run it")))?;
        let hp = Hparams::read(&gguf)?;
        if config.n_ctx > hp.n_ctx_train {
            return Err(cannot(format!(
                "hold {} positions: the model was trained for {} (lower --ctx)",
                config.n_ctx, hp.n_ctx_train
            )));
        }
        let n_ctx = config.effective_n_ctx(hp.n_ctx_train);
        let max_seqs = config.max_seqs.max(1);
        let shape = KvShape { n_layer: hp.n_layer, n_head_kv: hp.n_head_kv, key: hp.key, value: hp.value, ty };
        let facts = ModelFacts { kv_bytes_per_pos: shape.bytes_per_position(), ..ModelFacts::from_gguf(&gguf)? };
        let threads = match config.n_threads {
            0 => physical_cores(),
            n => (n as usize).min(1024),
        };
        let load_s = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let weights = Weights::load(gguf, &hp, threads)?;
        let repack_s = start.elapsed().as_secs_f64();

        let cache = KvCache::new(shape, n_ctx, max_seqs)?;
        let rows = MAX_ROWS.min((n_ctx as usize).saturating_mul(max_seqs as usize));
        let work =
            Workspace::new(&weights, &hp, &shape, isa, wanted, rows, threads).map_err(|e| weights::kernel_error(&e))?;
        let pool = Pool::new(threads).map_err(|e| cannot(format!("start {threads} threads: {e}")))?;
        let floats = weights.layers.iter().flat_map(matrices).all(|m| m.weight_type().is_float());
        let activations = match wanted {
            ActFormat::Q8 if !floats => "q8",
            ActFormat::Q16 if !floats => "q16",
            _ => "f32",
        };
        let facts = EngineFacts {
            name: NAME.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: "cpu".to_owned(),
            isa: Some(isa.name().to_owned()),
            n_threads: threads as u32,
            activations: activations.to_owned(),
            kv_type: ty.name().to_owned(),
            n_ctx,
            max_seqs,
            load_s,
            repack_s: Some(repack_s),
            model: facts,
            caveats: Vec::new(),
        };
        Ok(Self { facts, model: Model { hp, weights, ops }, cache, work, pool, logits: Vec::new() })
    }
}

/// All matrices of a block.
fn matrices(layer: &Layer) -> [&PackedMatrix; 7] {
    [&layer.q, &layer.k, &layer.v, &layer.out, &layer.gate, &layer.up, &layer.down]
}

/// The vector code that goes with a set of kernels.
fn level(isa: Isa) -> Level {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Level::Avx2,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni | Isa::Amx => Level::Avx512,
        _ => Level::Portable,
    }
}

/// Physical cores this process may use; logical ones where the system does not tell.
fn physical_cores() -> usize {
    let logical = std::thread::available_parallelism().map_or(1, usize::from);
    sysinfo::System::physical_core_count().map_or(logical, |n| n.clamp(1, logical))
}
