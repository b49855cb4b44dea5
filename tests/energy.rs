//! Energy end to end: meters of known power recover their joules within the stated interval, and no meter stays unknown.

#![expect(clippy::unwrap_used, reason = "a test that cannot run the binary must fail")]

mod common;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assert_cmd::Command;
use common::{SMOLLM2, real_model};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// Mean power of the simulated meter, W.
const MEAN_W: f64 = 60.0;
/// Swing around it, W.
const SWING_W: f64 = 20.0;
/// Its period, s.
const PERIOD_S: f64 = 20.0;

/// The meter as a program: prints its watts again and again, slowly enough not to disturb.
const METER: &str = r#"while :; do date +%s.%N | awk '{ printf "%.4f\n", 60 + 20 * sin(6.283185307179586 * $1 / 20) }'; sleep 0.1; done"#;

/// Its power at a time, s since 1970.
fn watts(t: f64) -> f64 {
    MEAN_W + SWING_W * (std::f64::consts::TAU * t / PERIOD_S).sin()
}

/// What it draws between two times, J.
fn drawn(from: f64, to: f64) -> f64 {
    let omega = std::f64::consts::TAU / PERIOD_S;
    MEAN_W * (to - from) + SWING_W / omega * ((omega * from).cos() - (omega * to).cos())
}

/// A short run on one tier: what is under test is the meter, not the model.
const RUN: [&str; 15] =
    ["run", "-l", "q4_1", "--limit", "6", "-p", "64", "-n", "8", "--budget", "30", "--idle", "1", "-o", "json"];

fn tierbench(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tierbench"));
    command.env("TIERBENCH_DATA", data).env_remove("TIERBENCH_CATALOGUE").env_remove("TIERBENCH_PRICES");
    command
}

/// Runs to a record. Six items may leave the bar undecided; no cell may fail.
fn record(data: &Path, args: &[&str]) -> Value {
    let run = tierbench(data).args(RUN).args(args).assert().code(predicate::in_iter([0, 3, 4]));
    serde_json::from_slice(&run.get_output().stdout).unwrap()
}

/// Every metered window: (start, length, joules or why there are none).
fn windows(record: &Value) -> Vec<(f64, f64, Result<f64, String>)> {
    let mut readings: Vec<&Value> = ["bare", "ready", "after"].iter().map(|at| &record["raw"]["idle"][at]).collect();
    for cell in record["raw"]["cells"].as_array().unwrap() {
        let outcome = &cell["outcome"];
        readings.extend(outcome["speed"]["windows"].as_array().into_iter().flatten().map(|w| &w["reading"]));
        readings.extend(outcome["task"]["energy"].as_array().into_iter().flatten());
    }
    let number = |value: &Value| value.as_f64().unwrap();
    readings
        .into_iter()
        .filter(|reading| !reading.is_null())
        .map(|reading| {
            let joules = reading["joules"].as_f64().ok_or_else(|| reading["invalid"].to_string());
            (number(&reading["started_unix_s"]), number(&reading["window_s"]), joules)
        })
        .collect()
}

/// Checks that the stated J/token of both phases hold what the meter really drew per token.
fn assert_truth_is_inside(record: &Value) {
    let speed = record["derived"]["speed"].as_array().unwrap();
    assert_eq!(speed.len(), 2, "prefill and decode apart");
    for (numbers, cell) in speed.iter().zip(record["raw"]["cells"].as_array().unwrap()) {
        let (mut joules, mut tokens, mut ratios) = (0.0, 0.0, Vec::new());
        let (mut tick_ms, mut bound, mut seconds) = (0.0, 0.0, 0.0);
        for window in cell["outcome"]["speed"]["windows"].as_array().unwrap() {
            let (start, length) = (&window["reading"]["started_unix_s"], &window["reading"]["window_s"]);
            let start = start.as_f64().unwrap();
            joules += drawn(start, start + length.as_f64().unwrap());
            let n = window["tokens"].as_f64().unwrap();
            tokens += n;
            ratios.push(window["reading"]["joules"].as_f64().unwrap() / n);
            seconds += length.as_f64().unwrap();
            (tick_ms, bound) =
                (window["reading"]["tick_ms"].as_f64().unwrap(), window["reading"]["sensor_bound"].as_f64().unwrap());
        }
        let energy = &numbers["energy"];
        let (lo, hi) = (energy["lo"].as_f64().unwrap(), energy["hi"].as_f64().unwrap());
        let truth = joules / tokens;
        assert!(lo <= truth && truth <= hi, "{}: drew {truth} J/token, stated {lo} to {hi}", numbers["test"]);
        // The interval is F15's and nothing else: scatter of the windows, bound of the sensor, tick of the meter.
        let (e, count) = (energy["total"].as_f64().unwrap(), ratios.len() as f64);
        let mean = ratios.iter().sum::<f64>() / count;
        let u_a = (ratios.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (count - 1.0) / count).sqrt();
        let (u_b, u_q) = (bound * e / 3f64.sqrt(), e * tick_ms / 1000.0 / seconds / 6f64.sqrt());
        let u_c = (u_a * u_a + u_b * u_b + u_q * u_q).sqrt();
        let student = StudentsT::new(0.0, 1.0, (count - 1.0) * (u_c / u_a).powi(4)).unwrap();
        let expanded = u_c * student.inverse_cdf(0.975).max(2.0);
        assert!(((hi - e) / expanded - 1.0).abs() < 1e-9, "U is {expanded}, stated {lo} to {hi} around {e}");
        assert_eq!((&energy["trust"], &energy["scope"]), (&"wall".into(), &"wall".into()));
        for phase in ["marginal", "above_bare"] {
            assert!(energy[phase].is_f64(), "idle power was measured before and after loading: {energy}");
        }
    }
}

#[test]
fn a_command_of_known_power_is_recovered_within_the_stated_interval() {
    if real_model(SMOLLM2).is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let record = record(data.path(), &["--power-cmd", METER, "--power-label", "simulated, 2 %"]);
    let windows = windows(&record);
    assert!(windows.len() > 10, "three idle windows, five of each phase, one of the task: {}", windows.len());
    for (start, length, joules) in windows {
        let (joules, truth) = (joules.unwrap(), drawn(start, start + length));
        assert!((joules / truth - 1.0).abs() < 0.15, "read {joules} J, drew {truth} J in {length} s");
    }
    assert_truth_is_inside(&record);
    let task = &record["derived"]["tasks"][0];
    assert!(task["energy"]["total"].is_f64(), "the graded run is metered as well: {task}");
    assert_eq!(task["cost"]["energy_included"], "measured");

    // What was printed is what a stranger recomputes from the reads.
    let file = data.path().join("record.json");
    std::fs::write(&file, record.to_string()).unwrap();
    tierbench(data.path()).arg("verify").arg(&file).assert().success();
}

#[test]
fn a_log_that_lags_behind_is_aligned_after_the_run() {
    if real_model(SMOLLM2).is_none() {
        return;
    }
    const LAG_S: f64 = 2.0;
    const STEP_S: f64 = 0.1;
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("power.csv");
    let unix_s = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let mut file = std::fs::File::create(&log).unwrap();
    writeln!(file, "t_unix,watts").unwrap();
    let first = unix_s() - LAG_S - 2.0;
    writeln!(file, "{first:.3},{}", watts(first)).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&done);
    let logger = std::thread::spawn(move || {
        let mut t = first;
        while !theirs.load(Ordering::SeqCst) {
            while t + STEP_S < unix_s() - LAG_S {
                t += STEP_S;
                writeln!(file, "{t:.3},{}", watts(t)).unwrap();
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let record = record(data.path(), &["--power-csv", log.to_str().unwrap(), "--power-label", "simulated, 1 %"]);
    done.store(true, Ordering::SeqCst);
    logger.join().unwrap();
    for (start, length, joules) in windows(&record) {
        let (joules, truth) = (joules.unwrap(), drawn(start, start + length));
        // The log is exact at its rows; between them a straight line misses the sine by less than this.
        assert!((joules / truth - 1.0).abs() < 1e-3, "aligned {joules} J, drew {truth} J in {length} s");
    }
    assert_truth_is_inside(&record);
}

#[test]
fn without_any_meter_energy_is_a_dash_and_cost_says_what_it_leaves_out() {
    if real_model(SMOLLM2).is_none() {
        return;
    }
    let (data, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = empty.path().to_str().unwrap();
    let record = record(data.path(), &["--sysfs-root", root]);
    assert!(windows(&record).is_empty());
    let numbers = &record["derived"]["speed"][0];
    assert!(numbers["energy"].is_null() && numbers["median"].is_f64(), "{numbers}");
    assert_eq!(record["derived"]["tiers"][0]["cost"]["energy_included"], "excluded");
    let table = tierbench(data.path()).args(["report", "latest", "-o", "md"]).assert().success();
    let text = String::from_utf8_lossy(&table.get_output().stdout).into_owned();
    for said in ["excl. electricity", "Energy: not metered", "tierbench doctor", "| — |"] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    assert!(!text.contains("NaN") && !text.contains("0 J"), "{text}");
}

#[test]
fn a_meter_that_dies_leaves_energy_unknown_and_the_rest_standing() {
    if real_model(SMOLLM2).is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let flag = data.path().join("calls");
    // Ten values, then an error: as a plug that leaves the network.
    let meter = format!("echo x >> {0}; test $(wc -l < {0}) -le 10 && echo 40", flag.display());
    let record = record(data.path(), &["--power-cmd", &meter, "--power-interval", "0.2"]);
    let failed: Vec<String> = windows(&record).into_iter().filter_map(|(.., joules)| joules.err()).collect();
    assert!(failed.iter().any(|why| why.contains("ended with")), "{failed:?}");
    assert!(record["derived"]["speed"][1]["median"].is_f64());
    let task = &record["derived"]["tasks"][0];
    assert_eq!((&task["energy"]["total"], &task["cost"]["energy_included"]), (&Value::Null, &"excluded".into()));
    assert!(task["cost"]["usd_per_item"]["value"].as_f64().unwrap() > 0.0);
}

#[test]
fn bad_meters_are_refused_in_one_line_that_quotes_them() {
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("power.csv");
    std::fs::write(&log, "t_unix,watts\n10,40\n9,40\n").unwrap();
    let log = log.to_str().unwrap();
    let model = ["bench", "-m", "smollm2-135m-instruct", "--engine", "mock"];
    if real_model(SMOLLM2).is_none() {
        return;
    }
    for (args, says) in [
        (["--power-cmd", "echo lots"], "`lots`"),
        (["--power-cmd", "exit 3"], "ended with"),
        (["--power-cmd", "echo -4"], "watts, such as 41.5"),
        (["--power-csv", "/nowhere/power.csv"], "/nowhere/power.csv is missing"),
        (["--power-csv", log], "line 3"),
        (["--meter", "battery"], "--meter auto"),
    ] {
        let one_line = predicate::function(|text: &str| text.trim_end().lines().count() == 1);
        tierbench(data.path()).args(model).args(args).assert().code(1).stderr(contains(says).and(one_line));
    }
}

#[test]
fn bench_states_joules_with_their_uncertainty_and_both_idle_baselines() {
    let Some(path) = real_model(SMOLLM2) else { return };
    let data = tempfile::tempdir().unwrap();
    let model = path.to_str().unwrap();
    let args =
        ["bench", "-m", model, "--engine", "mock", "-p", "32", "-n", "4", "-r", "3", "--no-bandwidth", "--idle", "1"];
    let meter = ["--energy-window", "1.5", "--power-cmd", "echo 40", "--power-interval", "0.1"];
    let run = tierbench(data.path()).args(args).args(meter).args(["-o", "json"]).assert().success();
    let rows: Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    for row in rows.as_array().unwrap() {
        let energy = &row["energy"];
        let (e, ends) = (energy["joules_per_token"].as_f64().unwrap(), &energy["joules_per_token_range"]);
        // A constant power: the sensor's bound of 5 % is what is left, 2 · 5 % / √3, and whatever the tokens' rate adds.
        let half = (ends[1].as_f64().unwrap() - e) / e;
        assert!(half >= 2.0 * 0.05 / 3f64.sqrt() - 1e-9, "{half}");
        let above = energy["joules_per_token_above_idle"].as_f64().unwrap();
        assert!(
            above.abs() < 1e-3 * e && energy["joules_per_token_above_bare"].is_f64(),
            "40 W busy, 40 W idle: {above}"
        );
    }
    let table = tierbench(data.path()).args(args).args(meter).assert().success();
    let text = String::from_utf8_lossy(&table.get_output().stdout).into_owned();
    assert!(text.contains(" ± ") && text.contains("sampled"), "{text}");
}

#[test]
fn an_evaluation_is_metered_and_its_items_share_the_window_by_time() {
    let Some(model) = real_model(SMOLLM2) else { return };
    let data = tempfile::tempdir().unwrap();
    let (log, record) = (data.path().join("log.jsonl"), data.path().join("record.json"));
    let eval = |meter: &[&str]| {
        let args = ["eval", "--engine", "mock", "--full", "--limit", "120", "--quiet", "-o", "json", "-m"];
        let mut command = tierbench(data.path());
        command.args(args).arg(&model).args(meter).arg("--log").arg(&log).arg("--record").arg(&record);
        let run = command.assert().code(predicate::in_iter([0, 3, 4]));
        let printed: Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let lines: Vec<Value> = read(&log).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let stored: Value = serde_json::from_str(&read(&record)).unwrap();
        assert_eq!(lines.len(), 120);
        tierbench(data.path()).arg("verify").arg(&record).assert().success();
        (printed["cells"][0].clone(), lines, stored["raw"]["cells"][0]["outcome"]["task"].clone())
    };
    let (cell, lines, stored) =
        eval(&["--power-cmd", METER, "--power-label", "simulated, 2 %", "--power-interval", "0.1"]);
    let windows = stored["energy"].as_array().unwrap();
    assert_eq!(windows.len(), 1, "{windows:?}");
    let joules = windows[0]["joules"].as_f64().unwrap();
    let ms: f64 = lines.iter().map(|line| line["ms"].as_f64().unwrap()).sum();
    for (line, item) in lines.iter().zip(stored["items"].as_array().unwrap()) {
        let share = line["joules_share"].as_f64().unwrap();
        assert!((share / (joules * line["ms"].as_f64().unwrap() / ms) - 1.0).abs() < 1e-9, "{line}");
        assert_eq!(item["joules"].as_f64(), Some(share));
    }
    assert!((cell["energy"]["per_item"]["total"].as_f64().unwrap() * 120.0 / joules - 1.0).abs() < 1e-9, "{cell}");

    // Nothing metered and a mere estimate: an item's joules are unknown.
    for unmetered in ["none", "estimate"] {
        let (_, lines, stored) = eval(&["--meter", unmetered]);
        assert!(lines.iter().all(|line| line["joules_share"].is_null()), "{unmetered}: {}", lines[0]);
        assert!(stored["items"].as_array().unwrap().iter().all(|item| item["joules"].is_null()));
    }
}
