//! What the tests in `platform/suite` must know of this back-end.
#![allow(dead_code, clippy::unwrap_used)]

use platform_kvm::{KvmDevice, KvmPlatform};
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub(crate) type Backend = KvmPlatform;

/// Whether an address space that all contexts have left is gone for good.
pub(crate) const RETIRES: bool = true;
/// A system call that the host kernel answers itself.
pub(crate) const UNSEEN_CALL: Option<u64> = None;
/// Whether a fault in the vsyscall page is told as that of an instruction fetch.
pub(crate) const TELLS_VSYSCALL_FETCHES: bool = false;
/// Requests in a row that are looked at; few, since the processor is an emulated one as a rule.
pub(crate) const REQUESTS: u32 = 500;

/// Lets a moment pass. An emulated processor gives its turn away on a real pause.
pub(crate) fn pause() {
    std::hint::black_box(());
}

pub(crate) fn platform(memory: OwnedFd) -> Arc<Backend> {
    with_vcpus(memory, 256)
}

/// With at most so many virtual processors.
pub(crate) fn with_vcpus(memory: OwnedFd, max: usize) -> Arc<Backend> {
    KvmPlatform::with_vcpus(KvmDevice::open().unwrap(), memory, max).unwrap()
}
