//! POSIX message queues. Linux: ipc/mqueue.c. A queue is a file of a filesystem that each IPC namespace has one of.

mod calls;
mod fs_type;
mod inode;
mod limits;
mod notify;
mod queue;

pub use fs_type::MqueueType;
pub(crate) use limits::MqueueUsage;
pub use limits::{MqueueIds, MqueueLimits};
pub use notify::MqNotify;
