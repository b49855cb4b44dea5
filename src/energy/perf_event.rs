//! The one system call of the perf meter.

use std::fs::File;
use std::io::{self, Read as _};

/// An open energy event. Reads its 64-bit count.
#[derive(Debug)]
pub(super) struct PerfEvent(File);

impl PerfEvent {
    /// Opens event `config` of the unit `kind` for everything that runs on `cpu`.
    ///
    /// # Errors
    /// What the kernel says: usually `EACCES` (see `perf_event_paranoid`).
    #[cfg(target_os = "linux")]
    #[expect(unsafe_code, reason = "perf_event_open has no safe wrapper in libc")]
    pub(super) fn open(kind: u32, config: u64, cpu: u32) -> io::Result<Self> {
        use std::os::fd::FromRawFd as _;

        /// `struct perf_event_attr` as of its first version (`PERF_ATTR_SIZE_VER0`, 64 bytes), which every kernel takes.
        /// Source: linux/perf_event.h.
        #[repr(C)]
        #[derive(Default)]
        struct Attributes {
            kind: u32,
            size: u32,
            config: u64,
            sample_period: u64,
            sample_type: u64,
            read_format: u64,
            flags: u64,
            wakeup_events: u32,
            breakpoint_type: u32,
            config1: u64,
        }
        const SIZE: u32 = 64;
        const { assert!(size_of::<Attributes>() == SIZE as usize) };
        const CLOSE_ON_EXEC: libc::c_ulong = 8;

        let attributes = Attributes { kind, size: SIZE, config, ..Attributes::default() };
        let cpu = libc::c_int::try_from(cpu).map_err(io::Error::other)?;
        let (every_process, no_group): (libc::pid_t, libc::c_int) = (-1, -1);
        // SAFETY: the pointer is to a live `perf_event_attr` whose `size` field is its true size; the kernel only reads it
        // during the call. The other arguments are plain integers of the types the call takes.
        let fd = unsafe {
            libc::syscall(libc::SYS_perf_event_open, &raw const attributes, every_process, cpu, no_group, CLOSE_ON_EXEC)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::c_int::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the call succeeded, so `fd` is an open descriptor that nothing else owns.
        Ok(Self(unsafe { File::from_raw_fd(fd) }))
    }

    /// Only Linux has perf events.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn open(_kind: u32, _config: u64, _cpu: u32) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The count since it was opened.
    pub(super) fn count(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}
