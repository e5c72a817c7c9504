//! Entries of a directory in memory. Linux: fs/libfs.c, `simple_offset_add` and `offset_readdir`.

use fs_vfs::{FIRST_ENTRY, Inode};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What a name of a directory stands for.
pub(crate) type Entry = (Arc<[u8]>, Arc<Inode>);

/// Names, found by name and in the order in which they were made. An entry keeps its position as long as it exists, so
/// a reader of the directory meets every entry that was there all the time exactly once.
#[derive(Default)]
pub(crate) struct Entries {
    by_name: HashMap<Arc<[u8]>, u64>,
    by_pos: BTreeMap<u64, Entry>,
    last: u64,
}

impl Entries {
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&Arc<Inode>> {
        self.by_pos.get(self.by_name.get(name)?).map(|(_, inode)| inode)
    }

    /// Enters a name, or gives it another meaning; returns the old one.
    pub(crate) fn insert(&mut self, name: &[u8], inode: Arc<Inode>) -> Option<Arc<Inode>> {
        if let Some(pos) = self.by_name.get(name) {
            let entry = self.by_pos.get_mut(pos)?;
            return Some(std::mem::replace(&mut entry.1, inode));
        }
        self.last = self.last.max(FIRST_ENTRY) + 1;
        let name: Arc<[u8]> = name.into();
        self.by_name.insert(name.clone(), self.last);
        self.by_pos.insert(self.last, (name, inode));
        None
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Arc<Inode>> {
        let pos = self.by_name.remove(name)?;
        self.by_pos.remove(&pos).map(|(_, inode)| inode)
    }

    /// The first entry behind position `from`, with its own position.
    pub(crate) fn after(&self, from: u64) -> Option<(u64, &Entry)> {
        self.by_pos.range(from.saturating_add(1)..).next().map(|(pos, entry)| (*pos, entry))
    }

    /// Takes all entries out.
    pub(crate) fn drain(&mut self) -> Vec<Arc<Inode>> {
        self.by_name.clear();
        std::mem::take(&mut self.by_pos).into_values().map(|(_, inode)| inode).collect()
    }
}
