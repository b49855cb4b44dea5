//! `tierbench eval`.

mod ask;
mod cell;
mod judge;
mod ledger;
mod mode;
mod samples;
mod show;
mod table;

use std::path::PathBuf;
use std::sync::Arc;

use self::cell::{Cell, usage};
use self::judge::Judge;
use self::ledger::{Ledger, tier_facts};
use self::mode::{Mode, decode_as};
use self::samples::Samples;
use super::cost_args::CostArgs;
use super::engine_args::{EngineArgs, named_or_default};
use super::meter_args::MeterArgs;
use super::{OutputFormat, Ui, interrupt};
use crate::decide::ladder::{self, Rung, Step, Strategy};
use crate::decide::{Question, Rule, Verdict};
use crate::energy;
use crate::engine::Engine;
use crate::error::{Error, ExitStatus, Result};
use crate::measure::clock::Monotonic;
use crate::model::gguf::Gguf;
use crate::model::tokenizer::Tokenizer;
use crate::model::{self, ModelFile};
use crate::quality::task::{BarMetric, Task};
use crate::quality::{Baseline, QualityError, best_baseline};
use crate::report::{Format as _, json::Json};
use crate::store::cell::Outcome;
use crate::store::file::write_atomically;
use crate::store::record::TaskFacts;
use crate::units::Interval;

/// Items up to which the exact final look is computed: it takes quadratic time.
const MAX_FINAL_LOOK: u64 = 5_000;

/// Judge given tiers on tasks: does each clear the bar?
///
/// Every tier sees the same items in the same seeded order and stops as soon as its verdict is decided. With several
/// tiers the error bound of a wrong CLEARS holds for all of them together.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model file or catalogue name, with or without `:level`; cheapest first, repeatable [default: the catalogue's
    /// default model]
    #[arg(short, long, value_name = "MODEL")]
    model: Vec<String>,
    /// Task by name or folder; repeatable
    #[arg(long, alias = "tasks", default_value = "support_tickets", value_delimiter = ',', value_name = "TASK")]
    task: Vec<String>,
    /// Share of items a tier must solve [default: the task's own bar]
    #[arg(long, value_name = "SHARE")]
    bar: Option<f64>,
    /// Bound of the chance that any tier below the bar is called CLEARS
    #[arg(long, value_name = "P")]
    alpha: Option<f64>,
    /// Bound of the chance that a tier at or above the bar is called FAILS
    #[arg(long, value_name = "P")]
    beta: Option<f64>,
    /// CLEARS means "not below the bar minus this": fewer items near the bar
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    margin: f64,
    /// Judge exactly these items instead of work like them: decided sooner, says nothing beyond the suite
    #[arg(long, conflicts_with = "limit")]
    suite: bool,
    /// Stop at the first tier, in the order given, that clears
    #[arg(long)]
    first: bool,
    /// From the last tier named down, each at the full alpha, until one does not clear
    #[arg(long, conflicts_with = "first")]
    from_top: bool,
    /// Also say whether each tier is worse than this one on the same items; it is judged first and in full
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["first", "from_top"])]
    reference: Option<String>,
    /// Points of pass rate a tier may lie below the reference and count as not worse
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", requires = "reference")]
    tolerance: f64,
    /// Items per task and tier at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// How answers are got: by each choice's likelihood, as text held to the choices or the task's JSON schema, or as free
    /// text [default: the task's own]
    #[arg(long, value_enum, value_name = "MODE")]
    decode: Option<Mode>,
    /// Also get every judged item's answer in the other ways the task knows, and say how far they agree
    #[arg(long)]
    agreement: bool,
    /// Go through all items even when the verdict is decided
    #[arg(long)]
    full: bool,
    /// Seed of the order of items
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Print the N-th item of the order as the model sees it, and stop; with -m also its tokens
    #[arg(long, value_name = "N")]
    show: Option<usize>,
    /// Write every item's result to this file, one JSON object per line; with a meter, when the tier's window is closed
    #[arg(long, visible_alias = "log_samples", value_name = "FILE")]
    log: Option<PathBuf>,
    /// Continue the newest unfinished evaluation of the same tiers, tasks and flags
    #[arg(long)]
    resume: bool,
    /// Also write the record, for `report`, `compare` and `verify`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Print the plan with its predicted time, energy and cost, and stop
    #[arg(long)]
    dry_run: bool,
    /// Format of the result
    #[arg(short, long, value_parser = OutputFormat::among(&[OutputFormat::Table, OutputFormat::Json, OutputFormat::Jsonl]), default_value = "table")]
    output: OutputFormat,
    /// Threads; 0 for all physical cores
    #[arg(short, long, default_value_t = 0)]
    threads: u32,
    /// Sequences the engine may hold at once: items are judged in groups
    #[arg(long, default_value_t = 32, value_name = "N")]
    max_seqs: u32,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    meter: MeterArgs,
    #[command(flatten)]
    cost: CostArgs,
}

/// A task with the rule its verdicts follow.
pub(super) struct Subject {
    pub(super) task: Task,
    pub(super) facts: TaskFacts,
    /// One per tier, for the strategy.
    rungs: Vec<Rung>,
}

impl Args {
    /// Which tiers are judged at all; `None` for every one.
    pub(super) fn strategy(&self) -> Option<Strategy> {
        match (self.first, self.from_top) {
            (true, _) => Some(Strategy::CheapestFirst { parking: false }),
            (_, true) => Some(Strategy::FromTop),
            _ => None,
        }
    }
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    for spec in &args.task {
        super::tasks::fetch(spec, ui)?;
    }
    let mut tasks = args.task.iter().map(|spec| Task::load(spec)).collect::<Result<Vec<_>, _>>()?;
    for task in &mut tasks {
        decode_as(args.decode, task)?;
    }
    if let Some(place) = args.show {
        let tokenizer = match args.model.first() {
            Some(spec) => Some(tokenizer(&model::resolve(spec, &ui.source_options()?, &mut ui.bar())?)?),
            None => None,
        };
        show::show(&tasks, place, args.seed, tokenizer.as_ref(), args.output, ui)?;
        return Ok(ExitStatus::Success);
    }
    let (specs, reference) = tiers(args, ui)?;
    let mut subjects = Vec::new();
    for task in tasks {
        subjects.push(subject(args, task, specs.len())?);
    }
    if let Some(twice) =
        (1..subjects.len()).find(|&i| subjects[..i].iter().any(|s| s.task.name == subjects[i].task.name))
    {
        return Err(Error::Usage(format!("task `{}` is named twice", subjects[twice].task.name)));
    }
    let plan = ask::quote(args, &specs, &subjects, ui);
    if args.dry_run {
        return plan?.print(args.output, ui);
    }
    // No prediction is no reason not to judge.
    let plan = plan.ok();
    let options = ui.source_options()?;
    let files = specs.iter().map(|spec| model::resolve(spec, &options, &mut ui.bar()));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let mut metering = energy::open(&args.meter.options(ui, args.engine.device), Arc::new(Monotonic::default()))?;
    let mut samples = Samples::create(args.log.as_deref())?;
    let mut ledger = Ledger::open(args, ui, &files, &subjects)?;
    if let Some(plan) = &plan {
        plan.announce(ui);
        ledger.predict(plan.prediction());
    }
    let mut cells: Vec<(usize, Cell)> = Vec::new();
    for place in order(args, files.len(), reference) {
        if interrupt::requested() {
            break;
        }
        let wanted: Vec<usize> = (0..subjects.len()).filter(|&i| wants(args, &subjects[i].rungs, place)).collect();
        if wanted.is_empty() {
            continue;
        }
        let mut loaded = load(args, &files[place]);
        let (engine, tokenizer) = match &loaded {
            Ok((engine, tokenizer)) => (Some(engine.as_ref()), Some(tokenizer)),
            Err(_) => (None, None),
        };
        let facts = tier_facts(args, &files[place], engine, tokenizer);
        let key = facts.key.clone();
        ledger.add_tier(facts)?;
        for i in wanted {
            let Subject { task, facts, rungs } = &mut subjects[i];
            let mut cell = Cell::new(key.clone(), task, facts)?;
            if interrupt::requested() {
                break;
            }
            match &mut loaded {
                // One bad tier never loses the others' results.
                Err(error) => cell.error = Some(error.to_string()),
                Ok((engine, tokenizer)) => {
                    let full = args.full || reference == Some(place);
                    let beside = reference.filter(|&r| r != place);
                    let rivals = u32::try_from(files.len().saturating_sub(1)).unwrap_or(u32::MAX);
                    if let Some((_, other)) =
                        cells.iter().find(|(r, cell)| Some(*r) == beside && cell.task == task.name)
                    {
                        cell.compare(other, args.tolerance, rivals)?;
                    }
                    let mut judge = Judge {
                        args,
                        ui,
                        task,
                        full,
                        ledger: &mut ledger,
                        samples: &mut samples,
                        metering: &mut metering,
                    };
                    match judge.run(&mut cell, tokenizer, engine.as_mut()) {
                        Ok(()) => {}
                        Err(error @ (Error::Io { .. } | Error::Store(_))) => return Err(error),
                        Err(error) => cell.error = Some(error.to_string()),
                    }
                }
            }
            let outcome = match &cell.error {
                Some(error) => Outcome::Failed { error: error.clone() },
                None => Outcome::Task(cell.kept()),
            };
            ledger.commit(&key, &task.name, outcome)?;
            rungs[place] = Rung { verdict: cell.verdict(), exhausted: true, ..rungs[place] };
            cells.push((place, cell));
        }
    }
    samples.finish()?;
    cells.sort_by_key(|(place, _)| *place);
    let cells: Vec<Cell> = cells.into_iter().map(|(_, cell)| cell).collect();
    let derived = ledger.derived();
    let answers = subjects.iter().map(|subject| table::answer(args, subject, &files)).collect::<Vec<_>>();
    table::print(args.output, &cells, &derived, &answers, ui)?;
    let stopped = interrupt::requested();
    if cells.iter().any(|cell| cell.items() > 0 || cell.error.is_some()) {
        let record = ledger.finish(&subjects, stopped, ui)?;
        if let (Some(plan), Some(took)) = (&plan, &record.raw.plan.took) {
            plan.compare(took, ui);
        }
        if let Some(path) = &args.record {
            write_atomically(path, Json.render(&record)?.as_bytes())?;
        }
    }
    Ok(if stopped { ExitStatus::Interrupted } else { status(args, &subjects, &cells) })
}

/// The tiers named, cheapest first, and the reference's place among them.
fn tiers(args: &Args, ui: &Ui) -> Result<(Vec<String>, Option<usize>)> {
    let mut specs = args.model.clone();
    if specs.is_empty() {
        specs.push(named_or_default(None, &ui.source_options()?)?);
    }
    let Some(reference) = &args.reference else { return Ok((specs, None)) };
    let place = specs.iter().position(|spec| spec == reference).unwrap_or_else(|| {
        specs.push(reference.clone());
        specs.len() - 1
    });
    if specs.len() < 2 {
        return Err(Error::Usage("--reference: name another tier with -m to compare with it".into()));
    }
    Ok((specs, Some(place)))
}

/// Places in the order they are judged.
fn order(args: &Args, n: usize, reference: Option<usize>) -> Vec<usize> {
    let rest = (0..n).filter(|place| Some(*place) != reference);
    if args.from_top { rest.rev().collect() } else { reference.into_iter().chain(rest).collect() }
}

fn wants(args: &Args, rungs: &[Rung], place: usize) -> bool {
    args.strategy().is_none_or(|strategy| ladder::next(strategy, rungs, false) == Step::Test(place))
}

/// What a task's verdicts are about: flags first, then what the task says, then the defaults.
fn subject(args: &Args, task: Task, tiers: usize) -> Result<Subject> {
    let bar = args.bar.or(task.bar.map(|bar| bar.min)).ok_or_else(|| {
        Error::Usage(format!("task `{}` states no bar: give one with --bar, e.g. --bar 0.8", task.name))
    })?;
    let metric = task.bar.map_or(BarMetric::PassRate, |bar| bar.metric);
    let items = task.items.len() as u64;
    let limit = args.limit.map_or(items, |limit| items.min(limit as u64));
    let family = args.strategy().unwrap_or(Strategy::CheapestFirst { parking: false });
    let mut rule = Rule::new(bar).map_err(usage)?;
    rule.alpha = args.alpha.or(task.alpha).unwrap_or(rule.alpha);
    rule.beta = args.beta.unwrap_or(rule.beta);
    rule.margin = args.margin;
    rule.tiers = family.family(u32::try_from(tiers).unwrap_or(u32::MAX).max(1));
    rule.n_max = Some(limit).filter(|&n| n <= MAX_FINAL_LOOK && metric == BarMetric::PassRate);
    rule.order_seed = args.seed;
    if args.suite {
        if metric == BarMetric::MeanScore {
            return Err(Error::Usage(format!(
                "--suite judges pass rates; the bar of `{}` is on the mean score",
                task.name
            )));
        }
        rule.question = Question::Suite { items };
        rule.n_max = None;
    }
    rule.validate().map_err(usage)?;
    let baseline = best_baseline(&task)?;
    let reaches = |baseline: &Baseline| match metric {
        BarMetric::PassRate => baseline.pass_rate,
        BarMetric::MeanScore => baseline.mean_score,
    };
    if let Some(best) = baseline.as_ref().filter(|best| reaches(best) >= bar - args.margin) {
        let (task, baseline, reaches) = (task.name.clone(), best.name.clone(), reaches(best));
        return Err(QualityError::BarBelowBaseline { task, bar: bar - args.margin, baseline, reaches }.into());
    }
    let facts = TaskFacts {
        name: task.name.clone(),
        version: task.version.clone(),
        kind: task.kind,
        sha256: task.sha256.clone(),
        suite_items: items,
        decode: task.decode,
        metric,
        rule,
        baseline,
    };
    // The order given stands for cost: it is all that is known before anything is measured.
    let rung = |place: usize| {
        let value = place as f64;
        let cost = Some(Interval { value, lo: value, hi: value, level: 0.95 });
        Rung { cost, verdict: Verdict::Undecided { more_items: None }, exhausted: false }
    };
    Ok(Subject { task, facts, rungs: (0..tiers).map(rung).collect() })
}

fn tokenizer(file: &ModelFile) -> Result<Tokenizer> {
    let gguf = Gguf::open(&file.path).map_err(model::ModelError::from)?;
    Ok(Tokenizer::from_gguf(&gguf).map_err(model::ModelError::from)?)
}

fn load(args: &Args, file: &ModelFile) -> Result<(Box<dyn Engine>, Tokenizer)> {
    let tokenizer = tokenizer(file)?;
    let config = args.engine.config(args.threads, 0, args.max_seqs.max(1));
    Ok((args.engine.load(&file.path, &config)?, tokenizer))
}

/// 5 if a cell failed; with a strategy what its answers say; else 0 if a tier clears every task, 4 if something is
/// undecided, 3 if not.
fn status(args: &Args, subjects: &[Subject], cells: &[Cell]) -> ExitStatus {
    if cells.iter().any(|cell| cell.error.is_some()) {
        return ExitStatus::CellsFailed;
    }
    let Some(strategy) = args.strategy() else { return cell::exit_status(cells) };
    let outcomes: Vec<_> = subjects.iter().map(|subject| table::outcome(strategy, &subject.rungs).outcome).collect();
    if outcomes.contains(&ladder::Outcome::Undecided) {
        ExitStatus::Undecided
    } else if outcomes.contains(&ladder::Outcome::NoTierClears) {
        ExitStatus::NoTierClears
    } else {
        ExitStatus::Success
    }
}
