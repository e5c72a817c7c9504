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

#[case(as_root, as_user)]
fn the_standard_links_are_there(t: &mut Guest) {
    for (name, target) in
        [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1")]
    {
        let path = format!("/dev/{name}");
        if !t.exists(&path) {
            t.skip(format!("{path} is not set up here"));
        }
        expect_eq!(std::fs::read_link(&path).unwrap().to_string_lossy(), target);
    }
}

#[case(as_root, as_user)]
fn shm_is_a_sticky_directory_for_all(t: &mut Guest) {
    let stat = t.stat("/dev/shm");
    expect_eq!(stat.st_mode, S_IFDIR | 0o1777);
    let path = format!("/dev/shm/syscall-cases.{}", sys!(getpid()).ok());
    t.file(&path, "x");
    let fd = t.open(&path, O_RDWR);
    sys!(unlink(&cstr(&path))).ok();
    let map = t.map_file(fd, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    expect_eq!(map.get(0), b'x');
}

#[case(as_root, as_user)]
fn devices_are_open_to_all(t: &mut Guest) {
    for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
        let stat = t.stat(&format!("/dev/{name}"));
        expect_eq!((stat.st_mode, stat.st_rdev), (S_IFCHR | 0o666, makedev(1, minor)));
    }
    expect_eq!(t.stat("/dev/tty").st_rdev, makedev(5, 0));
}

#[case(as_root, as_user)]
fn devices_are_always_ready_and_seek_nowhere(t: &mut Guest) {
    for name in ["null", "zero", "full", "urandom"] {
        let fd = t.open(&format!("/dev/{name}"), O_RDWR);
        expect_eq!(t.poll(fd, POLLIN | POLLOUT, 0), POLLIN | POLLOUT);
        sys!(lseek(fd, 100, SEEK_SET)).ok();
    }
}
