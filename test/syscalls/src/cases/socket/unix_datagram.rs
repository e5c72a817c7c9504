//! Unix datagram and sequenced-packet sockets.

use crate::guest::unix;
use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn messages_keep_their_borders(t: &mut Guest) {
    for kind in [SOCK_DGRAM, SOCK_SEQPACKET] {
        let (a, b) = t.socketpair(kind);
        t.send(a, "first");
        t.send(a, "second");
        expect_eq!(t.recv(b, 3), b"fir");
        expect_eq!(t.recv(b, 64), b"second");
    }
}

#[case(as_root, as_user)]
fn an_empty_datagram_is_a_message(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_DGRAM);
    sys!(sendto(a, 0, 0, 0, 0, 0)).is(0);
    t.send(a, "next");
    expect_eq!(t.recv(b, 8), b"");
    expect_eq!(t.recv(b, 8), b"next");
}

#[case(as_root, as_user)]
fn the_sender_is_named(t: &mut Guest) {
    let (receiver, sender) = (t.socket(AF_UNIX, SOCK_DGRAM), t.socket(AF_UNIX, SOCK_DGRAM));
    t.bind_unix(receiver, "to").ok();
    t.bind_unix(sender, "from").ok();
    let (address, length) = unix("to");
    sys!(sendto(sender, b"hi", 2, 0, &raw const address, length)).is(2);
    let (mut from, mut length) = (unix("").0, size_of::<sockaddr_un>() as u32);
    let mut bytes = [0_u8; 8];
    sys!(recvfrom(receiver, &mut bytes, 8, 0, &raw mut from, &raw mut length)).is(2);
    expect_eq!(length, 2 + 5);
    expect_eq!(from.sun_path[..5].iter().map(|c| *c as u8).collect::<Vec<_>>(), b"from\0");
}

#[case(as_root, as_user)]
fn destinations_are_checked(t: &mut Guest) {
    let sender = t.socket(AF_UNIX, SOCK_DGRAM);
    sys!(sendto(sender, b"x", 1, 0, 0, 0)).fails(ENOTCONN);
    let (address, length) = unix("none");
    sys!(sendto(sender, b"x", 1, 0, &raw const address, length)).fails(ENOENT);
    let gone = t.socket(AF_UNIX, SOCK_DGRAM);
    t.bind_unix(gone, "gone").ok();
    sys!(close(gone)).ok();
    t.connect_unix(sender, "gone").fails(ECONNREFUSED);
    let (a, b) = t.socketpair(SOCK_DGRAM);
    sys!(close(b)).ok();
    sys!(write(a, b"x", 1)).fails(ECONNREFUSED);
}

#[case(as_root, as_user)]
fn a_connected_receiver_takes_from_its_peer_only(t: &mut Guest) {
    let [a, b, c] = [0; 3].map(|_| t.socket(AF_UNIX, SOCK_DGRAM));
    t.bind_unix(a, "a").ok();
    t.bind_unix(b, "b").ok();
    t.connect_unix(a, "b").ok();
    let (address, length) = unix("a");
    sys!(sendto(c, b"x", 1, 0, &raw const address, length)).fails(EPERM);
    sys!(sendto(b, b"y", 1, 0, &raw const address, length)).is(1);
    expect_eq!(t.recv(a, 4), b"y");
}

#[case(as_root, as_user)]
fn a_full_queue_is_eagain_when_nonblocking(t: &mut Guest) {
    let (a, _b) = t.socketpair(SOCK_DGRAM | SOCK_NONBLOCK);
    let mut sent = 0;
    while sys!(write(a, b"x", 1)).errno() == 0 && sent < 100_000 {
        sent += 1;
    }
    sys!(write(a, b"x", 1)).fails(EAGAIN);
    check!(sent > 0 && sent < 100_000, "{sent}");
}

#[case(as_root, as_user)]
fn too_large_a_message_is_emsgsize(t: &mut Guest) {
    let (a, _b) = t.socketpair(SOCK_DGRAM);
    let bytes = vec![0_u8; 4 << 20];
    sys!(write(a, &bytes, bytes.len())).fails(EMSGSIZE);
}

#[case(as_root, as_user)]
fn seqpacket_connects_and_ends_like_a_stream(t: &mut Guest) {
    let listener = t.socket(AF_UNIX, SOCK_SEQPACKET);
    t.bind_unix(listener, "s").ok();
    sys!(listen(listener, 5)).ok();
    let client = t.socket(AF_UNIX, SOCK_SEQPACKET);
    t.connect_unix(client, "s").ok();
    let server = sys!(accept(listener, 0, 0)).fd();
    t.send(client, "packet");
    expect_eq!(t.recv(server, 64), b"packet");
    sys!(close(client)).ok();
    expect_eq!(t.recv(server, 64), b"");
}
