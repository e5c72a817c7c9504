//! `setgroups` and `getgroups` in user namespaces.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn before_there_is_a_map_of_groups_it_is_eperm(t: &mut Guest) {
    let uid = t.uid();
    t.userns(0, || {
        sys!(setgroups(0, 0)).fails(EPERM);
        t.write("/proc/self/uid_map", format!("0 {uid} 1")).ok();
        sys!(setgroups(0, 0)).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn where_it_is_denied_it_is_eperm(t: &mut Guest) {
    t.ns_root(0, || {
        check!(t.caps().effective & 1 << CAP_SETGID != 0);
        sys!(setgroups(0, 0)).fails(EPERM);
        sys!(setgroups(1, &[0_u32])).fails(EPERM);
    })
    .done();
}

#[case(as_root, as_user)]
fn eperm_wins_over_every_other_error(t: &mut Guest) {
    t.ns_root(0, || {
        sys!(setgroups(65537, 0)).fails(EPERM);
        sys!(setgroups(-1, 0)).fails(EPERM);
        sys!(setgroups(1, 8)).fails(EPERM);
        sys!(setgroups(1, &[77_u32])).fails(EPERM);
    })
    .done();
}

#[case(as_root)]
fn a_full_map_does_not_undo_the_deny(t: &mut Guest) {
    let child = t.unmapped_holder(0);
    t.write(&format!("/proc/{}/setgroups", child.pid), "deny").ok();
    t.write_maps(child.pid, "0 0 4294967295", "0 0 4294967295");
    let fd = t.ns(child.pid, "user");
    t.fork(|| {
        sys!(setns(fd, CLONE_NEWUSER)).ok();
        sys!(setgroups(1, &[5_u32])).fails(EPERM);
        sys!(setresgid(5, 5, 5)).ok();
    })
    .done();
    child.end();
}

#[case(as_root)]
fn it_needs_cap_setgid(t: &mut Guest) {
    t.mapped(0, "0 0 1", "0 0 1000", || {
        sys!(setgroups(1, &[5_u32])).ok();
        t.drop_cap(CAP_SETGID);
        sys!(setgroups(1, &[5_u32])).fails(EPERM);
        sys!(setgroups(0, 0)).fails(EPERM);
    })
    .done();
}

#[case(as_root)]
fn a_group_without_a_mapping_is_einval(t: &mut Guest) {
    t.mapped(0, "0 0 1", "0 100000 10\n20 100020 10", || {
        sys!(setgroups(3, &[0_u32, 9, 29])).ok();
        sys!(setgroups(3, &[0_u32, 9, 10])).fails(EINVAL);
        sys!(setgroups(1, &[u32::MAX])).fails(EINVAL);
        expect_eq!(t.groups(), [0, 9, 29]);
    })
    .done();
}

#[case(as_root)]
fn too_many_is_einval_before_the_list_is_looked_at(t: &mut Guest) {
    t.mapped(0, "0 0 1", "0 0 1000", || {
        sys!(setgroups(65537, 8)).fails(EINVAL);
        sys!(setgroups(-1, 8)).fails(EINVAL);
        sys!(setgroups(1, 8)).fails(EFAULT);
        sys!(setgroups(65536, 8)).fails(EFAULT);
    })
    .done();
}

/// The list is read up to the first group that is wrong.
#[case(as_root)]
fn a_bad_group_before_a_bad_address_is_einval(t: &mut Guest) {
    let map = t.pages(2);
    sys!(munmap(map.page(1), PAGE)).ok();
    let last = map.page(1) - 4;
    t.mapped(0, "0 0 1", "0 0 1000", || {
        map.put(PAGE - 4, &5_u32.to_ne_bytes());
        sys!(setgroups(2, last)).fails(EFAULT);
        map.put(PAGE - 4, &5000_u32.to_ne_bytes());
        sys!(setgroups(2, last)).fails(EINVAL);
    })
    .done();
}

#[case(as_root)]
fn as_many_as_65536_are_kept(t: &mut Guest) {
    t.fork(|| {
        let all: Vec<u32> = (0..65536).collect();
        sys!(setgroups(65536, &all)).ok();
        expect_eq!(t.groups() == all, true);
    })
    .done();
}

#[case(as_root)]
fn the_list_is_sorted_and_keeps_duplicates(t: &mut Guest) {
    t.fork(|| {
        sys!(setgroups(5, &[9_u32, 5, 3, 5, 9])).ok();
        expect_eq!(t.groups(), [3, 5, 5, 9, 9]);
    })
    .done();
}

#[case(as_root)]
fn the_order_is_that_of_the_first_namespace(t: &mut Guest) {
    t.mapped(0, "0 0 1", "1 100002 1\n2 100001 1\n3 100000 1", || {
        sys!(setgroups(3, &[1_u32, 2, 3])).ok();
        expect_eq!(t.groups(), [3, 2, 1]);
    })
    .done();
}

#[case(as_root)]
fn unmapped_groups_read_as_the_overflow_group(t: &mut Guest) {
    let overflow = t.overflow_gid();
    t.fork(|| {
        sys!(setgroups(3, &[7_u32, 8, 9])).ok();
        t.userns(0, || expect_eq!(t.groups(), [overflow; 3])).done();
        t.mapped(0, "", "50 8 1", || expect_eq!(t.groups(), [overflow, 50, overflow])).done();
    })
    .done();
}

#[case(as_root)]
fn unmapped_groups_still_count(t: &mut Guest) {
    t.file("f", "shared");
    sys!(chown(c"f", 0, 77)).ok();
    sys!(chmod(c"f", 0o640)).ok();
    t.fork(|| {
        sys!(setgroups(1, &[77_u32])).ok();
        sys!(setresgid(1000, 1000, 1000)).ok();
        sys!(setresuid(1000, 1000, 1000)).ok();
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        t.ns_root(0, || t.read("f").is("shared")).done();
    })
    .done();
}

/// CVE-2014-8989: a group can be what keeps its members out.
#[case(as_root)]
fn a_group_that_denies_cannot_be_left(t: &mut Guest) {
    t.file("f", "");
    sys!(chown(c"f", 0, 77)).ok();
    sys!(chmod(c"f", 0o604)).ok();
    t.fork(|| {
        sys!(setgroups(1, &[77_u32])).ok();
        sys!(setresgid(1000, 1000, 1000)).ok();
        sys!(setresuid(1000, 1000, 1000)).ok();
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        t.try_open("f", O_RDONLY).fails(EACCES);
        t.ns_root(0, || {
            sys!(setgroups(0, 0)).fails(EPERM);
            t.try_open("f", O_RDONLY).fails(EACCES);
        })
        .done();
    })
    .done();
    t.fork_user(1000, || {
        t.open("f", O_RDONLY);
    })
    .done();
}

#[case(as_root, as_user)]
fn getgroups_checks_the_size(t: &mut Guest) {
    let count = t.groups().len();
    sys!(getgroups(-1, 0)).fails(EINVAL);
    sys!(getgroups(i32::MIN, 0)).fails(EINVAL);
    sys!(getgroups(0, 8)).is(count);
    if count > 1 {
        sys!(getgroups(1, 8)).fails(EINVAL);
    }
}

#[case(as_root)]
fn getgroups_checks_size_before_address(t: &mut Guest) {
    t.fork(|| {
        sys!(setgroups(3, &[1_u32, 2, 3])).ok();
        sys!(getgroups(2, 8)).fails(EINVAL);
        sys!(getgroups(3, 8)).fails(EFAULT);
        sys!(getgroups(0, 8)).is(3);
        sys!(getgroups(i32::MAX, 8)).fails(EFAULT);
    })
    .done();
}

#[case(as_user)]
fn eperm_wins_for_a_user_in_the_first_namespace_too(_t: &mut Guest) {
    sys!(setgroups(65537, 0)).fails(EPERM);
    sys!(setgroups(-1, 8)).fails(EPERM);
    sys!(setgroups(1, 8)).fails(EPERM);
}
