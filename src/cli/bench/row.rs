//! One test as published: llama-bench's fields first, in its order and types, then ours. `history import` reads it back.

use std::path::PathBuf;

use serde::Serialize;

use super::Tested;
use super::unused::{Placement, Threading};
use crate::civil::rfc3339;
use crate::energy::{Flag, IdleBaselines, Reading};
use crate::engine::EngineFacts;
use crate::measure::bandwidth::{Bandwidth, roofline_share};
use crate::measure::host::HostFacts;
use crate::measure::noise::NoiseEvidence;
use crate::measure::{EnergyWindow, Evidence, Percentiles, Protocol, SpeedCell, warnings};
use crate::store::derive::energy_per_unit;
use crate::units::Interval;

/// Tokens per engine call in llama-bench's `n_batch`; ours are bounded by `n_ubatch` alone.
const N_BATCH: u32 = 2048;

#[derive(Debug, Serialize)]
pub(super) struct Row {
    // llama-bench's fields.
    pub(super) build_commit: &'static str,
    pub(super) build_number: u32,
    pub(super) cpu_info: String,
    pub(super) gpu_info: String,
    pub(super) backends: String,
    pub(super) model_filename: PathBuf,
    pub(super) model_type: Option<String>,
    pub(super) model_size: Option<u64>,
    pub(super) model_n_params: Option<u64>,
    pub(super) n_batch: u32,
    pub(super) n_ubatch: u32,
    pub(super) n_threads: u32,
    #[serde(flatten)]
    pub(super) threading: Threading,
    pub(super) type_k: Option<String>,
    pub(super) type_v: Option<String>,
    #[serde(flatten)]
    pub(super) placement: Placement,
    pub(super) n_prompt: u32,
    pub(super) n_gen: u32,
    pub(super) n_depth: u32,
    pub(super) test_time: Option<String>,
    pub(super) avg_ns: Option<u64>,
    pub(super) stddev_ns: Option<u64>,
    pub(super) avg_ts: Option<f64>,
    pub(super) stddev_ts: Option<f64>,
    pub(super) samples_ns: Vec<u64>,
    pub(super) samples_ts: Vec<f64>,
    // Ours.
    pub(super) tierbench_version: &'static str,
    pub(super) model: String,
    pub(super) level: Option<String>,
    pub(super) model_sha256: String,
    pub(super) requantized_from: Option<String>,
    pub(super) test: String,
    pub(super) n_batch_seqs: u32,
    pub(super) engine: Option<String>,
    pub(super) engine_version: Option<String>,
    pub(super) isa: Option<String>,
    pub(super) activations: Option<String>,
    pub(super) device: Option<String>,
    pub(super) median_ts: Option<f64>,
    pub(super) median_ts_interval: Option<Interval>,
    pub(super) ttft_s: Option<f64>,
    pub(super) itl_ns: Option<Percentiles>,
    pub(super) load_s: Option<f64>,
    pub(super) repack_s: Option<f64>,
    pub(super) peak_rss: Option<u64>,
    pub(super) peak_rss_since_start_of_cell: Option<bool>,
    pub(super) bytes_per_step: Option<f64>,
    pub(super) bandwidth: Option<Bandwidth>,
    pub(super) roofline_share: Option<f64>,
    pub(super) energy: Option<Energy>,
    pub(super) warmup_ns: Vec<u64>,
    pub(super) steady: Option<bool>,
    pub(super) blocks: Vec<u32>,
    pub(super) seed: u64,
    pub(super) noise: Option<NoiseEvidence>,
    pub(super) caveats: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) error: Option<String>,
}

/// Energy of a test.
#[derive(Debug, Serialize)]
pub(super) struct Energy {
    /// All windows together.
    pub(super) total: Reading,
    /// Tokens inside them.
    pub(super) tokens: u64,
    /// Gross, J/token.
    pub(super) joules_per_token: Option<f64>,
    /// Its interval, mean ± 2 u_c of scatter, sensor and tick (F15); of an estimate its range.
    pub(super) joules_per_token_range: Option<(f64, f64)>,
    /// Above the idle power of the loaded model, J/token.
    pub(super) joules_per_token_above_idle: Option<f64>,
    /// Above the idle power before any model was loaded, J/token.
    pub(super) joules_per_token_above_bare: Option<f64>,
    /// What a reader must know.
    pub(super) flags: Vec<Flag>,
    /// Idle power.
    pub(super) idle: IdleBaselines,
    /// Turn by turn.
    pub(super) windows: Vec<EnergyWindow>,
}

impl Energy {
    fn new(cell: &SpeedCell, idle: &IdleBaselines) -> Option<Self> {
        let total = cell.energy.clone()?;
        let numbers = energy_per_unit(cell.windows.iter().map(|w| (&w.reading, w.tokens)), idle)?;
        Some(Self {
            total,
            tokens: cell.windows.iter().map(|w| w.tokens).sum(),
            joules_per_token: numbers.total,
            joules_per_token_range: numbers.lo.zip(numbers.hi),
            joules_per_token_above_idle: numbers.marginal,
            joules_per_token_above_bare: numbers.above_bare,
            flags: numbers.flags,
            idle: idle.clone(),
            windows: cell.windows.clone(),
        })
    }
}

impl Row {
    pub(super) fn new(test: &Tested, host: &HostFacts, protocol: &Protocol, bandwidth: Option<&Bandwidth>) -> Self {
        let mut row = Self::heading(test, host, protocol);
        match &test.outcome {
            Ok(cell) => row.fill(cell, test.facts.as_ref(), &test.idle, bandwidth),
            Err(error) => row.error = Some(error.to_string()),
        }
        row
    }

    fn heading(test: &Tested, host: &HostFacts, protocol: &Protocol) -> Self {
        let facts = test.facts.as_ref();
        let of = |get: fn(&EngineFacts) -> &String| facts.map(|f| get(f).clone());
        let device = of(|f| &f.device);
        Self {
            // llama-bench's words for a build that does not know.
            build_commit: option_env!("TIERBENCH_REVISION")
                .filter(|revision| !revision.is_empty())
                .unwrap_or("unknown"),
            build_number: 0,
            cpu_info: host.cpu.clone().unwrap_or_default(),
            gpu_info: device.clone().filter(|d| d != "cpu").unwrap_or_default(),
            backends: device.clone().map_or_else(|| "CPU".into(), |d| d.to_uppercase()),
            model_filename: test.file.path.clone(),
            model_type: of(|f| &f.model.label),
            model_size: facts.map(|f| f.model.tensor_bytes),
            model_n_params: facts.map(|f| f.model.n_params),
            n_batch: N_BATCH,
            n_ubatch: protocol.n_ubatch,
            n_threads: facts.map_or(test.n_threads, |f| f.n_threads),
            threading: Threading::UNUSED,
            type_k: of(|f| &f.kv_type),
            type_v: of(|f| &f.kv_type),
            placement: Placement::whole(device.as_ref().is_some_and(|device| device != "cpu")),
            n_prompt: test.workload.n_prompt,
            n_gen: test.workload.n_gen,
            n_depth: test.workload.n_depth,
            test_time: None,
            avg_ns: None,
            stddev_ns: None,
            avg_ts: None,
            stddev_ts: None,
            samples_ns: Vec::new(),
            samples_ts: Vec::new(),
            tierbench_version: env!("CARGO_PKG_VERSION"),
            model: test.file.name.clone(),
            level: test.file.level.clone(),
            model_sha256: test.file.sha256.clone(),
            requantized_from: test.file.requantized_from.clone(),
            test: test.workload.to_string(),
            n_batch_seqs: test.workload.n_batch_seqs,
            engine: of(|f| &f.name),
            engine_version: of(|f| &f.version),
            isa: facts.and_then(|f| f.isa.clone()),
            activations: of(|f| &f.activations),
            device,
            median_ts: None,
            median_ts_interval: None,
            ttft_s: None,
            itl_ns: None,
            load_s: facts.map(|f| f.load_s),
            repack_s: facts.and_then(|f| f.repack_s),
            peak_rss: None,
            peak_rss_since_start_of_cell: None,
            bytes_per_step: None,
            bandwidth: None,
            roofline_share: None,
            energy: None,
            warmup_ns: Vec::new(),
            steady: None,
            blocks: Vec::new(),
            seed: protocol.seed,
            noise: None,
            caveats: facts.map(|f| f.caveats.clone()).unwrap_or_default(),
            warnings: Vec::new(),
            error: None,
        }
    }

    fn fill(
        &mut self,
        cell: &SpeedCell,
        facts: Option<&EngineFacts>,
        idle: &IdleBaselines,
        bandwidth: Option<&Bandwidth>,
    ) {
        let spans: Vec<f64> = cell.samples.iter().map(|s| s.elapsed_ns as f64).collect();
        let rates = cell.rates();
        self.test_time = Some(rfc3339(cell.started_unix_s as i64));
        let whole = |ns: f64| ns.round() as u64;
        let (mean, stddev) = mean_and_stddev(&spans);
        (self.avg_ns, self.stddev_ns) = (mean.map(whole), stddev.map(whole));
        (self.avg_ts, self.stddev_ts) = mean_and_stddev(&rates);
        self.samples_ns = cell.samples.iter().map(|s| s.elapsed_ns).collect();
        self.median_ts = crate::stats::quantile::median(&rates);
        self.samples_ts = rates;
        self.median_ts_interval = cell.median_rate();
        self.ttft_s = cell.ttft_s();
        self.itl_ns = cell.itl();
        // With several engines in memory the peak says nothing of this one.
        let own_peak = cell.peak_rss.filter(|_| cell.engines_loaded == 1);
        self.peak_rss = own_peak.map(|peak| peak.bytes);
        self.peak_rss_since_start_of_cell = own_peak.map(|peak| peak.since_start_of_cell);
        if let Some(model) = facts.map(|f| &f.model) {
            self.bytes_per_step = cell.bytes_per_step(model.decode_weight_bytes, model.kv_bytes_per_pos);
        }
        self.bandwidth = bandwidth.copied().filter(|_| self.bytes_per_step.is_some());
        self.roofline_share = self.share();
        self.energy = Energy::new(cell, idle);
        self.warmup_ns.clone_from(&cell.warmup);
        self.steady = Some(cell.steady);
        self.blocks = cell.samples.iter().map(|s| s.block).collect();
        self.noise = Some(cell.noise.clone());
        let evidence = Evidence { roofline_share: self.roofline_share };
        self.warnings = warnings(cell, evidence).iter().map(ToString::to_string).collect();
    }

    fn share(&self) -> Option<f64> {
        let bytes = self.bytes_per_step?;
        let steps_per_s = self.median_ts? / f64::from(self.n_batch_seqs.max(1));
        roofline_share(bytes, steps_per_s, self.bandwidth?.bound(bytes as u64)?)
    }
}

/// Mean and sample standard deviation (n - 1), as llama-bench's.
fn mean_and_stddev(values: &[f64]) -> (Option<f64>, Option<f64>) {
    let n = values.len() as f64;
    if values.is_empty() {
        return (None, None);
    }
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (Some(mean), (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_has_a_mean_and_no_deviation() {
        assert_eq!(mean_and_stddev(&[]), (None, None));
        assert_eq!(mean_and_stddev(&[3.0]), (Some(3.0), None));
        assert_eq!(mean_and_stddev(&[1.0, 3.0]), (Some(2.0), Some(2f64.sqrt())));
    }
}
