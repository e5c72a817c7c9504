//! epoll.

use crate::guest::set_of;
use crate::prelude::*;
use crate::sys::Ret;
use libc::*;

const IN: u32 = EPOLLIN as u32;
const OUT: u32 = EPOLLOUT as u32;
const HUP: u32 = EPOLLHUP as u32;
const ET: u32 = EPOLLET as u32;
const ONESHOT: u32 = EPOLLONESHOT as u32;

fn control(epoll: i32, operation: i32, fd: i32, events: u32, data: u64) -> Ret {
    let event = epoll_event { events, u64: data };
    sys!(epoll_ctl(epoll, operation, fd, &raw const event))
}

/// The ready events and their data, sorted by data.
#[track_caller]
fn wait(epoll: i32, timeout: i32) -> Vec<(u32, u64)> {
    let mut events = [epoll_event { events: 0, u64: 0 }; 16];
    let count = sys!(epoll_wait(epoll, &mut events, 16, timeout)).size();
    let mut ready: Vec<_> = events[..count].iter().map(|event| (event.events, event.u64)).collect();
    ready.sort_by_key(|event| event.1);
    ready
}

#[track_caller]
fn epoll() -> i32 {
    sys!(epoll_create1(EPOLL_CLOEXEC)).fd()
}

#[case(as_root, as_user)]
fn level_triggered_repeats_until_it_is_read(t: &mut Guest) {
    let (epoll, pipe) = (epoll(), t.pipe());
    control(epoll, EPOLL_CTL_ADD, pipe.r, IN, 7).ok();
    expect_eq!(wait(epoll, 0), []);
    pipe.signal();
    expect_eq!(wait(epoll, -1), [(IN, 7)]);
    expect_eq!(wait(epoll, 0), [(IN, 7)]);
    pipe.wait();
    expect_eq!(wait(epoll, 0), []);
}

#[case(as_root, as_user)]
fn edge_triggered_tells_each_arrival_once(t: &mut Guest) {
    let (epoll, pipe) = (epoll(), t.pipe());
    control(epoll, EPOLL_CTL_ADD, pipe.r, IN | ET, 1).ok();
    pipe.signal();
    expect_eq!(wait(epoll, 0), [(IN, 1)]);
    expect_eq!(wait(epoll, 0), []);
    pipe.signal();
    expect_eq!(wait(epoll, 0), [(IN, 1)]);
    control(epoll, EPOLL_CTL_MOD, pipe.r, IN | ET, 2).ok();
    expect_eq!(wait(epoll, 0), [(IN, 2)]);
}

#[case(as_root, as_user)]
fn oneshot_is_silent_until_rearmed(t: &mut Guest) {
    let (epoll, pipe) = (epoll(), t.pipe());
    control(epoll, EPOLL_CTL_ADD, pipe.r, IN | ONESHOT, 1).ok();
    pipe.signal();
    expect_eq!(wait(epoll, 0), [(IN, 1)]);
    expect_eq!(wait(epoll, 0), []);
    pipe.signal();
    expect_eq!(wait(epoll, 0), []);
    control(epoll, EPOLL_CTL_MOD, pipe.r, IN | ONESHOT, 2).ok();
    expect_eq!(wait(epoll, 0), [(IN, 2)]);
}

#[case(as_root, as_user)]
fn hang_up_comes_unasked(t: &mut Guest) {
    let (epoll, pipe) = (epoll(), t.pipe());
    control(epoll, EPOLL_CTL_ADD, pipe.r, 0, 1).ok();
    sys!(close(pipe.w)).ok();
    expect_eq!(wait(epoll, -1), [(HUP, 1)]);
}

#[case(as_root, as_user)]
fn add_mod_and_del_check_what_is_there(t: &mut Guest) {
    let (epoll, pipe) = (epoll(), t.pipe());
    control(epoll, EPOLL_CTL_MOD, pipe.r, IN, 0).fails(ENOENT);
    control(epoll, EPOLL_CTL_DEL, pipe.r, IN, 0).fails(ENOENT);
    control(epoll, EPOLL_CTL_ADD, pipe.r, IN, 0).ok();
    control(epoll, EPOLL_CTL_ADD, pipe.r, IN, 0).fails(EEXIST);
    control(epoll, EPOLL_CTL_ADD, 99, IN, 0).fails(EBADF);
    control(99, EPOLL_CTL_ADD, pipe.r, IN, 0).fails(EBADF);
    control(pipe.w, EPOLL_CTL_ADD, pipe.r, IN, 0).fails(EINVAL);
    control(epoll, EPOLL_CTL_ADD, epoll, IN, 0).fails(EINVAL);
    control(epoll, 99, pipe.w, IN, 0).fails(EINVAL);
    t.file("f", "");
    control(epoll, EPOLL_CTL_ADD, t.open("f", O_RDONLY), IN, 0).fails(EPERM);
    control(epoll, EPOLL_CTL_ADD, t.open(".", O_RDONLY), IN, 0).fails(EPERM);
    sys!(epoll_ctl(epoll, EPOLL_CTL_ADD, pipe.w, 0)).fails(EFAULT);
    sys!(epoll_ctl(epoll, EPOLL_CTL_DEL, pipe.r, 0)).ok();
}

#[case(as_root, as_user)]
fn the_wait_checks_its_arguments(_t: &mut Guest) {
    let epoll = epoll();
    let mut events = [epoll_event { events: 0, u64: 0 }; 1];
    sys!(epoll_wait(epoll, &mut events, 0, 0)).fails(EINVAL);
    sys!(epoll_wait(epoll, &mut events, -1, 0)).fails(EINVAL);
    sys!(epoll_wait(0, &mut events, 1, 0)).fails(EINVAL);
    sys!(epoll_wait(99, &mut events, 1, 0)).fails(EBADF);
    sys!(epoll_create1(1)).fails(EINVAL);
    sys!(epoll_create(0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn closing_the_last_descriptor_removes_the_watch(t: &mut Guest) {
    let (epoll, pipe) = (epoll(), t.pipe());
    control(epoll, EPOLL_CTL_ADD, pipe.r, IN, 1).ok();
    pipe.signal();
    let copy = sys!(dup(pipe.r)).fd();
    sys!(close(pipe.r)).ok();
    expect_eq!(wait(epoll, 0), [(IN, 1)]);
    sys!(close(copy)).ok();
    expect_eq!(wait(epoll, 0), []);
}

#[case(as_root, as_user)]
fn an_epoll_can_be_watched_by_another(t: &mut Guest) {
    let (inner, outer, pipe) = (epoll(), epoll(), t.pipe());
    control(inner, EPOLL_CTL_ADD, pipe.r, IN, 1).ok();
    control(outer, EPOLL_CTL_ADD, inner, IN, 2).ok();
    expect_eq!(wait(outer, 0), []);
    pipe.signal();
    expect_eq!(wait(outer, -1), [(IN, 2)]);
    expect_eq!(t.poll(inner, POLLIN, 0), POLLIN);
    expect_eq!(wait(inner, 0), [(IN, 1)]);
}

#[case(as_root, as_user)]
fn a_ring_of_epolls_is_eloop(_t: &mut Guest) {
    let (a, b) = (epoll(), epoll());
    control(a, EPOLL_CTL_ADD, b, IN, 0).ok();
    control(b, EPOLL_CTL_ADD, a, IN, 0).fails(ELOOP);
}

#[case(as_root, as_user)]
fn chains_deeper_than_five_are_eloop(_t: &mut Guest) {
    let mut last = epoll();
    let mut errno = 0;
    let mut depth = 0;
    while errno == 0 && depth < 20 {
        let next = epoll();
        errno = control(next, EPOLL_CTL_ADD, last, IN, 0).errno();
        last = next;
        depth += 1;
    }
    expect_eq!((errno, depth), (ELOOP, 5));
}

#[case(as_root, as_user)]
fn exclusive_takes_few_flags_and_no_mod(t: &mut Guest) {
    let (epoll, pipe) = (epoll(), t.pipe());
    let exclusive = EPOLLEXCLUSIVE as u32;
    control(epoll, EPOLL_CTL_ADD, pipe.r, IN | exclusive | ONESHOT, 0).fails(EINVAL);
    control(epoll, EPOLL_CTL_ADD, pipe.r, IN | exclusive, 3).ok();
    control(epoll, EPOLL_CTL_MOD, pipe.r, IN, 0).fails(EINVAL);
    control(epoll, EPOLL_CTL_ADD, self::epoll(), IN | exclusive, 0).fails(EINVAL);
    pipe.signal();
    expect_eq!(wait(epoll, 0), [(IN, 3)]);
}

#[case(as_root, as_user)]
fn many_ready_ones_come_round_in_turn(t: &mut Guest) {
    let epoll = epoll();
    for data in 0..3 {
        let pipe = t.pipe();
        pipe.signal();
        control(epoll, EPOLL_CTL_ADD, pipe.r, IN, data).ok();
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut events = [epoll_event { events: 0, u64: 0 }; 1];
        sys!(epoll_wait(epoll, &mut events, 1, 0)).is(1);
        let [event] = events;
        seen.push(event.u64);
    }
    seen.sort_unstable();
    expect_eq!(seen, [0, 1, 2]);
}

#[case(as_root, as_user)]
fn a_waiter_wakes_for_a_descriptor_added_meanwhile(t: &mut Guest) {
    let (epoll, pipe) = (epoll(), t.pipe());
    pipe.signal();
    let child = t.fork(|| expect_eq!(wait(epoll, -1), [(IN, 4)]));
    t.until_asleep(child.pid);
    control(epoll, EPOLL_CTL_ADD, pipe.r, IN, 4).ok();
    child.done();
}

#[case(as_root, as_user)]
fn both_directions_of_a_socket_are_one_event(t: &mut Guest) {
    let epoll = epoll();
    let (a, b) = t.socketpair(SOCK_STREAM);
    control(epoll, EPOLL_CTL_ADD, a, IN | OUT | EPOLLRDHUP as u32, 1).ok();
    expect_eq!(wait(epoll, 0), [(OUT, 1)]);
    t.send(b, "x");
    expect_eq!(wait(epoll, 0), [(IN | OUT, 1)]);
    sys!(shutdown(b, SHUT_WR)).ok();
    expect_eq!(wait(epoll, 0), [(IN | OUT | EPOLLRDHUP as u32, 1)]);
}

#[case(as_root, as_user)]
fn epoll_pwait_swaps_the_mask_for_the_wait(t: &mut Guest) {
    let epoll = epoll();
    t.catch(SIGUSR1, SA_RESTART);
    t.block(&[SIGUSR1]);
    t.raise(SIGUSR1);
    let none = 0_u64;
    let mut events = [epoll_event { events: 0, u64: 0 }; 1];
    sys!(epoll_pwait(epoll, &mut events, 1, -1, &raw const none, 8)).fails(EINTR);
    expect_eq!(t.caught(), [SIGUSR1]);
    expect_eq!(t.mask(), set_of(&[SIGUSR1]));
}

#[case(as_root, as_user)]
fn epoll_pwait2_takes_nanoseconds(_t: &mut Guest) {
    let epoll = epoll();
    let mut events = [epoll_event { events: 0, u64: 0 }; 1];
    let time = timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    sys!(epoll_pwait2(epoll, &mut events, 1, &raw const time, 0, 8)).is(0);
    let time = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    sys!(epoll_pwait2(epoll, &mut events, 1, &raw const time, 0, 8)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn eventfd_timerfd_signalfd_and_pidfd_can_be_watched(t: &mut Guest) {
    let epoll = epoll();
    let event = sys!(eventfd2(0, 0)).fd();
    let timer = sys!(timerfd_create(CLOCK_MONOTONIC, 0)).fd();
    t.block(&[SIGUSR1]);
    let set = set_of(&[SIGUSR1]);
    let signal = sys!(signalfd4(-1, &raw const set, 8, 0)).fd();
    let child = t.sleeper();
    let process = sys!(pidfd_open(child.pid, 0)).fd();
    for (data, fd) in (0..).zip([event, timer, signal, process]) {
        control(epoll, EPOLL_CTL_ADD, fd, IN, data).ok();
    }
    expect_eq!(wait(epoll, 0), []);
    sys!(write(event, &1_u64.to_ne_bytes(), 8)).is(8);
    expect_eq!(wait(epoll, -1), [(IN, 0)]);
    t.recv(event, 8);
    let spec = itimerspec { it_interval: msec(0), it_value: msec(1) };
    sys!(timerfd_settime(timer, 0, &raw const spec, 0)).ok();
    expect_eq!(wait(epoll, -1), [(IN, 1)]);
    t.recv(timer, 8);
    t.raise(SIGUSR1);
    expect_eq!(wait(epoll, -1), [(IN, 2)]);
    t.take(&[SIGUSR1]);
    child.kill(SIGKILL);
    let ready = wait(epoll, -1);
    check!(ready.len() == 1 && ready[0].1 == 3 && ready[0].0 & IN != 0, "{ready:?}");
    child.wait().killed(SIGKILL);
}

#[case(as_root, as_user)]
fn one_event_wakes_one_of_several_edge_waiters(t: &mut Guest) {
    let (epoll, pipe) = (epoll(), t.pipe());
    control(epoll, EPOLL_CTL_ADD, pipe.r, IN | ET, 1).ok();
    let woken = t.shared();
    let children = [0, 1].map(|_| {
        t.fork(|| {
            expect_eq!(wait(epoll, -1).len(), 1);
            woken[0].fetch_add(1, SeqCst);
        })
    });
    for child in children {
        t.until_asleep(child.pid);
    }
    pipe.signal();
    t.until(|| woken[0].load(SeqCst) == 1);
    pipe.signal();
    for child in children {
        child.done();
    }
}

#[case(as_root, as_user)]
fn a_timeout_lasts_at_least_its_time(_t: &mut Guest) {
    let start = std::time::Instant::now();
    expect_eq!(wait(epoll(), 20), []);
    check!(start.elapsed().as_millis() >= 20);
}
