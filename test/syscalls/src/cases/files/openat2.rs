//! `openat2` and its ways of resolving.

use crate::prelude::*;
use crate::sys::Ret;
use libc::*;

fn openat2(t: &Guest, path: &str, flags: i32, resolve: u64) -> Ret {
    let how = [flags as u64, 0, resolve];
    let directory = t.open(".", O_PATH | O_DIRECTORY);
    sys!(openat2(directory, &cstr(path), &how, 24))
}

#[case(as_root, as_user)]
fn unknown_flags_modes_and_sizes_are_refused(t: &mut Guest) {
    t.file("f", "");
    openat2(t, "f", O_RDONLY, 0).ok();
    let open = |how: &[u64], size: usize| sys!(openat2(AT_FDCWD, c"f", how, size)).errno();
    expect_eq!(open(&[1 << 40, 0, 0], 24), EINVAL);
    expect_eq!(open(&[0, 0o644, 0], 24), EINVAL);
    expect_eq!(open(&[O_CREAT as u64, 0o1_0000, 0], 24), EINVAL);
    expect_eq!(open(&[0, 0, 1 << 20], 24), EINVAL);
    expect_eq!(open(&[0, 0, 0], 16), EINVAL);
    expect_eq!(open(&[0, 0, 0, 0], 32), 0);
    expect_eq!(open(&[0, 0, 0, 1], 32), E2BIG);
}

#[case(as_root, as_user)]
fn no_symlinks_refuses_any(t: &mut Guest) {
    t.dir("d");
    t.file("d/f", "");
    sys!(symlink(c"d", c"l")).ok();
    openat2(t, "d/f", O_RDONLY, RESOLVE_NO_SYMLINKS).ok();
    openat2(t, "l/f", O_RDONLY, RESOLVE_NO_SYMLINKS).fails(ELOOP);
    openat2(t, "l", O_RDONLY, RESOLVE_NO_SYMLINKS).fails(ELOOP);
    openat2(t, "l", O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS).ok();
}

#[case(as_root, as_user)]
fn no_magiclinks_refuses_proc_descriptors(t: &mut Guest) {
    t.file("f", "");
    let fd = t.open("f", O_RDONLY);
    let path = format!("/proc/self/fd/{fd}");
    openat2(t, &path, O_RDONLY, 0).ok();
    openat2(t, &path, O_RDONLY, RESOLVE_NO_MAGICLINKS).fails(ELOOP);
    openat2(t, "/proc/self/status", O_RDONLY, RESOLVE_NO_MAGICLINKS).ok();
}

#[case(as_root, as_user)]
fn beneath_refuses_every_way_out(t: &mut Guest) {
    t.dir("d");
    t.file("f", "");
    sys!(symlink(c"../..", c"d/up")).ok();
    sys!(symlink(c"/", c"d/root")).ok();
    sys!(symlink(c"../f", c"d/f")).ok();
    openat2(t, "d/../f", O_RDONLY, RESOLVE_BENEATH).ok();
    openat2(t, "d/f", O_RDONLY, RESOLVE_BENEATH).ok();
    openat2(t, "..", O_RDONLY, RESOLVE_BENEATH).fails(EXDEV);
    openat2(t, "d/up", O_RDONLY, RESOLVE_BENEATH).fails(EXDEV);
    openat2(t, "d/root", O_RDONLY, RESOLVE_BENEATH).fails(EXDEV);
    openat2(t, "/", O_RDONLY, RESOLVE_BENEATH).fails(EXDEV);
}

#[case(as_root, as_user)]
fn in_root_makes_the_directory_the_root(t: &mut Guest) {
    t.file("f", "here");
    sys!(symlink(c"/f", c"l")).ok();
    for path in ["/f", "../../f", "l", "/../f"] {
        let fd = openat2(t, path, O_RDONLY, RESOLVE_IN_ROOT).fd();
        expect_eq!(t.recv(fd, 8), b"here");
    }
    openat2(t, "f", O_RDONLY, RESOLVE_IN_ROOT | RESOLVE_BENEATH).fails(EINVAL);
}

#[case(as_root, as_user)]
fn no_xdev_stays_on_the_mount(t: &mut Guest) {
    t.file("f", "");
    openat2(t, "f", O_RDONLY, RESOLVE_NO_XDEV).ok();
    openat2(t, "/proc/self/status", O_RDONLY, RESOLVE_NO_XDEV).fails(EXDEV);
}

/// While `a/c` and `b` change places, the way up from `c` leads out of `a` at times: never for who may not leave it.
#[case(as_root, as_user)]
fn a_walk_that_races_with_renames_never_leaves_its_root(t: &mut Guest) {
    for name in ["a", "a/c", "b"] {
        t.dir(name);
    }
    let renamer = t.fork(|| {
        loop {
            sys!(renameat2(AT_FDCWD, c"a/c", AT_FDCWD, c"b", RENAME_EXCHANGE)).ok();
        }
    });
    let a = t.open("a", O_PATH | O_DIRECTORY);
    let inside = t.stat("a").st_ino;
    let path = cstr("c/../..".to_owned() + &"/c/../..".repeat(20));
    for resolve in [RESOLVE_IN_ROOT, RESOLVE_BENEATH] {
        for _ in 0..4000 {
            let how = [O_PATH as u64, 0, resolve];
            let opened = sys!(openat2(a, &path, &how, 24));
            if opened.raw() < 0 {
                check!(matches!(opened.errno(), EAGAIN | EXDEV), "{}", opened.errno());
                continue;
            }
            let fd = opened.fd();
            expect_eq!(t.fstat(fd).st_ino, inside);
            sys!(close(fd)).ok();
        }
    }
    renamer.kill(SIGKILL);
    renamer.wait().killed(SIGKILL);
}
