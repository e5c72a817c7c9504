//! What a file operation needs of the task that asks for it.

use crate::{FdTable, FsStruct, MountNamespace, Namespace, Vfs};
use sentry_auth::{Cred, UserNamespace};
use sentry_mm::MemoryManager;
use sentry_sync::{WaitQueue, Wake};
use sentry_uapi::Errno;
use sentry_uapi::signal::{SigInfo, SigSet};
use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

/// Resource limits a file operation looks at. Linux: include/uapi/asm-generic/resource.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Resource {
    Fsize = 1,
    Nofile = 7,
    Memlock = 8,
    Locks = 10,
    Msgqueue = 12,
}

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// The task's waker was called.
    Woken,
    /// The deadline passed.
    TimedOut,
}

/// The calling task, as far as files are concerned. The kernel's `CurrentTask` implements it.
pub trait TaskContext {
    /// The task's credentials (subjective ones).
    fn cred(&self) -> Arc<Cred>;

    /// The task's root, working directory and umask.
    fn fs(&self) -> Arc<FsStruct>;

    /// The task's mount namespace.
    fn mnt_ns(&self) -> Arc<MountNamespace>;

    /// The task's descriptors.
    fn files(&self) -> Arc<FdTable>;

    /// The task's address space.
    ///
    /// # Errors
    /// `ESRCH` for a task without one (it is exiting).
    fn mm(&self) -> Result<Arc<MemoryManager>, Errno>;

    /// A soft resource limit.
    fn rlimit(&self, resource: Resource) -> u64;

    /// Process id (thread group id) and thread id, in the first pid namespace. For owners of locks and the like.
    fn ids(&self) -> (u32, u32);

    /// The user namespace that owns the caller's pid namespace: the first, unless an implementation knows better.
    fn pid_user_ns(&self) -> Arc<UserNamespace> {
        self.vfs().user_ns().clone()
    }

    /// The caller's network namespace; none unless an implementation has one.
    fn net_ns(&self) -> Option<Arc<dyn Namespace>> {
        None
    }

    /// How far a clock of the caller's time namespace is ahead of the kernel's, in nanoseconds: CLOCK_BOOTTIME, or
    /// CLOCK_MONOTONIC.
    fn timens_offset(&self, boottime: bool) -> i64 {
        let _ = boottime;
        0
    }

    /// Sends a signal to the calling thread: SIGPIPE, SIGXFSZ. Linux: `send_sig(sig, current, 0)`.
    fn send_sig(&self, signo: i32);

    /// The files' part of the kernel.
    fn vfs(&self) -> &Arc<Vfs>;

    /// Takes the next pending signal out of `set`, the thread's own before the process's. Linux: `dequeue_signal`.
    fn dequeue_signal(&self, set: SigSet) -> Option<SigInfo>;

    /// Signals pending for the thread or its process, blocked ones included.
    fn pending_signals(&self) -> SigSet;

    /// Woken (POLLIN) when a signal becomes pending for the task or its process. Linux: `signalfd_wqh`.
    fn signal_queue(&self) -> WaitQueue;

    /// What wakes [`TaskContext::sleep`].
    fn waker(&self) -> Arc<dyn Wake>;

    /// Sleeps until the waker is called or the deadline passes. A waker called since the last sleep ends this one at
    /// once. No lock may be held.
    ///
    /// # Errors
    /// `ERESTARTSYS` when a signal is pending: unwind.
    fn sleep(&self, deadline: Option<Instant>) -> Result<Sleep, Errno>;

    /// For the crates above to get back at the task.
    fn as_any(&self) -> &dyn Any;
}
