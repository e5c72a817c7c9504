//! What prctl(2) has for credentials.

use crate::prelude::*;
use libc::*;

const CAP_SETUID: i32 = 7;
const CAP_SETPCAP: i32 = 8;
const CAP_NET_RAW: i32 = 13;
const SECBIT_KEEP_CAPS: i32 = 1 << 4;
const SECBIT_KEEP_CAPS_LOCKED: i32 = 1 << 5;
const SECBIT_NO_CAP_AMBIENT_RAISE: i32 = 1 << 6;
const SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED: i32 = 1 << 7;

#[case(as_root)]
fn a_locked_secure_bit_stays(_t: &mut Guest) {
    sys!(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS_LOCKED, 0, 0, 0)).ok();
    sys!(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS_LOCKED | SECBIT_KEEP_CAPS, 0, 0, 0)).fails(EPERM);
    sys!(prctl(PR_SET_SECUREBITS, 0, 0, 0, 0)).fails(EPERM);
    sys!(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)).fails(EPERM);
    sys!(prctl(PR_SET_KEEPCAPS, 2, 0, 0, 0)).fails(EINVAL);
    sys!(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS_LOCKED | 1 << 20, 0, 0, 0)).fails(EPERM);
    let both = SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE;
    sys!(prctl(PR_SET_SECUREBITS, both, 0, 0, 0)).ok();
    sys!(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)).is(both);
}

#[case(as_root)]
fn ambient_capabilities_can_be_forbidden(_t: &mut Guest) {
    let (mut header, mut data) = ([0x2008_0522_u32, 0], [0_u32; 6]);
    sys!(capget(&mut header, &mut data)).ok();
    (data[2], data[5]) = (data[1], data[4]);
    sys!(capset(&header, &data)).ok();
    sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0)).ok();
    sys!(prctl(PR_SET_SECUREBITS, SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED, 0, 0, 0))
        .ok();
    sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETPCAP, 0, 0)).fails(EPERM);
    sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0)).is(1);
    sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_NET_RAW, 0, 0)).ok();
    sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0)).is(0);
}

#[case(as_root, as_user)]
fn ambient_arguments_are_checked_before_rights(_t: &mut Guest) {
    sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)).ok();
    sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0)).fails(EINVAL);
    sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 64, 0, 0)).fails(EINVAL);
    sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 1, 0)).fails(EINVAL);
    sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 1)).fails(EINVAL);
    sys!(prctl(PR_CAP_AMBIENT, 9, CAP_NET_RAW, 0, 0)).fails(EINVAL);
    sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0)).fails(EPERM);
}

#[case(as_root)]
fn a_capability_that_is_no_more_inheritable_is_no_more_ambient(_t: &mut Guest) {
    let (header, all) = ([0x2008_0522_u32, 0], 1_u32 << CAP_NET_RAW);
    sys!(capset(&header, &[all, all, all, 0, 0, 0])).ok();
    sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0)).ok();
    sys!(capset(&header, &[all, all, 0, 0, 0, 0])).ok();
    sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0)).is(0);
}

#[case(as_root, as_user)]
fn no_new_privs_takes_one_value_and_is_for_good(t: &mut Guest) {
    sys!(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)).is(0);
    sys!(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)).fails(EINVAL);
    sys!(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0)).fails(EINVAL);
    sys!(prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0)).fails(EINVAL);
    sys!(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).ok();
    t.fork(|| sys!(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)).is(1)).done();
    let (output, _) = t.helper("file", &["/proc/self/status"], &[]);
    check!(output.contains("NoNewPrivs:\t1"), "{output}");
}

#[case(as_root, as_user)]
fn dumpable_is_of_the_process_and_reset_by_exec(t: &mut Guest) {
    sys!(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)).is(1);
    sys!(prctl(PR_SET_DUMPABLE, 2, 0, 0, 0)).fails(EINVAL);
    t.thread(|| sys!(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)).is(0)).join();
    sys!(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)).is(0);
    t.fork(|| sys!(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)).is(0)).done();
    let (output, _) = t.helper("file", &["/proc/self/environ"], &["A=b"]);
    check!(output.contains("A=b"), "{output}");
}

#[case(as_root)]
fn a_change_of_effective_ids_is_a_loss_of_dumpability(_t: &mut Guest) {
    let (header, some) = ([0x2008_0522_u32, 0], 1_u32 << CAP_NET_RAW | 1 << CAP_SETUID);
    sys!(capset(&header, &[some, some, 0, 0, 0, 0])).ok();
    sys!(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)).is(1);
    sys!(setresuid(-1, 7, -1)).ok();
    sys!(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)).is(0);
    sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
    sys!(setresuid(-1, -1, 7)).ok();
    sys!(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)).is(1);
}

#[case(as_root)]
fn a_change_of_user_clears_the_parent_death_signal(_t: &mut Guest) {
    let mut signal = 0_i32;
    sys!(prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0)).ok();
    sys!(setresuid(-1, 7, -1)).ok();
    sys!(prctl(PR_GET_PDEATHSIG, &raw mut signal, 0, 0, 0)).ok();
    expect_eq!(signal, 0);
    sys!(prctl(PR_SET_PDEATHSIG, 65, 0, 0, 0)).fails(EINVAL);
    sys!(prctl(PR_SET_PDEATHSIG, -1, 0, 0, 0)).fails(EINVAL);
}

/// Linux: cap_get_target_pid, cap_capset.
#[case(as_root)]
fn capget_of_others_and_capset_of_oneself(t: &mut Guest) {
    let child = t.sleeper();
    let mut data = [7_u32; 6];
    sys!(capget(&[0x2008_0522, child.pid], &mut data)).ok();
    check!(data[1] != 7 && data[2] != 7, "{data:?}");
    sys!(capset(&[0x2008_0522, child.pid], &data)).fails(EPERM);
    sys!(capset(&[0x2008_0522, sys!(gettid()).fd()], &data)).ok();
    sys!(capget(&[0x2008_0522, -1], &mut data)).fails(EINVAL);
    // Version 1 has the low half only, and takes the high one away.
    let mut half = [0_u32; 3];
    sys!(capget(&[0x1998_0330_u32, 0], &mut half)).ok();
    expect_eq!(half, [data[0], data[1], data[2]]);
    sys!(capset(&[0x1998_0330_u32, 0], &half)).ok();
    sys!(capget(&[0x2007_1026_u32, 0], &mut data)).ok();
    expect_eq!(data[3..], [0, 0, 0]);
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
}
