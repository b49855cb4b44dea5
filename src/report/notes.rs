//! Assumptions and caveats, printed beneath every table that uses them.

use super::number::{plain, significant};
use super::one_line;
use crate::quality::task::Decode;
use crate::store::import::OWN_BENCH;
use crate::store::record::Record;

/// One line each, in the order a sceptical reader asks.
#[must_use]
pub fn notes(record: &Record) -> Vec<String> {
    let mut notes = vec![host(record), build(record)];
    notes.extend(speed(record));
    notes.extend(energy(record));
    notes.extend(cost(record));
    notes.extend(super::economics::notes(record));
    notes.extend(verdicts(record));
    notes.extend(caveats(record));
    notes.extend(record.findings().iter().map(|finding| format!("Finding: {finding}.")));
    notes.extend(record.raw.warnings.iter().map(|warning| format!("Warning: {warning}")));
    notes.extend(failures(record));
    if record.raw.run.interrupted {
        notes.push("The run was interrupted: cells that had not finished are missing.".into());
    }
    notes.iter().map(|note| one_line(note)).collect()
}

fn host(record: &Record) -> String {
    let host = &record.raw.host;
    let mut parts = vec![host.cpu.clone().unwrap_or_else(|| host.arch.clone())];
    parts.extend(host.physical_cores.map(|n| format!("{n} cores")));
    parts.extend(host.memory.total.map(|bytes| format!("{} MiB memory", super::number::mib(bytes))));
    parts.extend(record.raw.bandwidth.iter().filter_map(|fact| {
        let rate = significant(fact.memory? / 1e9, 3);
        Some(format!("{rate} GB/s measured memory bandwidth on {} threads", fact.threads))
    }));
    parts.extend(host.hypervisor.as_ref().map(|name| match name.as_str() {
        // The host facts say `yes` for one that does not give its name.
        "yes" => "virtual machine".to_owned(),
        name => format!("virtual machine ({name})"),
    }));
    format!("Host: {}.", parts.join(", "))
}

fn build(record: &Record) -> String {
    let build = &record.raw.build;
    let revision = build.revision.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
    let debug = if build.profile == "release" { "" } else { "; NOT a release build: numbers mean nothing" };
    let run = &record.raw.run;
    if let Some(imported) = &record.raw.imported {
        let version = imported.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let from = format!("file {}, sha256 {}, run {}", imported.file, imported.sha256, run.id);
        if imported.tool == OWN_BENCH {
            return format!("Imported: measured by {OWN_BENCH}{version}; {from}.");
        }
        return format!(
            "Imported: measured by {}{version}, not by tierbench; {from}. Its protocol has no interleaving and no record \
             of noise, energy or the model's hash.",
            imported.tool
        );
    }
    format!("Measured by tierbench {}{revision}, run {}, {}{debug}.", build.version, run.id, run.started_at)
}

/// How speeds were measured; nothing if there are none.
fn speed(record: &Record) -> Option<String> {
    if record.derived.speed.is_empty() {
        return None;
    }
    let seed = record.raw.plan.interleave_seed;
    let order = match &record.raw.imported {
        None => format!("tiers interleaved in random blocks, seed {seed}"),
        // Models that did not fit together were measured one after the other.
        Some(imported) if imported.tool == OWN_BENCH => format!("tests in random blocks, seed {seed}"),
        Some(_) => "tiers one after the other".to_owned(),
    };
    let counts = record.derived.speed.iter().map(|numbers| numbers.n);
    let trials = match (counts.clone().min(), counts.max()) {
        (Some(least), Some(most)) if least == most => format!("{least} trials"),
        (Some(least), Some(most)) => format!("{least} to {most} trials"),
        _ => "trials".to_owned(),
    };
    let level = significant(record.raw.plan.level * 100.0, 2);
    Some(format!("Speed: median of {trials} per cell, ± the longer arm of its bootstrap {level} % interval; {order}."))
}

fn energy(record: &Record) -> Vec<String> {
    let mut sources: Vec<String> = Vec::new();
    for energy in record.derived.speed.iter().filter_map(|numbers| numbers.energy.as_ref()) {
        let flags: String = energy.flags.iter().map(|flag| format!(", {flag}")).collect();
        let domains = if energy.domains.is_empty() { String::new() } else { format!(" {}", energy.domains.join("+")) };
        let source = format!("{}{domains} (trust: {}{flags})", energy.source, energy.trust);
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    if sources.is_empty() && record.raw.imported.is_some() {
        return vec!["Energy: none in what was imported.".into()];
    }
    if sources.is_empty() {
        return vec!["Energy: not metered; `tierbench doctor` says what would unlock a meter.".into()];
    }
    vec![format!("Energy: gross, per decoded token; {}.", sources.join("; "))]
}

/// Whether anything has a cost.
pub(super) fn is_costed(record: &Record) -> bool {
    let (tiers, tasks) = (&record.derived.tiers, &record.derived.tasks);
    tiers.iter().any(|tier| tier.cost.usd_per_mtok_out.is_some() || tier.cost.usd_per_mtok_in.is_some())
        || tasks.iter().any(|numbers| numbers.cost.usd_per_item.is_some())
}

/// Every assumption, and what the cost leaves out; nothing if no cost is known.
fn cost(record: &Record) -> Vec<String> {
    if !is_costed(record) {
        return Vec::new();
    }
    let tiers = record.derived.tiers.iter().filter(|tier| tier.prefill.is_some() || tier.decode.is_some());
    let mut terms: Vec<&str> = tiers.map(|tier| tier.cost.energy_included.note()).collect();
    terms.extend(record.derived.tasks.iter().map(|numbers| numbers.cost.energy_included.note()));
    terms.retain(|note| !note.is_empty());
    terms.sort_unstable();
    terms.dedup();
    let terms = if terms.is_empty() { String::new() } else { format!(" ({})", terms.join("; ")) };
    vec![
        format!("Cost{terms} assumes {}.", record.raw.cost.lines().join("; ")),
        "Cost per item and per 1,000 solved from the graded run's own time and energy; per token from pp and tg. Batch \
         size 1 is an upper bound: serving requests together is cheaper per token."
            .to_owned(),
    ]
}

fn verdicts(record: &Record) -> Vec<String> {
    record
        .raw
        .tasks
        .iter()
        .map(|task| {
            let rule = &task.rule;
            let margin = if rule.margin > 0.0 {
                format!("; CLEARS means not below {}", plain(rule.bar.get() - rule.margin))
            } else {
                String::new()
            };
            let baseline = task
                .baseline
                .as_ref()
                .map(|baseline| format!("; `{}` passes {} %", baseline.name, plain(baseline.pass_rate * 100.0)));
            format!(
                "{}: sequential test on items in seeded order ({}), valid at any stopping time; a wrong CLEARS with \
                 probability at most {} % over {}, a wrong FAILS at most {} % per tier{margin}{}.",
                task.name,
                match task.decode {
                    Decode::Loglikelihood => "choices by likelihood",
                    Decode::Constrained => "text held to its form",
                    Decode::Free => "greedy text",
                },
                plain(rule.alpha * 100.0),
                super::counted(u64::from(rule.tiers), "tier"),
                plain(rule.beta * 100.0),
                baseline.unwrap_or_default(),
            )
        })
        .collect()
}

fn caveats(record: &Record) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for engine in record.raw.tiers.iter().filter_map(|tier| tier.engine.as_ref()) {
        for caveat in &engine.caveats {
            let note = format!("{} {}: {caveat}", engine.name, engine.version);
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    notes
}

fn failures(record: &Record) -> Vec<String> {
    let failed = record.raw.cells.iter().filter_map(|cell| Some((cell, cell.error()?)));
    failed.map(|(cell, error)| format!("Failed: {} on {}: {error}", cell.tier, cell.subject)).collect()
}
