//! Linux: include/uapi/linux/timex.h.

use crate::time::Timeval;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct timex` with 64-bit fields, `struct __kernel_timex`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Timex {
    /// What to change: `ADJ_*`.
    pub modes: u32,
    /// Unused.
    pub pad: u32,
    /// What is left of an adjustment, in microseconds, or nanoseconds with `STA_NANO`.
    pub offset: i64,
    /// Frequency offset, in parts per million times 65536.
    pub freq: i64,
    /// Maximum error, in microseconds.
    pub maxerror: i64,
    /// Estimated error, in microseconds.
    pub esterror: i64,
    /// `STA_*`.
    pub status: i32,
    /// Unused.
    pub pad1: u32,
    /// Time constant of the phase-locked loop; with `ADJ_TAI`, the offset of CLOCK_TAI in seconds.
    pub constant: i64,
    /// Precision of the clock, in microseconds.
    pub precision: i64,
    /// Largest frequency offset.
    pub tolerance: i64,
    /// The time, its second part in nanoseconds with `STA_NANO`.
    pub time: Timeval,
    /// Microseconds between ticks.
    pub tick: i64,
    /// Of a pulse-per-second signal, of which there is none.
    pub pps: [i64; 8],
    /// The offset of CLOCK_TAI, in seconds.
    pub tai: i32,
    /// Unused.
    pub reserved: [i32; 11],
}

const _: () = assert!(size_of::<Timex>() == 208);

/// Sets the offset, or begins to; with [`ADJ_ADJTIME`] what adjtime(3) does.
pub const ADJ_OFFSET: u32 = 0x1;
/// Sets the frequency.
pub const ADJ_FREQUENCY: u32 = 0x2;
/// Sets the maximum error.
pub const ADJ_MAXERROR: u32 = 0x4;
/// Sets the estimated error.
pub const ADJ_ESTERROR: u32 = 0x8;
/// Sets the status.
pub const ADJ_STATUS: u32 = 0x10;
/// Sets the time constant.
pub const ADJ_TIMECONST: u32 = 0x20;
/// Sets the offset of CLOCK_TAI.
pub const ADJ_TAI: u32 = 0x80;
/// Adds `time` to the time.
pub const ADJ_SETOFFSET: u32 = 0x100;
/// From now on in microseconds.
pub const ADJ_MICRO: u32 = 0x1000;
/// From now on in nanoseconds.
pub const ADJ_NANO: u32 = 0x2000;
/// Sets the length of a tick.
pub const ADJ_TICK: u32 = 0x4000;
/// For adjtime(3).
pub const ADJ_ADJTIME: u32 = 0x8000;
/// With [`ADJ_ADJTIME`]: reads only.
pub const ADJ_OFFSET_READONLY: u32 = 0x2000;

/// The phase-locked loop is on.
pub const STA_PLL: i32 = 0x1;
/// The clock is not synchronised.
pub const STA_UNSYNC: i32 = 0x40;
/// A fault of the clock.
pub const STA_CLOCKERR: i32 = 0x1000;
/// In nanoseconds.
pub const STA_NANO: i32 = 0x2000;
/// The bits that cannot be set.
pub const STA_RONLY: i32 = 0xff00;

/// The clock is synchronised.
pub const TIME_OK: u64 = 0;
/// The clock is not synchronised.
pub const TIME_ERROR: u64 = 5;
