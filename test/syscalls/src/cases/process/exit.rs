//! Ends of processes and what their parents see.

use crate::guest::set_of;
use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn sigchld_tells_how_the_child_ended(t: &mut Guest) {
    t.block(&[SIGCHLD]);
    let child = t.fork_exit(|| 7);
    let info = t.take(&[SIGCHLD]);
    expect_eq!((info.code(), info.pid(), info.uid(), info.status()), (CLD_EXITED, child.pid, t.uid(), 7));
    child.wait().exited(7);
    let child = t.sleeper();
    child.kill(SIGTERM);
    let info = t.take(&[SIGCHLD]);
    expect_eq!((info.code(), info.pid(), info.status()), (CLD_KILLED, child.pid, SIGTERM));
    child.wait().killed(SIGTERM);
}

#[case(as_root, as_user)]
fn ignoring_sigchld_reaps_children(t: &mut Guest) {
    t.ignore(SIGCHLD);
    let child = t.fork(|| {});
    sys!(wait4(child.pid, 0, 0, 0)).fails(ECHILD);
}

#[case(as_root, as_user)]
fn nocldwait_reaps_but_still_signals(t: &mut Guest) {
    t.catch(SIGCHLD, SA_NOCLDWAIT);
    let child = t.fork(|| {});
    t.until(|| sys!(wait4(child.pid, 0, WNOHANG, 0)).errno() == ECHILD);
    expect_eq!(t.caught(), [SIGCHLD]);
}

#[case(as_root, as_user)]
fn a_child_that_can_be_waited_for_has_sent_its_signal(t: &mut Guest) {
    t.block(&[SIGCHLD]);
    for _ in 0..300 {
        let child = t.fork(|| {});
        t.until(|| sys!(wait4(child.pid, 0, WNOHANG, 0)).ok() != 0);
        expect_eq!(t.pending() & set_of(&[SIGCHLD]), set_of(&[SIGCHLD]));
        expect_eq!(t.take(&[SIGCHLD]).pid(), child.pid);
    }
}

/// Linux: `reparent_leader`.
#[case(as_root, as_user)]
fn a_zombie_left_behind_tells_its_new_parent(t: &mut Guest) {
    sys!(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)).ok();
    t.block(&[SIGCHLD]);
    let shared = t.shared();
    let father = t.fork(|| {
        let child = t.fork_exit(|| 7);
        sys!(waitid(P_PID, child.pid, 0, WEXITED | WNOWAIT, 0)).ok();
        shared[0].store(child.pid as u32, SeqCst);
    });
    father.done();
    // The father's own signal came later, and found one pending.
    let info = t.take(&[SIGCHLD]);
    expect_eq!((info.pid(), info.status()), (shared[0].load(SeqCst) as i32, 7));
    Child { pid: info.pid() }.wait().exited(7);
}

#[case(as_root, as_user)]
fn nocldstop_keeps_quiet_about_stops(t: &mut Guest) {
    t.block(&[SIGCHLD]);
    t.catch(SIGCHLD, SA_NOCLDSTOP);
    let child = t.sleeper();
    child.kill(SIGSTOP);
    child.wait_for(WUNTRACED).stopped(SIGSTOP);
    expect_eq!(t.pending(), 0);
    t.catch(SIGCHLD, 0);
    child.kill(SIGCONT);
    child.wait_for(WCONTINUED).continued();
    let info = t.take(&[SIGCHLD]);
    expect_eq!((info.code(), info.status()), (CLD_CONTINUED, SIGCONT));
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
}

#[case(as_root, as_user)]
fn pdeathsig_comes_when_the_parent_ends(t: &mut Guest) {
    sys!(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)).ok();
    let (ready, told) = (t.pipe(), t.pipe());
    t.fork(|| {
        let child = t.fork(|| {
            t.block(&[SIGUSR1]);
            sys!(prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0)).ok();
            let mut set = 0_i32;
            sys!(prctl(PR_GET_PDEATHSIG, &raw mut set, 0, 0, 0)).ok();
            expect_eq!(set, SIGUSR1);
            ready.signal();
            t.take(&[SIGUSR1]);
        });
        ready.wait();
        t.send(told.w, child.pid.to_ne_bytes());
    })
    .done();
    let pid = i32::from_ne_bytes(t.recv(told.r, 4).try_into().unwrap());
    Child { pid }.done();
}

#[case(as_root, as_user)]
fn a_core_dump_is_not_reported_without_one(t: &mut Guest) {
    let child = t.fork(|| t.raise(SIGQUIT));
    let status = child.wait();
    status.killed(SIGQUIT);
    expect_eq!(WCOREDUMP(status.0), false);
}

#[case(as_root, as_user)]
fn descriptors_are_closed_at_the_end(t: &mut Guest) {
    let pipe = t.pipe();
    let child = t.fork(|| {
        sys!(close(pipe.r)).ok();
    });
    sys!(close(pipe.w)).ok();
    expect_eq!(t.recv(pipe.r, 1), b"");
    child.done();
}

#[case(as_root, as_user)]
fn the_end_of_a_session_leader_hangs_up_nobody_without_terminal(t: &mut Guest) {
    sys!(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)).ok();
    let (go, told) = (t.pipe(), t.pipe());
    t.fork(|| {
        sys!(setsid()).ok();
        t.fork(|| {
            go.wait();
            t.send(told.w, sys!(getpid()).fd().to_ne_bytes());
        });
    })
    .done();
    go.signal();
    let pid = i32::from_ne_bytes(t.recv(told.r, 4).try_into().unwrap());
    Child { pid }.done();
}
