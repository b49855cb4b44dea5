//! A tier as the user names it, before its file is fetched, made or checked.

use std::path::Path;

use crate::cli::engine_args::EngineArgs;
use crate::engine::EngineKind;
use crate::error::Result;
use crate::measure::host::HostFacts;
use crate::model::ModelError;
use crate::model::catalogue::Catalogue;
use crate::model::gguf::Gguf;
use crate::model::quantize::nominal_bits_per_weight;
use crate::plan::Level;
use crate::plan::quote::{RateSource, Rates};
use crate::store::record::TierFacts;

/// Tokens per second of an engine that computes nothing.
const MOCK_RATE: f64 = 1e6;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// As the user wrote it.
    pub(super) spec: String,
    /// Threads it will use.
    pub(super) threads: u32,
    /// Size of its file, bytes; of one that is still to be had a guess.
    pub(super) bytes: f64,
    /// Whether its file may have to be requantized from another.
    pub(super) may_be_made: bool,
    name: String,
    level: Option<String>,
    /// Exact size, where the file is named itself: two files of one name are not one tier.
    file_bytes: Option<u64>,
    n_params: f64,
    engine: EngineKind,
    device: String,
}

/// Threads that 0 stands for.
pub(super) fn all_cores(host: &HostFacts) -> u32 {
    host.physical_cores.unwrap_or(host.usable_cpus).clamp(1, host.usable_cpus.max(1))
}

impl Wanted {
    /// # Errors
    /// A name that is neither a file nor in the catalogue; a level that does not exist.
    pub(super) fn new(
        spec: &str,
        threads: u32,
        engine: &EngineArgs,
        host: &HostFacts,
        catalogue: &Catalogue,
    ) -> Result<Self> {
        let (name, level) = match spec.rsplit_once(':') {
            Some((name, level)) if !Path::new(spec).is_file() => {
                let spec = spec.to_owned();
                (name, Some(level.parse::<Level>().map_err(|source| ModelError::Level { spec, source })?))
            }
            _ => (spec, None),
        };
        let wanted = Self {
            spec: spec.to_owned(),
            threads: if threads == 0 { all_cores(host) } else { threads },
            bytes: 0.0,
            may_be_made: false,
            name: name.to_owned(),
            level: level.map(|level| level.name().to_owned()),
            file_bytes: None,
            n_params: 0.0,
            engine: engine.engine,
            device: engine.device.to_string(),
        };
        if Path::new(name).exists() {
            Ok(wanted.of_file(Path::new(name), level))
        } else {
            wanted.of_catalogue(level, catalogue)
        }
    }

    fn of_file(self, path: &Path, level: Option<Level>) -> Self {
        let bytes = std::fs::metadata(path).ok().map(|meta| meta.len());
        let size = bytes.map_or(1e9, |bytes| bytes as f64);
        // What is no model is refused when it is loaded.
        let n_params = Gguf::open(path).ok().map_or(size, |gguf| gguf.n_params() as f64);
        Self {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            bytes: level.and_then(nominal_bits_per_weight).map_or(size, |bits| n_params * bits / 8.0),
            may_be_made: level.is_some(),
            file_bytes: bytes.filter(|_| level.is_none()),
            n_params,
            ..self
        }
    }

    fn of_catalogue(self, level: Option<Level>, catalogue: &Catalogue) -> Result<Self> {
        let manifest = catalogue.get(&self.name)?;
        let level = level.or_else(|| manifest.files.first().map(|file| file.level));
        let offered = manifest.files.iter().find(|file| Some(file.level) == level);
        let n_params = manifest.params as f64;
        let bits = level.and_then(nominal_bits_per_weight).unwrap_or(8.0);
        let bytes = offered.and_then(|file| file.bytes).map_or(n_params * bits / 8.0, |bytes| bytes as f64);
        let level = level.map(|level| level.name().to_owned());
        Ok(Self { name: manifest.name.clone(), level, bytes, n_params, may_be_made: offered.is_none(), ..self })
    }

    /// Whether a stored tier is this one.
    pub(super) fn is(&self, stored: &TierFacts) -> bool {
        let tier = &stored.tier;
        let engine = match self.engine {
            EngineKind::Auto => tier.engine != "mock",
            EngineKind::Native => tier.engine == "native",
            EngineKind::Candle => tier.engine.starts_with("candle"),
            EngineKind::Mock => tier.engine == "mock",
        };
        let file = match self.file_bytes {
            Some(bytes) => stored.model.bytes == Some(bytes),
            None => self.level == tier.level,
        };
        let threads = self.engine == EngineKind::Mock || tier.n_threads == self.threads;
        engine && file && threads && tier.model == self.name && tier.device == self.device
    }

    /// Rates by the roofline.
    pub(super) fn roofline(&self) -> Rates {
        if self.engine == EngineKind::Mock {
            return Rates { prefill: MOCK_RATE, decode: MOCK_RATE, source: RateSource::Roofline };
        }
        Rates::roofline(self.n_params, self.bytes, f64::from(self.threads))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::DeviceChoice;
    use crate::model::SourceOptions;
    use crate::plan::{Tier, TierKey};
    use crate::store::record::ModelFileFacts;

    const ENGINE: EngineArgs =
        EngineArgs { engine: EngineKind::Auto, device: DeviceChoice::Cpu, isa: None, activations: None, kv_type: None };

    fn catalogue() -> Catalogue {
        let nowhere = SourceOptions { offline: true, cache_dir: "nowhere".into(), catalogue_dirs: Vec::new() };
        Catalogue::load(&nowhere).unwrap()
    }

    fn host(physical: u32, usable: u32) -> HostFacts {
        HostFacts { physical_cores: Some(physical), usable_cpus: usable, ..HostFacts::default() }
    }

    fn wanted(spec: &str, threads: u32) -> Result<Wanted> {
        Wanted::new(spec, threads, &ENGINE, &host(4, 8), &catalogue())
    }

    fn stored(model: &str, level: &str, engine: &str, n_threads: u32) -> TierFacts {
        let tier = Tier {
            model: model.into(),
            level: Some(level.into()),
            requantized_from: None,
            engine: engine.into(),
            device: "cpu".into(),
            n_threads,
        };
        let model = ModelFileFacts { bytes: Some(7), ..ModelFileFacts::default() };
        TierFacts { key: TierKey("k".into()), tier, model, engine: None, idle: None, peak_rss_bytes: None }
    }

    #[test]
    fn a_stored_tier_is_met_again_only_as_it_was() {
        let own = wanted("smollm2-135m-instruct:q4_0", 0).unwrap();
        assert!(own.is(&stored("smollm2-135m-instruct", "q4_0", "native", 4)) && own.may_be_made);
        for other in [
            stored("smollm2-135m-instruct", "q4_1", "native", 4),
            stored("smollm2-135m-instruct", "q4_0", "mock", 4),
            stored("smollm2-135m-instruct", "q4_0", "native", 2),
            stored("gemma-3-270m", "q4_0", "native", 4),
        ] {
            assert!(!own.is(&other), "{:?}", other.tier);
        }
        // Without a level the catalogue's own file is meant.
        assert!(wanted("smollm2-135m-instruct", 2).unwrap().is(&stored("smollm2-135m-instruct", "q4_1", "native", 2)));
    }

    #[test]
    fn a_file_is_known_by_its_name_and_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.gguf");
        std::fs::write(&path, [0; 7]).unwrap();
        let own = wanted(path.to_str().unwrap(), 4).unwrap();
        assert!(own.is(&stored("mine", "q4_0", "native", 4)) && !own.may_be_made);
        std::fs::write(&path, [0; 8]).unwrap();
        assert!(!wanted(path.to_str().unwrap(), 4).unwrap().is(&stored("mine", "q4_0", "native", 4)));
    }

    #[test]
    fn names_nobody_has_are_refused_before_anything_is_planned() {
        for spec in ["smollm2-135m-instrct", "smollm2-135m-instruct:q9", "nowhere/model.gguf"] {
            assert!(wanted(spec, 0).is_err(), "{spec}");
        }
    }
}
