//! What the three id maps have in common. Linux: fs/proc/base.c, `proc_id_map_open`; kernel/user_namespace.c,
//! `proc_uid_map_write` and its like.

use crate::pid::ProcTask;
use crate::seq::put;
use fs_kernfs::{FileNode, Node, NodeAttr, NodeOps, SeqNode, open_seq};
use fs_vfs::{File, FileOps, Inode, TaskContext};
use sentry_auth::{Cred, IdKind, IdMap, UserNamespace};
use sentry_mm::IoSrc;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use std::any::Any;
use std::sync::Arc;

/// A write must be shorter than a page.
const TEXT_MAX: usize = 4096;

/// How a kind of map is read: the map, and the number by which a namespace knows one of its kernel ids.
pub(crate) struct MapFile {
    pub(crate) kind: IdKind,
    pub(crate) map: fn(&UserNamespace) -> Arc<IdMap>,
    pub(crate) from_kernel: fn(&UserNamespace, u32) -> Option<u32>,
}

struct MapNode {
    at: ProcTask,
    file: &'static MapFile,
}

/// A map of the namespace that the process is in when the file is opened.
pub(crate) fn node(at: &ProcTask, file: &'static MapFile) -> Node {
    Node::file(MapNode { at: at.clone(), file })
}

impl NodeOps for MapNode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(0o644, false)
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }
}

impl FileNode for MapNode {
    fn open(
        self: Arc<Self>,
        _inode: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        _flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        let ns = self.at.subject().map_err(|_| EINVAL)?.cred().user_ns.clone();
        Ok(open_seq(OpenMap { ns, file: self.file }))
    }
}

struct OpenMap {
    ns: Arc<UserNamespace>,
    file: &'static MapFile,
}

impl NodeOps for OpenMap {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        Ok(NodeAttr::root(0o644))
    }
}

/// The namespace a map's lower ids are shown in: the opener's, but its parent where the map is the opener's own.
fn lower_ns<'a>(ns: &'a UserNamespace, opener: &'a Cred) -> &'a UserNamespace {
    let own = std::ptr::eq(ns, &*opener.user_ns);
    match ns.parent() {
        Some(parent) if own => parent,
        _ => &opener.user_ns,
    }
}

/// The lines of a map; an id without a number shows as the invalid one. Linux: `uid_m_show`.
fn show_map(map: &IdMap, lower: impl Fn(u32) -> Option<u32>, out: &mut Vec<u8>) {
    for extent in map.extents() {
        let lower = lower(extent.lower_first).unwrap_or(u32::MAX);
        put(out, format_args!("{:>10} {lower:>10} {:>10}\n", extent.first, extent.count));
    }
}

impl SeqNode for OpenMap {
    fn show(&self, file: &File, _ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        let lower = lower_ns(&self.ns, file.cred());
        show_map(&(self.file.map)(&self.ns), |id| (self.file.from_kernel)(lower, id), out);
        Ok(())
    }

    fn pwritable(&self) -> bool {
        false
    }

    fn before_write(&self, file: &File, pos: u64, len: usize) -> Result<(), Errno> {
        let parent = self.ns.parent().ok_or(EPERM)?;
        let opener = file.cred();
        if !Arc::ptr_eq(&opener.user_ns, &self.ns) && !Arc::ptr_eq(&opener.user_ns, parent) {
            return Err(EPERM);
        }
        if pos != 0 || len >= TEXT_MAX { Err(EINVAL) } else { Ok(()) }
    }

    fn write(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        self.before_write(file, pos, src.remaining())?;
        let text = src.read_vec(TEXT_MAX)?;
        self.ns.map_write(self.file.kind, &text, file.cred(), &ctx.cred())?;
        Ok(text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sentry_auth::IdMapExtent;

    #[test]
    fn lines_are_those_of_the_native_kernel() {
        let native = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let numbers = |l: &str| -> Vec<u32> { l.split_whitespace().filter_map(|w| w.parse().ok()).collect() };
        let extents = native.lines().map(numbers);
        let extents = extents.map(|n| IdMapExtent { first: n[0], lower_first: n[1], count: n[2] }).collect();
        let mut out = Vec::new();
        show_map(&IdMap::from_extents(extents), Some, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), native);
    }
}
