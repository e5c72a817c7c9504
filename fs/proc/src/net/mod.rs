//! `/proc/[pid]/net`: the task's network namespace. Linux: fs/proc/proc_net.c.
//!
//! Sockets are not listed: their files have titles only.

mod dev;
mod files;

use crate::pid::ProcTask;
use files::FILES;
use fs_kernfs::{DirNode, Emit, Node, NodeAttr, NodeOps, SeqNode, emit_names};
use fs_vfs::{FIRST_ENTRY, File, FileType, TaskContext};
use sentry_net::NetNamespace;
use sentry_uapi::Errno;
use sentry_uapi::errno::{ENOENT, ESRCH};
use std::any::Any;
use std::sync::Arc;

/// Puts out a file about a namespace.
type ShowNet = fn(&NetNamespace, &mut Vec<u8>);

/// A file of the directory.
struct NetEntry {
    name: &'static str,
    perm: u32,
    show: ShowNet,
}

/// The directory. The namespace is the one the task is in when a file is looked up.
pub(crate) struct NetDir {
    at: ProcTask,
}

impl NetDir {
    pub(crate) fn node(at: &ProcTask) -> Node {
        Node::dir(NetDir { at: at.clone() })
    }
}

impl NodeOps for NetDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(0o555, true)
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }
}

impl DirNode for NetDir {
    fn lookup(&self, _ctx: &dyn TaskContext, name: &[u8]) -> Result<Node, Errno> {
        let entry = FILES.iter().find(|e| e.name.as_bytes() == name).ok_or(ENOENT)?;
        self.at.task().map_err(|_| ENOENT)?;
        Ok(Node::seq(NetFile { at: self.at.clone(), entry }))
    }

    fn list(&self, _ctx: &dyn TaskContext, from: u64, emit: &mut Emit<'_>) -> Result<(), Errno> {
        let names = FILES.iter().map(|e| (e.name.as_bytes(), FileType::Regular));
        emit_names(names, FIRST_ENTRY, from, emit);
        Ok(())
    }
}

struct NetFile {
    at: ProcTask,
    entry: &'static NetEntry,
}

impl NodeOps for NetFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        Ok(NodeAttr::root(self.entry.perm))
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }
}

impl SeqNode for NetFile {
    fn show(&self, _file: &File, _ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        let net: Arc<NetNamespace> = self.at.task().map_err(|_| ESRCH)?.ns().net.clone();
        (self.entry.show)(&net, out);
        Ok(())
    }
}
