//! Linux: fs/namespace.c, copying, attaching and taking apart trees of mounts.
//!
//! Everything here runs under the lock of the [`MountTable`].

use crate::mount_namespace::NsTree;
use crate::propagation::{
    Propagated, Propagation, change_propagation, join_group, make_shared, propagate_mnt,
    propagate_mount_unlock, propagate_umount, set_master,
};
use crate::{Dentry, Mount, MountFlags, MountTable, Path, TaskContext, Vfs};
use bitflags::bitflags;
use sentry_auth::UserNamespace;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOENT, EPERM};
use std::sync::Arc;

bitflags! {
    /// How to copy mounts. Linux: fs/pnode.h, `CL_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct CopyFlags: u32 {
        /// Unbindable mounts too.
        const UNBINDABLE = 0x04;
        /// The copy shares with the original.
        const MAKE_SHARED = 0x08;
        /// The copy neither shares nor receives.
        const PRIVATE = 0x10;
        /// The copy of a shared mount receives from it.
        const SHARED_TO_SLAVE = 0x20;
        /// The copy receives from the original.
        const SLAVE = 0x02;
        /// Files of mount namespaces too: a copy in a namespace that is older might keep itself alive.
        const MNT_NS_FILE = 0x80;
    }

    /// How to unmount. Linux: `enum umount_tree_flags`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct UmountFlags: u32 {
        /// The tree is not in use: take it apart altogether.
        const SYNC = 1;
        /// Unmount elsewhere too, as far as it has spread.
        const PROPAGATE = 2;
        /// Leave the tree hanging together.
        const CONNECTED = 4;
    }
}

impl Mount {
    /// The mount and all below it, parents first. Linux: `next_mnt`.
    pub(crate) fn subtree(self: &Arc<Self>) -> Vec<Arc<Mount>> {
        let mut out = Vec::new();
        let mut todo = vec![self.clone()];
        while let Some(mnt) = todo.pop() {
            todo.extend(mnt.children().into_iter().rev());
            out.push(mnt);
        }
        out
    }

    /// Whether a locked mount would be left out of a copy of the part below `dentry`. Linux: `has_locked_children`.
    pub(crate) fn has_locked_children(&self, dentry: &Arc<Dentry>) -> bool {
        self.children().iter().any(|child| {
            let at = child.tree.read().mountpoint.clone();
            child.flags().contains(MountFlags::LOCKED) && at.is_some_and(|at| at.is_subdir(dentry))
        })
    }
}

/// A copy of one mount, with `root` at its top. Linux: `clone_mnt`.
pub(crate) fn clone_mnt(vfs: &Vfs, old: &Arc<Mount>, root: &Arc<Dentry>, how: CopyFlags) -> Arc<Mount> {
    let flags = old.flags() - MountFlags::UMOUNT;
    let new = Mount::new(vfs.alloc_mount_id(), root.clone(), flags, old.source.clone());
    let group = old.group();
    if how.contains(CopyFlags::SLAVE) || (how.contains(CopyFlags::SHARED_TO_SLAVE) && group.is_some()) {
        set_master(&new, group);
    } else if !how.contains(CopyFlags::PRIVATE) {
        if let Some(group) = &group {
            join_group(&new, group);
        }
        set_master(&new, old.master());
    }
    if how.contains(CopyFlags::MAKE_SHARED) {
        make_shared(vfs.mounts(), &new);
    }
    new
}

/// The number of the mount namespace that a dentry is the file of. Linux: `is_mnt_ns_file`.
pub(crate) fn mnt_ns_of(dentry: &Dentry) -> Option<u64> {
    let inode = dentry.inode_ref()?;
    crate::nsfs::namespace_of(inode).filter(|ns| ns.kind() == crate::NsKind::Mnt).map(|ns| ns.inum())
}

/// A copy of the tree of mounts below `root` of `top`. Linux: `copy_tree`.
///
/// # Errors
/// `EINVAL` if the top is unbindable, or the file of a mount namespace; `EPERM` if a mount below is both unbindable and locked.
pub(crate) fn copy_tree(
    vfs: &Vfs,
    top: &Arc<Mount>,
    root: &Arc<Dentry>,
    how: CopyFlags,
) -> Result<Arc<Mount>, Errno> {
    copy_tree_noting(vfs, top, root, how, &mut Vec::new())
}

/// [`copy_tree`], which also tells what each mount is a copy of.
pub(crate) fn copy_tree_noting(
    vfs: &Vfs,
    top: &Arc<Mount>,
    root: &Arc<Dentry>,
    how: CopyFlags,
    copied: &mut Vec<(Arc<Mount>, Arc<Mount>)>,
) -> Result<Arc<Mount>, Errno> {
    let unbindable =
        |m: &Mount| !how.contains(CopyFlags::UNBINDABLE) && m.flags().contains(MountFlags::UNBINDABLE);
    let ns_file = |d: &Arc<Dentry>| !how.contains(CopyFlags::MNT_NS_FILE) && mnt_ns_of(d).is_some();
    if unbindable(top) || ns_file(root) {
        return Err(EINVAL);
    }
    let copy = clone_mnt(vfs, top, root, how);
    copied.push((top.clone(), copy.clone()));
    let below_root = |m: &Arc<Mount>| m.tree.read().mountpoint.clone().is_some_and(|at| at.is_subdir(root));
    let first = top.children().into_iter().filter(below_root);
    let mut todo: Vec<(Arc<Mount>, Arc<Mount>)> = first.rev().map(|m| (m, copy.clone())).collect();
    while let Some((old, parent)) = todo.pop() {
        if unbindable(&old) {
            if old.flags().contains(MountFlags::LOCKED) {
                return Err(EPERM);
            }
            continue;
        }
        if ns_file(&old.root) {
            continue;
        }
        let Some((_, mountpoint)) = old.parent() else { continue };
        let new = clone_mnt(vfs, &old, &old.root, how);
        new.attach(&parent, &mountpoint);
        copied.push((old.clone(), new.clone()));
        todo.extend(old.children().into_iter().rev().map(|m| (m, new.clone())));
    }
    Ok(copy)
}

/// Keeps a less privileged namespace from undoing what the mounts of a copy enforce and hide. Linux: `lock_mnt_tree`.
pub(crate) fn lock_mnt_tree(top: &Arc<Mount>) {
    for mnt in top.subtree() {
        let mut flags = mnt.flags() | MountFlags::LOCK_ATIME | MountFlags::LOCKED;
        flags.set(MountFlags::LOCK_READONLY, flags.contains(MountFlags::READONLY));
        flags.set(MountFlags::LOCK_NODEV, flags.contains(MountFlags::NODEV));
        flags.set(MountFlags::LOCK_NOSUID, flags.contains(MountFlags::NOSUID));
        flags.set(MountFlags::LOCK_NOEXEC, flags.contains(MountFlags::NOEXEC));
        mnt.set_flags(flags | (mnt.flags() & MountFlags::LOCKS));
    }
}

/// Makes a tree part of a namespace. Linux: `commit_tree`.
pub(crate) fn commit_tree(table: &MountTable, ns: &Arc<NsTree>, top: &Arc<Mount>) {
    for mnt in top.subtree() {
        ns.add(table, &mnt);
    }
    ns.touch();
}

/// Where something is to be mounted: on top of what is mounted there already. Linux: `lock_mount`.
///
/// # Errors
/// `ENOENT` where the name has been removed meanwhile.
pub(crate) fn lock_mount(path: &Path) -> Result<Path, Errno> {
    let path = path.clone().follow_down();
    if path.dentry.is_dead() { Err(ENOENT) } else { Ok(path) }
}

/// Mounts a tree on `at`, and copies of it wherever that is heard of; `moving` if the tree stands elsewhere in the same
/// namespace now. Linux: `attach_recursive_mnt`.
///
/// # Errors
/// `ENOSPC` for too many mounts; those of copying.
pub(crate) fn attach_recursive_mnt(
    ctx: &dyn TaskContext,
    source: &Arc<Mount>,
    at: &Path,
    moving: bool,
) -> Result<(), Errno> {
    let vfs = ctx.vfs();
    let table = vfs.mounts();
    let ns = at.mnt.ns().ok_or(EINVAL)?;
    let user_ns: Arc<UserNamespace> =
        if ns.anonymous { ctx.mnt_ns().user_ns().clone() } else { ns.user_ns.clone() };
    let subtree = source.subtree();
    if !moving {
        ns.count_mounts(subtree.len())?;
    }
    let mut copies = Vec::new();
    if at.mnt.group().is_some() {
        let unshared: Vec<_> = subtree.iter().filter(|m| m.group().is_none()).collect();
        for mnt in &unshared {
            make_shared(table, mnt);
        }
        match propagate_mnt(vfs, &at.mnt, &at.dentry, source) {
            Ok(made) => copies = made,
            Err(e) => {
                for mnt in unshared {
                    let master = mnt.master();
                    change_propagation(table, mnt, Propagation::Private);
                    set_master(mnt, master);
                }
                return Err(e);
            }
        }
    }
    if moving {
        source.reattach(&at.mnt, &at.dentry);
        ns.touch();
    } else {
        source.attach(&at.mnt, &at.dentry);
        commit_tree(table, &ns, source);
    }
    for Propagated { copy, parent } in copies {
        let Some(ns) = parent.ns() else { continue };
        if !Arc::ptr_eq(&ns.user_ns, &user_ns) {
            lock_mnt_tree(&copy);
        }
        copy.set_flags(copy.flags() - MountFlags::LOCKED);
        commit_tree(table, &ns, &copy);
        // What is mounted there already stays on top.
        let there = parent.lookup_mnt(&at.dentry);
        copy.attach(&parent, &at.dentry);
        if let Some(there) = there {
            there.reattach(&copy, &copy.root);
        }
    }
    Ok(())
}

/// Whether a mount that goes is taken off its parent. Linux: `disconnect_mount`.
fn disconnects(mnt: &Mount, how: UmountFlags) -> bool {
    let Some((parent, _)) = mnt.parent() else { return true };
    how.contains(UmountFlags::SYNC)
        || !parent.flags().contains(MountFlags::UMOUNT)
        || !(how.contains(UmountFlags::CONNECTED) || mnt.flags().contains(MountFlags::LOCKED))
}

/// Takes a tree of mounts out of its namespace. What comes back is to be dropped once the table is unlocked. Linux:
/// `umount_tree`.
#[must_use]
pub(crate) fn umount_tree(table: &MountTable, top: &Arc<Mount>, how: UmountFlags) -> Vec<Arc<Mount>> {
    if how.contains(UmountFlags::PROPAGATE) {
        propagate_mount_unlock(top);
    }
    let mut list = top.subtree();
    for mnt in &list {
        mnt.set_flags(mnt.flags() | MountFlags::UMOUNT);
    }
    if how.contains(UmountFlags::PROPAGATE) {
        let more = propagate_umount(&list);
        list.extend(more);
    }
    for mnt in &list {
        if let Some(ns) = mnt.ns() {
            ns.remove(mnt);
            ns.touch();
        }
        if disconnects(mnt, how) {
            mnt.detach();
        }
        change_propagation(table, mnt, Propagation::Private);
    }
    list
}

impl MountTable {
    /// Unmounts whatever is mounted on a name that has been removed, in any namespace. Linux: `__detach_mounts`.
    pub(crate) fn detach_mounts(&self, dentry: &Arc<Dentry>) {
        if !dentry.is_mountpoint() {
            return;
        }
        let mut gone = Vec::new();
        {
            let _lock = self.lock();
            for mnt in dentry.sb().mounts_on(dentry) {
                if mnt.flags().contains(MountFlags::UMOUNT) {
                    mnt.detach();
                    gone.push(mnt);
                } else {
                    gone.extend(umount_tree(self, &mnt, UmountFlags::CONNECTED));
                }
            }
        }
        drop(gone);
    }
}
