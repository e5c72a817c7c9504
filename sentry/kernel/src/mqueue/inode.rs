//! Queues as files. Linux: ipc/mqueue.c, `mqueue_dir_inode_operations`, `mqueue_file_operations`.

use super::limits::MqueueIds;
use super::queue::Mqueue;
use crate::CurrentTask;
use fs_vfs::{
    Attr, DirSink, FIRST_ENTRY, File, FileOps, FileType, Inode, InodeOps, NewNode, NodeKind, PollTable,
    Resource, SetAttr, SetTime, SuperBlock, TaskContext, dir_emit_dots,
};
use sentry_auth::{Kgid, Kuid};
use sentry_mm::IoDst;
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EEXIST, EINVAL, ENOENT, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::time::Timespec;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a queue shows as its size. Linux: `FILENT_SIZE`.
const FILENT_SIZE: u64 = 80;
/// What an entry adds to the size of the directory. Linux: `DIRENT_SIZE`.
const DIRENT_SIZE: u64 = 20;
/// Inode number of the root.
const ROOT_INO: u64 = 1;

#[derive(Clone, Copy)]
struct Meta {
    perm: u32,
    uid: Kuid,
    gid: Kgid,
    nlink: u32,
    atime: Timespec,
    mtime: Timespec,
    ctime: Timespec,
}

impl Meta {
    fn new(perm: u32, uid: Kuid, gid: Kgid, nlink: u32, now: Timespec) -> Meta {
        Meta { perm, uid, gid, nlink, atime: now, mtime: now, ctime: now }
    }

    fn apply(&mut self, change: &SetAttr, now: Timespec) {
        let time = |set: Option<SetTime>, old| match set {
            None => old,
            Some(SetTime::Now) => now,
            Some(SetTime::To(t)) => t,
        };
        self.perm = change.perm.unwrap_or(self.perm);
        self.uid = change.uid.unwrap_or(self.uid);
        self.gid = change.gid.unwrap_or(self.gid);
        self.atime = time(change.atime, self.atime);
        self.mtime = time(change.mtime, self.mtime);
        self.ctime = now;
    }

    fn attr(&self, ino: u64, size: u64) -> Attr {
        Attr {
            ino,
            perm: self.perm,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            size,
            blksize: 4096,
            blocks: 0,
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            btime: None,
        }
    }
}

/// The only directory.
pub(super) struct RootInode {
    ids: Arc<MqueueIds>,
    meta: Mutex<Meta, { level::LEAF }>,
    entries: Mutex<Entries, { level::INODE }>,
    next_ino: AtomicU64,
}

#[derive(Default)]
struct Entries {
    by_name: BTreeMap<Vec<u8>, Arc<Inode>>,
}

impl RootInode {
    pub(super) fn make(sb: &Arc<SuperBlock>, ids: Arc<MqueueIds>, uid: Kuid, gid: Kgid) -> Arc<Inode> {
        /// Anybody may make a queue, and remove its own.
        const PERM: u32 = 0o1777;
        let root = RootInode {
            ids,
            meta: Mutex::new(Meta::new(PERM, uid, gid, 2, sb.clocks.realtime())),
            entries: Mutex::default(),
            next_ino: AtomicU64::new(ROOT_INO + 1),
        };
        Inode::new(sb.clone(), ROOT_INO, FileType::Directory, 0, Box::new(root))
    }

    fn touch(&self, dir: &Inode) {
        let now = dir.sb().clocks.realtime();
        let mut meta = self.meta.lock();
        (meta.atime, meta.mtime, meta.ctime) = (now, now, now);
    }
}

impl InodeOps for RootInode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn getattr(&self, inode: &Inode) -> Result<Attr, Errno> {
        let entries = u64::try_from(self.entries.lock().by_name.len()).unwrap_or(0);
        Ok(self.meta.lock().attr(inode.ino(), DIRENT_SIZE.saturating_mul(entries + 2)))
    }

    fn setattr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<(), Errno> {
        self.meta.lock().apply(change, inode.sb().clocks.realtime());
        Ok(())
    }

    fn lookup(&self, _dir: &Arc<Inode>, _ctx: &dyn TaskContext, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        self.entries.lock().by_name.get(name).cloned().ok_or(ENOENT)
    }

    /// Linux: `mqueue_create_attr`. What mq_open(2) asks for comes along with the task.
    fn create(
        &self,
        dir: &Arc<Inode>,
        ctx: &dyn TaskContext,
        name: &[u8],
        node: NewNode,
    ) -> Result<Arc<Inode>, Errno> {
        if node.kind != NodeKind::Regular {
            return Err(EPERM);
        }
        let task: Option<&CurrentTask> = ctx.as_any().downcast_ref();
        let attr = task.and_then(|t| t.mq_attr.take());
        let cred = ctx.cred();
        let limit = ctx.rlimit(Resource::Msgqueue);
        let (counted, attr) = self.ids.count(&cred, MqueueIds::privileged(&cred), limit, attr.as_ref())?;
        let sb = dir.sb();
        let queue = QueueInode {
            queue: Arc::new(Mqueue::new(self.ids.clone(), counted, &attr)),
            meta: Mutex::new(Meta::new(node.perm, node.uid, node.gid, 1, sb.clocks.realtime())),
        };
        let ino = self.next_ino.fetch_add(1, Ordering::Relaxed);
        let inode = Inode::new(sb.clone(), ino, FileType::Regular, 0, Box::new(queue));
        {
            let mut entries = self.entries.lock();
            if entries.by_name.contains_key(name) {
                return Err(EEXIST);
            }
            entries.by_name.insert(name.to_vec(), inode.clone());
        }
        self.touch(dir);
        Ok(inode)
    }

    fn unlink(
        &self,
        dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        let gone = self.entries.lock().by_name.remove(name);
        if let Some(queue) = target.downcast::<QueueInode>() {
            queue.meta.lock().nlink = 0;
        }
        drop(gone);
        self.touch(dir);
        Ok(())
    }

    fn open(
        &self,
        _inode: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        _flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        Ok(Box::new(RootFile))
    }
}

struct RootFile;

impl FileOps for RootFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn pollable(&self) -> bool {
        false
    }

    /// In the order of inode numbers, which are those of creation; the position is the number of the next.
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
        let root = file.inode().downcast::<RootInode>().ok_or(EINVAL)?;
        let mut all: Vec<(u64, Vec<u8>)> =
            root.entries.lock().by_name.iter().map(|(name, inode)| (inode.ino(), name.clone())).collect();
        all.sort_unstable();
        for (ino, name) in all.into_iter().filter(|(ino, _)| *ino >= pos.max(FIRST_ENTRY)) {
            if !sink.entry(&name, ino, FileType::Regular.dirent_type(), ino.saturating_add(1)) {
                break;
            }
        }
        Ok(())
    }

    fn fsync(&self, _file: &File, _data_only: bool) -> Result<(), Errno> {
        Ok(())
    }
}

struct QueueInode {
    queue: Arc<Mqueue>,
    meta: Mutex<Meta, { level::LEAF }>,
}

impl InodeOps for QueueInode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn getattr(&self, inode: &Inode) -> Result<Attr, Errno> {
        Ok(self.meta.lock().attr(inode.ino(), FILENT_SIZE))
    }

    fn setattr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<(), Errno> {
        self.meta.lock().apply(change, inode.sb().clocks.realtime());
        Ok(())
    }

    fn open(
        &self,
        _inode: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        _flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        Ok(Box::new(QueueFile { queue: self.queue.clone() }))
    }
}

/// A queue as an open file.
pub(super) struct QueueFile {
    pub(super) queue: Arc<Mqueue>,
}

impl QueueFile {
    /// A message has gone in or out.
    pub(super) fn touch(file: &File) {
        if let Some(inode) = file.inode().downcast::<QueueInode>() {
            let now = file.inode().sb().clocks.realtime();
            let mut meta = inode.meta.lock();
            (meta.atime, meta.mtime, meta.ctime) = (now, now, now);
        }
    }
}

impl FileOps for QueueFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    /// Linux: `mqueue_read_file`.
    fn read(
        &self,
        _file: &File,
        ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        let task: &CurrentTask = ctx.as_any().downcast_ref().ok_or(EACCES)?;
        let status = self.queue.status();
        let (kind, signo, pid) =
            status.notify.map_or((0, 0, 0), |(k, s, pid)| (k, s, pid.nr_in(&task.pid_ns())));
        let text =
            format!("QSIZE:{:<10} NOTIFY:{kind:<5} SIGNO:{signo:<5} NOTIFY_PID:{pid:<6}\n", status.qsize);
        let from = usize::try_from(pos).unwrap_or(usize::MAX);
        dst.write(text.as_bytes().get(from..).unwrap_or_default())
    }

    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        table.wait(&self.queue.wait);
        self.queue.poll_events()
    }

    fn flush(&self, _file: &File, ctx: &dyn TaskContext) -> Result<(), Errno> {
        if let Some(task) = ctx.as_any().downcast_ref::<CurrentTask>() {
            self.queue.forget(task);
        }
        Ok(())
    }
}
