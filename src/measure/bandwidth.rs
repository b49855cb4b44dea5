//! Memory read bandwidth of this machine, measured, and the share of it that decoding reaches (the roofline).

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::host::HostFacts;

/// Measured read bandwidth with all threads streaming.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Threads that read.
    pub threads: u32,
    /// Read from memory, bytes/s; `None` if there was no room for a buffer larger than the cache.
    pub memory: Option<f64>,
    /// Size of the buffer for `memory`, bytes.
    pub memory_buffer: u64,
    /// Read from the last-level cache, bytes/s; `None` if the cache's size is unknown.
    pub cache: Option<f64>,
    /// Size of the buffer for `cache`, bytes.
    pub cache_buffer: u64,
    /// Size of the last-level cache, bytes.
    pub cache_size: Option<u64>,
}

const MIB: u64 = 1 << 20;
/// Passes over the memory buffer; the fastest counts, because bandwidth is what the machine can do.
const PASSES: u32 = 4;

impl Bandwidth {
    /// Measures for about a second: a buffer of four times the last-level cache (at least 256 MiB, at most 2 GiB and a
    /// quarter of usable memory), then one that fits the last-level cache but not the caches before it.
    #[must_use]
    pub fn measure(host: &HostFacts, threads: u32) -> Self {
        let threads = threads.max(1);
        let cache_size = host.last_level_cache();
        let room = host.memory.usable().unwrap_or(1 << 30) / 4;
        let wanted = cache_size.map_or(256 * MIB, |size| (4 * size).clamp(256 * MIB, 2048 * MIB));
        let memory_buffer = wanted.min(room);
        let inner = host.caches.iter().filter(|c| c.kind != "Instruction" && c.level < 3).map(|c| c.bytes).max();
        let cache_buffer = cache_size.map_or(0, |size| {
            let past_inner = 4 * inner.unwrap_or(MIB) * u64::from(threads);
            past_inner.min(size / 2)
        });
        // A buffer that a shared cache half holds would measure a mixture and call it memory.
        let is_memory = cache_size.is_none_or(|size| memory_buffer >= 2 * size);
        Self {
            threads,
            memory: if is_memory && memory_buffer >= 16 * MIB { stream(memory_buffer, threads, PASSES) } else { None },
            memory_buffer,
            cache: if cache_buffer >= MIB { stream(cache_buffer, threads, 64) } else { None },
            cache_buffer,
            cache_size,
        }
    }

    /// The faster of two measurements of the same machine, field by field: what it can do, where a neighbour's load or a
    /// slow moment made one of them worse.
    #[must_use]
    pub fn faster(self, other: Self) -> Self {
        let most = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).max_by(f64::total_cmp);
        Self { memory: most(self.memory, other.memory), cache: most(self.cache, other.cache), ..self }
    }

    /// The bound for a working set of this size: the cache's bandwidth if it fits into the last-level cache, else the
    /// memory's.
    #[must_use]
    pub fn bound(&self, working_set: u64) -> Option<f64> {
        let fits = self.cache_size.is_some_and(|size| working_set <= size);
        if fits { self.cache.or(self.memory) } else { self.memory }
    }
}

/// Share of the bound reached: bytes read per step × steps per second / bandwidth. Over 1 the byte count or the bandwidth
/// is wrong, and the row is flagged.
#[must_use]
pub fn roofline_share(bytes_per_step: f64, steps_per_s: f64, bandwidth: f64) -> Option<f64> {
    let share = bytes_per_step * steps_per_s / bandwidth;
    (share.is_finite() && bandwidth > 0.0).then_some(share)
}

/// Best rate of `passes` passes in which every thread reads its own part of a buffer, bytes/s. `None` if the buffer
/// cannot be had.
fn stream(bytes: u64, threads: u32, passes: u32) -> Option<f64> {
    let per_thread = usize::try_from(bytes / u64::from(threads)).ok()? / 64 * 8;
    if per_thread == 0 {
        return None;
    }
    let barrier = Barrier::new(threads as usize);
    // Each thread allocates and writes its part, so that pages lie on its memory node and are not the shared zero page.
    let times = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut part: Vec<u64> = Vec::new();
                    let allocated = part.try_reserve_exact(per_thread).is_ok();
                    if allocated {
                        part.resize(per_thread, 1);
                    }
                    let mut spans = Vec::new();
                    for _ in 0..passes {
                        barrier.wait();
                        let start = Instant::now();
                        black_box(sum(black_box(&part)));
                        spans.push((start, Instant::now()));
                    }
                    allocated.then_some(spans)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().ok().flatten()).collect::<Option<Vec<_>>>()
    })?;
    let read = (per_thread * 8 * threads as usize) as f64;
    (0..passes as usize)
        .filter_map(|pass| {
            let start = times.iter().map(|spans| spans[pass].0).min()?;
            let end = times.iter().map(|spans| spans[pass].1).max()?;
            let seconds = end.duration_since(start).as_secs_f64();
            (seconds > 0.0).then(|| read / seconds)
        })
        .max_by(f64::total_cmp)
}

/// Reads every word. Many independent sums, so that loads and not the additions bound the loop; indices, because `zip` is
/// a call where codegen units are not optimised together, and the call would be measured.
fn sum(words: &[u64]) -> u64 {
    let mut lanes = [0u64; 32];
    let (chunks, rest) = words.as_chunks::<32>();
    for chunk in chunks {
        for (i, lane) in lanes.iter_mut().enumerate() {
            *lane = lane.wrapping_add(chunk[i]);
        }
    }
    lanes.iter().chain(rest).fold(0, |a, b| a.wrapping_add(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::host::Cache;
    use crate::measure::memory::MemoryFacts;

    #[test]
    fn the_faster_of_two_measurements_is_kept_and_unknown_stays_unknown() {
        let at = |memory, cache| Bandwidth {
            threads: 2,
            memory,
            memory_buffer: 1,
            cache,
            cache_buffer: 1,
            cache_size: None,
        };
        assert_eq!(at(Some(3.0), None).faster(at(Some(2.0), Some(9.0))), at(Some(3.0), Some(9.0)));
        assert_eq!(at(None, None).faster(at(None, None)), at(None, None));
    }

    #[test]
    fn every_word_is_read() {
        for n in [0, 1, 31, 32, 33, 1000] {
            let words: Vec<u64> = (1..=n).collect();
            assert_eq!(sum(&words), n * (n + 1) / 2);
        }
    }

    #[test]
    fn the_bound_follows_the_working_set() {
        let bandwidth = Bandwidth {
            threads: 2,
            memory: Some(20e9),
            memory_buffer: 1 << 30,
            cache: Some(60e9),
            cache_buffer: 1 << 24,
            cache_size: Some(300 << 20),
        };
        assert_eq!(bandwidth.bound(90 << 20), Some(60e9));
        assert_eq!(bandwidth.bound(900 << 20), Some(20e9));
        assert_eq!(Bandwidth { cache: None, ..bandwidth }.bound(90 << 20), Some(20e9));
    }

    #[test]
    fn a_machine_without_room_does_not_call_its_cache_memory() {
        let host = HostFacts {
            caches: vec![Cache { level: 3, kind: "Unified".into(), bytes: 300 << 20, shared_by: 2 }],
            memory: MemoryFacts { available: Some(256 << 20), ..MemoryFacts::default() },
            ..HostFacts::default()
        };
        let bandwidth = Bandwidth::measure(&host, 1);
        assert_eq!((bandwidth.memory, bandwidth.memory_buffer), (None, 64 << 20));
        assert!(bandwidth.cache.is_some_and(|rate| rate > 0.0));
    }

    #[test]
    fn the_share_is_unknown_where_the_bandwidth_is() {
        assert_eq!(roofline_share(1e8, 100.0, 2e10), Some(0.5));
        assert_eq!(roofline_share(1e8, 100.0, 0.0), None);
        assert_eq!(roofline_share(1e8, f64::NAN, 1e9), None);
    }
}
