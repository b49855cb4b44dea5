//! What differs between the circumstances of two records: machine, build, plan, prices, tasks, models, engines.
//!
//! The facts are taken apart field by field, so that a new one cannot be forgotten here.

use super::super::number::{UNKNOWN, significant};
use crate::cost::Assumptions;
use crate::decide::Rule;
use crate::energy::{IdleBaselines, Reading};
use crate::engine::EngineFacts;
use crate::measure::bandwidth::Bandwidth;
use crate::measure::host::HostFacts;
use crate::measure::memory::MemoryFacts;
use crate::plan::{Tier, TierKey};
use crate::store::record::{BuildFacts, ModelFileFacts, PlanFacts, RawRecord, Record, TaskFacts, TierFacts};

/// Measured circumstances (bandwidth, free memory, idle power) never repeat to the digit: they count from this change on.
const MEASURED: f64 = 0.05;

/// What differs, one phrase each.
pub(super) fn changes(a: &Record, b: &Record, pairs: &[(&TierFacts, &TierFacts)]) -> Vec<String> {
    let mut changes = Changes(Vec::new());
    let (x, y) = (&a.raw, &b.raw);
    changes.host(&x.host, &y.host);
    changes.bandwidth(&x.bandwidth, &y.bandwidth);
    changes.idle("idle power", &x.idle, &y.idle);
    changes.build(&x.build, &y.build);
    changes.plan(x, y);
    changes.tasks(&x.tasks, &y.tasks);
    changes.prices(&x.cost, &y.cost);
    changes.text("energy", &energy(a), &energy(b));
    changes.text("measured by", &tool(x), &tool(y));
    changes.tiers(pairs);
    changes.0
}

/// A hash, short enough for a line.
pub(super) fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

struct Changes(Vec<String>);

impl Changes {
    fn text(&mut self, name: &str, a: &str, b: &str) {
        if a != b {
            self.0.push(format!("{name}: {} → {}", known(a), known(b)));
        }
    }

    fn shown<T: PartialEq + std::fmt::Display>(&mut self, name: &str, a: &T, b: &T) {
        self.text(name, &a.to_string(), &b.to_string());
    }

    fn maybe<T: PartialEq + std::fmt::Display>(&mut self, name: &str, a: &Option<T>, b: &Option<T>) {
        let show = |value: &Option<T>| value.as_ref().map_or_else(String::new, ToString::to_string);
        self.text(name, &show(a), &show(b));
    }

    fn hash(&mut self, name: &str, a: &Option<String>, b: &Option<String>) {
        if a != b {
            let show = |hash: &Option<String>| hash.as_deref().map_or_else(String::new, short);
            self.0.push(format!("{name}: {} → {}", known(&show(a)), known(&show(b))));
        }
    }

    fn measured(&mut self, name: &str, unit: &str, a: Option<f64>, b: Option<f64>) {
        let ratio = a.zip(b).map(|(a, b)| b / a);
        let is_same = ratio.map_or(a == b, |ratio| (ratio - 1.0).abs() < MEASURED || a == b);
        if !is_same {
            let show = |value: Option<f64>| value.map_or(UNKNOWN.to_owned(), |value| significant(value, 3));
            let factor = ratio.map(|ratio| format!(" (×{})", significant(ratio, 3))).unwrap_or_default();
            self.0.push(format!("{name}: {} → {} {unit}{factor}", show(a), show(b)));
        }
    }

    fn host(&mut self, a: &HostFacts, b: &HostFacts) {
        let HostFacts {
            cpu,
            physical_cores,
            logical_cpus,
            usable_cpus,
            sockets,
            arch,
            isa,
            caches,
            memory,
            os,
            kernel,
            hypervisor,
            container,
            sgx,
        } = a;
        self.maybe("cpu", cpu, &b.cpu);
        self.maybe("cores", physical_cores, &b.physical_cores);
        self.maybe("logical processors", logical_cpus, &b.logical_cpus);
        self.shown("usable processors", usable_cpus, &b.usable_cpus);
        self.maybe("sockets", sockets, &b.sockets);
        self.text("architecture", arch, &b.arch);
        self.text("isa", &isa.join(" "), &b.isa.join(" "));
        let show = |host: &HostFacts| -> String {
            let caches = host.caches.iter();
            let list = caches.map(|c| format!("L{} {} {} KiB by {}", c.level, c.kind, c.bytes >> 10, c.shared_by));
            list.collect::<Vec<_>>().join(", ")
        };
        if *caches != b.caches {
            self.text("caches", &show(a), &show(b));
        }
        let MemoryFacts { total, available, limit, used_in_limit: _ } = memory;
        let mib = |bytes: &Option<u64>| bytes.map(|bytes| (bytes >> 20) as f64);
        self.maybe("memory, bytes", total, &b.memory.total);
        self.maybe("memory limit, bytes", limit, &b.memory.limit);
        self.measured("memory free", "MiB", mib(available), mib(&b.memory.available));
        self.maybe("system", os, &b.os);
        self.maybe("kernel", kernel, &b.kernel);
        self.maybe("hypervisor", hypervisor, &b.hypervisor);
        self.maybe("container", container, &b.container);
        self.text("sgx", yes(*sgx), yes(b.sgx));
    }

    fn bandwidth(&mut self, a: &[Bandwidth], b: &[Bandwidth]) {
        let mut threads: Vec<u32> = a.iter().chain(b).map(|measured| measured.threads).collect();
        threads.sort_unstable();
        threads.dedup();
        for threads in threads {
            let of = |all: &[Bandwidth]| all.iter().find(|measured| measured.threads == threads).cloned();
            let (x, y) = (of(a), of(b));
            let gigabytes = |bytes: Option<f64>| bytes.map(|bytes| bytes / 1e9);
            let memory = |at: &Option<Bandwidth>| gigabytes(at.as_ref().and_then(|measured| measured.memory));
            let cache = |at: &Option<Bandwidth>| gigabytes(at.as_ref().and_then(|measured| measured.cache));
            self.measured(&format!("memory bandwidth on {threads} threads"), "GB/s", memory(&x), memory(&y));
            self.measured(&format!("cache bandwidth on {threads} threads"), "GB/s", cache(&x), cache(&y));
        }
    }

    fn idle(&mut self, name: &str, a: &IdleBaselines, b: &IdleBaselines) {
        let IdleBaselines { bare, ready, after } = a;
        let watts = |reading: &Option<Reading>| Some(reading.as_ref()?.power()?.0);
        self.measured(&format!("{name}, no model"), "W", watts(bare), watts(&b.bare));
        self.measured(&format!("{name}, before"), "W", watts(ready), watts(&b.ready));
        self.measured(&format!("{name}, after"), "W", watts(after), watts(&b.after));
    }

    fn build(&mut self, a: &BuildFacts, b: &BuildFacts) {
        let BuildFacts { version, revision, features, rustc, profile, target } = a;
        self.text("tierbench", version, &b.version);
        self.maybe("revision", revision, &b.revision);
        self.text("features", &features.join(" "), &b.features.join(" "));
        self.maybe("rustc", rustc, &b.rustc);
        self.text("profile", profile, &b.profile);
        self.text("target", target, &b.target);
    }

    fn plan(&mut self, a: &RawRecord, b: &RawRecord) {
        // Workloads show themselves as quantities that are missing or new; what was foretold changes nothing.
        let PlanFacts { workloads: _, interleave_seed, bootstrap_seed, level, budget_s, quote: _, took: _ } = &a.plan;
        self.shown("seed of the blocks", interleave_seed, &b.plan.interleave_seed);
        self.shown("seed of the bootstrap", bootstrap_seed, &b.plan.bootstrap_seed);
        self.shown("level of the intervals", level, &b.plan.level);
        self.maybe("time budget, s", budget_s, &b.plan.budget_s);
        self.text("cut short", yes(a.run.interrupted), yes(b.run.interrupted));
    }

    fn tasks(&mut self, a: &[TaskFacts], b: &[TaskFacts]) {
        let names = |tasks: &[TaskFacts]| tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>().join(", ");
        self.text("tasks", &names(a), &names(b));
        for task in a {
            let Some(other) = b.iter().find(|other| other.name == task.name) else { continue };
            let TaskFacts { name, version, kind, sha256, suite_items, decode, metric, rule, baseline: _ } = task;
            let of = |what: &str| format!("{what} of {name}");
            self.maybe(&of("version"), version, &other.version);
            self.text(&of("kind"), &word(kind), &word(&other.kind));
            if *sha256 != other.sha256 {
                let (x, y) = (short(sha256), short(&other.sha256));
                self.0.push(format!("task {name} (results not compared): {x} → {y}"));
            }
            self.shown(&of("items"), suite_items, &other.suite_items);
            self.text(&of("decoding"), decode.name(), other.decode.name());
            self.text(&of("metric"), &word(metric), &word(&other.metric));
            self.rule(name, rule, &other.rule);
        }
    }

    fn rule(&mut self, task: &str, a: &Rule, b: &Rule) {
        let Rule { bar, alpha, beta, margin, tiers, min_items, n_max, question, order_seed } = a;
        let of = |what: &str| format!("{what} of {task}");
        self.shown(&of("bar"), &bar.get(), &b.bar.get());
        self.shown(&of("alpha"), alpha, &b.alpha);
        self.shown(&of("beta"), beta, &b.beta);
        self.shown(&of("margin"), margin, &b.margin);
        self.shown(&of("tiers that share alpha"), tiers, &b.tiers);
        self.shown(&of("fewest items"), min_items, &b.min_items);
        self.maybe(&of("most items"), n_max, &b.n_max);
        self.text(&of("question"), &word(question), &word(&b.question));
        self.shown(&of("seed of the order"), order_seed, &b.order_seed);
    }

    /// The lines of the assumptions that differ, each `name: value (where it is from)`. Where only the value does, it is
    /// said once where it is from.
    fn prices(&mut self, a: &Assumptions, b: &Assumptions) {
        let (a, b) = (a.lines(), b.lines());
        let name = |line: &'_ String| line.split(": ").next().unwrap_or_default().to_owned();
        let of = |lines: &[String], wanted: &str| {
            let value = lines.iter().find_map(|line| line.strip_prefix(wanted)?.strip_prefix(": "));
            let (value, from) = value.map(|text| text.split_once(" (").unwrap_or((text, ""))).unwrap_or_default();
            (value.to_owned(), if from.is_empty() { String::new() } else { format!(" ({from}") })
        };
        let mut names: Vec<String> = a.iter().chain(&b).map(name).collect();
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        for name in names {
            let ((x, x_from), (y, y_from)) = (of(&a, &name), of(&b, &name));
            let what = format!("prices, {name}");
            if x_from == y_from && x != y {
                self.0.push(format!("{what}: {} → {}{y_from}", known(&x), known(&y)));
            } else {
                self.text(&what, &(x + &x_from), &(y + &y_from));
            }
        }
    }

    /// Models and engines of the tiers that were paired. What changed alike in several tiers is said once.
    fn tiers(&mut self, pairs: &[(&TierFacts, &TierFacts)]) {
        let mut changed: Vec<(String, Vec<&TierKey>)> = Vec::new();
        for (a, b) in pairs {
            let mut of_tier = Changes(Vec::new());
            of_tier.tier(a, b);
            for change in of_tier.0 {
                match changed.iter_mut().find(|(known, _)| *known == change) {
                    Some((_, tiers)) => tiers.push(&a.key),
                    None => changed.push((change, vec![&a.key])),
                }
            }
        }
        for (change, tiers) in changed {
            let list: Vec<&str> = tiers.iter().map(|key| key.0.as_str()).collect();
            let tiers =
                if tiers.len() > 1 && tiers.len() == pairs.len() { "every tier".to_owned() } else { list.join(", ") };
            self.0.push(format!("{change} ({tiers})"));
        }
    }

    fn tier(&mut self, a: &TierFacts, b: &TierFacts) {
        // Model, level, engine, device and threads are in the tier's name; memory is a result.
        let TierFacts { key: _, tier, model, engine, idle, peak_rss_bytes: _ } = a;
        let Tier { model: _, level: _, requantized_from: _, engine: _, device: _, n_threads: _ } = tier;
        let ModelFileFacts {
            name,
            sha256,
            bytes,
            licence,
            source,
            requantized_from,
            tokenizer_sha256,
            template_sha256,
        } = model;
        self.text("model", name, &b.model.name);
        self.hash("model file", sha256, &b.model.sha256);
        self.maybe("model file, bytes", bytes, &b.model.bytes);
        self.maybe("licence", licence, &b.model.licence);
        self.maybe("source", source, &b.model.source);
        self.maybe("requantized from", requantized_from, &b.model.requantized_from);
        self.hash("tokenizer", tokenizer_sha256, &b.model.tokenizer_sha256);
        self.hash("chat template", template_sha256, &b.model.template_sha256);
        match (engine, &b.engine) {
            (Some(x), Some(y)) => self.engine(x, y),
            (x, y) => {
                let name = |engine: &Option<EngineFacts>| {
                    engine.as_ref().map_or_else(String::new, |engine| format!("{} {}", engine.name, engine.version))
                };
                self.text("engine", &name(x), &name(y));
            }
        }
        match (idle, &b.idle) {
            (Some(x), Some(y)) => self.idle("idle power with the model", x, y),
            (x, y) if x.is_some() != y.is_some() => {
                self.text("idle power with the model metered", yes(x.is_some()), yes(y.is_some()));
            }
            _ => {}
        }
    }

    fn engine(&mut self, a: &EngineFacts, b: &EngineFacts) {
        let EngineFacts {
            name,
            version,
            device,
            isa,
            n_threads,
            activations,
            kv_type,
            n_ctx,
            max_seqs,
            // Results of loading, and of the model file.
            load_s: _,
            repack_s: _,
            model,
            caveats,
        } = a;
        self.text("engine", name, &b.name);
        self.text("engine's version", version, &b.version);
        self.text("device", device, &b.device);
        self.maybe("engine's instruction set", isa, &b.isa);
        self.shown("threads", n_threads, &b.n_threads);
        self.text("activations", activations, &b.activations);
        self.text("key/value cache", kv_type, &b.kv_type);
        self.shown("context", n_ctx, &b.n_ctx);
        self.shown("sequences", max_seqs, &b.max_seqs);
        self.text("model's type", &model.label, &b.model.label);
        self.text("caveats", &caveats.join("; "), &b.caveats.join("; "));
    }
}

fn known(text: &str) -> &str {
    if text.is_empty() { UNKNOWN } else { text }
}

const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// An enumeration's name as records spell it.
fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default().trim_matches('"').to_owned()
}

fn energy(record: &Record) -> String {
    let known = record.derived.speed.iter().find_map(|numbers| numbers.energy.as_ref());
    known.map_or_else(String::new, |e| format!("{} {} ({})", e.source, e.domains.join("+"), e.trust.name()))
}

fn tool(raw: &RawRecord) -> String {
    let imported = raw.imported.as_ref();
    imported.map_or("tierbench".to_owned(), |from| {
        [Some(from.tool.as_str()), from.version.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(of: impl Fn(&mut Changes)) -> Vec<String> {
        let mut changes = Changes(Vec::new());
        of(&mut changes);
        changes.0
    }

    fn bandwidth(threads: u32, gigabytes: f64) -> Bandwidth {
        Bandwidth {
            threads,
            memory: Some(gigabytes * 1e9),
            memory_buffer: 1 << 28,
            cache: None,
            cache_buffer: 0,
            cache_size: None,
        }
    }

    #[test]
    fn measured_circumstances_count_from_five_percent_on() {
        let bandwidths = |a, b| listed(|c| c.bandwidth(&[bandwidth(2, a)], &[bandwidth(2, b)]));
        assert_eq!(bandwidths(10.0, 10.4), Vec::<String>::new());
        assert_eq!(bandwidths(10.7, 15.8), ["memory bandwidth on 2 threads: 10.7 → 15.8 GB/s (×1.48)"]);
        let other = listed(|c| c.bandwidth(&[bandwidth(2, 10.0)], &[bandwidth(64, 90.0)]));
        assert_eq!(
            other,
            ["memory bandwidth on 2 threads: 10.0 → — GB/s", "memory bandwidth on 64 threads: — → 90.0 GB/s"]
        );
        assert_eq!(listed(|c| c.measured("x", "W", Some(0.0), Some(0.0))), Vec::<String>::new());
    }

    #[test]
    fn the_machine_is_compared_in_every_field() {
        let a = HostFacts { cpu: Some("A".into()), physical_cores: Some(2), usable_cpus: 2, ..HostFacts::default() };
        let b = HostFacts { physical_cores: Some(64), usable_cpus: 64, sgx: true, ..a.clone() };
        assert_eq!(listed(|c| c.host(&a, &a)), Vec::<String>::new());
        assert_eq!(listed(|c| c.host(&a, &b)), ["cores: 2 → 64", "usable processors: 2 → 64", "sgx: no → yes"]);
    }

    #[test]
    fn of_the_prices_only_what_differs_is_listed() {
        let book = crate::cost::PriceBook::embedded().unwrap();
        let a = Assumptions::defaults(&book).unwrap();
        let mut b = a.clone();
        b.utilization.value = 0.5;
        let changed = listed(|c| c.prices(&a, &b));
        assert_eq!(changed.len(), 1, "{changed:?}");
        let expected = "prices, busy: 25 % of all hours → 50 % of all hours (assumption: ";
        assert!(changed[0].starts_with(expected), "{changed:?}");
    }
}
