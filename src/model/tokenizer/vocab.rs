//! The vocabulary as the file has it: texts, types, scores, and which tokens start and end things.

use std::collections::BTreeSet;

use super::TokenizerError;
use super::bpe::raw_bytes;
use super::lexicon::{Lexicon, NONE};
use super::special::SpecialTokens;
use super::spm::SPACE_MARK;
use crate::model::gguf::{Array, Gguf, ValueType};

/// `tokenizer.ggml.token_type`, numbered as `llama_token_type` in llama.h.
mod token_type {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const USER_DEFINED: i32 = 4;
    pub(super) const BYTE: i32 = 6;
}

/// What a token is. A token can be user-defined in the file and a control token by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) control: bool,
    pub(super) unknown: bool,
    pub(super) user_defined: bool,
    pub(super) byte: bool,
}

/// How the file writes its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Stand-in characters for bytes (`gpt2`).
    ByteLevel,
    /// Plain text with U+2581 for space (`llama`).
    SentencePiece,
}

/// Tokens that end a generation, by their text: the list of llama.cpp, which has no better way to tell either.
const END_TEXTS: [&str; 18] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<｜end▁of▁sentence｜>",
];

/// Fill-in-the-middle tokens that end a generation too: the key that names one, and the texts that do if none does.
const FILL_ENDS: [(&str, &[&str]); 3] = [
    ("tokenizer.ggml.fim_pad_token_id", &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"]),
    ("tokenizer.ggml.fim_rep_token_id", &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"]),
    ("tokenizer.ggml.fim_sep_token_id", &["<|file_sep|>"]),
];

#[derive(Debug)]
pub(super) struct Vocab {
    pub(super) lexicon: Lexicon,
    pub(super) kinds: Vec<Kind>,
    pub(super) specials: SpecialTokens,
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) unknown: Option<u32>,
    pub(super) ends: BTreeSet<u32>,
    /// Byte tokens `<0xXX>`, or `NONE`.
    pub(super) bytes: Box<[u32; 256]>,
}

impl Vocab {
    pub(super) fn read(gguf: &Gguf, spelling: Spelling) -> Result<Self, TokenizerError> {
        let tokens = gguf.need_array("tokenizer.ggml.tokens")?;
        let n = tokens.len();
        if tokens.ty() != ValueType::Str || n == 0 || n >= NONE as usize {
            let reason = format!("tokenizer.ggml.tokens holds {n} values of type {}", tokens.ty().name());
            return Err(TokenizerError::corrupt(gguf, reason));
        }
        let types = match per_token(gguf, "tokenizer.ggml.token_type", n)? {
            Some(array) => array.to_i32s().ok_or_else(|| {
                TokenizerError::corrupt(gguf, "tokenizer.ggml.token_type is not an array of integers".into())
            })?,
            None => vec![token_type::NORMAL; n],
        };
        let mut kinds: Vec<Kind> = types.iter().map(|&ty| Kind::of(ty)).collect();
        let named = SpecialIds::find(gguf, &tokens, spelling, &mut kinds);

        let mut vocab = Self {
            lexicon: Lexicon::with_capacity(n),
            kinds,
            specials: SpecialTokens::default(),
            bos: named.bos,
            eos: named.eos,
            unknown: named.unknown,
            ends: named.ends,
            bytes: Box::new([NONE; 256]),
        };
        vocab.add_texts(&tokens, spelling);
        vocab.add_specials(gguf, &tokens);
        Ok(vocab)
    }

    fn add_texts(&mut self, tokens: &Array<'_>, spelling: Spelling) {
        for (id, text) in strs(tokens).enumerate() {
            let kind = self.kinds.get(id).copied().unwrap_or_default();
            let byte = byte_token(text);
            if let Some(byte) = byte {
                self.bytes[usize::from(byte)] = id as u32;
            }
            let literal = kind.is_literal();
            match (spelling, byte) {
                (_, Some(byte)) if kind.byte => self.lexicon.push(&[byte], false),
                (Spelling::ByteLevel, _) => match raw_bytes(text) {
                    Some(raw) if !literal || raw == text.as_bytes() => self.lexicon.push(&raw, true),
                    // Not stand-ins: no merge can make it, only special tokens and decoding know it.
                    _ => self.lexicon.push(text.as_bytes(), false),
                },
                // A literal space never matches a text, whose spaces are marks by then.
                (Spelling::SentencePiece, _) if literal => {
                    self.lexicon.push(text.as_bytes(), !text.contains([' ', '\u{2581}']));
                }
                (Spelling::SentencePiece, _) => {
                    self.lexicon.push(text.replace(SPACE_MARK, " ").as_bytes(), !text.contains(' '));
                }
            }
        }
    }

    fn add_specials(&mut self, gguf: &Gguf, tokens: &Array<'_>) {
        // Phi-3's special tokens swallow the white space behind them; the file has no field to say so, llama.cpp goes
        // by the model's name, and so must we.
        let name = gguf.str("general.name").unwrap_or("").to_lowercase();
        let strips = name.contains("phi-3") || name.contains("phi3");
        for (id, text) in strs(tokens).enumerate() {
            let kind = self.kinds.get(id).copied().unwrap_or_default();
            if kind.is_literal() {
                let strips_right = strips && !matches!(text, "<unk>" | "<s>" | "<|endoftext|>");
                self.specials.insert(text, id as u32, !kind.is_hidden(), strips_right);
            }
        }
    }
}

impl Kind {
    fn of(ty: i32) -> Self {
        Self {
            control: ty == token_type::CONTROL,
            unknown: ty == token_type::UNKNOWN,
            user_defined: ty == token_type::USER_DEFINED,
            byte: ty == token_type::BYTE,
        }
    }

    /// Whether it is found in text as it is written, before anything else.
    pub(super) fn is_literal(self) -> bool {
        self.control || self.unknown || self.user_defined
    }

    /// Whether it is part of the protocol rather than of the text: found only when special tokens are parsed, left out
    /// when they are skipped.
    pub(super) fn is_hidden(self) -> bool {
        self.control || self.unknown
    }
}

#[derive(Debug, Default)]
struct SpecialIds {
    bos: Option<u32>,
    eos: Option<u32>,
    unknown: Option<u32>,
    ends: BTreeSet<u32>,
}

impl SpecialIds {
    /// Reads the named ids and finds further ends by their text; such tokens become control tokens, as in llama.cpp.
    fn find(gguf: &Gguf, tokens: &Array<'_>, spelling: Spelling, kinds: &mut [Kind]) -> Self {
        let n = kinds.len();
        let named = |key: &str, default: Option<u32>| {
            let inside = |id: &u32| (*id as usize) < n;
            gguf.u32(key).filter(inside).or(default.filter(inside))
        };
        let [bos, eos, unknown] = match spelling {
            Spelling::ByteLevel => [None; 3],
            Spelling::SentencePiece => [Some(1), Some(2), Some(0)],
        };
        let mut ids = Self {
            bos: named("tokenizer.ggml.bos_token_id", bos),
            eos: named("tokenizer.ggml.eos_token_id", eos),
            unknown: named("tokenizer.ggml.unknown_token_id", unknown),
            ends: BTreeSet::new(),
        };
        let mut by_text = [const { None::<u32> }; FILL_ENDS.len()];
        for (id, text) in strs(tokens).enumerate() {
            // All listed texts begin with one of these; a quarter million comparisons with the lists are not free.
            if !text.starts_with(['<', '[', '_']) {
                continue;
            }
            let fills = FILL_ENDS.iter().position(|(_, texts)| texts.contains(&text));
            if END_TEXTS.contains(&text) {
                ids.ends.insert(id as u32);
                kinds[id].control = true;
            } else if let Some(i) = fills
                && gguf.get(FILL_ENDS[i].0).is_none()
                && by_text[i].is_none()
            {
                by_text[i] = Some(id as u32);
                kinds[id].control = true;
            }
        }
        for ((key, _), by_text) in FILL_ENDS.iter().zip(by_text) {
            ids.ends.extend(named(key, by_text));
        }
        for key in ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
            ids.ends.extend(named(key, None));
        }
        ids.ends.extend(ids.eos);
        ids.drop_harmony_end(tokens, kinds);
        ids
    }

    /// In the harmony format `<|end|>` ends a message, not the generation; `<|return|>` and `<|call|>` do.
    fn drop_harmony_end(&mut self, tokens: &Array<'_>, kinds: &mut [Kind]) {
        let find = |wanted: &str| strs(tokens).position(|text| text == wanted).map(|id| id as u32);
        let ends = |wanted: &str| find(wanted).is_some_and(|id| self.ends.contains(&id));
        let harmony = (ends("<|return|>") && ends("<|call|>")) || (ends("<|calls|>") && ends("<|flush|>"));
        if let Some(id) = find("<|end|>").filter(|_| harmony) {
            self.ends.remove(&id);
            kinds[id as usize] = Kind { user_defined: true, ..Kind::default() };
        }
    }
}

/// The elements of an array that was checked to hold strings.
pub(super) fn strs<'a>(tokens: &Array<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    tokens.strs().into_iter().flatten()
}

/// A key that must have one value per token if it is there.
pub(super) fn per_token<'a>(gguf: &'a Gguf, key: &str, n: usize) -> Result<Option<Array<'a>>, TokenizerError> {
    let Some(value) = gguf.get(key) else { return Ok(None) };
    match value.as_array() {
        Some(array) if array.len() >= n => Ok(Some(array)),
        Some(array) => Err(TokenizerError::corrupt(gguf, format!("{key} has {} values for {n} tokens", array.len()))),
        None => Err(TokenizerError::corrupt(gguf, format!("{key} is {}, not an array", value.describe()))),
    }
}

/// The byte of a token written `<0xXX>`.
fn byte_token(text: &str) -> Option<u8> {
    let hex = text.strip_prefix("<0x")?.strip_suffix('>')?;
    (hex.len() == 2).then(|| u8::from_str_radix(hex, 16).ok()).flatten()
}
