//! Clocks and sleeps.

use crate::prelude::*;
use libc::*;

#[track_caller]
fn now(clock: i32) -> i64 {
    let mut time: timespec = zeroed();
    sys!(clock_gettime(clock, &raw mut time)).ok();
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

#[case(as_root, as_user)]
fn every_clock_tells_a_time_and_a_resolution(_t: &mut Guest) {
    let clocks = [
        CLOCK_REALTIME,
        CLOCK_MONOTONIC,
        CLOCK_PROCESS_CPUTIME_ID,
        CLOCK_THREAD_CPUTIME_ID,
        CLOCK_MONOTONIC_RAW,
        CLOCK_REALTIME_COARSE,
        CLOCK_MONOTONIC_COARSE,
        CLOCK_BOOTTIME,
        CLOCK_TAI,
    ];
    for clock in clocks {
        check!(now(clock) > 0, "clock {clock}");
        let mut resolution: timespec = zeroed();
        sys!(clock_getres(clock, &raw mut resolution)).ok();
        check!(resolution.tv_sec == 0 && resolution.tv_nsec > 0, "clock {clock}: {}", resolution.tv_nsec);
        sys!(clock_getres(clock, 0)).ok();
    }
    sys!(clock_gettime(99, 0)).fails(EINVAL);
    sys!(clock_getres(99, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn the_monotonic_clock_does_not_go_back(_t: &mut Guest) {
    let mut last = now(CLOCK_MONOTONIC);
    for _ in 0..1000 {
        let next = now(CLOCK_MONOTONIC);
        check!(next >= last, "{next} after {last}");
        last = next;
    }
}

#[case(as_root, as_user)]
fn the_vdso_and_the_call_agree(_t: &mut Guest) {
    for clock in [CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME] {
        let before = now(clock);
        let quick = deadline(clock, 0);
        let after = now(clock);
        let quick = quick.tv_sec * 1_000_000_000 + quick.tv_nsec;
        check!(before <= quick && quick <= after, "clock {clock}: {before} {quick} {after}");
    }
}

#[case(as_root, as_user)]
fn nanosleep_sleeps_at_least_so_long(_t: &mut Guest) {
    let start = now(CLOCK_MONOTONIC);
    let time = msec(20);
    sys!(nanosleep(&raw const time, 0)).is(0);
    check!(now(CLOCK_MONOTONIC) - start >= 20_000_000);
}

#[case(as_root, as_user)]
fn nanosleep_refuses_what_is_no_time(_t: &mut Guest) {
    let mut time = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    sys!(nanosleep(&raw const time, 0)).fails(EINVAL);
    time = timespec { tv_sec: -1, tv_nsec: 0 };
    sys!(nanosleep(&raw const time, 0)).fails(EINVAL);
    sys!(nanosleep(1, 0)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn an_interrupted_nanosleep_tells_what_remains(t: &mut Guest) {
    t.catch(SIGALRM, 0);
    let soon = itimerval { it_interval: zeroed(), it_value: timeval { tv_sec: 0, tv_usec: 10_000 } };
    sys!(setitimer(ITIMER_REAL, &raw const soon, 0)).ok();
    let (time, mut rest) = (msec(60_000), msec(0));
    sys!(nanosleep(&raw const time, &raw mut rest)).fails(EINTR);
    check!(rest.tv_sec >= 30 && rest.tv_sec < 60, "{} s", rest.tv_sec);
}

#[case(as_root, as_user)]
fn an_absolute_sleep_ends_at_its_time(_t: &mut Guest) {
    let end = deadline(CLOCK_MONOTONIC, 20);
    sys!(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &raw const end, 0)).is(0);
    check!(now(CLOCK_MONOTONIC) >= end.tv_sec * 1_000_000_000 + end.tv_nsec);
    sys!(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &raw const end, 0)).is(0);
    sys!(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &raw const end, 0)).fails(EOPNOTSUPP);
    sys!(clock_nanosleep(99, 0, &raw const end, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn adjtimex_tells_how_the_clock_is_kept(_t: &mut Guest) {
    let mut told: timex = zeroed();
    let state = sys!(adjtimex(&raw mut told)).ok();
    check!((0..=5).contains(&state), "{state}");
    check!((9_000..=11_000).contains(&told.tick), "{}", told.tick);
    check!(told.precision == 1 && told.tolerance == 500 << 16, "{} {}", told.precision, told.tolerance);
    let unit = if told.status & STA_NANO != 0 { 1 } else { 1000 };
    let then = told.time.tv_sec * 1_000_000_000 + told.time.tv_usec * unit;
    check!((now(CLOCK_REALTIME) - then).abs() < 10_000_000_000, "{then}");
    sys!(clock_adjtime(CLOCK_REALTIME, &raw mut told)).is(state);
    // adjtime(3) without a new adjustment.
    told.modes = ADJ_OFFSET_SS_READ;
    sys!(clock_adjtime(CLOCK_REALTIME, &raw mut told)).ok();
    sys!(adjtimex(8)).fails(EFAULT);
    sys!(clock_adjtime(CLOCK_REALTIME, 8)).fails(EFAULT);
    told.modes = 0;
    sys!(clock_adjtime(CLOCK_MONOTONIC, &raw mut told)).fails(EOPNOTSUPP);
    sys!(clock_adjtime(99, &raw mut told)).fails(EINVAL);
    told.modes = 0x8000;
    sys!(adjtimex(&raw mut told)).fails(EINVAL);
}

#[case(as_user)]
fn adjtimex_changes_nothing_for_an_ordinary_user(_t: &mut Guest) {
    for modes in [ADJ_OFFSET, ADJ_FREQUENCY, ADJ_STATUS, ADJ_TICK, ADJ_SETOFFSET, ADJ_OFFSET_SINGLESHOT] {
        let mut timex: timex = zeroed();
        timex.modes = modes;
        sys!(adjtimex(&raw mut timex)).fails(EPERM);
        sys!(clock_adjtime(CLOCK_REALTIME, &raw mut timex)).fails(EPERM);
    }
}
