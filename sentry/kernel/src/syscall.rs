//! The system call table as the kernel sees it: numbers to functions, given to it as data.

use crate::CurrentTask;
use sentry_uapi::Errno;
use sentry_uapi::signal::SigInfo;
use std::sync::Arc;

/// What a system call ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyscallExit {
    /// An error, or one of Linux's internal restart codes.
    Errno(Errno),
    /// The registers are as they should be: execve(2), rt_sigreturn(2), exit(2).
    NoReturn,
}

impl From<Errno> for SyscallExit {
    fn from(e: Errno) -> SyscallExit {
        SyscallExit::Errno(e)
    }
}

/// Result of a handler.
pub type SyscallResult = Result<u64, SyscallExit>;

/// A handler, with the six argument registers.
pub type SyscallFn = fn(&mut CurrentTask, [u64; 6]) -> SyscallResult;

/// Hears of every system call, for `--strace`.
pub trait SyscallTracer: Send + Sync {
    /// A call begins.
    fn enter(&self, task: &CurrentTask, nr: u64, args: [u64; 6]);
    /// A call has ended; `None` for one that does not return.
    fn exit(&self, task: &CurrentTask, nr: u64, args: [u64; 6], result: Option<Result<u64, Errno>>);
    /// A signal is being delivered.
    fn signal(&self, task: &CurrentTask, info: &SigInfo);
    /// The thread ends: with its own exit status, or killed.
    fn task_exit(&self, task: &CurrentTask, status: i32);
}

/// The table.
pub struct SyscallTable {
    /// By number; a missing one fails with `ENOSYS`.
    pub entries: Vec<Option<SyscallFn>>,
    /// Hears of every call.
    pub tracer: Option<Arc<dyn SyscallTracer>>,
}

impl SyscallTable {
    /// The handler of number `nr`.
    pub(crate) fn entry(&self, nr: u64) -> Option<SyscallFn> {
        usize::try_from(nr).ok().and_then(|nr| self.entries.get(nr).copied().flatten())
    }
}
