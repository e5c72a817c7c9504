//! What a synthetic file is. Linux: include/linux/kernfs.h, `struct kernfs_ops`; fs/proc/internal.h.

use crate::NodeAttr;
use fs_vfs::{Access, FIRST_ENTRY};
use fs_vfs::{
    Attr, File, FileOps, FileType, Inode, LinkTarget, NewNode, PollTable, SetAttr, TaskContext,
    generic_permission,
};
use sentry_auth::Cred;
use sentry_mm::IoSrc;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EIO, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::poll::{POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};
use std::any::Any;
use std::sync::Arc;

/// What all nodes do.
pub trait NodeOps: Any + Send + Sync {
    /// For the owner of the type to get back at it.
    fn as_any(&self) -> &dyn Any;

    /// The present attributes. An error if what the node shows is gone (`ENOENT`, `ESRCH`).
    fn attr(&self) -> Result<NodeAttr, Errno>;

    /// Changes owner, group, permission bits or times. A change of size never comes here: a write gives the new value
    /// as a whole, so truncating first means nothing.
    fn setattr(&self, change: &SetAttr) -> Result<(), Errno> {
        let _ = change;
        Err(EPERM)
    }

    /// Whether `cred` may access the node so.
    fn permission(&self, attr: &Attr, file_type: FileType, cred: &Cred, access: Access) -> Result<(), Errno> {
        generic_permission(attr, file_type, cred, access)
    }

    /// Whether what the node shows still exists. Where the superblock revalidates, the name of a dead node is looked up
    /// anew; open files are not affected.
    fn alive(&self) -> bool {
        true
    }
}

/// Receives the entries of a directory: name, type, and the position behind it. False: full, the entry was not taken.
pub type Emit<'a> = dyn FnMut(&[u8], FileType, u64) -> bool + 'a;

/// A directory.
pub trait DirNode: NodeOps {
    /// What a name stands for; `ENOENT` if nothing.
    fn lookup(&self, ctx: &dyn TaskContext, name: &[u8]) -> Result<Node, Errno>;

    /// Puts out the entries from position `from` on, without `.` and `..`. Positions begin at
    /// [`fs_vfs::FIRST_ENTRY`], rise, and stay with their entry however the directory changes.
    fn list(&self, ctx: &dyn TaskContext, from: u64, emit: &mut Emit<'_>) -> Result<(), Errno>;

    /// Whether `name`, found missing before, is still known to be missing. Only asked where the superblock revalidates.
    fn still_missing(&self, name: &[u8]) -> bool {
        let _ = name;
        false
    }

    /// Attaches to a new inode of the directory what other parts of the kernel look for there.
    fn attach(&self, inode: &Inode) {
        let _ = inode;
    }

    /// Makes a directory. Linux: `kernfs_syscall_ops.mkdir`.
    fn mkdir(&self, ctx: &dyn TaskContext, name: &[u8], new: &NewNode) -> Result<Node, Errno> {
        let _ = (ctx, name, new);
        Err(EPERM)
    }

    /// Removes a directory. Linux: `kernfs_syscall_ops.rmdir`.
    fn rmdir(&self, ctx: &dyn TaskContext, name: &[u8]) -> Result<(), Errno> {
        let _ = (ctx, name);
        Err(EPERM)
    }
}

/// A file whose text is made when it is read from the start, and then stays the same until it is read from the start
/// again. Linux: fs/seq_file.c.
pub trait SeqNode: NodeOps {
    /// Called once for each open(2).
    fn open(&self, ctx: &dyn TaskContext, flags: OpenFlags) -> Result<(), Errno> {
        let _ = (ctx, flags);
        Ok(())
    }

    /// Puts the text out. `file.cred()` is the opener, `ctx` the reader.
    fn show(&self, file: &File, ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno>;

    /// Errors of a write of `len` bytes at `pos` that come before `EFAULT`.
    fn before_write(&self, file: &File, pos: u64, len: usize) -> Result<(), Errno> {
        let _ = (file, pos, len);
        Ok(())
    }

    /// Whether pwrite(2) works on it: a file of Linux's seq_file has no such thing.
    fn pwritable(&self) -> bool {
        true
    }

    /// Takes what is written at `pos`; returns how much of it counts as written.
    fn write(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        let _ = (file, ctx, src, pos);
        Err(EIO)
    }

    /// The events that hold now; see [`fs_vfs::FileOps::poll`].
    fn poll(&self, file: &File, table: &mut PollTable) -> u32 {
        let _ = (file, table);
        POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM
    }

    /// Whether epoll can watch it.
    fn pollable(&self) -> bool {
        false
    }
}

/// A file that does everything itself.
pub trait FileNode: NodeOps {
    /// Opens it.
    fn open(
        self: Arc<Self>,
        inode: &Arc<Inode>,
        ctx: &dyn TaskContext,
        flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno>;
}

/// A symbolic link.
pub trait LinkNode: NodeOps {
    /// Where it leads.
    fn readlink(&self, ctx: &dyn TaskContext) -> Result<LinkTarget, Errno>;

    /// What readlink(2) prints, where the link is a jump.
    fn text(&self, ctx: &dyn TaskContext) -> Result<Vec<u8>, Errno> {
        match self.readlink(ctx)? {
            LinkTarget::Path(path) => Ok(path),
            LinkTarget::Jump(_) => Err(EINVAL),
        }
    }
}

/// A node of any kind.
#[derive(Clone)]
pub enum Node {
    /// A directory.
    Dir(Arc<dyn DirNode>),
    /// A file of text.
    Seq(Arc<dyn SeqNode>),
    /// A file that does everything itself.
    File(Arc<dyn FileNode>),
    /// A symbolic link.
    Link(Arc<dyn LinkNode>),
}

impl Node {
    /// A directory.
    pub fn dir(node: impl DirNode) -> Node {
        Node::Dir(Arc::new(node))
    }

    /// A file of text.
    pub fn seq(node: impl SeqNode) -> Node {
        Node::Seq(Arc::new(node))
    }

    /// A file that does everything itself.
    pub fn file(node: impl FileNode) -> Node {
        Node::File(Arc::new(node))
    }

    /// A symbolic link.
    pub fn link(node: impl LinkNode) -> Node {
        Node::Link(Arc::new(node))
    }

    /// Its type.
    pub fn file_type(&self) -> FileType {
        match self {
            Node::Dir(_) => FileType::Directory,
            Node::Seq(_) | Node::File(_) => FileType::Regular,
            Node::Link(_) => FileType::Symlink,
        }
    }

    /// What it does as every node does.
    pub fn ops(&self) -> &dyn NodeOps {
        match self {
            Node::Dir(n) => &**n,
            Node::Seq(n) => &**n,
            Node::File(n) => &**n,
            Node::Link(n) => &**n,
        }
    }

    /// The node, if it is of type `T`.
    pub fn downcast<T: NodeOps>(&self) -> Option<&T> {
        self.ops().as_any().downcast_ref()
    }
}

/// Puts out a fixed list of names, each at the position of its place in it: the body of [`DirNode::list`] for a
/// directory with a fixed table. `first` is the position of the first of them.
///
/// Returns false if the sink is full.
pub fn emit_names<'a>(
    names: impl IntoIterator<Item = (&'a [u8], FileType)>,
    first: u64,
    from: u64,
    emit: &mut Emit<'_>,
) -> bool {
    let first = first.max(FIRST_ENTRY);
    let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
    let mut pos = first.saturating_add(u64::try_from(skip).unwrap_or(u64::MAX));
    for (name, file_type) in names.into_iter().skip(skip) {
        pos = pos.saturating_add(1);
        if !emit(name, file_type, pos) {
            return false;
        }
    }
    true
}
