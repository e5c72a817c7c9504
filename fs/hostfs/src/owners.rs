//! Owners that stat(2) hides from the sentry, and whom to ask for them. That takes another process a wake-up, so where
//! nothing changes a directory's files are asked for together.

use crate::dir::names_of;
use crate::inode::{HostInode, host_inode};
use crate::super_block::{HostOwners, Key};
use platform_host::fs::HostStat;
use sentry_sync::{Mutex, level};
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Files of a directory nobody has listed that are asked for one by one, before it is worth to list it.
const SINGLE: u32 = 4;

/// Most names of a directory that are asked for together.
const MAX_TOGETHER: usize = 4096;

/// An owner that was asked for, and the file's `ctime` at that time.
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    ids: (u32, u32),
    ctime: (i64, u32),
}

/// User and group by file.
type Known = HashMap<Key, (u32, u32)>;

/// The owners of a directory's files.
#[derive(Default)]
pub(crate) struct ChildOwners {
    /// How many were asked for by themselves.
    single: AtomicU32,
    known: Mutex<Option<Arc<Known>>, { level::LEAF }>,
}

impl HostInode {
    /// The host ids the file belongs to. Where stat(2) hides them they are asked for once, and again when the time of
    /// the file's last change is another.
    pub(crate) fn owner(&self, stat: &HostStat) -> (u32, u32) {
        let seen = (stat.uid, stat.gid);
        let Some(owners) = self.fs.owners.as_ref().filter(|o| o.hides(stat.uid, stat.gid)) else {
            return seen;
        };
        if let Some(known) = *self.owner.lock()
            && known.ctime == stat.ctime
        {
            return known.ids;
        }
        let alone = || self.path_fd().ok().and_then(|fd| owners.owner(fd.as_fd()));
        let told = self.told_with_others(&**owners).or_else(alone);
        *self.owner.lock() = told.map(|ids| Owner { ids, ctime: stat.ctime });
        told.unwrap_or(seen)
    }

    /// What was told when all files of the directory were asked for.
    fn told_with_others(&self, owners: &dyn HostOwners) -> Option<(u32, u32)> {
        if !self.fs.exclusive() || self.fs.writable {
            return None;
        }
        let dir = self.place()?.dir;
        host_inode(&dir).ok()?.child_owners(owners)?.get(&self.key).copied()
    }

    fn child_owners(&self, owners: &dyn HostOwners) -> Option<Arc<Known>> {
        let children = self.child_owners.get_or_init(Box::default);
        if let Some(known) = children.known.lock().clone() {
            return Some(known);
        }
        let listed = self.listing.lock().is_some();
        if !listed && children.single.fetch_add(1, Ordering::Relaxed) < SINGLE {
            return None;
        }
        let listing = self.whole_listing().ok()??;
        let names = names_of(&listing);
        let told = match names.len() {
            0..=MAX_TOGETHER => owners.owners_in(self.path_fd().ok()?.as_fd(), &names),
            _ => Vec::new(),
        };
        let known: Arc<Known> = Arc::new(told.into_iter().map(|told| (told.file, told.ids)).collect());
        let old = children.known.lock().replace(known.clone());
        drop(old);
        Some(known)
    }
}
