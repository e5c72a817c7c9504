//! AF_INET and AF_INET6 over the loopback.

mod common;

use common::*;
use fs_vfs::File;
use sentry_net::*;
use sentry_uapi::Errno;
use sentry_uapi::errno::*;
use sentry_uapi::in_::*;
use sentry_uapi::in6::*;
use sentry_uapi::poll::*;
use sentry_uapi::socket::*;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

type Test = Result<(), Errno>;

const LO: [u8; 4] = [127, 0, 0, 1];
const ON: [u8; 4] = 1i32.to_ne_bytes();

fn listener(net: &Net, backlog: i32) -> Result<(Arc<File>, SockAddr), Errno> {
    let server = net.socket(AF_INET, SOCK_STREAM)?;
    bind(&net.ctx, &server, &v4(LO, 0))?;
    listen(&net.ctx, &server, backlog)?;
    let addr = getsockname(&server)?;
    Ok((server, addr))
}

fn connected(net: &Net) -> Result<(Arc<File>, Arc<File>), Errno> {
    let (server, addr) = listener(net, 5)?;
    let client = net.socket(AF_INET, SOCK_STREAM)?;
    connect(&net.ctx, &client, &addr)?;
    Ok((client, accept4(&net.ctx, &server, 0)?.0))
}

fn so_error(net: &Net, file: &File) -> i32 {
    let value = getsockopt(&net.ctx, file, SOL_SOCKET, SO_ERROR, 4).unwrap_or_default();
    i32::from_ne_bytes(value.try_into().unwrap_or_default())
}

#[test]
fn tcp_connects_and_talks() -> Test {
    let net = Net::new();
    let (server, addr) = listener(&net, 5)?;
    assert!((32768..=60999).contains(&port(&addr)));
    let client = net.socket(AF_INET, SOCK_STREAM)?;
    assert_eq!(getsockname(&client)?, v4([0; 4], 0));
    assert_eq!(getpeername(&client), Err(ENOTCONN));
    connect(&net.ctx, &client, &addr)?;
    let (conn, peer) = accept4(&net.ctx, &server, 0)?;
    assert_eq!(peer, getsockname(&client)?);
    assert_eq!(getpeername(&client)?, addr);
    assert_eq!(getsockname(&conn)?, addr);
    assert_eq!(connect(&net.ctx, &client, &addr), Err(EISCONN));
    net.send(&client, b"ping")?;
    assert_eq!(net.recv(&conn, 10)?, b"ping");
    net.send(&conn, b"pong")?;
    shutdown(&conn, 1)?;
    assert_eq!(events(&client), POLLIN | POLLRDNORM | POLLRDHUP | POLLOUT | POLLWRNORM);
    assert_eq!(net.recv(&client, 10)?, b"pong");
    assert_eq!(net.recv(&client, 10)?, b"");
    net.send(&client, b"still")?;
    assert_eq!(net.recv(&conn, 10)?, b"still");
    shutdown(&client, 1)?;
    assert_eq!(net.recv(&conn, 10)?, b"");
    assert_ne!(events(&conn) & POLLHUP, 0);
    assert_eq!(net.send_flags(&conn, b"x", NOSIGNAL), Err(EPIPE));
    Ok(())
}

#[test]
fn tcp_refuses_and_resets() -> Test {
    let net = Net::new();
    let client = net.socket(AF_INET, SOCK_STREAM)?;
    assert_eq!(events(&client), POLLHUP | POLLOUT | POLLWRNORM);
    assert_eq!(net.recv(&client, 1), Err(ENOTCONN));
    assert_eq!(net.send_flags(&client, b"x", NOSIGNAL), Err(EPIPE));
    assert_eq!(connect(&net.ctx, &client, &v4(LO, 9)), Err(ECONNREFUSED));
    assert_eq!(connect(&net.ctx, &client, &v4([8, 8, 8, 8], 9)), Err(ENETUNREACH));
    set_nonblock(&client)?;
    assert_eq!(connect(&net.ctx, &client, &v4(LO, 9)), Err(EINPROGRESS));
    assert_ne!(events(&client) & (POLLERR | POLLOUT), 0);
    assert_eq!(so_error(&net, &client), ECONNREFUSED.raw());
    assert_eq!(connect(&net.ctx, &client, &v4(LO, 9)), Err(ECONNABORTED));

    // Data that nobody read comes back as a reset, after what was sent before.
    let (a, b) = connected(&net)?;
    net.send(&a, b"unread")?;
    net.send(&b, b"last")?;
    drop(b);
    assert_eq!(net.recv(&a, 10)?, b"last");
    assert_eq!(net.recv(&a, 10), Err(ECONNRESET));
    assert_eq!(net.recv(&a, 10)?, b"");

    // So does a close that does not linger.
    let (a, b) = connected(&net)?;
    setsockopt(&net.ctx, &b, SOL_SOCKET, SO_LINGER, &[1, 0, 0, 0, 0, 0, 0, 0])?;
    drop(b);
    assert_eq!(net.send_flags(&a, b"x", NOSIGNAL), Err(ECONNRESET));
    assert_eq!(net.send_flags(&a, b"x", NOSIGNAL), Err(EPIPE));

    // After an orderly close the first send is answered with a reset, the second one fails.
    let (a, b) = connected(&net)?;
    drop(b);
    assert_eq!(net.recv(&a, 1)?, b"");
    assert_eq!(net.send_flags(&a, b"x", NOSIGNAL), Ok(1));
    assert_eq!(net.send_flags(&a, b"x", NOSIGNAL), Err(EPIPE));
    Ok(())
}

#[test]
fn tcp_connect_without_waiting() -> Test {
    let net = Net::new();
    let (server, addr) = listener(&net, 5)?;
    let client = net.socket(AF_INET, SOCK_STREAM)?;
    set_nonblock(&client)?;
    assert_eq!(connect(&net.ctx, &client, &addr), Err(EINPROGRESS));
    assert_eq!(events(&client), POLLOUT | POLLWRNORM);
    assert_eq!(so_error(&net, &client), 0);
    assert_eq!(connect(&net.ctx, &client, &addr), Ok(()));
    assert_eq!(connect(&net.ctx, &client, &addr), Err(EISCONN));
    set_nonblock(&server)?;
    assert!(accept4(&net.ctx, &server, 0).is_ok());
    assert_eq!(accept4(&net.ctx, &server, 0).err(), Some(EAGAIN));
    connect(&net.ctx, &client, &unspec())?;
    assert_eq!(getpeername(&client), Err(ENOTCONN));
    assert_eq!(events(&client), POLLERR | POLLHUP | POLLOUT | POLLWRNORM);
    Ok(())
}

#[test]
fn a_dissolved_connection_leaves_the_address_asked_for() -> Test {
    let net = Net::new();
    let (server, addr) = listener(&net, 5)?;
    let client = net.socket(AF_INET, SOCK_STREAM)?;
    bind(&net.ctx, &client, &v4([127, 0, 0, 7], 0))?;
    let name = getsockname(&client)?;
    connect(&net.ctx, &client, &addr)?;
    let (conn, _) = accept4(&net.ctx, &server, 0)?;
    connect(&net.ctx, &client, &unspec())?;
    assert_eq!(net.recv(&conn, 1), Err(ECONNRESET));
    assert_eq!(getsockname(&client)?, name);
    connect(&net.ctx, &client, &addr)?;
    assert_eq!(getsockname(&client)?.as_bytes()[4..8], [127, 0, 0, 7]);
    net.send(&client, b"again")?;
    assert_eq!(net.recv(&accept4(&net.ctx, &server, 0)?.0, 10)?, b"again");
    // A listener dissolves, too, and may listen again.
    connect(&net.ctx, &server, &unspec())?;
    assert_eq!(events(&server), POLLHUP | POLLOUT | POLLWRNORM);
    assert_eq!(accept4(&net.ctx, &server, 0).err(), Some(EINVAL));
    listen(&net.ctx, &server, 1)?;
    assert_eq!(events(&server), 0);
    Ok(())
}

#[test]
fn a_full_queue_keeps_connects_waiting() -> Test {
    let net = Net::new();
    let (server, addr) = listener(&net, 0)?;
    let clients: Vec<_> = (0..3).map(|_| net.socket(AF_INET, SOCK_STREAM)).collect::<Result<_, _>>()?;
    for c in &clients {
        set_nonblock(c)?;
        assert_eq!(connect(&net.ctx, c, &addr), Err(EINPROGRESS));
    }
    assert_eq!(events(&clients[1]), 0);
    assert_eq!(connect(&net.ctx, &clients[1], &addr), Err(EALREADY));
    let (_, first) = accept4(&net.ctx, &server, 0)?;
    assert_eq!(first, getsockname(&clients[0])?);
    assert_ne!(events(&clients[1]) & POLLOUT, 0);
    drop(server);
    assert_eq!(so_error(&net, &clients[2]), ECONNREFUSED.raw());
    assert_eq!(so_error(&net, &clients[1]), ECONNRESET.raw());
    Ok(())
}

#[test]
fn a_blocking_accept_and_connect_meet() -> Test {
    let net = Net::new();
    let (server, addr) = listener(&net, 0)?;
    let other = net.other_task(2);
    std::thread::scope(|s| {
        let t = s.spawn(|| {
            for _ in 0..50 {
                let client = other.socket(AF_INET, SOCK_STREAM)?;
                connect(&other.ctx, &client, &addr)?;
                other.send(&client, b"hello")?;
                assert_eq!(other.recv(&client, 10)?, b"hello");
            }
            Ok::<_, Errno>(())
        });
        for _ in 0..50 {
            let Ok((conn, _)) = accept4(&net.ctx, &server, 0) else { unreachable!() };
            let bytes = net.recv(&conn, 10).unwrap_or_default();
            assert_eq!(net.send(&conn, &bytes), Ok(5));
        }
        assert!(t.join().is_ok_and(|r| r.is_ok()));
    });
    Ok(())
}

#[test]
fn tcp_moves_bulk_in_order() -> Test {
    let net = Net::new();
    let (a, b) = connected(&net)?;
    let data: Vec<u8> = (0..3_000_000u32).map(|n| u8::try_from(n % 253).unwrap_or(0)).collect();
    let other = net.other_task(2);
    let got = std::thread::scope(|s| {
        let t = s.spawn(|| other.recv_flags(&b, data.len(), MsgFlags::WAITALL));
        assert_eq!(net.send(&a, &data), Ok(data.len()));
        t.join().unwrap_or(Err(EIO))
    });
    assert!(got? == data);
    Ok(())
}

#[test]
fn a_peek_at_everything_waits_for_it() -> Test {
    let net = Net::new();
    let (a, b) = connected(&net)?;
    let other = net.other_task(2);
    let flags = MsgFlags::PEEK | MsgFlags::WAITALL;
    std::thread::scope(|s| {
        s.spawn(|| {
            for byte in b"0123456789" {
                std::thread::sleep(Duration::from_millis(1));
                let _ = other.send(&a, &[*byte]);
            }
        });
        assert_eq!(net.recv_flags(&b, 10, flags), Ok(b"0123456789".to_vec()));
    });
    shutdown(&a, 1)?;
    assert_eq!(net.recv_flags(&b, 20, flags)?, b"0123456789");
    Ok(())
}

#[test]
fn a_connect_that_gave_up_is_not_let_in_later() -> Test {
    let net = Net::new();
    let (busy, addr) = listener(&net, 0)?;
    let (free, elsewhere) = listener(&net, 5)?;
    let first = net.socket(AF_INET, SOCK_STREAM)?;
    connect(&net.ctx, &first, &addr)?;
    let second = net.socket(AF_INET, SOCK_STREAM)?;
    set_nonblock(&second)?;
    for _ in 0..10 {
        assert_eq!(connect(&net.ctx, &second, &addr), Err(EINPROGRESS));
        connect(&net.ctx, &second, &unspec())?;
    }
    assert_eq!(connect(&net.ctx, &second, &elsewhere), Err(EINPROGRESS));
    set_nonblock(&busy)?;
    assert!(accept4(&net.ctx, &busy, 0).is_ok());
    assert_eq!(accept4(&net.ctx, &busy, 0).err(), Some(EAGAIN));
    assert_eq!(accept4(&net.ctx, &free, 0)?.1, getsockname(&second)?);
    Ok(())
}

#[test]
fn urgent_data_is_apart() -> Test {
    let net = Net::new();
    let (a, b) = connected(&net)?;
    net.send(&a, b"abc")?;
    net.send_flags(&a, b"!", MsgFlags::OOB)?;
    net.send(&a, b"def")?;
    assert_ne!(events(&b) & POLLPRI, 0);
    assert_eq!(net.recv(&b, 100)?, b"abc");
    assert_eq!(events(&b) & (POLLPRI | POLLIN), POLLPRI | POLLIN);
    assert_eq!(net.recv_flags(&b, 1, MsgFlags::OOB)?, b"!");
    assert_eq!(events(&b) & (POLLPRI | POLLIN), POLLIN);
    assert_eq!(net.recv_flags(&b, 1, MsgFlags::OOB), Err(EINVAL));
    assert_eq!(net.recv(&b, 100)?, b"def");
    Ok(())
}

#[test]
fn bind_checks_as_linux_does() -> Test {
    let net = Net::new();
    let s = || net.socket(AF_INET, SOCK_STREAM);
    let a = s()?;
    assert_eq!(bind(&net.ctx, &a, &SockAddr::from_bytes(&[2, 0, 0, 0])?), Err(EINVAL));
    assert_eq!(bind(&net.ctx, &a, &v6(Ipv6Addr::LOCALHOST, 0)), Err(EAFNOSUPPORT));
    assert_eq!(bind(&net.ctx, &a, &v4([10, 0, 0, 1], 0)), Err(EADDRNOTAVAIL));
    let user = net.other_user(1000);
    assert_eq!(bind(&user.ctx, &a, &v4(LO, 80)), Err(EACCES));
    bind(&net.ctx, &a, &v4(LO, 80))?;
    assert_eq!(bind(&net.ctx, &a, &v4(LO, 81)), Err(EINVAL));
    let b = s()?;
    assert_eq!(bind(&net.ctx, &b, &v4([0; 4], 80)), Err(EADDRINUSE));
    drop(a);
    bind(&net.ctx, &b, &v4([0; 4], 80))?;
    // A port whose listener went stays taken while its connections last, unless SO_REUSEADDR is set on both.
    listen(&net.ctx, &b, 1)?;
    let client = s()?;
    connect(&net.ctx, &client, &v4(LO, 80))?;
    let (conn, _) = accept4(&net.ctx, &b, 0)?;
    drop(b);
    let c = s()?;
    assert_eq!(bind(&net.ctx, &c, &v4([0; 4], 80)), Err(EADDRINUSE));
    drop(conn);
    bind(&net.ctx, &c, &v4([0; 4], 80))?;
    Ok(())
}

#[test]
fn reuseport_shares_among_listeners_of_one_user() -> Test {
    let net = Net::new();
    let make = || {
        let s = net.socket(AF_INET, SOCK_STREAM)?;
        setsockopt(&net.ctx, &s, SOL_SOCKET, SO_REUSEPORT, &ON)?;
        bind(&net.ctx, &s, &v4(LO, 8080))?;
        listen(&net.ctx, &s, 50)?;
        set_nonblock(&s)?;
        Ok::<_, Errno>(s)
    };
    let (a, b) = (make()?, make()?);
    let mut clients = Vec::new();
    for _ in 0..40 {
        let c = net.socket(AF_INET, SOCK_STREAM)?;
        connect(&net.ctx, &c, &v4(LO, 8080))?;
        clients.push(c);
    }
    let count = |s: &File| std::iter::from_fn(|| accept4(&net.ctx, s, 0).ok()).count();
    let (na, nb) = (count(&a), count(&b));
    assert_eq!(na + nb, 40);
    assert!(na > 0 && nb > 0);
    Ok(())
}

#[test]
fn dual_stack_sockets_take_both() -> Test {
    let net = Net::new();
    let server = net.socket(AF_INET6, SOCK_STREAM)?;
    bind(&net.ctx, &server, &v6(Ipv6Addr::UNSPECIFIED, 7000))?;
    assert_eq!(setsockopt(&net.ctx, &server, SOL_IPV6, IPV6_V6ONLY, &ON), Err(EINVAL));
    listen(&net.ctx, &server, 5)?;
    let c4 = net.socket(AF_INET, SOCK_STREAM)?;
    connect(&net.ctx, &c4, &v4(LO, 7000))?;
    let (conn, peer) = accept4(&net.ctx, &server, 0)?;
    let mapped = |ip: [u8; 4]| std::net::Ipv4Addr::from(ip).to_ipv6_mapped();
    assert_eq!(peer, v6(mapped(LO), port(&getsockname(&c4)?)));
    assert_eq!(getsockname(&conn)?, v6(mapped(LO), 7000));
    let c6 = net.socket(AF_INET6, SOCK_STREAM)?;
    connect(&net.ctx, &c6, &v6(Ipv6Addr::LOCALHOST, 7000))?;
    assert_eq!(getsockname(&accept4(&net.ctx, &server, 0)?.0)?, v6(Ipv6Addr::LOCALHOST, 7000));
    let only6 = net.socket(AF_INET6, SOCK_STREAM)?;
    setsockopt(&net.ctx, &only6, SOL_IPV6, IPV6_V6ONLY, &ON)?;
    assert_eq!(connect(&net.ctx, &only6, &v6(mapped(LO), 7000)), Err(ENETUNREACH));
    let v4_too = net.socket(AF_INET, SOCK_STREAM)?;
    assert_eq!(bind(&net.ctx, &v4_too, &v4([0; 4], 7000)), Err(EADDRINUSE));
    Ok(())
}

#[test]
fn udp_delivers_filters_and_reports() -> Test {
    let net = Net::new();
    let server = net.socket(AF_INET, SOCK_DGRAM)?;
    bind(&net.ctx, &server, &v4([0; 4], 5000))?;
    let client = net.socket(AF_INET, SOCK_DGRAM)?;
    assert_eq!(net.send(&client, b"x"), Err(EDESTADDRREQ));
    assert_eq!(net.send_to(&client, b"x", v4(LO, 0)), Err(EINVAL));
    assert_eq!(net.send_to(&client, b"x", v4([1, 2, 3, 4], 5)), Err(ENETUNREACH));
    assert_eq!(net.send_to(&client, b"x", v4([127, 255, 255, 255], 5)), Err(EACCES));
    assert_eq!(net.send_to(&client, &vec![0; 65508], v4(LO, 5000)), Err(EMSGSIZE));
    net.send_to(&client, b"hello", v4(LO, 5000))?;
    let (bytes, received) = net.recv_msg(&server, 3, MsgFlags::TRUNC)?;
    assert_eq!((bytes.as_slice(), received.count, received.flags), (&b"hel"[..], 5, MsgFlags::TRUNC));
    let from = received.addr.ok_or(EINVAL)?;
    assert_eq!((from, port(&getsockname(&client)?)), (v4(LO, port(&from)), port(&from)));
    // Unconnected, a datagram to nobody is lost in silence; connected, the next call hears of it.
    net.send_to(&client, b"x", v4(LO, 5001))?;
    assert_eq!(net.recv_flags(&client, 1, DONTWAIT), Err(EAGAIN));
    connect(&net.ctx, &client, &v4(LO, 5001))?;
    assert_eq!(getsockname(&client)?, v4(LO, port(&from)));
    net.send(&client, b"x")?;
    assert_ne!(events(&client) & POLLERR, 0);
    assert_eq!(net.recv(&client, 1), Err(ECONNREFUSED));
    // A connected socket takes from its peer only.
    net.send_to(&server, b"stranger", v4(LO, port(&from)))?;
    assert_eq!(net.recv_flags(&client, 10, DONTWAIT), Err(EAGAIN));
    connect(&net.ctx, &client, &v4(LO, 5000))?;
    net.send_to(&server, b"friend", v4(LO, port(&from)))?;
    assert_eq!(net.recv(&client, 10)?, b"friend");
    connect(&net.ctx, &client, &unspec())?;
    assert_eq!(getpeername(&client), Err(ENOTCONN));
    assert_eq!(getsockname(&client)?, v4([0; 4], 0));
    Ok(())
}

#[test]
fn udp_over_ipv6_and_ancillary_data() -> Test {
    let net = Net::new();
    let server = net.socket(AF_INET6, SOCK_DGRAM)?;
    bind(&net.ctx, &server, &v6(Ipv6Addr::UNSPECIFIED, 5000))?;
    setsockopt(&net.ctx, &server, SOL_IPV6, IPV6_RECVPKTINFO, &ON)?;
    let client = net.socket(AF_INET, SOCK_DGRAM)?;
    net.send_to(&client, b"four", v4([127, 0, 0, 9], 5000))?;
    let (_, received) = net.recv_msg(&server, 10, MsgFlags::empty())?;
    let Some(ControlMsg::Other { level, ty, data }) = received.control.first() else { return Err(EIO) };
    assert_eq!((*level, *ty), (SOL_IPV6, IPV6_PKTINFO));
    assert_eq!(data[..16], std::net::Ipv4Addr::new(127, 0, 0, 9).to_ipv6_mapped().octets());
    net.send_to(&server, b"back", received.addr.ok_or(EIO)?)?;
    assert_eq!(net.recv(&client, 10)?, b"back");
    assert_eq!(getsockopt(&net.ctx, &client, SOL_IP, IP_TTL, 4), Ok(64i32.to_ne_bytes().to_vec()));
    assert_eq!(setsockopt(&net.ctx, &client, SOL_IP, IP_TTL, &[0; 4]), Err(EINVAL));
    assert_eq!(setsockopt(&net.ctx, &client, SOL_IP, 999, &[0; 4]), Err(ENOPROTOOPT));
    Ok(())
}

#[test]
fn multicast_over_the_loopback() -> Test {
    let net = Net::new();
    let group = [224, 0, 0, 251];
    let mreq: Vec<u8> = [group, LO].concat();
    let server = net.socket(AF_INET, SOCK_DGRAM)?;
    bind(&net.ctx, &server, &v4([0; 4], 5353))?;
    let client = net.socket(AF_INET, SOCK_DGRAM)?;
    assert_eq!(net.send_to(&client, b"x", v4(group, 5353)), Err(ENETUNREACH));
    setsockopt(&net.ctx, &client, SOL_IP, IP_MULTICAST_IF, &LO)?;
    net.send_to(&client, b"lost", v4(group, 5353))?;
    setsockopt(&net.ctx, &server, SOL_IP, IP_ADD_MEMBERSHIP, &mreq)?;
    assert_eq!(setsockopt(&net.ctx, &server, SOL_IP, IP_ADD_MEMBERSHIP, &mreq), Err(EADDRINUSE));
    net.send_to(&client, b"found", v4(group, 5353))?;
    assert_eq!(net.recv(&server, 10)?, b"found");
    Ok(())
}

#[test]
fn creating_sockets_fails_as_on_linux() {
    let net = Net::new();
    let user = net.other_user(1000);
    let make =
        |net: &Net, d: u16, t: u32, p| socket(&net.ctx, &net.ns, i32::from(d), t.cast_signed(), p).err();
    assert_eq!(make(&net, AF_INET, SOCK_STREAM, IPPROTO_UDP), Some(EPROTONOSUPPORT));
    assert_eq!(make(&net, AF_INET, SOCK_SEQPACKET, 0), Some(ESOCKTNOSUPPORT));
    assert_eq!(make(&net, AF_INET, SOCK_DGRAM, IPPROTO_ICMP), Some(EACCES));
    assert_eq!(make(&user, AF_INET, SOCK_RAW, IPPROTO_ICMP), Some(EPERM));
    assert_eq!(make(&user, AF_INET, SOCK_RAW, 0), Some(EPROTONOSUPPORT));
    assert_eq!(make(&user, AF_PACKET, SOCK_RAW, 0), Some(EPERM));
    assert_eq!(make(&net, AF_UNIX, SOCK_STREAM, 6), Some(EPROTONOSUPPORT));
    assert_eq!(make(&net, AF_UNIX, SOCK_RDM, 0), Some(ESOCKTNOSUPPORT));
    assert_eq!(make(&net, 12, SOCK_STREAM, 0), Some(EAFNOSUPPORT));
    assert_eq!(make(&net, 2, 15, 0), Some(EINVAL));
    assert_eq!(make(&net, 2, 1 << 5, 0), Some(EINVAL));
    assert_eq!(socketpair(&net.ctx, &net.ns, 2, 1, 0).err(), Some(EOPNOTSUPP));
}

#[test]
fn a_new_namespace_has_its_own_ports_and_a_loopback_that_is_down() -> Test {
    let net = Net::new();
    let (_server, addr) = listener(&net, 1)?;
    let inner = Net {
        ctx: net.ctx.sibling(5, (*net.ctx.cred).clone()),
        ns: net.ns.copy_net_ns(&net.ns.user_ns, sentry_auth::Kuid::GLOBAL_ROOT)?,
    };
    let client = inner.socket(AF_INET, SOCK_STREAM)?;
    assert_eq!(connect(&inner.ctx, &client, &addr), Err(ENETUNREACH));
    inner.ns.lo.set_up(true);
    assert_eq!(connect(&inner.ctx, &client, &addr), Err(ECONNREFUSED));
    Ok(())
}

#[test]
fn closing_the_listener_wakes_nobody_but_shutdown_does() -> Test {
    let net = Net::new();
    let (server, _) = listener(&net, 1)?;
    let other = net.other_task(2);
    std::thread::scope(|s| {
        let t = s.spawn(|| accept4(&other.ctx, &server, 0).err());
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(shutdown(&server, 0), Ok(()));
        assert_eq!(t.join().ok().flatten(), Some(EINVAL));
    });
    Ok(())
}

#[test]
fn options_of_unknown_levels_and_addresses_of_the_wrong_kind() -> Test {
    let net = Net::new();
    let s = net.socket(AF_INET, SOCK_STREAM)?;
    let get = |s: &File, level, name| getsockopt(&net.ctx, s, level, name, 4).map_err(|e| e.errno);
    let set = |s: &File, level, name| setsockopt(&net.ctx, s, level, name, &ON);
    assert_eq!((get(&s, 99, 1), set(&s, 99, 1)), (Err(EOPNOTSUPP), Err(ENOPROTOOPT)));
    assert_eq!((get(&s, 41, 26), set(&s, 41, 26)), (Err(EOPNOTSUPP), Err(ENOPROTOOPT)));
    assert_eq!(get(&s, SOL_SOCKET, SO_PEERGROUPS), Err(ENODATA));
    assert_eq!(get(&s, SOL_IP, IP_MTU), Err(ENOTCONN));
    assert_eq!(bind(&net.ctx, &s, &SockAddr::from_bytes(&[0; 16])?), Ok(()));
    let s6 = net.socket(AF_INET6, SOCK_STREAM)?;
    let link_local = "fe80::1".parse().unwrap_or(Ipv6Addr::LOCALHOST);
    assert_eq!(connect(&net.ctx, &s6, &v6(link_local, 1)), Err(EINVAL));
    assert_eq!(connect(&net.ctx, &s6, &v4(LO, 1)), Err(EINVAL));
    assert_eq!(SockAddr::from_bytes(&[0; 129]).err(), Some(EINVAL));
    setsockopt(&net.ctx, &s, SOL_SOCKET, SO_SNDBUF, &1i32.to_ne_bytes())?;
    assert_eq!(get(&s, SOL_SOCKET, SO_SNDBUF), Ok(4608i32.to_ne_bytes().to_vec()));
    setsockopt(&net.ctx, &s, SOL_SOCKET, SO_RCVBUF, &i32::MAX.to_ne_bytes())?;
    assert_eq!(get(&s, SOL_SOCKET, SO_RCVBUF), Ok(425_984i32.to_ne_bytes().to_vec()));
    assert_eq!(setsockopt(&net.ctx, &s, SOL_SOCKET, SO_MARK, &[0; 3]), Err(EINVAL));
    Ok(())
}

#[test]
fn a_datagram_leaves_from_the_address_its_sender_names() -> Test {
    let net = Net::new();
    let (a, b) = (net.socket(AF_INET, SOCK_DGRAM)?, net.socket(AF_INET, SOCK_DGRAM)?);
    bind(&net.ctx, &b, &v4(LO, 6000))?;
    let from = |ip: [u8; 4]| {
        let data = [[0; 4], ip, [0; 4]].concat();
        let control = vec![SendControl::Other { level: SOL_IP, ty: IP_PKTINFO, data }];
        let mut msg = SendMsg { addr: Some(v4(LO, 6000)), control, ..SendMsg::default() };
        sendmsg(&net.ctx, &a, &mut msg, &mut sentry_mm::IoSrc::from_slice(b"x"))
    };
    from([127, 0, 0, 53])?;
    let (_, received) = net.recv_msg(&b, 1, MsgFlags::empty())?;
    assert_eq!(received.addr.map(|a| a.as_bytes()[4..8].to_vec()), Some(vec![127, 0, 0, 53]));
    assert_eq!(from([10, 0, 0, 1]), Err(EADDRNOTAVAIL));
    Ok(())
}

#[test]
fn racing_connects_closes_and_accepts_leave_nothing_behind() -> Test {
    let net = Net::new();
    let (server, addr) = listener(&net, 2)?;
    let tasks: Vec<Net> = (2..6).map(|id| net.other_task(id)).collect();
    std::thread::scope(|s| {
        for (i, task) in tasks.iter().enumerate() {
            let (server, addr) = (&server, &addr);
            s.spawn(move || {
                for n in 0..200 {
                    if i % 2 == 0 {
                        let Ok((conn, _)) = accept4(&task.ctx, server, 0) else { unreachable!() };
                        if n % 3 == 0 {
                            let _ = task.recv(&conn, 4);
                        }
                    } else {
                        let Ok(client) = task.socket(AF_INET, SOCK_STREAM) else { unreachable!() };
                        assert_eq!(connect(&task.ctx, &client, addr), Ok(()));
                        let _ = task.send_flags(&client, b"x", NOSIGNAL);
                        if n % 2 == 0 {
                            let _ = task.recv(&client, 4);
                        }
                    }
                }
            });
        }
    });
    drop(server);
    let again = net.socket(AF_INET, SOCK_STREAM)?;
    assert_eq!(bind(&net.ctx, &again, &addr), Ok(()));
    Ok(())
}
