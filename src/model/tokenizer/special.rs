//! Special tokens are cut out of the text before anything else, longest first, as llama.cpp does.

use std::collections::HashMap;
use std::ops::Range;

use super::lexicon::NONE;

/// A stretch of text, or a special token that was found in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fragment<'a> {
    Text(&'a str),
    Token(u32),
}

/// One special token.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: u32,
    /// Found even if special tokens are not to be parsed (user-defined tokens).
    always: bool,
    /// Swallows the white space behind it.
    strips_right: bool,
}

/// Special tokens of one length.
#[derive(Debug)]
struct SameLength {
    len: usize,
    first: [bool; 256],
    entries: HashMap<Box<[u8]>, Entry>,
}

/// All special tokens, longest first.
#[derive(Debug, Default)]
pub(super) struct SpecialTokens {
    lengths: Vec<SameLength>,
}

impl SpecialTokens {
    pub(super) fn insert(&mut self, text: &str, id: u32, always: bool, strips_right: bool) {
        let bytes = text.as_bytes();
        let Some(&first) = bytes.first() else { return };
        let at = match self.lengths.binary_search_by(|same| bytes.len().cmp(&same.len)) {
            Ok(at) => at,
            Err(at) => {
                let same = SameLength { len: bytes.len(), first: [false; 256], entries: HashMap::new() };
                self.lengths.insert(at, same);
                at
            }
        };
        self.lengths[at].first[usize::from(first)] = true;
        self.lengths[at].entries.insert(bytes.into(), Entry { id, always, strips_right });
    }

    /// Whether a token that is always found has a line break in it.
    pub(super) fn span_lines(&self) -> bool {
        let mut entries = self.lengths.iter().flat_map(|same| &same.entries);
        entries.any(|(text, entry)| entry.always && text.contains(&b'\n'))
    }

    /// Cuts `text` into special tokens and what is between them. Takes time proportional to the text's length and the
    /// number of different token lengths, not to the number of tokens.
    pub(super) fn partition<'a>(&self, text: &'a str, parse_special: bool) -> Vec<Fragment<'a>> {
        let bytes = text.as_bytes();
        let mut present = [false; 256];
        bytes.iter().for_each(|&b| present[usize::from(b)] = true);
        // Found tokens in order of their start: (span including stripped white space, token).
        let mut found: Vec<(Range<usize>, u32)> = Vec::new();
        for same in &self.lengths {
            if same.len > bytes.len() || !present.iter().zip(&same.first).any(|(a, b)| *a && *b) {
                continue;
            }
            let mut merged = Vec::with_capacity(found.len());
            let mut start = 0;
            for (span, token) in found {
                same.search(bytes, start..span.start, parse_special, &mut merged);
                start = span.end;
                merged.push((span, token));
            }
            same.search(bytes, start..bytes.len(), parse_special, &mut merged);
            found = merged;
        }
        let mut fragments = Vec::with_capacity(found.len() * 2 + 1);
        let mut start = 0;
        // A token's text is whole characters of UTF-8, so every cut is at a character boundary.
        let between = |span: Range<usize>, fragments: &mut Vec<Fragment<'a>>| {
            if let Some(text) = text.get(span).filter(|t| !t.is_empty()) {
                fragments.push(Fragment::Text(text));
            }
        };
        for (span, token) in found {
            between(start..span.start, &mut fragments);
            fragments.push(Fragment::Token(token));
            start = span.end;
        }
        between(start..bytes.len(), &mut fragments);
        fragments
    }
}

impl SameLength {
    /// Finds this length's tokens within one stretch of text, from left to right.
    fn search(&self, bytes: &[u8], within: Range<usize>, parse_special: bool, found: &mut Vec<(Range<usize>, u32)>) {
        let mut at = within.start;
        while at + self.len <= within.end {
            let entry = self.first[usize::from(bytes[at])]
                .then(|| self.entries.get(&bytes[at..at + self.len]))
                .flatten()
                .filter(|entry| (parse_special || entry.always) && entry.id != NONE);
            let Some(entry) = entry else {
                at += 1;
                continue;
            };
            let mut end = at + self.len;
            if entry.strips_right {
                // The six characters of C's isspace.
                while end < within.end && matches!(bytes[end], b' ' | b'\t'..=b'\r') {
                    end += 1;
                }
            }
            found.push((at..end, entry.id));
            at = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fragment::{Text, Token};
    use super::*;

    fn tokens() -> SpecialTokens {
        let mut tokens = SpecialTokens::default();
        tokens.insert("<s>", 1, false, false);
        tokens.insert("<|end|>", 2, false, true);
        tokens.insert("\n", 3, true, false);
        tokens.insert("\n\n", 4, true, false);
        tokens.insert("bcde", 5, true, false);
        tokens.insert("abc", 6, true, false);
        tokens
    }

    #[test]
    fn the_longest_token_wins_wherever_it_starts() {
        assert_eq!(tokens().partition("abcde", true), [Text("a"), Token(5)]);
        assert_eq!(tokens().partition("\n\n\n", true), [Token(4), Token(3)]);
        assert_eq!(tokens().partition("x<s>é<s>", true), [Text("x"), Token(1), Text("é"), Token(1)]);
        assert_eq!(tokens().partition("", true), []);
    }

    #[test]
    fn only_user_defined_tokens_are_found_when_special_ones_are_not_parsed() {
        assert_eq!(tokens().partition("<s>\n", false), [Text("<s>"), Token(3)]);
    }

    #[test]
    fn white_space_behind_a_stripping_token_is_swallowed() {
        assert_eq!(tokens().partition("<|end|> \t x", true), [Token(2), Text("x")]);
        // The two line feeds were cut out first? No: the longer token comes first and takes them.
        assert_eq!(tokens().partition("<|end|>\n\nx", true), [Token(2), Text("x")]);
    }
}
