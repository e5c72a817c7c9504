//! Process id namespaces that belong to a user namespace.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn its_maker_is_number_one(t: &mut Guest) {
    let child = t.ns_root(CLONE_NEWPID, || {
        sys!(getpid()).is(1);
        sys!(getppid()).is(0);
        sys!(gettid()).is(1);
        expect_eq!(t.fork(|| sys!(getppid()).is(1)).pid, 2);
        Child { pid: 2 }.done();
    });
    check!(child.pid > 1);
    child.done();
}

#[case(as_root, as_user)]
fn unshare_is_for_the_next_child(t: &mut Guest) {
    let own = sys!(getpid()).ok();
    t.unshared(CLONE_NEWPID, || {
        check!(sys!(getpid()).ok() != own && sys!(getpid()).ok() != 1);
        t.fork(|| sys!(getpid()).is(1)).done();
    })
    .done();
}

#[case(as_root, as_user)]
fn a_second_unshare_before_the_first_child_is_einval(t: &mut Guest) {
    t.unshared(CLONE_NEWPID, || {
        sys!(unshare(CLONE_NEWPID)).fails(EINVAL);
        sys!(clone(CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0)).fails(EINVAL);
        // Nor can there be a thread here while children go there.
        sys!(clone(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, 0, 0, 0, 0)).fails(EINVAL);
    })
    .done();
}

#[case(as_root, as_user)]
fn after_the_end_of_number_one_nobody_can_be_born(t: &mut Guest) {
    t.unshared(CLONE_NEWPID, || {
        t.fork(|| ()).done();
        sys!(clone(SIGCHLD, 0, 0, 0, 0)).fails(ENOMEM);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_process_has_a_number_in_each_namespace(t: &mut Guest) {
    let (ready, go) = (t.pipe(), t.pipe());
    let child = t.ns_root(CLONE_NEWPID, || {
        t.fork(|| ()).done();
        let child = t.clone(CLONE_NEWPID, || {
            sys!(getpid()).is(1);
            ready.signal();
            go.wait();
        });
        expect_eq!(child.pid, 3);
        child.done();
    });
    ready.wait();
    let pids: Vec<_> = t.names("/proc").into_iter().filter_map(|name| name.parse::<i32>().ok()).collect();
    let nested = |pid: &i32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = format!("PPid:\t{}", child.pid);
        text.lines().any(|line| line == parent)
            && text.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t3\t1"))
    };
    let inner = pids.into_iter().find(nested).expect("a process that is 3 and 1 further in");
    let status = |key: &str| t.field(&format!("/proc/{inner}/status"), key);
    check!(status("NSpid").ends_with(&format!("{inner}\t3\t1")));
    check!(status("NStgid").ends_with(&format!("{inner}\t3\t1")));
    go.signal();
    child.done();
}

#[case(as_root, as_user)]
fn outside_has_no_number_inside(t: &mut Guest) {
    let own = sys!(getpid()).ok();
    t.ns_root(CLONE_NEWPID, || {
        sys!(kill(own, 0)).fails(ESRCH);
        sys!(getsid(own)).fails(ESRCH);
        sys!(getpgid(0)).is(0);
        sys!(getsid(0)).is(0);
        sys!(setsid()).is(1);
        sys!(getsid(0)).is(1);
        sys!(pidfd_open(own, 0)).fails(ESRCH);
        sys!(sched_getaffinity(own, 8, &mut [0_u64])).fails(ESRCH);
    })
    .done();
}

#[case(as_root, as_user)]
fn inside_has_a_number_outside(t: &mut Guest) {
    let child = t.ns_holder(CLONE_NEWPID);
    sys!(kill(child.pid, 0)).ok();
    expect_eq!(sys!(getpgid(child.pid)).ok(), sys!(getpgid(0)).ok());
    child.end();
}

#[case(as_root, as_user)]
fn the_end_of_number_one_is_the_end_of_all_below(t: &mut Guest) {
    let told = t.pipe();
    let forever = || loop {
        let _ = sys!(pause());
    };
    let child = t.ns_root(CLONE_NEWPID, || {
        t.fork(|| {
            t.clone(CLONE_NEWPID, || {
                t.fork(|| {
                    told.signal();
                    forever();
                });
                forever();
            });
            forever();
        });
        told.wait();
    });
    child.done();
    sys!(close(told.w)).ok();
    // The last process with the other end is gone.
    expect_eq!(t.recv(told.r, 1), b"");
}

#[case(as_root, as_user)]
fn number_one_is_killed_from_above_only(t: &mut Guest) {
    let ready = t.pipe();
    let child = t.ns_root(CLONE_NEWPID, || {
        t.fork(|| {
            for signal in [SIGTERM, SIGKILL, SIGSTOP, SIGSEGV] {
                sys!(kill(1, signal)).ok();
            }
        })
        .done();
        sys!(kill(1, SIGTERM)).ok();
        ready.signal();
        loop {
            let _ = sys!(pause());
        }
    });
    ready.wait();
    // A signal that it has no handler for does nothing, from above as well.
    child.kill(SIGTERM);
    sys!(kill(child.pid, 0)).ok();
    child.end();
}

#[case(as_root, as_user)]
fn a_signal_from_above_comes_from_number_zero(t: &mut Guest) {
    let ready = t.pipe();
    let child = t.ns_root(CLONE_NEWPID, || {
        t.block(&[SIGUSR1]);
        ready.signal();
        expect_eq!(t.take(&[SIGUSR1]).pid(), 0);
        let second = t.fork(|| sys!(kill(1, SIGUSR1)).is(0));
        expect_eq!(t.take(&[SIGUSR1]).pid(), second.pid);
        second.done();
    });
    ready.wait();
    child.kill(SIGUSR1);
    child.done();
}

#[case(as_root, as_user)]
fn a_signal_from_below_comes_from_the_number_above(t: &mut Guest) {
    t.block(&[SIGCHLD]);
    let child = t.ns_root(CLONE_NEWPID, || ());
    let info = t.take(&[SIGCHLD]);
    expect_eq!(info.pid(), child.pid);
    child.done();
}

#[case(as_root, as_user)]
fn messages_carry_the_number_of_the_receiver(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_DGRAM);
    t.set_option(a, SOL_SOCKET, SO_PASSCRED, 1).ok();
    t.set_option(b, SOL_SOCKET, SO_PASSCRED, 1).ok();
    let child = t.ns_root(CLONE_NEWPID, || {
        t.send(a, "x");
        expect_eq!(t.sender(a).0, 0);
    });
    expect_eq!(t.sender(b).0, child.pid);
    t.send(b, "x");
    child.done();
}

#[case(as_root, as_user)]
fn a_pidfd_reaches_through(t: &mut Guest) {
    let shared = t.shared();
    let child = t.ns_holder_after(CLONE_NEWPID, || {
        let inner = t.sleeper();
        shared[0].store(inner.pid as u32, SeqCst);
    });
    expect_eq!(shared[0].load(SeqCst), 2);
    let fd = sys!(pidfd_open(child.pid, 0)).fd();
    sys!(pidfd_send_signal(fd, SIGKILL, 0, 0)).ok();
    expect_eq!(t.poll(fd, POLLIN, -1), POLLIN);
    child.wait().killed(SIGKILL);
}

#[case(as_root, as_user)]
fn orphans_go_to_number_one(t: &mut Guest) {
    t.ns_root(CLONE_NEWPID, || {
        let go = t.pipe();
        t.fork(|| {
            t.fork(|| {
                go.wait();
                sys!(getppid()).is(1);
            });
        })
        .done();
        go.signal();
        Child { pid: 3 }.done();
    })
    .done();
}

/// A child that joins by `setns` has a parent outside.
#[case(as_root, as_user)]
fn whoever_joins_has_no_parent_inside(t: &mut Guest) {
    let holder = t.ns_holder(CLONE_NEWPID);
    let fd = sys!(pidfd_open(holder.pid, 0)).fd();
    t.fork(|| {
        sys!(setns(fd, CLONE_NEWUSER | CLONE_NEWPID)).ok();
        let child = t.fork(|| {
            sys!(getpid()).is(2);
            sys!(getppid()).is(0);
        });
        check!(child.pid > 2);
        child.done();
    })
    .done();
    holder.end();
}

#[case(as_root, as_user)]
fn proc_is_that_of_where_it_was_mounted(t: &mut Guest) {
    t.ns_root(CLONE_NEWPID | CLONE_NEWNS, || {
        // The inherited one shows the numbers outside.
        check!(t.read_link("/proc/self") != "1");
        t.dir("proc");
        sys!(mount(c"proc", c"proc", c"proc", 0, 0)).or_skip(EPERM, "/proc is partly covered").ok();
        let pids: Vec<_> = t.names("proc").into_iter().filter(|name| name.parse::<i32>().is_ok()).collect();
        expect_eq!(pids, ["1"]);
        expect_eq!(t.field("proc/self/status", "NSpid"), "1");
    })
    .done();
}

#[case(as_root, as_user)]
fn a_process_group_can_reach_through(t: &mut Guest) {
    let ready = t.pipe();
    t.fork(|| {
        sys!(setpgid(0, 0)).ok();
        t.ignore(SIGTERM);
        let child = t.ns_root(CLONE_NEWPID, || {
            let inner = t.fork(|| {
                t.default(SIGTERM);
                ready.signal();
                loop {
                    let _ = sys!(pause());
                }
            });
            inner.wait().killed(SIGTERM);
        });
        ready.wait();
        sys!(kill(0, SIGTERM)).ok();
        child.done();
    })
    .done();
}
