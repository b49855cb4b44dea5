//! The quote: what the run will take, before it starts, and how right that was, after it.

use std::time::Duration;

use serde::Serialize;

use super::Args;
use super::ladder::Spec;
use crate::cli::{OutputFormat, Ui};
use crate::error::{ExitStatus, Result};
use crate::measure::host::{HostFacts, usable_cpus};
use crate::model::SourceOptions;
use crate::model::catalogue::Catalogue;
use crate::plan::quote::{self, Quote, RateSource, Rates, TaskSize};
use crate::plan::{Level, Workload};
use crate::quality::prompt::Prompter;
use crate::quality::task::{Output, Task};
use crate::store::history::History;
use crate::store::record::{Record, TaskFacts};

/// Bytes of text per token, roughly, for sizes that are known only as text.
const BYTES_PER_TOKEN: f64 = 4.0;
/// Loading, repacking, and making a level that is not in the cache, s per tier.
const FIXED_S: f64 = 4.0;

/// A plan with its prediction.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    tiers: Vec<String>,
    workloads: Vec<String>,
    tasks: Vec<String>,
    cells: usize,
    budget_s: f64,
    #[serde(flatten)]
    quote: Quote,
    /// `None` until a meter and a price are known: nothing is predicted from nothing.
    usd: Option<f64>,
    joules: Option<f64>,
}

pub(super) fn quote(
    specs: &[Spec],
    options: &SourceOptions,
    workloads: &[Workload],
    tasks: &[(Task, TaskFacts)],
    host: &HostFacts,
    history: &History,
    args: &Args,
) -> Result<Plan> {
    let cores = f64::from(if args.threads == 0 { usable_cpus() } else { args.threads });
    let earlier = latest_records(history, host);
    let catalogue = Catalogue::load(options)?;
    let rates: Vec<Rates> = specs
        .iter()
        .map(|spec| {
            let (name, level) = spec.spec.split_once(':').unwrap_or((&spec.spec, ""));
            stored_rates(&earlier, name, level).unwrap_or_else(|| {
                let manifest = catalogue.get(name).ok();
                let on_disk = std::fs::metadata(&spec.spec).ok().map(|meta| meta.len() as f64);
                let params = manifest.map_or(on_disk.unwrap_or(1e9), |m| m.params as f64);
                let bits = level.parse::<Level>().map_or(8.0, bits_per_weight);
                Rates::roofline(params, on_disk.unwrap_or(params * bits / 8.0), cores)
            })
        })
        .collect();
    let sizes = tasks.iter().map(|(task, facts)| task_size(task, facts)).collect::<Result<Vec<_>>>()?;
    let fixed = FIXED_S * specs.len() as f64;
    Ok(Plan {
        tiers: specs.iter().map(|spec| spec.spec.clone()).collect(),
        workloads: workloads.iter().map(Workload::to_string).collect(),
        tasks: tasks.iter().map(|(task, facts)| format!("{} at ≥ {}", task.name, facts.rule.bar.get())).collect(),
        cells: specs.len() * (workloads.len() + tasks.len()),
        budget_s: args.budget,
        quote: quote::quote(&rates, workloads, &sizes, fixed, args.budget),
        usd: None,
        joules: None,
    })
}

/// Records of this machine, newest first; unreadable ones are no reason not to quote.
fn latest_records(history: &History, host: &HostFacts) -> Vec<Record> {
    let runs = history.list().unwrap_or_default();
    let records = runs.iter().filter(|run| run.has_record).take(10).filter_map(|run| history.record(&run.id).ok());
    records.filter(|record| record.raw.host.cpu == host.cpu).collect()
}

fn stored_rates(records: &[Record], name: &str, level: &str) -> Option<Rates> {
    records.iter().find_map(|record| {
        let matches = |tier: &&crate::store::record::TierFacts| {
            tier.tier.model == name && tier.tier.level.as_deref().unwrap_or("") == level
        };
        let tier = record.raw.tiers.iter().find(matches)?;
        let numbers = record.derived.tier_of(&tier.key)?;
        let rate = |workload: Option<Workload>| record.derived.speed_of(&tier.key, &workload?)?.median;
        Some(Rates { prefill: rate(numbers.prefill)?, decode: rate(numbers.decode)?, source: RateSource::History })
    })
}

/// Bits a level takes per weight, as its name says and its scales add.
fn bits_per_weight(level: Level) -> f64 {
    match level {
        Level::F32 => 32.0,
        Level::F16 | Level::Bf16 => 16.0,
        Level::Q8_0 => 8.5,
        Level::Q6K => 6.6,
        Level::Q5KM | Level::Q5KS | Level::Q5_0 | Level::Q5_1 => 5.7,
        Level::Q4KM | Level::Q4KS | Level::Q4_0 | Level::Q4_1 => 4.8,
        Level::Q3KL | Level::Q3KM | Level::Q3KS => 3.9,
        Level::Q2K => 3.2,
    }
}

fn task_size(task: &Task, facts: &TaskFacts) -> Result<TaskSize> {
    let prompter = Prompter::new(task)?;
    let prefix = prompter.prefix().len() as f64;
    let mut bytes = 0.0;
    for item in &task.items {
        bytes += prompter.context(item)?.len() as f64 - prefix;
    }
    let (labels, generated) = match &task.output {
        Output::Choice { .. } => {
            (task.items.first().map_or(Ok(0), |item| prompter.choices(item).map(|c| c.len()))?, 0.0)
        }
        Output::Generate { generation, .. } => (0, f64::from(generation.max_gen_toks) / 2.0),
    };
    Ok(TaskSize {
        items: facts.rule.n_max.unwrap_or(task.items.len() as u64),
        tokens_per_item: bytes / BYTES_PER_TOKEN / task.items.len().max(1) as f64 + 2.0 * labels as f64,
        generated_per_item: generated,
        prefix_tokens: prefix / BYTES_PER_TOKEN,
    })
}

/// `about 2 min 10 s`.
fn about(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    if whole < 90 { format!("{whole} s") } else { format!("{} min {:02} s", whole / 60, whole % 60) }
}

impl Plan {
    /// One line for the start of a run.
    pub(super) fn sentence(&self) -> String {
        let from = match self.quote.source {
            RateSource::History => "from earlier runs on this machine",
            RateSource::Roofline => "from the sizes of the models; the first run on a machine is a rough guess",
        };
        format!(
            "plan: {} tiers × ({} workloads + {} tasks) = {} cells; about {} (between {} and {}, {from}); no network but \
             the models' sources, no cost but this machine's time and power",
            self.tiers.len(),
            self.workloads.len(),
            self.tasks.len(),
            self.cells,
            about(self.quote.seconds),
            about(self.quote.seconds_lo),
            about(self.quote.seconds_hi),
        )
    }

    /// How right it was.
    pub(super) fn outcome(&self, took: Duration) -> String {
        format!("took {} (predicted {})", about(took.as_secs_f64()), about(self.quote.seconds))
    }

    /// What the reader of the record should know of the plan.
    pub(super) fn warnings(&self) -> Vec<String> {
        if self.quote.capped {
            vec![format!(
                "the plan may take longer than its budget of {}: what is not judged stays undecided",
                about(self.budget_s)
            )]
        } else {
            Vec::new()
        }
    }
}

pub(super) fn print(plan: &Plan, output: OutputFormat, ui: &Ui) -> Result<ExitStatus> {
    if output == OutputFormat::Json {
        ui.json(plan)?;
        return Ok(ExitStatus::Success);
    }
    ui.line(plan.sentence())?;
    for (what, values) in [("tiers", &plan.tiers), ("workloads", &plan.workloads), ("tasks", &plan.tasks)] {
        ui.line(format_args!("  {what}: {}", values.join(", ")))?;
    }
    ui.line(format_args!("  tokens: about {:.0} thousand", plan.quote.tokens / 1e3))?;
    Ok(ExitStatus::Success)
}
