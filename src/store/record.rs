//! The record: what is published, and the only thing `report`, `compare`, `export` and `verify` read.
//!
//! A record has two halves. [`RawRecord`] holds what was observed or assumed: host, build, tiers, tasks, plan with its
//! seeds, assumptions, and every cell with its raw samples and items. [`Derived`] holds every number computed from the
//! raw half by [`Record::derive`], the one function the run pipeline and `verify` share. Nothing that is printed comes
//! from anywhere else.
//!
//! Samples, readings, items and host facts are stored as the rooms that make them define them. A change in the meaning
//! of any published field, theirs included, bumps [`SCHEMA_VERSION`].

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::canonical::Dialect;
use super::cell::Cell;
use super::derived::Derived;
use super::import::Imported;
use super::prompts::TaskPrompts;
use crate::cost::Assumptions;
use crate::decide::Rule;
use crate::energy::IdleBaselines;
use crate::engine::EngineFacts;
use crate::measure::bandwidth::Bandwidth;
use crate::measure::host::HostFacts;
use crate::plan::quote::{self, Prediction};
use crate::plan::{Tier, TierKey, Workload};
use crate::quality::Baseline;
use crate::quality::task::{BarMetric, Decode, Kind};

/// Value of the field `schema` of every record.
pub const SCHEMA: &str = "tierbench.record";

/// Version of the schema this build writes. It reads this one and every older one.
///
/// | version | what it added |
/// | --- | --- |
/// | 1 | raw samples, readings, items, derived numbers, content hash |
/// | 2 | `raw.prompts`: what the graded items asked; `raw.imported`: the other tool a record comes from |
/// | 3 | the hash is over RFC 8785's canonical form; sentences are no longer stored beside the numbers they are about |
pub const SCHEMA_VERSION: u32 = 3;

/// JSON Schema of records of [`SCHEMA_VERSION`].
pub const JSON_SCHEMA: &str = include_str!("../../schema/record.v3.schema.json");

/// A published result: raw observations, the numbers derived from them, and a hash over both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The schema's version.
    pub schema_version: u32,
    /// What was observed and assumed.
    pub raw: RawRecord,
    /// What follows from it.
    pub derived: Derived,
    /// SHA-256 (hex) of the canonical JSON of the record without this field; see [`super::canonical`].
    pub content_sha256: String,
}

impl Record {
    /// Derives every number and seals the record with its content hash.
    ///
    /// # Errors
    /// [`StoreError::BadRecord`] if the raw half contradicts itself, e.g. a cell of a tier that is not listed.
    pub fn from_raw(raw: RawRecord) -> Result<Self, StoreError> {
        super::validate::validate(&raw)?;
        let derived = Self::derive(&raw);
        let mut record = Self {
            schema: SCHEMA.to_owned(),
            schema_version: SCHEMA_VERSION,
            raw,
            derived,
            content_sha256: String::new(),
        };
        record.content_sha256 = super::canonical::hash_of(&record, Dialect::of(SCHEMA_VERSION))?;
        Ok(record)
    }

    /// Every derived number, from the raw half alone: no clock, file, environment or unseeded randomness.
    #[must_use]
    pub fn derive(raw: &RawRecord) -> Derived {
        super::derive::derive(raw)
    }

    /// The facts of a tier.
    #[must_use]
    pub fn tier(&self, key: &TierKey) -> Option<&TierFacts> {
        self.raw.tiers.iter().find(|tier| tier.key == *key)
    }
}

/// What was observed and assumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawRecord {
    /// When, by which command.
    pub run: RunFacts,
    /// The machine. Nothing in it identifies a person or a network: no host name, user or address.
    pub host: HostFacts,
    /// Memory bandwidth as measured by this run: the roof of decoding.
    pub bandwidth: Vec<Bandwidth>,
    /// Power while idle.
    pub idle: IdleBaselines,
    /// The program.
    pub build: BuildFacts,
    /// What was to be done, with every seed.
    pub plan: PlanFacts,
    /// The tasks' identity, bars and error bounds.
    pub tasks: Vec<TaskFacts>,
    /// The tiers, in the order of the plan.
    pub tiers: Vec<TierFacts>,
    /// Prices and lives every cost figure rests on.
    pub cost: Assumptions,
    /// The cells that ran, in the order in which they finished; failed ones included.
    pub cells: Vec<Cell>,
    /// What the graded items asked, task by task: for readers, no number rests on it. Empty if the user kept it back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<TaskPrompts>,
    /// The other tool these samples come from; `None` if we measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
    /// What the user was warned of, in order.
    pub warnings: Vec<String>,
}

/// When a run happened and what was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    /// Unique id, e.g. `20260821-140500-3fa9c1`.
    pub id: String,
    /// UTC, RFC 3339.
    pub started_at: String,
    /// UTC, RFC 3339; `None` while the run goes on or if it was killed.
    pub finished_at: Option<String>,
    /// The command line without the program's path.
    pub command: String,
    /// Whether the user or the budget ended it before the plan was done.
    pub interrupted: bool,
}

/// The program that measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildFacts {
    /// Crate version.
    pub version: String,
    /// Git revision, if the build knew it; ends in `-dirty` if a source differed from it.
    pub revision: Option<String>,
    /// Cargo features that change results.
    pub features: Vec<String>,
    /// Compiler version, if the build knew it.
    pub rustc: Option<String>,
    /// `release` or `debug`. Numbers of a debug build are not worth publishing.
    pub profile: String,
    /// Target triple's architecture and system.
    pub target: String,
}

impl BuildFacts {
    /// Facts of the running program.
    #[must_use]
    pub fn current() -> Self {
        let features = [
            ("cuda", cfg!(feature = "cuda")),
            ("metal", cfg!(feature = "metal")),
            ("accelerate", cfg!(feature = "accelerate")),
        ];
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: option_env!("TIERBENCH_REVISION").filter(|r| !r.is_empty()).map(str::to_owned),
            features: features.iter().filter(|(_, on)| *on).map(|(name, _)| (*name).to_owned()).collect(),
            rustc: option_env!("TIERBENCH_RUSTC").filter(|r| !r.is_empty()).map(str::to_owned),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        }
    }
}

/// What was to be done, and every seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanFacts {
    /// Speed tests of every tier.
    pub workloads: Vec<Workload>,
    /// Seed of the blocks' order.
    pub interleave_seed: u64,
    /// Seed of the bootstrap ([`crate::stats::bootstrap`] fixes generator and number of resamples).
    pub bootstrap_seed: u64,
    /// Coverage of every interval, e.g. 0.95.
    pub level: f64,
    /// Time the run may take, s; `None` if unlimited.
    pub budget_s: Option<f64>,
    /// What the run was expected to take, said before it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<Prediction>,
    /// What it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<quote::Took>,
}

impl Default for PlanFacts {
    fn default() -> Self {
        Self {
            workloads: Vec::new(),
            interleave_seed: 0,
            bootstrap_seed: 0,
            level: 0.95,
            budget_s: None,
            quote: None,
            took: None,
        }
    }
}

/// A task as it was used: identity, bar, and the error bounds of its verdicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskFacts {
    /// Name.
    pub name: String,
    /// `metadata.version`.
    pub version: Option<String>,
    /// What kind of work it is.
    pub kind: Kind,
    /// SHA-256 of the task's definition and items: what makes two results comparable.
    pub sha256: String,
    /// Items in the suite.
    pub suite_items: u64,
    /// How the answer is got.
    pub decode: Decode,
    /// What the bar is about.
    pub metric: BarMetric,
    /// The bar, its error bounds and the order of items: fixed before the first item.
    pub rule: Rule,
    /// Best trivial answer.
    pub baseline: Option<Baseline>,
}

/// A tier with everything that identifies it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TierFacts {
    /// Its name in this record.
    pub key: TierKey,
    /// Model, level, engine, device, threads.
    pub tier: Tier,
    /// The file.
    pub model: ModelFileFacts,
    /// The engine as it ran; `None` if it never loaded.
    pub engine: Option<EngineFacts>,
    /// Power with this tier loaded and idle; subtracted for its marginal energy. `None` uses the run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<IdleBaselines>,
    /// Peak resident memory of a process with this tier alone, bytes: what it added while it loaded and computed every
    /// workload once, on top of the process before any tier. `None` where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
}

/// The model file: what makes a tier reproducible.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFileFacts {
    /// Catalogue name or file stem.
    pub name: String,
    /// SHA-256 of the file; `None` if it could not be had.
    pub sha256: Option<String>,
    /// Size, bytes.
    pub bytes: Option<u64>,
    /// SPDX licence expression, if known.
    pub licence: Option<String>,
    /// Which source answered.
    pub source: Option<String>,
    /// Level the weights were requantized from: printed beside every number of the tier.
    pub requantized_from: Option<String>,
    /// Hash of the tokenizer.
    pub tokenizer_sha256: Option<String>,
    /// Hash of the chat template.
    pub template_sha256: Option<String>,
}
