//! What the tests in `platform/suite` must know of this back-end.
#![allow(dead_code, clippy::unwrap_used)]

use platform_ptrace::PtracePlatform;
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub(crate) type Backend = PtracePlatform;

/// Whether an address space that all contexts have left is gone for good.
pub(crate) const RETIRES: bool = false;
/// A system call that the host kernel answers itself.
pub(crate) const UNSEEN_CALL: Option<u64> = None;
/// Whether a fault in the vsyscall page is told as that of an instruction fetch.
pub(crate) const TELLS_VSYSCALL_FETCHES: bool = true;
/// Threads of a stub that run no guest code.
pub(crate) const HELPER_THREADS: usize = 0;

/// Whether so many threads are what may stay of many contexts besides the first one.
pub(crate) fn keeps(threads: usize, _count: usize) -> bool {
    threads <= 6
}

/// Requests in a row that are looked at.
pub(crate) const REQUESTS: u32 = 2000;

/// Lets a moment pass.
pub(crate) fn pause() {
    std::hint::spin_loop();
}

/// The zygote and the ready stubs, at first and at most.
pub(crate) const FIRST_CHILDREN: usize = 5;
pub(crate) const IDLE_CHILDREN: usize = 5;

pub(crate) fn platform(memory: OwnedFd) -> Arc<Backend> {
    PtracePlatform::new(memory).unwrap()
}
