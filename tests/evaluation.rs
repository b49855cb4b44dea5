//! `eval` and `cascade` end to end on the real model: verdicts, the per-item log, the history, resumption, comparison with
//! a reference, and a cascade out of the log.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

mod common;

use std::path::Path;

use assert_cmd::Command;
use common::{SMOLLM2, real_model};
use predicates::prelude::*;
use serde_json::Value;

fn tierbench(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tierbench"));
    command.env("TIERBENCH_DATA", data).arg("--quiet");
    command
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn log_lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn example(name: &str) -> String {
    format!("{}/examples/tasks/{name}/{name}.yaml", env!("CARGO_MANIFEST_DIR"))
}

/// A second file of the same model, so that two tiers can be told apart: one level lower.
fn lower(source: &Path, dir: &Path) -> String {
    let out = dir.join("lower.gguf");
    let level = tierbench::plan::Level::Q4_0;
    tierbench::model::quantize::quantize_file(source, &out, level, &mut tierbench::model::Silent).unwrap();
    out.to_str().unwrap().to_owned()
}

#[test]
fn task_files_of_lm_eval_are_judged_logged_and_stored() {
    let Some(model) = real_model(SMOLLM2) else { return };
    let dir = tempfile::tempdir().unwrap();
    let (log, record) = (dir.path().join("log.jsonl"), dir.path().join("record.json"));
    let run = tierbench(dir.path())
        .args(["eval", "-m", model.to_str().unwrap(), "--full", "-o", "json", "--bar", "0.6"])
        .args(["--task", &example("arc_easy"), "--task", &example("boolq")])
        .arg("--log")
        .arg(&log)
        .arg("--record")
        .arg(&record)
        .assert()
        .code(predicate::in_iter([0, 3, 4]));
    let result = json(&run.get_output().stdout);
    let cells = result["cells"].as_array().unwrap();
    assert_eq!(cells.iter().map(|cell| cell["items"].as_u64().unwrap()).collect::<Vec<_>>(), [24, 20]);
    let arc = &cells[0];
    // A 135M model knows what melts ice better than chance (0.25), and not everything.
    assert!((0.4..=0.97).contains(&arc["pass_rate"].as_f64().unwrap()), "{arc}");
    for key in ["interval", "verdict", "baseline", "usd_per_1k_solved", "items_per_s", "statement"] {
        assert!(!arc[key].is_null(), "{key}: {arc}");
    }
    let lines = log_lines(&log);
    assert_eq!(lines.len(), 44);
    for line in &lines {
        assert_eq!(line["prompt_hash"].as_str().unwrap().len(), 64);
        assert!(line["ms"].as_f64().unwrap() > 0.0 && line["joules"].is_null() && line["finish_reason"] == "scored");
        assert_eq!(line["pass"], Value::Bool(line["answer"] == line["target"]), "{line}");
    }
    let passes = lines.iter().filter(|line| line["task"] == "arc_easy" && line["pass"] == true).count();
    assert_eq!(arc["passes"].as_u64().unwrap() as usize, passes, "the log says what the table says");

    let text = record.to_str().unwrap();
    tierbench(dir.path()).args(["verify", text]).assert().success();
    let report = tierbench(dir.path()).args(["report", "latest", "-o", "md"]).assert().success();
    assert!(String::from_utf8_lossy(&report.get_output().stdout).contains("arc_easy"));
}

#[test]
fn generated_answers_are_filtered_and_logged() {
    let Some(model) = real_model(SMOLLM2) else { return };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log.jsonl");
    tierbench(dir.path())
        .args(["eval", "-m", model.to_str().unwrap(), "--task", &example("gsm8k"), "--bar", "0.5", "--limit", "3"])
        .args(["--full", "--log_samples"])
        .arg(&log)
        .assert()
        .code(predicate::in_iter([0, 3, 4]));
    let lines = log_lines(&log);
    assert_eq!(lines.len(), 3);
    for line in lines {
        let (raw, answer) = (line["raw"].as_str().unwrap(), line["answer"].as_str().unwrap());
        assert!(answer == "[invalid]" || raw.contains(&format!("#### {answer}")), "{line}");
        assert!(!raw.contains("Question:") && line["gen_tokens"].as_u64().unwrap() > 0, "{line}");
    }
}

#[test]
fn an_item_is_shown_as_the_model_sees_it() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["eval", "--task", &example("gsm8k"), "--show", "2", "-o", "json"];
    let run = tierbench(dir.path()).args(args).assert().success();
    let shown = json(&run.get_output().stdout);
    let prompt = shown["prompt"].as_str().unwrap();
    assert!(prompt.ends_with("\nAnswer:") && prompt.matches("Question:").count() == 6, "{prompt}");
    assert!(shown["until"].as_array().unwrap().contains(&"Question:".into()) && shown["prompt_ids"].is_null());
    tierbench(dir.path()).args(["eval", "--task", &example("gsm8k"), "--show", "99"]).assert().code(2);
}

#[test]
fn a_killed_evaluation_goes_on_where_it_was() {
    let Some(model) = real_model(SMOLLM2) else { return };
    let dir = tempfile::tempdir().unwrap();
    let args =
        ["eval", "-m", model.to_str().unwrap(), "--full", "-o", "json", "--task", "support_tickets", "--limit", "40"];
    // A first attempt, interrupted as soon as some items are logged.
    let log = dir.path().join("first.jsonl");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_tierbench"))
        .env("TIERBENCH_DATA", dir.path())
        .args(args)
        .arg("--log")
        .arg(&log)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let seen = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
    while seen() == 0 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let id = child.id().to_string();
    std::process::Command::new("kill").args(["-INT", &id]).status().unwrap();
    let code = child.wait().unwrap().code();
    let second = tierbench(dir.path()).args(args).arg("--resume").assert().code(predicate::in_iter([0, 3, 4]));
    let second = json(&second.get_output().stdout)["cells"][0].clone();
    if code == Some(130) {
        assert!(second["resumed_items"].as_u64().unwrap() > 0, "{second}");
    }
    // What is resumed ends as what was never stopped.
    let other = tempfile::tempdir().unwrap();
    let whole = tierbench(other.path()).args(args).assert().code(predicate::in_iter([0, 3, 4]));
    let whole = json(&whole.get_output().stdout)["cells"][0].clone();
    for key in ["items", "passes", "verdict", "decided_at", "ln_e_clears", "levels"] {
        assert_eq!(second[key], whole[key], "{key}");
    }
}

#[test]
fn tiers_are_compared_with_a_reference_and_cascaded() {
    let Some(model) = real_model(SMOLLM2) else { return };
    let dir = tempfile::tempdir().unwrap();
    let (strong, weak) = (model.to_str().unwrap(), lower(&model, dir.path()));
    let log = dir.path().join("log.jsonl");
    let run = tierbench(dir.path())
        .args([
            "eval",
            "-m",
            &weak,
            "--reference",
            strong,
            "--tolerance",
            "0.1",
            "--full",
            "--limit",
            "60",
            "-o",
            "json",
        ])
        .args(["--task", "support_tickets", "--margin", "0.05", "--log"])
        .arg(&log)
        .assert()
        .code(predicate::in_iter([0, 3, 4]));
    let result = json(&run.get_output().stdout);
    let cells = result["cells"].as_array().unwrap();
    assert_eq!((cells.len(), &cells[1]["paired"]), (2, &Value::Null), "the reference has none beside it");
    let paired = &cells[0]["paired"];
    assert_eq!(paired["items"], 60);
    let count = |key: &str| paired[key].as_u64().unwrap();
    let passes = |i: usize| cells[i]["passes"].as_u64().unwrap();
    assert_eq!(passes(0) + count("only_reference"), passes(1) + count("only_tier"));
    assert!(cells[0]["clustered_stderr"].is_f64() && cells[0]["margin"] == 0.05, "{}", cells[0]);

    let cascade = |bar: &str| {
        let mut command = tierbench(dir.path());
        let run = command.arg("cascade").arg(&log).args(["--weak", "lower", "--bar", bar, "-o", "json"]).assert();
        json(&run.code(predicate::in_iter([0, 3])).get_output().stdout)
    };
    let result = cascade("0.3");
    let curve = result["curve"].as_array().unwrap();
    let rate = |i: usize| passes(i) as f64 / 60.0;
    assert!((curve[0]["accuracy"].as_f64().unwrap() - rate(0)).abs() < 1e-12, "no deferral is the weak tier");
    assert!((curve.last().unwrap()["accuracy"].as_f64().unwrap() - rate(1)).abs() < 1e-12, "all is the strong one");
    assert!(result["auroc"]["confidence"].is_f64() && result["auroc"]["brevity"].is_null(), "{result}");
    assert_eq!((&result["items"], &cascade("0.99")["cheapest"]), (&60.into(), &Value::Null));
    let table = tierbench(dir.path()).arg("cascade").arg(&log).args(["--bar", "0.3"]).assert();
    let table = String::from_utf8_lossy(&table.get_output().stdout).into_owned();
    assert!(table.contains("random deferral") && table.contains("AUROC"), "{table}");

    // A third tier shares alpha; a fourth, that stopped early, is left out by name.
    let text = std::fs::read_to_string(&log).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let strong_name = result["strong"].as_str().unwrap();
    let copies = |tier: &str| -> Vec<String> {
        let of_strong = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let renamed = of_strong.filter(|line| line["tier"] == strong_name).map(|mut line| {
            line["tier"] = tier.into();
            line.to_string()
        });
        renamed.collect()
    };
    let more = [copies("third"), copies("fourth").split_off(50)].concat();
    lines.extend(more);
    std::fs::write(&log, lines.join("\n")).unwrap();
    let command = |extra: &[&str]| {
        let mut command = tierbench(dir.path());
        command.arg("cascade").arg(&log).args(["--weak", "lower", "--strong", strong_name, "--bar", "0.3"]).args(extra);
        String::from_utf8_lossy(&command.assert().get_output().stdout).into_owned()
    };
    let four: Value = serde_json::from_str(&command(&["-o", "json"])).unwrap();
    assert_eq!(four["tiers_sharing_alpha"], 4, "{four}");
    let third = &four["others_alone"][0];
    assert_eq!(four["others_alone"].as_array().unwrap().len(), 1, "{four}");
    assert_eq!((&third["tier"], &third["p_value"]), (&"third".into(), &four["strong_alone"]["p_value"]), "{four}");
    assert!(command(&[]).contains("Left out, stopped before the last item: fourth"), "{}", command(&[]));
}

#[test]
fn strategies_leave_tiers_untested_and_say_so() {
    let Some(model) = real_model(SMOLLM2) else { return };
    let dir = tempfile::tempdir().unwrap();
    let (strong, weak) = (model.to_str().unwrap(), lower(&model, dir.path()));
    let eval = |args: &[&str]| {
        let mut command = tierbench(dir.path());
        let run =
            command.args(["eval", "-m", &weak, "-m", strong, "--task", "support_tickets", "-o", "json"]).args(args);
        let run = run.assert().code(predicate::in_iter([0, 3, 4]));
        (run.get_output().status.code(), json(&run.get_output().stdout))
    };
    // No tier reaches 0.97: from the top it ends at the first.
    let (code, top) = eval(&["--from-top", "--bar", "0.97"]);
    assert_eq!((code, top["cells"].as_array().unwrap().len()), (Some(3), 1), "{top}");
    assert_eq!(top["cells"][0]["tiers_sharing_alpha"], 1);
    assert_eq!(top["answers"][0]["not_tested"].as_array().unwrap().len(), 1);
    // Both reach 0.3: from the cheapest it ends at the first, too.
    let (code, first) = eval(&["--first", "--bar", "0.3", "--suite"]);
    assert_eq!((code, first["cells"].as_array().unwrap().len()), (Some(0), 1), "{first}");
    assert_eq!(
        (&first["cells"][0]["tiers_sharing_alpha"], &first["cells"][0]["verdict"]),
        (&2.into(), &"CLEARS".into())
    );
    assert_eq!(first["cells"][0]["question"]["suite"]["items"], 240);
}

#[test]
fn bad_input_is_one_line_that_names_the_flag() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log.jsonl");
    std::fs::write(&log, "{\"task\":\"t\"}\n").unwrap();
    let log = log.to_str().unwrap();
    let arc = example("arc_easy");
    for (args, code, wanted) in [
        (vec!["eval", "--task", &arc], 2, "--bar"),
        (vec!["eval", "--task", &arc, "--bar", "0.2"], 1, "random choice"),
        (vec!["eval", "--task", &arc, "--bar", "0.9", "--margin", "0.95"], 2, "margin"),
        (vec!["eval", "--task", &arc, "--task", &arc, "--bar", "0.9"], 2, "named twice"),
        (vec!["eval", "--task", "nonsense", "--bar", "0.9"], 1, "unknown task `nonsense`"),
        (vec!["cascade", log, "--bar", "0.5"], 1, "log.jsonl:1: no line of a per-item log"),
        (vec!["cascade", log, "--bar", "1.5"], 2, "--bar 1.5"),
        (vec!["cascade", log, "--bar", "0.5", "--signal", "hope"], 2, "hope"),
    ] {
        let run = tierbench(dir.path()).arg("--offline").args(&args).assert().code(code);
        let errors = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(errors.contains(wanted) && !errors.contains("panicked"), "{args:?}: {errors}");
    }
}
