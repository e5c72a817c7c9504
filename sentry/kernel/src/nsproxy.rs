//! Linux: kernel/nsproxy.c, kernel/utsname.c, ipc/namespace.c.

use crate::PidNamespace;
use fs_vfs::MountNamespace;
use sentry_auth::UserNamespace;
use sentry_net::NetNamespace;
use sentry_sync::{Mutex, level};
use std::sync::Arc;

/// The namespaces of a task, the user namespace aside (that is in its credentials). Immutable and swapped whole.
#[derive(Clone)]
pub struct NsProxy {
    /// Mounts.
    pub mnt: Arc<MountNamespace>,
    /// Host and domain name.
    pub uts: Arc<UtsNamespace>,
    /// System V IPC and message queues.
    pub ipc: Arc<IpcNamespace>,
    /// Network.
    pub net: Arc<NetNamespace>,
    /// The pid namespace of children made from now on. The task's own is that of its pid.
    pub pid_for_children: Arc<PidNamespace>,
    /// The view of the cgroup tree.
    pub cgroup: Arc<CgroupNamespace>,
    /// Clock offsets.
    pub time: Arc<TimeNamespace>,
    /// Clock offsets of children made from now on.
    pub time_for_children: Arc<TimeNamespace>,
}

/// Host and domain name.
pub struct UtsNamespace {
    /// Number shown by `/proc/[pid]/ns/uts`.
    pub inum: u64,
    /// Owner.
    pub user_ns: Arc<UserNamespace>,
    names: Mutex<UtsNames, { level::LEAF }>,
}

/// The names of a [`UtsNamespace`], at most 64 bytes each.
#[derive(Clone, Debug, Default)]
pub struct UtsNames {
    /// sethostname(2).
    pub nodename: Vec<u8>,
    /// setdomainname(2).
    pub domainname: Vec<u8>,
}

impl UtsNamespace {
    /// A namespace with these names.
    pub fn new(inum: u64, user_ns: Arc<UserNamespace>, names: UtsNames) -> Arc<UtsNamespace> {
        Arc::new(UtsNamespace { inum, user_ns, names: Mutex::new(names) })
    }

    /// The names.
    pub fn names(&self) -> UtsNames {
        self.names.lock().clone()
    }

    /// Changes the names.
    pub fn update(&self, change: impl FnOnce(&mut UtsNames)) {
        change(&mut self.names.lock());
    }
}

/// System V IPC objects and message queues.
pub struct IpcNamespace {
    /// Number shown by `/proc/[pid]/ns/ipc`.
    pub inum: u64,
    /// Owner.
    pub user_ns: Arc<UserNamespace>,
}

/// A view of the cgroup tree.
pub struct CgroupNamespace {
    /// Number shown by `/proc/[pid]/ns/cgroup`.
    pub inum: u64,
    /// Owner.
    pub user_ns: Arc<UserNamespace>,
}

/// Offsets of the monotonic and boot-time clocks.
pub struct TimeNamespace {
    /// Number shown by `/proc/[pid]/ns/time`.
    pub inum: u64,
    /// Owner.
    pub user_ns: Arc<UserNamespace>,
}
