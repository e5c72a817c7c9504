//! TCP without waiting.

use crate::guest::inet;
use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn connect_is_in_progress_until_writable(t: &mut Guest) {
    let (listener, port) = t.tcp_listener();
    let client = t.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
    let first = t.connect(client, &inet(port));
    check!(first.errno() == EINPROGRESS || first.errno() == 0, "{}", first.errno());
    check!(t.poll(client, POLLOUT, -1) & POLLOUT != 0);
    expect_eq!(t.option(client, SOL_SOCKET, SO_ERROR), 0);
    let again = t.connect(client, &inet(port));
    check!(again.errno() == 0 || again.errno() == EISCONN, "{}", again.errno());
    sys!(accept(listener, 0, 0)).ok();
}

#[case(as_root, as_user)]
fn a_refused_connect_is_told_by_so_error_once(t: &mut Guest) {
    let bound = t.socket(AF_INET, SOCK_STREAM);
    t.bind(bound, &inet(0)).ok();
    let client = t.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
    let first = t.connect(client, &inet(t.port(bound)));
    if first.errno() == ECONNREFUSED {
        return;
    }
    first.fails(EINPROGRESS);
    let events = t.poll(client, POLLOUT, -1);
    check!(events & POLLERR != 0, "{events:#x}");
    expect_eq!(t.option(client, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    expect_eq!(t.option(client, SOL_SOCKET, SO_ERROR), 0);
}

#[case(as_root, as_user)]
fn nothing_to_accept_or_read_is_eagain(t: &mut Guest) {
    let (listener, _) = t.tcp_listener();
    sys!(fcntl(listener, F_SETFL, O_NONBLOCK)).ok();
    sys!(accept(listener, 0, 0)).fails(EAGAIN);
    let (client, _server) = t.tcp_pair();
    sys!(fcntl(client, F_SETFL, O_NONBLOCK)).ok();
    sys!(read(client, &mut [0_u8], 1)).fails(EAGAIN);
}

#[case(as_root, as_user)]
fn an_accepted_socket_does_not_inherit_nonblock(t: &mut Guest) {
    let (listener, port) = t.tcp_listener();
    sys!(fcntl(listener, F_SETFL, O_NONBLOCK)).ok();
    t.connect(t.socket(AF_INET, SOCK_STREAM), &inet(port)).ok();
    t.poll(listener, POLLIN, -1);
    let server = sys!(accept4(listener, 0, 0, 0)).fd();
    expect_eq!(sys!(fcntl(server, F_GETFL, 0)).fd() & O_NONBLOCK, 0);
    t.connect(t.socket(AF_INET, SOCK_STREAM), &inet(port)).ok();
    t.poll(listener, POLLIN, -1);
    let server = sys!(accept4(listener, 0, 0, SOCK_NONBLOCK)).fd();
    expect_eq!(sys!(fcntl(server, F_GETFL, 0)).fd() & O_NONBLOCK, O_NONBLOCK);
}

#[case(as_root, as_user)]
fn a_full_send_buffer_is_eagain_until_it_drains(t: &mut Guest) {
    let (client, server) = t.tcp_pair();
    sys!(fcntl(client, F_SETFL, O_NONBLOCK)).ok();
    sys!(fcntl(server, F_SETFL, O_NONBLOCK)).ok();
    let chunk = vec![0_u8; 65536];
    while sys!(write(client, &chunk, chunk.len())).errno() == 0 {}
    sys!(write(client, &chunk, chunk.len())).fails(EAGAIN);
    let child = t.fork(|| expect_eq!(t.poll(client, POLLOUT, -1), POLLOUT));
    t.until(|| {
        let mut bytes = vec![0_u8; 65536];
        let _ = sys!(read(server, &mut bytes, bytes.len()));
        t.state(child.pid) == Some('Z')
    });
    child.done();
}

#[case(as_root, as_user)]
fn a_receive_timeout_is_eagain(t: &mut Guest) {
    let (client, _server) = t.tcp_pair();
    let limit = timeval { tv_sec: 0, tv_usec: 10_000 };
    sys!(setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &raw const limit, 16)).ok();
    sys!(read(client, &mut [0_u8], 1)).fails(EAGAIN);
}
