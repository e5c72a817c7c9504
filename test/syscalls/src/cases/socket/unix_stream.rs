//! Unix stream sockets.

use crate::guest::unix;
use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn a_pair_talks_both_ways(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    t.send(a, "ping");
    expect_eq!(t.recv(b, 16), b"ping");
    t.send(b, "pong");
    expect_eq!(t.recv(a, 16), b"pong");
    sys!(close(b)).ok();
    expect_eq!(t.recv(a, 16), b"");
}

#[case(as_root, as_user)]
fn a_named_socket_accepts(t: &mut Guest) {
    let listener = t.socket(AF_UNIX, SOCK_STREAM);
    t.bind_unix(listener, "s").ok();
    expect_eq!(t.lstat("s").st_mode & S_IFMT, S_IFSOCK);
    let client = t.socket(AF_UNIX, SOCK_STREAM);
    t.connect_unix(client, "s").fails(ECONNREFUSED);
    sys!(listen(listener, 5)).ok();
    t.connect_unix(client, "s").ok();
    let server = sys!(accept4(listener, 0, 0, SOCK_CLOEXEC)).fd();
    sys!(fcntl(server, F_GETFD, 0)).is(FD_CLOEXEC);
    t.send(client, "hello");
    expect_eq!(t.recv(server, 16), b"hello");
    t.connect_unix(client, "s").fails(EISCONN);
    t.connect_unix(t.socket(AF_UNIX, SOCK_STREAM), "none").fails(ENOENT);
    t.bind_unix(t.socket(AF_UNIX, SOCK_STREAM), "s").fails(EADDRINUSE);
}

#[case(as_root, as_user)]
fn an_abstract_name_goes_with_its_socket(t: &mut Guest) {
    let name = format!("\0syscall-cases.{}", sys!(getpid()).ok());
    let listener = t.socket(AF_UNIX, SOCK_STREAM);
    t.bind_unix(listener, &name).ok();
    sys!(listen(listener, 5)).ok();
    t.bind_unix(t.socket(AF_UNIX, SOCK_STREAM), &name).fails(EADDRINUSE);
    t.connect_unix(t.socket(AF_UNIX, SOCK_STREAM), &name).ok();
    sys!(close(listener)).ok();
    t.connect_unix(t.socket(AF_UNIX, SOCK_STREAM), &name).fails(ECONNREFUSED);
}

#[case(as_root, as_user)]
fn getsockname_and_getpeername_tell_the_names(t: &mut Guest) {
    let listener = t.socket(AF_UNIX, SOCK_STREAM);
    t.bind_unix(listener, "s").ok();
    sys!(listen(listener, 5)).ok();
    let client = t.socket(AF_UNIX, SOCK_STREAM);
    t.connect_unix(client, "s").ok();
    let (mut address, mut length) = (unix("").0, size_of::<sockaddr_un>() as u32);
    sys!(getpeername(client, &raw mut address, &raw mut length)).ok();
    expect_eq!(length, 2 + 2);
    expect_eq!(address.sun_path[0], b's' as c_char);
    length = size_of::<sockaddr_un>() as u32;
    sys!(getsockname(client, &raw mut address, &raw mut length)).ok();
    expect_eq!((length, address.sun_family), (2, AF_UNIX as u16));
    sys!(getpeername(listener, &raw mut address, &raw mut length)).fails(ENOTCONN);
}

#[case(as_root, as_user)]
fn peercred_tells_who_connected(t: &mut Guest) {
    let (a, _b) = t.socketpair(SOCK_STREAM);
    let (mut cred, mut length) = ([0_u32; 3], 12_u32);
    sys!(getsockopt(a, SOL_SOCKET, SO_PEERCRED, &mut cred, &raw mut length)).ok();
    expect_eq!(i64::from(cred[0]), sys!(getpid()).ok());
    expect_eq!(i64::from(cred[1]), sys!(geteuid()).ok());
    expect_eq!(i64::from(cred[2]), sys!(getegid()).ok());
}

#[case(as_root, as_user)]
fn shutdown_ends_one_direction(t: &mut Guest) {
    t.ignore(SIGPIPE);
    let (a, b) = t.socketpair(SOCK_STREAM);
    sys!(shutdown(a, SHUT_WR)).ok();
    expect_eq!(t.recv(b, 8), b"");
    sys!(write(a, b"x", 1)).fails(EPIPE);
    t.send(b, "back");
    expect_eq!(t.recv(a, 8), b"back");
    sys!(shutdown(a, 7)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn a_write_to_a_closed_peer_is_epipe_with_sigpipe(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    sys!(close(b)).ok();
    t.catch(SIGPIPE, 0);
    sys!(write(a, b"x", 1)).fails(EPIPE);
    expect_eq!(t.caught(), [SIGPIPE]);
    sys!(sendto(a, b"x", 1, MSG_NOSIGNAL, 0, 0)).fails(EPIPE);
    expect_eq!(t.caught(), [SIGPIPE]);
}

/// Linux: unix_release_sock. Data that the closed end had not read resets the connection.
#[case(as_root, as_user)]
fn unread_data_of_a_closed_peer_is_econnreset(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    t.send(a, "never read");
    sys!(close(b)).ok();
    sys!(read(a, &mut [0_u8; 4], 4)).fails(ECONNRESET);
    sys!(read(a, &mut [0_u8; 4], 4)).is(0);
}

#[case(as_root, as_user)]
fn poll_tells_data_room_and_hang_up(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    let all = POLLIN | POLLOUT | POLLRDHUP;
    expect_eq!(t.poll(a, all, 0), POLLOUT);
    t.send(b, "x");
    expect_eq!(t.poll(a, all, 0), POLLIN | POLLOUT);
    sys!(shutdown(b, SHUT_WR)).ok();
    expect_eq!(t.poll(a, all, 0), POLLIN | POLLOUT | POLLRDHUP);
    sys!(close(b)).ok();
    expect_eq!(t.poll(a, all, 0), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
}

#[case(as_root, as_user)]
fn a_full_backlog_makes_connect_wait(t: &mut Guest) {
    let listener = t.socket(AF_UNIX, SOCK_STREAM);
    t.bind_unix(listener, "s").ok();
    sys!(listen(listener, 0)).ok();
    t.connect_unix(t.socket(AF_UNIX, SOCK_STREAM), "s").ok();
    t.connect_unix(t.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK), "s").fails(EAGAIN);
    let child = t.fork(|| {
        t.connect_unix(t.socket(AF_UNIX, SOCK_STREAM), "s").ok();
    });
    t.until_asleep(child.pid);
    sys!(accept(listener, 0, 0)).ok();
    child.done();
}

#[case(as_root, as_user)]
fn accept_waits_for_a_connection(t: &mut Guest) {
    let listener = t.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK);
    t.bind_unix(listener, "s").ok();
    sys!(accept(listener, 0, 0)).fails(EINVAL);
    sys!(listen(listener, 5)).ok();
    sys!(accept(listener, 0, 0)).fails(EAGAIN);
    expect_eq!(t.poll(listener, POLLIN, 0), 0);
    sys!(fcntl(listener, F_SETFL, 0)).ok();
    let child = t.fork(|| {
        sys!(accept(listener, 0, 0)).ok();
    });
    t.until_asleep(child.pid);
    t.connect_unix(t.socket(AF_UNIX, SOCK_STREAM), "s").ok();
    child.done();
    sys!(accept4(listener, 0, 0, 0x1)).fails(EINVAL);
    sys!(accept(t.pipe().r, 0, 0)).fails(ENOTSOCK);
}

#[case(as_root, as_user)]
fn pending_connections_are_reset_with_the_listener(t: &mut Guest) {
    let listener = t.socket(AF_UNIX, SOCK_STREAM);
    t.bind_unix(listener, "s").ok();
    sys!(listen(listener, 5)).ok();
    let client = t.socket(AF_UNIX, SOCK_STREAM);
    t.connect_unix(client, "s").ok();
    sys!(close(listener)).ok();
    sys!(read(client, &mut [0_u8; 4], 4)).fails(ECONNRESET);
    t.connect_unix(t.socket(AF_UNIX, SOCK_STREAM), "s").fails(ECONNREFUSED);
}

#[case(as_user)]
fn connecting_needs_write_permission(t: &mut Guest) {
    let listener = t.socket(AF_UNIX, SOCK_STREAM);
    t.bind_unix(listener, "s").ok();
    sys!(listen(listener, 5)).ok();
    sys!(chmod(c"s", 0o555)).ok();
    t.connect_unix(t.socket(AF_UNIX, SOCK_STREAM), "s").fails(EACCES);
}

#[case(as_root, as_user)]
fn a_stream_is_not_a_datagram_socket(t: &mut Guest) {
    let listener = t.socket(AF_UNIX, SOCK_STREAM);
    t.bind_unix(listener, "s").ok();
    sys!(listen(listener, 5)).ok();
    t.connect_unix(t.socket(AF_UNIX, SOCK_DGRAM), "s").fails(EPROTOTYPE);
    sys!(sendto(t.socket(AF_UNIX, SOCK_STREAM), b"x", 1, MSG_NOSIGNAL, 0, 0)).fails(ENOTCONN);
    sys!(recvfrom(t.socket(AF_UNIX, SOCK_STREAM), &mut [0_u8], 1, 0, 0, 0)).fails(EINVAL);
}

/// Linux: unix_autobind. An address of the family alone asks for an abstract name of five hexadecimal digits.
#[case(as_root, as_user)]
fn autobind_makes_an_abstract_name(t: &mut Guest) {
    let fd = t.socket(AF_UNIX, SOCK_STREAM);
    let family = AF_UNIX as u16;
    sys!(bind(fd, &raw const family, 2)).ok();
    let (mut address, mut length) = (unix("").0, size_of::<sockaddr_un>() as u32);
    sys!(getsockname(fd, &raw mut address, &raw mut length)).ok();
    expect_eq!(length, 2 + 6);
    expect_eq!(address.sun_path[0], 0);
    check!(address.sun_path[1..6].iter().all(|c| (*c as u8).is_ascii_hexdigit()));
}

#[case(as_root, as_user)]
fn a_bound_name_stays_after_the_socket(t: &mut Guest) {
    let fd = t.socket(AF_UNIX, SOCK_STREAM);
    t.bind_unix(fd, "s").ok();
    t.bind_unix(fd, "other").fails(EINVAL);
    sys!(close(fd)).ok();
    check!(t.exists("s"));
    t.try_open("s", O_RDONLY).fails(ENXIO);
    t.bind_unix(t.socket(AF_UNIX, SOCK_STREAM), "s").fails(EADDRINUSE);
    sys!(unlink(c"s")).ok();
    t.bind_unix(t.socket(AF_UNIX, SOCK_STREAM), "s").ok();
    t.bind_unix(t.socket(AF_UNIX, SOCK_STREAM), "none/s").fails(ENOENT);
}

#[case(as_root, as_user)]
fn the_listeners_credentials_are_seen_by_the_client(t: &mut Guest) {
    let listener = t.socket(AF_UNIX, SOCK_STREAM);
    t.bind_unix(listener, "s").ok();
    sys!(listen(listener, 5)).ok();
    let parent = sys!(getpid()).ok();
    t.fork(|| {
        let client = t.socket(AF_UNIX, SOCK_STREAM);
        t.connect_unix(client, "s").ok();
        let (mut cred, mut length) = ([0_u32; 3], 12_u32);
        sys!(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &mut cred, &raw mut length)).ok();
        expect_eq!(i64::from(cred[0]), parent);
    })
    .done();
    let server = sys!(accept(listener, 0, 0)).fd();
    let (mut cred, mut length) = ([0_u32; 3], 12_u32);
    sys!(getsockopt(server, SOL_SOCKET, SO_PEERCRED, &mut cred, &raw mut length)).ok();
    check!(i64::from(cred[0]) != parent && cred[1] == t.uid());
}

#[case(as_root, as_user)]
fn a_large_transfer_arrives_whole(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    let length = 1 << 20;
    let child = t.fork(|| {
        let bytes: Vec<u8> = (0..length).map(|n| (n % 253) as u8).collect();
        let mut sent = 0;
        while sent < length {
            sent += sys!(write(a, bytes[sent..].as_ptr(), length - sent)).size();
        }
    });
    sys!(close(a)).ok();
    let mut got = 0;
    loop {
        let part = t.recv(b, 50_000);
        if part.is_empty() {
            break;
        }
        check!(part.iter().enumerate().all(|(n, byte)| *byte == ((got + n) % 253) as u8));
        got += part.len();
    }
    expect_eq!(got, length);
    child.done();
}
