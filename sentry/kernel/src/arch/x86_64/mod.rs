//! x86_64.

mod exception;
mod signal_frame;
mod syscall_entry;

pub(crate) use exception::Exception;
