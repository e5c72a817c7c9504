//! Linux: include/linux/path.h.

use crate::{Dentry, Inode, Mount, MountFlags, MountNamespace};
use sentry_auth::Cred;
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

    /// What the file's own filesystem forbids, as a mount would.
    fn forbids(&self, flag: MountFlags) -> bool {
        self.inode().is_some_and(|inode| inode.ops().mount_flags(inode).contains(flag))
    }

    /// Whether it may not be executed. Linux: `path_noexec`.
    pub fn is_noexec(&self) -> bool {
        self.mnt.is_noexec() || self.forbids(MountFlags::NOEXEC)
    }

    /// Whether its set-ID bits and capabilities count, for a task with `cred` in the mount namespace `ns`. Linux:
    /// `mnt_may_suid`.
    pub fn may_suid(&self, ns: &MountNamespace, cred: &Cred) -> bool {
        self.mnt.may_suid(ns, cred) && !self.forbids(MountFlags::NOSUID)
    }

    /// Whether it may be opened if it is a device node. Linux: `may_open_dev`.
    pub fn may_open_dev(&self) -> bool {
        self.mnt.may_open_dev() && !self.forbids(MountFlags::NODEV)
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
