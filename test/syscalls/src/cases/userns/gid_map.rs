//! Writing `/proc/[pid]/gid_map` and `projid_map`.

use crate::prelude::*;
use libc::*;

const OWN: &str = "/proc/self/gid_map";

#[case(as_user)]
fn ones_own_group_with_setgroups_allowed_is_eperm(t: &mut Guest) {
    let gid = sys!(getegid()).ok();
    t.userns(0, || {
        t.read("/proc/self/setgroups").is("allow\n");
        t.write(OWN, format!("0 {gid} 1")).fails(EPERM);
        t.write("/proc/self/setgroups", "deny").ok();
        t.write(OWN, format!("0 {gid} 1")).ok();
        expect_eq!(t.resgid(), [0; 3]);
    })
    .done();
}

#[case(as_user)]
fn ones_own_group_from_outside_needs_the_deny_as_well(t: &mut Guest) {
    let gid = sys!(getegid()).ok();
    let child = t.unmapped_holder(0);
    let file = |name: &str| format!("/proc/{}/{name}", child.pid);
    t.write(&file("gid_map"), format!("0 {gid} 1")).fails(EPERM);
    t.write(&file("setgroups"), "deny").ok();
    t.write(&file("gid_map"), format!("0 {gid} 1")).ok();
    child.end();
}

#[case(as_user)]
fn another_group_is_eperm(t: &mut Guest) {
    let gid = sys!(getegid()).ok();
    t.userns(0, || {
        t.write("/proc/self/setgroups", "deny").ok();
        t.write(OWN, "0 0 1").fails(EPERM);
        t.write(OWN, format!("0 {gid} 2")).fails(EPERM);
        t.write(OWN, format!("0 {gid} 1\n1 1 1")).fails(EPERM);
    })
    .done();
}

/// A supplementary group is not enough.
#[case(as_root)]
fn it_is_the_effective_group_that_is_ones_own(t: &mut Guest) {
    t.fork(|| {
        sys!(setgroups(1, &[77_u32])).ok();
        sys!(setresgid(1000, 1001, 1000)).ok();
        sys!(setresuid(1000, 1000, 1000)).ok();
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        t.unshare_user(0);
        t.write("/proc/self/setgroups", "deny").ok();
        t.write(OWN, "0 77 1").fails(EPERM);
        t.write(OWN, "0 1000 1").fails(EPERM);
        t.write(OWN, "0 1001 1").ok();
        expect_eq!(t.resgid(), [65534, 0, 65534]);
    })
    .done();
}

#[case(as_root)]
fn a_privileged_parent_needs_no_deny(t: &mut Guest) {
    t.mapped(0, "", "0 100000 65536", || {
        t.read(OWN).is("         0     100000      65536\n");
        t.read("/proc/self/setgroups").is("allow\n");
        sys!(setgroups(2, &[5_u32, 6])).ok();
        expect_eq!(t.groups(), [5, 6]);
    })
    .done();
}

#[case(as_root)]
fn a_range_needs_cap_setgid_over_the_parent(t: &mut Guest) {
    let child = t.unmapped_holder(0);
    let path = format!("/proc/{}/gid_map", child.pid);
    t.fork(|| {
        t.drop_cap(CAP_SETGID);
        t.write(&path, "0 100000 2").fails(EPERM);
        t.write(&path, "0 0 1").fails(EPERM);
    })
    .done();
    t.write(&path, "0 100000 2").ok();
    child.end();
}

#[case(as_root)]
fn the_parents_group_0_needs_no_cap_setfcap(t: &mut Guest) {
    t.fork(|| {
        t.drop_cap(CAP_SETFCAP);
        t.mapped(0, "", "0 0 10", || sys!(getegid()).is(0)).done();
    })
    .done();
}

#[case(as_root, as_user)]
fn it_is_written_once_and_is_not_the_map_of_users(t: &mut Guest) {
    let gid = sys!(getegid()).ok();
    t.userns(0, || {
        t.write("/proc/self/setgroups", "deny").ok();
        t.write(OWN, format!("8 {gid} 1")).ok();
        t.write(OWN, format!("8 {gid} 1")).fails(EPERM);
        t.read("/proc/self/uid_map").is("");
        sys!(getegid()).is(8);
        sys!(getuid()).is(t.overflow_uid());
    })
    .done();
}

#[case(as_root, as_user)]
fn the_first_namespaces_are_eperm(t: &mut Guest) {
    t.needs_first_userns();
    t.write(OWN, "0 0 1").fails(EPERM);
    t.write("/proc/self/projid_map", "0 0 1").fails(EPERM);
}

#[case(as_root, as_user)]
fn the_text_is_judged_as_that_of_users(t: &mut Guest) {
    t.userns(0, || {
        for path in [OWN, "/proc/self/projid_map"] {
            for text in ["", "0 0", "0 0 0", "0 0 1 1", "0 0 1\n0 1 1", "4294967295 0 1", "1 0 4294967295"] {
                let errno = t.write(path, text).errno();
                check!(errno == EINVAL, "{} for {text:?} in {path}", crate::sys::errno_name(errno));
            }
        }
    })
    .done();
}

#[case(as_root, as_user)]
fn without_cap_sys_admin_inside_it_is_eperm(t: &mut Guest) {
    let gid = sys!(getegid()).ok();
    t.userns(0, || {
        t.write("/proc/self/setgroups", "deny").ok();
        t.drop_cap(CAP_SYS_ADMIN);
        t.write(OWN, format!("0 {gid} 1")).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn anyone_may_map_any_project(t: &mut Guest) {
    t.needs_first_userns();
    t.userns(0, || {
        let caps = t.caps();
        t.set_caps(crate::guest::Caps { effective: 0, permitted: 0, ..caps }).ok();
        let map = "/proc/self/projid_map";
        t.write(map, "0 0 1000\n5000 6000 7").ok();
        t.read(map).is("         0          0       1000\n      5000       6000          7\n");
        t.write(map, "0 0 1").fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_project_that_the_parent_does_not_map_is_eperm(t: &mut Guest) {
    t.ns_root(0, || {
        t.write("/proc/self/projid_map", "0 10 10").ok();
        t.userns(0, || {
            t.write("/proc/self/projid_map", "0 5 10").fails(EPERM);
            t.write("/proc/self/projid_map", "0 0 10").ok();
            t.read("/proc/self/projid_map").is("         0          0         10\n");
        })
        .done();
    })
    .done();
}

#[case(as_root, as_user)]
fn a_grandparents_project_map_is_eperm(t: &mut Guest) {
    let (ready, go) = (t.pipe(), t.pipe());
    let shared = t.shared();
    let child = t.ns_root(0, || {
        let grandchild = t.unmapped_holder(0);
        // Process ids are the same for all here.
        shared[0].store(grandchild.pid as u32, SeqCst);
        ready.signal();
        go.wait();
        grandchild.end();
    });
    ready.wait();
    let grandchild = shared[0].load(SeqCst);
    t.write(&format!("/proc/{grandchild}/projid_map"), "0 0 1").fails(EPERM);
    t.write(&format!("/proc/{grandchild}/gid_map"), "0 0 1").fails(EPERM);
    go.signal();
    child.done();
}
