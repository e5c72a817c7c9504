//! timerfd.

use crate::prelude::*;
use libc::*;

/// A timer's setting, as an array so that it can be written where its address is wanted.
fn spec(first: i64, interval: i64) -> [itimerspec; 1] {
    [itimerspec { it_interval: msec(interval), it_value: msec(first) }]
}

#[track_caller]
fn expirations(fd: i32) -> u64 {
    let mut count = 0_u64;
    sys!(read(fd, &raw mut count, 8)).is(8);
    count
}

#[case(as_root, as_user)]
fn it_expires_once_or_again_and_again(t: &mut Guest) {
    let fd = sys!(timerfd_create(CLOCK_MONOTONIC, 0)).fd();
    sys!(timerfd_settime(fd, 0, &spec(5, 0), 0)).ok();
    expect_eq!(expirations(fd), 1);
    expect_eq!(t.poll(fd, POLLIN, 0), 0);
    sys!(timerfd_settime(fd, 0, &spec(1, 1), 0)).ok();
    let mut sum = 0;
    while sum < 3 {
        sum += expirations(fd);
    }
    sys!(timerfd_settime(fd, 0, &spec(0, 0), 0)).ok();
    expect_eq!(t.poll(fd, POLLIN, 0), 0);
}

#[case(as_root, as_user)]
fn missed_expirations_are_counted(t: &mut Guest) {
    let fd = sys!(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)).fd();
    sys!(timerfd_settime(fd, 0, &spec(1, 1), 0)).ok();
    let start = std::time::Instant::now();
    t.until(|| start.elapsed().as_millis() >= 20);
    check!(expirations(fd) >= 15);
}

#[case(as_root, as_user)]
fn an_absolute_time_in_the_past_expires_at_once(_t: &mut Guest) {
    let fd = sys!(timerfd_create(CLOCK_REALTIME, 0)).fd();
    sys!(timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec(1000, 0), 0)).ok();
    expect_eq!(expirations(fd), 1);
}

#[case(as_root, as_user)]
fn gettime_tells_what_remains(_t: &mut Guest) {
    let fd = sys!(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)).fd();
    let [mut now] = spec(1, 1);
    sys!(timerfd_gettime(fd, &raw mut now)).ok();
    expect_eq!((now.it_value.tv_sec, now.it_value.tv_nsec), (0, 0));
    sys!(timerfd_settime(fd, 0, &spec(100_000, 7000), 0)).ok();
    sys!(timerfd_settime(fd, 0, &spec(0, 0), &raw mut now)).ok();
    check!(now.it_value.tv_sec >= 90 && now.it_value.tv_sec < 100, "{}", now.it_value.tv_sec);
    expect_eq!(now.it_interval.tv_sec, 7);
    let mut count = 0_u64;
    sys!(read(fd, &raw mut count, 8)).fails(EAGAIN);
    sys!(read(fd, &raw mut count, 4)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn arguments_are_checked(t: &mut Guest) {
    sys!(timerfd_create(99, 0)).fails(EINVAL);
    sys!(timerfd_create(CLOCK_MONOTONIC, 1)).fails(EINVAL);
    let fd = sys!(timerfd_create(CLOCK_BOOTTIME, 0)).fd();
    sys!(timerfd_settime(fd, 0x100, &spec(1, 0), 0)).fails(EINVAL);
    let wrong = itimerspec { it_interval: msec(0), it_value: timespec { tv_sec: 0, tv_nsec: 1_000_000_000 } };
    sys!(timerfd_settime(fd, 0, &raw const wrong, 0)).fails(EINVAL);
    sys!(timerfd_settime(t.pipe().r, 0, &spec(1, 0), 0)).fails(EINVAL);
    sys!(timerfd_settime(99, 0, &spec(1, 0), 0)).fails(EBADF);
}
