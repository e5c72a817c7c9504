//! Clocks, sleeps and timers.

mod clock;
mod cpu_clock;
mod itimer;
mod posix_timer;
