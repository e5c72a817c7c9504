//! Copies of namespaces and credentials for clone(2) and unshare(2). Linux: kernel/nsproxy.c, `create_new_namespaces`.

use crate::{CgroupNamespace, CurrentTask, IpcNamespace, NsProxy, PidNamespace, TimeNamespace, UtsNamespace};
use fs_vfs::FsStruct;
use sentry_auth::{CapSet, Cred, SecureBits, UserNamespace, ns_capable};
use sentry_uapi::Errno;
use sentry_uapi::errno::EPERM;
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

impl CurrentTask {
    /// The credentials of a child; in a new user namespace if asked for. Linux: kernel/cred.c, `copy_creds`.
    pub(crate) fn copy_creds(&self, flags: CloneFlags) -> Result<Cred, Errno> {
        let cred = (*self.task().cred()).clone();
        if flags.contains(CloneFlags::NEWUSER) { self.creds_in_new_user_ns(cred) } else { Ok(cred) }
    }

    /// Moves credentials into a user namespace of their own. Linux: `create_user_ns`, `set_cred_user_ns`.
    ///
    /// # Errors
    /// `EPERM` for a chrooted caller, and those of [`UserNamespace::create_user_ns`].
    pub fn creds_in_new_user_ns(&self, cred: Cred) -> Result<Cred, Errno> {
        if self.current_chrooted() {
            return Err(EPERM);
        }
        let user_ns = UserNamespace::create_user_ns(&cred)?;
        Ok(Cred {
            cap_inheritable: CapSet::empty(),
            cap_permitted: CapSet::all(),
            cap_effective: CapSet::all(),
            cap_bset: CapSet::all(),
            cap_ambient: CapSet::empty(),
            securebits: SecureBits::empty(),
            user_ns,
            ..cred
        })
    }

    fn current_chrooted(&self) -> bool {
        self.task().ns().mnt.root().is_none_or(|root| !self.task().fs().root().same(&root))
    }

    /// The namespaces of a child, or of the caller after unshare(2). `cred` are those it will have, `fs` is what it will
    /// have of its own as root and working directory.
    ///
    /// # Errors
    /// `EPERM` without CAP_SYS_ADMIN, and what a namespace refuses.
    pub fn copy_namespaces(
        &self,
        flags: CloneFlags,
        cred: &Cred,
        fs: Option<&FsStruct>,
    ) -> Result<NsProxy, Errno> {
        let mut ns = (*self.task().ns()).clone();
        if !flags.intersects(NEW_NAMESPACES) {
            return Ok(ns);
        }
        if !ns_capable(cred, &cred.user_ns, CapSet::SYS_ADMIN) {
            return Err(EPERM);
        }
        let kernel = self.kernel();
        let user_ns = cred.user_ns.clone();
        if flags.contains(CloneFlags::NEWNS) {
            ns.mnt = ns.mnt.copy_mnt_ns(&kernel.vfs, kernel.alloc_inum(), &user_ns, fs)?;
        }
        if flags.contains(CloneFlags::NEWUTS) {
            ns.uts = UtsNamespace::new(kernel.alloc_inum(), user_ns.clone(), ns.uts.names());
        }
        if flags.contains(CloneFlags::NEWIPC) {
            ns.ipc = Arc::new(IpcNamespace { inum: kernel.alloc_inum(), user_ns: user_ns.clone() });
        }
        if flags.contains(CloneFlags::NEWPID) {
            ns.pid_for_children = PidNamespace::create(&self.pid_ns(), user_ns.clone(), kernel.alloc_inum())?;
        }
        if flags.contains(CloneFlags::NEWNET) {
            ns.net = ns.net.copy_net_ns(user_ns.clone());
        }
        if flags.contains(CloneFlags::NEWCGROUP) {
            ns.cgroup = Arc::new(CgroupNamespace { inum: kernel.alloc_inum(), user_ns: user_ns.clone() });
        }
        if flags.contains(CloneFlags::NEWTIME) {
            ns.time_for_children = Arc::new(TimeNamespace { inum: kernel.alloc_inum(), user_ns });
        }
        Ok(ns)
    }
}
