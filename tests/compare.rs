//! Two records side by side, and the guards of a CI job, through the binary.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod example;

use example::{DECODE, TASK, raw, record, tierbench, write};
use serde_json::Value;
use tierbench::quality::ItemResult;
use tierbench::store::cell::{Cell, Outcome, Subject};
use tierbench::store::history::History;
use tierbench::store::record::{RawRecord, Record};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `compare` of two records: exit code, stdout, stderr.
fn compare(a: RawRecord, b: RawRecord, args: &[&str]) -> (i32, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = |name, raw| write(dir.path(), name, &serde_json::to_value(Record::from_raw(raw).unwrap()).unwrap());
    let (a, b) = (file("a.json", a), file("b.json", b));
    let output = tierbench(dir.path()).arg("compare").args([a, b]).args(args).output().unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// The example with every cell changed.
fn with_cells(mut change: impl FnMut(&mut Cell)) -> RawRecord {
    let mut raw = raw();
    raw.cells.iter_mut().for_each(&mut change);
    raw
}

/// The example with the items of the q8_0 tier changed: the first 135 of 150 pass.
fn with_items(change: impl FnOnce(&mut Vec<ItemResult>)) -> RawRecord {
    let mut raw = raw();
    let is_first = |cell: &&mut Cell| cell.tier.0.contains("q8_0") && matches!(cell.outcome, Outcome::Task(_));
    let Some(Cell { outcome: Outcome::Task(results), .. }) = raw.cells.iter_mut().find(is_first) else {
        panic!("the example has a task")
    };
    for (i, item) in results.items.iter_mut().enumerate() {
        judge(item, i < 135);
    }
    change(&mut results.items);
    raw
}

fn judge(item: &mut ItemResult, pass: bool) {
    item.pass = pass;
    item.score = f64::from(u8::from(pass));
}

/// The rows of `list` in `-o json` that are about the q8_0 tier and `name`.
fn of_q8<'a>(comparison: &'a Value, list: &str, name: &str) -> Vec<&'a Value> {
    let is_it = |row: &&Value| row["tier"].as_str().unwrap().contains("q8_0") && row["name"] == name;
    comparison[list].as_array().unwrap().iter().filter(is_it).collect()
}

fn json(out: &str) -> Value {
    serde_json::from_str(out).unwrap()
}

#[test]
fn compare_gives_ratios_and_guards_a_tier() {
    let dir = tempfile::tempdir().unwrap();
    let a = write(dir.path(), "a.json", &serde_json::to_value(record()).unwrap());
    let mut slower = raw();
    for cell in &mut slower.cells {
        if let (Subject::Workload(w), Outcome::Speed(trials)) = (&cell.subject, &mut cell.outcome)
            && *w == DECODE
        {
            for sample in &mut trials.samples {
                sample.elapsed_ns = sample.elapsed_ns * 5 / 4;
            }
        }
    }
    slower.build.rustc = Some("rustc 1.96.0".into());
    let b = write(dir.path(), "b.json", &serde_json::to_value(Record::from_raw(slower).unwrap()).unwrap());
    let compare = |extra: &[&str]| {
        let output = tierbench(dir.path()).arg("compare").args([&a, &b]).args(extra).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, out, _) = compare(&[]);
    assert_eq!(code, 0);
    assert!(out.contains("0.8000 [") && out.contains("lower") && out.contains("tie"), "{out}");
    assert!(out.contains("rustc: — → rustc 1.96.0"), "{out}");
    let (code, _, err) = compare(&["--fail-if", "tg128 < 0.95"]);
    assert!(code == 1 && err.contains("tg128 is 0.8000 of A"), "{err}");
    assert_eq!(compare(&["--fail-if", "tg128 < 0.75", "--fail-if", "pass_rate < 0.99"]).0, 0);
    let (code, _, err) = compare(&["--fail-if", "tg999 < 0.95"]);
    assert!(code == 1 && err.contains("nothing named `tg999`"), "{err}");
    assert_eq!(compare(&["--fail-if", "nonsense"]).0, 2);
    let (code, out, _) = compare(&["-o", "json"]);
    let parsed: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(code == 0 && parsed["shared"].as_array().unwrap().len() >= 8, "{out}");
}

#[test]
fn machines_are_compared_by_model_and_level_and_found_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    for (id, cpu, threads) in
        [("20260821-140500-aaaaaa", "Machine A 9000", 2), ("20260821-140600-bbbbbb", "Machine B", 8)]
    {
        let mut raw = raw();
        raw.run.id = id.into();
        raw.host.cpu = Some(cpu.into());
        for facts in &mut raw.tiers {
            let old = facts.key.clone();
            facts.tier.n_threads = threads;
            facts.key = facts.tier.key();
            for cell in raw.cells.iter_mut().filter(|cell| cell.tier == old) {
                cell.tier = facts.key.clone();
            }
        }
        assert!(history.import(&Record::from_raw(raw).unwrap(), "imported").unwrap());
    }
    let list = text(&tierbench(dir.path()).arg("history").output().unwrap().stdout);
    assert!(list.contains(" 9 "), "cells of imported runs are counted: {list}");
    drop(history);
    let text = text(&tierbench(dir.path()).args(["compare", "machine:a 9000", "machine:B"]).output().unwrap().stdout);
    assert!(text.contains("native cpu t2 → ") && text.contains("native cpu t8"), "{text}");
    assert!(text.contains("cpu: Machine A 9000 → Machine B"), "{text}");
    assert!(text.contains("tg128 j_per_token") && text.contains("usd_per_mtok_out"), "{text}");
    let output = tierbench(dir.path()).args(["compare", "machine:Z99", "latest"]).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && err.contains("Machine A 9000") && err.lines().count() == 1, "{err}");
}

#[test]
fn a_tier_whose_cells_failed_is_listed_and_fails_the_guard() {
    let failed = with_cells(|cell| {
        if cell.tier.0.contains("q8_0") && matches!(cell.subject, Subject::Workload(_)) {
            cell.outcome = Outcome::Failed { error: "out of memory".into() };
        }
    });
    let (code, out, err) = compare(raw(), failed.clone(), &["--certain", "--fail-if", "tg128 < 0.95"]);
    assert_eq!(code, 1, "{out}");
    assert!(err.contains("q8_0 native cpu t2: tg128 is missing in B (failed: out of memory)"), "{err}");
    assert_eq!(err.lines().count(), 1, "the tiers that have it hold: {err}");
    assert!(out.contains("b lacks 6 of the ") && out.contains("missing"), "{out}");
    let prices = "tg128 j_per_token, usd_per_mtok_in, usd_per_mtok_out (failed: out of memory)";
    assert!(out.contains(prices), "what rests on speed went with it: {out}");
    assert_eq!(compare(raw(), failed.clone(), &["--fail-if", "pass_rate < 0.98"]).0, 0, "it was judged all the same");
    // The other way about it is new: listed, and no failure of those that have both.
    let (code, out, err) = compare(failed, raw(), &["--fail-if", "tg128 < 0.95"]);
    assert!(code == 0 && err.is_empty(), "{err}");
    assert!(
        out.contains("New in b, smollm2-135m-instruct:q8_0") && out.contains("(in a: failed: out of memory)"),
        "{out}"
    );
}

#[test]
fn a_tier_that_vanished_is_listed_and_fails_the_guard() {
    let mut fewer = raw();
    fewer.tiers.retain(|tier| !tier.key.0.contains("q8_0"));
    fewer.cells.retain(|cell| !cell.tier.0.contains("q8_0"));
    for guard in ["tg128 < 0.95", "pass_rate < 0.98", "usd_per_1k_solved > 1.1", "j_per_token > 1.1"] {
        let (code, out, err) = compare(raw(), fewer.clone(), &["--certain", "--fail-if", guard]);
        assert!(code == 1 && err.contains("is missing in B (no such tier)") && err.contains(guard), "{err}");
        assert!(out.contains("Only in a: smollm2-135m-instruct:q8_0 native cpu t2."), "{out}");
    }
}

#[test]
fn a_test_that_was_not_run_again_fails_only_its_own_guard() {
    let mut fewer = raw();
    fewer.cells.retain(|cell| cell.subject != Subject::Workload(DECODE));
    let (code, _, err) = compare(raw(), fewer.clone(), &["--fail-if", "tg128 < 0.95"]);
    assert!(code == 1 && err.contains("tg128 is missing in B (not measured)"), "{err}");
    assert_eq!(compare(raw(), fewer, &["--fail-if", "pp512 < 0.95"]).0, 0);
}

#[test]
fn energy_of_another_boundary_cannot_be_guarded() {
    let walls = with_cells(|cell| {
        if let Outcome::Speed(trials) = &mut cell.outcome {
            trials.windows.iter_mut().for_each(|window| window.reading.domains = vec!["package-0".into()]);
        }
    });
    let (code, out, err) = compare(raw(), walls, &["--fail-if", "tg128 j_per_token > 1.1"]);
    assert!(code == 1 && err.contains("not comparable: counter energy of components package-0+dram in a"), "{err}");
    assert!(out.contains("tg128 j_per_token"), "{out}");
}

#[test]
fn losses_on_the_same_items_are_no_tie() {
    let fewer = with_items(|items| items[..15].iter_mut().for_each(|item| judge(item, false)));
    let (code, out, err) = compare(with_items(|_| {}), fewer.clone(), &["--certain", "--fail-if", "pass_rate < 0.98"]);
    assert!(code == 1 && err.contains("q8_0 native cpu t2: support_tickets pass_rate is 0.8889 of A"), "{err}");
    assert!(out.contains("the same items") && out.contains("0.000061") && out.contains("Bonett"), "{out}");
    let (_, out, _) = compare(with_items(|_| {}), fewer, &["-o", "json"]);
    let comparison = json(&out);
    let rows = of_q8(&comparison, "shared", &format!("{TASK} pass_rate"));
    assert!(rows[0]["ratio"]["hi"].as_f64().unwrap() < 0.98 && rows[0]["significant"] == true, "{}", rows[0]);
    let cost = of_q8(&comparison, "shared", &format!("{TASK} usd_per_1k_solved"))[0];
    assert!(cost["significant"] == true && (cost["point"].as_f64().unwrap() - 1.125).abs() < 1e-9, "{cost}");
    let items = &rows[0]["items"];
    assert_eq!([&items["common"], &items["both"], &items["only_a"], &items["only_b"]], [150, 120, 15, 0]);
}

#[test]
fn pass_rates_are_compared_over_the_items_both_graded() {
    // In another order, stopped earlier.
    let shorter = with_items(|items| {
        items.truncate(100);
        items.reverse();
    });
    let (_, out, _) = compare(with_items(|_| {}), shorter.clone(), &["-o", "json"]);
    let comparison = json(&out);
    let row = of_q8(&comparison, "shared", &format!("{TASK} pass_rate"))[0];
    assert_eq!([&row["a"], &row["b"], &row["ratio"]["value"]], [1.0, 1.0, 1.0], "not 0.9 against 1: {row}");
    assert_eq!([&row["items"]["common"], &row["items"]["graded_a"], &row["items"]["graded_b"]], [100, 150, 100]);
    let (_, out, _) = compare(with_items(|_| {}), shorter, &[]);
    assert!(out.contains("paired by id over the items both graded"), "{out}");
}

#[test]
fn items_without_anything_in_common_are_taken_as_independent() {
    let others = with_items(|items| items.iter_mut().for_each(|item| item.item.push_str("-other")));
    let mut b = others.clone();
    b.prompts.clear();
    let (_, out, _) = compare(with_items(|_| {}), b.clone(), &["-o", "json"]);
    let comparison = json(&out);
    let row = of_q8(&comparison, "shared", &format!("{TASK} pass_rate"))[0];
    assert!(row["items"].is_null() && row["ratio"]["lo"].as_f64().unwrap() < 0.95, "{row}");
    let (_, out, _) = compare(with_items(|_| {}), b, &[]);
    assert!(out.contains("support_tickets pass_rate is of different items"), "{out}");
}

#[test]
fn a_pass_rate_of_nothing_is_lower_and_what_rises_from_it_is_higher() {
    let none = || with_items(|items| items.iter_mut().for_each(|item| judge(item, false)));
    let row_of = |out: &str| {
        let is_it = |line: &&str| line.contains("q8_0") && line.contains("pass_rate");
        out.lines().find(is_it).unwrap().to_owned()
    };
    let guards = ["--certain", "--fail-if", "pass_rate < 0.98", "--fail-if", "usd_per_1k_solved > 1.10"];
    let (code, out, err) = compare(with_items(|_| {}), none(), &guards);
    assert!(code == 1 && err.contains("pass_rate is 0.0000 of A"), "{err}");
    assert!(err.contains("usd_per_1k_solved is missing in B (no item was solved)"), "{err}");
    assert!(row_of(&out).contains("0 [0, ") && row_of(&out).ends_with("lower"), "{out}");
    let (code, out, err) = compare(none(), with_items(|_| {}), &["--certain", "--fail-if", "pass_rate < 0.98"]);
    assert!(code == 0 && err.is_empty(), "{err}");
    assert!(row_of(&out).contains("∞)") && row_of(&out).ends_with("higher"), "{out}");
    let (code, out, err) = compare(none(), none(), &["--fail-if", "pass_rate < 0.98"]);
    assert!(code == 0 && err.is_empty() && row_of(&out).ends_with("the same"), "{out} {err}");
}

#[test]
fn what_changed_around_the_measurement_is_listed() {
    let mut other = raw();
    other.bandwidth[0].memory = Some(2.0e10 / 3.0);
    other.host.physical_cores = Some(64);
    other.host.usable_cpus = 64;
    other.build.target = "aarch64-linux".into();
    other.plan.bootstrap_seed = 9;
    other.tasks[0].rule.bar = "0.9".parse::<f64>().unwrap().try_into().unwrap();
    for tier in &mut other.tiers {
        tier.model.tokenizer_sha256 = Some("ab".repeat(32));
    }
    other.tiers[0].model.template_sha256 = Some("cd".repeat(32));
    let (_, out, _) = compare(raw(), other, &["-o", "json"]);
    let changed = json(&out)["changed"].clone();
    for expected in [
        "memory bandwidth on 2 threads: 20.0 → 6.67 GB/s (×0.333)",
        "cores: 2 → 64",
        "usable processors: 0 → 64",
        "target: — → aarch64-linux",
        "seed of the bootstrap: 0 → 9",
        "bar of support_tickets: 0.75 → 0.9",
        "tokenizer: — → abababababab (every tier)",
        "chat template: — → cdcdcdcdcdcd (smollm2-135m-instruct:q8_0 native cpu t2)",
    ] {
        assert!(changed.as_array().unwrap().iter().any(|change| change == expected), "{expected} is not in {changed}");
    }
    assert_eq!(changed.as_array().unwrap().len(), 8, "{changed}");
    let (_, out, _) = compare(raw(), raw(), &["-o", "json"]);
    assert_eq!(json(&out)["changed"], Value::Array(vec![]));
}

#[test]
fn every_guard_is_checked_and_a_misspelt_one_is_refused() {
    let slower = with_cells(|cell| {
        if let Outcome::Speed(trials) = &mut cell.outcome {
            trials.samples.iter_mut().for_each(|sample| sample.elapsed_ns *= 2);
        }
    });
    let (code, _, err) = compare(raw(), slower, &["--fail-if", "tg999 < 0.95", "--fail-if", "tg128 < 0.95"]);
    assert!(code == 1 && err.contains("nothing named `tg999`") && err.contains("tg128 is 0.5000 of A"), "{err}");
    let (code, _, err) = compare(raw(), raw(), &["--fail-if", "tg128 =< 0.9"]);
    assert!(code == 2 && err.contains("<, <=, > or >="), "{err}");
}

#[test]
fn only_formats_that_work_are_offered() {
    let help = text(&tierbench(&std::env::temp_dir()).args(["compare", "--help"]).output().unwrap().stdout);
    assert!(!help.contains("csv") && !help.contains("sql"), "{help}");
    for format in ["table", "md", "json"] {
        assert!(help.contains(format) && compare(raw(), raw(), &["-o", format]).0 == 0, "{format}");
    }
    let (code, _, err) = compare(raw(), raw(), &["-o", "csv"]);
    assert!(code == 2 && err.contains("[possible values: table, md, json]"), "{err}");
}

/// The example with every tier once for each engine and number of threads.
fn with_engines(variants: &[(&str, u32)]) -> RawRecord {
    let example = raw();
    let mut raw = RawRecord { tiers: Vec::new(), cells: Vec::new(), ..example.clone() };
    for tier in &example.tiers {
        for (engine, threads) in variants {
            let mut facts = tier.clone();
            (facts.tier.engine, facts.tier.n_threads) = ((*engine).into(), *threads);
            facts.key = facts.tier.key();
            let own = example.cells.iter().filter(|cell| cell.tier == tier.key);
            raw.cells.extend(own.map(|cell| Cell { tier: facts.key.clone(), ..cell.clone() }));
            raw.tiers.push(facts);
        }
    }
    raw
}

/// What the q8_0 tiers are called in the rows of their decode speed.
fn paired(a: &[(&str, u32)], b: &[(&str, u32)], args: &[&str]) -> Vec<String> {
    let (code, out, err) = compare(with_engines(a), with_engines(b), &[&["-o", "json"], args].concat());
    assert_eq!(code, 0, "{err}");
    let comparison = json(&out);
    let name = |row: &&Value| row["tier"].as_str().unwrap().replace("smollm2-135m-instruct:q8_0 ", "");
    of_q8(&comparison, "shared", "tg128").iter().map(name).collect()
}

#[test]
fn tiers_are_held_against_the_nearest_unless_that_is_arbitrary() {
    for (a, b, expected) in [
        (&[("native", 2)][..], &[("native", 8)][..], &["native cpu t2 → native cpu t8"][..]),
        (&[("native", 2)], &[("candle", 2)], &["native cpu t2 → candle cpu t2"]),
        (&[("native", 2)], &[("candle", 2), ("native", 4)], &["native cpu t2 → native cpu t4"]),
        (
            &[("native", 1), ("native", 2)],
            &[("candle", 1), ("candle", 2)],
            &["native cpu t1 → candle cpu t1", "native cpu t2 → candle cpu t2"],
        ),
        // Threads are swept: others are no counterpart.
        (&[("native", 1), ("native", 2)], &[("native", 2), ("native", 4)], &["native cpu t2"]),
        (&[("native", 1), ("native", 2)], &[("native", 4)], &[]),
        (&[("native", 2)], &[("native", 4), ("native", 8)], &[]),
        (&[("native", 2), ("candle", 2)], &[("native", 2)], &["native cpu t2"]),
    ] {
        assert_eq!(paired(a, b, &[]), expected, "{a:?} {b:?}");
    }
}

#[test]
fn a_tier_that_several_fit_names_them_and_the_flag_that_picks_one() {
    let (a, b) = (with_engines(&[("native", 2)]), with_engines(&[("native", 4), ("native", 8)]));
    let guard = ["--fail-if", "tg128 < 0.95"];
    let (code, out, err) = compare(a.clone(), b.clone(), &guard);
    let name = |threads: u32| format!("smollm2-135m-instruct:q8_0 native cpu t{threads}");
    let advice =
        format!("{} or {} could be its counterpart: --pair '{} = {}' says so", name(4), name(8), name(2), name(4));
    assert!(code == 1 && err.contains(&format!("(no tier of that name; {advice})")), "{err}");
    assert!(out.contains(&format!("Not paired, {} of a: {advice}.", name(2))), "{out}");
    let picked = format!("{} = {}", name(2), name(4));
    let (_, out, _) = compare(a.clone(), b.clone(), &["--pair", &picked]);
    assert!(out.contains(&format!("{} → {}", name(2), name(4))), "{out}");
    assert!(out.contains("Not paired, smollm2-135m-instruct:q4_1"), "only that tier was picked: {out}");
    // Words that all tiers of the ladder share pick for all of them.
    let (code, out, err) = compare(a, b, &[&guard[..], &["--pair", "t2=t8"]].concat());
    assert!(code == 0 && err.is_empty() && !out.contains("Not paired"), "{out} {err}");
    assert!(["q8_0", "q4_1", "q2_k"].iter().all(|level| out.contains(&format!("{level} native cpu t8"))), "{out}");
}

#[test]
fn picked_tiers_need_not_be_of_one_level_and_must_be_there() {
    let (q8, q4) = ("smollm2-135m-instruct:q8_0 native cpu t2", "smollm2-135m-instruct:q4_1 native cpu t2");
    let (_, out, _) = compare(raw(), raw(), &["-o", "json", "--pair", &format!("{q8} = {q4}")]);
    let comparison = json(&out);
    assert_eq!(of_q8(&comparison, "shared", "tg128")[0]["tier"], format!("{q8} → {q4}"));
    assert_eq!(comparison["only_a"], serde_json::json!([q4]), "its counterpart is taken");
    let several = || with_engines(&[("native", 4), ("native", 8)]);
    for (pair, code, why) in [
        ("t2", 2, "cannot read `t2` as a pair of tiers"),
        ("t2 =", 2, "cannot read `t2 =` as a pair"),
        ("t99 = t4", 1, "no tier of a has `t99` in its name: it has smollm2-135m-instruct:q8_0 native cpu t2, "),
        ("t2 = t99", 1, "no tier of b has `t99`"),
        ("t2 = native", 1, "goes with smollm2-135m-instruct:q8_0 native cpu t2?"),
    ] {
        let (got, _, err) = compare(raw(), several(), &["--pair", pair]);
        assert!(got == code && err.contains(why), "{pair}: {err}");
    }
    let (code, _, err) = compare(raw(), several(), &["--pair", "t2 = t4", "--pair", "t2 = t8"]);
    assert!(code == 1 && err.contains("is paired already") && err.lines().count() == 1, "{err}");
}
