//! Linux: kernel/signal.c.

use crate::arg::{Addr, Bits, Fd, Sig, SigSetAddr, TimespecAddr};
use crate::process::exit::{global_pid, own_pgrp};
use crate::time::clock::deadline_after;
use fs_vfs::{Sleep, TaskContext};
use sentry_auth::{CapSet, ns_capable};
use sentry_kernel::signal::{SigSource, UNBLOCKABLE};
use sentry_kernel::{
    CurrentTask, PidNamespace, SyscallExit, SyscallResult, Task, ThreadGroup, pidfd_group, still_there,
    tgid_pidfd_group,
};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EINTR, EINVAL, EPERM, ERESTARTNOHAND, ESRCH};
use sentry_uapi::sigaction::{SaFlags, SigAction, SigAltStack};
use sentry_uapi::signal::{NSIG, SI_KERNEL, SI_TKILL, SI_USER, SIGCHLD, SIGCONT, SIGSEGV, SigInfo, SigSet};
use sentry_uapi::time::Timespec;
use std::sync::Arc;

/// Size of a signal set, which every call is told.
const SIGSET_SIZE: usize = 8;

fn check_size(size: usize) -> Result<(), Errno> {
    if size == SIGSET_SIZE { Ok(()) } else { Err(EINVAL) }
}

/// rt_sigaction(2).
pub(crate) fn rt_sigaction(
    task: &mut CurrentTask,
    sig: Sig,
    act: Addr,
    old: Addr,
    size: usize,
) -> SyscallResult {
    check_size(size)?;
    let mm = task.user()?.clone();
    let new = if act.0 == 0 { None } else { Some(mm.read_obj::<SigAction>(act.0)?) };
    if !(1..=NSIG).contains(&sig.0) || (new.is_some() && UNBLOCKABLE.contains(sig.0)) {
        return Err(EINVAL.into());
    }
    let sighand = task.group.sighand();
    let previous = match new {
        None => sighand.get(sig.0),
        Some(mut new) => {
            new.mask = new.mask.difference(UNBLOCKABLE);
            let known = SaFlags::all() - SaFlags::UNSUPPORTED;
            new.flags &= known.bits();
            let previous = sighand.set(sig.0, new);
            // What is ignored from now on is no longer pending either.
            if sighand.ignores(sig.0) {
                task.group.discard_pending(SigSet::of(sig.0));
            }
            previous
        }
    };
    if old.0 != 0 {
        mm.write_obj(old.0, &previous)?;
    }
    Ok(0)
}

/// rt_sigprocmask(2).
pub(crate) fn rt_sigprocmask(
    task: &mut CurrentTask,
    how: i32,
    set: SigSetAddr,
    old: SigSetAddr,
    size: usize,
) -> SyscallResult {
    check_size(size)?;
    let mm = task.user()?.clone();
    let before = task.blocked();
    if set.0 != 0 {
        let set: SigSet = mm.read_obj(set.0)?;
        let new = match how {
            0 => before.union(set),
            1 => before.difference(set),
            2 => set,
            _ => return Err(EINVAL.into()),
        };
        task.set_blocked(new);
    }
    if old.0 != 0 {
        mm.write_obj(old.0, &before)?;
    }
    Ok(0)
}

/// rt_sigpending(2).
pub(crate) fn rt_sigpending(task: &mut CurrentTask, set: SigSetAddr, size: usize) -> SyscallResult {
    if size > SIGSET_SIZE {
        return Err(EINVAL.into());
    }
    let pending = task.pending_signals().intersection(task.blocked());
    task.user()?.copy_to_user(set.0, &pending.0.to_ne_bytes()[..size])?;
    Ok(0)
}

/// rt_sigsuspend(2).
pub(crate) fn rt_sigsuspend(task: &mut CurrentTask, set: SigSetAddr, size: usize) -> SyscallResult {
    check_size(size)?;
    let mask: SigSet = task.user()?.read_obj(set.0)?;
    task.set_temporary_mask(mask);
    pause(task)
}

/// pause(2).
pub(crate) fn pause(task: &mut CurrentTask) -> SyscallResult {
    while task.sleep(None).is_ok() {}
    Err(ERESTARTNOHAND.into())
}

/// rt_sigtimedwait(2).
pub(crate) fn rt_sigtimedwait(
    task: &mut CurrentTask,
    set: SigSetAddr,
    info: Addr,
    timeout: TimespecAddr,
    size: usize,
) -> SyscallResult {
    check_size(size)?;
    let mm = task.user()?.clone();
    let set: SigSet = mm.read_obj::<SigSet>(set.0)?.difference(UNBLOCKABLE);
    let deadline = if timeout.0 == 0 {
        None
    } else {
        let ts: Timespec = mm.read_obj(timeout.0)?;
        if !ts.is_valid() {
            return Err(EINVAL.into());
        }
        Some(deadline_after(ts))
    };
    let found = task.sigtimedwait(set, |task| task.sleep(deadline) == Ok(Sleep::Woken));
    match found {
        Some(found) => {
            if info.0 != 0 {
                mm.write_obj(info.0, &found)?;
            }
            Ok(found.si_signo.unsigned_abs().into())
        }
        None if task.signal_pending() => Err(EINTR.into()),
        None => Err(EAGAIN.into()),
    }
}

/// rt_sigreturn(2).
pub(crate) fn rt_sigreturn(task: &mut CurrentTask) -> SyscallResult {
    if task.restore_rt_frame().is_err() {
        task.segv_in_frame(SIGSEGV);
    }
    Err(SyscallExit::NoReturn)
}

/// sigaltstack(2).
pub(crate) fn sigaltstack(task: &mut CurrentTask, new: Addr, old: Addr) -> SyscallResult {
    let mm = task.user()?.clone();
    let view = task.altstack_view();
    if new.0 != 0 {
        let stack: SigAltStack = mm.read_obj(new.0)?;
        task.set_altstack(stack)?;
    }
    if old.0 != 0 {
        mm.write_obj(old.0, &view)?;
    }
    Ok(0)
}

/// Whether the caller may signal another process. Linux: `check_kill_permission`, `kill_ok_by_cred`.
fn may_kill(task: &CurrentTask, target: &Task, signo: i32) -> Result<(), Errno> {
    if Arc::ptr_eq(&task.group, &target.group) {
        return Ok(());
    }
    let cred = task.task().cred();
    let other = target.cred();
    let ok = cred.euid == other.suid
        || cred.euid == other.uid
        || cred.uid == other.suid
        || cred.uid == other.uid
        || ns_capable(&cred, &other.user_ns, CapSet::KILL);
    if ok {
        return Ok(());
    }
    if signo == SIGCONT {
        let tree = task.kernel().tree.lock();
        let session = |id| tree.processes.get(&id).map(|p| p.session);
        if session(task.group.id()) == session(target.group.id()) {
            return Ok(());
        }
    }
    Err(EPERM)
}

/// A siginfo from the caller, as the receiver sees it.
fn siginfo_from(task: &CurrentTask, target: &Task, signo: i32, code: i32) -> SigInfo {
    let pid = task.group.pid.nr_in(&target.pid_ns());
    let uid = target.cred().user_ns.from_kuid_munged(task.task().cred().uid);
    SigInfo::from_process(signo, code, i32::try_from(pid).unwrap_or(0), uid)
}

/// A siginfo that the caller made, as the receiver sees it: the ids in it are the caller's numbers. Linux:
/// `send_signal_locked`, `has_si_pid_and_uid`.
fn translated(task: &CurrentTask, target: &Task, mut info: SigInfo) -> SigInfo {
    /// Codes whose fields are others: of timers, and of SIGIO.
    const SI_TIMER: i32 = -2;
    const SI_SIGIO: i32 = -5;
    let (code, positive) = (info.si_code, info.si_code > 0 && info.si_code < SI_KERNEL);
    if code == SI_TIMER || code == SI_SIGIO || (positive && info.si_signo != SIGCHLD) {
        return info;
    }
    let (own, other) = (task.task().cred(), target.cred());
    if !Arc::ptr_eq(&own.user_ns, &other.user_ns) {
        let uid = own.user_ns.make_kuid(info.word(4).cast_unsigned());
        info.put(4, other.user_ns.from_kuid_munged(uid).to_ne_bytes());
    }
    if task.pid().nr_in(&target.pid_ns()) == 0 {
        info.put(0, 0i32.to_ne_bytes());
    }
    info
}

fn source(task: &CurrentTask, target: &Task) -> SigSource {
    let (mine, theirs): (Arc<PidNamespace>, Arc<PidNamespace>) = (task.pid_ns(), target.pid_ns());
    if mine.level() < theirs.level() { SigSource::Outside } else { SigSource::Inside }
}

/// Sends a signal to a process; 0 only checks. A zombie takes everything.
fn kill_group(task: &CurrentTask, group: &Arc<ThreadGroup>, signo: i32) -> Result<(), Errno> {
    let Some(thread) = group.threads().into_iter().next() else {
        let cred = task.task().cred();
        let ok = cred.euid == group.last_uid() || cred.uid == group.last_uid() || task.capable(CapSet::KILL);
        return if ok { Ok(()) } else { Err(EPERM) };
    };
    may_kill(task, &thread, signo)?;
    if signo == 0 {
        return Ok(());
    }
    group.send_signal(siginfo_from(task, &thread, signo, SI_USER), source(task, &thread))
}

fn check_signo(signo: i32) -> Result<(), Errno> {
    if (0..=NSIG).contains(&signo) { Ok(()) } else { Err(EINVAL) }
}

/// kill(2).
pub(crate) fn kill(task: &mut CurrentTask, pid: i32, sig: Sig) -> SyscallResult {
    let kernel = task.kernel().clone();
    if pid > 0 {
        let group = kernel.find_process(&task.pid_ns(), pid.unsigned_abs()).or_else(|| {
            // A thread's id stands for its process.
            kernel.find_task(&task.pid_ns(), pid.unsigned_abs()).map(|t| t.group.clone())
        });
        let group = group.ok_or(ESRCH)?;
        check_signo(sig.0)?;
        kill_group(task, &group, sig.0)?;
        return Ok(0);
    }
    if pid == i32::MIN {
        return Err(ESRCH.into());
    }
    check_signo(sig.0)?;
    let targets: Vec<Arc<ThreadGroup>> = if pid == -1 {
        let ns = task.pid_ns();
        let tree = kernel.tree.lock();
        tree.processes
            .values()
            .map(|p| p.group.clone())
            .filter(|g| g.pid.nr_in(&ns) > 1 && !Arc::ptr_eq(g, &task.group))
            .collect()
    } else {
        let pgrp = if pid == 0 { own_pgrp(task) } else { global_pid(task, -pid)? };
        kernel.tree.lock().pgrp_members(pgrp)
    };
    let mut result = Err(ESRCH);
    for group in targets {
        match kill_group(task, &group, sig.0) {
            Ok(()) => result = Ok(()),
            Err(e) if result != Ok(()) && (pid != -1 || e != EPERM) => result = Err(e),
            Err(_) => {}
        }
    }
    result?;
    Ok(0)
}

fn do_tkill(
    task: &mut CurrentTask,
    tgid: Option<i32>,
    tid: i32,
    sig: Sig,
    info: Option<SigInfo>,
) -> SyscallResult {
    if tid <= 0 || tgid.is_some_and(|t| t <= 0) {
        return Err(EINVAL.into());
    }
    let target = task.kernel().find_task(&task.pid_ns(), tid.unsigned_abs()).ok_or(ESRCH)?;
    if let Some(tgid) = tgid
        && target.group.pid.nr_in(&task.pid_ns()) != tgid.unsigned_abs()
    {
        return Err(ESRCH.into());
    }
    check_signo(sig.0)?;
    may_kill(task, &target, sig.0)?;
    if sig.0 != 0 {
        let info = match info {
            Some(info) => translated(task, &target, info),
            None => siginfo_from(task, &target, sig.0, SI_TKILL),
        };
        target.send_signal(info, source(task, &target))?;
    }
    Ok(0)
}

/// tgkill(2).
pub(crate) fn tgkill(task: &mut CurrentTask, tgid: i32, tid: i32, sig: Sig) -> SyscallResult {
    do_tkill(task, Some(tgid), tid, sig, None)
}

/// tkill(2).
pub(crate) fn tkill(task: &mut CurrentTask, tid: i32, sig: Sig) -> SyscallResult {
    do_tkill(task, None, tid, sig, None)
}

/// Reads a siginfo a program made; it may not claim to come from kill(2) or the kernel unless it is for itself.
fn read_info(task: &CurrentTask, addr: Addr, sig: Sig, pid: u32) -> Result<SigInfo, Errno> {
    let mut info: SigInfo = task.user()?.read_obj(addr.0)?;
    info.si_signo = sig.0;
    let own = task.group.pid.nr_in(&task.pid_ns());
    if (info.si_code >= 0 || info.si_code == SI_TKILL) && own != pid {
        return Err(EPERM);
    }
    Ok(info)
}

/// rt_sigqueueinfo(2).
pub(crate) fn rt_sigqueueinfo(task: &mut CurrentTask, pid: i32, sig: Sig, info: Addr) -> SyscallResult {
    let nr = u32::try_from(pid).map_err(|_| ESRCH)?;
    let info = read_info(task, info, sig, nr)?;
    let group = task.kernel().find_process(&task.pid_ns(), nr).ok_or(ESRCH)?;
    check_signo(sig.0)?;
    let thread = group.threads().into_iter().next().ok_or(ESRCH)?;
    may_kill(task, &thread, sig.0)?;
    if sig.0 != 0 {
        group.send_signal(translated(task, &thread, info), source(task, &thread))?;
    }
    Ok(0)
}

/// rt_tgsigqueueinfo(2).
pub(crate) fn rt_tgsigqueueinfo(
    task: &mut CurrentTask,
    tgid: i32,
    tid: i32,
    sig: Sig,
    info: Addr,
) -> SyscallResult {
    let info = read_info(task, info, sig, tgid.unsigned_abs())?;
    do_tkill(task, Some(tgid), tid, sig, Some(info))
}

/// pidfd_send_signal(2). A directory `/proc/PID` counts as a pidfd, as it did before there were any.
pub(crate) fn pidfd_send_signal(
    task: &mut CurrentTask,
    fd: Fd,
    sig: Sig,
    info: Addr,
    flags: Bits,
) -> SyscallResult {
    if flags.0 != 0 {
        return Err(EINVAL.into());
    }
    let file = task.task().files()?.get(fd.0)?;
    let (pid, group) = pidfd_group(&file).or_else(|_| tgid_pidfd_group(task.kernel(), &file))?;
    // Processes of a namespace that the caller cannot see are out of reach.
    let nr = pid.nr_in(&task.pid_ns());
    if nr == 0 {
        return Err(EINVAL.into());
    }
    let given = if info.0 == 0 {
        None
    } else {
        let read: SigInfo = task.user()?.read_obj(info.0)?;
        if read.si_signo != sig.0 {
            return Err(EINVAL.into());
        }
        Some(read_info(task, info, sig, nr)?)
    };
    still_there(&group)?;
    check_signo(sig.0)?;
    match (given, group.threads().into_iter().next()) {
        (Some(info), Some(thread)) => {
            may_kill(task, &thread, sig.0)?;
            if sig.0 != 0 {
                group.send_signal(translated(task, &thread, info), source(task, &thread))?;
            }
        }
        _ => kill_group(task, &group, sig.0)?,
    }
    Ok(0)
}

/// restart_syscall(2).
pub(crate) fn restart_syscall(task: &mut CurrentTask) -> SyscallResult {
    match task.take_restart() {
        Some(f) => f(task),
        None => Err(EINTR.into()),
    }
}
