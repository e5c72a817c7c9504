//! Linux: include/uapi/asm-generic/ioctls.h.

/// Bytes that can be read without waiting, into an `int`.
pub const FIONREAD: u32 = 0x541b;
