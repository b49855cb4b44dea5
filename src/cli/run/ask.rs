//! What the quote of a run is about.

use std::time::Duration;

use super::ladder::Spec;
use super::{Args, energy, speed};
use crate::cli::quote::Ask;
use crate::cost::Assumptions;
use crate::error::Result;
use crate::measure::Protocol;
use crate::plan::Workload;
use crate::plan::quote::Pace;
use crate::quality::task::Task;
use crate::store::record::TaskFacts;

/// What no tier is the cause of, s: memory bandwidth before and after, the report.
const FIXED_S: f64 = 4.0;

impl Args {
    /// # Errors
    /// An idle time that is none.
    pub(super) fn ask<'a>(
        &'a self,
        specs: &[Spec],
        workloads: &'a [Workload],
        tasks: &'a [(Task, TaskFacts)],
        cost: &'a Assumptions,
    ) -> Result<Ask<'a>> {
        let budget = Duration::try_from_secs_f64(self.budget).unwrap_or_default();
        Ok(Ask {
            tiers: specs.iter().map(|spec| (spec.spec.clone(), self.threads)).collect(),
            workloads,
            tasks: tasks.iter().map(|(task, facts)| (task, facts)).collect(),
            limit: self.limit,
            in_full: false,
            pace: Pace {
                window_s: 0.0,
                cell_s: speed::per_cell(budget, specs.len() * workloads.len()).as_secs_f64(),
                repetitions: None,
                interleaved: specs.len() > 1,
                n_ubatch: Protocol::default().n_ubatch,
            },
            meter_is_open: false,
            makes_files: true,
            may_end_early: false,
            idle_s: 3.0 * energy::idle_time(self)?.as_secs_f64(),
            fixed_s: FIXED_S,
            budget_s: Some(self.budget),
            engine: &self.engine,
            meter: &self.meter,
            cost: Some(cost),
        })
    }
}
