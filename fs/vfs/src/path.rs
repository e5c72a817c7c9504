//! Linux: include/linux/path.h.

use crate::{Dentry, Inode, Mount};
use std::sync::Arc;

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

    /// The file there; none behind a negative dentry.
    pub fn inode(&self) -> Option<&Arc<Inode>> {
        self.dentry.inode_ref()
    }

    /// Whether it is the top of its mount.
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.mnt.root, &self.dentry)
    }

    /// The top of what is mounted here, or the place itself. Linux: `follow_down`.
    pub fn follow_down(mut self) -> Path {
        while self.dentry.is_mountpoint()
            && let Some(child) = self.mnt.lookup_mnt(&self.dentry)
        {
            self.dentry = child.root.clone();
            self.mnt = child;
        }
        self
    }

    /// Whether `self` is `root` or lies below it, across mounts. Linux: `path_is_under`, `is_path_reachable`.
    pub fn is_under(&self, root: &Path) -> bool {
        let mut mnt = self.mnt.clone();
        let mut dentry = self.dentry.clone();
        while !Arc::ptr_eq(&mnt, &root.mnt) {
            let Some((parent, mountpoint)) = mnt.parent() else { return false };
            mnt = parent;
            dentry = mountpoint;
        }
        dentry.is_subdir(&root.dentry)
    }
}
