//! Processes and threads.

mod fork;
mod wait;
