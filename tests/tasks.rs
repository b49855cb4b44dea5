//! Tasks from files: scaffolded, checked, in lm-eval's form, bare, and in every format; what is wrong is named.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

fn tierbench() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tierbench"));
    command.args(["--offline", "--quiet"]);
    command
}

/// Standard output of a command that ends with `code`.
fn output(args: &[&str], code: i32) -> String {
    let run = tierbench().args(args).assert().code(code);
    String::from_utf8(run.get_output().stdout.clone()).unwrap()
}

fn error(args: &[&str]) -> String {
    let run = tierbench().args(args).assert().failure();
    let text = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert_eq!(text.trim_end().lines().count(), 1, "one line: {text}");
    text
}

fn example(name: &str) -> String {
    format!("{}/examples/tasks/{name}/{name}.yaml", env!("CARGO_MANIFEST_DIR"))
}

fn shown(task: &str, item: &str) -> Value {
    serde_json::from_str(&output(&["tasks", "show", task, "--item", item, "-o", "json"], 0)).unwrap()
}

#[test]
fn a_new_task_passes_its_own_check() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("reviews");
    let folder = folder.to_str().unwrap();
    output(&["tasks", "new", folder], 0);
    let text = output(&["tasks", "check", folder], 0);
    assert!(!text.contains("error:"), "{text}");
    // Its worked examples, its items and its bar make a task that can be judged.
    let facts = &shown(folder, "1")["facts"];
    assert_eq!((facts["task"].as_str(), facts["shots"].as_u64()), (Some("reviews"), Some(2)));
    assert!(facts["bar"]["min"].as_f64().unwrap() > facts["baselines"][0]["pass_rate"].as_f64().unwrap());
    // Nothing of the user's is overwritten.
    assert!(error(&["tasks", "new", folder]).contains("reviews"));
}

#[test]
fn a_table_becomes_a_task_that_passes_its_check() {
    let dir = tempfile::tempdir().unwrap();
    let csv: String =
        (0..30).map(|i| format!("\"message {i}, urgent\",{}\n", ["ask", "order", "other"][i % 3])).collect();
    fs::write(dir.path().join("mail.csv"), format!("text,kind\n{csv}")).unwrap();
    let (folder, data) = (dir.path().join("mail"), dir.path().join("mail.csv"));
    let (folder, data) = (folder.to_str().unwrap(), data.to_str().unwrap());
    output(&["tasks", "new", folder, "--from", data, "--input", "text", "--target", "kind"], 0);
    let text = output(&["tasks", "check", folder], 0);
    assert!(!text.contains("error:"), "{text}");
    let shown = shown(folder, "1");
    assert_eq!(shown["choices"], serde_json::json!(["ask", "order", "other"]));
    assert_eq!((shown["facts"]["items"].as_u64(), shown["facts"]["shots"].as_u64()), (Some(27), Some(3)));
    let other = dir.path().join("again");
    let message =
        error(&["tasks", "new", other.to_str().unwrap(), "--from", data, "--input", "text", "--target", "label"]);
    assert!(message.contains("`label`") && message.contains("`kind`"), "{message}");
    assert!(!other.exists(), "a refused task leaves nothing behind");
}

#[test]
fn task_files_of_lm_eval_run_unchanged() {
    let arc = shown(&example("arc_easy"), "1");
    assert_eq!(arc["choices"].as_array().unwrap().len(), 4);
    assert!(
        arc["prompt"].as_str().unwrap().starts_with("Question: ")
            && arc["prompt"].as_str().unwrap().ends_with("\nAnswer:")
    );
    let boolq = shown(&example("boolq"), "2");
    assert_eq!(boolq["choices"], serde_json::json!(["no", "yes"]));
    let gsm8k = shown(&example("gsm8k"), "1");
    let prompt = gsm8k["prompt"].as_str().unwrap();
    assert_eq!((prompt.matches("Question: ").count(), prompt.matches("#### ").count()), (6, 5), "{prompt}");
    for name in ["arc_easy", "boolq", "gsm8k"] {
        let text = output(&["tasks", "check", &example(name)], 0);
        assert!(!text.contains("error:"), "{text}");
    }
}

#[test]
fn the_same_rows_in_every_format_are_the_same_task() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("a.jsonl", b"{\"input\":\"2+2?\",\"target\":\"4\"}\n{\"input\":\"1+2?\",\"target\":\"3\"}\n");
    write("a.csv", b"input,target\n2+2?,4\n1+2?,3\n");
    write("a.json", b"[{\"input\":\"2+2?\",\"target\":\"4\"},{\"input\":\"1+2?\",\"target\":\"3\"}]");
    for name in ["a.jsonl", "a.csv", "a.json"] {
        assert_shows_the_sums(&dir.path().join(name));
    }
}

fn assert_shows_the_sums(path: &Path) {
    let shown = shown(path.to_str().unwrap(), "2");
    assert_eq!(shown["prompt"], "1+2?\nAnswer:", "{}", path.display());
    assert_eq!((shown["facts"]["task"].as_str(), shown["facts"]["items"].as_u64()), (Some("a"), Some(2)));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_build_without_parquet_says_how_to_get_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sums.parquet");
    let run = tierbench().args(["tasks", "show", path.to_str().unwrap()]).output().unwrap();
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.code() == Some(1) && errors.contains("sums.parquet") && errors.contains("--features parquet"));
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_is_the_same_task_and_may_hold_lists_and_nulls() {
    let dir = tempfile::tempdir().unwrap();
    let sums = dir.path().join("a.parquet");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sums.parquet"), &sums).unwrap();
    assert_shows_the_sums(&sums);
    // Compressed, with lists, structs and nulls, as hub data sets are.
    let nested = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nested.parquet");
    let yaml = "task: nested\noutput_type: multiple_choice\ndoc_to_text: \"{{question}}\"\n\
                doc_to_choice: \"{{choices.text}}\"\ndoc_to_target: \"{{choices.label.index(answerKey)}}\"\n";
    fs::copy(nested, dir.path().join("test.parquet")).unwrap();
    fs::write(dir.path().join("task.yaml"), yaml).unwrap();
    let shown = shown(dir.path().to_str().unwrap(), "2");
    assert_eq!((&shown["prompt"], &shown["choices"]), (&"Which melts?".into(), &serde_json::json!(["ice", "stone"])));
    assert_eq!(shown["item"]["note"], Value::Null);
}

#[cfg(feature = "parquet")]
#[test]
fn damaged_parquet_is_an_error_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let whole = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nested.parquet")).unwrap();
    let mut damaged: Vec<Vec<u8>> = vec![Vec::new(), b"PAR1".to_vec(), whole[..whole.len() / 2].to_vec()];
    // One byte wrong, at places spread over the file.
    damaged.extend((0..24).map(|i| {
        let mut bytes = whole.clone();
        bytes[i * whole.len() / 24] ^= 0xff;
        bytes
    }));
    for bytes in damaged {
        fs::write(&path, &bytes).unwrap();
        let run = tierbench().args(["tasks", "show", path.to_str().unwrap()]).output().unwrap();
        let errors = String::from_utf8_lossy(&run.stderr);
        assert!(matches!(run.status.code(), Some(0 | 1)) && !errors.contains("panicked"), "{errors}");
    }
}

#[test]
fn bad_rows_and_keys_are_named_with_file_line_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).to_str().unwrap().to_owned()
    };
    let yaml =
        "task: t\noutput_type: multiple_choice\ndoc_to_text: \"{{q}}\"\ndoc_to_choice: [a, b]\ndoc_to_target: t\n";
    for (path, wanted) in [
        (at("x1.jsonl", "{\"input\":\"a\",\"target\":\"b\"}\n{\"input\":\n"), "x1.jsonl:2: not a JSON object"),
        (at("x2.jsonl", "{\"question\":\"a\"}\n"), "x2.jsonl:1: no column `input`"),
        (at("x3.csv", "input,target\na,b,c\n"), "x3.csv:2: 3 cells, but the header has 2"),
        (at("x4.yaml", "task: t\nbogus: 1\n"), "bogus"),
        (at("x5.yaml", "task: t\ntest_split: [\n"), "line"),
        (at("y6.yaml", &format!("{yaml}process_docs: !function utils.f\n")), "`!function (line 6)` is not supported"),
        (at("y7.yaml", &format!("{yaml}output_type: loglikelihood_rolling\n")), "output_type"),
        (at("y8.yaml", "group: g\ntask: [a, b]\n"), "`group` is not supported: groups are not read"),
        (at("z9.yaml", yaml), "no data for split `test`"),
        (at("z10.yaml", &format!("{yaml}dataset_path: allenai/ai2_arc\n")), "`tierbench tasks fetch"),
        (
            at("z11.yaml", &format!("{yaml}dataset_kwargs: {{ data_files: {{ test: \"*.jsonl\" }} }}\n")),
            "patterns are not read",
        ),
    ] {
        let message = error(&["tasks", "show", &path]);
        assert!(message.contains(wanted), "{wanted}: {message}");
    }
}
