//! `tierbench cost trend` on runs made by the binary: the fit computed again by hand, and everything it must refuse.

use std::path::{Path, PathBuf};

use serde_json::Value;
use statrs::distribution::{ContinuousCDF as _, StudentsT};
use tierbench::store::record::{RawRecord, Record};

use crate::common::{SMOLLM2, real_model};
use crate::example::tierbench;

const TASK: &str = r#"task: parity
dataset_path: json
dataset_kwargs: { data_files: { test: items.jsonl } }
test_split: test
output_type: multiple_choice
doc_to_text: "Number {{n}}:"
doc_to_choice: ["odd", "even"]
doc_to_target: label
metric_list: [{ metric: acc, aggregation: mean, higher_is_better: true }]
metadata: { version: 1.0 }
"#;
/// A bar that answers right 19 times in 20 clear at once, and one they do not.
const BAR: f64 = 0.6;
const TOO_HIGH: f64 = 0.97;

/// What runs of the made-up engine need: a model to take the tokenizer of, and a task it solves.
struct Bench {
    dir: tempfile::TempDir,
    model: PathBuf,
}

impl Bench {
    fn new(model: PathBuf) -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap(), model };
        std::fs::create_dir(bench.task()).unwrap();
        std::fs::write(bench.task().join("task.yaml"), TASK).unwrap();
        // The engine's answers are noise but always the same: most become the right ones.
        bench.label(|i| ["odd", "even"][i % 2].to_owned());
        let log = bench.dir.path().join("log.jsonl");
        let eval = ["eval", "--engine", "mock", "--full", "--quiet", "--bar", "0.6", "--log"];
        let done = bench.with_model(tierbench(bench.dir.path()).args(eval).arg(&log)).output().unwrap();
        assert!(log.exists(), "{}", String::from_utf8_lossy(&done.stderr));
        let log = std::fs::read_to_string(log).unwrap();
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        bench.label(|i| {
            let line = lines.iter().find(|line| line["item"] == format!("n{i}")).unwrap();
            let even = (line["answer"] == "even") != (i % 20 == 7);
            if even { "even".to_owned() } else { "odd".to_owned() }
        });
        bench
    }

    fn task(&self) -> PathBuf {
        self.dir.path().join("parity")
    }

    fn label(&self, label: impl Fn(usize) -> String) {
        let item = |i| serde_json::json!({ "id": format!("n{i}"), "n": i, "label": label(i) }).to_string() + "\n";
        std::fs::write(self.task().join("items.jsonl"), (0..60).map(item).collect::<String>()).unwrap();
    }

    fn with_model<'a>(&self, command: &'a mut assert_cmd::Command) -> &'a mut assert_cmd::Command {
        command.arg("-m").arg(&self.model).arg("--task").arg(self.task())
    }

    /// The record of a run on a machine of this price.
    fn run(&self, price: &str, bar: f64) -> Value {
        let args = ["run", "--engine", "mock", "-l", "q4_1", "-p", "4", "-n", "0", "--idle", "0", "--meter", "none"];
        let mut run = tierbench(self.dir.path());
        run.args(args).args(["--quiet", "-o", "json", "--hardware-price", price, "--bar", &bar.to_string()]);
        let made = self.with_model(&mut run).output().unwrap();
        assert!(matches!(made.status.code(), Some(0 | 3 | 4)), "{}", String::from_utf8_lossy(&made.stderr));
        serde_json::from_slice(&made.stdout).unwrap()
    }
}

/// The record of these raw samples, its derived numbers and hash made anew.
fn sealed(raw: &Value) -> Value {
    let raw: RawRecord = serde_json::from_value(raw.clone()).unwrap();
    serde_json::to_value(Record::from_raw(raw).unwrap()).unwrap()
}

/// The record as if it had been made on that day.
fn on(record: &Value, day: &str) -> Value {
    let mut raw = record["raw"].clone();
    raw["run"]["id"] = format!("{}-120000-abcdef", day.replace('-', "")).into();
    raw["run"]["started_at"] = format!("{day}T12:00:00Z").into();
    raw["run"]["finished_at"] = format!("{day}T12:05:00Z").into();
    sealed(&raw)
}

/// A history of these records, through `history import`.
fn history(records: &[Value]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("runs.jsonl");
    std::fs::write(&file, records.iter().map(|record| format!("{record}\n")).collect::<String>()).unwrap();
    tierbench(dir.path()).args(["history", "import"]).arg(&file).assert().success();
    dir
}

fn trend(dir: &Path, args: &[&str]) -> Value {
    let output = tierbench(dir).args(["cost", "trend", "-o", "json"]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn series<'a>(trend: &'a Value, measure: &str, bar: f64) -> &'a Value {
    let mut all = trend["series"].as_array().unwrap().iter();
    all.find(|series| series["measure"] == measure && series["bar"] == bar).unwrap()
}

fn refused(trend: &Value, measure: &str) -> String {
    let series = series(trend, measure, BAR);
    assert_eq!(series["fit"], Value::Null, "a refusal has no number: {series}");
    series["refused"].as_str().unwrap().to_owned()
}

fn solved(record: &Value) -> f64 {
    record["derived"]["tasks"][0]["cost"]["usd_per_1k_solved"]["value"].as_f64().unwrap()
}

/// F18: fall per year of log10(price) on years, with its interval.
fn fitted(points: &[(f64, f64)]) -> (f64, f64, f64) {
    let n = points.len() as f64;
    let points: Vec<(f64, f64)> = points.iter().map(|(days, price)| (days / 365.25, price.log10())).collect();
    let (x, y) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let s_xx: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let slope = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / s_xx;
    let rss: f64 = points.iter().map(|p| (p.1 - y - slope * (p.0 - x)).powi(2)).sum();
    let arm = StudentsT::new(0.0, 1.0, n - 2.0).unwrap().inverse_cdf(0.975) * (rss / (n - 2.0) / s_xx).sqrt();
    (10f64.powf(-slope), 10f64.powf(-slope - arm), 10f64.powf(-slope + arm))
}

fn close(got: &Value, want: f64) {
    let got = got.as_f64().unwrap_or(f64::NAN);
    assert!((got / want - 1.0).abs() < 1e-6, "{got}, not {want}");
}

#[test]
fn a_falling_price_is_fitted_and_what_cannot_be_fitted_is_refused() {
    let Some(model) = real_model(SMOLLM2) else { return };
    let bench = Bench::new(model);
    // Tenfold steps: whatever the machine does meanwhile, each run is cheaper than those before it.
    let runs: Vec<Value> = ["40000", "4000", "400", "40"].iter().map(|price| bench.run(price, BAR)).collect();
    assert!(runs.iter().all(|run| run["derived"]["answers"][0]["outcome"]["cheapest"].is_object()), "{BAR} is cleared");
    let days = ["2025-01-01", "2025-06-30", "2025-12-27", "2026-06-25"];
    let dated: Vec<Value> = runs.iter().zip(days).map(|(run, day)| on(run, day)).collect();
    assert_the_fit_is_f18(&bench, &dated);
    assert_refusals(&runs, &dated);
}

fn assert_the_fit_is_f18(bench: &Bench, dated: &[Value]) {
    // A run that does not clear its bar is another series, and has no price to follow.
    let failed = on(&bench.run("1", TOO_HIGH), "2026-07-01");
    assert!(failed["derived"]["answers"][0]["outcome"]["cheapest"].is_null());
    let dir = history(&[dated, &[failed]].concat());
    let all = trend(dir.path(), &[]);
    let as_priced = series(&all, "as_priced", BAR);
    let points: Vec<(f64, f64)> = dated.iter().zip([0.0, 180.0, 360.0, 540.0]).map(|(r, d)| (d, solved(r))).collect();
    let (fall, lo, hi) = fitted(&points);
    let fit = &as_priced["fit"];
    assert_eq!((&fit["minima"], &fit["days"]), (&4.into(), &540.into()));
    close(&fit["factor_per_year"]["value"], fall);
    close(&fit["factor_per_year"]["lo"], lo);
    close(&fit["factor_per_year"]["hi"], hi);
    close(&fit["halving_years"], 2f64.log10() / fall.log10());

    // One machine under the newest run's prices: what is left is what the machine did.
    let fixed = series(&all, "fixed_prices", BAR);
    for observed in fixed["observations"].as_array().unwrap() {
        let record = dated
            .iter()
            .find(|r| r["raw"]["run"]["started_at"].as_str().unwrap().starts_with(observed["date"].as_str().unwrap()));
        let record = record.unwrap();
        // $1 of 4 years and 2 % a year, whatever the price: hardware is the whole cost, and it is linear in the price.
        let price = record["raw"]["cost"]["hardware"]["price"]["value"].as_f64().unwrap();
        close(&observed["price"], solved(record) / price);
    }
    assert!(series(&all, "joules", BAR)["observations"].as_array().unwrap().is_empty(), "nothing was metered");
    assert!(series(&all, "as_priced", TOO_HIGH)["observations"].as_array().unwrap().is_empty(), "nothing cleared");
    let priced = trend(dir.path(), &["--hardware-price", "40"]);
    for (own, newest) in series(&priced, "fixed_prices", BAR)["observations"]
        .as_array()
        .unwrap()
        .iter()
        .zip(fixed["observations"].as_array().unwrap())
    {
        close(&own["price"], 40.0 * newest["price"].as_f64().unwrap());
    }
    let published = all["published"].as_array().unwrap();
    assert!(
        published.iter().any(|fall| (fall["recomputed"]["factor_per_year"].as_f64().unwrap() - 19.119).abs() < 0.01)
    );
    let table = tierbench(dir.path()).args(["cost", "trend", "-o", "md"]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("no trend: 0 price minima") && table.contains("never part of a fit"), "{table}");
}

fn assert_refusals(runs: &[Value], dated: &[Value]) {
    let of = |records: &[Value], measure: &str| refused(&trend(history(records).path(), &[]), measure);
    let at = |days: [&str; 3]| -> Vec<Value> { runs.iter().zip(days).map(|(run, day)| on(run, day)).collect() };
    let two = of(&dated[..2], "as_priced");
    assert!(two.contains("2 price minima, at least 3"), "{two}");
    let hasty = of(&at(["2026-01-01", "2026-02-01", "2026-03-31"]), "as_priced");
    assert!(hasty.contains("span 89 days, at least 90"), "{hasty}");
    let rising: Vec<Value> =
        runs.iter().rev().zip(["2025-01-01", "2025-06-30", "2025-12-27"]).map(|(r, d)| on(r, d)).collect();
    let rising = of(&rising, "as_priced");
    assert!(rising.contains("1 price minima"), "a price that rises has one minimum: {rising}");
    // Another machine's runs are as they were priced; they say nothing about this machine.
    let mut moved = dated.to_vec();
    for run in &mut moved[..2] {
        run["raw"]["host"]["cpu"] = "Another CPU".into();
        *run = sealed(&run["raw"]);
    }
    let dir = history(&moved);
    let all = trend(dir.path(), &[]);
    assert_eq!(series(&all, "as_priced", BAR)["observations"].as_array().unwrap().len(), 4);
    assert_eq!(series(&all, "fixed_prices", BAR)["observations"].as_array().unwrap().len(), 2);

    let none = tempfile::tempdir().unwrap();
    let output = tierbench(none.path()).args(["cost", "trend"]).output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("`tierbench run` makes one"));
    let output = tierbench(dir.path()).args(["cost", "trend", "--task", "chess"]).output().unwrap();
    let says = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && says.contains("`chess`") && says.contains("there are parity"), "{says}");
}
