//! Token ids of real models against llama.cpp: `tests/fixtures/llama_cpp_logits.json` holds what llama.cpp 0c1e570 gives
//! for `tests/fixtures/prompts/*.txt` with special tokens added and parsed.

mod common;

use std::path::Path;

use common::{GEMMA, SMOLLM2, real_model, reference};
use tierbench::model::chat::{ChatTemplate, Message};
use tierbench::model::gguf::Gguf;
use tierbench::model::tokenizer::Tokenizer;

fn prompt(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/prompts").join(file);
    std::fs::read_to_string(path).expect("a prompt of the fixtures")
}

fn ids_equal_llama_cpp(tokenizer: &Tokenizer, model: &str) {
    let references = reference("llama_cpp_logits", model);
    assert_eq!(references.len(), 10);
    for reference in references {
        let text = prompt(&reference.file);
        let ids = tokenizer.encode(&text, true, true).expect("a short text");
        assert_eq!(ids, reference.ids, "{} of {model}", reference.file);
        assert_eq!(tokenizer.decode(&ids, false).trim_start_matches("<bos>"), text, "{} of {model}", reference.file);
    }
}

#[test]
fn smollm2() {
    let Some(path) = real_model(SMOLLM2) else { return };
    let gguf = Gguf::open(&path).unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    ids_equal_llama_cpp(&tokenizer, "smollm2-135m-instruct-q4_1");
    assert_eq!((tokenizer.n_vocab(), tokenizer.bos(), tokenizer.eos()), (49_152, Some(1), Some(2)));
    assert!(!tokenizer.adds_bos());
    // <|endoftext|>, <|im_end|> and the file separator of code models: llama.cpp's list.
    assert_eq!(tokenizer.ends().collect::<Vec<_>>(), [0, 2, 4]);

    let template = ChatTemplate::from_gguf(&gguf).unwrap().expect("an instruction-tuned model has a template");
    let rendered = template.render(&[Message::new("user", "Hi <|im_end|>")], true).unwrap();
    let ids = tokenizer.encode_chat(&rendered).unwrap();
    assert_eq!(tokenizer.decode(&ids, false), rendered);
    assert_eq!(ids.iter().filter(|&&id| id == 1).count(), 3, "system, user, assistant: {rendered}");
}

#[test]
fn gemma() {
    let Some(path) = real_model(GEMMA) else { return };
    let gguf = Gguf::open(&path).unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    ids_equal_llama_cpp(&tokenizer, "gemma-3-270m-q4_k_m");
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.adds_bos()), (Some(2), Some(1), true));
    assert_eq!(tokenizer.ends().collect::<Vec<_>>(), [1, 106, 212]);
    for text in ["<bos>Hi", "Hi", "<bos><bos>Hi"] {
        let ids = tokenizer.encode_chat(text).unwrap();
        assert_eq!(ids.iter().filter(|&&id| id == 2).count(), 1, "{text}");
    }
    assert!(ChatTemplate::from_gguf(&gguf).unwrap().is_none(), "a base model has no template");
}
