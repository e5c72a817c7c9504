//! Linux: security/commoncap.c, the part about `security.capability` of files.

use crate::Inode;
use sentry_uapi::Errno;
use sentry_uapi::errno::{ENODATA, EOPNOTSUPP};

/// Name of the attribute that holds file capabilities.
pub(crate) const XATTR_NAME_CAPS: &[u8] = b"security.capability";

/// Whether the file has capabilities. Linux: `cap_inode_need_killpriv`.
pub(crate) fn has_capability(inode: &Inode) -> bool {
    inode.ops().getxattr(inode, XATTR_NAME_CAPS).is_ok()
}

/// Takes the capabilities off a file. Linux: `cap_inode_killpriv`.
pub(crate) fn remove_capability(inode: &Inode) -> Result<(), Errno> {
    if !has_capability(inode) {
        return Ok(());
    }
    match inode.ops().removexattr(inode, XATTR_NAME_CAPS) {
        Err(ENODATA | EOPNOTSUPP) => Ok(()),
        done => done,
    }
}
