//! `rename` and `renameat2`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn rename_replaces_a_file(t: &mut Guest) {
    t.file("a", "new");
    t.file("b", "old");
    let old = t.open("b", O_RDONLY);
    sys!(rename(c"a", c"b")).ok();
    t.read("b").is("new");
    expect_eq!(t.recv(old, 8), b"old");
    expect_eq!(t.names("."), [".", "..", "b"]);
}

#[case(as_root, as_user)]
fn rename_of_a_file_to_its_own_link_does_nothing(t: &mut Guest) {
    t.file("a", "x");
    sys!(link(c"a", c"b")).ok();
    sys!(rename(c"a", c"b")).ok();
    sys!(rename(c"a", c"a")).ok();
    expect_eq!(t.names("."), [".", "..", "a", "b"]);
}

#[case(as_root, as_user)]
fn a_directory_replaces_an_empty_directory_only(t: &mut Guest) {
    t.dir("a");
    t.file("a/f", "x");
    t.dir("empty");
    t.dir("full");
    t.file("full/g", "y");
    t.file("file", "");
    sys!(rename(c"a", c"full")).fails(ENOTEMPTY);
    sys!(rename(c"a", c"file")).fails(ENOTDIR);
    sys!(rename(c"file", c"a")).fails(EISDIR);
    sys!(rename(c"a", c"empty")).ok();
    t.read("empty/f").is("x");
}

#[case(as_root, as_user)]
fn a_directory_does_not_go_into_itself(t: &mut Guest) {
    t.dir("a");
    t.dir("a/b");
    sys!(rename(c"a", c"a/b/c")).fails(EINVAL);
    sys!(rename(c"a", c"a/c")).fails(EINVAL);
    sys!(rename(c"a/b", c"a")).fails(ENOTEMPTY);
    sys!(rename(c"a/.", c"b")).fails(EBUSY);
    sys!(rename(c"a/b/..", c"b")).fails(EBUSY);
}

#[case(as_root, as_user)]
fn rename_checks_its_paths(t: &mut Guest) {
    t.file("f", "");
    sys!(rename(c"none", c"x")).fails(ENOENT);
    sys!(rename(c"f", c"none/x")).fails(ENOENT);
    sys!(rename(c"f", c"f/x")).fails(ENOTDIR);
    sys!(rename(c"f", c"/proc/x")).fails(EXDEV);
    sys!(rename(c"f", c"x/")).fails(ENOTDIR);
    sys!(rename(c"f", c"")).fails(ENOENT);
}

#[case(as_root, as_user)]
fn a_moved_directory_has_a_new_parent(t: &mut Guest) {
    t.dir("a");
    t.dir("b");
    t.dir("a/sub");
    sys!(rename(c"a/sub", c"b/sub")).ok();
    expect_eq!(t.stat("b/sub/..").st_ino, t.stat("b").st_ino);
    expect_eq!(t.names("a"), [".", ".."]);
}

#[case(as_root, as_user)]
fn a_symlink_is_renamed_itself(t: &mut Guest) {
    t.file("f", "x");
    sys!(symlink(c"f", c"l")).ok();
    sys!(rename(c"l", c"m")).ok();
    expect_eq!(t.lstat("m").st_mode & S_IFMT, S_IFLNK);
    t.file("g", "y");
    sys!(rename(c"g", c"m")).ok();
    t.read("f").is("x");
    t.read("m").is("y");
}

#[case(as_root, as_user)]
fn noreplace_refuses_an_existing_name(t: &mut Guest) {
    t.file("a", "1");
    t.file("b", "2");
    sys!(renameat2(AT_FDCWD, c"a", AT_FDCWD, c"b", RENAME_NOREPLACE)).fails(EEXIST);
    sys!(renameat2(AT_FDCWD, c"a", AT_FDCWD, c"c", RENAME_NOREPLACE)).ok();
    t.read("c").is("1");
    t.read("b").is("2");
}

#[case(as_root, as_user)]
fn exchange_swaps_any_two(t: &mut Guest) {
    t.file("f", "text");
    t.dir("d");
    t.file("d/g", "");
    sys!(renameat2(AT_FDCWD, c"f", AT_FDCWD, c"d", RENAME_EXCHANGE)).ok();
    t.read("d").is("text");
    expect_eq!(t.names("f"), [".", "..", "g"]);
    sys!(renameat2(AT_FDCWD, c"f", AT_FDCWD, c"none", RENAME_EXCHANGE)).fails(ENOENT);
    sys!(renameat2(AT_FDCWD, c"f", AT_FDCWD, c"d", RENAME_EXCHANGE | RENAME_NOREPLACE)).fails(EINVAL);
    sys!(renameat2(AT_FDCWD, c"f", AT_FDCWD, c"d", 0x80)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn an_open_file_follows_its_new_name(t: &mut Guest) {
    t.file("a", "x");
    t.dir("d");
    let fd = t.open("a", O_RDONLY);
    sys!(rename(c"a", c"d/b")).ok();
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    expect_eq!(link.to_string_lossy(), format!("{}/d/b", t.directory()));
}

#[case(as_user)]
fn rename_needs_write_access_to_both_directories(t: &mut Guest) {
    t.dir("a");
    t.dir("b");
    t.file("a/f", "");
    sys!(chmod(c"b", 0o555)).ok();
    sys!(rename(c"a/f", c"b/f")).fails(EACCES);
    sys!(chmod(c"b", 0o755)).ok();
    sys!(chmod(c"a", 0o555)).ok();
    sys!(rename(c"a/f", c"b/f")).fails(EACCES);
}
