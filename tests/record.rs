//! `verify` recomputes a record and names what differs; hostile files get one line and never a panic.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod example;

use std::io::Read as _;

use example::{record, tierbench, write};
use serde_json::{Value, json};
use tierbench::decide::Verdict;
use tierbench::store::canonical::content_hash;
use tierbench::store::cell::Outcome;
use tierbench::store::derived::AnswerOutcome;
use tierbench::store::record::{Record, SCHEMA_VERSION};

fn value() -> Value {
    serde_json::to_value(record()).unwrap()
}

/// Seals a changed record again, as a forger would.
fn reseal(mut value: Value) -> Value {
    value["content_sha256"] = json!(content_hash(&value));
    value
}

/// Exit code, stdout and stderr of `tierbench verify` on this file content.
fn verify(text: &[u8]) -> (i32, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record.json");
    std::fs::write(&path, text).unwrap();
    let output = tierbench(dir.path()).arg("verify").arg(&path).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn verify_value(value: &Value) -> (i32, String, String) {
    verify(value.to_string().as_bytes())
}

#[test]
fn an_untouched_record_verifies_and_survives_reformatting() {
    let (code, out, err) = verify_value(&value());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("verified: "), "{out}");
    // Keys in another order and other whitespace are the same record.
    let mut reordered = serde_json::Map::new();
    for (key, child) in value().as_object().unwrap().iter().rev() {
        reordered.insert(key.clone(), child.clone());
    }
    assert_eq!(verify(serde_json::to_string_pretty(&reordered).unwrap().as_bytes()).0, 0);
}

#[test]
fn the_first_number_that_differs_is_named_with_both_values() {
    for (pointer, path) in [
        ("/derived/speed/0/median", "derived.speed[0].median"),
        ("/derived/tasks/1/cost/usd_per_1k_solved/hi", "derived.tasks[1].cost.usd_per_1k_solved.hi"),
        ("/derived/tiers/0/cost/usd_per_mtok_out/total/value", "derived.tiers[0].cost.usd_per_mtok_out.total.value"),
    ] {
        let mut tampered = value();
        let number = tampered.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}"));
        *number = json!(number.as_f64().unwrap() * 1.01);
        for tampered in [tampered.clone(), reseal(tampered)] {
            let (code, out, _) = verify_value(&tampered);
            assert_eq!(code, 6);
            assert!(out.contains(path) && out.contains("stored") && out.contains("recomputed"), "{out}");
        }
    }
}

#[test]
fn a_changed_raw_sample_shows_in_what_was_derived_from_it() {
    let mut tampered = value();
    tampered["raw"]["cells"][0]["outcome"]["speed"]["samples"][0]["elapsed_ns"] = json!(1_000_000);
    let (code, out, _) = verify_value(&reseal(tampered));
    assert_eq!(code, 6);
    assert!(out.contains("derived.speed[0]"), "{out}");
    let mut tampered = value();
    tampered["raw"]["cells"][2]["outcome"]["task"]["items"][9]["pass"] = json!(true);
    let (code, out, _) = verify_value(&reseal(tampered));
    assert!(code == 6 && out.contains("derived.tasks[0].passes"), "{out}");
}

#[test]
fn a_changed_fact_that_no_number_depends_on_breaks_the_hash() {
    let mut tampered = value();
    tampered["raw"]["host"]["cpu"] = json!("A much slower CPU");
    let (code, out, _) = verify_value(&tampered);
    assert!(code == 6 && out.contains("content_sha256"), "{out}");
    let mut unknown = value();
    unknown["raw"]["note"] = json!("fields of later versions count too");
    assert_eq!(verify_value(&unknown).0, 6);
    assert_eq!(verify_value(&reseal(unknown)).0, 0);
}

#[test]
fn joules_that_their_own_counter_reads_contradict_are_found() {
    let mut tampered = value();
    let reading = &mut tampered["raw"]["cells"][0]["outcome"]["speed"]["windows"][0]["reading"];
    reading["raw"] = json!([{"kind": "counter", "domain": "package-0", "counted": true, "joules_per_count": 1e-6,
        "range": 262_143_328_850_u64, "start": 0, "stop": 1_000_000, "wraps": 0}]);
    let forged = Record::from_raw(serde_json::from_value(tampered["raw"].clone()).unwrap());
    let forged = serde_json::to_value(forged.unwrap()).unwrap();
    let (code, out, _) = verify_value(&forged);
    assert_eq!(code, 6, "{out}");
    assert!(out.contains("raw.cells[0]") && out.contains("joules") && out.contains("recomputed 1.0"), "{out}");
}

#[test]
fn hostile_files_end_with_one_line_and_code_1() {
    let good = value().to_string();
    let mut future = value();
    future["schema_version"] = json!(SCHEMA_VERSION + 1);
    let mut cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "not complete JSON"),
        (good.as_bytes()[..good.len() / 2].to_vec(), "not complete JSON"),
        (b"\x00\xff\xfe".to_vec(), "not complete JSON"),
        (b"{}".to_vec(), "not a tierbench record"),
        (future.to_string().into_bytes(), "update tierbench"),
        ("[".repeat(5_000_000).into_bytes(), "recursion limit"),
        (format!("{{\"schema\":{}", "{\"a\":".repeat(1_000_000)).into_bytes(), "recursion limit"),
    ];
    for (pointer, absurd, why) in [
        ("/raw/cells/0/outcome/speed/samples/0/elapsed_ns", json!(0), "elapsed_ns is 0"),
        ("/raw/cells/0/outcome/speed/samples/0/elapsed_ns", json!(-5), "not a tierbench record"),
        ("/raw/cells/0/outcome/speed/samples/0/tokens", json!(1_000_000_000_u64), "pp512 processes 512"),
        ("/raw/cells/0/tier", json!("ghost"), "`ghost` is not listed"),
        ("/raw/cells/2/outcome/task/items/0/score", json!(7.0), "outside 0..1"),
        ("/raw/cells/2/outcome/task/items/1/item", json!("ticket-0"), "twice"),
        ("/raw/tasks/0/rule/bar", json!(1.0), "between 0 and 1"),
        ("/raw/tasks/0/rule/alpha", json!(0.0), "between 0 and 1"),
        ("/raw/tasks/0/rule/n_max", json!(1_000_000), "more than 5000 items"),
        ("/raw/cost/utilization/value", json!(0.0), "above 0"),
        ("/raw/run/id", json!("../../etc/passwd"), "letters, digits"),
        ("/raw/plan/level", json!(2.0), "between 0 and 1"),
        ("/raw/cells/0/subject/workload/n_prompt", json!(513), "another workload"),
    ] {
        let mut value = value();
        *value.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = absurd;
        cases.push((value.to_string().into_bytes(), why));
    }
    for (bytes, why) in cases {
        let (code, out, err) = verify(&bytes);
        assert_eq!((code, out.as_str()), (1, ""), "{why}: {err}");
        assert!(err.contains(why), "{why}: {err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.len() < 600, "{err}");
    }
}

#[test]
fn a_missing_file_and_a_directory_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("none.json"), dir.path().to_owned()] {
        let output = tierbench(dir.path()).arg("verify").arg(&path).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(err.contains(path.to_str().unwrap()) && err.lines().count() == 1, "{err}");
    }
}

#[test]
fn verdicts_and_the_answer_follow_from_the_items() {
    let record = record();
    let verdicts: Vec<_> = record.derived.tasks.iter().map(|numbers| numbers.verdict()).collect();
    assert_eq!(verdicts, [Verdict::Clears, Verdict::Clears, Verdict::Fails]);
    let AnswerOutcome::Cheapest { tier, cheaper_undecided, .. } = &record.derived.answers[0].outcome else {
        panic!("{:?}", record.derived.answers)
    };
    assert!(tier.0.contains("q4_1") && cheaper_undecided.is_empty());
    // A tier that fails is never on the way to the answer, however cheap it is per item.
    assert!(record.derived.ladder[0].0.contains("q2_k"));
}

#[test]
fn derived_numbers_match_the_reference_vectors() {
    let record = record();
    let decode = record.derived.speed.iter().find(|n| n.test == "tg128" && n.tier.0.contains("q4_1")).unwrap();
    assert_eq!(decode.median, Some(128.0));
    let energy = decode.energy.as_ref().unwrap();
    assert!((energy.total.unwrap() - 0.5).abs() < 1e-12);
    // V4's hardware is 0.188584475 $/h; here at 128 tok/s and 0.5 J/token.
    let cost = record.derived.tier_of(&decode.tier).unwrap().cost.usd_per_mtok_out.unwrap();
    let hardware = 0.188_584_475 * 1e6 / (3600.0 * 128.0);
    assert!((cost.hardware.value - hardware).abs() < 1e-8, "{cost:?}");
    assert!((cost.electricity.unwrap().value - 0.5 / 3.6 * record.raw.cost.tariff.value.0).abs() < 1e-12);
    assert!(cost.total.lo < cost.total.value && cost.total.value < cost.total.hi);
}

#[test]
fn a_record_can_be_read_from_stdin() {
    let dir = tempfile::tempdir().unwrap();
    tierbench(dir.path()).args(["verify", "-"]).write_stdin(value().to_string()).assert().success();
    let path = write(dir.path(), "r.json", &value());
    tierbench(dir.path()).arg("verify").arg(path).assert().success();
}

#[test]
fn records_of_older_versions_are_read_verified_and_shown() {
    // Written by the programs of their time: two tiers of the real model, a cell cut to six trials or thirty items. The
    // one of version 2 holds a finding that is worded in another way now.
    for (name, version, tier) in [("v1.json", 1, "q4_1"), ("v2.json", 2, "q5_k_m")] {
        let path = format!("{}/tests/fixtures/records/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap();
        let (code, out, err) = verify(text.as_bytes());
        assert_eq!((code, err.contains("measured bandwidth")), (0, version == 2), "{out}{err}");
        let mut tampered: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(tampered["schema_version"], version);
        let median = tampered.pointer_mut("/derived/speed/0/median").unwrap();
        *median = json!(median.as_f64().unwrap() * 2.0);
        let (code, out, _) = verify_value(&reseal(tampered));
        assert!(code == 6 && out.contains("derived.speed[0].median"), "{out}");
        let dir = tempfile::tempdir().unwrap();
        let table = tierbench(dir.path()).args(["report", &path]).assert().success();
        assert!(String::from_utf8_lossy(&table.get_output().stdout).contains(tier));
        // Stored, it stays what it is.
        tierbench(dir.path()).args(["history", "import", &path]).assert().success();
        tierbench(dir.path()).args(["verify", "latest"]).assert().success();
        let exported = tierbench(dir.path()).arg("export").assert().success();
        let exported: Value = serde_json::from_slice(&exported.get_output().stdout).unwrap();
        assert_eq!(exported["schema_version"], version);
        assert_eq!(content_hash(&exported), exported["content_sha256"]);
    }
}

#[test]
fn fields_this_build_does_not_know_survive_every_way_through_the_history() {
    let mut newer = value();
    newer["raw"]["host"]["surprise"] = json!({"of": 2.0});
    let newer = reseal(newer);
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = write(dir.path(), "newer.json", &newer);
    tierbench(dir.path()).args(["history", "import"]).arg(&path).assert().success();
    tierbench(dir.path()).args(["verify", "latest"]).assert().success();
    for command in [&["export", "latest"][..], &["report", "latest", "-o", "json"], &["export", "--all"]] {
        let printed = tierbench(dir.path()).args(command).assert().success();
        let printed = &printed.get_output().stdout;
        assert_eq!(verify(printed).0, 0, "{command:?}");
        let printed: Value = serde_json::from_slice(printed).unwrap();
        assert_eq!(printed["raw"]["host"]["surprise"]["of"], 2.0, "{command:?}");
    }
    // A page that holds its record holds all of it.
    let page = tierbench(dir.path()).args(["report", "latest", "-o", "html"]).assert().success();
    let page = String::from_utf8_lossy(&page.get_output().stdout).into_owned();
    let packed = page.split_once("id=\"record\">").unwrap().1.split_once('<').unwrap().0;
    let packed = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, packed).unwrap();
    let mut inside = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut inside).unwrap();
    assert_eq!(verify(inside.as_bytes()).0, 0);
    assert!(inside.contains("surprise"));
    let all = other.path().join("all.jsonl");
    let lines = tierbench(dir.path()).args(["export", "--all"]).assert().success();
    std::fs::write(&all, &lines.get_output().stdout).unwrap();
    tierbench(other.path()).args(["history", "import"]).arg(&all).assert().success();
    tierbench(other.path()).args(["verify", "latest"]).assert().success();
}

#[test]
fn speeds_no_machine_reaches_are_named_and_not_ranked() {
    let absurd = |change: &dyn Fn(&mut tierbench::store::record::RawRecord)| {
        let mut raw = example::raw();
        raw.bandwidth.clear();
        change(&mut raw);
        Record::from_raw(raw).unwrap()
    };
    assert_eq!(absurd(&|_| ()).impossible(), Vec::<String>::new());
    let prefill = absurd(&|raw| {
        if let Outcome::Speed(trials) = &mut raw.cells[0].outcome {
            trials.samples.iter_mut().for_each(|sample| sample.elapsed_ns = 512);
        }
    });
    assert!(prefill.impossible()[0].contains("on pp512 would need"), "{:?}", prefill.impossible());
    let items = absurd(&|raw| {
        for cell in &mut raw.cells {
            if let Outcome::Task(task) = &mut cell.outcome {
                task.items.iter_mut().for_each(|item| item.elapsed_ns = 1);
            }
        }
    });
    assert!(items.impossible()[0].contains("operations a second"), "{:?}", items.impossible());
    let dir = tempfile::tempdir().unwrap();
    for (name, record) in [("a.json", prefill), ("b.json", items)] {
        let file = write(dir.path(), name, &serde_json::to_value(&record).unwrap());
        let verified = tierbench(dir.path()).arg("verify").arg(&file).assert().success();
        assert!(String::from_utf8_lossy(&verified.get_output().stderr).contains("would need"));
        let site = dir.path().join("site");
        let built = tierbench(dir.path()).args(["report", "--site"]).args([&site, &file]).assert().success();
        let said = String::from_utf8_lossy(&built.get_output().stderr).into_owned();
        assert!(said.contains("not ranked") && said.contains("would need"), "{said}");
    }
}

#[test]
fn a_number_left_out_of_a_current_record_is_a_difference() {
    let mut value = value();
    value["derived"]["speed"][0].as_object_mut().unwrap().remove("median");
    let (code, out, _) = verify_value(&reseal(value));
    // Whether it is read as unknown or missed: what was published is not what follows.
    assert!(code == 6 && out.contains("derived.speed[0].median"), "{out}");
}

#[test]
fn a_stored_run_is_verified_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let says = |args: &[&str]| {
        let output = tierbench(dir.path()).args(args).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, said) = says(&["verify", "latest"]);
    assert!(code != 0 && said.contains("the history has no run yet"), "{said}");
    let path = dir.path().join("record.json");
    std::fs::write(&path, value().to_string()).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(says(&["history", "import", path]).0, 0);
    let (file, stored) = (says(&["verify", path]), says(&["verify", "latest"]));
    assert_eq!(stored, file, "the same numbers and the same hash");
    let (code, said) = says(&["verify", "latest", "--public-key", "RWQ"]);
    assert!(code == 2 && said.contains("a signature covers a file"), "{said}");
    assert!(says(&["verify", "19991231"]).1.contains("19991231"));
}

#[test]
fn a_signature_attributes_a_file_and_breaks_with_it() {
    // The key and the signature of the four bytes `test` from minisign's documentation: no record has those bytes.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
        wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==\n";
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "record.json", &value());
    let check = |arguments: &[&str]| {
        let output = tierbench(dir.path()).arg("verify").arg(&path).args(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    let (code, said) = check(&["--public-key", KEY]);
    assert!(code == 1 && said.contains("record.json.minisig"), "{said}");
    std::fs::write(dir.path().join("record.json.minisig"), SIGNATURE).unwrap();
    let (code, said) = check(&["--public-key", KEY]);
    assert!(code == 6 && said.contains("verified: ") && said.contains("not of this file by this key"), "{said}");
    let (code, said) = check(&["--public-key", "RWQ"]);
    assert!(code == 6 && said.contains("public key cannot be read"), "{said}");
    assert_eq!(check(&["--signature", "x"]).0, 2, "a signature without a key says nothing");
}

/// A record that minisign 0.11 signed with a key pair made for it, whose secret half is gone.
#[test]
fn a_signed_record_verifies_for_its_key_and_no_other_and_not_once_it_is_changed() {
    let fixture = |name: &str| format!("{}/tests/fixtures/records/{name}", env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    let check = |record: &str, arguments: &[&str]| {
        let output = tierbench(dir.path()).args(["verify", record]).args(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    let (record, signer) = (fixture("v1.json"), fixture("signer.pub"));
    let key_line = std::fs::read_to_string(&signer).unwrap().lines().nth(1).unwrap().to_owned();
    for key in [&signer, &key_line] {
        let (code, said) = check(&record, &["--public-key", key]);
        assert!(code == 0 && said.contains("verified: "), "{said}");
        assert!(said.contains("signed by the holder of that key: tierbench's fixture"), "{said}");
    }
    let (code, said) = check(&record, &["--public-key", &fixture("stranger.pub")]);
    assert!(code == 6 && said.contains("not of this file by this key"), "{said}");

    // Numbers and hash of the copies are right, so only the signature tells that another hand wrote them.
    let signature = fixture("v1.json.minisig");
    let text = std::fs::read_to_string(&record).unwrap();
    let mut forged: Value = serde_json::from_str(&text).unwrap();
    forged["raw"]["host"]["cpu"] = json!("A much slower CPU");
    let reformatted = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&text).unwrap()).unwrap();
    for (name, content) in [("forged.json", reseal(forged).to_string()), ("reformatted.json", reformatted)] {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        let path = path.to_str().unwrap();
        assert_eq!(check(path, &[]).0, 0, "{name}");
        let (code, said) = check(path, &["--public-key", &signer, "--signature", &signature]);
        assert!(code == 6 && said.contains("not of this file by this key"), "{name}: {said}");
    }
    // The comment of a signature is signed too.
    let changed = std::fs::read_to_string(&signature).unwrap().replace("tierbench's fixture", "someone's fixture");
    let other = dir.path().join("other.minisig");
    std::fs::write(&other, changed).unwrap();
    let (code, said) = check(&record, &["--public-key", &signer, "--signature", other.to_str().unwrap()]);
    assert!(code == 6 && said.contains("not of this file by this key"), "{said}");
}

/// The fenced blocks of a language in `schema/README.md`.
fn recipes(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let blocks = include_str!("../schema/README.md").split(fence.as_str()).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_published_recipes_check_a_hash_and_find_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let mut raw = example::raw();
    // No double holds these integers.
    (raw.plan.interleave_seed, raw.plan.bootstrap_seed) = (u64::MAX, (1 << 53) + 1);
    let sealed = serde_json::to_value(Record::from_raw(raw).unwrap()).unwrap();
    let mut tampered = sealed.clone();
    tampered["derived"]["speed"][0]["median"] = json!(1e6);
    let run = |command: &[&str], code: &str| {
        let (program, arguments) = command.split_first().unwrap();
        std::process::Command::new(program).args(arguments).arg(code).current_dir(dir.path()).output()
    };
    let interpreters =
        [("python", &["python3", "-c"][..], "import rfc8785"), ("js", &["node", "--input-type=module", "-e"], "")];
    for (language, command, probe) in interpreters {
        let recipes = recipes(language);
        assert_eq!(recipes.len(), 1, "{language}");
        if !run(command, probe).is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: the {language} recipe: `{} '{probe}'` does not run here", command.join(" "));
            continue;
        }
        for (record, holds) in [(&sealed, true), (&tampered, false)] {
            write(dir.path(), "record.json", record);
            let output = run(command, recipes[0]).unwrap();
            assert_eq!(output.status.success(), holds, "{language}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
