//! Linux: fs/timerfd.c.
//!
//! As there, a periodic timer rests after it has run out until somebody reads it or asks for its state, and counts then
//! what it has missed; so a short period costs nothing while nobody looks.

use crate::{File, FileOps, PollTable, Pseudo, TaskContext, Vfs};
use sentry_auth::CapSet;
use sentry_mm::IoDst;
use sentry_sync::{Mutex, WaitQueue, level};
use sentry_time::{Clocks, Expire, TimerHandle, TimerQueue};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, ECANCELED, EFAULT, EINVAL, ENOTTY, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::poll::POLLIN;
use sentry_uapi::time::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_REALTIME_ALARM, Itimerspec,
    Timespec,
};
use sentry_uapi::timerfd::{
    TFD_CLOEXEC, TFD_IOC_SET_TICKS, TFD_NONBLOCK, TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET,
};
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// What a deadline is counted on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Base {
    Monotonic,
    Boottime,
    Realtime,
}

impl Base {
    fn now(self, clocks: &Clocks) -> i64 {
        match self {
            Base::Monotonic => clocks.monotonic(),
            Base::Boottime => clocks.boottime(),
            Base::Realtime => clocks.realtime_nanos(),
        }
    }
}

/// A timer to read and wait on. Linux: `struct timerfd_ctx`.
struct TimerFd {
    /// Itself, for the timer queue.
    this: Weak<TimerFd>,
    clock: i32,
    state: Mutex<State, { level::BUFFER }>,
    queue: WaitQueue,
    clocks: Arc<Clocks>,
    timers: Arc<TimerQueue>,
    realtime: Arc<RealtimeTimers>,
}

struct State {
    base: Base,
    /// When it runs out next, or ran out last; on `base`, in nanoseconds. None while disarmed.
    deadline: Option<i64>,
    /// Period in nanoseconds; 0 for none.
    interval: i64,
    /// Times it has run out since the last read, as far as they have been counted.
    ticks: u64,
    /// It has run out and not been counted on since.
    expired: bool,
    /// The clock was set while TFD_TIMER_CANCEL_ON_SET was in force.
    canceled: bool,
    flags: u32,
    pending: Option<TimerHandle>,
}

/// Timers set to a time of CLOCK_REALTIME, for when that is set. Linux: `cancel_list`.
#[derive(Default)]
pub(crate) struct RealtimeTimers {
    timers: Mutex<HashMap<usize, Weak<TimerFd>>, { level::LEAF }>,
}

impl State {
    /// Counts the periods that have passed, and moves the deadline beyond `now`. Linux: `hrtimer_forward`.
    fn forward(&mut self, now: i64) -> u64 {
        let Some(deadline) = self.deadline.filter(|d| *d <= now && self.interval > 0) else { return 0 };
        let passed = now.saturating_sub(deadline) / self.interval;
        let step = passed.saturating_mul(self.interval).saturating_add(self.interval);
        self.deadline = Some(deadline.saturating_add(step));
        u64::try_from(passed).unwrap_or(0).saturating_add(1)
    }

    fn remaining(&self, now: i64) -> i64 {
        self.deadline.map_or(0, |d| d.saturating_sub(now).max(0))
    }
}

impl TimerFd {
    fn now(&self, state: &State) -> i64 {
        state.base.now(&self.clocks)
    }

    /// Queues the timer for its deadline.
    fn start(&self, state: &mut State) {
        let Some(deadline) = state.deadline else { return };
        let left = deadline.saturating_sub(self.now(state));
        let at = self.clocks.monotonic().saturating_add(left);
        state.pending = Some(self.timers.add(at, self.this.clone()));
    }

    /// Goes on from the last expiry of a periodic timer; returns what was missed since.
    fn restart(&self, state: &mut State) -> u64 {
        if !state.expired || state.interval == 0 {
            return 0;
        }
        state.expired = false;
        let missed = state.forward(self.now(state)).saturating_sub(1);
        self.start(state);
        missed
    }

    /// Takes the count of expirations.
    fn take(&self) -> Result<u64, Errno> {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.canceled) {
            state.ticks = 0;
            state.expired = false;
            return Err(ECANCELED);
        }
        if state.ticks == 0 {
            return Err(EAGAIN);
        }
        let missed = self.restart(&mut state);
        state.expired = false;
        Ok(std::mem::take(&mut state.ticks).saturating_add(missed))
    }

    fn settime(&self, flags: u32, new: &Itimerspec) -> Result<Itimerspec, Errno> {
        let realtime = matches!(self.clock, CLOCK_REALTIME | CLOCK_REALTIME_ALARM);
        let absolute = flags & TFD_TIMER_ABSTIME != 0;
        self.realtime.watch(self, realtime && absolute);
        let mut state = self.state.lock();
        let now = self.now(&state);
        if state.expired {
            state.forward(now);
        }
        let old = state.itimerspec(now);
        let value = new.it_value.to_nanos();
        // A distance in time is one whatever becomes of the clock.
        state.base = match (self.clock, absolute) {
            (CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM, _) => Base::Boottime,
            (CLOCK_REALTIME | CLOCK_REALTIME_ALARM, true) => Base::Realtime,
            _ => Base::Monotonic,
        };
        let from = if absolute { 0 } else { self.now(&state) };
        state.deadline = (value != 0).then(|| from.saturating_add(value));
        state.interval = new.it_interval.to_nanos();
        state.ticks = 0;
        state.expired = false;
        state.pending = None;
        self.start(&mut state);
        if flags & TFD_TIMER_CANCEL_ON_SET == 0 || !(realtime && absolute) {
            state.canceled = false;
        } else if value != 0 && std::mem::take(&mut state.canceled) {
            return Err(ECANCELED);
        }
        state.flags = flags;
        Ok(old)
    }

    fn gettime(&self) -> Itimerspec {
        let mut state = self.state.lock();
        let missed = self.restart(&mut state);
        state.ticks = state.ticks.saturating_add(missed);
        state.itimerspec(self.now(&state))
    }

    /// The clock the deadline may be counted on was set.
    fn clock_was_set(&self) {
        let mut state = self.state.lock();
        if state.base != Base::Realtime {
            return;
        }
        if !state.expired {
            state.pending = None;
            self.start(&mut state);
        }
        if state.flags & TFD_TIMER_CANCEL_ON_SET == 0 {
            return;
        }
        state.canceled = true;
        state.ticks = state.ticks.saturating_add(1);
        drop(state);
        self.queue.wake(POLLIN);
    }
}

impl State {
    fn itimerspec(&self, now: i64) -> Itimerspec {
        Itimerspec {
            it_interval: Timespec::from_nanos(self.interval),
            it_value: Timespec::from_nanos(self.remaining(now)),
        }
    }
}

impl Expire for TimerFd {
    fn expire(&self) {
        let mut state = self.state.lock();
        if state.expired || state.deadline.is_none() {
            return;
        }
        if state.remaining(self.now(&state)) > 0 {
            // An earlier setting has run out while the timer was set anew, or the host's clock has been set back.
            self.start(&mut state);
            return;
        }
        state.expired = true;
        state.ticks = state.ticks.saturating_add(1);
        drop(state);
        self.queue.wake(POLLIN);
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        self.realtime.timers.lock().remove(&std::ptr::from_ref(self).addr());
    }
}

impl RealtimeTimers {
    fn watch(&self, timer: &TimerFd, on: bool) {
        let key = std::ptr::from_ref(timer).addr();
        let mut timers = self.timers.lock();
        if on {
            timers.insert(key, timer.this.clone());
        } else {
            timers.remove(&key);
        }
    }
}

struct TimerFile(Arc<TimerFd>);

impl FileOps for TimerFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        _pos: u64,
    ) -> Result<usize, Errno> {
        if dst.remaining() < size_of::<u64>() {
            return Err(EINVAL);
        }
        let ticks = self.0.take()?.to_ne_bytes();
        if dst.write(&ticks)? < ticks.len() { Err(EFAULT) } else { Ok(ticks.len()) }
    }

    fn seekable(&self) -> bool {
        false
    }

    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        table.wait(&self.0.queue);
        if self.0.state.lock().ticks > 0 { POLLIN } else { 0 }
    }

    fn ioctl(&self, _file: &File, ctx: &dyn TaskContext, cmd: u32, arg: u64) -> Result<i64, Errno> {
        if cmd != TFD_IOC_SET_TICKS {
            return Err(ENOTTY);
        }
        let ticks: u64 = ctx.mm()?.read_obj(arg)?;
        if ticks == 0 {
            return Err(EINVAL);
        }
        let mut state = self.0.state.lock();
        if std::mem::take(&mut state.canceled) {
            return Err(ECANCELED);
        }
        state.ticks = ticks;
        drop(state);
        self.0.queue.wake(POLLIN);
        Ok(0)
    }

    fn show_fdinfo(&self, _file: &File) -> String {
        let state = self.0.state.lock();
        let spec = state.itimerspec(self.0.now(&state));
        format!(
            "clockid: {}\nticks: {}\nsettime flags: 0{:o}\nit_value: ({}, {})\nit_interval: ({}, {})\n",
            self.0.clock,
            state.ticks,
            state.flags,
            spec.it_value.tv_sec,
            spec.it_value.tv_nsec,
            spec.it_interval.tv_sec,
            spec.it_interval.tv_nsec,
        )
    }
}

fn is_alarm(clock: i32) -> bool {
    matches!(clock, CLOCK_REALTIME_ALARM | CLOCK_BOOTTIME_ALARM)
}

/// timerfd_create(2). Of `flags`, TFD_CLOEXEC is the caller's.
///
/// # Errors
/// `EINVAL` for unknown flags or a clock without timers; `EPERM` for an alarm clock without CAP_WAKE_ALARM.
pub fn do_timerfd_create(ctx: &dyn TaskContext, clock: i32, flags: u32) -> Result<Arc<File>, Errno> {
    let known = matches!(
        clock,
        CLOCK_MONOTONIC | CLOCK_REALTIME | CLOCK_REALTIME_ALARM | CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM
    );
    if flags & !(TFD_CLOEXEC | TFD_NONBLOCK) != 0 || !known {
        return Err(EINVAL);
    }
    let vfs = ctx.vfs();
    if is_alarm(clock) && !ctx.vfs().capable(&ctx.cred(), CapSet::WAKE_ALARM) {
        return Err(EPERM);
    }
    let timer = Arc::new_cyclic(|this| TimerFd {
        this: this.clone(),
        clock,
        state: Mutex::new(State {
            base: Base::Monotonic,
            deadline: None,
            interval: 0,
            ticks: 0,
            expired: false,
            canceled: false,
            flags: 0,
            pending: None,
        }),
        queue: WaitQueue::new(),
        clocks: vfs.clocks.clone(),
        timers: vfs.timers.clone(),
        realtime: vfs.realtime_timers.clone(),
    });
    let mut open = OpenFlags::RDWR;
    open.set(OpenFlags::NONBLOCK, flags & TFD_NONBLOCK != 0);
    let ops = Box::new(TimerFile(timer));
    Ok(vfs.pseudo_file(Pseudo::Anon, "[timerfd]", ops, open, ctx.cred()))
}

/// timerfd_settime(2): the setting before.
///
/// # Errors
/// `EINVAL` for unknown flags, an invalid time, or a file that is no timerfd; `EPERM` for an alarm clock without
/// CAP_WAKE_ALARM; `ECANCELED` if the clock was set meanwhile (the timer is set all the same). Linux: `do_timerfd_settime`.
pub fn do_timerfd_settime(
    ctx: &dyn TaskContext,
    file: &File,
    flags: u32,
    new: &Itimerspec,
) -> Result<Itimerspec, Errno> {
    if flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 || !new.is_valid() {
        return Err(EINVAL);
    }
    let timer = &file.downcast::<TimerFile>().ok_or(EINVAL)?.0;
    if is_alarm(timer.clock) && !ctx.vfs().capable(&ctx.cred(), CapSet::WAKE_ALARM) {
        return Err(EPERM);
    }
    let mut new = *new;
    if flags & TFD_TIMER_ABSTIME != 0 && new.it_value.to_nanos() != 0 {
        let ahead = match timer.clock {
            CLOCK_REALTIME | CLOCK_REALTIME_ALARM => 0,
            clock => ctx.timens_offset(matches!(clock, CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM)),
        };
        // A time that has passed is not one of disarming.
        let at = new.it_value.to_nanos().saturating_sub(ahead).max(1);
        new.it_value = Timespec::from_nanos(at);
    }
    timer.settime(flags, &new)
}

/// timerfd_gettime(2): the time left, and the period. `EINVAL` for a file that is no timerfd.
pub fn do_timerfd_gettime(file: &File) -> Result<Itimerspec, Errno> {
    Ok(file.downcast::<TimerFile>().ok_or(EINVAL)?.0.gettime())
}

/// To be called after CLOCK_REALTIME of a kernel has been set.
pub fn timerfd_clock_was_set(vfs: &Vfs) {
    let timers: Vec<Arc<TimerFd>> =
        vfs.realtime_timers.timers.lock().values().filter_map(Weak::upgrade).collect();
    for timer in timers {
        timer.clock_was_set();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IoFlags, TestContext};
    use sentry_auth::UserNamespace;

    const SEC: i64 = 1_000_000_000;

    /// A task on clocks that stand still.
    fn scripted() -> TestContext {
        let clocks = Arc::new(Clocks::scripted());
        let vfs = Vfs::new(clocks, &UserNamespace::new_initial());
        let mut ctx = TestContext::new();
        ctx.vfs = vfs;
        ctx
    }

    fn spec(value: i64, interval: i64) -> Itimerspec {
        Itimerspec { it_interval: Timespec::from_nanos(interval), it_value: Timespec::from_nanos(value) }
    }

    fn read(ctx: &TestContext, file: &File) -> Result<u64, Errno> {
        let mut buf = [0; 8];
        file.read(ctx, &mut IoDst::from_slice(&mut buf), IoFlags::NOWAIT)?;
        Ok(u64::from_ne_bytes(buf))
    }

    fn advance(ctx: &TestContext, nanos: i64) {
        ctx.vfs.clocks.advance(nanos);
        ctx.vfs.timers.run_expired();
    }

    /// Reads a timer that is due. The queue's own thread may be about to run it.
    fn read_due(ctx: &TestContext, file: &File) -> Result<u64, Errno> {
        loop {
            match read(ctx, file) {
                Err(EAGAIN) => std::thread::yield_now(),
                done => return done,
            }
        }
    }

    #[test]
    fn a_periodic_timer_counts_what_nobody_has_read() -> Result<(), Errno> {
        let ctx = scripted();
        let file = do_timerfd_create(&ctx, CLOCK_MONOTONIC, 0)?;
        assert_eq!(read(&ctx, &file), Err(EAGAIN));
        assert_eq!(do_timerfd_settime(&ctx, &file, 0, &spec(5 * SEC, 2 * SEC)), Ok(spec(0, 0)));
        advance(&ctx, 4 * SEC);
        assert_eq!(do_timerfd_gettime(&file), Ok(spec(SEC, 2 * SEC)));
        assert_eq!(file.poll_now(), 0);
        advance(&ctx, 6 * SEC);
        while file.poll_now() != POLLIN {
            std::thread::yield_now();
        }
        // At 5, 7 and 9.
        assert_eq!(read_due(&ctx, &file), Ok(3));
        assert_eq!(do_timerfd_gettime(&file), Ok(spec(SEC, 2 * SEC)));
        advance(&ctx, SEC);
        while do_timerfd_gettime(&file)? != spec(2 * SEC, 2 * SEC) {
            std::thread::yield_now();
        }
        assert_eq!(read_due(&ctx, &file), Ok(1));
        assert_eq!(do_timerfd_settime(&ctx, &file, 0, &spec(0, 0)), Ok(spec(2 * SEC, 2 * SEC)));
        advance(&ctx, 100 * SEC);
        assert_eq!(read(&ctx, &file), Err(EAGAIN));
        Ok(())
    }

    #[test]
    fn absolute_times_follow_their_clock() -> Result<(), Errno> {
        let ctx = scripted();
        let file = do_timerfd_create(&ctx, CLOCK_REALTIME, 0)?;
        let now = ctx.vfs.clocks.realtime_nanos();
        do_timerfd_settime(&ctx, &file, TFD_TIMER_ABSTIME, &spec(now - 1, 0))?;
        advance(&ctx, 0);
        assert_eq!(read_due(&ctx, &file), Ok(1));
        do_timerfd_settime(&ctx, &file, TFD_TIMER_ABSTIME, &spec(now + 100 * SEC, 0))?;
        ctx.vfs.clocks.set_realtime(now + 99 * SEC);
        timerfd_clock_was_set(&ctx.vfs);
        advance(&ctx, SEC - 1);
        assert_eq!(read(&ctx, &file), Err(EAGAIN));
        advance(&ctx, 1);
        assert_eq!(read_due(&ctx, &file), Ok(1));
        // A distance does not.
        do_timerfd_settime(&ctx, &file, 0, &spec(100 * SEC, 0))?;
        ctx.vfs.clocks.set_realtime(now + 1000 * SEC);
        timerfd_clock_was_set(&ctx.vfs);
        advance(&ctx, SEC);
        assert_eq!(do_timerfd_gettime(&file), Ok(spec(99 * SEC, 0)));
        Ok(())
    }

    #[test]
    fn setting_the_clock_cancels_once() -> Result<(), Errno> {
        let ctx = scripted();
        let file = do_timerfd_create(&ctx, CLOCK_REALTIME, 0)?;
        let now = ctx.vfs.clocks.realtime_nanos();
        let flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
        do_timerfd_settime(&ctx, &file, flags, &spec(now + 100 * SEC, 0))?;
        ctx.vfs.clocks.set_realtime(now + SEC);
        timerfd_clock_was_set(&ctx.vfs);
        assert_eq!(file.poll_now(), POLLIN);
        assert_eq!((read(&ctx, &file), read(&ctx, &file)), (Err(ECANCELED), Err(EAGAIN)));
        timerfd_clock_was_set(&ctx.vfs);
        assert_eq!(do_timerfd_settime(&ctx, &file, flags, &spec(now + 5 * SEC, 0)), Err(ECANCELED));
        advance(&ctx, 4 * SEC);
        assert_eq!(read_due(&ctx, &file), Ok(1));
        Ok(())
    }

    #[test]
    fn errors() -> Result<(), Errno> {
        let ctx = TestContext::new();
        assert_eq!(do_timerfd_create(&ctx, 2, 0).err(), Some(EINVAL));
        assert_eq!(do_timerfd_create(&ctx, CLOCK_MONOTONIC, 1).err(), Some(EINVAL));
        let file = do_timerfd_create(&ctx, CLOCK_MONOTONIC, 0)?;
        assert_eq!(do_timerfd_settime(&ctx, &file, 4, &spec(1, 0)), Err(EINVAL));
        let bad = Itimerspec { it_value: Timespec { tv_sec: 0, tv_nsec: SEC }, ..Itimerspec::default() };
        assert_eq!(do_timerfd_settime(&ctx, &file, 0, &bad), Err(EINVAL));
        assert_eq!(do_timerfd_gettime(&*crate::do_eventfd(&ctx, 0, 0)?), Err(EINVAL));
        Ok(())
    }

    #[test]
    fn a_blocked_reader_is_woken() -> Result<(), Errno> {
        let ctx = TestContext::new();
        let file = do_timerfd_create(&ctx, CLOCK_MONOTONIC, 0)?;
        do_timerfd_settime(&ctx, &file, 0, &spec(2_000_000, 1_000_000))?;
        for _ in 0..3 {
            let mut buf = [0; 8];
            assert_eq!(file.read(&ctx, &mut IoDst::from_slice(&mut buf), IoFlags::empty()), Ok(8));
            assert!(u64::from_ne_bytes(buf) >= 1);
        }
        Ok(())
    }
}
