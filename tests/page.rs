//! The pages in a real browser, driven with Playwright, and the record's schema in a JSON Schema validator:
//! `tests/page/*.test.mjs`.
//!
//! Needs node, Chromium (`CHROMIUM`, else the usual names) and `npm ci` in `tests/page`; without one of them the test says
//! what is missing and is skipped. `.ci/run` installs all three.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod example;

use std::path::{Path, PathBuf};
use std::process::Command;

use example::{DECODE, TASK, raw, speed, tierbench, write};
use tierbench::plan::quote::{Guess, Prediction, RateSource, Took};
use tierbench::plan::{TierKey, Workload};
use tierbench::quality::ChoiceResult;
use tierbench::store::cell::{Cell, Outcome, Subject, TaskItems};
use tierbench::store::prompts::{ItemPrompt, TaskPrompts};
use tierbench::store::record::{RawRecord, Record};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page");

/// A browser's path, or what is missing.
fn chromium() -> Result<PathBuf, String> {
    if Command::new("node").arg("--version").output().is_err() {
        return Err("node is not installed".into());
    }
    if !Path::new(FOLDER).join("node_modules/playwright-core").is_dir() {
        return Err("`npm ci` was not run in tests/page".into());
    }
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = std::env::split_paths(&path)
        .flat_map(|dir| ["chromium", "chromium-browser", "google-chrome"].map(|name| dir.join(name)))
        .find(|candidate| candidate.is_file());
    named.or(usual).ok_or_else(|| "no Chromium: install it or set CHROMIUM to its path".into())
}

/// Runs one file of browser tests with these variables.
fn drive(script: &str, variables: &[(&str, &Path)]) {
    let browser = match chromium() {
        Ok(browser) => browser,
        Err(missing) => {
            eprintln!("skipped: {script}: {missing}");
            return;
        }
    };
    let output = Command::new("node")
        .args(["--test", "--test-reporter=spec", script])
        .current_dir(FOLDER)
        .env("CHROMIUM", browser)
        .env("TIERBENCH", env!("CARGO_BIN_EXE_tierbench"))
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The example with decoding at depth and in a batch, so that every plot has data.
fn full() -> RawRecord {
    let mut raw = raw();
    let tier = raw.tiers[1].key.clone();
    let batch = Workload { n_prompt: 0, n_gen: 64, n_depth: 0, n_batch_seqs: 8 };
    for workload in [Workload::decode(128, 4096), batch] {
        raw.plan.workloads.push(workload);
        raw.cells.push(Cell {
            tier: tier.clone(),
            subject: Subject::Workload(workload),
            finished_at: "2026-08-21T14:07:00Z".into(),
            outcome: Outcome::Speed(Box::new(speed(workload, 1400, 0.7))),
        });
    }
    assert_eq!(raw.plan.workloads[1], DECODE);
    let guess = Guess { value: 200.0, lo: 100.0, hi: 300.0 };
    raw.plan.quote =
        Some(Prediction { seconds: guess, tokens: 2e5, joules: None, usd: Some(guess), source: RateSource::History });
    raw.plan.took = Some(Took { seconds: 190.5, tokens: 185_000.0, joules: None, usd: Some(1e-7) });
    raw
}

/// The example as if another tool had graded its items and kept no times.
fn untimed() -> RawRecord {
    let mut raw = raw();
    for cell in &mut raw.cells {
        if let Outcome::Task(results) = &mut cell.outcome {
            results.energy.clear();
            results.items.iter_mut().for_each(|item| item.elapsed_ns = 0);
        }
    }
    raw
}

const ATTACK: &str =
    "</script><script>globalThis.owned=1</script><img src=x onerror=globalThis.owned=1>\"'><svg onload=owned=1>";

/// Every text a record's author controls tries to run a script.
fn hostile() -> RawRecord {
    let mut raw = full();
    let old = raw.tiers[0].key.clone();
    let key = TierKey(format!("a {ATTACK}"));
    raw.tiers[0].key = key.clone();
    for cell in &mut raw.cells {
        if cell.tier == old {
            cell.tier = key.clone();
        }
        if let Subject::Task(name) = &mut cell.subject {
            *name = ATTACK.into();
        }
        if let Outcome::Task(results) = &mut cell.outcome {
            for item in &mut results.items {
                item.answer = Some(ATTACK.into());
                item.raw = Some(format!("javascript:owned=1 {ATTACK}"));
                item.item = format!("{} {ATTACK}", item.item);
            }
        }
        if let Outcome::Failed { error } = &mut cell.outcome {
            *error = ATTACK.into();
        }
    }
    assert_eq!(raw.tasks[0].name, TASK);
    raw.tasks[0].name = ATTACK.into();
    raw.prompts[0].task = ATTACK.into();
    for item in &mut raw.prompts[0].items {
        item.item = format!("{} {ATTACK}", item.item);
        item.prompt = ATTACK.into();
        item.target = vec![ATTACK.into()];
    }
    raw.run.command = ATTACK.into();
    raw.host.cpu = Some(ATTACK.into());
    raw.tiers[1].model.source = Some(ATTACK.into());
    raw.warnings = vec![ATTACK.into()];
    raw
}

/// Writes a record's page; `TIERBENCH_KEEP_PAGES=DIR` keeps a copy to look at.
fn page(dir: &Path, name: &str, raw: RawRecord) -> PathBuf {
    let record = Record::from_raw(raw).unwrap();
    let json = write(dir, &format!("{name}.json"), &serde_json::to_value(record).unwrap());
    let page = dir.join(format!("{name}.html"));
    tierbench(dir).args(["report", "-o", "html", "--to"]).arg(&page).arg(json).assert().success();
    if let Some(keep) = std::env::var_os("TIERBENCH_KEEP_PAGES") {
        std::fs::copy(&page, Path::new(&keep).join(format!("{name}.html"))).unwrap();
    }
    page
}

#[test]
fn the_page_of_a_record_works_in_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    let pages = [("PAGE", full()), ("HOSTILE", hostile()), ("UNTIMED", untimed())];
    let pages = pages.map(|(name, raw)| (name, page(dir.path(), &name.to_lowercase(), raw)));
    drive("record.test.mjs", &pages.each_ref().map(|(name, path)| (*name, path.as_path())));
}

/// Six machines' records: two alike, one at the wall, one of another version of the task, one too fast to be true, one
/// changed after it was sealed; then one twice, another content under a known run id, and a faster machine three days
/// later.
fn submissions(dir: &Path) -> PathBuf {
    let folder = dir.join("submissions");
    std::fs::create_dir(&folder).unwrap();
    let seal = |name: &str, raw: RawRecord| {
        let record = serde_json::to_value(Record::from_raw(raw).unwrap()).unwrap();
        write(&folder, name, &record)
    };
    let of = |id: &str, machine: &str| {
        let mut raw = if id == "a" { full() } else { raw() };
        raw.cells.retain(|cell| !matches!(&cell.subject, Subject::Workload(w) if w.n_depth > 0));
        raw.run.id = format!("20260821-14050{}-{id}", id.len());
        raw.host.cpu = Some(machine.into());
        raw
    };
    seal("1.json", of("a", "Machine A"));
    let mut wall = of("b", "Machine B");
    for cell in &mut wall.cells {
        if let Outcome::Task(results) = &mut cell.outcome {
            results.energy.iter_mut().for_each(|reading| reading.scope = tierbench::energy::Scope::Wall);
        }
    }
    seal("2.json", wall);
    let mut newer = of("c", "Machine C");
    newer.tasks[0].version = Some("2.0".into());
    newer.tasks[0].sha256 = "60".repeat(32);
    seal("3.json", newer);
    let mut absurd = of("d", "Machine D");
    for cell in &mut absurd.cells {
        if let (Subject::Workload(w), Outcome::Speed(trials)) = (&cell.subject, &mut cell.outcome)
            && *w == DECODE
        {
            for sample in &mut trials.samples {
                // 128 tokens in 128 ns: 10^9 tok/s.
                sample.elapsed_ns = 128;
                sample.itl_ns = vec![1; 128];
            }
        }
    }
    seal("4.json", absurd);
    let mut forged = serde_json::to_value(Record::from_raw(of("e", "Machine E")).unwrap()).unwrap();
    forged["derived"]["speed"][0]["median"] = serde_json::json!(1e6);
    write(&folder, "5.json", &forged);
    std::fs::copy(folder.join("1.json"), folder.join("6.json")).unwrap();
    seal("7.json", of("a", "Another machine under the same run id"));
    let mut faster = of("ff", "Machine F");
    faster.run.started_at = "2026-08-24T14:05:00Z".into();
    for cell in &mut faster.cells {
        if let Outcome::Task(results) = &mut cell.outcome {
            results.items.iter_mut().for_each(|item| item.elapsed_ns /= 2);
        }
    }
    seal("8.json", faster);
    folder
}

#[test]
fn the_site_works_in_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    let submissions = submissions(dir.path());
    let run = tierbench(dir.path()).args(["report", "--site"]).arg(&site).arg(submissions).assert().code(5);
    let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(said.contains("6.json") && said.contains("submitted twice"), "{said}");
    drive("site.test.mjs", &[("SITE", site.as_path())]);
}

/// Records of so many machines that no table shows all its rows, each slower than the one before; the name of the last
/// tries to run a script.
fn long(dir: &Path) -> PathBuf {
    const MACHINES: u64 = 70;
    let folder = dir.join("many");
    std::fs::create_dir(&folder).unwrap();
    for machine in 0..MACHINES {
        let mut raw = raw();
        raw.run.id = format!("20260821-140500-{machine:03}");
        let name = if machine + 1 == MACHINES { format!("slowest {ATTACK}") } else { format!("Machine {machine}") };
        raw.host.cpu = Some(name);
        let slower = |ns: &mut u64| *ns += *ns * machine / 20;
        for cell in &mut raw.cells {
            match &mut cell.outcome {
                Outcome::Speed(trials) => {
                    for sample in &mut trials.samples {
                        slower(&mut sample.elapsed_ns);
                        sample.itl_ns.iter_mut().for_each(slower);
                    }
                }
                Outcome::Task(results) => results.items.iter_mut().for_each(|item| slower(&mut item.elapsed_ns)),
                Outcome::Failed { .. } => {}
            }
        }
        let record = serde_json::to_value(Record::from_raw(raw).unwrap()).unwrap();
        write(&folder, &format!("{machine}.json"), &record);
    }
    folder
}

#[test]
fn a_site_of_many_machines_works_in_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    tierbench(dir.path()).args(["report", "--site"]).arg(&site).arg(long(dir.path())).assert().success();
    drive("long.test.mjs", &[("SITE", site.as_path())]);
}

#[test]
fn the_published_schema_accepts_records_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let records = dir.path().join("records");
    std::fs::create_dir(&records).unwrap();
    for (name, raw) in [("a.json", raw()), ("full.json", full()), ("hostile.json", hostile())] {
        write(&records, name, &serde_json::to_value(Record::from_raw(raw).unwrap()).unwrap());
    }
    let schema = dir.path().join("schema.json");
    let printed = tierbench(dir.path()).args(["export", "--schema"]).assert().success();
    std::fs::write(&schema, &printed.get_output().stdout).unwrap();
    drive("schema.test.mjs", &[("SCHEMA", schema.as_path()), ("RECORDS", records.as_path())]);
    // The schema of version 2 stays published.
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let older = dir.path().join("older");
    std::fs::create_dir(&older).unwrap();
    std::fs::copy(project.join("tests/fixtures/records/v2.json"), older.join("v2.json")).unwrap();
    let schema = project.join("schema/record.v2.schema.json");
    drive("schema.test.mjs", &[("SCHEMA", schema.as_path()), ("RECORDS", older.as_path())]);
}

/// Ten tiers on five tasks of 200 items, with texts, hashes and likelihoods that do not compress for being alike.
fn large() -> RawRecord {
    let mut state = 7_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut raw = raw();
    let (tier, task) = (raw.tiers[1].clone(), raw.tasks[0].clone());
    let Some(Outcome::Task(sample)) = raw.cells.pop().map(|cell| cell.outcome) else {
        panic!("the last cell is a task")
    };
    let item = sample.items[0].clone();
    (raw.tiers, raw.tasks, raw.cells, raw.prompts) = (vec![], vec![], vec![], vec![]);
    for i in 0..10 {
        let mut tier = tier.clone();
        tier.tier.model = format!("model-{i}");
        tier.key = tier.tier.key();
        raw.tiers.push(tier);
    }
    for t in 0..5 {
        let mut task = task.clone();
        task.name = format!("task-{t}");
        raw.tasks.push(task);
        let mut text = |words: u32| (0..words).map(|_| format!("word{} ", random() % 3000)).collect::<String>();
        let items = (0..200).map(|i| ItemPrompt { item: format!("item-{i}"), prompt: text(60), target: vec![text(2)] });
        let items = items.collect();
        raw.prompts.push(TaskPrompts { task: format!("task-{t}"), prefix: text(300), items });
    }
    for i in 0..10 {
        for t in 0..5 {
            let items = (0..200).map(|n| {
                let mut item = item.clone();
                item.item = format!("item-{n}");
                item.pass = random() % 100 < 60 + 3 * i;
                item.score = f64::from(u8::from(item.pass));
                item.elapsed_ns = 5_000_000 + random() % 3_000_000;
                item.confidence = Some(random() as f64 / 1e9);
                item.prompt_sha256 = (0..8).map(|_| format!("{:08x}", random())).collect();
                let choice = |text: &str, logprob| ChoiceResult { text: text.into(), logprob, n_tokens: 1 };
                let labels = ["billing", "delivery", "account", "technical", "cancellation"];
                item.choices = labels.map(|label| choice(label, -(random() as f64) / 1e8)).into();
                item
            });
            raw.cells.push(Cell {
                tier: raw.tiers[i as usize].key.clone(),
                subject: Subject::Task(format!("task-{t}")),
                finished_at: "2026-08-21T14:06:00Z".into(),
                outcome: Outcome::Task(TaskItems { items: items.collect(), ..sample.clone() }),
            });
        }
    }
    raw
}

#[test]
fn a_page_of_ten_thousand_items_stays_below_five_megabytes() {
    let dir = tempfile::tempdir().unwrap();
    let page = page(dir.path(), "large", large());
    let bytes = std::fs::metadata(&page).unwrap().len();
    assert!((1_000_000..5_000_000).contains(&bytes), "{bytes} bytes");
}
