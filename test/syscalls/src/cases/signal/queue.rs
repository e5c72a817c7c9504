//! Signals with values, and their limits.

use crate::prelude::*;
use crate::sys::Ret;
use libc::*;

/// `rt_sigqueueinfo` with the fields of `sigqueue`.
fn queue(pid: i64, signal: i32, code: i32, value: i32) -> Ret {
    let mut info = [0_i32; 32];
    (info[0], info[2], info[4], info[5], info[6]) = (signal, code, 111, 222, value);
    sys!(rt_sigqueueinfo(pid, signal, &info))
}

#[case(as_root, as_user)]
fn the_fields_arrive_as_given(t: &mut Guest) {
    t.catch(SIGUSR1, 0);
    queue(sys!(getpid()).ok(), SIGUSR1, SI_QUEUE, 33).ok();
    let info = t.log()[0];
    expect_eq!((info.code(), info.pid(), info.uid(), info.status()), (SI_QUEUE, 111, 222, 33));
}

/// Codes that only the kernel gives cannot be sent to another process.
#[case(as_root, as_user)]
fn kernel_codes_cannot_be_forged(t: &mut Guest) {
    let child = t.sleeper();
    queue(child.pid.into(), SIGUSR1, 0, 0).fails(EPERM);
    queue(child.pid.into(), SIGUSR1, SI_TKILL, 0).fails(EPERM);
    queue(child.pid.into(), SIGUSR1, SI_KERNEL, 0).fails(EPERM);
    queue(child.pid.into(), 65, SI_QUEUE, 0).fails(EINVAL);
    queue(child.pid.into(), SIGTERM, SI_QUEUE, 0).ok();
    child.wait().killed(SIGTERM);
}

#[case(as_root, as_user)]
fn ordinary_signals_do_not_queue(t: &mut Guest) {
    t.block(&[SIGUSR1]);
    let pid = sys!(getpid()).ok();
    queue(pid, SIGUSR1, SI_QUEUE, 1).ok();
    queue(pid, SIGUSR1, SI_QUEUE, 2).ok();
    expect_eq!(t.take(&[SIGUSR1]).status(), 1);
    expect_eq!(t.pending(), 0);
}

#[case(as_root, as_user)]
fn a_thread_gets_its_own_signal(t: &mut Guest) {
    t.catch(SIGUSR1, 0);
    t.block(&[SIGUSR1]);
    let pid = sys!(getpid()).ok();
    let (own, pipe) = (sys!(gettid()).fd(), t.pipe());
    let thread = t.thread(move || {
        let mut info = [0_i32; 32];
        (info[0], info[2], info[6]) = (SIGUSR1, SI_QUEUE, 5);
        sys!(rt_tgsigqueueinfo(pid, own, SIGUSR1, &info)).ok();
        let mut set = 0_u64;
        sys!(rt_sigpending(&raw mut set, 8)).ok();
        expect_eq!(set, 0);
        pipe.signal();
    });
    pipe.wait();
    thread.join();
    expect_eq!(t.take(&[SIGUSR1]).status(), 5);
}

#[case(as_root, as_user)]
fn a_process_signal_goes_to_a_thread_that_does_not_block_it(t: &mut Guest) {
    t.catch(SIGUSR1, 0);
    let (ready, pipe) = (t.pipe(), t.pipe());
    let thread = t.thread(move || {
        ready.signal();
        let mut byte = [0_u8];
        sys!(read(pipe.r, &mut byte, 1)).fails(EINTR);
    });
    t.block(&[SIGUSR1]);
    ready.wait();
    t.until_asleep(thread.tid);
    t.raise(SIGUSR1);
    thread.join();
    expect_eq!(t.caught(), [SIGUSR1]);
}

#[case(as_user)]
fn sigpending_limits_queued_signals(t: &mut Guest) {
    let signal = SIGRTMIN();
    t.block(&[signal]);
    t.limit(RLIMIT_SIGPENDING, 2);
    let pid = sys!(getpid()).ok();
    // The count is the user's, who may have other processes; it is reached at the latest by this one's own.
    let results = (0..3).map(|value| queue(pid, signal, SI_QUEUE, value));
    check!(results.into_iter().any(|result| result.errno() == EAGAIN));
}
