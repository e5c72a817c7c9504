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
mod extents;
mod file;
mod inode;
mod inode_cache;
mod libfs;
mod path;
mod poll;
mod super_block;
mod task_context;
#[cfg(any(test, feature = "test-context"))]
mod test_context;
mod vfs;

pub use attr::{Access, Attr, FileType, SetAttr, SetTime};
pub use block::{block_on_file, wait_event};
pub use dentry::Dentry;
pub use extents::{ExtentAt, Extents};
pub use file::{DirSink, File, FileOps, IoFlags, Written};
pub use inode::{
    Inode, InodeOps, LinkTarget, NewNode, NodeKind, Rename, RenameFlags, XattrFlags, generic_permission,
};
pub use inode_cache::InodeCache;
pub use libfs::{FIRST_ENTRY, dir_emit_dots, drop_suidgid, generic_write_checks};
pub use path::{Mount, Path};
pub use poll::PollTable;
pub use super_block::{StatFs, SuperBlock, SuperFlags, SuperOps};
pub use task_context::{Resource, Sleep, TaskContext};
#[cfg(any(test, feature = "test-context"))]
pub use test_context::TestContext;
pub use vfs::{Pseudo, Vfs};
