//! Capabilities.

use crate::prelude::*;
use crate::sys::Ret;
use libc::*;

const VERSION_3: u32 = 0x2008_0522;
const CAP_CHOWN: i32 = 0;
const CAP_SETUID: i32 = 7;
const CAP_NET_BIND_SERVICE: i32 = 10;

/// Effective, permitted and inheritable sets.
type Sets = [u64; 3];

#[track_caller]
fn get() -> Sets {
    let (header, mut data) = ([VERSION_3, 0], [0_u32; 6]);
    sys!(capget(&header, &mut data)).ok();
    [0, 1, 2].map(|set| u64::from(data[set]) | u64::from(data[set + 3]) << 32)
}

/// Empties the inheritable set, which the one who started the suite may have filled; gives the permitted set.
#[track_caller]
fn permitted() -> u64 {
    let [_, permitted, _] = get();
    set([permitted, permitted, 0]).ok();
    permitted
}

fn set(sets: Sets) -> Ret {
    let header = [VERSION_3, 0];
    let low = sets.map(|set| set as u32);
    let high = sets.map(|set| (set >> 32) as u32);
    let data = [low, high].concat();
    sys!(capset(&header, &data))
}

#[case(as_root)]
fn root_has_effective_what_it_is_permitted(_t: &mut Guest) {
    let [effective, permitted, _] = get();
    check!(effective == permitted && permitted & 1 << CAP_SETUID != 0, "{permitted:#x}");
}

#[case(as_user)]
fn a_user_has_none(t: &mut Guest) {
    let [effective, allowed, _] = get();
    expect_eq!((effective, allowed), (0, 0));
    set([1, 0, 0]).fails(EPERM);
    set([0, 1, 0]).fails(EPERM);
    set([0, 0, 0]).ok();
    expect_eq!(t.field("/proc/self/status", "CapPrm"), "0000000000000000");
}

#[case(as_root)]
fn a_dropped_capability_is_gone(t: &mut Guest) {
    t.file("f", "");
    let [_, permitted, _] = get();
    set([0, permitted, 0]).ok();
    sys!(chown(c"f", 1000, 1000)).fails(EPERM);
    set([1 << CAP_CHOWN, permitted, 0]).ok();
    sys!(chown(c"f", 1000, 1000)).ok();
    let less = permitted & !(1 << CAP_CHOWN);
    set([less, less, 0]).ok();
    set([less, permitted, 0]).fails(EPERM);
    sys!(chown(c"f", 0, 0)).fails(EPERM);
}

#[case(as_root, as_user)]
fn versions_are_negotiated(_t: &mut Guest) {
    let mut header = [0_u32, 0];
    sys!(capget(&mut header, 0)).is(0);
    expect_eq!(header[0], VERSION_3);
    header[0] = 0x1234;
    sys!(capget(&mut header, &mut [0_u32; 6])).fails(EINVAL);
    expect_eq!(header[0], VERSION_3);
    header[1] = 0x3fff_ffff;
    sys!(capget(&mut header, &mut [0_u32; 6])).fails(ESRCH);
    sys!(capget(8, 0)).fails(EFAULT);
}

#[case(as_root)]
fn leaving_uid_zero_drops_all_and_seteuid_the_effective(_t: &mut Guest) {
    let permitted = permitted();
    sys!(setresuid(-1, 1000, -1)).ok();
    expect_eq!(get(), [0, permitted, 0]);
    sys!(setresuid(-1, 0, -1)).ok();
    expect_eq!(get(), [permitted, permitted, 0]);
    sys!(setresuid(1000, 1000, 1000)).ok();
    expect_eq!(get(), [0; 3]);
}

#[case(as_root)]
fn keepcaps_keeps_the_permitted(_t: &mut Guest) {
    let permitted = permitted();
    sys!(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0)).is(0);
    sys!(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)).ok();
    sys!(setresuid(1000, 1000, 1000)).ok();
    expect_eq!(get(), [0, permitted, 0]);
    set([permitted, permitted, 0]).ok();
    sys!(setresuid(2000, 2000, 2000)).ok();
    sys!(prctl(PR_SET_KEEPCAPS, 2, 0, 0, 0)).fails(EINVAL);
}

#[case(as_root)]
fn exec_as_root_fills_the_sets_up_to_the_bounding_set(t: &mut Guest) {
    t.fork(|| {
        sys!(prctl(PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0)).ok();
        sys!(prctl(PR_CAPBSET_READ, CAP_NET_BIND_SERVICE, 0, 0, 0)).is(0);
        let [_, permitted, _] = get();
        set([0, permitted & !1, 0]).ok();
        set([1 << 8, permitted & !1, 0]).ok();
        let (output, _) = t.helper("file", &["/proc/self/status"], &[]);
        let line = output.lines().find_map(|line| line.strip_prefix("CapPrm:\t")).unwrap();
        let after = u64::from_str_radix(line, 16).unwrap();
        expect_eq!(after, permitted & !(1 << CAP_NET_BIND_SERVICE));
    })
    .done();
}

#[case(as_root)]
fn ambient_capabilities_survive_exec_as_a_user(t: &mut Guest) {
    t.fork(|| {
        let permitted = permitted();
        sys!(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)).ok();
        sys!(setresuid(1000, 1000, 1000)).ok();
        let wanted = 1 << CAP_NET_BIND_SERVICE;
        sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0)).fails(EPERM);
        set([wanted, permitted, wanted]).ok();
        sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0)).ok();
        sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_BIND_SERVICE, 0, 0)).is(1);
        let (output, _) = t.helper("file", &["/proc/self/status"], &[]);
        for key in ["CapEff:\t", "CapPrm:\t", "CapAmb:\t"] {
            let line = output.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            expect_eq!(u64::from_str_radix(line, 16).unwrap(), wanted);
        }
    })
    .done();
}

#[case(as_root)]
fn securebits_stop_root_from_being_special(t: &mut Guest) {
    const SECBIT_NOROOT: i32 = 1;
    const SECBIT_NO_SETUID_FIXUP: i32 = 4;
    t.fork(|| {
        sys!(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)).is(0);
        let permitted = permitted();
        sys!(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP, 0, 0, 0)).ok();
        sys!(setresuid(-1, 1000, -1)).ok();
        expect_eq!(get(), [permitted, permitted, 0]);
        sys!(setresuid(-1, 0, -1)).ok();
        let (output, _) = t.helper("file", &["/proc/self/status"], &[]);
        check!(output.contains("CapPrm:\t0000000000000000"), "{output}");
    })
    .done();
}

#[case(as_root, as_user)]
fn the_bounding_set_ends_at_the_last_capability(t: &mut Guest) {
    let last: i32 = t.read("/proc/sys/kernel/cap_last_cap").ok().trim().parse().unwrap();
    check!(sys!(prctl(PR_CAPBSET_READ, last, 0, 0, 0)).ok() <= 1);
    sys!(prctl(PR_CAPBSET_READ, last + 1, 0, 0, 0)).fails(EINVAL);
}

#[case(as_user)]
fn the_bounding_set_is_for_the_privileged(_t: &mut Guest) {
    sys!(prctl(PR_CAPBSET_DROP, CAP_CHOWN, 0, 0, 0)).fails(EPERM);
    sys!(prctl(PR_SET_SECUREBITS, 1, 0, 0, 0)).fails(EPERM);
}
