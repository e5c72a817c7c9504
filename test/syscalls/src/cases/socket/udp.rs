//! UDP over loopback.

use crate::guest::inet;
use crate::prelude::*;
use libc::*;

#[track_caller]
fn bound(t: &Guest) -> (i32, u16) {
    let fd = t.socket(AF_INET, SOCK_DGRAM);
    t.bind(fd, &inet(0)).ok();
    (fd, t.port(fd))
}

#[case(as_root, as_user)]
fn datagrams_arrive_with_their_senders_address(t: &mut Guest) {
    let ((a, a_port), (b, b_port)) = (bound(t), bound(t));
    let address = inet(b_port);
    sys!(sendto(a, b"hello", 5, 0, &raw const address, 16)).is(5);
    let (mut from, mut length, mut bytes) = (inet(0), 16_u32, [0_u8; 16]);
    sys!(recvfrom(b, &mut bytes, 16, 0, &raw mut from, &raw mut length)).is(5);
    expect_eq!((u16::from_be(from.sin_port), length), (a_port, 16));
}

#[case(as_root, as_user)]
fn a_connected_socket_hears_its_peer_only(t: &mut Guest) {
    let ((a, a_port), (b, b_port), (c, _)) = (bound(t), bound(t), bound(t));
    t.connect(a, &inet(b_port)).ok();
    let address = inet(a_port);
    sys!(sendto(c, b"stranger", 8, 0, &raw const address, 16)).is(8);
    sys!(sendto(b, b"peer", 4, 0, &raw const address, 16)).is(4);
    expect_eq!(t.recv(a, 16), b"peer");
    t.send(a, "back");
    expect_eq!(t.recv(b, 16), b"back");
}

#[case(as_root, as_user)]
fn a_connection_is_dissolved_by_af_unspec(t: &mut Guest) {
    let ((a, _), (_b, b_port)) = (bound(t), bound(t));
    t.connect(a, &inet(b_port)).ok();
    let mut none = inet(0);
    none.sin_family = AF_UNSPEC as u16;
    t.connect(a, &none).ok();
    sys!(getpeername(a, &raw mut none, &mut [16_u32])).fails(ENOTCONN);
    sys!(write(a, b"x", 1)).fails(EDESTADDRREQ);
}

#[case(as_root, as_user)]
fn an_unreachable_port_is_told_to_a_connected_sender(t: &mut Guest) {
    let ((a, _), (b, b_port)) = (bound(t), bound(t));
    sys!(close(b)).ok();
    t.connect(a, &inet(b_port)).ok();
    t.send(a, "x");
    check!(t.poll(a, POLLIN, -1) & POLLERR != 0);
    sys!(read(a, &mut [0_u8], 1)).fails(ECONNREFUSED);
    expect_eq!(t.poll(a, POLLIN, 0), 0);
}

#[case(as_root, as_user)]
fn messages_keep_their_borders_and_are_cut(t: &mut Guest) {
    let ((a, _), (b, b_port)) = (bound(t), bound(t));
    t.connect(a, &inet(b_port)).ok();
    t.send(a, "0123456789");
    t.send(a, "next");
    let mut bytes = [0_u8; 4];
    sys!(recvfrom(b, &mut bytes, 4, MSG_TRUNC, 0, 0)).is(10);
    expect_eq!(t.recv(b, 16), b"next");
}

#[case(as_root, as_user)]
fn an_empty_datagram_is_a_message(t: &mut Guest) {
    let ((a, _), (b, b_port)) = (bound(t), bound(t));
    t.connect(a, &inet(b_port)).ok();
    sys!(sendto(a, 0, 0, 0, 0, 0)).is(0);
    expect_eq!(t.poll(b, POLLIN, -1), POLLIN);
    expect_eq!(t.recv(b, 16), b"");
}

#[case(as_root, as_user)]
fn more_than_65507_bytes_are_emsgsize(t: &mut Guest) {
    let ((a, _), (b, b_port)) = (bound(t), bound(t));
    t.connect(a, &inet(b_port)).ok();
    let bytes = vec![1_u8; 65508];
    sys!(write(a, &bytes, 65508)).fails(EMSGSIZE);
    sys!(write(a, &bytes, 65507)).is(65507);
    expect_eq!(t.recv(b, 70_000).len(), 65507);
}

#[case(as_root, as_user)]
fn listen_and_accept_are_not_for_datagrams(t: &mut Guest) {
    let (a, _) = bound(t);
    sys!(listen(a, 1)).fails(EOPNOTSUPP);
    sys!(accept(a, 0, 0)).fails(EOPNOTSUPP);
    sys!(sendto(a, b"x", 1, 0, 0, 0)).fails(EDESTADDRREQ);
}

#[case(as_root, as_user)]
fn connecting_chooses_the_own_address(t: &mut Guest) {
    let (_peer, port) = bound(t);
    let fd = t.socket(AF_INET, SOCK_DGRAM);
    t.connect(fd, &inet(port)).ok();
    let (mut address, mut length) = (inet(0), 16_u32);
    address.sin_addr.s_addr = 0;
    sys!(getsockname(fd, &raw mut address, &raw mut length)).ok();
    expect_eq!(address.sin_addr.s_addr, inet(0).sin_addr.s_addr);
    check!(address.sin_port != 0);
}

#[case(as_root, as_user)]
fn an_overfull_receiver_drops(t: &mut Guest) {
    let ((a, _), (b, b_port)) = (bound(t), bound(t));
    t.set_option(b, SOL_SOCKET, SO_RCVBUF, 4096).ok();
    t.connect(a, &inet(b_port)).ok();
    for _ in 0..200 {
        t.send(a, [7; 1000]);
    }
    let mut got = 0;
    while sys!(recvfrom(b, &mut [0_u8; 2000], 2000, MSG_DONTWAIT, 0, 0)).errno() == 0 {
        got += 1;
    }
    check!(got > 0 && got < 200, "{got}");
}

#[case(as_root, as_user)]
fn pktinfo_tells_the_destination(t: &mut Guest) {
    let ((a, _), (b, b_port)) = (bound(t), bound(t));
    t.set_option(b, IPPROTO_IP, IP_PKTINFO, 1).ok();
    t.connect(a, &inet(b_port)).ok();
    t.send(a, "x");
    let (data, mut control) = ([0_u8; 8], [0_u32; 16]);
    let mut part = iov(&data);
    let mut message: msghdr = zeroed();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = 64;
    sys!(recvmsg(b, &raw mut message, 0)).is(1);
    // Header: length (two words), level, type; then interface, local address, destination.
    let control = std::hint::black_box(control);
    expect_eq!((control[2], control[3]), (IPPROTO_IP as u32, IP_PKTINFO as u32));
    expect_eq!(control[6].to_ne_bytes(), [127, 0, 0, 1]);
}
