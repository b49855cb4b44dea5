//! What `run`, `bench` and `eval` say before they start, from the history and without one, and what is made of it after.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;
mod example;

use std::path::Path;

use common::{SMOLLM2, real_model};
use example::tierbench;
use predicates::prelude::*;
use serde_json::Value;
use tierbench::measure::host::HostFacts;
use tierbench::measure::sysfs::SysFs;
use tierbench::quality::task::Task;
use tierbench::store::cell::{Outcome, TaskItems};
use tierbench::store::history::History;
use tierbench::store::record::{RawRecord, Record};

/// Stores the example's run as if this machine had made it, changed by `change`, in a history of its own.
fn history(change: impl Fn(&mut RawRecord)) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let mut raw = example::raw();
    raw.host.cpu = HostFacts::read(&SysFs::new(Path::new("/"))).cpu;
    raw.tasks[0].sha256 = Task::load(example::TASK).unwrap().sha256;
    change(&mut raw);
    let record = Record::from_raw(raw).unwrap();
    assert!(History::open(data.path()).unwrap().import(&record, "example").unwrap());
    data
}

fn nothing(_: &mut RawRecord) {}

/// Every tier's items, and what of the record they are part of.
fn items(raw: &mut RawRecord) -> impl Iterator<Item = &mut TaskItems> {
    raw.cells.iter_mut().filter_map(|cell| match &mut cell.outcome {
        Outcome::Task(items) => Some(items),
        Outcome::Speed(_) | Outcome::Failed { .. } => None,
    })
}

fn dry_run(data: &Path, args: &[&str]) -> Value {
    let run = tierbench(data).args(args).args(["--dry-run", "-t", "2", "-o", "json"]).assert().success();
    serde_json::from_slice(&run.get_output().stdout).unwrap()
}

fn number(quote: &Value, key: &str) -> f64 {
    quote[key].as_f64().unwrap_or_else(|| panic!("{key} in {quote}"))
}

const MODEL: &str = "smollm2-135m-instruct";
const TIER: &str = "smollm2-135m-instruct:q4_1";

#[test]
fn all_three_commands_quote_from_the_same_history() {
    let data = history(nothing);
    let empty = tempfile::tempdir().unwrap();
    for (args, cells) in [
        (&["run", "-l", "q8_0,q4_1"][..], 6),
        (&["bench", "-m", TIER][..], 2),
        (&["eval", "-m", TIER, "--task", example::TASK, "--bar", "0.75"][..], 1),
    ] {
        let (known, new) = (dry_run(data.path(), args), dry_run(empty.path(), args));
        assert_eq!(
            (known["cells"].as_u64(), &known["source"], &new["source"]),
            (Some(cells), &"history".into(), &"roofline".into())
        );
        for quote in [&known, &new] {
            let [lo, value, hi] = ["seconds_lo", "seconds", "seconds_hi"].map(|key| number(quote, key));
            assert!(0.0 < lo && lo <= value && value <= hi && number(quote, "tokens") > 0.0, "{quote}");
            for what in ["joules", "usd"] {
                let [lo, value, hi] = ["lo", "value", "hi"].map(|end| number(&quote[what], end));
                assert!(0.0 < lo && lo < value && value < hi, "{quote}");
            }
        }
        let width = |quote: &Value| number(quote, "seconds_hi") / number(quote, "seconds_lo");
        assert!(width(&known) < width(&new), "{known} {new}");
    }
}

#[test]
fn a_test_takes_what_its_trials_took_and_threads_or_sizes_of_another_tier_say_nothing() {
    let data = history(|raw| raw.idle.ready = None);
    // Five trials of 0.38 s and 1 s were precise enough; four more go before them, and so does loading.
    let known = dry_run(data.path(), &["bench", "-m", TIER, "--no-bandwidth"]);
    let seconds = number(&known, "seconds");
    assert!((9.0 * 1.38..=9.0 * 1.38 + 3.0).contains(&seconds), "{known}");
    let fixed = dry_run(data.path(), &["bench", "-m", TIER, "--no-bandwidth", "-r", "25"]);
    assert!((number(&fixed, "seconds") - seconds - 20.0 * 1.38).abs() < 2.0, "{fixed}");
    for other in [&["bench", "-m", "smollm2-135m-instruct:q6_k"][..], &["bench", "-m", TIER, "--engine", "candle"]] {
        assert_eq!(dry_run(data.path(), other)["source"], "roofline", "{other:?}");
    }
    let run =
        tierbench(data.path()).args(["bench", "--dry-run", "-m", TIER, "-t", "1", "-o", "json"]).assert().success();
    assert_eq!(serde_json::from_slice::<Value>(&run.get_output().stdout).unwrap()["source"], "roofline");
}

#[test]
fn a_run_that_was_cut_short_does_not_make_the_next_look_short() {
    let eval = ["eval", "-m", TIER, "--task", example::TASK, "--bar", "0.75"];
    let decided = dry_run(history(nothing).path(), &eval);
    // The first twenty items, after which an interrupt, the budget or a limit ended it: no verdict.
    let cut = history(|raw| {
        raw.run.interrupted = true;
        for task in items(raw) {
            let share = 20.0 / task.items.len() as f64;
            task.items.truncate(20);
            task.energy.iter_mut().for_each(|window| window.window_s *= share);
            task.stopped = Some("interrupted".into());
        }
    });
    let cut = dry_run(cut.path(), &eval);
    assert_eq!(cut["source"], "history", "the time of an item is known");
    assert!(number(&cut, "seconds_hi") >= number(&decided, "seconds_hi"), "{cut} {decided}");
    assert!(number(&cut, "seconds") > number(&decided, "seconds"), "{cut} {decided}");
    let all = dry_run(history(nothing).path(), &[&eval[..], &["--full"]].concat());
    assert!(number(&all, "seconds") >= number(&decided, "seconds"), "{all}");
}

#[test]
fn a_dry_run_is_readable_starts_nothing_and_refuses_names_nobody_has() {
    let data = tempfile::tempdir().unwrap();
    let text = |args: &[&str]| {
        let run = tierbench(data.path()).args(args).arg("--dry-run").assert().success();
        String::from_utf8(run.get_output().stdout.clone()).unwrap()
    };
    let bench = text(&["bench", "-m", TIER, "-p", "512", "-n", "0", "-b", "1"]);
    assert!(
        bench.starts_with("plan: 1 tier × 1 workload = 1 cell; about ") && bench.contains("workloads: pp512"),
        "{bench}"
    );
    let eval = text(&["eval", "-m", TIER, "-m", "smollm2-135m-instruct:q8_0"]);
    assert!(eval.contains("2 tiers × 1 task = 2 cells") && eval.contains("tasks: support_tickets at"), "{eval}");
    for command in ["run", "bench", "eval"] {
        let args = [command, "--dry-run", "-m", "smollm2-135m-instrct"];
        tierbench(data.path()).args(args).assert().code(1).stderr(predicate::str::contains(MODEL));
    }
    assert!(History::open(data.path()).unwrap().list().unwrap().is_empty());
}

#[test]
fn a_bench_says_what_it_will_take_and_then_what_it_took_and_stdout_is_none_the_wiser() {
    let Some(model) = real_model(SMOLLM2) else { return };
    let data = tempfile::tempdir().unwrap();
    // A window of five seconds, whatever the engine: long enough to be worth a prediction.
    let long = ["--power-cmd", "echo 40", "--power-interval", "0.1", "--energy-window", "5", "--idle", "0"];
    let bench = |further: &[&str]| {
        let args = ["bench", "--engine", "mock", "-p", "32", "-n", "0", "--no-bandwidth", "-o", "json", "-m"];
        let run = tierbench(data.path()).args(args).arg(&model).args(further).assert().success();
        let output = run.get_output();
        let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
        String::from_utf8(output.stderr.clone()).unwrap()
    };
    let notes = bench(&long);
    let (before, after) = (notes.find("plan: 1 tier"), notes.find("took "));
    assert!(before.is_some() && before < after && notes.contains("thousand tokens ("), "{notes}");
    assert_eq!(bench(&[&long[..], &["--quiet"]].concat()), "");
    let short = bench(&["-r", "2", "--meter", "none"]);
    assert!(!short.contains("plan:") && !short.contains("took"), "{short}");
}

#[test]
fn an_evaluation_keeps_what_was_said_and_what_it_took() {
    let Some(model) = real_model(SMOLLM2) else { return };
    let data = tempfile::tempdir().unwrap();
    let record = data.path().join("record.json");
    let args = ["eval", "--engine", "mock", "--limit", "20", "--quiet", "-m"];
    tierbench(data.path())
        .args(args)
        .arg(&model)
        .arg("--record")
        .arg(&record)
        .assert()
        .code(predicate::in_iter([0, 3, 4]));
    let stored: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    let plan = &stored["raw"]["plan"];
    assert!(number(&plan["quote"]["seconds"], "hi") > 0.0 && number(&plan["took"], "seconds") > 0.0, "{plan}");
    tierbench(data.path()).arg("verify").arg(&record).assert().success();
}
