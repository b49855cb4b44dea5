//! `tierbench cost` through the binary: every subcommand on a record of known samples, its numbers computed again here from
//! the formulas of docs/METHODOLOGY.md, and what it says of input it cannot use.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;
mod example;
#[path = "cost/trend.rs"]
mod trend;

use std::path::{Path, PathBuf};

use example::{raw, record, tierbench, write};
use serde_json::Value;
use tierbench::store::cell::Outcome;
use tierbench::store::history::History;
use tierbench::store::record::{RawRecord, Record};

/// The example's prices, as it states them and as the price book defaults.
const OWN: Prices = Prices {
    price: 1900.0,
    salvage: 400.0,
    life: 4.0,
    maintenance: 38.0,
    idle: 60.0,
    busy: 0.25,
    tariff: 0.17,
    pue: 1.0,
};

/// A machine of one's own, as F6 to F9 see it.
#[derive(Clone, Copy)]
struct Prices {
    price: f64,
    salvage: f64,
    life: f64,
    maintenance: f64,
    idle: f64,
    busy: f64,
    tariff: f64,
    pue: f64,
}

impl Prices {
    /// Capital and maintenance of any hour, $.
    fn fixed(&self) -> f64 {
        ((self.price - self.salvage) / self.life + self.maintenance) / 8760.0
    }

    /// Electricity of an idle hour, $.
    fn idle_hour(&self) -> f64 {
        self.idle / 1000.0 * self.tariff * self.pue
    }

    /// Electricity of joules, $.
    fn electricity(&self, joules: f64) -> f64 {
        joules / 3.6e6 * self.tariff * self.pue
    }

    /// Seconds of a busy machine without the electricity they use, $.
    fn hardware(&self, seconds: f64) -> f64 {
        seconds / 3600.0 * (self.fixed() + self.idle_hour() * (1.0 - self.busy)) / self.busy
    }

    /// An item, $.
    fn item(&self, m: &Measured) -> f64 {
        self.electricity(m.joules) + self.hardware(m.seconds)
    }

    /// 1,000 solved items when a failure costs `failure`, $.
    fn solved(&self, m: &Measured, failure: f64) -> f64 {
        1000.0 * (self.item(m) + (1.0 - m.accuracy) * failure) / m.accuracy
    }
}

/// A tier on the task, per item.
#[derive(Clone, Copy)]
struct Measured {
    seconds: f64,
    joules: f64,
    accuracy: f64,
}

impl Measured {
    fn of(raw: &RawRecord, level: &str) -> Self {
        let mut found = raw.cells.iter().filter(|cell| cell.tier.0.contains(level));
        let items = found.find_map(|cell| match &cell.outcome {
            Outcome::Task(items) => Some(items),
            _ => None,
        });
        let items = items.unwrap();
        let n = items.items.len() as f64;
        Self {
            seconds: items.items.iter().map(|item| item.elapsed_ns as f64 / 1e9).sum::<f64>() / n,
            joules: items.energy.iter().map(|window| window.joules.unwrap().0).sum::<f64>() / n,
            accuracy: items.items.iter().filter(|item| item.pass).count() as f64 / n,
        }
    }
}

fn close(got: &Value, want: f64) {
    let got = got.as_f64().unwrap_or(f64::NAN);
    assert!((got / want - 1.0).abs() < 1e-9, "{got}, not {want}");
}

fn stored(dir: &Path, raw: RawRecord) -> PathBuf {
    write(dir, "record.json", &serde_json::to_value(Record::from_raw(raw).unwrap()).unwrap())
}

/// `tierbench cost ARGS -o json` on a record.
fn cost(dir: &Path, record: &Path, args: &[&str]) -> Value {
    let output = tierbench(dir).arg("cost").args(&args[..1]).arg(record).args(&args[1..]).args(["-o", "json"]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What `tierbench cost ARGS` refuses with: one line, and its exit code.
fn refusal(dir: &Path, args: &[&str]) -> (i32, String) {
    let output = tierbench(dir).arg("cost").args(args).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty(), "{args:?} printed a table: {}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(text.trim_end().lines().count(), 1, "{args:?}: {text}");
    (output.status.code().unwrap(), text)
}

fn task_numbers<'a>(record: &'a Value, level: &str) -> &'a Value {
    let tasks = record["derived"]["tasks"].as_array().unwrap();
    tasks.iter().find(|numbers| numbers["tier"].as_str().unwrap().contains(level)).unwrap()
}

#[test]
fn show_prices_a_record_again_and_leaves_what_was_measured() {
    let dir = tempfile::tempdir().unwrap();
    let path = stored(dir.path(), raw());
    let flags = [
        "--usd-per-kwh",
        "0.31",
        "--pue",
        "1.2",
        "--hardware-price",
        "900",
        "--salvage",
        "100",
        "--life",
        "2",
        "--utilization",
        "0.5",
        "--idle-power",
        "10",
        "--failure-cost",
        "0.002",
        "--cost",
        "maintenance_usd_per_year=30",
    ];
    let there = Prices {
        price: 900.0,
        salvage: 100.0,
        life: 2.0,
        maintenance: 30.0,
        idle: 10.0,
        busy: 0.5,
        tariff: 0.31,
        pue: 1.2,
    };
    let (own, other) = (cost(dir.path(), &path, &["show"]), {
        let mut args = vec!["show"];
        args.extend(flags);
        cost(dir.path(), &path, &args)
    });
    assert_eq!(own, serde_json::to_value(record()).unwrap(), "without flags it is the record");
    for level in ["q8_0", "q4_1", "q2_k"] {
        let measured = Measured::of(&raw(), level);
        close(&task_numbers(&own, level)["cost"]["usd_per_item"]["value"], OWN.item(&measured));
        close(&task_numbers(&own, level)["cost"]["usd_per_1k_solved"]["value"], OWN.solved(&measured, 0.0));
        close(&task_numbers(&other, level)["cost"]["usd_per_item"]["value"], there.item(&measured));
        close(&task_numbers(&other, level)["cost"]["usd_per_1k_solved"]["value"], there.solved(&measured, 0.002));
        for untouched in ["passes", "pass_rate", "energy", "seconds_per_item", "assessment"] {
            assert_eq!(task_numbers(&own, level)[untouched], task_numbers(&other, level)[untouched], "{untouched}");
        }
    }
    assert_eq!(other["raw"]["cells"], own["raw"]["cells"]);
    // What a repriced record says verifies, like any other.
    let repriced = write(dir.path(), "repriced.json", &other);
    tierbench(dir.path()).arg("verify").arg(repriced).assert().success();
    // Tokens: 128 tok/s at 0.5 J, F9 by hand.
    let tier =
        own["derived"]["tiers"].as_array().unwrap().iter().find(|t| t["tier"].as_str().unwrap().contains("q4_1"));
    let token = OWN.electricity(0.5) + OWN.hardware(1.0 / 128.0);
    close(&tier.unwrap()["cost"]["usd_per_mtok_out"]["total"]["value"], 1e6 * token);

    let table = tierbench(dir.path()).args(["cost", "show"]).arg(&path).args(flags).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    for stated in ["0.31 $/kWh", "--usd-per-kwh", "PUE: 1.2", "$900"] {
        assert!(table.contains(stated), "{stated} is not under the table: {table}");
    }
}

#[test]
fn what_is_sunk_or_rented_or_unmetered_is_said_and_never_charged() {
    let dir = tempfile::tempdir().unwrap();
    let path = stored(dir.path(), raw());
    let q4 = Measured::of(&raw(), "q4_1");
    let sunk = cost(dir.path(), &path, &["show", "--sunk"]);
    let free = Prices { price: 0.0, salvage: 0.0, maintenance: 0.0, ..OWN };
    close(&task_numbers(&sunk, "q4_1")["cost"]["usd_per_item"]["value"], free.item(&q4));
    let rented = cost(dir.path(), &path, &["show", "--rent", "0.34", "--utilization", "0.5"]);
    let numbers = task_numbers(&rented, "q4_1");
    close(&numbers["cost"]["usd_per_item"]["value"], 0.34 / 0.5 * q4.seconds / 3600.0);
    assert_eq!(numbers["cost"]["energy_included"], "in_rent");

    let mut blind = raw();
    for cell in &mut blind.cells {
        match &mut cell.outcome {
            Outcome::Task(items) => items.energy.clear(),
            Outcome::Speed(trials) => trials.windows.clear(),
            _ => {}
        }
    }
    let path = stored(dir.path(), blind);
    let blind = cost(dir.path(), &path, &["show"]);
    let numbers = task_numbers(&blind, "q4_1");
    assert_eq!((&numbers["cost"]["energy_included"], &numbers["energy"]), (&"excluded".into(), &Value::Null));
    close(&numbers["cost"]["usd_per_item"]["value"], OWN.hardware(q4.seconds));
    let even = cost(dir.path(), &path, &["breakeven"]);
    for against in even["economics"][0]["against_api"].as_array().unwrap() {
        assert_eq!((&against["energy_unknown"], &against["local_energy_j"]), (&true.into(), &Value::Null));
        assert_eq!(against["tariff_usd_per_kwh"], Value::Null, "no tariff turns what holds no electricity");
    }
}

#[test]
fn breakeven_is_f13_and_at_its_utilization_both_cost_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = stored(dir.path(), raw());
    let q4 = Measured::of(&raw(), "q4_1");
    let all = cost(dir.path(), &path, &["breakeven"]);
    let economics = &all["economics"][0];
    assert!(economics["tier"].as_str().unwrap().contains("q4_1"), "the answer: {}", economics["tier"]);
    let against = |api: &str, unit: &str| {
        let mut rows = economics["against_api"].as_array().unwrap().iter();
        rows.find(|row| row["api"] == api && row["unit"] == unit).cloned().unwrap()
    };
    // 90 tokens of prompt and one of an answer by choice: list prices of prices/api.toml.
    let dear = against("gpt-4o-mini", "item");
    let price = 90.0 * 0.15 + 0.6;
    close(&dear["api_usd_per_million"], price);
    close(&dear["local_usd_per_million"], 1e6 * OWN.item(&q4));
    let k = 1e6 * q4.seconds / 3600.0;
    let busy = k * (OWN.fixed() + OWN.idle_hour()) / (price - 1e6 * OWN.electricity(q4.joules) + k * OWN.idle_hour());
    close(&dear["utilization"]["utilization"], busy);
    close(&dear["utilization"]["tokens_per_day"], busy * 86_400.0 / q4.seconds);
    close(&dear["energy_j"], 3.6 * price / OWN.tariff);
    close(&dear["local_energy_j"], q4.joules);
    let tariff =
        3.6 * (price - k * OWN.fixed() / OWN.busy) / (q4.joules + OWN.idle * q4.seconds * (1.0 - OWN.busy) / OWN.busy);
    close(&dear["tariff_usd_per_kwh"], tariff);
    let cheap = against("llama-3.2-1b", "item");
    close(&cheap["api_usd_per_million"], 90.0 * 0.005 + 0.01);
    assert_eq!(cheap["utilization"], Value::Null, "its electricity alone costs more: never");

    // Asked again as busy as that, or at that tariff, the tier costs what the hosted model asks.
    for (flag, at) in [("--utilization", busy), ("--usd-per-kwh", tariff)] {
        let there = cost(dir.path(), &path, &["breakeven", flag, &at.to_string()]);
        let rows = there["economics"][0]["against_api"].as_array().unwrap();
        let row = rows.iter().find(|row| row["api"] == "gpt-4o-mini" && row["unit"] == "item").unwrap();
        close(&row["local_usd_per_million"], price);
    }
    let one = cost(dir.path(), &path, &["break-even", "--against", "gpt-5-nano"]);
    let rows = one["economics"][0]["against_api"].as_array().unwrap().clone();
    assert!(rows.len() == 2 && rows.iter().all(|row| row["api"] == "gpt-5-nano"), "{rows:?}");
    let table = tierbench(dir.path()).args(["cost", "breakeven", "-o", "md"]).arg(&path).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("| never |") && table.contains("quality of hosted models was not measured"), "{table}");
}

/// The example with a q8_0 that solves everything and draws little, so that each assumption can turn the answer.
fn contested() -> RawRecord {
    let mut raw = raw();
    for cell in raw.cells.iter_mut().filter(|cell| cell.tier.0.contains("q8_0")) {
        if let Outcome::Task(items) = &mut cell.outcome {
            for item in &mut items.items {
                (item.pass, item.score) = (true, 1.0);
            }
            items.energy[0].joules = Some(tierbench::units::Joules(5.0 * items.items.len() as f64));
        }
    }
    raw
}

#[test]
fn beyond_a_flip_point_the_answer_is_the_tier_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = stored(dir.path(), contested());
    let (q4, q8) = (Measured::of(&contested(), "q4_1"), Measured::of(&contested(), "q8_0"));
    let answer = |args: &[&str]| {
        let shown = cost(dir.path(), &path, &[&["show"], args].concat());
        shown["derived"]["answers"][0]["outcome"]["cheapest"]["tier"].as_str().unwrap().to_owned()
    };
    assert!(answer(&[]).contains("q4_1") && OWN.solved(&q4, 0.0) < OWN.solved(&q8, 0.0));

    let flips = cost(dir.path(), &path, &["flip"])["economics"][0]["flips"].clone();
    let at = |mover: &str| {
        let point = flips.as_array().unwrap().iter().find(|point| point["mover"] == mover).unwrap();
        assert!(point["to"].as_str().unwrap().contains("q8_0"), "{point}");
        point["at"].clone()
    };
    // Tariff: the hardware of q8_0 is dearer per solved item, its energy (idle hours included) less.
    let idle = |m: &Measured| (m.joules + OWN.idle * m.seconds * (1.0 - OWN.busy) / OWN.busy) / m.accuracy;
    let fixed = |m: &Measured| OWN.fixed() / OWN.busy * m.seconds / 3600.0 / m.accuracy;
    let tariff = 3.6e6 * (fixed(&q8) - fixed(&q4)) / (idle(&q4) - idle(&q8));
    close(&at("tariff"), tariff);
    // Busier hours are cheaper hours: h(u) = (F + g(1 - u))/u.
    let power = |m: &Measured| OWN.electricity(m.joules) / m.accuracy;
    let hours = |m: &Measured| m.seconds / 3600.0 / m.accuracy;
    let hourly = (power(&q4) - power(&q8)) / (hours(&q8) - hours(&q4));
    let busy = (OWN.fixed() + OWN.idle_hour()) / (hourly + OWN.idle_hour());
    close(&at("utilization"), busy);
    // q8_0 never fails, so a failure costs only q4_1.
    let failure = (OWN.item(&q8) - OWN.item(&q4) / q4.accuracy) / ((1.0 - q4.accuracy) / q4.accuracy);
    close(&at("failure_cost"), failure);
    for (flag, at) in [("--usd-per-kwh", tariff), ("--utilization", busy), ("--failure-cost", failure)] {
        assert!(answer(&[flag, &(at * 0.99).to_string()]).contains("q4_1"), "just below {flag} {at}");
        assert!(answer(&[flag, &(at * 1.01).to_string()]).contains("q8_0"), "just above {flag} {at}");
    }
    let bars = cost(dir.path(), &path, &["flip"])["economics"][0]["bars"].clone();
    let own =
        bars.as_array().unwrap().iter().find(|bar| bar["tier"].as_str().unwrap().contains("q4_1")).unwrap().clone();
    let bar = own["bar"].as_f64().unwrap();
    assert!((0.75..0.9).contains(&bar), "135 of 150 clear the bar of 0.75 and none above their rate: {bar}");
}

#[test]
fn tornado_halves_and_doubles_one_input_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = stored(dir.path(), raw());
    let q4 = Measured::of(&raw(), "q4_1");
    let swings = cost(dir.path(), &path, &["tornado"])["economics"][0]["tornado"].as_array().unwrap().clone();
    let at = |input: &str, factor: f64| {
        let (mut prices, mut measured) = (OWN, q4);
        match input {
            "tariff" => prices.tariff *= factor,
            "utilization" => prices.busy *= factor,
            "price" => (prices.price, prices.salvage) = (prices.price * factor, prices.salvage * factor),
            "life" => prices.life *= factor,
            "speed" => measured.seconds /= factor,
            "energy" => measured.joules *= factor,
            "quality" => measured.accuracy = (measured.accuracy * factor).min(1.0),
            other => panic!("an input the formulas do not have: {other}"),
        }
        prices.solved(&measured, 0.0)
    };
    assert_eq!(swings.len(), 7, "{swings:?}");
    let mut widths = Vec::new();
    for swing in &swings {
        let input = swing["input"].as_str().unwrap();
        close(&swing["at_low"], at(input, 0.5));
        close(&swing["at_high"], at(input, 2.0));
        widths.push((at(input, 2.0) - at(input, 0.5)).abs());
    }
    assert!(widths.is_sorted_by(|a, b| a >= b), "widest first: {widths:?}");
    let rented = cost(dir.path(), &path, &["tornado", "--rent", "0.34"])["economics"][0]["tornado"].clone();
    let inputs: Vec<&str> = rented.as_array().unwrap().iter().map(|swing| swing["input"].as_str().unwrap()).collect();
    assert!(!inputs.contains(&"life") && !inputs.contains(&"tariff") && !inputs.contains(&"energy"), "{inputs:?}");
}

#[test]
fn value_is_what_solved_items_are_worth_less_what_items_cost() {
    let dir = tempfile::tempdir().unwrap();
    let path = stored(dir.path(), raw());
    let all = cost(dir.path(), &path, &["value", "--value", "0.05", "--failure-cost", "0.01"]);
    let spreads = all["economics"][0]["spreads"].as_array().unwrap();
    assert_eq!(spreads.len(), 3);
    let mut last = f64::INFINITY;
    for spread in spreads {
        let level =
            ["q8_0", "q4_1", "q2_k"].into_iter().find(|l| spread["tier"].as_str().unwrap().contains(l)).unwrap();
        let m = Measured::of(&raw(), level);
        let want = m.accuracy * 0.05 - (1.0 - m.accuracy) * 0.01 - OWN.item(&m);
        close(&spread["usd_per_item"]["value"], want);
        assert!(want <= last, "largest first");
        last = want;
    }
    let (code, says) = refusal(dir.path(), &["value", path.to_str().unwrap()]);
    assert!(code == 2 && says.contains("--value 0.05"), "{says}");
}

#[test]
fn demand_is_a_power_of_the_fall() {
    let dir = tempfile::tempdir().unwrap();
    let path = stored(dir.path(), raw());
    let given = cost(dir.path(), &path, &["demand", "--fall", "10", "--elasticity", "0,0.5,1,1.5", "--bill", "200"]);
    for (row, elasticity) in given["demand"].as_array().unwrap().iter().zip([0.0f64, 0.5, 1.0, 1.5]) {
        close(&row["demand"]["quantity_factor"], 10f64.powf(elasticity));
        close(&row["bill"], 200.0 * 10f64.powf(elasticity - 1.0));
    }
    // Without a factor it is the hosted model's price of an item over this machine's cost.
    let found = cost(dir.path(), &path, &["demand", "--against", "gpt-4o-mini"]);
    let q4 = Measured::of(&raw(), "q4_1");
    close(&found["fall"], (90.0 * 0.15 + 0.6) / (1e6 * OWN.item(&q4)));
    let path = path.to_str().unwrap();
    for bad in [["--fall", "0"], ["--fall", "-2"], ["--elasticity", "-1"], ["--bill", "-5"], ["--bill", "nan"]] {
        let (code, says) = refusal(dir.path(), &[&["demand", path, "--fall", "10"][..2], &bad].concat());
        assert!(code == 2 && says.contains(bad[0]), "{bad:?}: {says}");
    }
}

#[test]
fn a_stored_run_is_found_by_id_and_as_the_latest() {
    let dir = tempfile::tempdir().unwrap();
    let (code, says) = refusal(dir.path(), &["show"]);
    assert!(code == 2 && says.contains("`tierbench run` makes one"), "{says}");
    assert!(History::open(dir.path()).unwrap().import(&record(), "test").unwrap());
    let id = record().raw.run.id;
    for args in [vec!["tornado", "-o", "json"], vec!["tornado", &id, "-o", "json"]] {
        let output = tierbench(dir.path()).arg("cost").args(&args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for command in ["show", "breakeven", "flip", "tornado", "value", "demand"] {
        let (code, says) = refusal(dir.path(), &[command, "20990101"]);
        assert!(code == 1 && says.contains("no run `20990101`"), "{command}: {says}");
        let (code, says) = refusal(dir.path(), &[command, "/nowhere/record.json"]);
        assert!(code == 1 && says.contains("/nowhere/record.json"), "{command}: {says}");
    }
}

#[test]
fn a_record_without_a_graded_task_has_tokens_to_price_and_nothing_to_decide() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = raw();
    bench.tasks.clear();
    bench.prompts.clear();
    bench.cells.retain(|cell| !matches!(cell.outcome, Outcome::Task(_)));
    let path = stored(dir.path(), bench);
    let shown = cost(dir.path(), &path, &["show"]);
    let token = OWN.electricity(0.5) + OWN.hardware(1.0 / 128.0);
    let tier =
        shown["derived"]["tiers"].as_array().unwrap().iter().find(|t| t["tier"].as_str().unwrap().contains("q4_1"));
    close(&tier.unwrap()["cost"]["usd_per_mtok_out"]["total"]["value"], 1e6 * token);
    let path = path.to_str().unwrap();
    for command in [vec!["breakeven"], vec!["flip"], vec!["tornado"], vec!["value", "--value", "1"]] {
        let (code, says) = refusal(dir.path(), &[&command[..1], &[path], &command[1..]].concat());
        assert!(code == 2 && says.contains("nothing was graded"), "{command:?}: {says}");
    }
    let (code, says) = refusal(dir.path(), &["demand", path]);
    assert!(code == 2 && says.contains("--fall 10"), "{says}");
}

#[test]
fn impossible_prices_are_refused_by_name_in_every_subcommand() {
    let dir = tempfile::tempdir().unwrap();
    let path = stored(dir.path(), raw());
    let path = path.to_str().unwrap();
    for command in ["show", "breakeven", "flip", "tornado", "value", "demand"] {
        for (bad, names) in [
            (["--usd-per-kwh", "-0.1"], "--usd-per-kwh"),
            (["--hardware-price", "-1"], "--hardware-price"),
            (["--rent", "-1"], "--rent"),
            (["--utilization", "0"], "--utilization"),
            (["--utilization", "1.5"], "--utilization"),
            (["--pue", "0.5"], "--pue"),
            (["--life", "0"], "--life"),
            (["--salvage", "2000"], "--salvage"),
            (["--value", "-1"], "--value"),
            (["--usd-per-kwh", "nan"], "--usd-per-kwh"),
            (["--usd-per-kwh", "cheap"], "--usd-per-kwh"),
            (["--cost", "tarif=0.2"], "tariff_usd_per_kwh"),
            (["--cost", "pue"], "--cost"),
            (["--electricity", "de-household"], "[exchange] EUR"),
            (["--electricity", "mars"], "`mars`"),
            (["--against", "gpt-9"], "`gpt-9`"),
            (["--carbon", "mars"], "`mars`"),
        ] {
            let output = tierbench(dir.path()).args(["cost", command, path]).args(bad).output().unwrap();
            let says = String::from_utf8(output.stderr).unwrap();
            assert!(
                matches!(output.status.code(), Some(1 | 2)) && output.stdout.is_empty(),
                "{command} {bad:?}: {says}"
            );
            assert!(says.contains(names), "{command} {bad:?}: {says}");
        }
        // A format it does not write is refused with those it does.
        let csv = tierbench(dir.path()).args(["cost", command, path, "-o", "csv", "--value", "1"]).assert().code(2);
        let says = String::from_utf8_lossy(&csv.get_output().stderr).into_owned();
        assert!(says.contains("[possible values: table, md, json]"), "{command}: {says}");
    }
}

#[test]
fn a_bad_price_file_is_named_by_line_and_key_and_a_good_one_replaces_all_assumptions() {
    let dir = tempfile::tempdir().unwrap();
    let record = stored(dir.path(), raw());
    let prices = dir.path().join("my.toml");
    for (text, names) in [
        ("[cost]\npue = 1.1\nutilisation = 0.5\n", "my.toml:3: unknown field `utilisation`"),
        ("[cost]\nutilization = 0\n", "my.toml:2: utilization is 0"),
        ("[cost]\n\ntariff_usd_per_kwh = -0.2\n", "my.toml:3: tariff_usd_per_kwh is -0.2"),
        ("[cost]\nhardware_usd = { value = 900, currency = \"CHF\" }\n", "my.toml:2: hardware_usd is in CHF"),
        (
            "[cost]\nelectricity = \"eu-household\"\n\n[exchange]\nCHF = 1.1\n",
            "my.toml:2: electricity `eu-household` is in EUR",
        ),
        ("[exchange]\nEUR = 0\n", "my.toml:2: exchange EUR is 0"),
        ("[cost]\npue = \"high\"\n", "my.toml:2: "),
    ] {
        std::fs::write(&prices, text).unwrap();
        for command in ["show", "breakeven", "flip", "tornado", "demand"] {
            let args = [command, record.to_str().unwrap(), "--prices", prices.to_str().unwrap()];
            let (code, says) = refusal(dir.path(), &args);
            assert!(code == 1 && says.contains(names), "{command} {text:?}: {says}");
        }
    }
    let text = "[cost]\nelectricity = \"eu-household\"\nhardware_usd = { value = 500, currency = \"EUR\" }\n[exchange]\nEUR = 1.1\n";
    std::fs::write(&prices, text).unwrap();
    let shown = cost(dir.path(), &record, &["show", "--prices", prices.to_str().unwrap()]);
    // Nothing of the record's own machine is left: defaults where the file says nothing.
    let there = Prices {
        price: 550.0,
        salvage: 0.0,
        life: 4.0,
        maintenance: 0.02 * 550.0,
        idle: 0.0,
        busy: 0.25,
        tariff: 0.2872 * 1.1,
        pue: 1.0,
    };
    let q4 = Measured::of(&raw(), "q4_1");
    close(&task_numbers(&shown, "q4_1")["cost"]["usd_per_item"]["value"], there.item(&q4));
}
