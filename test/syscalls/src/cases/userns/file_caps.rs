//! File capabilities: `security.capability`, versions 2 and 3.

use crate::guest::{cstr, hex};
use crate::prelude::*;
use crate::sys::Ret;
use libc::*;

const NAME: &std::ffi::CStr = c"security.capability";
const V2: u32 = 0x0200_0000;
const V3: u32 = 0x0300_0000;
const EFFECTIVE: u32 = 1;

/// The attribute of `version` for the permitted set `caps`; `root` is who it counts for, in version 3.
fn attribute(version: u32, caps: u64, root: Option<u32>) -> Vec<u8> {
    let words = [version, caps as u32, 0, (caps >> 32) as u32, 0];
    words.into_iter().chain(root).flat_map(u32::to_le_bytes).collect()
}

fn set(path: &str, value: &[u8]) -> Ret {
    sys!(setxattr(&cstr(path), NAME, value, value.len(), 0))
}

/// The attribute as the caller sees it.
#[track_caller]
fn get(path: &str) -> Vec<u8> {
    let mut value = [0_u8; 64];
    let length = sys!(getxattr(&cstr(path), NAME, &mut value, 64)).size();
    value[..length].to_vec()
}

#[track_caller]
fn set_or_skip(path: &str, value: &[u8]) {
    set(path, value).or_skip(EOPNOTSUPP, "the file system keeps no file capabilities").ok();
}

const RAW: u64 = 1 << CAP_NET_RAW;

/// Runs `body` as user and group `id` of a namespace in which 0 to 999 are 100000 to 100999.
#[track_caller]
fn ranged(t: &Guest, id: u32, body: impl FnOnce()) {
    t.mapped(0, "0 100000 1000", "0 100000 1000", || {
        sys!(setgroups(0, 0)).ok();
        sys!(setresgid(id, id, id)).ok();
        // Only root loses its capabilities by becoming someone else.
        sys!(setresuid(0, 0, 0)).ok();
        sys!(setresuid(id, id, id)).ok();
        body();
    })
    .done();
}

/// What root of a namespace sets counts for that root.
#[case(as_user)]
fn set_inside_they_read_as_version_2_inside_and_3_outside(t: &mut Guest) {
    t.file("f", "");
    t.ns_root(0, || {
        set_or_skip("f", &attribute(V2 | EFFECTIVE, RAW, None));
        expect_eq!(get("f"), attribute(V2 | EFFECTIVE, RAW, None));
    })
    .done();
    expect_eq!(get("f"), attribute(V3 | EFFECTIVE, RAW, Some(t.uid())));
}

#[case(as_root)]
fn set_inside_by_a_mapped_root_they_name_it(t: &mut Guest) {
    t.file("f", "");
    sys!(chown(c"f", 100_000, 100_000)).ok();
    ranged(t, 0, || {
        set_or_skip("f", &attribute(V2, RAW, None));
        expect_eq!(get("f"), attribute(V2, RAW, None));
    });
    expect_eq!(get("f"), attribute(V3, RAW, Some(100_000)));
}

#[case(as_root)]
fn set_inside_for_another_root_they_are_version_3_for_both(t: &mut Guest) {
    t.file("f", "");
    sys!(chown(c"f", 100_000, 100_000)).ok();
    ranged(t, 0, || {
        set_or_skip("f", &attribute(V3, RAW, Some(5)));
        expect_eq!(get("f"), attribute(V3, RAW, Some(5)));
        set("f", &attribute(V3, RAW, Some(5000))).fails(EINVAL);
    });
    expect_eq!(get("f"), attribute(V3, RAW, Some(100_005)));
}

#[case(as_root)]
fn version_3_for_the_first_root_reads_as_version_2(t: &mut Guest) {
    t.file("f", "");
    set_or_skip("f", &attribute(V3 | EFFECTIVE, RAW, Some(0)));
    expect_eq!(get("f"), attribute(V2 | EFFECTIVE, RAW, None));
    set("f", &attribute(V3, RAW, Some(1000))).ok();
    expect_eq!(get("f"), attribute(V3, RAW, Some(1000)));
}

#[case(as_root)]
fn of_a_root_that_is_none_of_ours_they_are_eoverflow(t: &mut Guest) {
    t.file("f", "");
    set_or_skip("f", &attribute(V3, RAW, Some(1000)));
    let mut value = [0_u8; 64];
    ranged(t, 0, || sys!(getxattr(c"f", NAME, &mut value, 64)).fails(EOVERFLOW));
}

#[case(as_root, as_user)]
fn setting_them_needs_cap_setfcap_where_the_file_is_mapped(t: &mut Guest) {
    t.file("f", "");
    let value = attribute(V2, RAW, None);
    if !t.is_root() {
        set("f", &value).fails(EPERM);
    }
    t.ns_root(0, || {
        set_or_skip("f", &value);
        t.drop_cap(CAP_SETFCAP);
        set("f", &value).fails(EPERM);
    })
    .done();
}

#[case(as_root)]
fn setting_them_on_what_is_not_mapped_is_eperm(t: &mut Guest) {
    t.file("f", "");
    let value = attribute(V2, RAW, None);
    set_or_skip("f", &value);
    ranged(t, 0, || {
        set("f", &value).fails(EPERM);
        sys!(removexattr(c"f", NAME)).fails(EPERM);
    });
}

#[case(as_root, as_user)]
fn a_malformed_attribute_is_einval(t: &mut Guest) {
    t.file("f", "");
    t.ns_root(0, || {
        let good = attribute(V2, RAW, None);
        set_or_skip("f", &good);
        set("f", &good[..19]).fails(EINVAL);
        set("f", &attribute(V3, RAW, None)).fails(EINVAL);
        set("f", &attribute(V2, RAW, Some(0))).fails(EINVAL);
        set("f", &attribute(0x0400_0000, RAW, None)).fails(EINVAL);
        set("f", &attribute(0x0100_0000, RAW, None)).fails(EINVAL);
        expect_eq!(get("f"), good);
    })
    .done();
}

/// Malformed wins over not allowed.
#[case(as_user)]
fn malformed_is_told_before_not_allowed(t: &mut Guest) {
    t.file("f", "");
    set("f", b"x").fails(EINVAL);
    set("f", &attribute(V2, RAW, None)).or_skip(EOPNOTSUPP, "no file capabilities").fails(EPERM);
}

#[case(as_root)]
fn they_are_had_after_exec(t: &mut Guest) {
    t.copy_program("p", (0, 0), 0o755);
    set_or_skip("p", &attribute(V2 | EFFECTIVE, RAW, None));
    t.fork_user(1000, || {
        for key in ["CapPrm", "CapEff"] {
            expect_eq!((key, hex(&t.status_of("p", key))), (key, RAW));
        }
        expect_eq!((hex(&t.status_of("p", "CapInh")), hex(&t.status_of("p", "CapAmb"))), (0, 0));
        check!(t.ids_after_exec("p").secure);
    })
    .done();
    set("p", &attribute(V2, RAW, None)).ok();
    t.fork_user(1000, || {
        expect_eq!((hex(&t.status_of("p", "CapPrm")), hex(&t.status_of("p", "CapEff"))), (RAW, 0));
    })
    .done();
}

#[case(as_root)]
fn the_first_roots_count_in_every_namespace(t: &mut Guest) {
    t.copy_program("p", (0, 0), 0o755);
    set_or_skip("p", &attribute(V2 | EFFECTIVE, RAW, None));
    ranged(t, 7, || expect_eq!(hex(&t.status_of("p", "CapEff")), RAW));
}

#[case(as_root)]
fn a_namespaces_root_counts_there_and_below(t: &mut Guest) {
    t.copy_program("p", (100_000, 100_000), 0o755);
    set_or_skip("p", &attribute(V3 | EFFECTIVE, RAW, Some(100_000)));
    ranged(t, 7, || expect_eq!(hex(&t.status_of("p", "CapEff")), RAW));
    ranged(t, 0, || {
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        t.mapped(0, "0 5 1\n9 7 1", "0 0 1", || expect_eq!(hex(&t.status_of("p", "CapEff")), RAW)).done();
    });
    t.fork_user(1000, || expect_eq!(hex(&t.status_of("p", "CapPrm")), 0)).done();
    t.mapped(0, "0 200000 10", "0 200000 10", || {
        sys!(setresuid(0, 0, 0)).ok();
        sys!(setresuid(7, 7, 7)).ok();
        expect_eq!(hex(&t.status_of("p", "CapPrm")), 0);
    })
    .done();
}

#[case(as_user)]
fn set_by_an_ordinary_user_they_count_inside_only(t: &mut Guest) {
    let (uid, gid) = (t.uid(), sys!(getegid()).ok() as u32);
    t.copy_program("p", (uid, gid), 0o755);
    t.ns_root(0, || set_or_skip("p", &attribute(V2 | EFFECTIVE, RAW, None))).done();
    expect_eq!(hex(&t.status_of("p", "CapPrm")), 0);
    expect_eq!(t.ids_after_exec("p").secure, false);
    t.userns(0, || {
        // Its root is nobody here: the user is mapped to another.
        t.write("/proc/self/uid_map", format!("5 {uid} 1")).ok();
        expect_eq!(hex(&t.status_of("p", "CapPrm")), 0);
    })
    .done();
}

#[case(as_root)]
fn no_new_privs_and_nosuid_turn_them_off(t: &mut Guest) {
    t.copy_program("p", (0, 0), 0o755);
    set_or_skip("p", &attribute(V2 | EFFECTIVE, RAW, None));
    t.dir("d");
    t.fork(|| {
        sys!(unshare(CLONE_NEWNS)).ok();
        sys!(mount(0, c"/", 0, MS_REC | MS_PRIVATE, 0)).ok();
        sys!(mount(c".", c"d", 0, MS_BIND, 0)).ok();
        sys!(mount(0, c"d", 0, MS_BIND | MS_REMOUNT | MS_NOSUID, 0)).ok();
        t.become_user(1000);
        expect_eq!(hex(&t.status_of("d/p", "CapPrm")), 0);
        expect_eq!(hex(&t.status_of("p", "CapPrm")), RAW);
        sys!(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).ok();
        expect_eq!(hex(&t.status_of("p", "CapPrm")), 0);
    })
    .done();
}

/// The effective bit says that the program does not know about capabilities, and would go on without.
#[case(as_root)]
fn without_what_it_needs_an_unknowing_program_is_eperm(t: &mut Guest) {
    t.copy_program("p", (0, 0), 0o755);
    set_or_skip("p", &attribute(V2 | EFFECTIVE, RAW, None));
    t.copy_program("q", (0, 0), 0o755);
    set("q", &attribute(V2, RAW, None)).ok();
    t.fork(|| {
        sys!(prctl(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0)).ok();
        t.become_user(1000);
        sys!(execve(c"p", 0, 0)).fails(EPERM);
        expect_eq!(hex(&t.status_of("q", "CapPrm")), 0);
    })
    .done();
}

#[case(as_root)]
fn writing_and_giving_away_remove_them(t: &mut Guest) {
    for change in ["write", "truncate", "chown"] {
        t.file(change, "x");
        set_or_skip(change, &attribute(V2, RAW, None));
        match change {
            "write" => t.write(change, "y").is(1),
            "truncate" => sys!(truncate(&cstr(change), 0)).is(0),
            _ => sys!(chown(&cstr(change), 5, -1)).is(0),
        }
        let mut value = [0_u8; 64];
        sys!(getxattr(&cstr(change), NAME, &mut value, 64)).fails(ENODATA);
    }
}

#[case(as_root, as_user)]
fn they_are_listed_and_removed(t: &mut Guest) {
    t.file("f", "");
    t.ns_root(0, || {
        set_or_skip("f", &attribute(V2, RAW, None));
        let mut list = [0_u8; 256];
        let length = sys!(listxattr(c"f", &mut list, 256)).size();
        check!(list[..length].windows(20).any(|name| name == b"security.capability\0"));
        sys!(removexattr(c"f", NAME)).ok();
        sys!(removexattr(c"f", NAME)).fails(ENODATA);
    })
    .done();
}

#[case(as_root)]
fn inheritable_ones_meet_the_callers(t: &mut Guest) {
    t.copy_program("p", (0, 0), 0o755);
    let words = [V2 | EFFECTIVE, 0, RAW as u32, 0, 0];
    let value: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    set_or_skip("p", &value);
    t.fork(|| {
        let caps = t.caps();
        t.set_caps(crate::guest::Caps { inheritable: RAW, ..caps }).ok();
        t.become_user(1000);
        expect_eq!(hex(&t.status_of("p", "CapEff")), RAW);
    })
    .done();
    t.fork(|| {
        let caps = t.caps();
        t.set_caps(crate::guest::Caps { inheritable: 0, ..caps }).ok();
        t.become_user(1000);
        expect_eq!(hex(&t.status_of("p", "CapEff")), 0);
    })
    .done();
}
