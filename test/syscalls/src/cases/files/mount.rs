//! Mounts, each in a mount namespace of the case's own.

use crate::prelude::*;
use libc::*;

/// Leaves the mount namespace that others see.
#[track_caller]
fn private(_t: &Guest) {
    sys!(unshare(CLONE_NEWNS)).ok();
    sys!(mount(0, c"/", 0, MS_REC | MS_PRIVATE, 0)).ok();
}

#[track_caller]
fn tmpfs(target: &str, options: &str) {
    sys!(mount(c"none", &cstr(target), c"tmpfs", 0, &cstr(options))).ok();
}

#[case(as_root)]
fn a_tmpfs_hides_what_is_below_until_it_goes(t: &mut Guest) {
    private(t);
    t.dir("d");
    t.file("d/below", "");
    tmpfs("d", "mode=0711,size=64k");
    expect_eq!(t.names("d"), [".", ".."]);
    expect_eq!(t.mode("d"), 0o711);
    t.file("d/f", "x");
    check!(t.stat("d").st_dev != t.stat(".").st_dev);
    sys!(umount2(c"d", 0)).ok();
    expect_eq!(t.names("d"), [".", "..", "below"]);
}

#[case(as_root)]
fn a_size_limited_tmpfs_fills_up(t: &mut Guest) {
    private(t);
    t.dir("d");
    tmpfs("d", "size=16k");
    let fd = t.open("d/f", O_CREAT | O_WRONLY);
    let wrote = sys!(write(fd, &vec![0_u8; 65536], 65536)).ok();
    check!(wrote <= 16384, "{wrote}");
    sys!(write(fd, &vec![0_u8; 65536], 65536)).fails(ENOSPC);
}

#[case(as_root)]
fn a_mount_is_listed_in_mountinfo(t: &mut Guest) {
    private(t);
    t.dir("d");
    tmpfs("d", "");
    let path = format!("{}/d", t.directory());
    let info = t.read("/proc/self/mountinfo").ok();
    let line = info.lines().find(|line| line.split(' ').nth(4) == Some(&path)).unwrap().to_owned();
    check!(line.contains(" - tmpfs none "), "{line}");
    let mounts = t.read("/proc/self/mounts").ok();
    check!(mounts.lines().any(|line| line.starts_with(&format!("none {path} tmpfs rw"))), "{mounts}");
}

#[case(as_root)]
fn a_busy_mount_goes_only_lazily(t: &mut Guest) {
    private(t);
    t.dir("d");
    tmpfs("d", "");
    let fd = t.open("d/f", O_CREAT | O_RDWR);
    sys!(umount2(c"d", 0)).fails(EBUSY);
    sys!(umount2(c"d", MNT_DETACH)).ok();
    t.send(fd, "still");
    expect_eq!(t.names("d"), [".", ".."]);
    sys!(umount2(c"d", 0)).fails(EINVAL);
    sys!(umount2(c"none", 0)).fails(ENOENT);
    sys!(umount2(c"d", 0x100)).fails(EINVAL);
}

#[case(as_root)]
fn a_bind_shows_the_same_tree(t: &mut Guest) {
    private(t);
    t.dir("a");
    t.dir("b");
    t.file("a/f", "x");
    sys!(mount(c"a", c"b", 0, MS_BIND, 0)).ok();
    t.read("b/f").is("x");
    expect_eq!(t.stat("a/f").st_ino, t.stat("b/f").st_ino);
    t.write("b/f", "y").ok();
    t.read("a/f").is("y");
    sys!(link(c"a/f", c"b/g")).fails(EXDEV);
    sys!(rename(c"a/f", c"b/g")).fails(EXDEV);
    t.file("file", "one");
    t.file("over", "two");
    sys!(mount(c"file", c"over", 0, MS_BIND, 0)).ok();
    t.read("over").is("one");
    sys!(unlink(c"over")).fails(EBUSY);
    sys!(rmdir(c"b")).fails(EBUSY);
    sys!(mount(c"file", c"b", 0, MS_BIND, 0)).fails(ENOTDIR);
}

#[case(as_root)]
fn a_read_only_remount_of_a_bind_is_for_that_mount(t: &mut Guest) {
    private(t);
    t.dir("a");
    t.dir("b");
    t.file("a/f", "x");
    sys!(mount(c"a", c"b", 0, MS_BIND, 0)).ok();
    sys!(mount(0, c"b", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0)).ok();
    t.try_open("b/f", O_WRONLY).fails(EROFS);
    t.try_open("b/new", O_CREAT | O_WRONLY).fails(EROFS);
    sys!(unlink(c"b/f")).fails(EROFS);
    sys!(mkdir(c"b/d", 0o755)).fails(EROFS);
    sys!(chmod(c"b/f", 0o600)).fails(EROFS);
    sys!(access(c"b/f", W_OK)).fails(EROFS);
    t.read("b/f").is("x");
    t.write("a/f", "y").ok();
    sys!(mount(0, c"b", 0, MS_REMOUNT | MS_BIND, 0)).ok();
    t.write("b/f", "z").ok();
}

#[case(as_root)]
fn nodev_nosuid_and_noexec_hold(t: &mut Guest) {
    private(t);
    t.dir("d");
    sys!(mount(c"none", c"d", c"tmpfs", MS_NODEV | MS_NOEXEC | MS_NOSUID, 0)).ok();
    sys!(mknodat(AT_FDCWD, c"d/null", S_IFCHR | 0o666, makedev(1, 3))).ok();
    t.try_open("d/null", O_RDWR).fails(EACCES);
    std::fs::copy(t.program().to_str().unwrap(), "d/program").unwrap();
    sys!(chmod(c"d/program", 0o755)).ok();
    sys!(execve(c"d/program", 0, 0)).fails(EACCES);
    sys!(access(c"d/program", X_OK)).fails(EACCES);
    sys!(mmap(0, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, t.open("d/program", O_RDONLY), 0)).fails(EPERM);
}

#[case(as_root)]
fn a_move_takes_the_tree_along(t: &mut Guest) {
    private(t);
    t.dir("top");
    tmpfs("top", "");
    sys!(mount(0, c"top", 0, MS_PRIVATE, 0)).ok();
    t.dir("top/a");
    t.dir("top/b");
    tmpfs("top/a", "");
    t.file("top/a/f", "x");
    sys!(mount(c"top/a", c"top/b", 0, MS_MOVE, 0)).ok();
    t.read("top/b/f").is("x");
    expect_eq!(t.names("top/a"), [".", ".."]);
    sys!(mount(c"top/a", c"top/b", 0, MS_MOVE, 0)).fails(EINVAL);
}

#[case(as_root)]
fn shared_mounts_propagate_and_private_ones_do_not(t: &mut Guest) {
    private(t);
    t.dir("a");
    t.dir("b");
    tmpfs("a", "");
    sys!(mount(0, c"a", 0, MS_SHARED, 0)).ok();
    sys!(mount(c"a", c"b", 0, MS_BIND, 0)).ok();
    t.dir("a/m");
    tmpfs("a/m", "");
    t.file("a/m/f", "x");
    t.read("b/m/f").is("x");
    sys!(umount2(c"b/m", 0)).ok();
    expect_eq!(t.exists("a/m/f"), false);
    sys!(mount(0, c"b", 0, MS_SLAVE, 0)).ok();
    tmpfs("b/m", "");
    t.file("b/m/g", "");
    expect_eq!(t.exists("a/m/g"), false);
    tmpfs("a/m", "");
    t.file("a/m/h", "");
    expect_eq!(t.exists("b/m/h"), false);
    sys!(mount(0, c"b", 0, MS_UNBINDABLE, 0)).ok();
    t.dir("c");
    sys!(mount(c"b", c"c", 0, MS_BIND, 0)).fails(EINVAL);
}

#[case(as_root)]
fn a_recursive_bind_takes_submounts(t: &mut Guest) {
    private(t);
    t.dir("a");
    tmpfs("a", "");
    t.dir("a/sub");
    tmpfs("a/sub", "");
    t.file("a/sub/f", "x");
    t.dir("flat");
    t.dir("deep");
    sys!(mount(c"a", c"flat", 0, MS_BIND, 0)).ok();
    sys!(mount(c"a", c"deep", 0, MS_BIND | MS_REC, 0)).ok();
    expect_eq!(t.exists("flat/sub/f"), false);
    t.read("deep/sub/f").is("x");
}

#[case(as_root)]
fn pivot_root_puts_a_new_root_under_everyone(t: &mut Guest) {
    t.fork(|| {
        private(t);
        t.dir("new");
        tmpfs("new", "");
        t.file("new/f", "new root");
        t.dir("new/old");
        sys!(pivot_root(c"new", c"new/none")).fails(ENOENT);
        sys!(chdir(c"new")).ok();
        sys!(pivot_root(c".", c"old")).ok();
        t.read("/f").is("new root");
        check!(t.exists("/old/tmp"));
        sys!(umount2(c"/old", MNT_DETACH)).ok();
        expect_eq!(t.names("/old"), [".", ".."]);
    })
    .done();
}

#[case(as_root)]
fn mount_checks_its_arguments(t: &mut Guest) {
    private(t);
    t.dir("d");
    t.file("f", "");
    sys!(mount(c"none", c"d", c"nosuchfs", 0, 0)).fails(ENODEV);
    sys!(mount(c"none", c"missing", c"tmpfs", 0, 0)).fails(ENOENT);
    sys!(mount(c"none", c"f", c"tmpfs", 0, 0)).fails(ENOTDIR);
    sys!(mount(c"none", c"d", 0, 0, 0)).fails(EINVAL);
    sys!(mount(c"none", c"d", c"tmpfs", 0, c"nonsense=1")).fails(EINVAL);
    sys!(mount(0, c"d", 0, MS_REMOUNT, 0)).fails(EINVAL);
    sys!(mount(0, c"d", 0, MS_PRIVATE | MS_SHARED, 0)).fails(EINVAL);
    sys!(mount(c"missing", c"d", 0, MS_BIND, 0)).fails(ENOENT);
}

#[case(as_user)]
fn mounting_is_for_the_privileged(t: &mut Guest) {
    t.dir("d");
    sys!(mount(c"none", c"d", c"tmpfs", 0, 0)).fails(EPERM);
    sys!(mount(c".", c"d", 0, MS_BIND, 0)).fails(EPERM);
    sys!(umount2(c"/proc", 0)).fails(EPERM);
    sys!(pivot_root(c".", c"d")).fails(EPERM);
    sys!(unshare(CLONE_NEWNS)).fails(EPERM);
}

#[case(as_root)]
fn the_new_mount_calls_make_a_detached_mount(t: &mut Guest) {
    private(t);
    t.dir("d");
    let context = sys!(fsopen(c"tmpfs", FSOPEN_CLOEXEC)).or_skip(ENOSYS, "no fsopen").fd();
    sys!(fsconfig(context, FSCONFIG_SET_STRING, c"mode", c"0700", 0)).ok();
    sys!(fsconfig(context, FSCONFIG_CMD_CREATE, 0, 0, 0)).ok();
    let mount = sys!(fsmount(context, FSMOUNT_CLOEXEC, 0)).fd();
    sys!(move_mount(mount, c"", AT_FDCWD, c"d", MOVE_MOUNT_F_EMPTY_PATH)).ok();
    expect_eq!(t.mode("d"), 0o700);
    t.file("d/f", "x");
    let tree = sys!(open_tree(AT_FDCWD, c"d", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)).fd();
    t.dir("e");
    sys!(move_mount(tree, c"", AT_FDCWD, c"e", MOVE_MOUNT_F_EMPTY_PATH)).ok();
    t.read("e/f").is("x");
    sys!(fsopen(c"nosuchfs", 0)).fails(ENODEV);
}

#[case(as_root)]
fn mount_setattr_changes_a_whole_tree(t: &mut Guest) {
    private(t);
    t.dir("d");
    tmpfs("d", "");
    t.dir("d/sub");
    tmpfs("d/sub", "");
    let attr = [MOUNT_ATTR_RDONLY, 0, 0, 0];
    sys!(mount_setattr(AT_FDCWD, c"d", AT_RECURSIVE, &attr, 32)).or_skip(ENOSYS, "no mount_setattr").ok();
    t.try_open("d/f", O_CREAT | O_WRONLY).fails(EROFS);
    t.try_open("d/sub/f", O_CREAT | O_WRONLY).fails(EROFS);
    let attr = [0, MOUNT_ATTR_RDONLY, 0, 0];
    sys!(mount_setattr(AT_FDCWD, c"d", 0, &attr, 32)).ok();
    t.file("d/f", "");
    t.try_open("d/sub/f", O_CREAT | O_WRONLY).fails(EROFS);
}
