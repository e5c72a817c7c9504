//! Linux: kernel/sys.c (ids, groups, sessions), kernel/pid.c (pidfds).

use crate::arg::{Bits, Fd};
use crate::process::exit::global_pid;
use fs_vfs::TaskContext;
use sentry_kernel::{
    CurrentTask, Pid, SyscallResult, Task, ThreadGroup, pidfd_file, pidfd_group, ptrace_may_access,
    still_there,
};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EBADF, EINVAL, EPERM, ESRCH};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// getpid(2).
pub(crate) fn getpid(task: &mut CurrentTask) -> SyscallResult {
    Ok(task.group.pid.nr_in(&task.pid_ns()).into())
}

/// gettid(2).
pub(crate) fn gettid(task: &mut CurrentTask) -> SyscallResult {
    Ok(task.pid().nr_in(&task.pid_ns()).into())
}

/// getppid(2).
pub(crate) fn getppid(task: &mut CurrentTask) -> SyscallResult {
    let ns = task.pid_ns();
    let tree = task.kernel().tree.lock();
    let parent = tree.processes.get(&task.group.id()).map_or(0, |p| p.parent);
    Ok(tree.processes.get(&parent).map_or(0, |p| p.group.pid.nr_in(&ns)).into())
}

fn process_or_self(task: &CurrentTask, pid: i32) -> Result<u32, Errno> {
    if pid == 0 { Ok(task.group.id()) } else { global_pid(task, pid) }
}

/// getpgid(2).
pub(crate) fn getpgid(task: &mut CurrentTask, pid: i32) -> SyscallResult {
    let id = process_or_self(task, pid)?;
    let tree = task.kernel().tree.lock();
    let pgrp = tree.processes.get(&id).ok_or(ESRCH)?.pgrp;
    Ok(tree.pgrps.get(&pgrp).map_or(0, |g| g.pid.nr_in(&task.pid_ns())).into())
}

/// getpgrp(2).
pub(crate) fn getpgrp(task: &mut CurrentTask) -> SyscallResult {
    getpgid(task, 0)
}

/// getsid(2).
pub(crate) fn getsid(task: &mut CurrentTask, pid: i32) -> SyscallResult {
    let id = process_or_self(task, pid)?;
    let tree = task.kernel().tree.lock();
    let session = tree.processes.get(&id).ok_or(ESRCH)?.session;
    Ok(tree.sessions.get(&session).map_or(0, |s| s.pid.nr_in(&task.pid_ns())).into())
}

/// setpgid(2).
pub(crate) fn setpgid(task: &mut CurrentTask, pid: i32, pgid: i32) -> SyscallResult {
    let pid = if pid == 0 { i32::try_from(task.group.pid.nr_in(&task.pid_ns())).unwrap_or(0) } else { pid };
    let pgid = if pgid == 0 { pid } else { pgid };
    if pgid < 0 {
        return Err(EINVAL.into());
    }
    let target = global_pid(task, pid)?;
    let ns = task.pid_ns();
    let group_pid = ns.find(pgid.unsigned_abs());
    let own = task.group.id();
    let kernel = task.kernel().clone();
    let mut tree = kernel.tree.lock();
    let p = tree.processes.get(&target).ok_or(ESRCH)?;
    let own_session = tree.processes.get(&own).map_or(0, |me| me.session);
    if p.parent == own && target != own {
        if p.session != own_session {
            return Err(EPERM.into());
        }
        if p.did_exec {
            return Err(EACCES.into());
        }
    } else if target != own {
        return Err(ESRCH.into());
    }
    let (session, pgrp) = (p.session, p.pgrp);
    if session == target {
        return Err(EPERM.into());
    }
    let new = if pgid == pid {
        p.group.pid.clone()
    } else {
        // An existing group of the same session.
        let new = group_pid.ok_or(EPERM)?;
        if tree.pgrps.get(&new.global()).is_none_or(|g| g.session != own_session) {
            return Err(EPERM.into());
        }
        new
    };
    if new.global() != pgrp {
        tree.change_pgrp(target, &new);
    }
    Ok(0)
}

/// setsid(2).
pub(crate) fn setsid(task: &mut CurrentTask) -> SyscallResult {
    let kernel = task.kernel().clone();
    let own = task.group.id();
    let mut tree = kernel.tree.lock();
    if tree.sessions.contains_key(&own) && tree.processes.get(&own).is_some_and(|p| p.session == own) {
        return Err(EPERM.into());
    }
    if tree.pgrps.contains_key(&own) {
        return Err(EPERM.into());
    }
    let pid = task.group.pid.clone();
    tree.change_session(own, &pid);
    Ok(pid.nr_in(&task.pid_ns()).into())
}

/// set_tid_address(2).
pub(crate) fn set_tid_address(task: &mut CurrentTask, addr: crate::arg::Addr) -> SyscallResult {
    task.clear_child_tid.store(addr.0, Ordering::Relaxed);
    gettid(task)
}

/// Installs a pidfd in the caller's table, close-on-exec.
pub(crate) fn pidfd_for(
    task: &CurrentTask,
    pid: Arc<Pid>,
    group: Arc<ThreadGroup>,
    nonblock: bool,
) -> Result<i32, Errno> {
    let file = pidfd_file(task, pid, group, nonblock);
    task.task().files()?.install(task, file, true)
}

/// The process behind a pidfd by global number, and whether the descriptor is non-blocking.
pub(crate) fn pidfd_target(task: &CurrentTask, fd: i32) -> Result<(u32, bool), Errno> {
    let file = task.task().files()?.get(fd)?;
    let (pid, _) = pidfd_group(&file)?;
    Ok((pid.global(), file.flags().contains(sentry_uapi::fcntl::OpenFlags::NONBLOCK)))
}

/// Whether the caller may look into another task.
pub(crate) fn may_access(task: &CurrentTask, target: &Arc<Task>) -> bool {
    ptrace_may_access(task, target, true)
}

/// pidfd_open(2).
pub(crate) fn pidfd_open(task: &mut CurrentTask, pid: i32, flags: Bits) -> SyscallResult {
    /// PIDFD_NONBLOCK.
    const NONBLOCK: u32 = 0o4000;
    if flags.0 & !NONBLOCK != 0 || pid <= 0 {
        return Err(EINVAL.into());
    }
    let pid = task.pid_ns().find(pid.unsigned_abs()).ok_or(ESRCH)?;
    let group = task.kernel().tree.lock().processes.get(&pid.global()).map(|p| p.group.clone());
    // The id of a thread that is no leader is none of a process.
    let group = group.ok_or(if task.kernel().tree.lock().tasks.contains_key(&pid.global()) {
        EINVAL
    } else {
        ESRCH
    })?;
    let fd = pidfd_for(task, pid, group, flags.0 & NONBLOCK != 0)?;
    Ok(fd.unsigned_abs().into())
}

/// pidfd_getfd(2).
pub(crate) fn pidfd_getfd(task: &mut CurrentTask, pidfd: Fd, target: Fd, flags: Bits) -> SyscallResult {
    if flags.0 != 0 {
        return Err(EINVAL.into());
    }
    let file = task.task().files()?.get(pidfd.0)?;
    let (_, group) = pidfd_group(&file)?;
    still_there(&group)?;
    let thread = group.threads().into_iter().next().ok_or(ESRCH)?;
    if !may_access(task, &thread) {
        return Err(EPERM.into());
    }
    let found = thread.files().map_err(|_| EBADF)?.get_raw(target.0).ok_or(EBADF)?;
    let fd = task.files().install(task, found, true)?;
    Ok(fd.unsigned_abs().into())
}
