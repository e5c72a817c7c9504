//! Nodes as inodes. Linux: fs/kernfs/inode.c, fs/kernfs/dir.c, fs/kernfs/symlink.c.

use crate::super_block::KernSuper;
use crate::{Node, seq};
use fs_vfs::{
    Access, Attr, DirSink, File, FileOps, FileType, Inode, InodeOps, LinkTarget, NewNode, NodeKind, SetAttr,
    SuperBlock, TaskContext, dir_emit_dots,
};
use sentry_auth::Cred;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EIO, EISDIR, ENXIO, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::time::Timespec;
use std::any::Any;
use std::sync::Arc;

/// An inode made of a node.
pub(crate) struct KernInode {
    pub(crate) node: Node,
    made: Timespec,
}

impl KernInode {
    pub(crate) fn new_inode(sb: &Arc<SuperBlock>, ino: u64, node: Node) -> Arc<Inode> {
        let file_type = node.file_type();
        let dir = if let Node::Dir(dir) = &node { Some(dir.clone()) } else { None };
        let ops = KernInode { node, made: sb.clocks.realtime() };
        let inode = Inode::new(sb.clone(), ino, file_type, 0, Box::new(ops));
        if let Some(dir) = dir {
            dir.attach(&inode);
        }
        inode
    }

    fn child_ino(dir: &Inode, name: &[u8]) -> u64 {
        dir.sb().downcast::<KernSuper>().map_or(0, |s| s.child_ino(dir.ino(), name))
    }
}

/// The node behind an inode of this crate.
pub(crate) fn node_of(inode: &Inode) -> Result<&Node, Errno> {
    inode.downcast::<KernInode>().map(|k| &k.node).ok_or(EIO)
}

impl InodeOps for KernInode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn getattr(&self, inode: &Inode) -> Result<Attr, Errno> {
        let attr = self.node.ops().attr()?;
        Ok(Attr {
            ino: inode.ino(),
            perm: attr.perm,
            nlink: attr.nlink,
            uid: attr.uid,
            gid: attr.gid,
            rdev: 0,
            size: attr.size,
            blksize: 4096,
            blocks: 0,
            atime: self.made,
            mtime: self.made,
            ctime: self.made,
            btime: None,
        })
    }

    fn setattr(&self, _inode: &Arc<Inode>, change: &SetAttr) -> Result<(), Errno> {
        let only_size =
            change.perm.is_none() && change.uid.is_none() && change.gid.is_none() && change.size.is_some();
        if only_size { Ok(()) } else { self.node.ops().setattr(change) }
    }

    fn permission(&self, inode: &Inode, cred: &Cred, access: Access) -> Result<(), Errno> {
        self.node.ops().permission(&self.getattr(inode)?, inode.file_type(), cred, access)
    }

    fn lookup(&self, dir: &Arc<Inode>, ctx: &dyn TaskContext, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        let Node::Dir(node) = &self.node else { return Err(sentry_uapi::errno::ENOTDIR) };
        let child = node.lookup(ctx, name)?;
        Ok(KernInode::new_inode(dir.sb(), KernInode::child_ino(dir, name), child))
    }

    fn revalidate(
        &self,
        _dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        found: Option<&Arc<Inode>>,
    ) -> bool {
        match (found, &self.node) {
            (Some(inode), _) => node_of(inode).is_ok_and(|n| n.ops().alive()),
            (None, Node::Dir(node)) => node.still_missing(name),
            (None, _) => true,
        }
    }

    fn create(
        &self,
        dir: &Arc<Inode>,
        ctx: &dyn TaskContext,
        name: &[u8],
        new: NewNode,
    ) -> Result<Arc<Inode>, Errno> {
        let (Node::Dir(node), NodeKind::Directory) = (&self.node, &new.kind) else { return Err(EPERM) };
        let child = node.mkdir(ctx, name, &new)?;
        Ok(KernInode::new_inode(dir.sb(), KernInode::child_ino(dir, name), child))
    }

    fn rmdir(
        &self,
        _dir: &Arc<Inode>,
        ctx: &dyn TaskContext,
        name: &[u8],
        _target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        let Node::Dir(node) = &self.node else { return Err(EPERM) };
        node.rmdir(ctx, name)
    }

    fn readlink(&self, _inode: &Arc<Inode>, ctx: &dyn TaskContext) -> Result<LinkTarget, Errno> {
        let Node::Link(node) = &self.node else { return Err(EINVAL) };
        node.readlink(ctx)
    }

    fn readlink_text(&self, _inode: &Arc<Inode>, ctx: &dyn TaskContext) -> Result<Vec<u8>, Errno> {
        let Node::Link(node) = &self.node else { return Err(EINVAL) };
        node.text(ctx)
    }

    fn open(
        &self,
        inode: &Arc<Inode>,
        ctx: &dyn TaskContext,
        flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        match &self.node {
            Node::Dir(_) => Ok(Box::new(KernDir)),
            Node::Seq(node) => {
                node.open(ctx, flags)?;
                Ok(Box::new(seq::SeqFile::new(node.clone())))
            }
            Node::File(node) => node.clone().open(inode, ctx, flags),
            Node::Link(_) => Err(ENXIO),
        }
    }
}

/// An open directory.
struct KernDir;

impl FileOps for KernDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn size(&self, _file: &File) -> Result<u64, Errno> {
        Err(EINVAL)
    }

    fn readdir(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        pos: u64,
        sink: &mut dyn DirSink,
    ) -> Result<(), Errno> {
        let Node::Dir(node) = node_of(file.inode())? else { return Err(EISDIR) };
        if !dir_emit_dots(file, pos, sink) {
            return Ok(());
        }
        let dir = file.inode();
        node.list(ctx, pos.max(fs_vfs::FIRST_ENTRY), &mut |name: &[u8], file_type: FileType, next| {
            sink.entry(name, KernInode::child_ino(dir, name), file_type.dirent_type(), next)
        })
    }

    fn pollable(&self) -> bool {
        false
    }

    fn fsync(&self, _file: &File, _data_only: bool) -> Result<(), Errno> {
        Err(EINVAL)
    }
}
