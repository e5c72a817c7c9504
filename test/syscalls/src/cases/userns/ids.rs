//! `setuid` and its family in user namespaces.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn an_id_without_a_mapping_is_einval(t: &mut Guest) {
    t.ns_root(0, || {
        sys!(setuid(1)).fails(EINVAL);
        sys!(setreuid(1, -1)).fails(EINVAL);
        sys!(setreuid(-1, 1)).fails(EINVAL);
        sys!(setresuid(-1, -1, 1)).fails(EINVAL);
        sys!(setgid(1)).fails(EINVAL);
        sys!(setregid(-1, 1)).fails(EINVAL);
        sys!(setresgid(1, -1, -1)).fails(EINVAL);
        sys!(setresuid(0, 0, 0)).ok();
        sys!(setresgid(0, 0, 0)).ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn einval_wins_over_eperm(t: &mut Guest) {
    t.ns_root(0, || {
        t.drop_cap(CAP_SETUID);
        t.drop_cap(CAP_SETGID);
        sys!(setuid(1)).fails(EINVAL);
        sys!(setresuid(0, 0, 1)).fails(EINVAL);
        sys!(setgid(1)).fails(EINVAL);
        sys!(setuid(0)).ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn the_invalid_id_is_einval_where_it_says_no_change_elsewhere(t: &mut Guest) {
    t.ns_root(0, || {
        sys!(setuid(-1)).fails(EINVAL);
        sys!(setgid(-1)).fails(EINVAL);
        sys!(setresuid(-1, -1, -1)).ok();
        sys!(setreuid(-1, -1)).ok();
        sys!(setregid(-1, -1)).ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn with_nothing_mapped_there_is_no_id_to_take(t: &mut Guest) {
    t.userns(0, || {
        sys!(setuid(0)).fails(EINVAL);
        sys!(setuid(t.overflow_uid())).fails(EINVAL);
        sys!(setresgid(0, 0, 0)).fails(EINVAL);
        sys!(setresuid(-1, -1, -1)).ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn setfsuid_without_a_mapping_changes_nothing(t: &mut Guest) {
    t.ns_root(0, || {
        sys!(setfsuid(1)).is(0);
        sys!(setfsuid(-1)).is(0);
        sys!(setfsgid(1)).is(0);
        sys!(setfsgid(-1)).is(0);
    })
    .done();
}

#[case(as_root)]
fn every_mapped_id_can_be_taken(t: &mut Guest) {
    t.mapped(0, "0 100000 1000", "0 200000 1000", || {
        sys!(setgid(5)).ok();
        sys!(setuid(0)).ok();
        sys!(setuid(7)).ok();
        expect_eq!((t.resuid(), t.resgid()), ([7; 3], [5; 3]));
        sys!(setuid(0)).fails(EPERM);
    })
    .done();
}

#[case(as_root)]
fn outside_they_are_what_they_are_mapped_to(t: &mut Guest) {
    let (ready, go) = (t.pipe(), t.pipe());
    let child = t.mapped(0, "0 100000 1000", "0 200000 1000", || {
        sys!(setresgid(1, 2, 3)).ok();
        sys!(setresuid(4, 5, 6)).ok();
        sys!(setfsuid(4)).is(5);
        ready.signal();
        go.wait();
    });
    ready.wait();
    let status = format!("/proc/{}/status", child.pid);
    expect_eq!(t.field(&status, "Uid"), "100004\t100005\t100006\t100004");
    expect_eq!(t.field(&status, "Gid"), "200001\t200002\t200003\t200002");
    go.signal();
    child.done();
}

#[case(as_root)]
fn leaving_the_namespaces_root_drops_all_capabilities(t: &mut Guest) {
    t.mapped(0, "0 100000 1000", "0 100000 1000", || {
        let all = t.all_caps();
        sys!(setresgid(0, 0, 0)).ok();
        // Not root yet: unmapped ids are nobody.
        sys!(setresuid(0, 0, 0)).ok();
        expect_eq!(t.caps().permitted, all);
        sys!(setresuid(-1, 5, -1)).ok();
        expect_eq!((t.caps().effective, t.caps().permitted), (0, all));
        sys!(setresuid(-1, 0, -1)).ok();
        expect_eq!(t.caps().effective, all);
        sys!(setresuid(5, 5, 5)).ok();
        expect_eq!((t.caps().effective, t.caps().permitted), (0, 0));
    })
    .done();
}

/// Root is who maps to 0 in the namespace, not the kernel's 0.
#[case(as_root)]
fn leaving_an_id_that_is_not_root_inside_keeps_capabilities(t: &mut Guest) {
    t.mapped(0, "1000 0 1\n2000 100000 1", "0 0 1", || {
        let all = t.all_caps();
        expect_eq!(t.resuid(), [1000; 3]);
        sys!(setresuid(2000, 2000, 2000)).ok();
        expect_eq!((t.caps().effective, t.caps().permitted), (all, all));
    })
    .done();
}

#[case(as_root)]
fn fsuid_0_inside_carries_the_capabilities_for_files(t: &mut Guest) {
    t.mapped(0, "0 100000 1000", "0 100000 1000", || {
        let all = t.all_caps();
        sys!(setresuid(0, 0, 0)).ok();
        sys!(setfsuid(5)).is(0);
        let files = all & !t.caps().effective;
        check!(files & 1 << CAP_DAC_OVERRIDE != 0 && files & 1 << CAP_CHOWN != 0, "{files:#x}");
        check!(files & 1 << CAP_SYS_ADMIN == 0, "{files:#x}");
        sys!(setfsuid(0)).is(5);
        expect_eq!(t.caps().effective, all);
    })
    .done();
}

#[case(as_root)]
fn each_of_the_three_is_translated_by_itself(t: &mut Guest) {
    t.fork(|| {
        sys!(setresuid(1000, 1001, 1002)).ok();
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        t.unshare_user(0);
        t.write("/proc/self/uid_map", "9 1001 1").ok();
        expect_eq!(t.resuid(), [65534, 9, 65534]);
        // What has no mapping cannot be named to be taken.
        sys!(setresuid(-1, 1000, -1)).fails(EINVAL);
        sys!(setresuid(9, 9, 9)).ok();
        expect_eq!(t.resuid(), [9; 3]);
    })
    .done();
}

#[case(as_root)]
fn without_cap_setuid_only_ids_one_has_can_be_taken(t: &mut Guest) {
    t.mapped(0, "0 100000 1000", "0 100000 1000", || {
        sys!(setresuid(0, 0, 0)).ok();
        sys!(setresuid(1, 2, 3)).ok();
        sys!(setresuid(-1, 4, -1)).fails(EPERM);
        sys!(setresuid(2, 3, 1)).ok();
        sys!(setuid(1)).ok();
        sys!(setreuid(-1, 4)).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn the_calls_see_ids_of_the_callers_namespace(t: &mut Guest) {
    let (uid, gid) = (t.uid(), sys!(getegid()).ok());
    t.userns(0, || {
        t.write("/proc/self/setgroups", "deny").ok();
        t.write("/proc/self/uid_map", format!("11 {uid} 1")).ok();
        t.write("/proc/self/gid_map", format!("22 {gid} 1")).ok();
        sys!(getuid()).is(11);
        sys!(geteuid()).is(11);
        sys!(getgid()).is(22);
        sys!(getegid()).is(22);
        sys!(setuid(11)).ok();
        sys!(setgid(22)).ok();
        sys!(setfsuid(-1)).is(11);
    })
    .done();
}

#[case(as_root, as_user)]
fn auxv_holds_ids_of_the_namespace(t: &mut Guest) {
    t.ns_root(0, || {
        let (output, _) = t.helper("auxv", &[], &[]);
        for (key, name) in [(AT_UID, "uid"), (AT_EUID, "euid"), (AT_GID, "gid"), (AT_EGID, "egid")] {
            check!(output.lines().any(|line| line == format!("{key} 0")), "{name} in {output}");
        }
    })
    .done();
}
