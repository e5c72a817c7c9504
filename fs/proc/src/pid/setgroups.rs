//! `/proc/[pid]/setgroups`. Linux: fs/proc/base.c, `proc_setgroups_open`; kernel/user_namespace.c,
//! `proc_setgroups_write`.

use crate::pid::ProcTask;
use fs_kernfs::{FileNode, Node, NodeAttr, NodeOps, SeqNode, open_seq};
use fs_vfs::{File, FileOps, Inode, TaskContext};
use sentry_auth::{CapSet, UserNamespace, ns_capable};
use sentry_mm::IoSrc;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EINVAL};
use sentry_uapi::fcntl::OpenFlags;
use std::any::Any;
use std::sync::Arc;

/// A write must be shorter than this.
const STORE_MAX: usize = 8;

struct SetgroupsNode {
    at: ProcTask,
}

pub(crate) fn node(at: &ProcTask) -> Node {
    Node::file(SetgroupsNode { at: at.clone() })
}

impl NodeOps for SetgroupsNode {
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

impl FileNode for SetgroupsNode {
    fn open(
        self: Arc<Self>,
        _inode: &Arc<Inode>,
        ctx: &dyn TaskContext,
        flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        let ns = self.at.subject()?.cred().user_ns.clone();
        let writes = flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR);
        if writes && !ns_capable(&ctx.cred(), &ns, CapSet::SYS_ADMIN) {
            return Err(EACCES);
        }
        Ok(open_seq(OpenSetgroups { ns }))
    }
}

struct OpenSetgroups {
    ns: Arc<UserNamespace>,
}

impl NodeOps for OpenSetgroups {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        Ok(NodeAttr::root(0o644))
    }
}

/// Whether `text` allows or denies.
///
/// # Errors
/// `EINVAL` for anything else.
fn parse(text: &[u8]) -> Result<bool, Errno> {
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    let (allow, rest) = if let Some(rest) = text.strip_prefix(b"allow") {
        (true, rest)
    } else {
        (false, text.strip_prefix(b"deny").ok_or(EINVAL)?)
    };
    // As Linux's `isspace` has it.
    let blank = rest.iter().all(|b| matches!(b, b'\t'..=b'\r' | b' ' | 0xa0));
    if blank { Ok(allow) } else { Err(EINVAL) }
}

impl SeqNode for OpenSetgroups {
    fn show(&self, _file: &File, _ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        out.extend_from_slice(if self.ns.setgroups_allowed() { b"allow\n" } else { b"deny\n" });
        Ok(())
    }

    fn pwritable(&self) -> bool {
        false
    }

    fn before_write(&self, _file: &File, pos: u64, len: usize) -> Result<(), Errno> {
        if pos != 0 || len >= STORE_MAX { Err(EINVAL) } else { Ok(()) }
    }

    fn write(
        &self,
        file: &File,
        _ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        self.before_write(file, pos, src.remaining())?;
        let text = src.read_vec(STORE_MAX)?;
        self.ns.set_setgroups(parse(&text)?)?;
        Ok(text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(parse(b"allow"), Ok(true));
        assert_eq!(parse(b"deny\n"), Ok(false));
        assert_eq!(parse(b"deny \t\n"), Ok(false));
        assert_eq!(parse(b"deny\0x"), Ok(false));
        for bad in [&b""[..], b" deny", b"denyx", b"Deny", b"allow x", b"0"] {
            assert_eq!(parse(bad), Err(EINVAL));
        }
    }
}
