//! Nodes of devpts.

use crate::devpts::Devpts;
use crate::pty::WeakPty;
use fs_vfs::{
    Attr, DirSink, FIRST_ENTRY, File, FileOps, FileType, Inode, InodeOps, SetAttr, SetTime, SuperBlock,
    TaskContext, dir_emit_dots,
};
use sentry_auth::{Kgid, Kuid};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOENT, ENOTDIR};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::time::Timespec;
use std::any::Any;
use std::sync::Arc;

/// The name of the master of an instance.
const PTMX: &[u8] = b"ptmx";
/// Times of a terminal move in such steps, lest they tell how somebody types. Linux: `tty_update_time`.
const TIME_STEP: i64 = 8;

/// Attributes of a node.
pub(crate) struct Attrs(Mutex<Kept, { level::LEAF }>);

#[derive(Clone, Copy)]
struct Kept {
    perm: u32,
    uid: Kuid,
    gid: Kgid,
    rdev: u64,
    nlink: u32,
    atime: Timespec,
    mtime: Timespec,
    ctime: Timespec,
}

impl Attrs {
    pub(crate) fn new(perm: u32, uid: Kuid, gid: Kgid, rdev: u64, now: Timespec) -> Arc<Attrs> {
        let nlink = if rdev == 0 { 2 } else { 1 };
        Arc::new(Attrs(Mutex::new(Kept { perm, uid, gid, rdev, nlink, atime: now, mtime: now, ctime: now })))
    }

    pub(crate) fn set_perm(&self, perm: u32) {
        self.0.lock().perm = perm;
    }

    pub(crate) fn unlink(&self) {
        self.0.lock().nlink = 0;
    }

    /// Moves the time of the last read or write.
    pub(crate) fn touch(&self, now: Timespec, read: bool) {
        let mut kept = self.0.lock();
        let time = if read { &mut kept.atime } else { &mut kept.mtime };
        if time.tv_sec / TIME_STEP != now.tv_sec / TIME_STEP {
            time.tv_sec = now.tv_sec;
        }
    }
}

/// A node.
pub(crate) enum Node {
    Root(Arc<Attrs>),
    Ptmx(Arc<Attrs>),
    Slave(Arc<Attrs>, WeakPty),
}

pub(crate) fn new_inode(sb: &Arc<SuperBlock>, ino: u64, node: Node) -> Arc<Inode> {
    let file_type = if matches!(node, Node::Root(_)) { FileType::Directory } else { FileType::CharDevice };
    let rdev = node.attrs().0.lock().rdev;
    Inode::new(sb.clone(), ino, file_type, rdev, Box::new(node))
}

impl Node {
    /// The node behind an inode, if it is one of devpts.
    pub(crate) fn of(inode: &Inode) -> Option<&Node> {
        inode.downcast()
    }

    pub(crate) fn attrs(&self) -> &Attrs {
        match self {
            Node::Root(attrs) | Node::Ptmx(attrs) | Node::Slave(attrs, _) => attrs,
        }
    }
}

fn devpts(inode: &Inode) -> Result<&Devpts, Errno> {
    inode.sb().downcast().ok_or(ENOENT)
}

/// The number a name stands for; only its plain form counts.
fn index_of(name: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(name).ok()?;
    text.parse().ok().filter(|index: &u32| index.to_string() == text)
}

impl InodeOps for Node {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn getattr(&self, inode: &Inode) -> Result<Attr, Errno> {
        let kept = *self.attrs().0.lock();
        Ok(Attr {
            ino: inode.ino(),
            perm: kept.perm,
            nlink: kept.nlink,
            uid: kept.uid,
            gid: kept.gid,
            rdev: kept.rdev,
            size: 0,
            blksize: 1024,
            blocks: 0,
            atime: kept.atime,
            mtime: kept.mtime,
            ctime: kept.ctime,
            btime: None,
        })
    }

    fn setattr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<(), Errno> {
        let now = inode.sb().clocks.realtime();
        let time = |set: Option<SetTime>, old| match set {
            None => old,
            Some(SetTime::Now) => now,
            Some(SetTime::To(to)) => to,
        };
        let mut kept = self.attrs().0.lock();
        kept.perm = change.perm.unwrap_or(kept.perm);
        kept.uid = change.uid.unwrap_or(kept.uid);
        kept.gid = change.gid.unwrap_or(kept.gid);
        kept.atime = time(change.atime, kept.atime);
        kept.mtime = time(change.mtime, kept.mtime);
        kept.ctime = now;
        Ok(())
    }

    fn lookup(&self, dir: &Arc<Inode>, _ctx: &dyn TaskContext, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        if !matches!(self, Node::Root(_)) {
            return Err(ENOTDIR);
        }
        let devpts = devpts(dir)?;
        if name == PTMX {
            return Ok(devpts.ptmx_inode(dir.sb()));
        }
        index_of(name).and_then(|index| devpts.node(index)).ok_or(ENOENT)
    }

    fn revalidate(
        &self,
        dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        found: Option<&Arc<Inode>>,
    ) -> bool {
        let node = devpts(dir).ok().zip(index_of(name)).and_then(|(devpts, index)| devpts.node(index));
        match (found, node) {
            (Some(found), Some(node)) => Arc::ptr_eq(found, &node),
            (found, None) => found.is_some() == (name == PTMX),
            (None, Some(_)) => false,
        }
    }

    fn open(
        &self,
        _inode: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        _flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        Ok(Box::new(RootDir))
    }
}

/// The directory, open.
struct RootDir;

impl FileOps for RootDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn size(&self, _file: &File) -> Result<u64, Errno> {
        Err(EINVAL)
    }

    fn readdir(
        &self,
        file: &File,
        _ctx: &dyn TaskContext,
        pos: u64,
        sink: &mut dyn DirSink,
    ) -> Result<(), Errno> {
        if !dir_emit_dots(file, pos, sink) {
            return Ok(());
        }
        let devpts = devpts(file.inode())?;
        let dtype = FileType::CharDevice.dirent_type();
        let ptmx = devpts.ptmx_inode(file.inode().sb());
        if pos <= FIRST_ENTRY && !sink.entry(PTMX, ptmx.ino(), dtype, FIRST_ENTRY + 1) {
            return Ok(());
        }
        // A slave stands at a place of its own, whichever come and go.
        for (index, inode) in devpts.nodes() {
            let at = FIRST_ENTRY + 1 + u64::from(index);
            if at >= pos && !sink.entry(index.to_string().as_bytes(), inode.ino(), dtype, at + 1) {
                break;
            }
        }
        Ok(())
    }

    fn pollable(&self) -> bool {
        false
    }
}
