//! Linux: include/uapi/linux/mqueue.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Priorities are below this.
pub const MQ_PRIO_MAX: u32 = 32768;
/// Last byte of a cookie: a message has come.
pub const NOTIFY_WOKENUP: u8 = 1;
/// Last byte of a cookie: the notification has been cancelled.
pub const NOTIFY_REMOVED: u8 = 2;
/// Length of a cookie.
pub const NOTIFY_COOKIE_LEN: usize = 32;

/// `struct mq_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MqAttr {
    /// O_NONBLOCK or 0.
    pub mq_flags: i64,
    /// Messages the queue may have.
    pub mq_maxmsg: i64,
    /// Bytes a message may have.
    pub mq_msgsize: i64,
    /// Messages in the queue.
    pub mq_curmsgs: i64,
    /// Zero.
    pub reserved: [i64; 4],
}

const _: () = assert!(size_of::<MqAttr>() == 64);
