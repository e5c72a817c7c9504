//! `/proc/[pid]/ns`. Linux: fs/proc/namespaces.c.

use crate::pid::ProcTask;
use crate::procfs::Caller;
use fs_kernfs::{DirNode, Emit, LinkNode, Node, NodeAttr, NodeOps, emit_names};
use fs_vfs::{FIRST_ENTRY, FileType, LinkTarget, Namespace, TaskContext, ns_get_name};
use sentry_kernel::Task;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, ENOENT};
use std::any::Any;
use std::sync::Arc;

/// A link's name, and how the namespace behind it is found.
struct NsEntry {
    name: &'static str,
    get: fn(&Task) -> Option<Arc<dyn Namespace>>,
}

/// Linux: `ns_entries`.
static ENTRIES: &[NsEntry] = &[
    NsEntry { name: "net", get: |t| Some(t.ns().net.clone()) },
    NsEntry { name: "uts", get: |t| Some(t.ns().uts.clone()) },
    NsEntry { name: "ipc", get: |t| Some(t.ns().ipc.clone()) },
    NsEntry { name: "pid", get: |t| Some(t.pid_ns()) },
    NsEntry { name: "pid_for_children", get: pid_for_children },
    NsEntry { name: "user", get: |t| Some(t.cred().user_ns.clone()) },
    NsEntry { name: "mnt", get: |t| Some(t.ns().mnt.clone()) },
    NsEntry { name: "cgroup", get: |t| Some(t.ns().cgroup.clone()) },
    NsEntry { name: "time", get: |t| Some(t.ns().time.clone()) },
    NsEntry { name: "time_for_children", get: |t| Some(t.ns().time_for_children.clone()) },
];

/// There is nothing to enter before the namespace has its first process. Linux: `pidns_for_children_get`.
fn pid_for_children(task: &Task) -> Option<Arc<dyn Namespace>> {
    let pid_ns = task.ns().pid_for_children.clone();
    if pid_ns.has_init() { Some(pid_ns) } else { None }
}

struct NsDir {
    at: ProcTask,
}

pub(crate) fn dir(at: &ProcTask) -> Node {
    Node::dir(NsDir { at: at.clone() })
}

impl NodeOps for NsDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(0o511, true)
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }
}

impl DirNode for NsDir {
    fn lookup(&self, _ctx: &dyn TaskContext, name: &[u8]) -> Result<Node, Errno> {
        let entry = ENTRIES.iter().find(|e| e.name.as_bytes() == name).ok_or(ENOENT)?;
        Ok(Node::link(NsLink { at: self.at.clone(), entry }))
    }

    fn list(&self, _ctx: &dyn TaskContext, from: u64, emit: &mut Emit<'_>) -> Result<(), Errno> {
        let names = ENTRIES.iter().map(|e| (e.name.as_bytes(), FileType::Symlink));
        emit_names(names, FIRST_ENTRY, from, emit);
        Ok(())
    }
}

/// A link to a namespace.
struct NsLink {
    at: ProcTask,
    entry: &'static NsEntry,
}

impl NsLink {
    /// The namespace, for those who may look into the task.
    fn namespace(&self, ctx: &dyn TaskContext) -> Result<Arc<dyn Namespace>, Errno> {
        let subject = self.at.subject().map_err(|_| EACCES)?;
        // A zombie has left its namespaces.
        let task = subject.task().cloned().ok_or(ENOENT)?;
        if !Caller::new(ctx).may_access(&task) {
            return Err(EACCES);
        }
        (self.entry.get)(&task).ok_or(ENOENT)
    }
}

impl NodeOps for NsLink {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(0o777, false)
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }
}

impl LinkNode for NsLink {
    /// Linux: `proc_ns_get_link`.
    fn readlink(&self, ctx: &dyn TaskContext) -> Result<LinkTarget, Errno> {
        Ok(LinkTarget::Jump(ctx.vfs().ns_get_path(self.namespace(ctx)?)))
    }

    /// Linux: `proc_ns_readlink`.
    fn text(&self, ctx: &dyn TaskContext) -> Result<Vec<u8>, Errno> {
        Ok(ns_get_name(&*self.namespace(ctx)?))
    }
}
