//! The virtual file system, on Linux's own model: dentries, inodes, superblocks, mounts, open files.
//!
//! Linux: fs/. A filesystem implements [`InodeOps`] and [`FileOps`]; everything a path, a descriptor or a mount needs
//! beyond that is here. Nothing here knows a task: what an operation needs of its caller is [`TaskContext`].
//!
//! Blocking: a [`FileOps`] method never sleeps. It returns `EAGAIN` when it cannot go on, and says through
//! [`FileOps::poll`] which queues to wait on; [`File`] puts the two together. So a task that waits holds no lock.
#![forbid(unsafe_code)]

mod attr;
mod block;
mod dentry;
mod eventfd;
mod eventpoll;
mod file;
mod inode;
mod locks;
mod path;
mod pipe;
mod poll;
mod select;
mod signalfd;
mod super_block;
mod task_context;
#[cfg(any(test, feature = "test-context"))]
mod test_context;
mod timerfd;
mod vfs;

pub use attr::{Access, Attr, FileType, SetAttr, SetTime};
pub use block::{block_on_file, wait_event};
pub use dentry::Dentry;
pub use eventfd::do_eventfd;
pub use eventpoll::{EpollLimits, do_epoll_create, do_epoll_ctl, do_epoll_wait};
pub use file::{DirSink, File, FileOps, IoFlags, Written};
pub use inode::{
    Inode, InodeOps, LinkTarget, NewNode, NodeKind, Rename, RenameFlags, XattrFlags, generic_permission,
};
pub use locks::{
    LockClass, LockInfo, LockKind, LockOwner, do_flock, fcntl_getlk, fcntl_setlease, fcntl_setlk,
    locks_remove_posix, locks_show,
};
pub use path::{Mount, Path};
pub use pipe::{PipeLimits, do_pipe2, open_fifo, pipe_get_size, pipe_set_size};
pub use poll::PollTable;
pub use select::{PollEntry, PollTarget, SelectEntry, do_poll, do_select};
pub use signalfd::{do_signalfd, signalfd_set_mask};
pub use super_block::{StatFs, SuperBlock, SuperFlags, SuperOps};
pub use task_context::{Resource, Sleep, TaskContext};
#[cfg(any(test, feature = "test-context"))]
pub use test_context::TestContext;
pub use timerfd::{do_timerfd_create, do_timerfd_gettime, do_timerfd_settime, timerfd_clock_was_set};
pub use vfs::{Pseudo, Vfs};
