//! `setns` with a pidfd: many namespaces, all or none.

use crate::prelude::*;
use libc::*;

#[track_caller]
fn pidfd(child: Child) -> i32 {
    sys!(pidfd_open(child.pid, 0)).fd()
}

const ALL: i32 = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP;

#[case(as_root, as_user)]
fn no_flag_or_an_unknown_one_is_einval(t: &mut Guest) {
    let child = t.ns_holder(0);
    let fd = pidfd(child);
    for flags in [0, 1, CLONE_FS, CLONE_NEWUSER | CLONE_VM, i32::MIN, -1] {
        sys!(setns(fd, flags)).fails(EINVAL);
    }
    child.end();
    // Before anyone asks for the process.
    sys!(setns(fd, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn a_dead_process_is_esrch(t: &mut Guest) {
    let child = t.ns_holder(CLONE_NEWUTS);
    let fd = pidfd(child);
    child.end();
    sys!(setns(fd, CLONE_NEWUSER)).fails(ESRCH);
    sys!(setns(fd, CLONE_NEWUTS)).fails(ESRCH);
}

#[case(as_root)]
fn a_zombie_is_esrch(t: &mut Guest) {
    let child = t.fork(|| ());
    t.until_state(child.pid, "Z");
    sys!(setns(pidfd(child), CLONE_NEWUTS)).fails(ESRCH);
    child.done();
}

#[case(as_user)]
fn a_process_one_may_not_look_into_is_eperm(t: &mut Guest) {
    t.needs_a_foreign_init();
    let fd = sys!(pidfd_open(1, 0)).fd();
    sys!(setns(fd, CLONE_NEWUSER)).fails(EPERM);
    sys!(setns(fd, CLONE_NEWUTS)).fails(EPERM);
    sys!(setns(fd, 0)).fails(EINVAL);
}

#[case(as_root)]
fn an_undumpable_process_is_eperm(t: &mut Guest) {
    let ready = t.pipe();
    let child = t.fork_user(1000, || {
        t.unshare_user(0);
        sys!(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)).ok();
        ready.signal();
        loop {
            let _ = sys!(pause());
        }
    });
    ready.wait();
    let fd = pidfd(child);
    t.fork(|| {
        t.become_user(1001);
        sys!(setns(fd, CLONE_NEWUSER)).fails(EPERM);
    })
    .done();
    sys!(setns(fd, CLONE_NEWUSER)).ok();
    child.end();
}

#[case(as_root, as_user)]
fn all_namespaces_are_joined_at_once(t: &mut Guest) {
    let child = t.ns_holder(ALL);
    let fd = pidfd(child);
    t.fork(|| {
        sys!(setns(fd, ALL)).ok();
        for name in ["user", "mnt", "uts", "ipc", "net", "cgroup"] {
            expect_eq!(t.ns_link("self", name), t.ns_link(child.pid, name));
        }
        expect_eq!((t.resuid(), t.caps().effective), ([0; 3], t.all_caps()));
        expect_eq!(t.read_link("/proc/self/cwd"), "/");
        sys!(sethostname(c"joined", 6)).ok();
    })
    .done();
    child.end();
}

#[case(as_root, as_user)]
fn some_can_be_chosen(t: &mut Guest) {
    let child = t.ns_holder(ALL);
    let fd = pidfd(child);
    let (net, mnt) = (t.ns_link("self", "net"), t.ns_link("self", "mnt"));
    t.fork(|| {
        sys!(setns(fd, CLONE_NEWUSER | CLONE_NEWUTS)).ok();
        expect_eq!(t.ns_link("self", "uts"), t.ns_link(child.pid, "uts"));
        expect_eq!((t.ns_link("self", "net"), t.ns_link("self", "mnt")), (net, mnt));
        expect_eq!(t.read_link("/proc/self/cwd"), t.directory());
        // The rest may follow.
        sys!(setns(fd, CLONE_NEWNET | CLONE_NEWNS)).ok();
        expect_eq!(t.ns_link("self", "net"), t.ns_link(child.pid, "net"));
    })
    .done();
    child.end();
}

#[case(as_user)]
fn without_the_user_namespace_the_others_are_eperm(t: &mut Guest) {
    let child = t.ns_holder(ALL);
    let fd = pidfd(child);
    t.fork(|| {
        for flag in [CLONE_NEWUTS, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWIPC | CLONE_NEWUTS] {
            sys!(setns(fd, flag)).fails(EPERM);
        }
    })
    .done();
    child.end();
}

/// The network is not the namespace's: the whole call is refused.
#[case(as_user)]
fn one_refusal_refuses_all(t: &mut Guest) {
    let child = t.ns_holder(CLONE_NEWUTS | CLONE_NEWIPC);
    let fd = pidfd(child);
    let names = ["user", "uts", "ipc", "net"];
    let before = names.map(|name| t.ns_link("self", name));
    t.fork(|| {
        sys!(setns(fd, CLONE_NEWUSER | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)).fails(EPERM);
        expect_eq!(names.map(|name| t.ns_link("self", name)), before);
        expect_eq!(t.caps().effective, 0);
        sys!(setns(fd, CLONE_NEWUSER | CLONE_NEWUTS | CLONE_NEWIPC)).ok();
    })
    .done();
    child.end();
}

/// A capability over the owner that the caller had before counts as well.
#[case(as_root)]
fn the_first_namespaces_root_may_take_what_the_user_namespace_does_not_own(t: &mut Guest) {
    let child = t.ns_holder(CLONE_NEWUTS);
    let fd = pidfd(child);
    t.fork(|| {
        sys!(setns(fd, CLONE_NEWUSER | CLONE_NEWUTS | CLONE_NEWNET)).ok();
        expect_eq!(t.ns_link("self", "uts"), t.ns_link(child.pid, "uts"));
    })
    .done();
    child.end();
}

#[case(as_root, as_user)]
fn the_own_user_namespace_among_them_is_einval(t: &mut Guest) {
    let own = sys!(pidfd_open(sys!(getpid()).ok(), 0)).fd();
    sys!(setns(own, CLONE_NEWUSER)).fails(EINVAL);
    sys!(setns(own, CLONE_NEWUSER | CLONE_NEWUTS)).fails(EINVAL);
    t.ns_root(CLONE_NEWUTS, || {
        let own = sys!(pidfd_open(sys!(getpid()).ok(), 0)).fd();
        sys!(setns(own, CLONE_NEWUSER | CLONE_NEWUTS)).fails(EINVAL);
        sys!(setns(own, CLONE_NEWUTS)).ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn a_pid_namespace_is_for_the_next_child(t: &mut Guest) {
    let holder = t.ns_holder(CLONE_NEWPID);
    let fd = pidfd(holder);
    t.fork(|| {
        let own = t.ns_link("self", "pid");
        sys!(setns(fd, CLONE_NEWUSER | CLONE_NEWPID)).ok();
        expect_eq!(t.ns_link("self", "pid"), own);
        expect_eq!(t.ns_link("self", "pid_for_children"), t.ns_link(holder.pid, "pid"));
        let child = t.fork(|| check!(sys!(getpid()).ok() > 1));
        child.done();
    })
    .done();
    holder.end();
}

#[case(as_root, as_user)]
fn two_threads_are_einval_for_the_user_namespace_and_nothing_changes(t: &mut Guest) {
    let child = t.ns_holder(CLONE_NEWUTS);
    let fd = pidfd(child);
    let uts = t.ns_link("self", "uts");
    t.thread(move || sys!(setns(fd, CLONE_NEWUSER | CLONE_NEWUTS)).fails(EINVAL)).join();
    expect_eq!(t.ns_link("self", "uts"), uts);
    child.end();
}

#[case(as_root, as_user)]
fn a_process_that_joined_later_can_be_followed(t: &mut Guest) {
    let child = t.ns_holder(CLONE_NEWUTS);
    let (user, ready) = (t.ns(child.pid, "user"), t.pipe());
    let joined = t.fork(|| {
        sys!(setns(user, CLONE_NEWUSER)).ok();
        ready.signal();
        loop {
            let _ = sys!(pause());
        }
    });
    ready.wait();
    let fd = pidfd(joined);
    child.end();
    t.fork(|| {
        sys!(setns(fd, CLONE_NEWUSER)).ok();
        expect_eq!(t.ns_link("self", "user"), t.ns_link(joined.pid, "user"));
    })
    .done();
    joined.end();
}
