//! Waiting for signals.

use crate::guest::set_of;
use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn sigtimedwait_takes_a_pending_signal(t: &mut Guest) {
    t.catch(SIGUSR1, 0);
    t.block(&[SIGUSR1]);
    t.raise(SIGUSR1);
    let set = set_of(&[SIGUSR1]);
    let mut info: siginfo_t = zeroed();
    sys!(rt_sigtimedwait(&raw const set, &raw mut info, 0, 8)).is(SIGUSR1);
    expect_eq!((info.si_signo, info.si_code), (SIGUSR1, SI_USER));
    t.unblock(&[SIGUSR1]);
    expect_eq!(t.caught(), []);
}

#[case(as_root, as_user)]
fn sigtimedwait_times_out_with_eagain(_t: &mut Guest) {
    let set = set_of(&[SIGUSR1]);
    let time = msec(10);
    sys!(rt_sigtimedwait(&raw const set, 0, &raw const time, 8)).fails(EAGAIN);
    let now = msec(0);
    sys!(rt_sigtimedwait(&raw const set, 0, &raw const now, 8)).fails(EAGAIN);
    let wrong = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    sys!(rt_sigtimedwait(&raw const set, 0, &raw const wrong, 8)).fails(EINVAL);
    sys!(rt_sigtimedwait(&raw const set, 0, &raw const now, 4)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn sigtimedwait_is_interrupted_by_another_signal(t: &mut Guest) {
    let child = t.fork(|| {
        t.catch(SIGUSR2, SA_RESTART);
        t.block(&[SIGUSR1]);
        let set = set_of(&[SIGUSR1]);
        sys!(rt_sigtimedwait(&raw const set, 0, 0, 8)).fails(EINTR);
    });
    t.until_asleep(child.pid);
    child.kill(SIGUSR2);
    child.done();
}

#[case(as_root, as_user)]
fn sigsuspend_swaps_the_mask_and_returns_after_a_handler(t: &mut Guest) {
    t.catch(SIGUSR1, SA_RESTART);
    t.block(&[SIGUSR1]);
    t.raise(SIGUSR1);
    let none = 0_u64;
    sys!(rt_sigsuspend(&raw const none, 8)).fails(EINTR);
    expect_eq!(t.caught(), [SIGUSR1]);
    expect_eq!(t.mask(), set_of(&[SIGUSR1]));
    sys!(rt_sigsuspend(&raw const none, 4)).fails(EINVAL);
    sys!(rt_sigsuspend(8, 8)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn sigsuspend_sleeps_through_ignored_signals(t: &mut Guest) {
    let child = t.fork(|| {
        t.catch(SIGUSR1, 0);
        t.block(&[SIGUSR1]);
        let none = 0_u64;
        sys!(rt_sigsuspend(&raw const none, 8)).fails(EINTR);
        expect_eq!(t.caught(), [SIGUSR1]);
    });
    t.until_asleep(child.pid);
    child.kill(SIGWINCH);
    child.kill(SIGCHLD);
    child.kill(SIGUSR1);
    child.done();
}

#[case(as_root, as_user)]
fn the_mask_calls_check_their_arguments(_t: &mut Guest) {
    let set = 0_u64;
    sys!(rt_sigprocmask(99, &raw const set, 0, 8)).fails(EINVAL);
    sys!(rt_sigprocmask(SIG_BLOCK, &raw const set, 0, 4)).fails(EINVAL);
    sys!(rt_sigprocmask(SIG_BLOCK, 8, 0, 8)).fails(EFAULT);
    sys!(rt_sigpending(&raw const set, 9)).fails(EINVAL);
    sys!(rt_sigpending(8, 8)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn sigaction_gives_the_old_action(t: &mut Guest) {
    t.catch(SIGUSR1, SA_RESTART | SA_NODEFER);
    let mut old = [0_u64; 4];
    sys!(rt_sigaction(SIGUSR1, 0, &mut old, 8)).ok();
    check!(old[0] > 1);
    let flags = old[1] as i32;
    expect_eq!(flags & (SA_RESTART | SA_NODEFER | SA_SIGINFO), SA_RESTART | SA_NODEFER | SA_SIGINFO);
    expect_eq!(old[3], 0);
    t.default(SIGUSR1);
    sys!(rt_sigaction(SIGUSR1, 0, &mut old, 8)).ok();
    expect_eq!(old[0], 0);
}

#[case(as_root, as_user)]
fn setting_to_ignored_drops_what_is_pending(t: &mut Guest) {
    t.block(&[SIGUSR1, SIGCHLD]);
    t.raise(SIGUSR1);
    t.ignore(SIGUSR1);
    expect_eq!(t.pending(), 0);
    t.catch(SIGCHLD, 0);
    t.raise(SIGCHLD);
    t.default(SIGCHLD);
    expect_eq!(t.pending(), 0);
}
