//! Raw samples to published numbers: one pure function, shared by the run pipeline and `verify`.

mod energy;
mod speed;

use super::cell::Outcome;
use super::derived::Derived;
use super::record::RawRecord;

/// Derives every number. Cells that failed have none.
pub(super) fn derive(raw: &RawRecord) -> Derived {
    let speed: Vec<_> = raw
        .cells
        .iter()
        .filter_map(|cell| match (&cell.subject, &cell.outcome) {
            (super::cell::Subject::Workload(workload), Outcome::Speed(trials)) => {
                Some(speed::numbers(raw, &cell.tier, workload, trials))
            }
            _ => None,
        })
        .collect();
    Derived { speed, ..Derived::default() }
}
