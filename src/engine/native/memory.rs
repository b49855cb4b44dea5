//! Memory the engine takes from the system: zeroed regions that cost nothing until touched, and how much is left.
#![expect(unsafe_code, reason = "mmap, madvise, and buffers several threads write disjoint parts of")]

use crate::engine::{EngineError, memory::available_bytes};
use std::{marker::PhantomData, ptr::NonNull};

const MIB: u64 = 1 << 20;

/// A private, zeroed, page-aligned region. Pages count as resident only once touched.
pub(super) struct Region {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the region is plain memory owned by this value; access is governed by whoever holds pointers into it.
unsafe impl Send for Region {}
// SAFETY: as above; a shared `Region` only gives out its address.
unsafe impl Sync for Region {}

impl Region {
    /// Reserves `len` bytes and asks for 2 MB pages where the system has them.
    ///
    /// # Errors
    /// [`EngineError::OutOfMemory`] when the system refuses the mapping.
    pub(super) fn reserve(len: usize, what: &'static str, fix: &'static str) -> Result<Self, EngineError> {
        let refused = || EngineError::OutOfMemory {
            what,
            needed_mib: len as u64 / MIB,
            available_mib: available_bytes().unwrap_or(0) / MIB,
            fix,
        };
        if len == 0 {
            return Ok(Self { start: NonNull::dangling(), len });
        }
        if isize::try_from(len).is_err() {
            return Err(refused());
        }
        #[cfg(unix)]
        {
            #[cfg(target_os = "linux")]
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            #[cfg(not(target_os = "linux"))]
            let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
            // SAFETY: a fresh anonymous mapping; no existing memory is affected.
            let start =
                unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
            if start == libc::MAP_FAILED {
                return Err(refused());
            }
            #[cfg(target_os = "linux")]
            // SAFETY: advice on the mapping just made; a refusal changes nothing but speed.
            unsafe {
                libc::madvise(start, len, libc::MADV_HUGEPAGE);
            }
            Ok(Self { start: NonNull::new(start.cast()).ok_or_else(refused)?, len })
        }
        #[cfg(not(unix))]
        {
            let layout = std::alloc::Layout::from_size_align(len, 4096).map_err(|_overflow| refused())?;
            // SAFETY: `len` is not zero.
            let start = unsafe { std::alloc::alloc_zeroed(layout) };
            Ok(Self { start: NonNull::new(start).ok_or_else(refused)?, len })
        }
    }

    /// First byte.
    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Bytes reserved.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        #[cfg(unix)]
        // SAFETY: exactly the mapping `reserve` made; nothing can refer to it any more.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.len);
        }
        #[cfg(not(unix))]
        if let Ok(layout) = std::alloc::Layout::from_size_align(self.len, 4096) {
            // SAFETY: the layout `reserve` allocated with.
            unsafe { std::alloc::dealloc(self.start.as_ptr(), layout) };
        }
    }
}

/// Fails with [`EngineError::OutOfMemory`] if fewer than `bytes` are available. Passes where that cannot be known.
pub(super) fn require(bytes: u64, what: &'static str, fix: &'static str) -> Result<(), EngineError> {
    match available_bytes() {
        Some(available) if available < bytes => {
            Err(EngineError::OutOfMemory { what, needed_mib: bytes.div_ceil(MIB), available_mib: available / MIB, fix })
        }
        _ => Ok(()),
    }
}

/// A row-major matrix of `f32` that the threads of a job write disjoint parts of.
pub(super) struct Plane {
    data: Vec<f32>,
    width: usize,
}

impl Plane {
    /// `rows` × `width` zeros.
    pub(super) fn new(rows: usize, width: usize) -> Self {
        Self { data: vec![0.0; rows * width], width }
    }

    /// A view to share with the threads of a job; the plane is borrowed for as long.
    pub(super) fn share(&mut self) -> SharedPlane<'_> {
        SharedPlane { start: self.data.as_mut_ptr(), len: self.data.len(), width: self.width, borrow: PhantomData }
    }
}

/// A [`Plane`] seen by many threads. Callers promise that no two threads touch the same element between two barriers
/// unless both only read it.
#[derive(Clone, Copy)]
pub(super) struct SharedPlane<'a> {
    start: *mut f32,
    len: usize,
    width: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: access to elements is unsafe and its callers promise disjointness; the view itself is an address.
unsafe impl Send for SharedPlane<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedPlane<'_> {}

impl<'a> SharedPlane<'a> {
    /// A view of a caller's slice as rows of `width`.
    pub(super) fn of(slice: &'a mut [f32], width: usize) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), width, borrow: PhantomData }
    }

    /// Elements per row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// First element of row `i`; the row lies inside the plane (checked).
    pub(super) fn row_ptr(&self, i: usize) -> *mut f32 {
        let at = i * self.width;
        assert!(at + self.width <= self.len, "row {i} outside the plane");
        // SAFETY: checked above.
        unsafe { self.start.add(at) }
    }

    /// Part of row `i` for reading.
    ///
    /// # Safety
    /// No thread writes these elements before the next barrier.
    pub(super) unsafe fn read(&self, i: usize, columns: std::ops::Range<usize>) -> &'a [f32] {
        assert!(columns.start <= columns.end && columns.end <= self.width);
        let row = self.row_ptr(i);
        // SAFETY: inside the row (checked), and nobody writes it (caller).
        unsafe { std::slice::from_raw_parts(row.add(columns.start), columns.len()) }
    }

    /// Part of row `i` for writing.
    ///
    /// # Safety
    /// No other thread touches these elements before the next barrier, and this thread holds no other view of them.
    pub(super) unsafe fn write(&self, i: usize, columns: std::ops::Range<usize>) -> &'a mut [f32] {
        assert!(columns.start <= columns.end && columns.end <= self.width);
        let row = self.row_ptr(i);
        // SAFETY: inside the row (checked), and nobody else touches it (caller).
        unsafe { std::slice::from_raw_parts_mut(row.add(columns.start), columns.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_zeroed_and_writable_to_its_last_byte() {
        let region = Region::reserve(3 * 4096 + 5, "test", "none").unwrap();
        // SAFETY: the only user of the region.
        let bytes = unsafe { std::slice::from_raw_parts_mut(region.as_ptr(), region.len()) };
        assert!(bytes.iter().all(|&b| b == 0));
        bytes[3 * 4096 + 4] = 7;
        assert_eq!(bytes[3 * 4096 + 4], 7);
    }

    #[test]
    fn asking_for_more_than_the_machine_has_names_the_fix() {
        let error = require(u64::MAX / 2, "weights", "use a smaller level").unwrap_err();
        assert!(error.to_string().contains("use a smaller level"), "{error}");
        assert!(Region::reserve(usize::MAX, "cache", "shorten --ctx").is_err());
    }

    #[test]
    #[should_panic(expected = "outside the plane")]
    fn rows_outside_a_plane_are_refused() {
        Plane::new(2, 4).share().row_ptr(2);
    }
}
