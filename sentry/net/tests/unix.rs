//! AF_UNIX.

mod common;

use common::*;
use fs_vfs::{File, Pseudo};
use sentry_net::*;
use sentry_uapi::Errno;
use sentry_uapi::errno::*;
use sentry_uapi::poll::*;
use sentry_uapi::signal::SIGPIPE;
use sentry_uapi::socket::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

type Test = Result<(), Errno>;

fn send_files(net: &Net, to: &File, bytes: &[u8], files: &[&Arc<File>]) -> Result<usize, Errno> {
    let rights = SendControl::Rights(files.iter().map(|f| (*f).clone()).collect());
    let mut msg = SendMsg { control: vec![rights], flags: DONTWAIT, ..SendMsg::default() };
    sendmsg(&net.ctx, to, &mut msg, &mut sentry_mm::IoSrc::from_slice(bytes))
}

fn files_in(received: &Received) -> Vec<Arc<File>> {
    let mut out = Vec::new();
    for c in &received.control {
        if let ControlMsg::Rights(files) = c {
            out.extend(files.iter().cloned());
        }
    }
    out
}

#[test]
fn bytes_of_a_stream_merge_and_end() -> Test {
    let net = Net::new();
    let (a, b) = net.pair(SOCK_STREAM)?;
    assert_eq!(net.recv_flags(&b, 10, DONTWAIT), Err(EAGAIN));
    assert_eq!(net.send(&a, b"hello ")?, 6);
    assert_eq!(net.send(&a, b"world")?, 5);
    assert_eq!(net.recv_flags(&b, 8, MsgFlags::PEEK)?, b"hello wo");
    assert_eq!(net.recv(&b, 100)?, b"hello world");
    shutdown(&a, 1)?;
    assert_eq!(net.recv(&b, 10)?, b"");
    assert_eq!(net.send_flags(&a, b"x", NOSIGNAL), Err(EPIPE));
    assert_eq!(net.ctx.last_signal.load(Ordering::Relaxed), 0);
    assert_eq!(net.send(&a, b"x"), Err(EPIPE));
    assert_eq!(net.ctx.last_signal.load(Ordering::Relaxed), SIGPIPE);
    Ok(())
}

#[test]
fn poll_of_a_stream() -> Test {
    let net = Net::new();
    let out = POLLOUT | POLLWRNORM | POLLWRBAND;
    let lonely = net.socket(AF_UNIX, SOCK_STREAM)?;
    assert_eq!(events(&lonely), POLLHUP | out);
    let (a, b) = net.pair(SOCK_STREAM)?;
    assert_eq!(events(&a), out);
    net.send(&b, b"x")?;
    assert_eq!(events(&a), out | POLLIN | POLLRDNORM);
    shutdown(&b, 1)?;
    assert_eq!(events(&a), out | POLLIN | POLLRDNORM | POLLRDHUP);
    drop(b);
    assert_eq!(events(&a), out | POLLIN | POLLRDNORM | POLLRDHUP | POLLHUP);
    Ok(())
}

#[test]
fn closing_with_unread_data_resets() -> Test {
    let net = Net::new();
    let (a, b) = net.pair(SOCK_STREAM)?;
    net.send(&a, b"unread")?;
    net.send(&b, b"last")?;
    drop(b);
    assert_ne!(events(&a) & POLLERR, 0);
    assert_eq!(net.recv(&a, 10)?, b"last");
    assert_eq!(net.recv(&a, 10), Err(ECONNRESET));
    assert_eq!(net.recv(&a, 10)?, b"");
    Ok(())
}

#[test]
fn a_full_stream_blocks_its_writer_until_it_is_drained() -> Test {
    let net = Net::new();
    let (a, b) = net.pair(SOCK_STREAM)?;
    let chunk = vec![7; 1 << 16];
    let mut total = 0;
    loop {
        match net.send_flags(&a, &chunk, DONTWAIT) {
            Ok(n) => total += n,
            Err(e) => {
                assert_eq!(e, EAGAIN);
                break;
            }
        }
    }
    assert_eq!(total, 212_992);
    assert_eq!(events(&a) & POLLOUT, 0);
    let reader = net.other_task(2);
    let (got, sent) = std::thread::scope(|s| {
        let t = s.spawn(|| {
            let mut got = 0;
            while let Ok(bytes) = reader.recv(&b, 30_000) {
                if bytes.is_empty() {
                    break;
                }
                assert!(bytes.iter().all(|b| *b == 7));
                got += bytes.len();
            }
            got
        });
        let sent = net.send(&a, &vec![7; 1 << 20]);
        let _ = shutdown(&a, 1);
        (t.join().unwrap_or(0), sent)
    });
    assert_eq!((got, sent), (total + (1 << 20), Ok(1 << 20)));
    Ok(())
}

#[test]
fn waitall_and_lowat_wait_for_more() -> Test {
    let net = Net::new();
    let (a, b) = net.pair(SOCK_STREAM)?;
    let writer = net.other_task(2);
    std::thread::scope(|s| {
        s.spawn(|| {
            for _ in 0..10 {
                std::thread::yield_now();
                let _ = writer.send(&a, b"0123456789");
            }
        });
        assert_eq!(net.recv_flags(&b, 100, MsgFlags::WAITALL).map(|v| v.len()), Ok(100));
    });
    Ok(())
}

#[test]
fn a_time_out_ends_a_wait() -> Test {
    let net = Net::new();
    let (a, _b) = net.pair(SOCK_STREAM)?;
    let mut tv = [0; 16];
    tv[8..].copy_from_slice(&20_000i64.to_ne_bytes());
    setsockopt(&net.ctx, &a, SOL_SOCKET, SO_RCVTIMEO_OLD, &tv)?;
    assert_eq!(getsockopt(&net.ctx, &a, SOL_SOCKET, SO_RCVTIMEO_OLD, 16), Ok(tv.to_vec()));
    assert_eq!(net.recv(&a, 1), Err(EAGAIN));
    tv[8..].copy_from_slice(&1_000_000i64.to_ne_bytes());
    assert_eq!(setsockopt(&net.ctx, &a, SOL_SOCKET, SO_RCVTIMEO_OLD, &tv), Err(EDOM));
    Ok(())
}

#[test]
fn files_travel_with_their_bytes() -> Test {
    let net = Net::new();
    let (a, b) = net.pair(SOCK_STREAM)?;
    let (x, _y) = net.pair(SOCK_STREAM)?;
    net.send(&a, b"before")?;
    send_files(&net, &a, b"with", &[&x])?;
    net.send(&a, b"after")?;
    let (bytes, peeked) = net.recv_msg(&b, 100, MsgFlags::PEEK)?;
    assert_eq!((bytes.as_slice(), files_in(&peeked).len()), (&b"beforewith"[..], 1));
    let (bytes, received) = net.recv_msg(&b, 100, MsgFlags::empty())?;
    assert_eq!(bytes, b"beforewith");
    assert!(Arc::ptr_eq(&files_in(&received)[0], &x));
    let (bytes, received) = net.recv_msg(&b, 100, MsgFlags::empty())?;
    assert_eq!((bytes.as_slice(), received.control.len()), (&b"after"[..], 0));
    // The first byte of a record takes its files along.
    send_files(&net, &a, b"with", &[&x])?;
    let (bytes, received) = net.recv_msg(&b, 1, MsgFlags::empty())?;
    assert_eq!((bytes.as_slice(), files_in(&received).len()), (&b"w"[..], 1));
    let (bytes, received) = net.recv_msg(&b, 100, MsgFlags::empty())?;
    assert_eq!((bytes.as_slice(), received.control.len()), (&b"ith"[..], 0));
    Ok(())
}

#[test]
fn senders_do_not_merge_for_a_reader_of_credentials() -> Test {
    let net = Net::new();
    let other = net.other_task(77);
    let (a, b) = net.pair(SOCK_STREAM)?;
    net.send(&a, b"early")?;
    setsockopt(&net.ctx, &b, SOL_SOCKET, SO_PASSCRED, &1i32.to_ne_bytes())?;
    net.send(&a, b"one")?;
    net.send(&a, b"one")?;
    other.send(&a, b"two")?;
    let creds = |r: &Received| match r.control.first() {
        Some(ControlMsg::Credentials(c)) => c.pid,
        _ => 0,
    };
    // What was sent before anybody asked is nobody's.
    let (bytes, received) = net.recv_msg(&b, 100, MsgFlags::empty())?;
    assert_eq!((bytes.as_slice(), creds(&received)), (&b"early"[..], 0));
    let ns = &net.ctx.cred.user_ns;
    assert!(matches!(received.control[..], [ControlMsg::Credentials(c)] if c.to_user(ns, 0).uid == 65534));
    let (bytes, received) = net.recv_msg(&b, 100, MsgFlags::empty())?;
    assert_eq!((bytes.as_slice(), creds(&received)), (&b"oneone"[..], 1));
    let (bytes, received) = net.recv_msg(&b, 100, MsgFlags::empty())?;
    assert_eq!((bytes.as_slice(), creds(&received)), (&b"two"[..], 77));
    Ok(())
}

#[test]
fn only_the_privileged_claim_to_be_others() -> Test {
    let net = Net::new();
    let user = net.other_user(1000);
    let (a, _b) = net.pair(SOCK_DGRAM)?;
    let claim = |net: &Net, pid, uid| {
        let ns = &net.ctx.cred.user_ns;
        let creds = ScmCreds::from_user(ns, Ucred { pid, uid, gid: 1000 }, pid)?;
        let control = vec![SendControl::Credentials(creds)];
        let mut msg = SendMsg { control, ..SendMsg::default() };
        sendmsg(&net.ctx, &a, &mut msg, &mut sentry_mm::IoSrc::from_slice(b"x"))
    };
    assert_eq!(claim(&user, 1000, 1000), Ok(1));
    assert_eq!(claim(&user, 1000, 0), Err(EPERM));
    assert_eq!(claim(&user, 1, 1000), Err(EPERM));
    assert_eq!(claim(&net, 1234, 5), Ok(1));
    Ok(())
}

#[test]
fn listen_connect_accept_by_abstract_name() -> Test {
    let net = Net::new();
    let server = net.socket(AF_UNIX, SOCK_STREAM)?;
    let name = abstract_name("server");
    let client = net.socket(AF_UNIX, SOCK_STREAM)?;
    assert_eq!(connect(&net.ctx, &client, &name), Err(ECONNREFUSED));
    assert_eq!(listen(&net.ctx, &server, 1), Err(EINVAL));
    bind(&net.ctx, &server, &name)?;
    assert_eq!(bind(&net.ctx, &server, &abstract_name("x")), Err(EINVAL));
    assert_eq!(bind(&net.ctx, &client, &name), Err(EADDRINUSE));
    assert_eq!(connect(&net.ctx, &client, &name), Err(ECONNREFUSED));
    listen(&net.ctx, &server, 5)?;
    set_nonblock(&server)?;
    assert_eq!(accept4(&net.ctx, &server, 0).err(), Some(EAGAIN));
    let user = net.other_user(1000);
    connect(&user.ctx, &client, &name)?;
    assert_eq!(connect(&net.ctx, &client, &name), Err(EISCONN));
    assert_ne!(events(&server) & POLLIN, 0);
    net.send(&client, b"early")?;
    let (conn, peer) = accept4(&net.ctx, &server, 0)?;
    assert_eq!(peer.as_bytes(), AF_UNIX.to_ne_bytes());
    assert_eq!(getsockname(&conn)?, name);
    assert_eq!(getpeername(&client)?, name);
    assert_eq!(net.recv(&conn, 10)?, b"early");
    let cred = getsockopt(&net.ctx, &conn, SOL_SOCKET, SO_PEERCRED, 100).unwrap_or_default();
    assert_eq!(cred, [1000u32, 1000, 1000].iter().flat_map(|v| v.to_ne_bytes()).collect::<Vec<u8>>());
    drop(server);
    let again = net.socket(AF_UNIX, SOCK_STREAM)?;
    bind(&net.ctx, &again, &name)?;
    Ok(())
}

#[test]
fn a_full_backlog_makes_connect_wait() -> Test {
    let net = Net::new();
    let server = net.socket(AF_UNIX, SOCK_STREAM)?;
    let name = abstract_name("busy");
    bind(&net.ctx, &server, &name)?;
    listen(&net.ctx, &server, 0)?;
    let first = net.socket(AF_UNIX, SOCK_STREAM)?;
    connect(&net.ctx, &first, &name)?;
    let second = net.socket(AF_UNIX, SOCK_STREAM)?;
    set_nonblock(&second)?;
    assert_eq!(connect(&net.ctx, &second, &name), Err(EAGAIN));
    let waiter = net.other_task(2);
    std::thread::scope(|s| {
        let t = s.spawn(|| {
            let third = waiter.socket(AF_UNIX, SOCK_STREAM)?;
            connect(&waiter.ctx, &third, &name)?;
            Ok::<_, Errno>(third)
        });
        std::thread::sleep(Duration::from_millis(20));
        assert!(accept4(&net.ctx, &server, 0).is_ok());
        assert!(accept4(&net.ctx, &server, 0).is_ok());
        assert!(t.join().is_ok_and(|r| r.is_ok()));
    });
    // A connection nobody accepts ends with the listener.
    let last = net.socket(AF_UNIX, SOCK_STREAM)?;
    connect(&net.ctx, &last, &name)?;
    drop(server);
    assert_eq!(net.recv(&last, 1), Err(ECONNRESET));
    Ok(())
}

#[test]
fn paths_lead_through_an_inode() -> Test {
    let net = Net::new();
    let inode = net.ctx.vfs.pseudo_inode(Pseudo::Socket, &net.ctx.cred);
    let server = net.socket(AF_UNIX, SOCK_DGRAM)?;
    let addr = unix_addr("/run/s\0junk");
    assert_eq!(unix_path(&server, &addr), Some(&b"/run/s"[..]));
    assert_eq!(unix_path(&server, &abstract_name("x")), None);
    let client = net.socket(AF_UNIX, SOCK_DGRAM)?;
    assert_eq!(connect_inode(&net.ctx, &client, &addr, &inode), Err(ECONNREFUSED));
    bind_inode(&net.ctx, &server, &addr, &inode)?;
    assert_eq!(getsockname(&server)?, unix_addr("/run/s\0"));
    connect_inode(&net.ctx, &client, &addr, &inode)?;
    net.send(&client, b"hi")?;
    let (bytes, received) = net.recv_msg(&server, 10, MsgFlags::empty())?;
    assert_eq!((bytes.as_slice(), received.addr), (&b"hi"[..], None));
    let stream = net.socket(AF_UNIX, SOCK_STREAM)?;
    assert_eq!(connect_inode(&net.ctx, &stream, &addr, &inode), Err(EPROTOTYPE));
    drop(server);
    assert_eq!(net.send(&client, b"hi"), Err(ECONNREFUSED));
    assert_eq!(net.send(&client, b"hi"), Err(ENOTCONN));
    Ok(())
}

#[test]
fn datagrams_keep_their_bounds_and_senders() -> Test {
    let net = Net::new();
    let server = net.socket(AF_UNIX, SOCK_DGRAM)?;
    let client = net.socket(AF_UNIX, SOCK_DGRAM)?;
    let name = abstract_name("dgram");
    bind(&net.ctx, &server, &name)?;
    bind(&net.ctx, &client, &SockAddr::from_bytes(&AF_UNIX.to_ne_bytes())?)?;
    assert_eq!(getsockname(&client)?.len(), 8);
    assert_eq!(net.send(&client, b"x"), Err(ENOTCONN));
    net.send_to(&client, b"hello", name)?;
    net.send_to(&client, b"", name)?;
    let (bytes, received) = net.recv_msg(&server, 3, MsgFlags::PEEK | MsgFlags::TRUNC)?;
    assert_eq!((bytes.as_slice(), received.count), (&b"hel"[..], 5));
    let (bytes, received) = net.recv_msg(&server, 3, MsgFlags::empty())?;
    assert_eq!((bytes.as_slice(), received.count, received.flags), (&b"hel"[..], 3, MsgFlags::TRUNC));
    assert_eq!(received.addr, Some(getsockname(&client)?));
    assert_eq!(net.recv(&server, 3)?, b"");
    for _ in 0..11 {
        net.send_to(&client, b"x", name)?;
    }
    assert_eq!(net.send_to(&client, b"x", name), Err(EAGAIN));
    connect(&net.ctx, &client, &name)?;
    assert_eq!(events(&client) & POLLOUT, 0);
    net.recv(&server, 1)?;
    assert_ne!(events(&client) & POLLOUT, 0);
    // Who has a peer hears from that one only.
    connect(&net.ctx, &server, &getsockname(&client)?)?;
    let third = net.socket(AF_UNIX, SOCK_DGRAM)?;
    assert_eq!(net.send_to(&third, b"x", name), Err(EPERM));
    assert_eq!(connect(&net.ctx, &third, &name), Err(EPERM));
    connect(&net.ctx, &server, &unspec())?;
    assert_eq!(net.send_to(&third, b"x", name), Ok(1));
    assert_eq!(net.send_to(&third, &vec![0; 212_992], name), Err(EMSGSIZE));
    Ok(())
}

#[test]
fn a_blocked_sender_of_datagrams_goes_on_when_one_is_taken() -> Test {
    let net = Net::new();
    let server = net.socket(AF_UNIX, SOCK_DGRAM)?;
    let client = net.socket(AF_UNIX, SOCK_DGRAM)?;
    bind(&net.ctx, &server, &abstract_name("slow"))?;
    connect(&net.ctx, &client, &abstract_name("slow"))?;
    let sender = net.other_task(2);
    std::thread::scope(|s| {
        let t = s.spawn(|| (0..1000u32).try_for_each(|i| sender.send(&client, &i.to_ne_bytes()).map(|_| ())));
        for i in 0..1000u32 {
            assert_eq!(net.recv(&server, 8), Ok(i.to_ne_bytes().to_vec()));
        }
        assert!(t.join().is_ok_and(|r| r.is_ok()));
    });
    Ok(())
}

#[test]
fn sequenced_packets_keep_bounds_and_end() -> Test {
    let net = Net::new();
    let (a, b) = net.pair(SOCK_SEQPACKET)?;
    net.send(&a, b"one")?;
    net.send(&a, b"two")?;
    assert_eq!(net.recv(&b, 10)?, b"one");
    drop(a);
    assert_eq!(net.recv(&b, 10)?, b"two");
    assert_eq!(net.recv(&b, 10)?, b"");
    assert_ne!(events(&b) & POLLHUP, 0);
    assert_eq!(net.send(&b, b"x"), Err(EPIPE));
    let lonely = net.socket(AF_UNIX, SOCK_SEQPACKET)?;
    assert_eq!(net.recv(&lonely, 10), Err(ENOTCONN));
    assert_eq!(net.send(&lonely, b"x"), Err(ENOTCONN));
    Ok(())
}

#[test]
fn sockets_that_only_hold_each_other_are_collected() -> Test {
    let net = Net::new();
    let watch = {
        let (a, b) = net.pair(SOCK_STREAM)?;
        let (c, d) = net.pair(SOCK_DGRAM)?;
        let (outside, witness) = net.pair(SOCK_STREAM)?;
        // a lies in its own queue by way of b, c in that of a; what else is there goes with them.
        send_files(&net, &b, b"x", &[&a, &c])?;
        send_files(&net, &d, b"x", &[&a, &outside])?;
        drop(outside);
        assert_eq!(events(&witness) & POLLHUP, 0);
        drop((a, b, c, d));
        witness
    };
    // A release of any local socket is the occasion.
    drop(net.pair(SOCK_STREAM)?);
    assert_ne!(events(&watch) & POLLHUP, 0);
    Ok(())
}

#[test]
fn reachable_sockets_in_flight_survive_the_collector() -> Test {
    let net = Net::new();
    let (a, b) = net.pair(SOCK_STREAM)?;
    let (c, d) = net.pair(SOCK_STREAM)?;
    send_files(&net, &a, b"x", &[&c])?;
    send_files(&net, &d, b"inner", &[&c])?;
    drop(c);
    drop(net.pair(SOCK_STREAM)?);
    let (_, received) = net.recv_msg(&b, 1, MsgFlags::empty())?;
    let c = files_in(&received).remove(0);
    assert_eq!(net.recv(&c, 10)?, b"inner");
    Ok(())
}

#[test]
fn a_long_chain_of_sockets_in_queues_falls_without_a_deep_stack() -> Test {
    let net = Net::new();
    let (mut head, mut tail) = net.pair(SOCK_STREAM)?;
    for _ in 0..20_000 {
        let (a, b) = net.pair(SOCK_STREAM)?;
        send_files(&net, &a, b"x", &[&head, &tail])?;
        (head, tail) = (a, b);
    }
    drop((head, tail));
    Ok(())
}

#[test]
fn files_in_flight_are_limited_for_users() -> Test {
    let net = Net::new();
    let (a, b) = net.pair(SOCK_DGRAM)?;
    let (x, _) = net.pair(SOCK_STREAM)?;
    assert_eq!(send_files(&net, &a, b"x", &vec![&x; SCM_MAX_FD]), Ok(1));
    assert_eq!(send_files(&net, &a, b"x", &vec![&x; SCM_MAX_FD + 1]), Err(EINVAL));
    let user = net.other_user(1000);
    user.ctx.nofile.store(3, Ordering::Relaxed);
    assert_eq!(send_files(&user, &a, b"x", &[&x, &x, &x, &x]), Ok(1));
    assert_eq!(send_files(&user, &a, b"x", &[&x]), Err(ETOOMANYREFS));
    drop((a, b));
    assert_eq!(Arc::strong_count(&x), 1);
    Ok(())
}

#[test]
fn files_of_a_message_that_is_refused_come_back() -> Test {
    let net = Net::new();
    let (x, _y) = net.pair(SOCK_STREAM)?;
    let (a, b) = net.pair(SOCK_DGRAM)?;
    shutdown(&b, 0)?;
    assert_eq!(send_files(&net, &a, b"x", &[&x]), Err(EPIPE));
    drop(b);
    assert_eq!(send_files(&net, &a, b"x", &[&x]), Err(ECONNREFUSED));
    let (a, b) = net.pair(SOCK_STREAM)?;
    drop(b);
    assert_eq!(send_files(&net, &a, b"x", &[&x]), Err(EPIPE));
    assert_eq!(Arc::strong_count(&x), 1);
    Ok(())
}

#[test]
fn ping_pong_between_threads() -> Test {
    let net = Net::new();
    let (a, b) = net.pair(SOCK_STREAM)?;
    let other = net.other_task(2);
    std::thread::scope(|s| {
        s.spawn(|| {
            for _ in 0..2000 {
                let Ok(bytes) = other.recv(&b, 16) else { return };
                let _ = other.send(&b, &bytes);
            }
        });
        for i in 0..2000u64 {
            assert_eq!(net.send(&a, &i.to_ne_bytes()), Ok(8));
            assert_eq!(net.recv(&a, 8), Ok(i.to_ne_bytes().to_vec()));
        }
    });
    Ok(())
}

#[test]
fn racing_ends_of_many_streams() -> Test {
    let net = Net::new();
    let other = net.other_task(2);
    for _ in 0..300 {
        let (a, b) = net.pair(SOCK_STREAM)?;
        std::thread::scope(|s| {
            let other = &other;
            s.spawn(move || {
                let _ = other.send_flags(&b, b"hello", NOSIGNAL);
                let _ = send_files(other, &b, b"files", &[&b]);
                drop(b);
            });
            let mut got = Vec::new();
            loop {
                match net.recv(&a, 3) {
                    Ok(bytes) if bytes.is_empty() => break,
                    Ok(bytes) => got.extend(bytes),
                    Err(e) => assert_eq!(e, ECONNRESET),
                }
            }
            assert_eq!(got, b"hellofiles");
        });
    }
    Ok(())
}

#[test]
fn peek_offset_moves_along() -> Test {
    let net = Net::new();
    for ty in [SOCK_STREAM, SOCK_DGRAM] {
        let (a, b) = net.pair(ty)?;
        setsockopt(&net.ctx, &b, SOL_SOCKET, SO_PEEK_OFF, &0i32.to_ne_bytes())?;
        net.send(&a, b"abc")?;
        net.send(&a, b"def")?;
        assert_eq!(net.recv_flags(&b, 2, MsgFlags::PEEK)?, b"ab");
        assert_eq!(net.recv_flags(&b, 1, MsgFlags::PEEK)?, b"c");
        assert_eq!(net.recv_flags(&b, 3, MsgFlags::PEEK)?, b"def");
        assert_eq!(net.recv_flags(&b, 3, MsgFlags::PEEK | DONTWAIT), Err(EAGAIN));
        assert_eq!(net.recv(&b, 3)?, b"abc");
        assert_eq!(net.recv(&b, 3)?, b"def");
    }
    Ok(())
}

#[test]
fn a_signal_restarts_a_wait_without_a_time_out_only() -> Test {
    let net = Net::new();
    let ctx = Interrupted(&net.ctx);
    let (a, b) = net.pair(SOCK_STREAM)?;
    let mut buf = [0; 8];
    let mut recv =
        |flags| recvmsg(&ctx, &b, &mut sentry_mm::IoDst::from_slice(&mut buf), flags).map(|r| r.count);
    assert_eq!(recv(MsgFlags::empty()), Err(ERESTARTSYS));
    let mut tv = [0; 16];
    tv[0] = 100;
    setsockopt(&net.ctx, &b, SOL_SOCKET, SO_RCVTIMEO_OLD, &tv)?;
    assert_eq!(recv(MsgFlags::empty()), Err(EINTR));
    // What was transferred before counts.
    net.send(&a, b"abc")?;
    assert_eq!(recv(MsgFlags::WAITALL), Ok(3));
    let bytes = vec![0; 1 << 20];
    let send = || sendmsg(&ctx, &a, &mut SendMsg::default(), &mut sentry_mm::IoSrc::from_slice(&bytes));
    assert_eq!((send(), send()), (Ok(212_992), Err(ERESTARTSYS)));
    Ok(())
}

#[test]
fn parcels_of_files_fill_a_buffer_of_their_own_accord() -> Test {
    let net = Net::new();
    let (a, b) = net.pair(SOCK_STREAM)?;
    let (x, _y) = net.pair(SOCK_DGRAM)?;
    let mut sent = 0;
    while send_files(&net, &a, b"x", &[&x]).is_ok() {
        sent += 1;
    }
    assert!((200..400).contains(&sent), "{sent}");
    assert_eq!(events(&a) & POLLOUT, 0);
    for _ in 0..sent {
        assert_eq!(net.recv(&b, 10)?, b"x");
    }
    assert_ne!(events(&a) & POLLOUT, 0);
    assert_eq!(Arc::strong_count(&x), 1);
    Ok(())
}
