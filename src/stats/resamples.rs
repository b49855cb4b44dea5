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

/// Draws one thread keeps, 2 bytes each: those of samples of up to 64 values.
const KEPT_DRAWS: usize = 64 * RESAMPLES;

/// Resamples that are counted side by side, a byte each; divides [`RESAMPLES`].
const LANES: usize = 80;

/// Draws that are looked at together: few enough that seldom one of them has to be drawn in full.
const BLOCK: usize = 64;

/// How often each resample draws each of `n` values.
pub(super) struct Resamples {
    n: usize,
    /// `[RESAMPLES / LANES][n][LANES]`: what is added up together stands together.
    counts: Vec<u8>,
}

/// The tables of one seed.
#[derive(Default)]
struct Family {
    /// By number of values.
    tables: HashMap<usize, Rc<Resamples>>,
    /// How often one was asked for.
    asked: u64,
}

impl Family {
    fn bytes(&self) -> usize {
        self.tables.values().map(|table| table.counts.len()).sum()
    }
}

/// What a thread remembers of pure functions: nothing but time depends on what it holds.
#[derive(Default)]
struct Memo {
    by_seed: HashMap<u64, Family>,
    /// The upper 16 bits of the numbers one seed's generator makes: samples of every size are drawn from the same ones.
    draws: Vec<u16>,
    seed: u64,
    /// Memory of tables that were forgotten: the next ones need not ask the system for it.
    spare: Vec<Vec<u8>>,
}

thread_local! {
    static MEMO: RefCell<Memo> = RefCell::default();
}

impl Memo {
    fn table(&mut self, n: usize, seed: u64) -> Rc<Resamples> {
        let family = self.by_seed.entry(seed).or_default();
        family.asked += 1;
        if let Some(known) = family.tables.get(&n) {
            return Rc::clone(known);
        }
        self.make_room(seed, n * RESAMPLES);
        let room = self.spare.pop().unwrap_or_default();
        let table = Rc::new(Resamples::draw(n, &self.draws(n, seed), room));
        self.by_seed.entry(seed).or_default().tables.insert(n, Rc::clone(&table));
        table
    }

    /// The first numbers of the generator `seed`: `n` values need `n` of them for each resample.
    fn draws(&mut self, n: usize, seed: u64) -> Draws<'_> {
        let wanted = (n * RESAMPLES).min(KEPT_DRAWS);
        if self.seed != seed {
            self.draws.clear();
            self.seed = seed;
        }
        let mut draws = std::mem::take(&mut self.draws);
        draws.reserve(wanted.saturating_sub(draws.len()));
        let mut random = SplitMix64::new(seed).after(draws.len() as u64);
        // One by one: vectors of the baseline instruction set multiply 64 bits in pieces, which takes twice as long.
        while draws.len() < wanted {
            draws.push((random.next_u64() >> 48) as u16);
        }
        self.draws = draws;
        Draws { upper: &self.draws, random: SplitMix64::new(seed) }
    }

    /// Forgets whole seeds, those first that were asked for least: one record's own seed goes before the default one,
    /// which most records share.
    fn make_room(&mut self, seed: u64, bytes: usize) {
        while self.by_seed.values().map(Family::bytes).sum::<usize>() + bytes > KEPT {
            let others = self.by_seed.iter().filter(|(other, family)| **other != seed && !family.tables.is_empty());
            let least = others.min_by_key(|(_, family)| family.asked).map_or(seed, |(&other, _)| other);
            let Some(family) = self.by_seed.remove(&least).filter(|family| !family.tables.is_empty()) else { return };
            self.spare = family.tables.into_values().filter_map(Rc::into_inner).map(|table| table.counts).collect();
        }
    }
}

/// The numbers of a generator by their place.
struct Draws<'a> {
    /// The upper 16 bits of the first of them.
    upper: &'a [u16],
    random: SplitMix64,
}

impl Draws<'_> {
    /// The indices into `n` values from the number `start` on: those of the upper 16 bits of the numbers, unless what the
    /// others add could reach the next index.
    fn indices(&self, start: usize, n: usize, indices: &mut [u8]) {
        let Some(upper) = self.upper.get(start..start + indices.len()) else {
            let mut random = self.random.after(start as u64);
            return indices.fill_with(|| random.index(n) as u8);
        };
        let times = n as u16;
        let is_open = |rest: u16| usize::from(rest) > 0x1_0000 - n;
        for (block, (indices, upper)) in indices.chunks_mut(BLOCK).zip(upper.chunks(BLOCK)).enumerate() {
            let mut most = 0;
            for i in 0..indices.len().min(upper.len()) {
                // The upper half of a product of 16 bits: one instruction for eight of them.
                let product = u32::from(upper[i]) * u32::from(times);
                indices[i] = ((product >> 16) as u16).to_le_bytes()[0];
                most = most.max(upper[i].wrapping_mul(times));
            }
            if is_open(most) {
                for i in (0..indices.len()).filter(|&i| is_open(upper[i].wrapping_mul(times))) {
                    let place = start + block * BLOCK + i;
                    indices[i] = self.random.after(place as u64).index(n) as u8;
                }
            }
        }
    }
}

impl Resamples {
    /// The table of `n` values; `None` for more than [`MAX_VALUES`].
    pub(super) fn of(n: usize, seed: u64) -> Option<Rc<Self>> {
        (n <= MAX_VALUES).then(|| MEMO.with_borrow_mut(|memo| memo.table(n, seed)))
    }

    /// Draws a table into `counts`, whatever it holds.
    fn draw(n: usize, draws: &Draws<'_>, mut counts: Vec<u8>) -> Self {
        counts.resize(n * RESAMPLES, 0);
        let mut indices = [0; MAX_VALUES * LANES];
        let mut tile = [0; (MAX_VALUES + 1) * LANES];
        for (number, counted) in counts.chunks_exact_mut((n * LANES).max(1)).enumerate() {
            let (indices, tile_of_n) = (&mut indices[..n * LANES], ..n * LANES);
            draws.indices(number * LANES * n, n, indices);
            tile[tile_of_n].fill(0);
            for (lane, resample) in indices.chunks_exact(n).enumerate() {
                for &index in resample {
                    tile[usize::from(index) * LANES + lane % LANES] += 1;
                }
            }
            counted.copy_from_slice(&tile[tile_of_n]);
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
        let mut pairs = vec![0_usize; n * n];
        for counts in self.counts.chunks_exact((n * LANES).max(1)) {
            let mut seen = [0_u8; LANES];
            // How many of the sorted values lie before the one at either place.
            let (mut lower, mut upper) = ([0_u8; LANES], [0_u8; LANES]);
            for (place, &value) in order.iter().enumerate() {
                let counts: &[u8; LANES] = counts[value * LANES..].first_chunk()?;
                for lane in 0..LANES {
                    seen[lane] += counts[lane];
                    lower[lane] += u8::from(seen[lane] <= below);
                }
                if below != above {
                    for lane in 0..LANES {
                        upper[lane] += u8::from(seen[lane] <= above);
                    }
                }
                // Past the middle of every resample nothing is counted any more; looking each time would cost more.
                if place % 4 == 3 && seen.iter().fold(u8::MAX, |least, &seen| least.min(seen)) > above {
                    break;
                }
            }
            if below == above {
                upper = lower;
            }
            for lane in 0..LANES {
                pairs[usize::from(lower[lane]) * n + usize::from(upper[lane])] += 1;
            }
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
        // The second from draws kept for the first, the third from none, the last from a generator.
        for (n, seed) in [(5, 11), (7, 11), (3, 12), (5, 0), (70, 11)] {
            let table = Resamples::of(n, seed).unwrap();
            let mut random = SplitMix64::new(seed);
            for resample in 0..RESAMPLES {
                let mut counts = vec![0_u8; n];
                for _ in 0..n {
                    counts[random.index(n)] += 1;
                }
                let (tile, lane) = (resample / LANES * n * LANES, resample % LANES);
                let stored: Vec<u8> = (0..n).map(|value| table.counts[tile + value * LANES + lane]).collect();
                assert_eq!(stored, counts);
            }
        }
    }

    #[test]
    fn tables_are_shared_bounded_and_refused_where_counts_do_not_fit() {
        let first = Resamples::of(40, 1).unwrap();
        assert!(Rc::ptr_eq(&first, &Resamples::of(40, 1).unwrap()));
        assert!(!Rc::ptr_eq(&first, &Resamples::of(40, 2).unwrap()));
        for n in 2..120 {
            Resamples::of(n, 3).unwrap();
            let kept: usize = MEMO.with_borrow(|memo| memo.by_seed.values().map(Family::bytes).sum());
            assert!(kept <= KEPT);
        }
        // Twice as many seeds as there is room for: those asked for once make room, not the one asked for each time.
        let room = KEPT / (50 * RESAMPLES);
        for seed in 10..10 + 2 * room as u64 {
            Resamples::of(50, 5).unwrap();
            Resamples::of(50, seed).unwrap();
        }
        let (often, seeds) = MEMO.with_borrow(|memo| (memo.by_seed.contains_key(&5), memo.by_seed.len()));
        assert!(often && seeds <= room + 1, "{seeds} seeds");
        assert!(Resamples::of(MAX_VALUES, 4).is_some() && Resamples::of(MAX_VALUES + 1, 4).is_none());
    }
}
