//! x86_64.

mod signal_frame;
mod syscall_entry;
