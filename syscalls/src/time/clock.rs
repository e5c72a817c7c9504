//! Linux: kernel/time/time.c, posix-timers.c, hrtimer.c.

use crate::arg::{Addr, TimespecAddr};
use fs_vfs::{Sleep, TaskContext};
use sentry_auth::{CapSet, ns_capable};
use sentry_kernel::{CurrentTask, OffsetClock, SyscallResult};
use sentry_time::adjtime_sets;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EFAULT, EINVAL, EOPNOTSUPP, EPERM, ERESTARTNOHAND, ESRCH};
use sentry_uapi::time::{Timespec, Timeval};
use sentry_uapi::timex::Timex;
use std::time::{Duration, Instant};

pub(crate) const CLOCK_REALTIME: i32 = 0;
pub(crate) const CLOCK_MONOTONIC: i32 = 1;
pub(crate) const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
pub(crate) const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
pub(crate) const CLOCK_MONOTONIC_RAW: i32 = 4;
pub(crate) const CLOCK_REALTIME_COARSE: i32 = 5;
pub(crate) const CLOCK_MONOTONIC_COARSE: i32 = 6;
pub(crate) const CLOCK_BOOTTIME: i32 = 7;
pub(crate) const CLOCK_REALTIME_ALARM: i32 = 8;
pub(crate) const CLOCK_BOOTTIME_ALARM: i32 = 9;
pub(crate) const CLOCK_TAI: i32 = 11;
const TIMER_ABSTIME: i32 = 1;

/// When a relative time from now has passed; times beyond what can be counted are never.
pub(crate) fn deadline_after(ts: Timespec) -> Instant {
    let ns = u64::try_from(ts.to_nanos()).unwrap_or(0);
    Instant::now().checked_add(Duration::from_nanos(ns)).unwrap_or_else(far_future)
}

/// When an absolute time comes, on a clock that stands at `now`.
pub(crate) fn deadline_on(now: i64, ts: Timespec) -> Instant {
    let left = u64::try_from(ts.to_nanos().saturating_sub(now)).unwrap_or(0);
    Instant::now().checked_add(Duration::from_nanos(left)).unwrap_or_else(far_future)
}

fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(1 << 32)
}

/// CPU time of a process or thread that a dynamic clock id names. Linux: `MAKE_PROCESS_CPUCLOCK`.
fn cpu_clock(task: &CurrentTask, id: i32) -> Result<i64, Errno> {
    let pid = !(id >> 3);
    let per_thread = id & 4 != 0;
    let which = id & 3;
    if which == 3 || pid < 0 {
        return Err(EINVAL);
    }
    let (u, s) = if pid == 0 {
        if per_thread { thread_time(task) } else { task.group.cpu_usage() }
    } else {
        let target = task.kernel().find_task(&task.pid_ns(), pid.unsigned_abs()).ok_or(EINVAL)?;
        if per_thread {
            let usage = target.usage();
            (usage.utime, usage.stime)
        } else {
            target.group.cpu_usage()
        }
    };
    Ok(i64::try_from(if which == 1 { u } else { u + s }).unwrap_or(i64::MAX))
}

fn thread_time(task: &CurrentTask) -> (u64, u64) {
    let usage = task.usage();
    (usage.utime, usage.stime)
}

fn nanos(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What a clock shows, in nanoseconds.
pub(crate) fn read_clock(task: &CurrentTask, id: i32) -> Result<i64, Errno> {
    let clocks = &task.kernel().clocks;
    Ok(match id {
        CLOCK_REALTIME | CLOCK_REALTIME_COARSE | CLOCK_REALTIME_ALARM | CLOCK_TAI => clocks.realtime_nanos(),
        CLOCK_MONOTONIC | CLOCK_MONOTONIC_RAW | CLOCK_MONOTONIC_COARSE => {
            clocks.monotonic().saturating_add(task.task().ns().time.offset(OffsetClock::Monotonic))
        }
        CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => {
            clocks.boottime().saturating_add(task.task().ns().time.offset(OffsetClock::Boottime))
        }
        CLOCK_PROCESS_CPUTIME_ID => {
            let (u, s) = task.group.cpu_usage();
            nanos(u + s)
        }
        CLOCK_THREAD_CPUTIME_ID => {
            let (u, s) = thread_time(task);
            nanos(u + s)
        }
        id if id < 0 => cpu_clock(task, id)?,
        _ => return Err(EINVAL),
    })
}

/// clock_gettime(2).
pub(crate) fn clock_gettime(task: &mut CurrentTask, clock: i32, ts: Addr) -> SyscallResult {
    let now = read_clock(task, clock)?;
    task.user()?.write_obj(ts.0, &Timespec::from_nanos(now))?;
    Ok(0)
}

/// clock_getres(2).
pub(crate) fn clock_getres(task: &mut CurrentTask, clock: i32, ts: Addr) -> SyscallResult {
    read_clock(task, clock)?;
    // One tick of a kernel with 250 of them in a second.
    let res = if matches!(clock, CLOCK_REALTIME_COARSE | CLOCK_MONOTONIC_COARSE) { 4_000_000 } else { 1 };
    if ts.0 != 0 {
        task.user()?.write_obj(ts.0, &Timespec::from_nanos(res))?;
    }
    Ok(0)
}

fn set_realtime(task: &CurrentTask, ts: Timespec) -> Result<(), Errno> {
    if !ts.is_valid() {
        return Err(EINVAL);
    }
    let cred = task.task().cred();
    if !ns_capable(&cred, &task.kernel().user_ns, CapSet::SYS_TIME) {
        return Err(EPERM);
    }
    task.kernel().clocks.set_realtime(ts.to_nanos());
    Ok(())
}

/// clock_settime(2): sets the real-time clock of this kernel; the host's stays.
pub(crate) fn clock_settime(task: &mut CurrentTask, clock: i32, ts: Addr) -> SyscallResult {
    if clock != CLOCK_REALTIME {
        return Err(if clock < 0 { EPERM } else { EINVAL }.into());
    }
    let ts: Timespec = task.user()?.read_obj(ts.0)?;
    set_realtime(task, ts)?;
    Ok(0)
}

/// gettimeofday(2).
pub(crate) fn gettimeofday(task: &mut CurrentTask, tv: Addr, tz: Addr) -> SyscallResult {
    let mm = task.user()?;
    if tv.0 != 0 {
        let now = task.kernel().clocks.realtime();
        mm.write_obj(tv.0, &Timeval { tv_sec: now.tv_sec, tv_usec: now.tv_nsec / 1000 })?;
    }
    if tz.0 != 0 {
        mm.write_obj(tz.0, &[0i32; 2])?;
    }
    Ok(0)
}

/// settimeofday(2).
pub(crate) fn settimeofday(task: &mut CurrentTask, tv: Addr, tz: Addr) -> SyscallResult {
    let mm = task.user()?.clone();
    if tz.0 != 0 {
        mm.read_obj::<[i32; 2]>(tz.0)?;
    }
    if tv.0 != 0 {
        let tv: Timeval = mm.read_obj(tv.0)?;
        if !(0..1_000_000).contains(&tv.tv_usec) {
            return Err(EINVAL.into());
        }
        set_realtime(task, Timespec { tv_sec: tv.tv_sec, tv_nsec: tv.tv_usec * 1000 })?;
    }
    Ok(0)
}

/// time(2).
pub(crate) fn time(task: &mut CurrentTask, addr: Addr) -> SyscallResult {
    let now = task.kernel().clocks.realtime().tv_sec;
    if addr.0 != 0 {
        task.user()?.write_obj(addr.0, &now)?;
    }
    Ok(now.cast_unsigned())
}

/// Sleeps until the deadline; a restart goes on with the same one.
fn sleep_until(task: &mut CurrentTask, deadline: Instant, rem: Addr) -> SyscallResult {
    match sleep(task, deadline) {
        Ok(()) => Ok(0),
        Err(_) => {
            if rem.0 != 0 {
                let left = deadline.saturating_duration_since(Instant::now());
                let left = i64::try_from(left.as_nanos()).unwrap_or(i64::MAX);
                task.user()?.write_obj(rem.0, &Timespec::from_nanos(left)).map_err(|_| EFAULT)?;
            }
            Err(task.set_restart(Box::new(move |task| sleep_until(task, deadline, rem))))
        }
    }
}

fn sleep(task: &CurrentTask, deadline: Instant) -> Result<(), Errno> {
    while TaskContext::sleep(task, Some(deadline))? != Sleep::TimedOut {}
    Ok(())
}

/// nanosleep(2).
pub(crate) fn nanosleep(task: &mut CurrentTask, req: TimespecAddr, rem: Addr) -> SyscallResult {
    let ts: Timespec = task.user()?.read_obj(req.0)?;
    if !ts.is_valid() {
        return Err(EINVAL.into());
    }
    sleep_until(task, deadline_after(ts), rem)
}

/// clock_nanosleep(2).
pub(crate) fn clock_nanosleep(
    task: &mut CurrentTask,
    clock: i32,
    flags: i32,
    req: TimespecAddr,
    rem: Addr,
) -> SyscallResult {
    match clock {
        CLOCK_REALTIME
        | CLOCK_MONOTONIC
        | CLOCK_BOOTTIME
        | CLOCK_TAI
        | CLOCK_PROCESS_CPUTIME_ID
        | CLOCK_REALTIME_ALARM
        | CLOCK_BOOTTIME_ALARM => {}
        CLOCK_THREAD_CPUTIME_ID | CLOCK_MONOTONIC_RAW | CLOCK_REALTIME_COARSE | CLOCK_MONOTONIC_COARSE => {
            return Err(EOPNOTSUPP.into());
        }
        c if c < 0 => {
            cpu_clock(task, c).map_err(|e| if e == ESRCH { EINVAL } else { e })?;
        }
        _ => return Err(EINVAL.into()),
    }
    let ts: Timespec = task.user()?.read_obj(req.0)?;
    if !ts.is_valid() {
        return Err(EINVAL.into());
    }
    let absolute = flags & TIMER_ABSTIME != 0;
    if clock == CLOCK_PROCESS_CPUTIME_ID || clock < 0 {
        return sleep_on_cpu_clock(task, clock, ts, absolute);
    }
    if !absolute {
        return sleep_until(task, deadline_after(ts), rem);
    }
    let deadline = deadline_on(read_clock(task, clock)?, ts);
    match sleep(task, deadline) {
        Ok(()) => Ok(0),
        // The same absolute time is asked for again.
        Err(_) => Err(ERESTARTNOHAND.into()),
    }
}

/// CPU time passes at most as fast as the processors together; looks again when it could have.
fn sleep_on_cpu_clock(task: &mut CurrentTask, clock: i32, ts: Timespec, absolute: bool) -> SyscallResult {
    let start = read_clock(task, clock)?;
    let target = if absolute { ts.to_nanos() } else { start.saturating_add(ts.to_nanos()) };
    let cpus = i64::try_from(task.kernel().cpus).unwrap_or(1).max(1);
    loop {
        let left = target.saturating_sub(read_clock(task, clock)?);
        if left <= 0 {
            return Ok(0);
        }
        let step = Timespec::from_nanos((left / cpus).max(1_000_000));
        if sleep(task, deadline_after(step)).is_err() {
            return Err(ERESTARTNOHAND.into());
        }
    }
}

/// adjtimex(2): what is set is told back, but the clock follows the host's.
pub(crate) fn adjtimex(task: &mut CurrentTask, buf: Addr) -> SyscallResult {
    let mut timex: Timex = task.user()?.read_obj(buf.0)?;
    let state = do_adjtimex(task, &mut timex)?;
    task.user()?.write_obj(buf.0, &timex)?;
    Ok(state)
}

/// clock_adjtime(2).
pub(crate) fn clock_adjtime(task: &mut CurrentTask, clock: i32, buf: Addr) -> SyscallResult {
    let mut timex: Timex = task.user()?.read_obj(buf.0)?;
    read_clock(task, clock)?;
    if clock != CLOCK_REALTIME {
        return Err(EOPNOTSUPP.into());
    }
    let state = do_adjtimex(task, &mut timex)?;
    task.user()?.write_obj(buf.0, &timex)?;
    Ok(state)
}

fn do_adjtimex(task: &CurrentTask, timex: &mut Timex) -> Result<u64, Errno> {
    let cred = task.task().cred();
    if adjtime_sets(timex)? && !ns_capable(&cred, &task.kernel().user_ns, CapSet::SYS_TIME) {
        return Err(EPERM);
    }
    task.kernel().clocks.adjust(timex)
}
