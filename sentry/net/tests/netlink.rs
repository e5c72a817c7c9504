//! AF_NETLINK, NETLINK_ROUTE: what getifaddrs(3) and `ip link` ask.

mod common;

use common::*;
use sentry_net::*;
use sentry_uapi::Errno;
use sentry_uapi::errno::*;
use sentry_uapi::netlink::*;
use sentry_uapi::rtnetlink::*;
use sentry_uapi::socket::*;
use zerocopy::{FromBytes, IntoBytes};

type Test = Result<(), Errno>;

fn request(ty: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let header = Nlmsghdr {
        nlmsg_len: u32::try_from(16 + body.len()).unwrap_or(0),
        nlmsg_type: ty,
        nlmsg_flags: NLM_F_REQUEST | flags,
        nlmsg_seq: 7,
        nlmsg_pid: 0,
    };
    [header.as_bytes(), body].concat()
}

fn types(datagram: &[u8]) -> Vec<u16> {
    let mut rest = datagram;
    let mut out = Vec::new();
    while let Ok((header, _)) = Nlmsghdr::read_from_prefix(rest) {
        assert_eq!((header.nlmsg_seq, header.nlmsg_pid), (7, 1));
        out.push(header.nlmsg_type);
        rest = &rest[usize::try_from(header.nlmsg_len).unwrap_or(rest.len())..];
    }
    assert!(rest.is_empty());
    out
}

fn error_of(datagram: &[u8]) -> i32 {
    i32::from_ne_bytes([datagram[16], datagram[17], datagram[18], datagram[19]])
}

#[test]
fn dumps_tell_of_the_loopback() -> Test {
    let net = Net::new();
    let s = net.socket(AF_NETLINK, SOCK_RAW)?;
    bind(
        &net.ctx,
        &s,
        &SockAddr::from_bytes(SockaddrNl { nl_family: AF_NETLINK, ..Default::default() }.as_bytes())?,
    )?;
    net.send(&s, &request(RTM_GETLINK, NLM_F_DUMP, &[0]))?;
    let (link, received) = net.recv_msg(&s, 4096, MsgFlags::empty())?;
    assert_eq!(types(&link), [RTM_NEWLINK]);
    assert_eq!(received.addr.map(|a| a.len()), Some(12));
    assert!(link.windows(3).any(|w| w == b"lo\0"));
    assert_eq!(types(&net.recv(&s, 4096)?), [NLMSG_DONE]);
    net.send(&s, &request(RTM_GETADDR, NLM_F_DUMP, &[0]))?;
    assert_eq!(net.recv_flags(&s, 1, MsgFlags::PEEK | MsgFlags::TRUNC)?.len(), 1);
    assert_eq!(types(&net.recv(&s, 4096)?), [RTM_NEWADDR, RTM_NEWADDR]);
    assert_eq!(types(&net.recv(&s, 4096)?), [NLMSG_DONE]);
    assert_eq!(net.recv_flags(&s, 1, DONTWAIT), Err(EAGAIN));
    Ok(())
}

#[test]
fn requests_are_refused_and_acknowledged() -> Test {
    let net = Net::new();
    let user = net.other_user(1000);
    let s = net.socket(AF_NETLINK, SOCK_RAW)?;
    let mut info = Ifinfomsg { ifi_index: 9, ..Default::default() };
    let ask = |net: &Net, ty, flags, info: &Ifinfomsg| {
        net.send(&s, &request(ty, flags, info.as_bytes()))?;
        net.recv(&s, 4096).map(|answer| error_of(&answer))
    };
    assert_eq!(ask(&net, RTM_GETLINK, 0, &info)?, -ENODEV.raw());
    assert_eq!(ask(&user, RTM_NEWLINK, 0, &info)?, -EPERM.raw());
    assert_eq!(ask(&net, RTM_DELROUTE, 0, &info)?, -EOPNOTSUPP.raw());
    info.ifi_index = 1;
    info.ifi_change = 1;
    assert_eq!(ask(&net, RTM_NEWLINK, NLM_F_ACK, &info)?, 0);
    assert!(!net.ns.lo.is_up());
    info.ifi_flags = 1;
    assert_eq!(ask(&net, RTM_NEWLINK, NLM_F_ACK, &info)?, 0);
    assert!(net.ns.lo.is_up());
    // Nonsense ends the datagram in silence.
    net.send(&s, &[0; 7])?;
    net.send(&s, &u32::MAX.to_ne_bytes().repeat(4))?;
    assert_eq!(net.recv_flags(&s, 1, DONTWAIT), Err(EAGAIN));
    Ok(())
}
