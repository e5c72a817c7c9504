//! Linux: fs/dcache.c.
//!
//! A dentry holds its parent; a parent knows its children weakly, and the superblock keeps the recently used ones alive.
//! So a name that is in use always has its whole path, and memory is bounded.

use crate::{Inode, SuperBlock};
use sentry_sync::{Mutex, level};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

/// A name in a directory, or the root of a filesystem.
pub struct Dentry {
    pub(crate) sb: Arc<SuperBlock>,
    pub(crate) place: Mutex<Place, { level::LEAF }>,
    /// None while the name is known not to exist.
    pub(crate) inode: Mutex<Option<Arc<Inode>>, { level::LEAF }>,
    pub(crate) children: Mutex<HashMap<Arc<[u8]>, Weak<Dentry>>, { level::DENTRY }>,
    /// Taken while an entry of this directory is made, removed or renamed.
    pub(crate) dir_lock: Mutex<(), { level::DIRECTORY }>,
    /// Number of mounts on it, in all namespaces.
    pub(crate) mounted: AtomicU32,
    /// Removed: no path leads here any more.
    pub(crate) unhashed: AtomicBool,
}

/// Where a dentry stands in the tree. Changes by rename only.
pub(crate) struct Place {
    /// None for the root of a filesystem.
    pub(crate) parent: Option<Arc<Dentry>>,
    pub(crate) name: Arc<[u8]>,
}

impl Dentry {
    /// The root of a filesystem, or the only dentry of an anonymous file. Linux: `d_make_root`.
    pub fn new_root(inode: Arc<Inode>, name: &[u8]) -> Arc<Dentry> {
        Arc::new(Dentry {
            sb: inode.sb().clone(),
            place: Mutex::new(Place { parent: None, name: name.into() }),
            inode: Mutex::new(Some(inode)),
            children: Mutex::new(HashMap::new()),
            dir_lock: Mutex::new(()),
            mounted: AtomicU32::new(0),
            unhashed: AtomicBool::new(false),
        })
    }

    /// The file the name stands for; none for a negative dentry.
    pub fn inode(&self) -> Option<Arc<Inode>> {
        self.inode.lock().clone()
    }

    /// The filesystem it belongs to.
    pub fn sb(&self) -> &Arc<SuperBlock> {
        &self.sb
    }

    /// The name in the parent directory.
    pub fn name(&self) -> Arc<[u8]> {
        self.place.lock().name.clone()
    }

    /// Whether the name has been removed. Linux: `d_unlinked`, `d_unhashed`.
    pub fn is_unhashed(&self) -> bool {
        self.unhashed.load(Ordering::Acquire)
    }

    /// The directory it is in; none for a root.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }
}
