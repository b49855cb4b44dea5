//! How the attention of a batch is cut into pieces that threads draw.

use super::{Heads, SPAN, UNIT_ROWS};

/// A row of a batch, as attention needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::native) struct RowPlace {
    /// Sequence.
    pub(in crate::engine::native) seq: u32,
    /// Position, already appended to the cache.
    pub(in crate::engine::native) pos: u32,
}

/// What one thread works on: some consecutive tokens of one sequence, one key/value head, some spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine::native) struct Unit {
    /// First row of the batch.
    pub(in crate::engine::native) first: usize,
    /// Rows.
    pub(in crate::engine::native) tokens: usize,
    /// Key/value head.
    pub(in crate::engine::native) head: usize,
    /// The one span to do, whose state goes to this row of the partial plane; `None` does all spans and finishes.
    pub(in crate::engine::native) part: Option<(usize, usize)>,
}

/// A query head whose spans were done apart and are to be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine::native) struct Merge {
    /// Row of the batch.
    pub(in crate::engine::native) row: usize,
    /// Key/value head.
    pub(in crate::engine::native) head: usize,
    /// Rows of the partial plane, in order of spans.
    pub(in crate::engine::native) parts: std::ops::Range<usize>,
}

/// How the attention of one layer kind is cut into work.
#[derive(Clone, Debug, Default)]
pub(in crate::engine::native) struct Schedule {
    /// To be done in any order by any thread.
    pub(in crate::engine::native) units: Vec<Unit>,
    /// To be done after all units.
    pub(in crate::engine::native) merges: Vec<Merge>,
    /// Rows of the partial plane used.
    pub(in crate::engine::native) parts: usize,
}

impl Schedule {
    /// Cuts a batch into units. With few query rows per thread the spans of a token are dealt out separately, up to
    /// `max_parts` rows of partial results.
    pub(in crate::engine::native) fn fill(
        &mut self,
        rows: &[RowPlace],
        heads: &Heads,
        n_head_kv: usize,
        threads: usize,
        max_parts: usize,
    ) {
        self.units.clear();
        self.merges.clear();
        self.parts = 0;
        let spans = |row: &RowPlace| heads.first_seen(row.pos as usize) / SPAN..row.pos as usize / SPAN + 1;
        let needed: usize = rows.iter().map(|row| spans(row).len() * n_head_kv).sum();
        if threads > 1 && rows.len() <= 4 * threads && needed <= max_parts && rows.iter().any(|r| spans(r).len() > 1) {
            for (row, place) in rows.iter().enumerate() {
                for head in 0..n_head_kv {
                    let start = self.parts;
                    for span in spans(place) {
                        self.units.push(Unit { first: row, tokens: 1, head, part: Some((span, self.parts)) });
                        self.parts += 1;
                    }
                    self.merges.push(Merge { row, head, parts: start..self.parts });
                }
            }
            return;
        }
        let most = (UNIT_ROWS / heads.group).max(1);
        let mut first = 0;
        while first < rows.len() {
            let follows = |n: usize| {
                rows.get(first + n).is_some_and(|r| r.seq == rows[first].seq && r.pos == rows[first].pos + n as u32)
            };
            let tokens = (1..most).find(|&n| !follows(n)).unwrap_or(most);
            self.units.extend((0..n_head_kv).map(|head| Unit { first, tokens, head, part: None }));
            first += tokens;
        }
        // The longest come last in a prompt; starting with them leaves the short ones to even out the threads.
        self.units.reverse();
    }
}
