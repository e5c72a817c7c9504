//! POSIX timers.

use crate::prelude::*;
use crate::sys::Ret;
use libc::*;

fn event(notify: i32, signal: i32, value: usize) -> sigevent {
    let mut event: sigevent = zeroed();
    event.sigev_notify = notify;
    event.sigev_signo = signal;
    event.sigev_value.sival_ptr = std::ptr::without_provenance_mut(value);
    event
}

#[track_caller]
fn create(clock: i32, event: &sigevent) -> i32 {
    let mut id = -1_i32;
    sys!(timer_create(clock, &raw const *event, &raw mut id)).ok();
    id
}

fn set(id: i32, flags: i32, first: i64, interval: i64) -> Ret {
    let spec = itimerspec { it_interval: msec(interval), it_value: msec(first) };
    sys!(timer_settime(id, flags, &raw const spec, 0))
}

#[case(as_root, as_user)]
fn a_signal_carries_the_value_and_its_code(t: &mut Guest) {
    t.block(&[SIGUSR1]);
    let id = create(CLOCK_MONOTONIC, &event(SIGEV_SIGNAL, SIGUSR1, 77));
    set(id, 0, 1, 0).ok();
    let info = t.take(&[SIGUSR1]);
    expect_eq!((info.code(), info.status(), info.pid()), (SI_TIMER, 77, id));
}

#[case(as_root, as_user)]
fn without_an_event_it_is_sigalrm_with_the_id(t: &mut Guest) {
    t.block(&[SIGALRM]);
    let mut id = -1_i32;
    sys!(timer_create(CLOCK_REALTIME, 0, &raw mut id)).ok();
    set(id, 0, 1, 0).ok();
    let info = t.take(&[SIGALRM]);
    expect_eq!((info.code(), info.status()), (SI_TIMER, id));
}

#[case(as_root, as_user)]
fn a_thread_can_be_named(t: &mut Guest) {
    t.block(&[SIGUSR1]);
    let done = t.pipe();
    let thread = t.thread(move || {
        let mut event = event(SIGEV_THREAD_ID, SIGUSR1, 5);
        event.sigev_notify_thread_id = sys!(gettid()).fd();
        set(create(CLOCK_MONOTONIC, &event), 0, 1, 0).ok();
        let set = 1_u64 << (SIGUSR1 - 1);
        sys!(rt_sigtimedwait(&raw const set, 0, 0, 8)).is(SIGUSR1);
        done.signal();
    });
    done.wait();
    thread.join();
    expect_eq!(t.pending(), 0);
}

#[case(as_root, as_user)]
fn none_only_counts_down(t: &mut Guest) {
    let id = create(CLOCK_MONOTONIC, &event(SIGEV_NONE, 0, 0));
    set(id, 0, 100_000, 7000).ok();
    let mut now: itimerspec = zeroed();
    sys!(timer_gettime(id, &raw mut now)).ok();
    check!(now.it_value.tv_sec >= 90 && now.it_value.tv_sec <= 100);
    expect_eq!(now.it_interval.tv_sec, 7);
    expect_eq!(t.pending(), 0);
}

#[case(as_root, as_user)]
fn missed_expirations_are_the_overrun(t: &mut Guest) {
    t.block(&[SIGUSR1]);
    let id = create(CLOCK_MONOTONIC, &event(SIGEV_SIGNAL, SIGUSR1, 0));
    set(id, 0, 1, 1).ok();
    let start = std::time::Instant::now();
    t.until(|| start.elapsed().as_millis() >= 20);
    let info = t.take(&[SIGUSR1]);
    check!(info.overrun() >= 10, "{}", info.overrun());
    sys!(timer_getoverrun(id)).is(info.overrun());
    sys!(timer_delete(id)).ok();
}

#[case(as_root, as_user)]
fn an_absolute_time_in_the_past_expires_at_once(t: &mut Guest) {
    t.block(&[SIGUSR1]);
    let id = create(CLOCK_REALTIME, &event(SIGEV_SIGNAL, SIGUSR1, 0));
    set(id, TIMER_ABSTIME, 1000, 0).ok();
    t.take(&[SIGUSR1]);
}

#[case(as_root, as_user)]
fn ids_start_at_zero_and_go_with_delete(_t: &mut Guest) {
    let id = create(CLOCK_MONOTONIC, &event(SIGEV_NONE, 0, 0));
    expect_eq!(id, 0);
    sys!(timer_delete(id)).ok();
    sys!(timer_delete(id)).fails(EINVAL);
    sys!(timer_getoverrun(id)).fails(EINVAL);
    sys!(timer_gettime(id, 0)).fails(EINVAL);
    set(id, 0, 1, 0).fails(EINVAL);
}

#[case(as_root, as_user)]
fn arguments_are_checked(_t: &mut Guest) {
    let mut id = 0_i32;
    let wrong = event(99, SIGUSR1, 0);
    sys!(timer_create(CLOCK_MONOTONIC, &raw const wrong, &raw mut id)).fails(EINVAL);
    let wrong = event(SIGEV_SIGNAL, 65, 0);
    sys!(timer_create(CLOCK_MONOTONIC, &raw const wrong, &raw mut id)).fails(EINVAL);
    sys!(timer_create(99, 0, &raw mut id)).fails(EINVAL);
    sys!(timer_create(CLOCK_MONOTONIC, 0, 8)).fails(EFAULT);
    let id = create(CLOCK_MONOTONIC, &event(SIGEV_NONE, 0, 0));
    let spec = itimerspec { it_interval: msec(0), it_value: timespec { tv_sec: 0, tv_nsec: 1_000_000_000 } };
    sys!(timer_settime(id, 0, &raw const spec, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn they_are_not_inherited(t: &mut Guest) {
    let id = create(CLOCK_MONOTONIC, &event(SIGEV_NONE, 0, 0));
    t.fork(|| sys!(timer_delete(id)).fails(EINVAL)).done();
}

#[case(as_root, as_user)]
fn a_cpu_time_timer_signals_after_work(t: &mut Guest) {
    t.catch(SIGUSR1, 0);
    set(create(CLOCK_PROCESS_CPUTIME_ID, &event(SIGEV_SIGNAL, SIGUSR1, 0)), 0, 10, 0).ok();
    while t.caught().is_empty() {
        std::hint::spin_loop();
    }
}
