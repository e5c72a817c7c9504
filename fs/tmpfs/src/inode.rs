//! Inodes of files in memory. Linux: mm/shmem.c, `shmem_get_inode`, `shmem_mknod`, `shmem_link`, `shmem_unlink`.

use crate::acl::Acls;
use crate::dir::Entries;
use crate::file::{DirFile, RegularFile};
use crate::memfd::Seals;
use crate::meta::Meta;
use crate::options::TmpfsOptions;
use crate::quota::Quota;
use crate::rename;
use crate::shmem::{FaultAround, ShmemFile};
use crate::super_block::TmpfsSuper;
use crate::xattr::Xattrs;
use fs_vfs::{
    AclType, Attr, FileOps, Inode, InodeOps, LinkTarget, NewNode, NodeKind, PosixAcl, Rename, SetAttr,
    SuperBlock, TaskContext, XattrFlags,
};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EEXIST, EINVAL, EIO, ENOENT, ENOTDIR, ENOTEMPTY, ENXIO, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::stat::S_IXUGO;
use sentry_uapi::time::Timespec;
use std::any::Any;
use std::sync::Arc;

/// What an entry adds to the size of its directory. Linux: `BOGO_DIRENT_SIZE`.
const DIRENT_SIZE: u64 = 20;

pub(crate) enum Content {
    Regular(Arc<ShmemFile>),
    Directory(Mutex<Directory, { level::INODE }>),
    Symlink(Box<[u8]>),
    Special,
}

#[derive(Default)]
pub(crate) struct Directory {
    pub(crate) entries: Entries,
    /// Removed: nothing can be made in it any more. Linux: `S_DEAD`.
    pub(crate) dead: bool,
}

/// A file in memory.
pub(crate) struct TmpfsInode {
    pub(crate) content: Content,
    pub(crate) meta: Mutex<Meta, { level::LEAF }>,
    /// Taken before `meta` where both change.
    acls: Mutex<Acls, { level::INODE }>,
    xattrs: Mutex<Xattrs, { level::LEAF }>,
    quota: Arc<Quota>,
}

/// The filesystem's part of an inode.
pub(crate) fn tmpfs_inode(inode: &Inode) -> Result<&TmpfsInode, Errno> {
    inode.downcast().ok_or(EIO)
}

fn tmpfs_super(sb: &SuperBlock) -> Result<&TmpfsSuper, Errno> {
    sb.downcast().ok_or(EIO)
}

/// Makes an inode without a name. Linux: `shmem_get_inode`.
pub(crate) fn get_inode(
    sb: &Arc<SuperBlock>,
    node: NewNode,
    nlink: u32,
    around: FaultAround,
) -> Result<Arc<Inode>, Errno> {
    let fs = tmpfs_super(sb)?;
    let file_type = node.kind.file_type();
    let (content, rdev) = match node.kind {
        NodeKind::Regular => {
            (Content::Regular(ShmemFile::new(fs.memory.clone(), fs.quota.clone(), around)), 0)
        }
        NodeKind::Directory => (Content::Directory(Mutex::default()), 0),
        NodeKind::Symlink(target) => (Content::Symlink(target.into()), 0),
        NodeKind::Fifo | NodeKind::Socket => (Content::Special, 0),
        NodeKind::CharDevice(dev) | NodeKind::BlockDevice(dev) => (Content::Special, dev),
    };
    fs.quota.reserve_inode()?;
    let acls = Acls::new(&fs.quota, node.acls).inspect_err(|_| fs.quota.free_inode())?;
    let now = sb.clocks.realtime();
    let ops = TmpfsInode {
        content,
        meta: Mutex::new(Meta::new(node.perm, node.uid, node.gid, nlink, now)),
        acls: Mutex::new(acls),
        xattrs: Mutex::default(),
        quota: fs.quota.clone(),
    };
    Ok(Inode::new(sb.clone(), fs.alloc_ino(), file_type, rdev, Box::new(ops)))
}

pub(crate) fn new_root(sb: &Arc<SuperBlock>, options: &TmpfsOptions) -> Result<Arc<Inode>, Errno> {
    let node = NewNode::new(NodeKind::Directory, options.mode, options.uid, options.gid);
    get_inode(sb, node, 2, FaultAround::Cluster)
}

/// Makes a node in a directory of a tmpfs, as the VFS would for a task. For filling one at boot.
///
/// # Errors
/// `EEXIST`; `ENOENT` in a removed directory; `ENOSPC` without room for an inode; `ENOTDIR`.
pub fn make_node(dir: &Arc<Inode>, name: &[u8], node: NewNode) -> Result<Arc<Inode>, Errno> {
    let parent = tmpfs_inode(dir)?;
    let is_dir = node.kind == NodeKind::Directory;
    let inode = get_inode(dir.sb(), node, if is_dir { 2 } else { 1 }, FaultAround::Cluster)?;
    parent.add_entry(name, inode.clone())?;
    let mut meta = parent.meta.lock();
    meta.nlink += u32::from(is_dir);
    meta.modified(dir.sb().clocks.realtime());
    Ok(inode)
}

impl TmpfsInode {
    pub(crate) fn directory(&self) -> Result<&Mutex<Directory, { level::INODE }>, Errno> {
        match &self.content {
            Content::Directory(dir) => Ok(dir),
            _ => Err(ENOTDIR),
        }
    }

    pub(crate) fn regular(&self) -> Result<&Arc<ShmemFile>, Errno> {
        match &self.content {
            Content::Regular(data) => Ok(data),
            _ => Err(EINVAL),
        }
    }

    fn add_entry(&self, name: &[u8], inode: Arc<Inode>) -> Result<(), Errno> {
        let mut dir = self.directory()?.lock();
        if dir.dead {
            return Err(ENOENT);
        }
        if dir.entries.get(name).is_some() {
            return Err(EEXIST);
        }
        let none = dir.entries.insert(name, inode);
        debug_assert!(none.is_none());
        Ok(())
    }

    /// Marks an empty directory as removed.
    pub(crate) fn kill(&self) -> Result<(), Errno> {
        let mut dir = self.directory()?.lock();
        if !dir.entries.is_empty() {
            return Err(ENOTEMPTY);
        }
        dir.dead = true;
        Ok(())
    }

    /// Takes a link off something that is no directory. Extra links were counted as inodes.
    pub(crate) fn drop_link(&self, now: Timespec) {
        let mut meta = self.meta.lock();
        if meta.nlink > 1 {
            self.quota.free_inode();
        }
        meta.nlink = meta.nlink.saturating_sub(1);
        meta.ctime = now;
    }

    fn check_seals(&self, change: &SetAttr) -> Result<(), Errno> {
        if let (Content::Regular(data), Some(perm)) = (&self.content, change.perm)
            && data.seals().contains(Seals::EXEC)
            && (self.meta.lock().perm ^ perm) & S_IXUGO != 0
        {
            return Err(EPERM);
        }
        Ok(())
    }
}

impl InodeOps for TmpfsInode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn getattr(&self, inode: &Inode) -> Result<Attr, Errno> {
        let (size, allocated) = match &self.content {
            Content::Regular(data) => (data.size(), data.allocated()),
            Content::Directory(dir) => {
                let entries = u64::try_from(dir.lock().entries.len()).unwrap_or(0);
                (DIRENT_SIZE.saturating_mul(entries + 2), 0)
            }
            Content::Symlink(target) => (u64::try_from(target.len()).unwrap_or(0), 0),
            Content::Special => (0, 0),
        };
        let meta = *self.meta.lock();
        Ok(Attr {
            ino: inode.ino(),
            perm: meta.perm,
            nlink: meta.nlink,
            uid: meta.uid,
            gid: meta.gid,
            rdev: inode.rdev(),
            size,
            blksize: 4096,
            blocks: allocated / 512,
            atime: meta.atime,
            mtime: meta.mtime,
            ctime: meta.ctime,
            btime: Some(meta.btime),
        })
    }

    fn setattr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<(), Errno> {
        self.check_seals(change)?;
        if let Some(size) = change.size {
            self.regular()?.truncate(size)?;
        }
        let mut acls = self.acls.lock();
        if let Some(perm) = change.perm {
            acls.chmod(perm);
        }
        self.meta.lock().set(change, inode.sb().clocks.realtime());
        Ok(())
    }

    fn lookup(&self, _dir: &Arc<Inode>, _ctx: &dyn TaskContext, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        self.directory()?.lock().entries.get(name).cloned().ok_or(ENOENT)
    }

    fn create(
        &self,
        dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        node: NewNode,
    ) -> Result<Arc<Inode>, Errno> {
        make_node(dir, name, node)
    }

    fn tmpfile(&self, dir: &Arc<Inode>, _ctx: &dyn TaskContext, node: NewNode) -> Result<Arc<Inode>, Errno> {
        get_inode(dir.sb(), node, 0, FaultAround::Cluster)
    }

    fn link(
        &self,
        dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        let file = tmpfs_inode(target)?;
        let extra = file.meta.lock().nlink > 0;
        if extra {
            self.quota.reserve_inode()?;
        }
        if let Err(e) = self.add_entry(name, target.clone()) {
            if extra {
                self.quota.free_inode();
            }
            return Err(e);
        }
        let now = dir.sb().clocks.realtime();
        {
            let mut meta = file.meta.lock();
            meta.nlink = meta.nlink.saturating_add(1);
            meta.ctime = now;
        }
        self.meta.lock().modified(now);
        Ok(())
    }

    fn unlink(
        &self,
        dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        let now = dir.sb().clocks.realtime();
        let gone = self.directory()?.lock().entries.remove(name);
        drop(gone);
        tmpfs_inode(target)?.drop_link(now);
        self.meta.lock().modified(now);
        Ok(())
    }

    fn rmdir(
        &self,
        dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        let victim = tmpfs_inode(target)?;
        victim.kill()?;
        let now = dir.sb().clocks.realtime();
        let gone = self.directory()?.lock().entries.remove(name);
        drop(gone);
        {
            let mut meta = victim.meta.lock();
            meta.nlink = 0;
            meta.ctime = now;
        }
        let mut meta = self.meta.lock();
        meta.nlink = meta.nlink.saturating_sub(1);
        meta.modified(now);
        Ok(())
    }

    fn rename(&self, rename: &Rename<'_>, _ctx: &dyn TaskContext) -> Result<(), Errno> {
        rename::rename(rename)
    }

    fn readlink(&self, _inode: &Arc<Inode>, _ctx: &dyn TaskContext) -> Result<LinkTarget, Errno> {
        let Content::Symlink(target) = &self.content else { return Err(EINVAL) };
        Ok(LinkTarget::Path(target.to_vec()))
    }

    fn update_atime(&self, _inode: &Inode, now: Timespec) {
        self.meta.lock().atime = now;
    }

    fn open(
        &self,
        _inode: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        _flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        match &self.content {
            Content::Regular(data) => Ok(Box::new(RegularFile::new(data.clone()))),
            Content::Directory(_) => Ok(Box::new(DirFile)),
            Content::Symlink(_) | Content::Special => Err(ENXIO),
        }
    }

    fn getxattr(&self, _inode: &Inode, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.xattrs.lock().get(name)
    }

    fn setxattr(&self, inode: &Inode, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<(), Errno> {
        self.xattrs.lock().set(&self.quota, name, value, flags)?;
        self.meta.lock().ctime = inode.sb().clocks.realtime();
        Ok(())
    }

    fn listxattr(&self, _inode: &Inode) -> Result<Vec<Vec<u8>>, Errno> {
        Ok(self.xattrs.lock().names())
    }

    fn removexattr(&self, inode: &Inode, name: &[u8]) -> Result<(), Errno> {
        self.xattrs.lock().remove(&self.quota, name)?;
        self.meta.lock().ctime = inode.sb().clocks.realtime();
        Ok(())
    }

    fn get_acl(&self, _inode: &Inode, kind: AclType) -> Result<Option<Arc<PosixAcl>>, Errno> {
        Ok(self.acls.lock().get(kind))
    }

    /// Linux: `simple_set_acl`.
    fn set_acl(
        &self,
        inode: &Arc<Inode>,
        kind: AclType,
        acl: Option<Arc<PosixAcl>>,
        perm: Option<u32>,
    ) -> Result<(), Errno> {
        let mut acls = self.acls.lock();
        acls.set(&self.quota, kind, acl)?;
        self.meta.lock().set(&SetAttr { perm, ..SetAttr::default() }, inode.sb().clocks.realtime());
        Ok(())
    }
}

impl Drop for TmpfsInode {
    fn drop(&mut self) {
        self.xattrs.get_mut().release(&self.quota);
        self.acls.get_mut().release(&self.quota);
        self.quota.free_inode();
        // A guest can nest directories as deeply as it likes, so their drop must not recurse: each is emptied before
        // it goes.
        let Content::Directory(dir) = &mut self.content else { return };
        let mut doomed = dir.get_mut().entries.drain();
        while let Some(inode) = doomed.pop() {
            if let Some(last) = Arc::into_inner(inode)
                && let Ok(TmpfsInode { content: Content::Directory(dir), .. }) = tmpfs_inode(&last)
            {
                let children = dir.lock().entries.drain();
                doomed.extend(children);
            }
        }
    }
}
