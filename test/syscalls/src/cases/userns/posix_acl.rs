//! Access control lists: their ids as a namespace sees them. Linux: fs/posix_acl.c, `posix_acl_fix_xattr_userns`.

use crate::guest::{ACL_ACCESS, ACL_DEFAULT, acl_tag::NOBODY, full_acl};
use crate::prelude::*;
use libc::*;

/// Runs `body` as root of a namespace in which 0 to 999 are 100000 to 100999.
#[track_caller]
fn ranged(t: &Guest, flags: i32, body: impl FnOnce()) {
    sys!(chmod(c".", 0o777)).ok();
    t.mapped(flags, "0 100000 1000", "0 100000 1000", || {
        sys!(setgroups(0, 0)).ok();
        sys!(setresgid(0, 0, 0)).ok();
        sys!(setresuid(0, 0, 0)).ok();
        body();
    })
    .done();
}

const PERMS: [u16; 6] = [7, 7, 5, 5, 7, 0];

#[case(as_root)]
fn ids_of_a_list_are_translated_on_their_way_in_and_out(t: &mut Guest) {
    ranged(t, 0, || {
        t.file("f", "");
        t.try_acl("f", ACL_ACCESS, &full_acl(5, 6, PERMS));
        expect_eq!(t.get_acl("f", ACL_ACCESS), full_acl(5, 6, PERMS));
        t.dir("d");
        t.set_acl("d", ACL_DEFAULT, &full_acl(7, 8, PERMS)).ok();
    });
    expect_eq!(t.get_acl("f", ACL_ACCESS), full_acl(100_005, 100_006, PERMS));
    expect_eq!(t.get_acl("d", ACL_DEFAULT), full_acl(100_007, 100_008, PERMS));
}

/// The overflow id would name somebody.
#[case(as_root)]
fn an_id_without_a_mapping_reads_as_nobody(t: &mut Guest) {
    t.file("f", "");
    t.try_acl("f", ACL_ACCESS, &full_acl(5, 100_006, PERMS));
    ranged(t, 0, || expect_eq!(t.get_acl("f", ACL_ACCESS), full_acl(NOBODY, 6, PERMS)));
}

#[case(as_root)]
fn an_id_without_a_mapping_cannot_be_set(t: &mut Guest) {
    t.file("f", "");
    t.try_acl("f", ACL_ACCESS, &full_acl(5, 6, PERMS));
    ranged(t, 0, || {
        t.file("g", "");
        t.set_acl("g", ACL_ACCESS, &full_acl(1000, 6, PERMS)).fails(EINVAL);
        t.set_acl("g", ACL_ACCESS, &full_acl(5, 1000, PERMS)).fails(EINVAL);
        // The list is read before anybody asks whose file it is.
        t.set_acl("f", ACL_ACCESS, &full_acl(1000, 6, PERMS)).fails(EINVAL);
        t.set_acl("f", ACL_ACCESS, &full_acl(5, 6, PERMS)).fails(EPERM);
    });
}

#[case(as_root)]
fn root_inside_sets_lists_of_all_whose_ids_are_mapped(t: &mut Guest) {
    for (name, uid, gid) in [("both", 100_005, 100_006), ("user", 100_005, 6), ("group", 5, 100_006)] {
        t.file(name, "");
        sys!(chown(&cstr(name), uid, gid)).ok();
    }
    t.try_acl("both", ACL_ACCESS, &full_acl(5, 6, PERMS));
    ranged(t, 0, || {
        t.set_acl("both", ACL_ACCESS, &full_acl(1, 2, PERMS)).ok();
        t.set_acl("group", ACL_ACCESS, &full_acl(1, 2, PERMS)).fails(EPERM);
        // Linux: inode_owner_or_capable asks for a mapping of the owner alone.
        t.set_acl("user", ACL_ACCESS, &full_acl(1, 2, PERMS)).ok();
    });
}

#[case(as_root)]
fn a_list_counts_for_the_kernels_ids(t: &mut Guest) {
    sys!(chmod(c".", 0o777)).ok();
    for (name, user) in [("mine", 100_000), ("mapped", 100_005), ("number", 5)] {
        t.file(name, "x");
        t.try_acl(name, ACL_ACCESS, &full_acl(user, 1, [6, 4, 0, 0, 4, 0]));
        sys!(chown(&cstr(name), 5000, 5000)).ok();
    }
    ranged(t, 0, || {
        t.read("mine").is("x");
        sys!(setresuid(5, 5, 5)).ok();
        t.read("mapped").is("x");
        t.try_open("number", O_RDONLY).fails(EACCES);
    });
}

#[case(as_root, as_user)]
fn a_tmpfs_takes_only_ids_of_the_namespace_that_owns_it(t: &mut Guest) {
    t.ns_root(CLONE_NEWNS, || {
        t.dir("m");
        sys!(mount(c"none", c"m", c"tmpfs", 0, c"mode=755")).or_skip(EPERM, "no tmpfs for this user").ok();
        t.file("m/f", "");
        t.set_acl("m/f", ACL_ACCESS, &full_acl(0, 0, PERMS)).ok();
        expect_eq!(t.get_acl("m/f", ACL_ACCESS), full_acl(0, 0, PERMS));
        t.set_acl("m/f", ACL_ACCESS, &full_acl(1, 0, PERMS)).fails(EINVAL);
        t.set_acl("m", ACL_DEFAULT, &full_acl(0, 0, PERMS)).ok();
        t.file("m/g", "");
        expect_eq!(t.get_acl("m/g", ACL_ACCESS).len(), 6);
    })
    .done();
}

/// Who asks from outside may name ids that the filesystem cannot hold.
#[case(as_root)]
fn ids_the_filesystem_cannot_hold_are_refused_from_outside_too(t: &mut Guest) {
    let root = t.ns_holder_after(CLONE_NEWNS, || {
        t.dir("m");
        sys!(mount(c"none", c"m", c"tmpfs", 0, c"mode=755")).ok();
        t.file("m/f", "");
    });
    let file = format!("/proc/{}/cwd/m/f", root.pid);
    t.set_acl(&file, ACL_ACCESS, &full_acl(0, 0, PERMS)).ok();
    t.set_acl(&file, ACL_ACCESS, &full_acl(77, 0, PERMS)).fails(EINVAL);
    t.set_acl(&file, ACL_ACCESS, &full_acl(0, 77, PERMS)).fails(EINVAL);
    root.end();
}
