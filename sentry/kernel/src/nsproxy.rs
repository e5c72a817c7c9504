//! Linux: include/linux/nsproxy.h.

use crate::{CgroupNamespace, IpcNamespace, Kernel, PidNamespace, TimeNamespace, UtsNames, UtsNamespace};
use fs_vfs::MountNamespace;
use sentry_auth::{Kuid, Ucount, UcountType, UserNamespace, inc_ucount};
use sentry_net::NetNamespace;
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOSPC;
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

impl NsProxy {
    /// The first namespaces of a kernel, with these mounts and names; all but those of mounts and pids belong to `user_ns`. With a
    /// hardware address there is an Ethernet interface.
    pub fn new_initial(
        kernel: &Kernel,
        user_ns: &Arc<UserNamespace>,
        mnt: Arc<MountNamespace>,
        names: UtsNames,
        ethernet: Option<[u8; 6]>,
    ) -> NsProxy {
        let time = TimeNamespace::new_initial(user_ns.clone());
        NsProxy {
            mnt,
            uts: UtsNamespace::new_initial(user_ns.clone(), names),
            ipc: IpcNamespace::new_initial(user_ns.clone()),
            net: NetNamespace::new_initial(user_ns.clone(), kernel.clocks.clone(), ethernet),
            pid_for_children: kernel.root_pid_ns.clone(),
            cgroup: CgroupNamespace::new_initial(user_ns.clone()),
            time: time.clone(),
            time_for_children: time,
        }
    }

    /// Enters the time namespace for children. Linux: `timens_on_fork`.
    pub(crate) fn timens_on_fork(&mut self) {
        if !Arc::ptr_eq(&self.time, &self.time_for_children) {
            self.time = self.time_for_children.clone();
            self.time.freeze();
        }
    }
}

/// Counts a new namespace. Linux: `inc_uts_namespaces` and its like.
pub(crate) fn count(
    user_ns: &Arc<UserNamespace>,
    creator: Kuid,
    kind: UcountType,
) -> Result<Option<Ucount>, Errno> {
    inc_ucount(user_ns, creator, kind).map(Some).ok_or(ENOSPC)
}
