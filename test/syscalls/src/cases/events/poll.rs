//! `poll`, `ppoll`, `select`, `pselect6`.

use crate::guest::set_of;
use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn a_closed_descriptor_is_pollnval_and_a_negative_one_is_skipped(t: &mut Guest) {
    let pipe = t.pipe();
    let entry = |fd: i32| pollfd { fd, events: POLLIN | POLLOUT, revents: 99 };
    let mut fds = [entry(99), entry(-1), entry(pipe.w)];
    sys!(poll(&mut fds, 3, 0)).is(2);
    expect_eq!(fds.map(|fd| fd.revents), [POLLNVAL, 0, POLLOUT]);
}

#[case(as_root, as_user)]
fn files_are_always_ready(t: &mut Guest) {
    t.file("f", "");
    let fd = t.open("f", O_RDWR);
    expect_eq!(t.poll(fd, POLLIN | POLLOUT | POLLPRI, -1), POLLIN | POLLOUT);
}

#[case(as_root, as_user)]
fn a_timeout_gives_zero_after_its_time(t: &mut Guest) {
    let start = std::time::Instant::now();
    expect_eq!(t.poll(t.pipe().r, POLLIN, 20), 0);
    check!(start.elapsed().as_millis() >= 20);
    sys!(poll(0, 0, 10)).is(0);
    let time = timespec { tv_sec: 0, tv_nsec: -1 };
    sys!(ppoll(0, 0, &raw const time, 0, 8)).fails(EINVAL);
    sys!(poll(8, 1, 0)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn poll_waits_for_an_event(t: &mut Guest) {
    let pipe = t.pipe();
    let child = t.fork(|| expect_eq!(t.poll(pipe.r, POLLIN, -1), POLLIN));
    t.until_asleep(child.pid);
    pipe.signal();
    child.done();
}

#[case(as_root, as_user)]
fn poll_is_interrupted_even_with_sa_restart(t: &mut Guest) {
    let pipe = t.pipe();
    let child = t.fork(|| {
        t.catch(SIGUSR1, SA_RESTART);
        let mut fd = pollfd { fd: pipe.r, events: POLLIN, revents: 0 };
        sys!(poll(&raw mut fd, 1, -1)).fails(EINTR);
    });
    t.until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.done();
}

#[case(as_root, as_user)]
fn ppoll_swaps_the_mask_for_the_wait(t: &mut Guest) {
    t.catch(SIGUSR1, 0);
    t.block(&[SIGUSR1]);
    t.raise(SIGUSR1);
    let none = 0_u64;
    sys!(ppoll(0, 0, 0, &raw const none, 8)).fails(EINTR);
    expect_eq!(t.caught(), [SIGUSR1]);
    expect_eq!(t.mask(), set_of(&[SIGUSR1]));
    sys!(ppoll(0, 0, 0, &raw const none, 4)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn ppoll_tells_the_remaining_time(t: &mut Guest) {
    let pipe = t.pipe();
    pipe.signal();
    let mut fd = pollfd { fd: pipe.r, events: POLLIN, revents: 0 };
    let mut time = msec(60_000);
    sys!(ppoll(&raw mut fd, 1, &raw mut time, 0, 8)).is(1);
    check!(time.tv_sec >= 30 && time.tv_sec < 60, "{}", time.tv_sec);
}

#[case(as_root, as_user)]
fn select_clears_what_is_not_ready(t: &mut Guest) {
    let (ready, idle) = (t.pipe(), t.pipe());
    ready.signal();
    let mut read = [0_u64; 16];
    read[0] = 1 << ready.r | 1 << idle.r;
    let mut write = [0_u64; 16];
    write[0] = 1 << idle.w;
    sys!(select(idle.w + 1, &mut read, &mut write, 0, 0)).is(2);
    expect_eq!((read[0], write[0]), (1 << ready.r, 1 << idle.w));
}

#[case(as_root, as_user)]
fn select_checks_descriptors_and_times(t: &mut Guest) {
    let pipe = t.pipe();
    let mut read = [0_u64; 16];
    read[0] = 1 << 60;
    sys!(select(61, &mut read, 0, 0, 0)).fails(EBADF);
    read[0] = 1 << pipe.r;
    sys!(select(-1, &mut read, 0, 0, 0)).fails(EINVAL);
    let mut time = timeval { tv_sec: 0, tv_usec: 10_000 };
    sys!(select(pipe.r + 1, &mut read, 0, 0, &raw mut time)).is(0);
    expect_eq!((read[0], time.tv_sec, time.tv_usec), (0, 0, 0));
    time.tv_sec = -1;
    sys!(select(0, 0, 0, 0, &raw mut time)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn pselect_swaps_the_mask_for_the_wait(t: &mut Guest) {
    t.catch(SIGUSR1, 0);
    t.block(&[SIGUSR1]);
    t.raise(SIGUSR1);
    let none = 0_u64;
    let mask = [(&raw const none).addr(), 8];
    sys!(pselect6(0, 0, 0, 0, 0, &mask)).fails(EINTR);
    expect_eq!(t.caught(), [SIGUSR1]);
    expect_eq!(t.mask(), set_of(&[SIGUSR1]));
}
