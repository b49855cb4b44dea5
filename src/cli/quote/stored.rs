//! What earlier runs on this machine say of a tier.
//!
//! Everything rests on the samples, items and windows themselves, never on a run's time: a run that was resumed, cut short
//! or ran beside others says of each cell what that cell took.

use super::took::Drawn;
use super::wanted::Wanted;
use crate::energy::Scope;
use crate::measure::host::HostFacts;
use crate::measure::{Protocol, SpeedCell};
use crate::plan::Workload;
use crate::plan::quote::{Earlier, EarlierTest, Guess, Needed, RateSource, Rates};
use crate::store::cell::{Cell, Outcome, Subject, TaskItems};
use crate::store::derived::SpeedNumbers;
use crate::store::history::History;
use crate::store::record::{Record, TaskFacts, TierFacts};

/// Newest records that are read: what is older is rarely met again.
const NEWEST: usize = 10;

/// Records of this machine, newest first.
#[derive(Debug, Default)]
pub(super) struct Stored(Vec<Record>);

impl Stored {
    /// Unreadable records are no reason not to quote.
    pub(super) fn load(history: &History, host: &HostFacts) -> Self {
        let runs = history.list().unwrap_or_default();
        let records =
            runs.iter().filter(|run| run.has_record).take(NEWEST).filter_map(|run| history.record(&run.id).ok());
        Self(records.filter(|record| record.raw.host.cpu == host.cpu && record.raw.imported.is_none()).collect())
    }

    /// Whether the newest run metered idle power: then there is a meter.
    pub(super) fn is_metered(&self) -> bool {
        self.0.first().is_some_and(|record| record.raw.idle.ready.is_some())
    }

    /// What is known of a tier.
    pub(super) fn tier<'a>(&'a self, wanted: &'a Wanted) -> StoredTier<'a> {
        let found = |record: &'a Record| Some((record, record.raw.tiers.iter().find(|tier| wanted.is(tier))?));
        StoredTier(self.0.iter().filter_map(found).collect())
    }
}

/// A tier's facts in every record that has it, newest first.
#[derive(Debug)]
pub(super) struct StoredTier<'a>(Vec<(&'a Record, &'a TierFacts)>);

impl<'a> StoredTier<'a> {
    /// Whether its file was had before.
    pub(super) fn is_known(&self) -> bool {
        !self.0.is_empty()
    }

    /// Rates of one sequence from the start, where they were measured, else those of `roofline`.
    pub(super) fn rates(&self, roofline: Rates) -> Rates {
        let newest = |generates: bool| {
            self.0.iter().find_map(|(record, tier)| {
                let numbers = record.derived.tier_of(&tier.key)?;
                let workload = if generates { numbers.decode } else { numbers.prefill }?;
                record.derived.speed_of(&tier.key, &workload)?.median.filter(|rate| *rate > 0.0)
            })
        };
        match (newest(false), newest(true)) {
            (Some(prefill), Some(decode)) => Rates { prefill, decode, source: RateSource::History },
            (prefill, decode) => Rates {
                prefill: prefill.unwrap_or(roofline.prefill),
                decode: decode.unwrap_or(roofline.decode),
                source: RateSource::Roofline,
            },
        }
    }

    /// What it took on the same workload.
    pub(super) fn test(&self, workload: Workload) -> Option<EarlierTest> {
        self.0.iter().find_map(|(record, tier)| {
            let numbers = record.derived.speed_of(&tier.key, &workload)?;
            let rate = numbers.median.filter(|rate| *rate > 0.0)?;
            let Outcome::Speed(cell) = &self.cell(record, tier, &Subject::Workload(workload))?.outcome else {
                return None;
            };
            Some(EarlierTest { trial_s: workload.timed_tokens() as f64 / rate, trials: trials(cell, numbers) })
        })
    }

    /// What it took on the same items, answered in the same way.
    pub(super) fn task(&self, facts: &TaskFacts) -> Option<Earlier> {
        self.0.iter().find_map(|(record, tier)| {
            let is_same = |task: &&TaskFacts| task.sha256 == facts.sha256 && task.decode == facts.decode;
            let same = record.raw.tasks.iter().find(is_same)?;
            let numbers = record.derived.task_of(&tier.key, &same.name)?;
            let cell = self.cell(record, tier, &Subject::Task(same.name.clone()))?;
            let Outcome::Task(items) = &cell.outcome else { return None };
            let asked = |facts: &TaskFacts| (facts.rule.bar, facts.rule.margin, facts.rule.question);
            let needed = match numbers.assessment.decided_at {
                _ if asked(same) != asked(facts) => Needed::Unknown,
                Some(n) => Needed::Enough(n as f64),
                None => Needed::MoreThan(numbers.items as f64),
            };
            let prefix_s = items.prefix_ns as f64 / 1e9;
            Some(Earlier { items: needed, seconds_per_item: seconds_per_item(items, prefix_s)?, prefix_s })
        })
    }

    /// Mean power of its windows, W: at the wall, or of the machine's own counters, as they see different things.
    pub(super) fn power(&self, at_the_wall: bool) -> Option<Guess> {
        self.0.iter().find_map(|(record, tier)| {
            let mut drawn = Drawn::default();
            for cell in record.raw.cells.iter().filter(|cell| cell.tier == tier.key) {
                drawn.add_cell(cell, |reading| (reading.scope == Scope::Wall) == at_the_wall);
            }
            drawn.mean_power()
        })
    }

    fn cell(&self, record: &'a Record, tier: &TierFacts, subject: &Subject) -> Option<&'a Cell> {
        record.raw.cells.iter().find(|cell| cell.tier == tier.key && cell.subject == *subject)
    }
}

/// Trials that were enough for the precision the protocol stops at, or not.
fn trials(cell: &SpeedCell, numbers: &SpeedNumbers) -> Needed {
    let protocol = Protocol::default();
    let n = cell.samples.len() as f64;
    let is_precise =
        numbers.interval.is_some_and(|i| i.value > 0.0 && (i.hi - i.lo) / 2.0 / i.value <= protocol.target_half_width);
    match cell.complete {
        false => Needed::Unknown,
        true if is_precise || n >= f64::from(protocol.max_trials) => Needed::Enough(n),
        true => Needed::MoreThan(n),
    }
}

/// Time of an item, s: of its windows, which hold what lies between the engine's calls, else of those calls alone.
fn seconds_per_item(items: &TaskItems, prefix_s: f64) -> Option<f64> {
    let called: f64 = items.items.iter().map(|item| item.elapsed_ns as f64 / 1e9).sum();
    let windows: f64 = items.energy.iter().map(|window| window.window_s).sum();
    let seconds = called.max(windows - prefix_s);
    (seconds > 0.0 && !items.items.is_empty()).then(|| seconds / items.items.len() as f64)
}
