//! SentencePiece as llama.cpp runs it (tokenizer model `llama`): characters are joined by the score of the resulting
//! token, highest first; what is no token in the end is spelled in byte tokens.
//!
//! The vocabulary writes spaces as U+2581; here both vocabulary and text hold plain spaces.

use super::lexicon::{Lexicon, NONE};
use super::merge::Merger;

/// The character the vocabulary file uses for a space.
pub(super) const SPACE_MARK: &str = "\u{2581}";

#[derive(Debug)]
pub(super) struct Spm {
    /// Priority of each token: lower is a higher score.
    priorities: Vec<u32>,
    /// Token of each byte: `<0xXX>`, or the byte itself, or `NONE`.
    bytes: Box<[u32; 256]>,
    unknown: Option<u32>,
    /// Whether a space is put before the text and before text that follows a special token.
    add_space: bool,
}

impl Spm {
    pub(super) fn new(scores: &[f32], bytes: Box<[u32; 256]>, unknown: Option<u32>, add_space: bool) -> Self {
        Self { priorities: scores.iter().map(|&score| priority(score)).collect(), bytes, unknown, add_space }
    }

    /// Appends the tokens of `text`; `after_special` tells whether it stands at the start or behind a special token.
    pub(super) fn encode(
        &self,
        lexicon: &Lexicon,
        text: &str,
        after_special: bool,
        merger: &mut Merger,
        ids: &mut Vec<u32>,
    ) {
        let prefix = if self.add_space && after_special { " " } else { "" };
        let text = format!("{prefix}{}", text.replace(SPACE_MARK, " "));
        let cuts = text.char_indices().map(|(at, c)| {
            let end = at + c.len_utf8();
            (end, lexicon.find(&text.as_bytes()[at..end]).unwrap_or(NONE))
        });
        let join = |pair: &[u8]| {
            let token = lexicon.find(pair)?;
            Some((*self.priorities.get(token as usize)?, token))
        };
        merger.run(text.as_bytes(), cuts, &join, |symbol| {
            if symbol.token != NONE {
                ids.push(symbol.token);
                return;
            }
            for byte in &text.as_bytes()[symbol.start as usize..symbol.end as usize] {
                match self.bytes[usize::from(*byte)] {
                    NONE => ids.extend(self.unknown),
                    id => ids.push(id),
                }
            }
        });
    }
}

/// Maps scores to integers in reverse order: the highest score is the lowest number, and −0 equals 0.
fn priority(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    // The usual order-preserving map of IEEE numbers to integers, complemented.
    if bits >> 31 == 1 { bits } else { !(bits | 0x8000_0000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_scores_in_reverse() {
        let scores = [f32::INFINITY, 3.5, 1.0, f32::MIN_POSITIVE, 0.0, -1e-30, -1.0, -31.0, -1e30, f32::NEG_INFINITY];
        assert!(scores.windows(2).all(|w| priority(w[0]) < priority(w[1])));
        assert_eq!(priority(0.0), priority(-0.0));
    }
}
