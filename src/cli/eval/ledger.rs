//! What an evaluation keeps: the raw record, and its copy in the history from which it resumes.

use std::time::Instant;

use serde::Serialize;

use super::{Args, Subject};
use crate::cli::Ui;
use crate::cli::cost_args;
use crate::cli::quote::Tally;
use crate::cli::run::command_line;
use crate::energy::IdleBaselines;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::measure::host::HostFacts;
use crate::measure::sysfs::SysFs;
use crate::model::ModelFile;
use crate::model::chat::ChatTemplate;
use crate::model::gguf::Gguf;
use crate::model::tokenizer::Tokenizer;
use crate::plan::quote::Prediction;
use crate::plan::{Tier, TierKey};
use crate::store::cell::{Cell, Outcome, Subject as On, TaskItems};
use crate::store::clock;
use crate::store::derived::Derived;
use crate::store::history::{History, OpenRun, plan_hash};
use crate::store::prompts::TaskPrompts;
use crate::store::record::{BuildFacts, ModelFileFacts, PlanFacts, RawRecord, Record, RunFacts, TaskFacts, TierFacts};

/// Why a tier was shown no more items; a cell stopped by [`INTERRUPTED`] goes on when it is resumed.
pub(super) const DECIDED: &str = "decided";
/// See [`DECIDED`].
pub(super) const ALL_ITEMS: &str = "all items";
/// See [`DECIDED`].
pub(super) const INTERRUPTED: &str = "interrupted";

/// What makes two evaluations the same: a resumed one must agree in all of it.
#[derive(Serialize)]
struct Plan<'a> {
    command: &'static str,
    models: Vec<&'a str>,
    tasks: Vec<&'a TaskFacts>,
    engine: String,
    activations: Option<&'a str>,
    kv_type: Option<&'a str>,
    threads: u32,
    full: bool,
    strategy: String,
    reference: Option<&'a str>,
    version: &'static str,
}

/// See the module.
pub(super) struct Ledger {
    raw: RawRecord,
    /// `None` if the history cannot be opened: results are printed all the same.
    history: Option<(History, OpenRun)>,
    stored: Vec<Cell>,
    started: Instant,
}

impl Ledger {
    /// Starts a run in the history, or continues the newest unfinished one of the same plan.
    pub(super) fn open(args: &Args, ui: &Ui, files: &[ModelFile], subjects: &[Subject]) -> Result<Self> {
        let started = Instant::now();
        let mut raw = RawRecord {
            run: RunFacts {
                id: clock::new_run_id(),
                started_at: clock::now(),
                command: command_line(),
                ..RunFacts::default()
            },
            host: HostFacts::read(&SysFs::new(&ui.sysfs_root)),
            bandwidth: Vec::new(),
            idle: IdleBaselines::default(),
            build: BuildFacts::current(),
            plan: PlanFacts { interleave_seed: args.seed, bootstrap_seed: args.seed, ..PlanFacts::default() },
            tasks: subjects.iter().map(|subject| subject.facts.clone()).collect(),
            tiers: Vec::new(),
            cost: cost_args::facts(&args.cost)?,
            cells: Vec::new(),
            warnings: Vec::new(),
            prompts: Vec::new(),
            imported: None,
        };
        let plan = Plan {
            command: "eval",
            models: files.iter().map(|file| file.sha256.as_str()).collect(),
            tasks: subjects.iter().map(|subject| &subject.facts).collect(),
            engine: format!("{:?} {:?} {:?}", args.engine.engine, args.engine.device, args.engine.isa),
            activations: args.engine.activations.as_deref(),
            kv_type: args.engine.kv_type.as_deref(),
            threads: args.threads,
            full: args.full,
            strategy: format!("{:?}", args.strategy()),
            reference: args.reference.as_deref(),
            version: env!("CARGO_PKG_VERSION"),
        };
        let title = format!("eval {}", files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(" "));
        let opened = History::open_default().and_then(|mut history| {
            let run = history.open_run(&plan_hash(&plan)?, &title, args.resume)?;
            let stored = if run.resumed { history.finished_cells(&run.id)? } else { Vec::new() };
            Ok(((history, run), stored))
        });
        let (history, stored) = match opened {
            Ok((history, stored)) => (Some(history), stored),
            Err(error) if args.resume => return Err(error.into()),
            Err(error) => {
                ui.warn(format_args!("this evaluation cannot be resumed or reported later: {error}"));
                (None, Vec::new())
            }
        };
        if let Some((_, run)) = &history {
            raw.run.id = run.id.clone();
            raw.run.started_at = run.started_at.clone();
            if run.resumed {
                ui.note(format_args!("resuming evaluation {}: {} cells are stored", run.id, stored.len()));
            } else if args.resume {
                ui.note("no unfinished evaluation of this plan: starting one");
            }
        }
        Ok(Self { raw, history, stored, started })
    }

    /// Keeps what the evaluation is expected to take.
    pub(super) fn predict(&mut self, prediction: Prediction) {
        self.raw.plan.quote = Some(prediction);
    }

    /// Takes up a tier. Its name must tell it from the others.
    pub(super) fn add_tier(&mut self, facts: TierFacts) -> Result<()> {
        if let Some(same) = self.raw.tiers.iter().find(|tier| tier.key == facts.key) {
            let which = if same.model.sha256 == facts.model.sha256 { "twice" } else { "for two different files" };
            return Err(Error::Usage(format!("{} is named {which}: rename one or leave it out", facts.key)));
        }
        self.raw.tiers.push(facts);
        if let Some((history, run)) = &mut self.history {
            history.save_header(run, &self.raw)?;
        }
        Ok(())
    }

    /// What an earlier attempt stored of a tier on a task.
    pub(super) fn earlier(&self, tier: &TierKey, task: &str) -> Option<TaskItems> {
        let on = On::Task(task.to_owned());
        let cell = self.stored.iter().find(|cell| cell.tier == *tier && cell.subject == on)?;
        match &cell.outcome {
            Outcome::Task(items) => Some(items.clone()),
            Outcome::Speed(_) | Outcome::Failed { .. } => None,
        }
    }

    /// Stores a cell in the history only: a cell under way, which a killed process loses nothing of.
    pub(super) fn checkpoint(&mut self, tier: &TierKey, task: &str, items: TaskItems) -> Result<()> {
        if let Some((history, run)) = &mut self.history {
            history.commit_cell(run, &cell(tier, task, Outcome::Task(items)))?;
        }
        Ok(())
    }

    /// Stores a finished cell.
    pub(super) fn commit(&mut self, tier: &TierKey, task: &str, outcome: Outcome) -> Result<()> {
        // Nothing was seen of it: there is nothing to keep.
        if matches!(&outcome, Outcome::Task(items) if items.items.is_empty()) {
            return Ok(());
        }
        let cell = cell(tier, task, outcome);
        if let Some((history, run)) = &mut self.history {
            history.commit_cell(run, &cell)?;
        }
        self.raw.cells.push(cell);
        Ok(())
    }

    /// Every number that follows from what is stored so far.
    pub(super) fn derived(&self) -> Derived {
        Record::derive(&self.raw)
    }

    /// Seals the record, with what the items asked, and stores it, as finished or as one that can be resumed.
    pub(super) fn finish(mut self, subjects: &[Subject], interrupted: bool, ui: &Ui) -> Result<Record> {
        for subject in subjects {
            self.raw.prompts.extend(TaskPrompts::of(&subject.task, &self.raw.cells)?);
        }
        self.raw.run.interrupted = interrupted;
        if !interrupted {
            self.raw.run.finished_at = Some(clock::now());
        }
        let whole = self.history.as_ref().map_or_else(|| Some(self.started.elapsed()), |(_, run)| run.elapsed());
        self.raw.plan.took = whole.map(|whole| Tally::of(&self.raw.cells).outcome(whole, Some(&self.raw.cost)));
        let record = Record::from_raw(self.raw)?;
        if let Some((history, run)) = &mut self.history {
            if interrupted {
                history.save_partial(run, &record)?;
                ui.note(format_args!("stopped; `tierbench eval --resume` with the same flags continues {}", run.id));
            } else {
                history.finish_run(run, &record)?;
            }
        }
        Ok(record)
    }
}

fn cell(tier: &TierKey, task: &str, outcome: Outcome) -> Cell {
    Cell { tier: tier.clone(), subject: On::Task(task.to_owned()), finished_at: clock::now(), outcome }
}

/// A tier's published facts; without an engine those of the flags.
pub(super) fn tier_facts(
    args: &Args,
    file: &ModelFile,
    engine: Option<&dyn Engine>,
    tokenizer: Option<&Tokenizer>,
) -> TierFacts {
    let facts = engine.map(Engine::facts);
    let tier = Tier {
        model: file.name.clone(),
        level: file.level.clone(),
        requantized_from: file.requantized_from.clone(),
        engine: facts.map_or_else(|| format!("{:?}", args.engine.engine).to_lowercase(), |f| f.name.clone()),
        device: facts.map_or_else(|| args.engine.device.to_string(), |f| f.device.clone()),
        n_threads: facts.map_or(args.threads, |f| f.n_threads),
    };
    let template = Gguf::open(&file.path).ok().and_then(|gguf| ChatTemplate::from_gguf(&gguf).ok().flatten());
    TierFacts {
        key: tier.key(),
        tier,
        model: ModelFileFacts {
            name: file.name.clone(),
            sha256: Some(file.sha256.clone()),
            bytes: Some(file.bytes),
            licence: file.licence.clone(),
            source: Some(file.source.clone()),
            requantized_from: file.requantized_from.clone(),
            tokenizer_sha256: tokenizer.map(|tokenizer| tokenizer.fingerprint().to_owned()),
            template_sha256: template.map(|template| template.hash().to_owned()),
        },
        engine: facts.cloned(),
        idle: None,
        peak_rss_bytes: None,
    }
}
