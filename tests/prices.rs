//! `tierbench prices`: every price has a source, and a bad file is named by line and key.

#![expect(clippy::unwrap_used, reason = "a test that cannot run the binary must fail")]

use std::path::PathBuf;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;

fn prices(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tierbench"));
    command.arg("prices").args(args).env_remove("TIERBENCH_PRICES");
    command
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn every_listed_price_has_a_source_and_a_date() {
    let out = prices(&["list", "-o", "json"]).assert().success().get_output().stdout.clone();
    let rows: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let rows = rows.as_array().unwrap();
    assert!(rows.len() > 40);
    for row in rows {
        assert!(["source", "date", "mark", "scope", "licence"].iter().all(|key| row[key].is_string()), "{row}");
    }
}

#[test]
fn one_table_can_be_listed_alone() {
    prices(&["list", "carbon"]).assert().success().stdout(contains("475 g CO2e/kWh").and(contains("rtx-4090").not()));
}

#[test]
fn a_run_without_a_price_file_shows_what_it_assumes() {
    prices(&["show"])
        .assert()
        .success()
        .stdout(contains("electricity: 0.17 $/kWh (assumption: ").and(contains("idle power: unknown, not charged")));
}

#[test]
fn a_users_file_is_checked_and_used() {
    let (_folder, path) = file("[cost]\ntariff_usd_per_kwh = { value = 0.31, source = \"bill\" }\n");
    prices(&["check"]).arg(&path).assert().success().stdout(contains("every key and value is valid"));
    prices(&["show", "--prices"])
        .arg(&path)
        .assert()
        .success()
        .stdout(contains("electricity: 0.31 $/kWh (user: bill)"));
}

#[test]
fn a_bad_file_is_one_line_with_file_line_and_key() {
    for (text, wanted) in [
        ("[cost]\ntarif = 0.2\n", "my.toml:2: unknown field `tarif`"),
        ("[cost]\nutilization = 0\n", "my.toml:2: utilization is 0"),
        ("[cost]\nhardware_usd = -1\n", "my.toml:2: hardware_usd is -1"),
        ("[cost]\nelectricity = \"de-household\"\n", "my.toml:2: electricity `de-household` is in EUR"),
        ("[cost\n", "my.toml:1: "),
    ] {
        let (_folder, path) = file(text);
        let one_line = predicate::function(|text: &str| text.trim_end().lines().count() == 1);
        prices(&["check"]).arg(&path).assert().code(1).stderr(contains(wanted).and(one_line));
    }
    prices(&["check", "/nowhere/my.toml"]).assert().code(1).stderr(contains("cannot read /nowhere/my.toml"));
    prices(&["show", "no-such-row"]).assert().code(2).stderr(contains("no price row `no-such-row`"));
}
