//! `tierbench run`: the main job. A ladder of tiers, measured and judged, and the cheapest that clears the bar.
//!
//! The order of work: resolve the ladder, say what it will take, load every tier, measure speed interleaved, then judge
//! the tiers from the cheapest up. Every cell is committed to the history when it completes.

mod ask;
pub(super) mod energy;
mod judge;
mod ladder;
mod speed;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::cost_args::{self, CostArgs};
use super::engine_args::EngineArgs;
use super::meter_args::MeterArgs;
use super::quote::{self, Tally};
use super::{OutputFormat, Ui, interrupt};
use crate::cost::Assumptions;
use crate::decide::Rule;
use crate::energy::{IdleBaselines, Metering, Trust, open as open_meter};
use crate::engine::Engine;
use crate::error::{Error, ExitStatus, Result};
use crate::measure::bandwidth::Bandwidth;
use crate::measure::clock::Monotonic;
use crate::measure::host::HostFacts;
use crate::measure::noise::hottest_celsius;
use crate::measure::sysfs::SysFs;
use crate::model::SourceOptions;
use crate::plan::Workload;
use crate::plan::axis::numbers;
use crate::quality::best_baseline;
use crate::quality::task::{BarMetric, Task};
use crate::report::{Format, csv::Csv, html::Html, json::Json, markdown::Markdown};
use crate::stats::eprocess::Bar;
use crate::store::derived::AnswerOutcome;
use crate::store::file::write_atomically;
use crate::store::history::{History, OpenRun, data_dir, plan_hash};
use crate::store::prompts::TaskPrompts;
use crate::store::record::{BuildFacts, PlanFacts, RawRecord, Record, RunFacts, TaskFacts};
use crate::store::{cell::Cell, clock};
use ladder::Rung;

/// Measure a ladder of tiers, judge them on a task, name the cheapest that clears the bar
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model file or catalogue name, with or without `:level`; repeatable [default: the catalogue's default model]
    #[arg(short, long, value_name = "MODEL")]
    model: Vec<String>,
    /// Levels made of each model that is named without one; levels above the source's precision are requantized
    #[arg(short, long, value_delimiter = ',', default_values = ladder::DEFAULT_LEVELS, value_name = "LEVELS")]
    levels: Vec<crate::plan::Level>,
    /// Task: a built-in name, a folder, or a YAML file; repeatable
    #[arg(long, default_value = "support_tickets", value_name = "TASK")]
    task: Vec<String>,
    /// Quality every task demands, between 0 and 1 [default: the task's own]
    #[arg(long, value_name = "Q")]
    bar: Option<f64>,
    /// Bound on calling a tier good enough when it is not, over the whole ladder
    #[arg(long, value_name = "ALPHA")]
    alpha: Option<f64>,
    /// Let CLEARS mean "not below bar - M": fewer items near the bar
    #[arg(long, default_value_t = 0.0, value_name = "M")]
    margin: f64,
    /// Most items of a task per tier [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Prompt tokens of prefill tests; 0 for none. Lists and ranges as for bench
    #[arg(short = 'p', long, default_value = "512", value_name = "LIST")]
    n_prompt: String,
    /// Tokens of generation tests; 0 for none
    #[arg(short = 'n', long, default_value = "128", value_name = "LIST")]
    n_gen: String,
    /// Threads; 0 for all physical cores
    #[arg(short, long, default_value_t = 0, value_name = "N")]
    threads: u32,
    /// Seconds the run may take; what is not judged by then stays undecided
    #[arg(long, default_value_t = 300.0, value_name = "SECONDS")]
    budget: f64,
    /// Seconds of idle power measured before and after loading and at the end, if there is a meter; 0 for none
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    idle: f64,
    /// Seed of the order of tests, of items and of every interval
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Print the plan with its predicted time and cost, and stop
    #[arg(long)]
    dry_run: bool,
    /// Continue the newest unfinished run of the same plan
    #[arg(long)]
    resume: bool,
    /// Also write the record to this file, and the HTML report beside it [default: the report only, in the data directory]
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Keep the items' texts out of record and report (their hashes stay); answers are part of both
    #[arg(long)]
    no_prompts: bool,
    /// Format of the result; json is the record
    #[arg(short, long, value_parser = OutputFormat::among(&[OutputFormat::Table, OutputFormat::Md, OutputFormat::Json, OutputFormat::Csv]), default_value = "table")]
    output: OutputFormat,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    meter: MeterArgs,
    #[command(flatten)]
    cost: CostArgs,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let started = Instant::now();
    let workloads = workloads(args)?;
    let budget = Duration::try_from_secs_f64(args.budget)
        .map_err(|error| Error::Usage(format!("--budget {} is not a number of seconds: {error}", args.budget)))?;
    let options = SourceOptions::platform(ui.offline)?;
    let specs = ladder::specs(&args.model, &args.levels, &options)?;
    let k = u32::try_from(specs.len()).unwrap_or(u32::MAX);
    let tasks = load_tasks(args, k)?;
    let cost = cost_args::facts(&args.cost)?;
    if cfg!(debug_assertions) {
        ui.warn("this is a debug build: its speed means nothing; use `cargo run --release`");
    }
    let sysfs = SysFs::new(&ui.sysfs_root);
    let host = HostFacts::read(&sysfs);
    let mut history = History::open_default()?;
    let quote = quote::quote(&args.ask(&specs, &workloads, &tasks, &cost)?, &options, &host, Some(&history))?;
    if args.dry_run {
        return quote.print(args.output, ui);
    }
    quote.announce(ui);

    let rungs = ladder::resolve(&specs, &options, ui)?;
    let plan = Plan {
        models: rungs.iter().map(Rung::identity).collect(),
        workloads: &workloads,
        tasks: tasks.iter().map(|(_, facts)| facts).collect(),
        engine: format!("{:?}", args.engine),
        threads: args.threads,
        seed: args.seed,
        version: env!("CARGO_PKG_VERSION"),
    };
    let title = format!("run {}", specs.iter().map(|s| s.spec.as_str()).collect::<Vec<_>>().join(" "));
    let open = history.open_run(&plan_hash(&plan)?, &title, args.resume)?.since(started);
    let stored = if open.resumed { history.finished_cells(&open.id)? } else { Vec::new() };
    if open.resumed {
        ui.note(format_args!("resuming run {}: {} cells are stored", open.id, stored.len()));
    }

    let clock = Arc::new(Monotonic::default());
    let metering = open_meter(&args.meter.options(ui, args.engine.device), clock.clone())?;
    let mut run = Run {
        args,
        ui,
        started,
        budget,
        workloads,
        tasks,
        rungs,
        engines: Vec::new(),
        tried: Vec::new(),
        cold: hottest_celsius(&sysfs),
        sysfs,
        clock,
        metering,
        history,
        open,
        raw: header(args, host, cost),
        stored,
    };
    run.raw.run.id = run.open.id.clone();
    run.raw.run.started_at = run.open.started_at.clone();
    run.raw.plan.quote = Some(quote.prediction());
    run.execute()?;
    run.raw.plan.took = run.open.elapsed().map(|whole| Tally::of(&run.raw.cells).outcome(whole, Some(&run.raw.cost)));
    match &run.raw.plan.took {
        Some(took) => quote.compare(took, ui),
        None => ui.note("what this run took is unknown: an older version began it and kept no time"),
    }
    let record = run.finish()?;
    if let Some(path) = &args.record {
        write_atomically(path, Json.render(&record)?.as_bytes())?;
    }
    match write_page(args.record.as_deref(), &record) {
        Ok(path) => ui.note(format_args!("report: {}", path.display())),
        // The run is stored: a page that cannot be written must not lose its table.
        Err(error) => ui.warn(format_args!("no HTML report: {error}")),
    }
    let text = match args.output {
        OutputFormat::Md => Markdown.render(&record)?,
        OutputFormat::Json => Json.render(&record)?,
        OutputFormat::Csv => Csv.render(&record)?,
        _ => ui.terminal().render(&record)?,
    };
    ui.write(text.as_bytes())?;
    Ok(status(&record))
}

/// Writes the HTML report beside the record if that has a file of its own, else into the data directory.
fn write_page(record_file: Option<&Path>, record: &Record) -> Result<PathBuf> {
    let beside = record_file.filter(|path| path.extension().is_some_and(|extension| extension != "html"));
    let path = match beside {
        Some(path) => path.with_extension("html"),
        None => {
            let dir = data_dir()?.join("reports");
            std::fs::create_dir_all(&dir).map_err(|source| Error::Io {
                action: "create",
                path: dir.clone(),
                source,
            })?;
            dir.join(format!("{}.html", record.raw.run.id))
        }
    };
    write_atomically(&path, Html.render(record)?.as_bytes())?;
    Ok(path)
}

/// What makes two runs the same run: a resumed one must agree in all of it.
#[derive(Serialize)]
struct Plan<'a> {
    models: Vec<String>,
    workloads: &'a [Workload],
    tasks: Vec<&'a TaskFacts>,
    engine: String,
    threads: u32,
    seed: u64,
    version: &'static str,
}

fn workloads(args: &Args) -> Result<Vec<Workload>> {
    let mut workloads: Vec<Workload> = Vec::new();
    workloads.extend(numbers(&args.n_prompt)?.into_iter().filter(|&n| n > 0).map(|n| Workload::prefill(n, 0)));
    workloads.extend(numbers(&args.n_gen)?.into_iter().filter(|&n| n > 0).map(|n| Workload::decode(n, 0)));
    Ok(workloads)
}

/// Loads the tasks and fixes their rules before the first item is seen.
fn load_tasks(args: &Args, tiers: u32) -> Result<Vec<(Task, TaskFacts)>> {
    args.task
        .iter()
        .map(|spec| {
            let task = Task::load(spec)?;
            let (metric, min) = match (args.bar, task.bar) {
                (Some(min), own) => (own.map_or(BarMetric::PassRate, |own| own.metric), min),
                (None, Some(own)) => (own.metric, own.min),
                (None, None) => return Err(Error::Usage(format!("task {spec} states no bar: give one with --bar"))),
            };
            let baseline = best_baseline(&task)?;
            if let Some(trivial) = &baseline
                && trivial.pass_rate >= min
                && metric == BarMetric::PassRate
            {
                return Err(Error::Usage(format!(
                    "a bar of {min} asks for nothing of {spec}: `{}` passes {:.3} without a model",
                    trivial.name, trivial.pass_rate
                )));
            }
            let items = task.items.len().min(args.limit.unwrap_or(usize::MAX));
            let rule = Rule {
                bar: Bar::new(min).map_err(|error| Error::Usage(format!("--bar {min}: {error}")))?,
                alpha: args.alpha.or(task.alpha).unwrap_or(0.05),
                margin: args.margin,
                tiers,
                n_max: (metric == BarMetric::PassRate).then_some(items as u64),
                order_seed: args.seed,
                ..Rule::new(min).map_err(|error| Error::Usage(format!("--bar {min}: {error}")))?
            };
            rule.validate().map_err(|error| Error::Usage(error.to_string()))?;
            let facts = TaskFacts {
                name: task.name.clone(),
                version: task.version.clone(),
                kind: task.kind,
                sha256: task.sha256.clone(),
                suite_items: task.items.len() as u64,
                decode: task.decode,
                metric,
                rule,
                baseline,
            };
            Ok((task, facts))
        })
        .collect()
}

fn header(args: &Args, host: HostFacts, cost: Assumptions) -> RawRecord {
    RawRecord {
        run: RunFacts { command: command_line(), ..RunFacts::default() },
        host,
        bandwidth: Vec::new(),
        idle: IdleBaselines::default(),
        build: BuildFacts::current(),
        plan: PlanFacts {
            workloads: Vec::new(),
            interleave_seed: args.seed,
            bootstrap_seed: args.seed,
            level: 0.95,
            budget_s: Some(args.budget),
            ..PlanFacts::default()
        },
        tasks: Vec::new(),
        tiers: Vec::new(),
        cost,
        cells: Vec::new(),
        prompts: Vec::new(),
        imported: None,
        warnings: Vec::new(),
    }
}

/// An argument as it may be published: of an absolute path the last part.
pub(super) fn published(argument: &str) -> String {
    let path = Path::new(argument);
    let name = path.file_name().filter(|_| path.is_absolute());
    name.map_or_else(|| argument.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The command as typed, without the program's path; directories of file arguments stay private.
pub(super) fn command_line() -> String {
    let arguments = std::env::args_os().skip(1).map(|argument| published(&argument.to_string_lossy()));
    std::iter::once("tierbench".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// The run under way.
struct Run<'a> {
    args: &'a Args,
    ui: &'a Ui,
    started: Instant,
    budget: Duration,
    workloads: Vec<Workload>,
    tasks: Vec<(Task, TaskFacts)>,
    rungs: Vec<Rung>,
    /// One per rung; `None` where loading failed.
    engines: Vec<Option<Box<dyn Engine>>>,
    /// One per rung: whether it computed every workload once while it was loaded.
    tried: Vec<bool>,
    sysfs: SysFs,
    clock: Arc<Monotonic>,
    metering: Metering,
    /// Hottest sensor before any work, °C.
    cold: Option<f64>,
    history: History,
    open: OpenRun,
    raw: RawRecord,
    /// Cells of the run that is resumed.
    stored: Vec<Cell>,
}

impl Run<'_> {
    fn execute(&mut self) -> Result<()> {
        self.raw.plan.workloads = self.workloads.clone();
        self.raw.tasks = self.tasks.iter().map(|(_, facts)| facts.clone()).collect();
        let idle_time = energy::idle_time(self.args)?;
        let idle_time = (self.is_metered() && !idle_time.is_zero()).then_some(idle_time);
        if let Some(time) = idle_time {
            self.ui.note(format_args!("measuring idle power for {:.0} s", time.as_secs_f64()));
            self.raw.idle.bare = Some(self.metering.idle(time));
        }
        self.load();
        let threads: Vec<u32> = self.engines.iter().flatten().map(|engine| engine.facts().n_threads).collect();
        if let Some(&threads) = threads.first() {
            self.raw.bandwidth.push(Bandwidth::measure(&self.raw.host, threads));
        }
        self.raw.idle.ready = idle_time.map(|time| self.metering.idle(time));
        self.history.save_header(&self.open, &self.raw)?;
        self.measure_speed()?;
        self.judge()?;
        if !self.args.no_prompts {
            for (task, _) in &self.tasks {
                self.raw.prompts.extend(TaskPrompts::of(task, &self.raw.cells)?);
            }
        }
        self.raw.idle.after = idle_time.map(|time| self.metering.idle(time));
        for measured in &mut self.raw.bandwidth {
            *measured = measured.faster(Bandwidth::measure(&self.raw.host, measured.threads));
        }
        self.align()?;
        if self.raw.idle.drifted() {
            self.raw
                .warnings
                .push("idle power changed by more than 5 % during the run: marginal joules are doubtful".into());
        }
        Ok(())
    }

    /// Whether joules are measured and not estimated.
    fn is_metered(&self) -> bool {
        self.metering.infos().iter().any(|info| info.trust < Trust::Estimated)
    }

    fn out_of_time(&self) -> bool {
        self.started.elapsed() >= self.budget
    }

    /// Stores a cell and keeps it for the record.
    fn commit(&mut self, cell: Cell) -> Result<()> {
        if let Some(error) = cell.error() {
            self.ui.warn(format_args!("{}: {error}", cell.id()));
        }
        self.history.commit_cell(&self.open, &cell)?;
        self.raw.cells.push(cell);
        Ok(())
    }

    /// Seals the record and stores it: as finished, or as partial if the user interrupted.
    fn finish(mut self) -> Result<Record> {
        self.raw.run.interrupted = interrupt::requested() || self.out_of_time();
        if !interrupt::requested() {
            self.raw.run.finished_at = Some(clock::now());
        }
        let record = Record::from_raw(self.raw)?;
        if interrupt::requested() {
            self.history.save_partial(&self.open, &record)?;
            self.ui.note(format_args!(
                "stopped; `tierbench run --resume` with the same flags continues run {}",
                self.open.id
            ));
        } else {
            self.history.finish_run(&self.open, &record)?;
        }
        Ok(record)
    }
}

/// Exit status of a finished run; the most serious finding wins.
fn status(record: &Record) -> ExitStatus {
    if interrupt::requested() {
        return ExitStatus::Interrupted;
    }
    if record.raw.cells.iter().any(|cell| cell.error().is_some()) {
        return ExitStatus::CellsFailed;
    }
    let outcomes = || record.derived.answers.iter().map(|answer| &answer.outcome);
    if outcomes().any(|outcome| matches!(outcome, AnswerOutcome::Undecided { .. } | AnswerOutcome::NoResults)) {
        ExitStatus::Undecided
    } else if outcomes().any(|outcome| matches!(outcome, AnswerOutcome::NoneClears)) {
        ExitStatus::NoTierClears
    } else {
        ExitStatus::Success
    }
}
