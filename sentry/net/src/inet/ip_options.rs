//! Linux: net/ipv4/ip_sockglue.c and net/ipv6/ipv6_sockglue.c: options of levels SOL_IP and SOL_IPV6.
//!
//! Most are kept and read back; those that a loopback can honour are asked for by name. Of level SOL_UDP there is none:
//! datagrams are neither corked nor segmented.

use super::addr::is_local;
use crate::netdev::{LO_IFINDEX, LO_MTU};
use crate::sockopt::{clip, int_value};
use crate::{NetNamespace, Sock};
use fs_vfs::TaskContext;
use sentry_auth::{CapSet, ns_capable};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{
    EADDRINUSE, EADDRNOTAVAIL, EINVAL, ENOBUFS, ENODEV, ENOPROTOOPT, ENOTCONN, EOPNOTSUPP, EPERM, EPROTO,
};
use sentry_uapi::in_::*;
use sentry_uapi::in6::*;
use sentry_uapi::socket::{AF_INET, SOCK_STREAM};
use sentry_uapi::tcp::SOL_UDP;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use zerocopy::FromBytes;

/// Default TTL. Linux: `net.ipv4.ip_default_ttl`.
const DEFAULT_TTL: i32 = 64;
/// Most groups a socket may join. Linux: `net.ipv4.igmp_max_memberships`.
const MAX_MEMBERSHIPS: usize = 20;

/// Options of a socket's internet layer.
pub(crate) struct IpOptions {
    v6only: AtomicBool,
    state: Mutex<State, { level::LEAF }>,
}

#[derive(Default)]
struct State {
    values: BTreeMap<(i32, i32), i32>,
    groups: Vec<IpAddr>,
}

/// What an option's value may be.
enum Rule {
    /// Zero or not.
    Bool,
    /// In the range; -1 stands for the default.
    Range(i32, i32),
    /// Anything.
    Any,
}

// A table: the two levels stand apart, though their rules are alike.
#[allow(clippy::match_same_arms)]
fn rule(level: i32, name: i32, stream: bool) -> Option<Rule> {
    use Rule::{Any, Bool, Range};
    Some(match (level, name) {
        (
            SOL_IP,
            IP_RECVOPTS
            | IP_RETOPTS
            | IP_PKTINFO
            | IP_RECVTTL
            | IP_RECVTOS
            | IP_RECVERR
            | IP_FREEBIND
            | IP_TRANSPARENT
            | IP_RECVORIGDSTADDR
            | IP_BIND_ADDRESS_NO_PORT
            | IP_MULTICAST_LOOP
            | IP_RECVFRAGSIZE
            | IP_CHECKSUM
            | IP_RECVERR_RFC4884,
        ) => Bool,
        (SOL_IP, IP_MULTICAST_ALL) => Range(0, 1),
        (SOL_IP, IP_TOS) => Any,
        (SOL_IP, IP_TTL) => Range(1, 255),
        (SOL_IP, IP_MULTICAST_TTL) if !stream => Range(0, 255),
        (SOL_IP, IP_MTU_DISCOVER) | (SOL_IPV6, IPV6_MTU_DISCOVER) => Range(0, 5),
        (SOL_IP, IP_MINTTL) | (SOL_IPV6, IPV6_MINHOPCOUNT) => Range(0, 255),
        (
            SOL_IPV6,
            IPV6_RECVPKTINFO | IPV6_RECVHOPLIMIT | IPV6_RECVTCLASS | IPV6_RECVERR | IPV6_RECVORIGDSTADDR
            | IPV6_DONTFRAG | IPV6_AUTOFLOWLABEL | IPV6_FLOWINFO | IPV6_FREEBIND | IPV6_TRANSPARENT,
        ) => Bool,
        (SOL_IPV6, IPV6_MULTICAST_LOOP | IPV6_MULTICAST_ALL) => Range(0, 1),
        (SOL_IPV6, IPV6_UNICAST_HOPS | IPV6_TCLASS) => Range(0, 255),
        (SOL_IPV6, IPV6_MULTICAST_HOPS) if !stream => Range(0, 255),
        (SOL_IPV6, IPV6_ADDR_PREFERENCES) => Any,
        _ => return None,
    })
}

fn default(level: i32, name: i32) -> i32 {
    match (level, name) {
        (SOL_IP, IP_TTL) | (SOL_IPV6, IPV6_UNICAST_HOPS) => DEFAULT_TTL,
        (SOL_IP, IP_MULTICAST_TTL | IP_MULTICAST_LOOP | IP_MULTICAST_ALL | IP_MTU_DISCOVER)
        | (
            SOL_IPV6,
            IPV6_MULTICAST_HOPS | IPV6_MULTICAST_LOOP | IPV6_MULTICAST_ALL | IPV6_MTU_DISCOVER
            | IPV6_AUTOFLOWLABEL,
        ) => 1,
        (SOL_IPV6, IPV6_ADDR_PREFERENCES) => 2,
        _ => 0,
    }
}

impl IpOptions {
    pub(super) fn new(net: &NetNamespace) -> IpOptions {
        let v6only = net.sysctl.bindv6only.load(Ordering::Relaxed) != 0;
        IpOptions { v6only: AtomicBool::new(v6only), state: Mutex::new(State::default()) }
    }

    pub(super) fn inherit(&self, from: &IpOptions) {
        self.v6only.store(from.v6only(), Ordering::Relaxed);
        let values = from.state.lock().values.clone();
        self.state.lock().values = values;
    }

    pub(super) fn v6only(&self) -> bool {
        self.v6only.load(Ordering::Relaxed)
    }

    pub(super) fn freebind(&self) -> bool {
        self.is_on(SOL_IP, IP_FREEBIND) || self.is_on(SOL_IPV6, IPV6_FREEBIND)
    }

    fn value(&self, level: i32, name: i32) -> i32 {
        self.state.lock().values.get(&(level, name)).copied().unwrap_or_else(|| default(level, name))
    }

    /// Whether a yes-or-no option is on.
    pub(super) fn is_on(&self, level: i32, name: i32) -> bool {
        self.value(level, name) != 0
    }

    pub(super) fn tos(&self) -> i32 {
        self.value(SOL_IP, IP_TOS)
    }

    pub(super) fn ttl(&self) -> i32 {
        self.value(SOL_IP, IP_TTL)
    }

    /// Whether the socket is a member of the group.
    pub(super) fn joined(&self, group: IpAddr) -> bool {
        self.state.lock().groups.contains(&group)
    }

    /// Whether multicasts leave by the loopback. Linux: `mc_index`.
    pub(super) fn multicast_if(&self) -> bool {
        let state = self.state.lock();
        let set = |key| state.values.get(&key).is_some_and(|v| *v != 0);
        set((SOL_IP, IP_MULTICAST_IF)) || set((SOL_IPV6, IPV6_MULTICAST_IF))
    }

    /// Sets an option. `bound`: the socket has a port.
    ///
    /// # Errors
    /// `ENOPROTOOPT` for an option that is not known; `EINVAL` for a value that is not allowed.
    pub(super) fn set(
        &self,
        ctx: &dyn TaskContext,
        sock: &Sock,
        bound: bool,
        level: i32,
        name: i32,
        value: &[u8],
    ) -> Result<(), Errno> {
        if level == SOL_IPV6 && sock.family == AF_INET {
            return Err(ENOPROTOOPT);
        }
        match (level, name) {
            (SOL_IP, IP_MULTICAST_IF) => return self.set_multicast_if(sock, value),
            (SOL_IP, IP_ADD_MEMBERSHIP | IP_DROP_MEMBERSHIP) => {
                let group: [u8; 4] = value.first_chunk().copied().ok_or(EINVAL)?;
                let interface = ipv4_interface(value)?;
                let add = name == IP_ADD_MEMBERSHIP;
                return self.membership(sock, Ipv4Addr::from(group).into(), interface, add);
            }
            (SOL_IPV6, IPV6_ADD_MEMBERSHIP | IPV6_DROP_MEMBERSHIP) => {
                let mreq = Ipv6Mreq::read_from_prefix(value).map_err(|_| EINVAL)?.0;
                let group = Ipv6Addr::from(mreq.ipv6mr_multiaddr).into();
                return self.membership(sock, group, mreq.ipv6mr_ifindex, name == IPV6_ADD_MEMBERSHIP);
            }
            (SOL_IPV6, IPV6_V6ONLY) => {
                let on = int_value(value)? != 0;
                if bound {
                    return Err(EINVAL);
                }
                self.v6only.store(on, Ordering::Relaxed);
                return Ok(());
            }
            (SOL_IPV6, IPV6_MULTICAST_IF) => {
                let index = int_value(value)?;
                if sock.ty == SOCK_STREAM {
                    return Err(ENOPROTOOPT);
                }
                if index != 0 && index != LO_IFINDEX {
                    return Err(ENODEV);
                }
                self.state.lock().values.insert((level, name), index);
                return Ok(());
            }
            _ => {}
        }
        let rule = rule(level, name, sock.ty == SOCK_STREAM).ok_or(ENOPROTOOPT)?;
        let val = match (level, value) {
            // IPv4 options may be a single byte.
            (SOL_IP, []) => 0,
            (SOL_IP, [byte, ..]) if value.len() < 4 => i32::from(*byte),
            _ => int_value(value)?,
        };
        if matches!(name, IP_TRANSPARENT if level == SOL_IP) && val != 0 {
            let cred = ctx.cred();
            let may = |cap| ns_capable(&cred, &sock.net.user_ns, cap);
            if !may(CapSet::NET_RAW) && !may(CapSet::NET_ADMIN) {
                return Err(EPERM);
            }
        }
        let stored = match rule {
            Rule::Bool => i32::from(val != 0),
            Rule::Any => val & 0xff,
            Rule::Range(..) if val == -1 => default(level, name),
            Rule::Range(low, high) if (low..=high).contains(&val) => val,
            Rule::Range(..) => return Err(EINVAL),
        };
        self.state.lock().values.insert((level, name), stored);
        Ok(())
    }

    fn set_multicast_if(&self, sock: &Sock, value: &[u8]) -> Result<(), Errno> {
        if sock.ty == SOCK_STREAM {
            return Err(EINVAL);
        }
        let (address, index) = match IpMreqn::read_from_prefix(value) {
            Ok((mreq, _)) => (mreq.imr_address, mreq.imr_ifindex),
            Err(_) if value.len() >= 8 => ([value[4], value[5], value[6], value[7]], 0),
            Err(_) => (*value.first_chunk().ok_or(EINVAL)?, 0),
        };
        let address = Ipv4Addr::from(address);
        let index = match (index, address) {
            (0, Ipv4Addr::UNSPECIFIED) => 0,
            (0, a) if is_local(a.into()) => LO_IFINDEX,
            (LO_IFINDEX, _) => LO_IFINDEX,
            (0, _) | (_, _) => return Err(EADDRNOTAVAIL),
        };
        self.state.lock().values.insert((SOL_IP, IP_MULTICAST_IF), index);
        Ok(())
    }

    /// Linux: `ip_mc_join_group`, `ip_mc_leave_group`.
    fn membership(&self, sock: &Sock, group: IpAddr, interface: i32, join: bool) -> Result<(), Errno> {
        if sock.ty == SOCK_STREAM {
            return Err(EPROTO);
        }
        if !group.is_multicast() {
            return Err(EINVAL);
        }
        if interface != 0 && interface != LO_IFINDEX {
            return Err(ENODEV);
        }
        let mut state = self.state.lock();
        let at = state.groups.iter().position(|g| *g == group);
        match (at, join) {
            (Some(_), true) => Err(EADDRINUSE),
            (None, true) if state.groups.len() >= MAX_MEMBERSHIPS => Err(ENOBUFS),
            (None, true) => {
                state.groups.push(group);
                Ok(())
            }
            (Some(at), false) => {
                state.groups.swap_remove(at);
                Ok(())
            }
            (None, false) => Err(EADDRNOTAVAIL),
        }
    }

    /// Reads an option, at most `len` bytes.
    pub(super) fn get(
        &self,
        sock: &Sock,
        connected: bool,
        level: i32,
        name: i32,
        len: usize,
    ) -> Result<Vec<u8>, Errno> {
        let known = match level {
            SOL_IP => true,
            SOL_IPV6 => sock.family != AF_INET,
            SOL_UDP => sock.ty != SOCK_STREAM,
            _ => false,
        };
        if !known {
            return Err(if sock.family == AF_INET { EOPNOTSUPP } else { ENOPROTOOPT });
        }
        let val = match (level, name) {
            (SOL_IPV6, IPV6_V6ONLY) => i32::from(self.v6only()),
            (SOL_IP, IP_MTU) | (SOL_IPV6, IPV6_MTU) if connected => i32::try_from(LO_MTU).unwrap_or(i32::MAX),
            (SOL_IP, IP_MTU) | (SOL_IPV6, IPV6_MTU) => return Err(ENOTCONN),
            (SOL_IP, IP_HDRINCL | IP_ROUTER_ALERT | IP_PKTOPTIONS | IP_NODEFRAG | IP_UNICAST_IF)
            | (SOL_IPV6, IPV6_ROUTER_ALERT | IPV6_UNICAST_IF) => 0,
            (SOL_IPV6, IPV6_MULTICAST_IF) => self.value(level, name),
            (SOL_IP, IP_OPTIONS) => return Ok(Vec::new()),
            (SOL_IP, IP_MULTICAST_IF) => return Ok(clip(&[0u8; 4], len)),
            _ => {
                rule(level, name, false).ok_or(ENOPROTOOPT)?;
                self.value(level, name)
            }
        };
        if level == SOL_IP
            && (1..4).contains(&len)
            && let Ok(byte) = u8::try_from(val)
        {
            return Ok(vec![byte]);
        }
        Ok(clip(&val, len))
    }
}

/// The interface that a `struct ip_mreq` or `ip_mreqn` names; 0 where it leaves the choice.
fn ipv4_interface(value: &[u8]) -> Result<i32, Errno> {
    if let Ok((mreq, _)) = IpMreqn::read_from_prefix(value)
        && mreq.imr_ifindex != 0
    {
        return Ok(mreq.imr_ifindex);
    }
    let address: [u8; 4] = value.get(4..8).and_then(|b| b.try_into().ok()).ok_or(EINVAL)?;
    match Ipv4Addr::from(address) {
        Ipv4Addr::UNSPECIFIED => Ok(0),
        a if is_local(a.into()) => Ok(LO_IFINDEX),
        _ => Err(ENODEV),
    }
}
