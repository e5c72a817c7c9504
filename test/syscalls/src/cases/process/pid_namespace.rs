//! PID namespaces.

use crate::prelude::*;
use libc::*;

#[case(as_root)]
fn the_first_process_is_number_one(t: &mut Guest) {
    let pipe = t.pipe();
    let child = t.clone(CLONE_NEWPID, || {
        sys!(getpid()).is(1);
        sys!(getppid()).is(0);
        let second = t.fork(|| {
            sys!(getpid()).is(2);
            sys!(getppid()).is(1);
        });
        expect_eq!(second.pid, 2);
        second.done();
        pipe.signal();
    });
    check!(child.pid != 1);
    pipe.wait();
    child.done();
}

#[case(as_root)]
fn unshare_is_for_the_next_child(t: &mut Guest) {
    let pid = sys!(getpid()).ok();
    t.fork(|| {
        sys!(unshare(CLONE_NEWPID)).ok();
        check!(sys!(getpid()).ok() != pid);
        t.fork(|| sys!(getpid()).is(1)).done();
        // The namespace has lost its first process and takes no more.
        sys!(clone(SIGCHLD, 0, 0, 0, 0)).fails(ENOMEM);
    })
    .done();
}

#[case(as_root)]
fn the_end_of_the_first_process_ends_all(t: &mut Guest) {
    let told = t.pipe();
    let child = t.clone(CLONE_NEWPID, || {
        t.fork(|| {
            told.signal();
            loop {
                let _ = sys!(pause());
            }
        });
        told.wait();
    });
    child.done();
    sys!(close(told.w)).ok();
    expect_eq!(t.recv(told.r, 1), b"");
}

#[case(as_root)]
fn orphans_inside_go_to_the_first_process(t: &mut Guest) {
    t.clone(CLONE_NEWPID, || {
        let go = t.pipe();
        t.fork(|| {
            t.fork(|| {
                go.wait();
                sys!(getppid()).is(1);
            });
        })
        .done();
        go.signal();
        let mut status = 0_i32;
        sys!(wait4(-1, &raw mut status, 0, 0)).is(3);
        Status(status).exited(0);
    })
    .done();
}

/// Signals from inside reach the first process only where it has a handler; from outside SIGKILL always does.
#[case(as_root)]
fn the_first_process_is_safe_from_signals_inside(t: &mut Guest) {
    let ready = t.pipe();
    let child = t.clone(CLONE_NEWPID, || {
        t.fork(|| {
            sys!(kill(1, SIGTERM)).ok();
            sys!(kill(1, SIGKILL)).ok();
            sys!(kill(1, SIGSTOP)).ok();
        })
        .done();
        t.catch(SIGTERM, SA_RESTART);
        t.fork(|| {
            sys!(kill(1, SIGTERM)).ok();
        })
        .done();
        expect_eq!(t.caught(), [SIGTERM]);
        ready.signal();
        loop {
            let _ = sys!(pause());
        }
    });
    ready.wait();
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
}

#[case(as_root)]
fn outside_processes_cannot_be_named_inside(t: &mut Guest) {
    let outside = sys!(getpid()).ok();
    t.clone(CLONE_NEWPID, || {
        sys!(kill(outside, 0)).fails(ESRCH);
        sys!(getpgid(outside)).fails(ESRCH);
        sys!(getpgrp()).is(0);
    })
    .done();
}

#[case(as_root)]
fn proc_shows_the_namespace_it_was_mounted_in(t: &mut Guest) {
    t.clone(CLONE_NEWPID | CLONE_NEWNS, || {
        sys!(mount(0, c"/", 0, MS_REC | MS_PRIVATE, 0)).ok();
        t.dir("proc");
        sys!(mount(c"proc", c"proc", c"proc", 0, 0)).ok();
        expect_eq!(std::fs::read_link("proc/self").unwrap().to_string_lossy(), "1");
        let pids: Vec<_> = t.names("proc").into_iter().filter(|name| name.parse::<i32>().is_ok()).collect();
        expect_eq!(pids, ["1"]);
    })
    .done();
}

#[case(as_root)]
fn nspid_lists_the_id_in_each_namespace(t: &mut Guest) {
    let (go, ready) = (t.pipe(), t.pipe());
    let child = t.clone(CLONE_NEWPID, || {
        ready.signal();
        go.wait();
    });
    ready.wait();
    let line = t.field(&format!("/proc/{}/status", child.pid), "NSpid");
    check!(line.ends_with(&format!("{}\t1", child.pid)), "{line:?}");
    go.signal();
    child.done();
}

#[case(as_user)]
fn namespaces_are_for_the_privileged(_t: &mut Guest) {
    for flag in [CLONE_NEWPID, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET] {
        sys!(unshare(flag)).fails(EPERM);
    }
}

#[case(as_root)]
fn uts_namespaces_have_names_of_their_own(t: &mut Guest) {
    let name = || {
        let mut uts: utsname = zeroed();
        sys!(uname(&raw mut uts)).ok();
        uts.nodename.map(|c| c as u8)
    };
    let before = name();
    t.clone(CLONE_NEWUTS, || {
        sys!(sethostname(c"inside", 6)).ok();
        expect_eq!(&name()[..7], b"inside\0");
        sys!(sethostname(c"x", 65)).fails(EINVAL);
        sys!(setdomainname(c"domain", 6)).ok();
    })
    .done();
    expect_eq!(name(), before);
}

#[case(as_user)]
fn the_host_name_is_set_by_root_only(_t: &mut Guest) {
    sys!(sethostname(c"x", 1)).fails(EPERM);
    sys!(setdomainname(c"x", 1)).fails(EPERM);
}

#[case(as_root)]
fn kill_minus_one_is_for_all_others_inside(t: &mut Guest) {
    t.clone(CLONE_NEWPID, || {
        let children = [0; 3].map(|_| t.sleeper());
        let killer = t.fork(|| sys!(kill(-1, SIGTERM)).is(0));
        killer.done();
        for child in children {
            child.wait().killed(SIGTERM);
        }
    })
    .done();
}

#[case(as_root)]
fn setns_joins_the_namespace_of_another_process(t: &mut Guest) {
    let (ready, go) = (t.pipe(), t.pipe());
    let child = t.clone(CLONE_NEWPID | CLONE_NEWUTS, || {
        sys!(sethostname(c"other", 5)).ok();
        ready.signal();
        go.wait();
    });
    ready.wait();
    t.fork(|| {
        let path = |name: &str| format!("/proc/{}/ns/{name}", child.pid);
        let uts = t.open(&path("uts"), O_RDONLY);
        sys!(setns(uts, CLONE_NEWPID)).fails(EINVAL);
        sys!(setns(uts, CLONE_NEWUTS)).ok();
        let mut name: utsname = zeroed();
        sys!(uname(&raw mut name)).ok();
        expect_eq!(name.nodename[..6].iter().map(|c| *c as u8).collect::<Vec<_>>(), b"other\0");
        sys!(setns(t.open(&path("pid"), O_RDONLY), 0)).ok();
        t.fork(|| sys!(getpid()).is(2)).done();
        let by_pidfd = sys!(pidfd_open(child.pid, 0)).fd();
        sys!(setns(by_pidfd, CLONE_NEWUTS | CLONE_NEWPID)).ok();
    })
    .done();
    sys!(setns(99, 0)).fails(EBADF);
    sys!(setns(ready.r, 0)).fails(EINVAL);
    go.signal();
    child.done();
}
