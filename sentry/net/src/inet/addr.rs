//! Internet addresses: what bind, connect and send accept, and which of them lead anywhere.
//!
//! A v4-mapped address is an IPv4 one here, whichever family the socket is of.

use crate::netdev::LO_IFINDEX;
use crate::{NetNamespace, SockAddr};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAFNOSUPPORT, EINVAL, ENETUNREACH};
use sentry_uapi::in_::SockaddrIn;
use sentry_uapi::in6::{SIN6_LEN_RFC2133, SockaddrIn6};
use sentry_uapi::socket::{AF_INET, AF_INET6, AF_UNSPEC};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
}

/// The wildcard address of a family.
pub(crate) fn any(family: u16) -> IpAddr {
    if family == AF_INET { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// What a packet to `ip` over the loopback comes from.
pub(crate) fn source_for(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Whether the namespace answers to `ip`.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback()
}

/// 127.255.255.255, or 255.255.255.255.
pub(crate) fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if v4.is_broadcast() || v4 == Ipv4Addr::new(127, 255, 255, 255))
}

impl Endpoint {
    pub(crate) fn new(ip: IpAddr, port: u16) -> Endpoint {
        Endpoint { ip, port }
    }

    fn from_v4(sin: &SockaddrIn) -> Endpoint {
        Endpoint::new(Ipv4Addr::from(sin.sin_addr).into(), u16::from_be_bytes(sin.sin_port))
    }

    fn from_v6(sin6: &SockaddrIn6) -> Endpoint {
        let v6 = Ipv6Addr::from(sin6.sin6_addr);
        let ip = v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4);
        Endpoint::new(ip, u16::from_be_bytes(sin6.sin6_port))
    }

    /// A link-local address means nothing without an interface.
    fn from_scoped(sin6: &SockaddrIn6) -> Result<Endpoint, Errno> {
        let v6 = Ipv6Addr::from(sin6.sin6_addr);
        if v6.is_unicast_link_local() && sin6.sin6_scope_id == 0 {
            return Err(EINVAL);
        }
        Ok(Endpoint::from_v6(sin6))
    }

    /// As a socket of `family` shows it.
    pub(crate) fn to_sockaddr(self, family: u16) -> SockAddr {
        let port = self.port.to_be_bytes();
        match (family, self.ip) {
            (AF_INET, IpAddr::V4(v4)) => SockAddr::from_struct(&SockaddrIn {
                sin_family: AF_INET,
                sin_port: port,
                sin_addr: v4.octets(),
                zero: [0; 8],
            }),
            (_, ip) => {
                let v6 = match ip {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                    IpAddr::V6(v6) => v6,
                };
                SockAddr::from_struct(&SockaddrIn6 {
                    sin6_family: AF_INET6,
                    sin6_port: port,
                    sin6_addr: v6.octets(),
                    ..SockaddrIn6::default()
                })
            }
        }
    }

    /// The address given to bind(2). Linux: `__inet_bind`, `__inet6_bind`.
    pub(crate) fn for_bind(family: u16, addr: &SockAddr) -> Result<Endpoint, Errno> {
        if family == AF_INET {
            let sin: SockaddrIn =
                addr.read().filter(|_| addr.len() >= size_of::<SockaddrIn>()).ok_or(EINVAL)?;
            // An unspecified family with an unspecified address is let through, for old programs.
            let old = sin.sin_family == AF_UNSPEC && sin.sin_addr == [0; 4];
            return if sin.sin_family == AF_INET || old {
                Ok(Endpoint::from_v4(&sin))
            } else {
                Err(EAFNOSUPPORT)
            };
        }
        let sin6: SockaddrIn6 = addr.read().filter(|_| addr.len() >= SIN6_LEN_RFC2133).ok_or(EINVAL)?;
        if sin6.sin6_family == AF_INET6 { Endpoint::from_scoped(&sin6) } else { Err(EAFNOSUPPORT) }
    }

    /// The address given to connect(2), or to send(2) if `v4_too`: an IPv6 datagram socket then takes an IPv4 address as
    /// well. Linux: `tcp_v4_connect`, `tcp_v6_connect`, `__ip4_datagram_connect`, `__ip6_datagram_connect`.
    pub(crate) fn for_connect(family: u16, addr: &SockAddr, v4_too: bool) -> Result<Endpoint, Errno> {
        let given = addr.family().ok_or(EINVAL)?;
        if family == AF_INET || (given == AF_INET && v4_too) {
            let sin: SockaddrIn =
                addr.read().filter(|_| addr.len() >= size_of::<SockaddrIn>()).ok_or(EINVAL)?;
            return if given == AF_INET { Ok(Endpoint::from_v4(&sin)) } else { Err(EAFNOSUPPORT) };
        }
        let sin6: SockaddrIn6 = addr.read().filter(|_| addr.len() >= SIN6_LEN_RFC2133).ok_or(EINVAL)?;
        if given == AF_INET6 { Endpoint::from_scoped(&sin6) } else { Err(EAFNOSUPPORT) }
    }
}

impl NetNamespace {
    /// Where a packet to `dst` goes: the address itself, with the wildcard standing for this host. Everything is the
    /// loopback, and nothing gets out by another interface, `bound_dev`, that a socket may be bound to; a stack that
    /// reaches further answers here for the rest. Linux: `ip_route_output_key`.
    ///
    /// # Errors
    /// `ENETUNREACH`.
    pub(crate) fn route(&self, dst: IpAddr, bound_dev: i32) -> Result<IpAddr, Errno> {
        if !self.lo.is_up() || !matches!(bound_dev, 0 | LO_IFINDEX) {
            return Err(ENETUNREACH);
        }
        match dst {
            ip if ip.is_unspecified() => Ok(source_for(ip)),
            ip if is_local(ip) => Ok(ip),
            _ => Err(ENETUNREACH),
        }
    }
}
