//! Hostile input, by mutation: valid files with flipped bits, cut and doubled stretches and strange tokens go through the
//! whole of what reads them. Whatever happens, it is an error with one line or a result, never a panic or a hang.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod example;

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use tierbench::cost::UserFile;
use tierbench::engine::{self, Batch, EngineConfig, EngineKind};
use tierbench::model::catalogue::Manifest;
use tierbench::model::chat::{ChatTemplate, Message};
use tierbench::model::gguf::{GgmlType, Gguf, Value, Writer};
use tierbench::model::tokenizer::Tokenizer;
use tierbench::quality::best_baseline;
use tierbench::quality::prompt::Prompter;
use tierbench::quality::task::Task;
use tierbench::report::{Format, csv::Csv, json::Json, markdown::Markdown};
use tierbench::store::file::parse;
use tierbench::store::verify::verify;

/// One change to a file.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Cut(Index, usize),
    Double(Index, usize),
    Insert(Index, &'static str),
    Word(Index, u64),
}

/// Texts that have broken parsers before.
const TOKENS: [&str; 20] = [
    "null",
    "-1",
    "1e308",
    "18446744073709551616",
    "NaN",
    "\"\"",
    "[]",
    "{}",
    "\u{0}",
    "\u{202e}",
    "&a [*a]",
    "!!python/object:os.system",
    "{{ 1/0 }}",
    "{% for i in range(9999999) %}x{% endfor %}",
    "(a+)+$",
    "\n---\n",
    "<script>",
    "2026-13-45",
    "inf",
    "'''",
];

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let one = prop_oneof![
        (any::<Index>(), 0_u8..8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (any::<Index>(), 1_usize..64).prop_map(|(at, n)| Mutation::Cut(at, n)),
        (any::<Index>(), 1_usize..64).prop_map(|(at, n)| Mutation::Double(at, n)),
        (any::<Index>(), prop::sample::select(&TOKENS[..])).prop_map(|(at, token)| Mutation::Insert(at, token)),
        (any::<Index>(), prop_oneof![any::<u64>(), 0_u64..64]).prop_map(|(at, word)| Mutation::Word(at, word)),
    ];
    prop::collection::vec(one, 1..4)
}

/// Applies the changes to the first `within` bytes.
fn mutate(mut bytes: Vec<u8>, within: usize, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        let end = within.min(bytes.len()).max(1);
        match *mutation {
            Mutation::Flip(at, bit) => bytes[at.index(end)] ^= 1 << bit,
            Mutation::Cut(at, n) => {
                let at = at.index(end);
                bytes.drain(at..(at + n).min(bytes.len()));
            }
            Mutation::Double(at, n) => {
                let at = at.index(end);
                let copy = bytes[at..(at + n).min(bytes.len())].to_vec();
                bytes.splice(at..at, copy);
            }
            Mutation::Insert(at, token) => {
                bytes.splice(at.index(end)..at.index(end), token.bytes());
            }
            Mutation::Word(at, word) => {
                let at = at.index(end);
                let n = 8.min(bytes.len() - at);
                bytes[at..at + n].copy_from_slice(&word.to_le_bytes()[..n]);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

/// A llama of two layers with a byte-level vocabulary, and the length of its header.
fn tiny_llama() -> (Vec<u8>, usize) {
    let (d, ff, n_vocab) = (32_u64, 64, 258);
    let mut writer = Writer::new();
    writer.put("general.architecture", Value::Str("llama"));
    for (key, value) in [
        ("block_count", 2),
        ("embedding_length", d as u32),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("feed_forward_length", ff as u32),
        ("context_length", 64),
    ] {
        writer.put(&format!("llama.{key}"), Value::U32(value));
    }
    writer.put("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    writer.put("tokenizer.ggml.model", Value::Str("llama"));
    let mut texts = vec!["<unk>".to_owned(), "<s>".to_owned()];
    texts.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    writer.put_strs("tokenizer.ggml.tokens", &texts);
    writer.put_f32s("tokenizer.ggml.scores", &vec![0.0; texts.len()]);
    writer.put(
        "tokenizer.chat_template",
        Value::Str("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"),
    );
    let mut tensors =
        vec![("token_embd.weight".to_owned(), vec![d, n_vocab]), ("output_norm.weight".to_owned(), vec![d])];
    for layer in 0..2 {
        for (name, dims) in [
            ("attn_norm", vec![d]),
            ("attn_q", vec![d, d]),
            ("attn_k", vec![d, d / 2]),
            ("attn_v", vec![d, d / 2]),
            ("attn_output", vec![d, d]),
            ("ffn_norm", vec![d]),
            ("ffn_gate", vec![d, ff]),
            ("ffn_up", vec![d, ff]),
            ("ffn_down", vec![ff, d]),
        ] {
            tensors.push((format!("blk.{layer}.{name}.weight"), dims));
        }
    }
    let mut data = Vec::new();
    for (name, dims) in &tensors {
        let quantized = dims.len() == 2;
        writer.declare(name, dims, if quantized { GgmlType::Q8_0 } else { GgmlType::F32 }).unwrap();
        let n: u64 = dims.iter().product();
        let bytes = if quantized {
            // Blocks of a scale (0.01 as f16) and 32 weights.
            (0..n / 32)
                .flat_map(|i| [0x1f, 0x21].into_iter().chain((0..32).map(move |j| (i * 7 + j * 13) as u8)))
                .collect()
        } else {
            (0..n).flat_map(|_| 1.0_f32.to_le_bytes()).collect::<Vec<u8>>()
        };
        data.push(bytes);
    }
    let total: usize = data.iter().map(Vec::len).sum();
    let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let bytes = writer.to_bytes(&slices).unwrap();
    let header = bytes.len().saturating_sub(total);
    (bytes, header)
}

/// Everything a run does with a model file, in small.
fn use_model(path: &Path) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let gguf = Gguf::open(path).map_err(|e| text(&e))?;
    if let Ok(tokenizer) = Tokenizer::from_gguf(&gguf) {
        let ids = tokenizer.encode("<s>hello é", true, true).map_err(|e| text(&e))?;
        let _ = tokenizer.decode(&ids, false);
    }
    if let Ok(Some(template)) = ChatTemplate::from_gguf(&gguf) {
        let _ = template.render(&[Message::new("user", "hi")], true);
    }
    drop(gguf);
    let config = EngineConfig { n_threads: 1, n_ctx: 16, max_seqs: 2, ..EngineConfig::default() };
    let mut engine = engine::load(path, EngineKind::Native, &config).map_err(|e| text(&e))?;
    let seq = engine.sequence().map_err(|e| text(&e))?;
    let mut batch = Batch::new();
    for pos in 0..5 {
        batch.push(pos + 3, seq, pos, true);
    }
    engine.forward(&batch).map(|_| ()).map_err(|e| text(&e))
}

/// What every command that reads records does with one.
fn use_record(bytes: &[u8]) {
    match parse(bytes, Path::new("record.json")) {
        Ok(file) => {
            verify(&file).unwrap();
            for format in [&Markdown as &dyn Format, &Csv, &Json] {
                let _ = format.render(&file.record);
            }
        }
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
    }
}

#[test]
fn the_unchanged_files_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    std::fs::write(&path, tiny_llama().0).unwrap();
    use_model(&path).unwrap();
    let record = serde_json::to_vec(&example::record()).unwrap();
    assert!(parse(&record, Path::new("record.json")).is_ok());
    assert!(Manifest::parse(MANIFEST, Path::new("smollm2-135m-instruct.toml")).is_ok());
    assert!(UserFile::parse("c.toml", COST).is_ok());
    use_task(TASK.as_bytes(), ITEMS.as_bytes()).unwrap();
}

const MANIFEST: &str = include_str!("../models/smollm2-135m-instruct.toml");
const COST: &str = "[cost]\ntariff_usd_per_kwh = 0.3\nutilization = 0.5\n";
const TASK: &str = include_str!("../tasks/support_tickets/task.yaml");
const ITEMS: &str = include_str!("../tasks/support_tickets/items.jsonl");
const SHOTS: &str = include_str!("../tasks/support_tickets/shots.jsonl");

fn use_task(yaml: &[u8], items: &[u8]) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [("task.yaml", yaml), ("items.jsonl", items), ("shots.jsonl", SHOTS.as_bytes())] {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let task = Task::load(dir.path().to_str().unwrap()).map_err(|error| error.to_string())?;
    let prompter = Prompter::new(&task).map_err(|error| error.to_string())?;
    for item in task.items.iter().take(3) {
        prompter.context(item).map_err(|error| error.to_string())?;
        prompter.choices(item).map_err(|error| error.to_string())?;
    }
    best_baseline(&task).map(|_| ()).map_err(|error| error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_model_file(changes in mutations()) {
        let (bytes, header) = tiny_llama();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tiny.gguf");
        std::fs::write(&path, mutate(bytes, header, &changes)).unwrap();
        let _ = use_model(&path);
    }

    #[test]
    fn the_weights_of_a_model(changes in mutations()) {
        let (bytes, header) = tiny_llama();
        let (head, body) = bytes.split_at(header);
        let mut body = mutate(body.to_vec(), usize::MAX, &changes);
        body.resize(bytes.len() - header, 0xff);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tiny.gguf");
        std::fs::write(&path, [head, &body].concat()).unwrap();
        let _ = use_model(&path);
    }

    #[test]
    fn a_record(changes in mutations()) {
        let bytes = serde_json::to_vec(&example::record()).unwrap();
        use_record(&mutate(bytes, usize::MAX, &changes));
    }

    #[test]
    fn a_model_manifest(changes in mutations()) {
        let bytes = mutate(MANIFEST.into(), usize::MAX, &changes);
        let _ = Manifest::parse(&String::from_utf8_lossy(&bytes), Path::new("smollm2-135m-instruct.toml"));
    }

    #[test]
    fn a_cost_file(changes in mutations()) {
        let bytes = mutate(COST.into(), usize::MAX, &changes);
        let _ = UserFile::parse("c.toml", &String::from_utf8_lossy(&bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_task_file(changes in mutations()) {
        let _ = use_task(&mutate(TASK.into(), usize::MAX, &changes), ITEMS.as_bytes());
    }

    #[test]
    fn the_items_of_a_task(changes in mutations()) {
        let _ = use_task(TASK.as_bytes(), &mutate(ITEMS.into(), usize::MAX, &changes));
    }
}
