//! Signals that have nothing to say, and timers.

use super::{Doing, Participant, Roll, must, nap, shared};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// Interrupts a partner's sleep.
pub(super) const WAKE: i32 = libc::SIGUSR1;
/// Waited for by a partner; blocked everywhere.
pub(super) const WAKE_QUEUED: i32 = libc::SIGURG;
/// Sent to anybody; the calls it interrupts go on.
const NOISE: i32 = libc::SIGUSR2;
/// Sent by a thread's own timer.
const TIMER: i32 = libc::SIGIO;

/// Who sends noise, and who lives by a timer.
const SIGNALLERS: usize = 6;
const TIMERS: usize = 2;

static ALARMS: AtomicU64 = AtomicU64::new(0);
static HEARD: AtomicU64 = AtomicU64::new(0);

/// How often the interval timer has come.
pub(super) fn alarms() -> u64 {
    ALARMS.load(SeqCst)
}

extern "C" fn hear(signal: i32) {
    if signal == libc::SIGALRM {
        ALARMS.fetch_add(1, SeqCst);
    } else {
        HEARD.fetch_add(1, SeqCst);
    }
}

/// A set of these signals.
pub(super) fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: all zeroes is a set, which the calls fill in.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

/// Handlers for all of them.
pub(super) fn install() {
    let restart = libc::SA_RESTART;
    let hear: extern "C" fn(i32) = hear;
    for (signal, flags) in [(WAKE, 0), (NOISE, restart), (libc::SIGALRM, restart), (TIMER, 0)] {
        // SAFETY: the handler adds to a number.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = hear as usize;
            action.sa_flags = flags;
            must("sigaction", libc::sigaction(signal, &raw const action, std::ptr::null_mut()).into());
        }
    }
    let queued = set_of(&[WAKE_QUEUED, TIMER]);
    // SAFETY: the set lives. Threads started from here on have the mask.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const queued, std::ptr::null_mut()) };
}

/// The watchdog hears nothing.
pub(super) fn block_all() {
    // SAFETY: all zeroes is a set, which the call fills in.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
    }
}

/// From now on the process has a SIGALRM every five milliseconds, and whichever thread takes it, its handler runs.
pub(super) fn start_alarm() {
    let time = libc::timeval { tv_sec: 0, tv_usec: 5000 };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: the value lives.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    must("setitimer", set.into());
}

pub(super) fn add(roll: &mut Roll) {
    for n in 0..SIGNALLERS {
        roll.add(format!("signaller {n}"), move |me| disturb(me, n));
    }
    for n in 0..TIMERS {
        roll.add(format!("timer {n}"), live_by_timer);
    }
}

/// Signals everybody in turn.
fn disturb(me: &'static Participant, n: usize) {
    let others = shared().participants();
    let mut targets = others.iter().cycle().skip(n * 11);
    while !shared().stop() {
        for target in targets.by_ref().take(8) {
            // SAFETY: passes integers only. The other may have ended meanwhile.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), target.tid(), NOISE) };
        }
        me.did_one();
        me.now(Doing::Sleeps);
        nap(Duration::from_millis(1));
    }
}

/// Sets a timer that signals this thread, and waits for it.
fn live_by_timer(me: &'static Participant) {
    let set = set_of(&[TIMER]);
    // SAFETY: what the calls read and write lives as long as they.
    unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = TIMER;
        event.sigev_notify_thread_id = libc::gettid();
        let mut timer = std::mem::zeroed();
        let made = libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer);
        must("timer_create", made.into());
        while !shared().stop() {
            let mut time: libc::itimerspec = std::mem::zeroed();
            time.it_value.tv_nsec = 1_000_000;
            let armed = libc::timer_settime(timer, 0, &raw const time, std::ptr::null_mut());
            must("timer_settime", armed.into());
            me.now(Doing::AwaitsTimer);
            while libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) != TIMER {}
            me.did_one();
        }
        must("timer_delete", libc::timer_delete(timer).into());
    }
}
