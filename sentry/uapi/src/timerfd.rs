//! Linux: include/uapi/linux/timerfd.h.

/// Close on exec.
pub const TFD_CLOEXEC: u32 = 0o2_000_000;
/// Do not block.
pub const TFD_NONBLOCK: u32 = 0o4000;
/// The time is a point on the clock rather than a distance from now.
pub const TFD_TIMER_ABSTIME: u32 = 1;
/// End reads with ECANCELED when the clock is set.
pub const TFD_TIMER_CANCEL_ON_SET: u32 = 2;
/// ioctl: sets the number of expirations, from a `u64`.
pub const TFD_IOC_SET_TICKS: u32 = 0x4008_5400;
