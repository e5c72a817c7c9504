//! setns(2): what is to change is prepared and checked first, then all of it changes. Linux: kernel/nsproxy.c, and the
//! `install` operations of the kinds of namespaces.

use crate::pidfd::pidfd_group;
use crate::vvar::vdso_join_timens;
use crate::{
    CgroupNamespace, CurrentTask, IpcNamespace, NsProxy, PidNamespace, Task, ThreadGroup, TimeNamespace,
    UtsNamespace, ptrace_may_access,
};
use fs_vfs::{File, MountNamespace, Namespace, NsFile, NsKind, Path};
use sentry_auth::{CapSet, Cred, UserNamespace, ns_capable};
use sentry_net::NetNamespace;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EPERM, ESRCH, EUSERS};
use sentry_uapi::sched::CloneFlags;
use std::any::Any;
use std::sync::Arc;

/// Flags for setns(2) with a pidfd. Linux: `check_setns_flags`.
const ANY_NAMESPACE: CloneFlags = CloneFlags::NEWNS
    .union(CloneFlags::NEWUTS)
    .union(CloneFlags::NEWIPC)
    .union(CloneFlags::NEWNET)
    .union(CloneFlags::NEWTIME)
    .union(CloneFlags::NEWUSER)
    .union(CloneFlags::NEWPID)
    .union(CloneFlags::NEWCGROUP);

/// The state to change to. Linux: `struct nsset`.
struct NsSet {
    flags: CloneFlags,
    ns: NsProxy,
    /// What the caller has in the end, if that changes.
    cred: Option<Cred>,
    /// Root and working directory in the end, if they change.
    root: Option<Path>,
}

/// The namespace as what it is.
fn concrete<T: Any + Send + Sync>(ns: &Arc<dyn Namespace>) -> Result<Arc<T>, Errno> {
    let any: Arc<dyn Any + Send + Sync> = ns.clone();
    any.downcast().map_err(|_| EINVAL)
}

impl CurrentTask {
    /// setns(2) with the file behind its descriptor.
    ///
    /// # Errors
    /// `EINVAL` for a file that is neither namespace nor pidfd, and for flags; `ESRCH` and `EPERM` for a process that is
    /// gone or may not be looked into; those of entering the namespaces. Nothing has changed then.
    pub fn setns(&mut self, file: &File, flags: CloneFlags) -> Result<(), Errno> {
        let set = if let Some(file) = file.downcast::<NsFile>() {
            let ns = file.namespace();
            let kind = ns.kind().clone_flag();
            if !flags.is_empty() && flags != kind {
                return Err(EINVAL);
            }
            let mut set = self.prepare_nsset(kind);
            self.install(&mut set, ns)?;
            set
        } else {
            let (_, group) = pidfd_group(file).map_err(|_| EINVAL)?;
            if flags.is_empty() || !ANY_NAMESPACE.contains(flags) {
                return Err(EINVAL);
            }
            let mut set = self.prepare_nsset(flags);
            self.validate_nsset(&mut set, &group)?;
            set
        };
        self.commit_nsset(set);
        Ok(())
    }

    fn prepare_nsset(&self, flags: CloneFlags) -> NsSet {
        NsSet { flags, ns: (*self.task().ns()).clone(), cred: None, root: None }
    }

    /// The namespaces that a process is in at this moment. Linux: `validate_nsset`.
    fn validate_nsset(&self, set: &mut NsSet, group: &Arc<ThreadGroup>) -> Result<(), Errno> {
        let task: Arc<Task> = {
            let tree = self.kernel().tree.lock();
            let leader = tree.tasks.get(&group.id()).filter(|t| Arc::ptr_eq(&t.group, group));
            leader.cloned().ok_or(ESRCH)?
        };
        if !ptrace_may_access(self, &task, true) {
            return Err(EPERM);
        }
        if task.is_exiting() {
            return Err(ESRCH);
        }
        let ns = task.ns();
        let all: [Arc<dyn Namespace>; 8] = [
            task.cred().user_ns.clone(),
            ns.mnt.clone(),
            ns.uts.clone(),
            ns.ipc.clone(),
            task.pid_ns(),
            ns.cgroup.clone(),
            ns.net.clone(),
            ns.time.clone(),
        ];
        let wanted = set.flags;
        for ns in all.iter().filter(|ns| wanted.contains(ns.kind().clone_flag())) {
            self.install(set, ns)?;
        }
        Ok(())
    }

    /// Enters a namespace in the state to come.
    fn install(&self, set: &mut NsSet, ns: &Arc<dyn Namespace>) -> Result<(), Errno> {
        if ns.kind() == NsKind::User {
            return self.userns_install(set, concrete(ns)?);
        }
        if ns.kind() == NsKind::Time && !self.is_single_threaded() {
            return Err(EUSERS);
        }
        // Authority over the namespace, and over that in which the caller will be.
        let cred = self.task().cred();
        let own = set.cred.as_ref().unwrap_or(&cred).user_ns.clone();
        let owner = ns.owner().ok_or(EPERM)?;
        if !ns_capable(&cred, &owner, CapSet::SYS_ADMIN) || !ns_capable(&cred, &own, CapSet::SYS_ADMIN) {
            return Err(EPERM);
        }
        match ns.kind() {
            NsKind::User => return Err(EINVAL),
            NsKind::Mnt => {
                if !ns_capable(&cred, &own, CapSet::SYS_CHROOT) {
                    return Err(EPERM);
                }
                self.mntns_install(set, concrete(ns)?)?;
            }
            NsKind::Pid => self.pidns_install(set, concrete(ns)?)?,
            NsKind::Uts => set.ns.uts = concrete::<UtsNamespace>(ns)?,
            NsKind::Ipc => set.ns.ipc = concrete::<IpcNamespace>(ns)?,
            NsKind::Cgroup => set.ns.cgroup = concrete::<CgroupNamespace>(ns)?,
            NsKind::Net => set.ns.net = concrete::<NetNamespace>(ns)?,
            NsKind::Time => {
                set.ns.time = concrete::<TimeNamespace>(ns)?;
                set.ns.time_for_children = set.ns.time.clone();
            }
        }
        Ok(())
    }

    /// Linux: kernel/user_namespace.c, `userns_install`.
    fn userns_install(&self, set: &mut NsSet, user_ns: Arc<UserNamespace>) -> Result<(), Errno> {
        let cred = self.task().cred();
        // Entering one's own again would give back capabilities that were given up.
        if Arc::ptr_eq(&user_ns, &cred.user_ns) || !self.thread_group_empty() || self.shares_fs() {
            return Err(EINVAL);
        }
        if !ns_capable(&cred, &user_ns, CapSet::SYS_ADMIN) {
            return Err(EPERM);
        }
        set.cred = Some(cred.in_user_ns(user_ns));
        Ok(())
    }

    /// Linux: fs/namespace.c, `mntns_install`.
    fn mntns_install(&self, set: &mut NsSet, mnt: Arc<MountNamespace>) -> Result<(), Errno> {
        // With others, a copy of root and working directory is prepared, which nobody shares.
        if set.flags == CloneFlags::NEWNS && self.shares_fs() {
            return Err(EINVAL);
        }
        set.root = Some(mnt.root().ok_or(EINVAL)?);
        set.ns.mnt = mnt;
        Ok(())
    }

    /// Only down the tree: whoever makes a child must be able to name it. Linux: kernel/pid_namespace.c, `pidns_install`.
    fn pidns_install(&self, set: &mut NsSet, pid_ns: Arc<PidNamespace>) -> Result<(), Errno> {
        if !self.pid_ns().is_ancestor_or_self(&pid_ns) {
            return Err(EINVAL);
        }
        set.ns.pid_for_children = pid_ns;
        Ok(())
    }

    /// Linux: `commit_nsset`.
    fn commit_nsset(&mut self, set: NsSet) {
        if let Some(cred) = set.cred {
            self.commit_creds(cred);
        }
        if let Some(root) = set.root {
            let fs = self.task().fs();
            fs.set_pwd(root.clone());
            fs.set_root(root);
        }
        if set.flags.contains(CloneFlags::NEWIPC) {
            self.exit_sem();
            self.exit_shm();
        }
        if set.flags.contains(CloneFlags::NEWTIME) {
            set.ns.time.freeze();
            if let Ok(mm) = self.user() {
                // What fails leaves the vDSO with the clocks of before, as it does for whoever has mapped it elsewhere.
                let _ = vdso_join_timens(mm, &set.ns.time, &self.mm_limits());
            }
        }
        self.set_ns(Arc::new(set.ns));
    }

    /// Whether another task has the same root and working directory. Linux: `fs->users != 1`.
    fn shares_fs(&self) -> bool {
        let own = self.task().fs();
        let tasks: Vec<_> = self.kernel().tree.lock().tasks.values().cloned().collect();
        tasks.iter().filter(|t| !t.is_exiting() && Arc::ptr_eq(&t.fs(), &own)).count() > 1
    }
}
