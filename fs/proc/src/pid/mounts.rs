//! `/proc/[pid]/{mounts,mountinfo,mountstats}`. Linux: fs/proc_namespace.c.

use crate::pid::ProcTask;
use crate::records::{Cursor, Records};
use fs_kernfs::{FileNode, Node, NodeAttr, NodeOps};
use fs_vfs::{
    File, FileOps, Inode, Mount, MountNamespace, Path, PollTable, TaskContext, show_mountinfo, show_vfsmnt,
    show_vfsstat,
};
use sentry_mm::IoDst;
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::poll::{POLLERR, POLLIN, POLLPRI, POLLRDNORM};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type ShowMount = fn(&Arc<Mount>, &Path) -> Option<Vec<u8>>;

struct MountsNode {
    at: ProcTask,
    perm: u32,
    show: ShowMount,
}

fn node(at: &ProcTask, perm: u32, show: ShowMount) -> Node {
    Node::file(MountsNode { at: at.clone(), perm, show })
}

pub(crate) fn mounts(at: &ProcTask) -> Node {
    node(at, 0o444, show_vfsmnt)
}

pub(crate) fn mountinfo(at: &ProcTask) -> Node {
    node(at, 0o444, show_mountinfo)
}

pub(crate) fn mountstats(at: &ProcTask) -> Node {
    node(at, 0o400, show_vfsstat)
}

impl NodeOps for MountsNode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(self.perm, false)
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }
}

impl FileNode for MountsNode {
    /// Linux: `mounts_open_common`: the namespace and root are those of the task at this time.
    fn open(
        self: Arc<Self>,
        _inode: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        _flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        let task = self.at.task().map_err(|_| EINVAL)?;
        let (ns, root) = (task.ns().mnt.clone(), task.fs().root());
        let seen = AtomicU64::new(ns.event().0);
        Ok(Box::new(OpenMounts { ns, root, seen, show: self.show, cursor: Cursor::default() }))
    }
}

struct OpenMounts {
    ns: Arc<MountNamespace>,
    root: Path,
    /// The namespace's count of changes when it was last polled.
    seen: AtomicU64,
    show: ShowMount,
    cursor: Cursor,
}

impl Records for OpenMounts {
    /// The key is a place in the order of mounts.
    fn fill(
        &self,
        _ctx: &dyn TaskContext,
        key: u64,
        want: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<u64>, Errno> {
        let skip = usize::try_from(key).unwrap_or(usize::MAX);
        for (at, mount) in self.ns.mounts().iter().enumerate().skip(skip) {
            if out.len() >= want {
                return Ok(u64::try_from(at).ok());
            }
            if let Some(line) = (self.show)(mount, &self.root) {
                out.extend_from_slice(&line);
            }
        }
        Ok(None)
    }
}

impl FileOps for OpenMounts {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(
        &self,
        _file: &File,
        ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        self.cursor.read(self, ctx, dst, pos)
    }

    fn size(&self, _file: &File) -> Result<u64, Errno> {
        Err(EINVAL)
    }

    /// Linux: `mounts_poll`.
    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        let (event, queue) = self.ns.event();
        table.wait(queue);
        let changed = self.seen.swap(event, Ordering::AcqRel) != event;
        POLLIN | POLLRDNORM | if changed { POLLERR | POLLPRI } else { 0 }
    }
}
