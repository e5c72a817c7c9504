//! Nodes made of closures. Linux: fs/proc/generic.c, `proc_create_single`, `proc_symlink`.

use crate::{Attrs, LinkNode, Node, NodeAttr, NodeOps, SeqNode};
use fs_vfs::{File, LinkTarget, SetAttr, TaskContext};
use sentry_mm::IoSrc;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EIO};
use std::any::Any;

/// Most bytes a [`store`] file takes in one write. Linux: fs/kernfs/file.c takes a page.
pub const STORE_MAX: usize = 4096;

/// A file of root's with these permission bits, whose text `show` puts out.
pub fn seq<F>(perm: u32, show: F) -> Node
where
    F: Fn(&dyn TaskContext, &mut Vec<u8>) -> Result<(), Errno> + Send + Sync + 'static,
{
    let store = None::<fn(&dyn TaskContext, &[u8]) -> Result<(), Errno>>;
    Node::seq(Simple { attrs: Attrs::new(NodeAttr::root(perm)), show, store })
}

/// As [`seq`], and `store` takes what is written at the start, at most [`STORE_MAX`] bytes.
pub fn store<F, G>(perm: u32, show: F, store: G) -> Node
where
    F: Fn(&dyn TaskContext, &mut Vec<u8>) -> Result<(), Errno> + Send + Sync + 'static,
    G: Fn(&dyn TaskContext, &[u8]) -> Result<(), Errno> + Send + Sync + 'static,
{
    Node::seq(Simple { attrs: Attrs::new(NodeAttr::root(perm)), show, store: Some(store) })
}

/// A file of root's that always reads the same.
pub fn text(perm: u32, content: impl Into<Vec<u8>>) -> Node {
    let content = content.into();
    seq(perm, move |_, out| {
        out.extend_from_slice(&content);
        Ok(())
    })
}

/// A symbolic link with a fixed target.
pub fn symlink(target: impl Into<Vec<u8>>) -> Node {
    let target = target.into();
    link(move |_| Ok(LinkTarget::Path(target.clone())))
}

/// A symbolic link whose target depends on who follows it.
pub fn link<F>(readlink: F) -> Node
where
    F: Fn(&dyn TaskContext) -> Result<LinkTarget, Errno> + Send + Sync + 'static,
{
    Node::link(SimpleLink { readlink })
}

/// All of a short value that is written in one piece, as configuration files take it.
///
/// # Errors
/// `EINVAL` if it is longer than `max` or not written at the start.
pub fn read_whole(src: &mut IoSrc<'_>, pos: u64, max: usize) -> Result<Vec<u8>, Errno> {
    if pos != 0 || src.remaining() > max {
        return Err(EINVAL);
    }
    src.read_vec(max)
}

struct Simple<F, G> {
    attrs: Attrs,
    show: F,
    store: Option<G>,
}

impl<F, G> NodeOps for Simple<F, G>
where
    F: Send + Sync + 'static,
    G: Send + Sync + 'static,
{
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        Ok(self.attrs.get())
    }

    fn setattr(&self, change: &SetAttr) -> Result<(), Errno> {
        self.attrs.set(change);
        Ok(())
    }
}

impl<F, G> SeqNode for Simple<F, G>
where
    F: Fn(&dyn TaskContext, &mut Vec<u8>) -> Result<(), Errno> + Send + Sync + 'static,
    G: Fn(&dyn TaskContext, &[u8]) -> Result<(), Errno> + Send + Sync + 'static,
{
    fn show(&self, _file: &File, ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        (self.show)(ctx, out)
    }

    fn write(
        &self,
        _file: &File,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        let store = self.store.as_ref().ok_or(EIO)?;
        let value = read_whole(src, pos, STORE_MAX)?;
        store(ctx, &value)?;
        Ok(value.len())
    }
}

struct SimpleLink<F> {
    readlink: F,
}

impl<F: Send + Sync + 'static> NodeOps for SimpleLink<F> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        Ok(NodeAttr::root(0o777))
    }
}

impl<F> LinkNode for SimpleLink<F>
where
    F: Fn(&dyn TaskContext) -> Result<LinkTarget, Errno> + Send + Sync + 'static,
{
    fn readlink(&self, ctx: &dyn TaskContext) -> Result<LinkTarget, Errno> {
        (self.readlink)(ctx)
    }
}
