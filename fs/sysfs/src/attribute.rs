//! Linux: fs/sysfs/file.c, `struct attribute`.

use fs_kernfs::{Attrs, Node, NodeAttr, NodeOps, SeqNode, StaticDir};
use fs_vfs::{File, SetAttr, TaskContext};
use sentry_uapi::Errno;
use std::any::Any;

/// Size every attribute claims: that of a page.
pub(crate) const SIZE: u64 = 4096;

/// A file that always reads the same.
struct Attribute {
    attrs: Attrs,
    text: String,
}

/// An attribute with this value; the line feed behind it is added.
pub(crate) fn attribute(value: impl Into<String>) -> Node {
    let text = value.into() + "\n";
    Node::seq(Attribute { attrs: Attrs::new(NodeAttr { size: SIZE, ..NodeAttr::root(0o444) }), text })
}

/// An empty directory.
pub(crate) fn dir() -> StaticDir {
    StaticDir::new(0o755)
}

impl NodeOps for Attribute {
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

impl SeqNode for Attribute {
    fn show(&self, _file: &File, _ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        out.extend_from_slice(self.text.as_bytes());
        Ok(())
    }

    /// As kernfs files: always ready, and an event for whoever waits for a change.
    fn pollable(&self) -> bool {
        true
    }
}
