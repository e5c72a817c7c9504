//! x86_64.

mod call_site;
mod exception;
mod signal_frame;
mod syscall_entry;

pub(crate) use call_site::HotCalls;
pub(crate) use exception::Exception;
