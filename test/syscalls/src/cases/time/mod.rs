//! Clocks, sleeps and timers.

mod clock;
