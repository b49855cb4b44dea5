//! Interleaving on the mock engine and a clock that only moves when an engine works.

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
    Cell { tier: TierKey(format!("tier {engine}")), engine, workload, tried: false, begun: None }
}

fn run(
    engines: &mut [Box<dyn Engine>],
    cells: &[Cell],
    clock: &FakeClock,
    observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Vec<Result<SpeedCell, MeasureError>> {
    let mut metering = Metering::none(Arc::new(clock.clone()));
    let sysfs = SysFs::new("/nonexistent");
    let mut instruments = Instruments { clock, sysfs: &sysfs, energy: &mut metering };
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
fn a_workload_that_was_tried_out_is_not_checked_again() {
    let clock = FakeClock::new();
    let workload = Workload::prefill(10, 0);
    let time = |tried: bool| {
        let mut engines = [engine(&clock, 1000, 4, u64::MAX)];
        let before = clock.now_ns();
        if tried {
            try_out(&mut *engines[0], workload, &Protocol::default()).unwrap();
        }
        let cells = [Cell { tried, ..cell(0, workload) }];
        let results = run(&mut engines, &cells, &clock, &mut |_| ControlFlow::Continue(()));
        let result = results[0].as_ref().unwrap();
        assert_eq!((result.samples.len(), result.warmup.len(), result.steady), (5, 2, true));
        clock.now_ns() - before
    };
    // One look at what comes out, two trials to warm up, five that count: 10 ms each.
    assert_eq!([time(false), time(true)], [80_000_000; 2]);
}

#[test]
fn a_tried_workload_still_fails_with_the_engines_error() {
    let clock = FakeClock::new();
    let mut engines = [engine(&clock, 10, 4, 0)];
    let cells = [Cell { tried: true, ..cell(0, Workload::decode(4, 0)) }];
    let results = run(&mut engines, &cells, &clock, &mut |_| ControlFlow::Continue(()));
    assert!(results[0].as_ref().unwrap_err().to_string().contains("broke"));
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
        let cells: Vec<Cell> = (0..4).map(|i| cell(i % 2, Workload::decode(4, if i < 2 { 0 } else { 64 }))).collect();
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
        Event::Turn { so_far, .. } if so_far.complete => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    let cells: Vec<SpeedCell> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(cells.iter().filter(|cell| cell.complete).count(), 1);
    assert!(cells.iter().any(|cell| !cell.complete && cell.samples.len() == 4), "one turn short");
}

#[test]
fn a_stop_before_the_first_trial_leaves_nothing() {
    let clock = FakeClock::new();
    let mut engines = [engine(&clock, 10, 4, u64::MAX)];
    let results = run(&mut engines, &[cell(0, Workload::decode(4, 0))], &clock, &mut |_| ControlFlow::Break(()));
    assert!(matches!(results[0], Err(MeasureError::Interrupted)));
}

#[test]
fn a_cell_that_was_begun_is_warmed_up_again_and_continued() {
    let clock = FakeClock::new();
    let mut engines = [engine(&clock, 10, 4, u64::MAX)];
    let mut cells = [cell(0, Workload::decode(4, 0)), cell(0, Workload::decode(4, 9))];
    let mut turns = 0;
    let results = run(&mut engines, &cells, &clock, &mut |event| {
        turns += u32::from(matches!(event, Event::Turn { .. }));
        if turns == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    for (cell, result) in cells.iter_mut().zip(results) {
        cell.begun = Some(Box::new(result.unwrap()));
    }
    let begun: Vec<SpeedCell> = cells.iter().flat_map(|cell| cell.begun.as_deref().cloned()).collect();
    assert_eq!(begun.iter().map(|cell| cell.samples.len()).sum::<usize>(), 5);
    let results = run(&mut engines, &cells, &clock, &mut |_| ControlFlow::Continue(()));
    let mut orders = Vec::new();
    for (begun, result) in begun.iter().zip(results) {
        let result = result.unwrap();
        assert!(result.complete);
        assert_eq!(result.samples[..begun.samples.len()], begun.samples[..]);
        assert_eq!((result.samples.len(), result.warmup.len()), (5, begun.warmup.len() + 2));
        orders.extend(result.samples.iter().map(|sample| sample.order));
    }
    orders.sort_unstable();
    assert_eq!(orders, (0..10).collect::<Vec<u32>>());
}

#[test]
fn a_context_that_is_too_small_is_the_engines_error() {
    let clock = FakeClock::new();
    let mut engines = [engine(&clock, 10, 4, u64::MAX)];
    let results = run(&mut engines, &[cell(0, Workload::prefill(5000, 0))], &clock, &mut |_| ControlFlow::Continue(()));
    assert!(results[0].as_ref().unwrap_err().to_string().contains("n_ctx"));
}
