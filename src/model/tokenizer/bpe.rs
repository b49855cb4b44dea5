//! Byte-level byte-pair encoding (GPT-2's) by the `tokenizers` crate, behind a pre-tokenizer of ours.
//!
//! Vocabulary files write bytes as printable stand-ins; ours holds raw bytes, so words are spelled in stand-ins for the
//! crate and nothing else sees them.

use std::collections::HashSet;

use tokenizers::Model as _;
use tokenizers::models::bpe::{BPE, Merges, Vocab};

use super::lexicon::Lexicon;
use super::pre::PreTokenizer;

/// Words whose tokens are remembered; text repeats itself.
const CACHED_WORDS: usize = 10_000;

#[derive(Debug)]
pub(super) struct Bpe {
    pre: PreTokenizer,
    model: Box<BPE>,
    stand_ins: Box<[char; 256]>,
}

impl Bpe {
    /// `merges` in order of rank, each `left right` in stand-in characters. A merge of something that is not in the
    /// vocabulary could never be emitted and is left out; of equal merges the first one counts.
    ///
    /// # Errors
    /// What the crate says of a vocabulary it cannot use.
    pub(super) fn new<'a>(
        lexicon: &Lexicon,
        merges: impl Iterator<Item = &'a str>,
        pre: PreTokenizer,
    ) -> Result<Self, tokenizers::Error> {
        let stand_ins = Box::new(stand_ins());
        let vocab: Vocab = (0..lexicon.len() as u32)
            .filter_map(|id| Some((lexicon.text(id)?, id)))
            .filter(|&(text, id)| lexicon.find(text) == Some(id))
            .map(|(text, id)| (spell(&stand_ins, text), id))
            .collect();
        let mut seen = HashSet::new();
        let merges: Merges = merges
            .filter_map(split_merge)
            .filter(|&(left, right)| {
                vocab.contains_key(left) && vocab.contains_key(right) && vocab.contains_key(&format!("{left}{right}"))
            })
            .filter(|&pair| seen.insert(pair))
            .map(|(left, right)| (left.to_owned(), right.to_owned()))
            .collect();
        let model = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .ignore_merges(pre.whole_words)
            .cache_capacity(CACHED_WORDS)
            .build()?;
        Ok(Self { pre, model: Box::new(model), stand_ins })
    }

    /// Appends the tokens of `text`. Bytes the vocabulary does not have are left out, as llama.cpp does.
    ///
    /// # Errors
    /// What the crate says; it has no reason to for a vocabulary without an unknown token.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), tokenizers::Error> {
        for word in self.pre.split(text) {
            let tokens = self.model.tokenize(&spell(&self.stand_ins, word.as_bytes()))?;
            ids.extend(tokens.iter().map(|token| token.id));
        }
        Ok(())
    }
}

/// Left and right of a merge. A space is never a stand-in, except as a first character in files that do not use them.
fn split_merge(merge: &str) -> Option<(&str, &str)> {
    let space = merge.char_indices().skip(1).find(|(_, c)| *c == ' ')?.0;
    Some((&merge[..space], &merge[space + 1..]))
}

/// Bytes written in stand-ins.
fn spell(stand_ins: &[char; 256], bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| stand_ins[usize::from(byte)]).collect()
}

/// The stand-in of each byte.
fn stand_ins() -> [char; 256] {
    let mut table = ['\0'; 256];
    for c in (0..=0x143).filter_map(char::from_u32) {
        if let Some(byte) = raw_byte(c) {
            table[usize::from(byte)] = c;
        }
    }
    table
}

/// The bytes a text of stand-ins means; `None` if it has a character that is no stand-in.
pub(super) fn raw_bytes(text: &str) -> Option<Vec<u8>> {
    text.chars().map(raw_byte).collect()
}

/// GPT-2's `bytes_to_unicode`, inverted: printable Latin-1 characters stand for their own byte, the other 68 bytes are
/// numbered from U+0100 in order.
fn raw_byte(c: char) -> Option<u8> {
    match u32::from(c) {
        byte @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => Some(byte as u8),
        n @ 0x100..=0x120 => Some((n - 0x100) as u8),
        n @ 0x121..=0x142 => Some((n - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_ins_are_those_of_the_tokenizers_crate() {
        use tokenizers::pre_tokenizers::byte_level::ByteLevel;
        let alphabet = ByteLevel::alphabet();
        assert_eq!(alphabet.len(), 256);
        let bytes: std::collections::BTreeSet<u8> = alphabet.iter().map(|&c| raw_byte(c).unwrap()).collect();
        assert_eq!(bytes.len(), 256, "every byte has exactly one stand-in");
        assert!(stand_ins().iter().all(|c| alphabet.contains(c)));
        assert_eq!(raw_bytes("ĠwÃ¶rd").unwrap(), " wörd".as_bytes());
        assert_eq!(raw_bytes("a b"), None);
    }
}
