//! Linux: include/uapi/asm-generic/ioctls.h.

/// Do not block, or do, as an `int` says.
pub const FIONBIO: u32 = 0x5421;
/// Clear close-on-exec.
pub const FIONCLEX: u32 = 0x5450;
/// Set close-on-exec.
pub const FIOCLEX: u32 = 0x5451;
/// Signal-driven I/O, or not, as an `int` says.
pub const FIOASYNC: u32 = 0x5452;
/// Bytes a file occupies, into an `i64`.
pub const FIOQSIZE: u32 = 0x5460;
/// Size of a block of the filesystem, into an `int`. Linux: include/uapi/linux/fs.h.
pub const FIGETBSZ: u32 = 2;
/// Share the contents of a file. Linux: include/uapi/linux/fs.h.
pub const FICLONE: u32 = 0x4004_9409;
/// Share a range of a file.
pub const FICLONERANGE: u32 = 0x4020_940d;
/// Share equal ranges.
pub const FIDEDUPERANGE: u32 = 0xc018_9436;

/// Bytes that can be read without waiting, into an `int`.
pub const FIONREAD: u32 = 0x541b;
