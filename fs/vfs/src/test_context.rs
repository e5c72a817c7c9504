//! A stand-in for a task: for tests of files without a kernel.

use crate::{Resource, Sleep, TaskContext, Vfs};
use sentry_auth::{Cred, UserNamespace};
use sentry_mm::MemoryManager;
use sentry_sync::{Parker, WaitQueue, Wake};
use sentry_time::Clocks;
use sentry_uapi::Errno;
use sentry_uapi::errno::ESRCH;
use sentry_uapi::signal::{SigInfo, SigSet};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

/// A task without a kernel: root, no limits, no address space, no signals but the ones it sends itself.
pub struct TestContext {
    /// Its credentials.
    pub cred: Arc<Cred>,
    /// Its kernel's files.
    pub vfs: Arc<Vfs>,
    /// Its thread group and thread id.
    pub ids: (u32, u32),
    /// Woken when it should be.
    pub parker: Arc<Parker>,
    /// The last signal sent to it; 0 for none.
    pub last_signal: AtomicI32,
    signals: WaitQueue,
}

impl TestContext {
    /// Root in a fresh kernel.
    pub fn new() -> TestContext {
        let user_ns = UserNamespace::new_initial();
        let vfs = Vfs::new(Arc::new(Clocks::host()), &user_ns);
        TestContext {
            cred: Arc::new(Cred::root(user_ns)),
            vfs,
            ids: (1, 1),
            parker: Arc::new(Parker::new()),
            last_signal: AtomicI32::new(0),
            signals: WaitQueue::new(),
        }
    }

    /// Another task of the same kernel.
    pub fn sibling(&self, tgid: u32, cred: Cred) -> TestContext {
        TestContext {
            cred: Arc::new(cred),
            vfs: self.vfs.clone(),
            ids: (tgid, tgid),
            parker: Arc::new(Parker::new()),
            last_signal: AtomicI32::new(0),
            signals: WaitQueue::new(),
        }
    }
}

impl Default for TestContext {
    fn default() -> Self {
        TestContext::new()
    }
}

impl TaskContext for TestContext {
    fn cred(&self) -> Arc<Cred> {
        self.cred.clone()
    }

    fn mm(&self) -> Result<Arc<MemoryManager>, Errno> {
        Err(ESRCH)
    }

    fn rlimit(&self, _resource: Resource) -> u64 {
        u64::MAX
    }

    fn ids(&self) -> (u32, u32) {
        self.ids
    }

    fn send_sig(&self, signo: i32) {
        self.last_signal.store(signo, Ordering::Relaxed);
    }

    fn vfs(&self) -> &Arc<Vfs> {
        &self.vfs
    }

    fn dequeue_signal(&self, _set: SigSet) -> Option<SigInfo> {
        None
    }

    fn pending_signals(&self) -> SigSet {
        SigSet::EMPTY
    }

    fn signal_queue(&self) -> WaitQueue {
        self.signals.clone()
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.parker.clone()
    }

    fn sleep(&self, deadline: Option<Instant>) -> Result<Sleep, Errno> {
        Ok(if self.parker.park(deadline) { Sleep::Woken } else { Sleep::TimedOut })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
