//! Terminals.

mod discipline;
mod job_control;
mod pty;
