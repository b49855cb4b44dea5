//! Page-aligned zeroed memory for weights, activations and scratch.
//!
//! Weights are read once per token from beginning to end, so address translation counts: blocks of 2 MB and more are
//! aligned to 2 MB and the kernel is asked for huge pages (on a virtual machine with 4 KB pages this alone costs 15 to
//! 36 % of decode speed).
#![expect(unsafe_code, reason = "allocates and hands out raw memory")]

use std::ptr::NonNull;
use std::sync::Arc;

use super::KernelError;

const HUGE: usize = 2 << 20;

/// Zeroed pages of our own, aligned to 2 MB if they are that long.
///
/// It hands out raw pointers: who writes where is decided by its owner.
pub(in super::super) struct Memory {
    start: NonNull<u8>,
    bytes: usize,
    /// What was mapped for it, if that is more.
    #[cfg(test)]
    guarded: Option<(*mut u8, usize)>,
}

// SAFETY: `Memory` owns plain bytes; all access goes through raw pointers whose users promise exclusion.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

#[cfg(unix)]
impl Memory {
    /// Maps at least `bytes`; asks for huge pages before the first one is touched.
    pub(in super::super) fn zeroed(bytes: usize) -> Result<Self, KernelError> {
        #[cfg(test)]
        if let Some(side) = guard::side() {
            return Ok(guard::map(bytes, side));
        }
        let no_memory = || KernelError::OutOfMemory { mib: bytes.div_ceil(1 << 20) };
        let align = if bytes >= HUGE { HUGE } else { 4096 };
        let size = bytes.max(1).checked_next_multiple_of(4096).ok_or_else(no_memory)?;
        let mapped = size.checked_add(align).ok_or_else(no_memory)?;
        // More may be reserved than there is: it counts once touched, and whoever touches it asked first.
        #[cfg(target_os = "linux")]
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        #[cfg(not(target_os = "linux"))]
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let base =
            unsafe { libc::mmap(std::ptr::null_mut(), mapped, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(no_memory());
        }
        let base: *mut u8 = base.cast();
        let head = base.align_offset(align);
        let tail = mapped - head - size;
        // SAFETY: head + size + tail is the mapping; only the ends are returned, both whole pages.
        let start = unsafe {
            if head > 0 {
                libc::munmap(base.cast(), head);
            }
            if tail > 0 {
                libc::munmap(base.add(head + size).cast(), tail);
            }
            base.add(head)
        };
        #[cfg(target_os = "linux")]
        if size >= HUGE {
            // SAFETY: advice on memory we own; a refusal (old kernel, policy) changes speed only.
            unsafe { libc::madvise(start.cast(), size, libc::MADV_HUGEPAGE) };
        }
        let start = NonNull::new(start).ok_or_else(no_memory)?;
        Ok(Self {
            start,
            bytes: size,
            #[cfg(test)]
            guarded: None,
        })
    }
}

#[cfg(unix)]
impl Drop for Memory {
    fn drop(&mut self) {
        #[cfg(test)]
        if let Some((base, bytes)) = self.guarded {
            // SAFETY: mapped by `guard::map` with this length.
            unsafe { libc::munmap(base.cast(), bytes) };
            return;
        }
        // SAFETY: mapped by `zeroed` with this length; nothing can point into it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(not(unix))]
impl Memory {
    const fn layout(bytes: usize) -> Option<std::alloc::Layout> {
        match std::alloc::Layout::from_size_align(bytes, 4096) {
            Ok(layout) => Some(layout),
            Err(_) => None,
        }
    }

    /// Allocates at least `bytes`.
    pub(in super::super) fn zeroed(bytes: usize) -> Result<Self, KernelError> {
        let bytes = bytes.max(1);
        let no_memory = || KernelError::OutOfMemory { mib: bytes.div_ceil(1 << 20) };
        let layout = Self::layout(bytes).ok_or_else(no_memory)?;
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).ok_or_else(no_memory)?;
        Ok(Self {
            start,
            bytes,
            #[cfg(test)]
            guarded: None,
        })
    }
}

#[cfg(not(unix))]
impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.bytes) {
            // SAFETY: allocated by `zeroed` with this layout.
            unsafe { std::alloc::dealloc(self.start.as_ptr(), layout) };
        }
    }
}

impl Memory {
    /// First byte.
    pub(in super::super) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Bytes.
    pub(in super::super) fn len(&self) -> usize {
        self.bytes
    }
}

/// One block of memory that many packed matrices share, so that small ones do not each round up to a huge page.
///
/// Its capacity is the sum of [`super::PackedMatrix::bytes`] over the matrices. Freed when the last matrix is.
pub struct Arena {
    memory: Arc<Memory>,
    used: usize,
    threads: usize,
}

/// A part of an [`Arena`] that belongs to one matrix.
pub(super) struct Slot {
    pub(super) memory: Arc<Memory>,
    pub(super) offset: usize,
    pub(super) bytes: usize,
}

impl Arena {
    /// An arena of `bytes`.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn with_capacity(bytes: usize) -> Result<Self, KernelError> {
        Ok(Self { memory: Arc::new(Memory::zeroed(bytes)?), used: 0, threads: 1 })
    }

    /// Lets packing use this many threads (1 unless asked).
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// The next `bytes`, aligned to 64; a block of its own when the arena is full.
    pub(super) fn take(&mut self, bytes: usize) -> Result<Slot, KernelError> {
        let rounded = bytes.next_multiple_of(64);
        if rounded > self.memory.len() - self.used {
            return Ok(Slot { memory: Arc::new(Memory::zeroed(bytes)?), offset: 0, bytes });
        }
        let offset = self.used;
        self.used += rounded;
        Ok(Slot { memory: Arc::clone(&self.memory), offset, bytes })
    }
}

/// For tests: memory that ends, or begins, where an access faults.
#[cfg(all(test, unix))]
pub(in super::super) mod guard {
    use std::cell::Cell;
    use std::ptr::NonNull;

    use super::Memory;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::engine::native) enum Side {
        Before,
        After,
    }

    thread_local! {
        static SIDE: Cell<Option<Side>> = const { Cell::new(None) };
    }

    pub(in crate::engine::native) fn side() -> Option<Side> {
        SIDE.get()
    }

    /// All memory of this thread that `run` asks for touches an inaccessible page on `side`.
    pub(in crate::engine::native) fn with<T>(side: Side, run: impl FnOnce() -> T) -> T {
        SIDE.set(Some(side));
        let result = run();
        SIDE.set(None);
        result
    }

    pub(super) fn map(bytes: usize, side: Side) -> Memory {
        const PAGE: usize = 4096;
        let bytes = bytes.max(1);
        let inner = bytes.next_multiple_of(PAGE);
        let mapped = inner + 2 * PAGE;
        // SAFETY: a new anonymous mapping, of which only the inner pages are made accessible and handed out.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let base: *mut u8 = libc::mmap(std::ptr::null_mut(), mapped, libc::PROT_NONE, flags, -1, 0).cast();
            assert_ne!(base.cast(), libc::MAP_FAILED);
            let start = base.add(PAGE);
            assert_eq!(libc::mprotect(start.cast(), inner, libc::PROT_READ | libc::PROT_WRITE), 0);
            let start = if side == Side::After { start.add(inner - bytes) } else { start };
            Memory {
                start: NonNull::new(start).expect("a mapping is not at zero"),
                bytes,
                guarded: Some((base, mapped)),
            }
        }
    }
}
