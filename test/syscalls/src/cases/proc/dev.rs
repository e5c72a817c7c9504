//! Devices every program counts on.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn null_swallows_and_is_empty(t: &mut Guest) {
    let fd = t.open("/dev/null", O_RDWR);
    t.send(fd, "anything");
    expect_eq!(t.recv(fd, 8), b"");
    expect_eq!(t.fstat(fd).st_mode & S_IFMT, S_IFCHR);
    expect_eq!(t.fstat(fd).st_rdev, makedev(1, 3));
}

#[case(as_root, as_user)]
fn zero_gives_zeroes(t: &mut Guest) {
    let fd = t.open("/dev/zero", O_RDWR);
    expect_eq!(t.recv(fd, 100), [0; 100]);
    t.send(fd, "anything");
}

#[case(as_root, as_user)]
fn full_is_full(t: &mut Guest) {
    let fd = t.open("/dev/full", O_RDWR);
    expect_eq!(t.recv(fd, 3), [0; 3]);
    sys!(write(fd, b"x", 1)).fails(ENOSPC);
}

#[case(as_root, as_user)]
fn random_bytes_differ(t: &mut Guest) {
    for path in ["/dev/urandom", "/dev/random"] {
        let fd = t.open(path, O_RDONLY);
        check!(t.recv(fd, 32) != t.recv(fd, 32));
    }
    let (mut a, mut b) = ([0_u8; 32], [0_u8; 32]);
    sys!(getrandom(&mut a, 32, 0)).is(32);
    sys!(getrandom(&mut b, 32, GRND_NONBLOCK)).is(32);
    check!(a != b);
    sys!(getrandom(&mut a, 32, 0x80)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn tty_needs_a_controlling_terminal(t: &mut Guest) {
    t.try_open("/dev/tty", O_RDWR).fails(ENXIO);
}
