//! Copies of namespaces and credentials for clone(2) and unshare(2). Linux: kernel/nsproxy.c, kernel/user_namespace.c.

use crate::{CgroupNamespace, CurrentTask, NsProxy, PidNamespace};
use fs_vfs::{FsStruct, current_chrooted};
use sentry_auth::{CapSet, Cred, Kuid, UserNamespace, ns_capable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EPERM};
use sentry_uapi::resource::RLIMIT_NPROC;
use sentry_uapi::sched::CloneFlags;
use std::sync::Arc;

/// Flags that ask for a namespace other than a user namespace.
const NEW_NAMESPACES: CloneFlags = CloneFlags::NEWNS
    .union(CloneFlags::NEWUTS)
    .union(CloneFlags::NEWIPC)
    .union(CloneFlags::NEWPID)
    .union(CloneFlags::NEWNET)
    .union(CloneFlags::NEWCGROUP)
    .union(CloneFlags::NEWTIME);

/// What unshare(2) may be asked for. Linux: kernel/fork.c, `check_unshare_flags`.
const UNSHARE: CloneFlags = NEW_NAMESPACES
    .union(CloneFlags::NEWUSER)
    .union(CloneFlags::THREAD)
    .union(CloneFlags::FS)
    .union(CloneFlags::SIGHAND)
    .union(CloneFlags::VM)
    .union(CloneFlags::FILES)
    .union(CloneFlags::SYSVSEM);

/// Making namespaces takes authority over the user namespace that is to own them.
fn may_create(cred: &Cred) -> Result<(), Errno> {
    if ns_capable(cred, &cred.user_ns, CapSet::SYS_ADMIN) { Ok(()) } else { Err(EPERM) }
}

impl CurrentTask {
    /// The credentials of a child; in a new user namespace if asked for. Linux: kernel/cred.c, `copy_creds`.
    pub(crate) fn copy_creds(&self, flags: CloneFlags) -> Result<Cred, Errno> {
        let mut cred = (*self.task().cred()).clone();
        let is_thread = flags.contains(CloneFlags::THREAD);
        let has_own = cred.keyrings.thread.is_some();
        cred.keyrings = cred.keyrings.for_child(is_thread);
        if is_thread && has_own {
            cred.keyrings.thread = Some(self.kernel().keys.task_keyring(&cred, "_tid")?);
        }
        if flags.contains(CloneFlags::NEWUSER) { self.create_user_ns(&cred) } else { Ok(cred) }
    }

    /// Credentials moved into a user namespace of their own. Linux: `create_user_ns`.
    fn create_user_ns(&self, cred: &Cred) -> Result<Cred, Errno> {
        let user_ns = UserNamespace::create_user_ns(cred, current_chrooted(self))?;
        if cred.uid != Kuid::GLOBAL_ROOT || cred.user_ns.parent().is_some() {
            user_ns.set_nproc_max(self.group.rlimit(RLIMIT_NPROC).cur);
        }
        Ok(cred.in_user_ns(user_ns))
    }

    /// The namespaces of a child with these credentials; `fs` is what it will have of its own as root and working
    /// directory. Linux: `copy_namespaces`.
    ///
    /// # Errors
    /// `EPERM` without CAP_SYS_ADMIN; `EINVAL`; `ENOSPC`.
    pub(crate) fn copy_namespaces(
        &self,
        flags: CloneFlags,
        cred: &Cred,
        fs: &FsStruct,
    ) -> Result<Arc<NsProxy>, Errno> {
        let old = self.task().ns();
        let mut new = if flags.intersects(NEW_NAMESPACES) {
            may_create(cred)?;
            // The undo list is about semaphores of the old one.
            if flags.contains(CloneFlags::NEWIPC | CloneFlags::SYSVSEM) {
                return Err(EINVAL);
            }
            self.create_new_namespaces(flags, cred, fs)?
        } else if Arc::ptr_eq(&old.time, &old.time_for_children) {
            return Ok(old);
        } else {
            (*old).clone()
        };
        // In one address space the clocks stay those of the parent until exec.
        if !flags.contains(CloneFlags::VM) {
            new.timens_on_fork();
        }
        Ok(Arc::new(new))
    }

    /// A program begins in the time namespace that was meant for children. Linux: `exec_task_namespaces`, of 6.3: in 6.1 a
    /// task could not make a child by vfork(2) once it had unshared, as programs do.
    pub(crate) fn exec_task_namespaces(&self) {
        let old = self.task().ns();
        if !Arc::ptr_eq(&old.time, &old.time_for_children) {
            let mut new = (*old).clone();
            new.timens_on_fork();
            self.set_ns(Arc::new(new));
        }
    }

    /// Linux: `create_new_namespaces`.
    fn create_new_namespaces(&self, flags: CloneFlags, cred: &Cred, fs: &FsStruct) -> Result<NsProxy, Errno> {
        let user_ns = &cred.user_ns;
        let mut ns = (*self.task().ns()).clone();
        let creator = cred.euid;
        if flags.contains(CloneFlags::NEWNS) {
            ns.mnt = ns.mnt.copy_mnt_ns(&self.kernel().vfs, user_ns, creator, Some(fs))?;
        }
        if flags.contains(CloneFlags::NEWUTS) {
            ns.uts = ns.uts.clone_uts_ns(user_ns, creator)?;
        }
        if flags.contains(CloneFlags::NEWIPC) {
            ns.ipc = ns.ipc.create_ipc_ns(user_ns, creator)?;
        }
        if flags.contains(CloneFlags::NEWPID) {
            // One level at a time: the first process of the last one asked for comes first.
            if !Arc::ptr_eq(&self.pid_ns(), &ns.pid_for_children) {
                return Err(EINVAL);
            }
            ns.pid_for_children = PidNamespace::create(&ns.pid_for_children, user_ns, creator)?;
        }
        if flags.contains(CloneFlags::NEWCGROUP) {
            ns.cgroup = CgroupNamespace::create(user_ns, creator)?;
        }
        if flags.contains(CloneFlags::NEWNET) {
            ns.net = ns.net.copy_net_ns(user_ns, creator)?;
        }
        if flags.contains(CloneFlags::NEWTIME) {
            ns.time_for_children = ns.time_for_children.clone_time_ns(user_ns, creator)?;
        }
        Ok(ns)
    }

    /// unshare(2). Linux: kernel/fork.c, `ksys_unshare`.
    ///
    /// # Errors
    /// `EINVAL` for flags, and for a process of several threads where threads would have to part; those of making
    /// namespaces. Nothing has changed then.
    pub fn unshare(&mut self, mut flags: CloneFlags) -> Result<(), Errno> {
        if flags.contains(CloneFlags::NEWUSER) {
            flags |= CloneFlags::THREAD | CloneFlags::FS;
        }
        if flags.contains(CloneFlags::VM) {
            flags |= CloneFlags::SIGHAND;
        }
        if flags.contains(CloneFlags::SIGHAND) {
            flags |= CloneFlags::THREAD;
        }
        if flags.contains(CloneFlags::NEWNS) {
            flags |= CloneFlags::FS;
        }
        if !UNSHARE.contains(flags)
            || (flags.contains(CloneFlags::THREAD) && !self.thread_group_empty())
            || (flags.contains(CloneFlags::VM) && !self.is_single_threaded())
        {
            return Err(EINVAL);
        }
        let fs = flags.contains(CloneFlags::FS).then(|| self.task().fs().copy());
        let cred = self.task().cred();
        let new_cred =
            if flags.contains(CloneFlags::NEWUSER) { Some(self.create_user_ns(&cred)?) } else { None };
        let new_ns = if flags.intersects(NEW_NAMESPACES) {
            let own = self.task().fs();
            may_create(new_cred.as_ref().unwrap_or(&cred))?;
            Some(self.create_new_namespaces(
                flags,
                new_cred.as_ref().unwrap_or(&cred),
                fs.as_ref().unwrap_or(&own),
            )?)
        } else {
            None
        };
        if flags.intersects(CloneFlags::NEWIPC | CloneFlags::SYSVSEM) {
            self.exit_sem();
        }
        if flags.contains(CloneFlags::NEWIPC) {
            self.exit_shm();
        }
        if let Some(ns) = new_ns {
            self.set_ns(Arc::new(ns));
        }
        if let Some(fs) = fs {
            self.set_fs(fs);
        }
        if flags.contains(CloneFlags::FILES) {
            self.unshare_files();
        }
        if let Some(cred) = new_cred {
            self.commit_creds(cred);
        }
        Ok(())
    }

    /// Whether it is the only thread of its process. Linux: `thread_group_empty`.
    pub(crate) fn thread_group_empty(&self) -> bool {
        self.group.threads().len() <= 1
    }

    /// Whether nobody else runs in its address space. Linux: lib/is_single_threaded.c, `current_is_single_threaded`.
    pub(crate) fn is_single_threaded(&self) -> bool {
        let Ok(own) = self.user() else { return true };
        let tasks: Vec<_> = self.kernel().tree.lock().tasks.values().cloned().collect();
        let shares = |t: &Arc<crate::Task>| t.mm().is_ok_and(|mm| Arc::ptr_eq(&mm, own));
        tasks.iter().filter(|t| shares(t)).count() <= 1
    }
}
