//! Traps in directories that everybody may write to: `fs.protected_*`.

use crate::prelude::*;
use libc::*;

/// Whether a protection is on, at this level.
fn needs(t: &Guest, name: &str, level: i32) {
    let value: i32 = t.read(&format!("/proc/sys/fs/{name}")).ok().trim().parse().unwrap();
    if value < level {
        t.skip(format!("fs.{name} is off"));
    }
}

fn be(id: u32) {
    sys!(setresgid(id, id, id)).ok();
    sys!(setresuid(id, id, id)).ok();
}

/// A sticky directory for everybody, which belongs to user 7.
fn sticky(t: &Guest) {
    t.dir("d");
    sys!(chown(c"d", 7, 7)).ok();
    sys!(chmod(c"d", 0o1777)).ok();
    sys!(chmod(c".", 0o755)).ok();
}

#[case(as_root)]
fn others_links_there_are_not_followed(t: &mut Guest) {
    needs(t, "protected_symlinks", 1);
    sticky(t);
    t.file("f", "x");
    sys!(symlink(c"../f", c"d/mine")).ok();
    sys!(lchown(c"d/mine", 1000, 1000)).ok();
    sys!(symlink(c"../f", c"d/owners")).ok();
    sys!(lchown(c"d/owners", 7, 7)).ok();
    sys!(symlink(c"..", c"d/up")).ok();
    sys!(lchown(c"d/up", 1000, 1000)).ok();
    t.fork(|| {
        be(1001);
        t.try_open("d/mine", O_RDONLY).fails(EACCES);
        t.open("d/owners", O_RDONLY);
        // Only the last component is looked at, and only if it is followed.
        t.open("d/up/f", O_RDONLY);
        check!(t.lstat("d/mine").st_uid == 1000);
    })
    .done();
    t.fork(|| {
        be(1000);
        t.open("d/mine", O_RDONLY);
    })
    .done();
    sys!(chmod(c"d", 0o777)).ok();
    t.fork(|| {
        be(1001);
        t.open("d/mine", O_RDONLY);
    })
    .done();
}

#[case(as_root)]
fn others_files_there_are_not_created_upon(t: &mut Guest) {
    needs(t, "protected_regular", 1);
    sticky(t);
    t.file("d/f", "");
    sys!(chown(c"d/f", 1000, 1000)).ok();
    sys!(chmod(c"d/f", 0o666)).ok();
    let root = sys!(openat(AT_FDCWD, c"d/f", O_WRONLY | O_CREAT, 0o600));
    root.fails(EACCES);
    sys!(openat(AT_FDCWD, c"d/f", O_WRONLY, 0)).ok();
    t.fork(|| {
        be(1000);
        sys!(openat(AT_FDCWD, c"d/f", O_WRONLY | O_CREAT, 0o600)).ok();
    })
    .done();
}

#[case(as_root)]
fn others_files_are_linked_only_if_they_are_harmless(t: &mut Guest) {
    needs(t, "protected_hardlinks", 1);
    sys!(chmod(c".", 0o777)).ok();
    for (name, mode) in [("shared", 0o666), ("closed", 0o644), ("set-id", 0o4666), ("set-gid", 0o2676)] {
        t.file(name, "");
        sys!(chmod(&crate::guest::cstr(name), mode)).ok();
    }
    t.fork(|| {
        be(1000);
        sys!(link(c"shared", c"1")).ok();
        sys!(link(c"closed", c"2")).fails(EPERM);
        sys!(link(c"set-id", c"3")).fails(EPERM);
        sys!(link(c"set-gid", c"4")).fails(EPERM);
    })
    .done();
}
