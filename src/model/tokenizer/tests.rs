//! Both algorithms on small vocabularies, against the whole pipeline of the `tokenizers` crate where it has one, and on
//! input no one should send.

use proptest::prelude::*;

use super::*;
use crate::model::gguf::Writer;

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER: i32 = 4;
const BYTE: i32 = 6;

fn build(
    model: &str,
    tokens: &[(String, i32, f32)],
    more: impl FnOnce(&mut Writer),
) -> Result<Tokenizer, TokenizerError> {
    let mut writer = Writer::new();
    writer.put("tokenizer.ggml.model", Value::Str(model));
    writer.put_strs("tokenizer.ggml.tokens", &tokens.iter().map(|t| t.0.as_str()).collect::<Vec<_>>());
    writer.put_i32s("tokenizer.ggml.token_type", &tokens.iter().map(|t| t.1).collect::<Vec<_>>());
    writer.put_f32s("tokenizer.ggml.scores", &tokens.iter().map(|t| t.2).collect::<Vec<_>>());
    more(&mut writer);
    Tokenizer::from_gguf(&Gguf::from_bytes("vocab.gguf", writer.to_bytes(&[]).unwrap()).unwrap())
}

/// The stand-in character of each byte.
fn stand_ins() -> Vec<char> {
    let mut table = vec!['\0'; 256];
    for c in (0..0x144).filter_map(char::from_u32) {
        if let Some(raw) = bpe::raw_bytes(&c.to_string()) {
            table[usize::from(raw[0])] = c;
        }
    }
    table
}

const WORDS: [&str; 9] = ["h e", "l l", "he ll", "hell o", "Ġ w", "Ġw o", "l o", "o o", "1 2"];

/// 256 bytes, the results of `merges`, and three special tokens.
fn bpe_tokens(merges: &[&str]) -> Vec<(String, i32, f32)> {
    let mut tokens: Vec<_> = stand_ins().iter().map(|c| (c.to_string(), NORMAL, 0.0)).collect();
    for merge in merges {
        let text = merge.replace(' ', "");
        if !tokens.iter().any(|t| t.0 == text) {
            tokens.push((text, NORMAL, 0.0));
        }
    }
    tokens.extend([("<|im_end|>".into(), CONTROL, 0.0), ("<think>".into(), USER, 0.0), ("<|é|>".into(), CONTROL, 0.0)]);
    tokens
}

fn bpe(pre: &str) -> Tokenizer {
    let tokens = bpe_tokens(&WORDS);
    let bos = tokens.len() as u32 - 1;
    build("gpt2", &tokens, |writer| {
        writer.put("tokenizer.ggml.pre", Value::Str(pre));
        writer.put_strs("tokenizer.ggml.merges", &WORDS);
        writer.put("tokenizer.ggml.bos_token_id", Value::U32(bos));
    })
    .unwrap()
}

fn pieces(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    ids.iter().map(|&id| String::from_utf8_lossy(tokenizer.piece(id).unwrap()).into_owned()).collect()
}

#[test]
fn bpe_merges_by_rank_and_cuts_special_tokens_out() {
    let tokenizer = bpe("gpt-2");
    let ids = tokenizer.encode("hello world<|im_end|><think>", false, true).unwrap();
    assert_eq!(pieces(&tokenizer, &ids), ["hello", " wo", "r", "l", "d", "<|im_end|>", "<think>"]);
    let plain = tokenizer.encode("<|im_end|><think>", false, false).unwrap();
    assert_eq!(plain.len(), "<|im_end|>".len() + 1, "control text is plain, the user-defined token is not");
    assert_eq!(tokenizer.decode(&ids, true), "hello world<think>");
    assert_eq!(tokenizer.decode(&ids, false), "hello world<|im_end|><think>");
    assert!(tokenizer.is_end(tokenizer.special_id("<|im_end|>").unwrap()));
    assert!(!tokenizer.is_end(tokenizer.special_id("<think>").unwrap()));
    assert_eq!(tokenizer.special_id("hello"), None);
}

#[test]
fn bos_is_added_once_and_only_where_the_model_wants_it() {
    let llama = bpe("llama-bpe");
    let bos = llama.bos().unwrap();
    assert!(llama.adds_bos() && llama.piece(bos) == Some("<|é|>".as_bytes()));
    assert_eq!(llama.encode("", true, true).unwrap(), [bos]);
    for rendered in ["<|im_end|>", "<|é|><|im_end|>", "<|é|><|é|><|im_end|>"] {
        let ids = llama.encode_chat(rendered).unwrap();
        assert_eq!(pieces(&llama, &ids), ["<|é|>", "<|im_end|>"], "{rendered}");
    }
    let gpt2 = bpe("gpt-2");
    assert!(!gpt2.adds_bos());
    assert_eq!(gpt2.encode_chat("<|im_end|>").unwrap().len(), 1);
}

/// A SentencePiece vocabulary: unk, bos, eos, all bytes, letters and a few words.
fn spm(add_space: bool) -> Tokenizer {
    let mut tokens: Vec<(String, i32, f32)> =
        vec![("<unk>".into(), UNKNOWN, 0.0), ("<s>".into(), CONTROL, 0.0), ("</s>".into(), CONTROL, 0.0)];
    tokens.extend((0..256).map(|b| (format!("<0x{b:02X}>"), BYTE, 0.0)));
    for (i, text) in ["he", "ll", "llo", "▁hello", "▁", "h", "e", "l", "o", "▁h", "ell"].iter().enumerate() {
        tokens.push(((*text).into(), NORMAL, -(i as f32)));
    }
    tokens.push(("  ".into(), USER, -1000.0));
    build("llama", &tokens, |w| w.put("tokenizer.ggml.add_space_prefix", Value::Bool(add_space))).unwrap()
}

#[test]
fn spm_merges_by_score_spells_unknown_text_in_bytes_and_prefixes_a_space() {
    let tokenizer = spm(true);
    let ids = tokenizer.encode("hello", true, true).unwrap();
    // "he" and "llo" have better scores than "▁h" and "ell", and then nothing joins "▁" + "he".
    assert_eq!(pieces(&tokenizer, &ids), ["<s>", " ", "he", "llo"]);
    let ids = tokenizer.encode("é</s>h", false, true).unwrap();
    assert_eq!(ids, [263, 3 + 0xc3, 3 + 0xa9, 2, 268], "the space comes back behind a special token");
    assert_eq!(tokenizer.decode(&ids, true), " é h");
    assert_eq!(spm(false).encode("hello", false, true).unwrap(), [259, 261]);
    let spaces = spm(false).encode("h   h", false, false).unwrap();
    assert_eq!(pieces(&tokenizer, &spaces), ["h", "  ", " h"]);
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.is_end(2)), (Some(1), Some(2), true));
}

#[test]
fn half_a_character_decodes_to_its_bytes() {
    let tokenizer = spm(false);
    assert_eq!(tokenizer.decode_bytes(&[3 + 0xc3], false), [0xc3]);
    assert_eq!(tokenizer.decode(&[3 + 0xc3, 9_999_999], false), "\u{fffd}");
}

#[test]
fn equal_vocabularies_have_equal_fingerprints() {
    assert_eq!(bpe("gpt-2").fingerprint(), bpe("gpt-2").fingerprint());
    assert_ne!(bpe("gpt-2").fingerprint(), bpe("qwen2").fingerprint());
    assert_eq!(bpe("gpt-2").fingerprint().len(), 64);
}

#[test]
fn bad_vocabularies_are_refused_by_name() {
    let tokens = [("a".to_owned(), NORMAL, 0.0)];
    let message = |model: &str, more: fn(&mut Writer)| build(model, &tokens, more).unwrap_err().to_string();
    assert!(message("bert", |_| ()).contains("`bert`"));
    assert!(message("gpt2", |_| ()).contains("tokenizer.ggml.pre is missing"));
    let unknown = message("gpt2", |w| w.put("tokenizer.ggml.pre", Value::Str("no-such")));
    assert_eq!(unknown, "vocab.gguf: pre-tokenizer `no-such` (tokenizer.ggml.pre) is not supported");
    assert!(message("gpt2", |w| w.put("tokenizer.ggml.pre", Value::Str("gpt-2"))).contains("merges` is missing"));
    assert!(message("llama", |w| w.put_f32s("tokenizer.ggml.scores", &[])).contains("0 values for 1 tokens"));
    assert!(message("llama", |w| w.put_f32s("tokenizer.ggml.scores", &[f32::NAN])).contains("not a number"));
    assert!(message("llama", |w| w.put("tokenizer.ggml.tokens", Value::U32(1))).contains("expected an array"));
    assert!(message("llama", |w| w.put_f32s("tokenizer.ggml.tokens", &[1.0])).contains("type f32"));
    assert!(message("llama", |w| w.put_strs("tokenizer.ggml.token_type", &["x"])).contains("array of integers"));
}

#[test]
fn ids_outside_the_vocabulary_are_not_believed() {
    let tokens = [("a".to_owned(), NORMAL, 0.0)];
    let tokenizer = build("llama", &tokens, |w| {
        w.put("tokenizer.ggml.bos_token_id", Value::U32(7));
        w.put("tokenizer.ggml.eot_token_id", Value::U32(u32::MAX));
    })
    .unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.ends().count(), tokenizer.adds_bos()), (None, 0, false));
    // No byte tokens and an unknown token at id 0: every foreign byte is unknown.
    assert_eq!(tokenizer.encode("é", true, true).unwrap(), [0, 0, 0]);
}

#[test]
fn a_megabyte_of_anything_takes_near_linear_time() {
    // No clock: were any step quadratic, a million symbols would keep this test busy for hours.
    let n = 1 << 20;
    for tokenizer in [bpe("gpt-2"), bpe("llama-bpe"), spm(true)] {
        for text in ["hello ".repeat(n / 6), " ".repeat(n), "\n".repeat(n), "h".repeat(n), "<|".repeat(n / 2)] {
            let ids = tokenizer.encode(&text, false, true).unwrap();
            let decoded = tokenizer.decode(&ids, false);
            assert_eq!(decoded.trim_start().len(), text.trim_start().len());
        }
    }
}

/// The crate's own pipeline (its pre-tokenizer, its spelling of bytes) on the same vocabulary and merges.
fn oracle(merges: &[&str]) -> tokenizers::Tokenizer {
    use tokenizers::models::bpe::BPE;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    let vocab: tokenizers::models::bpe::Vocab =
        bpe_tokens(merges).into_iter().zip(0..).map(|(token, id)| (token.0, id)).collect();
    let merges = merges.iter().map(|m| m.split_once(' ').unwrap()).map(|(a, b)| (a.into(), b.into())).collect();
    let model = BPE::builder().vocab_and_merges(vocab, merges).build().unwrap();
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn bpe_equals_the_crates_own_pipeline(text in "[ helowrd12\n\t'sé漢]{0,60}") {
        let theirs = oracle(&WORDS).encode(text.as_str(), false).unwrap();
        prop_assert_eq!(bpe("gpt-2").encode(&text, false, false).unwrap(), theirs.get_ids());
    }

    #[test]
    fn parts_of_a_text_have_the_ids_of_the_whole_where_it_may_be_cut(
        text in "([ helowrd12'sé漢]|\n|o\n|<think>|<\\|im_end\\|>){0,40}",
    ) {
        let tokenizer = bpe("smollm");
        for at in (0..text.len()).filter(|&at| tokenizer.cuts_at(&text, at)) {
            for parse_special in [false, true] {
                let part = |text: &str| tokenizer.encode(text, false, parse_special).unwrap();
                prop_assert_eq!(part(&text), [part(&text[..at]), part(&text[at..])].concat());
            }
        }
    }

    #[test]
    fn decoding_gives_the_text_back(text in any::<String>()) {
        let gpt2 = bpe("qwen2");
        let ids = gpt2.encode(&text, false, true).unwrap();
        prop_assert_eq!(gpt2.decode(&ids, false), text.as_str());
        let llama = spm(false);
        let ids = llama.encode(&text, false, true).unwrap();
        prop_assert_eq!(llama.decode(&ids, false), text.replace('\u{2581}', " "));
    }
}
