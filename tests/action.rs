//! The example workflow in `docs/ci`: its commands, as a runner's shell runs them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod example;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use example::{DECODE, raw, write};
use serde_json::Value;
use tempfile::TempDir;
use tierbench::store::cell::{Outcome, Subject};
use tierbench::store::record::{RawRecord, Record};

const WORKFLOW: &str = include_str!("../docs/ci/guard-a-tier.yml");

/// Measuring is not what is tested: `run` takes its flags, leaves the record it was given and ends as it was told to.
/// Everything else is the program.
const STAND_IN: &str = r#"#!/bin/bash
if [ "$1" != run ]; then exec "$PROGRAM" "$@"; fi
"$PROGRAM" "$@" --help > help.txt || exit 2
while [ $# -gt 1 ]; do [ "$1" = --record ] && cp measured.json "$2"; shift; done
echo "| the table |"
exit "$STATUS"
"#;

/// A checkout with the workflow's `tierbench` in front of everything else.
struct Checkout(TempDir);

impl Checkout {
    /// With a baseline, and the record a run would write.
    fn of(baseline: RawRecord, measured: RawRecord) -> Self {
        let checkout = Self(tempfile::tempdir().unwrap());
        for (name, raw) in [("baseline.json", baseline), ("measured.json", measured)] {
            write(checkout.path(), name, &serde_json::to_value(Record::from_raw(raw).unwrap()).unwrap());
        }
        let stand_in = checkout.path().join("bin/tierbench");
        std::fs::create_dir(stand_in.parent().unwrap()).unwrap();
        std::fs::write(&stand_in, STAND_IN).unwrap();
        std::fs::set_permissions(&stand_in, std::fs::Permissions::from_mode(0o755)).unwrap();
        checkout
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn summary(&self) -> PathBuf {
        self.path().join("summary.md")
    }

    /// A step's commands in the shell that steps get if they name none.
    fn shell(&self, commands: &str, status: u8) -> Output {
        let script = self.path().join("step.sh");
        std::fs::write(&script, commands).unwrap();
        let path = format!("{}:{}", self.path().join("bin").display(), std::env::var("PATH").unwrap());
        Command::new("bash")
            .arg("-e")
            .arg(script)
            .current_dir(self.path())
            .env("PATH", path)
            .env("PROGRAM", env!("CARGO_BIN_EXE_tierbench"))
            .env("STATUS", status.to_string())
            .env("GITHUB_STEP_SUMMARY", self.summary())
            .env("TIERBENCH_DATA", self.path())
            .env("TIERBENCH_OFFLINE", "1")
            .output()
            .unwrap()
    }
}

/// The commands of every step that has some, in order.
fn steps() -> Vec<String> {
    let workflow: Value = serde_saphyr::from_str(WORKFLOW).unwrap();
    let steps = workflow["jobs"]["compare"]["steps"].as_array().unwrap();
    steps.iter().filter_map(|step| step["run"].as_str().map(str::to_owned)).collect()
}

fn slower(by: u64) -> RawRecord {
    let mut raw = raw();
    for cell in &mut raw.cells {
        if let (Subject::Workload(workload), Outcome::Speed(trials)) = (&cell.subject, &mut cell.outcome)
            && *workload == DECODE
        {
            trials.samples.iter_mut().for_each(|sample| sample.elapsed_ns = sample.elapsed_ns * by / 100);
        }
    }
    raw
}

#[test]
fn an_unchanged_tier_passes_every_step() {
    let checkout = Checkout::of(raw(), raw());
    for commands in steps() {
        let output = checkout.shell(&commands, 0);
        assert!(output.status.success(), "{commands}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let summary = std::fs::read_to_string(checkout.summary()).unwrap();
    assert!(summary.contains("| the table |") && summary.contains("| tg128 |"), "{summary}");
    for name in ["now.json", "now.html"] {
        assert!(WORKFLOW.contains(name), "what the last step keeps is what the run writes");
    }
}

#[test]
fn a_slower_tier_fails_at_the_comparison_with_both_tables_in_the_summary() {
    let checkout = Checkout::of(raw(), slower(125));
    let outputs: Vec<Output> = steps().iter().map(|commands| checkout.shell(commands, 0)).collect();
    let (last, before) = outputs.split_last().unwrap();
    assert!(before.iter().all(|output| output.status.success()));
    let err = String::from_utf8_lossy(&last.stderr);
    assert_eq!(last.status.code(), Some(1), "{err}");
    assert!(err.contains("tg128 is 0.8000 of A, which is what --fail-if 'tg128 < 0.95' forbids"), "{err}");
    let summary = std::fs::read_to_string(checkout.summary()).unwrap();
    assert!(summary.contains("| 0.8000 "), "{summary}");
}

#[test]
fn only_answers_let_the_job_go_on_to_the_comparison() {
    let checkout = Checkout::of(raw(), raw());
    let measure = steps().into_iter().find(|commands| commands.contains("tierbench run")).unwrap();
    // A tier clears, none does, undecided; then an error, a wrong flag, cells that failed.
    for (status, expected) in [(0, 0), (3, 0), (4, 0), (1, 1), (2, 2), (5, 5)] {
        assert_eq!(checkout.shell(&measure, status).status.code(), Some(expected), "status {status}");
    }
    let wrong = measure.replace("--record", "--recrod");
    assert_eq!(checkout.shell(&wrong, 0).status.code(), Some(2), "the stand-in takes only flags the program has");
}

#[test]
fn a_tier_that_failed_or_vanished_fails_at_the_comparison() {
    let mut fewer = raw();
    fewer.tiers.retain(|tier| !tier.key.0.contains("q8_0"));
    fewer.cells.retain(|cell| !cell.tier.0.contains("q8_0"));
    let mut failed = raw();
    for cell in failed.cells.iter_mut().filter(|cell| cell.subject == Subject::Workload(DECODE)) {
        cell.outcome = Outcome::Failed { error: "out of memory".into() };
    }
    let guard = steps().pop().unwrap();
    for (measured, why) in [(fewer, "no such tier"), (failed, "failed: out of memory")] {
        let checkout = Checkout::of(raw(), measured);
        std::fs::copy(checkout.path().join("measured.json"), checkout.path().join("now.json")).unwrap();
        let output = checkout.shell(&guard, 0);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains(&format!("tg128 is missing in B ({why})")), "{err}");
        let summary = std::fs::read_to_string(checkout.summary()).unwrap();
        assert!(summary.contains("| missing |"), "{summary}");
    }
}
