//! Interval timers and POSIX timers of a process. Linux: kernel/time/itimer.c, kernel/time/posix-timers.c.

use crate::signal::SigSource;
use crate::{Kernel, Task, ThreadGroup};
use sentry_sync::{Mutex, level};
use sentry_time::{Expire, TimerHandle, TimerQueue};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EINVAL};
use sentry_uapi::resource::{RLIM_INFINITY, RLIMIT_CPU};
use sentry_uapi::signal::{SI_KERNEL, SI_TIMER, SIGALRM, SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU, SigInfo};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// Most POSIX timers a process may have.
const MAX_POSIX_TIMERS: usize = 4096;
/// How soon CPU-time timers look again when they seem due: the threads have then reported their time.
const CPU_RECHECK: i64 = 1_000_000;

/// Time until a timer fires, and between firings; nanoseconds, 0 for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerSpec {
    /// Until it fires.
    pub value: i64,
    /// Between firings.
    pub interval: i64,
}

/// What a timer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerClock {
    /// CLOCK_MONOTONIC.
    Monotonic,
    /// CLOCK_BOOTTIME.
    Boottime,
    /// CLOCK_REALTIME: absolute times follow it when they are set.
    Realtime,
    /// CPU time of the process.
    ProcessCpu,
    /// Guest CPU time of the process.
    ProcessVirtual,
}

/// What a timer does when it fires so many times at once.
type Action = Box<dyn Fn(u64) + Send + Sync>;

/// A timer that may repeat.
pub struct IntervalTimer {
    kernel: Weak<Kernel>,
    group: Weak<ThreadGroup>,
    queue: Arc<TimerQueue>,
    clock: TimerClock,
    action: Action,
    weak: Weak<IntervalTimer>,
    state: Mutex<IntervalState, { level::BUFFER_PEER }>,
}

#[derive(Default)]
struct IntervalState {
    /// On the timer's own clock; none when disarmed.
    deadline: Option<i64>,
    interval: i64,
    handle: Option<TimerHandle>,
}

impl IntervalTimer {
    fn new(
        kernel: &Arc<Kernel>,
        group: &Arc<ThreadGroup>,
        clock: TimerClock,
        action: Action,
    ) -> Arc<IntervalTimer> {
        Arc::new_cyclic(|weak| IntervalTimer {
            kernel: Arc::downgrade(kernel),
            group: Arc::downgrade(group),
            queue: kernel.timers.clone(),
            clock,
            action,
            weak: weak.clone(),
            state: Mutex::new(IntervalState::default()),
        })
    }

    fn now(&self) -> i64 {
        let Some(kernel) = self.kernel.upgrade() else { return 0 };
        let cpu = |virt: bool| {
            let usage = self.group.upgrade().map(|g| g.cpu_usage()).unwrap_or_default();
            i64::try_from(if virt { usage.0 } else { usage.0 + usage.1 }).unwrap_or(i64::MAX)
        };
        match self.clock {
            TimerClock::Monotonic => kernel.clocks.monotonic(),
            TimerClock::Boottime => kernel.clocks.boottime(),
            TimerClock::Realtime => kernel.clocks.realtime_nanos(),
            TimerClock::ProcessCpu => cpu(false),
            TimerClock::ProcessVirtual => cpu(true),
        }
    }

    /// What it counts.
    pub fn clock(&self) -> TimerClock {
        self.clock
    }

    /// Arms or disarms; `absolute` times are on the timer's clock. Returns what was set before.
    pub fn set(&self, spec: TimerSpec, absolute: bool) -> TimerSpec {
        let now = self.now();
        let mut state = self.state.lock();
        let old = view(&state, now);
        state.handle = None;
        state.interval = spec.interval;
        state.deadline = match (spec.value, absolute) {
            (0, _) => None,
            (at, true) => Some(at),
            (after, false) => Some(now.saturating_add(after)),
        };
        self.arm(&mut state, now);
        old
    }

    /// Time left and interval.
    pub fn get(&self) -> TimerSpec {
        let now = self.now();
        view(&self.state.lock(), now)
    }

    /// Expirations that are due and that nobody has acted on, of a timer that repeats; they are over then. Linux:
    /// `hrtimer_forward`.
    fn forward(&self) -> u64 {
        let now = self.now();
        let mut state = self.state.lock();
        let due = overdue(&state, now);
        if due > 0 && state.interval > 0 {
            self.skip(&mut state, due, now);
            return u64::try_from(due).unwrap_or(0);
        }
        0
    }

    /// Sets the deadline behind expirations that are over, and arms it.
    fn skip(&self, state: &mut IntervalState, due: i64, now: i64) {
        let span = state.interval.saturating_mul(due);
        state.deadline = state.deadline.map(|deadline| deadline.saturating_add(span));
        self.arm(state, now);
    }

    fn arm(&self, state: &mut IntervalState, now: i64) {
        let (Some(deadline), Some(kernel)) = (state.deadline, self.kernel.upgrade()) else { return };
        let wait = deadline.saturating_sub(now).max(0);
        let at = match self.clock {
            TimerClock::Monotonic => deadline,
            TimerClock::Realtime | TimerClock::Boottime => kernel.clocks.monotonic().saturating_add(wait),
            // CPU time passes no faster than real time on each processor.
            TimerClock::ProcessCpu | TimerClock::ProcessVirtual => {
                let cpus = i64::try_from(kernel.cpus).unwrap_or(1).max(1);
                kernel.clocks.monotonic().saturating_add((wait / cpus).max(CPU_RECHECK))
            }
        };
        let target: Weak<dyn Expire> = self.weak.clone();
        state.handle = Some(self.queue.add(at, target));
    }
}

/// How often a timer has expired since its deadline was set.
fn overdue(state: &IntervalState, now: i64) -> i64 {
    match state.deadline {
        Some(deadline) if deadline <= now && state.interval > 0 => (now - deadline) / state.interval + 1,
        Some(deadline) => i64::from(deadline <= now),
        None => 0,
    }
}

fn view(state: &IntervalState, now: i64) -> TimerSpec {
    let value = state.deadline.map_or(0, |d| d.saturating_sub(now).max(1));
    TimerSpec { value, interval: state.interval }
}

impl Expire for IntervalTimer {
    fn expire(&self) {
        if matches!(self.clock, TimerClock::ProcessCpu | TimerClock::ProcessVirtual)
            && let Some(group) = self.group.upgrade()
        {
            // Threads in guest code add their time when they leave it.
            for t in group.threads() {
                t.kick();
            }
        }
        let now = self.now();
        let count = {
            let mut state = self.state.lock();
            let due = overdue(&state, now);
            if due == 0 {
                self.arm(&mut state, now);
                return;
            }
            if state.interval > 0 {
                self.skip(&mut state, due, now);
            } else {
                state.deadline = None;
            }
            u64::try_from(due).unwrap_or(1)
        };
        (self.action)(count);
    }
}

/// Where a POSIX timer's signal goes.
#[derive(Clone)]
pub enum TimerTarget {
    /// Nowhere (SIGEV_NONE).
    None,
    /// The process.
    Process(i32),
    /// One thread (SIGEV_THREAD_ID).
    Thread(i32, Weak<Task>),
}

/// A timer made by timer_create(2).
pub struct PosixTimer {
    id: i32,
    target: TimerTarget,
    value: u64,
    timer: Arc<IntervalTimer>,
    state: Arc<Mutex<Overrun, { level::LEAF }>>,
}

#[derive(Default)]
struct Overrun {
    /// Its signal is queued and not taken yet.
    queued: bool,
    /// Firings since the one that queued the signal.
    pending: i32,
    /// Firings that the last signal taken stood for, less one.
    last: i32,
}

impl PosixTimer {
    /// The timer behind it.
    pub fn timer(&self) -> &Arc<IntervalTimer> {
        &self.timer
    }

    /// timer_getoverrun(2).
    pub fn overrun(&self) -> i32 {
        self.state.lock().last
    }

    /// Signal number, where it sends one; for `/proc/[pid]/timers`.
    pub fn target(&self) -> (&TimerTarget, u64) {
        (&self.target, self.value)
    }
}

/// Timers of a process.
#[derive(Default)]
pub struct ProcessTimers {
    itimers: [Option<Arc<IntervalTimer>>; 3],
    posix: BTreeMap<i32, Arc<PosixTimer>>,
    next_id: i32,
    /// Watches RLIMIT_CPU.
    cpu_limit: Option<Arc<IntervalTimer>>,
}

impl ThreadGroup {
    /// Guest and sentry CPU time of all threads, in nanoseconds.
    pub fn cpu_usage(&self) -> (u64, u64) {
        let dead = *self.dead_threads.lock();
        self.threads().iter().fold((dead.utime, dead.stime), |(u, s), t| {
            let usage = t.usage();
            (u + usage.utime, s + usage.stime)
        })
    }

    /// One of the three interval timers: ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF.
    ///
    /// # Errors
    /// `EINVAL` for another number.
    pub fn itimer(self: &Arc<Self>, which: usize) -> Result<Arc<IntervalTimer>, Errno> {
        let (clock, signo) = match which {
            0 => (TimerClock::Monotonic, SIGALRM),
            1 => (TimerClock::ProcessVirtual, SIGVTALRM),
            2 => (TimerClock::ProcessCpu, SIGPROF),
            _ => return Err(EINVAL),
        };
        let kernel = self.kernel.upgrade().ok_or(EINVAL)?;
        let mut timers = self.timers.lock();
        let slot = timers.itimers.get_mut(which).ok_or(EINVAL)?;
        if let Some(timer) = slot {
            return Ok(timer.clone());
        }
        let group = Arc::downgrade(self);
        let action: Action = Box::new(move |_| {
            if let Some(group) = group.upgrade() {
                let _ = group.send_signal(SigInfo::new(signo, SI_KERNEL), SigSource::Outside);
            }
        });
        let timer = IntervalTimer::new(&kernel, self, clock, action);
        *slot = Some(timer.clone());
        Ok(timer)
    }

    /// Watches RLIMIT_CPU, where there is one: SIGXCPU at the soft limit and every second after it, SIGKILL at the hard
    /// one. Linux: kernel/time/posix-cpu-timers.c, `check_process_timers`.
    pub fn watch_cpu_limit(self: &Arc<Self>) {
        let limit = self.rlimit(RLIMIT_CPU);
        let Some(kernel) = self.kernel.upgrade() else { return };
        if limit.cur == RLIM_INFINITY {
            self.timers.lock().cpu_limit = None;
            return;
        }
        let seconds = |s: u64| i64::try_from(s).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        let group = Arc::downgrade(self);
        let action: Action = Box::new(move |_| {
            let Some(group) = group.upgrade() else { return };
            let (user, system) = group.cpu_usage();
            let hard = group.rlimit(RLIMIT_CPU).max;
            let used = i64::try_from(user + system).unwrap_or(i64::MAX);
            group.kill(if hard != RLIM_INFINITY && used >= seconds(hard) { SIGKILL } else { SIGXCPU });
        });
        let timer = IntervalTimer::new(&kernel, self, TimerClock::ProcessCpu, action);
        timer.set(TimerSpec { value: seconds(limit.cur.max(1)), interval: seconds(1) }, true);
        self.timers.lock().cpu_limit = Some(timer);
    }

    /// timer_create(2). With no `value` given, the signal carries the timer's id.
    ///
    /// # Errors
    /// `EAGAIN` with too many timers.
    pub fn timer_create(
        self: &Arc<Self>,
        clock: TimerClock,
        target: TimerTarget,
        value: Option<u64>,
    ) -> Result<i32, Errno> {
        let kernel = self.kernel.upgrade().ok_or(EINVAL)?;
        let mut timers = self.timers.lock();
        if timers.posix.len() >= MAX_POSIX_TIMERS {
            return Err(EAGAIN);
        }
        let id = timers.next_id;
        timers.next_id = timers.next_id.wrapping_add(1).max(0);
        let value = value.unwrap_or(u64::try_from(id).unwrap_or(0));
        let state = Arc::new(Mutex::new(Overrun::default()));
        let action = self.posix_action(id, target.clone(), value, state.clone());
        let timer = IntervalTimer::new(&kernel, self, clock, action);
        timers.posix.insert(id, Arc::new(PosixTimer { id, target, value, timer, state }));
        Ok(id)
    }

    fn posix_action(
        self: &Arc<Self>,
        id: i32,
        target: TimerTarget,
        value: u64,
        state: Arc<Mutex<Overrun, { level::LEAF }>>,
    ) -> Action {
        let group = Arc::downgrade(self);
        Box::new(move |count| {
            let Some(group) = group.upgrade() else { return };
            let count = i32::try_from(count).unwrap_or(i32::MAX);
            {
                let mut s = state.lock();
                if matches!(target, TimerTarget::None) {
                    return;
                }
                if s.queued {
                    s.pending = s.pending.saturating_add(count);
                    return;
                }
                s.queued = true;
                s.pending = count - 1;
            }
            let _ = match &target {
                TimerTarget::None => Ok(()),
                TimerTarget::Process(signo) => {
                    group.send_signal(SigInfo::from_timer(*signo, id, 0, value), SigSource::Outside)
                }
                TimerTarget::Thread(signo, task) => match task.upgrade() {
                    Some(t) => t.send_signal(SigInfo::from_timer(*signo, id, 0, value), SigSource::Outside),
                    None => Ok(()),
                },
            };
        })
    }

    /// A POSIX timer.
    ///
    /// # Errors
    /// `EINVAL` if there is none with this id.
    pub fn posix_timer(&self, id: i32) -> Result<Arc<PosixTimer>, Errno> {
        self.timers.lock().posix.get(&id).cloned().ok_or(EINVAL)
    }

    /// All POSIX timers by id.
    pub fn posix_timers(&self) -> Vec<(i32, Arc<PosixTimer>)> {
        self.timers.lock().posix.iter().map(|(id, t)| (*id, t.clone())).collect()
    }

    /// timer_delete(2).
    ///
    /// # Errors
    /// `EINVAL` if there is none with this id.
    pub fn timer_delete(&self, id: i32) -> Result<(), Errno> {
        let gone = self.timers.lock().posix.remove(&id).ok_or(EINVAL)?;
        gone.timer.set(TimerSpec::default(), false);
        Ok(())
    }

    /// A timer's signal is being taken: it says how often the timer has fired since, be it that the thread of timers is late.
    /// Linux: kernel/time/posix-timers.c, `posixtimer_rearm`.
    pub(crate) fn timer_signal_taken(&self, info: &mut SigInfo) {
        debug_assert_eq!(info.si_code, SI_TIMER);
        let Ok(timer) = self.posix_timer(info.word(0)) else { return };
        debug_assert_eq!(timer.id, info.word(0));
        let late = i32::try_from(timer.timer.forward()).unwrap_or(i32::MAX);
        let mut s = timer.state.lock();
        s.queued = false;
        s.last = std::mem::take(&mut s.pending).saturating_add(late);
        info.put(4, s.last.to_ne_bytes());
    }

    /// POSIX timers do not survive execve(2); interval timers do.
    pub(crate) fn timers_exec(&self) {
        let gone = std::mem::take(&mut self.timers.lock().posix);
        drop(gone);
    }

    /// The process has ended.
    pub(crate) fn timers_gone(&self) {
        let gone = std::mem::take(&mut *self.timers.lock());
        drop(gone);
    }
}
