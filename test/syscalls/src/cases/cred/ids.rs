//! User and group ids.

use crate::prelude::*;
use libc::*;

#[track_caller]
fn resuid() -> [u32; 3] {
    let mut ids = [0_u32; 3];
    let at = ids.as_mut_ptr();
    sys!(getresuid(at, at.wrapping_add(1), at.wrapping_add(2))).ok();
    ids
}

#[track_caller]
fn resgid() -> [u32; 3] {
    let mut ids = [0_u32; 3];
    let at = ids.as_mut_ptr();
    sys!(getresgid(at, at.wrapping_add(1), at.wrapping_add(2))).ok();
    ids
}

#[case(as_root)]
fn setuid_of_root_sets_all_three(_t: &mut Guest) {
    sys!(setuid(1000)).ok();
    expect_eq!(resuid(), [1000; 3]);
    sys!(setuid(0)).fails(EPERM);
}

#[case(as_root)]
fn setgid_of_root_sets_all_three(_t: &mut Guest) {
    sys!(setgid(1000)).ok();
    expect_eq!(resgid(), [1000; 3]);
    sys!(setgid(0)).ok();
}

#[case(as_root)]
fn seteuid_can_be_taken_back(_t: &mut Guest) {
    sys!(setresuid(-1, 1000, -1)).ok();
    expect_eq!(resuid(), [0, 1000, 0]);
    sys!(setuid(0)).ok();
    expect_eq!(resuid(), [0, 0, 0]);
}

#[case(as_user)]
fn a_user_may_only_take_ids_it_has(_t: &mut Guest) {
    let [uid, ..] = resuid();
    sys!(setuid(uid)).ok();
    sys!(setuid(0)).fails(EPERM);
    sys!(setgid(0)).fails(EPERM);
    sys!(setresuid(0, -1, -1)).fails(EPERM);
    sys!(setreuid(-1, 0)).fails(EPERM);
    sys!(setresuid(-1, -1, -1)).ok();
    expect_eq!(resuid(), [uid; 3]);
}

/// Linux: __sys_setreuid. The saved id follows the effective one when the real one is set.
#[case(as_root)]
fn setreuid_moves_the_saved_id(_t: &mut Guest) {
    sys!(setreuid(1000, 2000)).ok();
    expect_eq!(resuid(), [1000, 2000, 2000]);
    sys!(setreuid(2000, 1000)).ok();
    expect_eq!(resuid(), [2000, 1000, 1000]);
    sys!(setreuid(0, -1)).fails(EPERM);
}

#[case(as_root)]
fn groups_are_kept_as_set(_t: &mut Guest) {
    let groups = [5_u32, 3, 9];
    sys!(setgroups(3, &groups)).ok();
    let mut got = [0_u32; 8];
    sys!(getgroups(0, 0)).is(3);
    sys!(getgroups(2, &mut got)).fails(EINVAL);
    sys!(getgroups(8, &mut got)).is(3);
    let mut sorted = got[..3].to_vec();
    sorted.sort_unstable();
    expect_eq!(sorted, [3, 5, 9]);
    sys!(setgroups(65537, &groups)).fails(EINVAL);
}

#[case(as_user)]
fn setgroups_is_for_the_privileged(_t: &mut Guest) {
    let groups = [5_u32];
    sys!(setgroups(1, &groups)).fails(EPERM);
    sys!(setgroups(0, 0)).fails(EPERM);
}
