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

/// One token per byte, 256 ends: for tests.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct ByteCodec;

#[cfg(test)]
impl Codec for ByteCodec {
    fn encode(&self, text: &str, _specials: bool) -> Result<Vec<u32>, QualityError> {
        Ok(text.bytes().map(u32::from).collect())
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
