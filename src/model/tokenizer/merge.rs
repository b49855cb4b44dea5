//! The merge loop of SentencePiece: a chain of symbols whose best neighbouring pair is joined until no pair can be. A
//! heap over a linked chain makes it O(n log n), whatever the text.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::lexicon::NONE;

/// A stretch of the text in the chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol {
    pub(super) start: u32,
    /// Equal to `start` once the symbol was joined to its left neighbour.
    pub(super) end: u32,
    /// The token it is, or `NONE`.
    pub(super) token: u32,
    prev: u32,
    next: u32,
}

impl Symbol {
    fn len(&self) -> u32 {
        self.end - self.start
    }
}

/// A pair that could be joined when it was queued: by priority, then from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    priority: u32,
    left: u32,
    right: u32,
    /// Length of both; a candidate whose symbols have changed since has another.
    len: u32,
    token: u32,
}

/// Working memory, reused from text to text.
#[derive(Debug, Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Reverse<Candidate>>,
}

impl Merger {
    /// Merges `text`, which is shorter than 4 GiB and is cut into symbols at the given ends, each with its token or
    /// `NONE`; hands the resulting symbols to `emit` from left to right. `join` gives priority (lowest first) and token
    /// of the bytes of two neighbours, if they can be joined.
    pub(super) fn run(
        &mut self,
        text: &[u8],
        cuts: impl Iterator<Item = (usize, u32)>,
        join: &impl Fn(&[u8]) -> Option<(u32, u32)>,
        mut emit: impl FnMut(&Symbol),
    ) {
        self.symbols.clear();
        self.queue.clear();
        let mut start = 0;
        for (i, (end, token)) in cuts.enumerate() {
            let i = i as u32;
            let end = end as u32;
            self.symbols.push(Symbol { start, end, token, prev: i.checked_sub(1).unwrap_or(NONE), next: i + 1 });
            start = end;
        }
        let Some(last) = self.symbols.last_mut() else { return };
        last.next = NONE;

        for right in 1..self.symbols.len() as u32 {
            self.consider(text, join, right - 1, right);
        }
        while let Some(Reverse(best)) = self.queue.pop() {
            let (left, right) = (self.symbols[best.left as usize], self.symbols[best.right as usize]);
            if left.len() == 0 || right.len() == 0 || left.len() + right.len() != best.len {
                continue;
            }
            self.symbols[best.right as usize].end = right.start;
            let joined = &mut self.symbols[best.left as usize];
            (joined.end, joined.token, joined.next) = (right.end, best.token, right.next);
            if right.next != NONE {
                self.symbols[right.next as usize].prev = best.left;
            }
            self.consider(text, join, left.prev, best.left);
            self.consider(text, join, best.left, right.next);
        }
        let mut at = 0;
        while at != NONE {
            let symbol = &self.symbols[at as usize];
            emit(symbol);
            at = symbol.next;
        }
    }

    fn consider(&mut self, text: &[u8], join: &impl Fn(&[u8]) -> Option<(u32, u32)>, left: u32, right: u32) {
        if left == NONE || right == NONE {
            return;
        }
        let (l, r) = (&self.symbols[left as usize], &self.symbols[right as usize]);
        let pair = text.get(l.start as usize..r.end as usize);
        if let Some((priority, token)) = pair.and_then(join) {
            self.queue.push(Reverse(Candidate { priority, left, right, len: l.len() + r.len(), token }));
        }
    }
}
