//! Pipes, and the calls that wait for events.

mod pipe;
