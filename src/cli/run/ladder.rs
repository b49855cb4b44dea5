//! From what the user named to tiers on disk: models × levels.

use std::path::Path;

use super::{Args, Run};
use crate::cli::{Ui, interrupt};
use crate::engine::{Engine, EngineError};
use crate::error::{Error, Result};
use crate::model::catalogue::Catalogue;
use crate::model::chat::ChatTemplate;
use crate::model::gguf::Gguf;
use crate::model::tokenizer::Tokenizer;
use crate::model::{self, ModelError, ModelFile, SourceOptions};
use crate::plan::{Level, Tier, TierKey};
use crate::store::cell::{Cell, Outcome, Subject};
use crate::store::clock;
use crate::store::record::{ModelFileFacts, TierFacts};

/// Levels of the default ladder: from nearly lossless to the smallest that still answers.
pub(super) const DEFAULT_LEVELS: [&str; 5] = ["q8_0", "q5_k_m", "q4_1", "q4_0", "q2_k"];

/// Positions a tier must hold: the longest task prompt with its answer, or the longest workload.
const N_CTX: u32 = 2048;

/// Sequences a tier must hold at once: a task's shared prefix, its items, their labels.
const MAX_SEQS: u32 = 64;

/// A tier to be made, by name.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    /// What [`model::resolve`] is given.
    pub(super) spec: String,
}

/// A tier whose file is on disk.
pub(super) struct Rung {
    pub(super) file: ModelFile,
    pub(super) tokenizer: Tokenizer,
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

/// Fetches or makes every file. A tier that cannot be had ends the run: a ladder with a hole would answer another question.
pub(super) fn resolve(specs: &[Spec], options: &SourceOptions, ui: &Ui) -> Result<Vec<Rung>> {
    let mut rungs: Vec<Rung> = Vec::new();
    for Spec { spec } in specs {
        if interrupt::requested() {
            break;
        }
        let file = model::resolve(spec, options, &mut ui.bar())?;
        if rungs.iter().any(|rung| rung.file.sha256 == file.sha256) {
            ui.warn(format_args!("{spec} is named twice: measured once"));
            continue;
        }
        rungs.push(Rung::new(file)?);
    }
    if rungs.is_empty() && !interrupt::requested() {
        return Err(crate::plan::PlanError::Empty("name a model with -m").into());
    }
    Ok(rungs)
}

impl Rung {
    fn new(file: ModelFile) -> Result<Self> {
        let gguf = Gguf::open(&file.path).map_err(ModelError::from)?;
        let tokenizer = Tokenizer::from_gguf(&gguf).map_err(ModelError::from)?;
        let template_sha256 = ChatTemplate::from_gguf(&gguf).ok().flatten().map(|t| t.hash().to_owned());
        Ok(Self { file, tokenizer, template_sha256 })
    }

    /// The tier's published facts; without an engine those of the plan.
    fn facts(&self, engine: Option<&dyn Engine>, args: &Args) -> TierFacts {
        let facts = engine.map(Engine::facts);
        let tier = Tier {
            model: self.file.name.clone(),
            level: self.file.level.clone(),
            requantized_from: self.file.requantized_from.clone(),
            engine: facts.map_or_else(|| format!("{:?}", args.engine.engine).to_lowercase(), |f| f.name.clone()),
            device: facts.map_or_else(|| args.engine.device.to_string(), |f| f.device.clone()),
            n_threads: facts.map_or(args.threads, |f| f.n_threads),
        };
        TierFacts {
            key: tier.key(),
            tier,
            model: ModelFileFacts {
                name: self.file.name.clone(),
                sha256: self.file.sha256.clone(),
                bytes: self.file.bytes,
                licence: self.file.licence.clone(),
                source: self.file.source.clone(),
                requantized_from: self.file.requantized_from.clone(),
                tokenizer_sha256: Some(self.tokenizer.fingerprint().to_owned()),
                template_sha256: self.template_sha256.clone(),
            },
            engine: facts.cloned(),
            idle: None,
        }
    }
}

impl Run<'_> {
    /// Loads every tier. One that fails becomes failed cells.
    pub(super) fn load(&mut self) {
        let longest = self.workloads.iter().map(|w| w.n_prompt.saturating_add(w.n_gen)).max().unwrap_or(0);
        let config = self.args.engine.config(self.args.threads, longest.max(N_CTX), MAX_SEQS);
        let mut failed = Vec::new();
        for rung in &self.rungs {
            let loaded: Result<Box<dyn Engine>, EngineError> = self.args.engine.load(&rung.file.path, &config);
            let (engine, error) = match loaded {
                Ok(engine) => (Some(engine), None),
                Err(error) => (None, Some(error.to_string())),
            };
            let facts = rung.facts(engine.as_deref(), self.args);
            for caveat in facts.engine.iter().flat_map(|engine| &engine.caveats) {
                if !self.raw.warnings.contains(caveat) {
                    self.raw.warnings.push(caveat.clone());
                }
            }
            failed.extend(error.map(|error| (facts.key.clone(), error)));
            self.raw.tiers.push(facts);
            self.engines.push(engine);
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

/// A cell that says why it has no results.
pub(super) fn failed_cell(tier: &TierKey, subject: Subject, error: &str) -> Cell {
    let error = error.to_owned();
    Cell { tier: tier.clone(), subject, finished_at: clock::now(), outcome: Outcome::Failed { error } }
}
