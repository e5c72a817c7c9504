//! Linux: include/linux/splice.h, flags of splice(2), tee(2) and vmsplice(2).

/// Move pages; copying is always allowed.
pub const SPLICE_F_MOVE: u32 = 1;
/// Do not wait for pipes.
pub const SPLICE_F_NONBLOCK: u32 = 2;
/// More will follow.
pub const SPLICE_F_MORE: u32 = 4;
/// The caller gives its pages away.
pub const SPLICE_F_GIFT: u32 = 8;
/// All of them.
pub const SPLICE_F_ALL: u32 = 15;
