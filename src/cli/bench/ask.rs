//! What the quote of a bench is about.

use super::Args;
use crate::cli::cost_args;
use crate::cli::engine_args::named_or_default;
use crate::cli::quote::{self, Ask, Plan};
use crate::cost::Assumptions;
use crate::error::Result;
use crate::measure::Protocol;
use crate::measure::host::HostFacts;
use crate::model::SourceOptions;
use crate::plan::Workload;
use crate::plan::axis::numbers;
use crate::plan::quote::Pace;
use crate::store::history::History;

/// Memory bandwidth of one number of threads, s.
const BANDWIDTH_S: f64 = 1.5;

/// Predicts the bench. What it costs is priced by the user's price file, if there is a good one: a bench has no flags for
/// it.
///
/// # Errors
/// A model that nobody has.
pub(super) fn quote(
    args: &Args,
    workloads: &[Workload],
    protocol: &Protocol,
    options: &SourceOptions,
    host: &HostFacts,
    cost: Option<&Assumptions>,
) -> Result<Plan> {
    let threads = numbers(&args.threads)?;
    let names = names(args, options)?;
    let tiers: Vec<(String, u32)> = names.iter().flat_map(|name| threads.iter().map(|&n| (name.clone(), n))).collect();
    let interleaved = tiers.len() > 1 && !args.sequential;
    let groups = if args.sequential { tiers.len() } else { 1 };
    let ask = Ask {
        tiers,
        workloads,
        tasks: Vec::new(),
        limit: None,
        in_full: false,
        pace: Pace {
            window_s: protocol.energy_window.as_secs_f64(),
            cell_s: args.budget,
            repetitions: args.repetitions,
            interleaved,
            n_ubatch: args.ubatch_size,
        },
        meter_is_open: !args.dry_run,
        makes_files: false,
        may_end_early: false,
        // Bare once; ready and after for every group.
        idle_s: (1 + 2 * groups) as f64 * args.idle.max(0.0),
        fixed_s: if args.no_bandwidth { 0.0 } else { BANDWIDTH_S * threads.len() as f64 },
        budget_s: None,
        engine: &args.engine,
        meter: &args.meter,
        cost,
    };
    quote::quote(&ask, options, host, History::open_default().ok().as_ref())
}

/// Models as named, or the catalogue's default.
pub(super) fn names(args: &Args, options: &SourceOptions) -> Result<Vec<String>> {
    Ok(if args.model.is_empty() { vec![named_or_default(None, options)?] } else { args.model.clone() })
}

/// Prices for the quote.
pub(super) fn assumptions() -> Option<Assumptions> {
    cost_args::usual().ok()
}
