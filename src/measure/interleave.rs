//! Runs cells of several tiers in randomised blocks, because machines drift: A B C, C A B, … Each cell fails alone.

use std::ops::ControlFlow;
use std::time::Duration;

use super::MeasureError;
use super::clock::Clock;
use super::memory::PeakWatch;
use super::noise::{NoiseEvidence, NoiseSnapshot};
use super::protocol::{Prefix, Prepared, Protocol, Trial};
use super::speed::{EnergyWindow, SpeedCell, SpeedSample};
use super::sysfs::SysFs;
use crate::energy::{Reading, Session};
use crate::engine::Engine;
use crate::plan::{TierKey, Workload};
use crate::stats::bootstrap::SplitMix64;

/// One tier on one workload, to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The tier's name, for events.
    pub tier: TierKey,
    /// Index of its engine.
    pub engine: usize,
    /// What to run.
    pub workload: Workload,
}

/// What a run measures with.
pub struct Instruments<'a> {
    /// Time.
    pub clock: &'a dyn Clock,
    /// Kernel files, for noise and memory.
    pub sysfs: &'a SysFs,
    /// Energy; a session without meters leaves it out.
    pub energy: &'a mut Session,
}

/// What happened; for progress. Cells are named by their index.
#[derive(Debug)]
pub enum Event<'a> {
    /// A warm-up trial took this many ns.
    Warmup {
        /// The cell.
        cell: usize,
        /// Its time.
        elapsed_ns: u64,
    },
    /// A trial was taken.
    Trial {
        /// The cell.
        cell: usize,
        /// The sample.
        sample: &'a SpeedSample,
    },
    /// A cell is complete.
    Finished {
        /// The cell.
        cell: usize,
        /// Its samples.
        result: &'a SpeedCell,
    },
    /// A cell failed; the others go on.
    Failed {
        /// The cell.
        cell: usize,
        /// Why.
        error: &'a MeasureError,
    },
}

/// A cell under way.
struct Running {
    result: SpeedCell,
    spent: Duration,
    warm: bool,
    peak: Option<super::memory::PeakRss>,
}

/// Measures `cells` on `engines` and returns one result per cell, in their order. `observe` is called between trials and
/// may stop the run: cells that are not complete then end as [`MeasureError::Interrupted`].
///
/// Every block visits the unfinished cells in a fresh random order. A turn restores the cell's prefix, runs a few calls
/// untimed if another engine ran in between, opens the energy window, and takes one trial, or as many as the window needs.
pub fn measure_cells(
    engines: &mut [Box<dyn Engine>],
    cells: &[Cell],
    protocol: &Protocol,
    instruments: &mut Instruments<'_>,
    observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Vec<Result<SpeedCell, MeasureError>> {
    let n_engines = u32::try_from(engines.len()).unwrap_or(u32::MAX);
    let mut run = Run {
        protocol,
        instruments,
        observe,
        prepared: engines.iter().map(|_| Prepared::default()).collect(),
        last_engine: None,
        order: 0,
        stopped: false,
    };
    let mut running: Vec<Running> = cells.iter().map(|cell| run.begin(cell, n_engines)).collect();
    let mut results: Vec<Option<Result<SpeedCell, MeasureError>>> = cells.iter().map(|_| None).collect();
    let mut random = SplitMix64::new(protocol.seed);
    for block in 0u32.. {
        let mut turns: Vec<usize> = (0..cells.len()).filter(|&i| results[i].is_none()).collect();
        if turns.is_empty() || run.stopped {
            break;
        }
        random.shuffle(&mut turns);
        for i in turns {
            if run.stopped {
                break;
            }
            let outcome = match engines.get_mut(cells[i].engine) {
                Some(engine) => run.turn(i, &cells[i], &mut **engine, &mut running[i], block),
                None => Err(MeasureError::EmptyWorkload),
            };
            results[i] = match outcome {
                Ok(false) => None,
                Ok(true) => Some(Ok(run.finish(i, &mut running[i]))),
                Err(MeasureError::Interrupted) => None,
                Err(error) => {
                    run.tell(Event::Failed { cell: i, error: &error });
                    if let Some(engine) = engines.get_mut(cells[i].engine) {
                        run.prepared[cells[i].engine].clear(&mut **engine);
                    }
                    Some(Err(error))
                }
            };
        }
    }
    for (prepared, engine) in run.prepared.iter_mut().zip(engines) {
        prepared.clear(&mut **engine);
    }
    results.into_iter().map(|result| result.unwrap_or(Err(MeasureError::Interrupted))).collect()
}

struct Run<'a, 'b> {
    protocol: &'a Protocol,
    instruments: &'a mut Instruments<'b>,
    observe: &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    prepared: Vec<Prepared>,
    last_engine: Option<usize>,
    order: u32,
    stopped: bool,
}

impl Run<'_, '_> {
    fn tell(&mut self, event: Event<'_>) {
        if (self.observe)(event).is_break() {
            self.stopped = true;
        }
    }

    fn begin(&self, cell: &Cell, engines_loaded: u32) -> Running {
        let mut noise = NoiseEvidence::default();
        noise.note_machine(self.instruments.sysfs);
        let result = SpeedCell {
            workload: cell.workload,
            warmup: Vec::new(),
            steady: false,
            samples: Vec::new(),
            noise,
            peak_rss: None,
            engines_loaded,
            energy: None,
            windows: Vec::new(),
            seed: self.protocol.seed,
            started_unix_s: self.instruments.clock.unix_s(),
        };
        Running { result, spent: Duration::ZERO, warm: false, peak: None }
    }

    fn finish(&mut self, cell: usize, running: &mut Running) -> SpeedCell {
        let mut result = running.result.clone();
        result.peak_rss = running.peak;
        let readings: Vec<Reading> = result.windows.iter().map(|w| w.reading.clone()).collect();
        result.energy = Reading::sum_windows(&readings);
        self.tell(Event::Finished { cell, result: &result });
        result
    }

    /// One turn of a cell in a block. Returns whether the cell is complete.
    fn turn(
        &mut self,
        index: usize,
        cell: &Cell,
        engine: &mut dyn Engine,
        running: &mut Running,
        block: u32,
    ) -> Result<bool, MeasureError> {
        if cell.workload.timed_tokens() == 0 {
            return Err(MeasureError::EmptyWorkload);
        }
        let watch = PeakWatch::start(self.instruments.sysfs);
        if !running.warm {
            self.warm_up(index, cell, engine, running)?;
        } else if self.last_engine != Some(cell.engine) {
            self.trial(cell, engine)?.rewarm(engine)?;
        }
        self.last_engine = Some(cell.engine);
        let trial = self.trial(cell, engine)?;
        let before = NoiseSnapshot::read(self.instruments.sysfs);
        let metered = !self.instruments.energy.infos().is_empty();
        if metered {
            self.instruments.energy.start();
        }
        let taken = self.trials(index, cell, engine, running, block, &trial);
        if metered {
            let reading = self.instruments.energy.stop();
            let in_block = running.result.samples.iter().filter(|s| s.block == block);
            let tokens = in_block.map(|s| s.tokens).sum();
            running.result.windows.push(EnergyWindow { block, tokens, reading });
        }
        running.result.noise.add(&before, &NoiseSnapshot::read(self.instruments.sysfs));
        if let Some(peak) = watch.peak() {
            let so_far = running.peak.unwrap_or(peak);
            running.peak = Some(if peak.bytes > so_far.bytes { peak } else { so_far });
        }
        taken?;
        Ok(self.protocol.is_complete(&running.result, running.spent))
    }

    /// Trials of one turn: one, or as many as the energy window asks for.
    fn trials(
        &mut self,
        index: usize,
        cell: &Cell,
        engine: &mut dyn Engine,
        running: &mut Running,
        block: u32,
        first: &Trial,
    ) -> Result<(), MeasureError> {
        let share = self.protocol.energy_window / self.protocol.least_turns();
        let opened = self.instruments.clock.now_ns();
        let mut next: Option<Trial> = None;
        loop {
            let trial = next.as_ref().unwrap_or(first);
            let spans = trial.time(engine, self.instruments.clock)?;
            let elapsed_ns: u64 = spans.iter().sum();
            let sample = SpeedSample {
                block,
                order: self.order,
                elapsed_ns,
                tokens: cell.workload.timed_tokens(),
                itl_ns: if cell.workload.n_gen > 0 { spans } else { Vec::new() },
            };
            self.order += 1;
            running.spent += Duration::from_nanos(elapsed_ns);
            self.tell(Event::Trial { cell: index, sample: &sample });
            running.result.samples.push(sample);
            let open_for = Duration::from_nanos(self.instruments.clock.now_ns().saturating_sub(opened));
            if self.stopped || open_for >= share {
                return Ok(());
            }
            next = Some(self.trial(cell, engine)?);
        }
    }

    /// Restores the prefix and prepares the calls.
    fn trial(&mut self, cell: &Cell, engine: &mut dyn Engine) -> Result<Trial, MeasureError> {
        let n_ubatch = self.protocol.n_ubatch;
        let prefix = Prefix::of(cell.workload);
        let seqs = self.prepared[cell.engine].sequences(engine, prefix, n_ubatch)?;
        Ok(Trial::new(cell.workload, &seqs, n_ubatch, engine.facts().model.n_vocab))
    }

    /// Runs the measured shape until two trials in a row agree. The first one is checked instead of timed.
    fn warm_up(
        &mut self,
        index: usize,
        cell: &Cell,
        engine: &mut dyn Engine,
        running: &mut Running,
    ) -> Result<(), MeasureError> {
        self.trial(cell, engine)?.check(engine)?;
        let protocol = self.protocol;
        let started = self.instruments.clock.now_ns();
        let warmup = &mut running.result.warmup;
        while (warmup.len() as u32) < protocol.max_warmup.max(2) && !protocol.is_warm(warmup) {
            let spent = Duration::from_nanos(self.instruments.clock.now_ns().saturating_sub(started));
            if warmup.len() >= 2 && spent >= protocol.warmup_budget {
                break;
            }
            let trial = self.trial(cell, engine)?;
            let elapsed_ns = trial.time(engine, self.instruments.clock)?.iter().sum();
            warmup.push(elapsed_ns);
            self.tell(Event::Warmup { cell: index, elapsed_ns });
            if self.stopped {
                return Err(MeasureError::Interrupted);
            }
        }
        running.result.steady = protocol.is_warm(&running.result.warmup);
        running.result.started_unix_s = self.instruments.clock.unix_s();
        running.warm = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::mock::MockEngine;
    use crate::engine::{Batch, EngineConfig, EngineError, EngineFacts, Logits, ModelFacts, SeqId};
    use crate::measure::clock::FakeClock;

    fn facts() -> ModelFacts {
        ModelFacts {
            arch: "llama".into(),
            label: "mock".into(),
            n_layer: 1,
            n_embd: 8,
            n_vocab: 64,
            n_ctx_train: 4096,
            n_params: 1,
            tensor_bytes: 1,
            decode_weight_bytes: 1,
            kv_bytes_per_pos: 1,
        }
    }

    /// The mock, taking a fixed time per token and counting calls.
    struct Timed {
        inner: MockEngine,
        clock: FakeClock,
        per_token: Duration,
        tokens: Arc<std::sync::atomic::AtomicU64>,
        fails_after: u64,
    }

    impl Engine for Timed {
        fn facts(&self) -> &EngineFacts {
            self.inner.facts()
        }
        fn sequence(&mut self) -> Result<SeqId, EngineError> {
            self.inner.sequence()
        }
        fn fork(&mut self, seq: SeqId) -> Result<SeqId, EngineError> {
            self.inner.fork(seq)
        }
        fn truncate(&mut self, seq: SeqId, len: u32) -> Result<(), EngineError> {
            self.inner.truncate(seq, len)
        }
        fn free(&mut self, seq: SeqId) -> Result<(), EngineError> {
            self.inner.free(seq)
        }
        fn forward(&mut self, batch: &Batch) -> Result<Logits<'_>, EngineError> {
            let seen = self.tokens.fetch_add(batch.len() as u64, std::sync::atomic::Ordering::SeqCst);
            if seen >= self.fails_after {
                return Err(EngineError::BadModel("broke".into()));
            }
            self.clock.advance(self.per_token * batch.len() as u32);
            self.inner.forward(batch)
        }
        fn sync(&mut self) -> Result<(), EngineError> {
            self.inner.sync()
        }
    }

    fn engine(clock: &FakeClock, micros: u64, max_seqs: u32, fails_after: u64) -> Box<dyn Engine> {
        let config = EngineConfig { max_seqs, n_ctx: 4096, ..EngineConfig::default() };
        Box::new(Timed {
            inner: MockEngine::new(facts(), &config),
            clock: clock.clone(),
            per_token: Duration::from_micros(micros),
            tokens: Arc::default(),
            fails_after,
        })
    }

    fn cell(engine: usize, workload: Workload) -> Cell {
        Cell { tier: TierKey(format!("tier {engine}")), engine, workload }
    }

    fn run(
        engines: &mut [Box<dyn Engine>],
        cells: &[Cell],
        clock: &FakeClock,
        observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Vec<Result<SpeedCell, MeasureError>> {
        let mut session = Session::none(Arc::new(clock.clone()));
        let sysfs = SysFs::new("/nonexistent");
        let mut instruments = Instruments { clock, sysfs: &sysfs, energy: &mut session };
        measure_cells(engines, cells, &Protocol::default(), &mut instruments, observe)
    }

    #[test]
    fn a_span_holds_the_workloads_tokens_and_nothing_of_the_prefix() {
        let clock = FakeClock::new();
        let mut engines = [engine(&clock, 1000, 16, u64::MAX)];
        let cells = [
            cell(0, Workload::prefill(512, 0)),
            cell(0, Workload::prefill(700, 300)),
            cell(0, Workload::decode(16, 1000)),
            cell(0, Workload { n_prompt: 128, n_gen: 4, n_depth: 0, n_batch_seqs: 8 }),
        ];
        let results = run(&mut engines, &cells, &clock, &mut |_| ControlFlow::Continue(()));
        for (cell, result) in cells.iter().zip(results) {
            let result = result.unwrap();
            let rate = result.median_rate().unwrap();
            assert!((rate.value - 1000.0).abs() < 1e-6, "{} {rate:?}", cell.workload);
            assert_eq!((result.samples.len(), result.warmup.len(), result.steady), (5, 2, true));
            assert!(result.samples.iter().all(|s| s.tokens == cell.workload.timed_tokens()));
            let steps = result.samples[0].itl_ns.len() as u32;
            assert_eq!(steps, cell.workload.n_gen);
        }
    }

    #[test]
    fn prefixes_are_refilled_where_sequences_are_short() {
        let clock = FakeClock::new();
        let mut engines = [engine(&clock, 10, 1, u64::MAX)];
        let cells = [cell(0, Workload::decode(4, 0)), cell(0, Workload::decode(4, 100))];
        let results = run(&mut engines, &cells, &clock, &mut |_| ControlFlow::Continue(()));
        assert!(results.iter().all(Result::is_ok));
        // All sequences were given back.
        assert!(engines[0].sequence().is_ok());
    }

    #[test]
    fn blocks_are_shuffled_by_the_seed_and_hold_every_cell_once() {
        let orders = || {
            let clock = FakeClock::new();
            let mut engines = [engine(&clock, 10, 4, u64::MAX), engine(&clock, 20, 4, u64::MAX)];
            let cells: Vec<Cell> =
                (0..4).map(|i| cell(i % 2, Workload::decode(4, if i < 2 { 0 } else { 64 }))).collect();
            let mut order = Vec::new();
            let results = run(&mut engines, &cells, &clock, &mut |event| {
                if let Event::Trial { cell, sample } = event {
                    order.push((sample.block, cell));
                }
                ControlFlow::Continue(())
            });
            assert!(results.iter().all(Result::is_ok));
            order
        };
        let order = orders();
        assert_eq!(order, orders());
        let block = |b: u32| order.iter().filter(|o| o.0 == b).map(|o| o.1).collect::<Vec<_>>();
        assert!((1..5).any(|b| block(b) != block(0)), "{order:?}");
        for b in 0..5 {
            let mut cells = block(b);
            cells.sort_unstable();
            assert_eq!(cells, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn a_cell_that_fails_leaves_the_others_results() {
        let clock = FakeClock::new();
        let mut engines = [engine(&clock, 10, 4, 60), engine(&clock, 10, 4, u64::MAX)];
        let cells = [
            cell(0, Workload::decode(16, 0)),
            cell(1, Workload::decode(16, 0)),
            // More sequences than there are.
            cell(1, Workload { n_prompt: 1, n_gen: 1, n_depth: 0, n_batch_seqs: 9 }),
            cell(1, Workload::prefill(0, 0)),
        ];
        let mut failed = Vec::new();
        let results = run(&mut engines, &cells, &clock, &mut |event| {
            if let Event::Failed { cell, .. } = event {
                failed.push(cell);
            }
            ControlFlow::Continue(())
        });
        assert!(results[0].as_ref().unwrap_err().to_string().contains("broke"));
        assert!(results[1].is_ok());
        assert!(matches!(results[2], Err(MeasureError::Engine(EngineError::TooManySequences { max: 4 }))));
        assert!(matches!(results[3], Err(MeasureError::EmptyWorkload)));
        failed.sort_unstable();
        assert_eq!(failed, [0, 2, 3]);
    }

    #[test]
    fn a_stop_keeps_what_is_complete_and_marks_the_rest() {
        let clock = FakeClock::new();
        let mut engines = [engine(&clock, 10, 4, u64::MAX)];
        let cells = [cell(0, Workload::decode(4, 0)), cell(0, Workload::decode(4, 9))];
        let results = run(&mut engines, &cells, &clock, &mut |event| match event {
            Event::Finished { .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
        assert_eq!(results.iter().filter(|r| matches!(r, Err(MeasureError::Interrupted))).count(), 1);
    }

    #[test]
    fn a_context_that_is_too_small_is_the_engines_error() {
        let clock = FakeClock::new();
        let mut engines = [engine(&clock, 10, 4, u64::MAX)];
        let results =
            run(&mut engines, &[cell(0, Workload::prefill(5000, 0))], &clock, &mut |_| ControlFlow::Continue(()));
        assert!(results[0].as_ref().unwrap_err().to_string().contains("n_ctx"));
    }
}
