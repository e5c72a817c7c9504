//! Process groups and sessions.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn setsid_makes_leader_of_both(t: &mut Guest) {
    t.fork(|| {
        let pid = sys!(getpid()).ok();
        sys!(setsid()).is(pid);
        sys!(getsid(0)).is(pid);
        sys!(getpgid(0)).is(pid);
        sys!(getpgrp()).is(pid);
        sys!(setsid()).fails(EPERM);
        sys!(setpgid(0, 0)).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_group_leader_cannot_setsid(t: &mut Guest) {
    t.fork(|| {
        sys!(setpgid(0, 0)).ok();
        sys!(setsid()).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_parent_moves_its_child_between_groups(t: &mut Guest) {
    let (a, b) = (t.sleeper(), t.sleeper());
    sys!(setpgid(a.pid, a.pid)).ok();
    sys!(setpgid(b.pid, a.pid)).ok();
    sys!(getpgid(b.pid)).is(a.pid);
    sys!(setpgid(b.pid, 0x3fff_ffff)).fails(EPERM);
    sys!(setpgid(b.pid, -1)).fails(EINVAL);
    sys!(setpgid(1, 0)).fails(ESRCH);
    sys!(getpgid(0x3fff_ffff)).fails(ESRCH);
    sys!(kill(-a.pid, SIGTERM)).ok();
    a.wait().killed(SIGTERM);
    b.wait().killed(SIGTERM);
    sys!(kill(-a.pid, SIGTERM)).fails(ESRCH);
}

#[case(as_root, as_user)]
fn a_child_that_has_executed_cannot_be_moved(t: &mut Guest) {
    let ready = t.pipe();
    let child = t.fork(|| {
        sys!(dup2(ready.w, 1)).ok();
        t.exec_helper("pause", &[], &[]).ok();
    });
    expect_eq!(t.recv(ready.r, 16), b"ready\n");
    sys!(setpgid(child.pid, child.pid)).fails(EACCES);
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
}

#[case(as_root, as_user)]
fn a_group_of_another_session_is_out_of_reach(t: &mut Guest) {
    let ready = t.pipe();
    let other = t.fork(|| {
        sys!(setsid()).ok();
        ready.signal();
        let _ = sys!(pause());
    });
    ready.wait();
    t.fork(|| sys!(setpgid(0, other.pid)).fails(EPERM)).done();
    sys!(setpgid(other.pid, 0)).fails(EPERM);
    sys!(getsid(other.pid)).is(other.pid);
    other.kill(SIGKILL);
    other.wait().killed(SIGKILL);
}

/// Linux: will_become_orphaned_pgrp. Stopped members of a group that loses its last tie get SIGHUP and SIGCONT.
#[case(as_root, as_user)]
fn a_newly_orphaned_stopped_group_is_hung_up(t: &mut Guest) {
    sys!(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)).ok();
    let (ready, told) = (t.pipe(), t.pipe());
    t.fork(|| {
        sys!(setsid()).ok();
        let child = t.fork(|| {
            sys!(setpgid(0, 0)).ok();
            ready.signal();
            loop {
                let _ = sys!(pause());
            }
        });
        ready.wait();
        child.kill(SIGSTOP);
        child.wait_for(WUNTRACED).stopped(SIGSTOP);
        t.send(told.w, child.pid.to_ne_bytes());
    })
    .done();
    let pid = i32::from_ne_bytes(t.recv(told.r, 4).try_into().unwrap());
    Child { pid }.wait().killed(SIGHUP);
}

/// The end of a process whose parent is of the same group takes no tie from it.
#[case(as_root, as_user)]
fn a_group_that_was_orphaned_before_is_not_hung_up(t: &mut Guest) {
    t.fork(|| {
        sys!(setsid()).ok();
        t.catch(SIGHUP, 0);
        let stopped = t.sleeper();
        stopped.kill(SIGSTOP);
        stopped.wait_for(WUNTRACED).stopped(SIGSTOP);
        t.fork(|| ()).done();
        expect_eq!(t.caught(), []);
        stopped.kill(SIGKILL);
        stopped.wait().killed(SIGKILL);
    })
    .done();
}

#[case(as_root, as_user)]
fn kill_zero_is_for_the_own_group(t: &mut Guest) {
    t.fork(|| {
        sys!(setpgid(0, 0)).ok();
        let inside = t.sleeper();
        let outside = t.sleeper();
        sys!(setpgid(outside.pid, outside.pid)).ok();
        t.ignore(SIGTERM);
        sys!(kill(0, SIGTERM)).ok();
        inside.wait().killed(SIGTERM);
        sys!(wait4(outside.pid, 0, WNOHANG, 0)).is(0);
        outside.kill(SIGKILL);
        outside.wait().killed(SIGKILL);
    })
    .done();
}
