//! Linux: kernel/futex/syscalls.c.

use crate::arg::{Addr, FutexOp, TimespecAddr};
use crate::time::clock::{CLOCK_MONOTONIC, deadline_after, deadline_on, read_clock};
use sentry_kernel::futex::FutexWaitv;
use sentry_kernel::{CurrentTask, SyscallExit, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOSYS, ERESTARTSYS, ESRCH};
use sentry_uapi::time::Timespec;
use std::sync::atomic::Ordering;
use std::time::Instant;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const FUTEX_WAIT: u32 = 0;
const FUTEX_WAKE: u32 = 1;
const FUTEX_REQUEUE: u32 = 3;
const FUTEX_CMP_REQUEUE: u32 = 4;
const FUTEX_WAKE_OP: u32 = 5;
const FUTEX_LOCK_PI: u32 = 6;
const FUTEX_UNLOCK_PI: u32 = 7;
const FUTEX_TRYLOCK_PI: u32 = 8;
const FUTEX_WAIT_BITSET: u32 = 9;
const FUTEX_WAKE_BITSET: u32 = 10;
const FUTEX_LOCK_PI2: u32 = 13;
const FUTEX_PRIVATE_FLAG: u32 = 128;
const FUTEX_CLOCK_REALTIME: u32 = 256;

/// futex(2).
pub(crate) fn futex(
    task: &mut CurrentTask,
    uaddr: Addr,
    op: FutexOp,
    val: u32,
    timeout: TimespecAddr,
    uaddr2: Addr,
    val3: u32,
) -> SyscallResult {
    let cmd = op.0 & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    let private = op.0 & FUTEX_PRIVATE_FLAG != 0;
    let realtime = op.0 & FUTEX_CLOCK_REALTIME != 0;
    if realtime && !matches!(cmd, FUTEX_WAIT | FUTEX_WAIT_BITSET | FUTEX_LOCK_PI2) {
        return Err(ENOSYS.into());
    }
    // For these the time-out's register is a second count.
    let val2 = u32::try_from(timeout.0 & 0xffff_ffff).unwrap_or(0);
    let mm = task.user()?.clone();
    let kernel = task.kernel().clone();
    let futexes = kernel.futexes();
    let signed = |n: u32| if n.cast_signed() < 0 { Err(EINVAL) } else { Ok(n) };
    match cmd {
        FUTEX_WAIT | FUTEX_WAIT_BITSET => {
            let absolute = cmd == FUTEX_WAIT_BITSET;
            let deadline = read_deadline(task, timeout, absolute, realtime)?;
            let bitset = if absolute { val3 } else { u32::MAX };
            let word = FutexWaitv { addr: uaddr.0, value: val, private };
            wait(task, word, bitset, deadline)
        }
        FUTEX_WAKE => Ok(futexes.wake(&mm, uaddr.0, private, wake_count(val), u32::MAX)?.into()),
        FUTEX_WAKE_BITSET => Ok(futexes.wake(&mm, uaddr.0, private, wake_count(val), val3)?.into()),
        FUTEX_REQUEUE | FUTEX_CMP_REQUEUE => {
            let counts = (signed(val)?, signed(val2)?);
            let expected = (cmd == FUTEX_CMP_REQUEUE).then_some(val3);
            Ok(futexes.requeue(&mm, uaddr.0, uaddr2.0, private, counts, expected)?.into())
        }
        FUTEX_WAKE_OP => {
            let counts = (wake_count(val), wake_count(val2));
            Ok(futexes.wake_op(&mm, uaddr.0, uaddr2.0, private, counts, val3)?.into())
        }
        FUTEX_LOCK_PI | FUTEX_LOCK_PI2 => {
            let on_realtime = cmd == FUTEX_LOCK_PI || realtime;
            let deadline = read_deadline(task, timeout, true, on_realtime)?;
            task.futex_lock_pi(uaddr.0, private, deadline, false).map_err(no_restart_with(deadline))?;
            Ok(0)
        }
        FUTEX_TRYLOCK_PI => {
            task.futex_lock_pi(uaddr.0, private, None, true)?;
            Ok(0)
        }
        FUTEX_UNLOCK_PI => {
            task.futex_unlock_pi(uaddr.0, private)?;
            Ok(0)
        }
        _ => Err(ENOSYS.into()),
    }
}

/// Linux wakes one waiter for a count of zero or less.
fn wake_count(val: u32) -> u32 {
    if val.cast_signed() <= 0 { 1 } else { val }
}

/// A lock that waited with a time-out is made again with the same absolute time.
fn no_restart_with(_deadline: Option<Instant>) -> impl Fn(Errno) -> Errno {
    |e| if e == ERESTARTSYS { sentry_uapi::errno::ERESTARTNOINTR } else { e }
}

fn wait(task: &mut CurrentTask, word: FutexWaitv, bitset: u32, deadline: Option<Instant>) -> SyscallResult {
    match task.futex_wait(word, bitset, deadline) {
        Ok(()) => Ok(0),
        // A wait with a time-out goes on, after a signal, for what is left of it.
        Err(ERESTARTSYS) if deadline.is_some() => {
            Err(task.set_restart(Box::new(move |task| wait(task, word, bitset, deadline))))
        }
        Err(e) => Err(e.into()),
    }
}

fn read_deadline(
    task: &CurrentTask,
    addr: TimespecAddr,
    absolute: bool,
    realtime: bool,
) -> Result<Option<Instant>, Errno> {
    if addr.0 == 0 {
        return Ok(None);
    }
    let ts: Timespec = task.user()?.read_obj(addr.0)?;
    if !ts.is_valid() {
        return Err(EINVAL);
    }
    Ok(Some(match (absolute, realtime) {
        (false, _) => deadline_after(ts),
        (true, true) => deadline_on(task.kernel().clocks.realtime_nanos(), ts),
        (true, false) => deadline_on(read_clock(task, CLOCK_MONOTONIC)?, ts),
    }))
}

/// `struct futex_waitv`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct UserWaitv {
    val: u64,
    uaddr: u64,
    flags: u32,
    reserved: u32,
}

/// futex_waitv(2).
pub(crate) fn futex_waitv(
    task: &mut CurrentTask,
    waiters: Addr,
    count: u32,
    flags: u32,
    timeout: TimespecAddr,
    clock: i32,
) -> SyscallResult {
    /// Most words of one wait.
    const FUTEX_WAITV_MAX: u32 = 128;
    /// A word of 32 bits.
    const FUTEX_32: u32 = 2;
    if flags != 0 || count == 0 || count > FUTEX_WAITV_MAX || waiters.0 == 0 {
        return Err(EINVAL.into());
    }
    let deadline = if timeout.0 == 0 {
        None
    } else {
        let realtime = match clock {
            0 => true,
            1 => false,
            _ => return Err(EINVAL.into()),
        };
        read_deadline(task, timeout, true, realtime)?
    };
    let entries = task.user()?.read_array::<UserWaitv>(waiters.0, usize::try_from(count).unwrap_or(0))?;
    let mut words = Vec::with_capacity(entries.len());
    for e in entries {
        if e.flags & !(FUTEX_PRIVATE_FLAG | FUTEX_32) != 0 || e.reserved != 0 || e.flags & FUTEX_32 == 0 {
            return Err(EINVAL.into());
        }
        let value = u32::try_from(e.val & 0xffff_ffff).unwrap_or(0);
        words.push(FutexWaitv { addr: e.uaddr, value, private: e.flags & FUTEX_PRIVATE_FLAG != 0 });
    }
    Ok(task.futex_wait_multiple(&words, deadline)?.into())
}

/// Size of `struct robust_list_head`.
const ROBUST_LIST_HEAD: usize = 24;

/// set_robust_list(2).
pub(crate) fn set_robust_list(task: &mut CurrentTask, head: Addr, len: usize) -> SyscallResult {
    if len != ROBUST_LIST_HEAD {
        return Err(EINVAL.into());
    }
    task.robust_list.store(head.0, Ordering::Relaxed);
    Ok(0)
}

/// get_robust_list(2).
pub(crate) fn get_robust_list(task: &mut CurrentTask, pid: i32, head: Addr, len: Addr) -> SyscallResult {
    let target = if pid == 0 {
        task.task().clone()
    } else {
        let nr = u32::try_from(pid).map_err(|_| ESRCH)?;
        task.kernel().find_task(&task.pid_ns(), nr).ok_or(ESRCH)?
    };
    if !crate::process::ids::may_access(task, &target) {
        return Err(SyscallExit::Errno(sentry_uapi::errno::EPERM));
    }
    let mm = task.user()?;
    mm.write_obj(len.0, &(ROBUST_LIST_HEAD as u64))?;
    mm.write_obj(head.0, &target.robust_list.load(Ordering::Relaxed))?;
    Ok(0)
}
