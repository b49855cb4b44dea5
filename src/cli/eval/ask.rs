//! What the quote of an evaluation is about.

use super::{Args, Subject};
use crate::cli::quote::{self, Ask, Plan};
use crate::cli::{Ui, cost_args};
use crate::error::Result;
use crate::measure::Protocol;
use crate::measure::host::HostFacts;
use crate::measure::sysfs::SysFs;
use crate::plan::quote::Pace;
use crate::store::history::History;

/// Predicts the evaluation.
///
/// # Errors
/// A model that nobody has; an item that cannot be shown; a bad price.
pub(super) fn quote(args: &Args, specs: &[String], subjects: &[Subject], ui: &Ui) -> Result<Plan> {
    let host = HostFacts::read(&SysFs::new(&ui.sysfs_root));
    let cost = cost_args::facts(&args.cost)?;
    let ask = Ask {
        tiers: specs.iter().map(|spec| (spec.clone(), args.threads)).collect(),
        workloads: &[],
        tasks: subjects.iter().map(|subject| (&subject.task, &subject.facts)).collect(),
        limit: args.limit,
        in_full: args.full,
        // There is no speed test to pace.
        pace: Pace {
            window_s: 0.0,
            cell_s: 0.0,
            repetitions: None,
            interleaved: false,
            n_ubatch: Protocol::default().n_ubatch,
        },
        meter_is_open: true,
        makes_files: false,
        may_end_early: args.strategy().is_some(),
        idle_s: 0.0,
        fixed_s: 0.0,
        budget_s: None,
        engine: &args.engine,
        meter: &args.meter,
        cost: Some(&cost),
    };
    quote::quote(&ask, &ui.source_options()?, &host, History::open_default().ok().as_ref())
}
