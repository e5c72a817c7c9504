//! Linux: include/linux/eventfd.h, flags of eventfd2(2).

/// A read takes one off the counter rather than all of it.
pub const EFD_SEMAPHORE: u32 = 1;
/// Close on exec.
pub const EFD_CLOEXEC: u32 = 0o2_000_000;
/// Do not block.
pub const EFD_NONBLOCK: u32 = 0o4000;
