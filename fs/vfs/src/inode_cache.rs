//! The inodes of a filesystem that are in use, by what tells them apart. Linux: fs/inode.c, `iget5_locked`.

use crate::Inode;
use sentry_sync::{Mutex, level};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

/// Finds the one [`Inode`] of a file for as long as somebody uses it.
///
/// Entries of inodes that are gone are swept out when the table has doubled, so dropping an inode takes no lock.
pub struct InodeCache<K> {
    table: Mutex<Table<K>, { level::LEAF }>,
}

struct Table<K> {
    inodes: HashMap<K, Weak<Inode>>,
    sweep_at: usize,
}

/// Below this many entries sweeping is not worth it.
const SWEEP_MIN: usize = 1024;

impl<K: Eq + Hash> InodeCache<K> {
    /// An empty one.
    pub fn new() -> InodeCache<K> {
        InodeCache { table: Mutex::new(Table { inodes: HashMap::new(), sweep_at: SWEEP_MIN }) }
    }

    fn get(&self, key: &K) -> Option<Arc<Inode>> {
        self.table.lock().inodes.get(key)?.upgrade()
    }

    /// The inode in use for `key`, if it passes `test`; else one made by `make`, which takes its place: the key has come to
    /// stand for another file.
    pub fn get_or_make(
        &self,
        key: K,
        test: impl Fn(&Inode) -> bool,
        make: impl FnOnce() -> Arc<Inode>,
    ) -> Arc<Inode> {
        let found = self.get(&key);
        if let Some(found) = found.filter(|inode| test(inode)) {
            return found;
        }
        let new = make();
        let mut table = self.table.lock();
        if table.inodes.len() >= table.sweep_at {
            table.inodes.retain(|_, inode| inode.strong_count() > 0);
            table.sweep_at = (table.inodes.len() * 2).max(SWEEP_MIN);
        }
        let slot = table.inodes.entry(key).or_default();
        // Whatever is not returned is dropped once the table is free again.
        let found = slot.upgrade();
        let found_fits = found.as_ref().is_some_and(|inode| test(inode));
        if !found_fits {
            *slot = Arc::downgrade(&new);
        }
        drop(table);
        found.filter(|_| found_fits).unwrap_or(new)
    }

    /// Forgets a file, whose key may come to stand for another one.
    pub fn forget(&self, key: &K) {
        self.table.lock().inodes.remove(key);
    }
}

impl<K: Eq + Hash> Default for InodeCache<K> {
    fn default() -> Self {
        InodeCache::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testfs::{TestFs, root_context};

    #[test]
    fn a_file_has_one_inode_until_its_key_passes_to_another() {
        let root = root_context().fs.root().dentry;
        let make = || TestFs::detached_dir(root.sb());
        let cache: InodeCache<u64> = InodeCache::new();
        let first = cache.get_or_make(7, |_| true, make);
        assert!(Arc::ptr_eq(&first, &cache.get_or_make(7, |_| true, make)));
        assert!(!Arc::ptr_eq(&first, &cache.get_or_make(8, |_| true, make)));
        // Another file now; those who have the old one keep it.
        let second = cache.get_or_make(7, |_| false, make);
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &cache.get_or_make(7, |_| true, make)));
        // One that nobody uses any more is made again.
        let ino = second.ino();
        drop(second);
        assert_ne!(ino, cache.get_or_make(7, |_| true, make).ino());
        cache.forget(&7);
        assert!(cache.get(&7).is_none());
    }
}
