//! Linux: fs/namespace.c, `struct mnt_namespace`.

use crate::mount_tree::{CopyFlags, UmountFlags, commit_tree, copy_tree_noting, lock_mnt_tree, umount_tree};
use crate::{FsStruct, Mount, Namespace, NsKind, Path, Vfs};
use sentry_auth::{Kuid, Ucount, UcountType, UserNamespace, inc_ucount};
use sentry_sync::{Mutex, MutexGuard, WaitQueue, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOSPC};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Most mounts a namespace may hold: `/proc/sys/fs/mount-max`.
const MOUNT_MAX: usize = 100_000;

/// What serialises changes of the mount trees of one kernel, since one change may spread to all namespaces.
pub struct MountTable {
    lock: Mutex<(), { level::NAMESPACE }>,
    /// Changes of mount trees. Linux: the sequence count of `mount_lock`.
    changes: SeqCount,
    /// Renames of directories. Linux: that of `rename_lock`.
    renames: SeqCount,
    next_seq: AtomicU64,
    next_group: AtomicU64,
}

/// Counts changes at their beginning and at their end: only who has seen none under way, and none beginning since, has seen
/// what did not change meanwhile. Linux: `seqcount_t`.
#[derive(Default)]
struct SeqCount {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl SeqCount {
    fn begin(&self) -> Change<'_> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        Change { count: self }
    }
}

/// A change under way. Ends when dropped.
pub(crate) struct Change<'a> {
    count: &'a SeqCount,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.count.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// Held while mount trees change.
pub(crate) struct NamespaceLock<'a> {
    _change: Change<'a>,
    _lock: MutexGuard<'a, (), { level::NAMESPACE }>,
}

impl MountTable {
    pub(crate) fn new() -> Arc<MountTable> {
        Arc::new(MountTable {
            lock: Mutex::new(()),
            changes: SeqCount::default(),
            renames: SeqCount::default(),
            next_seq: AtomicU64::new(1),
            next_group: AtomicU64::new(1),
        })
    }

    /// Excludes other changes. Linux: `namespace_lock`.
    pub(crate) fn lock(&self) -> NamespaceLock<'_> {
        let lock = self.lock.lock();
        NamespaceLock { _change: self.changes.begin(), _lock: lock }
    }

    /// Notes that a directory is about to move, until what is returned is dropped. Linux: `write_seqlock` of
    /// `rename_lock`.
    pub(crate) fn begin_rename(&self) -> Change<'_> {
        self.renames.begin()
    }

    /// The changes of mount trees and renames of directories that are over. Linux: `__read_seqcount_begin`.
    pub(crate) fn snapshot(&self) -> (u64, u64) {
        (self.changes.ended.load(Ordering::SeqCst), self.renames.ended.load(Ordering::SeqCst))
    }

    /// Whether nothing has moved, or is moving, since a snapshot. Linux: `__read_seqcount_retry`.
    pub(crate) fn unchanged_since(&self, snapshot: (u64, u64)) -> bool {
        (self.changes.begun.load(Ordering::SeqCst), self.renames.begun.load(Ordering::SeqCst)) == snapshot
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_group(&self) -> u64 {
        self.next_group.fetch_add(1, Ordering::Relaxed)
    }
}

/// The tree of a mount namespace, as the mounts in it know it.
pub(crate) struct NsTree {
    pub(crate) id: u64,
    pub(crate) user_ns: Arc<UserNamespace>,
    /// Holds a tree that is not part of any namespace a task lives in. Linux: `is_anon_ns`.
    pub(crate) anonymous: bool,
    state: Mutex<NsState, { level::LEAF }>,
    /// Changes so far: what poll(2) of `/proc/[pid]/mounts` compares.
    event: AtomicU64,
    poll: WaitQueue,
}

#[derive(Default)]
struct NsState {
    root: Option<Arc<Mount>>,
    /// All mounts, in the order of mountinfo.
    list: BTreeMap<u64, Weak<Mount>>,
}

impl NsTree {
    pub(crate) fn new(id: u64, user_ns: Arc<UserNamespace>, anonymous: bool) -> Arc<NsTree> {
        Arc::new(NsTree {
            id,
            user_ns,
            anonymous,
            state: Mutex::default(),
            event: AtomicU64::new(0),
            poll: WaitQueue::new(),
        })
    }

    pub(crate) fn root(&self) -> Option<Arc<Mount>> {
        self.state.lock().root.clone()
    }

    pub(crate) fn set_root(&self, root: Option<Arc<Mount>>) {
        let old = std::mem::replace(&mut self.state.lock().root, root);
        drop(old);
    }

    /// Makes `mnt` one of the namespace's mounts, the last in order.
    pub(crate) fn add(self: &Arc<Self>, table: &MountTable, mnt: &Arc<Mount>) {
        let seq = table.next_seq();
        {
            let mut tree = mnt.tree.write();
            tree.ns = Some(self.clone());
            tree.seq = seq;
        }
        self.state.lock().list.insert(seq, Arc::downgrade(mnt));
    }

    /// `mnt` is none of the namespace's mounts any more.
    pub(crate) fn remove(&self, mnt: &Mount) {
        let seq = {
            let mut tree = mnt.tree.write();
            tree.ns = None;
            tree.seq
        };
        self.state.lock().list.remove(&seq);
    }

    /// All mounts, in the order of mountinfo.
    pub(crate) fn mounts(&self) -> Vec<Arc<Mount>> {
        self.state.lock().list.values().filter_map(Weak::upgrade).collect()
    }

    /// `ENOSPC` if `more` mounts would be too many. Linux: `count_mounts`.
    pub(crate) fn count_mounts(&self, more: usize) -> Result<(), Errno> {
        let len = self.state.lock().list.len();
        if more > MOUNT_MAX.saturating_sub(len) { Err(ENOSPC) } else { Ok(()) }
    }

    /// Tells pollers of a change. Linux: `touch_mnt_namespace`.
    pub(crate) fn touch(&self) {
        self.event.fetch_add(1, Ordering::AcqRel);
        self.poll.wake_all(sentry_uapi::poll::POLLERR | sentry_uapi::poll::POLLPRI);
    }
}

/// A mount namespace. The last reference to go unmounts everything in it.
pub struct MountNamespace {
    pub(crate) tree: Arc<NsTree>,
    pub(crate) table: Arc<MountTable>,
    _ucount: Option<Ucount>,
}

fn count(user_ns: &Arc<UserNamespace>, creator: Kuid) -> Result<Option<Ucount>, Errno> {
    inc_ucount(user_ns, creator, UcountType::MntNamespaces).map(Some).ok_or(ENOSPC)
}

impl MountNamespace {
    /// The first namespace of a kernel, or of a container: `root`, mounted nowhere yet, becomes its root. As in Linux that
    /// is a mount on an empty root filesystem nobody sees, so pivot_root(2) can exchange it.
    pub fn new(vfs: &Vfs, user_ns: Arc<UserNamespace>, root: &Arc<Mount>) -> Arc<MountNamespace> {
        let tree = NsTree::new(user_ns.alloc_inum(), user_ns, false);
        let _lock = vfs.mounts().lock();
        let bottom = Mount::new_internal(vfs.alloc_mount_id(), vfs.rootfs().root.clone());
        root.attach(&bottom, &bottom.root);
        commit_tree(vfs.mounts(), &tree, &bottom);
        tree.set_root(Some(bottom));
        Arc::new(MountNamespace { tree, table: vfs.mounts().clone(), _ucount: None })
    }

    /// A tree of mounts that is in no namespace yet, for open_tree(2) and fsmount(2).
    ///
    /// # Errors
    /// `ENOSPC` when `creator` has too many.
    pub(crate) fn anonymous(
        vfs: &Vfs,
        user_ns: Arc<UserNamespace>,
        creator: Kuid,
        root: Arc<Mount>,
    ) -> Result<MountNamespace, Errno> {
        let _ucount = count(&user_ns, creator)?;
        let tree = NsTree::new(vfs.alloc_ino(), user_ns, true);
        commit_tree(vfs.mounts(), &tree, &root);
        tree.set_root(Some(root));
        Ok(MountNamespace { tree, table: vfs.mounts().clone(), _ucount })
    }

    /// A copy for clone(2), unshare(2): made by `creator`, owned by `user_ns`. Root and working directory of `fs`, the new
    /// task's own, move to the copies of the mounts they are on. Linux: `copy_mnt_ns`.
    ///
    /// # Errors
    /// `ENOSPC` when the creator has too many; `EINVAL` if there is nothing to copy.
    pub fn copy_mnt_ns(
        &self,
        vfs: &Vfs,
        user_ns: &Arc<UserNamespace>,
        creator: Kuid,
        fs: Option<&FsStruct>,
    ) -> Result<Arc<MountNamespace>, Errno> {
        let _ucount = count(user_ns, creator)?;
        let less_privileged = !Arc::ptr_eq(user_ns, &self.tree.user_ns);
        let tree = NsTree::new(user_ns.alloc_inum(), user_ns.clone(), false);
        let mut moved = Vec::new();
        {
            let _lock = self.table.lock();
            let old = self.tree.root().ok_or(EINVAL)?;
            let mut how = CopyFlags::UNBINDABLE;
            how.set(CopyFlags::SHARED_TO_SLAVE, less_privileged);
            let new = copy_tree_noting(vfs, &old, &old.root, how, &mut moved)?;
            if less_privileged {
                lock_mnt_tree(&new);
            }
            commit_tree(&self.table, &tree, &new);
            tree.set_root(Some(new));
        }
        if let Some(fs) = fs {
            fs.replace(|path| {
                let (_, new) = moved.iter().find(|(old, _)| Arc::ptr_eq(old, &path.mnt))?;
                Some(Path { mnt: new.clone(), dentry: path.dentry.clone() })
            });
        }
        Ok(Arc::new(MountNamespace { tree, table: self.table.clone(), _ucount }))
    }

    /// The number nsfs shows it by.
    pub fn id(&self) -> u64 {
        self.tree.id
    }

    /// The namespace that owns it.
    pub fn user_ns(&self) -> &Arc<UserNamespace> {
        &self.tree.user_ns
    }

    /// The top of the tree: what is mounted on its root, if anything is.
    pub fn root(&self) -> Option<Path> {
        let mnt = self.tree.root()?;
        let dentry = mnt.root.clone();
        Some(Path { mnt, dentry }.follow_down())
    }

    /// All mounts, in the order of mountinfo.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        self.tree.mounts()
    }

    /// Changes so far, and the queue woken (POLLERR and POLLPRI) at each: for poll(2) of `/proc/[pid]/mounts`.
    pub fn event(&self) -> (u64, &WaitQueue) {
        (self.tree.event.load(Ordering::Acquire), &self.tree.poll)
    }

    /// Whether the mount is one of this namespace's. Linux: `check_mnt`.
    pub fn owns(&self, mnt: &Mount) -> bool {
        mnt.ns().is_some_and(|ns| Arc::ptr_eq(&ns, &self.tree))
    }

    /// Whether something is mounted on `dentry` in this namespace. Linux: `is_local_mountpoint`.
    pub(crate) fn is_local_mountpoint(&self, dentry: &Arc<crate::Dentry>) -> bool {
        dentry.is_mountpoint()
            && self
                .tree
                .mounts()
                .iter()
                .any(|m| m.tree.read().mountpoint.as_ref().is_some_and(|at| Arc::ptr_eq(at, dentry)))
    }
}

impl Namespace for MountNamespace {
    fn kind(&self) -> NsKind {
        NsKind::Mnt
    }

    fn inum(&self) -> u64 {
        self.id()
    }

    fn owner(&self) -> Option<Arc<UserNamespace>> {
        Some(self.tree.user_ns.clone())
    }
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        let Some(root) = self.tree.root() else { return };
        let gone = {
            let _lock = self.table.lock();
            let how = if self.tree.anonymous { UmountFlags::CONNECTED } else { UmountFlags::empty() };
            umount_tree(&self.table, &root, how)
        };
        self.tree.set_root(None);
        drop(gone);
    }
}
