//! How an upper layer says that something below is gone. Linux: fs/overlayfs/util.c.

use fs_vfs::{FileType, Inode, NewNode, NodeKind, TaskContext, XattrFlags};
use sentry_auth::{Kgid, Kuid};
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOENT;
use std::sync::Arc;

/// Prefix of the attributes that belong to overlays and are hidden from their users.
const PRIVATE: &[u8] = b"trusted.overlay.";

/// Marks a directory that hides those below it.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// Whether an attribute belongs to the overlay itself. Linux: `ovl_is_private_xattr`.
pub(crate) fn is_private_xattr(name: &[u8]) -> bool {
    name.starts_with(PRIVATE)
}

/// Whether a file stands for "nothing here": a character device 0:0. Linux: `IS_WHITEOUT`.
pub(crate) fn is_whiteout(inode: &Inode) -> bool {
    inode.file_type() == FileType::CharDevice && inode.rdev() == 0
}

/// Whether a directory hides those below it. Linux: `ovl_is_opaquedir`.
pub(crate) fn is_opaque(dir: &Inode) -> bool {
    dir.ops().getxattr(dir, OPAQUE).is_ok_and(|value| value == b"y")
}

/// Linux: `ovl_set_opaque`.
pub(crate) fn set_opaque(dir: &Inode) -> Result<(), Errno> {
    dir.ops().setxattr(dir, OPAQUE, b"y", XattrFlags::empty())
}

/// Makes a whiteout. Linux: `ovl_do_whiteout`.
pub(crate) fn make_whiteout(ctx: &dyn TaskContext, dir: &Arc<Inode>, name: &[u8]) -> Result<(), Errno> {
    let node = NewNode::new(NodeKind::CharDevice(0), 0, Kuid::GLOBAL_ROOT, Kgid::GLOBAL_ROOT);
    dir.ops().create(dir, ctx, name, node).map(drop)
}

/// What a name stands for in one layer, whiteouts included.
pub(crate) fn lookup_real(
    ctx: &dyn TaskContext,
    dir: &Arc<Inode>,
    name: &[u8],
) -> Result<Option<Arc<Inode>>, Errno> {
    match dir.ops().lookup(dir, ctx, name) {
        Ok(inode) => Ok(Some(inode)),
        Err(ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}
