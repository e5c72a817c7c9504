//! Stopping and continuing.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn a_stopped_process_does_not_run_until_continued(t: &mut Guest) {
    let counter = &t.shared()[0];
    let child = t.fork(|| {
        loop {
            counter.fetch_add(1, SeqCst);
        }
    });
    t.until(|| counter.load(SeqCst) > 0);
    child.kill(SIGSTOP);
    child.wait_for(WUNTRACED).stopped(SIGSTOP);
    t.until_state(child.pid, "T");
    let seen = counter.load(SeqCst);
    std::thread::yield_now();
    expect_eq!(counter.load(SeqCst), seen);
    child.kill(SIGCONT);
    t.until(|| counter.load(SeqCst) > seen);
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
}

#[case(as_root, as_user)]
fn sigkill_ends_a_stopped_process(t: &mut Guest) {
    let child = t.sleeper();
    child.kill(SIGSTOP);
    child.wait_for(WUNTRACED).stopped(SIGSTOP);
    child.kill(SIGTERM);
    sys!(wait4(child.pid, 0, WNOHANG, 0)).is(0);
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
}

#[case(as_root, as_user)]
fn other_signals_wait_for_the_continuation(t: &mut Guest) {
    let child = t.sleeper();
    child.kill(SIGSTOP);
    child.wait_for(WUNTRACED).stopped(SIGSTOP);
    child.kill(SIGTERM);
    let pending = t.field(&format!("/proc/{}/status", child.pid), "ShdPnd");
    expect_eq!(u64::from_str_radix(&pending, 16).unwrap(), 1 << (SIGTERM - 1));
    child.kill(SIGCONT);
    child.wait().killed(SIGTERM);
}

#[case(as_root, as_user)]
fn sigcont_and_stop_signals_cancel_each_other(t: &mut Guest) {
    t.fork(|| {
        t.block(&[SIGTSTP, SIGCONT]);
        t.raise(SIGTSTP);
        t.raise(SIGCONT);
        expect_eq!(t.pending(), 1 << (SIGCONT - 1));
        t.raise(SIGTSTP);
        expect_eq!(t.pending(), 1 << (SIGTSTP - 1));
    })
    .done();
}

#[case(as_root, as_user)]
fn sigcont_is_caught_as_well(t: &mut Guest) {
    let ready = t.pipe();
    let child = t.fork(|| {
        t.catch(SIGCONT, 0);
        ready.signal();
        sys!(pause()).fails(EINTR);
        expect_eq!(t.caught(), [SIGCONT]);
    });
    ready.wait();
    t.until_asleep(child.pid);
    child.kill(SIGSTOP);
    child.wait_for(WUNTRACED).stopped(SIGSTOP);
    child.kill(SIGCONT);
    child.done();
}

/// Linux: SIGTSTP, SIGTTIN and SIGTTOU have no effect in an orphaned group.
#[case(as_root, as_user)]
fn an_orphaned_group_is_not_stopped_by_the_terminal_signals(t: &mut Guest) {
    t.fork(|| {
        sys!(setsid()).ok();
        t.raise(SIGTSTP);
        t.raise(SIGTTIN);
        t.raise(SIGTTOU);
    })
    .done();
}

#[case(as_root, as_user)]
fn all_threads_stop(t: &mut Guest) {
    let counter = &t.shared()[0];
    let child = t.fork(|| {
        let word = counter;
        t.thread(move || {
            loop {
                word.fetch_add(1, SeqCst);
            }
        });
        loop {
            let _ = sys!(pause());
        }
    });
    t.until(|| counter.load(SeqCst) > 0);
    child.kill(SIGSTOP);
    child.wait_for(WUNTRACED).stopped(SIGSTOP);
    let seen = counter.load(SeqCst);
    std::thread::yield_now();
    expect_eq!(counter.load(SeqCst), seen);
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
}

/// SIGCONT undoes a stop that has not begun, even if the signal that asks for it has been taken out already.
#[case(as_root, as_user)]
fn sigcont_right_behind_a_stop_signal_leaves_nobody_stopped(t: &mut Guest) {
    for _ in 0..1000 {
        let child = t.fork(|| {});
        child.kill(SIGSTOP);
        child.kill(SIGCONT);
        child.done();
    }
}
