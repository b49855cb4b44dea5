//! What a reader should doubt, from the numbers themselves. Sentences are made when a record is read and are not stored
//! in it: they may be worded better without making older records wrong.

use super::derived::{SpeedNumbers, TaskNumbers};
use super::record::{RawRecord, Record};
use crate::plan::TierKey;

/// Share of answers cut off above which the task says more about the token limit than about the tier.
const TRUNCATED_SHARE: f64 = 0.05;

/// How far above the measured bandwidth a decode rate may lie before it counts as impossible: neighbours on a shared
/// machine slow one reading of the bandwidth by up to a half.
const BANDWIDTH_SLACK: f64 = 2.0;

/// Operations per second no thread of a processor does: 6 GHz at twice the 2,048 int8 operations a cycle of the widest
/// unit sold (Intel AMX).
const OPS_PER_THREAD: f64 = 6e9 * 4096.0;

/// Operations per second no accelerator does: twice the 10^16 of the fastest board at its narrowest type.
const OPS_PER_DEVICE: f64 = 2e16;

/// Bytes of a parameter at most (f32): what the size of a file says of a model whose parameters are not in the record.
const BYTES_PER_PARAM: u64 = 4;

/// Tokens per second no model of unknown size is believed to do.
const TOKENS_PER_S: f64 = 1e8;

impl Record {
    /// What a reader should doubt, one sentence each.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let (raw, speed, tasks) = (&self.raw, &self.derived.speed, &self.derived.tasks);
        let mut findings = self.impossible();
        findings.extend(over_the_roof(speed));
        findings.extend(tasks.iter().filter_map(truncated));
        findings.extend(raw.tasks.iter().filter_map(|task| {
            let baseline = task.baseline.as_ref().filter(|baseline| baseline.pass_rate >= task.rule.bar.get())?;
            let (bar, rate) = (task.rule.bar.get(), baseline.pass_rate * 100.0);
            Some(format!("{}: the bar {bar} asks for nothing: `{}` passes {rate:.1} %", task.name, baseline.name))
        }));
        if is_debug(raw) {
            findings.push("measured by a debug build: speeds and costs mean nothing".to_owned());
        }
        findings
    }

    /// Speeds that no machine like this one reaches, one sentence each. Nothing in such a record can be believed.
    #[must_use]
    pub fn impossible(&self) -> Vec<String> {
        let mut impossible = Vec::new();
        for numbers in &self.derived.speed {
            let share = numbers.bandwidth_share.filter(|&share| share > BANDWIDTH_SLACK);
            if let Some(share) = share {
                let share = share * 100.0;
                impossible.push(format!(
                    "{} on {} would need {share:.0} % of the measured memory bandwidth",
                    numbers.tier, numbers.test
                ));
            } else if let Some(why) = numbers.median.and_then(|rate| self.over_compute(&numbers.tier, rate)) {
                impossible.push(format!("{} on {} {why}", numbers.tier, numbers.test));
            }
        }
        for numbers in &self.derived.tasks {
            let tokens =
                numbers.prefilled_per_item.unwrap_or_default() + numbers.generated_per_item.unwrap_or_default();
            // An item is a token at least.
            let rate = numbers.seconds_per_item.map(|seconds| tokens.max(1.0) / seconds);
            if let Some(why) = rate.and_then(|rate| self.over_compute(&numbers.tier, rate)) {
                impossible.push(format!("{} on {} {why}", numbers.tier, numbers.task));
            }
        }
        impossible
    }

    /// Why a tier cannot compute so many tokens a second: a token takes two operations per parameter.
    fn over_compute(&self, tier: &TierKey, tokens_per_s: f64) -> Option<String> {
        let facts = self.tier(tier)?;
        let counted = facts.engine.as_ref().map(|engine| engine.model.n_params).filter(|&params| params > 0);
        if counted.is_none() && tokens_per_s > TOKENS_PER_S {
            return Some(format!("has {tokens_per_s:.2e} tok/s, which no machine computes"));
        }
        let params = counted.or_else(|| Some(facts.model.bytes? / BYTES_PER_PARAM))?;
        let ops = 2.0 * params as f64 * tokens_per_s;
        let roof = if facts.tier.device == "cpu" {
            f64::from(facts.tier.n_threads.max(1)) * OPS_PER_THREAD
        } else {
            OPS_PER_DEVICE
        };
        (ops > roof)
            .then(|| format!("would need {ops:.1e} operations a second, and no such device does more than {roof:.1e}"))
    }
}

/// Whether a debug build measured.
pub(crate) fn is_debug(raw: &RawRecord) -> bool {
    raw.build.profile != "release" && raw.imported.is_none()
}

fn truncated(numbers: &TaskNumbers) -> Option<String> {
    let share = numbers.truncated as f64 / numbers.items.max(1) as f64;
    (share > TRUNCATED_SHARE).then(|| {
        format!(
            "{} on {}: {:.0} % of the answers were cut off by the token limit and count as failed",
            numbers.tier,
            numbers.task,
            share * 100.0,
        )
    })
}

/// Speeds above what the measured bandwidth allows, in one sentence: they have one cause.
fn over_the_roof(speed: &[SpeedNumbers]) -> Option<String> {
    let over = speed.iter().filter_map(|numbers| {
        let share = numbers.bandwidth_share.filter(|share| (1.0..=BANDWIDTH_SLACK).contains(share))?;
        Some(format!("{} on {} {:.0} %", numbers.tier, numbers.test, share * 100.0))
    });
    let rows: Vec<String> = over.collect();
    (!rows.is_empty()).then(|| {
        format!(
            "more than all of the measured bandwidth would be needed, so the machine was slower when its bandwidth was \
             measured, or a rate or a byte count is wrong: {}",
            rows.join(", ")
        )
    })
}
