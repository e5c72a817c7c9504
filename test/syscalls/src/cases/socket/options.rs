//! Socket options.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn type_domain_and_protocol_are_told(t: &mut Guest) {
    let tcp = t.socket(AF_INET, SOCK_STREAM);
    expect_eq!(t.option(tcp, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
    expect_eq!(t.option(tcp, SOL_SOCKET, SO_DOMAIN), AF_INET);
    expect_eq!(t.option(tcp, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
    let (unix, _) = t.socketpair(SOCK_DGRAM);
    expect_eq!(t.option(unix, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
    expect_eq!(t.option(unix, SOL_SOCKET, SO_DOMAIN), AF_UNIX);
}

#[case(as_root, as_user)]
fn acceptconn_tells_a_listener(t: &mut Guest) {
    let (listener, _) = t.tcp_listener();
    expect_eq!(t.option(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
    expect_eq!(t.option(t.socket(AF_INET, SOCK_STREAM), SOL_SOCKET, SO_ACCEPTCONN), 0);
}

#[case(as_root, as_user)]
fn flags_are_kept_as_zero_or_one(t: &mut Guest) {
    let fd = t.socket(AF_INET, SOCK_STREAM);
    for name in [SO_REUSEADDR, SO_KEEPALIVE, SO_BROADCAST, SO_OOBINLINE, SO_REUSEPORT] {
        expect_eq!(t.option(fd, SOL_SOCKET, name), 0);
        t.set_option(fd, SOL_SOCKET, name, 7).ok();
        expect_eq!(t.option(fd, SOL_SOCKET, name), 1);
        t.set_option(fd, SOL_SOCKET, name, 0).ok();
        expect_eq!(t.option(fd, SOL_SOCKET, name), 0);
    }
}

#[case(as_root, as_user)]
fn buffers_are_doubled(t: &mut Guest) {
    let fd = t.socket(AF_INET, SOCK_STREAM);
    t.set_option(fd, SOL_SOCKET, SO_SNDBUF, 20_000).ok();
    expect_eq!(t.option(fd, SOL_SOCKET, SO_SNDBUF), 40_000);
    t.set_option(fd, SOL_SOCKET, SO_RCVBUF, 20_000).ok();
    expect_eq!(t.option(fd, SOL_SOCKET, SO_RCVBUF), 40_000);
}

#[case(as_root, as_user)]
fn tcp_options_are_kept(t: &mut Guest) {
    let fd = t.socket(AF_INET, SOCK_STREAM);
    expect_eq!(t.option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    t.set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1).ok();
    expect_eq!(t.option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    t.set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 77).ok();
    expect_eq!(t.option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 77);
    t.set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 0).fails(EINVAL);
    check!(t.option(fd, IPPROTO_TCP, TCP_MAXSEG) > 0);
}

#[case(as_root, as_user)]
fn linger_and_timeouts_are_kept(t: &mut Guest) {
    let fd = t.socket(AF_INET, SOCK_STREAM);
    let (set, mut length) = (linger { l_onoff: 1, l_linger: 5 }, 8_u32);
    sys!(setsockopt(fd, SOL_SOCKET, SO_LINGER, &raw const set, 8)).ok();
    let mut got = linger { l_onoff: 0, l_linger: 0 };
    sys!(getsockopt(fd, SOL_SOCKET, SO_LINGER, &raw mut got, &raw mut length)).ok();
    expect_eq!((got.l_onoff, got.l_linger, length), (1, 5, 8));
    let time = timeval { tv_sec: 3, tv_usec: 500_000 };
    sys!(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &raw const time, 16)).ok();
    let (mut got, mut length) = (timeval { tv_sec: 0, tv_usec: 0 }, 16_u32);
    sys!(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &raw mut got, &raw mut length)).ok();
    expect_eq!(got.tv_sec, 3);
    let wrong = timeval { tv_sec: 0, tv_usec: 1_000_000 };
    sys!(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &raw const wrong, 16)).fails(EDOM);
}

#[case(as_root, as_user)]
fn arguments_are_checked(t: &mut Guest) {
    let fd = t.socket(AF_INET, SOCK_STREAM);
    let (mut value, mut length) = (0_i32, 4_u32);
    sys!(getsockopt(fd, SOL_SOCKET, 9999, &raw mut value, &raw mut length)).fails(ENOPROTOOPT);
    sys!(setsockopt(fd, SOL_SOCKET, 9999, &raw const value, 4)).fails(ENOPROTOOPT);
    sys!(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &raw const value, 3)).fails(EINVAL);
    sys!(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 8, 4)).fails(EFAULT);
    sys!(setsockopt(fd, SOL_SOCKET, SO_TYPE, &raw const value, 4)).fails(ENOPROTOOPT);
    sys!(getsockopt(fd, SOL_SOCKET, SO_TYPE, 8, &raw mut length)).fails(EFAULT);
    length = 2;
    sys!(getsockopt(fd, SOL_SOCKET, SO_TYPE, &raw mut value, &raw mut length)).is(0);
    expect_eq!(length, 2);
    sys!(getsockopt(t.pipe().r, SOL_SOCKET, SO_TYPE, &raw mut value, &raw mut length)).fails(ENOTSOCK);
}

#[case(as_root, as_user)]
fn a_socket_is_a_file_of_type_sock(t: &mut Guest) {
    let fd = t.socket(AF_INET, SOCK_STREAM);
    expect_eq!(t.fstat(fd).st_mode & S_IFMT, S_IFSOCK);
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    expect_eq!(link.to_string_lossy(), format!("socket:[{}]", t.fstat(fd).st_ino));
    t.try_open(&format!("/proc/self/fd/{fd}"), O_RDONLY).fails(ENXIO);
    sys!(lseek(fd, 0, SEEK_SET)).fails(ESPIPE);
}
