//! Results of llama-bench and lm-eval become records: same tables, marked as imported, every number derived anew.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod example;

use std::path::Path;

use example::tierbench;
use serde_json::{Value, json};
use tierbench::store::record::{RawRecord, Record};

/// Two tests of one model and one of both together, with the fields of llama.cpp's build 5a32f10.
fn llama_bench() -> Value {
    let row = |n_prompt: u32, n_gen: u32, samples: [u64; 3]| {
        let tokens = f64::from(n_prompt.max(n_gen));
        json!({
            "build_commit": "8cf427ff", "build_number": 5163, "cpu_info": "AMD Ryzen 7 7800X3D 8-Core Processor",
            "gpu_info": "", "backends": "CPU", "model_filename": "models/Qwen2.5-1.5B-Instruct-Q4_K_M.gguf",
            "model_type": "qwen2 1.5B Q4_K - Medium", "model_size": 980_400_128, "model_n_params": 1_543_714_304,
            "n_batch": 2048, "n_ubatch": 512, "n_threads": 8, "cpu_mask": "0x0", "cpu_strict": false, "poll": 50,
            "type_k": "f16", "type_v": "f16", "n_gpu_layers": 99, "split_mode": "layer", "main_gpu": 0,
            "no_kv_offload": false, "flash_attn": false, "tensor_split": "0.00", "use_mmap": true, "embeddings": false,
            "n_prompt": n_prompt, "n_gen": n_gen, "n_depth": 0, "test_time": "2025-04-24T11:58:50Z",
            "avg_ns": samples.iter().sum::<u64>() / 3, "stddev_ns": 5_000_000,
            "avg_ts": tokens * 1e9 / samples[1] as f64, "stddev_ts": 1.0,
            "samples_ns": samples, "samples_ts": samples.map(|ns| tokens * 1e9 / ns as f64)
        })
    };
    json!([
        row(512, 0, [1_600_000_000, 1_500_000_000, 1_550_000_000]),
        row(0, 128, [4_000_000_000, 4_010_000_000, 3_990_000_000]),
        row(512, 128, [5_000_000_000, 5_000_000_000, 5_000_000_000])
    ])
}

fn import(dir: &Path, arguments: &[&str], file: &Path) -> (i32, String) {
    let output = tierbench(dir).args(["history", "import"]).args(arguments).arg(file).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn stdout(command: &mut assert_cmd::Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn llama_benchs_samples_give_the_same_table_marked_as_imported() {
    let dir = tempfile::tempdir().unwrap();
    let (as_json, as_jsonl) = (dir.path().join("bench.json"), dir.path().join("bench.jsonl"));
    std::fs::write(&as_json, llama_bench().to_string()).unwrap();
    let lines: String = llama_bench().as_array().unwrap().iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(&as_jsonl, lines).unwrap();
    for file in [&as_json, &as_jsonl] {
        let (code, said) = import(dir.path(), &[], file);
        assert!(code == 5 && said.contains("left out row 3: pp512+tg128 times both together"), "{said}");
        assert!(said.contains("run 20250424-115850-") && said.contains("added"), "{said}");
    }
    let (_, again) = import(dir.path(), &[], &as_json);
    assert!(again.contains("already there"), "{again}");

    let record: Value = serde_json::from_str(&stdout(tierbench(dir.path()).args(["export", "latest"]))).unwrap();
    assert_eq!(record["raw"]["imported"]["tool"], "llama-bench");
    let tier = &record["raw"]["tiers"][0];
    assert_eq!(tier["key"], "Qwen2.5-1.5B-Instruct:q4_k_m llama.cpp cpu t8");
    let decode = &record["derived"]["speed"][1];
    assert!((decode["median"].as_f64().unwrap() - 32.0).abs() < 1e-9, "{decode}");
    assert!(decode["energy"].is_null(), "nothing was metered, so nothing is known");
    let path = dir.path().join("exported.json");
    std::fs::write(&path, record.to_string()).unwrap();
    tierbench(dir.path()).arg("verify").arg(path).assert().success();

    let table = stdout(tierbench(dir.path()).args(["report", "latest", "-o", "md"]));
    assert!(table.contains("(imported from llama-bench)") && table.contains("32.0"), "{table}");
    assert!(table.contains("measured by llama-bench build 8cf427ff (5163), not by tierbench"), "{table}");
}

/// lm-eval's file names: `results_MOMENT.json` and `samples_TASK_MOMENT.jsonl` beside it.
fn lm_eval(dir: &Path, passes: u32, items: u32) -> std::path::PathBuf {
    let moment = "2025-04-24T11-58-50.123456";
    let results = json!({
        "results": {"arc_easy": {"alias": "arc_easy", "acc,none": 0.8, "acc_stderr,none": 0.04}},
        "configs": {"arc_easy": {"task": "arc_easy", "output_type": "multiple_choice", "num_fewshot": 0}},
        "versions": {"arc_easy": 1.0},
        "n-samples": {"arc_easy": {"original": items, "effective": items}},
        "config": {"model": "hf", "model_args": "pretrained=Qwen/Qwen2.5-0.5B-Instruct,dtype=bfloat16", "device": "cuda:0"},
        "git_hash": "4439847", "date": 1_745_495_930.5, "task_hashes": {"arc_easy": "ab".repeat(32)}
    });
    let path = dir.join(format!("results_{moment}.json"));
    std::fs::write(&path, results.to_string()).unwrap();
    let sample = |i: u32| {
        let acc = f64::from(u8::from(i < passes));
        json!({
            "doc_id": i, "doc": {"question": format!("Question {i}?")}, "target": "2",
            "arguments": {"gen_args_0": {"arg_0": format!("Question: Question {i}?\nAnswer:"), "arg_1": " a stone"}},
            "resps": [[["-3.5", "False"]], [["-2.5", "True"]]], "filtered_resps": [["-3.5", "False"], ["-2.5", "True"]],
            "filter": "none", "metrics": ["acc", "acc_norm"], "doc_hash": "d", "prompt_hash": format!("{i:064x}"),
            "target_hash": "t", "acc": acc, "acc_norm": 1.0 - acc
        })
    };
    let lines: String = (0..items).map(|i| format!("{}\n", sample(i))).collect();
    std::fs::write(dir.join(format!("samples_arc_easy_{moment}.jsonl")), lines).unwrap();
    path
}

#[test]
fn lm_evals_items_are_judged_by_the_bar_that_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let file = lm_eval(dir.path(), 180, 200);
    let (code, said) = import(dir.path(), &[], &file);
    assert!(code == 1 && said.contains("--bar"), "{said}");
    let (code, said) = import(dir.path(), &["--bar", "0.7"], &file);
    assert_eq!(code, 0, "{said}");
    let record = exported(dir.path());
    let task = &record["derived"]["tasks"][0];
    assert_eq!((task["items"].as_u64(), task["passes"].as_u64()), (Some(200), Some(180)));
    assert_eq!(task["assessment"]["verdict"]["outcome"], "clears");
    // What lm-eval did not measure is unknown, never 0.
    for unknown in ["seconds_per_item", "prefilled_per_item", "generated_per_item", "energy"] {
        assert!(task[unknown].is_null(), "{unknown}: {}", task[unknown]);
    }
    assert!(task["cost"]["usd_per_1k_solved"].is_null() && task["cost"]["usd_per_item"].is_null());
    assert_eq!(record["raw"]["tasks"][0]["sha256"], "ab".repeat(32));
    let prompts = &record["raw"]["prompts"][0]["items"];
    assert!(prompts[0]["prompt"].as_str().unwrap().starts_with("Question: "), "{}", prompts[0]);
    let table = stdout(tierbench(dir.path()).args(["report", "latest"]));
    assert!(table.contains("(imported from lm-eval)") && table.contains("CLEARS"), "{table}");
    assert!(table.contains("measured by lm-eval 4439847"), "{table}");
    let rows = stdout(tierbench(dir.path()).args(["export", "latest", "-o", "jsonl"]));
    let row: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    for unknown in ["prompt_tokens", "cached_tokens", "gen_tokens", "ms", "joules"] {
        assert!(row[unknown].is_null(), "{unknown}: {row}");
    }
    let csv = stdout(tierbench(dir.path()).args(["export", "latest", "-o", "csv"]));
    assert!(csv.lines().nth(1).unwrap().ends_with(",,,,,,scored"), "{csv}");
}

/// A copy of captured results; `tests/fixtures/import/SOURCE.md` says where they come from.
fn captured(dir: &Path, files: &[(&str, &str)]) -> std::path::PathBuf {
    for (fixture, name) in files {
        let path = format!("{}/tests/fixtures/import/{fixture}", env!("CARGO_MANIFEST_DIR"));
        std::fs::copy(path, dir.join(name)).unwrap();
    }
    dir.join(files[0].1)
}

fn exported(dir: &Path) -> Value {
    serde_json::from_str(&stdout(tierbench(dir).args(["export", "latest"]))).unwrap()
}

#[test]
fn results_that_llama_bench_wrote_are_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = captured(dir.path(), &[("llama-bench.json", "bench.json")]);
    let (code, said) = import(dir.path(), &[], &file);
    assert_eq!(code, 0, "{said}");
    let record = exported(dir.path());
    let tier = &record["raw"]["tiers"][0];
    assert_eq!(tier["key"], "Qwen2.5-7B-Instruct:q4_k_m llama.cpp gpu t8");
    let speed = record["derived"]["speed"].as_array().unwrap();
    // llama-bench's own avg_ts and stddev_ts are the mean and deviation of the samples' rates.
    for (numbers, (test, mean, stddev)) in
        speed.iter().zip([("pp512", 7_100.002_165, 140.341_520), ("tg128", 118.881_588, 1.041_811)])
    {
        assert_eq!(numbers["test"], test);
        for (name, theirs) in [("mean", mean), ("stddev", stddev)] {
            let ours = numbers[name].as_f64().unwrap();
            assert!((ours / theirs - 1.0).abs() < 1e-6, "{test} {name}: {ours}, theirs {theirs}");
        }
    }
}

#[test]
fn results_that_lm_eval_wrote_are_taken_over_with_their_chats_and_groups() {
    let dir = tempfile::tempdir().unwrap();
    let results = "results_2025-10-14T14-44-39.372006.json";
    let samples = "samples_mmlu_pro_plus_health_2025-10-14T14-44-39.372006.jsonl";
    let file = captured(dir.path(), &[(results, results), (samples, samples)]);
    let (code, said) = import(dir.path(), &["--bar", "0.4"], &file);
    assert_eq!(code, 0, "the group has no samples of its own: {said}");
    let record = exported(dir.path());
    assert_eq!(record["raw"]["run"]["started_at"], "2025-10-14T14:23:01Z");
    assert_eq!(record["raw"]["imported"]["version"], "0.4.9.1");
    assert_eq!(record["raw"]["tiers"][0]["key"], "/workspace/gemma3_12b_u2 lm-eval vllm");
    assert_eq!(record["raw"]["tasks"].as_array().unwrap().len(), 1);
    let task = &record["derived"]["tasks"][0];
    assert_eq!((task["items"].as_u64(), task["passes"].as_u64()), (Some(2), Some(0)));
    let items = record["raw"]["cells"][0]["outcome"]["task"]["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["item"] == "12").unwrap();
    assert_eq!(item["answer"], "B");
    assert!(item["raw"].as_str().unwrap().ends_with("The answer is (B)."), "{item}");
}

#[test]
fn samples_of_another_run_are_not_taken_for_these_results() {
    let dir = tempfile::tempdir().unwrap();
    let results = "results_2025-09-09T13-42-42.857006.json";
    let other = "samples_gsm8k_2025-09-09T13-31-53.431753.jsonl";
    let file = captured(dir.path(), &[(results, results), (other, other)]);
    let (code, said) = import(dir.path(), &["--bar", "0.4"], &file);
    assert!(code == 1 && said.contains("gsm8k") && said.contains("--log_samples"), "{said}");
    // Renamed by a user who says that they belong together; a chat endpoint was sent messages.
    let file = captured(dir.path(), &[(results, "results.json"), (other, other)]);
    let (code, said) = import(dir.path(), &["--bar", "0.4"], &file);
    assert_eq!(code, 0, "{said}");
    let record = exported(dir.path());
    assert_eq!(record["raw"]["tiers"][0]["key"], "gemma3:12b-it-q4_K_M lm-eval local-chat-completions");
    let task = &record["derived"]["tasks"][0];
    assert_eq!((task["items"].as_u64(), task["passes"].as_u64()), (Some(3), Some(1)));
    let prompts = record["raw"]["prompts"][0]["items"].as_array().unwrap();
    let prompt = prompts.iter().find(|prompt| prompt["item"] == "18").unwrap();
    let text = prompt["prompt"].as_str().unwrap();
    assert!(
        text.starts_with("user: Question: ") && text.contains("\n\nQuestion: Claire makes a 3 egg omelet"),
        "{text}"
    );
}

#[test]
fn the_metric_can_be_chosen_and_a_missing_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = lm_eval(dir.path(), 180, 200);
    let (code, said) = import(dir.path(), &["--bar", "0.7", "--metric", "f1"], &file);
    assert!(code == 1 && said.contains("`f1`") && said.contains("--metric") && said.lines().count() == 1, "{said}");
    assert_eq!(import(dir.path(), &["--bar", "0.7", "--metric", "acc_norm"], &file).0, 0);
    let table = stdout(tierbench(dir.path()).args(["report", "latest"]));
    assert!(table.contains("FAILS") && table.contains("10.0 %"), "{table}");
    let unwrapped = table.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        unwrapped.contains("arc_easy (acc_norm): sequential test") && unwrapped.contains("over 1 tier, "),
        "{table}"
    );
}

#[test]
fn results_without_samples_and_broken_rows_are_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = lm_eval(dir.path(), 1, 2);
    std::fs::remove_file(dir.path().join("samples_arc_easy_2025-04-24T11-58-50.123456.jsonl")).unwrap();
    let mut no_samples = llama_bench();
    no_samples[1]["samples_ns"] = json!([]);
    let mut zero = llama_bench();
    zero[1]["samples_ns"] = json!([0]);
    let mut empty = llama_bench();
    empty[0]["n_prompt"] = json!(0);
    let mut without = llama_bench();
    without[1].as_object_mut().unwrap().remove("samples_ns");
    let mut typed = llama_bench();
    typed[0]["n_prompt"] = json!("many");
    let mut cases = vec![(file, "--log_samples")];
    for (name, value, why) in [
        ("none.json", no_samples, "row 2 has no samples_ns"),
        ("zero.json", zero, "row 2: samples_ns[0] is 0"),
        ("empty.json", empty, "row 1: n_prompt and n_gen are both 0"),
        ("without.json", without, "row 2 has no samples_ns"),
        ("typed.json", typed, "row 1: n_prompt: invalid type: string"),
        ("both.json", json!([llama_bench()[2]]), "row 1: pp512+tg128 times both together"),
        ("other.json", json!({"results": []}), "no field \"schema\""),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, value.to_string()).unwrap();
        cases.push((path, why));
    }
    for (path, why) in cases {
        let (code, said) = import(dir.path(), &["--bar", "0.5"], &path);
        assert!(code == 1 && said.contains(why), "{}: {said}", path.display());
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("error: ") && said.matches("none.json").count() <= 1, "{said}");
        let quiet = tierbench(dir.path()).args(["--quiet", "history", "import", "--bar", "0.5"]).arg(&path).output();
        assert_eq!(String::from_utf8(quiet.unwrap().stderr).unwrap(), said, "what failed is said even then");
    }
    assert!(stdout(tierbench(dir.path()).arg("history")).contains("No runs yet"), "nothing of them was stored");
}

#[test]
fn no_share_of_a_bandwidth_is_claimed_and_a_speed_no_such_machine_reaches_is_a_finding() {
    for (ns_per_token, why) in [
        (3_000_000, None),
        // A model of 1 GB on eight threads.
        (1_000, Some("on pp512 would need 4.9e14 operations a second")),
        (1, Some("on tg128 has 1.00e9 tok/s, which no machine computes")),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut rows = llama_bench();
        rows.as_array_mut().unwrap().pop();
        for row in rows.as_array_mut().unwrap() {
            let tokens = row["n_prompt"].as_u64().unwrap() + row["n_gen"].as_u64().unwrap();
            row["samples_ns"] = json!(vec![tokens * ns_per_token; 3]);
        }
        let path = dir.path().join("bench.json");
        std::fs::write(&path, rows.to_string()).unwrap();
        assert_eq!(import(dir.path(), &[], &path).0, 0);
        let speed = &exported(dir.path())["derived"]["speed"];
        assert!(speed.as_array().unwrap().iter().all(|row| row["bandwidth_share"].is_null()), "{speed}");
        let table = stdout(tierbench(dir.path()).args(["report", "latest"]));
        let findings: Vec<&str> = table.lines().filter(|line| line.starts_with("Finding: ")).collect();
        assert_eq!(findings.len(), if why.is_some() { 2 } else { 0 }, "{findings:?}");
        assert!(findings.join(" ").contains(why.unwrap_or_default()), "{findings:?}");
    }
}

#[test]
fn a_swept_flag_makes_a_tier_of_each_value_and_a_true_repeat_is_left_out_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let usual = llama_bench()[0].clone();
    let mut rows = vec![usual.clone()];
    for (field, value) in [
        ("n_batch", json!(512)),
        ("type_v", json!("q8_0")),
        ("n_gpu_layers", json!(10)),
        ("use_mmap", json!(false)),
        ("model_filename", json!("other/Qwen2.5-1.5B-Instruct-Q4_K_M.gguf")),
    ] {
        let mut row = usual.clone();
        row[field] = value;
        rows.push(row);
    }
    rows.push(usual);
    let path = dir.path().join("sweep.json");
    std::fs::write(&path, json!(rows).to_string()).unwrap();
    let (code, said) = import(dir.path(), &[], &path);
    assert!(code == 5 && said.contains("left out row 7 repeats pp512 of row 1"), "{said}");
    let record = exported(dir.path());
    let keys: Vec<&str> =
        record["raw"]["tiers"].as_array().unwrap().iter().map(|tier| tier["key"].as_str().unwrap()).collect();
    let start = "Qwen2.5-1.5B-Instruct:q4_k_m llama.cpp cpu t8";
    assert_eq!(
        keys,
        [
            format!("{start} ngl99 mmap1 in models"),
            format!("{start} b512 ngl99 mmap1 in models"),
            format!("{start} kv f16/q8_0 ngl99 mmap1 in models"),
            format!("{start} ngl10 mmap1 in models"),
            format!("{start} ngl99 mmap0 in models"),
            format!("{start} ngl99 mmap1 in other"),
        ]
    );
}

#[test]
fn a_time_that_is_none_is_unknown_and_reaches_no_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("good.json");
    std::fs::write(&file, llama_bench().to_string()).unwrap();
    import(dir.path(), &[], &file);
    for (name, time) in [("script.json", "<script>"), ("escape.json", "\u{1b}[31mRED\u{1b}]0;pwn\u{7}\nline2")] {
        let mut rows = llama_bench();
        for row in rows.as_array_mut().unwrap() {
            row["test_time"] = json!(time);
        }
        rows[0]["model_filename"] = json!(name);
        let path = dir.path().join(name);
        std::fs::write(&path, rows.to_string()).unwrap();
        let (code, said) = import(dir.path(), &[], &path);
        assert!(code == 5 && said.contains("run imported-"), "{said}");
    }
    let latest = exported(dir.path());
    assert_eq!(latest["raw"]["run"]["started_at"], "2025-04-24T11:58:50Z", "a run without a date is not the newest");
    for format in ["table", "md", "json"] {
        let list = stdout(tierbench(dir.path()).args(["history", "list", "-o", format]));
        assert!(list.chars().all(|c| c == '\n' || !c.is_control()) && !list.contains("script>"), "{list}");
    }
    let [short, whole] = [vec!["history", "-o", "json"], vec!["history", "list", "-o", "json"]]
        .map(|args| stdout(tierbench(dir.path()).args(args)));
    assert_eq!(short, whole);
    let shown: Value =
        serde_json::from_str(&stdout(tierbench(dir.path()).args(["history", "show", "latest", "-o", "json"]))).unwrap();
    assert_eq!(shown.as_array().unwrap().len(), latest["raw"]["cells"].as_array().unwrap().len());
    let list = stdout(tierbench(dir.path()).args(["history", "list", "-o", "md"]));
    assert_eq!(list.lines().filter(|line| line.contains("| imported-") && line.contains("| —")).count(), 2, "{list}");
}

/// gsm8k with two filters, beside a task without a metric of items and one whose items come twice.
fn lm_eval_with_filters(dir: &Path) -> std::path::PathBuf {
    let moment = "2025-01-27T19-00-00.123456";
    let path = dir.join(format!("results_{moment}.json"));
    let results = json!({
        "results": {
            "gsm8k": {"exact_match,strict-match": 0.1, "exact_match,flexible-extract": 0.8},
            "wikitext": {"word_perplexity,none": 20.0},
            "twice": {"acc,none": 1.0}
        },
        "config": {"model": "hf", "model_args": "pretrained=m"}, "date": 1_738_000_000.5, "lm_eval_version": "0.4.8"
    });
    std::fs::write(&path, results.to_string()).unwrap();
    let sample = |i: u32, filter: &str, metric: &str, value: Value| {
        json!({
            "doc_id": i, "target": "5", "arguments": [["Q"]], "resps": [["5"]], "filtered_resps": ["5"],
            "filter": filter, "prompt_hash": format!("{i:064x}"), metric: value
        })
    };
    let mut gsm8k = Vec::new();
    for (filter, good) in [("strict-match", 1), ("flexible-extract", 8)] {
        gsm8k.extend((0..100).map(|i| sample(i, filter, "exact_match", json!(f64::from(u8::from(i % 10 < good))))));
    }
    let files = [
        ("gsm8k", gsm8k),
        ("wikitext", vec![sample(0, "none", "word_perplexity", json!([-10.0, 5]))]),
        ("twice", vec![sample(3, "none", "acc", json!(1.0)); 2]),
    ];
    for (task, samples) in files {
        let lines: String = samples.iter().map(|sample| format!("{sample}\n")).collect();
        std::fs::write(dir.join(format!("samples_{task}_{moment}.jsonl")), lines).unwrap();
    }
    path
}

#[test]
fn a_filter_is_chosen_and_named_and_a_task_that_cannot_be_judged_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = lm_eval_with_filters(dir.path());
    let run = |said: &str| said.split("run ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let (code, said) = import(dir.path(), &["--bar", "0.5"], &file);
    assert_eq!(code, 5, "{said}");
    for why in [
        "left out task wikitext: not every item has a number `acc, exact_match, acc_norm, pass@1`",
        "left out task twice: doc_id 3 twice",
        "gsm8k has the filters strict-match, flexible-extract: solved is what exact_match says of strict-match",
    ] {
        assert!(said.contains(why), "{why}: {said}");
    }
    let strict = run(said.lines().last().unwrap());
    let (_, said) = import(dir.path(), &["--bar", "0.5", "--filter", "flexible-extract"], &file);
    let flexible = run(said.lines().last().unwrap());
    for (id, filter, passes, verdict) in
        [(&strict, "strict-match", 10, "FAILS"), (&flexible, "flexible-extract", 80, "CLEARS")]
    {
        let record: Value = serde_json::from_str(&stdout(tierbench(dir.path()).args(["export", id]))).unwrap();
        let task = &record["derived"]["tasks"][0];
        assert_eq!((task["items"].as_u64(), task["passes"].as_u64()), (Some(100), Some(passes)), "{filter}");
        assert_eq!(record["raw"]["tasks"][0]["name"], format!("gsm8k (exact_match,{filter})"));
        let table = stdout(tierbench(dir.path()).args(["report", id]));
        let note = format!(
            "Warning: task gsm8k has the filters strict-match, flexible-extract: solved is what exact_match \
                            says of {filter}"
        );
        let unwrapped = table.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(table.contains(verdict) && unwrapped.contains(&note), "{table}");
    }
    let (code, said) = import(dir.path(), &["--bar", "0.5", "--filter", "fleksible"], &file);
    assert!(code == 1 && said.contains("`fleksible`: it has strict-match, flexible-extract"), "{said}");
}

#[test]
fn another_bar_or_metric_is_another_run_and_the_same_one_is_already_there() {
    let dir = tempfile::tempdir().unwrap();
    let file = lm_eval(dir.path(), 180, 200);
    for settings in [&["--bar", "0.5"][..], &["--bar", "0.95"], &["--bar", "0.5", "--metric", "acc_norm"]] {
        let (code, said) = import(dir.path(), settings, &file);
        assert!(code == 0 && said.contains(" added: 1 cell;"), "{settings:?}: {said}");
        let (code, said) = import(dir.path(), settings, &file);
        assert!(code == 0 && said.contains(" already there: 1 cell;"), "{settings:?}: {said}");
    }
    let runs: Value =
        serde_json::from_str(&stdout(tierbench(dir.path()).args(["history", "list", "-o", "json"]))).unwrap();
    assert_eq!(runs.as_array().unwrap().len(), 3, "{runs}");
}

#[test]
fn a_run_of_the_same_id_with_other_content_is_neither_replaced_nor_taken_for_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = lm_eval(dir.path(), 180, 200);
    import(dir.path(), &["--bar", "0.5"], &file);
    let mut raw: RawRecord = serde_json::from_value(exported(dir.path())["raw"].take()).unwrap();
    tierbench(dir.path()).args(["history", "rm", &raw.run.id]).assert().success();
    raw.cells[0].finished_at = "2020-01-01T00:00:00Z".into();
    let other = serde_json::to_value(Record::from_raw(raw).unwrap()).unwrap();
    let path = example::write(dir.path(), "other.json", &other);
    assert_eq!(import(dir.path(), &[], &path).0, 0);
    let (code, said) = import(dir.path(), &["--bar", "0.5"], &file);
    assert!(code == 1 && said.contains("is stored with other content") && said.contains("history rm"), "{said}");
    assert_eq!(exported(dir.path())["content_sha256"], other["content_sha256"]);
}

#[test]
fn the_samples_alone_and_results_from_a_pipe_are_one_line_that_says_what_to_give() {
    let dir = tempfile::tempdir().unwrap();
    let file = lm_eval(dir.path(), 180, 200);
    let samples = dir.path().join("samples_arc_easy_2025-04-24T11-58-50.123456.jsonl");
    let (code, said) = import(dir.path(), &["--bar", "0.5"], &samples);
    assert!(code == 1 && said.lines().count() == 1 && said.contains("give the results_*.json"), "{said}");
    let mut piped = tierbench(dir.path());
    piped.args(["history", "import", "-", "--bar", "0.5"]).write_stdin(std::fs::read(file).unwrap());
    let said = String::from_utf8(piped.assert().code(1).get_output().stderr.clone()).unwrap();
    assert!(said.lines().count() == 1 && said.contains("give the file's name"), "{said}");
}
