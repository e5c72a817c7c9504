//! close_range(2).

use nix::errno::Errno;
use std::ffi::c_uint;
use std::os::fd::RawFd;

/// Closes every descriptor that is not in `keep`, which is sorted.
///
/// # Errors
/// As close_range(2).
///
/// # Safety
/// No value that will still be used or dropped owns a descriptor outside `keep`.
pub unsafe fn close_all_except(keep: &[RawFd]) -> Result<(), Errno> {
    let mut first: c_uint = 0;
    for fd in keep.iter().filter_map(|fd| c_uint::try_from(*fd).ok()) {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = fd.saturating_add(1);
    }
    close_range(first, c_uint::MAX)
}

fn close_range(first: c_uint, last: c_uint) -> Result<(), Errno> {
    // SAFETY: passes numbers only; that the descriptors are nobody's is what the caller vouches for.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}
