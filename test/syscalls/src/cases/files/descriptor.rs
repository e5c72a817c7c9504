//! `dup`, `fcntl`, `close_range`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn dup_shares_the_offset_but_not_cloexec(t: &mut Guest) {
    t.file("f", "0123456789");
    let fd = t.open("f", O_RDONLY | O_CLOEXEC);
    let copy = sys!(dup(fd)).fd();
    t.recv(fd, 4);
    expect_eq!(t.recv(copy, 3), b"456");
    sys!(fcntl(fd, F_GETFD, 0)).is(FD_CLOEXEC);
    sys!(fcntl(copy, F_GETFD, 0)).is(0);
    sys!(dup(99)).fails(EBADF);
}

#[case(as_root, as_user)]
fn dup2_replaces_and_does_nothing_for_the_same(t: &mut Guest) {
    t.file("a", "a");
    t.file("b", "b");
    let (a, b) = (t.open("a", O_RDONLY), t.open("b", O_RDONLY));
    sys!(dup2(a, b)).is(b);
    expect_eq!(t.recv(b, 4), b"a");
    sys!(dup2(a, a)).is(a);
    sys!(dup2(99, 99)).fails(EBADF);
    sys!(dup2(a, -1)).fails(EBADF);
    sys!(dup2(a, 50)).is(50);
}

#[case(as_root, as_user)]
fn dup3_sets_cloexec_and_refuses_the_same(t: &mut Guest) {
    let fd = t.open(".", O_RDONLY);
    sys!(dup3(fd, 40, O_CLOEXEC)).is(40);
    sys!(fcntl(40, F_GETFD, 0)).is(FD_CLOEXEC);
    sys!(dup3(fd, fd, 0)).fails(EINVAL);
    sys!(dup3(fd, 41, O_NONBLOCK)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn f_dupfd_starts_at_its_argument(t: &mut Guest) {
    let fd = t.open(".", O_RDONLY);
    sys!(fcntl(fd, F_DUPFD, 60)).is(60);
    sys!(fcntl(fd, F_DUPFD, 60)).is(61);
    sys!(fcntl(fd, F_DUPFD_CLOEXEC, 60)).is(62);
    sys!(fcntl(62, F_GETFD, 0)).is(FD_CLOEXEC);
    sys!(fcntl(fd, F_DUPFD, -1)).fails(EINVAL);
    sys!(fcntl(fd, 9999, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn setfl_changes_status_flags_only(t: &mut Guest) {
    t.file("f", "abc");
    let fd = t.open("f", O_RDWR);
    sys!(fcntl(fd, F_GETFL, 0)).is(O_RDWR | 0o10_0000);
    sys!(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK | O_WRONLY | O_CREAT)).ok();
    sys!(fcntl(fd, F_GETFL, 0)).is(O_RDWR | O_APPEND | O_NONBLOCK | 0o10_0000);
    t.send(fd, "d");
    t.read("f").is("abcd");
    let copy = sys!(dup(fd)).fd();
    sys!(fcntl(copy, F_SETFL, 0)).ok();
    sys!(fcntl(fd, F_GETFL, 0)).is(O_RDWR | 0o10_0000);
}

#[case(as_root, as_user)]
fn close_of_what_is_not_open_is_ebadf(t: &mut Guest) {
    let fd = t.open(".", O_RDONLY);
    sys!(close(fd)).ok();
    sys!(close(fd)).fails(EBADF);
    sys!(close(-1)).fails(EBADF);
}

#[case(as_root, as_user)]
fn close_range_closes_or_marks(t: &mut Guest) {
    let fd = t.open(".", O_RDONLY);
    for to in 40..46 {
        sys!(dup2(fd, to)).ok();
    }
    sys!(close_range(41, 42, 0)).is(0);
    let open = |fd: i32| sys!(fcntl(fd, F_GETFD, 0)).errno() == 0;
    expect_eq!([open(40), open(41), open(42), open(43)], [true, false, false, true]);
    sys!(close_range(44, u32::MAX, CLOSE_RANGE_CLOEXEC)).is(0);
    sys!(fcntl(45, F_GETFD, 0)).is(FD_CLOEXEC);
    sys!(fcntl(43, F_GETFD, 0)).is(0);
    sys!(close_range(43, u32::MAX, CLOSE_RANGE_UNSHARE)).is(0);
    expect_eq!([open(43), open(44), open(45)], [false; 3]);
    sys!(close_range(2, 1, 0)).fails(EINVAL);
    sys!(close_range(1, 2, 0x100)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn fds_opened_cloexec_are_closed_by_exec(t: &mut Guest) {
    let kept = t.open(".", O_RDONLY);
    let closed = t.open(".", O_RDONLY | O_CLOEXEC);
    let (output, status) = t.helper("fds", &[], &[]);
    status.exited(0);
    let fds: Vec<&str> = output.lines().collect();
    check!(fds.contains(&kept.to_string().as_str()), "{fds:?}");
    check!(!fds.contains(&closed.to_string().as_str()), "{fds:?}");
}

#[case(as_root, as_user)]
fn owners_of_a_descriptor_are_kept(t: &mut Guest) {
    let (a, _b) = t.socketpair(SOCK_STREAM);
    let pid = sys!(getpid()).ok();
    sys!(fcntl(a, F_SETOWN, pid)).ok();
    sys!(fcntl(a, F_GETOWN, 0)).is(pid);
    sys!(fcntl(a, F_SETSIG, SIGUSR1)).ok();
    sys!(fcntl(a, F_GETSIG, 0)).is(SIGUSR1);
    sys!(fcntl(a, F_SETSIG, 65)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn async_sends_sigio_when_data_comes(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    t.block(&[SIGIO]);
    sys!(fcntl(a, F_SETOWN, sys!(getpid()).ok())).ok();
    sys!(fcntl(a, F_SETFL, O_ASYNC)).ok();
    t.send(b, "x");
    expect_eq!(t.take(&[SIGIO]).signo(), SIGIO);
}

#[case(as_root, as_user)]
fn fioclex_and_fionbio_are_fcntl_by_other_names(t: &mut Guest) {
    let pipe = t.pipe();
    sys!(ioctl(pipe.r, FIOCLEX, 0)).ok();
    sys!(fcntl(pipe.r, F_GETFD, 0)).is(FD_CLOEXEC);
    sys!(ioctl(pipe.r, FIONCLEX, 0)).ok();
    sys!(fcntl(pipe.r, F_GETFD, 0)).is(0);
    let on = 1_i32;
    sys!(ioctl(pipe.r, FIONBIO, &raw const on)).ok();
    sys!(fcntl(pipe.r, F_GETFL, 0)).is(O_NONBLOCK);
    sys!(ioctl(pipe.r, 0xdead, 0)).fails(ENOTTY);
    sys!(ioctl(99, FIOCLEX, 0)).fails(EBADF);
}
