//! Set-user-ID and set-group-ID programs.

use crate::guest::{ExecIds, hex};
use crate::prelude::*;
use libc::*;

/// Runs `body` as user and group `id` of a namespace in which 0 to 999 are 100000 to 100999.
#[track_caller]
fn ranged(t: &Guest, flags: i32, id: u32, body: impl FnOnce()) {
    t.mapped(flags, "0 100000 1000", "0 100000 1000", || {
        sys!(setgroups(0, 0)).ok();
        sys!(setresgid(id, id, id)).ok();
        // Only root loses its capabilities by becoming someone else.
        sys!(setresuid(0, 0, 0)).ok();
        sys!(setresuid(id, id, id)).ok();
        body();
    })
    .done();
}

fn unprivileged(id: u32) -> ExecIds {
    ExecIds { uid: (id, id), gid: (id, id), secure: false }
}

#[case(as_root)]
fn a_mapped_owner_is_taken_on(t: &mut Guest) {
    t.copy_program("uid", (100_005, 100_006), 0o4755);
    t.copy_program("gid", (100_005, 100_006), 0o2755);
    t.copy_program("both", (100_005, 100_006), 0o6755);
    ranged(t, 0, 7, || {
        expect_eq!(t.ids_after_exec("uid"), ExecIds { uid: (7, 5), gid: (7, 7), secure: true });
        expect_eq!(t.ids_after_exec("gid"), ExecIds { uid: (7, 7), gid: (7, 6), secure: true });
        expect_eq!(t.ids_after_exec("both"), ExecIds { uid: (7, 5), gid: (7, 6), secure: true });
    });
}

#[case(as_root)]
fn both_of_the_files_ids_must_be_mapped(t: &mut Guest) {
    t.copy_program("none", (5, 6), 0o6755);
    t.copy_program("user", (100_005, 6), 0o6755);
    t.copy_program("group", (5, 100_006), 0o6755);
    t.copy_program("root", (0, 0), 0o4755);
    ranged(t, 0, 7, || {
        for name in ["none", "user", "group", "root"] {
            expect_eq!((name, t.ids_after_exec(name)), (name, unprivileged(7)));
        }
    });
}

#[case(as_root)]
fn the_namespaces_root_has_its_capabilities(t: &mut Guest) {
    t.copy_program("root", (100_000, 100_000), 0o4755);
    ranged(t, 0, 7, || {
        expect_eq!(t.caps().permitted, 0);
        expect_eq!(t.ids_after_exec("root").uid, (7, 0));
        expect_eq!(hex(&t.status_of("root", "CapEff")), t.all_caps());
    });
    // Outside it is just another user.
    t.fork_user(1000, || {
        expect_eq!(t.ids_after_exec("root").uid, (1000, 100_000));
        expect_eq!(hex(&t.status_of("root", "CapEff")), 0);
    })
    .done();
}

#[case(as_root)]
fn no_new_privs_turns_them_off(t: &mut Guest) {
    t.copy_program("both", (100_005, 100_006), 0o6755);
    ranged(t, 0, 7, || {
        sys!(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).ok();
        expect_eq!(t.ids_after_exec("both"), unprivileged(7));
    });
}

#[case(as_root)]
fn a_nosuid_mount_turns_them_off(t: &mut Guest) {
    t.copy_program("both", (100_005, 100_006), 0o6755);
    t.dir("d");
    ranged(t, CLONE_NEWNS, 0, || {
        sys!(mount(c".", c"d", 0, MS_BIND, 0)).ok();
        let flags = MS_BIND | MS_REMOUNT | MS_NOSUID;
        sys!(mount(0, c"d", 0, flags, 0)).ok();
        sys!(setresgid(7, 7, 7)).ok();
        sys!(setresuid(7, 7, 7)).ok();
        expect_eq!(t.ids_after_exec("d/both"), unprivileged(7));
        expect_eq!(t.ids_after_exec("both").uid, (7, 5));
    });
}

/// A program that is reached through another mount namespace is none of ours.
#[case(as_root)]
fn a_mount_of_another_namespace_turns_them_off(t: &mut Guest) {
    t.copy_program("both", (100_005, 100_006), 0o6755);
    let outside = t.open("both", O_PATH);
    ranged(t, CLONE_NEWNS, 7, || {
        expect_eq!(t.ids_after_exec("both").uid, (7, 5));
        expect_eq!(t.ids_after_exec(&format!("/proc/self/fd/{outside}")), unprivileged(7));
    });
}

#[case(as_root)]
fn a_tmpfs_of_a_namespace_below_turns_them_off(t: &mut Guest) {
    let shared = t.shared();
    let (ready, go) = (t.pipe(), t.pipe());
    t.dir("d");
    let child = t.mapped(CLONE_NEWNS, "0 0 1\n5 1000 1", "0 0 1", || {
        sys!(mount(c"none", c"d", c"tmpfs", 0, 0)).ok();
        t.copy_program("d/suid", (5, 0), 0o4755);
        shared[0].store(1, SeqCst);
        ready.signal();
        go.wait();
    });
    ready.wait();
    let path = format!("/proc/{}/root{}/d/suid", child.pid, t.directory());
    expect_eq!(t.stat(&path).st_uid, 1000);
    expect_eq!(t.ids_after_exec(&path), unprivileged(0));
    go.signal();
    child.done();
}

#[case(as_root, as_user)]
fn ones_own_changes_nothing(t: &mut Guest) {
    let (uid, gid) = (t.uid(), sys!(getegid()).ok() as u32);
    t.copy_program("own", (uid, gid), 0o6755);
    t.ns_root(0, || expect_eq!(t.ids_after_exec("own"), unprivileged(0))).done();
}

#[case(as_root, as_user)]
fn exec_keeps_the_namespace(t: &mut Guest) {
    t.ns_root(0, || {
        let link = t.ns_link("self", "user");
        let (map, _) = t.helper("file", &["/proc/self/uid_map", "/proc/self/setgroups"], &[]);
        expect_eq!(map, t.read("/proc/self/uid_map").ok() + "deny\n");
        expect_eq!(t.ns_link("self", "user"), link);
    })
    .done();
}

/// Without the right to execute it there is no set-ID to speak of.
#[case(as_root)]
fn permission_to_execute_comes_first(t: &mut Guest) {
    t.copy_program("closed", (100_005, 100_005), 0o4700);
    t.copy_program("foreign", (5, 5), 0o4700);
    ranged(t, 0, 7, || {
        sys!(execve(c"closed", 0, 0)).fails(EACCES);
    });
    ranged(t, 0, 0, || {
        // Root inside passes over the bits of what is mapped.
        expect_eq!(t.ids_after_exec("closed").uid, (0, 5));
        sys!(execve(c"foreign", 0, 0)).fails(EACCES);
    });
}

#[case(as_root)]
fn a_set_id_program_is_not_dumpable(t: &mut Guest) {
    t.copy_program("uid", (100_005, 100_005), 0o4755);
    ranged(t, 0, 7, || {
        // What it cannot read of itself shows it: its files belong to root.
        let (output, _) = t.output_of(|| {
            t.exec_copy(c"uid", "file", &["/proc/self/environ"], &[]).ok();
        });
        check!(output.contains("Permission denied") || output.contains("os error 13"), "{output}");
    });
}

#[case(as_root)]
fn capabilities_go_when_root_becomes_someone_else(t: &mut Guest) {
    t.copy_program("uid", (100_005, 100_005), 0o4755);
    ranged(t, 0, 0, || {
        expect_eq!(t.ids_after_exec("uid").uid, (0, 5));
        // Permitted for the real root, effective for nobody.
        expect_eq!(hex(&t.status_of("uid", "CapEff")), 0);
        expect_eq!(hex(&t.status_of("uid", "CapPrm")), t.all_caps());
    });
}
