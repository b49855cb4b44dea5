//! Our own threads: N − 1 workers beside the caller, one job per forward pass, barriers inside the job.
//!
//! A forward pass of a small model has several barriers per layer and takes a few milliseconds, so waiting must not cost
//! a system call: workers spin with `pause` for about a millisecond before they sleep. No other pool runs in the hot
//! path. Where threads outnumber free cores, the one that is waited for needs the core of the one that waits: after some
//! ten microseconds every wait gives it away again and again.
#![expect(unsafe_code, reason = "a job borrowed by the caller is lent to workers for the time of `run`")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::*},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How long a waiting worker spins before it sleeps.
const SPIN: Duration = Duration::from_millis(1);

/// Looks with a `pause` between them, about ten microseconds, before a wait starts to yield.
const PAUSES: u32 = 1 << 8;

/// Looks until `done`.
#[inline]
fn wait_until(mut done: impl FnMut() -> bool) {
    let mut look = |times: u32| {
        (0..times).any(|_| {
            let is_done = done();
            if !is_done {
                std::hint::spin_loop();
            }
            is_done
        })
    };
    let mut times = PAUSES;
    while !look(times) {
        std::thread::yield_now();
        times = PAUSES / 4;
    }
}

/// A cache line of its own, so that a spinning reader does not slow the writer of a neighbouring value.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Padded<T>(pub(super) T);

/// What one thread of a job knows of the team it works in.
#[derive(Clone, Copy)]
pub(super) struct Team<'a> {
    /// This thread's number, `< size`.
    pub(super) id: usize,
    /// Threads in the team.
    pub(super) size: usize,
    barrier: &'a Barrier,
}

impl Team<'_> {
    /// Waits until every thread of the team has come here; what each wrote before is visible to all after.
    #[inline]
    pub(super) fn wait(&self) {
        self.barrier.wait(self.size);
    }

    /// This thread's contiguous share of `n` things dealt in whole groups of `grain` (the last group may be short).
    #[inline]
    pub(super) fn share(&self, n: usize, grain: usize) -> std::ops::Range<usize> {
        let groups = n.div_ceil(grain);
        let at = |id: usize| (groups * id / self.size * grain).min(n);
        at(self.id)..at(self.id + 1)
    }
}

/// A spinning barrier that can be passed any number of times.
#[derive(Default)]
struct Barrier {
    arrived: Padded<AtomicUsize>,
    generation: Padded<AtomicUsize>,
    /// A thread of the team panicked: nobody must wait for it.
    broken: AtomicBool,
}

impl Barrier {
    #[inline]
    fn wait(&self, size: usize) {
        if size == 1 {
            return;
        }
        let generation = self.generation.0.load(Acquire);
        if self.arrived.0.fetch_add(1, AcqRel) + 1 == size {
            self.arrived.0.store(0, Relaxed);
            self.generation.0.store(generation.wrapping_add(1), Release);
            return;
        }
        wait_until(|| {
            assert!(!self.broken.load(Relaxed), "another thread of the team panicked");
            self.generation.0.load(Acquire) != generation
        });
    }
}

/// A job, without its lifetime: valid only while [`Pool::run`] has not returned.
#[derive(Clone, Copy)]
struct Job(*const (dyn Fn(Team<'_>) + Sync + 'static));

// SAFETY: the pointee is `Sync`, and `Pool::run` does not return before every worker has finished with it.
unsafe impl Send for Job {}

/// What workers and caller share.
#[derive(Default)]
struct Shared {
    /// Counts jobs; a worker waits for it to change.
    posted: Padded<AtomicUsize>,
    /// Workers that have finished the current job.
    finished: Padded<AtomicUsize>,
    barrier: Barrier,
    stop: AtomicBool,
    job: Mutex<Option<Job>>,
    wake: Condvar,
}

/// A team of threads for one engine. Dropping it ends them.
pub(super) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `size − 1` workers; the caller of [`run`](Self::run) is the remaining thread.
    pub(super) fn new(size: usize) -> std::io::Result<Self> {
        let mut pool = Self { shared: Arc::default(), workers: Vec::new() };
        for id in 1..size.max(1) {
            let shared = Arc::clone(&pool.shared);
            let size = size.max(1);
            let worker = std::thread::Builder::new().name(format!("native-{id}"));
            pool.workers.push(worker.spawn(move || work(&shared, id, size))?);
        }
        Ok(pool)
    }

    /// Threads, the caller included.
    pub(super) fn size(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `job` once on every thread and returns when all have finished. A panic in any of them is passed on.
    pub(super) fn run(&mut self, job: &(dyn Fn(Team<'_>) + Sync)) {
        let size = self.size();
        let shared = &*self.shared;
        let team = Team { id: 0, size, barrier: &shared.barrier };
        if size == 1 {
            return job(team);
        }
        let erased: *const (dyn Fn(Team<'_>) + Sync + '_) = job;
        // SAFETY: only the lifetime changes; workers use the pointer before they count themselves finished, and this
        // function waits for all of them before it returns, also when the job panics.
        let erased = Job(unsafe {
            std::mem::transmute::<*const (dyn Fn(Team<'_>) + Sync + '_), *const (dyn Fn(Team<'_>) + Sync + 'static)>(
                erased,
            )
        });
        shared.finished.0.store(0, Relaxed);
        {
            let mut slot = shared.job.lock().unwrap_or_else(PoisonError::into_inner);
            *slot = Some(erased);
            shared.posted.0.fetch_add(1, Release);
            shared.wake.notify_all();
        }
        let mine = catch_unwind(AssertUnwindSafe(|| job(team)));
        if mine.is_err() {
            shared.barrier.broken.store(true, Relaxed);
        }
        wait_until(|| shared.finished.0.load(Acquire) == size - 1);
        if let Err(panic) = mine {
            resume_unwind(panic);
        }
        assert!(!shared.barrier.broken.load(Relaxed), "a worker thread panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let _slot = self.shared.job.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.stop.store(true, Release);
            self.shared.posted.0.fetch_add(1, Release);
            self.shared.wake.notify_all();
        }
        for worker in self.workers.drain(..) {
            // A worker never unwinds: its job runs under `catch_unwind`.
            drop(worker.join());
        }
    }
}

/// A worker's life: wait for a job, run it, report.
fn work(shared: &Shared, id: usize, size: usize) {
    let mut seen = 0;
    loop {
        seen = await_job(shared, seen);
        if shared.stop.load(Acquire) {
            return;
        }
        let job = *shared.job.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Job(job)) = job {
            let team = Team { id, size, barrier: &shared.barrier };
            // SAFETY: `run` posted this job and waits for `finished` below before its borrow ends.
            let done = catch_unwind(AssertUnwindSafe(|| unsafe { (*job)(team) }));
            if done.is_err() {
                shared.barrier.broken.store(true, Relaxed);
            }
        }
        shared.finished.0.fetch_add(1, Release);
    }
}

/// Spins, then sleeps, until the number of posted jobs is no longer `seen`; returns the new number.
fn await_job(shared: &Shared, seen: usize) -> usize {
    let start = Instant::now();
    let mut looks = 0u32;
    wait_until(|| {
        looks = looks.wrapping_add(1);
        shared.posted.0.load(Acquire) != seen || (looks.is_multiple_of(PAUSES) && start.elapsed() > SPIN)
    });
    let mut slot = shared.job.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let posted = shared.posted.0.load(Acquire);
        if posted != seen {
            return posted;
        }
        slot = shared.wake.wait(slot).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_everything_once_in_whole_groups() {
        let barrier = Barrier::default();
        for size in 1..5 {
            for n in [0, 1, 15, 16, 17, 192, 577] {
                let mut next = 0;
                for id in 0..size {
                    let share = Team { id, size, barrier: &barrier }.share(n, 16);
                    assert_eq!(share.start, next);
                    assert!(share.start.is_multiple_of(16) || share.is_empty());
                    next = share.end;
                }
                assert_eq!(next, n);
            }
        }
    }

    #[test]
    fn barriers_order_the_phases_of_many_jobs() {
        for size in [1, 2, 3] {
            let mut pool = Pool::new(size).unwrap();
            let counts: Vec<AtomicUsize> = (0..50).map(|_| AtomicUsize::new(0)).collect();
            for round in 1..=20 {
                pool.run(&|team| {
                    for count in &counts {
                        count.fetch_add(1, Relaxed);
                        team.wait();
                        assert_eq!(count.load(Relaxed), size * round);
                        team.wait();
                    }
                });
            }
        }
    }

    #[test]
    fn sleeping_workers_wake_for_the_next_job() {
        let mut pool = Pool::new(2).unwrap();
        let ran = AtomicUsize::new(0);
        for _ in 0..3 {
            std::thread::sleep(SPIN * 5);
            pool.run(&|_| {
                ran.fetch_add(1, Relaxed);
            });
        }
        assert_eq!(ran.load(Relaxed), 6);
    }

    #[test]
    fn a_panic_on_any_thread_reaches_the_caller_and_hangs_nobody() {
        for guilty in 0..2 {
            let mut pool = Pool::new(2).unwrap();
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(&|team| {
                    assert_ne!(team.id, guilty, "deliberate");
                    team.wait();
                });
            }));
            assert!(result.is_err());
        }
    }
}
