//! Flags shared by every command that loads a model.

use std::path::Path;

use crate::engine::{self, DeviceChoice, Engine, EngineConfig, EngineError, EngineKind};
use crate::error::{Error, Result};
use crate::model::SourceOptions;
use crate::model::catalogue::Catalogue;

/// How to run the model.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Engine")]
pub(super) struct EngineArgs {
    /// Engine: auto, native, candle, or mock (no model; made-up answers)
    #[arg(long, default_value = "auto", value_name = "NAME")]
    pub(super) engine: EngineKind,
    /// Device: cpu, cuda:N or metal
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    pub(super) device: DeviceChoice,
    /// Force an instruction set of the native engine (portable, avx2, avx512, …)
    #[arg(long, value_name = "ISA")]
    pub(super) isa: Option<String>,
    /// Activations of matrix products: q8, q16 or f32 [default: the engine's own]
    #[arg(long, value_name = "FORMAT")]
    pub(super) activations: Option<String>,
    /// Key/value cache: f16, f32 or q8_0 [default: the engine's own]
    #[arg(long, value_name = "FORMAT")]
    pub(super) kv_type: Option<String>,
}

impl EngineArgs {
    /// The engine's configuration for a number of threads (0: all cores), positions and sequences.
    pub(super) fn config(&self, n_threads: u32, n_ctx: u32, max_seqs: u32) -> EngineConfig {
        EngineConfig {
            n_threads,
            n_ctx,
            max_seqs,
            device: self.device,
            isa: self.isa.clone(),
            activations: self.activations.clone(),
            kv_type: self.kv_type.clone(),
        }
    }

    /// Loads the file.
    pub(super) fn load(&self, path: &Path, config: &EngineConfig) -> Result<Box<dyn Engine>, EngineError> {
        engine::load(path, self.engine, config)
    }
}

/// The model the user named, else the catalogue's default.
pub(super) fn named_or_default(named: Option<&str>, options: &SourceOptions) -> Result<String> {
    if let Some(name) = named {
        return Ok(name.to_owned());
    }
    let catalogue = Catalogue::load(options)?;
    let default = catalogue.default_model();
    default.map(|manifest| manifest.name.clone()).ok_or_else(|| {
        Error::Usage("no manifest of the catalogue is marked `default = true`: name a model with -m".into())
    })
}
