//! TCP over loopback.

use crate::guest::inet;
use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn a_connection_carries_bytes_both_ways(t: &mut Guest) {
    let (client, server) = t.tcp_pair();
    t.send(client, "ping");
    expect_eq!(t.recv(server, 16), b"ping");
    t.send(server, "pong");
    expect_eq!(t.recv(client, 16), b"pong");
    sys!(close(client)).ok();
    expect_eq!(t.recv(server, 16), b"");
}

#[case(as_root, as_user)]
fn a_large_transfer_arrives_whole(t: &mut Guest) {
    let (client, server) = t.tcp_pair();
    let length = 1 << 20;
    let child = t.fork(|| {
        let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let mut sent = 0;
        while sent < length {
            sent += sys!(write(client, bytes[sent..].as_ptr(), length - sent)).size();
        }
    });
    let mut got = 0;
    while got < length {
        let part = t.recv(server, 65536);
        check!(!part.is_empty(), "{got} bytes");
        check!(part.iter().enumerate().all(|(n, byte)| *byte == ((got + n) % 251) as u8));
        got += part.len();
    }
    child.done();
}

#[case(as_root, as_user)]
fn names_of_both_ends_agree(t: &mut Guest) {
    let (client, server) = t.tcp_pair();
    let name = |fd: i32, peer: bool| {
        let (mut address, mut length) = (inet(0), 16_u32);
        if peer {
            sys!(getpeername(fd, &raw mut address, &raw mut length)).ok();
        } else {
            sys!(getsockname(fd, &raw mut address, &raw mut length)).ok();
        }
        expect_eq!(length, 16);
        (address.sin_addr.s_addr, address.sin_port)
    };
    expect_eq!(name(client, false), name(server, true));
    expect_eq!(name(client, true), name(server, false));
    expect_eq!(name(client, false).0, inet(0).sin_addr.s_addr);
    check!(name(client, false).1 != 0);
}

#[case(as_root, as_user)]
fn nobody_listening_is_econnrefused(t: &mut Guest) {
    let (listener, port) = t.tcp_listener();
    sys!(close(listener)).ok();
    let fd = t.socket(AF_INET, SOCK_STREAM);
    t.connect(fd, &inet(port)).fails(ECONNREFUSED);
    let bound = t.socket(AF_INET, SOCK_STREAM);
    t.bind(bound, &inet(0)).ok();
    t.connect(fd, &inet(t.port(bound))).fails(ECONNREFUSED);
}

#[case(as_root, as_user)]
fn shutdown_ends_one_direction(t: &mut Guest) {
    t.ignore(SIGPIPE);
    let (client, server) = t.tcp_pair();
    sys!(shutdown(client, SHUT_WR)).ok();
    expect_eq!(t.recv(server, 8), b"");
    t.send(server, "still");
    expect_eq!(t.recv(client, 8), b"still");
    sys!(write(client, b"x", 1)).fails(EPIPE);
    sys!(shutdown(client, SHUT_RD)).ok();
    expect_eq!(t.recv(client, 8), b"");
    sys!(shutdown(t.socket(AF_INET, SOCK_STREAM), SHUT_RD)).fails(ENOTCONN);
}

#[case(as_root, as_user)]
fn closing_with_unread_data_resets(t: &mut Guest) {
    let (client, server) = t.tcp_pair();
    t.send(client, "unread");
    expect_eq!(t.poll(server, POLLIN, -1), POLLIN);
    sys!(close(server)).ok();
    sys!(read(client, &mut [0_u8; 8], 8)).fails(ECONNRESET);
    expect_eq!(t.option(client, SOL_SOCKET, SO_ERROR), 0);
}

#[case(as_root, as_user)]
fn lingering_for_zero_seconds_resets(t: &mut Guest) {
    let (client, server) = t.tcp_pair();
    let linger = linger { l_onoff: 1, l_linger: 0 };
    sys!(setsockopt(client, SOL_SOCKET, SO_LINGER, &raw const linger, 8)).ok();
    sys!(close(client)).ok();
    let events = t.poll(server, POLLIN | POLLOUT, -1);
    check!(events & (POLLERR | POLLHUP) == POLLERR | POLLHUP, "{events:#x}");
    expect_eq!(t.option(server, SOL_SOCKET, SO_ERROR), ECONNRESET);
    expect_eq!(t.option(server, SOL_SOCKET, SO_ERROR), 0);
}

#[case(as_root, as_user)]
fn writing_after_a_reset_is_epipe(t: &mut Guest) {
    let (client, server) = t.tcp_pair();
    let linger = linger { l_onoff: 1, l_linger: 0 };
    sys!(setsockopt(client, SOL_SOCKET, SO_LINGER, &raw const linger, 8)).ok();
    sys!(close(client)).ok();
    t.poll(server, POLLIN, -1);
    sys!(read(server, &mut [0_u8; 8], 8)).fails(ECONNRESET);
    sys!(sendto(server, b"x", 1, MSG_NOSIGNAL, 0, 0)).fails(EPIPE);
}

#[case(as_root, as_user)]
fn poll_tells_connection_data_and_end(t: &mut Guest) {
    let (listener, port) = t.tcp_listener();
    expect_eq!(t.poll(listener, POLLIN, 0), 0);
    let client = t.socket(AF_INET, SOCK_STREAM);
    t.connect(client, &inet(port)).ok();
    expect_eq!(t.poll(listener, POLLIN, -1), POLLIN);
    let server = sys!(accept(listener, 0, 0)).fd();
    let all = POLLIN | POLLOUT | POLLRDHUP;
    expect_eq!(t.poll(server, all, 0), POLLOUT);
    t.send(client, "x");
    expect_eq!(t.poll(server, POLLIN, -1), POLLIN);
    t.recv(server, 1);
    sys!(shutdown(client, SHUT_WR)).ok();
    expect_eq!(t.poll(server, POLLIN | POLLRDHUP, -1), POLLIN | POLLRDHUP);
    sys!(shutdown(server, SHUT_WR)).ok();
    check!(t.poll(server, POLLIN, -1) & POLLHUP != 0);
}

#[case(as_root, as_user)]
fn states_are_checked(t: &mut Guest) {
    let (client, _server) = t.tcp_pair();
    t.connect(client, &inet(1)).fails(EISCONN);
    sys!(listen(client, 1)).fails(EINVAL);
    t.bind(client, &inet(0)).fails(EINVAL);
    let fresh = t.socket(AF_INET, SOCK_STREAM);
    sys!(accept(fresh, 0, 0)).fails(EINVAL);
    sys!(read(fresh, &mut [0_u8], 1)).fails(ENOTCONN);
    sys!(sendto(fresh, b"x", 1, MSG_NOSIGNAL, 0, 0)).fails(EPIPE);
    sys!(getpeername(fresh, 0, 0)).fails(ENOTCONN);
}

#[case(as_root, as_user)]
fn accept_gives_the_peers_address_cut_to_the_room(t: &mut Guest) {
    let (listener, port) = t.tcp_listener();
    let client = t.socket(AF_INET, SOCK_STREAM);
    t.connect(client, &inet(port)).ok();
    let (mut address, mut length) = (inet(0), 4_u32);
    sys!(accept(listener, &raw mut address, &raw mut length)).ok();
    expect_eq!((length, u16::from_be(address.sin_port)), (16, t.port(client)));
    let mut negative = -1_i32;
    let second = t.socket(AF_INET, SOCK_STREAM);
    t.connect(second, &inet(port)).ok();
    sys!(accept(listener, &raw mut address, &raw mut negative)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn urgent_data_is_out_of_band(t: &mut Guest) {
    let (client, server) = t.tcp_pair();
    t.send(client, "ab");
    sys!(sendto(client, b"!", 1, MSG_OOB, 0, 0)).is(1);
    t.send(client, "cd");
    check!(t.poll(server, POLLPRI, -1) & POLLPRI != 0);
    let mut bytes = [0_u8; 8];
    sys!(recvfrom(server, &mut bytes, 8, MSG_OOB, 0, 0)).is(1);
    expect_eq!(bytes[0], b'!');
    sys!(recvfrom(server, &mut bytes, 8, 0, 0, 0)).is(2);
    expect_eq!(&bytes[..2], b"ab");
    sys!(recvfrom(server, &mut bytes, 8, 0, 0, 0)).is(2);
    expect_eq!(&bytes[..2], b"cd");
}

#[case(as_root, as_user)]
fn listening_without_a_bind_takes_a_free_port(t: &mut Guest) {
    let listener = t.socket(AF_INET, SOCK_STREAM);
    sys!(listen(listener, 1)).ok();
    let port = t.port(listener);
    check!(port != 0);
    t.connect(t.socket(AF_INET, SOCK_STREAM), &inet(port)).ok();
    sys!(accept(listener, 0, 0)).ok();
}

#[case(as_root, as_user)]
fn sendfile_and_splice_go_through_a_connection(t: &mut Guest) {
    let (client, server) = t.tcp_pair();
    t.file("in", vec![5; 20_000]);
    let file = t.open("in", O_RDONLY);
    let mut sent = 0;
    while sent < 20_000 {
        sent += sys!(sendfile(client, file, 0, 20_000 - sent)).size();
    }
    let mut got = Vec::new();
    while got.len() < 20_000 {
        got.extend(t.recv(server, 20_000));
    }
    check!(got.len() == 20_000 && got.iter().all(|byte| *byte == 5));
    let pipe = t.pipe();
    t.send(client, "spliced");
    sys!(splice(server, 0, pipe.w, 0, 100, 0)).is(7);
    expect_eq!(t.recv(pipe.r, 16), b"spliced");
}

#[case(as_root, as_user)]
fn tcp_info_tells_the_state(t: &mut Guest) {
    const ESTABLISHED: u8 = 1;
    const LISTEN: u8 = 10;
    let state = |fd: i32| {
        let (mut info, mut length) = ([0_u8; 256], 256_u32);
        sys!(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &mut info, &raw mut length)).ok();
        check!(length >= 104, "{length}");
        info[0]
    };
    let (client, _server) = t.tcp_pair();
    expect_eq!((state(client), state(t.tcp_listener().0)), (ESTABLISHED, LISTEN));
}

#[case(as_root, as_user)]
fn a_child_serves_many_connections_in_turn(t: &mut Guest) {
    let (listener, port) = t.tcp_listener();
    let child = t.fork(|| {
        for _ in 0..20 {
            let server = sys!(accept(listener, 0, 0)).fd();
            let text = t.recv(server, 64);
            t.send(server, [b"echo ".as_slice(), &text].concat());
            sys!(close(server)).ok();
        }
    });
    for round in 0..20 {
        let client = t.socket(AF_INET, SOCK_STREAM);
        t.connect(client, &inet(port)).ok();
        t.send(client, round.to_string());
        expect_eq!(String::from_utf8_lossy(&t.recv(client, 64)), format!("echo {round}"));
        expect_eq!(t.recv(client, 64), b"");
        sys!(close(client)).ok();
    }
    child.done();
}

#[case(as_root, as_user)]
fn peek_and_fionread_see_what_waits(t: &mut Guest) {
    let (client, server) = t.tcp_pair();
    t.send(client, "12345");
    t.poll(server, POLLIN, -1);
    let (mut bytes, mut count) = ([0_u8; 8], 0_i32);
    sys!(recvfrom(server, &mut bytes, 8, MSG_PEEK, 0, 0)).is(5);
    sys!(ioctl(server, FIONREAD, &raw mut count)).ok();
    expect_eq!(count, 5);
    // TCP drops what MSG_TRUNC asks for without copying it.
    sys!(recvfrom(server, 8, 5, MSG_TRUNC, 0, 0)).is(5);
    sys!(recvfrom(server, &mut bytes, 8, MSG_DONTWAIT, 0, 0)).fails(EAGAIN);
}

#[case(as_root, as_user)]
fn a_blocked_read_ends_when_the_socket_is_shut_down(t: &mut Guest) {
    let (client, _server) = t.tcp_pair();
    let reader = t.thread(move || sys!(read(client, &mut [0_u8], 1)).is(0));
    t.until_asleep(reader.tid);
    sys!(shutdown(client, SHUT_RDWR)).ok();
    reader.join();
    let (listener, _) = t.tcp_listener();
    let acceptor = t.thread(move || sys!(accept(listener, 0, 0)).fails(EINVAL));
    t.until_asleep(acceptor.tid);
    sys!(shutdown(listener, SHUT_RD)).ok();
    acceptor.join();
}

#[case(as_root, as_user)]
fn edge_triggered_epoll_tells_each_arrival(t: &mut Guest) {
    let (client, server) = t.tcp_pair();
    let epoll = sys!(epoll_create1(0)).fd();
    let mut event = epoll_event { events: (EPOLLIN | EPOLLET | EPOLLRDHUP) as u32, u64: 9 };
    sys!(epoll_ctl(epoll, EPOLL_CTL_ADD, server, &raw mut event)).ok();
    for _ in 0..3 {
        t.send(client, "x");
        sys!(epoll_wait(epoll, &raw mut event, 1, -1)).is(1);
        expect_eq!({ event.events }, EPOLLIN as u32);
        sys!(epoll_wait(epoll, &raw mut event, 1, 0)).is(0);
    }
    sys!(shutdown(client, SHUT_WR)).ok();
    sys!(epoll_wait(epoll, &raw mut event, 1, -1)).is(1);
    expect_eq!({ event.events } & EPOLLRDHUP as u32, EPOLLRDHUP as u32);
}
