//! `llama-bench -o json` and `-o jsonl`, and the same of our own `bench`, which has llama-bench's fields and more.
//!
//! **Source**: llama.cpp `tools/llama-bench/llama-bench.cpp`, `struct test`: `samples_ns` are the times of the repetitions,
//! `n_prompt`, `n_gen` and `n_depth` what they processed.

mod row;
mod tier;

use std::collections::HashMap;

use serde_json::Value;

use self::row::{Row, Test};
use super::{Import, Source};
use crate::store::StoreError;
use crate::store::cell::{Cell, CellId, Outcome, Subject};

/// What records call our own `bench`.
pub const OWN_BENCH: &str = "tierbench bench";

/// Whether this is a row of llama-bench or of our `bench`.
pub(super) fn is_row(value: &Value) -> bool {
    value.get("samples_ns").is_some() || (value.get("model_filename").is_some() && value.get("n_gen").is_some())
}

pub(super) fn import(source: &Source<'_>, rows: &[Value]) -> Result<Import, StoreError> {
    let rows: Result<Vec<Row<'_>>, String> = (1..).zip(rows).map(|(number, value)| Row::read(number, value)).collect();
    let rows = rows.map_err(|why| source.bad(why))?;
    let times: Vec<i64> = rows.iter().filter_map(|row| row.time).collect();
    let tool = common(&rows, |row| Some(row.tool().to_owned()));
    let tool = tool.unwrap_or_else(|| format!("llama-bench and {OWN_BENCH}"));
    let version = common(&rows, |row| row.version());
    let mut raw = source.raw(&tool, version, [times.iter().min(), times.iter().max()].map(|time| time.copied()))?;
    raw.host.cpu = common(&rows, |row| row.fields().text("cpu_info"));
    raw.plan.interleave_seed = common(&rows, |row| row.own.as_ref().map(|own| own.seed)).unwrap_or_default();
    let mut left_out = Vec::new();
    let mut places: HashMap<CellId, &str> = HashMap::new();
    for (row, facts) in rows.iter().zip(tier::tiers(&rows)) {
        let cell = match &row.test {
            Test::Timed(cell) => cell,
            Test::LeftOut(why) => {
                left_out.push(format!("{}: {why}", row.name));
                continue;
            }
        };
        let workload = cell.workload;
        let subject = Subject::Workload(workload);
        let id = CellId::new(&facts.key, &subject);
        if let Some(earlier) = places.get(&id) {
            left_out.push(format!("{} repeats {workload} of {earlier}", row.name));
            continue;
        }
        places.insert(id, &row.name);
        raw.cells.push(Cell {
            tier: facts.key.clone(),
            subject,
            finished_at: super::moment(row.time),
            outcome: Outcome::Speed(cell.clone()),
        });
        if !raw.plan.workloads.contains(&workload) {
            raw.plan.workloads.push(workload);
        }
        if !raw.tiers.iter().any(|known| known.key == facts.key) {
            raw.tiers.push(facts);
        }
        let bandwidth = row.own.as_ref().and_then(|own| own.bandwidth);
        raw.bandwidth.extend(bandwidth.filter(|new| raw.bandwidth.iter().all(|known| known.threads != new.threads)));
    }
    if raw.cells.is_empty() {
        return Err(source.bad(format!("no test in it can be taken over: {}", left_out.join("; "))));
    }
    Ok(Import { record: source.seal(raw)?, left_out })
}

/// What all rows agree on.
fn common<'a, T: PartialEq>(rows: &[Row<'a>], get: impl Fn(&Row<'a>) -> Option<T>) -> Option<T> {
    let mut values = rows.iter().map(get);
    let first = values.next()?;
    if values.all(|value| value == first) { first } else { None }
}
