//! How many namespaces there may be, and how deep.

use crate::prelude::*;
use libc::*;

fn limit(name: &str) -> String {
    format!("/proc/sys/user/max_{name}_namespaces")
}

/// The error of making namespaces with `flags` in a child.
#[track_caller]
fn making(t: &Guest, flags: i32) -> i32 {
    let end = t.fork_exit(|| sys!(unshare(flags)).errno()).wait();
    check!(WIFEXITED(end.0), "{end:?}");
    WEXITSTATUS(end.0)
}

const TYPES: [(&str, i32); 8] = [
    ("user", CLONE_NEWUSER),
    ("mnt", CLONE_NEWNS),
    ("uts", CLONE_NEWUTS),
    ("ipc", CLONE_NEWIPC),
    ("net", CLONE_NEWNET),
    ("pid", CLONE_NEWPID),
    ("cgroup", CLONE_NEWCGROUP),
    ("time", CLONE_NEWTIME),
];

#[case(as_root, as_user)]
fn a_new_namespace_sets_no_limits_of_its_own(t: &mut Guest) {
    t.ns_root(0, || {
        for (name, _) in TYPES {
            t.read(&limit(name)).is("2147483647\n");
        }
    })
    .done();
}

#[case(as_root, as_user)]
fn none_allowed_is_enospc_for_each_type(t: &mut Guest) {
    t.ns_root(0, || {
        for (name, flag) in TYPES {
            expect_eq!((name, making(t, flag)), (name, 0));
            t.write(&limit(name), "0").ok();
            expect_eq!((name, making(t, flag)), (name, ENOSPC));
            t.write(&limit(name), "5").ok();
            expect_eq!((name, making(t, flag)), (name, 0));
        }
    })
    .done();
}

#[case(as_root, as_user)]
fn enospc_wins_over_eperm(t: &mut Guest) {
    t.userns(0, || {
        expect_eq!(making(t, CLONE_NEWUSER), EPERM);
        t.write(&limit("user"), "0").ok();
        expect_eq!(making(t, CLONE_NEWUSER), ENOSPC);
        sys!(clone(CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)).fails(ENOSPC);
    })
    .done();
}

#[case(as_user)]
fn eperm_wins_over_enospc_for_what_needs_a_capability(t: &mut Guest) {
    t.ns_root(0, || {
        t.write(&limit("uts"), "0").ok();
        t.drop_cap(CAP_SYS_ADMIN);
        expect_eq!(making(t, CLONE_NEWUTS), EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn it_counts_in_every_namespace_above(t: &mut Guest) {
    t.ns_root(0, || {
        t.write(&limit("user"), "1").ok();
        t.ns_root(0, || {
            t.read(&limit("user")).is("2147483647\n");
            expect_eq!(making(t, CLONE_NEWUSER), ENOSPC);
            expect_eq!(making(t, CLONE_NEWUTS), 0);
        })
        .done();
    })
    .done();
}

#[case(as_root, as_user)]
fn the_end_of_one_makes_room(t: &mut Guest) {
    t.ns_root(0, || {
        t.write(&limit("user"), "1").ok();
        let child = t.ns_holder(0);
        expect_eq!(making(t, CLONE_NEWUSER), ENOSPC);
        let kept = t.ns(child.pid, "user");
        child.end();
        // The descriptor keeps it.
        expect_eq!(making(t, CLONE_NEWUSER), ENOSPC);
        sys!(close(kept)).ok();
        t.until(|| making(t, CLONE_NEWUSER) == 0);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_lower_limit_leaves_what_is_there(t: &mut Guest) {
    t.ns_root(0, || {
        let child = t.ns_holder(0);
        t.write(&limit("user"), "0").ok();
        let fd = t.ns(child.pid, "user");
        t.fork(|| sys!(setns(fd, CLONE_NEWUSER)).is(0)).done();
        child.end();
    })
    .done();
}

#[case(as_root, as_user)]
fn the_limit_is_the_namespaces_own(t: &mut Guest) {
    let before = t.read(&limit("user")).ok();
    t.ns_root(0, || {
        t.write(&limit("user"), "77").ok();
        t.read(&limit("user")).is("77\n");
        t.ns_root(0, || t.read(&limit("user")).is("2147483647\n")).done();
    })
    .done();
    t.read(&limit("user")).is(&before);
}

#[case(as_root, as_user)]
fn only_numbers_from_0_to_the_largest_are_taken(t: &mut Guest) {
    t.ns_root(0, || {
        t.write(&limit("uts"), "2147483648").fails(EINVAL);
        t.write(&limit("uts"), "-1").fails(EINVAL);
        t.write(&limit("uts"), "x").fails(EINVAL);
        t.read(&limit("uts")).is("2147483647\n");
        t.write(&limit("uts"), "0\n").is(2);
        t.write(&limit("uts"), "2147483647").ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn writing_it_needs_cap_sys_resource(t: &mut Guest) {
    t.ns_root(0, || {
        t.drop_cap(CAP_SYS_RESOURCE);
        t.try_open(&limit("user"), O_WRONLY).fails(EACCES);
        t.read(&limit("user")).is("2147483647\n");
    })
    .done();
}

#[case(as_user)]
fn the_first_namespaces_limits_are_for_the_privileged(t: &mut Guest) {
    t.needs_first_userns();
    for (name, _) in TYPES {
        t.try_open(&limit(name), O_WRONLY).fails(EACCES);
        check!(t.read(&limit(name)).ok().trim().parse::<u32>().is_ok());
    }
}

/// The first namespace is at level 0, and a parent may be at level 32.
#[case(as_root, as_user)]
fn thirty_three_levels_are_the_deepest(t: &mut Guest) {
    t.needs_first_userns();
    let (uid, gid) = (t.uid(), sys!(getegid()).ok());
    t.fork(|| {
        t.unshare_user(0);
        t.map_root(uid, gid);
        for _ in 2..=33 {
            sys!(unshare(CLONE_NEWUSER)).ok();
            t.map_root(0, 0);
        }
        sys!(unshare(CLONE_NEWUSER)).fails(ENOSPC);
        sys!(clone(CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)).fails(ENOSPC);
        expect_eq!(t.resuid(), [0; 3]);
        sys!(unshare(CLONE_NEWUTS)).ok();
    })
    .done();
}

/// Starts `levels` processes, each the first of a process id namespace in the last one's; `body` runs in the last.
fn nest(t: &Guest, levels: u32, body: &dyn Fn()) {
    if levels == 0 {
        return body();
    }
    t.clone(CLONE_NEWPID, || nest(t, levels - 1, body)).done();
}

#[case(as_root, as_user)]
fn pid_namespaces_are_32_deep(t: &mut Guest) {
    let level = t.field("/proc/self/status", "NSpid").split_whitespace().count() as u32;
    if level != 1 {
        t.skip("this is not the first process id namespace");
    }
    t.ns_root(0, || {
        nest(t, 32, &|| {
            sys!(getpid()).is(1);
            sys!(clone(CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0)).fails(ENOSPC);
            sys!(unshare(CLONE_NEWPID)).fails(ENOSPC);
        });
    })
    .done();
}

#[case(as_root)]
fn the_count_is_per_user(t: &mut Guest) {
    t.mapped(0, "0 100000 10", "0 100000 10", || {
        sys!(setresgid(0, 0, 0)).ok();
        sys!(setresuid(0, 0, 0)).ok();
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        t.write(&limit("user"), "1").ok();
        let child = t.ns_holder(0);
        expect_eq!(making(t, CLONE_NEWUSER), ENOSPC);
        t.fork(|| {
            sys!(setresuid(5, 5, 5)).ok();
            expect_eq!(making(t, CLONE_NEWUSER), 0);
        })
        .done();
        child.end();
    })
    .done();
}
