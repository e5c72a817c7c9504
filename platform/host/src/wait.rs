//! Linux: kernel/exit.c, `kernel_wait4`. Waiting for traced threads and for children.

use crate::call::{check_int, last_errno};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINTR;

/// What wait4(2) reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitStatus {
    /// Stopped at a system call of a traced thread (with `PTRACE_O_TRACESYSGOOD`).
    SyscallStop,
    /// Stopped before the delivery of this signal.
    SignalStop(i32),
    /// A ptrace event other than a signal; the number is that of `PTRACE_EVENT_*`.
    EventStop(i32),
    /// Ended with this exit status.
    Exited(i32),
    /// Killed by this signal.
    Signaled(i32),
}

impl WaitStatus {
    fn from_raw(status: i32) -> WaitStatus {
        if libc::WIFEXITED(status) {
            return WaitStatus::Exited(libc::WEXITSTATUS(status));
        }
        if libc::WIFSIGNALED(status) {
            return WaitStatus::Signaled(libc::WTERMSIG(status));
        }
        let event = status >> 16;
        let signo = libc::WSTOPSIG(status);
        if event != 0 {
            WaitStatus::EventStop(event)
        } else if signo == libc::SIGTRAP | 0x80 {
            WaitStatus::SyscallStop
        } else {
            WaitStatus::SignalStop(signo)
        }
    }

    /// Whether the thread or process no longer exists.
    pub fn is_end(self) -> bool {
        matches!(self, WaitStatus::Exited(_) | WaitStatus::Signaled(_))
    }
}

/// Waits for the next stop, or the end, of a thread that the calling thread traces.
///
/// # Errors
/// `ECHILD` when the calling thread does not trace it.
pub fn wait_tracee(tid: i32) -> Result<WaitStatus, Errno> {
    wait(tid, libc::__WALL | libc::__WNOTHREAD)
}

/// Waits for the end of a child, or of a thread traced by any thread of this process, and so reaps it.
///
/// # Errors
/// `ECHILD` when there is no such child any more.
pub fn reap(pid: i32) -> Result<WaitStatus, Errno> {
    loop {
        let status = wait(pid, libc::__WALL)?;
        if status.is_end() {
            return Ok(status);
        }
    }
}

/// Whether a thread traced by any thread of this process has ended and not been reaped.
pub fn has_ended(tid: i32) -> bool {
    // SAFETY: zeroed memory is a value of siginfo_t, and is written within its size.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
        let id = libc::id_t::try_from(tid).unwrap_or(0);
        libc::waitid(libc::P_PID, id, &mut info, options) == 0 && info.si_pid() == tid
    }
}

/// Waits for the end of a child without reaping it.
pub fn await_end(pid: i32) {
    let id = libc::id_t::try_from(pid).unwrap_or(0);
    loop {
        // SAFETY: zeroed memory is a value of siginfo_t, and is written within its size.
        let result = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, id, &mut info, libc::WEXITED | libc::WNOWAIT | libc::__WALL)
        };
        // Whoever has reaped it has seen its end.
        if check_int(result) != Err(EINTR) {
            return;
        }
    }
}

fn wait(pid: i32, options: i32) -> Result<WaitStatus, Errno> {
    let mut status = 0;
    loop {
        // SAFETY: the status is written within its size; no rusage is asked for.
        let result = unsafe { libc::waitpid(pid, &mut status, options) };
        match check_int(result) {
            Ok(_) => return Ok(WaitStatus::from_raw(status)),
            Err(EINTR) => {}
            Err(_) => return Err(last_errno()),
        }
    }
}
