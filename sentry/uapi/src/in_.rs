//! Linux: include/uapi/linux/in.h. Addresses and ports are in network byte order, so they are byte arrays here.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Dummy protocol for TCP of an internet stream, UDP of its datagrams.
pub const IPPROTO_IP: i32 = 0;
/// Internet control message protocol.
pub const IPPROTO_ICMP: i32 = 1;
/// Transmission control protocol.
pub const IPPROTO_TCP: i32 = 6;
/// User datagram protocol.
pub const IPPROTO_UDP: i32 = 17;
/// IPv6.
pub const IPPROTO_IPV6: i32 = 41;
/// ICMPv6.
pub const IPPROTO_ICMPV6: i32 = 58;
/// UDP-Lite.
pub const IPPROTO_UDPLITE: i32 = 136;
/// Raw IP packets.
pub const IPPROTO_RAW: i32 = 255;
/// Multipath TCP.
pub const IPPROTO_MPTCP: i32 = 262;
/// One more than the highest protocol.
pub const IPPROTO_MAX: i32 = 263;

/// Option level of IPv4.
pub const SOL_IP: i32 = 0;

/// First port that binds without CAP_NET_BIND_SERVICE.
pub const PROT_SOCK: u16 = 1024;

/// `struct sockaddr_in`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SockaddrIn {
    /// AF_INET.
    pub sin_family: u16,
    /// Port.
    pub sin_port: [u8; 2],
    /// Address.
    pub sin_addr: [u8; 4],
    /// Padding to the size of `struct sockaddr`.
    pub zero: [u8; 8],
}

/// `struct in_pktinfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct InPktinfo {
    /// Interface.
    pub ipi_ifindex: i32,
    /// Local address.
    pub ipi_spec_dst: [u8; 4],
    /// Destination in the packet's header.
    pub ipi_addr: [u8; 4],
}

/// `struct ip_mreqn`; `struct ip_mreq` is its first two fields.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IpMreqn {
    /// The group.
    pub imr_multiaddr: [u8; 4],
    /// Address of the interface.
    pub imr_address: [u8; 4],
    /// Interface.
    pub imr_ifindex: i32,
}

const _: () = {
    use linux_raw_sys::net;
    assert!(size_of::<SockaddrIn>() == size_of::<net::sockaddr_in>());
    assert!(size_of::<InPktinfo>() == size_of::<net::in_pktinfo>());
    assert!(size_of::<IpMreqn>() == size_of::<net::ip_mreqn>());
};

macro_rules! options {
    ($($name:ident = $value:literal;)*) => {
        $(#[doc = concat!("SOL_IP option ", stringify!($value), ".")] pub const $name: i32 = $value;)*
    };
}

options! {
    IP_TOS = 1; IP_TTL = 2; IP_HDRINCL = 3; IP_OPTIONS = 4; IP_ROUTER_ALERT = 5; IP_RECVOPTS = 6; IP_RETOPTS = 7;
    IP_PKTINFO = 8; IP_PKTOPTIONS = 9; IP_MTU_DISCOVER = 10; IP_RECVERR = 11; IP_RECVTTL = 12; IP_RECVTOS = 13;
    IP_MTU = 14; IP_FREEBIND = 15; IP_TRANSPARENT = 19; IP_RECVORIGDSTADDR = 20; IP_MINTTL = 21; IP_NODEFRAG = 22;
    IP_CHECKSUM = 23; IP_BIND_ADDRESS_NO_PORT = 24; IP_RECVFRAGSIZE = 25; IP_RECVERR_RFC4884 = 26; IP_MULTICAST_IF = 32;
    IP_MULTICAST_TTL = 33; IP_MULTICAST_LOOP = 34; IP_ADD_MEMBERSHIP = 35; IP_DROP_MEMBERSHIP = 36;
    IP_MULTICAST_ALL = 49; IP_UNICAST_IF = 50;
}
