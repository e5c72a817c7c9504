//! `send` and `recv` flags, `sendmsg`, `recvmsg`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn peek_leaves_the_data(t: &mut Guest) {
    for kind in [SOCK_STREAM, SOCK_DGRAM] {
        let (a, b) = t.socketpair(kind);
        t.send(a, "data");
        let mut bytes = [0_u8; 8];
        sys!(recvfrom(b, &mut bytes, 2, MSG_PEEK, 0, 0)).is(2);
        sys!(recvfrom(b, &mut bytes, 8, MSG_PEEK, 0, 0)).is(4);
        sys!(recvfrom(b, &mut bytes, 8, 0, 0, 0)).is(4);
        expect_eq!(&bytes[..4], b"data");
    }
}

#[case(as_root, as_user)]
fn dontwait_does_not_wait(t: &mut Guest) {
    let (a, _b) = t.socketpair(SOCK_STREAM);
    sys!(recvfrom(a, &mut [0_u8], 1, MSG_DONTWAIT, 0, 0)).fails(EAGAIN);
    let chunk = [0_u8; 65536];
    while sys!(sendto(a, &chunk, chunk.len(), MSG_DONTWAIT, 0, 0)).errno() == 0 {}
    sys!(sendto(a, &chunk, chunk.len(), MSG_DONTWAIT, 0, 0)).fails(EAGAIN);
}

#[case(as_root, as_user)]
fn trunc_tells_the_real_length(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_DGRAM);
    t.send(a, "0123456789");
    let mut bytes = [0_u8; 4];
    sys!(recvfrom(b, &mut bytes, 4, MSG_TRUNC, 0, 0)).is(10);
    t.send(a, "0123456789");
    let mut part = iov(&bytes);
    let mut message: msghdr = zeroed();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    sys!(recvmsg(b, &raw mut message, 0)).is(4);
    expect_eq!(message.msg_flags & MSG_TRUNC, MSG_TRUNC);
}

#[case(as_root, as_user)]
fn waitall_waits_for_the_whole_buffer(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    let child = t.fork(|| {
        let mut bytes = [0_u8; 8];
        sys!(recvfrom(b, &mut bytes, 8, MSG_WAITALL, 0, 0)).is(8);
        expect_eq!(&bytes, b"abcdefgh");
    });
    t.send(a, "abcd");
    t.until_asleep(child.pid);
    t.send(a, "efgh");
    child.done();
    t.send(a, "ab");
    sys!(close(a)).ok();
    sys!(recvfrom(b, &mut [0_u8; 8], 8, MSG_WAITALL, 0, 0)).is(2);
}

#[case(as_root, as_user)]
fn sendmsg_gathers_and_recvmsg_scatters(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    let mut parts = [iov(b"one"), iov(b"two")];
    let mut message: msghdr = zeroed();
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = 2;
    sys!(sendmsg(a, &raw const message, 0)).is(6);
    let (first, second) = ([0_u8; 2], [0_u8; 8]);
    let mut parts = [iov(&first), iov(&second)];
    message.msg_iov = parts.as_mut_ptr();
    sys!(recvmsg(b, &raw mut message, 0)).is(6);
    expect_eq!((std::hint::black_box(&first), &std::hint::black_box(&second)[..4]), (b"on", &b"etwo"[..]));
    message.msg_iovlen = 1025;
    sys!(sendmsg(a, &raw const message, 0)).fails(EMSGSIZE);
    sys!(sendmsg(a, 8, 0)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn sendmmsg_and_recvmmsg_move_several(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_DGRAM);
    let mut parts = [iov(b"one"), iov(b"three"), iov(b"x")];
    let mut messages: [mmsghdr; 3] = zeroed();
    for (message, part) in messages.iter_mut().zip(&mut parts) {
        message.msg_hdr.msg_iov = &raw mut *part;
        message.msg_hdr.msg_iovlen = 1;
    }
    sys!(sendmmsg(a, &mut messages, 3, 0)).is(3);
    expect_eq!(messages.map(|message| message.msg_len), [3, 5, 1]);
    let buffers = [[0_u8; 8]; 3];
    let mut parts = buffers.each_ref().map(|buffer| iov(buffer));
    for (message, part) in messages.iter_mut().zip(&mut parts) {
        message.msg_hdr.msg_iov = &raw mut *part;
    }
    sys!(recvmmsg(b, &mut messages, 3, 0, 0)).is(3);
    expect_eq!(messages.map(|message| message.msg_len), [3, 5, 1]);
    t.send(a, "last");
    sys!(recvmmsg(b, &mut messages, 3, MSG_WAITFORONE, 0)).is(1);
    sys!(recvmmsg(b, &mut messages, 3, MSG_DONTWAIT, 0)).fails(EAGAIN);
}

#[case(as_root, as_user)]
fn fionread_counts_what_waits(t: &mut Guest) {
    let mut count = 0_i32;
    let (a, b) = t.socketpair(SOCK_STREAM);
    t.send(a, "123");
    t.send(a, "45");
    sys!(ioctl(b, FIONREAD, &raw mut count)).ok();
    expect_eq!(count, 5);
    let (a, b) = t.socketpair(SOCK_DGRAM);
    t.send(a, "123");
    t.send(a, "45");
    sys!(ioctl(b, FIONREAD, &raw mut count)).ok();
    expect_eq!(count, 3);
}

#[case(as_root, as_user)]
fn what_is_no_socket_is_enotsock(t: &mut Guest) {
    let pipe = t.pipe();
    sys!(sendto(pipe.w, b"x", 1, 0, 0, 0)).fails(ENOTSOCK);
    sys!(recvfrom(pipe.r, &mut [0_u8], 1, 0, 0, 0)).fails(ENOTSOCK);
    sys!(shutdown(pipe.r, SHUT_RD)).fails(ENOTSOCK);
    sys!(listen(pipe.r, 1)).fails(ENOTSOCK);
    sys!(getsockname(pipe.r, 0, 0)).fails(ENOTSOCK);
    sys!(sendto(99, b"x", 1, 0, 0, 0)).fails(EBADF);
}
