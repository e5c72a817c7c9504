//! The kernel's clocks and its timer queue. Nothing above reads a host clock directly, so that time can be offset,
//! frozen or scripted.
#![forbid(unsafe_code)]

mod clocks;
mod line;
mod ntp;
mod timekeeper;
mod timer_queue;

pub use clocks::Clocks;
pub use ntp::adjtime_sets;
pub use timekeeper::VvarPage;
pub use timer_queue::{Expire, TimerHandle, TimerQueue};
