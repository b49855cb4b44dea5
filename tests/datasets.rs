//! Data sets of the hub: the splits a task names are fetched once, kept, and read without a network.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

#[expect(dead_code, reason = "the tests of fetching models use the rest")]
mod support;

use serde_json::Value;
use support::{Place, Reply, Request, Server, sha256};

const YAML: &str = "task: sums\ndataset_path: owner/sums\ndataset_name: easy\noutput_type: generate_until\n\
                    test_split: test\nfewshot_split: train\nnum_fewshot: 1\ndoc_to_text: \"{{input}}=\"\n\
                    doc_to_target: target\n";
const TRAIN: &str = "{\"input\":\"1+1\",\"target\":\"2\"}\n";

/// The test split: Parquet where it is read, else the same rows as JSON lines.
const TEST: (&str, &[u8]) = if cfg!(feature = "parquet") {
    ("easy/test-00000-of-00001.parquet", include_bytes!("fixtures/sums.parquet"))
} else {
    ("easy/test.jsonl", b"{\"input\":\"2+2?\",\"target\":\"4\"}\n{\"input\":\"1+2?\",\"target\":\"3\"}\n")
};

/// A hub with one data set.
fn hub() -> Server {
    Server::start(move |request: &Request| {
        let file = |bytes: &[u8]| {
            let reply = if request.method == "HEAD" { Reply::status(200) } else { Reply::bytes(bytes, request) };
            reply
                .with("Etag", format!("\"{}\"", sha256(bytes)))
                .with("X-Repo-Commit", "c0ffee")
                .with("Content-Length", bytes.len().to_string())
        };
        match request.path.as_str() {
            "/api/datasets/owner/sums/revision/main" => Reply {
                body: format!(
                    "{{\"siblings\":[{{\"rfilename\":\"README.md\"}},{{\"rfilename\":\"{}\"}},\
                     {{\"rfilename\":\"easy/train.jsonl\"}}]}}",
                    TEST.0
                )
                .into_bytes(),
                ..Reply::status(200)
            },
            path => match path.strip_prefix("/datasets/owner/sums/resolve/main/") {
                Some("easy/train.jsonl") => file(TRAIN.as_bytes()),
                Some(name) if name == TEST.0 => file(TEST.1),
                _ => Reply::status(404),
            },
        }
    })
}

fn task(place: &Place, yaml: &str) -> String {
    std::fs::write(place.path("sums.yaml"), yaml).unwrap();
    place.path("sums.yaml").to_str().unwrap().to_owned()
}

#[test]
fn splits_are_fetched_once_and_read_offline() {
    let (place, server) = (Place::new(support::HUB), hub());
    let task = task(&place, YAML);
    let run = |args: &[&str]| place.program(&server.url).args(args).output().unwrap();
    let before = run(&["tasks", "show", &task]);
    assert!(support::error_line(&before).contains(&format!("`tierbench tasks fetch {task}`")));
    let fetched = run(&["tasks", "fetch", &task]);
    support::succeeded(&fetched);
    assert!(String::from_utf8_lossy(&fetched.stdout).contains("2 items, 1 worked examples, 2 splits fetched"));
    let requests = server.seen().len();
    let shown = run(&["--offline", "tasks", "show", &task, "--item", "2", "-o", "json"]);
    support::succeeded(&shown);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["prompt"], "1+1= 2\n\n1+2?=");
    support::succeeded(&run(&["tasks", "fetch", &task]));
    assert_eq!(server.seen().len(), requests, "what is in the cache asks nobody");
}

#[test]
fn what_the_hub_does_not_have_is_named() {
    let (place, server) = (Place::new(support::HUB), hub());
    let run = |yaml: &str, offline: bool| {
        let task = task(&place, yaml);
        let mut program = place.program(&server.url);
        program.args(if offline { &["--offline"][..] } else { &[] }).args(["tasks", "fetch", &task]);
        support::error_line(&program.output().unwrap())
    };
    let message = run(&YAML.replace("test_split: test", "test_split: validation"), false);
    assert!(message.contains("owner/sums easy validation") && message.contains("easy/train.jsonl"), "{message}");
    assert!(run(&YAML.replace("owner/sums", "owner/other"), false).contains("owner/other"));
    assert!(run(YAML, true).contains("offline"));
    assert!(run(&YAML.replace("owner/sums", "../../etc"), false).contains("owner/name"));
}
