//! What a reader should doubt, from the numbers themselves.

use crate::store::derived::{SpeedNumbers, TaskNumbers};
use crate::store::record::RawRecord;

/// Share of answers cut off above which the task says more about the token limit than about the tier.
const TRUNCATED_SHARE: f64 = 0.05;

/// One sentence each.
pub(super) fn findings(raw: &RawRecord, speed: &[SpeedNumbers], tasks: &[TaskNumbers]) -> Vec<String> {
    let mut findings = Vec::new();
    findings.extend(over_the_roof(speed));
    for numbers in tasks {
        let share = numbers.truncated as f64 / numbers.items.max(1) as f64;
        if share > TRUNCATED_SHARE {
            findings.push(format!(
                "{} on {}: {:.0} % of the answers were cut off by the token limit and count as failed",
                numbers.tier,
                numbers.task,
                share * 100.0,
            ));
        }
    }
    for task in &raw.tasks {
        if let Some(baseline) = task.baseline.as_ref().filter(|baseline| baseline.pass_rate >= task.rule.bar.get()) {
            findings.push(format!(
                "{}: the bar {} asks for nothing: `{}` passes {:.1} %",
                task.name,
                task.rule.bar.get(),
                baseline.name,
                baseline.pass_rate * 100.0,
            ));
        }
    }
    if raw.build.profile != "release" && raw.imported.is_none() {
        findings.push("measured by a debug build: speeds and costs mean nothing".to_owned());
    }
    findings
}

/// Speeds that the measured bandwidth does not allow, in one sentence: they have one cause.
fn over_the_roof(speed: &[SpeedNumbers]) -> Option<String> {
    let over =
        speed.iter().filter_map(|numbers| Some((numbers, numbers.bandwidth_share.filter(|&share| share > 1.0)?)));
    let rows: Vec<String> =
        over.map(|(numbers, share)| format!("{} on {} {:.0} %", numbers.tier, numbers.test, share * 100.0)).collect();
    (!rows.is_empty()).then(|| {
        format!(
            "more than all of the measured bandwidth would be needed, so the rate, the byte count or the bandwidth is wrong: {}",
            rows.join(", ")
        )
    })
}
