//! System V IPC and POSIX message queues. Linux: ipc/.

mod mqueue;
mod msg;
mod sem;
mod shm;

pub(crate) use mqueue::*;
pub(crate) use msg::*;
pub(crate) use sem::*;
pub(crate) use shm::*;

use sentry_kernel::SyscallResult;

/// An id as the result of a call.
fn id_result(id: i32) -> SyscallResult {
    Ok(u64::try_from(id).unwrap_or(0))
}
