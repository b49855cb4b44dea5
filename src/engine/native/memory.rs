//! Memory the engine takes from the system, how much is left, and buffers that threads share.
#![expect(unsafe_code, reason = "buffers several threads write disjoint parts of")]

use super::kernels::{KernelError, Memory};
use crate::engine::{EngineError, memory::available_bytes};
use std::marker::PhantomData;

const MIB: u64 = 1 << 20;

/// Zeroed pages that count as resident only once touched.
///
/// # Errors
/// [`EngineError::OutOfMemory`] when the system refuses the mapping.
pub(super) fn reserve(bytes: usize, what: &'static str, fix: &'static str) -> Result<Memory, EngineError> {
    Memory::zeroed(bytes).map_err(|_refused| EngineError::OutOfMemory {
        what,
        needed_mib: bytes as u64 / MIB,
        available_mib: available_bytes().unwrap_or(0) / MIB,
        fix,
    })
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
///
/// It starts with a page: rows that are whole cache lines stay such, which results stored 64 bytes at a time need.
pub(super) struct Plane {
    data: Memory,
    len: usize,
    width: usize,
}

impl Plane {
    /// `rows` × `width` zeros.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub(super) fn new(rows: usize, width: usize) -> Result<Self, KernelError> {
        let too_much = KernelError::OutOfMemory { mib: usize::MAX >> 20 };
        let bytes = rows.checked_mul(width).and_then(|len| len.checked_mul(4)).ok_or(too_much)?;
        Ok(Self { data: Memory::zeroed(bytes)?, len: bytes / 4, width })
    }

    /// A view to share with the threads of a job; the plane is borrowed for as long.
    #[inline]
    pub(super) fn share(&mut self) -> SharedPlane<'_> {
        self.share_as(self.width)
    }

    /// The same as rows of another width.
    #[inline]
    pub(super) fn share_as(&mut self, width: usize) -> SharedPlane<'_> {
        SharedPlane { start: self.data.start().cast(), len: self.len, width, borrow: PhantomData }
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
    #[inline]
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// First element of row `i`; the row lies inside the plane (checked).
    #[inline]
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
    #[inline]
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
    #[inline]
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
    fn pages_are_zeroed_and_writable_to_the_last_byte() {
        let memory = reserve(3 * 4096 + 5, "test", "none").unwrap();
        // SAFETY: the only user of the memory.
        let bytes = unsafe { std::slice::from_raw_parts_mut(memory.start(), memory.len()) };
        assert!(bytes.len() > 3 * 4096 + 4 && bytes.iter().all(|&b| b == 0));
        bytes[3 * 4096 + 4] = 7;
        assert_eq!(bytes[3 * 4096 + 4], 7);
    }

    #[test]
    fn asking_for_more_than_the_machine_has_names_the_fix() {
        let error = require(u64::MAX / 2, "weights", "use a smaller level").unwrap_err();
        assert!(error.to_string().contains("use a smaller level"), "{error}");
        assert!(reserve(usize::MAX, "cache", "shorten --ctx").is_err());
    }

    #[test]
    #[should_panic(expected = "outside the plane")]
    fn rows_outside_a_plane_are_refused() {
        Plane::new(2, 4).unwrap().share().row_ptr(2);
    }
}
