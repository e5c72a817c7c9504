//! Modes and owners.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn chmod_sets_the_bits(t: &mut Guest) {
    t.file("f", "");
    sys!(chmod(c"f", 0o640)).ok();
    expect_eq!(t.mode("f"), 0o640);
    let fd = t.open("f", O_RDONLY);
    sys!(fchmod(fd, 0o4711)).ok();
    expect_eq!(t.mode("f"), 0o4711);
    sys!(fchmodat(AT_FDCWD, c"f", 0o10_0600)).ok();
    expect_eq!(t.stat("f").st_mode, S_IFREG | 0o600);
    sys!(chmod(c"none", 0o600)).fails(ENOENT);
    sys!(fchmod(99, 0o600)).fails(EBADF);
}

#[case(as_user)]
fn chmod_is_for_the_owner(t: &mut Guest) {
    sys!(chmod(&t.foreign_file(), 0o644)).fails(EPERM);
}

#[case(as_user)]
fn a_user_gives_no_file_away(t: &mut Guest) {
    t.file("f", "");
    let (uid, gid) = (sys!(getuid()).ok(), sys!(getgid()).ok());
    sys!(chown(c"f", 0, -1)).fails(EPERM);
    sys!(chown(c"f", -1, 0)).fails(EPERM);
    sys!(chown(c"f", uid, gid)).ok();
    sys!(chown(c"f", -1, -1)).ok();
    sys!(chown(&t.foreign_file(), -1, gid)).fails(EPERM);
}

#[case(as_root)]
fn chown_changes_owner_and_group_apart(t: &mut Guest) {
    t.file("f", "");
    sys!(chown(c"f", 1000, -1)).ok();
    expect_eq!((t.stat("f").st_uid, t.stat("f").st_gid), (1000, 0));
    sys!(chown(c"f", -1, 2000)).ok();
    expect_eq!((t.stat("f").st_uid, t.stat("f").st_gid), (1000, 2000));
}

#[case(as_root)]
fn lchown_changes_the_link(t: &mut Guest) {
    t.file("f", "");
    sys!(symlink(c"f", c"l")).ok();
    sys!(lchown(c"l", 1000, 1000)).ok();
    expect_eq!((t.stat("f").st_uid, t.lstat("l").st_uid), (0, 1000));
    sys!(chown(c"l", 2000, 2000)).ok();
    expect_eq!((t.stat("f").st_uid, t.lstat("l").st_uid), (2000, 1000));
    sys!(fchownat(AT_FDCWD, c"l", 3000, -1, AT_SYMLINK_NOFOLLOW)).ok();
    expect_eq!(t.lstat("l").st_uid, 3000);
    let fd = t.open("f", O_PATH);
    sys!(fchownat(fd, c"", 4000, -1, AT_EMPTY_PATH)).ok();
    expect_eq!(t.stat("f").st_uid, 4000);
}

#[case(as_root)]
fn chown_clears_set_id_bits_of_executables(t: &mut Guest) {
    t.file("f", "");
    sys!(chmod(c"f", 0o6755)).ok();
    sys!(chown(c"f", 1000, 1000)).ok();
    expect_eq!(t.mode("f"), 0o755);
    t.dir("d");
    sys!(chmod(c"d", 0o2755)).ok();
    sys!(chown(c"d", 1000, 1000)).ok();
    expect_eq!(t.mode("d"), 0o2755);
}

/// Linux: inode_init_owner. Files take the group, directories the bit as well.
#[case(as_root)]
fn a_setgid_directory_hands_its_group_down(t: &mut Guest) {
    t.dir("d");
    sys!(chown(c"d", 0, 1234)).ok();
    sys!(chmod(c"d", 0o2775)).ok();
    t.file("d/f", "");
    t.dir("d/sub");
    expect_eq!((t.stat("d/f").st_gid, t.mode("d/f")), (1234, 0o644));
    expect_eq!((t.stat("d/sub").st_gid, t.mode("d/sub")), (1234, 0o2755));
}

#[case(as_root)]
fn in_a_sticky_directory_only_owners_remove(t: &mut Guest) {
    t.dir("d");
    sys!(chmod(c"d", 0o1777)).ok();
    t.file("d/roots", "");
    t.file("d/theirs", "");
    sys!(chown(c"d/theirs", 1000, 1000)).ok();
    t.fork(|| {
        sys!(setresuid(1000, 1000, 1000)).ok();
        sys!(unlink(c"d/roots")).fails(EPERM);
        sys!(rename(c"d/roots", c"d/x")).fails(EPERM);
        sys!(rename(c"d/theirs", c"d/roots")).fails(EPERM);
        sys!(unlink(c"d/theirs")).ok();
    })
    .done();
}

/// The first class that matches decides, even when a later one would allow more.
#[case(as_root)]
fn owner_group_and_others_are_tried_in_this_order(t: &mut Guest) {
    t.file("f", "x");
    sys!(chown(c"f", 1000, 2000)).ok();
    let opens = |uid: u32, gid: u32| {
        t.fork_exit(|| {
            sys!(setgroups(0, 0)).ok();
            sys!(setresgid(gid, gid, gid)).ok();
            sys!(setresuid(uid, uid, uid)).ok();
            i32::from(t.try_open("f", O_RDONLY).errno() == 0)
        })
        .wait()
        .0 >> 8
    };
    sys!(chmod(c"f", 0o044)).ok();
    expect_eq!([opens(1000, 2000), opens(1001, 2000), opens(1001, 2001)], [0, 1, 1]);
    sys!(chmod(c"f", 0o404)).ok();
    expect_eq!([opens(1000, 2000), opens(1001, 2000), opens(1001, 2001)], [1, 0, 1]);
    sys!(chmod(c"f", 0o440)).ok();
    expect_eq!([opens(1000, 2000), opens(1001, 2000), opens(1001, 2001)], [1, 1, 0]);
}

#[case(as_root)]
fn a_supplementary_group_counts(t: &mut Guest) {
    t.file("f", "x");
    sys!(chown(c"f", 1000, 2000)).ok();
    sys!(chmod(c"f", 0o040)).ok();
    t.fork(|| {
        let groups = [2000_u32, 7];
        sys!(setgroups(2, &groups)).ok();
        sys!(setresuid(1001, 1001, 1001)).ok();
        t.open("f", O_RDONLY);
        t.try_open("f", O_WRONLY).fails(EACCES);
    })
    .done();
}

#[case(as_root)]
fn mknod_of_devices_is_for_root(t: &mut Guest) {
    sys!(mknodat(AT_FDCWD, c"null", S_IFCHR | 0o666, makedev(1, 3))).ok();
    expect_eq!(t.stat("null").st_rdev, makedev(1, 3));
    t.fork(|| {
        sys!(chmod(c".", 0o777)).ok();
        sys!(setresuid(1000, 1000, 1000)).ok();
        sys!(mknodat(AT_FDCWD, c"x", S_IFCHR | 0o666, makedev(1, 3))).fails(EPERM);
        sys!(mknodat(AT_FDCWD, c"fifo", S_IFIFO | 0o666, 0)).ok();
        sys!(mknodat(AT_FDCWD, c"file", 0o666, 0)).ok();
    })
    .done();
    expect_eq!(t.lstat("file").st_mode & S_IFMT, S_IFREG);
    sys!(mknodat(AT_FDCWD, c"d", S_IFDIR | 0o777, 0)).fails(EPERM);
    sys!(mknodat(AT_FDCWD, c"file", S_IFREG, 0)).fails(EEXIST);
}
