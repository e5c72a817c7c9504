//! Linux: kernel/futex/. Words that are shared between processes.

use crate::call::{check, last_errno};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EINTR, ETIMEDOUT};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Why a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// By a wake-up, a signal, or because the word had another value: it is to be looked at again.
    Maybe,
    /// The time is over.
    TimedOut,
}

/// Waits on a word in shared memory as long as it has the value `expected`, for `timeout` at most.
///
/// # Errors
/// Those of futex(2) that say that the word cannot be waited on.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Duration) -> Result<Woken, Errno> {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos().cast_signed()),
    };
    // SAFETY: the word and the timeout outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, &raw const timeout, 0, 0)
    };
    match check(result) {
        Ok(_) | Err(EAGAIN | EINTR) => Ok(Woken::Maybe),
        Err(ETIMEDOUT) => Ok(Woken::TimedOut),
        Err(errno) => Err(errno),
    }
}

/// Wakes one of those who wait on a word in shared memory.
pub fn wake(word: &AtomicU32) {
    // SAFETY: the word outlives the call. It cannot fail for a word that is mapped.
    let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1, 0, 0, 0) };
    debug_assert!(result >= 0, "futex: {}", last_errno());
}
