//! What a speed cell holds: raw samples and the evidence beside them. Everything else is derived from these on demand.

use serde::{Deserialize, Serialize};

use super::memory::PeakRss;
use super::noise::NoiseEvidence;
use crate::energy::Reading;
use crate::plan::Workload;
use crate::stats::bootstrap;
use crate::stats::quantile::Sorted;
use crate::units::Interval;

/// One trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpeedSample {
    /// The block it was taken in. Cells of one run share block numbers.
    pub block: u32,
    /// Its place among all trials of the run.
    pub order: u32,
    /// Time from before the first to after the last engine call, device sync included, ns.
    pub elapsed_ns: u64,
    /// Tokens processed in that time.
    pub tokens: u64,
    /// Decode only: time of every step, ns. One step gives each sequence one token. The sum is `elapsed_ns`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub itl_ns: Vec<u64>,
}

impl SpeedSample {
    /// tok/s; `None` for a span too short for the clock.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (self.elapsed_ns > 0).then(|| self.tokens as f64 * 1e9 / self.elapsed_ns as f64)
    }
}

/// Energy of one turn of a cell: its trials and what lies between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnergyWindow {
    /// The block.
    pub block: u32,
    /// Tokens of the trials inside.
    pub tokens: u64,
    /// The reading.
    pub reading: Reading,
}

/// One tier on one workload, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpeedCell {
    /// The workload.
    pub workload: Workload,
    /// Whether the protocol has all the trials it wants; `false` in a run that was stopped.
    #[serde(default = "complete", skip_serializing_if = "Clone::clone")]
    pub complete: bool,
    /// Warm-up trials, ns. Never part of a result.
    pub warmup: Vec<u64>,
    /// Whether the last two warm-up trials agreed within 5 %.
    pub steady: bool,
    /// The trials, in order.
    pub samples: Vec<SpeedSample>,
    /// Disturbances while the cell ran.
    pub noise: NoiseEvidence,
    /// Peak resident memory while the cell ran.
    pub peak_rss: Option<PeakRss>,
    /// Engines loaded in the process meanwhile: with more than one the peak holds all of them.
    pub engines_loaded: u32,
    /// Energy of all turns together; `None` without a meter.
    pub energy: Option<Reading>,
    /// Energy turn by turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<EnergyWindow>,
    /// Seed of block order and bootstrap.
    pub seed: u64,
    /// Start of the first trial, s since 1970.
    pub started_unix_s: f64,
}

/// What a record says that does not say otherwise.
fn complete() -> bool {
    true
}

/// p50, p95 and p99 by nearest rank, ns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
}

impl SpeedCell {
    /// tok/s of every trial.
    #[must_use]
    pub fn rates(&self) -> Vec<f64> {
        self.samples.iter().filter_map(SpeedSample::rate).collect()
    }

    /// The headline: median tok/s with its bootstrap 95 % interval. `None` for fewer than two trials.
    #[must_use]
    pub fn median_rate(&self) -> Option<Interval> {
        bootstrap::median_interval(&self.rates(), 0.95, self.seed)
    }

    /// Half the width of the interval relative to the median.
    #[must_use]
    pub fn relative_half_width(&self) -> Option<f64> {
        let interval = self.median_rate()?;
        (interval.value > 0.0).then(|| (interval.hi - interval.lo) / 2.0 / interval.value)
    }

    /// Inter-token latency over all steps of all trials.
    #[must_use]
    pub fn itl(&self) -> Option<Percentiles> {
        let steps = self.samples.iter().flat_map(|s| &s.itl_ns).map(|&ns| ns as f64).collect();
        let sorted = Sorted::from_vec(steps)?;
        Some(Percentiles {
            p50: sorted.nearest_rank(0.5),
            p95: sorted.nearest_rank(0.95),
            p99: sorted.nearest_rank(0.99),
        })
    }

    /// Time to first token, s: the median span of a prefill, which ends with the logits of the last prompt token.
    /// `None` for generation.
    #[must_use]
    pub fn ttft_s(&self) -> Option<f64> {
        if self.workload.n_gen > 0 {
            return None;
        }
        let spans = self.samples.iter().map(|s| s.elapsed_ns as f64 / 1e9).collect();
        Some(Sorted::from_vec(spans)?.median())
    }

    /// Adds the windows up again, after their readings changed.
    pub fn sum_energy(&mut self) {
        let readings: Vec<Reading> = self.windows.iter().map(|window| window.reading.clone()).collect();
        self.energy = Reading::sum_windows(&readings);
    }

    /// Joules per token of every valid window, gross.
    #[must_use]
    pub fn joules_per_token(&self) -> Vec<f64> {
        let per_token = |w: &EnergyWindow| (w.tokens > 0).then(|| Some(w.reading.joules?.0 / w.tokens as f64))?;
        self.windows.iter().filter_map(per_token).collect()
    }

    /// Bytes one step reads: the weights once, and the keys and values of every sequence at the middle of the run. `None`
    /// for prefill, which is bound by arithmetic.
    #[must_use]
    pub fn bytes_per_step(&self, weight_bytes: u64, kv_bytes_per_pos: u64) -> Option<f64> {
        let w = self.workload;
        if w.n_gen == 0 {
            return None;
        }
        let positions = f64::from(w.n_depth) + f64::from(w.n_prompt) + f64::from(w.n_gen) / 2.0;
        Some(weight_bytes as f64 + kv_bytes_per_pos as f64 * positions * f64::from(w.n_batch_seqs))
    }
}

/// Ratios of two cells' rates, block by block, over the blocks both have: what drifts between blocks cancels. Several
/// trials in a block count as their median.
#[must_use]
pub fn block_ratios(a: &SpeedCell, b: &SpeedCell) -> Vec<f64> {
    let in_block = |cell: &SpeedCell, block: u32| {
        let rates = cell.samples.iter().filter(|s| s.block == block).filter_map(SpeedSample::rate).collect();
        Some(Sorted::from_vec(rates)?.median())
    };
    let mut blocks: Vec<u32> = a.samples.iter().map(|s| s.block).collect();
    blocks.dedup();
    blocks.into_iter().filter_map(|block| Some(in_block(a, block)? / in_block(b, block)?)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::measure) fn cell(workload: Workload, spans_ns: &[u64]) -> SpeedCell {
        let sample = |(i, &elapsed_ns): (usize, &u64)| SpeedSample {
            block: i as u32,
            order: i as u32,
            elapsed_ns,
            tokens: workload.timed_tokens(),
            itl_ns: Vec::new(),
        };
        SpeedCell {
            workload,
            complete: true,
            warmup: vec![spans_ns[0], spans_ns[0]],
            steady: true,
            samples: spans_ns.iter().enumerate().map(sample).collect(),
            noise: NoiseEvidence::default(),
            peak_rss: None,
            engines_loaded: 1,
            energy: None,
            windows: Vec::new(),
            seed: 7,
            started_unix_s: 0.0,
        }
    }

    #[test]
    fn the_headline_is_the_median_with_an_interval_that_holds_it() {
        let cell =
            cell(Workload::prefill(500, 0), &[1_000_000_000, 500_000_000, 250_000_000, 500_000_000, 490_000_000]);
        let rate = cell.median_rate().unwrap();
        assert_eq!(rate.value, 1000.0);
        assert!(rate.lo <= rate.value && rate.value <= rate.hi);
        assert_eq!(cell.ttft_s(), Some(0.5));
        assert_eq!(cell.itl(), None);
    }

    #[test]
    fn latency_percentiles_are_values_that_occurred() {
        let mut cell = cell(Workload::decode(100, 0), &[5050]);
        cell.samples[0].itl_ns = (1..=100).rev().collect();
        let itl = cell.itl().unwrap();
        assert_eq!((itl.p50, itl.p95, itl.p99), (50.0, 95.0, 99.0));
        assert_eq!(cell.ttft_s(), None);
    }

    #[test]
    fn ratios_use_only_blocks_both_cells_have() {
        let w = Workload::decode(10, 0);
        let mut fast = cell(w, &[100, 100, 100]);
        fast.samples[2].block = 9;
        let slow = cell(w, &[200, 400, 300]);
        assert_eq!(block_ratios(&fast, &slow), [2.0, 4.0]);
    }

    #[test]
    fn a_step_reads_the_weights_once_and_every_sequences_cache() {
        let batch = cell(Workload { n_prompt: 128, n_gen: 64, n_depth: 0, n_batch_seqs: 8 }, &[1]);
        assert_eq!(batch.bytes_per_step(1000, 10), Some(1000.0 + 10.0 * 160.0 * 8.0));
        assert_eq!(cell(Workload::prefill(8, 0), &[1]).bytes_per_step(1000, 10), None);
    }
}
