//! One row.

use serde_json::Value;

use super::OWN_BENCH;
use crate::civil;
use crate::energy::{IdleBaselines, Reading};
use crate::measure::bandwidth::Bandwidth;
use crate::measure::noise::NoiseEvidence;
use crate::measure::{EnergyWindow, SpeedCell, SpeedSample};
use crate::plan::Workload;
use crate::store::import::fields::Fields;

/// A row, read.
pub(super) struct Row<'a> {
    /// `row 3`.
    pub(super) name: String,
    pub(super) value: &'a Value,
    pub(super) test: Test,
    /// Seconds since 1970; `None` if the row does not tell.
    pub(super) time: Option<i64>,
    /// What only our own rows have.
    pub(super) own: Option<Own>,
}

/// What a row tells.
pub(super) enum Test {
    Timed(Box<SpeedCell>),
    /// Why it has no place in a record.
    LeftOut(String),
}

/// The fields of our own rows.
pub(super) struct Own {
    pub(super) version: String,
    pub(super) seed: u64,
    pub(super) bandwidth: Option<Bandwidth>,
    pub(super) idle: Option<IdleBaselines>,
}

impl<'a> Row<'a> {
    /// # Errors
    /// One line that names the row and its field.
    pub(super) fn read(number: usize, value: &'a Value) -> Result<Self, String> {
        let name = format!("row {number}");
        let fields = Fields { name: &name, value };
        let own = match fields.get("tierbench_version")? {
            Some(version) => Some(Own {
                version,
                seed: fields.get("seed")?.unwrap_or_default(),
                bandwidth: fields.get("bandwidth")?,
                idle: energy(fields)?.get("idle")?,
            }),
            None => None,
        };
        // A moment in another form is no moment: what is not a date would sort as the newest run.
        let time = fields.get::<String>("test_time")?.as_deref().and_then(civil::seconds);
        let test = test(fields, own.is_some(), time)?;
        // What the tier needs.
        fields.need::<String>("model_filename")?;
        fields.get::<u64>("model_size")?;
        fields.get::<u32>("n_threads")?;
        Ok(Self { test, time, own, value, name })
    }

    pub(super) fn fields(&self) -> Fields<'_> {
        Fields { name: &self.name, value: self.value }
    }

    pub(super) fn tool(&self) -> &'static str {
        if self.own.is_some() { OWN_BENCH } else { "llama-bench" }
    }

    /// Of the tool.
    pub(super) fn version(&self) -> Option<String> {
        let commit = self.fields().text("build_commit").filter(|commit| commit != "unknown");
        match &self.own {
            Some(own) => Some(match commit {
                Some(commit) => format!("{} ({commit})", own.version),
                None => own.version.clone(),
            }),
            None => {
                let number = self.fields().text("build_number").unwrap_or_else(|| "0".into());
                Some(format!("build {} ({number})", commit?))
            }
        }
    }
}

/// Our rows' energy; null in all others.
fn energy(row: Fields<'_>) -> Result<Fields<'_>, String> {
    let value = row.value.get("energy").unwrap_or(&Value::Null);
    if value.is_null() || value.is_object() {
        Ok(Fields { value, ..row })
    } else {
        Err(format!("{}: energy is not an object", row.name))
    }
}

fn test(fields: Fields<'_>, is_own: bool, time: Option<i64>) -> Result<Test, String> {
    let name = fields.name;
    let workload = Workload {
        n_prompt: fields.need("n_prompt")?,
        n_gen: fields.need("n_gen")?,
        n_depth: fields.get("n_depth")?.unwrap_or_default(),
        n_batch_seqs: fields.get("n_batch_seqs")?.filter(|&n| n > 0).unwrap_or(1),
    };
    if let Some(error) = fields.get::<String>("error")?.filter(|_| is_own) {
        return Ok(Test::LeftOut(format!("{workload} failed: {error}")));
    }
    let spans: Vec<u64> = fields.need("samples_ns")?;
    if spans.is_empty() {
        return Err(format!("{name} has no samples_ns"));
    }
    if let Some(i) = spans.iter().position(|&span| span == 0) {
        return Err(format!("{name}: samples_ns[{i}] is 0"));
    }
    if workload.n_prompt == 0 && workload.n_gen == 0 {
        return Err(format!("{name}: n_prompt and n_gen are both 0"));
    }
    // In a batch the prompts stand before the clock starts; llama-bench's `-pg` times them.
    if workload.n_prompt > 0 && workload.n_gen > 0 && workload.n_batch_seqs == 1 {
        let Workload { n_prompt, n_gen, .. } = workload;
        return Ok(Test::LeftOut(format!("pp{n_prompt}+tg{n_gen} times both together, a tier has a speed for each")));
    }
    let blocks: Vec<u32> = fields.get("blocks")?.unwrap_or_default();
    let sample = |(i, &elapsed_ns): (u32, &u64)| SpeedSample {
        block: blocks.get(i as usize).copied().unwrap_or(i),
        order: i,
        elapsed_ns,
        tokens: workload.timed_tokens(),
        itl_ns: Vec::new(),
    };
    let energy = energy(fields)?;
    Ok(Test::Timed(Box::new(SpeedCell {
        workload,
        complete: true,
        warmup: fields.get("warmup_ns")?.unwrap_or_default(),
        steady: fields.get("steady")?.unwrap_or(true),
        samples: (0..).zip(&spans).map(sample).collect(),
        noise: fields.get::<NoiseEvidence>("noise")?.unwrap_or_default(),
        peak_rss: None,
        engines_loaded: 1,
        energy: energy.get::<Reading>("total")?,
        windows: energy.get::<Vec<EnergyWindow>>("windows")?.unwrap_or_default(),
        seed: fields.get("seed")?.filter(|_| is_own).unwrap_or_default(),
        started_unix_s: time.map_or(0.0, |seconds| seconds as f64),
    })))
}
