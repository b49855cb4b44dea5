//! The quote: what a run, a bench or an evaluation will take, before it starts, and how right that was, after it.
//!
//! Numbers come from earlier runs of the same tiers on this machine ([`stored`]), else from the roofline and the load model.

mod stored;
mod took;
mod wanted;

use serde::Serialize;

use self::stored::{Stored, StoredTier};
pub(super) use self::took::Tally;
use self::wanted::Wanted;
use super::engine_args::EngineArgs;
use super::meter_args::MeterArgs;
use super::{OutputFormat, Ui, interrupt};
use crate::cost::Assumptions;
use crate::cost::assumptions::Hardware;
use crate::energy::MeterChoice;
use crate::energy::estimate::LoadModel;
use crate::error::{ExitStatus, Result};
use crate::measure::host::HostFacts;
use crate::model::SourceOptions;
use crate::model::catalogue::Catalogue;
use crate::plan::Workload;
use crate::plan::quote::{self, Guess, Pace, Prediction, Quote, RateSource, TaskSize, TierGuess, Took};
use crate::quality::prompt::Prompter;
use crate::quality::task::{Output, Task};
use crate::report::number::significant;
use crate::store::history::History;
use crate::store::record::TaskFacts;

/// Bytes of text per token, roughly, for sizes that are known only as text.
const BYTES_PER_TOKEN: f64 = 4.0;
/// Items whose texts stand for all of a task.
const SAMPLED_ITEMS: usize = 256;
/// Opening, loading and repacking a file, s and bytes / s; and requantizing one that may not be in the cache yet, s.
const LOAD_S: f64 = 0.5;
const LOAD_RATE: f64 = 5e8;
const MAKE_S: f64 = 4.0;
/// Windows of a meter whose tick is not known before it is opened, s.
const WINDOW_S: f64 = 10.0;
/// Factor within which a load model knows a machine's power.
const MODELLED_POWER: f64 = 2.0;
/// Predicted time below which nobody waits long enough to want a prediction, s.
const WORTH_SAYING_S: f64 = 5.0;

/// What a command is about to do: all that its quote needs to know.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    /// Tiers as named, with their threads (0 for all cores).
    pub(super) tiers: Vec<(String, u32)>,
    /// Speed tests of every tier.
    pub(super) workloads: &'a [Workload],
    /// Tasks with their rules.
    pub(super) tasks: Vec<(&'a Task, &'a TaskFacts)>,
    /// Most items of a task per tier.
    pub(super) limit: Option<usize>,
    /// Whether all of those are shown, decided or not.
    pub(super) in_full: bool,
    /// Pace of the speed tests.
    pub(super) pace: Pace,
    /// Whether `pace` has the window of an open meter, 0 without one; else it is guessed.
    pub(super) meter_is_open: bool,
    /// Whether files that are not at hand are made while the time runs.
    pub(super) makes_files: bool,
    /// Whether one tier may be the only one.
    pub(super) may_end_early: bool,
    /// Idle windows in all, s, measured if there is a meter.
    pub(super) idle_s: f64,
    /// What no tier is the cause of, s: bandwidth, pages.
    pub(super) fixed_s: f64,
    /// Time after which the command ends itself, s.
    pub(super) budget_s: Option<f64>,
    /// How models are run.
    pub(super) engine: &'a EngineArgs,
    /// How energy is measured.
    pub(super) meter: &'a MeterArgs,
    /// What time and energy cost; without it cost is unknown.
    pub(super) cost: Option<&'a Assumptions>,
}

/// A plan with its prediction.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    tiers: Vec<String>,
    workloads: Vec<String>,
    tasks: Vec<String>,
    cells: usize,
    budget_s: Option<f64>,
    #[serde(flatten)]
    quote: Quote,
    /// Hardware time and electricity, $; electricity is left out where energy is unknown.
    usd: Option<Guess>,
    usd_includes_electricity: bool,
}

/// Predicts what is asked; `history` is of no importance to whether it can.
///
/// # Errors
/// A tier that nobody has; a task whose items cannot be shown.
pub(super) fn quote(
    ask: &Ask<'_>,
    options: &SourceOptions,
    host: &HostFacts,
    history: Option<&History>,
) -> Result<Plan> {
    let catalogue = Catalogue::load(options)?;
    let wanted = ask.tiers.iter().map(|(spec, threads)| Wanted::new(spec, *threads, ask.engine, host, &catalogue));
    let wanted = wanted.collect::<Result<Vec<_>>>()?;
    let earlier = history.map(|history| Stored::load(history, host)).unwrap_or_default();
    let guess = |tier: &Wanted| {
        let stored = earlier.tier(tier);
        TierGuess {
            rates: stored.rates(tier.roofline()),
            tests: ask.workloads.iter().map(|&workload| stored.test(workload)).collect(),
            tasks: ask.tasks.iter().map(|(_, facts)| stored.task(facts)).collect(),
            power: power(&stored, tier, host, ask.meter),
            load_s: LOAD_S
                + tier.bytes / LOAD_RATE
                + if ask.makes_files && tier.may_be_made && !stored.is_known() { MAKE_S } else { 0.0 },
        }
    };
    let guesses: Vec<TierGuess> = wanted.iter().map(guess).collect();
    let sizes = ask.tasks.iter().map(|(task, _)| task_size(task, ask)).collect::<Result<Vec<_>>>()?;
    let metered = match ask.meter.meter {
        _ if ask.meter_is_open => ask.pace.window_s > 0.0,
        MeterChoice::None => false,
        MeterChoice::Estimate => ask.meter.is_external(),
        _ => ask.meter.is_external() || earlier.is_metered(),
    };
    let window_s = if metered && !ask.meter_is_open { WINDOW_S.min(ask.pace.cell_s) } else { ask.pace.window_s };
    let pace = Pace { window_s, ..ask.pace };
    let fixed_s = ask.fixed_s + if metered { ask.idle_s } else { 0.0 };
    let of = |tiers: &[TierGuess]| quote::quote(tiers, ask.workloads, &sizes, pace, fixed_s, ask.budget_s);
    let mut quote = of(&guesses);
    if ask.may_end_early {
        let alone = guesses.iter().map(|tier| of(std::slice::from_ref(tier)));
        if let Some(least) = alone.min_by(|a, b| a.seconds_lo.total_cmp(&b.seconds_lo)) {
            quote.seconds_lo = least.seconds_lo;
            quote.joules = quote.joules.zip(least.joules).map(|(all, least)| Guess { lo: least.lo, ..all });
        }
    }
    let seconds = Guess { value: quote.seconds, lo: quote.seconds_lo, hi: quote.seconds_hi };
    let rented = ask.cost.is_some_and(|cost| matches!(cost.hardware, Hardware::Rented { .. }));
    Ok(Plan {
        tiers: wanted.iter().map(|tier| tier.spec.clone()).collect(),
        workloads: ask.workloads.iter().map(Workload::to_string).collect(),
        tasks: ask.tasks.iter().map(|(task, facts)| format!("{} at ≥ {}", task.name, facts.rule.bar.get())).collect(),
        cells: wanted.len() * (ask.workloads.len() + ask.tasks.len()),
        budget_s: ask.budget_s,
        usd_includes_electricity: quote.joules.is_some() || rented,
        usd: ask.cost.and_then(|cost| price(cost, seconds, quote.joules)),
        quote,
    })
}

/// Time at the price of a busy hour, and energy at the tariff; electricity is left out where it is unknown or in the rent.
fn price(cost: &Assumptions, seconds: Guess, joules: Option<Guess>) -> Option<Guess> {
    let hour = cost.hardware_per_busy_hour()?.0 + cost.idle_per_busy_hour().map_or(0.0, |idle| idle.0);
    let rented = matches!(cost.hardware, Hardware::Rented { .. });
    let per_joule = if rented { 0.0 } else { cost.tariff.value.0 * cost.pue.value / 3.6e6 };
    Some(seconds.with(joules.unwrap_or_default(), |s, j| s / 3600.0 * hour + j * per_joule))
}

/// Power while a tier runs: as its windows showed it, else by the load model. `None` where no energy is wanted.
fn power(stored: &StoredTier<'_>, tier: &Wanted, host: &HostFacts, meter: &MeterArgs) -> Option<Guess> {
    if meter.meter == MeterChoice::None {
        return None;
    }
    let seen = stored.power(meter.is_external());
    if meter.is_external() {
        return seen;
    }
    seen.or_else(|| {
        let load = f64::from(tier.threads) / f64::from(host.logical_cpus.unwrap_or(host.usable_cpus).max(1));
        let watts = LoadModel::choose(host, meter.tdp).watts(load.min(1.0));
        Some(Guess::within(watts, MODELLED_POWER))
    })
}

fn task_size(task: &Task, ask: &Ask<'_>) -> Result<TaskSize> {
    let prompter = Prompter::new(task)?;
    let prefix = prompter.prefix().len() as f64;
    let sample = &task.items[..task.items.len().min(SAMPLED_ITEMS)];
    let mut bytes = 0.0;
    for item in sample {
        bytes += prompter.context(item)?.len() as f64 - prefix;
    }
    let (labels, generated) = match &task.output {
        Output::Choice { .. } => (sample.first().map_or(Ok(0), |item| prompter.choices(item).map(|c| c.len()))?, 0.0),
        Output::Generate { generation, .. } => (0, f64::from(generation.max_gen_toks) / 2.0),
    };
    Ok(TaskSize {
        items: task.items.len().min(ask.limit.unwrap_or(usize::MAX)) as u64,
        in_full: ask.in_full,
        tokens_per_item: bytes / BYTES_PER_TOKEN / sample.len().max(1) as f64 + 2.0 * labels as f64,
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

/// `2 workloads + 1 task`; what there is none of is left out.
fn subjects(workloads: usize, tasks: usize) -> String {
    let counted = [(workloads, "workload"), (tasks, "task")].into_iter().filter(|(n, _)| *n > 0);
    let counted: Vec<_> = counted.map(|(n, what)| format!("{n} {what}{}", if n == 1 { "" } else { "s" })).collect();
    if counted.len() == 1 { counted.concat() } else { format!("({})", counted.join(" + ")) }
}

impl Plan {
    /// Says on stderr what is to come, if it takes long enough to be of interest.
    pub(super) fn announce(&self, ui: &Ui) {
        if self.is_worth_saying() {
            ui.note(self.sentence());
        }
        if self.quote.capped {
            ui.warn(format_args!(
                "the plan may take longer than its budget of {}: what is not judged stays undecided",
                about(self.budget_s.unwrap_or(self.quote.seconds_hi))
            ));
        }
    }

    /// Says on stderr how right that was, unless the user ended it before the plan was done.
    pub(super) fn compare(&self, took: &Took, ui: &Ui) {
        if self.is_worth_saying() && !interrupt::requested() {
            ui.note(self.outcome(took));
        }
    }

    fn is_worth_saying(&self) -> bool {
        self.quote.seconds >= WORTH_SAYING_S
    }

    /// One line for the start of a run.
    fn sentence(&self) -> String {
        let from = match self.quote.source {
            RateSource::History => "from earlier runs on this machine",
            RateSource::Roofline => "from the sizes of the models; the first run on a machine is a rough guess",
        };
        let joules = self.quote.joules.as_ref().map_or("energy unknown".to_owned(), energy);
        let without = if self.usd_includes_electricity || self.usd.is_none() { "" } else { " without electricity" };
        let usd = self.usd.as_ref().map_or("cost unknown".to_owned(), dollars);
        let tiers = self.tiers.len();
        format!(
            "plan: {tiers} tier{} × {} = {} cell{}; about {} (between {} and {}, {from}), {} thousand tokens, {joules}, \
             {usd}{without}; no network but the models' sources",
            if tiers == 1 { "" } else { "s" },
            subjects(self.workloads.len(), self.tasks.len()),
            self.cells,
            if self.cells == 1 { "" } else { "s" },
            about(self.quote.seconds),
            about(self.quote.seconds_lo),
            about(self.quote.seconds_hi),
            significant(self.quote.tokens / 1e3, 2),
        )
    }

    /// The quote as the record keeps it.
    pub(super) fn prediction(&self) -> Prediction {
        let Quote { seconds, seconds_lo, seconds_hi, tokens, joules, source, .. } = self.quote;
        let seconds = Guess { value: seconds, lo: seconds_lo, hi: seconds_hi };
        Prediction { seconds, tokens, joules, usd: self.usd, source }
    }

    /// How right it was.
    fn outcome(&self, took: &Took) -> String {
        let said = self.prediction();
        let verdict = |range: &Guess, got: f64| if range.holds(got) { "within" } else { "outside" };
        let mut parts = vec![format!(
            "took {}, {} the {} to {} predicted",
            about(took.seconds),
            verdict(&said.seconds, took.seconds),
            about(said.seconds.lo),
            about(said.seconds.hi),
        )];
        let thousands = |tokens: f64| significant(tokens / 1e3, 2);
        parts.push(format!(
            "{} thousand tokens ({} thousand predicted)",
            thousands(took.tokens),
            thousands(said.tokens)
        ));
        if let (Some(range), Some(got)) = (&said.joules, took.joules) {
            parts.push(format!("{} J, {} the {}", significant(got, 3), verdict(range, got), energy(range)));
        }
        if let (Some(guess), Some(got)) = (&said.usd, took.usd) {
            parts.push(format!("${}, {} the {}", significant(got, 2), verdict(guess, got), dollars(guess)));
        }
        parts.join("; ")
    }

    /// The plan itself, for `--dry-run`.
    pub(super) fn print(&self, output: OutputFormat, ui: &Ui) -> Result<ExitStatus> {
        if output == OutputFormat::Json {
            ui.json(self)?;
            return Ok(ExitStatus::Success);
        }
        ui.line(self.sentence())?;
        let lists = [("tiers", &self.tiers), ("workloads", &self.workloads), ("tasks", &self.tasks)];
        for (what, values) in lists.into_iter().filter(|(_, values)| !values.is_empty()) {
            ui.line(format_args!("  {what}: {}", values.join(", ")))?;
        }
        Ok(ExitStatus::Success)
    }
}
