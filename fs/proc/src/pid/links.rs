//! `/proc/[pid]/{cwd,root,exe}`. Linux: fs/proc/base.c, `proc_cwd_link` and its like, `proc_pid_readlink`.

use crate::pid::ProcTask;
use fs_kernfs::{LinkNode, Node, NodeAttr, NodeOps};
use fs_vfs::{File, LinkTarget, Path, TaskContext, d_path};
use sentry_kernel::Task;
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOENT;
use std::any::Any;

/// A link to a place a task holds on to.
struct PlaceLink {
    at: ProcTask,
    place: fn(&Task) -> Result<Path, Errno>,
}

impl PlaceLink {
    fn path(&self, ctx: &dyn TaskContext) -> Result<Path, Errno> {
        (self.place)(&*self.at.access(ctx)?)
    }
}

impl NodeOps for PlaceLink {
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

impl LinkNode for PlaceLink {
    fn readlink(&self, ctx: &dyn TaskContext) -> Result<LinkTarget, Errno> {
        Ok(LinkTarget::Jump(self.path(ctx)?))
    }

    fn text(&self, ctx: &dyn TaskContext) -> Result<Vec<u8>, Errno> {
        Ok(d_path(&self.path(ctx)?, &ctx.fs().root()))
    }
}

fn link(at: &ProcTask, place: fn(&Task) -> Result<Path, Errno>) -> Node {
    Node::link(PlaceLink { at: at.clone(), place })
}

pub(crate) fn cwd(at: &ProcTask) -> Node {
    link(at, |task| Ok(task.fs().pwd()))
}

pub(crate) fn root(at: &ProcTask) -> Node {
    link(at, |task| Ok(task.fs().root()))
}

pub(crate) fn exe(at: &ProcTask) -> Node {
    link(at, |task| {
        let exe = task.mm().map_err(|_| ENOENT)?.exe().ok_or(ENOENT)?;
        exe.as_any().downcast_ref::<File>().map(|file| file.path().clone()).ok_or(ENOENT)
    })
}
