//! IPv6 over loopback.

use crate::guest::{inet, inet6};
use crate::prelude::*;
use libc::*;

/// An IPv6 socket, or the end of the case where there is no IPv6.
#[track_caller]
fn socket6(kind: i32) -> i32 {
    sys!(socket(AF_INET6, kind, 0)).or_skip(EAFNOSUPPORT, "no IPv6").fd()
}

fn any() -> sockaddr_in6 {
    let mut address = inet6(0);
    address.sin6_addr.s6_addr = [0; 16];
    address
}

#[track_caller]
fn listener(t: &Guest, address: &sockaddr_in6, v6only: i32) -> (i32, u16) {
    let fd = socket6(SOCK_STREAM);
    t.set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only).ok();
    t.bind(fd, address).or_skip(EADDRNOTAVAIL, "no IPv6 loopback").ok();
    sys!(listen(fd, 8)).ok();
    (fd, t.port(fd))
}

#[case(as_root, as_user)]
fn a_connection_carries_bytes(t: &mut Guest) {
    let (listener, port) = listener(t, &inet6(0), 1);
    let client = socket6(SOCK_STREAM);
    t.connect(client, &inet6(port)).ok();
    let server = sys!(accept(listener, 0, 0)).fd();
    t.send(client, "six");
    expect_eq!(t.recv(server, 16), b"six");
    let (mut address, mut length) = (any(), 28_u32);
    sys!(getpeername(client, &raw mut address, &raw mut length)).ok();
    expect_eq!((length, i32::from(address.sin6_family)), (28, AF_INET6));
    expect_eq!(address.sin6_addr.s6_addr, inet6(0).sin6_addr.s6_addr);
}

#[case(as_root, as_user)]
fn a_dual_stack_listener_takes_ipv4_as_mapped(t: &mut Guest) {
    let (listener, port) = listener(t, &any(), 0);
    let client = t.socket(AF_INET, SOCK_STREAM);
    t.connect(client, &inet(port)).ok();
    let (mut address, mut length) = (any(), 28_u32);
    sys!(accept(listener, &raw mut address, &raw mut length)).ok();
    expect_eq!(address.sin6_addr.s6_addr, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1]);
    expect_eq!(u16::from_be(address.sin6_port), t.port(client));
}

#[case(as_root, as_user)]
fn v6only_leaves_ipv4_to_others(t: &mut Guest) {
    let (_listener, port) = listener(t, &any(), 1);
    t.connect(t.socket(AF_INET, SOCK_STREAM), &inet(port)).fails(ECONNREFUSED);
    t.bind(t.socket(AF_INET, SOCK_STREAM), &inet(port)).ok();
}

#[case(as_root, as_user)]
fn a_dual_stack_port_is_taken_for_ipv4(t: &mut Guest) {
    let (_listener, port) = listener(t, &any(), 0);
    t.bind(t.socket(AF_INET, SOCK_STREAM), &inet(port)).fails(EADDRINUSE);
}

#[case(as_root, as_user)]
fn datagrams_arrive(t: &mut Guest) {
    let (a, b) = (socket6(SOCK_DGRAM), socket6(SOCK_DGRAM));
    t.bind(a, &inet6(0)).or_skip(EADDRNOTAVAIL, "no IPv6 loopback").ok();
    let address = inet6(t.port(a));
    sys!(sendto(b, b"six", 3, 0, &raw const address, 28)).is(3);
    expect_eq!(t.recv(a, 16), b"six");
}

#[case(as_root, as_user)]
fn an_ipv4_address_does_not_fit(t: &mut Guest) {
    let fd = socket6(SOCK_STREAM);
    t.bind(fd, &inet(0)).fails(EINVAL);
    let mut short = inet6(0);
    short.sin6_family = AF_INET as u16;
    t.bind(fd, &short).fails(EAFNOSUPPORT);
}
