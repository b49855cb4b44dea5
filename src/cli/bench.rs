//! `tierbench bench`: llama-bench's flags, tests and fields over our engines.

mod ask;
mod render;
mod row;
mod sql;
mod unused;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine_args::EngineArgs;
use super::measuring::Measuring;
use super::meter_args::MeterArgs;
use super::quote::Tally;
use super::run::energy::{PATIENCE, baselines};
use super::{OutputFormat, Ui, interrupt};
use crate::energy::{self, IdleBaselines, Metering, Reading, Trust};
use crate::engine::{Engine, EngineError, EngineFacts};
use crate::error::{Error, ExitStatus, Result};
use crate::measure::bandwidth::Bandwidth;
use crate::measure::clock::Monotonic;
use crate::measure::host::HostFacts;
use crate::measure::sysfs::SysFs;
use crate::measure::{Cell, Instruments, MeasureError, Protocol, SpeedCell, measure_cells};
use crate::model::{self, ModelFile, SourceOptions};
use crate::plan::axis::numbers;
use crate::plan::{PlanError, TierKey, Workload};
use row::Row;

/// Prompt every sequence of a batched test holds before the clock starts.
const BATCH_PROMPT: u32 = 128;

/// Measure speed and energy of models, with llama-bench's flags and fields
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model file or catalogue name, with or without `:level`; repeatable [default: the catalogue's default model]
    #[arg(short, long, value_name = "MODEL")]
    model: Vec<String>,
    /// Prompt tokens of prefill tests (`pp`); 0 for none. Lists and ranges: 128,512 0-4096+1024 1-16*2
    #[arg(short = 'p', long, default_value = "512", value_name = "LIST")]
    n_prompt: String,
    /// Tokens of generation tests (`tg`); 0 for none
    #[arg(short = 'n', long, default_value = "128", value_name = "LIST")]
    n_gen: String,
    /// Positions already in the cache
    #[arg(short = 'd', long, default_value = "0", value_name = "LIST")]
    n_depth: String,
    /// Sequences that generate together; above 1 each holds a 128-token prompt before the clock starts
    #[arg(short = 'b', long = "batch-seqs", default_value = "1", value_name = "LIST")]
    batch_seqs: String,
    /// Threads; 0 for all physical cores
    #[arg(short, long, default_value = "0", value_name = "LIST")]
    threads: String,
    /// Trials per test [default: at least 5, until the median is known to ±2 %]
    #[arg(short, long, value_name = "N")]
    repetitions: Option<u32>,
    /// Seconds per test after which it ends once it has 5 trials
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    budget: f64,
    /// Most prompt tokens handed to the engine at once
    #[arg(long, default_value_t = 512, value_name = "N")]
    ubatch_size: u32,
    /// Seed of the order of tests and of the intervals
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Print the tests with their predicted time and cost, and stop
    #[arg(long)]
    dry_run: bool,
    /// Format of the result
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    /// One model after the other instead of interleaved: less memory, and a peak of its own for each
    #[arg(long)]
    sequential: bool,
    /// Do not measure memory bandwidth (saves a second, leaves the roofline share unknown)
    #[arg(long)]
    no_bandwidth: bool,
    /// Total seconds of energy windows per test [default: what the meter needs; 0 for one window per trial]
    #[arg(long, value_name = "SECONDS")]
    energy_window: Option<f64>,
    /// Seconds of idle power measured before and after loading, if there is a meter
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    idle: f64,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    meter: MeterArgs,
}

/// One model with one number of threads.
struct Setting {
    file: ModelFile,
    n_threads: u32,
}

/// A finished or failed test.
struct Tested {
    file: ModelFile,
    n_threads: u32,
    facts: Option<EngineFacts>,
    workload: Workload,
    outcome: Result<SpeedCell, MeasureError>,
    idle: IdleBaselines,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let workloads = workloads(args)?;
    let mut protocol = protocol(args)?;
    let options = SourceOptions::platform(ui.offline)?;
    let sysfs = SysFs::new(&ui.sysfs_root);
    let host = HostFacts::read(&sysfs);
    let cost = ask::assumptions();
    let predict = |protocol| ask::quote(args, &workloads, protocol, &options, &host, cost.as_ref());
    if args.dry_run {
        return predict(&protocol)?.print(args.output, ui);
    }
    let mut settings = Vec::new();
    let threads = numbers(&args.threads)?;
    for name in &ask::names(args, &options)? {
        let file = model::resolve(name, &options, &mut ui.bar())?;
        settings.extend(threads.iter().map(|&n_threads| Setting { file: file.clone(), n_threads }));
    }
    if cfg!(debug_assertions) {
        ui.warn("this is a debug build: its speed means nothing; use `cargo run --release`");
    }
    let clock = Arc::new(Monotonic::default());
    let metering = energy::open(&args.meter.options(ui, args.engine.device), clock.clone())?;
    if args.energy_window.is_none() {
        protocol.energy_window = metering.advised_window();
    }
    // No prediction is no reason not to measure.
    let plan = if ui.quiet { None } else { predict(&protocol).ok() };
    if let Some(plan) = &plan {
        plan.announce(ui);
    }
    let started = Instant::now();
    let mut bench = Bench { args, ui, protocol, workloads, sysfs, clock, metering, bare: None };
    bench.prepare();
    // All in memory at once if half of it is enough, so that what drifts hits all alike.
    let bytes: u64 = settings.iter().map(|setting| setting.file.bytes).sum();
    let together = !args.sequential && host.memory.usable().is_some_and(|usable| bytes < usable / 2);
    let groups: Vec<&[Setting]> = if together { vec![&settings] } else { settings.chunks(1).collect() };
    let mut tested = Vec::new();
    for group in groups {
        if interrupt::requested() {
            break;
        }
        tested.extend(bench.group(group));
    }
    bench.align(&mut tested);
    let mut tally = Tally::default();
    tested.iter().filter_map(|test| test.outcome.as_ref().ok()).for_each(|cell| tally.add_speed(cell));
    let rows = bench.rows(&host, tested);
    let failed = rows.iter().filter(|row| row.error.is_some()).count();
    ui.write(render::render(&rows, args.output)?.as_bytes())?;
    warn(&rows, ui);
    if let Some(plan) = &plan {
        plan.compare(&tally.outcome(started.elapsed(), cost.as_ref()), ui);
    }
    Ok(if interrupt::requested() {
        ExitStatus::Interrupted
    } else if failed > 0 {
        ExitStatus::CellsFailed
    } else {
        ExitStatus::Success
    })
}

/// Tests in llama-bench's order: prefill, then generation, at every depth.
fn workloads(args: &Args) -> Result<Vec<Workload>> {
    let (prompts, gens) = (numbers(&args.n_prompt)?, numbers(&args.n_gen)?);
    let (depths, batches) = (numbers(&args.n_depth)?, numbers(&args.batch_seqs)?);
    if batches.contains(&0) {
        return Err(Error::Usage("-b must be at least 1".into()));
    }
    let mut workloads = Vec::new();
    for &depth in &depths {
        workloads.extend(prompts.iter().filter(|&&n| n > 0).map(|&n| Workload::prefill(n, depth)));
        for &n_gen in gens.iter().filter(|&&n| n > 0) {
            workloads.extend(batches.iter().map(|&n_batch_seqs| {
                let n_prompt = if n_batch_seqs > 1 { BATCH_PROMPT } else { 0 };
                Workload { n_prompt, n_gen, n_depth: depth, n_batch_seqs }
            }));
        }
    }
    if workloads.is_empty() {
        return Err(PlanError::Empty("give -p or -n a number above 0").into());
    }
    Ok(workloads)
}

fn protocol(args: &Args) -> Result<Protocol> {
    let seconds = |flag: &str, value: f64| {
        Duration::try_from_secs_f64(value)
            .map_err(|error| Error::Usage(format!("{flag} {value} is not a number of seconds: {error}")))
    };
    if args.repetitions == Some(0) || args.ubatch_size == 0 {
        return Err(Error::Usage("-r and --ubatch-size must be at least 1".into()));
    }
    Ok(Protocol {
        repetitions: args.repetitions,
        budget: seconds("--budget", args.budget)?,
        n_ubatch: args.ubatch_size,
        energy_window: seconds("--energy-window", args.energy_window.unwrap_or(0.0))?,
        seed: args.seed,
        ..Protocol::default()
    })
}

struct Bench<'a> {
    args: &'a Args,
    ui: &'a Ui,
    protocol: Protocol,
    workloads: Vec<Workload>,
    sysfs: SysFs,
    clock: Arc<Monotonic>,
    metering: Metering,
    bare: Option<Reading>,
}

impl Bench<'_> {
    /// Whether joules are measured and not estimated.
    fn is_metered(&self) -> bool {
        self.metering.infos().iter().any(|info| info.trust < Trust::Estimated)
    }

    fn idle_time(&self) -> Option<Duration> {
        let time = Duration::try_from_secs_f64(self.args.idle).ok().filter(|time| !time.is_zero())?;
        self.is_metered().then_some(time)
    }

    fn prepare(&mut self) {
        if let Some(time) = self.idle_time() {
            self.ui.note(format_args!("measuring idle power for {:.0} s", time.as_secs_f64()));
            self.bare = Some(self.metering.idle(time));
        }
    }

    /// Loads the settings of a group and measures their tests interleaved.
    fn group(&mut self, settings: &[Setting]) -> Vec<Tested> {
        let mut engines = Vec::new();
        let mut failed = Vec::new();
        let mut loaded = Vec::new();
        for (i, setting) in settings.iter().enumerate() {
            match self.load(setting) {
                Ok(engine) => {
                    engines.push(engine);
                    loaded.push(i);
                }
                Err(error) => failed.push((i, error)),
            }
        }
        let cells: Vec<Cell> = loaded
            .iter()
            .enumerate()
            .flat_map(|(engine, &i)| {
                let tier = TierKey(format!("{} t{}", settings[i].file.name, settings[i].n_threads));
                self.workloads.iter().map(move |&workload| Cell {
                    tier: tier.clone(),
                    engine,
                    workload,
                    tried: false,
                    begun: None,
                })
            })
            .collect();
        let mut idle = IdleBaselines { bare: self.bare.clone(), ..IdleBaselines::default() };
        let idle_time = self.idle_time().filter(|_| !engines.is_empty());
        idle.ready = idle_time.map(|time| self.metering.idle(time));
        let results = self.measure(&mut engines, &cells);
        idle.after = idle_time.map(|time| self.metering.idle(time));
        let tested = |i: usize, facts, workload, outcome| Tested {
            file: settings[i].file.clone(),
            n_threads: settings[i].n_threads,
            facts,
            workload,
            outcome,
            idle: idle.clone(),
        };
        let mut all: Vec<Tested> = cells
            .iter()
            .zip(results)
            .map(|(cell, outcome)| {
                let facts = engines[cell.engine].facts().clone();
                tested(loaded[cell.engine], Some(facts), cell.workload, outcome)
            })
            .collect();
        for (i, error) in failed {
            // One row says it: no test of this setting ran.
            all.push(tested(i, None, self.workloads[0], Err(error.into())));
        }
        all
    }

    /// Room for every test's sequences at once, so that prefixes are filled once; if that is too much memory, for one test
    /// at a time.
    fn load(&self, setting: &Setting) -> Result<Box<dyn Engine>, EngineError> {
        let needs = |w: &Workload| {
            let prompt = w.n_prompt.saturating_add(w.n_gen).saturating_add(w.n_depth);
            (prompt, w.n_batch_seqs)
        };
        let n_ctx = self.workloads.iter().map(|w| needs(w).0).max().unwrap_or(1);
        let most = self.workloads.iter().map(|w| needs(w).1).max().unwrap_or(1);
        let mut prefixes: Vec<(u32, u32)> = self
            .workloads
            .iter()
            .map(|w| (w.n_depth + if w.n_gen > 0 { w.n_prompt } else { 0 }, w.n_batch_seqs))
            .collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let all = prefixes.iter().map(|&(_, seqs)| seqs).fold(0, u32::saturating_add);
        let load = |max_seqs| {
            let config = self.args.engine.config(setting.n_threads, n_ctx, max_seqs);
            self.args.engine.load(&setting.file.path, &config)
        };
        match load(all) {
            Err(EngineError::OutOfMemory { .. }) if all > most => load(most),
            loaded => loaded,
        }
    }

    fn measure(&mut self, engines: &mut [Box<dyn Engine>], cells: &[Cell]) -> Vec<Result<SpeedCell, MeasureError>> {
        let progress = Measuring::new(self.ui, cells, &self.protocol);
        let mut instruments = Instruments { clock: &*self.clock, sysfs: &self.sysfs, energy: &mut self.metering };
        measure_cells(engines, cells, &self.protocol, &mut instruments, &mut |event| {
            progress.show(&event);
            if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    /// Fills in windows that an external meter's log reaches over only now.
    fn align(&self, tested: &mut [Tested]) {
        let mut readings: Vec<&mut Reading> = Vec::new();
        for test in tested.iter_mut() {
            readings.extend(baselines(&mut test.idle));
            if let Ok(cell) = &mut test.outcome {
                readings.extend(cell.windows.iter_mut().map(|window| &mut window.reading));
            }
        }
        if let Err(error) = self.metering.align(&mut readings, PATIENCE) {
            self.ui.warn(format_args!("the power log could not be read after the run: {error}"));
        }
        for cell in tested.iter_mut().filter_map(|test| test.outcome.as_mut().ok()) {
            cell.sum_energy();
        }
    }

    /// Rows of the table. What was not begun when the user interrupted is left out.
    fn rows(&self, host: &HostFacts, tested: Vec<Tested>) -> Vec<Row> {
        let mut bandwidths: Vec<Bandwidth> = Vec::new();
        let mut rows = Vec::new();
        for test in tested {
            if matches!(test.outcome, Err(MeasureError::Interrupted)) {
                continue;
            }
            let threads = test.facts.as_ref().map_or(1, |facts| facts.n_threads);
            let wanted = !self.args.no_bandwidth && test.workload.n_gen > 0 && test.outcome.is_ok();
            if wanted && !interrupt::requested() && bandwidths.iter().all(|b| b.threads != threads) {
                bandwidths.push(Bandwidth::measure(host, threads));
            }
            let bandwidth = bandwidths.iter().find(|b| b.threads == threads);
            rows.push(Row::new(&test, host, &self.protocol, bandwidth));
        }
        rows
    }
}

/// Every doubt once, with the tests it concerns.
fn warn(rows: &[Row], ui: &Ui) {
    let mut seen: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in rows {
        for text in row.error.iter().chain(&row.warnings) {
            match seen.iter_mut().find(|(known, _)| known == text) {
                Some((_, tests)) => tests.push(&row.test),
                None => seen.push((text, vec![&row.test])),
            }
        }
    }
    for (text, mut tests) in seen {
        tests.dedup();
        ui.warn(format_args!("{}: {text}", tests.join(", ")));
    }
}
