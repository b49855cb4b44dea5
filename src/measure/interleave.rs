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
use crate::energy::Metering;
use crate::engine::Engine;
use crate::plan::{TierKey, Workload};
use crate::stats::bootstrap::SplitMix64;

/// One tier on one workload, to be measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The tier's name, for events.
    pub tier: TierKey,
    /// Index of its engine.
    pub engine: usize,
    /// What to run.
    pub workload: Workload,
    /// Whether [`try_out`] ran the workload on this engine: what comes out need not be looked at again.
    pub tried: bool,
    /// What an interrupted run has of it: warmed up again, then continued.
    pub begun: Option<Box<SpeedCell>>,
}

/// What a run measures with.
pub struct Instruments<'a> {
    /// Time.
    pub clock: &'a dyn Clock,
    /// Kernel files, for noise and memory.
    pub sysfs: &'a SysFs,
    /// Energy; a metering without meters leaves it out.
    pub energy: &'a mut Metering,
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
    /// A turn ended: what the cell has by now. Storing it loses a killed run nothing but the turn in flight.
    Turn {
        /// The cell.
        cell: usize,
        /// Its samples; complete with the last turn.
        so_far: &'a SpeedCell,
    },
    /// A cell failed; the others go on.
    Failed {
        /// The cell.
        cell: usize,
        /// Why.
        error: &'a MeasureError,
    },
}

/// Trials of one turn at most: a record keeps every one, and a thousand say no less than more.
const MOST_PER_TURN: u32 = 1000;

/// A cell under way.
struct Running {
    result: SpeedCell,
    spent: Duration,
    warm: bool,
    peak: Option<super::memory::PeakRss>,
}

impl Running {
    /// The cell as it is by now.
    fn snapshot(&self) -> SpeedCell {
        let mut snapshot = SpeedCell { peak_rss: self.peak, ..self.result.clone() };
        snapshot.sum_energy();
        snapshot
    }
}

/// Measures `cells` on `engines` and returns one result per cell, in their order. `observe` is called between trials and
/// may stop the run: cells then end as they are, not complete, or as [`MeasureError::Interrupted`] without any trial.
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
    // A continued run goes on counting.
    let earlier = || cells.iter().flat_map(|cell| &cell.begun).flat_map(|begun| &begun.samples);
    let first_block = earlier().map(|sample| sample.block + 1).max().unwrap_or(0);
    let first_order = earlier().map(|sample| sample.order + 1).max().unwrap_or(0);
    let mut run = Run {
        protocol,
        instruments,
        observe,
        prepared: engines.iter().map(|_| Prepared::default()).collect(),
        last_engine: None,
        order: first_order,
        stopped: false,
    };
    let mut running: Vec<Running> = cells.iter().map(|cell| run.begin(cell, n_engines)).collect();
    let mut results: Vec<Option<Result<SpeedCell, MeasureError>>> = cells.iter().map(|_| None).collect();
    let mut random = SplitMix64::new(protocol.seed.wrapping_add(u64::from(first_block)));
    for block in first_block.. {
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
                Ok(()) => run.end_turn(i, &mut running[i]),
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
    let unfinished = |running: &Running| match running.snapshot() {
        so_far if so_far.samples.is_empty() => Err(MeasureError::Interrupted),
        so_far => Ok(so_far),
    };
    results.into_iter().zip(&running).map(|(result, running)| result.unwrap_or_else(|| unfinished(running))).collect()
}

/// Runs `workload` once, untimed, and looks at what comes out.
///
/// # Errors
/// What the engine says; a result that cannot be right.
pub fn try_out(engine: &mut dyn Engine, workload: Workload, protocol: &Protocol) -> Result<(), MeasureError> {
    let mut prepared = Prepared::default();
    let seqs = prepared.sequences(engine, Prefix::of(workload), protocol.n_ubatch)?;
    let checked = Trial::new(workload, &seqs, protocol.n_ubatch, engine.facts().model.n_vocab).check(engine);
    prepared.clear(engine);
    checked
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
        if let Some(begun) = &cell.begun {
            let spent = begun.samples.iter().map(|sample| sample.elapsed_ns).sum();
            let result = SpeedCell { engines_loaded, ..(**begun).clone() };
            return Running { spent: Duration::from_nanos(spent), warm: false, peak: result.peak_rss, result };
        }
        let mut noise = NoiseEvidence::default();
        noise.note_machine(self.instruments.sysfs);
        let result = SpeedCell {
            workload: cell.workload,
            complete: false,
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

    /// Tells what the cell has by now; the result if that is all of it.
    fn end_turn(&mut self, cell: usize, running: &mut Running) -> Option<Result<SpeedCell, MeasureError>> {
        running.result.complete = self.protocol.is_complete(&running.result, running.spent);
        let so_far = running.snapshot();
        self.tell(Event::Turn { cell, so_far: &so_far });
        so_far.complete.then_some(Ok(so_far))
    }

    /// One turn of a cell in a block.
    fn turn(
        &mut self,
        index: usize,
        cell: &Cell,
        engine: &mut dyn Engine,
        running: &mut Running,
        block: u32,
    ) -> Result<(), MeasureError> {
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
        taken
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
        let mut taken = 0;
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
            taken += 1;
            if self.stopped || open_for >= share || taken >= MOST_PER_TURN {
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

    /// Runs the measured shape until two trials in a row agree. Before them, one whose results nobody has looked at yet is
    /// checked instead of timed.
    fn warm_up(
        &mut self,
        index: usize,
        cell: &Cell,
        engine: &mut dyn Engine,
        running: &mut Running,
    ) -> Result<(), MeasureError> {
        if !cell.tried {
            self.trial(cell, engine)?.check(engine)?;
        }
        let protocol = self.protocol;
        let started = self.instruments.clock.now_ns();
        let mut warmup = Vec::new();
        while (warmup.len() as u32) < protocol.max_warmup.max(2) && !protocol.is_warm(&warmup) {
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
        running.result.steady = protocol.is_warm(&warmup);
        running.result.warmup.append(&mut warmup);
        if running.result.samples.is_empty() {
            running.result.started_unix_s = self.instruments.clock.unix_s();
        }
        running.warm = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
