//! Linux: include/linux/socket.h, include/uapi/linux/socket.h, include/uapi/asm-generic/socket.h, include/uapi/linux/net.h.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// No family: dissolves an association.
pub const AF_UNSPEC: u16 = 0;
/// Local sockets.
pub const AF_UNIX: u16 = 1;
/// Internet protocol version 4.
pub const AF_INET: u16 = 2;
/// Internet protocol version 6.
pub const AF_INET6: u16 = 10;
/// Kernel user interface.
pub const AF_NETLINK: u16 = 16;
/// Raw access to network devices.
pub const AF_PACKET: u16 = 17;
/// One more than the highest family.
pub const AF_MAX: u16 = 46;

/// Byte stream.
pub const SOCK_STREAM: u32 = 1;
/// Datagrams.
pub const SOCK_DGRAM: u32 = 2;
/// Raw protocol.
pub const SOCK_RAW: u32 = 3;
/// Reliably delivered messages.
pub const SOCK_RDM: u32 = 4;
/// Connected, sequenced records.
pub const SOCK_SEQPACKET: u32 = 5;
/// Obsolete packet sockets.
pub const SOCK_PACKET: u32 = 10;
/// One more than the highest type.
pub const SOCK_MAX: u32 = 11;
/// The type's part of socket(2)'s second argument.
pub const SOCK_TYPE_MASK: u32 = 0xf;
/// Close on exec.
pub const SOCK_CLOEXEC: u32 = 0o2_000_000;
/// Do not block.
pub const SOCK_NONBLOCK: u32 = 0o4000;

/// shutdown(2): no more receiving.
pub const SHUT_RD: u32 = 0;
/// shutdown(2): no more sending.
pub const SHUT_WR: u32 = 1;
/// shutdown(2): neither.
pub const SHUT_RDWR: u32 = 2;

/// Longest backlog by default: `/proc/sys/net/core/somaxconn`.
pub const SOMAXCONN: u32 = 4096;

/// Size of `struct sockaddr_storage`, the longest address.
pub const SOCKADDR_STORAGE_SIZE: usize = 128;

bitflags! {
    /// Flags of send(2), recv(2) and their kin, and of `msg_flags`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct MsgFlags: u32 {
        /// Urgent data.
        const OOB = 1;
        /// Look, but leave it in the queue.
        const PEEK = 2;
        /// Do not route.
        const DONTROUTE = 4;
        /// Control data was longer than the buffer for it.
        const CTRUNC = 8;
        /// Do not send, only probe the path.
        const PROBE = 0x10;
        /// Data was longer than the buffer; as a request: tell how long it was.
        const TRUNC = 0x20;
        /// Do not wait.
        const DONTWAIT = 0x40;
        /// End of a record.
        const EOR = 0x80;
        /// Wait for all that was asked for.
        const WAITALL = 0x100;
        /// FIN.
        const FIN = 0x200;
        /// SYN.
        const SYN = 0x400;
        /// Confirm the path.
        const CONFIRM = 0x800;
        /// RST.
        const RST = 0x1000;
        /// Read from the error queue.
        const ERRQUEUE = 0x2000;
        /// No SIGPIPE.
        const NOSIGNAL = 0x4000;
        /// There is more to come.
        const MORE = 0x8000;
        /// recvmmsg(2): wait for the first message only.
        const WAITFORONE = 0x10000;
        /// Send without copying.
        const ZEROCOPY = 0x400_0000;
        /// Send with the connection request.
        const FASTOPEN = 0x2000_0000;
        /// Received descriptors are closed on exec.
        const CMSG_CLOEXEC = 0x4000_0000;
        /// Of 32-bit tasks; refused otherwise.
        const CMSG_COMPAT = 0x8000_0000;
        /// Bits without a meaning are ignored.
        const _ = !0;
    }
}

/// Socket level of options and control messages.
pub const SOL_SOCKET: i32 = 1;
/// Control message: open files.
pub const SCM_RIGHTS: i32 = 1;
/// Control message: credentials of the sender.
pub const SCM_CREDENTIALS: i32 = 2;
/// Control message: security label.
pub const SCM_SECURITY: i32 = 3;
/// Control message: a pidfd of the sender.
pub const SCM_PIDFD: i32 = 4;
/// Most files in one SCM_RIGHTS message. Linux: include/net/scm.h.
pub const SCM_MAX_FD: usize = 253;

macro_rules! sockopts {
    ($($name:ident = $value:literal;)*) => {
        $(#[doc = concat!("SOL_SOCKET option ", stringify!($value), ".")] pub const $name: i32 = $value;)*
    };
}

sockopts! {
    SO_DEBUG = 1; SO_REUSEADDR = 2; SO_TYPE = 3; SO_ERROR = 4; SO_DONTROUTE = 5; SO_BROADCAST = 6; SO_SNDBUF = 7;
    SO_RCVBUF = 8; SO_KEEPALIVE = 9; SO_OOBINLINE = 10; SO_NO_CHECK = 11; SO_PRIORITY = 12; SO_LINGER = 13;
    SO_BSDCOMPAT = 14; SO_REUSEPORT = 15; SO_PASSCRED = 16; SO_PEERCRED = 17; SO_RCVLOWAT = 18; SO_SNDLOWAT = 19;
    SO_RCVTIMEO_OLD = 20; SO_SNDTIMEO_OLD = 21; SO_BINDTODEVICE = 25; SO_ATTACH_FILTER = 26; SO_DETACH_FILTER = 27;
    SO_PEERNAME = 28; SO_TIMESTAMP_OLD = 29; SO_ACCEPTCONN = 30; SO_PEERSEC = 31; SO_SNDBUFFORCE = 32;
    SO_RCVBUFFORCE = 33; SO_PASSSEC = 34; SO_TIMESTAMPNS_OLD = 35; SO_MARK = 36; SO_TIMESTAMPING_OLD = 37;
    SO_PROTOCOL = 38; SO_DOMAIN = 39; SO_RXQ_OVFL = 40; SO_WIFI_STATUS = 41; SO_PEEK_OFF = 42; SO_NOFCS = 43;
    SO_LOCK_FILTER = 44; SO_SELECT_ERR_QUEUE = 45; SO_BUSY_POLL = 46; SO_MAX_PACING_RATE = 47; SO_BPF_EXTENSIONS = 48;
    SO_INCOMING_CPU = 49; SO_ATTACH_BPF = 50; SO_MEMINFO = 55; SO_INCOMING_NAPI_ID = 56; SO_COOKIE = 57;
    SO_PEERGROUPS = 59; SO_ZEROCOPY = 60; SO_TXTIME = 61; SO_BINDTOIFINDEX = 62; SO_TIMESTAMP_NEW = 63;
    SO_TIMESTAMPNS_NEW = 64; SO_TIMESTAMPING_NEW = 65; SO_RCVTIMEO_NEW = 66; SO_SNDTIMEO_NEW = 67;
    SO_PREFER_BUSY_POLL = 69; SO_BUSY_POLL_BUDGET = 70; SO_NETNS_COOKIE = 71; SO_BUF_LOCK = 72; SO_RESERVE_MEM = 73;
    SO_TXREHASH = 74; SO_RCVMARK = 75; SO_PASSPIDFD = 76; SO_PEERPIDFD = 77;
}

/// `struct linger`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Linger {
    /// Whether close(2) lingers.
    pub l_onoff: i32,
    /// Seconds.
    pub l_linger: i32,
}

/// `struct ucred`, in ids of the namespaces of whoever reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ucred {
    /// Process id.
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// `struct user_msghdr` of a 64-bit task.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct UserMsghdr {
    /// Address of the peer.
    pub msg_name: u64,
    /// Its length.
    pub msg_namelen: u32,
    /// Padding.
    pub pad0: u32,
    /// Address of the `struct iovec`s.
    pub msg_iov: u64,
    /// How many.
    pub msg_iovlen: u64,
    /// Address of the control messages.
    pub msg_control: u64,
    /// Their length.
    pub msg_controllen: u64,
    /// `MSG_*` of a received message.
    pub msg_flags: u32,
    /// Padding.
    pub pad1: u32,
}

/// `struct mmsghdr` of a 64-bit task.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Mmsghdr {
    /// The message.
    pub msg_hdr: UserMsghdr,
    /// Bytes sent or received.
    pub msg_len: u32,
    /// Padding.
    pub pad: u32,
}

/// `struct cmsghdr` of a 64-bit task.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Cmsghdr {
    /// Length, this header included.
    pub cmsg_len: u64,
    /// Protocol the message is of.
    pub cmsg_level: i32,
    /// What it is.
    pub cmsg_type: i32,
}

const _: () = {
    use linux_raw_sys::net;
    assert!(size_of::<Linger>() == size_of::<net::linger>());
    assert!(size_of::<Ucred>() == size_of::<net::ucred>());
    assert!(size_of::<UserMsghdr>() == size_of::<net::msghdr>());
    assert!(size_of::<Mmsghdr>() == size_of::<net::mmsghdr>());
    assert!(size_of::<Cmsghdr>() == size_of::<net::cmsghdr>());
};
