//! Linux: kernel/time/itimer.c, kernel/time/posix-timers.c.

use crate::arg::{Addr, Bits};
use crate::time::clock::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_REALTIME,
    CLOCK_REALTIME_ALARM, CLOCK_TAI, CLOCK_THREAD_CPUTIME_ID, read_clock,
};
use sentry_kernel::{CurrentTask, OffsetClock, SyscallResult, TimerClock, TimerSpec, TimerTarget};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EOPNOTSUPP};
use sentry_uapi::signal::{NSIG, SIGALRM};
use sentry_uapi::time::{Timespec, Timeval};
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct itimerval`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct ItimerVal {
    interval: Timeval,
    value: Timeval,
}

fn timeval_nanos(tv: Timeval) -> Result<i64, Errno> {
    if tv.tv_sec < 0 || !(0..1_000_000).contains(&tv.tv_usec) {
        return Err(EINVAL);
    }
    Ok(tv.tv_sec.saturating_mul(1_000_000_000).saturating_add(tv.tv_usec * 1000))
}

fn nanos_timeval(ns: i64) -> Timeval {
    Timeval { tv_sec: ns / 1_000_000_000, tv_usec: ns % 1_000_000_000 / 1000 }
}

fn itimerval(spec: TimerSpec) -> ItimerVal {
    // A pending timer never shows as none.
    let value = if spec.value > 0 { spec.value.max(1000) } else { 0 };
    ItimerVal { interval: nanos_timeval(spec.interval), value: nanos_timeval(value) }
}

/// getitimer(2).
pub(crate) fn getitimer(task: &mut CurrentTask, which: i32, addr: Addr) -> SyscallResult {
    let timer = task.group.itimer(usize::try_from(which).map_err(|_| EINVAL)?)?;
    task.user()?.write_obj(addr.0, &itimerval(timer.get()))?;
    Ok(0)
}

/// setitimer(2).
pub(crate) fn setitimer(task: &mut CurrentTask, which: i32, new: Addr, old: Addr) -> SyscallResult {
    let mm = task.user()?.clone();
    let spec = if new.0 == 0 {
        TimerSpec::default()
    } else {
        let v: ItimerVal = mm.read_obj(new.0)?;
        TimerSpec { value: timeval_nanos(v.value)?, interval: timeval_nanos(v.interval)? }
    };
    let timer = task.group.itimer(usize::try_from(which).map_err(|_| EINVAL)?)?;
    let before = timer.set(spec, false);
    if old.0 != 0 {
        mm.write_obj(old.0, &itimerval(before))?;
    }
    Ok(0)
}

/// alarm(2).
pub(crate) fn alarm(task: &mut CurrentTask, seconds: u32) -> SyscallResult {
    let timer = task.group.itimer(0)?;
    let value = i64::from(seconds).saturating_mul(1_000_000_000);
    let before = timer.set(TimerSpec { value, interval: 0 }, false).value;
    // Rounded to the nearest second, but never to none.
    let left = if before > 0 { ((before + 500_000_000) / 1_000_000_000).max(1) } else { 0 };
    Ok(left.cast_unsigned())
}

/// `struct sigevent`, as much of it as the kernel reads.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct SigEvent {
    value: u64,
    signo: i32,
    notify: i32,
    tid: i32,
    pad: [i32; 11],
}

/// timer_create(2).
pub(crate) fn timer_create(task: &mut CurrentTask, clock: i32, event: Addr, id: Addr) -> SyscallResult {
    const SIGEV_SIGNAL: i32 = 0;
    const SIGEV_NONE: i32 = 1;
    const SIGEV_THREAD: i32 = 2;
    const SIGEV_THREAD_ID: i32 = 4;
    let kind = match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_ALARM | CLOCK_TAI => TimerClock::Realtime,
        CLOCK_MONOTONIC => TimerClock::Monotonic,
        CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => TimerClock::Boottime,
        CLOCK_PROCESS_CPUTIME_ID | CLOCK_THREAD_CPUTIME_ID => TimerClock::ProcessCpu,
        c if c < 0 => {
            // One of a process must be there; one of a device has no timers.
            if c & 7 == 3 {
                return Err(EOPNOTSUPP.into());
            }
            read_clock(task, c)?;
            TimerClock::ProcessCpu
        }
        4..=6 => return Err(EOPNOTSUPP.into()),
        _ => return Err(EINVAL.into()),
    };
    let mm = task.user()?.clone();
    let (target, value) = if event.0 == 0 {
        (TimerTarget::Process(SIGALRM), None)
    } else {
        let e: SigEvent = mm.read_obj(event.0)?;
        let signo_ok = (1..=NSIG).contains(&e.signo);
        let target = match e.notify {
            SIGEV_NONE => TimerTarget::None,
            SIGEV_SIGNAL | SIGEV_THREAD if signo_ok => TimerTarget::Process(e.signo),
            SIGEV_THREAD_ID if signo_ok => {
                let tid = u32::try_from(e.tid).map_err(|_| EINVAL)?;
                let thread = task.kernel().find_task(&task.pid_ns(), tid).ok_or(EINVAL)?;
                if !Arc::ptr_eq(&thread.group, &task.group) {
                    return Err(EINVAL.into());
                }
                TimerTarget::Thread(e.signo, Arc::downgrade(&thread))
            }
            _ => return Err(EINVAL.into()),
        };
        (target, Some(e.value))
    };
    let new = task.group.timer_create(kind, target, value)?;
    if let Err(e) = mm.write_obj(id.0, &new) {
        task.group.timer_delete(new)?;
        return Err(e.into());
    }
    Ok(0)
}

/// `struct itimerspec`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct ItimerSpec {
    interval: Timespec,
    value: Timespec,
}

fn itimerspec(spec: TimerSpec) -> ItimerSpec {
    ItimerSpec { interval: Timespec::from_nanos(spec.interval), value: Timespec::from_nanos(spec.value) }
}

/// timer_settime(2).
pub(crate) fn timer_settime(
    task: &mut CurrentTask,
    id: i32,
    flags: Bits,
    new: Addr,
    old: Addr,
) -> SyscallResult {
    /// TIMER_ABSTIME.
    const ABSTIME: u32 = 1;
    if new.0 == 0 {
        return Err(EINVAL.into());
    }
    let mm = task.user()?.clone();
    let spec: ItimerSpec = mm.read_obj(new.0)?;
    if !spec.interval.is_valid() || !spec.value.is_valid() {
        return Err(EINVAL.into());
    }
    let timer = task.group.posix_timer(id)?;
    let mut spec = TimerSpec { value: spec.value.to_nanos(), interval: spec.interval.to_nanos() };
    let absolute = flags.0 & ABSTIME != 0;
    if absolute && spec.value != 0 {
        let time = &task.task().ns().time;
        // A time that has passed is not one of disarming.
        spec.value = match timer.timer().clock() {
            TimerClock::Monotonic => time.to_host(OffsetClock::Monotonic, spec.value).max(1),
            TimerClock::Boottime => time.to_host(OffsetClock::Boottime, spec.value).max(1),
            _ => spec.value,
        };
    }
    let before = timer.timer().set(spec, absolute);
    if old.0 != 0 {
        mm.write_obj(old.0, &itimerspec(before))?;
    }
    Ok(0)
}

/// timer_gettime(2).
pub(crate) fn timer_gettime(task: &mut CurrentTask, id: i32, addr: Addr) -> SyscallResult {
    let spec = task.group.posix_timer(id)?.timer().get();
    task.user()?.write_obj(addr.0, &itimerspec(spec))?;
    Ok(0)
}

/// timer_getoverrun(2).
pub(crate) fn timer_getoverrun(task: &mut CurrentTask, id: i32) -> SyscallResult {
    Ok(task.group.posix_timer(id)?.overrun().unsigned_abs().into())
}

/// timer_delete(2).
pub(crate) fn timer_delete(task: &mut CurrentTask, id: i32) -> SyscallResult {
    task.group.timer_delete(id)?;
    Ok(0)
}
