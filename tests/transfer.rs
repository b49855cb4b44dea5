//! Records go from one history to another: in a file of any name, through a pipe, one or many, sound or not.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod example;

use std::path::Path;

use example::{raw, tierbench};
use serde_json::Value;
use tierbench::store::record::Record;

/// Records of several runs.
fn records(runs: u32) -> Vec<Value> {
    let record = |i: u32| {
        let mut raw = raw();
        raw.run.id = format!("20260821-{i:06}-3fa9c1");
        serde_json::to_value(Record::from_raw(raw).unwrap()).unwrap()
    };
    (0..runs).map(record).collect()
}

fn lines(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

/// Imports a text from a file of this name, or from a pipe for `-`, without warnings and progress.
fn import(data: &Path, name: &str, text: &str) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = tierbench(data);
    command.args(["history", "import"]);
    if name == "-" {
        command.arg("-").write_stdin(text);
    } else {
        std::fs::write(dir.path().join(name), text).unwrap();
        command.arg(dir.path().join(name));
    }
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said.replace(&format!("{}/", dir.path().display()), ""))
}

#[test]
fn a_file_is_read_by_what_is_in_it_whatever_its_name() {
    let all = records(3);
    let pretty = serde_json::to_string_pretty(&all[0]).unwrap();
    for name in ["all.jsonl", "all.json", "all", "-"] {
        for (text, count) in [(lines(&all), "3 records"), (lines(&all[..1]), "1 record"), (pretty.clone(), "1 record")]
        {
            if name == "all.jsonl" && text == pretty {
                continue;
            }
            let data = tempfile::tempdir().unwrap();
            let (code, said) = import(data.path(), name, &text);
            assert!(code == 0 && said == format!("{count} added, 0 already there\n"), "{name}: {said}");
        }
    }
}

#[test]
fn an_exported_history_goes_through_a_pipe() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(import(from.path(), "-", &lines(&records(4))).0, 0);
    let all = tierbench(from.path()).args(["export", "--all"]).output().unwrap().stdout;
    let (code, said) = import(to.path(), "-", std::str::from_utf8(&all).unwrap());
    assert!(code == 0 && said.starts_with("4 records added"), "{said}");
    assert_eq!(tierbench(to.path()).args(["export", "--all"]).output().unwrap().stdout, all);
}

#[test]
fn what_cannot_be_imported_is_said_once_by_name_and_loses_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let mut all = records(3);
    all[1]["derived"]["speed"][0]["median"] = 1.0.into();
    let mut text = lines(&all);
    text.insert_str(0, "{\"schema\": \"tierbench.rec\n");
    let (code, said) = import(data.path(), "all.json", &text);
    assert!(code == 6 && said.ends_with("2 records added, 0 already there\n"), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors.len() == 2 && errors[0].starts_with("error: all.json line 1 is not complete JSON"), "{said}");
    assert!(
        errors[1].contains("all.json line 3 does not verify") && errors[1].contains("derived.speed[0].median"),
        "{said}"
    );

    let (code, said) = import(data.path(), "cut.json", &text[..900]);
    assert!(code == 1 && said.starts_with("error: cut.json is not complete JSON"), "{said}");
    // Hundreds of lines of another kind do not scroll the first away.
    let (code, said) = import(data.path(), "-", &"{\"a\": 1}\n".repeat(200));
    assert!(code == 1 && said.starts_with("error: standard input line 1 is not a tierbench record"), "{said}");
    assert!(said.lines().count() == 12 && said.contains("error: 190 more lines not imported"), "{said}");
}

#[test]
fn what_failed_is_said_even_when_quiet() {
    let data = tempfile::tempdir().unwrap();
    let mut changed = records(1).remove(0);
    changed["derived"]["speed"][0]["median"] = 1.0.into();
    for (text, code, why) in
        [("{\"schema\": ", 1, "not complete JSON"), (changed.to_string().as_str(), 6, "does not verify")]
    {
        let mut command = tierbench(data.path());
        command.args(["-q", "history", "import", "-"]).write_stdin(text);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && said.lines().count() == 1, "{said}");
        assert!(said.starts_with("error: standard input") && said.contains(why), "{said}");
        assert_eq!(said.matches("standard input").count(), 1, "{said}");
    }
}
