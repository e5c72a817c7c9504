//! Terminals.

mod pty;
