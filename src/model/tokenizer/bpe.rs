//! Byte-level byte-pair encoding (GPT-2's), on raw bytes: the printable stand-ins of the vocabulary file are undone once
//! when it is read, so neither encoding nor decoding ever sees them.

use std::collections::HashMap;

use super::lexicon::{Lexicon, NONE};
use super::merge::{Merger, Rules, Symbol};
use super::pre::PreTokenizer;

#[derive(Debug)]
pub(super) struct Bpe {
    pre: PreTokenizer,
    /// Token of each single byte, or `NONE`.
    bytes: Box<[u32; 256]>,
    /// Pair of tokens (left in the high half) → rank and resulting token.
    merges: HashMap<u64, (u32, u32)>,
}

fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

impl Rules for Bpe {
    fn join(&self, _text: &[u8], left: &Symbol, right: &Symbol) -> Option<(u32, u32)> {
        self.merges.get(&pair(left.token, right.token)).copied()
    }
}

impl Bpe {
    /// `merges` in order of rank, each `left right` in stand-in characters. A merge of something that is not in the
    /// vocabulary could never be emitted and is left out; of equal merges the first one counts.
    pub(super) fn new<'a>(lexicon: &Lexicon, merges: impl Iterator<Item = &'a str>, pre: PreTokenizer) -> Self {
        let mut bytes = Box::new([NONE; 256]);
        for byte in 0..=255_u8 {
            bytes[usize::from(byte)] = lexicon.find(&[byte]).unwrap_or(NONE);
        }
        let mut map = HashMap::with_capacity(merges.size_hint().0.min(lexicon.len().saturating_mul(4)));
        for (rank, merge) in merges.enumerate().take(NONE as usize) {
            if let Some((left, right, joined)) = read_merge(lexicon, merge) {
                map.entry(pair(left, right)).or_insert((rank as u32, joined));
            }
        }
        Self { pre, bytes, merges: map }
    }

    /// Appends the tokens of `text`. Bytes the vocabulary does not have are left out, as llama.cpp does.
    pub(super) fn encode(&self, lexicon: &Lexicon, text: &str, merger: &mut Merger, ids: &mut Vec<u32>) {
        for word in self.pre.split(text) {
            let word = word.as_bytes();
            if self.pre.whole_words
                && let Some(id) = lexicon.find(word)
            {
                ids.push(id);
                continue;
            }
            let cuts = word.iter().enumerate().map(|(i, &byte)| (i + 1, self.bytes[usize::from(byte)]));
            merger.run(word, cuts, self, |symbol| {
                if symbol.token != NONE {
                    ids.push(symbol.token);
                }
            });
        }
    }
}

fn read_merge(lexicon: &Lexicon, merge: &str) -> Option<(u32, u32, u32)> {
    // A space is never a stand-in, except as a first character in files that do not use them.
    let space = merge.char_indices().skip(1).find(|(_, c)| *c == ' ')?.0;
    let mut joined = raw_bytes(&merge[..space])?;
    let left = lexicon.find(&joined)?;
    let right = raw_bytes(&merge[space + 1..])?;
    let right_id = lexicon.find(&right)?;
    joined.extend(right);
    Some((left, right_id, lexicon.find(&joined)?))
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
        assert_eq!(raw_bytes("ĠwÃ¶rd").unwrap(), " wörd".as_bytes());
        assert_eq!(raw_bytes("a b"), None);
    }
}
