//! A stand-in for a task: for tests of files without a kernel.

use crate::testfs::TestFs;
use crate::{FdTable, FsStruct, Mount, MountNamespace, Path, Resource, Sleep, TaskContext, Vfs};
use sentry_auth::{Cred, UserNamespace};
use sentry_mm::MemoryManager;
use sentry_sync::{Parker, WaitQueue, Wake};
use sentry_time::Clocks;
use sentry_uapi::Errno;
use sentry_uapi::errno::ESRCH;
use sentry_uapi::signal::{SigInfo, SigSet};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Instant;

/// A task without a kernel: root, no limits, no address space, no signals but the ones it sends itself.
pub struct TestContext {
    /// Its credentials.
    pub cred: Arc<Cred>,
    /// Its kernel's files.
    pub vfs: Arc<Vfs>,
    /// Its root, working directory and umask.
    pub fs: Arc<FsStruct>,
    /// Its mount namespace.
    pub mnt_ns: Arc<MountNamespace>,
    /// Its descriptors.
    pub files: Arc<FdTable>,
    /// What its limit on descriptors is.
    pub nofile: AtomicU64,
    /// What its limit on the size of files is.
    pub fsize: AtomicU64,
    /// Its thread group and thread id.
    pub ids: (u32, u32),
    /// Woken when it should be.
    pub parker: Arc<Parker>,
    /// The last signal sent to it; 0 for none.
    pub last_signal: AtomicI32,
    signals: WaitQueue,
}

impl TestContext {
    /// Root in a fresh kernel, whose root directory is an empty filesystem in memory.
    pub fn new() -> TestContext {
        let user_ns = UserNamespace::new_initial();
        let vfs = Vfs::new(Arc::new(Clocks::host()), &user_ns);
        let root = Mount::new_internal(vfs.alloc_mount_id(), TestFs::new_root(&vfs, &user_ns));
        TestContext::with_root(vfs, user_ns, &root)
    }

    /// Root in a kernel, with `root` at the top of its mount namespace.
    pub fn with_root(vfs: Arc<Vfs>, user_ns: Arc<UserNamespace>, root: &Arc<Mount>) -> TestContext {
        let top = Path { mnt: root.clone(), dentry: root.root.clone() };
        let mnt_ns = MountNamespace::new(&vfs, user_ns.clone(), root);
        TestContext {
            cred: Arc::new(Cred::root(user_ns)),
            vfs,
            fs: FsStruct::new(&top),
            mnt_ns,
            files: FdTable::new(),
            nofile: AtomicU64::new(1024),
            fsize: AtomicU64::new(u64::MAX),
            ids: (1, 1),
            parker: Arc::new(Parker::new()),
            last_signal: AtomicI32::new(0),
            signals: WaitQueue::new(),
        }
    }

    /// Another task of the same kernel, in the same mount namespace, with descriptors of its own.
    pub fn sibling(&self, tgid: u32, cred: Cred) -> TestContext {
        TestContext {
            cred: Arc::new(cred),
            vfs: self.vfs.clone(),
            fs: self.fs.copy(),
            mnt_ns: self.mnt_ns.clone(),
            files: FdTable::new(),
            nofile: AtomicU64::new(1024),
            fsize: AtomicU64::new(u64::MAX),
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

    fn fs(&self) -> Arc<FsStruct> {
        self.fs.clone()
    }

    fn mnt_ns(&self) -> Arc<MountNamespace> {
        self.mnt_ns.clone()
    }

    fn files(&self) -> Arc<FdTable> {
        self.files.clone()
    }

    fn mm(&self) -> Result<Arc<MemoryManager>, Errno> {
        Err(ESRCH)
    }

    fn rlimit(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Nofile => self.nofile.load(Ordering::Relaxed),
            Resource::Fsize => self.fsize.load(Ordering::Relaxed),
            _ => u64::MAX,
        }
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
