//! The filesystem as a whole. Linux: fs/proc/root.c, `proc_fill_super`, `proc_parse_param`.

use crate::root::RootDir;
use crate::sys;
use fs_kernfs::{Node, SuperParams, new_super};
use fs_vfs::{Dentry, FileSystemType, FsFlags, MountContext, SuperFlags, TaskContext};
use sentry_auth::{CapSet, Cred, Kgid, UserNamespace};
use sentry_kernel::{
    CurrentTask, Kernel, OffsetClock, PidNamespace, Task, cred_may_access, ptrace_may_access,
};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ESRCH};
use std::sync::{Arc, Weak};

/// `f_type` of statfs(2). Linux: include/uapi/linux/magic.h.
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// What the creator of a kernel tells procfs.
pub struct ProcParams {
    /// The release, as uname(2) gives it.
    pub release: String,
    /// The version, as uname(2) gives it.
    pub version: String,
    /// `/proc/cmdline`, without a newline.
    pub cmdline: Vec<u8>,
    /// The host's `/proc/cpuinfo`, read at boot: the first processor's entry stands for all.
    pub cpuinfo: Vec<u8>,
}

/// What all instances of one kernel share.
pub(crate) struct Shared {
    kernel: Weak<Kernel>,
    pub(crate) params: ProcParams,
    /// `/proc/sys`: its values are the kernel's, not an instance's.
    pub(crate) sys: Node,
}

impl Shared {
    /// The kernel. `ESRCH` while it is being taken down.
    pub(crate) fn kernel(&self) -> Result<Arc<Kernel>, Errno> {
        self.kernel.upgrade().ok_or(ESRCH)
    }
}

/// procfs of one kernel. Register it with [`fs_vfs::Vfs::filesystems`].
#[derive(Clone)]
pub struct ProcFs {
    shared: Arc<Shared>,
}

/// Who may see what of others' processes. Linux: `enum proc_hidepid`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HidePid {
    /// All see all.
    #[default]
    Off = 0,
    /// Directories of others' processes cannot be entered.
    NoAccess = 1,
    /// Nor seen.
    Invisible = 2,
    /// Only what may be traced can be seen.
    NotPtraceable = 4,
}

/// Mount options.
#[derive(Clone, Copy, Debug)]
pub struct ProcOptions {
    /// `hidepid=`.
    pub hidepid: HidePid,
    /// `gid=`: a group that `hidepid` does not hold for.
    pub gid: Kgid,
    /// `subset=pid`: nothing but processes.
    pub only_pids: bool,
}

impl Default for ProcOptions {
    fn default() -> ProcOptions {
        ProcOptions { hidepid: HidePid::Off, gid: Kgid::GLOBAL_ROOT, only_pids: false }
    }
}

impl ProcOptions {
    /// Options as mount(2) gets them, ids being those of `user_ns`.
    ///
    /// # Errors
    /// `EINVAL`.
    pub fn parse(options: &str, user_ns: &UserNamespace) -> Result<ProcOptions, Errno> {
        let mut parsed = ProcOptions::default();
        for option in options.split(',').filter(|o| !o.is_empty()) {
            match option.split_once('=').ok_or(EINVAL)? {
                ("gid", gid) => {
                    parsed.gid = user_ns.make_kgid(gid.parse().map_err(|_| EINVAL)?);
                    if !parsed.gid.is_valid() {
                        return Err(EINVAL);
                    }
                }
                ("hidepid", value) => {
                    parsed.hidepid = match value {
                        "0" | "off" => HidePid::Off,
                        "1" | "noaccess" => HidePid::NoAccess,
                        "2" | "invisible" => HidePid::Invisible,
                        "4" | "ptraceable" => HidePid::NotPtraceable,
                        _ => return Err(EINVAL),
                    }
                }
                ("subset", "pid") => parsed.only_pids = true,
                _ => return Err(EINVAL),
            }
        }
        Ok(parsed)
    }

    /// As `/proc/mounts` shows them. Linux: `proc_show_options`.
    fn show(&self, user_ns: &UserNamespace) -> String {
        let mut text = String::new();
        if self.gid != Kgid::GLOBAL_ROOT {
            text.push_str(&format!(",gid={}", user_ns.from_kgid_munged(self.gid)));
        }
        text.push_str(match self.hidepid {
            HidePid::Off => "",
            HidePid::NoAccess => ",hidepid=noaccess",
            HidePid::Invisible => ",hidepid=invisible",
            HidePid::NotPtraceable => ",hidepid=ptraceable",
        });
        if self.only_pids {
            text.push_str(",subset=pid");
        }
        text
    }
}

/// One instance. Linux: `struct proc_fs_info`.
pub(crate) struct Instance {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pid_ns: Arc<PidNamespace>,
    pub(crate) options: ProcOptions,
}

impl Instance {
    /// Whether somebody may see that much of a process. Linux: `has_pid_permissions`.
    pub(crate) fn has_pid_permissions(&self, who: &Caller<'_>, task: &Arc<Task>, min: HidePid) -> bool {
        let ProcOptions { hidepid, gid, .. } = self.options;
        if hidepid == HidePid::NotPtraceable {
            return who.may_access(task);
        }
        hidepid < min || who.cred().in_group_p(gid) || who.may_access(task)
    }
}

/// Whoever looks: a task, or only its credentials where nothing else is known.
pub(crate) enum Caller<'a> {
    Context(&'a dyn TaskContext, Arc<Cred>),
    Cred(&'a Cred),
}

impl<'a> Caller<'a> {
    pub(crate) fn new(ctx: &'a dyn TaskContext) -> Caller<'a> {
        Caller::Context(ctx, ctx.cred())
    }

    pub(crate) fn cred(&self) -> &Cred {
        match self {
            Caller::Context(_, cred) => cred,
            Caller::Cred(cred) => cred,
        }
    }

    /// Linux: `ptrace_may_access` with PTRACE_MODE_READ_FSCREDS.
    pub(crate) fn may_access(&self, task: &Arc<Task>) -> bool {
        if let Caller::Context(ctx, _) = self
            && let Some(current) = current(*ctx)
        {
            return ptrace_may_access(current, task, false);
        }
        self.is_of_process(task) || cred_may_access(self.cred(), task, false)
    }

    /// Whether these are the credentials of a thread of the process: no two processes share the object.
    pub(crate) fn is_of_process(&self, task: &Task) -> bool {
        task.group.threads().iter().any(|t| std::ptr::eq(&*t.cred(), self.cred()))
    }
}

/// The calling task, if it is one of the kernel's.
pub(crate) fn current(ctx: &dyn TaskContext) -> Option<&CurrentTask> {
    ctx.as_any().downcast_ref()
}

impl ProcFs {
    /// procfs for a kernel.
    pub fn new(kernel: &Arc<Kernel>, params: ProcParams) -> ProcFs {
        let sys = sys::tree(kernel, &params);
        ProcFs { shared: Arc::new(Shared { kernel: Arc::downgrade(kernel), params, sys }) }
    }

    /// A new instance for a pid namespace, owned by `user_ns`; `source` is what `/proc/mounts` shows as its device.
    ///
    /// # Errors
    /// `ESRCH` while the kernel is being taken down.
    pub fn instance(
        &self,
        pid_ns: &Arc<PidNamespace>,
        user_ns: &Arc<UserNamespace>,
        source: &[u8],
        options: ProcOptions,
    ) -> Result<Arc<Dentry>, Errno> {
        let kernel = self.shared.kernel()?;
        let instance = Instance { shared: self.shared.clone(), pid_ns: pid_ns.clone(), options };
        let params = SuperParams {
            fs_type: "proc",
            magic: PROC_SUPER_MAGIC,
            dev: kernel.vfs.alloc_dev(),
            user_ns: user_ns.clone(),
            clocks: kernel.clocks.clone(),
            flags: SuperFlags::REVALIDATE
                | SuperFlags::NODEV
                | SuperFlags::NOEXEC
                | SuperFlags::USERNS_VISIBLE,
            source: source.to_vec(),
            options: options.show(user_ns),
        };
        Ok(new_super(params, Node::dir(RootDir::new(Arc::new(instance)))))
    }
}

impl FileSystemType for ProcFs {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn flags(&self) -> FsFlags {
        FsFlags::USERNS_MOUNT
    }

    /// Whose the caller's pid namespace is. Linux: `proc_init_fs_context`.
    fn user_ns(&self, ctx: &dyn TaskContext) -> Arc<UserNamespace> {
        current(ctx).map_or_else(|| ctx.cred().user_ns.clone(), |task| task.pid_ns().user_ns.clone())
    }

    /// An instance for the caller's pid namespace.
    fn mount(&self, ctx: &dyn TaskContext, mount: &MountContext<'_>) -> Result<Arc<Dentry>, Errno> {
        let pid_ns = match current(ctx) {
            Some(task) => task.pid_ns(),
            None => self.shared.kernel()?.root_pid_ns.clone(),
        };
        let user_ns = pid_ns.user_ns.clone();
        let options = ProcOptions::parse(mount.options, &ctx.cred().user_ns)?;
        self.instance(&pid_ns, &user_ns, mount.source, options)
    }
}

/// How far CLOCK_BOOTTIME of the reader's time namespace is ahead, in nanoseconds. Linux: `timens_add_boottime_ns`.
pub(crate) fn timens_boottime(ctx: &dyn TaskContext) -> i64 {
    current(ctx).map_or(0, |task| task.task().ns().time.offset(OffsetClock::Boottime))
}

/// Whether `cred` has CAP_SYS_ADMIN over the whole kernel. Linux: `capable(CAP_SYS_ADMIN)`.
pub(crate) fn capable_admin(ctx: &dyn TaskContext, cred: &Cred) -> bool {
    ctx.vfs().capable(cred, CapSet::SYS_ADMIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_options() {
        let ns = UserNamespace::new_initial();
        let parsed = ProcOptions::parse("hidepid=invisible,gid=5,subset=pid", &ns);
        let shown = parsed.map(|o| o.show(&ns));
        assert_eq!(shown, Ok(",gid=5,hidepid=invisible,subset=pid".to_owned()));
        assert_eq!(ProcOptions::parse("hidepid=4", &ns).map(|o| o.hidepid), Ok(HidePid::NotPtraceable));
        assert_eq!(ProcOptions::parse("", &ns).map(|o| o.show(&ns)), Ok(String::new()));
        for bad in ["hidepid=3", "subset=sys", "ro", "gid=x"] {
            assert_eq!(ProcOptions::parse(bad, &ns).err(), Some(EINVAL), "{bad}");
        }
    }
}
