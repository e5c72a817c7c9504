//! Attributes of nodes. Linux: fs/kernfs/inode.c, `struct kernfs_iattrs`.

use fs_vfs::SetAttr;
use sentry_auth::{Kgid, Kuid};
use sentry_sync::{Mutex, level};

/// What a node says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeAttr {
    /// Permission bits.
    pub perm: u32,
    /// Owner.
    pub uid: Kuid,
    /// Group.
    pub gid: Kgid,
    /// Size that stat(2) shows; 0 for most.
    pub size: u64,
    /// Number of links.
    pub nlink: u32,
}

impl NodeAttr {
    /// Root's, with these permission bits.
    pub const fn root(perm: u32) -> NodeAttr {
        NodeAttr { perm, uid: Kuid::GLOBAL_ROOT, gid: Kgid::GLOBAL_ROOT, size: 0, nlink: 1 }
    }

    /// The same with another owner.
    #[must_use]
    pub const fn owned_by(self, uid: Kuid, gid: Kgid) -> NodeAttr {
        NodeAttr { uid, gid, ..self }
    }
}

/// Attributes that chmod(2) and chown(2) may change, for a node to keep.
pub struct Attrs(Mutex<NodeAttr, { level::LEAF }>);

impl Attrs {
    /// Attributes to begin with.
    pub const fn new(attr: NodeAttr) -> Attrs {
        Attrs(Mutex::new(attr))
    }

    /// The present ones.
    pub fn get(&self) -> NodeAttr {
        *self.0.lock()
    }

    /// Takes over owner, group and permission bits; times are not kept.
    pub fn set(&self, change: &SetAttr) {
        let mut attr = self.0.lock();
        attr.perm = change.perm.unwrap_or(attr.perm);
        attr.uid = change.uid.unwrap_or(attr.uid);
        attr.gid = change.gid.unwrap_or(attr.gid);
    }
}
