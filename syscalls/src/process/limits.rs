//! Linux: kernel/sys.c, resource limits and use.

use crate::arg::Addr;
use crate::process::exit::rusage;
use sentry_auth::{CapSet, ns_capable};
use sentry_kernel::{CurrentTask, SyscallResult, Task, nsec_to_clock_t};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EPERM, ESRCH};
use sentry_uapi::resource::{RLIM_NLIMITS, RLIMIT_CPU, RLIMIT_NOFILE, Rlimit};
use std::sync::Arc;

/// Most descriptors a limit may allow: `/proc/sys/fs/nr_open`.
const NR_OPEN: u64 = 1 << 20;

fn resource(number: u32) -> Result<usize, Errno> {
    usize::try_from(number).ok().filter(|n| *n < RLIM_NLIMITS).ok_or(EINVAL)
}

fn set_limit(task: &CurrentTask, target: &Arc<Task>, resource: usize, new: Rlimit) -> Result<(), Errno> {
    if new.cur > new.max {
        return Err(EINVAL);
    }
    if resource == RLIMIT_NOFILE && new.max > NR_OPEN {
        return Err(EPERM);
    }
    let old = target.group.rlimit(resource);
    if new.max > old.max && !task.capable(CapSet::SYS_RESOURCE) {
        return Err(EPERM);
    }
    target.group.set_rlimit(resource, new);
    if resource == RLIMIT_CPU {
        target.group.watch_cpu_limit();
    }
    Ok(())
}

/// getrlimit(2).
pub(crate) fn getrlimit(task: &mut CurrentTask, number: u32, addr: Addr) -> SyscallResult {
    let limit = task.group.rlimit(resource(number)?);
    task.user()?.write_obj(addr.0, &limit)?;
    Ok(0)
}

/// setrlimit(2).
pub(crate) fn setrlimit(task: &mut CurrentTask, number: u32, addr: Addr) -> SyscallResult {
    let new: Rlimit = task.user()?.read_obj(addr.0)?;
    let target = task.task().clone();
    set_limit(task, &target, resource(number)?, new)?;
    Ok(0)
}

/// Whether the caller may look at or change another's limits. Linux: `check_prlimit_permission`.
fn may_prlimit(task: &CurrentTask, target: &Arc<Task>) -> bool {
    if Arc::ptr_eq(&task.group, &target.group) {
        return true;
    }
    let (c, t) = (task.task().cred(), target.cred());
    let same = c.uid == t.euid
        && c.uid == t.suid
        && c.uid == t.uid
        && c.gid == t.egid
        && c.gid == t.sgid
        && c.gid == t.gid;
    same || ns_capable(&c, &t.user_ns, CapSet::SYS_RESOURCE)
}

/// prlimit64(2).
pub(crate) fn prlimit64(
    task: &mut CurrentTask,
    pid: i32,
    number: u32,
    new: Addr,
    old: Addr,
) -> SyscallResult {
    let mm = task.user()?.clone();
    let resource = resource(number);
    let new = if new.0 == 0 { None } else { Some(mm.read_obj::<Rlimit>(new.0)?) };
    let target = if pid == 0 {
        task.task().clone()
    } else {
        task.kernel().find_task(&task.pid_ns(), u32::try_from(pid).map_err(|_| ESRCH)?).ok_or(ESRCH)?
    };
    if !may_prlimit(task, &target) {
        return Err(EPERM.into());
    }
    let resource = resource?;
    let before = target.group.rlimit(resource);
    if let Some(new) = new {
        set_limit(task, &target, resource, new)?;
    }
    if old.0 != 0 {
        mm.write_obj(old.0, &before)?;
    }
    Ok(0)
}

/// getrusage(2).
pub(crate) fn getrusage(task: &mut CurrentTask, who: i32, addr: Addr) -> SyscallResult {
    let mut usage = match who {
        0 => task.group.usage(),
        -1 => task.group.children_usage(),
        1 => task.usage(),
        _ => return Err(EINVAL.into()),
    };
    if who != -1 {
        let mm = task.user()?;
        usage.minflt = mm.fault_count();
        usage.maxrss = mm.usage().resident / 1024;
    }
    task.user()?.write_obj(addr.0, &rusage(&usage))?;
    Ok(0)
}

/// times(2).
pub(crate) fn times(task: &mut CurrentTask, addr: Addr) -> SyscallResult {
    let (own, children) = (task.group.usage(), task.group.children_usage());
    if addr.0 != 0 {
        let tms = [own.utime, own.stime, children.utime, children.stime].map(nsec_to_clock_t);
        task.user()?.write_obj(addr.0, &tms)?;
    }
    let now = u64::try_from(task.kernel().clocks.monotonic()).unwrap_or(0);
    Ok(nsec_to_clock_t(now).cast_unsigned())
}
