//! Copies inside the kernel: `sendfile`, `splice`, `tee`, `vmsplice`, `copy_file_range`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn sendfile_moves_the_offset_unless_one_is_given(t: &mut Guest) {
    t.file("in", "0123456789");
    let (input, pipe) = (t.open("in", O_RDONLY), t.pipe());
    sys!(sendfile(pipe.w, input, 0, 4)).is(4);
    expect_eq!(t.recv(pipe.r, 16), b"0123");
    let mut offset = 6_i64;
    sys!(sendfile(pipe.w, input, &raw mut offset, 100)).is(4);
    expect_eq!(offset, 10);
    expect_eq!(t.recv(pipe.r, 16), b"6789");
    sys!(lseek(input, 0, SEEK_CUR)).is(4);
    sys!(sendfile(pipe.w, input, &raw mut offset, 100)).is(0);
    sys!(sendfile(pipe.w, 99, 0, 4)).fails(EBADF);
    sys!(sendfile(pipe.r, input, 0, 4)).fails(EBADF);
}

#[case(as_root, as_user)]
fn sendfile_goes_to_files_and_sockets(t: &mut Guest) {
    t.file("in", vec![7; 10_000]);
    t.file("out", "");
    let (input, output) = (t.open("in", O_RDONLY), t.open("out", O_WRONLY));
    sys!(sendfile(output, input, 0, 10_000)).is(10_000);
    expect_eq!(t.stat("out").st_size, 10_000);
    let (a, b) = t.socketpair(SOCK_STREAM);
    let mut offset = 0_i64;
    sys!(sendfile(a, input, &raw mut offset, 100)).is(100);
    expect_eq!(t.recv(b, 200), [7; 100]);
}

#[case(as_root, as_user)]
fn splice_goes_through_a_pipe(t: &mut Guest) {
    t.file("in", "0123456789");
    t.file("out", "");
    let (input, output, pipe) = (t.open("in", O_RDONLY), t.open("out", O_RDWR), t.pipe());
    let mut offset = 2_i64;
    sys!(splice(input, &raw mut offset, pipe.w, 0, 5, 0)).is(5);
    expect_eq!(offset, 7);
    sys!(splice(pipe.r, 0, output, 0, 100, 0)).is(5);
    t.read("out").is("23456");
    sys!(splice(input, 0, output, 0, 5, 0)).fails(EINVAL);
    sys!(splice(input, 0, pipe.w, &raw mut offset, 5, 0)).fails(ESPIPE);
    sys!(splice(pipe.r, 0, output, 0, 5, SPLICE_F_NONBLOCK)).fails(EAGAIN);
    sys!(splice(pipe.r, 0, pipe.w, 0, 5, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn splice_moves_between_pipes_and_sockets(t: &mut Guest) {
    let (one, two) = (t.pipe(), t.pipe());
    t.send(one.w, "abcdef");
    sys!(splice(one.r, 0, two.w, 0, 4, 0)).is(4);
    expect_eq!(t.recv(two.r, 16), b"abcd");
    let (a, b) = t.socketpair(SOCK_STREAM);
    sys!(splice(one.r, 0, a, 0, 16, 0)).is(2);
    expect_eq!(t.recv(b, 16), b"ef");
}

#[case(as_root, as_user)]
fn tee_copies_without_taking(t: &mut Guest) {
    let (one, two) = (t.pipe(), t.pipe());
    t.send(one.w, "abcdef");
    sys!(tee(one.r, two.w, 4, 0)).is(4);
    expect_eq!(t.recv(two.r, 16), b"abcd");
    expect_eq!(t.recv(one.r, 16), b"abcdef");
    sys!(tee(one.r, two.w, 4, SPLICE_F_NONBLOCK)).fails(EAGAIN);
    t.file("f", "");
    sys!(tee(one.r, t.open("f", O_RDWR), 4, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn vmsplice_puts_memory_into_a_pipe(t: &mut Guest) {
    let pipe = t.pipe();
    let parts = [iov(b"abc"), iov(b"def")];
    sys!(vmsplice(pipe.w, &parts, 2, 0)).is(6);
    expect_eq!(t.recv(pipe.r, 16), b"abcdef");
    sys!(vmsplice(t.open(".", O_RDONLY), &parts, 2, 0)).fails(EBADF);
}

#[case(as_root, as_user)]
fn copy_file_range_copies_between_files(t: &mut Guest) {
    t.file("in", "0123456789");
    t.file("out", "abcdef");
    let (input, output) = (t.open("in", O_RDONLY), t.open("out", O_RDWR));
    let (mut from, mut to) = (3_i64, 2_i64);
    sys!(copy_file_range(input, &raw mut from, output, &raw mut to, 4, 0)).is(4);
    expect_eq!((from, to), (7, 6));
    t.read("out").is("ab3456");
    sys!(lseek(input, 0, SEEK_CUR)).is(0);
    sys!(copy_file_range(input, 0, output, 0, 2, 0)).is(2);
    t.read("out").is("013456");
    sys!(copy_file_range(input, 0, output, 0, 2, 1)).fails(EINVAL);
    from = 100;
    sys!(copy_file_range(input, &raw mut from, output, 0, 2, 0)).is(0);
    sys!(copy_file_range(input, 0, t.open("out", O_RDONLY), 0, 2, 0)).fails(EBADF);
    sys!(copy_file_range(input, 0, t.open("out", O_WRONLY | O_APPEND), 0, 2, 0)).fails(EBADF);
    sys!(copy_file_range(t.pipe().r, 0, output, 0, 2, 0)).fails(EINVAL);
    sys!(copy_file_range(t.open(".", O_RDONLY), 0, output, 0, 2, 0)).fails(EISDIR);
}
