//! Which calls a signal interrupts and which go on after it.

use crate::prelude::*;
use libc::*;

/// Runs `body` in a child that catches SIGUSR1 with `flags`, and sends that while `body` sleeps.
fn interrupted(t: &Guest, flags: i32, after: impl FnOnce(Child), body: impl FnOnce()) {
    let child = t.fork(|| {
        t.catch(SIGUSR1, flags);
        body();
        expect_eq!(t.caught(), [SIGUSR1]);
    });
    t.until_asleep(child.pid);
    child.kill(SIGUSR1);
    after(child);
    child.done();
}

/// Waits until the signal has been taken and the child sleeps again.
fn handled(t: &Guest, child: Child) {
    let path = format!("/proc/{}/status", child.pid);
    t.until(|| {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let none = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key))
                .is_some_and(|set| set.trim() == "0000000000000000")
        };
        none("SigPnd:") && none("ShdPnd:")
    });
    t.until_asleep(child.pid);
}

#[case(as_root, as_user)]
fn a_pipe_read_is_eintr_without_sa_restart(t: &mut Guest) {
    let pipe = t.pipe();
    interrupted(t, 0, |_| (), || sys!(read(pipe.r, &mut [0_u8], 1)).fails(EINTR));
}

#[case(as_root, as_user)]
fn a_pipe_read_goes_on_with_sa_restart(t: &mut Guest) {
    let pipe = t.pipe();
    let after = |child: Child| {
        handled(t, child);
        pipe.signal();
    };
    interrupted(t, SA_RESTART, after, || sys!(read(pipe.r, &mut [0_u8], 1)).is(1));
}

#[case(as_root, as_user)]
fn wait4_goes_on_with_sa_restart(t: &mut Guest) {
    let pipe = t.pipe();
    let after = |child: Child| {
        handled(t, child);
        pipe.signal();
    };
    interrupted(t, SA_RESTART, after, || {
        t.fork(|| pipe.wait()).done();
    });
}

#[case(as_root, as_user)]
fn wait4_is_eintr_without_sa_restart(t: &mut Guest) {
    let pipe = t.pipe();
    interrupted(
        t,
        0,
        |_| (),
        || {
            let child = t.fork(|| pipe.wait());
            sys!(wait4(child.pid, 0, 0, 0)).fails(EINTR);
            pipe.signal();
            child.done();
        },
    );
}

#[case(as_root, as_user)]
fn recv_restarts_or_is_eintr(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    interrupted(t, 0, |_| (), || sys!(recvfrom(a, &mut [0_u8], 1, 0, 0, 0)).fails(EINTR));
    let after = |child: Child| {
        handled(t, child);
        t.send(b, "x");
    };
    interrupted(t, SA_RESTART, after, || sys!(recvfrom(a, &mut [0_u8], 1, 0, 0, 0)).is(1));
}

/// Linux: a socket with a receive timeout is never restarted.
#[case(as_root, as_user)]
fn recv_with_a_timeout_is_eintr_always(t: &mut Guest) {
    let (a, _b) = t.socketpair(SOCK_STREAM);
    let limit = timeval { tv_sec: 60, tv_usec: 0 };
    sys!(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &raw const limit, 16)).ok();
    interrupted(t, SA_RESTART, |_| (), || sys!(recvfrom(a, &mut [0_u8], 1, 0, 0, 0)).fails(EINTR));
}

#[case(as_root, as_user)]
fn futex_wait_restarts_without_a_timeout(t: &mut Guest) {
    let word = &t.shared()[0];
    let after = |child: Child| {
        handled(t, child);
        sys!(futex(word.as_ptr(), FUTEX_WAKE, 1)).is(1);
    };
    interrupted(t, SA_RESTART, after, || sys!(futex(word.as_ptr(), FUTEX_WAIT, 0, 0)).is(0));
    interrupted(t, 0, |_| (), || sys!(futex(word.as_ptr(), FUTEX_WAIT, 0, 0)).fails(EINTR));
}

#[case(as_root, as_user)]
fn epoll_wait_pause_and_nanosleep_are_eintr_always(t: &mut Guest) {
    let epoll = sys!(epoll_create1(0)).fd();
    let mut event = epoll_event { events: 0, u64: 0 };
    interrupted(t, SA_RESTART, |_| (), || sys!(epoll_wait(epoll, &raw mut event, 1, -1)).fails(EINTR));
    interrupted(t, SA_RESTART, |_| (), || sys!(pause()).fails(EINTR));
    let long = msec(100_000);
    interrupted(t, SA_RESTART, |_| (), || sys!(nanosleep(&raw const long, 0)).fails(EINTR));
}

#[case(as_root, as_user)]
fn flock_restarts(t: &mut Guest) {
    t.file("f", "");
    let fd = t.open("f", O_RDWR);
    sys!(flock(fd, LOCK_EX)).ok();
    let after = |child: Child| {
        handled(t, child);
        sys!(flock(fd, LOCK_UN)).ok();
    };
    interrupted(t, SA_RESTART, after, || {
        let own = t.open("f", O_RDWR);
        sys!(flock(own, LOCK_EX)).is(0);
    });
}

/// Stopping and continuing is no interruption: the sleep goes on by restart_syscall, as does a poll.
#[case(as_root, as_user)]
fn stop_and_continue_do_not_interrupt(t: &mut Guest) {
    let pipe = t.pipe();
    let child = t.fork(|| {
        let time = msec(60);
        let start = deadline(CLOCK_MONOTONIC, 60);
        sys!(nanosleep(&raw const time, 0)).is(0);
        let end = deadline(CLOCK_MONOTONIC, 0);
        check!((end.tv_sec, end.tv_nsec) >= (start.tv_sec, start.tv_nsec));
        expect_eq!(t.poll(pipe.r, POLLIN, -1), POLLIN);
    });
    for _ in 0..2 {
        t.until_asleep(child.pid);
        child.kill(SIGSTOP);
        child.wait_for(WUNTRACED).stopped(SIGSTOP);
        child.kill(SIGCONT);
        child.wait_for(WCONTINUED).continued();
    }
    pipe.signal();
    child.done();
}

#[case(as_root, as_user)]
fn an_ignored_signal_interrupts_nothing(t: &mut Guest) {
    let pipe = t.pipe();
    let child = t.fork(|| {
        t.ignore(SIGUSR1);
        sys!(read(pipe.r, &mut [0_u8], 1)).is(1);
    });
    t.until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.kill(SIGCHLD);
    pipe.signal();
    child.done();
}

#[case(as_root, as_user)]
fn a_write_that_was_partly_done_gives_its_count(t: &mut Guest) {
    let pipe = t.pipe();
    let size = sys!(fcntl(pipe.w, F_GETPIPE_SZ, 0)).size();
    interrupted(
        t,
        SA_RESTART,
        |_| (),
        || {
            let bytes = vec![0_u8; size + 1000];
            sys!(write(pipe.w, &bytes, bytes.len())).is(size);
        },
    );
}
