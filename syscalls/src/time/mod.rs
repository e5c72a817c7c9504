//! Clocks and timers. Linux: kernel/time/.

pub(crate) mod clock;
pub(crate) mod timer;
