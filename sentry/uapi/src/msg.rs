//! Linux: include/uapi/linux/msg.h and include/uapi/asm-generic/msgbuf.h.

use crate::ipc::Ipc64Perm;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Cut a message that is too long.
pub const MSG_NOERROR: i32 = 0o10000;
/// A message of any type but this.
pub const MSG_EXCEPT: i32 = 0o20000;
/// A copy of the message at this place.
pub const MSG_COPY: i32 = 0o40000;

/// As IPC_STAT, by index.
pub const MSG_STAT: i32 = 11;
/// Look at what is in use.
pub const MSG_INFO: i32 = 12;
/// As MSG_STAT, whatever the mode.
pub const MSG_STAT_ANY: i32 = 13;

/// Queues a namespace may have.
pub const MSGMNI: i32 = 32000;
/// Bytes of a message.
pub const MSGMAX: i32 = 8192;
/// Bytes of a queue.
pub const MSGMNB: i32 = 16384;

/// `struct msqid64_ds`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct Msqid64Ds {
    pub msg_perm: Ipc64Perm,
    pub msg_stime: i64,
    pub msg_rtime: i64,
    pub msg_ctime: i64,
    pub msg_cbytes: u64,
    pub msg_qnum: u64,
    pub msg_qbytes: u64,
    pub msg_lspid: i32,
    pub msg_lrpid: i32,
    pub unused: [u64; 2],
}

/// `struct msginfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct Msginfo {
    pub msgpool: i32,
    pub msgmap: i32,
    pub msgmax: i32,
    pub msgmnb: i32,
    pub msgmni: i32,
    pub msgssz: i32,
    pub msgtql: i32,
    pub msgseg: u16,
    pub pad: u16,
}

const _: () = assert!(size_of::<Msqid64Ds>() == 120 && size_of::<Msginfo>() == 32);
