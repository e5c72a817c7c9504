//! Linux: include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! constants {
    ($($name:ident: $ty:ty = $value:expr;)*) => {
        $(#[doc = concat!("Number ", stringify!($value), " of its kind.")] pub const $name: $ty = $value;)*
    };
}

constants! {
    RTM_NEWLINK: u16 = 16; RTM_DELLINK: u16 = 17; RTM_GETLINK: u16 = 18; RTM_SETLINK: u16 = 19; RTM_NEWADDR: u16 = 20;
    RTM_DELADDR: u16 = 21; RTM_GETADDR: u16 = 22; RTM_NEWROUTE: u16 = 24; RTM_DELROUTE: u16 = 25; RTM_GETROUTE: u16 = 26;
    RTM_GETNEIGH: u16 = 30; RTM_GETRULE: u16 = 34; RTM_NEWNSID: u16 = 88; RTM_GETNSID: u16 = 90; RTM_MAX: u16 = 123;
    NETNSA_NSID: u16 = 1; NETNSA_PID: u16 = 2; NETNSA_FD: u16 = 3; NETNSA_NSID_NOT_ASSIGNED: i32 = -1;
    IFLA_ADDRESS: u16 = 1; IFLA_BROADCAST: u16 = 2; IFLA_IFNAME: u16 = 3; IFLA_MTU: u16 = 4; IFLA_QDISC: u16 = 6;
    IFLA_TXQLEN: u16 = 13; IFLA_OPERSTATE: u16 = 16; IFLA_LINKMODE: u16 = 17; IFLA_GROUP: u16 = 27; IFLA_CARRIER: u16 = 33;
    IFLA_EXT_MASK: u16 = 29; IFLA_ALT_IFNAME: u16 = 53;
    IFA_ADDRESS: u16 = 1; IFA_LOCAL: u16 = 2; IFA_LABEL: u16 = 3; IFA_CACHEINFO: u16 = 6; IFA_FLAGS: u16 = 8;
    IFA_F_PERMANENT: u32 = 0x80;
    RT_SCOPE_HOST: u8 = 254;
    RTA_DST: u16 = 1; RTA_OIF: u16 = 4; RTA_PREFSRC: u16 = 7; RTA_TABLE: u16 = 15;
    RT_TABLE_MAIN: u8 = 254; RT_TABLE_LOCAL: u8 = 255; RTPROT_KERNEL: u8 = 2; RTN_LOCAL: u8 = 2;
}

/// `struct ifinfomsg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ifinfomsg {
    /// AF_UNSPEC.
    pub ifi_family: u8,
    /// Padding.
    pub pad: u8,
    /// `ARPHRD_*`.
    pub ifi_type: u16,
    /// Number of the interface.
    pub ifi_index: i32,
    /// `IFF_*`.
    pub ifi_flags: u32,
    /// Which of them to change.
    pub ifi_change: u32,
}

/// `struct rtgenmsg`, with the padding behind it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Rtgenmsg {
    /// Address family.
    pub rtgen_family: u8,
    /// Padding.
    pub pad: [u8; 3],
}

/// `struct ifaddrmsg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ifaddrmsg {
    /// Address family.
    pub ifa_family: u8,
    /// Bits of the network's part.
    pub ifa_prefixlen: u8,
    /// `IFA_F_*`.
    pub ifa_flags: u8,
    /// `RT_SCOPE_*`.
    pub ifa_scope: u8,
    /// Number of the interface.
    pub ifa_index: u32,
}

/// `struct ifa_cacheinfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct IfaCacheinfo {
    pub ifa_prefered: u32,
    pub ifa_valid: u32,
    pub cstamp: u32,
    pub tstamp: u32,
}

/// `struct rtattr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Rtattr {
    /// Length, this header included.
    pub rta_len: u16,
    /// What it is.
    pub rta_type: u16,
}

const _: () = {
    use linux_raw_sys::netlink;
    assert!(size_of::<Ifinfomsg>() == size_of::<netlink::ifinfomsg>());
    assert!(size_of::<Ifaddrmsg>() == size_of::<netlink::ifaddrmsg>());
    assert!(size_of::<Rtattr>() == size_of::<netlink::rtattr>());
};
