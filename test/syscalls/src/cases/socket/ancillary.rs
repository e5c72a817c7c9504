//! Descriptors and credentials in messages.

use crate::prelude::*;
use crate::sys::Ret;
use libc::*;

/// A control buffer with one entry of `kind` and `data`.
fn entry(kind: i32, data: &[u8]) -> Vec<u8> {
    let length = 16 + data.len();
    let mut bytes = Vec::new();
    bytes.extend((length as u64).to_ne_bytes());
    bytes.extend(SOL_SOCKET.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(length.next_multiple_of(8), 0);
    bytes
}

fn send(fd: i32, data: &[u8], control: &mut [u8]) -> Ret {
    let mut part = iov(data);
    let mut message: msghdr = zeroed();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.len();
    sys!(sendmsg(fd, &raw const message, 0))
}

/// One message's flags and control entries as kind and data.
#[track_caller]
fn receive(fd: i32, room: usize, flags: i32) -> (i32, Vec<(i32, Vec<u8>)>) {
    let (data, mut control) = ([0_u8; 64], vec![0_u64; room / 8]);
    let mut part = iov(&data);
    let mut message: msghdr = zeroed();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = room;
    sys!(recvmsg(fd, &raw mut message, flags)).ok();
    let bytes: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let bytes = &bytes[..message.msg_controllen];
    let mut entries = Vec::new();
    let mut at = 0;
    while at + 16 <= bytes.len() {
        let length = u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        let kind = i32::from_ne_bytes(bytes[at + 12..at + 16].try_into().unwrap());
        entries.push((kind, bytes[at + 16..at + length].to_vec()));
        at += length.next_multiple_of(8);
    }
    (message.msg_flags, entries)
}

fn ints(bytes: &[u8]) -> Vec<i32> {
    bytes.chunks(4).map(|chunk| i32::from_ne_bytes(chunk.try_into().unwrap())).collect()
}

#[case(as_root, as_user)]
fn a_descriptor_arrives_as_a_new_one_of_the_same_file(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    t.file("f", "0123456789");
    let fd = t.open("f", O_RDONLY);
    t.recv(fd, 3);
    send(a, b"x", &mut entry(SCM_RIGHTS, &fd.to_ne_bytes())).is(1);
    sys!(close(fd)).ok();
    let (_, entries) = receive(b, 64, 0);
    expect_eq!(entries[0].0, SCM_RIGHTS);
    let got = ints(&entries[0].1)[0];
    expect_eq!(t.recv(got, 3), b"345");
    sys!(fcntl(got, F_GETFD, 0)).is(0);
}

#[case(as_root, as_user)]
fn cmsg_cloexec_marks_what_arrives(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    let pipe = t.pipe();
    let both = [pipe.r.to_ne_bytes(), pipe.w.to_ne_bytes()].concat();
    send(a, b"x", &mut entry(SCM_RIGHTS, &both)).is(1);
    let (flags, entries) = receive(b, 64, MSG_CMSG_CLOEXEC);
    expect_eq!(flags & MSG_CTRUNC, 0);
    let got = ints(&entries[0].1);
    expect_eq!(got.len(), 2);
    sys!(fcntl(got[0], F_GETFD, 0)).is(FD_CLOEXEC);
    t.send(got[1], "through");
    expect_eq!(t.recv(pipe.r, 16), b"through");
}

#[case(as_root, as_user)]
fn no_room_for_descriptors_is_ctrunc(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    let pipe = t.pipe();
    let both = [pipe.r.to_ne_bytes(), pipe.w.to_ne_bytes()].concat();
    send(a, b"x", &mut entry(SCM_RIGHTS, &both)).is(1);
    sys!(close(pipe.w)).ok();
    let (flags, entries) = receive(b, 0, 0);
    expect_eq!((flags & MSG_CTRUNC, entries.len()), (MSG_CTRUNC, 0));
    // What was not taken is closed.
    expect_eq!(t.recv(pipe.r, 1), b"");
}

#[case(as_root, as_user)]
fn a_plain_read_drops_the_descriptors(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    let pipe = t.pipe();
    send(a, b"x", &mut entry(SCM_RIGHTS, &pipe.w.to_ne_bytes())).is(1);
    sys!(close(pipe.w)).ok();
    expect_eq!(t.poll(pipe.r, POLLIN, 0), 0);
    t.recv(b, 1);
    expect_eq!(t.poll(pipe.r, POLLIN, -1), POLLHUP);
}

/// Data with descriptors is a border: one read does not go past it.
#[case(as_root, as_user)]
fn a_read_stops_at_descriptors(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    let pipe = t.pipe();
    t.send(a, "before");
    send(a, b"with", &mut entry(SCM_RIGHTS, &pipe.r.to_ne_bytes())).is(4);
    send(a, b"other", &mut entry(SCM_RIGHTS, &pipe.w.to_ne_bytes())).is(5);
    expect_eq!(t.recv(b, 64), b"beforewith");
    expect_eq!(t.recv(b, 64), b"other");
}

#[case(as_root, as_user)]
fn bad_entries_are_refused(t: &mut Guest) {
    let (a, _b) = t.socketpair(SOCK_STREAM);
    send(a, b"x", &mut entry(SCM_RIGHTS, &99_i32.to_ne_bytes())).fails(EBADF);
    send(a, b"x", &mut entry(0x77, &[0; 4])).fails(EINVAL);
    let many = vec![0_u8; 254 * 4];
    send(a, b"x", &mut entry(SCM_RIGHTS, &many)).fails(EINVAL);
    let mut short = entry(SCM_RIGHTS, &[0; 4]);
    short[0] = 8;
    send(a, b"x", &mut short).fails(EINVAL);
}

#[case(as_root, as_user)]
fn a_socket_can_travel_through_itself(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_STREAM);
    send(a, b"x", &mut entry(SCM_RIGHTS, &b.to_ne_bytes())).is(1);
    sys!(close(b)).ok();
    sys!(close(a)).ok();
}

#[case(as_root, as_user)]
fn passcred_adds_who_sent_it(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_DGRAM);
    t.set_option(b, SOL_SOCKET, SO_PASSCRED, 1).ok();
    let child = t.fork(|| t.send(a, "x"));
    let (_, entries) = receive(b, 64, 0);
    expect_eq!(entries[0].0, SCM_CREDENTIALS);
    expect_eq!(ints(&entries[0].1), [child.pid, t.uid() as i32, sys!(getegid()).fd()]);
    child.done();
}

#[case(as_user)]
fn credentials_cannot_be_forged(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_DGRAM);
    t.set_option(b, SOL_SOCKET, SO_PASSCRED, 1).ok();
    let forged = |pid: i32, uid: u32| [pid.to_ne_bytes(), uid.to_ne_bytes(), t_gid().to_ne_bytes()].concat();
    let own = sys!(getpid()).fd();
    send(a, b"x", &mut entry(SCM_CREDENTIALS, &forged(own, 0))).fails(EPERM);
    send(a, b"x", &mut entry(SCM_CREDENTIALS, &forged(1, t.uid()))).fails(EPERM);
    send(a, b"x", &mut entry(SCM_CREDENTIALS, &forged(own, t.uid()))).is(1);
}

fn t_gid() -> i32 {
    sys!(getegid()).fd()
}

#[case(as_root)]
fn root_may_name_another_process(t: &mut Guest) {
    let (a, b) = t.socketpair(SOCK_DGRAM);
    t.set_option(b, SOL_SOCKET, SO_PASSCRED, 1).ok();
    let parent = sys!(getppid()).fd();
    let other = [parent.to_ne_bytes(), 1234_i32.to_ne_bytes(), 5678_i32.to_ne_bytes()].concat();
    send(a, b"x", &mut entry(SCM_CREDENTIALS, &other)).is(1);
    let (_, entries) = receive(b, 64, 0);
    expect_eq!(ints(&entries[0].1), [parent, 1234, 5678]);
}
