//! Linux: include/uapi/linux/falloc.h.

/// Allocate beyond the end without moving it.
pub const FALLOC_FL_KEEP_SIZE: u32 = 1;
/// Make a hole; only together with `FALLOC_FL_KEEP_SIZE`.
pub const FALLOC_FL_PUNCH_HOLE: u32 = 2;
/// Take a range out and move the rest down.
pub const FALLOC_FL_COLLAPSE_RANGE: u32 = 8;
/// Make a range read as zeros.
pub const FALLOC_FL_ZERO_RANGE: u32 = 0x10;
/// Move a range up and leave a hole.
pub const FALLOC_FL_INSERT_RANGE: u32 = 0x20;
/// Give a range blocks of its own.
pub const FALLOC_FL_UNSHARE_RANGE: u32 = 0x40;
