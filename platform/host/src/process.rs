//! Linux: kernel/fork.c, kernel/signal.c. Host processes made without the C library, and signals to them.

use crate::call::{check, last_errno};
use sentry_uapi::Errno;

/// The calling thread's id.
pub fn gettid() -> i32 {
    // SAFETY: no arguments.
    unsafe { libc::gettid() }
}

/// Sends a signal to one thread.
///
/// # Errors
/// As for tgkill(2).
pub fn tgkill(pid: i32, tid: i32, signo: i32) -> Result<(), Errno> {
    // SAFETY: integer arguments only.
    check(unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signo) }).map(drop)
}

/// Kills a process that has not been reaped yet.
pub fn kill_process(pid: i32) {
    // The only failure is that it is dead already, which is what the caller wants.
    // SAFETY: integer arguments only.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Blocks every signal in the calling thread for as long as it lives.
pub struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    /// Blocks them, remembering what was blocked before.
    pub fn new() -> BlockedSignals {
        // SAFETY: both sets are valid for writing; zeroed memory is a value of sigset_t.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut old: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
            BlockedSignals(old)
        }
    }
}

impl Default for BlockedSignals {
    fn default() -> BlockedSignals {
        BlockedSignals::new()
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: the set was filled by pthread_sigmask.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// Forks a child that shares the caller's descriptor table and goes straight to `entry`, with all signals blocked. It
/// sends no signal when it ends, so that only a wait for "clone children" (`__WALL`) sees it.
///
/// # Errors
/// As for clone(2).
///
/// # Safety
/// `entry` must be code that never returns, needs no stack and makes no use of the C library.
pub unsafe fn fork_into(entry: unsafe extern "C" fn() -> !) -> Result<i32, Errno> {
    let _blocked = BlockedSignals::new();
    // SAFETY: without CLONE_VM and a stack this is fork(2). The child is a copy of one thread, so it makes only calls
    // that are safe after fork in a threaded program: prctl, then the caller's code.
    unsafe {
        match libc::syscall(libc::SYS_clone, libc::c_long::from(libc::CLONE_FILES), 0, 0, 0, 0) {
            0 => {
                // A sentry that gave up privileges is not dumpable, and its copy could not be traced.
                libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
                entry()
            }
            -1 => Err(last_errno()),
            pid => i32::try_from(pid).map_err(|_| Errno::from_raw(libc::EIO)),
        }
    }
}
