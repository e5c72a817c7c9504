//! What `/proc` says about credentials, for its reader.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn ids_are_those_of_the_readers_namespace(t: &mut Guest) {
    let own = sys!(getpid()).ok();
    t.ns_root(0, || {
        expect_eq!(t.field("/proc/self/status", "Uid"), "0\t0\t0\t0");
        expect_eq!(t.field("/proc/self/status", "Gid"), "0\t0\t0\t0");
        // The parent is this user as well.
        expect_eq!(t.field(&format!("/proc/{own}/status"), "Uid"), "0\t0\t0\t0");
    })
    .done();
}

#[case(as_root)]
fn someone_without_a_mapping_is_the_overflow_id(t: &mut Guest) {
    let own = sys!(getpid()).ok();
    t.mapped(0, "0 100000 10", "0 100000 10", || {
        let (uid, gid) = (t.overflow_uid(), t.overflow_gid());
        for who in [format!("{own}"), "self".to_owned()] {
            let line = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
            expect_eq!(t.field(&format!("/proc/{who}/status"), "Uid"), line(uid));
            expect_eq!(t.field(&format!("/proc/{who}/status"), "Gid"), line(gid));
        }
    })
    .done();
}

#[case(as_root)]
fn groups_are_those_of_the_readers_namespace(t: &mut Guest) {
    t.fork(|| {
        sys!(setgroups(3, &[7_u32, 8, 9])).ok();
        expect_eq!(t.field("/proc/self/status", "Groups"), "7 8 9");
        t.mapped(0, "", "50 8 1", || {
            expect_eq!(t.field("/proc/self/status", "Groups"), "65534 50 65534");
        })
        .done();
    })
    .done();
}

/// The reader is who opened the file.
#[case(as_root, as_user)]
fn a_status_opened_outside_reads_as_outside(t: &mut Guest) {
    let uid = t.uid();
    let own = sys!(getpid()).ok();
    let fd = t.open(&format!("/proc/{own}/status"), O_RDONLY);
    t.ns_root(0, || {
        let text = String::from_utf8(t.recv(fd, 4096)).unwrap();
        expect_eq!(crate::guest::status_line(&text, "Uid"), [uid; 4].map(|id| id.to_string()).join("\t"));
    })
    .done();
}

#[case(as_root, as_user)]
fn capabilities_are_shown_whoever_asks(t: &mut Guest) {
    let all = t.all_caps();
    let child = t.ns_holder(0);
    let path = format!("/proc/{}/status", child.pid);
    expect_eq!(crate::guest::hex(&t.field(&path, "CapEff")), all);
    child.end();
}

#[case(as_root, as_user)]
fn the_files_of_a_process_belong_to_its_effective_user(t: &mut Guest) {
    let (uid, gid) = (t.uid(), sys!(getegid()).ok() as u32);
    let child = t.ns_holder(0);
    let stat = t.stat(&format!("/proc/{}/status", child.pid));
    expect_eq!((stat.st_uid, stat.st_gid), (uid, gid));
    child.end();
    t.ns_root(0, || {
        let stat = t.stat("/proc/self/status");
        expect_eq!((stat.st_uid, stat.st_gid), (0, 0));
    })
    .done();
}

/// They belong to the root of the namespace its memory is of, once it is not to be looked into.
#[case(as_root)]
fn the_files_of_an_undumpable_process_belong_to_root(t: &mut Guest) {
    let (ready, go) = (t.pipe(), t.pipe());
    let child = t.fork_user(1000, || {
        sys!(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)).ok();
        ready.signal();
        go.wait();
    });
    ready.wait();
    let path = |name: &str| format!("/proc/{}/{name}", child.pid);
    expect_eq!(t.stat(&path("status")).st_uid, 0);
    expect_eq!(t.stat(&path("uid_map")).st_uid, 0);
    // A directory that everyone may list stays the user's.
    expect_eq!(t.stat(&path("")).st_uid, 1000);
    t.fork_user(1000, || {
        t.try_open(&path("environ"), O_RDONLY).fails(EACCES);
        t.try_open(&path("uid_map"), O_WRONLY).fails(EACCES);
    })
    .done();
    go.signal();
    child.done();
}

#[case(as_user)]
fn an_undumpable_process_cannot_write_its_own_map(t: &mut Guest) {
    let uid = t.uid();
    t.userns(0, || {
        sys!(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)).ok();
        t.try_open("/proc/self/uid_map", O_WRONLY).fails(EACCES);
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        t.write("/proc/self/uid_map", format!("0 {uid} 1")).ok();
    })
    .done();
}

#[case(as_root, as_user)]
fn the_modes_of_the_files(t: &mut Guest) {
    for name in ["uid_map", "gid_map", "projid_map", "setgroups"] {
        expect_eq!(t.mode(&format!("/proc/self/{name}")), 0o644);
    }
    expect_eq!(t.mode("/proc/self/status"), 0o444);
    expect_eq!(t.mode("/proc/self/ns"), 0o511);
}

#[case(as_root, as_user)]
fn threads_have_the_files_as_well(t: &mut Guest) {
    t.ns_root(0, || {
        let own = sys!(gettid()).ok();
        let map = t.read("/proc/self/uid_map").ok();
        t.read(&format!("/proc/self/task/{own}/uid_map")).is(&map);
        t.read(&format!("/proc/self/task/{own}/setgroups")).is("deny\n");
        expect_eq!(t.ns_link(format!("self/task/{own}"), "user"), t.ns_link("self", "user"));
    })
    .done();
}

#[case(as_root, as_user)]
fn the_overflow_ids_are_readable_everywhere(t: &mut Guest) {
    let (uid, gid, outer) = (t.overflow_uid(), t.overflow_gid(), t.uid());
    t.ns_root(0, || {
        expect_eq!((t.overflow_uid(), t.overflow_gid()), (uid, gid));
        if outer != 0 {
            t.try_open("/proc/sys/kernel/overflowuid", O_WRONLY).fails(EACCES);
        }
    })
    .done();
}

#[case(as_root, as_user)]
fn ngroups_max_is_65536(t: &mut Guest) {
    t.read("/proc/sys/kernel/ngroups_max").is("65536\n");
}

#[case(as_root, as_user)]
fn no_new_privs_is_shown(t: &mut Guest) {
    t.fork(|| {
        let before = t.field("/proc/self/status", "NoNewPrivs");
        sys!(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).ok();
        expect_eq!(t.field("/proc/self/status", "NoNewPrivs"), "1");
        check!(before == "0" || before == "1", "{before}");
    })
    .done();
}

/// Debian's kernels have it: whether everyone may make user namespaces.
#[case(as_root, as_user)]
fn the_switch_for_unprivileged_namespaces_reads_as_a_number(t: &mut Guest) {
    if !t.exists("/proc/sys/kernel/unprivileged_userns_clone") {
        t.skip("the kernel has no such switch");
    }
    let value = t.read("/proc/sys/kernel/unprivileged_userns_clone").ok();
    check!(value == "0\n" || value == "1\n", "{value:?}");
}
