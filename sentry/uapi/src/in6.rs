//! Linux: include/uapi/linux/in6.h and ipv6.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Option level of IPv6.
pub const SOL_IPV6: i32 = 41;
/// Shortest `struct sockaddr_in6` accepted: without the scope. Linux: include/net/ipv6.h, `SIN6_LEN_RFC2133`.
pub const SIN6_LEN_RFC2133: usize = 24;

/// `struct sockaddr_in6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SockaddrIn6 {
    /// AF_INET6.
    pub sin6_family: u16,
    /// Port, network byte order.
    pub sin6_port: [u8; 2],
    /// Flow label, network byte order.
    pub sin6_flowinfo: [u8; 4],
    /// Address.
    pub sin6_addr: [u8; 16],
    /// Interface of a link-local address.
    pub sin6_scope_id: u32,
}

/// `struct in6_pktinfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct In6Pktinfo {
    /// Destination of a received, source of a sent packet.
    pub ipi6_addr: [u8; 16],
    /// Interface.
    pub ipi6_ifindex: i32,
}

/// `struct ipv6_mreq`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ipv6Mreq {
    /// The group.
    pub ipv6mr_multiaddr: [u8; 16],
    /// Interface.
    pub ipv6mr_ifindex: i32,
}

const _: () = {
    use linux_raw_sys::net;
    assert!(size_of::<SockaddrIn6>() == size_of::<net::sockaddr_in6>());
    assert!(size_of::<In6Pktinfo>() == size_of::<net::in6_pktinfo>());
    assert!(size_of::<Ipv6Mreq>() == size_of::<net::ipv6_mreq>());
};

macro_rules! options {
    ($($name:ident = $value:literal;)*) => {
        $(#[doc = concat!("SOL_IPV6 option ", stringify!($value), ".")] pub const $name: i32 = $value;)*
    };
}

options! {
    IPV6_ADDRFORM = 1; IPV6_CHECKSUM = 7; IPV6_FLOWINFO = 11; IPV6_UNICAST_HOPS = 16; IPV6_MULTICAST_IF = 17;
    IPV6_MULTICAST_HOPS = 18; IPV6_MULTICAST_LOOP = 19; IPV6_ADD_MEMBERSHIP = 20; IPV6_DROP_MEMBERSHIP = 21;
    IPV6_ROUTER_ALERT = 22; IPV6_MTU_DISCOVER = 23; IPV6_MTU = 24; IPV6_RECVERR = 25; IPV6_V6ONLY = 26;
    IPV6_MULTICAST_ALL = 29; IPV6_AUTOFLOWLABEL = 70; IPV6_RECVPKTINFO = 49; IPV6_PKTINFO = 50;
    IPV6_RECVHOPLIMIT = 51; IPV6_HOPLIMIT = 52; IPV6_RECVTCLASS = 66; IPV6_TCLASS = 67; IPV6_DONTFRAG = 62;
    IPV6_ADDR_PREFERENCES = 72; IPV6_MINHOPCOUNT = 73; IPV6_RECVORIGDSTADDR = 74; IPV6_TRANSPARENT = 75;
    IPV6_UNICAST_IF = 76; IPV6_FREEBIND = 78;
}
