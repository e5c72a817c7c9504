//! `open` and its flags.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn creat_makes_a_file_with_mode_less_umask(t: &mut Guest) {
    sys!(umask(0o027)).ok();
    sys!(openat(AT_FDCWD, c"f", O_CREAT | O_WRONLY, 0o666)).ok();
    expect_eq!(t.mode("f"), 0o640);
}

#[case(as_root, as_user)]
fn the_new_file_belongs_to_the_effective_user_and_group(t: &mut Guest) {
    t.file("f", "");
    let stat = t.stat("f");
    expect_eq!(i64::from(stat.st_uid), sys!(geteuid()).ok());
    expect_eq!(i64::from(stat.st_gid), sys!(getegid()).ok());
    expect_eq!(stat.st_nlink, 1);
    expect_eq!(stat.st_size, 0);
}

#[case(as_root, as_user)]
fn a_missing_file_is_enoent(t: &mut Guest) {
    t.try_open("none", O_RDONLY).fails(ENOENT);
    t.try_open("none/f", O_RDWR | O_CREAT).fails(ENOENT);
    t.try_open("", O_RDONLY).fails(ENOENT);
}

#[case(as_root, as_user)]
fn a_file_as_a_directory_is_enotdir(t: &mut Guest) {
    t.file("f", "x");
    t.try_open("f/g", O_RDONLY).fails(ENOTDIR);
    t.try_open("f/g", O_WRONLY | O_CREAT).fails(ENOTDIR);
    t.try_open("f/.", O_RDONLY).fails(ENOTDIR);
    t.try_open("f/..", O_RDONLY).fails(ENOTDIR);
}

#[case(as_root, as_user)]
fn excl_refuses_whatever_exists(t: &mut Guest) {
    t.file("f", "x");
    t.dir("d");
    sys!(symlinkat(c"nowhere", AT_FDCWD, c"l")).ok();
    for name in [c"f", c"d", c"l"] {
        sys!(openat(AT_FDCWD, name, O_CREAT | O_EXCL | O_WRONLY, 0o600)).fails(EEXIST);
    }
    expect_eq!(t.exists("nowhere"), false);
}

#[case(as_root, as_user)]
fn creat_through_a_dangling_link_makes_its_target(t: &mut Guest) {
    sys!(symlinkat(c"target", AT_FDCWD, c"l")).ok();
    t.open("l", O_CREAT | O_WRONLY);
    expect_eq!(t.lstat("target").st_mode & S_IFMT, S_IFREG);
    expect_eq!(t.lstat("l").st_mode & S_IFMT, S_IFLNK);
}

#[case(as_root, as_user)]
fn trunc_empties_the_file(t: &mut Guest) {
    t.file("f", "hello");
    t.open("f", O_WRONLY | O_TRUNC);
    expect_eq!(t.stat("f").st_size, 0);
}

#[case(as_root, as_user)]
fn append_writes_at_the_end_wherever_the_offset_is(t: &mut Guest) {
    t.file("f", "hello");
    let fd = t.open("f", O_RDWR | O_APPEND);
    sys!(lseek(fd, 0, SEEK_SET)).is(0);
    t.send(fd, " world");
    sys!(lseek(fd, 0, SEEK_CUR)).is(11);
    t.read("f").is("hello world");
}

#[case(as_root, as_user)]
fn a_directory_opens_for_reading_only(t: &mut Guest) {
    t.dir("d");
    t.open("d", O_RDONLY);
    t.open("d", O_RDONLY | O_DIRECTORY);
    t.try_open("d", O_WRONLY).fails(EISDIR);
    t.try_open("d", O_RDWR).fails(EISDIR);
    t.try_open("d", O_RDONLY | O_CREAT).fails(EISDIR);
    let fd = t.open("d", O_RDONLY);
    let mut byte = [0_u8];
    sys!(read(fd, &mut byte, 1)).fails(EISDIR);
    sys!(write(fd, &byte, 1)).fails(EBADF);
}

#[case(as_root, as_user)]
fn directory_refuses_a_file(t: &mut Guest) {
    t.file("f", "x");
    t.try_open("f", O_RDONLY | O_DIRECTORY).fails(ENOTDIR);
    sys!(symlinkat(c"f", AT_FDCWD, c"l")).ok();
    t.try_open("l", O_RDONLY | O_DIRECTORY).fails(ENOTDIR);
}

#[case(as_root, as_user)]
fn nofollow_refuses_a_link_only_in_the_last_place(t: &mut Guest) {
    t.dir("d");
    t.file("d/f", "x");
    sys!(symlinkat(c"d", AT_FDCWD, c"ld")).ok();
    sys!(symlinkat(c"d/f", AT_FDCWD, c"lf")).ok();
    t.try_open("lf", O_RDONLY | O_NOFOLLOW).fails(ELOOP);
    t.try_open("ld", O_RDONLY | O_NOFOLLOW | O_DIRECTORY).fails(ENOTDIR);
    t.open("ld/f", O_RDONLY | O_NOFOLLOW);
}

#[case(as_root, as_user)]
fn links_that_go_round_are_eloop(t: &mut Guest) {
    sys!(symlinkat(c"b", AT_FDCWD, c"a")).ok();
    sys!(symlinkat(c"a", AT_FDCWD, c"b")).ok();
    t.try_open("a", O_RDONLY).fails(ELOOP);
    t.try_open("a/x", O_RDONLY).fails(ELOOP);
    t.try_open("a", O_WRONLY | O_CREAT).fails(ELOOP);
}

#[case(as_root, as_user)]
fn forty_links_are_followed_and_no_more(t: &mut Guest) {
    t.file("0", "end");
    for n in 1..=41 {
        sys!(symlinkat(&cstr((n - 1).to_string()), AT_FDCWD, &cstr(n.to_string()))).ok();
    }
    t.read("40").is("end");
    t.try_open("41", O_RDONLY).fails(ELOOP);
}

#[case(as_root, as_user)]
fn a_trailing_slash_means_a_directory(t: &mut Guest) {
    t.file("f", "x");
    t.dir("d");
    t.open("d/", O_RDONLY);
    t.try_open("f/", O_RDONLY).fails(ENOTDIR);
    t.try_open("new/", O_WRONLY | O_CREAT).fails(EISDIR);
    t.try_open("d/", O_WRONLY | O_CREAT).fails(EISDIR);
}

#[case(as_root, as_user)]
fn a_name_has_at_most_255_bytes_and_a_path_4095(t: &mut Guest) {
    let name = "n".repeat(255);
    t.file(&name, "x");
    t.try_open(&"n".repeat(256), O_RDONLY).fails(ENAMETOOLONG);
    t.try_open(&"n".repeat(256), O_WRONLY | O_CREAT).fails(ENAMETOOLONG);
    let slashes = "/".repeat(4095 - 1);
    t.open(&format!("{slashes}."), O_RDONLY);
    t.try_open(&format!("{slashes}/."), O_RDONLY).fails(ENAMETOOLONG);
}

#[case(as_root, as_user)]
fn path_opens_without_access(t: &mut Guest) {
    t.file("f", "x");
    let fd = t.open("f", O_PATH);
    let mut byte = [0_u8];
    sys!(read(fd, &mut byte, 1)).fails(EBADF);
    sys!(write(fd, &byte, 1)).fails(EBADF);
    sys!(fchmod(fd, 0o600)).fails(EBADF);
    sys!(ftruncate(fd, 0)).fails(EBADF);
    sys!(lseek(fd, 0, SEEK_SET)).fails(EBADF);
    sys!(ioctl(fd, FIONREAD, 0)).fails(EBADF);
    expect_eq!(t.fstat(fd).st_size, 1);
    sys!(fcntl(fd, F_GETFL, 0)).is(O_PATH);
    t.read(&format!("/proc/self/fd/{fd}")).is("x");
}

#[case(as_root, as_user)]
fn path_with_nofollow_opens_the_link_itself(t: &mut Guest) {
    sys!(symlinkat(c"target", AT_FDCWD, c"l")).ok();
    let fd = t.open("l", O_PATH | O_NOFOLLOW);
    expect_eq!(t.fstat(fd).st_mode & S_IFMT, S_IFLNK);
    let mut text = [0_u8; 16];
    sys!(readlinkat(fd, c"", &mut text, 16)).is(6);
    expect_eq!(&text[..6], b"target");
}

#[case(as_root, as_user)]
fn tmpfile_has_no_name_until_it_is_linked(t: &mut Guest) {
    let fd = sys!(openat(AT_FDCWD, c".", O_TMPFILE | O_RDWR, 0o600)).or_skip(EOPNOTSUPP, "no O_TMPFILE").fd();
    expect_eq!(t.fstat(fd).st_nlink, 0);
    expect_eq!(t.names("."), [".", ".."]);
    t.send(fd, "data");
    let path = cstr(format!("/proc/self/fd/{fd}"));
    sys!(linkat(AT_FDCWD, &path, AT_FDCWD, c"named", AT_SYMLINK_FOLLOW)).ok();
    t.read("named").is("data");
    expect_eq!(t.fstat(fd).st_nlink, 1);
}

#[case(as_root, as_user)]
fn tmpfile_needs_write_access_and_excl_forbids_linking(t: &mut Guest) {
    sys!(openat(AT_FDCWD, c".", O_TMPFILE | O_RDONLY, 0o600)).fails(EINVAL);
    let fd = sys!(openat(AT_FDCWD, c".", O_TMPFILE | O_RDWR | O_EXCL, 0o600)).ok();
    let path = cstr(format!("/proc/self/fd/{fd}"));
    sys!(linkat(AT_FDCWD, &path, AT_FDCWD, c"named", AT_SYMLINK_FOLLOW)).fails(ENOENT);
    expect_eq!(t.exists("named"), false);
}

#[case(as_root, as_user)]
fn the_lowest_free_descriptor_is_used(t: &mut Guest) {
    let a = t.open(".", O_RDONLY);
    let b = t.open(".", O_RDONLY);
    let c = t.open(".", O_RDONLY);
    expect_eq!((b, c), (a + 1, a + 2));
    sys!(close(a)).ok();
    expect_eq!(t.open(".", O_RDONLY), a);
    expect_eq!(t.open(".", O_RDONLY), c + 1);
}

#[case(as_root, as_user)]
fn nofile_limits_descriptors(t: &mut Guest) {
    let fd = t.open(".", O_RDONLY);
    t.limit(RLIMIT_NOFILE, fd as u64 + 2);
    t.open(".", O_RDONLY);
    t.try_open(".", O_RDONLY).fails(EMFILE);
    sys!(dup(fd)).fails(EMFILE);
    sys!(dup2(fd, fd + 2)).fails(EBADF);
    sys!(fcntl(fd, F_DUPFD, fd + 2)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn a_bad_path_pointer_is_efault(_t: &mut Guest) {
    sys!(openat(AT_FDCWD, 0, O_RDONLY, 0)).fails(EFAULT);
    sys!(openat(AT_FDCWD, 1, O_RDONLY, 0)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn openat_starts_at_the_directory(t: &mut Guest) {
    t.dir("d");
    t.file("d/f", "inside");
    t.file("f", "outside");
    let d = t.open("d", O_RDONLY);
    let f = sys!(openat(d, c"f", O_RDONLY, 0)).fd();
    expect_eq!(t.recv(f, 10), b"inside");
    let up = sys!(openat(d, c"../f", O_RDONLY, 0)).fd();
    expect_eq!(t.recv(up, 10), b"outside");
    sys!(openat(f, c"f", O_RDONLY, 0)).fails(ENOTDIR);
    sys!(openat(99, c"f", O_RDONLY, 0)).fails(EBADF);
    sys!(openat(99, &cstr(format!("{}/f", t.directory())), O_RDONLY, 0)).ok();
}

#[case(as_user)]
fn the_mode_decides_what_an_owner_may_open(t: &mut Guest) {
    t.file("f", "x");
    sys!(chmod(c"f", 0o200)).ok();
    t.try_open("f", O_RDONLY).fails(EACCES);
    t.try_open("f", O_RDWR).fails(EACCES);
    t.open("f", O_WRONLY);
    sys!(chmod(c"f", 0o077)).ok();
    t.try_open("f", O_RDONLY).fails(EACCES);
    t.try_open("f", O_WRONLY | O_TRUNC).fails(EACCES);
    t.open("f", O_PATH);
}

#[case(as_user)]
fn the_mode_of_a_new_file_does_not_bind_its_first_open(t: &mut Guest) {
    let fd = sys!(openat(AT_FDCWD, c"f", O_CREAT | O_RDWR, 0o000)).fd();
    t.send(fd, "x");
    t.try_open("f", O_RDWR).fails(EACCES);
}

#[case(as_root)]
fn root_opens_whatever_the_mode(t: &mut Guest) {
    t.file("f", "x");
    sys!(chmod(c"f", 0)).ok();
    t.open("f", O_RDWR);
}

#[case(as_user)]
fn a_directory_needs_x_to_pass_and_w_to_create(t: &mut Guest) {
    t.dir("d");
    t.file("d/f", "x");
    sys!(chmod(c"d", 0o600)).ok();
    t.try_open("d/f", O_RDONLY).fails(EACCES);
    t.try_open("d/none", O_RDONLY).fails(EACCES);
    sys!(chmod(c"d", 0o500)).ok();
    t.open("d/f", O_RDWR);
    t.try_open("d/new", O_CREAT | O_WRONLY).fails(EACCES);
    t.try_open("d/f", O_CREAT | O_WRONLY).ok();
    sys!(chmod(c"d", 0o300)).ok();
    t.try_open("d", O_RDONLY).fails(EACCES);
    t.open("d/new", O_CREAT | O_WRONLY);
}

#[case(as_user)]
fn noatime_is_for_the_owner(t: &mut Guest) {
    t.file("f", "x");
    t.open("f", O_RDONLY | O_NOATIME);
    sys!(openat(AT_FDCWD, &t.foreign_file(), O_RDONLY | O_NOATIME, 0)).fails(EPERM);
}
