//! Text to tokens and back, as this room needs it; lets tests run without a model file.

use super::QualityError;
use crate::model::tokenizer::Tokenizer;

/// What the evaluation needs of a tokenizer.
pub trait Codec {
    /// Token ids of `text`. `specials` puts the model's BOS in front if it wants one. Special tokens written out in the
    /// text stay text: an item must not be able to forge a turn.
    ///
    /// # Errors
    /// What the tokenizer says.
    fn encode(&self, text: &str, specials: bool) -> Result<Vec<u32>, QualityError>;

    /// Whether `text` may be cut at byte `at`: the ids of its parts are those of the whole, and no special token comes
    /// behind it.
    fn cuts_at(&self, text: &str, at: usize) -> bool;

    /// Text of `ids`, special tokens left out; bytes that are not UTF-8 become U+FFFD.
    fn decode(&self, ids: &[u32]) -> String;

    /// Whether `id` ends an answer (EOS, end of turn).
    fn is_end(&self, id: u32) -> bool;

    /// The token that ends a text, if there is one.
    fn end(&self) -> Option<u32>;

    /// Bytes of every token, by id; none for special tokens, which no text holds.
    fn pieces(&self) -> Vec<Vec<u8>>;
}

impl Codec for Tokenizer {
    fn encode(&self, text: &str, specials: bool) -> Result<Vec<u32>, QualityError> {
        Ok(Self::encode(self, text, specials, false).map_err(crate::model::ModelError::from)?)
    }

    fn cuts_at(&self, text: &str, at: usize) -> bool {
        Self::cuts_at(self, text, at)
    }

    fn decode(&self, ids: &[u32]) -> String {
        Self::decode(self, ids, true)
    }

    fn is_end(&self, id: u32) -> bool {
        Self::is_end(self, id)
    }

    fn end(&self) -> Option<u32> {
        self.eos()
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        let n = u32::try_from(self.n_vocab()).unwrap_or(u32::MAX);
        (0..n).map(|id| if self.is_special(id) { Vec::new() } else { self.decode_bytes(&[id], true) }).collect()
    }
}

/// A codec for texts that begin alike: the beginning is encoded once.
pub(super) struct Stemmed<'a> {
    codec: &'a dyn Codec,
    stem: String,
    ids: Vec<u32>,
}

impl<'a> Stemmed<'a> {
    /// Remembers `prefix` up to the last place where it may be cut; all of it is encoded anew where there is none.
    ///
    /// # Errors
    /// What the tokenizer says.
    pub(super) fn new(codec: &'a dyn Codec, prefix: &str) -> Result<Self, QualityError> {
        let at = (1..prefix.len()).rev().find(|&at| codec.cuts_at(prefix, at)).unwrap_or(0);
        let stem = prefix.get(..at).unwrap_or_default().to_owned();
        let ids = if stem.is_empty() { Vec::new() } else { codec.encode(&stem, true)? };
        Ok(Self { codec, stem, ids })
    }
}

impl Codec for Stemmed<'_> {
    fn encode(&self, text: &str, specials: bool) -> Result<Vec<u32>, QualityError> {
        let at = self.stem.len();
        if at == 0 || !specials || !text.starts_with(&self.stem) || !self.codec.cuts_at(text, at) {
            return self.codec.encode(text, specials);
        }
        let rest = self.codec.encode(&text[at..], false)?;
        Ok([self.ids.as_slice(), &rest].concat())
    }

    fn cuts_at(&self, text: &str, at: usize) -> bool {
        self.codec.cuts_at(text, at)
    }

    fn decode(&self, ids: &[u32]) -> String {
        self.codec.decode(ids)
    }

    fn is_end(&self, id: u32) -> bool {
        self.codec.is_end(id)
    }

    fn end(&self) -> Option<u32> {
        self.codec.end()
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        self.codec.pieces()
    }
}

/// One token per byte, 256 ends: for tests.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct ByteCodec;

#[cfg(test)]
impl Codec for ByteCodec {
    fn encode(&self, text: &str, _specials: bool) -> Result<Vec<u32>, QualityError> {
        Ok(text.bytes().map(u32::from).collect())
    }

    fn cuts_at(&self, text: &str, at: usize) -> bool {
        text.is_char_boundary(at)
    }

    fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().filter_map(|&id| u8::try_from(id).ok()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn is_end(&self, id: u32) -> bool {
        id == 256
    }

    fn end(&self) -> Option<u32> {
        Some(256)
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        (0..=255u8).map(|byte| vec![byte]).chain([Vec::new()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stem_changes_no_ids() {
        let stemmed = Stemmed::new(&ByteCodec, "one\n\ntwo\n\n").unwrap();
        assert!(!stemmed.ids.is_empty());
        for text in ["one\n\ntwo\n\nthree", "one\n\ntwo\n", "one", "", "other\n\ntwo\n\n"] {
            for specials in [false, true] {
                assert_eq!(stemmed.encode(text, specials).unwrap(), ByteCodec.encode(text, specials).unwrap());
            }
        }
    }
}
