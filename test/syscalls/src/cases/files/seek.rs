//! `lseek`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn each_origin_counts_from_its_place(t: &mut Guest) {
    t.file("f", "0123456789");
    let fd = t.open("f", O_RDONLY);
    sys!(lseek(fd, 3, SEEK_SET)).is(3);
    sys!(lseek(fd, 3, SEEK_CUR)).is(6);
    sys!(lseek(fd, -1, SEEK_END)).is(9);
    sys!(lseek(fd, 100, SEEK_END)).is(110);
    expect_eq!(t.recv(fd, 1), b"");
}

#[case(as_root, as_user)]
fn an_offset_is_never_negative(t: &mut Guest) {
    t.file("f", "0123");
    let fd = t.open("f", O_RDONLY);
    sys!(lseek(fd, 2, SEEK_SET)).is(2);
    sys!(lseek(fd, -1, SEEK_SET)).fails(EINVAL);
    sys!(lseek(fd, -3, SEEK_CUR)).fails(EINVAL);
    sys!(lseek(fd, -5, SEEK_END)).fails(EINVAL);
    sys!(lseek(fd, 0, 99)).fails(EINVAL);
    sys!(lseek(fd, 0, SEEK_CUR)).is(2);
    sys!(lseek(99, 0, SEEK_SET)).fails(EBADF);
}

#[case(as_root, as_user)]
fn a_socket_cannot_seek(t: &mut Guest) {
    let (a, _) = t.socketpair(SOCK_STREAM);
    sys!(lseek(a, 0, SEEK_CUR)).fails(ESPIPE);
}

/// A file system that knows no holes may call everything data, up to one hole at the end.
#[case(as_root, as_user)]
fn the_end_of_file_is_a_hole_and_past_it_is_enxio(t: &mut Guest) {
    t.file("f", "0123456789");
    let fd = t.open("f", O_RDONLY);
    sys!(lseek(fd, 4, SEEK_DATA)).is(4);
    sys!(lseek(fd, 4, SEEK_HOLE)).is(10);
    sys!(lseek(fd, 10, SEEK_DATA)).fails(ENXIO);
    sys!(lseek(fd, 10, SEEK_HOLE)).fails(ENXIO);
    sys!(lseek(fd, -1, SEEK_DATA)).fails(ENXIO);
}

#[case(as_root, as_user)]
fn data_after_a_hole_is_found(t: &mut Guest) {
    t.file("f", "");
    let fd = t.open("f", O_RDWR);
    sys!(pwrite64(fd, b"x", 1, 1 << 20)).is(1);
    let data = sys!(lseek(fd, 0, SEEK_DATA)).ok();
    check!(data == 0 || data == 1 << 20, "{data}");
    let hole = sys!(lseek(fd, 0, SEEK_HOLE)).ok();
    check!(hole == 0 || hole == (1 << 20) + 1, "{hole}");
}

#[case(as_root, as_user)]
fn a_directory_can_be_read_again_from_the_start(t: &mut Guest) {
    t.file("a", "");
    t.file("b", "");
    let fd = t.open(".", O_RDONLY);
    let first = t.entries(fd);
    expect_eq!(first.len(), 4);
    sys!(lseek(fd, 0, SEEK_SET)).is(0);
    expect_eq!(t.entries(fd), first);
}
