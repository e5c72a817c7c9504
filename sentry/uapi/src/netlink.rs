//! Linux: include/uapi/linux/netlink.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Routing, addresses and links.
pub const NETLINK_ROUTE: i32 = 0;
/// Longest table of netlink protocols.
pub const MAX_LINKS: i32 = 32;

/// Nothing.
pub const NLMSG_NOOP: u16 = 1;
/// An error, or an acknowledgement.
pub const NLMSG_ERROR: u16 = 2;
/// End of a dump.
pub const NLMSG_DONE: u16 = 3;
/// First message type of a protocol.
pub const NLMSG_MIN_TYPE: u16 = 0x10;

/// This is a request.
pub const NLM_F_REQUEST: u16 = 1;
/// One of several messages, ended by `NLMSG_DONE`.
pub const NLM_F_MULTI: u16 = 2;
/// Acknowledge.
pub const NLM_F_ACK: u16 = 4;
/// The request's header only is echoed. Linux: `NLM_F_CAPPED`.
pub const NLM_F_CAPPED: u16 = 0x100;
/// All entries.
pub const NLM_F_DUMP: u16 = 0x300;

/// Option level of netlink.
pub const SOL_NETLINK: i32 = 270;
/// Join a group.
pub const NETLINK_ADD_MEMBERSHIP: i32 = 1;
/// Leave a group.
pub const NETLINK_DROP_MEMBERSHIP: i32 = 2;
/// Deliver `struct nl_pktinfo`.
pub const NETLINK_PKTINFO: i32 = 3;
/// Send ENOBUFS on an overrun no more.
pub const NETLINK_NO_ENOBUFS: i32 = 5;
/// Do not echo whole requests.
pub const NETLINK_CAP_ACK: i32 = 10;
/// Extended acknowledgements.
pub const NETLINK_EXT_ACK: i32 = 11;
/// Strict checks of requests.
pub const NETLINK_GET_STRICT_CHK: i32 = 12;

/// `struct sockaddr_nl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SockaddrNl {
    /// AF_NETLINK.
    pub nl_family: u16,
    /// Zero.
    pub nl_pad: u16,
    /// Port; 0 is the kernel.
    pub nl_pid: u32,
    /// Multicast groups.
    pub nl_groups: u32,
}

/// `struct nlmsghdr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Nlmsghdr {
    /// Length, this header included.
    pub nlmsg_len: u32,
    /// Type.
    pub nlmsg_type: u16,
    /// `NLM_F_*`.
    pub nlmsg_flags: u16,
    /// Sequence number.
    pub nlmsg_seq: u32,
    /// Port of the sender.
    pub nlmsg_pid: u32,
}

const _: () = {
    use linux_raw_sys::netlink;
    assert!(size_of::<SockaddrNl>() == size_of::<netlink::sockaddr_nl>());
    assert!(size_of::<Nlmsghdr>() == size_of::<netlink::nlmsghdr>());
};
