//! `prctl`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn the_name_is_cut_to_fifteen_bytes(t: &mut Guest) {
    sys!(prctl(PR_SET_NAME, c"a-very-long-thread-name", 0, 0, 0)).ok();
    let mut name = [0_u8; 16];
    sys!(prctl(PR_GET_NAME, &mut name, 0, 0, 0)).ok();
    expect_eq!(&name, b"a-very-long-thr\0");
    t.read("/proc/self/comm").is("a-very-long-thr\n");
    t.write("/proc/self/comm", "other").is(5);
    sys!(prctl(PR_GET_NAME, &mut name, 0, 0, 0)).ok();
    expect_eq!(&name[..6], b"other\0");
    sys!(prctl(PR_SET_NAME, 8, 0, 0, 0)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn no_new_privs_is_one_way_and_inherited(t: &mut Guest) {
    sys!(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)).is(0);
    sys!(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)).fails(EINVAL);
    sys!(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0)).fails(EINVAL);
    sys!(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).ok();
    t.fork(|| sys!(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)).is(1)).done();
    expect_eq!(t.field("/proc/self/status", "NoNewPrivs"), "1");
}

#[case(as_root, as_user)]
fn dumpable_is_zero_or_one(_t: &mut Guest) {
    sys!(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)).is(1);
    sys!(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)).ok();
    sys!(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)).is(0);
    sys!(prctl(PR_SET_DUMPABLE, 2, 0, 0, 0)).fails(EINVAL);
    sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
}

#[case(as_root, as_user)]
fn the_subreaper_mark_is_not_inherited(t: &mut Guest) {
    sys!(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)).ok();
    let get = || {
        let mut value = -1_i32;
        sys!(prctl(PR_GET_CHILD_SUBREAPER, &raw mut value, 0, 0, 0)).ok();
        value
    };
    expect_eq!(get(), 1);
    t.fork(|| expect_eq!(get(), 0)).done();
}

#[case(as_root, as_user)]
fn timer_slack_and_unknown_options(_t: &mut Guest) {
    sys!(prctl(PR_SET_TIMERSLACK, 12_345, 0, 0, 0)).ok();
    sys!(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)).is(12_345);
    sys!(prctl(9999, 0, 0, 0, 0)).fails(EINVAL);
    sys!(prctl(PR_SET_PDEATHSIG, 65, 0, 0, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn thp_and_mce_settings_are_readable(_t: &mut Guest) {
    sys!(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0)).is(0);
    sys!(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)).ok();
    sys!(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0)).is(1);
    sys!(prctl(PR_GET_SECCOMP, 0, 0, 0, 0)).is(0);
}
