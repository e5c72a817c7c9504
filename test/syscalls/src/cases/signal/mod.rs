//! Signals.

mod deliver;
