//! `stat`, `statx`, `statfs` and file times.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn each_kind_of_file_has_its_type(t: &mut Guest) {
    t.file("f", "abc");
    t.dir("d");
    sys!(symlinkat(c"f", AT_FDCWD, c"l")).ok();
    sys!(mknodat(AT_FDCWD, c"p", S_IFIFO | 0o600, 0)).ok();
    let kind = |name: &str| t.lstat(name).st_mode & S_IFMT;
    expect_eq!([kind("f"), kind("d"), kind("l"), kind("p")], [S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO]);
    expect_eq!(t.stat("l").st_ino, t.stat("f").st_ino);
    expect_eq!(t.lstat("l").st_size, 1);
    expect_eq!(t.lstat("l").st_mode & 0o777, 0o777);
}

#[case(as_root, as_user)]
fn empty_path_means_the_descriptor(t: &mut Guest) {
    t.file("f", "abc");
    let fd = t.open("f", O_RDONLY);
    let mut stat: stat = zeroed();
    sys!(newfstatat(fd, c"", &raw mut stat, AT_EMPTY_PATH)).is(0);
    expect_eq!(stat.st_size, 3);
    sys!(newfstatat(fd, c"", &raw mut stat, 0)).fails(ENOENT);
    sys!(newfstatat(AT_FDCWD, c"", &raw mut stat, AT_EMPTY_PATH)).is(0);
    expect_eq!(stat.st_mode & S_IFMT, S_IFDIR);
    sys!(newfstatat(AT_FDCWD, c"f", &raw mut stat, 0x4000_0000)).fails(EINVAL);
    sys!(newfstatat(AT_FDCWD, c"f", 0, 0)).fails(EFAULT);
    sys!(fstat(99, &raw mut stat)).fails(EBADF);
}

#[case(as_root, as_user)]
fn statx_agrees_with_stat(t: &mut Guest) {
    t.file("f", "abc");
    let stat = t.stat("f");
    let mut statx: statx = zeroed();
    sys!(statx(AT_FDCWD, c"f", 0, STATX_BASIC_STATS, &raw mut statx)).is(0);
    expect_eq!(statx.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
    expect_eq!((statx.stx_ino, statx.stx_size), (stat.st_ino, 3));
    expect_eq!((u32::from(statx.stx_mode), u64::from(statx.stx_nlink)), (stat.st_mode, stat.st_nlink));
    expect_eq!((statx.stx_uid, statx.stx_gid), (stat.st_uid, stat.st_gid));
    expect_eq!(statx.stx_mtime.tv_sec, stat.st_mtime);
    expect_eq!(makedev(statx.stx_dev_major, statx.stx_dev_minor), stat.st_dev);
    sys!(statx(AT_FDCWD, c"f", 0, 0x8000_0000_u32, &raw mut statx)).fails(EINVAL);
    sys!(statx(AT_FDCWD, c"f", 0x4000_0000, STATX_BASIC_STATS, &raw mut statx)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn blocks_count_what_is_stored(t: &mut Guest) {
    t.file("f", vec![1; 64 * 1024]);
    let fd = t.open("f", O_RDONLY);
    sys!(fsync(fd)).ok();
    let stat = t.stat("f");
    check!(stat.st_blocks >= 64 * 2, "{}", stat.st_blocks);
    check!(stat.st_blksize > 0);
}

#[case(as_root, as_user)]
fn a_directory_counts_its_subdirectories(t: &mut Guest) {
    t.dir("d");
    let before = t.stat("d").st_nlink;
    t.dir("d/e");
    let after = t.stat("d").st_nlink;
    check!(after == before + 1 || (before == 1 && after == 1), "{before}, then {after}");
}

#[case(as_root, as_user)]
fn writing_changes_mtime_and_ctime(t: &mut Guest) {
    t.file("f", "");
    let old = [timespec { tv_sec: 1000, tv_nsec: 5 }, timespec { tv_sec: 2000, tv_nsec: 6 }];
    sys!(utimensat(AT_FDCWD, c"f", &old, 0)).ok();
    let stat = t.stat("f");
    expect_eq!((stat.st_atime, stat.st_atime_nsec, stat.st_mtime, stat.st_mtime_nsec), (1000, 5, 2000, 6));
    check!(stat.st_ctime > 2000, "{}", stat.st_ctime);
    t.write("f", "x").ok();
    check!(t.stat("f").st_mtime > 2000);
    expect_eq!(t.stat("f").st_atime, 1000);
}

#[case(as_root, as_user)]
fn utimensat_knows_now_and_omit(t: &mut Guest) {
    t.file("f", "");
    let set = [timespec { tv_sec: 1000, tv_nsec: 0 }, timespec { tv_sec: 2000, tv_nsec: 0 }];
    sys!(utimensat(AT_FDCWD, c"f", &set, 0)).ok();
    let special = [timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, timespec { tv_sec: 0, tv_nsec: UTIME_NOW }];
    sys!(utimensat(AT_FDCWD, c"f", &special, 0)).ok();
    expect_eq!(t.stat("f").st_atime, 1000);
    check!(t.stat("f").st_mtime > 2000);
    let wrong = [timespec { tv_sec: 0, tv_nsec: 1_000_000_000 }; 2];
    sys!(utimensat(AT_FDCWD, c"f", &wrong, 0)).fails(EINVAL);
    sys!(utimensat(AT_FDCWD, c"none", 0, 0)).fails(ENOENT);
}

#[case(as_root, as_user)]
fn utimensat_of_a_link_and_of_a_descriptor(t: &mut Guest) {
    t.file("f", "");
    sys!(symlinkat(c"f", AT_FDCWD, c"l")).ok();
    let set = [timespec { tv_sec: 1000, tv_nsec: 0 }; 2];
    sys!(utimensat(AT_FDCWD, c"l", &set, AT_SYMLINK_NOFOLLOW)).ok();
    expect_eq!(t.lstat("l").st_mtime, 1000);
    check!(t.stat("f").st_mtime > 1000);
    let fd = t.open("f", O_RDONLY);
    sys!(utimensat(fd, 0, &set, 0)).ok();
    expect_eq!(t.stat("f").st_mtime, 1000);
}

#[case(as_user)]
fn times_of_others_files_are_not_ours(t: &mut Guest) {
    let set = [timespec { tv_sec: 1000, tv_nsec: 0 }; 2];
    sys!(utimensat(AT_FDCWD, &t.foreign_file(), &set, 0)).fails(EPERM);
    sys!(utimensat(AT_FDCWD, &t.foreign_file(), 0, 0)).fails(EACCES);
}

#[case(as_root, as_user)]
fn adding_a_name_changes_the_directory(t: &mut Guest) {
    t.dir("d");
    let set = [timespec { tv_sec: 1000, tv_nsec: 0 }; 2];
    sys!(utimensat(AT_FDCWD, c"d", &set, 0)).ok();
    t.file("d/f", "");
    check!(t.stat("d").st_mtime > 1000);
    sys!(utimensat(AT_FDCWD, c"d", &set, 0)).ok();
    sys!(unlink(c"d/f")).ok();
    check!(t.stat("d").st_mtime > 1000);
}

#[case(as_root, as_user)]
fn statfs_tells_limits(t: &mut Guest) {
    let mut statfs: statfs = zeroed();
    sys!(statfs(c".", &raw mut statfs)).is(0);
    expect_eq!(statfs.f_namelen, 255);
    check!(statfs.f_bsize > 0 && statfs.f_blocks >= statfs.f_bfree);
    sys!(statfs(c"/proc", &raw mut statfs)).is(0);
    expect_eq!(statfs.f_type, PROC_SUPER_MAGIC);
    sys!(fstatfs(t.pipe().r, &raw mut statfs)).is(0);
    sys!(statfs(c"none", &raw mut statfs)).fails(ENOENT);
}
