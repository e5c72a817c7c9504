//! `truncate` and `fallocate`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn truncate_cuts_and_grows_with_zeroes(t: &mut Guest) {
    t.file("f", "0123456789");
    sys!(truncate(c"f", 3)).ok();
    t.read("f").is("012");
    sys!(truncate(c"f", 5)).ok();
    t.read("f").is("012\0\0");
}

#[case(as_root, as_user)]
fn ftruncate_needs_a_writer_and_keeps_the_offset(t: &mut Guest) {
    t.file("f", "0123456789");
    let fd = t.open("f", O_RDWR);
    t.recv(fd, 8);
    sys!(ftruncate(fd, 2)).ok();
    sys!(lseek(fd, 0, SEEK_CUR)).is(8);
    sys!(ftruncate(fd, -1)).fails(EINVAL);
    sys!(ftruncate(t.open("f", O_RDONLY), 0)).fails(EINVAL);
    sys!(ftruncate(t.pipe().w, 0)).fails(EINVAL);
    sys!(ftruncate(99, 0)).fails(EBADF);
}

#[case(as_root, as_user)]
fn truncate_checks_its_path(t: &mut Guest) {
    t.dir("d");
    sys!(truncate(c"d", 0)).fails(EISDIR);
    sys!(truncate(c"none", 0)).fails(ENOENT);
    t.file("f", "x");
    sys!(truncate(c"f", -1)).fails(EINVAL);
    sys!(truncate(c"f/", 0)).fails(ENOTDIR);
}

#[case(as_user)]
fn truncate_by_path_needs_write_permission(t: &mut Guest) {
    t.file("f", "x");
    let fd = t.open("f", O_RDWR);
    sys!(chmod(c"f", 0o400)).ok();
    sys!(truncate(c"f", 0)).fails(EACCES);
    sys!(ftruncate(fd, 0)).ok();
}

#[case(as_root, as_user)]
fn fallocate_grows_unless_told_to_keep_the_size(t: &mut Guest) {
    t.file("f", "abc");
    let fd = t.open("f", O_RDWR);
    sys!(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100)).or_skip(EOPNOTSUPP, "no fallocate").is(0);
    expect_eq!(t.stat("f").st_size, 3);
    sys!(fallocate(fd, 0, 0, 100)).is(0);
    expect_eq!(t.stat("f").st_size, 100);
    sys!(fallocate(fd, 0, 0, 50)).is(0);
    expect_eq!(t.stat("f").st_size, 100);
}

#[case(as_root, as_user)]
fn fallocate_checks_its_arguments(t: &mut Guest) {
    t.file("f", "abc");
    let fd = t.open("f", O_RDWR);
    sys!(fallocate(fd, 0, 0, 0)).fails(EINVAL);
    sys!(fallocate(fd, 0, -1, 10)).fails(EINVAL);
    sys!(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10)).fails(EOPNOTSUPP);
    sys!(fallocate(t.open("f", O_RDONLY), 0, 0, 10)).fails(EBADF);
    sys!(fallocate(t.pipe().w, 0, 0, 10)).fails(ESPIPE);
}

#[case(as_root, as_user)]
fn a_punched_hole_reads_as_zeroes(t: &mut Guest) {
    t.file("f", vec![b'x'; 3 * PAGE]);
    let fd = t.open("f", O_RDWR);
    let mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    sys!(fallocate(fd, mode, PAGE - 1, PAGE + 2)).or_skip(EOPNOTSUPP, "no holes").is(0);
    let bytes = t.recv(fd, 3 * PAGE);
    expect_eq!(bytes.len(), 3 * PAGE);
    check!(bytes[..PAGE - 1].iter().all(|byte| *byte == b'x'));
    check!(bytes[PAGE - 1..2 * PAGE + 1].iter().all(|byte| *byte == 0));
    check!(bytes[2 * PAGE + 1..].iter().all(|byte| *byte == b'x'));
}

#[case(as_root, as_user)]
fn zeroed_ranges_read_as_zeroes(t: &mut Guest) {
    t.file("f", vec![b'x'; 2 * PAGE]);
    let fd = t.open("f", O_RDWR);
    sys!(fallocate(fd, FALLOC_FL_ZERO_RANGE, 10, 20)).or_skip(EOPNOTSUPP, "no zero range").is(0);
    let bytes = t.recv(fd, 40);
    expect_eq!(&bytes[..10], &[b'x'; 10]);
    expect_eq!(&bytes[10..30], &[0; 20]);
    expect_eq!(&bytes[30..], &[b'x'; 10]);
}
