//! Linux: kernel/sched/syscalls.c. Attributes are kept and reported; the host schedules.

use crate::arg::{Addr, Bits};
use sentry_auth::{CapSet, ns_capable};
use sentry_kernel::{CurrentTask, SyscallResult, Task, full_affinity};
use sentry_uapi::Errno;
use sentry_uapi::errno::{E2BIG, EACCES, EINVAL, EPERM, ESRCH};
use sentry_uapi::resource::{RLIMIT_NICE, RLIMIT_RTPRIO};
use sentry_uapi::time::Timespec;
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const SCHED_FIFO: u32 = 1;
const SCHED_RR: u32 = 2;
const SCHED_BATCH: u32 = 3;
const SCHED_IDLE: u32 = 5;
const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;

fn target(task: &CurrentTask, pid: i32) -> Result<Arc<Task>, Errno> {
    if pid < 0 {
        return Err(EINVAL);
    }
    if pid == 0 {
        return Ok(task.task().clone());
    }
    task.kernel().find_task(&task.pid_ns(), pid.unsigned_abs()).ok_or(ESRCH)
}

/// sched_yield(2).
pub(crate) fn sched_yield(_task: &mut CurrentTask) -> SyscallResult {
    std::thread::yield_now();
    Ok(0)
}

fn is_realtime(policy: u32) -> bool {
    matches!(policy, SCHED_FIFO | SCHED_RR)
}

fn same_owner(task: &CurrentTask, other: &Task) -> bool {
    let (c, t) = (task.task().cred(), other.cred());
    c.euid == t.euid || c.euid == t.uid
}

/// Whoever has fewer capabilities does not meddle with the scheduling of those who have more. Linux:
/// security/commoncap.c, `cap_safe_nice`.
fn cap_safe_nice(task: &CurrentTask, t: &Arc<Task>) -> Result<(), Errno> {
    let (own, other) = (task.task().cred(), t.cred());
    let less = own.cap_permitted.contains(other.cap_permitted);
    if less || ns_capable(&own, &other.user_ns, CapSet::SYS_NICE) { Ok(()) } else { Err(EPERM) }
}

/// Linux: `__sched_setscheduler`, the checks.
fn set_policy(
    task: &CurrentTask,
    t: &Arc<Task>,
    policy: u32,
    priority: i32,
    reset: bool,
    nice: Option<i32>,
) -> Result<(), Errno> {
    if !matches!(policy, 0 | SCHED_FIFO | SCHED_RR | SCHED_BATCH | SCHED_IDLE) {
        return Err(EINVAL);
    }
    if !(0..=99).contains(&priority) || is_realtime(policy) != (priority != 0) {
        return Err(EINVAL);
    }
    if !task.capable(CapSet::SYS_NICE) {
        if is_realtime(policy) {
            let limit = t.group.rlimit(RLIMIT_RTPRIO).cur;
            let current = t.sched.lock().priority;
            if policy != t.sched.lock().policy && limit == 0 {
                return Err(EPERM);
            }
            if priority > current && u64::from(priority.unsigned_abs()) > limit {
                return Err(EPERM);
            }
        }
        if !same_owner(task, t) {
            return Err(EPERM);
        }
        if t.sched.lock().reset_on_fork && !reset {
            return Err(EPERM);
        }
    }
    cap_safe_nice(task, t)?;
    let mut s = t.sched.lock();
    s.policy = policy;
    s.priority = priority;
    s.reset_on_fork = reset;
    if let Some(nice) = nice {
        s.nice = nice;
    }
    Ok(())
}

/// sched_setscheduler(2).
pub(crate) fn sched_setscheduler(
    task: &mut CurrentTask,
    pid: i32,
    policy: i32,
    param: Addr,
) -> SyscallResult {
    if policy < 0 || param.0 == 0 || pid < 0 {
        return Err(EINVAL.into());
    }
    let priority: i32 = task.user()?.read_obj(param.0)?;
    let t = target(task, pid)?;
    let bits = policy.unsigned_abs();
    let reset = bits & SCHED_RESET_ON_FORK != 0;
    set_policy(task, &t, bits & !SCHED_RESET_ON_FORK, priority, reset, None)?;
    Ok(0)
}

/// sched_setparam(2).
pub(crate) fn sched_setparam(task: &mut CurrentTask, pid: i32, param: Addr) -> SyscallResult {
    if param.0 == 0 || pid < 0 {
        return Err(EINVAL.into());
    }
    let priority: i32 = task.user()?.read_obj(param.0)?;
    let t = target(task, pid)?;
    let (policy, reset) = {
        let s = t.sched.lock();
        (s.policy, s.reset_on_fork)
    };
    set_policy(task, &t, policy, priority, reset, None)?;
    Ok(0)
}

/// sched_getscheduler(2).
pub(crate) fn sched_getscheduler(task: &mut CurrentTask, pid: i32) -> SyscallResult {
    let t = target(task, pid)?;
    let s = t.sched.lock();
    Ok(u64::from(s.policy | if s.reset_on_fork { SCHED_RESET_ON_FORK } else { 0 }))
}

/// sched_getparam(2).
pub(crate) fn sched_getparam(task: &mut CurrentTask, pid: i32, param: Addr) -> SyscallResult {
    if param.0 == 0 || pid < 0 {
        return Err(EINVAL.into());
    }
    let priority = target(task, pid)?.sched.lock().priority;
    task.user()?.write_obj(param.0, &priority)?;
    Ok(0)
}

/// `struct sched_attr`.
#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct UserSchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// Size of the first published version.
const SCHED_ATTR_SIZE_VER0: usize = 48;

/// sched_setattr(2).
pub(crate) fn sched_setattr(task: &mut CurrentTask, pid: i32, uattr: Addr, flags: Bits) -> SyscallResult {
    if uattr.0 == 0 || pid < 0 || flags.0 != 0 {
        return Err(EINVAL.into());
    }
    let mm = task.user()?.clone();
    let size: u32 = mm.read_obj(uattr.0)?;
    let size = match usize::try_from(size).unwrap_or(0) {
        0 => SCHED_ATTR_SIZE_VER0,
        n => n,
    };
    if !(SCHED_ATTR_SIZE_VER0..=4096).contains(&size) {
        return Err(E2BIG.into());
    }
    let mut bytes = vec![0; size.max(size_of::<UserSchedAttr>())];
    mm.copy_from_user(uattr.0, &mut bytes[..size])?;
    let (attr, rest) = UserSchedAttr::read_from_prefix(&bytes).map_err(|_| EINVAL)?;
    if rest.iter().any(|b| *b != 0) {
        return Err(E2BIG.into());
    }
    if attr.policy.cast_signed() < 0 || attr.flags & !0x7f != 0 {
        return Err(EINVAL.into());
    }
    let t = target(task, pid)?;
    let nice = (!is_realtime(attr.policy)).then_some(attr.nice.clamp(-20, 19));
    if let Some(nice) = nice {
        check_nice(task, &t, nice).map_err(|_| EPERM)?;
    }
    let priority = i32::try_from(attr.priority).map_err(|_| EINVAL)?;
    set_policy(task, &t, attr.policy, priority, attr.flags & 1 != 0, nice)?;
    Ok(0)
}

/// sched_getattr(2).
pub(crate) fn sched_getattr(
    task: &mut CurrentTask,
    pid: i32,
    uattr: Addr,
    size: u32,
    flags: Bits,
) -> SyscallResult {
    let len = usize::try_from(size).unwrap_or(0);
    if uattr.0 == 0 || pid < 0 || !(SCHED_ATTR_SIZE_VER0..=4096).contains(&len) || flags.0 != 0 {
        return Err(EINVAL.into());
    }
    let t = target(task, pid)?;
    let attr = {
        let s = t.sched.lock();
        let known = len.min(size_of::<UserSchedAttr>());
        UserSchedAttr {
            size: u32::try_from(known).unwrap_or(0),
            policy: s.policy,
            flags: u64::from(s.reset_on_fork),
            nice: s.nice,
            priority: s.priority.unsigned_abs(),
            ..UserSchedAttr::default()
        }
    };
    let bytes = attr.as_bytes();
    task.user()?.copy_to_user(uattr.0, &bytes[..len.min(bytes.len())])?;
    Ok(0)
}

/// sched_get_priority_max(2).
pub(crate) fn sched_get_priority_max(_task: &mut CurrentTask, policy: u32) -> SyscallResult {
    match policy {
        SCHED_FIFO | SCHED_RR => Ok(99),
        0 | SCHED_BATCH | SCHED_IDLE | 6 => Ok(0),
        _ => Err(EINVAL.into()),
    }
}

/// sched_get_priority_min(2).
pub(crate) fn sched_get_priority_min(_task: &mut CurrentTask, policy: u32) -> SyscallResult {
    match policy {
        SCHED_FIFO | SCHED_RR => Ok(1),
        0 | SCHED_BATCH | SCHED_IDLE | 6 => Ok(0),
        _ => Err(EINVAL.into()),
    }
}

/// sched_rr_get_interval(2).
pub(crate) fn sched_rr_get_interval(task: &mut CurrentTask, pid: i32, interval: Addr) -> SyscallResult {
    let t = target(task, pid)?;
    // Linux's default quanta: 100 ms for round robin, a few ms for ordinary tasks, none for first-in-first-out.
    let ns = match t.sched.lock().policy {
        SCHED_RR => 100_000_000,
        SCHED_FIFO => 0,
        _ => 4_000_000,
    };
    task.user()?.write_obj(interval.0, &Timespec::from_nanos(ns))?;
    Ok(0)
}

/// sched_setaffinity(2).
pub(crate) fn sched_setaffinity(task: &mut CurrentTask, pid: i32, len: u32, mask: Addr) -> SyscallResult {
    let t = target(task, pid).map_err(|_| ESRCH)?;
    let full = full_affinity(task.kernel().cpus);
    let bytes = usize::try_from(len).unwrap_or(0).min(full.len() * 8);
    let mut buf = vec![0; full.len() * 8];
    task.user()?.copy_from_user(mask.0, &mut buf[..bytes])?;
    if !same_owner(task, &t) && !ns_capable(&task.task().cred(), &t.cred().user_ns, CapSet::SYS_NICE) {
        return Err(EPERM.into());
    }
    let wanted: Vec<u64> = buf
        .chunks_exact(8)
        .zip(&full)
        .map(|(b, all)| u64::from_ne_bytes(b.try_into().unwrap_or_default()) & all)
        .collect();
    if wanted.iter().all(|w| *w == 0) {
        return Err(EINVAL.into());
    }
    t.sched.lock().affinity = wanted;
    Ok(0)
}

/// sched_getaffinity(2): returns the bytes written.
pub(crate) fn sched_getaffinity(task: &mut CurrentTask, pid: i32, len: u32, mask: Addr) -> SyscallResult {
    let len = usize::try_from(len).unwrap_or(0);
    let full = full_affinity(task.kernel().cpus).len() * 8;
    if len * 8 < task.kernel().cpus || !len.is_multiple_of(8) {
        return Err(EINVAL.into());
    }
    let t = target(task, pid).map_err(|_| ESRCH)?;
    let affinity = t.sched.lock().affinity.clone();
    let n = full.min(len);
    task.user()?.copy_to_user(mask.0, &affinity.as_bytes()[..n])?;
    Ok(n as u64)
}

/// Linux: `can_nice`.
fn check_nice(task: &CurrentTask, t: &Arc<Task>, nice: i32) -> Result<(), Errno> {
    let current = t.sched.lock().nice;
    if nice >= current || task.capable(CapSet::SYS_NICE) {
        return Ok(());
    }
    let wanted = u64::from((20 - nice).unsigned_abs());
    if wanted <= t.group.rlimit(RLIMIT_NICE).cur { Ok(()) } else { Err(EACCES) }
}

/// The tasks getpriority(2) and setpriority(2) mean.
fn priority_targets(task: &CurrentTask, which: i32, who: i32) -> Result<Vec<Arc<Task>>, Errno> {
    let kernel = task.kernel();
    match which {
        0 => Ok(target(task, who).into_iter().collect()),
        1 => {
            let pgrp = if who == 0 {
                crate::process::exit::own_pgrp(task)
            } else {
                crate::process::exit::global_pid(task, who)?
            };
            let members = kernel.tree.lock().pgrp_members(pgrp);
            Ok(members.iter().flat_map(|g| g.threads()).collect())
        }
        2 => {
            let cred = task.task().cred();
            let uid = if who == 0 { cred.uid } else { cred.user_ns.make_kuid(who.cast_unsigned()) };
            // Nobody has an id that is none; nobody outside of the caller's pid namespace is meant.
            let ns = task.pid_ns();
            let tree = kernel.tree.lock();
            let mine = tree.tasks.values().filter(|t| t.cred().uid == uid && t.pid().nr_in(&ns) != 0);
            Ok(mine.cloned().collect())
        }
        _ => Err(EINVAL),
    }
}

/// setpriority(2).
pub(crate) fn setpriority(task: &mut CurrentTask, which: i32, who: i32, nice: i32) -> SyscallResult {
    let nice = nice.clamp(-20, 19);
    let mut result = Err(ESRCH);
    for t in priority_targets(task, which, who)? {
        if !same_owner(task, &t) && !ns_capable(&task.task().cred(), &t.cred().user_ns, CapSet::SYS_NICE) {
            result = Err(EPERM);
            continue;
        }
        match check_nice(task, &t, nice).and_then(|()| cap_safe_nice(task, &t)) {
            Ok(()) => {
                t.sched.lock().nice = nice;
                if result == Err(ESRCH) {
                    result = Ok(());
                }
            }
            Err(e) => result = Err(e),
        }
    }
    result?;
    Ok(0)
}

/// getpriority(2): returns 20 - nice.
pub(crate) fn getpriority(task: &mut CurrentTask, which: i32, who: i32) -> SyscallResult {
    let best = priority_targets(task, which, who)?.iter().map(|t| 20 - t.sched.lock().nice).max();
    Ok(best.ok_or(ESRCH)?.unsigned_abs().into())
}

/// getcpu(2).
pub(crate) fn getcpu(task: &mut CurrentTask, cpu: Addr, node: Addr) -> SyscallResult {
    let mm = task.user()?;
    let now = task.sched.lock().affinity.iter().position(|w| *w != 0).unwrap_or(0) * 64;
    let bit = task.sched.lock().affinity.iter().find(|w| **w != 0).map_or(0, |w| w.trailing_zeros());
    let here = u32::try_from(now).unwrap_or(0) + bit;
    if cpu.0 != 0 {
        mm.write_obj(cpu.0, &here)?;
    }
    if node.0 != 0 {
        mm.write_obj(node.0, &0u32)?;
    }
    Ok(0)
}

/// membarrier(2): every thread of the sandbox passes through its host kernel when it is interrupted, which is a barrier.
pub(crate) fn membarrier(task: &mut CurrentTask, cmd: i32, flags: Bits, _cpu: i32) -> SyscallResult {
    const QUERY: i32 = 0;
    const GLOBAL: i32 = 1;
    const GLOBAL_EXPEDITED: i32 = 2;
    const REGISTER_GLOBAL_EXPEDITED: i32 = 4;
    const PRIVATE_EXPEDITED: i32 = 8;
    const REGISTER_PRIVATE_EXPEDITED: i32 = 16;
    const SYNC_CORE: i32 = 32;
    const REGISTER_SYNC_CORE: i32 = 64;
    const ALL: i32 = GLOBAL
        | GLOBAL_EXPEDITED
        | REGISTER_GLOBAL_EXPEDITED
        | PRIVATE_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED
        | SYNC_CORE
        | REGISTER_SYNC_CORE;
    if flags.0 != 0 {
        return Err(EINVAL.into());
    }
    match cmd {
        QUERY => Ok(ALL.unsigned_abs().into()),
        REGISTER_GLOBAL_EXPEDITED => Ok(0),
        REGISTER_PRIVATE_EXPEDITED | REGISTER_SYNC_CORE => {
            task.group.register_membarrier(cmd == REGISTER_SYNC_CORE);
            Ok(0)
        }
        PRIVATE_EXPEDITED | SYNC_CORE => {
            if !task.group.has_membarrier(cmd == SYNC_CORE) {
                return Err(EPERM.into());
            }
            for t in task.group.threads() {
                t.interrupt_guest();
            }
            Ok(0)
        }
        GLOBAL | GLOBAL_EXPEDITED => {
            let tasks: Vec<Arc<Task>> = task.kernel().tree.lock().tasks.values().cloned().collect();
            for t in tasks {
                t.interrupt_guest();
            }
            Ok(0)
        }
        _ => Err(EINVAL.into()),
    }
}

/// Class of an I/O priority.
const IOPRIO_CLASS_SHIFT: u32 = 13;

/// The tasks ioprio_set(2) means: as setpriority(2), counted from one.
fn ioprio_targets(task: &CurrentTask, which: i32, who: i32) -> Result<Vec<Arc<Task>>, Errno> {
    let found = priority_targets(task, which.checked_sub(1).ok_or(EINVAL)?, who)?;
    if found.is_empty() { Err(ESRCH) } else { Ok(found) }
}

/// ioprio_set(2): kept and reported. Linux: block/ioprio.c.
pub(crate) fn ioprio_set(task: &mut CurrentTask, which: i32, who: i32, ioprio: i32) -> SyscallResult {
    const CLASS_NONE: u32 = 0;
    const CLASS_RT: u32 = 1;
    const CLASS_BE: u32 = 2;
    const CLASS_IDLE: u32 = 3;
    let value = u32::try_from(ioprio).map_err(|_| EINVAL)?;
    let (class, level) = (value >> IOPRIO_CLASS_SHIFT, value & ((1 << IOPRIO_CLASS_SHIFT) - 1));
    let cred = task.task().cred();
    match class {
        CLASS_RT if !task.capable(CapSet::SYS_ADMIN) && !task.capable(CapSet::SYS_NICE) => {
            return Err(EPERM.into());
        }
        CLASS_RT | CLASS_BE if level < 8 => {}
        CLASS_IDLE => {}
        CLASS_NONE if level == 0 => {}
        _ => return Err(EINVAL.into()),
    }
    let kept = u16::try_from(value).map_err(|_| EINVAL)?;
    for t in ioprio_targets(task, which, who)? {
        let uid = t.cred().uid;
        if uid != cred.euid && uid != cred.uid && !task.capable(CapSet::SYS_NICE) {
            return Err(EPERM.into());
        }
        cap_safe_nice(task, &t)?;
        t.sched.lock().ioprio = kept;
    }
    Ok(0)
}

/// ioprio_get(2): the best of those asked for.
pub(crate) fn ioprio_get(task: &mut CurrentTask, which: i32, who: i32) -> SyscallResult {
    let best = ioprio_targets(task, which, who)?.iter().map(|t| t.sched.lock().ioprio).min_by_key(|p| {
        // No class of its own is best effort.
        if *p >> IOPRIO_CLASS_SHIFT == 0 { 2 << IOPRIO_CLASS_SHIFT | 4 } else { *p }
    });
    Ok(best.ok_or(ESRCH)?.into())
}
