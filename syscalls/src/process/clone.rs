//! Linux: kernel/fork.c.

use crate::arg::{Addr, CFlags};
use crate::process::ids::pidfd_for;
use sentry_kernel::{CloneRequest, CurrentTask, SyscallResult, Task};
use sentry_uapi::Errno;
use sentry_uapi::errno::{E2BIG, EINVAL};
use sentry_uapi::sched::{CloneArgs, CloneFlags};
use sentry_uapi::signal::{NSIG, SIGCHLD};
use std::sync::Arc;
use zerocopy::FromBytes;

/// The exit signal's byte of clone(2)'s flags.
const CSIGNAL: u64 = 0xff;

fn run(task: &mut CurrentTask, request: &CloneRequest, pidfd: u64) -> SyscallResult {
    let wants_pidfd = request.flags.contains(CloneFlags::PIDFD);
    let mut installed = None;
    let mut prepare = |parent: &mut CurrentTask, child: &Arc<Task>| -> Result<(), Errno> {
        if wants_pidfd {
            let fd = pidfd_for(parent, child.pid(), child.group.clone(), false)?;
            installed = Some(fd);
            parent.user()?.write_obj(pidfd, &fd)?;
        }
        Ok(())
    };
    let result = task.clone_task(request, &mut prepare);
    if result.is_err()
        && let Some(fd) = installed
        && let Ok(files) = task.files()
    {
        let _ = files.close(task, fd);
    }
    Ok(result?)
}

/// clone(2).
pub(crate) fn clone(
    task: &mut CurrentTask,
    flags: CFlags,
    stack: Addr,
    parent_tid: Addr,
    child_tid: Addr,
    tls: Addr,
) -> SyscallResult {
    let low = flags.0 & 0xffff_ffff;
    let flags = CloneFlags::from_bits_retain(low & !CSIGNAL);
    if flags.contains(CloneFlags::PIDFD) && flags.intersects(CloneFlags::DETACHED | CloneFlags::PARENT_SETTID)
    {
        return Err(EINVAL.into());
    }
    let exit_signal = i32::try_from(low & CSIGNAL).unwrap_or(0);
    let request = CloneRequest {
        flags,
        exit_signal,
        stack: stack.0,
        parent_tid: parent_tid.0,
        child_tid: child_tid.0,
        tls: tls.0,
        set_tid: Vec::new(),
    };
    run(task, &request, parent_tid.0)
}

/// clone3(2).
pub(crate) fn clone3(task: &mut CurrentTask, uargs: Addr, size: usize) -> SyscallResult {
    /// Size of the first published version.
    const CLONE_ARGS_SIZE_VER0: usize = 64;
    if size > 4096 {
        return Err(E2BIG.into());
    }
    if size < CLONE_ARGS_SIZE_VER0 {
        return Err(EINVAL.into());
    }
    let mm = task.user()?.clone();
    let mut bytes = vec![0; size.max(size_of::<CloneArgs>())];
    mm.copy_from_user(uargs.0, &mut bytes[..size])?;
    // Fields of a newer version must be zero.
    if bytes.get(size_of::<CloneArgs>()..).is_some_and(|rest| rest.iter().any(|b| *b != 0)) {
        return Err(E2BIG.into());
    }
    let (args, _) = CloneArgs::read_from_prefix(&bytes).map_err(|_| EINVAL)?;
    let flags = CloneFlags::from_bits_retain(args.flags);
    let known = CloneFlags::all() - CloneFlags::DETACHED;
    let set_tid_size = usize::try_from(args.set_tid_size).unwrap_or(usize::MAX);
    if set_tid_size > 32
        || (args.set_tid == 0) != (set_tid_size == 0)
        || args.exit_signal > CSIGNAL
        || args.exit_signal > NSIG.unsigned_abs().into()
        || !known.contains(flags)
        || args.flags & (CSIGNAL & !CloneFlags::NEWTIME.bits()) != 0
        || flags.contains(CloneFlags::INTO_CGROUP)
    {
        return Err(EINVAL.into());
    }
    if flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT) && args.exit_signal != 0 {
        return Err(EINVAL.into());
    }
    if (args.stack == 0) != (args.stack_size == 0) {
        return Err(EINVAL.into());
    }
    let stack = if args.stack == 0 { 0 } else { args.stack.checked_add(args.stack_size).ok_or(EINVAL)? };
    let set_tid = mm.read_array::<u32>(args.set_tid, set_tid_size)?;
    let request = CloneRequest {
        flags,
        exit_signal: i32::try_from(args.exit_signal).unwrap_or(0),
        stack,
        parent_tid: args.parent_tid,
        child_tid: args.child_tid,
        tls: args.tls,
        set_tid,
    };
    run(task, &request, args.pidfd)
}

fn simple(task: &mut CurrentTask, flags: CloneFlags) -> SyscallResult {
    let request = CloneRequest {
        flags,
        exit_signal: SIGCHLD,
        stack: 0,
        parent_tid: 0,
        child_tid: 0,
        tls: 0,
        set_tid: Vec::new(),
    };
    run(task, &request, 0)
}

/// fork(2).
pub(crate) fn fork(task: &mut CurrentTask) -> SyscallResult {
    simple(task, CloneFlags::empty())
}

/// vfork(2).
pub(crate) fn vfork(task: &mut CurrentTask) -> SyscallResult {
    simple(task, CloneFlags::VFORK | CloneFlags::VM)
}
