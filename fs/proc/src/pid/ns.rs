//! `/proc/[pid]/ns`. Linux: fs/proc/namespaces.c.

use crate::pid::ProcTask;
use fs_kernfs::{DirNode, Emit, LinkNode, Node, NodeAttr, NodeOps, emit_names};
use fs_vfs::{FIRST_ENTRY, FileType, LinkTarget, TaskContext};
use sentry_kernel::Task;
use sentry_net::NetNamespace;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, ENOENT};
use std::any::Any;

/// Numbers of network namespaces begin here, below those the kernel gives out for the other kinds.
const FIRST_NET_INUM: u64 = 0xe000_0000;

fn net_inum(net: &NetNamespace) -> u64 {
    FIRST_NET_INUM.saturating_add(net.cookie)
}

/// A kind of namespace: the link's name, the kind's name, and the number of a task's.
struct NsKind {
    name: &'static str,
    kind: &'static str,
    inum: fn(&Task) -> u64,
}

/// Linux: `ns_entries`.
static KINDS: &[NsKind] = &[
    NsKind { name: "net", kind: "net", inum: |t| net_inum(&t.ns().net) },
    NsKind { name: "uts", kind: "uts", inum: |t| t.ns().uts.inum },
    NsKind { name: "ipc", kind: "ipc", inum: |t| t.ns().ipc.inum },
    NsKind { name: "pid", kind: "pid", inum: |t| t.pid_ns().inum },
    NsKind { name: "pid_for_children", kind: "pid", inum: |t| t.ns().pid_for_children.inum },
    NsKind { name: "user", kind: "user", inum: |t| t.cred().user_ns.inum(|| t.kernel.alloc_inum()) },
    NsKind { name: "mnt", kind: "mnt", inum: |t| t.ns().mnt.id() },
    NsKind { name: "cgroup", kind: "cgroup", inum: |t| t.ns().cgroup.inum },
    NsKind { name: "time", kind: "time", inum: |t| t.ns().time.inum },
    NsKind { name: "time_for_children", kind: "time", inum: |t| t.ns().time_for_children.inum },
];

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
        let kind = KINDS.iter().find(|k| k.name.as_bytes() == name).ok_or(ENOENT)?;
        Ok(Node::link(NsLink { at: self.at.clone(), kind }))
    }

    fn list(&self, _ctx: &dyn TaskContext, from: u64, emit: &mut Emit<'_>) -> Result<(), Errno> {
        let names = KINDS.iter().map(|k| (k.name.as_bytes(), FileType::Symlink));
        emit_names(names, FIRST_ENTRY, from, emit);
        Ok(())
    }
}

/// A link to a namespace.
struct NsLink {
    at: ProcTask,
    kind: &'static NsKind,
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
    /// Namespaces cannot be opened by name.
    fn readlink(&self, ctx: &dyn TaskContext) -> Result<LinkTarget, Errno> {
        self.at.access(ctx)?;
        Err(EACCES)
    }

    /// Linux: `proc_ns_readlink`, `ns_get_name`.
    fn text(&self, ctx: &dyn TaskContext) -> Result<Vec<u8>, Errno> {
        let task = self.at.access(ctx)?;
        Ok(format!("{}:[{}]", self.kind.kind, (self.kind.inum)(&task)).into_bytes())
    }
}
