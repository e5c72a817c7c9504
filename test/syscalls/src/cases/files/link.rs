//! Hard links, symbolic links, `unlink`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn a_link_is_the_same_file(t: &mut Guest) {
    t.file("a", "text");
    sys!(link(c"a", c"b")).ok();
    expect_eq!(t.stat("a").st_ino, t.stat("b").st_ino);
    expect_eq!(t.stat("a").st_nlink, 2);
    sys!(unlink(c"a")).ok();
    expect_eq!(t.stat("b").st_nlink, 1);
    t.read("b").is("text");
}

#[case(as_root, as_user)]
fn link_refuses_directories_and_existing_names(t: &mut Guest) {
    t.dir("d");
    t.file("f", "");
    sys!(link(c"d", c"e")).fails(EPERM);
    sys!(link(c"f", c"d")).fails(EEXIST);
    sys!(link(c"f", c"f")).fails(EEXIST);
    sys!(link(c"none", c"x")).fails(ENOENT);
    sys!(link(c"f", c"none/x")).fails(ENOENT);
    sys!(link(c"f", c"/dev/x")).fails(EXDEV);
    sys!(linkat(AT_FDCWD, c"f", AT_FDCWD, c"x", 0x4000_0000)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn link_does_not_follow_unless_told_to(t: &mut Guest) {
    t.file("f", "x");
    sys!(symlink(c"f", c"l")).ok();
    sys!(link(c"l", c"l2")).ok();
    expect_eq!(t.lstat("l2").st_mode & S_IFMT, S_IFLNK);
    sys!(linkat(AT_FDCWD, c"l", AT_FDCWD, c"f2", AT_SYMLINK_FOLLOW)).ok();
    expect_eq!(t.lstat("f2").st_ino, t.stat("f").st_ino);
}

#[case(as_root, as_user)]
fn unlinked_files_live_while_they_are_open(t: &mut Guest) {
    t.file("f", "text");
    let fd = t.open("f", O_RDWR);
    sys!(unlink(c"f")).ok();
    expect_eq!(t.fstat(fd).st_nlink, 0);
    expect_eq!(t.recv(fd, 9), b"text");
    t.send(fd, "more");
    expect_eq!(t.fstat(fd).st_size, 8);
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    expect_eq!(link.to_string_lossy(), format!("{}/f (deleted)", t.directory()));
}

#[case(as_root, as_user)]
fn unlink_is_for_files_and_rmdir_for_directories(t: &mut Guest) {
    t.file("f", "");
    t.dir("d");
    sys!(unlink(c"d")).fails(EISDIR);
    sys!(rmdir(c"f")).fails(ENOTDIR);
    sys!(unlink(c"f/")).fails(ENOTDIR);
    sys!(unlink(c"none")).fails(ENOENT);
    sys!(unlinkat(AT_FDCWD, c"f", AT_REMOVEDIR)).fails(ENOTDIR);
    sys!(unlinkat(AT_FDCWD, c"d", 0x4000_0000)).fails(EINVAL);
    sys!(unlinkat(AT_FDCWD, c"d", AT_REMOVEDIR)).is(0);
    sys!(unlinkat(AT_FDCWD, c"f", 0)).is(0);
    expect_eq!(t.names("."), [".", ".."]);
}

#[case(as_root, as_user)]
fn unlink_of_a_symlink_leaves_its_target(t: &mut Guest) {
    t.file("f", "x");
    sys!(symlink(c"f", c"l")).ok();
    sys!(unlink(c"l")).ok();
    t.read("f").is("x");
}

#[case(as_root, as_user)]
fn readlink_gives_the_text_cut_to_the_buffer(t: &mut Guest) {
    sys!(symlink(c"some/where/else", c"l")).ok();
    let mut text = [b'!'; 16];
    sys!(readlink(c"l", &mut text, 16)).is(15);
    expect_eq!(&text, b"some/where/else!");
    sys!(readlink(c"l", &mut text, 4)).is(4);
    sys!(readlink(c"l", &mut text, 0)).fails(EINVAL);
    t.file("f", "");
    sys!(readlink(c"f", &mut text, 16)).fails(EINVAL);
    sys!(readlink(c"none", &mut text, 16)).fails(ENOENT);
    sys!(readlink(c"l", 8, 16)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn symlink_takes_any_text_but_none(t: &mut Guest) {
    sys!(symlink(c"", c"l")).fails(ENOENT);
    sys!(symlink(c"x", c"")).fails(ENOENT);
    sys!(symlink(&cstr("t".repeat(4095)), c"long")).ok();
    sys!(symlink(&cstr("t".repeat(4096)), c"longer")).fails(ENAMETOOLONG);
    t.file("f", "");
    sys!(symlink(c"x", c"f")).fails(EEXIST);
    sys!(symlink(c"x", c"new/")).fails(ENOENT);
}

#[case(as_root, as_user)]
fn a_relative_link_starts_at_its_own_directory(t: &mut Guest) {
    t.dir("d");
    t.file("f", "outer");
    t.file("d/f", "inner");
    sys!(symlink(c"f", c"d/l")).ok();
    t.read("d/l").is("inner");
    sys!(symlink(c"../f", c"d/up")).ok();
    t.read("d/up").is("outer");
    sys!(symlink(c"d", c"ld")).ok();
    t.read("ld/../f").is("outer");
}

/// Linux: may_linkat, with fs.protected_hardlinks.
#[case(as_user)]
fn others_files_are_not_linked_where_that_is_protected(t: &mut Guest) {
    if t.read("/proc/sys/fs/protected_hardlinks").ok() != "1\n" {
        t.skip("fs.protected_hardlinks is off");
    }
    sys!(linkat(AT_FDCWD, c"/proc/self/exe", AT_FDCWD, c"x", 0)).fails(EXDEV);
    let passwd = t.stat("/etc/passwd");
    if passwd.st_dev != t.stat(".").st_dev || passwd.st_uid == t.uid() {
        t.skip("/etc is on another file system, or belongs to this user");
    }
    sys!(link(c"/etc/passwd", c"x")).fails(EPERM);
}
