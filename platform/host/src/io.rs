//! Positioned and streaming reads and writes between host descriptors and raw segments of memory.

use sentry_uapi::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A run of bytes the sentry may hand to the host: part of the memory window, or of an object of the sentry's.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct HostSeg {
    ptr: *mut u8,
    len: usize,
}

impl HostSeg {
    /// # Safety
    /// The memory must stay valid for reads (and writes, if it is used as a destination) as long as the value is used.
    /// Its contents may change at any time.
    pub unsafe fn new(ptr: *mut u8, len: usize) -> HostSeg {
        HostSeg { ptr, len }
    }

    /// Start of the run.
    pub fn ptr(self) -> *mut u8 {
        self.ptr
    }

    /// Length in bytes.
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The part from `from` on, at most `max` bytes.
    #[must_use]
    pub fn slice(self, from: usize, max: usize) -> HostSeg {
        let from = from.min(self.len);
        // SAFETY: from is at most the length, so the pointer stays within or one past the run.
        HostSeg { ptr: unsafe { self.ptr.add(from) }, len: (self.len - from).min(max) }
    }
}

/// Most segments one host call takes (Linux: `UIO_MAXIOV`).
pub const MAX_SEGS: usize = 1024;

fn result(ret: isize) -> Result<usize, Errno> {
    usize::try_from(ret).map_err(|_| Errno::from_raw(nix::errno::Errno::last_raw()))
}

fn count(segs: &[HostSeg]) -> i32 {
    i32::try_from(segs.len().min(MAX_SEGS)).unwrap_or(0)
}

/// preadv(2). `HostSeg` has the layout of `struct iovec`.
pub fn preadv(fd: BorrowedFd<'_>, segs: &[HostSeg], offset: u64) -> Result<usize, Errno> {
    let offset = i64::try_from(offset).map_err(|_| sentry_uapi::errno::EINVAL)?;
    // SAFETY: the segments were vouched for when they were made.
    result(unsafe { libc::preadv(fd.as_raw_fd(), segs.as_ptr().cast(), count(segs), offset) })
}

/// pwritev(2).
pub fn pwritev(fd: BorrowedFd<'_>, segs: &[HostSeg], offset: u64) -> Result<usize, Errno> {
    let offset = i64::try_from(offset).map_err(|_| sentry_uapi::errno::EINVAL)?;
    // SAFETY: the segments were vouched for when they were made.
    result(unsafe { libc::pwritev(fd.as_raw_fd(), segs.as_ptr().cast(), count(segs), offset) })
}

/// readv(2).
pub fn readv(fd: BorrowedFd<'_>, segs: &[HostSeg]) -> Result<usize, Errno> {
    // SAFETY: the segments were vouched for when they were made.
    result(unsafe { libc::readv(fd.as_raw_fd(), segs.as_ptr().cast(), count(segs)) })
}

/// writev(2).
pub fn writev(fd: BorrowedFd<'_>, segs: &[HostSeg]) -> Result<usize, Errno> {
    // SAFETY: the segments were vouched for when they were made.
    result(unsafe { libc::writev(fd.as_raw_fd(), segs.as_ptr().cast(), count(segs)) })
}
