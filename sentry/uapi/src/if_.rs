//! Linux: include/uapi/linux/if.h, if_arp.h, sockios.h and asm-generic/sockios.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! commands {
    ($($name:ident = $value:literal;)*) => {
        $(#[doc = concat!("ioctl ", stringify!($value), ".")] pub const $name: u32 = $value;)*
    };
}

commands! {
    FIONREAD = 0x541b; SIOCOUTQ = 0x5411; FIOSETOWN = 0x8901; SIOCSPGRP = 0x8902; FIOGETOWN = 0x8903; SIOCGPGRP = 0x8904;
    SIOCATMARK = 0x8905; SIOCGSTAMP_OLD = 0x8906; SIOCGSTAMPNS_OLD = 0x8907; SIOCGIFNAME = 0x8910; SIOCGIFCONF = 0x8912;
    SIOCGIFFLAGS = 0x8913; SIOCSIFFLAGS = 0x8914; SIOCGIFADDR = 0x8915; SIOCSIFADDR = 0x8916; SIOCGIFDSTADDR = 0x8917;
    SIOCGIFBRDADDR = 0x8919; SIOCGIFNETMASK = 0x891b; SIOCGIFMETRIC = 0x891d; SIOCGIFMTU = 0x8921; SIOCGIFHWADDR = 0x8927;
    SIOCGIFINDEX = 0x8933; SIOCGIFTXQLEN = 0x8942; SIOCETHTOOL = 0x8946; SIOCGIFMAP = 0x8970; SIOCOUTQNSD = 0x894b;
    SIOCGSKNS = 0x894c;
}

/// Interface is up.
pub const IFF_UP: u16 = 1;
/// There is a broadcast address.
pub const IFF_BROADCAST: u16 = 2;
/// It can multicast.
pub const IFF_MULTICAST: u16 = 0x1000;
/// Loopback.
pub const IFF_LOOPBACK: u16 = 8;
/// Resources are there.
pub const IFF_RUNNING: u16 = 0x40;
/// Layer below is up, of `ifi_flags` only.
pub const IFF_LOWER_UP: u32 = 1 << 16;
/// Hardware type of Ethernet.
pub const ARPHRD_ETHER: u16 = 1;
/// Hardware type of a loopback.
pub const ARPHRD_LOOPBACK: u16 = 772;
/// Length of an interface's name with its zero.
pub const IFNAMSIZ: usize = 16;

/// `struct ifreq`: a name, and a union of 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ifreq {
    /// Name of the interface.
    pub ifr_name: [u8; IFNAMSIZ],
    /// An address, a number, or whatever the command says.
    pub ifr_ifru: [u8; 24],
}

/// `struct ifconf`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ifconf {
    /// Size of the buffer in bytes.
    pub ifc_len: i32,
    /// Padding.
    pub pad: u32,
    /// Address of the buffer.
    pub ifc_buf: u64,
}

const _: () = {
    use linux_raw_sys::net;
    // Not compared: the union of linux-raw-sys ends in another `struct sockaddr`.
    assert!(size_of::<Ifreq>() == 40);
    assert!(size_of::<Ifconf>() == size_of::<net::ifconf>());
};
