//! Linux: include/linux/path.h and fs/mount.h.

use crate::{Dentry, SuperBlock};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// A mounted filesystem, or a part of one.
pub struct Mount {
    /// Number shown in mountinfo.
    pub id: u64,
    /// What is at the top of it.
    pub root: Arc<Dentry>,
    /// The filesystem.
    pub sb: Arc<SuperBlock>,
    /// `MNT_*` flags.
    pub(crate) flags: AtomicU32,
}

impl Mount {
    /// A mount that stands in no tree: of a filesystem only the kernel uses. Linux: `kern_mount`.
    pub(crate) fn new_internal(id: u64, root: Arc<Dentry>) -> Arc<Mount> {
        let sb = root.sb().clone();
        sb.mounted(true);
        Arc::new(Mount { id, root, sb, flags: AtomicU32::new(0) })
    }
}

/// A place in the tree of names: a dentry seen through a mount.
#[derive(Clone)]
pub struct Path {
    /// The mount it is seen through.
    pub mnt: Arc<Mount>,
    /// The name.
    pub dentry: Arc<Dentry>,
}

impl Path {
    /// Whether both are the same place.
    pub fn same(&self, other: &Path) -> bool {
        Arc::ptr_eq(&self.mnt, &other.mnt) && Arc::ptr_eq(&self.dentry, &other.dentry)
    }
}
