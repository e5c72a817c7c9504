//! Futexes.

mod wait;
