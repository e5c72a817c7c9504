//! Linux: net/core/rtnetlink.c, net/ipv4/devinet.c, net/ipv6/addrconf.c: what NETLINK_ROUTE tells of the interfaces,
//! and what may be changed about them: whether they are up. Adding the addresses that the loopback has anyway is accepted,
//! since container set-up does that.

use super::message::{MessageBuilder, ack, done, find_attr, messages, reply};
use crate::netdev::LO_IFINDEX;
use crate::{NetDevice, NetNamespace};
use fs_vfs::TaskContext;
use sentry_auth::{CapSet, ns_capable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENODEV, EOPNOTSUPP, EPERM};
use sentry_uapi::if_::IFF_UP;
use sentry_uapi::netlink::*;
use sentry_uapi::rtnetlink::*;
use sentry_uapi::socket::{AF_INET, AF_INET6, AF_UNSPEC};
use std::net::{Ipv4Addr, Ipv6Addr};
use zerocopy::{FromBytes, IntoBytes};

/// The part of a message type that says what it does. Linux: `RTNL_KIND_GET`.
const KIND_MASK: u16 = 3;
const KIND_GET: u16 = 2;

struct Request<'a> {
    net: &'a NetNamespace,
    header: Nlmsghdr,
    payload: &'a [u8],
    /// Port of the asking socket.
    port: u32,
}

/// Works through a datagram of requests; each answer is a datagram. Linux: `netlink_rcv_skb`, `rtnetlink_rcv_msg`.
pub(super) fn receive(
    ctx: &dyn TaskContext,
    net: &NetNamespace,
    port: u32,
    capped: bool,
    datagram: &[u8],
    answers: &mut Vec<Vec<u8>>,
) {
    for (header, payload) in messages(datagram) {
        let request = Request { net, header, payload, port };
        let is_request = header.nlmsg_flags & NLM_F_REQUEST != 0 && header.nlmsg_type >= NLMSG_MIN_TYPE;
        let result = if is_request { request.handle(ctx, answers) } else { Ok(false) };
        match result {
            // A dump ends with its own message.
            Ok(true) => {}
            Ok(false) if header.nlmsg_flags & NLM_F_ACK == 0 => {}
            Ok(false) => answers.push(ack(&header, port, 0, &[], NLM_F_CAPPED)),
            Err(e) if capped => answers.push(ack(&header, port, e.raw(), &[], NLM_F_CAPPED)),
            Err(e) => answers.push(ack(&header, port, e.raw(), payload, 0)),
        }
    }
}

impl Request<'_> {
    /// Answers; true if it was a dump.
    fn handle(&self, ctx: &dyn TaskContext, answers: &mut Vec<Vec<u8>>) -> Result<bool, Errno> {
        let ty = self.header.nlmsg_type;
        if ty > RTM_MAX {
            return Err(EOPNOTSUPP);
        }
        let Some(family) = self.payload.first().copied().map(u16::from) else { return Ok(false) };
        let get = ty & KIND_MASK == KIND_GET;
        if !get && !ns_capable(&ctx.cred(), &self.net.user_ns, CapSet::NET_ADMIN) {
            return Err(EPERM);
        }
        if get && self.header.nlmsg_flags & NLM_F_DUMP == NLM_F_DUMP {
            let mut entries = Vec::new();
            match ty {
                RTM_GETLINK => self.net.devices().for_each(|dev| self.link(dev, &mut entries, NLM_F_MULTI)),
                RTM_GETADDR => self.addresses(&mut entries, family),
                RTM_GETROUTE | RTM_GETNEIGH | RTM_GETNSID => {}
                _ => return Err(EOPNOTSUPP),
            }
            if !entries.is_empty() {
                answers.push(entries);
            }
            answers.push(done(&self.header, self.port));
            return Ok(true);
        }
        match ty {
            RTM_GETLINK => {
                let (_, dev) = self.named_link()?;
                let mut entry = Vec::new();
                self.link(dev, &mut entry, 0);
                answers.push(entry);
            }
            RTM_NEWLINK | RTM_SETLINK => {
                let (info, dev) = self.named_link()?;
                let up = u32::from(IFF_UP);
                // Old programs leave the mask of changes empty and mean all of them.
                if info.ifi_change == 0 || info.ifi_change & up != 0 {
                    dev.set_up(info.ifi_flags & up != 0);
                }
            }
            RTM_NEWADDR => self.new_address()?,
            RTM_GETNSID => {
                let mut entry = Vec::new();
                self.nsid(&mut entry)?;
                answers.push(entry);
            }
            _ => return Err(EOPNOTSUPP),
        }
        Ok(false)
    }

    /// The request's fixed part, and the interface it means.
    fn named_link(&self) -> Result<(Ifinfomsg, &NetDevice), Errno> {
        let (info, attrs) = Ifinfomsg::read_from_prefix(self.payload).map_err(|_| EINVAL)?;
        let name = find_attr(attrs, IFLA_IFNAME).or_else(|| find_attr(attrs, IFLA_ALT_IFNAME));
        let name = name.map(|n| n.split(|b| *b == 0).next().unwrap_or_default());
        let dev = match (info.ifi_index, name) {
            (0, Some(name)) => self.net.dev_get_by_name(name),
            (0, None) => return Err(EINVAL),
            (index, _) => self.net.dev_get_by_index(index),
        };
        match (info.ifi_index, dev) {
            (_, Some(dev)) => Ok((info, dev)),
            // A new interface cannot be made.
            (0, None) if self.header.nlmsg_type == RTM_NEWLINK && self.header.nlmsg_flags & 0x400 != 0 => {
                Err(EOPNOTSUPP)
            }
            _ => Err(ENODEV),
        }
    }

    /// Linux: `inet_rtm_newaddr`, `inet6_rtm_newaddr`, for addresses that are there already.
    fn new_address(&self) -> Result<(), Errno> {
        let (info, attrs) = Ifaddrmsg::read_from_prefix(self.payload).map_err(|_| EINVAL)?;
        if info.ifa_index != LO_IFINDEX.unsigned_abs() {
            return Err(ENODEV);
        }
        let address = find_attr(attrs, IFA_LOCAL).or_else(|| find_attr(attrs, IFA_ADDRESS)).ok_or(EINVAL)?;
        let own =
            (u16::from(info.ifa_family) == AF_INET && address.first() == Some(&127) && address.len() == 4)
                || (u16::from(info.ifa_family) == AF_INET6 && address == Ipv6Addr::LOCALHOST.octets());
        if own { Ok(()) } else { Err(EOPNOTSUPP) }
    }

    /// The number this namespace has for another: none, since none was given. Linux: `rtnl_net_getid`.
    fn nsid(&self, out: &mut Vec<u8>) -> Result<(), Errno> {
        let (info, attrs) = Rtgenmsg::read_from_prefix(self.payload).map_err(|_| EINVAL)?;
        if find_attr(attrs, NETNSA_PID).or_else(|| find_attr(attrs, NETNSA_FD)).is_none() {
            return Err(EINVAL);
        }
        let info = Rtgenmsg { rtgen_family: info.rtgen_family, ..Rtgenmsg::default() };
        MessageBuilder::new(out, reply(&self.header, self.port, RTM_NEWNSID, 0), &info)
            .attr(NETNSA_NSID, NETNSA_NSID_NOT_ASSIGNED.as_bytes())
            .finish();
        Ok(())
    }

    /// Linux: `rtnl_fill_ifinfo`.
    fn link(&self, dev: &NetDevice, out: &mut Vec<u8>, flags: u16) {
        let zero_ended = |text: &str| [text.as_bytes(), b"\0"].concat();
        let info = Ifinfomsg {
            ifi_type: dev.hw_type,
            ifi_index: dev.ifindex,
            ifi_flags: dev.link_flags(),
            ..Ifinfomsg::default()
        };
        MessageBuilder::new(out, reply(&self.header, self.port, RTM_NEWLINK, flags), &info)
            .attr(IFLA_IFNAME, &zero_ended(dev.name))
            .attr(IFLA_TXQLEN, dev.tx_queue_len.as_bytes())
            .attr(IFLA_OPERSTATE, &[dev.operstate() as u8])
            .attr(IFLA_LINKMODE, &[0])
            .attr(IFLA_MTU, dev.mtu.as_bytes())
            .attr(IFLA_GROUP, &[0; 4])
            .attr(IFLA_QDISC, &zero_ended(dev.qdisc()))
            .attr(IFLA_CARRIER, &[u8::from(dev.is_up() && dev.carrier())])
            .attr(IFLA_ADDRESS, &dev.address)
            .attr(IFLA_BROADCAST, &dev.broadcast)
            .finish();
    }

    /// Linux: `inet_fill_ifaddr`, `inet6_fill_ifaddr`. An interface that is down has none yet.
    fn addresses(&self, out: &mut Vec<u8>, family: u16) {
        if !self.net.lo.is_up() {
            return;
        }
        let header = reply(&self.header, self.port, RTM_NEWADDR, NLM_F_MULTI);
        let permanent = u8::try_from(IFA_F_PERMANENT).unwrap_or(0);
        let forever = IfaCacheinfo { ifa_prefered: u32::MAX, ifa_valid: u32::MAX, cstamp: 0, tstamp: 0 };
        let info = |family: u16, prefix| Ifaddrmsg {
            ifa_family: u8::try_from(family).unwrap_or(0),
            ifa_prefixlen: prefix,
            ifa_flags: permanent,
            ifa_scope: RT_SCOPE_HOST,
            ifa_index: LO_IFINDEX.unsigned_abs(),
        };
        if family == AF_UNSPEC || family == AF_INET {
            let address = Ipv4Addr::LOCALHOST.octets();
            MessageBuilder::new(out, header, &info(AF_INET, 8))
                .attr(IFA_ADDRESS, &address)
                .attr(IFA_LOCAL, &address)
                .attr(IFA_LABEL, b"lo\0")
                .attr(IFA_FLAGS, IFA_F_PERMANENT.as_bytes())
                .attr(IFA_CACHEINFO, forever.as_bytes())
                .finish();
        }
        if family == AF_UNSPEC || family == AF_INET6 {
            MessageBuilder::new(out, header, &info(AF_INET6, 128))
                .attr(IFA_ADDRESS, &Ipv6Addr::LOCALHOST.octets())
                .attr(IFA_CACHEINFO, forever.as_bytes())
                .attr(IFA_FLAGS, IFA_F_PERMANENT.as_bytes())
                .finish();
        }
    }
}
