//! What the tests in `platform/suite` must know of this back-end.
#![allow(dead_code, clippy::unwrap_used)]

use platform_systrap::SystrapPlatform;
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub(crate) type Backend = SystrapPlatform;

/// Whether an address space that all contexts have left is gone for good.
pub(crate) const RETIRES: bool = true;
/// uprobe(2): the host kernel answers it itself, past all filters, and does nothing.
pub(crate) const UNSEEN_CALL: Option<u64> = Some(336);
/// Whether a fault in the vsyscall page is told as that of an instruction fetch.
pub(crate) const TELLS_VSYSCALL_FETCHES: bool = false;
/// Threads of a stub that run no guest code.
pub(crate) const HELPER_THREADS: usize = 1;

/// Whether so many threads are what stays of `count` contexts besides the first one: all, for the next contexts.
pub(crate) fn keeps(threads: usize, count: usize) -> bool {
    threads == 1 + HELPER_THREADS + count
}

/// Requests in a row that are looked at.
pub(crate) const REQUESTS: u32 = 2000;

/// Lets a moment pass.
pub(crate) fn pause() {
    std::hint::spin_loop();
}

/// The zygote and the ready stubs, at first and at most.
pub(crate) const FIRST_CHILDREN: usize = 3;
pub(crate) const IDLE_CHILDREN: usize = 7;

pub(crate) fn platform(memory: OwnedFd) -> Arc<Backend> {
    SystrapPlatform::new(memory).unwrap()
}
