//! A small filesystem in memory, for tests of the VFS and of the crates above without a real one.

use crate::{
    Attr, Dentry, DirSink, File, FileOps, FileSystemType, FileType, FsFlags, Inode, InodeOps, LinkTarget,
    MountContext, NewNode, NodeKind, Path, Rename, RenameFlags, SetAttr, SetTime, StatFs, SuperBlock,
    SuperFlags, SuperOps, TaskContext, Vfs, Written, XattrFlags,
};
use sentry_auth::{Kgid, Kuid, UserNamespace};
use sentry_mm::{IoDst, IoSrc};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EEXIST, EINVAL, ENODATA, ENOENT, ENOTDIR, ENOTEMPTY};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::time::Timespec;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The filesystem as a whole.
pub struct TestFs {
    next_ino: AtomicU64,
    /// Calls of `lookup` so far.
    pub lookups: AtomicUsize,
}

/// A file.
pub struct TestNode {
    state: Mutex<State, { level::INODE }>,
}

struct State {
    attr: Attr,
    body: Body,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

enum Body {
    Directory(BTreeMap<Vec<u8>, Arc<Inode>>),
    Regular(Vec<u8>),
    Symlink(Vec<u8>),
    Jump(Path),
    Special,
}

/// A task on a fresh kernel whose root is a [`TestFs`].
pub fn root_context() -> crate::TestContext {
    crate::TestContext::new()
}

impl TestFs {
    /// The root of a fresh instance.
    pub fn new_root(vfs: &Vfs, user_ns: &Arc<UserNamespace>) -> Arc<Dentry> {
        TestFs::with_flags(vfs, user_ns, SuperFlags::ATIME)
    }

    /// As [`TestFs::new_root`], with flags of the caller's choice.
    pub fn with_flags(vfs: &Vfs, user_ns: &Arc<UserNamespace>, flags: SuperFlags) -> Arc<Dentry> {
        let ops = Box::new(TestFs { next_ino: AtomicU64::new(2), lookups: AtomicUsize::new(0) });
        let sb = SuperBlock::new(
            "testfs",
            vfs.alloc_dev(),
            user_ns.clone(),
            vfs.clocks.clone(),
            flags,
            b"none",
            ops,
        );
        let node = NewNode::new(NodeKind::Directory, 0o755, Kuid::GLOBAL_ROOT, Kgid::GLOBAL_ROOT);
        Dentry::new_root(TestFs::make(&sb, &node), b"")
    }

    /// A directory that is in no other.
    pub fn detached_dir(sb: &Arc<SuperBlock>) -> Arc<Inode> {
        let (uid, gid) = (Kuid::GLOBAL_ROOT, Kgid::GLOBAL_ROOT);
        TestFs::make(sb, &NewNode::new(NodeKind::Directory, 0o755, uid, gid))
    }

    /// Puts a link into a directory that jumps to `target`, as those of `/proc/[pid]/fd` do.
    pub fn add_jump(dir: &Arc<Inode>, name: &[u8], target: Path) {
        let (uid, gid) = (Kuid::GLOBAL_ROOT, Kgid::GLOBAL_ROOT);
        let kind = NodeKind::Symlink(Vec::new());
        let inode = TestFs::make(dir.sb(), &NewNode::new(kind, 0o777, uid, gid));
        if let Some(node) = inode.downcast::<TestNode>() {
            node.state.lock().body = Body::Jump(target);
        }
        if let Some(node) = dir.downcast::<TestNode>()
            && let Body::Directory(entries) = &mut node.state.lock().body
        {
            entries.insert(name.to_vec(), inode);
        }
    }

    fn make(sb: &Arc<SuperBlock>, node: &NewNode) -> Arc<Inode> {
        let ino = sb.downcast::<TestFs>().map_or(0, |fs| fs.next_ino.fetch_add(1, Ordering::Relaxed));
        let now = sb.clocks.realtime();
        let (body, rdev) = match &node.kind {
            NodeKind::Directory => (Body::Directory(BTreeMap::new()), 0),
            NodeKind::Regular => (Body::Regular(Vec::new()), 0),
            NodeKind::Symlink(target) => (Body::Symlink(target.clone()), 0),
            NodeKind::CharDevice(dev) | NodeKind::BlockDevice(dev) => (Body::Special, *dev),
            NodeKind::Fifo | NodeKind::Socket => (Body::Special, 0),
        };
        let attr = Attr {
            ino,
            perm: node.perm,
            nlink: if node.kind == NodeKind::Directory { 2 } else { 1 },
            uid: node.uid,
            gid: node.gid,
            rdev,
            size: 0,
            blksize: 4096,
            blocks: 0,
            atime: now,
            mtime: now,
            ctime: now,
            btime: Some(now),
        };
        let state = Mutex::new(State { attr, body, xattrs: BTreeMap::new() });
        Inode::new(sb.clone(), ino, node.kind.file_type(), rdev, Box::new(TestNode { state }))
    }
}

impl SuperOps for TestFs {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        StatFs { magic: 0x7e57, block_size: 4096, ..StatFs::default() }
    }
}

impl FileSystemType for TestFs {
    fn name(&self) -> &'static str {
        "testfs"
    }

    fn flags(&self) -> FsFlags {
        FsFlags::USERNS_MOUNT
    }

    fn mount(&self, ctx: &dyn TaskContext, mount: &MountContext<'_>) -> Result<Arc<Dentry>, Errno> {
        if mount.options.contains("bad") {
            return Err(EINVAL);
        }
        Ok(TestFs::new_root(ctx.vfs(), &mount.user_ns))
    }
}

impl TestNode {
    /// A type to register, whose mounts are fresh instances.
    pub fn fs_type() -> Arc<dyn FileSystemType> {
        Arc::new(TestFs { next_ino: AtomicU64::new(2), lookups: AtomicUsize::new(0) })
    }

    fn entry(&self, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        match &self.state.lock().body {
            Body::Directory(entries) => entries.get(name).cloned().ok_or(ENOENT),
            _ => Err(ENOTDIR),
        }
    }

    fn insert(&self, name: &[u8], inode: &Arc<Inode>) -> Result<(), Errno> {
        match &mut self.state.lock().body {
            Body::Directory(entries) => {
                if entries.contains_key(name) {
                    return Err(EEXIST);
                }
                entries.insert(name.to_vec(), inode.clone());
                Ok(())
            }
            _ => Err(ENOTDIR),
        }
    }

    fn remove(&self, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        match &mut self.state.lock().body {
            Body::Directory(entries) => entries.remove(name).ok_or(ENOENT),
            _ => Err(ENOTDIR),
        }
    }

    fn is_empty(&self) -> bool {
        !matches!(&self.state.lock().body, Body::Directory(entries) if !entries.is_empty())
    }
}

fn node(inode: &Inode) -> Result<&TestNode, Errno> {
    inode.downcast::<TestNode>().ok_or(EINVAL)
}

fn add_links(inode: &Inode, links: i32) {
    if let Ok(node) = node(inode) {
        let attr = &mut node.state.lock().attr;
        attr.nlink = attr.nlink.saturating_add_signed(links);
    }
}

impl InodeOps for TestNode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn getattr(&self, _inode: &Inode) -> Result<Attr, Errno> {
        Ok(self.state.lock().attr)
    }

    fn setattr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<(), Errno> {
        let now = inode.sb().clocks.realtime();
        let time = |t| match t {
            SetTime::Now => now,
            SetTime::To(time) => time,
        };
        let mut state = self.state.lock();
        let state = &mut *state;
        let attr = &mut state.attr;
        attr.perm = change.perm.unwrap_or(attr.perm);
        attr.uid = change.uid.unwrap_or(attr.uid);
        attr.gid = change.gid.unwrap_or(attr.gid);
        attr.atime = change.atime.map_or(attr.atime, time);
        attr.mtime = change.mtime.map_or(attr.mtime, time);
        attr.ctime = now;
        if let (Some(size), Body::Regular(data)) = (change.size, &mut state.body) {
            data.resize(usize::try_from(size).map_err(|_| EINVAL)?, 0);
            attr.size = size;
        }
        Ok(())
    }

    fn lookup(&self, dir: &Arc<Inode>, _ctx: &dyn TaskContext, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        if let Some(fs) = dir.sb().downcast::<TestFs>() {
            fs.lookups.fetch_add(1, Ordering::Relaxed);
        }
        self.entry(name)
    }

    fn revalidate(
        &self,
        _dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        found: Option<&Arc<Inode>>,
    ) -> bool {
        match (self.entry(name), found) {
            (Ok(now), Some(found)) => Arc::ptr_eq(&now, found),
            (Err(_), None) => true,
            _ => false,
        }
    }

    fn create(
        &self,
        dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        new: NewNode,
    ) -> Result<Arc<Inode>, Errno> {
        let inode = TestFs::make(dir.sb(), &new);
        self.insert(name, &inode)?;
        Ok(inode)
    }

    fn tmpfile(&self, dir: &Arc<Inode>, _ctx: &dyn TaskContext, new: NewNode) -> Result<Arc<Inode>, Errno> {
        let inode = TestFs::make(dir.sb(), &new);
        add_links(&inode, -1);
        Ok(inode)
    }

    fn link(
        &self,
        _dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        self.insert(name, target)?;
        add_links(target, 1);
        Ok(())
    }

    fn unlink(
        &self,
        _dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        self.remove(name)?;
        add_links(target, -1);
        Ok(())
    }

    fn rmdir(
        &self,
        _dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        if !node(target)?.is_empty() {
            return Err(ENOTEMPTY);
        }
        self.remove(name)?;
        add_links(target, -2);
        Ok(())
    }

    fn rename(&self, rename: &Rename<'_>, ctx: &dyn TaskContext) -> Result<(), Errno> {
        let new_dir = node(rename.new_dir)?;
        if let Some(replaced) = rename.replaced {
            if rename.flags.contains(RenameFlags::EXCHANGE) {
                new_dir.remove(rename.new_name)?;
                self.remove(rename.old_name)?;
                self.insert(rename.old_name, replaced)?;
                return new_dir.insert(rename.new_name, rename.target);
            }
            if replaced.is_dir() {
                new_dir.rmdir(rename.new_dir, ctx, rename.new_name, replaced)?;
            } else {
                new_dir.unlink(rename.new_dir, ctx, rename.new_name, replaced)?;
            }
        }
        self.remove(rename.old_name)?;
        new_dir.insert(rename.new_name, rename.target)
    }

    fn readlink(&self, _inode: &Arc<Inode>, _ctx: &dyn TaskContext) -> Result<LinkTarget, Errno> {
        match &self.state.lock().body {
            Body::Symlink(target) => Ok(LinkTarget::Path(target.clone())),
            Body::Jump(path) => Ok(LinkTarget::Jump(path.clone())),
            _ => Err(EINVAL),
        }
    }

    fn open(
        &self,
        inode: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        _flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        match inode.file_type() {
            FileType::Regular | FileType::Directory => Ok(Box::new(TestFile)),
            _ => Err(sentry_uapi::errno::ENXIO),
        }
    }

    fn update_atime(&self, _inode: &Inode, now: Timespec) {
        self.state.lock().attr.atime = now;
    }

    fn getxattr(&self, _inode: &Inode, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.state.lock().xattrs.get(name).cloned().ok_or(ENODATA)
    }

    fn setxattr(&self, _inode: &Inode, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<(), Errno> {
        let xattrs = &mut self.state.lock().xattrs;
        let there = xattrs.contains_key(name);
        if there && flags.contains(XattrFlags::CREATE) {
            return Err(EEXIST);
        }
        if !there && flags.contains(XattrFlags::REPLACE) {
            return Err(ENODATA);
        }
        xattrs.insert(name.to_vec(), value.to_vec());
        Ok(())
    }

    fn listxattr(&self, _inode: &Inode) -> Result<Vec<Vec<u8>>, Errno> {
        Ok(self.state.lock().xattrs.keys().cloned().collect())
    }

    fn removexattr(&self, _inode: &Inode, name: &[u8]) -> Result<(), Errno> {
        self.state.lock().xattrs.remove(name).map(|_| ()).ok_or(ENODATA)
    }
}

struct TestFile;

impl FileOps for TestFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(
        &self,
        file: &File,
        _ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        match &node(file.inode())?.state.lock().body {
            Body::Regular(data) => {
                let at = usize::try_from(pos).map_err(|_| EINVAL)?.min(data.len());
                dst.write(&data[at..])
            }
            _ => Err(EINVAL),
        }
    }

    fn write(
        &self,
        file: &File,
        _ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<Written, Errno> {
        let mut state = node(file.inode())?.state.lock();
        let state = &mut *state;
        let Body::Regular(data) = &mut state.body else { return Err(EINVAL) };
        let append = file.flags().contains(OpenFlags::APPEND);
        let at = if append { data.len() } else { usize::try_from(pos).map_err(|_| EINVAL)? };
        let bytes = src.read_vec(1 << 20)?;
        let end = at + bytes.len();
        data.resize(data.len().max(end), 0);
        data[at..end].copy_from_slice(&bytes);
        state.attr.size = data.len() as u64;
        Ok(Written { count: bytes.len(), end: end as u64 })
    }

    fn readdir(
        &self,
        file: &File,
        _ctx: &dyn TaskContext,
        pos: u64,
        sink: &mut dyn DirSink,
    ) -> Result<(), Errno> {
        match &node(file.inode())?.state.lock().body {
            Body::Directory(entries) => {
                let from = usize::try_from(pos).map_err(|_| EINVAL)?;
                for (at, (name, inode)) in entries.iter().enumerate().skip(from) {
                    if !sink.entry(name, inode.ino(), inode.file_type().dirent_type(), at as u64 + 1) {
                        break;
                    }
                }
                Ok(())
            }
            _ => Err(ENOTDIR),
        }
    }
}
