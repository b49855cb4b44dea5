//! Text ↔ token ids, from a GGUF file's metadata alone, id for id what llama.cpp gives.
//!
//! Two kinds of vocabulary: `gpt2` (byte-level byte-pair encoding behind a pre-tokenizer), which the `tokenizers` crate
//! encodes, and `llama` (SentencePiece merging by score), which it cannot express: pairs are joined there by the score of
//! the result and not by a list of merges.

mod bpe;
mod lexicon;
mod merge;
mod pre;
mod special;
mod spm;
mod vocab;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use self::lexicon::NONE;
use self::special::Fragment;
use self::vocab::{Spelling, Vocab};
use super::gguf::{Gguf, GgufError, Value};

/// What can be wrong with a vocabulary or a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A key is missing or of the wrong type.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A kind of vocabulary that is not implemented.
    #[error("{path}: tokenizer model `{model}` is not supported: only `gpt2` and `llama` are")]
    UnknownModel {
        /// The file.
        path: PathBuf,
        /// `tokenizer.ggml.model`.
        model: String,
    },
    /// A pre-tokenizer that is not implemented: any other one would give wrong ids.
    #[error("{path}: pre-tokenizer `{pre}` (tokenizer.ggml.pre) is not supported")]
    UnknownPre {
        /// The file.
        path: PathBuf,
        /// `tokenizer.ggml.pre`.
        pre: String,
    },
    /// A byte-pair vocabulary that does not say how to cut text into words.
    #[error("{path}: key tokenizer.ggml.pre is missing, so token ids would be wrong: convert the model again")]
    NoPre {
        /// The file.
        path: PathBuf,
    },
    /// Arrays that do not belong together.
    #[error("{path}: corrupt vocabulary: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The `tokenizers` crate could not encode a text.
    #[error("byte-pair encoding failed: {0}")]
    Bpe(String),
    /// A text of 4 GiB or more.
    #[error("a text of {0} bytes is too long for one sequence")]
    TextTooLong(usize),
}

impl TokenizerError {
    fn corrupt(gguf: &Gguf, reason: String) -> Self {
        Self::Corrupt { path: gguf.path().to_owned(), reason }
    }
}

#[derive(Debug)]
enum Algorithm {
    Bpe(bpe::Bpe),
    Spm(spm::Spm),
}

/// A model's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    vocab: Vocab,
    algorithm: Algorithm,
    add_bos: bool,
    add_eos: bool,
    fingerprint: String,
}

impl Tokenizer {
    /// Builds the tokenizer of a model file.
    ///
    /// # Errors
    /// If the file has no vocabulary, one of a kind or with a pre-tokenizer that is not implemented, or a corrupt one.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, TokenizerError> {
        let path = || gguf.path().to_owned();
        let model = gguf.need_str("tokenizer.ggml.model")?;
        let (vocab, algorithm, add_bos) = match model {
            "gpt2" => {
                let name = gguf.str("tokenizer.ggml.pre").ok_or_else(|| TokenizerError::NoPre { path: path() })?;
                let pre = pre::PreTokenizer::named(name)
                    .ok_or_else(|| TokenizerError::UnknownPre { path: path(), pre: name.to_owned() })?;
                let merges = gguf.need_array("tokenizer.ggml.merges")?;
                let merges = merges.strs().ok_or_else(|| {
                    TokenizerError::corrupt(gguf, "tokenizer.ggml.merges is not an array of strings".into())
                })?;
                let vocab = Vocab::read(gguf, Spelling::ByteLevel)?;
                let add_bos = pre.add_bos;
                let bpe = bpe::Bpe::new(&vocab.lexicon, merges, pre)
                    .map_err(|error| TokenizerError::corrupt(gguf, error.to_string()))?;
                (vocab, Algorithm::Bpe(bpe), add_bos)
            }
            "llama" => {
                let vocab = Vocab::read(gguf, Spelling::SentencePiece)?;
                let scores = scores(gguf, vocab.lexicon.len())?;
                let add_space = gguf.bool("tokenizer.ggml.add_space_prefix").unwrap_or(true);
                // A byte without a token of its own may still be there as a character.
                let mut bytes = vocab.bytes.clone();
                for (byte, id) in (0..=255_u8).zip(bytes.iter_mut()).filter(|(_, id)| **id == NONE) {
                    *id = vocab.lexicon.find(&[byte]).unwrap_or(NONE);
                }
                let spm = spm::Spm::new(&scores, bytes, vocab.unknown, add_space);
                (vocab, Algorithm::Spm(spm), true)
            }
            other => return Err(TokenizerError::UnknownModel { path: path(), model: other.to_owned() }),
        };
        Ok(Self {
            vocab,
            algorithm,
            add_bos: gguf.bool("tokenizer.ggml.add_bos_token").unwrap_or(add_bos),
            add_eos: gguf.bool("tokenizer.ggml.add_eos_token").unwrap_or(false),
            fingerprint: fingerprint(gguf),
        })
    }

    /// The ids of a text.
    ///
    /// `add_special` puts BOS before and EOS behind it if the model wants them. `parse_special` reads control tokens
    /// written out in the text (`<|im_start|>`) as such; without it they are plain text. User-defined tokens
    /// (`<think>`) are always read as such.
    ///
    /// # Errors
    /// [`TokenizerError::TextTooLong`] or [`TokenizerError::Bpe`].
    pub fn encode(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<u32>, TokenizerError> {
        // One byte more than the text may be needed for the space before it.
        if text.len() >= NONE as usize - 1 {
            return Err(TokenizerError::TextTooLong(text.len()));
        }
        let mut ids = Vec::with_capacity(text.len() / 4 + 2);
        if add_special && self.add_bos {
            ids.extend(self.vocab.bos);
        }
        let mut merger = merge::Merger::default();
        let mut after_special = true;
        for fragment in self.vocab.specials.partition(text, parse_special) {
            after_special = match (fragment, &self.algorithm) {
                (Fragment::Token(id), _) => {
                    ids.push(id);
                    true
                }
                (Fragment::Text(text), Algorithm::Bpe(bpe)) => {
                    bpe.encode(text, &mut ids).map_err(|error| TokenizerError::Bpe(error.to_string()))?;
                    false
                }
                (Fragment::Text(text), Algorithm::Spm(spm)) => {
                    spm.encode(&self.vocab.lexicon, text, after_special, &mut merger, &mut ids);
                    false
                }
            };
        }
        if add_special && self.add_eos {
            ids.extend(self.vocab.eos);
        }
        Ok(ids)
    }

    /// Whether text may be cut at its byte `at` and its parts encoded one by one, with the ids of the whole: between an
    /// ASCII letter and a line break, which no word of a byte-pair tokenizer crosses. SentencePiece has no words, and
    /// nothing is promised of it.
    #[must_use]
    pub fn cuts_at(&self, text: &str, at: usize) -> bool {
        let bytes = text.as_bytes();
        let between = at > 0
            && bytes.get(at - 1).is_some_and(u8::is_ascii_alphabetic)
            && bytes.get(at).is_some_and(|byte| *byte == b'\n');
        between && matches!(self.algorithm, Algorithm::Bpe(_)) && !self.add_eos && !self.vocab.specials.span_lines()
    }

    /// The ids of a rendered chat: control tokens are parsed, and where the model wants BOS there is exactly one,
    /// whether the template wrote none, one or several.
    ///
    /// # Errors
    /// [`TokenizerError::TextTooLong`].
    pub fn encode_chat(&self, rendered: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = self.encode(rendered, false, true)?;
        if let Some(bos) = self.vocab.bos.filter(|_| self.add_bos) {
            let written = ids.iter().take_while(|&&id| id == bos).count();
            ids.splice(..written, [bos]);
        }
        Ok(ids)
    }

    /// The text of ids, with U+FFFD for bytes that are not UTF-8 (half a character). `skip_special` leaves out control
    /// and unknown tokens; user-defined tokens (`<think>`) are text and stay. Ids outside the vocabulary are left out.
    #[must_use]
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        String::from_utf8_lossy(&self.decode_bytes(ids, skip_special)).into_owned()
    }

    /// As [`Tokenizer::decode`], the bytes themselves: what streaming needs, since a token may be half a character.
    #[must_use]
    pub fn decode_bytes(&self, ids: &[u32], skip_special: bool) -> Vec<u8> {
        let shown = |id: &&u32| !(skip_special && self.is_special(**id));
        ids.iter().filter(shown).filter_map(|&id| self.piece(id)).flatten().copied().collect()
    }

    /// The bytes one token stands for. `None` outside the vocabulary.
    #[must_use]
    pub fn piece(&self, id: u32) -> Option<&[u8]> {
        self.vocab.lexicon.text(id)
    }

    /// The id of a control or user-defined token written exactly so.
    #[must_use]
    pub fn special_id(&self, text: &str) -> Option<u32> {
        match self.vocab.specials.partition(text, true).as_slice() {
            [Fragment::Token(id)] if self.piece(*id) == Some(text.as_bytes()) => Some(*id),
            _ => None,
        }
    }

    /// Whether the token is a control or unknown token: part of the protocol, not of the text.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.vocab.kinds.get(id as usize).is_some_and(|kind| kind.is_hidden())
    }

    /// The token that begins a sequence, if the file names one.
    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        self.vocab.bos
    }

    /// The token that ends a sequence, if the file names one.
    #[must_use]
    pub fn eos(&self) -> Option<u32> {
        self.vocab.eos
    }

    /// Whether the model wants every sequence to begin with BOS.
    #[must_use]
    pub fn adds_bos(&self) -> bool {
        self.add_bos && self.vocab.bos.is_some()
    }

    /// Whether a generation ends at this token: EOS, end of turn, end of message and their kin.
    #[must_use]
    pub fn is_end(&self, id: u32) -> bool {
        self.vocab.ends.contains(&id)
    }

    /// All tokens a generation ends at, ascending.
    pub fn ends(&self) -> impl Iterator<Item = u32> + '_ {
        self.vocab.ends.iter().copied()
    }

    /// Number of tokens.
    #[must_use]
    pub fn n_vocab(&self) -> usize {
        self.vocab.lexicon.len()
    }

    /// SHA-256 over all tokenizer keys of the file except the chat templates, lower-case hex: two models with the same
    /// fingerprint give the same ids, so their perplexities can be compared.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

fn scores(gguf: &Gguf, n: usize) -> Result<Vec<f32>, TokenizerError> {
    let key = "tokenizer.ggml.scores";
    let Some(array) = vocab::per_token(gguf, key, n)? else { return Ok(vec![0.0; n]) };
    let scores: Option<Vec<f32>> = array
        .iter()
        .take(n)
        .map(|value| value.as_f64().or_else(|| value.as_i64().map(|i| i as f64)).map(|x| x as f32))
        .collect();
    match scores {
        Some(scores) if scores.iter().all(|s| !s.is_nan()) => Ok(scores),
        _ => Err(TokenizerError::corrupt(gguf, format!("{key} holds something that is not a number"))),
    }
}

/// [`Tokenizer::fingerprint`] of a file whose tokenizer is not built: the hash of every `tokenizer.ggml.*` key in order of
/// name, so that files that only order them differently agree.
#[must_use]
pub fn fingerprint(gguf: &Gguf) -> String {
    let mut entries: Vec<_> = gguf.entries().filter(|(key, _)| key.starts_with("tokenizer.ggml.")).collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for (key, value) in entries {
        field(key.as_bytes());
        match value {
            Value::Array(array) => {
                field(array.ty().name().as_bytes());
                field(array.raw());
            }
            Value::Str(text) => field(text.as_bytes()),
            other => field(format!("{other:?}").as_bytes()),
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
