//! Linux: kernel/exit.c.

use crate::arg::{Addr, Bits};
use fs_vfs::TaskContext;
use sentry_kernel::{
    CurrentTask, SyscallExit, SyscallResult, Usage, WaitOptions, WaitOutcome, WaitTarget, siginfo_status,
};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ESRCH};
use sentry_uapi::resource::Rusage;
use sentry_uapi::signal::SIGCHLD;
use sentry_uapi::time::Timeval;
use zerocopy::{Immutable, IntoBytes};

/// exit(2).
pub(crate) fn exit(task: &mut CurrentTask, status: i32) -> SyscallResult {
    task.exit_thread((status & 0xff) << 8);
    Err(SyscallExit::NoReturn)
}

/// exit_group(2).
pub(crate) fn exit_group(task: &mut CurrentTask, status: i32) -> SyscallResult {
    task.exit_group((status & 0xff) << 8);
    Err(SyscallExit::NoReturn)
}

fn timeval(ns: u64) -> Timeval {
    let ns = i64::try_from(ns).unwrap_or(i64::MAX);
    Timeval { tv_sec: ns / 1_000_000_000, tv_usec: ns % 1_000_000_000 / 1000 }
}

/// Resource use as programs see it.
pub(crate) fn rusage(usage: &Usage) -> Rusage {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    Rusage {
        ru_utime: timeval(usage.utime),
        ru_stime: timeval(usage.stime),
        ru_maxrss: signed(usage.maxrss),
        ru_minflt: signed(usage.minflt),
        ru_nvcsw: signed(usage.nvcsw),
        ..Rusage::default()
    }
}

/// The global number behind one of the caller's namespace; `ESRCH` if there is none.
pub(crate) fn global_pid(task: &CurrentTask, nr: i32) -> Result<u32, Errno> {
    let nr = u32::try_from(nr).map_err(|_| ESRCH)?;
    Ok(task.pid_ns().find(nr).ok_or(ESRCH)?.global())
}

/// The caller's process group by its global number.
pub(crate) fn own_pgrp(task: &CurrentTask) -> u32 {
    task.kernel().tree.lock().processes.get(&task.group.id()).map_or(0, |p| p.pgrp)
}

fn write_rusage(task: &CurrentTask, addr: Addr, usage: &Usage) -> Result<(), Errno> {
    if addr.0 != 0 {
        task.user()?.write_obj(addr.0, &rusage(usage))?;
    }
    Ok(())
}

/// wait4(2).
pub(crate) fn wait4(
    task: &mut CurrentTask,
    pid: i32,
    status: Addr,
    options: Bits,
    ru: Addr,
) -> SyscallResult {
    let allowed = WaitOptions::NOHANG
        | WaitOptions::STOPPED
        | WaitOptions::CONTINUED
        | WaitOptions::NOTHREAD
        | WaitOptions::CLONE
        | WaitOptions::ALL;
    let options = WaitOptions::from_bits(options.0).filter(|o| allowed.contains(*o)).ok_or(EINVAL)?;
    // Linux refuses the one number that has no opposite.
    if pid == i32::MIN {
        return Err(ESRCH.into());
    }
    // A number nobody has is that of no child: `ECHILD`, from a target that matches none.
    let target = match pid {
        -1 => WaitTarget::Any,
        0 => WaitTarget::Pgrp(own_pgrp(task)),
        p if p < 0 => WaitTarget::Pgrp(global_pid(task, -p).unwrap_or(0)),
        p => WaitTarget::Pid(global_pid(task, p).unwrap_or(0)),
    };
    let Some(outcome) = task.do_wait(target, options | WaitOptions::EXITED)? else { return Ok(0) };
    if status.0 != 0 {
        task.user()?.write_obj(status.0, &outcome.status)?;
    }
    write_rusage(task, ru, &outcome.usage)?;
    Ok(outcome.group.pid.nr_in(&task.pid_ns()).into())
}

/// What waitid(2) writes: the numbers at the head of a siginfo, and nothing behind `si_status`.
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct WaitInfo {
    signo: i32,
    errno: i32,
    code: i32,
    pad: i32,
    pid: i32,
    uid: u32,
    status: i32,
    end: i32,
}

/// waitid(2).
pub(crate) fn waitid(
    task: &mut CurrentTask,
    which: u32,
    id: i32,
    info: Addr,
    options: Bits,
    ru: Addr,
) -> SyscallResult {
    let allowed = WaitOptions::all();
    let mut options = WaitOptions::from_bits(options.0).filter(|o| allowed.contains(*o)).ok_or(EINVAL)?;
    if !options.intersects(WaitOptions::EXITED | WaitOptions::STOPPED | WaitOptions::CONTINUED) {
        return Err(EINVAL.into());
    }
    let mut nonblocking = false;
    let target = match which {
        0 => WaitTarget::Any,
        1 if id > 0 => WaitTarget::Pid(global_pid(task, id).unwrap_or(0)),
        2 if id > 0 => WaitTarget::Pgrp(global_pid(task, id).unwrap_or(0)),
        2 if id == 0 => WaitTarget::Pgrp(own_pgrp(task)),
        3 if id >= 0 => {
            let (pid, nonblock) = crate::process::ids::pidfd_target(task, id)?;
            nonblocking = nonblock;
            WaitTarget::Pid(pid)
        }
        _ => return Err(EINVAL.into()),
    };
    if nonblocking && !options.contains(WaitOptions::NOHANG) {
        options |= WaitOptions::NOHANG;
    } else {
        nonblocking = false;
    }
    let outcome: Option<WaitOutcome> = task.do_wait(target, options)?;
    if outcome.is_none() && nonblocking {
        return Err(sentry_uapi::errno::EAGAIN.into());
    }
    let shown = match &outcome {
        None => WaitInfo { signo: 0, errno: 0, code: 0, pad: 0, pid: 0, uid: 0, status: 0, end: 0 },
        Some(o) => WaitInfo {
            signo: SIGCHLD,
            errno: 0,
            code: o.code,
            pad: 0,
            pid: i32::try_from(o.group.pid.nr_in(&task.pid_ns())).unwrap_or(0),
            uid: task.cred().user_ns.from_kuid_munged(o.group.last_uid()),
            status: siginfo_status(o.code, o.status),
            end: 0,
        },
    };
    if let Some(o) = &outcome {
        write_rusage(task, ru, &o.usage)?;
    }
    if info.0 != 0 {
        let mm = task.user()?;
        mm.copy_to_user(info.0, &shown.as_bytes()[..28])?;
    }
    Ok(0)
}
