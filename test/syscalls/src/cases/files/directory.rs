//! Directories: making, listing, walking, the working directory, `chroot`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn mkdir_makes_an_empty_directory_with_mode_less_umask(t: &mut Guest) {
    sys!(umask(0o022)).ok();
    sys!(mkdir(c"d", 0o777)).ok();
    expect_eq!(t.mode("d"), 0o755);
    expect_eq!(t.names("d"), [".", ".."]);
    sys!(mkdir(c"d", 0o777)).fails(EEXIST);
    sys!(mkdir(c"d/", 0o777)).fails(EEXIST);
    sys!(mkdir(c"e/", 0o777)).ok();
    sys!(mkdir(c"none/x", 0o777)).fails(ENOENT);
    sys!(mkdir(c"/", 0o777)).fails(EEXIST);
    sys!(mkdir(c".", 0o777)).fails(EEXIST);
}

#[case(as_root, as_user)]
fn mkdir_does_not_go_through_a_dangling_link(t: &mut Guest) {
    sys!(symlink(c"target", c"l")).ok();
    sys!(mkdir(c"l", 0o777)).fails(EEXIST);
    expect_eq!(t.exists("target"), false);
}

#[case(as_root, as_user)]
fn rmdir_takes_empty_directories_only(t: &mut Guest) {
    t.dir("d");
    t.file("d/f", "");
    sys!(rmdir(c"d")).fails(ENOTEMPTY);
    sys!(unlink(c"d/f")).ok();
    sys!(rmdir(c"d/.")).fails(EINVAL);
    sys!(rmdir(c"d/..")).fails(ENOTEMPTY);
    sys!(rmdir(c"d")).ok();
    sys!(rmdir(c"d")).fails(ENOENT);
}

#[case(as_root, as_user)]
fn a_removed_directory_stays_usable_but_barren(t: &mut Guest) {
    t.dir("d");
    sys!(chdir(c"d")).ok();
    let fd = t.open(".", O_RDONLY);
    sys!(rmdir(&cstr(format!("{}/d", t.directory())))).ok();
    t.try_open("f", O_CREAT | O_WRONLY).fails(ENOENT);
    sys!(getcwd(&mut [0_u8; 4096], 4096)).fails(ENOENT);
    sys!(getdents64(fd, &mut [0_u64; 64], 512)).fails(ENOENT);
    t.stat("..");
    expect_eq!(t.fstat(fd).st_nlink, 0);
}

#[case(as_root, as_user)]
fn getdents_lists_names_with_types(t: &mut Guest) {
    t.file("f", "");
    t.dir("d");
    sys!(symlink(c"x", c"l")).ok();
    sys!(mknodat(AT_FDCWD, c"p", S_IFIFO | 0o600, 0)).ok();
    let fd = t.open(".", O_RDONLY | O_DIRECTORY);
    let mut entries = t.entries(fd);
    entries.sort();
    let expected =
        [(".", DT_DIR), ("..", DT_DIR), ("d", DT_DIR), ("f", DT_REG), ("l", DT_LNK), ("p", DT_FIFO)];
    expect_eq!(entries, expected.map(|(name, kind)| (name.to_owned(), kind)));
}

#[case(as_root, as_user)]
fn getdents_needs_a_directory_and_room_for_one_entry(t: &mut Guest) {
    t.file("f", "");
    let mut buffer = [0_u64; 64];
    sys!(getdents64(t.open("f", O_RDONLY), &mut buffer, 512)).fails(ENOTDIR);
    let fd = t.open(".", O_RDONLY);
    sys!(getdents64(fd, &mut buffer, 8)).fails(EINVAL);
    sys!(getdents64(fd, 8, 512)).fails(EFAULT);
    sys!(getdents64(99, &mut buffer, 512)).fails(EBADF);
}

#[case(as_root, as_user)]
fn many_entries_come_in_parts_and_once_each(t: &mut Guest) {
    for n in 0..300 {
        t.file(&format!("a-file-with-number-{n:04}"), "");
    }
    let fd = t.open(".", O_RDONLY);
    let names: Vec<_> = t.entries(fd).into_iter().map(|(name, _)| name).collect();
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    expect_eq!((names.len(), unique.len()), (302, 302));
}

#[case(as_root, as_user)]
fn entries_removed_while_listing_do_not_disturb(t: &mut Guest) {
    for n in 0..200 {
        t.file(&format!("file-{n:04}"), "");
    }
    let fd = t.open(".", O_RDONLY);
    let mut buffer = [0_u64; 64];
    let mut removed = 0;
    while sys!(getdents64(fd, &mut buffer, 512)).ok() > 0 {
        for n in 0..200 {
            if removed < 100 && t.exists(&format!("file-{n:04}")) {
                sys!(unlink(&cstr(format!("file-{n:04}")))).ok();
                removed += 1;
                break;
            }
        }
    }
    check!(removed > 0);
}

#[case(as_root, as_user)]
fn chdir_and_getcwd_agree(t: &mut Guest) {
    t.dir("d");
    sys!(chdir(c"d")).ok();
    let mut path = [0_u8; 4096];
    let want = format!("{}/d\0", t.directory());
    sys!(getcwd(&mut path, 4096)).is(want.len());
    expect_eq!(String::from_utf8_lossy(&path[..want.len()]), want);
    sys!(getcwd(&mut path, want.len() - 1)).fails(ERANGE);
    sys!(chdir(c"..")).ok();
    t.file("f", "");
    sys!(chdir(c"f")).fails(ENOTDIR);
    sys!(chdir(c"none")).fails(ENOENT);
    let fd = t.open("d", O_PATH);
    sys!(fchdir(fd)).ok();
    sys!(getcwd(&mut path, 4096)).is(want.len());
    sys!(fchdir(t.open("../f", O_RDONLY))).fails(ENOTDIR);
    sys!(fchdir(99)).fails(EBADF);
}

#[case(as_root, as_user)]
fn the_working_directory_follows_a_rename(t: &mut Guest) {
    t.dir("a");
    sys!(chdir(c"a")).ok();
    sys!(rename(c"../a", c"../b")).ok();
    let mut path = [0_u8; 4096];
    let want = format!("{}/b\0", t.directory());
    sys!(getcwd(&mut path, 4096)).is(want.len());
    expect_eq!(String::from_utf8_lossy(&path[..want.len()]), want);
}

#[case(as_user)]
fn chdir_needs_search_permission(t: &mut Guest) {
    t.dir("d");
    sys!(chmod(c"d", 0o600)).ok();
    sys!(chdir(c"d")).fails(EACCES);
    sys!(chmod(c"d", 0o100)).ok();
    sys!(chdir(c"d")).ok();
}

#[case(as_root)]
fn chroot_bounds_paths(t: &mut Guest) {
    t.dir("root");
    t.file("root/f", "inside");
    t.file("f", "outside");
    sys!(symlink(c"/f", c"root/l")).ok();
    t.fork(|| {
        sys!(chroot(c"root")).ok();
        t.read("f").is("outside");
        sys!(chdir(c"/")).ok();
        t.read("/f").is("inside");
        t.read("/../../f").is("inside");
        t.read("/l").is("inside");
        let mut path = [0_u8; 64];
        sys!(getcwd(&mut path, 64)).is(2);
        expect_eq!(&path[..2], b"/\0");
    })
    .done();
}

/// Linux: d_path of a directory outside the root is `(unreachable)…` for getcwd.
#[case(as_root)]
fn getcwd_tells_when_the_directory_is_out_of_reach(t: &mut Guest) {
    t.dir("root");
    t.fork(|| {
        sys!(chroot(c"root")).ok();
        let mut path = [0_u8; 4096];
        let length = sys!(getcwd(&mut path, 4096)).size();
        let path = String::from_utf8_lossy(&path[..length]).into_owned();
        check!(path.starts_with("(unreachable)"), "{path}");
    })
    .done();
}

#[case(as_user)]
fn chroot_is_for_the_privileged(t: &mut Guest) {
    t.dir("d");
    sys!(chroot(c"d")).fails(EPERM);
    sys!(chroot(c"none")).fails(ENOENT);
}
