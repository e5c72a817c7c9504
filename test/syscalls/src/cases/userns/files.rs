//! Files: owners as a namespace sees them, and privilege over inodes.

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
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        body();
    })
    .done();
}

/// Creates `name`, owned outside by `uid` and `gid`.
#[track_caller]
fn owned(t: &Guest, name: &str, uid: u32, gid: u32, mode: u32) {
    t.file(name, "x");
    sys!(chown(&cstr(name), uid, gid)).ok();
    sys!(chmod(&cstr(name), mode)).ok();
}

#[case(as_root, as_user)]
fn what_one_owns_is_owned_by_root_inside(t: &mut Guest) {
    t.file("f", "");
    t.ns_root(0, || {
        expect_eq!((t.stat("f").st_uid, t.stat("f").st_gid), (0, 0));
        t.file("g", "");
    })
    .done();
    expect_eq!((t.stat("g").st_uid, t.stat("g").st_gid), (t.uid(), sys!(getegid()).ok() as u32));
}

#[case(as_root)]
fn an_owner_without_a_mapping_reads_as_the_overflow_id(t: &mut Guest) {
    owned(t, "f", 5, 6, 0o644);
    owned(t, "g", 100_001, 6, 0o644);
    ranged(t, 0, || {
        expect_eq!((t.stat("f").st_uid, t.stat("f").st_gid), (t.overflow_uid(), t.overflow_gid()));
        expect_eq!((t.stat("g").st_uid, t.stat("g").st_gid), (1, t.overflow_gid()));
        expect_eq!((t.stat("/proc/1").st_uid, t.stat("/proc").st_uid), (t.overflow_uid(), t.overflow_uid()));
    });
}

#[case(as_root)]
fn statx_translates_as_well(t: &mut Guest) {
    owned(t, "f", 100_007, 5, 0o644);
    ranged(t, 0, || {
        let mut statx: statx = zeroed();
        sys!(statx(AT_FDCWD, c"f", 0, STATX_BASIC_STATS, &raw mut statx)).ok();
        expect_eq!((statx.stx_uid, statx.stx_gid), (7, t.overflow_gid()));
    });
}

#[case(as_root)]
fn new_files_get_the_kernels_ids(t: &mut Guest) {
    ranged(t, 0, || {
        t.file("f", "");
        sys!(setfsuid(5)).is(0);
        sys!(setfsgid(6)).is(0);
        t.file("g", "");
        expect_eq!((t.stat("g").st_uid, t.stat("g").st_gid), (5, 6));
    });
    expect_eq!((t.stat("f").st_uid, t.stat("f").st_gid), (100_000, 100_000));
    expect_eq!((t.stat("g").st_uid, t.stat("g").st_gid), (100_005, 100_006));
}

#[case(as_root, as_user)]
fn chown_to_an_id_without_a_mapping_is_einval(t: &mut Guest) {
    t.file("f", "");
    t.ns_root(0, || {
        sys!(chown(c"f", 1, -1)).fails(EINVAL);
        sys!(chown(c"f", -1, 1)).fails(EINVAL);
        sys!(lchown(c"f", 1, 1)).fails(EINVAL);
        sys!(fchown(t.open("f", O_RDONLY), 1, 1)).fails(EINVAL);
        sys!(chown(c"f", 0, 0)).ok();
        sys!(chown(c"f", -1, -1)).ok();
        // The file is looked up first.
        sys!(chown(c"missing", 1, 1)).fails(ENOENT);
    })
    .done();
}

/// The id is translated before anyone asks for permission.
#[case(as_root)]
fn chown_einval_wins_over_eperm(t: &mut Guest) {
    owned(t, "f", 5, 5, 0o644);
    ranged(t, 0, || {
        sys!(chown(c"f", 5000, -1)).fails(EINVAL);
        sys!(chown(c"f", 1, -1)).fails(EPERM);
    });
}

#[case(as_root)]
fn root_inside_gives_files_to_any_mapped_id(t: &mut Guest) {
    ranged(t, 0, || {
        t.file("f", "");
        sys!(chown(c"f", 7, 8)).ok();
        sys!(chown(c"f", 9, -1)).ok();
        expect_eq!((t.stat("f").st_uid, t.stat("f").st_gid), (9, 8));
    });
    expect_eq!((t.stat("f").st_uid, t.stat("f").st_gid), (100_009, 100_008));
}

#[case(as_root)]
fn chown_of_what_is_not_mapped_is_eperm(t: &mut Guest) {
    owned(t, "user", 5, 100_000, 0o666);
    owned(t, "group", 100_005, 6, 0o666);
    ranged(t, 0, || {
        check!(t.caps().effective & 1 << CAP_CHOWN != 0);
        for name in [c"user", c"group"] {
            sys!(chown(name, 0, 0)).fails(EPERM);
            sys!(chown(name, -1, 0)).fails(EPERM);
        }
    });
}

#[case(as_root)]
fn permission_bits_are_passed_over_only_where_both_ids_are_mapped(t: &mut Guest) {
    owned(t, "both", 100_005, 100_006, 0);
    owned(t, "user", 100_005, 6, 0);
    owned(t, "group", 5, 100_006, 0);
    ranged(t, 0, || {
        t.read("both").is("x");
        t.write("both", "y").ok();
        t.try_open("user", O_RDONLY).fails(EACCES);
        t.try_open("group", O_WRONLY).fails(EACCES);
        sys!(access(c"both", R_OK | W_OK)).ok();
        sys!(access(c"user", R_OK)).fails(EACCES);
    });
}

#[case(as_user)]
fn what_belongs_to_the_first_namespaces_root_stays_closed(t: &mut Guest) {
    t.ns_root(0, || {
        t.try_open("/etc/passwd", O_WRONLY).fails(EACCES);
        sys!(mkdir(c"/etc/new", 0o755)).fails(EACCES);
        sys!(chmod(c"/etc", 0o777)).fails(EPERM);
        sys!(chown(c"/etc/passwd", 0, 0)).fails(EPERM);
        sys!(unlink(c"/etc/passwd")).fails(EACCES);
    })
    .done();
}

/// Linux: `inode_owner_or_capable`, for which the group does not matter.
#[case(as_root)]
fn root_inside_is_as_good_as_the_owner_of_what_a_mapped_user_owns(t: &mut Guest) {
    owned(t, "f", 100_005, 6, 0o600);
    owned(t, "g", 5, 100_006, 0o600);
    ranged(t, 0, || {
        sys!(chmod(c"f", 0o640)).ok();
        sys!(chmod(c"g", 0o640)).fails(EPERM);
        let times = [timespec { tv_sec: 1, tv_nsec: 0 }; 2];
        sys!(utimensat(AT_FDCWD, c"f", &times, 0)).ok();
        sys!(utimensat(AT_FDCWD, c"g", &times, 0)).fails(EPERM);
    });
}

#[case(as_root)]
fn the_set_group_id_bit_needs_the_group_or_its_mapping(t: &mut Guest) {
    owned(t, "f", 100_000, 6, 0o644);
    owned(t, "g", 100_000, 100_006, 0o644);
    ranged(t, 0, || {
        sys!(chmod(c"f", 0o2755)).ok();
        expect_eq!(t.mode("f"), 0o755);
        sys!(chmod(c"g", 0o2755)).ok();
        expect_eq!(t.mode("g"), 0o2755);
    });
}

#[case(as_root)]
fn a_sticky_directory_gives_way_only_where_the_file_is_mapped(t: &mut Guest) {
    t.dir("d");
    sys!(chmod(c"d", 0o1777)).ok();
    owned(t, "d/mapped", 100_005, 100_005, 0o600);
    owned(t, "d/foreign", 5, 5, 0o600);
    ranged(t, 0, || {
        sys!(unlink(c"d/foreign")).fails(EPERM);
        sys!(rename(c"d/foreign", c"d/other")).fails(EPERM);
        sys!(unlink(c"d/mapped")).ok();
    });
}

#[case(as_root, as_user)]
fn device_nodes_cannot_be_made(t: &mut Guest) {
    t.ns_root(CLONE_NEWNS, || {
        sys!(mknodat(AT_FDCWD, c"null", S_IFCHR | 0o666, makedev(1, 3))).fails(EPERM);
        sys!(mknodat(AT_FDCWD, c"disk", S_IFBLK | 0o666, makedev(8, 0))).fails(EPERM);
        sys!(mknodat(AT_FDCWD, c"fifo", S_IFIFO | 0o666, 0)).ok();
        t.dir("d");
        sys!(mount(c"none", c"d", c"tmpfs", 0, 0)).ok();
        sys!(mknodat(AT_FDCWD, c"d/null", S_IFCHR | 0o666, makedev(1, 3))).fails(EPERM);
        sys!(mknodat(AT_FDCWD, c"d/fifo", S_IFIFO | 0o666, 0)).ok();
        sys!(mknodat(AT_FDCWD, c"d/socket", S_IFSOCK | 0o666, 0)).ok();
    })
    .done();
}

#[case(as_root)]
fn trusted_attributes_are_for_the_first_namespace(t: &mut Guest) {
    t.needs_first_userns();
    t.file("f", "");
    sys!(setxattr(c"f", c"trusted.a", b"x", 1, 0)).or_skip(EOPNOTSUPP, "no trusted attributes").ok();
    t.ns_root(0, || {
        sys!(getxattr(c"f", c"trusted.a", 0, 0)).fails(ENODATA);
        sys!(setxattr(c"f", c"trusted.b", b"x", 1, 0)).fails(EPERM);
        sys!(removexattr(c"f", c"trusted.a")).fails(EPERM);
    })
    .done();
}

#[case(as_root)]
fn chroot_and_noatime_go_by_the_same_rules(t: &mut Guest) {
    owned(t, "f", 5, 5, 0o644);
    owned(t, "g", 100_005, 100_005, 0o644);
    t.dir("closed");
    sys!(chmod(c"closed", 0o700)).ok();
    t.dir("open");
    ranged(t, 0, || {
        t.try_open("f", O_RDONLY | O_NOATIME).fails(EPERM);
        t.open("g", O_RDONLY | O_NOATIME);
        sys!(chroot(c"closed")).fails(EACCES);
        sys!(chroot(c"open")).ok();
        sys!(chroot(c"/missing")).fails(ENOENT);
    });
}

/// A file system of the namespace's can store only ids that it maps.
#[case(as_root, as_user)]
fn creating_a_file_in_the_namespaces_own_tmpfs_unmapped_is_eoverflow(t: &mut Guest) {
    t.userns(CLONE_NEWNS, || {
        t.dir("d");
        sys!(mount(c"none", c"d", c"tmpfs", 0, 0)).ok();
        t.try_open("d/f", O_CREAT | O_WRONLY).fails(EOVERFLOW);
        sys!(mkdir(c"d/d", 0o755)).fails(EOVERFLOW);
        sys!(symlink(c"x", c"d/l")).fails(EOVERFLOW);
    })
    .done();
}

#[case(as_root, as_user)]
fn the_first_namespaces_files_can_be_made_unmapped(t: &mut Guest) {
    t.userns(0, || {
        t.file("f", "x");
        expect_eq!(t.stat("f").st_uid, t.overflow_uid());
    })
    .done();
    expect_eq!(t.stat("f").st_uid, t.uid());
}

#[case(as_root)]
fn writing_strips_the_set_id_bits_for_root_inside_as_well(t: &mut Guest) {
    owned(t, "f", 100_000, 100_000, 0o6777);
    owned(t, "g", 100_005, 5, 0o6777);
    owned(t, "h", 5, 5, 0o6777);
    ranged(t, 0, || {
        for name in ["f", "g", "h"] {
            t.write(name, "y").ok();
            expect_eq!((name, t.mode(name)), (name, 0o777));
        }
    });
}

#[case(as_root)]
fn acl_free_group_membership_is_by_kernel_ids(t: &mut Guest) {
    owned(t, "f", 5, 100_007, 0o640);
    ranged(t, 0, || {
        sys!(setgroups(1, &[7_u32])).ok();
        sys!(setresuid(9, 9, 9)).ok();
        t.read("f").is("x");
    });
    t.fork(|| {
        sys!(setgroups(1, &[7_u32])).ok();
        sys!(setresgid(9, 9, 9)).ok();
        sys!(setresuid(9, 9, 9)).ok();
        t.try_open("f", O_RDONLY).fails(EACCES);
    })
    .done();
}
