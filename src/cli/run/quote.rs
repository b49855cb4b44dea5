//! The quote: what the run will take, before it starts, and how right that was, after it.

use std::time::Duration;

use serde::Serialize;

use super::Args;
use super::energy::idle_time;
use super::ladder::Spec;
use super::speed::{CELL_MOST, SPEED_SHARE};
use crate::cli::{OutputFormat, Ui};
use crate::cost::Assumptions;
use crate::cost::assumptions::Hardware;
use crate::energy::estimate::LoadModel;
use crate::energy::{MeterChoice, Reading, Scope};
use crate::error::{ExitStatus, Result};
use crate::measure::host::{HostFacts, usable_cpus};
use crate::model::SourceOptions;
use crate::model::catalogue::Catalogue;
use crate::model::quantize::nominal_bits_per_weight;
use crate::plan::quote::{
    self, Earlier, Guess, Outcome as Took, Pace, Prediction, Quote, RateSource, Rates, TaskSize, TierGuess,
};
use crate::plan::{Level, TierKey, Workload};
use crate::quality::prompt::Prompter;
use crate::quality::task::{Output, Task};
use crate::report::number::significant;
use crate::store::cell::{Cell, Outcome};
use crate::store::history::History;
use crate::store::record::{RawRecord, Record, TaskFacts};

/// Bytes of text per token, roughly, for sizes that are known only as text.
const BYTES_PER_TOKEN: f64 = 4.0;
/// Loading and repacking; and making a level that may not be in the cache yet, s per tier.
const LOAD_S: f64 = 1.0;
const MAKE_S: f64 = 4.0;
/// Measuring memory bandwidth, opening meters, s.
const FIXED_S: f64 = 2.0;
/// Factor within which a load model knows a machine's power.
const MODELLED_POWER: f64 = 2.0;
/// Factor within which an earlier run's power is met again.
const STORED_POWER: f64 = 1.25;

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
    /// Hardware time and electricity, $; electricity is left out where energy is unknown.
    usd: Option<Guess>,
    usd_includes_electricity: bool,
}

#[expect(clippy::too_many_arguments, reason = "everything a run is planned from")]
pub(super) fn quote(
    specs: &[Spec],
    options: &SourceOptions,
    workloads: &[Workload],
    tasks: &[(Task, TaskFacts)],
    host: &HostFacts,
    history: &History,
    cost: &Assumptions,
    args: &Args,
) -> Result<Plan> {
    let cores = f64::from(if args.threads == 0 { usable_cpus() } else { args.threads });
    let earlier = latest_records(history, host);
    let catalogue = Catalogue::load(options)?;
    let guess = |spec: &Spec| {
        let (name, level) = spec.spec.split_once(':').unwrap_or((&spec.spec, ""));
        let stored = stored(&earlier, name, level, workloads);
        let rates = stored.as_ref().map_or_else(|| roofline(&catalogue, &spec.spec, cores), |(_, _, rates)| *rates);
        let of_task = |(_, facts): &(Task, TaskFacts)| {
            let (record, tier, _) = stored.as_ref()?;
            stored_task(record, tier, facts)
        };
        TierGuess {
            rates,
            earlier: tasks.iter().map(of_task).collect(),
            power: power(stored.as_ref().map(|(record, tier, _)| (*record, *tier)), host, cores, args),
            load_s: LOAD_S + if stored.is_some() { 0.0 } else { MAKE_S },
        }
    };
    let tiers: Vec<TierGuess> = specs.iter().map(guess).collect();
    let sizes = tasks.iter().map(|(task, facts)| task_size(task, facts)).collect::<Result<Vec<_>>>()?;
    let cells = specs.len() * workloads.len();
    let cell_s = (args.budget * SPEED_SHARE / cells.max(1) as f64).min(CELL_MOST.as_secs_f64());
    let metered = earlier.first().is_some_and(|record| record.raw.idle.ready.is_some()) || args.meter.is_external();
    let (window_s, idle_s) =
        if metered { (10f64.min(cell_s), 3.0 * idle_time(args)?.as_secs_f64()) } else { (0.0, 0.0) };
    let quote = quote::quote(&tiers, workloads, &sizes, Pace { window_s, cell_s }, FIXED_S + idle_s, args.budget);
    let seconds = Guess { value: quote.seconds, lo: quote.seconds_lo, hi: quote.seconds_hi };
    let usd = price(cost, seconds, quote.joules);
    Ok(Plan {
        tiers: specs.iter().map(|spec| spec.spec.clone()).collect(),
        workloads: workloads.iter().map(Workload::to_string).collect(),
        tasks: tasks.iter().map(|(task, facts)| format!("{} at ≥ {}", task.name, facts.rule.bar.get())).collect(),
        cells: specs.len() * (workloads.len() + tasks.len()),
        budget_s: args.budget,
        usd_includes_electricity: quote.joules.is_some() || matches!(cost.hardware, Hardware::Rented { .. }),
        quote,
        usd,
    })
}

/// Time at the price of a busy hour, and energy at the tariff; electricity is left out where it is unknown or in the rent.
fn price(cost: &Assumptions, seconds: Guess, joules: Option<Guess>) -> Option<Guess> {
    let hour = cost.hardware_per_busy_hour()?.0 + cost.idle_per_busy_hour().map_or(0.0, |idle| idle.0);
    let rented = matches!(cost.hardware, Hardware::Rented { .. });
    let per_joule = if rented { 0.0 } else { cost.tariff.value.0 * cost.pue.value / 3.6e6 };
    Some(seconds.with(joules.unwrap_or_default(), |s, j| s / 3600.0 * hour + j * per_joule))
}

/// Records of this machine, newest first; unreadable ones are no reason not to quote.
fn latest_records(history: &History, host: &HostFacts) -> Vec<Record> {
    let runs = history.list().unwrap_or_default();
    let records = runs.iter().filter(|run| run.has_record).take(10).filter_map(|run| history.record(&run.id).ok());
    records.filter(|record| record.raw.host.cpu == host.cpu).collect()
}

/// The newest record that has this tier, its key there, and its rates. A workload that is not wanted needs none.
fn stored<'a>(
    records: &'a [Record],
    name: &str,
    level: &str,
    workloads: &[Workload],
) -> Option<(&'a Record, &'a TierKey, Rates)> {
    records.iter().find_map(|record| {
        let matches = |tier: &&crate::store::record::TierFacts| {
            tier.tier.model == name && tier.tier.level.as_deref().unwrap_or("") == level
        };
        let tier = record.raw.tiers.iter().find(matches)?;
        let numbers = record.derived.tier_of(&tier.key)?;
        let rate = |workload: Option<Workload>| record.derived.speed_of(&tier.key, &workload?)?.median;
        let (prefill, decode) = (rate(numbers.prefill), rate(numbers.decode));
        let wanted = |generates: bool| workloads.iter().any(|w| (w.n_gen > 0) == generates);
        let rates = Rates {
            prefill: if wanted(false) { prefill? } else { prefill.or(decode)? },
            decode: if wanted(true) { decode? } else { decode.or(prefill)? },
            source: RateSource::History,
        };
        Some((record, &tier.key, rates))
    })
}

/// What the tier took on the same task at the same bar.
fn stored_task(record: &Record, tier: &TierKey, facts: &TaskFacts) -> Option<Earlier> {
    let same = record.raw.tasks.iter().find(|task| task.sha256 == facts.sha256 && task.rule.bar == facts.rule.bar)?;
    let numbers = record.derived.task_of(tier, &same.name)?;
    Some(Earlier { items: numbers.items as f64, seconds_per_item: numbers.seconds_per_item? })
}

fn roofline(catalogue: &Catalogue, spec: &str, cores: f64) -> Rates {
    let (name, level) = spec.split_once(':').unwrap_or((spec, ""));
    let manifest = catalogue.get(name).ok();
    let on_disk = std::fs::metadata(spec).ok().map(|meta| meta.len() as f64);
    let params = manifest.map_or(on_disk.unwrap_or(1e9), |m| m.params as f64);
    let level = level.parse::<Level>().ok();
    let offered = manifest.and_then(|m| m.files.iter().find(|file| level.is_none_or(|level| file.level == level)));
    let bits = level.and_then(nominal_bits_per_weight).unwrap_or(8.0);
    let bytes = on_disk.or_else(|| offered.and_then(|file| file.bytes).map(|bytes| bytes as f64));
    Rates::roofline(params, bytes.unwrap_or(params * bits / 8.0), cores)
}

/// Power while a tier runs: as its windows showed it, else by the load model. `None` where no energy is wanted.
fn power(stored: Option<(&Record, &TierKey)>, host: &HostFacts, cores: f64, args: &Args) -> Option<Guess> {
    if args.meter.meter == MeterChoice::None {
        return None;
    }
    let external = args.meter.is_external();
    let seen = stored.and_then(|(record, tier)| {
        let cells = record.raw.cells.iter().filter(|cell| cell.tier == *tier);
        // A wall meter and a processor's counter see different things.
        mean_power(cells.flat_map(readings).filter(|reading| (reading.scope == Scope::Wall) == external))
    });
    if external {
        return seen;
    }
    seen.or_else(|| {
        let load = cores / f64::from(host.logical_cpus.unwrap_or(host.usable_cpus).max(1));
        let watts = LoadModel::choose(host, args.meter.tdp).watts(load);
        Some(Guess::within(watts, MODELLED_POWER))
    })
}

/// Mean power of windows, W, by their time. Estimates keep their range.
fn mean_power<'a>(windows: impl Iterator<Item = &'a Reading>) -> Option<Guess> {
    let (mut lo, mut hi, mut seconds, mut measured) = (0.0, 0.0, 0.0, true);
    for window in windows {
        let Some((a, b)) = window.range.or_else(|| window.joules.map(|j| (j.0, j.0))) else { continue };
        (lo, hi, seconds, measured) = (lo + a, hi + b, seconds + window.window_s, measured && window.range.is_none());
    }
    let (lo, hi) = (seconds > 0.0).then(|| (lo / seconds, hi / seconds))?;
    Some(if measured { Guess::within(lo, STORED_POWER) } else { Guess { value: (lo * hi).sqrt(), lo, hi } })
}

/// Metered windows of a cell.
fn readings(cell: &Cell) -> Vec<&Reading> {
    match &cell.outcome {
        Outcome::Speed(speed) => speed.windows.iter().map(|window| &window.reading).collect(),
        Outcome::Task(task) => task.energy.iter().collect(),
        Outcome::Failed { .. } => Vec::new(),
    }
}

/// What the run took: its time, its tokens, and its energy at the mean power of its windows.
pub(super) fn took(raw: &RawRecord, elapsed: Duration) -> Took {
    let seconds = elapsed.as_secs_f64();
    let tokens = |cell: &Cell| match &cell.outcome {
        Outcome::Speed(speed) => {
            let warmup = speed.warmup.len() as u64 * speed.workload.timed_tokens();
            warmup + speed.samples.iter().map(|sample| sample.tokens).sum::<u64>()
        }
        Outcome::Task(task) => {
            let processed = |item: &crate::quality::ItemResult| {
                u64::from(item.n_prompt_tokens.saturating_sub(item.n_cached_tokens)) + u64::from(item.n_gen_tokens)
            };
            task.items.iter().map(processed).sum()
        }
        Outcome::Failed { .. } => 0,
    };
    let power = mean_power(raw.cells.iter().flat_map(readings));
    let joules = power.map(|power| power.value * seconds);
    let usd = price(&raw.cost, Guess::exactly(seconds), joules.map(Guess::exactly)).map(|usd| usd.value);
    Took { seconds, tokens: raw.cells.iter().map(tokens).sum::<u64>() as f64, joules, usd }
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

/// `2 min 10 s`.
fn about(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    if whole < 90 { format!("{whole} s") } else { format!("{} min {:02} s", whole / 60, whole % 60) }
}

/// `1.9 kJ (0.95 – 3.8)`, in J or kJ.
fn energy(joules: &Guess) -> String {
    let (factor, unit) = if joules.value >= 1000.0 { (1e-3, "kJ") } else { (1.0, "J") };
    range(joules, factor, unit)
}

fn range(guess: &Guess, factor: f64, unit: &str) -> String {
    let show = |x: f64| significant(x * factor, 2);
    format!("{} {unit} ({} – {})", show(guess.value), show(guess.lo), show(guess.hi))
}

/// `$0.0012 (0.0008 – 0.002)`.
fn dollars(usd: &Guess) -> String {
    let show = |x: f64| significant(x, 2);
    format!("${} ({} – {})", show(usd.value), show(usd.lo), show(usd.hi))
}

impl Plan {
    /// One line for the start of a run.
    pub(super) fn sentence(&self) -> String {
        let from = match self.quote.source {
            RateSource::History => "from earlier runs on this machine",
            RateSource::Roofline => "from the sizes of the models; the first run on a machine is a rough guess",
        };
        let joules = self.quote.joules.as_ref().map_or("energy unknown".to_owned(), energy);
        let without = if self.usd_includes_electricity { "" } else { " without electricity" };
        let usd = self.usd.as_ref().map_or("cost unknown".to_owned(), dollars);
        format!(
            "plan: {} tiers × ({} workloads + {} tasks) = {} cells; about {} (between {} and {}, {from}), {:.0} thousand \
             tokens, {joules}, {usd}{without}; no network but the models' sources",
            self.tiers.len(),
            self.workloads.len(),
            self.tasks.len(),
            self.cells,
            about(self.quote.seconds),
            about(self.quote.seconds_lo),
            about(self.quote.seconds_hi),
            self.quote.tokens / 1e3,
        )
    }

    /// The quote as the record keeps it.
    pub(super) fn prediction(&self) -> Prediction {
        let Quote { seconds, seconds_lo, seconds_hi, tokens, joules, source, .. } = self.quote;
        let seconds = Guess { value: seconds, lo: seconds_lo, hi: seconds_hi };
        Prediction { seconds, tokens, joules, usd: self.usd, source }
    }

    /// How right it was.
    pub(super) fn outcome(&self, took: &Took) -> String {
        let said = self.prediction();
        let verdict = |range: &Guess, got: f64| if range.holds(got) { "within" } else { "outside" };
        let mut parts = vec![format!(
            "took {}, {} the {} to {} predicted",
            about(took.seconds),
            verdict(&said.seconds, took.seconds),
            about(said.seconds.lo),
            about(said.seconds.hi),
        )];
        parts.push(format!("{:.0} thousand tokens ({:.0} predicted)", took.tokens / 1e3, said.tokens / 1e3));
        if let (Some(range), Some(got)) = (&said.joules, took.joules) {
            parts.push(format!("{} J, {} the {}", significant(got, 3), verdict(range, got), energy(range)));
        }
        if let (Some(guess), Some(got)) = (&said.usd, took.usd) {
            parts.push(format!("${}, {} the {}", significant(got, 2), verdict(guess, got), dollars(guess)));
        }
        parts.join("; ")
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
    Ok(ExitStatus::Success)
}
