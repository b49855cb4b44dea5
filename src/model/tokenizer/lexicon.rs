//! The vocabulary's texts in one piece of memory, and an index from text to id.
//!
//! A map of owned strings would take 30 MB for a vocabulary of a quarter million; this takes its texts plus four bytes
//! and two slots a token. The index hashes with a random key, so no file can be made to collide.

use std::hash::{BuildHasher as _, RandomState};

/// No token: an id no vocabulary reaches.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Lexicon {
    text: Vec<u8>,
    /// `ends[id]` is where the text of `id` ends; it starts where the one before ends.
    ends: Vec<usize>,
    /// Open addressing, linear probing, at most half full: ids, or `NONE` for a free slot.
    slots: Vec<u32>,
    hasher: RandomState,
    longest: usize,
}

impl Lexicon {
    /// For `n` tokens.
    pub(super) fn with_capacity(n: usize) -> Self {
        let slots = vec![NONE; (n * 2).next_power_of_two().max(2)];
        Self { text: Vec::new(), ends: Vec::with_capacity(n), slots, hasher: RandomState::new(), longest: 0 }
    }

    /// Adds the next id. Only a `findable` text is in the index; of equal texts the last one added is found. At most
    /// as many tokens as the capacity are indexed.
    pub(super) fn push(&mut self, text: &[u8], findable: bool) {
        let id = self.ends.len();
        self.text.extend_from_slice(text);
        self.ends.push(self.text.len());
        if findable && !text.is_empty() && id < self.slots.len() / 2 {
            let slot = self.slot(text);
            self.slots[slot] = id as u32;
            self.longest = self.longest.max(text.len());
        }
    }

    /// The slot that holds `text`, or the free one where it belongs.
    fn slot(&self, text: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(text) as usize & mask;
        while self.slots[slot] != NONE && self.text(self.slots[slot]) != Some(text) {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// The id of a findable text.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        if text.len() > self.longest {
            return None;
        }
        Some(self.slots[self.slot(text)]).filter(|&id| id != NONE)
    }

    /// The text of an id.
    pub(super) fn text(&self, id: u32) -> Option<&[u8]> {
        let id = id as usize;
        let end = *self.ends.get(id)?;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        self.text.get(start..end)
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_findable_and_the_last_of_equals() {
        let mut lexicon = Lexicon::with_capacity(4);
        for (text, findable) in [("a", true), ("b", false), ("", true), ("a", true)] {
            lexicon.push(text.as_bytes(), findable);
        }
        assert_eq!((lexicon.find(b"a"), lexicon.find(b"b"), lexicon.find(b"")), (Some(3), None, None));
        assert_eq!((lexicon.text(1), lexicon.text(2), lexicon.text(4)), (Some(&b"b"[..]), Some(&b""[..]), None));
        assert_eq!((lexicon.len(), lexicon.find(b"longer than any")), (4, None));
    }

    #[test]
    fn ten_thousand_texts_are_all_found() {
        let mut lexicon = Lexicon::with_capacity(10_000);
        for i in 0..10_000 {
            lexicon.push(format!("token {i}").as_bytes(), true);
        }
        for i in 0..10_000 {
            assert_eq!(lexicon.find(format!("token {i}").as_bytes()), Some(i));
        }
        assert_eq!(lexicon.find(b"token 10000"), None);
    }
}
