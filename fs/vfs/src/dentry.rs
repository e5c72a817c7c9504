//! Linux: fs/dcache.c.
//!
//! A dentry holds its parent; a parent knows its children weakly, and the superblock keeps the recently used ones alive.
//! So a name that is in use always has its whole path, and memory is bounded. A dentry goes from negative to positive
//! once and never back: a removed name gets a new, negative dentry.

use crate::{Inode, SuperBlock};
use sentry_sync::{Mutex, RwLock, level};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// Removed, or found stale: no path leads here any more.
const UNHASHED: u8 = 1;
/// A directory that has been removed: nothing can be made in it or mounted on it. Linux: `S_DEAD`, `DCACHE_CANT_MOUNT`.
const DEAD: u8 = 2;
/// Looked up since the cache last considered dropping it. Linux: `DCACHE_REFERENCED`.
const REFERENCED: u8 = 4;
/// Dead entries a directory may have before they are swept out.
const PURGE_MIN: usize = 32;

/// A name in a directory, or the root of a filesystem.
pub struct Dentry {
    sb: Arc<SuperBlock>,
    place: Mutex<Place, { level::LEAF }>,
    /// Empty while the name is known not to exist.
    inode: OnceLock<Arc<Inode>>,
    children: RwLock<Children, { level::DENTRY }>,
    /// Taken while an entry of this directory is made, removed or renamed. Linux: `i_rwsem`.
    pub(crate) dir_lock: Mutex<(), { level::DIRECTORY }>,
    /// Counts beginnings and ends of changes of the directory's entries; odd during one. An answer that the filesystem
    /// gave before or during a change is not cached: it may be about a name that moves.
    generation: AtomicU64,
    /// Number of mounts on it, in all namespaces.
    mounted: AtomicU32,
    flags: AtomicU8,
    /// Its place in the superblock's list of recently used ones.
    pub(crate) lru_slot: AtomicU64,
}

/// Where a dentry stands in the tree. Changes by rename only.
struct Place {
    /// None for the root of a filesystem.
    parent: Option<Arc<Dentry>>,
    name: Arc<[u8]>,
}

#[derive(Default)]
struct Children {
    map: HashMap<Arc<[u8]>, Weak<Dentry>>,
    /// Size at which entries whose dentry has died are swept out.
    purge_at: usize,
}

impl Children {
    fn insert(&mut self, name: Arc<[u8]>, dentry: &Arc<Dentry>) {
        if self.map.len() >= self.purge_at.max(PURGE_MIN) {
            self.map.retain(|_, d| d.strong_count() > 0);
            self.purge_at = self.map.len().saturating_mul(2);
        }
        self.map.insert(name, Arc::downgrade(dentry));
    }

    fn remove(&mut self, name: &[u8], dentry: &Dentry) {
        if self.map.get(name).is_some_and(|d| std::ptr::eq(d.as_ptr(), dentry)) {
            self.map.remove(name);
        }
    }
}

impl Dentry {
    fn alloc(sb: Arc<SuperBlock>, parent: Option<Arc<Dentry>>, name: Arc<[u8]>, flags: u8) -> Dentry {
        Dentry {
            sb,
            place: Mutex::new(Place { parent, name }),
            inode: OnceLock::new(),
            children: RwLock::new(Children::default()),
            dir_lock: Mutex::new(()),
            generation: AtomicU64::new(0),
            mounted: AtomicU32::new(0),
            flags: AtomicU8::new(flags),
            lru_slot: AtomicU64::new(u64::MAX),
        }
    }

    /// The root of a filesystem (whose name is empty), or the only dentry of an anonymous file. Linux: `d_make_root`.
    pub fn new_root(inode: Arc<Inode>, name: &[u8]) -> Arc<Dentry> {
        let dentry = Dentry::alloc(inode.sb().clone(), None, name.into(), 0);
        dentry.d_instantiate(inode);
        Arc::new(dentry)
    }

    /// The only dentry of a file without a name, as memfd_create(2) makes them: its path shows as `/name (deleted)`.
    pub fn new_unlinked(inode: Arc<Inode>, name: &[u8]) -> Arc<Dentry> {
        let dentry = Dentry::alloc(inode.sb().clone(), None, name.into(), UNHASHED);
        dentry.d_instantiate(inode);
        Arc::new(dentry)
    }

    /// The dentry of a file made by O_TMPFILE in the directory `self`. Linux: `d_mark_tmpfile`.
    pub(crate) fn new_tmpfile(self: &Arc<Self>, inode: Arc<Inode>) -> Arc<Dentry> {
        let name = format!("#{}", inode.ino());
        let dentry = Dentry::alloc(self.sb.clone(), Some(self.clone()), name.into_bytes().into(), UNHASHED);
        dentry.d_instantiate(inode);
        Arc::new(dentry)
    }

    /// The file the name stands for; none for a negative dentry.
    pub fn inode(&self) -> Option<Arc<Inode>> {
        self.inode.get().cloned()
    }

    /// As [`Dentry::inode`], borrowed.
    pub fn inode_ref(&self) -> Option<&Arc<Inode>> {
        self.inode.get()
    }

    /// The filesystem it belongs to.
    pub fn sb(&self) -> &Arc<SuperBlock> {
        &self.sb
    }

    /// The name in the parent directory.
    pub fn name(&self) -> Arc<[u8]> {
        self.place.lock().name.clone()
    }

    /// The directory it is in; none for a root.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }

    /// Its directory and its name there, as they stand together.
    pub fn parent_and_name(&self) -> (Option<Arc<Dentry>>, Arc<[u8]>) {
        let place = self.place.lock();
        (place.parent.clone(), place.name.clone())
    }

    /// Whether there is no such file. Linux: `d_is_negative`.
    pub fn is_negative(&self) -> bool {
        self.inode.get().is_none()
    }

    /// Whether it is a directory. Linux: `d_is_dir`.
    pub fn is_dir(&self) -> bool {
        self.inode.get().is_some_and(|i| i.is_dir())
    }

    /// Whether it is the root of a filesystem, or stands alone. Linux: `IS_ROOT`.
    pub fn is_root(&self) -> bool {
        self.place.lock().parent.is_none()
    }

    /// Whether the name has been removed. Linux: `d_unlinked`, `d_unhashed`.
    pub fn is_unhashed(&self) -> bool {
        self.flags.load(Ordering::Acquire) & UNHASHED != 0
    }

    /// Whether it is a directory that has been removed. Linux: `IS_DEADDIR`.
    pub fn is_dead(&self) -> bool {
        self.flags.load(Ordering::Acquire) & DEAD != 0
    }

    /// Marks a removed file: nothing can be mounted on it or made in it. Linux: `dont_mount`, `S_DEAD`.
    pub(crate) fn mark_dead(&self) {
        self.flags.fetch_or(DEAD, Ordering::AcqRel);
    }

    /// Whether it is what `name` in `dir` stands for. Checked under the directory's lock, since what was looked up before
    /// may have been removed or renamed, also within the directory.
    pub(crate) fn is_child_of(&self, dir: &Arc<Dentry>, name: &[u8]) -> bool {
        let place = self.place.lock();
        !self.is_unhashed()
            && *place.name == *name
            && place.parent.as_ref().is_some_and(|p| Arc::ptr_eq(p, dir))
    }

    /// Whether `self` is `ancestor` or lies below it. Linux: `is_subdir`.
    pub fn is_subdir(self: &Arc<Self>, ancestor: &Arc<Dentry>) -> bool {
        if Arc::ptr_eq(self, ancestor) {
            return true;
        }
        ancestor.child_towards(self).is_some()
    }

    /// The child of `self` that is `below` or an ancestor of it. Linux: `d_ancestor`.
    pub(crate) fn child_towards(self: &Arc<Self>, below: &Arc<Dentry>) -> Option<Arc<Dentry>> {
        let mut at = below.clone();
        loop {
            let parent = at.parent()?;
            if Arc::ptr_eq(&parent, self) {
                return Some(at);
            }
            at = parent;
        }
    }

    /// Whether something is mounted on it in some namespace. Linux: `d_mountpoint`.
    #[inline]
    pub fn is_mountpoint(&self) -> bool {
        self.mounted.load(Ordering::Acquire) != 0
    }

    pub(crate) fn note_mount(&self, come: bool) {
        if come {
            self.mounted.fetch_add(1, Ordering::AcqRel);
        } else {
            self.mounted.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The state of the directory before the filesystem is asked, for [`Dentry::d_add`]; waits for the end of a change.
    pub(crate) fn generation(&self) -> u64 {
        loop {
            let generation = self.generation.load(Ordering::Acquire);
            if generation & 1 == 0 {
                return generation;
            }
            drop(self.dir_lock.lock());
        }
    }

    /// A cached name in this directory.
    #[inline]
    pub(crate) fn d_lookup(&self, name: &[u8]) -> Option<Arc<Dentry>> {
        let found = self.children.read().map.get(name)?.upgrade()?;
        let flags = found.flags.load(Ordering::Acquire);
        if flags & UNHASHED != 0 {
            return None;
        }
        if flags & REFERENCED == 0 {
            found.flags.fetch_or(REFERENCED, Ordering::Relaxed);
        }
        Some(found)
    }

    /// Whether it has been looked up since the last time this was asked.
    pub(crate) fn take_referenced(&self) -> bool {
        self.flags.fetch_and(!REFERENCED, Ordering::Relaxed) & REFERENCED != 0
    }

    /// Caches what the filesystem said of `name`, unless the directory has changed since `generation`: then none, and it
    /// must be asked again. Somebody else's dentry for the name wins.
    pub(crate) fn d_add(
        self: &Arc<Self>,
        name: &[u8],
        inode: Option<Arc<Inode>>,
        generation: u64,
    ) -> Option<Arc<Dentry>> {
        let key: Arc<[u8]> = name.into();
        let new = Dentry::alloc(self.sb.clone(), Some(self.clone()), key.clone(), 0);
        if let Some(inode) = inode {
            new.d_instantiate(inode);
        }
        let new = Arc::new(new);
        let mut children = self.children.write();
        if self.generation.load(Ordering::Acquire) != generation {
            return None;
        }
        if let Some(other) = children.map.get(name).and_then(Weak::upgrade).filter(|d| !d.is_unhashed()) {
            drop(children);
            return Some(other);
        }
        children.insert(key, &new);
        drop(children);
        self.sb.keep(&new);
        Some(new)
    }

    /// Makes a negative dentry positive: the file has been made. Linux: `d_instantiate`.
    pub(crate) fn d_instantiate(&self, inode: Arc<Inode>) {
        // Only ever called on a negative dentry, under its directory's lock.
        let _ = self.inode.set(inode);
    }

    /// Begins a change of this directory's entries, under its lock, which is to be held until the end.
    pub(crate) fn begin_change(&self) -> DirChange<'_> {
        let _children = self.children.write();
        self.generation.fetch_add(1, Ordering::AcqRel);
        DirChange { dir: self }
    }

    /// Remembers, during a change, that there is no such name any more.
    pub(crate) fn add_negative(self: &Arc<Self>, name: &[u8]) {
        let during = self.generation.load(Ordering::Acquire);
        self.d_add(name, None, during);
    }

    /// Takes the name out of the cache. Linux: `__d_drop`.
    pub(crate) fn d_drop(&self) {
        let (parent, name) = self.parent_and_name();
        if let Some(parent) = parent {
            let mut children = parent.children.write();
            children.remove(&name, self);
            self.flags.fetch_or(UNHASHED, Ordering::AcqRel);
        } else {
            self.flags.fetch_or(UNHASHED, Ordering::AcqRel);
        }
        self.sb.forget(self);
    }

    /// The file has been removed, in a change of its directory: the name leaves the cache, and the directory remembers that
    /// there is none. Linux: `d_delete`.
    pub(crate) fn d_delete(&self) {
        let (parent, name) = self.parent_and_name();
        self.d_drop();
        if let Some(parent) = parent {
            parent.add_negative(&name);
        }
    }

    /// Forgets everything cached below, so that nothing keeps a removed directory alive. Linux:
    /// `shrink_dcache_parent`.
    pub(crate) fn shrink_children(&self) {
        let mut todo: Vec<Arc<Dentry>> = self.live_children();
        while let Some(d) = todo.pop() {
            todo.extend(d.live_children());
            d.sb.forget(&d);
        }
    }

    fn live_children(&self) -> Vec<Arc<Dentry>> {
        self.children.read().map.values().filter_map(Weak::upgrade).collect()
    }

    /// The name turned out to be stale. Linux: `d_invalidate`.
    pub(crate) fn d_invalidate(&self) {
        self.shrink_children();
        self.d_drop();
    }

    /// Moves the dentry to `name` in `dir`, during a change of both directories; what stood there has been dropped. Linux:
    /// `d_move`.
    pub(crate) fn d_move(self: &Arc<Self>, dir: &Arc<Dentry>, name: &[u8]) {
        let key: Arc<[u8]> = name.into();
        let (old_parent, old_name) = self.parent_and_name();
        if let Some(parent) = &old_parent {
            let mut children = parent.children.write();
            children.remove(&old_name, self);
        }
        let mut children = dir.children.write();
        *self.place.lock() = Place { parent: Some(dir.clone()), name: key.clone() };
        children.insert(key, self);
        drop(children);
        // Dropped last: it may have been the last reference to the old directory.
        drop(old_parent);
    }

    /// Swaps the places of two dentries. Linux: `d_exchange`.
    pub(crate) fn d_exchange(self: &Arc<Self>, other: &Arc<Dentry>) {
        let (dir_a, name_a) = self.parent_and_name();
        let (dir_b, name_b) = other.parent_and_name();
        if let (Some(dir_a), Some(dir_b)) = (dir_a, dir_b) {
            self.d_move(&dir_b, &name_b);
            other.d_move(&dir_a, &name_a);
        }
    }
}

/// A change of a directory's entries under way. Ends when dropped.
pub(crate) struct DirChange<'a> {
    dir: &'a Dentry,
}

impl Drop for DirChange<'_> {
    fn drop(&mut self) {
        let _children = self.dir.children.write();
        self.dir.generation.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for Dentry {
    fn drop(&mut self) {
        if self.sb.has_marks()
            && let Some(inode) = self.inode.get()
            && inode.getattr().is_ok_and(|a| a.nlink == 0)
        {
            crate::notify::fsnotify_inoderemove(inode);
        }
        // Not by recursion: a guest can make a path of any depth.
        let mut parent = self.place.get_mut().parent.take();
        while let Some(mut dir) = parent.and_then(Arc::into_inner) {
            parent = dir.place.get_mut().parent.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testfs::{TestFs, root_context};

    #[test]
    fn a_path_of_any_depth_can_be_dropped() {
        let ctx = root_context();
        let root = ctx.fs.root().dentry;
        let mut at = root.clone();
        for _ in 0..200_000 {
            let inode = TestFs::detached_dir(root.sb());
            let Some(next) = at.d_add(b"d", Some(inode), 0) else { unreachable!("nobody changes it") };
            at = next;
        }
        let sb = root.sb().clone();
        sb.forget_all();
        drop(at);
        assert!(root.d_lookup(b"d").is_none());
    }

    #[test]
    fn an_answer_from_before_a_change_is_not_cached() {
        let ctx = root_context();
        let root = ctx.fs.root().dentry;
        let generation = root.generation();
        drop(root.begin_change());
        assert!(root.d_add(b"x", None, generation).is_none());
        assert!(root.d_add(b"x", None, root.generation()).is_some());
    }
}
