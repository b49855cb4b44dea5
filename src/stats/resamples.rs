//! Which values the resamples of a bootstrap draw, counted once and shared by every sample of the same size.
//!
//! The draws of [`super::bootstrap`] depend on the number of values and the seed alone, not on the values. A table of
//! them turns ten thousand medians into additions of bytes side by side: the counts of the values are added in
//! ascending order of the values, and a resample's median is where its sum passes the middle.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::bootstrap::{RESAMPLES, SplitMix64};
use super::quantile::nearest_rank;

/// Samples of more values have no table: counts are bytes.
pub(super) const MAX_VALUES: usize = u8::MAX as usize;

/// Tables one thread keeps, bytes; a table takes [`RESAMPLES`] bytes a value. All numbers of trials up to 60 fit.
const KEPT: usize = 20 << 20;

/// Resamples drawn side by side; divides [`RESAMPLES`].
const BLOCK: usize = 100;

/// How often each resample draws each of `n` values.
pub(super) struct Resamples {
    n: usize,
    /// `[n][RESAMPLES]`: all resamples' counts of the first value, then of the second …
    counts: Vec<u8>,
}

thread_local! {
    /// By number of values and seed. A memo of a pure function: nothing but time depends on what it holds.
    static TABLES: RefCell<HashMap<(usize, u64), Rc<Resamples>>> = RefCell::default();
}

impl Resamples {
    /// The table of `n` values; `None` for more than [`MAX_VALUES`].
    pub(super) fn of(n: usize, seed: u64) -> Option<Rc<Self>> {
        if n > MAX_VALUES {
            return None;
        }
        TABLES.with_borrow_mut(|tables| {
            if let Some(known) = tables.get(&(n, seed)) {
                return Some(Rc::clone(known));
            }
            let table = Rc::new(Self::draw(n, seed));
            let kept: usize = tables.values().map(|table| table.counts.len()).sum();
            if kept + table.counts.len() > KEPT {
                tables.clear();
            }
            tables.insert((n, seed), Rc::clone(&table));
            Some(table)
        })
    }

    fn draw(n: usize, seed: u64) -> Self {
        let mut counts = vec![0; n * RESAMPLES];
        // The first draw of every resample of a block, then the second …: two counts in a row are never the same byte,
        // which the processor would have to wait for.
        for block in (0..RESAMPLES).step_by(BLOCK) {
            for draw in 0..n {
                let mut random = SplitMix64::new(seed).after((block * n + draw) as u64);
                for resample in block..block + BLOCK {
                    counts[random.index(n) * RESAMPLES + resample] += 1;
                    random = random.after(n as u64 - 1);
                }
            }
        }
        Self { n, counts }
    }

    /// Nearest ranks `p` of the medians of all resamples; `None` if a median is not finite. `sorted` holds the values in
    /// ascending order and `order` the place of each in the sample.
    pub(super) fn median_ranks<const P: usize>(
        &self,
        sorted: &[f64],
        order: &[usize],
        p: [f64; P],
    ) -> Option<[f64; P]> {
        let n = self.n;
        // The places of the two middle values of a resample: one place if n is odd.
        let (below, above) = (((n - 1) / 2) as u8, (n / 2) as u8);
        let mut seen = [0_u8; RESAMPLES];
        // How many of the sorted values lie before the one at either place.
        let (mut lower, mut upper) = ([0_u8; RESAMPLES], [0_u8; RESAMPLES]);
        for &value in order {
            let counts = &self.counts[value * RESAMPLES..][..RESAMPLES];
            for (((seen, count), lower), upper) in seen.iter_mut().zip(counts).zip(&mut lower).zip(&mut upper) {
                *seen += count;
                *lower += u8::from(*seen <= below);
                *upper += u8::from(*seen <= above);
            }
        }
        let mut pairs = vec![0_usize; n * n];
        for (&lower, &upper) in lower.iter().zip(&upper) {
            pairs[usize::from(lower) * n + usize::from(upper)] += 1;
        }
        // The same arithmetic as `Sorted::median`, so that both give the same bits.
        let median = |pair: usize| match (sorted[pair / n], sorted[pair % n]) {
            (middle, _) if n % 2 == 1 => middle,
            (lower, upper) => lower + 0.5 * (upper - lower),
        };
        let drawn = pairs.iter().enumerate().filter(|(_, times)| **times > 0);
        let mut medians: Vec<(f64, usize)> = drawn.map(|(pair, &times)| (median(pair), times)).collect();
        if medians.iter().any(|(median, _)| !median.is_finite()) {
            return None;
        }
        medians.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let at = |p: f64| {
            let mut left = nearest_rank(RESAMPLES, p);
            let holds = |&&(_, times): &&(f64, usize)| {
                let is_here = left < times;
                left = left.saturating_sub(times);
                is_here
            };
            medians.iter().find(holds).map(|&(median, _)| median)
        };
        let mut ends = [0.0; P];
        for (end, &p) in ends.iter_mut().zip(&p) {
            *end = at(p)?;
        }
        Some(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_counts_what_the_generator_draws() {
        let (n, seed) = (5, 11);
        let table = Resamples::of(n, seed).unwrap();
        let mut random = SplitMix64::new(seed);
        for resample in 0..RESAMPLES {
            let mut counts = [0_u8; 5];
            for _ in 0..n {
                counts[random.index(n)] += 1;
            }
            let stored: Vec<u8> = (0..n).map(|value| table.counts[value * RESAMPLES + resample]).collect();
            assert_eq!(stored, counts);
        }
    }

    #[test]
    fn tables_are_shared_bounded_and_refused_where_counts_do_not_fit() {
        let first = Resamples::of(40, 1).unwrap();
        assert!(Rc::ptr_eq(&first, &Resamples::of(40, 1).unwrap()));
        assert!(!Rc::ptr_eq(&first, &Resamples::of(40, 2).unwrap()));
        for n in 2..120 {
            Resamples::of(n, 3).unwrap();
            let kept: usize = TABLES.with_borrow(|tables| tables.values().map(|table| table.counts.len()).sum());
            assert!(kept <= KEPT);
        }
        assert!(Resamples::of(MAX_VALUES, 4).is_some() && Resamples::of(MAX_VALUES + 1, 4).is_none());
    }
}
