//! From what the user named to tiers on disk: models × levels.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use super::{Args, Run};
use crate::cli::{Ui, interrupt};
use crate::engine::{Engine, ModelFacts};
use crate::error::{Error, Result};
use crate::measure::memory::{PeakWatch, resident};
use crate::measure::{self, MeasureError, Protocol};
use crate::model::catalogue::Catalogue;
use crate::model::chat::ChatTemplate;
use crate::model::gguf::Gguf;
use crate::model::tokenizer::{self, Tokenizer};
use crate::model::{self, ModelError, ModelFile, SourceOptions};
use crate::plan::{Level, Tier, TierKey, Workload};
use crate::quality::{QualityError, longest_item};
use crate::store::cell::{Cell, Outcome, Subject};
use crate::store::clock;
use crate::store::record::{ModelFileFacts, TierFacts};

/// Levels of the default ladder: from nearly lossless to the smallest that still answers.
pub(super) const DEFAULT_LEVELS: [&str; 5] = ["q8_0", "q5_k_m", "q4_1", "q4_0", "q2_k"];

/// Sequences a tier must hold at once: a task's shared prefix, its items, their labels.
const MAX_SEQS: u32 = 64;

/// A tier to be made, by name.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    /// What [`model::resolve`] is given.
    pub(super) spec: String,
}

/// A tier of the ladder: what is on disk, or why it cannot be run. A failed tier is a row of the table; the others'
/// results stand.
pub(super) struct Rung {
    spec: String,
    pub(super) model: Result<Ready, ModelError>,
}

/// A model file that was read.
pub(super) struct Ready {
    pub(super) file: ModelFile,
    /// One for all tiers with the same vocabulary.
    pub(super) tokenizer: Rc<Tokenizer>,
    n_ctx_train: u32,
    template_sha256: Option<String>,
}

/// Names × levels. A name with a level or a file stands for itself.
pub(super) fn specs(named: &[String], levels: &[Level], options: &SourceOptions) -> Result<Vec<Spec>> {
    let catalogue = Catalogue::load(options)?;
    let default = catalogue.default_model().map(|manifest| manifest.name.clone());
    let names = match (named, default) {
        ([], None) => return Err(Error::Usage("no model of the catalogue is the default: name one with -m".into())),
        ([], Some(default)) => vec![default],
        (named, _) => named.to_vec(),
    };
    let mut specs = Vec::new();
    for name in names {
        let bare = catalogue.get(&name).is_ok();
        if bare {
            specs.extend(levels.iter().map(|level| Spec { spec: format!("{name}:{level}") }));
        } else {
            // A name that is neither a file nor in the catalogue is refused before anything is planned.
            let base = name.rsplit_once(':').map_or(name.as_str(), |(base, _)| base);
            if !Path::new(&name).exists() && !Path::new(base).exists() {
                catalogue.get(base)?;
            }
            specs.push(Spec { spec: name });
        }
    }
    Ok(specs)
}

/// Fetches or makes every file.
///
/// # Errors
/// Nothing to run: no tier could be had (the first one's reason), or the user interrupted.
pub(super) fn resolve(specs: &[Spec], options: &SourceOptions, ui: &Ui) -> Result<Vec<Rung>> {
    let mut rungs: Vec<Rung> = Vec::new();
    for Spec { spec } in specs {
        if interrupt::requested() {
            return Err(ModelError::Interrupted("making the ladder".into()).into());
        }
        let model = model::resolve(spec, options, &mut ui.bar()).and_then(|file| Ready::new(file, &rungs));
        match &model {
            Ok(ready) if rungs.iter().any(|rung| rung.sha256() == Some(&ready.file.sha256)) => {
                ui.warn(format_args!("{spec} is named twice: measured once"));
                continue;
            }
            Ok(_) => {}
            Err(error) => ui.warn(format_args!("{spec} is left out: {error}")),
        }
        rungs.push(Rung { spec: spec.clone(), model });
    }
    if rungs.iter().any(|rung| rung.model.is_ok()) {
        return Ok(rungs);
    }
    match rungs.into_iter().find_map(|rung| rung.model.err()) {
        Some(error) => Err(error.into()),
        None => Err(crate::plan::PlanError::Empty("name a model with -m").into()),
    }
}

impl Ready {
    fn new(file: ModelFile, others: &[Rung]) -> Result<Self, ModelError> {
        let gguf = Gguf::open(&file.path)?;
        let fingerprint = tokenizer::fingerprint(&gguf);
        let mut ready = others.iter().filter_map(|rung| rung.model.as_ref().ok());
        let tokenizer = match ready.find(|ready| ready.tokenizer.fingerprint() == fingerprint) {
            Some(same) => Rc::clone(&same.tokenizer),
            None => Rc::new(Tokenizer::from_gguf(&gguf)?),
        };
        let template_sha256 = ChatTemplate::from_gguf(&gguf).ok().flatten().map(|t| t.hash().to_owned());
        // A header without it is refused by the engine, with a reason.
        let n_ctx_train = ModelFacts::from_gguf(&gguf).map_or(1, |facts| facts.n_ctx_train);
        Ok(Self { file, tokenizer, n_ctx_train, template_sha256 })
    }
}

impl Rung {
    /// Hash of the file, if there is one.
    pub(super) fn sha256(&self) -> Option<&String> {
        self.model.as_ref().ok().map(|ready| &ready.file.sha256)
    }

    /// What tells this tier from others in a plan: its file, or its name where there is none.
    pub(super) fn identity(&self) -> String {
        self.sha256().unwrap_or(&self.spec).clone()
    }

    /// The tier's published facts; without an engine those of the plan.
    fn facts(&self, engine: Option<&dyn Engine>, args: &Args) -> TierFacts {
        let facts = engine.map(Engine::facts);
        let file = self.model.as_ref().ok().map(|ready| &ready.file);
        let (name, level) = match file {
            Some(file) => (file.name.clone(), file.level.clone()),
            None => match self.spec.rsplit_once(':') {
                Some((name, level)) => (name.to_owned(), Some(level.to_owned())),
                None => (self.spec.clone(), None),
            },
        };
        let requantized_from = file.and_then(|file| file.requantized_from.clone());
        let tier = Tier {
            model: name.clone(),
            level,
            requantized_from: requantized_from.clone(),
            engine: facts.map_or_else(|| format!("{:?}", args.engine.engine).to_lowercase(), |f| f.name.clone()),
            device: facts.map_or_else(|| args.engine.device.to_string(), |f| f.device.clone()),
            n_threads: facts.map_or(args.threads, |f| f.n_threads),
        };
        TierFacts {
            key: tier.key(),
            tier,
            model: ModelFileFacts {
                name,
                sha256: file.map(|file| file.sha256.clone()),
                bytes: file.map(|file| file.bytes),
                licence: file.and_then(|file| file.licence.clone()),
                source: file.map(|file| file.source.clone()),
                requantized_from,
                tokenizer_sha256: self.model.as_ref().ok().map(|ready| ready.tokenizer.fingerprint().to_owned()),
                template_sha256: self.model.as_ref().ok().and_then(|ready| ready.template_sha256.clone()),
            },
            engine: facts.cloned(),
            idle: None,
            peak_rss_bytes: None,
        }
    }
}

impl Run<'_> {
    /// Loads every tier. One that fails becomes failed cells.
    pub(super) fn load(&mut self) {
        let longest = self.longest_items();
        let alone = resident(&self.sysfs);
        let mut failed = Vec::new();
        for rung in &self.rungs {
            let before = resident(&self.sysfs);
            let watch = PeakWatch::start(&self.sysfs);
            let loaded = match &rung.model {
                Ok(ready) => longest[ready.tokenizer.fingerprint()].clone().and_then(|longest| {
                    let n_ctx = self.positions(ready, longest);
                    let config = self.args.engine.config(self.args.threads, n_ctx, MAX_SEQS);
                    self.args.engine.load(&ready.file.path, &config).map_err(|error| error.to_string())
                }),
                Err(error) => Err(error.to_string()),
            };
            let (mut engine, error) = match loaded {
                Ok(engine) => (Some(engine), None),
                Err(error) => (None, Some(error)),
            };
            let mut facts = rung.facts(engine.as_deref(), self.args);
            // What the tier adds while it loads and computes its longest test, on top of a process without tiers.
            let tried = engine.as_deref_mut().map(|engine| try_out(engine, &self.workloads));
            let was_tried = matches!(tried, Some(Ok(())));
            facts.peak_rss_bytes = match (alone, before, watch.peak(), tried) {
                (Some(alone), Some(before), Some(peak), Some(Ok(()))) if peak.since_start_of_cell => {
                    Some(alone + peak.bytes.saturating_sub(before))
                }
                _ => None,
            };
            for caveat in facts.engine.iter().flat_map(|engine| &engine.caveats) {
                if !self.raw.warnings.contains(caveat) {
                    self.raw.warnings.push(caveat.clone());
                }
            }
            failed.extend(error.map(|error| (facts.key.clone(), error)));
            self.raw.tiers.push(facts);
            self.engines.push(engine);
            self.tried.push(was_tried);
        }
        let subjects: Vec<Subject> = self
            .workloads
            .iter()
            .map(|&workload| Subject::Workload(workload))
            .chain(self.tasks.iter().map(|(task, _)| Subject::Task(task.name.clone())))
            .collect();
        for (tier, error) in failed {
            self.raw.cells.extend(subjects.iter().map(|subject| failed_cell(&tier, subject.clone(), &error)));
        }
    }
}

impl Run<'_> {
    /// Positions the longest item of the tasks takes with each tokenizer of the ladder, by its fingerprint.
    fn longest_items(&self) -> BTreeMap<String, Result<u32, String>> {
        let mut longest = BTreeMap::new();
        for ready in self.rungs.iter().filter_map(|rung| rung.model.as_ref().ok()) {
            longest.entry(ready.tokenizer.fingerprint().to_owned()).or_insert_with(|| {
                let mut of_tasks = self.tasks.iter().map(|(task, _)| longest_item(task, &*ready.tokenizer));
                of_tasks.try_fold(0, |most, n| Ok(most.max(n?))).map_err(|error: QualityError| error.to_string())
            });
        }
        longest
    }

    /// Positions a sequence must hold: the longest workload or item, but no more than the model was trained for; what
    /// does not fit then fails alone.
    fn positions(&self, ready: &Ready, longest_item: u32) -> u32 {
        let tests = self.workloads.iter().map(|w| w.n_depth.saturating_add(w.n_prompt).saturating_add(w.n_gen));
        tests.max().unwrap_or(1).max(longest_item).clamp(1, ready.n_ctx_train.max(1))
    }
}

/// Computes every workload once, untimed, so that all memory it needs is resident, and looks at what comes out.
fn try_out(engine: &mut dyn Engine, workloads: &[Workload]) -> Result<(), MeasureError> {
    workloads.iter().try_for_each(|&workload| measure::try_out(engine, workload, &Protocol::default()))
}

/// A cell that says why it has no results.
pub(super) fn failed_cell(tier: &TierKey, subject: Subject, error: &str) -> Cell {
    let error = error.to_owned();
    Cell { tier: tier.clone(), subject, finished_at: clock::now(), outcome: Outcome::Failed { error } }
}
