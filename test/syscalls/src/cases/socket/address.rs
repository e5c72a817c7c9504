//! Addresses and ports.

use crate::guest::inet;
use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn ephemeral_ports_differ(t: &mut Guest) {
    let ports: Vec<u16> = (0..5).map(|_| t.tcp_listener().1).collect();
    let mut unique = ports.clone();
    unique.sort_unstable();
    unique.dedup();
    expect_eq!(unique.len(), 5);
    check!(ports.iter().all(|port| *port >= 1024), "{ports:?}");
}

#[case(as_root, as_user)]
fn a_used_port_is_eaddrinuse(t: &mut Guest) {
    let (_listener, port) = t.tcp_listener();
    t.bind(t.socket(AF_INET, SOCK_STREAM), &inet(port)).fails(EADDRINUSE);
    t.bind(t.socket(AF_INET, SOCK_DGRAM), &inet(port)).ok();
}

#[case(as_root, as_user)]
fn listening_twice_on_a_port_is_eaddrinuse_even_with_reuseaddr(t: &mut Guest) {
    let first = t.socket(AF_INET, SOCK_STREAM);
    t.set_option(first, SOL_SOCKET, SO_REUSEADDR, 1).ok();
    t.bind(first, &inet(0)).ok();
    let port = t.port(first);
    let second = t.socket(AF_INET, SOCK_STREAM);
    t.set_option(second, SOL_SOCKET, SO_REUSEADDR, 1).ok();
    t.bind(second, &inet(port)).ok();
    sys!(listen(first, 1)).ok();
    sys!(listen(second, 1)).fails(EADDRINUSE);
}

#[case(as_root, as_user)]
fn reuseaddr_lets_a_server_come_back_at_once(t: &mut Guest) {
    let listener = t.socket(AF_INET, SOCK_STREAM);
    t.set_option(listener, SOL_SOCKET, SO_REUSEADDR, 1).ok();
    t.bind(listener, &inet(0)).ok();
    sys!(listen(listener, 1)).ok();
    let port = t.port(listener);
    let client = t.socket(AF_INET, SOCK_STREAM);
    t.connect(client, &inet(port)).ok();
    let server = sys!(accept(listener, 0, 0)).fd();
    // The server's side closes first, so its port stays in TIME_WAIT.
    sys!(close(server)).ok();
    expect_eq!(t.recv(client, 1), b"");
    sys!(close(client)).ok();
    sys!(close(listener)).ok();
    let again = t.socket(AF_INET, SOCK_STREAM);
    t.set_option(again, SOL_SOCKET, SO_REUSEADDR, 1).ok();
    t.bind(again, &inet(port)).ok();
    sys!(listen(again, 1)).ok();
}

#[case(as_root, as_user)]
fn reuseport_shares_a_port(t: &mut Guest) {
    let first = t.socket(AF_INET, SOCK_STREAM);
    t.set_option(first, SOL_SOCKET, SO_REUSEPORT, 1).ok();
    t.bind(first, &inet(0)).ok();
    sys!(listen(first, 1)).ok();
    let port = t.port(first);
    t.bind(t.socket(AF_INET, SOCK_STREAM), &inet(port)).fails(EADDRINUSE);
    let second = t.socket(AF_INET, SOCK_STREAM);
    t.set_option(second, SOL_SOCKET, SO_REUSEPORT, 1).ok();
    t.bind(second, &inet(port)).ok();
    sys!(listen(second, 1)).ok();
    t.connect(t.socket(AF_INET, SOCK_STREAM), &inet(port)).ok();
    let mut fds = [first, second].map(|fd| pollfd { fd, events: POLLIN, revents: 0 });
    sys!(poll(&mut fds, 2, -1)).is(1);
}

#[case(as_root, as_user)]
fn addresses_are_checked(t: &mut Guest) {
    let fd = t.socket(AF_INET, SOCK_STREAM);
    let mut address = inet(0);
    sys!(bind(fd, &raw const address, 15)).fails(EINVAL);
    sys!(bind(fd, &raw const address, 200)).fails(EINVAL);
    sys!(bind(fd, 8, 16)).fails(EFAULT);
    address.sin_family = AF_UNIX as u16;
    t.bind(fd, &address).fails(EAFNOSUPPORT);
    let mut foreign = inet(0);
    foreign.sin_addr.s_addr = u32::from_ne_bytes([198, 51, 100, 7]);
    t.bind(fd, &foreign).fails(EADDRNOTAVAIL);
    sys!(connect(fd, &raw const address, 1)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn any_address_hears_loopback(t: &mut Guest) {
    let fd = t.socket(AF_INET, SOCK_STREAM);
    let mut any = inet(0);
    any.sin_addr.s_addr = 0;
    t.bind(fd, &any).ok();
    sys!(listen(fd, 1)).ok();
    let port = t.port(fd);
    t.connect(t.socket(AF_INET, SOCK_STREAM), &inet(port)).ok();
    let mut other = inet(port);
    other.sin_addr.s_addr = u32::from_ne_bytes([127, 9, 8, 7]);
    t.connect(t.socket(AF_INET, SOCK_STREAM), &other).ok();
    t.connect(t.socket(AF_INET, SOCK_STREAM), &any).fails(ECONNREFUSED);
}

#[case(as_user)]
fn low_ports_are_for_the_privileged(t: &mut Guest) {
    let start = t.read("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok();
    if start.trim() != "1024" {
        t.skip("low ports are open to all here");
    }
    t.bind(t.socket(AF_INET, SOCK_STREAM), &inet(99)).fails(EACCES);
}

#[case(as_root, as_user)]
fn families_types_and_protocols_are_checked(_t: &mut Guest) {
    sys!(socket(99, SOCK_STREAM, 0)).fails(EAFNOSUPPORT);
    sys!(socket(AF_INET, 15, 0)).fails(EINVAL);
    sys!(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP)).fails(EPROTONOSUPPORT);
    sys!(socket(AF_INET, SOCK_STREAM | 0x100, 0)).fails(EINVAL);
    sys!(socket(AF_UNIX, SOCK_STREAM, 99)).fails(EPROTONOSUPPORT);
    sys!(socketpair(AF_INET, SOCK_STREAM, 0, &mut [0_i32; 2])).fails(EOPNOTSUPP);
    sys!(socketpair(AF_UNIX, SOCK_STREAM, 0, 8)).fails(EFAULT);
    let fd = sys!(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)).fd();
    sys!(fcntl(fd, F_GETFD, 0)).is(FD_CLOEXEC);
    expect_eq!(sys!(fcntl(fd, F_GETFL, 0)).fd() & O_NONBLOCK, O_NONBLOCK);
}

#[case(as_user)]
fn raw_sockets_are_for_the_privileged(_t: &mut Guest) {
    sys!(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)).fails(EPERM);
    sys!(socket(AF_PACKET, SOCK_RAW, 0)).fails(EPERM);
}
